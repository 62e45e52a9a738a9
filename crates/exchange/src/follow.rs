//! Follows a log of bans as a replica does: what is new goes into the outbox, together with the
//! place that was reached.
//!
//! A thread of its own: woken by the source, which answers when there is a ban; ended by [`Stop`].

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use control::guard::GuardClient;
use jiff::Timestamp;
use tracing::{error, info, warn};

use crate::LOG;
use crate::backoff::{FIRST_RETRY, backoff};
use crate::deliver::{Shared, lock};
use crate::intake::Intake;
use crate::report::Report;
use crate::stop::Stop;
use crate::store::StoreError;

/// The most bans that are taken at once.
const MAX_BANS: u32 = 1_000;
/// How long the source is asked to wait for a ban; exchange ends no sooner than it answers.
const WAIT: Duration = Duration::from_secs(2);
/// A source that answers nothing sooner than this is not asked again at once.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// A source that is away is asked again at least this often: on one host it is back in seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A part of a log that is followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Which log it is; numbers begin again in another one.
    pub log: String,
    /// The number of the last entry; the one that was asked for, where there is none after it.
    pub last: u64,
    /// What the entries report; some may report nothing.
    pub reports: Vec<Report>,
}

/// Where bans come from: guard's log over its socket, or the hub's own in a relay.
pub trait Source: Send {
    /// What comes after number `after`, at most `limit` entries; waits for one where there is none
    /// yet.
    ///
    /// # Errors
    ///
    /// When it cannot be asked; it is asked again later.
    fn since(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Part, SourceError>;

    /// Tells that every entry of `log` up to `number` is on our disk.
    ///
    /// # Errors
    ///
    /// When it cannot be told; it is told again later.
    fn reached(&mut self, log: &str, number: u64) -> Result<(), SourceError>;
}

/// Why a source cannot be asked.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// guard's log over its control socket.
#[derive(Debug)]
pub struct GuardSource {
    path: PathBuf,
    client: Option<GuardClient>,
}

impl GuardSource {
    /// The log of the guard that listens at `path`, now or later.
    pub fn new(path: PathBuf) -> Self {
        Self { path, client: None }
    }

    fn ask<T>(
        &mut self,
        ask: impl FnOnce(&mut GuardClient) -> Result<T, control::ClientError>,
    ) -> Result<T, SourceError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => GuardClient::connect(&self.path)?,
        };
        // After an error the connection is of no use any more.
        let answer = ask(&mut client)?;
        self.client = Some(client);
        Ok(answer)
    }
}

impl Source for GuardSource {
    fn since(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Part, SourceError> {
        let part = self.ask(|guard| guard.bans_since(after, limit, wait))?;
        let last = part.bans.last().map_or(after, |it| it.number);
        let reports = part.bans.into_iter().map(|it| Report::of(it.ban)).collect();
        Ok(Part { log: part.log, last, reports })
    }

    fn reached(&mut self, log: &str, number: u64) -> Result<(), SourceError> {
        self.ask(|guard| guard.reached(log, number))
    }
}

/// Follows `source` until it is stopped.
pub(crate) fn follow(source: &mut dyn Source, store: &Shared, intake: &Intake, stop: &Stop) {
    let mut n_failed = 0;
    while !stop.is_stopped() {
        match follow_once(source, store, intake) {
            Ok(Followed::Taken) => stop.ring(),
            Ok(Followed::Nothing) if n_failed == 0 => {}
            Ok(Followed::Nothing) => info!(target: LOG, "the log of bans is followed again"),
            Ok(Followed::TooSoon) => stop.pause(SHORTEST_WAIT),
            Err(Failed::Source(error)) => {
                if n_failed == 0 {
                    info!(target: LOG, "the log of bans cannot be followed for now ({error}); it is taken up where it was left");
                }
                n_failed += 1;
                stop.pause(backoff(FIRST_RETRY, n_failed).min(LONGEST_PAUSE));
                continue;
            }
            Err(Failed::Store(error)) => {
                if n_failed == 0 {
                    error!(target: LOG, "{error}: {}; bans wait where they come from", cause(&error));
                }
                n_failed += 1;
                stop.pause(LONGEST_PAUSE);
                continue;
            }
        }
        n_failed = 0;
    }
}

enum Followed {
    Taken,
    Nothing,
    TooSoon,
}

enum Failed {
    Source(SourceError),
    Store(StoreError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn follow_once(
    source: &mut dyn Source,
    store: &Shared,
    intake: &Intake,
) -> Result<Followed, Failed> {
    let place = lock(store).place()?;
    let (log, after) = place.unwrap_or_default();
    let asked = Instant::now();
    let mut answer = source.since(after, MAX_BANS, WAIT).map_err(Failed::Source)?;
    let mut asked_for = after;
    if answer.log != log && after > 0 {
        // Another log, whose numbers began again: what was asked for means nothing in it.
        warn!(target: LOG, "there is a new log of bans; it is read from its beginning");
        asked_for = 0;
        answer = source.since(0, MAX_BANS, Duration::ZERO).map_err(Failed::Source)?;
    }
    let Part { log, last, reports } = answer;
    if last == asked_for {
        let is_early = asked.elapsed() < SHORTEST_WAIT;
        return Ok(if is_early { Followed::TooSoon } else { Followed::Nothing });
    }
    let now = Timestamp::now();
    lock(store).change(|changes| {
        for report in reports {
            intake.admit(changes, &report, now)?;
        }
        changes.reach(&log, last)
    })?;
    // The source only keeps them longer where it is not told; the next batch tells it as well.
    let _ = source.reached(&log, last);
    Ok(Followed::Taken)
}

/// What is behind an error, for a line of the log.
pub(crate) fn cause(error: &dyn Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}
