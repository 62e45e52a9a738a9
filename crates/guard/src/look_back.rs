//! The look back: whether old logs hold what exchange was told of just now.
//!
//! The program around guard knows how to search ([`LookBack`]); guard says which logs, and at what
//! cost. Each search has a thread of its own, `guard-look-back`, of the lowest priority, which first
//! rests ten times as long as the last one worked; it ends with its search, or with guard.

use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use control::Refusal;
use control::guard::{GuardStatus, LookBackMetrics};
use control::look_back::{
    HitOutcome, LookBackAnswer, LookBackHit, LookBackReport, LookBackRequest, MAX_LOOK_BACK_STEP,
};
use ipnet::IpNet;

/// What one search looks for at most: a block list holds a million entries by default.
const MAX_NETS: usize = 2_000_000;

/// How many times as long as it worked the look back rests: it takes a tenth of one processor at
/// the most, however often something new comes.
const REST: u32 = 10;

/// The lowest priority that a thread can have.
const NICE: i32 = 19;

/// Hits of one search that are told in the log one by one; a first list may have thousands.
const MAX_TOLD: usize = 100;

/// The longest wait for results; who wants them asks again.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Searches old logs: the program around guard knows how.
pub trait LookBack: Send + Sync {
    /// Searches until it is through, its own limits are reached, or `stop` is set.
    fn search(&self, nets: &[IpNet], followed: &Followed, stop: &AtomicBool) -> LookBackReport;
}

/// What guard follows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Followed {
    /// Logs, as they are called now.
    pub files: Vec<PathBuf>,
    /// Whether any jail reads the journal.
    pub journal: bool,
}

impl From<GuardStatus> for Followed {
    fn from(status: GuardStatus) -> Self {
        let journal = status.jails.iter().any(|jail| !jail.journal_matches.is_empty());
        let mut files: Vec<PathBuf> =
            status.jails.into_iter().flat_map(|jail| jail.files).map(PathBuf::from).collect();
        files.sort_unstable();
        files.dedup();
        Self { files, journal }
    }
}

/// The one search that there may be.
#[derive(Clone)]
pub(crate) struct Past(Arc<Shared>);

struct Shared {
    searcher: Arc<dyn LookBack>,
    state: Mutex<State>,
    moved: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// Until when no search begins.
    rest: Option<Instant>,
    counts: LookBackMetrics,
}

#[derive(Default)]
enum Phase {
    #[default]
    None,
    Filling(Vec<IpNet>),
    Searching,
    Over(LookBackReport),
}

impl std::fmt::Debug for Past {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the look back")
    }
}

impl Past {
    pub(crate) fn new(searcher: Arc<dyn LookBack>) -> Self {
        let (state, moved) = (Mutex::default(), Condvar::new());
        Self(Arc::new(Shared { searcher, state, moved, stop: AtomicBool::new(false) }))
    }

    /// Does a step; `followed` tells which logs there are.
    pub(crate) fn ask(
        &self,
        step: LookBackRequest,
        followed: impl FnOnce() -> Result<Followed, Refusal>,
    ) -> Result<LookBackAnswer, Refusal> {
        match step {
            LookBackRequest::Begin => self.begin(),
            LookBackRequest::Add { nets } => self.add(&nets),
            LookBackRequest::Search => self.search(followed()?),
            LookBackRequest::Results { wait_ms } => {
                self.results(Duration::from_millis(wait_ms.into()).min(MAX_WAIT))
            }
        }
    }

    /// What was counted since the start.
    pub(crate) fn counts(&self) -> LookBackMetrics {
        self.state().counts.clone()
    }

    /// Ends a search that goes on, soon.
    pub(crate) fn stop(&self) {
        self.0.stop.store(true, Ordering::Relaxed);
        self.0.moved.notify_all();
    }

    fn begin(&self) -> Result<LookBackAnswer, Refusal> {
        let mut state = self.state();
        if matches!(state.phase, Phase::Searching) {
            let why = "another look back goes on; ask again when it is over";
            return Err(Refusal::Failed(why.to_owned()));
        }
        state.phase = Phase::Filling(Vec::new());
        Ok(LookBackAnswer::Taken)
    }

    fn add(&self, nets: &[IpNet]) -> Result<LookBackAnswer, Refusal> {
        match &mut self.state().phase {
            Phase::Filling(all) if all.len() + nets.len().min(MAX_LOOK_BACK_STEP) <= MAX_NETS => {
                all.extend(nets.iter().take(MAX_LOOK_BACK_STEP));
                Ok(LookBackAnswer::Taken)
            }
            Phase::Filling(_) => {
                let why = format!("one look back looks for {MAX_NETS} at most; search in parts");
                Err(Refusal::Failed(why))
            }
            Phase::None | Phase::Searching | Phase::Over(_) => Err(not_begun()),
        }
    }

    fn search(&self, followed: Followed) -> Result<LookBackAnswer, Refusal> {
        let mut state = self.state();
        let Phase::Filling(nets) = &mut state.phase else { return Err(not_begun()) };
        let nets = mem::take(nets);
        let past = self.clone();
        let work = move || past.work(&nets, &followed);
        let thread = thread::Builder::new().name("guard-look-back".to_owned()).spawn(work);
        thread.map_err(|error| Refusal::Failed(format!("no thread to search on: {error}")))?;
        state.phase = Phase::Searching;
        Ok(LookBackAnswer::Taken)
    }

