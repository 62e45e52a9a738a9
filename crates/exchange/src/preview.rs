//! Shows what would be sent, without sending it: the same calls that a delivery makes.

use std::collections::BTreeMap;

use control::exchange::PreviewedCall;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use misp::wire::{Attribute, IP_SRC};
use misp::{AttributeChange, Call, identity};
use uuid::Uuid;

use crate::deliver::MAX_BATCH;
use crate::deliver::anywhere;
use crate::deliver::item::Items;
use crate::destination::{Context, EventChoice};
use crate::plan::Plan;
use crate::store::{DestinationRow, Known, Row, State, Store, StoreError};

/// The rows that are shown where none is named: what one call to each destination may hold.
const MAX_ROWS: u32 = MAX_BATCH as u32;

/// The calls that these rows come to, all that wait where none is named.
pub(crate) fn preview(
    store: &Store,
    site: &str,
    ids: Option<&[u64]>,
) -> Result<Vec<PreviewedCall>, StoreError> {
    let listed = match ids {
        Some(ids) => store.rows(ids)?,
        None => store.list(MAX_ROWS)?,
    };
    let mut rows: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    for listed in listed.into_iter().filter(|it| ids.is_some() || it.state != State::Refused) {
        rows.entry(listed.row.ban.destination).or_default().push(listed.row);
    }
    let mut calls = Vec::new();
    for destination in store.destinations()? {
        if let Some(rows) = rows.remove(&destination.id) {
            calls.extend(Preview { store, site, destination: &destination }.calls(rows)?);
        }
    }
    Ok(calls)
}

struct Preview<'a> {
    store: &'a Store,
    site: &'a str,
    destination: &'a DestinationRow,
}

impl Preview<'_> {
    fn calls(&self, rows: Vec<Row>) -> Result<Vec<PreviewedCall>, StoreError> {
        let plan = Plan::make(self.store, &self.destination.destination, rows)?;
        let mut calls = Vec::new();
        for (row, known) in &plan.false_positives {
            calls.extend(self.taking_back(row, known));
        }
        for (period, rows) in &plan.adds {
            calls.extend(self.adding(period, rows)?);
        }
        for rows in plan.sightings.values() {
            let Some((_, known)) = rows.first() else { continue };
            let sightings: Vec<_> = rows
                .iter()
                .map(|(row, known)| self.items().sighting(&row.ban, known.uuid))
                .collect();
            calls.push(Call::add_sightings(&known.event_uuid.to_string(), &sightings));
        }
        // What is sighted where MISP holds it depends on what it answers first.
        let search = anywhere::search_of(&plan.only_sightings);
        calls.extend(search.map(|it| Call::search(&it, 1, anywhere::PAGE)));
        Ok(calls.into_iter().map(|call| self.shown(call)).collect())
    }

    fn adding(&self, period: &str, rows: &[Row]) -> Result<Vec<Call>, StoreError> {
        let mut calls = Vec::new();
        let event = self.store.event(self.destination.id, period)?;
        let known = event.filter(|event| event.is_made).map(|event| event.uuid);
        let (name, uuid) = match (known, &self.destination.destination.event) {
            (Some(uuid), _) => (uuid.to_string(), Some(uuid)),
            (None, EventChoice::Fixed(name)) => {
                // MISP says under which uuid it knows it; those of the attributes follow from that.
                calls.push(Call::event(name));
                (name.clone(), None)
            }
            (None, EventChoice::Daily | EventChoice::Weekly) => {
                let uuid = identity::event(self.site, period, 1);
                let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
                calls.push(Call::add_event(&self.items().event(period, uuid, today)));
                (uuid.to_string(), Some(uuid))
            }
        };
        let attribute = |row: &Row| Attribute {
            uuid: uuid.map(|uuid| identity::attribute(uuid, IP_SRC, &row.ban.value)),
            ..self.items().attribute(Uuid::nil(), &row.ban)
        };
        match self.destination.destination.context {
            Context::Attribute => {
                let attributes: Vec<_> = rows.iter().map(attribute).collect();
                calls.push(Call::add_attributes(&name, &attributes));
            }
            Context::Object => {
                let object = |row: &Row| self.items().object(uuid.unwrap_or_default(), &row.ban);
                calls.extend(rows.iter().map(|row| Call::add_object(&name, &object(row))));
            }
        }
        Ok(calls)
    }

    fn taking_back(&self, row: &Row, known: &[Known]) -> Vec<Call> {
        let mut calls = Vec::new();
        for known in known.iter().filter(|known| !known.is_deleted) {
            let change = AttributeChange { to_ids: Some(false), last_seen: None };
            let sighting = self.items().sighting(&row.ban, known.uuid);
            calls.push(Call::edit_attribute(known.uuid, &change));
            calls.push(Call::add_sightings(&known.event_uuid.to_string(), &[sighting]));
        }
        if calls.is_empty() {
            calls.push(Call::sight_values(&[&row.ban.value], row.ban.kind));
        }
        calls
    }

    fn items(&self) -> Items<'_> {
        Items { destination: &self.destination.destination, site: self.site }
    }

    fn shown(&self, call: Call) -> PreviewedCall {
        let destination = &self.destination.destination;
        PreviewedCall {
            destination: destination.name.clone(),
            method: call.method().to_owned(),
            url: format!("{}{}", destination.url, call.path()),
            body: call.body,
        }
    }
}
