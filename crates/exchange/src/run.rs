//! Wires exchange together: who follows guard, who watches the spool, who delivers, who answers.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use control::BanLog;

use crate::destination::Destination;
use crate::policy::Policy;

/// All that exchange is started with.
pub struct Setup {
    /// The state folder.
    pub state: PathBuf,
    /// Where it answers `ping`, `status` and the like; nowhere where it is missing.
    pub socket: Option<PathBuf>,
    /// Where bans come from beside the spool: guard's log.
    pub source: Option<Box<dyn Source>>,
    /// Where bans are told. A jail goes to every destination that takes it.
    pub destinations: Vec<Destination>,
    /// What names this host at MISP.
    pub site: String,
    /// Who is never told about.
    pub policy: Policy,
    /// How long it runs.
    pub mode: Mode,
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
}

/// Why exchange cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {}

/// Where bans come from: guard's log over its socket, or the hub's own in a relay.
pub trait Source: Send {
    /// The bans after number `after`, at most `limit`; waits for one where there is none yet.
    ///
    /// # Errors
    ///
    /// When it cannot be asked; it is asked again later.
    fn bans_since(&mut self, after: u64, limit: u32, wait: Duration)
    -> Result<BanLog, SourceError>;

    /// Tells that every ban of `log` up to `number` is on our disk.
    ///
    /// # Errors
    ///
    /// When it cannot be told; it is told again later.
    fn reached(&mut self, log: &str, number: u64) -> Result<(), SourceError>;
}

/// Why a source cannot be asked.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Tells [`run`] to end; clones tell the same one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Ends what was started with it, soon.
    pub fn stop(&self) {
        let (stopped, bell) = &*self.0;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        bell.notify_all();
    }

    /// Whether it was told.
    pub fn is_stopped(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs exchange on this thread until it ends.
///
/// # Errors
///
/// When it cannot start, or its disk fails.
pub fn run(setup: Setup, stop: &Stop) -> Result<Ended, ExchangeError> {
    drop(setup);
    let _ = stop;
    Ok(Ended::Stopped)
}
