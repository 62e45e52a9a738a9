//! Sights what MISP holds already: seen again, over, or never an indicator.

use std::slice;

use jiff::Timestamp;
use misp::wire::SightingKind;
use misp::{AttributeChange, MAX_SIGHTED_VALUES, Misconfigured, MispError};
use tracing::warn;

use super::send::Sent;
use super::tally::Tally;
use super::{Broken, Deliverer};
use crate::LOG;
use crate::store::{Known, Row, StoreError};

impl Deliverer {
    /// Adds sightings of attributes of one event.
    pub(super) fn sight(
        &mut self,
        event: i64,
        rows: &[(Row, Known)],
        now: Timestamp,
    ) -> Result<(), Broken> {
        let Some((_, known)) = rows.first() else { return Ok(()) };
        let name = known.event_uuid.to_string();
        let sightings: Vec<_> =
            rows.iter().map(|(row, known)| self.items().sighting(&row.ban, known.uuid)).collect();
        let sent = self.send(&sightings, |client, batch| {
            client.add_sightings(&name, batch).map(|()| vec![Ok(()); batch.len()])
        });
        let sent = match sent {
            Ok(sent) => sent,
            Err(Broken::Misp(MispError::Misconfigured {
                why: Misconfigured::NoSuchCall(_),
                ..
            })) => return self.sight_by_value(event, rows, now),
            // A key that may add and not sight: the attributes shall not wait for that.
            Err(Broken::Misp(MispError::Misconfigured {
                why: why @ Misconfigured::NoRight(_),
                ..
            })) => rows.iter().map(|_| Sent::NotAllowed(why.to_string())).collect(),
            Err(error) => {
                self.forget_if_gone(event, &error)?;
                return Err(error);
            }
        };
        self.settle_sighted(event, rows, &sent, now)?;
        self.refresh_last_seen(event, rows, now)
    }

    /// Adds sightings by value, where the server is too old for sightings by uuid. A repeat counts
    /// twice there.
    fn sight_by_value(
        &mut self,
        event: i64,
        rows: &[(Row, Known)],
        now: Timestamp,
    ) -> Result<(), Broken> {
        for rows in rows.chunk_by(|(one, _), (next, _)| one.ban.kind == next.ban.kind) {
            for rows in rows.chunks(MAX_SIGHTED_VALUES) {
                let values: Vec<&str> =
                    rows.iter().map(|(row, _)| row.ban.value.as_str()).collect();
                self.client()?.sight_values(&values, rows[0].0.ban.kind)?;
                let sent: Vec<_> = rows.iter().map(|_| Sent::Answered(Ok(()))).collect();
                self.settle_sighted(event, rows, &sent, now)?;
            }
        }
        Ok(())
    }

    fn settle_sighted(
        &mut self,
        event: i64,
        rows: &[(Row, Known)],
        sent: &[Sent],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tally = Tally::default();
        self.store().change(|changes| {
            for ((row, _), sent) in rows.iter().zip(sent) {
                match sent {
                    Sent::Answered(Ok(())) => {
                        if row.ban.kind == SightingKind::Seen {
                            changes.sight(event, &row.ban)?;
                        }
                        self.settle_told(changes, row)?;
                        tally.n_told += 1;
                    }
                    Sent::Answered(Err(why)) => {
                        changes.refuse(row.id, &why.to_string())?;
                        tally.refused.push(format!("{} ({why})", row.ban.value));
                    }
                    Sent::Suspect(why) => {
                        tally.suspect(changes, row, why, self.retry_at(row, now))?;
                    }
                    Sent::NotAllowed(why) => tally.not_allowed(changes, row, why, now)?,
                }
            }
            Ok(())
        })?;
        self.told(&tally, "sighted");
        Ok(())
    }

    /// Brings the time up to date at which known addresses were last seen, where that is asked for.
    fn refresh_last_seen(
        &mut self,
        event: i64,
        rows: &[(Row, Known)],
        now: Timestamp,
    ) -> Result<(), Broken> {
        let Some(every) = self.row.destination.last_seen_every else { return Ok(()) };
        for (Row { ban, .. }, known) in rows {
            let is_due = known.last_seen.checked_add(every).is_ok_and(|due| due <= ban.last_seen);
            if ban.kind == SightingKind::Seen && is_due {
                let last_seen = Some(ban.last_seen);
                self.edit(known, &AttributeChange { last_seen, to_ids: None }, now)?;
                self.store().change(|changes| changes.saw(event, ban))?;
            }
        }
        Ok(())
    }

    /// Says that an address is no indicator, wherever we said that it is one; where we never did,
    /// to whoever did.
    pub(super) fn take_back(
        &mut self,
        row: &Row,
        known: &[Known],
        now: Timestamp,
    ) -> Result<(), Broken> {
        let told = known.iter().filter(|known| !known.is_deleted);
        let mut is_told = false;
        for known in told {
            is_told = true;
            let to_ids = Some(false);
            self.edit(known, &AttributeChange { to_ids, last_seen: None }, now)?;
            let sighting = self.items().sighting(&row.ban, known.uuid);
            let event = known.event_uuid.to_string();
            self.client()?.add_sightings(&event, slice::from_ref(&sighting))?;
        }
        if !is_told {
            self.client()?.sight_values(&[&row.ban.value], row.ban.kind)?;
        }
        self.store().change(|changes| changes.settle(row.id))?;
        self.told(&Tally::of_one(), "taken back");
        Ok(())
    }

    /// Changes an attribute of ours, and has its event published again. What the key may not change
    /// stays as it is: the sighting says what there is to say.
    fn edit(
        &mut self,
        known: &Known,
        change: &AttributeChange,
        now: Timestamp,
    ) -> Result<(), Broken> {
        let event = self.store().event_numbered(known.event)?;
        if let Some(event) = event {
            self.will_change(&event, now)?;
        }
        match self.client()?.edit_attribute(known.uuid, change) {
            Ok(()) => Ok(()),
            Err(
                error @ (MispError::Refused { .. }
                | MispError::Misconfigured {
                    why: Misconfigured::NoRight(_) | Misconfigured::NoAttribute(_),
                    ..
                }),
            ) => {
                warn!(target: LOG, "{}: attribute {}: {error}", self.name(), known.uuid);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