    fn results(&self, patience: Duration) -> Result<LookBackAnswer, Refusal> {
        let goes_on = |state: &mut State| {
            matches!(state.phase, Phase::Searching) && !self.0.stop.load(Ordering::Relaxed)
        };
        let waited = self.0.moved.wait_timeout_while(self.state(), patience, goes_on);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match mem::take(&mut state.phase) {
            Phase::Over(report) => Ok(LookBackAnswer::Found(report)),
            Phase::Searching => {
                state.phase = Phase::Searching;
                Ok(LookBackAnswer::Searching)
            }
            Phase::None | Phase::Filling(_) => Err(not_begun()),
        }
    }

    /// Rests, searches, tells.
    fn work(&self, nets: &[IpNet], followed: &Followed) {
        let rest = |state: &mut State| {
            state.rest.is_some_and(|it| it > Instant::now()) && !self.0.stop.load(Ordering::Relaxed)
        };
        let now = Instant::now();
        let left = self.state().rest.map_or(Duration::ZERO, |it| it.saturating_duration_since(now));
        drop(self.0.moved.wait_timeout_while(self.state(), left, rest));
        // Where the system does not let it be nice, its limits of time still hold.
        let _ = rustix::process::nice(NICE);
        let began = Instant::now();
        let report = self.0.searcher.search(nets, followed, &self.0.stop);
        tell(nets.len(), &report);
        let mut state = self.state();
        state.rest = Some(Instant::now() + began.elapsed() * REST);
        state.counts.n_searches += 1;
        state.counts.n_bytes += report.n_bytes;
        for (all, n) in state.counts.n_hits.iter_mut().zip(report.n_hits) {
            *all += n;
        }
        state.phase = Phase::Over(report);
        drop(state);
        self.0.moved.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_begun() -> Refusal {
    Refusal::Failed("no look back has begun; begin it anew".to_owned())
}

/// Says in the log what was found, those that got in first.
fn tell(n_nets: usize, report: &LookBackReport) {
    let LookBackReport { hits, n_hits, n_logs, n_bytes, cut_short } = report;
    for LookBackHit { net, n_lines, first, last, outcome, line } in hits.iter().take(MAX_TOLD) {
        let who = jail::Subject::from(*net);
        let (outcome, line) = (outcome.name(), line.escape_debug());
        tracing::warn!(
            target: "fail2ban.lookback",
            "{who}, of which others tell now, was here before and {outcome}: {n_lines} lines, \
             {first} to {last}: {line}"
        );
    }
    let n_found: u64 = n_hits.iter().sum();
    let [probed, failed, succeeded] = HitOutcome::ALL.map(|it| n_hits[it as usize]);
    tracing::info!(
        target: "fail2ban.lookback",
        "{n_nets} new indicators looked for in {n_logs} logs ({:.1} MB): {n_found} found, \
         {succeeded} succeeded, {failed} failed, {probed} probed",
        *n_bytes as f64 / 1e6
    );
    if let Some(why) = cut_short {
        tracing::warn!(target: "fail2ban.lookback", "not all of the past was searched: {why}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use super::*;

    /// Finds all of it, once it may.
    struct All(Mutex<()>);

    impl LookBack for All {
        fn search(&self, nets: &[IpNet], _: &Followed, _: &AtomicBool) -> LookBackReport {
            drop(self.0.lock().unwrap());
            LookBackReport { n_hits: [nets.len() as u64, 0, 0], ..LookBackReport::default() }
        }
    }

    fn ask(past: &Past, step: LookBackRequest) -> Result<LookBackAnswer, String> {
        past.ask(step, || Ok(Followed::default())).map_err(|it| it.to_string())
    }

    #[test]
    fn one_search_after_the_other() {
        let all = Arc::new(All(Mutex::default()));
        let held = all.0.lock().unwrap();
        let past = Past::new(Arc::clone(&all) as Arc<dyn LookBack>);
        let nets = vec!["192.0.2.7/32".parse().unwrap()];
        assert!(ask(&past, LookBackRequest::Add { nets: nets.clone() }).is_err());
        assert!(ask(&past, LookBackRequest::Results { wait_ms: 0 }).is_err());
        for step in [LookBackRequest::Begin, LookBackRequest::Add { nets }, LookBackRequest::Search]
        {
            assert_eq!(ask(&past, step), Ok(LookBackAnswer::Taken));
        }
        assert!(ask(&past, LookBackRequest::Begin).unwrap_err().contains("goes on"));
        let results = LookBackRequest::Results { wait_ms: 0 };
        assert_eq!(ask(&past, results.clone()), Ok(LookBackAnswer::Searching));
        drop(held);
        let found = ask(&past, LookBackRequest::Results { wait_ms: 60_000 }).unwrap();
        assert!(matches!(found, LookBackAnswer::Found(it) if it.n_hits == [1, 0, 0]));
        assert_eq!(past.counts().n_hits, [1, 0, 0]);
        assert!(ask(&past, results).is_err(), "results are told once");
        assert_eq!(ask(&past, LookBackRequest::Begin), Ok(LookBackAnswer::Taken));
    }
}
