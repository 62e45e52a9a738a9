//! Delivers what waits for one destination: in batches, in order, each step settled on disk.
//!
//! A step takes the oldest rows that are due and decides for each: an attribute that MISP does not
//! hold yet, a sighting of one that it does, or nothing ([`crate::plan`]). Attributes and sightings
//! carry uuids of our choosing, so a step that is repeated after a crash or a lost answer changes
//! nothing at MISP. Of the rows of one value in a step only the first is an attribute; the others
//! wait for the next step and find it known.

mod event;
mod tally;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use misp::wire::{Attribute, IP_SRC, NETWORK_ACTIVITY, Sighting, SightingKind, Tag};
use misp::{Client, MAX_SIGHTED_VALUES, Misconfigured, MispError, Outage, Refusal, identity, text};
use tracing::{info, warn};

use crate::LOG;
use crate::backoff::{LONGEST_MISCONFIGURED, backoff};
use crate::connect::{ConnectError, Connection};
use crate::destination::EventChoice;
use crate::plan::{Plan, Settled};
use crate::store::{DestinationRow, EventRow, Known, Row, Store, StoreError, Trouble};
use tally::Tally;

/// The most attributes or sightings in one call: beyond it MISP gains no speed, and a lost answer
/// costs more.
pub(crate) const MAX_BATCH: usize = 1_000;
/// Steps with a smaller batch before a larger one is tried: one that times out costs a minute.
const CAREFUL_STEPS: u32 = 50;

/// The store, shared by the threads of this process.
pub(crate) type Shared = Arc<Mutex<Store>>;

/// Delivers to one destination.
pub(crate) struct Deliverer {
    store: Shared,
    row: DestinationRow,
    manner: Manner,
    connection: Connection,
    /// Smaller than [`MAX_BATCH`] after a call that was too large or took too long.
    batch: usize,
    /// Steps until a larger batch is tried again.
    n_careful: u32,
}

/// How this process delivers, wherever to.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// What names this host at MISP.
    pub(crate) site: String,
    pub(crate) when: PublishWhen,
    /// The pause after the first failed try.
    pub(crate) first_retry: Duration,
}

/// How long a changed event waits for more changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PublishWhen {
    /// As long as the destination says.
    Timed,
    /// Until nothing else waits: nobody is there to do it later.
    AtEnd,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// It did something; there may be more.
    Did,
    /// Nothing is due.
    Rest,
}

/// Why a step was broken off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Misp(#[from] MispError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// What became of an item that was sent.
enum Sent {
    Answered(Result<(), Refusal>),
    /// The server fails at this item alone, for this reason.
    Suspect(String),
    /// Nothing is wrong with the item; an administrator has to act first.
    NotAllowed(String),
}

impl Deliverer {
    pub(crate) fn new(store: Shared, row: DestinationRow, manner: Manner) -> Self {
        let connection = Connection::default();
        Self { store, row, manner, connection, batch: MAX_BATCH, n_careful: 0 }
    }

    /// Goes on after a pause, with what is on disk about the destination now.
    pub(crate) fn resume(self, row: DestinationRow) -> Self {
        if row.destination == self.row.destination {
            return Self { row, ..self };
        }
        Self::new(self.store, row, self.manner)
    }

    /// Does the next piece of work.
    pub(crate) fn step(&mut self, now: Timestamp) -> Result<Step, StoreError> {
        if self.row.trouble.next_try.is_some_and(|next_try| next_try > now) {
            return Ok(Step::Rest);
        }
        match self.work(now) {
            Ok(step) => Ok(step),
            Err(Broken::Store(error)) => Err(error),
            Err(Broken::Misp(error)) => self.fail(&error.to_string(), wait_of(&error), now),
            Err(Broken::Connect(error)) => {
                self.fail(&error.to_string(), Wait::AtMost(LONGEST_MISCONFIGURED), now)
            }
        }
    }

    fn work(&mut self, now: Timestamp) -> Result<Step, Broken> {
        if self.store().is_paused()? {
            return Ok(Step::Rest);
        }
        let changed = self.store().next_publish(self.row.id)?;
        let publish = changed.filter(|event| event.publish_at.is_some_and(|at| at <= now));
        let rows = match (&publish, self.manner.when) {
            // However much waits, partners see what there is.
            (Some(_), PublishWhen::Timed) => Vec::new(),
            _ => self.store().due(self.row.id, now, self.batch)?,
        };
        if !rows.is_empty() {
            self.deliver(rows, now)?;
            return Ok(Step::Did);
        }
        let Some(event) = publish else { return Ok(Step::Rest) };
        self.publish(&event, now)?;
        Ok(Step::Did)
    }

