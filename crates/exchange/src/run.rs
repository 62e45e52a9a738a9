//! Wires exchange together: who follows guard, who watches the spool, who delivers, who answers.
//!
//! The thread that calls [`run`] takes the spool and starts a thread for each destination that has
//! something due; that ends when nothing is due any more. It is woken by the spool's folder, by
//! the follower, by the end of a delivery, and when something falls due.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use std::{mem, thread};

use control::ServerError;
use jiff::Timestamp;
use tracing::{error, warn};

use crate::backoff::FIRST_RETRY;
use crate::blocklist::{Keeper, Pull};
use crate::deliver::{Deliverer, Manner, PublishWhen, Shared, Step, lock};
use crate::destination::Destination;
use crate::follow::{Source, cause, follow};
use crate::intake::Intake;
use crate::lock::{self as locks, Lock, LockError};
use crate::metrics::{MetricsSetup, Numbers};
use crate::policy::Policy;
use crate::stop::Stop;
use crate::store::{DestinationRow, Store, StoreError};
use crate::take::{TakeError, take};
use crate::warnings::Warnings;
use crate::{LOG, answer, blocklist, look_back, metrics, spool, state, watch};

/// The longest sleep: by then the spool is looked at even if nobody rang.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// The longest sleep of a delivery in the background, which looks for a daemon in between.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a stop waits for calls that are under way; they are repeated at the next start.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// The pause after the disk failed.
const DISK_PAUSE: Duration = Duration::from_secs(5);
/// Destinations that are delivered to at once; the others take turns.
const MAX_DELIVERIES: usize = 16;

/// All that exchange is started with.
pub struct Setup {
    /// The state folder.
    pub state: PathBuf,
    /// Where it answers `ping`, `status` and the like; nowhere where it is missing.
    pub socket: Option<PathBuf>,
    /// Where it serves numbers; nowhere where it is missing.
    pub metrics: Option<MetricsSetup>,
    /// Where bans come from beside the spool: guard's log.
    pub source: Option<Box<dyn Source>>,
    /// Where bans are told. A jail goes to every destination that takes it.
    pub destinations: Vec<Destination>,
    /// What names this host at MISP.
    pub site: String,
    /// Who is told about.
    pub policy: Policy,
    /// Whether what comes in waits for an operator's approval.
    pub review: bool,
    /// What comes back, if anything.
    pub pull: Option<Pull>,
    /// How long it runs.
    pub mode: Mode,
    /// The pause after the first failed try; it doubles with each that follows.
    pub first_retry: Duration,
}

impl Setup {
    /// Exchange on a state folder, told nothing else.
    pub fn new(state: PathBuf, mode: Mode) -> Self {
        Self {
            state,
            socket: None,
            metrics: None,
            source: None,
            destinations: Vec::new(),
            site: String::new(),
            policy: Policy::default(),
            review: false,
            pull: None,
            mode,
            first_retry: FIRST_RETRY,
        }
    }

    /// How it delivers; takes the destinations and the policy out of the setup.
    fn manner(&mut self, when: PublishWhen) -> Manner {
        let destinations = mem::take(&mut self.destinations);
        let policy = mem::take(&mut self.policy);
        let warnings = Warnings::load(&self.state);
        let site = mem::take(&mut self.site);
        let intake = Intake::new(policy, destinations, site.clone(), self.review, warnings);
        Manner {
            site,
            when,
            first_retry: self.first_retry,
            intake: Arc::new(intake),
            meter: Arc::default(),
        }
    }
}

/// How long exchange runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Until it is stopped.
    Daemon,
    /// Until nothing waits any more, a daemon starts, or the time is over: the delivery in the
    /// background that `report` starts where no daemon runs. Follows no source, answers nobody.
    UntilEmpty {
        /// The longest that it tries.
        limit: Duration,
    },
}

/// Why exchange ended, where nothing went wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// Nothing waits any more.
    Empty,
    /// Its time is over; what waits is on disk.
    TimeOver,
    /// Another process delivers what waits.
    HandedOver,
    /// An operator has paused all sharing; what waits is on disk.
    Paused,
}

