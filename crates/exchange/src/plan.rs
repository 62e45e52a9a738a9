//! Decides for each row of a batch what MISP is told: an attribute, a sighting, or nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use misp::wire::SightingKind;

use crate::destination::Destination;
use crate::store::{Known, Row, Sightings, Store, StoreError};

/// A value that is in one of our events of this many days is sighted there, and not added to
/// today's once more.
const RECENT_DAYS: i64 = 30;

/// What becomes of a batch. Rows that are in none of these wait for the next.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Values that MISP does not hold yet, by the period of their event.
    pub(crate) adds: BTreeMap<String, Vec<Row>>,
    /// Values that it holds and that were seen again, or whose ban has ended, by event.
    pub(crate) sightings: BTreeMap<i64, Vec<(Row, Known)>>,
    /// Values that are sighted wherever MISP holds them, and added nowhere.
    pub(crate) only_sightings: Vec<Row>,
    /// Values that are no indicators, and everywhere that they are known.
    pub(crate) false_positives: Vec<(Row, Vec<Known>)>,
    /// What it need not be told.
    pub(crate) settled: Vec<(Row, Settled)>,
}

/// Why MISP need not be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Settled {
    /// The value is known, and sightings are switched off.
    NoSightings,
    /// An analyst deleted it.
    Deleted,
    /// The same jail sighted it less than an interval ago.
    Covered,
    /// It would be sighted, and is not known, or not any more.
    Unknown,
}

impl Plan {
    /// Whether MISP is told anything.
    pub(crate) fn talks(&self) -> bool {
        !self.adds.is_empty()
            || !self.sightings.is_empty()
            || !self.only_sightings.is_empty()
            || !self.false_positives.is_empty()
    }

    /// Looks up what is known of each row's value, and decides.
    pub(crate) fn make(
        store: &Store,
        destination: &Destination,
        rows: Vec<Row>,
    ) -> Result<Self, StoreError> {
        let mut plan = Self::default();
        // What the rows before have been planned to do, in the same order as it will be done.
        let mut added: HashSet<String> = HashSet::new();
        let mut sighted: HashMap<(String, String), Timestamp> = HashMap::new();
        for row in rows {
            let ban = &row.ban;
            if ban.kind == SightingKind::FalsePositive {
                let known = store.known_anywhere(ban.destination, &ban.value)?;
                plan.false_positives.push((row, known));
                continue;
            }
            if ban.sightings == Sightings::Only {
                plan.only_sightings.push(row);
                continue;
            }
            let day = ban.time.to_zoned(TimeZone::UTC).date();
            let since = destination.event.days(recent(day));
            let Some(known) = store.known(ban.destination, &ban.value, &since)? else {
                if ban.kind == SightingKind::Expiration {
                    plan.settled.push((row, Settled::Unknown));
                } else if added.insert(ban.value.clone()) {
                    let days = destination.event.days(day);
                    let period = destination.template.period(&destination.event, &days, &ban.jail);
                    plan.adds.entry(period).or_default().push(row);
                }
                continue;
            };
            if known.is_deleted {
                plan.settled.push((row, Settled::Deleted));
                continue;
            }
            if ban.sightings == Sightings::Never {
                plan.settled.push((row, Settled::NoSightings));
                continue;
            }
            if ban.kind == SightingKind::Seen {
                let key = (ban.value.clone(), ban.jail.clone());
                let last = match sighted.get(&key) {
                    Some(last) => Some(*last),
                    None => store.last_sighted(known.event, &ban.value, &ban.jail)?,
                };
                if last.is_some_and(|last| covers(last, ban.time, destination.sighting_interval)) {
                    plan.settled.push((row, Settled::Covered));
                    continue;
                }
                sighted.insert(key, ban.time);
            }
            plan.sightings.entry(known.event).or_default().push((row, known));
        }
        Ok(plan)
    }
}

/// Whether a sighting at `last` stands for one at `time` as well.
fn covers(last: Timestamp, time: Timestamp, interval: Duration) -> bool {
    match last.checked_add(interval) {
        Ok(end) => !interval.is_zero() && time < end,
        Err(_) => true,
    }
}

fn recent(day: Date) -> Date {
    day.checked_sub(Span::new().days(RECENT_DAYS)).unwrap_or(Date::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(last: i64, time: i64, interval: u64, want: bool) {
        let at = |second| Timestamp::from_second(second).expect("the row holds a time");
        assert_eq!(covers(at(last), at(time), Duration::from_secs(interval)), want);
    }

    #[test]
    fn the_interval_runs_from_the_last_sighting() {
        check(1_000, 1_000, 3_600, true);
        check(1_000, 4_599, 3_600, true);
        check(1_000, 4_600, 3_600, false);
        check(1_000, 900, 3_600, true); // a late report of what is covered
        check(1_000, 1_000, 0, false); // the article's: every ban
    }
}
