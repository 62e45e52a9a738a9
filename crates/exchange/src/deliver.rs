//! Delivers what waits for one destination: in batches, in order, each step settled on disk.
//!
//! A step takes the oldest rows that are due and decides for each: an attribute that MISP does not
//! hold yet, a sighting of one that it does, or nothing ([`crate::plan`]). Attributes and sightings
//! carry uuids of our choosing, so a step that is repeated after a crash or a lost answer changes
//! nothing at MISP. Of the rows of one value in a step only the first is an attribute; the others
//! wait for the next step and find it known.

mod add;
pub(crate) mod anywhere;
mod event;
pub(crate) mod item;
mod send;
mod sight;
mod tally;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use misp::{Client, MispError, Outage};
use tracing::{info, warn};

use crate::LOG;
use crate::backoff::{LONGEST_MISCONFIGURED, backoff};
use crate::budget::{Calls, tomorrow};
use crate::connect::{ConnectError, Connection};
use crate::intake::Intake;
use crate::meter::{Meter, Outcome};
use crate::plan::{Plan, Settled};
use crate::store::{Changes, DestinationRow, Row, Store, StoreError, Trouble};
use crate::warnings::Asking;
use item::Items;
use tally::Tally;

/// The most attributes or sightings in one call: beyond it MISP gains no speed, and a lost answer
/// costs more.
pub(crate) const MAX_BATCH: usize = 1_000;

/// The store, shared by the threads of this process.
pub(crate) type Shared = Arc<Mutex<Store>>;

/// Delivers to one destination.
pub(crate) struct Deliverer {
    store: Shared,
    row: DestinationRow,
    manner: Manner,
    connection: Connection,
    calls: Calls,
    /// Smaller than [`MAX_BATCH`] after a call that was too large or took too long.
    batch: usize,
    /// Steps until a larger batch is tried again.
    n_careful: u32,
    /// Offenders told since the budget was last written down.
    n_told: u64,
    /// When warninglists are asked for.
    asking: Asking,
    /// When those were fetched that what waits was held against.
    screened: Option<Timestamp>,
    /// Tags that MISP has, or that it was said to lack.
    tags: HashSet<String>,
}

/// How this process delivers, wherever to.
#[derive(Clone)]
pub(crate) struct Manner {
    /// What names this host at MISP.
    pub(crate) site: String,
    pub(crate) when: PublishWhen,
    /// The pause after the first failed try.
    pub(crate) first_retry: Duration,
    /// What decides who is told about, also of those that wait.
    pub(crate) intake: Arc<Intake>,
    pub(crate) meter: Arc<Meter>,
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
    /// There is more, and the budget of calls is used up for so long.
    Wait(Duration),
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

impl Deliverer {
    pub(crate) fn new(store: Shared, row: DestinationRow, manner: Manner) -> Self {
        let calls = Calls::new(row.destination.budget, Timestamp::now());
        Self {
            store,
            row,
            manner,
            connection: Connection::default(),
            calls,
            batch: MAX_BATCH,
            n_careful: 0,
            n_told: 0,
            asking: Asking::default(),
            screened: None,
            tags: HashSet::new(),
        }
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
        if let Some(wait) = self.calls.wait(now) {
            return Ok(Step::Wait(wait));
        }
        let left = self.row.told.left(self.row.destination.budget, now);
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let is_spent = left == 0 && is_due(self.store().next_due(self.row.id)?);
        let changed = self.store().next_publish(self.row.id)?;
        // What is told today is complete where the budget is spent: partners need not wait.
        let publish = changed.filter(|event| is_spent || is_due(event.publish_at));
        let rows = match (&publish, self.manner.when) {
            // However much waits, partners see what there is.
            (Some(_), PublishWhen::Timed) => Vec::new(),
            _ => {
                let limit = self.batch.min(usize::try_from(left).unwrap_or(usize::MAX));
                self.store().due(self.row.id, now, limit)?
            }
        };
        if !rows.is_empty() {
            // New lists have been asked about these rows as well.
            if !self.refresh_warnings(now)? {
                self.deliver(rows, now)?;
            }
            return Ok(Step::Did);
        }
        if let Some(event) = publish {
            self.publish(&event, now)?;
            return Ok(Step::Did);
        }
        if is_spent {
            self.rest_until_tomorrow(now)?;
        }
        Ok(Step::Rest)
    }