    fn deliver(&mut self, rows: Vec<Row>, now: Timestamp) -> Result<(), Broken> {
        let plan = Plan::make(&self.store(), &self.row.destination, rows)?;
        self.settle(&plan.settled)?;
        let talks = !plan.adds.is_empty() || !plan.sightings.is_empty();
        for (period, rows) in plan.adds {
            self.add(&period, rows, now)?;
        }
        for (event, rows) in plan.sightings {
            self.sight(event, &rows, now)?;
        }
        if talks {
            self.grow_batch();
            self.succeed(now)?;
        }
        Ok(())
    }

    /// Drops what needs no call.
    fn settle(&self, settled: &[(Row, Settled)]) -> Result<(), StoreError> {
        if settled.is_empty() {
            return Ok(());
        }
        for (row, why) in settled {
            match why {
                Settled::NoSightings => {
                    info!(target: LOG, "Not sighting {} due to configuration", row.ban.value);
                }
                Settled::Deleted => {
                    info!(target: LOG, "{} is not added again: an analyst deleted it", row.ban.value);
                }
                Settled::Covered => {}
            }
        }
        self.store().change(|it| settled.iter().try_for_each(|(row, _)| it.settle(row.id)))
    }

    /// Adds attributes to the event of a period.
    fn add(&mut self, period: &str, mut rows: Vec<Row>, now: Timestamp) -> Result<(), Broken> {
        let event = self.ready_event(period, now)?;
        // What does not fit is left for the next step, and the next event.
        rows.truncate(self.room(&event));
        let was_clean = self.will_change(&event, now)?;
        let attributes: Vec<_> = rows.iter().map(|row| self.attribute(&event, row)).collect();
        let name = event.uuid.to_string();
        let sent = self.send(&attributes, |client, batch| client.add_attributes(&name, batch));
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) => {
                self.forget_if_gone(event.id, &error)?;
                return Err(error);
            }
        };
        let there = self.find_duplicates(&name, &rows, &sent)?;
        let mut tally = Tally::default();
        self.store().change(|changes| {
            for ((row, attribute), sent) in rows.iter().zip(&attributes).zip(&sent) {
                let ours = attribute.uuid.unwrap_or_default();
                let value = &row.ban.value;
                match sent {
                    Sent::Answered(Ok(())) => {
                        changes.know(event.id, value, ours, false)?;
                        changes.settle(row.id)?;
                        tally.n_added += 1;
                    }
                    Sent::Answered(Err(Refusal::Duplicate)) => match there.get(value.as_str()) {
                        Some(found) => {
                            let uuid = found.uuid.unwrap_or(ours);
                            changes.know(event.id, value, uuid, false)?;
                            // The answer to our own add was lost, and this is its repeat.
                            if is_repeat(found, attribute) {
                                changes.settle(row.id)?;
                                tally.n_added += 1;
                            }
                        }
                        None => {
                            let why = "MISP says that it holds the value, and does not find it";
                            tally.suspect(changes, row, why, self.retry_at(row, now))?;
                        }
                    },
                    Sent::Answered(Err(Refusal::UuidTaken)) => {
                        changes.know(event.id, value, ours, true)?;
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
            changes.count_added(event.id, tally.n_added)?;
            if was_clean && tally.n_added == 0 {
                changes.is_published(event.id)?;
            }
            Ok(())
        })?;
        tally.tell(&self.row.destination.name, "added");
        Ok(())
    }

    /// Which of the values that MISP calls duplicates it holds under which uuid.
    fn find_duplicates(
        &mut self,
        event: &str,
        rows: &[Row],
        sent: &[Sent],
    ) -> Result<HashMap<String, Attribute>, Broken> {
        let values: Vec<&str> = rows
            .iter()
            .zip(sent)
            .filter(|(_, sent)| matches!(sent, Sent::Answered(Err(Refusal::Duplicate))))
            .map(|(row, _)| row.ban.value.as_str())
            .collect();
        let found = self.client()?.find_attributes(event, IP_SRC, &values)?;
        Ok(found.into_iter().map(|attribute| (attribute.value.clone(), attribute)).collect())
    }

    /// Adds sightings of attributes of one event.
    fn sight(&mut self, event: i64, rows: &[(Row, Known)], now: Timestamp) -> Result<(), Broken> {
        let Some((_, known)) = rows.first() else { return Ok(()) };
        let name = known.event_uuid.to_string();
        let sightings: Vec<_> = rows.iter().map(|(row, known)| self.sighting(row, known)).collect();
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
        Ok(())
    }

    /// Adds sightings by value, where the server is too old for sightings by uuid. A repeat counts
    /// twice there.
    fn sight_by_value(
        &mut self,
        event: i64,
        rows: &[(Row, Known)],
        now: Timestamp,
    ) -> Result<(), Broken> {
        for rows in rows.chunks(MAX_SIGHTED_VALUES) {
            let values: Vec<&str> = rows.iter().map(|(row, _)| row.ban.value.as_str()).collect();
            self.client()?.sight_values(&values, SightingKind::Seen)?;
            let sent: Vec<_> = rows.iter().map(|_| Sent::Answered(Ok(()))).collect();
            self.settle_sighted(event, rows, &sent, now)?;
        }
        Ok(())
    }

    fn settle_sighted(
        &self,
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
                        changes.sight(event, &row.ban.value, &row.ban.jail, row.ban.time)?;
                        changes.settle(row.id)?;
                        tally.n_added += 1;
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
        tally.tell(&self.row.destination.name, "sighted");
        Ok(())
    }

    /// Sends items in one call, and in halves where the server fails at them and not at others,
    /// down to the one that it fails at.
    fn send<T>(
        &mut self,
        items: &[T],
        call: impl Fn(&Client, &[T]) -> Result<Vec<Result<(), Refusal>>, MispError> + Copy,
    ) -> Result<Vec<Sent>, Broken> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let error = match call(self.client()?, items) {
            Ok(answers) => return Ok(answers.into_iter().map(Sent::Answered).collect()),
            Err(MispError::Refused { why, .. }) if items.len() == 1 => {
                return Ok(vec![Sent::Answered(Err(why))]);
            }
            Err(error) => error,
        };
        let Some(too_much) = blames_the_batch(&error) else { return Err(error.into()) };
        // A server that is away fails here as well, and then nothing is wrong with the items.
        self.client()?.version()?;
        if items.len() == 1 {
            return Ok(vec![Sent::Suspect(error.to_string())]);
        }
        let (first, second) = items.split_at(items.len() / 2);
        if too_much == TooMuch::Size {
            self.batch = first.len();
            self.n_careful = CAREFUL_STEPS;
        }
        let mut sent = self.send(first, call)?;
        sent.extend(self.send(second, call)?);
        Ok(sent)
    }

    /// Tries a larger batch, some steps after one was too large.
    fn grow_batch(&mut self) {
        match self.n_careful.checked_sub(1) {
            Some(left) => self.n_careful = left,
            None => self.batch = (self.batch * 2).min(MAX_BATCH),
        }
    }

    fn attribute(&self, event: &EventRow, row: &Row) -> Attribute {
        let destination = &self.row.destination;
        let comment = destination
            .comment
            .replace("{jail}", &row.ban.jail)
            .replace("{failures}", &row.ban.n_failures.to_string())
            .replace("{site}", &self.manner.site);
        // Our own events carry the tags themselves.
        let tags: &[String] = match destination.event {
            EventChoice::Fixed(_) => &destination.tags,
            EventChoice::Daily | EventChoice::Weekly => &[],
        };
        Attribute {
            uuid: Some(identity::attribute(event.uuid, IP_SRC, &row.ban.value)),
            kind: IP_SRC.into(),
            category: Some(NETWORK_ACTIVITY.into()),
            value: row.ban.value.clone(),
            comment: Some(text::clean(&comment, text::MAX_COMMENT_BYTES)),
            to_ids: Some(true),
            first_seen: Some(row.ban.first_seen),
            last_seen: Some(row.ban.last_seen),
            disable_correlation: destination.disable_correlation.then_some(true),
            tags: tags.iter().map(|name| Tag::from(name.as_str())).collect(),
            ..Attribute::default()
        }
    }

    fn sighting(&self, row: &Row, known: &Known) -> Sighting {
        let source = format!("{}/{}", self.manner.site, row.ban.jail);
        let source = text::clean(&source, text::MAX_SOURCE_BYTES);
        let kind = SightingKind::Seen;
        Sighting {
            uuid: Some(identity::sighting(known.uuid, kind, &source, row.ban.time)),
            attribute_uuid: Some(known.uuid),
            date_sighting: Some(row.ban.time),
            kind: Some(kind.number()),
            source,
        }
    }

    /// Remembers that the destination works, and says so if it did not.
    fn succeed(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let before = std::mem::take(&mut self.row.trouble);
        if before.n_failed > 0 {
            info!(target: LOG, "{} answers again", self.name());
        }
        let (id, trouble) = (self.row.id, &self.row.trouble);
        self.store().change(|changes| changes.set_trouble(id, trouble, now))
    }

    /// Remembers that the destination does not work, and says so once.
    fn fail(&mut self, why: &str, wait: Wait, now: Timestamp) -> Result<Step, StoreError> {
        let n_failed = self.row.trouble.n_failed.saturating_add(1);
        let wait = match wait {
            Wait::AtMost(most) => self.backoff(n_failed).min(most),
            Wait::AtLeast(least) => self.backoff(n_failed).max(least),
        };
        let next_try = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        if self.row.trouble.n_failed == 0 {
            let n_waiting = self.store().depth(self.row.id)?.n_pending;
            warn!(
                target: LOG,
                "{}: {why}; reports wait ({n_waiting} now) and are told when it works again",
                self.name()
            );
        }
        self.row.trouble = Trouble { n_failed, next_try: Some(next_try), why: Some(why.into()) };
        let (id, trouble) = (self.row.id, &self.row.trouble);
        self.store().change(|changes| changes.set_trouble(id, trouble, now))?;
        Ok(Step::Rest)
    }

    /// How long to wait after so many failures in a row.
    fn backoff(&self, n_failed: u32) -> Duration {
        backoff(self.manner.first_retry, n_failed)
    }

    /// When a row is tried again that failed alone.
    fn retry_at(&self, row: &Row, now: Timestamp) -> Timestamp {
        now.checked_add(self.backoff(row.n_tried + 1)).unwrap_or(Timestamp::MAX)
    }

    fn name(&self) -> &str {
        &self.row.destination.name
    }

    fn client(&mut self) -> Result<&Client, ConnectError> {
        self.connection.client(&self.row.destination)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }
}