/// Why exchange cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// A folder under the state folder cannot be made.
    #[error("the folder `{}` cannot be made; may this user write there?", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another one runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Numbers cannot be served.
    #[error("listen on {listen} for `[metrics]`; choose another `listen`")]
    Metrics {
        /// Where.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The control socket cannot be served.
    #[error(transparent)]
    Socket(#[from] ServerError),
}

/// Runs exchange on this thread until it ends.
///
/// # Errors
///
/// When it cannot start, or its database is damaged.
pub fn run(setup: Setup, stop: &Stop) -> Result<Ended, ExchangeError> {
    for path in [state::exchange(&setup.state), state::spool(&setup.state)] {
        state::make(&path).map_err(|source| ExchangeError::Folder { path, source })?;
    }
    match setup.mode {
        Mode::Daemon => daemon(setup, stop),
        Mode::UntilEmpty { limit } => until_empty(setup, limit, stop),
    }
}

fn daemon(mut setup: Setup, stop: &Stop) -> Result<Ended, ExchangeError> {
    let [_only, delivery] = locks::daemon(&setup.state, || stop.is_stopped())?;
    let manner = setup.manner(PublishWhen::Timed);
    let mut exchange = Exchange::start(&setup.state, &manner, delivery, stop)?;
    let database = state::database(&setup.state);
    let look_back = setup.pull.as_ref().and_then(|pull| {
        let guard = pull.guard.clone();
        let look_back = pull.look_back.as_ref()?;
        Some(look_back::start(look_back, guard, &setup.state, &database, stop))
    });
    let look_back = look_back.transpose()?;
    let pull = setup.pull.map(|it| blocklist::start(it, &database, &manner.intake, stop));
    let (keeper, keeping) = pull.transpose()?.unzip();
    let metrics = setup.metrics.map(|it| exchange.serve_metrics(it, keeper.clone())).transpose()?;
    let _server = match setup.socket {
        None => None,
        Some(path) => {
            let (state, store) = (setup.state.clone(), Arc::clone(&exchange.store));
            Some(answer::listen(&path, state, store, manner, keeper, stop.clone())?)
        }
    };
    let follower = setup.source.map(|source| exchange.follow(source));
    let watcher = watch::start(state::spool(&setup.state), stop.clone());
    let ended = exchange.serve();
    // Whatever ended it: nothing goes on behind its back.
    stop.stop();
    exchange.wait_for_deliveries(STOP_GRACE);
    for thread in
        follower.into_iter().chain(metrics).chain(keeping).chain(look_back).chain([watcher])
    {
        // A thread that panicked has said so already.
        let _ = thread.join();
    }
    ended.map(|()| Ended::Stopped)
}

fn until_empty(mut setup: Setup, limit: Duration, stop: &Stop) -> Result<Ended, ExchangeError> {
    let end = Instant::now() + limit;
    let manner = setup.manner(PublishWhen::AtEnd);
    loop {
        let Some(lock) = locks::delivery(&setup.state)? else { return Ok(Ended::HandedOver) };
        let mut exchange = Exchange::start(&setup.state, &manner, lock, stop)?;
        let ended = exchange.drain(end);
        exchange.wait_for_deliveries(STOP_GRACE);
        drop(exchange);
        // A report that came after the last look found the lock taken, and started nobody.
        match ended? {
            Ended::Empty if !spool_is_empty(&setup.state) => {}
            ended => return Ok(ended),
        }
    }
}

fn spool_is_empty(state: &Path) -> bool {
    spool::files(&state::spool(state)).is_ok_and(|files| files.is_empty())
}

/// What delivers, whatever it is woken by.
struct Exchange {
    state: PathBuf,
    manner: Manner,
    store: Shared,
    stop: Stop,
    /// Held by each delivery as well: it ends with the last of them.
    lock: Arc<Lock>,
    deliveries: HashMap<i64, Delivery>,
    /// Between two deliveries, with their connections.
    idle: HashMap<i64, Deliverer>,
    /// Whether the last turn failed at the disk, and that was said.
    is_failing: bool,
}

impl Exchange {
    fn start(
        state: &Path,
        manner: &Manner,
        lock: Lock,
        stop: &Stop,
    ) -> Result<Self, ExchangeError> {
        let mut store = Store::open(&state::database(state))?;
        let intake = &manner.intake;
        store.change(|changes| {
            intake.keep_destinations(changes)?;
            if manner.when == PublishWhen::AtEnd {
                // What a daemon left for later has nobody else to do it.
                changes.hurry_publishing(Timestamp::now())?;
            }
            intake.screen_again(changes)
        })?;
        // What cannot be swept now is swept at the next start.
        let _ = spool::sweep(&state::spool(state), SystemTime::now());
        for row in store.destinations()? {
            if !row.destination.transport.verify {
                let Destination { name, url, .. } = &row.destination;
                warn!(
                    target: LOG,
                    "{name}: the certificate of {url} is NOT verified (verify = false): whoever \
                     is in between can read the key; name the authority in `ca_file` instead"
                );
            }
        }
        Ok(Self {
            state: state.to_owned(),
            manner: manner.clone(),
            store: Arc::new(Mutex::new(store)),
            stop: stop.clone(),
            lock: Arc::new(lock),
            deliveries: HashMap::new(),
            idle: HashMap::new(),
            is_failing: false,
        })
    }

    /// Delivers what comes until it is stopped.
    fn serve(&mut self) -> Result<(), ExchangeError> {
        while !self.stop.is_stopped() {
            let sleep = match self.turn()? {
                Turn::Worked => Duration::ZERO,
                Turn::Idle(next) => next.map_or(LONGEST_SLEEP, until).min(LONGEST_SLEEP),
                Turn::Paused => LONGEST_SLEEP,
                Turn::DiskFailed => DISK_PAUSE,
            };
            self.stop.wait_rung(sleep);
        }
        Ok(())
    }

    /// Delivers until nothing waits any more, and says why it ended.
    fn drain(&mut self, end: Instant) -> Result<Ended, ExchangeError> {
        loop {
            if self.stop.is_stopped() {
                return Ok(Ended::Stopped);
            }
            if locks::daemon_runs(&self.state)? {
                return Ok(Ended::HandedOver);
            }
            if Instant::now() >= end {
                return Ok(Ended::TimeOver);
            }
            match self.turn()? {
                Turn::Idle(None) if self.deliveries.is_empty() => return Ok(Ended::Empty),
                Turn::Paused if self.deliveries.is_empty() => return Ok(Ended::Paused),
                Turn::Worked => {}
                Turn::Idle(next) => {
                    self.stop.wait_rung(next.map_or(LOOK_EVERY, until).min(LOOK_EVERY));
                }
                Turn::Paused | Turn::DiskFailed => self.stop.wait_rung(LOOK_EVERY),
            }
        }
    }

    /// Takes what came and starts what is due.
    fn turn(&mut self) -> Result<Turn, ExchangeError> {
        let turn = self.try_turn();
        match turn {
            Ok(turn) => {
                self.is_failing = false;
                Ok(turn)
            }
            // A full disk may be cleared: what is in the spool stays there meanwhile.
            Err(TakeError::Io(_) | TakeError::Store(StoreError::Failed { .. })) => {
                if let Err(error) = turn
                    && !mem::replace(&mut self.is_failing, true)
                {
                    error!(target: LOG, "{error}: {}; reports wait", cause(&error));
                }
                Ok(Turn::DiskFailed)
            }
            Err(TakeError::Store(error)) => Err(error.into()),
        }
    }

    fn try_turn(&mut self) -> Result<Turn, TakeError> {
        self.reap();
        let now = Timestamp::now();
        let took = take(&self.state, &self.store, &self.manner.intake, now)?;
        if lock(&self.store).is_paused()? {
            return Ok(if took { Turn::Worked } else { Turn::Paused });
        }
        let mut next = self.end_bans(now)?;
        let rows = lock(&self.store).destinations()?;
        for row in rows {
            if self.deliveries.contains_key(&row.id) {
                continue;
            }
            let Some(due) = self.due(&row)? else { continue };
            if due <= now && self.deliveries.len() < MAX_DELIVERIES {
                let id = row.id;
                let delivery = self.deliver(row);
                self.deliveries.insert(id, delivery);
            } else {
                next = next.into_iter().chain([due.max(now)]).min();
            }
        }
        Ok(if took { Turn::Worked } else { Turn::Idle(next) })
    }

    /// Puts the ends of bans into the outbox that have come, and tells when the next comes. A
    /// delivery in the background does not wait for it.
    fn end_bans(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let mut store = lock(&self.store);
        let mut next = store.next_end()?;
        if next.is_some_and(|end| end <= now) {
            store.change(|changes| changes.end_bans(now))?;
            next = store.next_end()?;
        }
        Ok(next.filter(|_| self.manner.when == PublishWhen::Timed))
    }

    /// When a destination has to be called next.
    fn due(&self, row: &DestinationRow) -> Result<Option<Timestamp>, StoreError> {
        let store = lock(&self.store);
        let publish_at = store.next_publish(row.id)?.and_then(|event| event.publish_at);
        let due = store.next_due(row.id)?.into_iter().chain(publish_at).min();
        Ok(due.map(|due| due.max(row.trouble.next_try.unwrap_or(due))))
    }

    /// Starts a delivery, which ends when nothing of its destination is due any more.
    fn deliver(&mut self, row: DestinationRow) -> Delivery {
        let is_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&is_done);
        let (stop, held) = (self.stop.clone(), Arc::clone(&self.lock));
        let name = row.destination.name.clone();
        let mut deliverer = match self.idle.remove(&row.id) {
            Some(idle) => idle.resume(row),
            None => Deliverer::new(Arc::clone(&self.store), row, self.manner.clone()),
        };
        let thread = thread::spawn(move || {
            let _held = held;
            while !stop.is_stopped() {
                match deliverer.step(Timestamp::now()) {
                    Ok(Step::Did) => {}
                    Ok(Step::Wait(wait)) => stop.pause(wait),
                    Ok(Step::Rest) => break,
                    Err(error) => {
                        error!(target: LOG, "{name}: {error}: {}; reports wait", cause(&error));
                        stop.pause(DISK_PAUSE);
                        break;
                    }
                }
            }
            done.store(true, Ordering::SeqCst);
            stop.ring();
            deliverer
        });
        Delivery { is_done, thread }
    }

    /// Lets go of the deliveries that are done.
    fn reap(&mut self) {
        for (id, delivery) in self.deliveries.extract_if(|_, it| it.is_done()) {
            // A thread that panicked has said so already; its destination is due again.
            if let Ok(deliverer) = delivery.thread.join() {
                self.idle.insert(id, deliverer);
            }
        }
    }

    /// Starts to serve numbers.
    fn serve_metrics(
        &self,
        setup: MetricsSetup,
        keeper: Option<Keeper>,
    ) -> Result<JoinHandle<()>, ExchangeError> {
        let MetricsSetup { listen, guard } = setup;
        let (store, meter) = (Arc::clone(&self.store), Arc::clone(&self.manner.meter));
        metrics::serve(listen, Numbers { store, meter, guard, keeper }, self.stop.clone())
            .map_err(|source| ExchangeError::Metrics { listen, source })
    }

    /// Starts to follow a log of bans.
    fn follow(&self, mut source: Box<dyn Source>) -> JoinHandle<()> {
        let (store, intake) = (Arc::clone(&self.store), Arc::clone(&self.manner.intake));
        let stop = self.stop.clone();
        thread::spawn(move || follow(source.as_mut(), &store, &intake, &stop))
    }

    /// Waits for the calls that are under way, for so long.
    fn wait_for_deliveries(&mut self, grace: Duration) {
        let end = Instant::now() + grace;
        self.reap();
        while !self.deliveries.is_empty() && Instant::now() < end {
            self.stop.wait_bell(end.saturating_duration_since(Instant::now()));
            self.reap();
        }
    }
}

/// A delivery that runs.
struct Delivery {
    /// Set before the bell is rung, when the thread itself is not quite finished.
    is_done: Arc<AtomicBool>,
    thread: JoinHandle<Deliverer>,
}

impl Delivery {
    fn is_done(&self) -> bool {
        self.is_done.load(Ordering::SeqCst) || self.thread.is_finished()
    }
}

/// What a turn came to.
enum Turn {
    /// The spool held something; there may be more.
    Worked,
    /// Nothing is due before this; nothing at all, if `None`.
    Idle(Option<Timestamp>),
    /// An operator has paused all sharing.
    Paused,
    /// The disk failed.
    DiskFailed,
}

fn until(time: Timestamp) -> Duration {
    // What is past is due now.
    Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default()
}
