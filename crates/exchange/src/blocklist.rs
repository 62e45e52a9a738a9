//! Keeps the block lists: hears what servers tell, judges it, and brings guard what came of it.
//!
//! One thread owns it all. It is woken by what is heard, by questions from the control socket, and
//! by the time: lists age, and guard may have been away. It ends when it is stopped. A list of its
//! own for each source, so that guard counts the packets of each.

mod brake;
mod kernel;
mod list;
mod policy;
mod questions;
mod store;

use std::collections::BTreeSet;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use control::pulled::{BlockListQuestion, BlockListView};
use ipnet::IpNet;
use jiff::Timestamp;
use lists::change::Withdrawal;
use lists::net;
use lists::warninglist::Warninglist;
use tracing::{error, info, warn};

use self::brake::{Amount, Window};
use self::kernel::{Brought, Kernel};
use self::list::{Gathering, List, difference, has_moved};
pub(crate) use self::policy::Indicator;
pub use self::policy::{ADDRESS_TYPES, BlockPolicy};
use self::store::{Change, SourceRow};
pub(crate) use self::store::{ListStore, TOLD_OF};
use crate::LOG;
use crate::follow::cause;
use crate::intake::Intake;
use crate::look_back::LookBack;
use crate::pull::{self, Heard, Origin, PullError, RowChange, Told, Wanted};
use crate::stop::Stop;
use crate::store::StoreError;

/// Pieces that wait to be judged; a server is read no faster.
const MAX_WAITING: usize = 8;
/// The longest sleep.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often guard is asked what it holds.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// How often all indicators are judged anew, because they age.
const JUDGE_EVERY: Duration = Duration::from_secs(10 * 60);
/// The pause after the disk failed.
const DISK_PAUSE: Duration = Duration::from_secs(5);
/// How long a question waits for its answer: a million indicators are judged in between.
const PATIENCE: Duration = Duration::from_secs(20);

/// What comes back, from where, and what of it is blocked.
#[derive(Clone, Debug)]
pub struct Pull {
    /// The servers.
    pub origins: Vec<Origin>,
    /// How often a MISP is asked.
    pub every: Duration,
    /// What is blocked.
    pub policy: BlockPolicy,
    /// Where guard answers.
    pub guard: PathBuf,
    /// What is done about indicators that are new; nothing where it is missing.
    pub look_back: Option<LookBack>,
}

/// Asks the keeper of the block lists.
#[derive(Clone, Debug)]
pub(crate) struct Keeper(SyncSender<Inbox>);

/// A question, and where its answer is waited for.
type Asked = (BlockListQuestion, SyncSender<Result<BlockListView, String>>);

/// What the keeper is woken by.
enum Inbox {
    Heard(Heard),
    Asked(Asked),
}

impl From<Heard> for Inbox {
    fn from(heard: Heard) -> Self {
        Self::Heard(heard)
    }
}

impl Keeper {
    /// Asks, and waits for the answer; says why there is none.
    pub(crate) fn ask(&self, question: BlockListQuestion) -> Result<BlockListView, String> {
        let (answer, answered) = mpsc::sync_channel(1);
        let busy = || "the block lists are being judged; try again".to_owned();
        self.0.send(Inbox::Asked((question, answer))).map_err(|_| busy())?;
        answered.recv_timeout(PATIENCE).map_err(|_| busy())?
    }
}

/// Starts to keep the lists that `pull` describes, in `database`; `intake` knows MISP's warninglists.
///
/// # Errors
///
/// When the database cannot be used.
pub(crate) fn start(
    pull: Pull,
    database: &Path,
    intake: &Arc<Intake>,
    stop: &Stop,
) -> Result<(Keeper, JoinHandle<()>), StoreError> {
    let (inbox, from) = mpsc::sync_channel(MAX_WAITING);
    let store = ListStore::open(database, pull.look_back.is_some())?;
    let (every, kinds) = (pull.every, pull.policy.types.clone());
    let most = 2 * pull.policy.max_entries as u64;
    let wanted = Wanted { every, kinds, most, intake: Arc::clone(intake) };
    for (number, origin) in pull.origins.iter().enumerate() {
        store.know(&origin.name)?;
        let progress = store.source(&origin.name)?.progress;
        let (wanted, inbox) = (wanted.clone(), inbox.clone());
        pull::listen(number, origin.clone(), progress, wanted, inbox, stop.clone());
    }
    let mut keeping = Keeping {
        sources: pull.origins.into_iter().map(|origin| Source::new(origin.name)).collect(),
        configured: pull.policy.warninglists.clone(),
        policy: pull.policy,
        intake: Arc::clone(intake),
        heeded: None,
        kernel: Kernel::new(pull.guard),
        store,
        is_checked: Instant::now(),
        is_judged: Instant::now(),
    };
    let stop = stop.clone();
    let thread = thread::spawn(move || keeping.run(&from, &stop));
    Ok((Keeper(inbox), thread))
}

