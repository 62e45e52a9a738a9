//! The loop around one inbox: events to the judge, its actions to the firewall, the store, the
//! log, in this order.
//!
//! It wakes for an event, for the judge's deadline, and to retry what failed; [`Event::Stop`] ends
//! it. All events that wait are one turn: one batch for the firewall, one transaction, then the
//! lines of the log, the answers, and the word to those who follow the bans; that somebody failed is
//! said at once. While more lines come than can be dealt with at once, a turn has a batch for the
//! firewall as often as no event waits.

mod asked;
mod counts;
mod failures;
mod look;
mod reform;
mod settle;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use control::Refusal;
use control::guard::{DisabledJail, GuardAnswer};
use control::metrics::Histogram;
use ipnet::IpNet;
use jail::config::{Backend, Jail};
use jail::judge::{self, Action, History as _, Judge, Lifted, Reading, Rules, Together};
use jail::{Ban, Subject};
use jiff::{SignedDuration, Timestamp};

use crate::allocator;
use crate::batch::{Batch, Counted};
use crate::block_list::BlockLists;
use crate::clock::Clock;
use crate::command::{Counts, IgnoreCommand, Order, Queue, Shell};
use crate::event::Event;
use crate::feed::Feed;
use crate::firewall::{Blocking, Change, Firewall, FirewallError};
use crate::follow;
use crate::journal::Query;
use crate::mark::Progress;
use crate::ready::Ready;
use crate::start_error::StartError;
use crate::store::{Past, Record, Store, StoreError};
use crate::words::{self, Calendar, chain};

/// Events of one turn at most, so that nobody waits long for the first of them.
const MAX_TURN: usize = 256;

/// Bans of one turn, some more or less: with their lines they are some ten megabytes, and of more
/// the allocator would keep what the next turn does not need.
const MAX_BANS: usize = 8000;

/// What the judge says in one turn and is not said at once: a few megabytes.
const MAX_ACTIONS: usize = 30_000;

/// How long bans that are in the firewall already may wait for the disk and the log, where more
/// lines are there than can be dealt with at once: the disk takes many bans in the time of one, and
/// who fails again and again is written down once.
const MAX_BURST: Duration = Duration::from_secs(1);

/// How often the firewall is looked at, and the host's own addresses.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How often it is remembered how far logs were read, where no ban does it. What is read again
/// after a crash is at most this much.
const MARK_EVERY: Duration = Duration::from_secs(5);

/// Failures that come so long after a ban were not on their way: the firewall may leak.
const LEAK_AFTER: SignedDuration = SignedDuration::from_secs(3);

/// What guard knows of a jail beside what the judge does.
#[derive(Debug)]
pub(crate) struct Post {
    jail: Arc<Jail>,
    /// Its rules; `None` where it has no action that blocks.
    blocking: Option<Blocking>,
    /// What it reads of the journal; `None` where it reads files.
    journal: Option<String>,
    /// The commands of its actions; `None` where it has none.
    commands: Option<Queue>,
    /// The command that says whom to ignore; `None` where it has none.
    ignore: Option<IgnoreCommand>,
    files: BTreeSet<PathBuf>,
    /// The patterns that name no file yet, by the number of the source.
    awaited: BTreeMap<usize, String>,
    /// Those of which it was said.
    said_awaited: BTreeSet<String>,
    /// Files that cannot be followed, and why.
    troubles: BTreeMap<PathBuf, String>,
    /// Lines that its filter looked at.
    n_lines: u64,
    /// Searches that were given up.
    n_given_up: u64,
    /// Lines that were cut.
    n_cut: u64,
}