    fn deliver(&mut self, rows: Vec<Row>, now: Timestamp) -> Result<(), Broken> {
        let plan = Plan::make(&self.store(), &self.row.destination, rows)?;
        self.settle(&plan.settled)?;
        let talks = plan.talks();
        let began = Instant::now();
        for (row, known) in &plan.false_positives {
            self.take_back(row, known, now)?;
        }
        for (period, rows) in plan.adds {
            self.add(&period, rows, now)?;
        }
        self.sight_anywhere(&plan.only_sightings, now)?;
        for (event, rows) in plan.sightings {
            self.sight(event, &rows, now)?;
        }
        if talks {
            self.manner.meter.took(began.elapsed());
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
                Settled::Covered | Settled::Unknown => {}
            }
        }
        self.manner.meter.count(Outcome::Settled, settled.len() as u64);
        self.store().change(|it| settled.iter().try_for_each(|(row, _)| it.settle(row.id)))
    }

    /// Drops a row that MISP was told, and remembers when its ban ends where that is told, too.
    fn settle_told(&self, changes: &Changes<'_>, row: &Row) -> rusqlite::Result<()> {
        if self.row.destination.expirations
            && let Some(until) = row.ban.until
        {
            changes.expect_end(&row.ban, until)?;
        }
        changes.settle(row.id)
    }

    /// Counts what a call came to, and says it.
    fn told(&mut self, tally: &Tally, what: &str) {
        self.n_told += tally.n_told as u64;
        self.manner.meter.count(Outcome::Told, tally.n_told as u64);
        self.manner.meter.count(Outcome::Refused, tally.refused.len() as u64);
        tally.tell(&self.row.destination.name, what);
    }

    /// Fetches MISP's warninglists where it is time; tells whether what waits was held against new
    /// ones, whoever fetched them.
    fn refresh_warnings(&mut self, now: Timestamp) -> Result<bool, Broken> {
        let intake = Arc::clone(&self.manner.intake);
        let warnings = intake.warnings();
        if !intake.heeds_warnings() {
            return Ok(false);
        }
        if self.asking.is_due(warnings, now) {
            self.calls.spend();
            let client = self.connection.client(&self.row.destination)?;
            self.asking.ask(warnings, client, now)?;
        }
        let fetched = warnings.fetched();
        if self.screened == fetched {
            return Ok(false);
        }
        self.store().change(|changes| intake.screen_again(changes))?;
        self.screened = fetched;
        Ok(true)
    }

    fn items(&self) -> Items<'_> {
        Items { destination: &self.row.destination, site: &self.manner.site }
    }

    /// Remembers that the destination works, and says so if it did not.
    fn succeed(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let before = std::mem::take(&mut self.row.trouble);
        if before.n_failed > 0 {
            info!(target: LOG, "{} answers again", self.name());
        }
        self.row.told = self.row.told.and(std::mem::take(&mut self.n_told), now);
        let DestinationRow { id, trouble, told, .. } = &self.row;
        self.store().change(|changes| {
            changes.set_told(*id, told)?;
            changes.set_trouble(*id, trouble, now)
        })
    }

    /// Remembers that no more may be told today.
    fn rest_until_tomorrow(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let most = self.row.destination.budget.max_per_day;
        let why = format!("{most} offenders were told today, which is the most (`max_per_day`)");
        warn!(target: LOG, "{}: {why}; the others wait until tomorrow", self.name());
        let next_try = Some(tomorrow(now));
        self.row.trouble = Trouble { n_failed: 0, next_try, why: Some(why) };
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
        self.manner.meter.count(Outcome::Failed, 1);
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

    /// The connection, for one call.
    fn client(&mut self) -> Result<&Client, ConnectError> {
        self.calls.spend();
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