/// What the thread owns.
struct Keeping {
    store: ListStore,
    policy: BlockPolicy,
    /// The warninglists of the configuration.
    configured: Vec<Arc<Warninglist>>,
    /// Knows those of MISP,
    intake: Arc<Intake>,
    /// and when they were fetched that the policy heeds.
    heeded: Option<Timestamp>,
    sources: Vec<Source>,
    kernel: Kernel,
    /// When guard was asked last what it holds.
    is_checked: Instant,
    /// When all was judged last.
    is_judged: Instant,
}

/// A source, as far as it is not in the store.
struct Source {
    name: String,
    window: Window,
    /// What it did last that was wrong, and is not mended since.
    trouble: Option<PullError>,
    /// Whether guard needs all of its list.
    is_unsent: bool,
    /// How long its list is, as far as that was counted; to count a million takes a while.
    n_blocked: Option<usize>,
}

impl Source {
    fn new(name: String) -> Self {
        Self { name, window: Window::default(), trouble: None, is_unsent: true, n_blocked: None }
    }
}

impl Keeping {
    fn run(&mut self, inbox: &Receiver<Inbox>, stop: &Stop) {
        self.heed_warnings();
        // The configuration may be another one than at the last start.
        self.judge_all();
        self.check_guard();
        while !stop.is_stopped() {
            match inbox.recv_timeout(LOOK_EVERY) {
                Ok(Inbox::Heard(Heard { origin, told })) => {
                    while let Err(error) = self.hear(origin, &told) {
                        let name = &self.sources[origin].name;
                        error!(target: LOG, "{name}: {error}: {}; it is tried again", cause(&error));
                        stop.pause(DISK_PAUSE);
                        if stop.is_stopped() {
                            return;
                        }
                    }
                    if let Told::Failed(error) = told {
                        self.note_trouble(origin, error);
                    }
                }
                Ok(Inbox::Asked((question, answer))) => {
                    let answered = self.answer(&question);
                    let answered = answered.map_err(|it| format!("{it}: {}", cause(&it)));
                    // Who has not waited for the answer wants none.
                    let _ = answer.send(answered);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_at_the_time();
        }
    }

    fn look_at_the_time(&mut self) {
        if self.heed_warnings() || self.is_judged.elapsed() >= JUDGE_EVERY {
            self.judge_all();
        }
        if self.is_checked.elapsed() >= CHECK_EVERY && self.kernel.is_due() {
            self.check_guard();
        }
        if self.kernel.is_due() {
            self.bring_unsent();
        }
    }

    /// Has the policy heed the warninglists as they were fetched last; tells whether they are new.
    fn heed_warnings(&mut self) -> bool {
        let fetched = self.intake.warnings().fetched();
        if self.heeded == fetched {
            return false;
        }
        self.heeded = fetched;
        let lists = self.configured.iter().cloned().chain(self.intake.harmless());
        self.policy.warninglists = lists.collect();
        true
    }

    /// Takes what a source told.
    fn hear(&mut self, origin: usize, told: &Told) -> Result<(), StoreError> {
        let name = self.sources[origin].name.clone();
        let now = Timestamp::now().as_second();
        match told {
            Told::Failed(_) => return Ok(()),
            Told::Begin => self.store.begin()?,
            Told::Rows(rows) => self.store.gather(rows)?,
            Told::Whole(progress) => {
                self.store.replace(&name, progress)?;
                self.judge(origin, now)?;
            }
            Told::Changes(changes, progress) => {
                let touched: BTreeSet<IpNet> = self.store.write(&name, |it| {
                    it.reach(progress)?;
                    it.heard(now)?;
                    let touched = changes.iter().map(|change| it.change(change));
                    touched.filter_map(Result::transpose).collect()
                })?;
                self.judge_some(origin, &touched, now)?;
                self.lift_bans(&name, changes);
            }
            Told::Alive => {}
        }
        if matches!(told, Told::Whole(_) | Told::Alive) {
            self.store.write(&name, |it| it.heard(now))?;
        }
        if matches!(told, Told::Whole(_) | Told::Changes(..))
            && self.sources[origin].trouble.take().is_some()
        {
            info!(target: LOG, "{name} answers again");
        }
        Ok(())
    }

    /// Has bans of this host lifted, where those call them false positives whose word suffices.
    fn lift_bans(&self, source: &str, changes: &[RowChange]) {
        for change in changes {
            let (net, who) = match change {
                RowChange::Withdraw { net, why: Withdrawal::FalsePositive } => (net, source),
                RowChange::Denied { net, who } => (net, &**who),
                _ => continue,
            };
            if self.policy.trusted.iter().any(|it| it == who) {
                self.kernel.lift(*net, who);
            }
        }
    }

    /// Says what is wrong with a source, once for each thing.
    fn note_trouble(&mut self, origin: usize, error: PullError) {
        let source = &mut self.sources[origin];
        let is_said = source.trouble.as_ref().is_some_and(|it| {
            it.to_string() == error.to_string()
                || mem::discriminant(it) == mem::discriminant(&error)
        });
        if !is_said {
            warn!(target: LOG, "nothing is pulled from {}: {error}; its list stays and ages", source.name);
        }
        source.trouble = Some(error);
    }

    /// Judges all that every source tells.
    fn judge_all(&mut self) {
        self.is_judged = Instant::now();
        let now = Timestamp::now().as_second();
        for origin in 0..self.sources.len() {
            if let Err(error) = self.judge(origin, now) {
                let name = &self.sources[origin].name;
                error!(target: LOG, "{name}: {error}: {}; its list stays", cause(&error));
            }
        }
    }

    /// Judges all that a source tells; the list becomes what comes of it, unless that is too much
    /// at once.
    fn judge(&mut self, origin: usize, now: i64) -> Result<(), StoreError> {
        let name = self.sources[origin].name.clone();
        self.store.write(&name, |it| it.expire(now))?;
        self.sources[origin].n_blocked = None;
        let (before, wanted) = self.wanted(&name, now)?;
        let (changes, amount) = difference(&before, &wanted);
        let row = self.store.source(&name)?;
        if row.waiting.is_some() || !self.policy.allows(before.len(), amount) {
            return self.wait(origin, &row, before.len(), amount);
        }
        self.change(origin, &row, &changes, now)
    }

    /// The list of a source as it is, and as it would be.
    fn wanted(&self, name: &str, now: i64) -> Result<(List, List), StoreError> {
        let mut gathering = Gathering::default();
        self.store.each_indicator(name, |it| gathering.add(&self.policy, &it, now))?;
        Ok((self.store.blocked(name)?, gathering.finish(&self.policy)))
    }

    /// Judges what a source tells of these alone.
    fn judge_some(
        &mut self,
        origin: usize,
        touched: &BTreeSet<IpNet>,
        now: i64,
    ) -> Result<(), StoreError> {
        let name = self.sources[origin].name.clone();
        let n = match self.sources[origin].n_blocked {
            Some(n) => n,
            None => self.store.n_blocked(&name)?,
        };
        // A prefix changes who is merged into whom, and a full list who is in at all.
        let is_large = touched.iter().any(|net| !net::is_single(*net));
        if is_large || n + touched.len() > self.policy.max_entries {
            return self.judge(origin, now);
        }
        let (mut changes, mut amount) = (Vec::new(), Amount::default());
        for net in touched {
            let mut gathering = Gathering::default();
            for indicator in self.store.indicators(&name, *net)? {
                gathering.add(&self.policy, &indicator, now);
            }
            let wanted = gathering.finish(&self.policy).first().map(|(_, until)| *until);
            let before = self.store.until(&name, *net)?;
            match (before, wanted) {
                (None, None) => {}
                (Some(was), Some(until)) if !has_moved(was, until) => {}
                _ => changes.push((*net, wanted)),
            }
            amount.n_added += usize::from(before.is_none() && wanted.is_some());
            amount.n_removed += usize::from(before.is_some() && wanted.is_none());
        }
        let row = self.store.source(&name)?;
        if row.waiting.is_some() {
            // What stands still lets nobody in, and still lets go.
            changes.retain(|(_, until)| until.is_none());
            amount.n_added = 0;
        }
        if !self.sources[origin].window.admit(&self.policy, n, amount, now) {
            return self.wait(origin, &row, n, amount);
        }
        self.change(origin, &row, &changes, now)?;
        self.sources[origin].n_blocked = Some(n + amount.n_added - amount.n_removed);
        Ok(())
    }

    /// Lets a list stand still until somebody accepts; says so once.
    fn wait(
        &mut self,
        origin: usize,
        row: &SourceRow,
        n: usize,
        amount: Amount,
    ) -> Result<(), StoreError> {
        let name = self.sources[origin].name.clone();
        if row.waiting.is_none() {
            let Amount { n_added, n_removed } = amount;
            let why = format!("{n_added} more and {n_removed} fewer in a list of {n} at once");
            warn!(
                target: LOG,
                "{name}: {why}; the list stays as it is until `fail2misp blocklist accept` \
                 (`blocklist diff` shows what would change)"
            );
            self.store.write(&name, |it| it.wait(Some(&why)))?;
        }
        Ok(())
    }

    /// Changes a list, here and then at guard.
    fn change(
        &mut self,
        origin: usize,
        before: &SourceRow,
        changes: &[Change],
        now: i64,
    ) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let name = self.sources[origin].name.clone();
        self.store.write(&name, |it| it.block(changes, now))?;
        self.sources[origin].n_blocked = None;
        self.bring(origin, before, changes);
        Ok(())
    }

    /// Brings guard what changed in a list since it was as `before`.
    fn bring(&mut self, origin: usize, before: &SourceRow, changes: &[Change]) {
        let source = &mut self.sources[origin];
        if source.is_unsent || !self.kernel.is_due() {
            source.is_unsent = true;
            return;
        }
        let after = SourceRow { version: before.version + 1, ..before.clone() };
        let (base, version) = (before.version(), after.version());
        let brought = self.kernel.bring(&source.name, &version, Some(&base), changes);
        source.is_unsent = brought != Brought::Taken;
    }

    /// Brings guard all of the lists that it does not have.
    fn bring_unsent(&mut self) {
        for origin in 0..self.sources.len() {
            if !self.sources[origin].is_unsent {
                continue;
            }
            let name = self.sources[origin].name.clone();
            let list =
                self.store.source(&name).and_then(|row| Ok((row, self.store.blocked(&name)?)));
            let (row, list) = match list {
                Ok(list) => list,
                Err(error) => {
                    error!(target: LOG, "{name}: {error}: {}; guard is not told", cause(&error));
                    continue;
                }
            };
            let list: Vec<Change> =
                list.into_iter().map(|(net, until)| (net, Some(until))).collect();
            let brought = self.kernel.bring(&name, &row.version(), None, &list);
            self.sources[origin].is_unsent = brought != Brought::Taken;
            if brought == Brought::Taken {
                info!(target: LOG, "{name}: guard has the list of {} entries", list.len());
            }
        }
    }

    /// Finds out whether guard holds what it was brought, and nothing of anybody else.
    fn check_guard(&mut self) {
        self.is_checked = Instant::now();
        let Some(versions) = self.kernel.versions() else { return };
        for source in &mut self.sources {
            let held = versions.iter().find(|(name, _)| *name == source.name);
            // What cannot be read is told of by whoever judges it.
            let Ok(row) = self.store.source(&source.name) else { continue };
            source.is_unsent = held.is_none_or(|(_, version)| *version != row.version());
        }
        for (name, _) in versions {
            if !self.sources.iter().any(|source| source.name == name) {
                self.kernel.forget(&name);
            }
        }
    }
}
