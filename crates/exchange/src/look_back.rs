//! The look back: has guard search old logs for what is new among the indicators, and tells MISP of
//! what they hold.
//!
//! What is new stands in exchange.db until guard has looked for it; a crash in between looks once
//! more, and a repeat changes nothing at MISP. A thread of its own, woken by the time, ended by
//! [`Stop`].

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use control::ClientError;
use control::guard::GuardClient;
use control::look_back::LookBackReport;
use ipnet::IpNet;
use jail::Subject;
use tracing::{error, info, warn};

use crate::backoff::{FIRST_RETRY, backoff};
use crate::blocklist::ListStore;
use crate::report::{Past, Report};
use crate::stop::Stop;
use crate::store::StoreError;
use crate::{LOG, spool};

/// How often the thread looks whether anything is new. What comes in pieces is waited for: while
/// more is there than at the last look, no search begins.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Indicators of one search; the others are of the next.
const MAX_NETS: usize = 1_000_000;
/// How long a question for results waits at guard, and so the end of exchange for this thread.
const RESULTS_WAIT: Duration = Duration::from_secs(1);
/// A guard that does not look back is asked again after this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10 * 60);

/// What is done about indicators that are new.
#[derive(Clone, Debug, PartialEq)]
pub struct LookBack {
    /// Whether MISP gets a sighting of what old logs hold.
    pub sightings: bool,
}

/// Why a look back came to nothing.
#[derive(Debug, thiserror::Error)]
enum LookBackError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Guard(#[from] ClientError),
    #[error(transparent)]
    Spool(#[from] spool::SpoolError),
}

/// Starts to look back for what is new in `database`; guard answers at `guard`.
pub(crate) fn start(
    look_back: &LookBack,
    guard: PathBuf,
    state: &Path,
    database: &Path,
    stop: &Stop,
) -> Result<JoinHandle<()>, StoreError> {
    let looking = Looking {
        store: ListStore::open(database, true)?,
        guard,
        state: state.to_owned(),
        sightings: look_back.sightings,
        stop: stop.clone(),
    };
    Ok(thread::spawn(move || looking.run()))
}

/// What the thread owns.
struct Looking {
    store: ListStore,
    guard: PathBuf,
    state: PathBuf,
    sightings: bool,
    stop: Stop,
}

impl Looking {
    fn run(mut self) {
        let (mut n_before, mut n_failed) = (0, 0);
        while !self.stop.is_stopped() {
            match self.turn(&mut n_before) {
                Ok(()) => {
                    n_failed = 0;
                    self.stop.pause(LOOK_EVERY);
                }
                Err(error) => {
                    if n_failed == 0 {
                        warn!(target: LOG, "no look back for new indicators: {error}; it is tried again");
                    }
                    n_failed += 1;
                    self.stop.pause(backoff(FIRST_RETRY, n_failed).min(LONGEST_PAUSE));
                }
            }
        }
    }

    /// Looks for what is new, once all of it has come.
    fn turn(&mut self, n_before: &mut i64) -> Result<(), LookBackError> {
        let n_new = self.store.n_unsought()?;
        let is_growing = n_new != std::mem::replace(n_before, n_new);
        if n_new == 0 || is_growing {
            return Ok(());
        }
        let new = self.store.unsought(MAX_NETS)?;
        if new.is_empty() {
            return Ok(());
        }
        let Some(report) = self.ask(&new)? else { return Ok(()) };
        if self.sightings {
            self.sight(&report)?;
        }
        self.store.sought(&new)?;
        Ok(())
    }

    /// What guard found of `nets`; nothing where exchange ends meanwhile.
    fn ask(&self, nets: &[IpNet]) -> Result<Option<LookBackReport>, LookBackError> {
        let mut guard = GuardClient::connect(&self.guard)?;
        guard.look_back(nets)?;
        while !self.stop.is_stopped() {
            if let Some(report) = guard.look_back_results(RESULTS_WAIT)? {
                return Ok(Some(report));
            }
        }
        Ok(None)
    }

    /// Puts sightings into the spool, from where they are delivered.
    fn sight(&self, report: &LookBackReport) -> Result<(), LookBackError> {
        let reports: Vec<Report> = report
            .hits
            .iter()
            .map(|hit| {
                let (subject, n_lines) = (Subject::from(hit.net), hit.n_lines);
                Report::of_the_past(Past { subject, n_lines, first: hit.first, last: hit.last })
            })
            .collect();
        let n_untold = report.n_hits.iter().sum::<u64>() - reports.len() as u64;
        if n_untold > 0 {
            error!(target: LOG, "{n_untold} of what old logs hold get no sighting: too many at once");
        }
        if !reports.is_empty() {
            info!(target: LOG, "{} of the new indicators were here before: MISP gets sightings", reports.len());
        }
        Ok(spool::put(&self.state, &reports)?)
    }
}
