//! The block lists: what exchange wants blocked, as far as guard's own limits let it.
//!
//! They stand in a firewall of their own and in blocklist.db, and are kept by a thread of their own:
//! no ban waits for them. What a list may not block on this host (its own addresses, `ignoreip`,
//! whoever is connected to its sshd) stays in blocklist.db and out of the kernel, for as long as that
//! is so. The thread wakes for a step of a change, for word of whom to spare, and each minute.

mod limits;
mod pending;
mod store;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use control::Refusal;
use control::block_list::{
    BlockListAnswer, BlockListOutcome, BlockListRequest, BlockListStatus, WhyRefused,
};
use ipnet::IpNet;
use jiff::Timestamp;

use crate::addresses;
use crate::allocator;
use crate::firewall::{
    Blocking, Change, Firewall, FirewallError, Hook, Look, Ports, Rule, Verdict, differences,
};
use crate::start_error::StartError;
use crate::store::StoreError;
use crate::words::chain;

pub use limits::Limits;

use limits::Spared;
use pending::Pending;
use store::{Differences, Entry, MAX_DIFFERENCES, Store};

/// Errands that wait: each caller waits for its answer, so there are few.
const MAX_ERRANDS: usize = 16;

/// How often the firewall and the addresses of this host are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How often entries that have ended are forgotten.
const PURGE_EVERY: Duration = Duration::from_secs(3600);

/// How long until a firewall that refused is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// Lists at most: each adds rules that every packet meets.
const MAX_LISTS: usize = 16;

/// The longest name of a source: a set of nftables has 255 bytes for it, three for an odd one.
const MAX_SOURCE: usize = 64;

/// What the thread is asked to do.
enum Errand {
    Step(BlockListRequest, SyncSender<Result<BlockListAnswer, Refusal>>),
    /// These are the `ignoreip` of all jails now.
    Ignored(Vec<IpNet>),
    Stop {
        leave_rules: bool,
    },
}

/// The thread that keeps the lists, for those who ask it.
#[derive(Clone, Debug)]
pub(crate) struct BlockLists(SyncSender<Errand>);

impl BlockLists {
    /// Starts it: the lists of the last life are put into the firewall.
    pub(crate) fn start(
        folder: Option<&Path>,
        firewall: Box<dyn Firewall>,
        limits: Limits,
    ) -> Result<(Self, JoinHandle<()>), StartError> {
        let keeper = Keeper::new(Store::open(folder)?, firewall, limits);
        let (errands, inbox) = sync_channel(MAX_ERRANDS);
        let work = move || keeper.work(&inbox);
        let thread = thread::Builder::new().name("guard-lists".to_owned()).spawn(work)?;
        Ok((Self(errands), thread))
    }

    /// Has a step done, and waits until it is.
    pub(crate) fn ask(&self, step: BlockListRequest) -> Result<BlockListAnswer, Refusal> {
        let (reply, answer) = sync_channel(1);
        self.0.send(Errand::Step(step, reply)).map_err(|_| Refusal::Stopping)?;
        answer.recv().map_err(|_| Refusal::Stopping)?
    }

    /// Tells whom the jails ignore; never waits, as the next minute tells it again.
    pub(crate) fn ignore(&self, nets: Vec<IpNet>) {
        let _ = self.0.try_send(Errand::Ignored(nets));
    }

    /// Ends it; its rules are left in the firewall where a crash is played.
    pub(crate) fn stop(&self, leave_rules: bool) {
        // It has ended already where nobody takes this.
        let _ = self.0.send(Errand::Stop { leave_rules });
    }
}

/// Why a change was not made as it should be.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Firewall(#[from] FirewallError),
}

