//! From lines to failures: each log's scanners, at work on the follower's thread.

use std::collections::HashMap;
use std::fs::File;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jail::judge::Reading;
use jail::{Failure, Subject};
use jiff::SignedDuration;
use scan::{Filter, Hit, IdKind, Skimmed};

use crate::batch::{Batch, Failures};
use crate::clock::Clock;
use crate::command::Shell;
use crate::docker::Record;
use crate::event::Event;
use crate::follow::News;
use crate::journal::{self, Query};
use crate::mark::Progress;
use crate::scanners::Scanners;
use crate::seek;
use crate::words::{Clean, chain};

/// Names that wait to be resolved; beyond that an attacker is flooding us with names.
pub(crate) const MAX_UNRESOLVED: usize = 256;

/// Entries of the journal in one batch.
const MAX_ENTRIES: u32 = 256;

/// How often the names of `ignoreip` are resolved anew.
const RESOLVE_EVERY: Duration = Duration::from_secs(600);

/// How long nothing is read at the start because of them.
const FRIENDS_PATIENCE: Duration = Duration::from_secs(10);

/// How much of a line is kept as evidence: what people and MISP look at, and not what somebody
/// sends to fill our memory.
const MAX_MATCH_BYTES: usize = 4096;

/// How one jail looks at lines.
#[derive(Clone, Debug)]
pub(crate) struct Eye {
    pub(crate) jail: String,
    pub(crate) filter: Arc<Filter>,
    pub(crate) find_time: SignedDuration,
    pub(crate) use_dns: UseDns,
}

impl Eye {
    /// Whether nobody could tell the two apart.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.jail == other.jail
            && Arc::ptr_eq(&self.filter, &other.filter)
            && (self.find_time, self.use_dns) == (other.find_time, other.use_dns)
    }
}

/// `usedns`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum UseDns {
    /// Names are resolved; `warn` says so.
    Yes {
        /// Whether it is said.
        warn: bool,
    },
    /// A failure that only names a host does not count.
    No,
    /// A name is an id as any other.
    Raw,
}

impl UseDns {
    pub(crate) fn read(word: Option<&str>) -> Self {
        match word.map(str::to_ascii_lowercase).as_deref() {
            Some("yes") => Self::Yes { warn: false },
            Some("raw") => Self::Raw,
            Some("warn") | None => Self::Yes { warn: true },
            // What fail2ban falls back to.
            Some(_) => Self::No,
        }
    }
}

/// The names of `ignoreip`, and whether they were resolved for the first time: nobody is banned
/// before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Friends(Arc<(Mutex<Names>, Condvar)>);

#[derive(Debug, Default)]
struct Names {
    names: Vec<String>,
    known: bool,
}