impl Post {
    /// The post of a jail of which nothing is followed yet.
    fn of(ready: Ready, commands: Option<Queue>) -> Self {
        let Ready { jail, blocking, .. } = ready;
        let journal = (jail.backend == Backend::Journal).then(|| Query::of(&jail).to_string());
        Self {
            jail,
            blocking,
            journal,
            commands,
            ignore: None,
            files: BTreeSet::new(),
            awaited: BTreeMap::new(),
            said_awaited: BTreeSet::new(),
            troubles: BTreeMap::new(),
            n_lines: 0,
            n_given_up: 0,
            n_cut: 0,
        }
    }

    /// The same post after a change of its jail: `before` knows what is followed.
    fn after(mut self, before: Self) -> Self {
        self.files = before.files;
        let patterns = &self.jail.log_paths;
        self.files.retain(|path| patterns.iter().any(|it| follow::names(&it.pattern, path)));
        self.said_awaited = before.said_awaited;
        (self.n_lines, self.n_given_up, self.n_cut) =
            (before.n_lines, before.n_given_up, before.n_cut);
        self
    }
}

/// What the events of a turn came to, and is not done yet.
#[derive(Default)]
struct Turn {
    changes: Vec<Change>,
    words: Vec<Action>,
    /// Bans among the words.
    n_bans: usize,
    /// When the lines were read that completed the bans.
    read: Vec<Instant>,
    replies: Vec<(SyncSender<Result<GuardAnswer, Refusal>>, GuardAnswer)>,
    /// Whether more lines are on their way.
    more: bool,
    /// When its first event came.
    begun: Option<Instant>,
}

impl Turn {
    /// Until when it may go on at most; `None` where nothing more is to come, it is full, or somebody
    /// waits for an answer.
    fn burst_end(&self) -> Option<Instant> {
        let may_go_on = self.more && !self.is_full() && self.replies.is_empty();
        self.begun.filter(|_| may_go_on).map(|it| it + MAX_BURST)
    }

    fn is_full(&self) -> bool {
        self.n_bans >= MAX_BANS || self.words.len() >= MAX_ACTIONS
    }
}

/// Guard's state, owned by its one thread.
pub(crate) struct Run {
    judge: Judge,
    posts: Vec<Post>,
    disabled: Vec<DisabledJail>,
    store: Store,
    past: Past,
    firewall: Box<dyn Firewall>,
    /// Who is told whom the jails ignore.
    lists: BlockLists,
    /// Where the commands of actions are run.
    shell: Shell,
    clock: Clock,
    calendar: Calendar,
    feed: Arc<Feed>,
    inbox: SyncSender<Event>,
    started: Timestamp,
    turn: Turn,
    log_to_ban: Histogram,
    /// What the store has not taken yet.
    owed: Vec<Record>,
    /// How far each source was read since it was remembered last.
    marks: HashMap<String, Progress>,
    marked: Instant,
    /// Whether some of them are not to wait for others.
    marks_are_due: bool,
    looked: Instant,
    /// Whether somebody who is banned goes on failing.
    suspicious: bool,
    /// Whether there was so much to do, as there is at the start, that memory is kept for nothing.
    had_much: bool,
    /// Whether who is at a live session is not banned for his failures either.
    pub(crate) protects_sessions: bool,
    /// The commands of jails that are no more: they take their bans back.
    leaving: Vec<JoinHandle<()>>,
    /// When a firewall that refused is tried again.
    firewall_due: Option<Instant>,
    /// When a store that refused is tried again.
    store_due: Option<Instant>,
}