/// The lists, owned by their one thread.
struct Keeper {
    store: Store,
    firewall: Box<dyn Firewall>,
    limits: Limits,
    /// The one change that has begun.
    pending: Option<Pending>,
    /// `ignoreip` of all jails.
    ignored: Vec<IpNet>,
    spared: Spared,
    /// The sources whose rules are in the firewall.
    sources: BTreeSet<String>,
    /// What was refused at the last change of each source, and said.
    said: BTreeMap<String, BTreeSet<WhyRefused>>,
    looked: Instant,
    purged: Instant,
    /// When a firewall that refused is filled again.
    due: Option<Instant>,
}

impl Keeper {
    fn new(store: Store, firewall: Box<dyn Firewall>, limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            store,
            firewall,
            limits,
            pending: None,
            ignored: Vec::new(),
            spared: Spared::default(),
            sources: BTreeSet::new(),
            said: BTreeMap::new(),
            looked: now,
            purged: now,
            due: None,
        }
    }

    fn work(mut self, inbox: &Receiver<Errand>) {
        // Whom to spare is told before anything else; without it nothing is blocked.
        let mut is_filled = false;
        loop {
            let until =
                self.due.map_or(self.looked + LOOK_EVERY, |due| due.min(self.looked + LOOK_EVERY));
            match inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Errand::Step(step, reply)) => {
                    // Whoever asked may have gone.
                    let _ = reply.send(self.answer(step));
                }
                Ok(Errand::Ignored(nets)) => {
                    self.ignored = nets;
                    match is_filled {
                        true => self.spare(),
                        false => self.fill_and_say("kept from the last life"),
                    }
                    is_filled = true;
                }
                Ok(Errand::Stop { leave_rules }) => return self.end(leave_rules),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_after();
        }
    }

    fn end(mut self, leave_rules: bool) {
        if leave_rules || self.sources.is_empty() {
            return;
        }
        if let Err(error) = self.firewall.remove() {
            tracing::error!(
                target: "fail2ban.actions",
                "the block lists stay in the firewall: {}", chain(&error)
            );
        }
    }

    fn answer(&mut self, step: BlockListRequest) -> Result<BlockListAnswer, Refusal> {
        match step {
            BlockListRequest::Begin { source, version, base } => self.begin(source, version, base),
            BlockListRequest::Add { source, entries } => {
                self.pending(&source)?.add(entries);
                Ok(BlockListAnswer::Taken)
            }
            BlockListRequest::Remove { source, nets } => {
                self.pending(&source)?.remove(nets);
                Ok(BlockListAnswer::Taken)
            }
            BlockListRequest::Commit { source } => {
                self.pending(&source)?;
                let outcome = match self.pending.take() {
                    Some(pending) => self.commit(pending),
                    None => Ok(BlockListOutcome::default()),
                };
                outcome.map(BlockListAnswer::Committed).map_err(|error| self.refusal(&error))
            }
            BlockListRequest::Forget { source } => {
                let forgotten = self.store.forget(&source).map_err(Trouble::from);
                let outcome = forgotten.and_then(|()| self.fill());
                let outcome = outcome.map(|()| BlockListOutcome::default());
                outcome.map(BlockListAnswer::Committed).map_err(|error| self.refusal(&error))
            }
            BlockListRequest::Status => {
                self.status().map(BlockListAnswer::Status).map_err(|error| self.refusal(&error))
            }
        }
    }

    fn begin(
        &mut self,
        source: String,
        version: String,
        base: Option<String>,
    ) -> Result<BlockListAnswer, Refusal> {
        let refused = |error: StoreError| Refusal::Failed(chain(&error));
        let held = self.store.version(&source).map_err(refused)?;
        if base.is_some() && base != held {
            return Ok(BlockListAnswer::OtherBase { version: held });
        }
        if source.is_empty() || source.len() > MAX_SOURCE {
            let why = format!("a block list's source has a name of 1 to {MAX_SOURCE} bytes");
            return Err(Refusal::Failed(why));
        }
        if held.is_none() && self.store.lists().map_err(refused)?.len() >= MAX_LISTS {
            let why =
                format!("there are {MAX_LISTS} block lists, no more are kept; forget one first");
            return Err(Refusal::Failed(why));
        }
        self.pending = Some(Pending::new(source, version, base, self.limits.clone()));
        Ok(BlockListAnswer::Taken)
    }

    fn pending(&mut self, source: &str) -> Result<&mut Pending, Refusal> {
        let found = self.pending.as_mut().filter(|it| it.source == source);
        found.ok_or_else(|| {
            Refusal::Failed(format!(
                "no change of the block list `{source}` has begun; begin it again"
            ))
        })
    }

    /// Makes a change: on the disk, then in the firewall.
    fn commit(&mut self, mut pending: Pending) -> Result<BlockListOutcome, Trouble> {
        let now = Timestamp::now();
        pending.sort();
        self.spare();
        let differences = self.store.commit(&mut pending, self.limits.max_entries, now)?;
        match differences {
            Differences::Few { out, new } if self.sources.contains(&pending.source) => {
                let new = new.into_iter().filter(|(net, _)| self.spared.why(net).is_none());
                let mut changes: Vec<Change> =
                    out.into_iter().map(|net| unban(&pending.source, net)).collect();
                changes.extend(new.filter_map(|it| ban(&pending.source, it, now)));
                if let Err(error) = self.apply(&changes) {
                    tracing::warn!(
                        target: "fail2ban.actions",
                        "the firewall refused: {}; all block lists are put into it anew", chain(&error)
                    );
                    self.fill()?;
                }
            }
            Differences::Few { .. } | Differences::Many => self.fill()?,
        }
        for (net, _) in &pending.add {
            if let Some(why) = self.spared.why(net) {
                pending.refused.add(why, *net);
            }
        }
        let Pending { source, version, refused, .. } = pending;
        let lists = self.store.lists()?;
        let n_entries = lists.iter().filter(|it| it.source == source);
        let n_entries = n_entries.map(|it| it.n_addresses + it.n_prefixes).sum();
        tracing::info!(
            target: "fail2ban.actions",
            "block list `{source}` has {n_entries} entries now, version {version}"
        );
        let refused = refused.list();
        self.say(&source, &refused);
        Ok(BlockListOutcome { n_entries, refused })
    }

    /// Says what was refused, each kind once for as long as it goes on.
    fn say(&mut self, source: &str, refused: &[control::block_list::Refused]) {
        let before = self.said.remove(source).unwrap_or_default();
        for it in refused.iter().filter(|it| !before.contains(&it.why)) {
            tracing::warn!(
                target: "fail2ban.actions",
                "{} entries of block list `{source}` are not blocked: {} (the first is {})",
                it.n, reason(it.why), it.first
            );
        }
        self.said.insert(source.to_owned(), refused.iter().map(|it| it.why).collect());
    }

    /// Fills the firewall with all lists, in one step for the packets.
    fn fill(&mut self) -> Result<(), Trouble> {
        self.due = None;
        let Self { store, firewall, spared, .. } = self;
        let sources: BTreeSet<String> = store.lists()?.into_iter().map(|it| it.source).collect();
        if sources.is_empty() {
            firewall.remove()?;
        } else {
            let (now, trouble) = (Timestamp::now(), Cell::new(None));
            let blockings: Vec<Blocking> = sources.iter().map(|it| blocking(it)).collect();
            let mut bans = sources.iter().flat_map(|source| {
                let entries = entries(store, source, &trouble);
                entries
                    .filter(|(net, _)| spared.why(net).is_none())
                    .filter_map(move |it| ban(source, it, now))
            });
            firewall.rebuild(&blockings, &mut bans)?;
            drop(bans);
            if let Some(error) = trouble.take() {
                return Err(error.into());
            }
        }
        self.sources = sources;
        // A million entries passed through it.
        allocator::give_back();
        Ok(())
    }

    fn fill_and_say(&mut self, why: &str) {
        self.spared = self.whom_to_spare();
        match self.fill() {
            Ok(()) if self.sources.is_empty() => {}
            Ok(()) => tracing::info!(
                target: "fail2ban.actions",
                "{} block lists are in the firewall, {why}", self.sources.len()
            ),
            Err(error) => _ = self.refusal(&error),
        }
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), Trouble> {
        for changes in changes.chunks(2 * MAX_DIFFERENCES) {
            self.firewall.apply(changes)?;
        }
        Ok(())
    }

    /// Who must not be blocked now.
    fn whom_to_spare(&self) -> Spared {
        let with = |why| move |addr| (IpNet::from(addr), why);
        let own = addresses::own().into_iter().map(with(WhyRefused::OwnAddress));
        let administrators =
            addresses::of_sessions().into_iter().map(with(WhyRefused::Administrator));
        let ignored = self.ignored.iter().map(|net| (*net, WhyRefused::Ignored));
        Spared::new(own.chain(administrators).chain(ignored))
    }

    /// Looks whom to spare, and has the firewall do so.
    fn spare(&mut self) {
        let spared = self.whom_to_spare();
        if spared == self.spared {
            return;
        }
        let before = std::mem::replace(&mut self.spared, spared);
        if let Err(error) = self.change_spared(&before) {
            self.refusal(&error);
        }
    }

    fn change_spared(&mut self, before: &Spared) -> Result<(), Trouble> {
        let now = Timestamp::now();
        let mut changes = Vec::new();
        for source in &self.sources {
            for net in self.spared.beyond(before) {
                let around = self.store.around(source, &net)?;
                changes.extend(around.into_iter().map(|(net, _)| unban(source, net)));
            }
            for net in before.beyond(&self.spared) {
                let around = self.store.around(source, &net)?.into_iter();
                let blocked = around.filter(|(net, _)| self.spared.why(net).is_none());
                changes.extend(blocked.filter_map(|it| ban(source, it, now)));
            }
        }
        self.apply(&changes)
    }

    /// Each minute: whether others have flushed the lists, and whom to spare.
    fn look_after(&mut self) {
        let is_due = self.due.is_some_and(|due| due <= Instant::now());
        if is_due {
            self.fill_and_say("as they should be again");
        }
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        self.spare();
        if self.purged.elapsed() >= PURGE_EVERY {
            self.purged = Instant::now();
            if let Err(error) = self.store.purge(Timestamp::now()) {
                self.refusal(&error.into());
            }
        }
        if self.sources.is_empty() || self.due.is_some() {
            return;
        }
        let healed = match self.firewall.look() {
            Ok(Look::Untouched) => Ok(()),
            Ok(Look::Touched) => self.heal(),
            Ok(Look::Gone) => {
                tracing::warn!(
                    target: "fail2ban.actions",
                    "somebody has flushed the block lists from the firewall: they are put back"
                );
                self.fill()
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = healed {
            self.refusal(&error);
        }
    }

    /// Puts back the entries that others took away, and takes away those that they made.
    fn heal(&mut self) -> Result<(), Trouble> {
        let (now, trouble) = (Timestamp::now(), Cell::new(None));
        let held = self.firewall.banned()?;
        let mut changes = Vec::new();
        for source in &self.sources {
            let entries = entries(&self.store, source, &trouble);
            let blocked = entries.filter(|(net, _)| self.spared.why(net).is_none());
            let blocked = blocked.filter_map(|entry| left(entry, now));
            let held = held.get(source).map_or(&[][..], Vec::as_slice);
            changes.extend(differences(source, blocked, held));
        }
        if let Some(error) = trouble.take() {
            return Err(error.into());
        }
        if changes.is_empty() {
            return Ok(());
        }
        let n_missing = changes.iter().filter(|it| matches!(it, Change::Ban { .. })).count();
        tracing::warn!(
            target: "fail2ban.actions",
            "somebody has changed the block lists in the firewall: {n_missing} entries were missing \
             and are put back, {} that are none of ours are taken away", changes.len() - n_missing
        );
        self.apply(&changes)
    }

    /// Says what went wrong, and has the firewall filled again a little later.
    fn refusal(&mut self, error: &Trouble) -> Refusal {
        let why = chain(error);
        tracing::error!(
            target: "fail2ban.actions",
            "the block lists are not all in the firewall, it is tried again in {} s: {why}",
            RETRY.as_secs()
        );
        self.due = Some(Instant::now() + RETRY);
        Refusal::Failed(format!("the block lists are not all in the firewall: {why}"))
    }

    fn status(&mut self) -> Result<Vec<BlockListStatus>, Trouble> {
        let dropped = match self.sources.is_empty() {
            true => Vec::new(),
            false => self.firewall.dropped()?,
        };
        let status = self.store.lists()?.into_iter().map(|list| {
            let dropped = dropped.iter().find(|it| it.by == list.source);
            BlockListStatus {
                changed: Timestamp::from_second(list.changed).unwrap_or_default(),
                n_addresses: list.n_addresses,
                n_prefixes: list.n_prefixes,
                n_packets: dropped.map_or(0, |it| it.n_packets),
                n_bytes: dropped.map_or(0, |it| it.n_bytes),
                source: list.source,
                version: list.version,
            }
        });
        Ok(status.collect())
    }
}

/// The entries of a list, one by one; what goes wrong ends them and stands in `trouble`.
fn entries<'a>(
    store: &'a Store,
    source: &'a str,
    trouble: &'a Cell<Option<StoreError>>,
) -> impl Iterator<Item = Entry> + 'a {
    let mut page = Vec::new().into_iter();
    let mut after = None;
    std::iter::from_fn(move || {
        if page.len() == 0 {
            match store.page(source, after.as_ref()) {
                Ok(next) => page = next.into_iter(),
                Err(error) => trouble.set(Some(error)),
            }
        }
        let entry: Entry = page.next()?;
        after = Some(entry.0);
        Some(entry)
    })
}

