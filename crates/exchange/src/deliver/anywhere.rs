//! Sights values wherever MISP holds them, in whoever's event: what old logs hold, and others told.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;
use jiff::Timestamp;
use lists::net;
use misp::search::Search;
use misp::wire::Sighting;
use misp::{Misconfigured, MispError};
use tracing::info;
use uuid::Uuid;

use super::send::Sent;
use super::tally::Tally;
use super::{Broken, Deliverer};
use crate::LOG;
use crate::blocklist::ADDRESS_TYPES;
use crate::store::{Row, StoreError};

/// Attributes in one answer.
pub(crate) const PAGE: u32 = 1_000;
/// Answers that are asked for at most: who is in so many events is sighted in the first of them.
const MAX_PAGES: u32 = 10;

/// The search for all attributes that hold the value of one of these rows; none for no row, as
/// MISP would find everything.
pub(crate) fn search_of(rows: &[Row]) -> Option<Search> {
    (!rows.is_empty()).then(|| Search {
        kinds: ADDRESS_TYPES.iter().map(|it| (*it).to_owned()).collect(),
        values: rows.iter().map(|row| row.ban.value.clone()).collect(),
        ..Search::default()
    })
}

impl Deliverer {
    /// Adds a sighting to every attribute that the key sees and that holds the value of a row.
    pub(super) fn sight_anywhere(&mut self, rows: &[Row], now: Timestamp) -> Result<(), Broken> {
        let Some(search) = search_of(rows) else { return Ok(()) };
        let by_event = self.find_anywhere(&search, rows)?;
        let mut told: HashMap<usize, Sent> = HashMap::new();
        for (event, sightings) in by_event {
            let (places, sightings): (Vec<usize>, Vec<Sighting>) = sightings.into_iter().unzip();
            let name = event.to_string();
            let sent = self.send(&sightings, |client, batch| {
                client.add_sightings(&name, batch).map(|()| vec![Ok(()); batch.len()])
            });
            let sent = match sent {
                Ok(sent) => sent,
                // A key that may add and not sight: the attributes shall not wait for that.
                Err(Broken::Misp(MispError::Misconfigured {
                    why: why @ Misconfigured::NoRight(_),
                    ..
                })) => places.iter().map(|_| Sent::NotAllowed(why.to_string())).collect(),
                // The event went between the question and the word.
                Err(Broken::Misp(MispError::Misconfigured {
                    why: Misconfigured::NoEvent(_),
                    ..
                })) => continue,
                Err(error) => return Err(error),
            };
            told.extend(places.into_iter().zip(sent));
        }
        Ok(self.settle_anywhere(rows, &told, now)?)
    }

    /// The sightings to add, by event, each with the place of its row.
    fn find_anywhere(
        &mut self,
        search: &Search,
        rows: &[Row],
    ) -> Result<BTreeMap<Uuid, Vec<(usize, Sighting)>>, Broken> {
        let mut places: HashMap<IpNet, Vec<usize>> = HashMap::new();
        for (place, row) in rows.iter().enumerate() {
            if let Some(net) = net::read(&row.ban.value) {
                places.entry(net).or_default().push(place);
            }
        }
        let mut by_event: BTreeMap<Uuid, Vec<(usize, Sighting)>> = BTreeMap::new();
        for number in 1..=MAX_PAGES {
            let page = self.client()?.search(search, number, PAGE)?;
            for found in page.attributes {
                let net = net::read(&found.value);
                let (Some(uuid), Some(event), Some(net)) = (found.uuid, found.event.uuid, net)
                else {
                    continue;
                };
                for place in places.get(&net).into_iter().flatten() {
                    let sighting = self.items().sighting(&rows[*place].ban, uuid);
                    by_event.entry(event).or_default().push((*place, sighting));
                }
            }
            if page.is_last {
                break;
            }
        }
        Ok(by_event)
    }

    fn settle_anywhere(
        &mut self,
        rows: &[Row],
        told: &HashMap<usize, Sent>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tally = Tally::default();
        self.store().change(|changes| {
            for (place, row) in rows.iter().enumerate() {
                match told.get(&place) {
                    Some(Sent::Answered(Ok(()))) => {
                        changes.settle(row.id)?;
                        tally.n_told += 1;
                    }
                    Some(Sent::Answered(Err(why))) => {
                        changes.refuse(row.id, &why.to_string())?;
                        tally.refused.push(format!("{} ({why})", row.ban.value));
                    }
                    Some(Sent::Suspect(why)) => {
                        tally.suspect(changes, row, why, self.retry_at(row, now))?;
                    }
                    Some(Sent::NotAllowed(why)) => tally.not_allowed(changes, row, why, now)?,
                    None => {
                        let name = &self.row.destination.name;
                        info!(target: LOG, "{name} does not know {}: no sighting", row.ban.value);
                        changes.settle(row.id)?;
                    }
                }
            }
            Ok(())
        })?;
        self.told(&tally, "sighted");
        Ok(())
    }
}
