//! One value: who reported it, who saw it, whether firewalls are told of it, and why.

use std::collections::BTreeSet;

use askama::Template;
use axum::http::StatusCode;
use rusqlite::Connection;
use uuid::Uuid;

use super::chart::{self, Chart, Day};
use super::{Page, Visit, field, html, when};
use crate::answer::{Answer, Fault};
use crate::keys::{KeyRecord, Role};
use crate::lists;
use crate::store::attribute::{self, Attribute};
use crate::store::event::{Event, Name};
use crate::store::search::{self, Filter, Terms};
use crate::store::sighting::{self, Sighting};
use crate::store::{StoreError, listed};

/// Sightings that are shown, the latest ones.
const SIGHTINGS: usize = 200;

#[derive(Template)]
#[template(path = "value.html")]
struct OneValue<'a> {
    organisation: &'a str,
    holder: &'a KeyRecord,
    sought: &'a str,
    status: Status,
    reports: Vec<Report>,
    tags: Vec<String>,
    chart: Chart,
    sightings: Vec<Seen>,
    n_sightings: usize,
    /// For the form that calls it a false positive.
    token: String,
}

/// Whether firewalls are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Status {
    Listed,
    Withdrawn,
    NotForDetection,
    NotPublic,
}

impl Status {
    const fn text(self) -> &'static str {
        match self {
            Self::Listed => "on the lists",
            Self::Withdrawn => "withdrawn as a false positive",
            Self::NotForDetection => "not on the lists: nobody means it for detection",
            Self::NotPublic => "not on the lists: no address of the public internet",
        }
    }
}

/// An attribute with its event.
struct Report {
    attribute: Attribute,
    event: Event,
}

impl Report {
    fn changed(&self) -> String {
        when(self.attribute.timestamp)
    }
}

/// A sighting, and whose it is.
struct Seen {
    sighting: Sighting,
    reporter: String,
}

impl Seen {
    fn date(&self) -> String {
        when(self.sighting.date)
    }

    const fn kind(&self) -> &'static str {
        match self.sighting.kind {
            0 => "seen",
            1 => "false positive",
            _ => "expired",
        }
    }
}

/// The live attributes with just this value, or with it as one half.
fn attributes(db: &Connection, value: &str) -> Result<Vec<Attribute>, StoreError> {
    // A `%` would be a wildcard: no value that is shown as one has it.
    let any = if value.contains('%') { Vec::new() } else { vec![value.to_owned()] };
    let nothing = any.is_empty();
    let filter = Filter { values: Terms { any, ..Terms::default() }, nothing, ..Filter::default() };
    let mut found = Vec::new();
    search::attributes(db, &filter, attribute::COLUMNS, |row| {
        found.push(Attribute::read(row)?);
        Ok::<_, StoreError>(())
    })?;
    Ok(found)
}

/// When it was reported, and seen.
fn days(reports: &[Report], sightings: &[Seen]) -> Vec<Day> {
    let report = |it: &Report| Day {
        day: chart::day(it.attribute.timestamp),
        n_attributes: 1,
        n_sightings: 0,
    };
    let sighting =
        |it: &Seen| Day { day: chart::day(it.sighting.date), n_attributes: 0, n_sightings: 1 };
    let seen = sightings.iter().filter(|it| it.sighting.kind == 0);
    reports.iter().map(report).chain(seen.map(sighting)).collect()
}

impl Page<'_> {
    /// `/values?value=…`
    pub(super) fn value(&self, visit: &Visit<'_>, holder: &KeyRecord) -> Result<Answer, Fault> {
        let sought = visit.path.query("value").unwrap_or_default();
        let curators = lists::curators(self.keys)?;
        let (reports, seen, carried, is_withdrawn) = self.store.read(|db| -> Result<_, Fault> {
            let found = attributes(db, &sought)?;
            let ids: Vec<i64> = found.iter().map(|it| it.id).collect();
            let seen = search::sightings(db, &ids)?;
            let carried = search::tags(db, &ids)?;
            let mut reports = Vec::with_capacity(found.len());
            for attribute in found {
                if let Some(event) = Event::find(db, Name::Id(attribute.event))? {
                    reports.push(Report { attribute, event });
                }
            }
            Ok((reports, seen, carried, listed::is_withdrawn(db, &sought, &curators)?))
        })?;
        if reports.is_empty() {
            return Ok(self.missing(holder));
        }
        let names = self.keys.list()?;
        let reporter = |id: u32| {
            let name = names.iter().find(|it| it.id == id).map(|it| it.name.clone());
            name.unwrap_or_default()
        };
        let mut sightings: Vec<Seen> = seen
            .into_values()
            .flatten()
            .map(|sighting| Seen { reporter: reporter(sighting.reporter), sighting })
            .collect();
        sightings.sort_by_key(|it| std::cmp::Reverse((it.sighting.date, it.sighting.id)));
        let n_sightings = sightings.len();
        let tags: BTreeSet<_> = carried.into_values().flatten().map(|it| it.tag.name).collect();
        let chart = Chart::of(days(&reports, &sightings), visit.now);
        sightings.truncate(SIGHTINGS);
        let status = if is_withdrawn {
            Status::Withdrawn
        } else if !reports.iter().any(|it| it.attribute.to_ids) {
            Status::NotForDetection
        } else if !reports.iter().any(|it| lists::may_name(&it.attribute.value.first)) {
            Status::NotPublic
        } else {
            Status::Listed
        };
        let shown = OneValue {
            organisation: &self.store.organisation.name,
            holder,
            sought: &sought,
            status,
            reports,
            tags: tags.into_iter().collect(),
            chart,
            sightings,
            n_sightings,
            token: super::Sessions::form_token(visit.headers).unwrap_or_default(),
        };
        Ok(html(StatusCode::OK, &shown))
    }

    /// `POST /values/wrong`: a false positive of every attribute with the value that the holder may
    /// sight.
    pub(super) fn wrong(&self, visit: &Visit<'_>, holder: &KeyRecord) -> Result<Answer, Fault> {
        let value = field(visit, "value").unwrap_or_default();
        let (holder, now) = (holder.clone(), visit.now);
        let sought = value.clone();
        self.store.write(move |db| -> Result<(), Fault> {
            for attribute in attributes(db, &sought)? {
                let event = attribute.event;
                if holder.role == Role::Sensor && !sighting::is_own(db, event, holder.id)? {
                    continue;
                }
                let mut sighting = Sighting {
                    id: 0,
                    uuid: Uuid::new_v4(),
                    attribute: attribute.id,
                    attribute_uuid: attribute.uuid,
                    event,
                    kind: 1,
                    source: "page".to_owned(),
                    date: now,
                    reporter: holder.id,
                };
                sighting.insert(db)?;
            }
            Ok(())
        })?;
        let value: String = form_urlencoded(&value);
        Ok(Answer::redirect(StatusCode::SEE_OTHER, &format!("/values?value={value}")))
    }
}

/// RFC 3986: everything but unreserved letters as percent and two digits.
fn form_urlencoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out += &format!("%{other:02X}"),
        }
    }
    out
}