impl Run {
    #[expect(clippy::too_many_arguments, reason = "each is another room's end, held from then on")]
    pub(crate) fn new(
        jails: Vec<Ready>,
        disabled: Vec<DisabledJail>,
        store: Store,
        firewall: Box<dyn Firewall>,
        lists: BlockLists,
        shell: Shell,
        clock: Clock,
        feed: Arc<Feed>,
        inbox: SyncSender<Event>,
    ) -> Result<Self, StoreError> {
        let rules = jails.iter().map(|it| Rules::from(&*it.jail)).collect();
        let mut posts = Vec::new();
        for mut ready in jails {
            let commands = reform::start_commands(&mut ready, firewall.blocks(), &shell, None);
            let ignore = failures::ignore_command(&ready.jail, None, &shell, &inbox);
            posts.push(Post { ignore, ..Post::of(ready, commands) });
        }
        let judge = Judge::new(rules).with_history(Box::new(store.history()?));
        feed.reached(store.ban_log().last);
        let now = Instant::now();
        Ok(Self {
            judge,
            posts,
            disabled,
            past: store.history()?,
            store,
            firewall,
            lists,
            shell,
            feed,
            inbox,
            started: clock.now(),
            calendar: Calendar::of(clock.zone.clone()),
            clock,
            turn: Turn::default(),
            log_to_ban: counts::log_to_ban(),
            owed: Vec::new(),
            marks: HashMap::new(),
            marked: now,
            marks_are_due: false,
            looked: now,
            suspicious: false,
            had_much: true,
            protects_sessions: false,
            leaving: Vec::new(),
            firewall_due: None,
            store_due: None,
        })
    }

    /// Counts and bans these addresses together.
    pub(crate) fn count_together(&mut self, together: Together) {
        self.judge.count_together(together);
    }

    /// The names of `ignoreip`, for whoever resolves them.
    pub(crate) fn names(&self) -> Vec<String> {
        self.judge.names()
    }

    /// Puts the bans of the last life back.
    pub(crate) fn restore(&mut self) -> Result<(), StartError> {
        let now = self.clock.now();
        self.store.tidy(now)?;
        self.tell_of_host(now);
        self.restore_bans(|_| true, now)?;
        for (jail, subject, ticket) in self.store.failing(now)? {
            // The jail may come back while they still count.
            self.judge.handle(judge::Event::Failing { jail, subject, ticket }, now);
        }
        self.fill_firewall(now)?;
        for post in &self.posts {
            tracing::info!(target: "fail2ban.jail", "Jail '{}' started", post.jail.name);
        }
        self.settle();
        allocator::give_back();
        Ok(())
    }

    /// Puts the bans of the last life back that are `wanted`.
    fn restore_bans(
        &mut self,
        wanted: impl Fn(&Ban) -> bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let _together = words::together();
        let mut standing = self.store.standing()?;
        while let Some(bans) = standing.part(&self.store)? {
            bans.into_iter().filter(&wanted).for_each(|ban| self.restore_ban(ban, now));
        }
        Ok(())
    }

    fn restore_ban(&mut self, ban: Ban, now: Timestamp) {
        let (jail, subject) = (ban.jail.clone(), ban.subject.clone());
        let is_over = ban.until().is_some_and(|end| end <= now);
        let actions = self.judge.handle(judge::Event::Restore(ban), now);
        let stands = actions.iter().any(|it| matches!(it, Action::Restored(_)));
        let no_jail = actions.iter().any(|it| matches!(it, Action::NoSuchJail { .. }));
        // The jail may come back, and then its ban does.
        if !stands && (is_over || !no_jail) {
            self.owed.push(Record::Lifted { jail, subject });
        }
        for action in &actions {
            self.order(action);
            words::say(action, &mut self.calendar);
        }
    }

    /// Acts on events until the one that ends it; returns whether its rules are left behind.
    pub(crate) fn until_stop(&mut self, events: &Receiver<Event>) -> bool {
        loop {
            let first = match events.recv_timeout(self.patience()) {
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return false,
            };
            self.turn.begun.get_or_insert_with(Instant::now);
            let _together = words::together();
            for event in first.into_iter().chain(events.try_iter()).take(MAX_TURN) {
                if let ControlFlow::Break(leave_rules) = self.take(event, self.clock.now()) {
                    self.settle();
                    return leave_rules;
                }
                if self.turn.is_full() {
                    self.had_much = true;
                    break;
                }
            }
            let actions = self.judge.handle(judge::Event::Deadline, self.clock.now());
            self.carry(actions);
            match self.turn.burst_end() {
                Some(end) if Instant::now() < end => self.move_firewall(),
                Some(_) | None => self.settle(),
            }
        }
    }