impl Friends {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self(Arc::new((Mutex::new(Names { names, known: false }), Condvar::new())))
    }

    /// Takes `names` for theirs, and tells what those that are new stand for.
    pub(crate) fn rename(&self, names: Vec<String>, shell: &Shell, inbox: &SyncSender<Event>) {
        let new: Vec<String> = {
            let mut lock = self.lock();
            let old = std::mem::replace(&mut lock.names, names);
            lock.names.iter().filter(|it| !old.contains(it)).cloned().collect()
        };
        // Where nobody listens any more, nobody is banned either.
        let _ = tell_addresses(&new, shell, inbox);
    }

    fn are_known(&self) {
        self.lock().known = true;
        self.0.1.notify_all();
    }

    /// Waits until they are known; not for ever, as names may never resolve.
    pub(crate) fn wait(&self) {
        drop(self.0.1.wait_timeout_while(self.lock(), FRIENDS_PATIENCE, |it| !it.known));
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Turns the follower's news into events of the loop.
pub(crate) struct Reader {
    /// The eye of each source of the follower.
    eyes: Vec<Eye>,
    scanners: HashMap<PathBuf, Scanners>,
    /// What a skim finds; kept for its memory.
    room: Skimmed,
    clock: Clock,
    inbox: SyncSender<Event>,
    names: SyncSender<Unresolved>,
}

/// A failure whose subject is a name.
pub(crate) struct Unresolved {
    name: String,
    failure: Failure,
    reading: Reading,
    read: Instant,
    warn: bool,
}

impl Reader {
    pub(crate) fn new(
        eyes: Vec<Eye>,
        clock: Clock,
        inbox: SyncSender<Event>,
        names: SyncSender<Unresolved>,
    ) -> Self {
        let (scanners, room) = (HashMap::new(), Skimmed::default());
        Self { eyes, scanners, room, clock, inbox, names }
    }

    /// Looks with these eyes from now on: those of the follower's sources.
    pub(crate) fn replace_eyes(&mut self, eyes: Vec<Eye>) {
        self.eyes = eyes;
    }

    /// Passes on what the follower tells; breaks when nobody listens any more.
    pub(crate) fn take(&mut self, news: News<'_>) -> ControlFlow<()> {
        let event = match news {
            News::Opened { sources, file, size, begin } => {
                let eyes = distinct(sources.iter().filter_map(|&it| self.eyes.get(it)));
                let places = eyes.iter().map(|eye| self.begin(eye, file, *begin..size));
                *begin = places.min().unwrap_or(*begin);
                return ControlFlow::Continue(());
            }
            News::Past { path, whole } => {
                if let Some(scanners) = self.scanners.get_mut(path) {
                    scanners.turn_to(Reading::CatchingUp).lines(whole, &mut self.room, |_, _| {});
                    // They were counted when they were dealt with.
                    scanners.counted();
                }
                return ControlFlow::Continue(());
            }
            News::Lines { path, whole, reading, n_cut, mark, more } => {
                let (mut failures, mut counted) = (Failures::default(), Vec::new());
                let read = Instant::now();
                if let Some(scanners) = self.scanners.get_mut(path) {
                    scanners.turn_to(reading).lines(whole, &mut self.room, |eye, hit| {
                        failures.extend(eye.failure(hit, (reading, read), &self.names));
                    });
                    counted = scanners.counted();
                    counted.iter_mut().for_each(|it| it.n_cut = n_cut);
                }
                let progress = mark.map(Progress::File);
                Event::Read(Batch { failures, reading, progress, read, counted, more })
            }
            News::Followed { path, sources, begin } => {
                let eyes = distinct(sources.iter().filter_map(|&it| self.eyes.get(it)));
                // A file that is opened again goes on with what its filters remember.
                match self.scanners.get(path) {
                    Some(known) if known.have(&eyes) => {}
                    _ => {
                        self.scanners.insert(path.to_owned(), Scanners::new(eyes, &self.clock));
                    }
                }
                let (path, sources) = (path.to_owned(), self.jails(sources));
                Event::Followed { path, sources, begin: begin.map(Progress::File) }
            }
            News::Awaited { source, pattern } => match self.eyes.get(source) {
                Some(eye) => {
                    let (jail, pattern) = (eye.jail.clone(), pattern.to_owned());
                    Event::Awaited { source, jail, pattern }
                }
                None => return ControlFlow::Continue(()),
            },
            News::Trouble { path, sources, why } => {
                let (path, why) = (path.to_owned(), why.to_owned());
                Event::Trouble { path, sources: self.jails(sources), why }
            }
            News::Rotated { path, how } => {
                tracing::debug!(
                    target: "fail2ban.filter", "Log rotation of {}: {how}", path.display()
                );
                return ControlFlow::Continue(());
            }
            News::Note(note) => {
                tracing::warn!(target: "fail2ban.filter", "{note}");
                return ControlFlow::Continue(());
            }
        };
        match self.inbox.send(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

impl Reader {
    /// Where `eye` begins to read in a part of `file`: what is older than its `findtime` counts no
    /// more.
    fn begin(&self, eye: &Eye, file: &File, part: Range<u64>) -> u64 {
        let now = self.clock.now();
        let Ok(since) = now.checked_sub(eye.find_time) else { return part.start };
        let is_old = |line: &[u8]| {
            let time = match Record::read(line) {
                Some(record) => Some(record.time),
                None => eye.filter.date(line, &self.clock.zone, now),
            };
            time.map(|time| time < since)
        };
        // What cannot be looked through is read.
        seek::begin(file, part.clone(), is_old).unwrap_or(part.start)
    }

    /// Each source with its jail.
    fn jails(&self, sources: &[usize]) -> Vec<(usize, String)> {
        let jail = |&it: &usize| Some((it, self.eyes.get(it)?.jail.clone()));
        sources.iter().filter_map(jail).collect()
    }
}

/// One eye a jail: two patterns of a jail may name the same file.
fn distinct<'a>(all: impl Iterator<Item = &'a Eye>) -> Vec<Eye> {
    let mut eyes: Vec<Eye> = Vec::new();
    for eye in all {
        if eyes.iter().all(|it| it.jail != eye.jail) {
            eyes.push(eye.clone());
        }
    }
    eyes
}

/// Follows the journal for these eyes, and turns its entries into events of the loop; returns where
/// to go on.
pub(crate) fn follow_journal(
    query: &Query,
    start: journal::Start,
    eyes: Vec<Eye>,
    clock: &Clock,
    stop: &journal::Stop,
    inbox: &SyncSender<Event>,
    names: &SyncSender<Unresolved>,
) -> journal::Start {
    let mut reached = start.clone();
    let mut scanners = Scanners::new(eyes, clock);
    let mut failures = Failures::default();
    let mut n_entries = 0;
    let mut read = Instant::now();
    journal::follow(query, start, clock.now(), stop, &mut |news| {
        let event = match news {
            journal::News::Trouble { why } => {
                Event::JournalTrouble { jails: scanners.jails(), why: why.to_owned() }
            }
            journal::News::Entry { line, time, reading, cursor, more } => {
                if n_entries == 0 {
                    read = Instant::now();
                }
                scanners.turn_to(reading).dated_line(line, time, |eye, hit| {
                    failures.extend(eye.failure(hit, (reading, read), names));
                });
                n_entries += 1;
                if more && n_entries < MAX_ENTRIES {
                    return ControlFlow::Continue(());
                }
                n_entries = 0;
                let failures = std::mem::take(&mut failures);
                let (query, cursor) = (query.to_string(), cursor.to_owned());
                reached = journal::Start::After(cursor.clone());
                let progress = Some(Progress::Journal { query, cursor });
                let counted = scanners.counted();
                Event::Read(Batch { failures, reading, progress, read, counted, more })
            }
        };
        match inbox.send(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    reached
}

impl Eye {
    /// The failure of a hit; none where it only names a host: the failure follows, once the name is
    /// resolved, or never.
    fn failure(
        &self,
        hit: Hit,
        (reading, read): (Reading, Instant),
        names: &SyncSender<Unresolved>,
    ) -> Option<Failure> {
        let subject = match hit.kind {
            IdKind::Id => Subject::Id(hit.id.clone()),
            IdKind::Address | IdKind::Name => Subject::from(hit.id.as_str()),
        };
        let failure = Failure {
            jail: self.jail.clone(),
            subject,
            time: hit.time,
            n_attempts: hit.n_attempts,
            matches: hit.matches.into_iter().map(shorten).collect(),
            fields: hit.fields,
        };
        match (hit.kind, self.use_dns) {
            (IdKind::Address | IdKind::Id, _) | (IdKind::Name, UseDns::Raw) => Some(failure),
            (IdKind::Name, UseDns::No) => None,
            (IdKind::Name, UseDns::Yes { warn }) => {
                let unresolved = Unresolved { name: hit.id, failure, reading, read, warn };
                if let Err(TrySendError::Full(unresolved)) = names.try_send(unresolved) {
                    tracing::warn!(
                        target: "fail2ban.filter",
                        "[{}] {} is not resolved, too many names wait; set usedns = no",
                        self.jail,
                        Clean(unresolved.name)
                    );
                }
                None
            }
        }
    }
}

/// A line, no longer than evidence needs to be.
fn shorten(mut line: String) -> String {
    line.truncate(line.floor_char_boundary(MAX_MATCH_BYTES));
    line
}

/// Resolves names until nobody sends any, on a thread of its own: an answer may take half a
/// minute. Those of `ignoreip` come first, and again and again.
pub(crate) fn resolve(
    names: &Receiver<Unresolved>,
    friends: &Friends,
    shell: &Shell,
    inbox: &SyncSender<Event>,
) {
    let mut due = Instant::now();
    loop {
        if Instant::now() >= due {
            due = Instant::now() + RESOLVE_EVERY;
            let names = friends.lock().names.clone();
            if tell_addresses(&names, shell, inbox).is_break() {
                return;
            }
            friends.are_known();
        }
        let unresolved = match names.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(unresolved) => unresolved,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Unresolved { name, failure, reading, read, warn } = unresolved;
        let jail = &failure.jail;
        let addrs = match shell.addresses_of(&name) {
            Ok(addrs) => addrs,
            Err(error) => {
                let (name, why) = (Clean(&name), Clean(chain(&error)));
                tracing::warn!(
                    target: "fail2ban.filter",
                    "[{jail}] the log names {name}, which does not resolve, so that its failure \
                     does not count: {why}"
                );
                continue;
            }
        };
        if warn {
            let name = Clean(&name);
            tracing::warn!(
                target: "fail2ban.filter", "[{jail}] the log names {name}, which is {addrs:?} now"
            );
        }
        let failures = addrs
            .into_iter()
            .map(|addr| Failure { subject: Subject::Addr(addr), ..failure.clone() })
            .collect();
        let batch =
            Batch { failures, reading, progress: None, read, counted: Vec::new(), more: false };
        if inbox.send(Event::Read(batch)).is_err() {
            return;
        }
    }
}

/// Tells the loop what each of `names` stands for now; what does not resolve stands for what it did.
/// Breaks where nobody listens any more.
fn tell_addresses(names: &[String], shell: &Shell, inbox: &SyncSender<Event>) -> ControlFlow<()> {
    names.iter().try_for_each(|name| {
        let addrs = match shell.addresses_of(name) {
            Ok(addrs) => addrs,
            Err(error) => {
                let (name, why) = (Clean(name), Clean(chain(&error)));
                tracing::warn!(
                    target: "fail2ban.filter", "{name} of an ignoreip does not resolve: {why}"
                );
                return ControlFlow::Continue(());
            }
        };
        let event = Event::Resolved { name: name.clone(), addrs };
        inbox.send(event).map_or(ControlFlow::Break(()), ControlFlow::Continue)
    })
}