/// All packets of whom a list names are dropped.
fn blocking(source: &str) -> Blocking {
    let rule =
        |hook| Rule { hook, protocols: Vec::new(), ports: Ports::All, verdict: Verdict::Drop };
    let rules = [Hook::Input, Hook::Forward].map(rule).to_vec();
    Blocking { jail: source.to_owned(), rules }
}

/// Whom an entry blocks for how long from now; nobody where it has ended.
fn left((net, until): Entry, now: Timestamp) -> Option<(IpNet, Option<Duration>)> {
    let Some(until) = until else { return Some((net, None)) };
    let left = u64::try_from(until - now.as_second()).ok().filter(|left| *left > 0)?;
    Some((net, Some(Duration::from_secs(left))))
}

/// The change that blocks an entry for what is left of it; none where it has ended.
fn ban(source: &str, entry: Entry, now: Timestamp) -> Option<Change> {
    let (target, timeout) = left(entry, now)?;
    Some(Change::Ban { jail: source.to_owned(), target, timeout })
}

fn unban(source: &str, net: IpNet) -> Change {
    Change::Unban { jail: source.to_owned(), target: net }
}

/// A reason in words.
fn reason(why: WhyRefused) -> &'static str {
    match why {
        WhyRefused::TooWide => "their prefixes are wider than `[blocklist] widest` allows",
        WhyRefused::Special => "they are loopback, link-local, multicast or reserved addresses",
        WhyRefused::OwnAddress => "they hold an address of this host",
        WhyRefused::Ignored => "they hold an `ignoreip` of a jail",
        WhyRefused::Administrator => "they hold an address that is connected to this host's sshd",
        WhyRefused::TooMany => {
            "all lists together are longer than `[blocklist] max_entries` allows"
        }
    }
}

#[cfg(test)]
mod tests;