    /// Puts everything in order before the end.
    pub(crate) fn end(mut self, leave_rules: bool) {
        let queues = self.posts.iter_mut().filter_map(|it| it.commands.take());
        if leave_rules {
            // Their threads would stop the actions, which a crash does not.
            queues.for_each(std::mem::forget);
            return;
        }
        let ending: Vec<_> = queues.map(Queue::leave).chain(self.leaving.drain(..)).collect();
        for thread in ending {
            // It can only have panicked, and has said so.
            let _ = thread.join();
        }
        if let Err(error) = self.firewall.remove() {
            tracing::error!(
                target: "fail2ban.actions", "the rules stay in the firewall: {}", chain(&error)
            );
        }
        for post in &self.posts {
            tracing::info!(target: "fail2ban.jail", "Jail '{}' stopped", post.jail.name);
        }
        self.remember_marks();
    }

    /// How long nothing needs to be done, if nothing happens.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let mut until = self.looked + LOOK_EVERY;
        let due = [self.firewall_due, self.store_due, self.turn.burst_end()];
        until = due.into_iter().flatten().fold(until, Instant::min);
        if !self.marks.is_empty() {
            until = until.min(self.marked + MARK_EVERY);
        }
        let wait = until.saturating_duration_since(now);
        match self.judge.deadline() {
            Some(due) => wait.min(from_now(due, self.clock.now())),
            None => wait,
        }
    }

    fn take(&mut self, event: Event, now: Timestamp) -> ControlFlow<bool> {
        match event {
            Event::Read(Batch { failures, reading, progress, read, counted, more }) => {
                self.turn.more = more;
                counted.iter().for_each(|it| self.count(it));
                for failure in failures {
                    let actions = self.failure(failure, reading, now);
                    if reading != Reading::CatchingUp {
                        let n_bans = actions.iter().filter(|it| matches!(it, Action::Ban(_)));
                        self.turn.read.extend(n_bans.map(|_| read));
                    }
                    self.carry(actions);
                }
                if let Some(progress) = progress {
                    self.marks.insert(progress.source(), progress);
                }
            }
            Event::Followed { path, sources, begin } => {
                if let Some(begin) = begin {
                    self.marks.insert(begin.source(), begin);
                    self.marks_are_due = true;
                }
                for (source, jail) in sources {
                    let Some(post) = self.post_mut(&jail) else { continue };
                    let awaited = post.awaited.remove(&source);
                    awaited.map(|it| post.said_awaited.remove(&it));
                    post.troubles.remove(&path);
                    if post.files.insert(path.clone()) {
                        let path = path.display();
                        tracing::info!(target: "fail2ban.filter", "[{jail}] follows {path}");
                    }
                }
            }
            Event::Awaited { source, jail, pattern } => {
                let Some(post) = self.post_mut(&jail) else { return ControlFlow::Continue(()) };
                if post.said_awaited.insert(pattern.clone()) {
                    tracing::warn!(
                        target: "fail2ban.filter",
                        "[{jail}] there is no log `{pattern}`: it is followed as soon as it is there"
                    );
                }
                post.awaited.insert(source, pattern);
            }
            Event::Trouble { path, sources, why } => {
                tracing::error!(
                    target: "fail2ban.filter",
                    "log {} cannot be followed: {why}; it is tried again when that changes",
                    path.display()
                );
                for (_, jail) in sources {
                    if let Some(post) = self.post_mut(&jail) {
                        post.troubles.insert(path.clone(), why.clone());
                    }
                }
            }
            Event::JournalTrouble { jails, why } => {
                tracing::error!(
                    target: "fail2ban.filter",
                    "the journal cannot be read for {}: {why}; it is tried again and again",
                    jails.join(", ")
                );
                for jail in jails {
                    if let Some(post) = self.post_mut(&jail) {
                        post.troubles.insert("journal".into(), why.clone());
                    }
                }
            }
            Event::Resolved { name, addrs } => {
                self.judge.handle(judge::Event::Resolved { name, addrs }, now);
                self.lists.ignore(self.judge.ignored());
            }
            Event::Judged { failure, reading, is_ignored } => {
                self.judged(failure, reading, is_ignored, now);
            }
            Event::Asked(request, reply) => self.asked(request, reply, now),
            // Whoever asked may have gone.
            Event::Reform(reform, reply) => _ = reply.send(self.reform(reform, now)),
            Event::Stop { leave_rules } => return ControlFlow::Break(leave_rules),
        }
        ControlFlow::Continue(())
    }

    fn post_mut(&mut self, jail: &str) -> Option<&mut Post> {
        self.posts.iter_mut().find(|it| it.jail.name == jail)
    }

    fn count(&mut self, Counted { jail, n_lines, n_given_up, n_cut }: &Counted) {
        let Some(post) = self.post_mut(jail) else { return };
        post.n_lines += n_lines;
        // An expression that gives up on a line counts as no match, and somebody may have meant it.
        if post.n_given_up == 0 && *n_given_up > 0 {
            tracing::warn!(
                target: "fail2ban.filter",
                "[{jail}] an expression of its filter takes too long for some lines and finds \
                 nothing in them: somebody may write such lines to hide; `fail2misp status {jail}` \
                 counts them"
            );
        }
        post.n_given_up += n_given_up;
        if post.n_cut == 0 && *n_cut > 0 {
            tracing::warn!(
                target: "fail2ban.filter",
                "[{jail}] its log has lines of more than a megabyte: only their beginning is \
                 looked at; `fail2misp status {jail}` counts them"
            );
        }
        post.n_cut += n_cut;
    }

    /// Turns what the judge decided into what is to be done this turn.
    fn carry(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.order(&action);
            let word = match action {
                Action::Ban(ban) => {
                    self.turn.n_bans += 1;
                    self.turn.changes.extend(self.ban(&ban));
                    let word = Action::Ban(without_evidence(&ban));
                    self.owed.push(Record::Banned(ban));
                    word
                }
                Action::Prolong(ban) => {
                    self.turn.n_bans += 1;
                    self.turn.changes.extend(self.ban(&ban));
                    let word = Action::Prolong(without_evidence(&ban));
                    self.owed.push(Record::Stands(ban));
                    word
                }
                Action::Unban { jail, subject, why } => {
                    self.turn.changes.extend(
                        self.target(&jail, &subject)
                            .map(|target| Change::Unban { jail: jail.clone(), target }),
                    );
                    // The jail may come back, and then its ban does.
                    if why != Lifted::JailRemoved {
                        let (jail, subject) = (jail.clone(), subject.clone());
                        self.owed.push(Record::Lifted { jail, subject });
                    }
                    Action::Unban { jail, subject, why }
                }
                Action::Found { .. } => {
                    words::say(&action, &mut self.calendar);
                    continue;
                }
                Action::AlreadyBanned { after, .. } => {
                    self.suspicious |= after > LEAK_AFTER;
                    action
                }
                Action::Increased { .. }
                | Action::Restored(_)
                | Action::Expired { .. }
                | Action::Ignored { .. }
                | Action::OddTime { .. }
                | Action::TooOld { .. }
                | Action::NotBanned { .. }
                | Action::NoSuchJail { .. } => action,
            };
            self.turn.words.push(word);
        }
    }

    /// Tells the commands of the jail's actions what concerns them.
    fn order(&mut self, action: &Action) {
        let (Action::Ban(Ban { jail, .. })
        | Action::Restored(Ban { jail, .. })
        | Action::Prolong(Ban { jail, .. })
        | Action::Unban { jail, .. }) = action
        else {
            return;
        };
        let post = self.posts.iter_mut().find(|it| it.jail.name == *jail);
        let Some(queue) = post.and_then(|it| it.commands.as_mut()) else { return };
        if queue.wants_counts {
            let status = self.judge.status(jail, self.clock.now()).unwrap_or_default();
            queue.add(Order::Counts(Counts {
                n_banned: status.currently_banned as u64,
                total_banned: status.total_banned,
                n_failed: status.currently_failed as u64,
                total_failed: status.total_failed,
            }));
        }
        queue.add(match action {
            Action::Unban { subject, .. } => Order::Unban(subject.clone()),
            Action::Prolong(ban) => Order::Prolong(ban.clone()),
            Action::Restored(ban) => {
                let n_bans = self.past.past(Some(jail), &ban.subject).map_or(1, |it| it.n_bans);
                Order::Ban { ban: ban.clone(), restored: true, n_bans }
            }
            Action::Ban(ban) => {
                let before = self.past.past(Some(jail), &ban.subject).map_or(0, |it| it.n_bans);
                Order::Ban { ban: ban.clone(), restored: false, n_bans: before + 1 }
            }
            _ => return,
        });
    }

    /// The change that makes the firewall hold `ban` for what is left of it; none where its jail
    /// does not block, or it is no address.
    fn ban(&self, ban: &Ban) -> Option<Change> {
        let target = self.target(&ban.jail, &ban.subject)?;
        let timeout = ban.until().map(|end| from_now(end, self.clock.now()));
        Some(Change::Ban { jail: ban.jail.clone(), target, timeout })
    }

    fn target(&self, jail: &str, subject: &Subject) -> Option<IpNet> {
        self.posts.iter().find(|it| it.jail.name == jail)?.blocking.as_ref()?;
        target(subject)
    }

    /// The rules of every jail that blocks.
    fn blockings(&self) -> Vec<Blocking> {
        self.posts.iter().filter_map(|it| it.blocking.clone()).collect()
    }

    /// Makes the firewall hold every rule and every ban that stands, and nothing else; returns how
    /// many bans those are.
    fn fill_firewall(&mut self, now: Timestamp) -> Result<usize, FirewallError> {
        let blockings = self.blockings();
        let mut n_bans = 0;
        // Made one by one, as there may be half a million.
        let mut bans = blockings.iter().flat_map(|Blocking { jail, .. }| {
            standing(&self.judge, jail, now).map(|(target, timeout)| Change::Ban {
                jail: jail.clone(),
                target,
                timeout,
            })
        });
        self.firewall.rebuild(&blockings, &mut bans.by_ref().inspect(|_| n_bans += 1))?;
        Ok(n_bans)
    }
}

/// Who is banned in a jail, and for how long from now; `None` for ever.
fn standing(
    judge: &Judge,
    jail: &str,
    now: Timestamp,
) -> impl Iterator<Item = (IpNet, Option<Duration>)> {
    judge.banned(jail).into_iter().filter_map(move |subject| {
        let (since, time) = judge.ban_of(jail, &subject)?;
        Some((target(&subject)?, time.after(since).map(|end| from_now(end, now))))
    })
}

/// The ban as it is said, without the lines that led to it.
fn without_evidence(ban: &Ban) -> Ban {
    let (jail, subject) = (ban.jail.clone(), ban.subject.clone());
    Ban { jail, subject, matches: Vec::new(), fields: Vec::new(), ..*ban }
}

/// What the firewall knows of a subject; nothing where it is no address.
fn target(subject: &Subject) -> Option<IpNet> {
    match subject {
        Subject::Addr(addr) => Some((*addr).into()),
        Subject::Net(net) => Some(*net),
        Subject::Id(_) => None,
    }
}

/// How long it is until `then`; nothing where it has been.
fn from_now(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
}
