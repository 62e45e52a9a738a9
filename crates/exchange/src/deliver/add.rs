//! Adds what MISP does not hold yet to an event.

use std::collections::HashMap;

use jiff::Timestamp;
use misp::wire::{Attribute, IP_SRC};
use misp::{Refusal, identity};
use uuid::Uuid;

use super::send::Sent;
use super::tally::Tally;
use super::{Broken, Deliverer};
use crate::destination::Context;
use crate::store::{Accepted, EventRow, Row};

/// Objects in one step: each is a call of a tenth of a second, and a step is settled as a whole.
const MAX_OBJECTS: usize = 50;

impl Deliverer {
    /// Adds attributes to the event of a period.
    pub(super) fn add(
        &mut self,
        period: &str,
        mut rows: Vec<Row>,
        now: Timestamp,
    ) -> Result<(), Broken> {
        let event = self.ready_event(period, now)?;
        // What does not fit is left for the next step, and the next event.
        rows.truncate(self.room(&event));
        let was_clean = self.will_change(&event, now)?;
        let sent = match self.row.destination.context {
            Context::Attribute => self.send_attributes(&event, &rows),
            Context::Object => {
                rows.truncate(MAX_OBJECTS);
                self.send_objects(&event, &rows)
            }
        };
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) => {
                self.forget_if_gone(event.id, &error)?;
                return Err(error);
            }
        };
        let there = self.find_duplicates(&event, &rows, &sent)?;
        let mut tally = Tally::default();
        self.store().change(|changes| {
            for (row, sent) in rows.iter().zip(&sent) {
                let ban = &row.ban;
                let ours = identity::attribute(event.uuid, IP_SRC, &ban.value);
                let value = &ban.value;
                match sent {
                    Sent::Answered(Ok(())) => {
                        changes.know(event.id, ban, ours, false)?;
                        self.settle_told(changes, row)?;
                        tally.n_told += 1;
                    }
                    Sent::Answered(Err(Refusal::Duplicate)) => match there.get(value.as_str()) {
                        Some(found) => {
                            changes.know(event.id, ban, found.uuid.unwrap_or(ours), false)?;
                            // The answer to our own add was lost, and this is its repeat.
                            if is_repeat(found, ban, ours) {
                                self.settle_told(changes, row)?;
                                tally.n_told += 1;
                            }
                        }
                        None => {
                            let why = "MISP says that it holds the value, and does not find it";
                            tally.suspect(changes, row, why, self.retry_at(row, now))?;
                        }
                    },
                    Sent::Answered(Err(Refusal::UuidTaken)) => {
                        changes.know(event.id, ban, ours, true)?;
                        tally.deleted.push(value.clone());
                        changes.settle(row.id)?;
                    }
                    Sent::Answered(Err(why)) => {
                        changes.refuse(row.id, &why.to_string())?;
                        tally.refused.push(format!("{value} ({why})"));
                    }
                    Sent::Suspect(why) => {
                        tally.suspect(changes, row, why, self.retry_at(row, now))?;
                    }
                    Sent::NotAllowed(why) => tally.not_allowed(changes, row, why, now)?,
                }
            }
            changes.count_added(event.id, tally.n_told)?;
            if was_clean && tally.n_told == 0 {
                changes.is_published(event.id)?;
            }
            Ok(())
        })?;
        self.told(&tally, "added");
        Ok(())
    }

    fn send_attributes(&mut self, event: &EventRow, rows: &[Row]) -> Result<Vec<Sent>, Broken> {
        let attributes: Vec<_> =
            rows.iter().map(|row| self.items().attribute(event.uuid, &row.ban)).collect();
        let name = event.uuid.to_string();
        self.send(&attributes, |client, batch| client.add_attributes(&name, batch))
    }

    /// MISP takes objects one by one, and looks for no duplicates among them: we do.
    fn send_objects(&mut self, event: &EventRow, rows: &[Row]) -> Result<Vec<Sent>, Broken> {
        let name = event.uuid.to_string();
        let there = self.find(&name, rows.iter())?;
        let mut sent = Vec::with_capacity(rows.len());
        for row in rows {
            if there.contains_key(&row.ban.value) {
                sent.push(Sent::Answered(Err(Refusal::Duplicate)));
                continue;
            }
            let object = [self.items().object(event.uuid, &row.ban)];
            sent.extend(self.send(&object, |client, object| {
                client.add_object(&name, &object[0]).map(|()| vec![Ok(())])
            })?);
        }
        Ok(sent)
    }

    /// Which of the values that MISP calls duplicates it holds under which uuid.
    fn find_duplicates(
        &mut self,
        event: &EventRow,
        rows: &[Row],
        sent: &[Sent],
    ) -> Result<HashMap<String, Attribute>, Broken> {
        let is_duplicate = |sent: &Sent| matches!(sent, Sent::Answered(Err(Refusal::Duplicate)));
        let duplicates = rows.iter().zip(sent).filter(|(_, sent)| is_duplicate(sent));
        self.find(&event.uuid.to_string(), duplicates.map(|(row, _)| row))
    }

    /// What an event holds of the values of these rows.
    fn find<'a>(
        &mut self,
        event: &str,
        rows: impl Iterator<Item = &'a Row>,
    ) -> Result<HashMap<String, Attribute>, Broken> {
        let values: Vec<&str> = rows.map(|row| row.ban.value.as_str()).collect();
        if values.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.client()?.find_attributes(event, IP_SRC, &values)?;
        Ok(found.into_iter().map(|attribute| (attribute.value.clone(), attribute)).collect())
    }
}

/// Whether an attribute that MISP holds is the one that this ban adds, and not another host's.
fn is_repeat(found: &Attribute, ban: &Accepted, ours: Uuid) -> bool {
    let seen = (Some(ban.first_seen), Some(ban.last_seen));
    found.uuid == Some(ours) && (found.first_seen, found.last_seen) == seen
}