/// The store, whatever became of a thread that held it: SQLite undid what it had not finished.
pub(crate) fn lock(store: &Shared) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an attribute that MISP holds is the one that this row adds, and not another host's.
fn is_repeat(found: &Attribute, ours: &Attribute) -> bool {
    let mark = |it: &Attribute| (it.uuid, it.first_seen, it.last_seen);
    mark(found) == mark(ours)
}

/// How long to wait after a failure.
#[derive(Clone, Copy)]
enum Wait {
    AtMost(Duration),
    AtLeast(Duration),
}

fn wait_of(error: &MispError) -> Wait {
    match error {
        MispError::Later { why: Outage::RateLimited { retry_after: Some(wait) }, .. } => {
            Wait::AtLeast(*wait)
        }
        MispError::Later { .. } => Wait::AtLeast(Duration::ZERO),
        MispError::Misconfigured { .. } | MispError::Refused { .. } => {
            Wait::AtMost(LONGEST_MISCONFIGURED)
        }
    }
}

/// What there may be too much of in a batch that a server fails at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TooMuch {
    /// Bytes or time: smaller calls do better.
    Size,
    /// One item that it cannot digest.
    Poison,
}

fn blames_the_batch(error: &MispError) -> Option<TooMuch> {
    match error {
        MispError::Later { why, .. } => match why {
            Outage::TooLarge | Outage::TimedOut(_) => Some(TooMuch::Size),
            Outage::Broken { .. } | Outage::CutShort(_) | Outage::Unaccounted(_) => {
                Some(TooMuch::Poison)
            }
            Outage::Unreachable(_) | Outage::RateLimited { .. } | Outage::NotMisp { .. } => None,
        },
        MispError::Refused { .. } => Some(TooMuch::Poison),
        MispError::Misconfigured { .. } => None,
    }
}
