//! Everything that reads: the threads of the follower, of the journal and of names; what changes
//! them while guard runs, and what ends them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use jail::config::{Backend, Jail};
use jiff::Timestamp;
use scan::Filter;

use crate::clock::Clock;
use crate::command::Shell;
use crate::event::Event;
use crate::follow::{Follower, Source, Stop};
use crate::journal::{self, Query};
use crate::reader::{self, Eye, Friends, MAX_UNRESOLVED, Reader, Unresolved, UseDns};
use crate::store::{Store, StoreError};
use crate::words::chain;

/// What is to be read.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Patterns of files, and whose eye looks at them.
    files: Vec<(Source, Eye)>,
    journals: BTreeMap<Query, Vec<Eye>>,
    /// The names of `ignoreip`, which are resolved beside.
    pub(crate) names: Vec<String>,
}

impl Plan {
    /// What these jails read.
    pub(crate) fn of<'a>(jails: impl Iterator<Item = (&'a Jail, &'a Arc<Filter>)>) -> Self {
        let mut plan = Self::default();
        for (jail, filter) in jails {
            let eye = Eye {
                jail: jail.name.clone(),
                filter: Arc::clone(filter),
                find_time: jail.find_time,
                use_dns: UseDns::read(jail.filter.usedns.as_deref()),
            };
            if jail.backend == Backend::Journal {
                plan.journals.entry(Query::of(jail)).or_default().push(eye);
                continue;
            }
            plan.files.extend(jail.log_paths.iter().map(|path| {
                let source = Source {
                    pattern: path.pattern.clone(),
                    from_end: path.from_end,
                    polled: jail.backend == Backend::Polling,
                };
                (source, eye.clone())
            }));
        }
        plan
    }

    /// Where the last life ended in the journal.
    pub(crate) fn cursors(&self, store: &Store) -> Result<Places, StoreError> {
        let mut places = Places::new();
        for query in self.journals.keys() {
            let cursor = store.cursor(&query.to_string())?;
            places.extend(cursor.map(|it| (query.clone(), journal::Start::After(it))));
        }
        Ok(places)
    }
}

/// When the first failure was that can still count for one of these.
fn since(eyes: &[Eye], clock: &Clock) -> Timestamp {
    let longest = eyes.iter().map(|eye| eye.find_time).max().unwrap_or_default();
    clock.now().checked_sub(longest).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Where the journal is read on, for queries that nobody reads now.
pub(crate) type Places = BTreeMap<Query, journal::Start>;

/// The threads that read.
#[derive(Debug)]
pub(crate) struct Readers {
    tools: Tools,
    /// `None` once the system did not let it start again.
    files: Option<OfFiles>,
    journals: BTreeMap<Query, OfJournal>,
    left: Places,
}

/// What every thread needs.
#[derive(Clone, Debug)]
struct Tools {
    clock: Clock,
    inbox: SyncSender<Event>,
    names: SyncSender<Unresolved>,
    friends: Friends,
    shell: Shell,
}

/// The thread that follows files; it hands back what it works with.
#[derive(Debug)]
struct OfFiles {
    stop: Stop,
    thread: JoinHandle<(Follower, Reader)>,
}

/// A thread that follows the journal; it hands back where to go on.
#[derive(Debug)]
struct OfJournal {
    eyes: Vec<Eye>,
    stop: journal::Stop,
    thread: JoinHandle<journal::Start>,
}

impl Readers {
    /// Starts them; lines are read once the names of `ignoreip` are known.
    pub(crate) fn start(
        plan: Plan,
        store: ReadSoFar,
        clock: &Clock,
        shell: Shell,
        inbox: &SyncSender<Event>,
    ) -> io::Result<Self> {
        let (names, unresolved) = sync_channel(MAX_UNRESOLVED);
        let friends = Friends::new(plan.names);
        // It ends with those that send it names, and is not waited for: a name may take long.
        drop(spawn("guard-names", {
            let (inbox, friends, shell) = (inbox.clone(), friends.clone(), shell.clone());
            move || reader::resolve(&unresolved, &friends, &shell, &inbox)
        })?);
        let tools = Tools { clock: clock.clone(), inbox: inbox.clone(), names, friends, shell };
        let (sources, eyes) = plan.files.into_iter().unzip();
        let follower = Follower::new(sources, store.marks);
        let reader = Reader::new(eyes, clock.clone(), inbox.clone(), tools.names.clone());
        let files = Some(tools.follow(follower, reader)?);
        let mut readers = Self { tools, files, journals: BTreeMap::new(), left: store.cursors };
        readers.read_journals(plan.journals)?;
        Ok(readers)
    }

    /// Reads what `plan` says from now on. What is read already goes on where it is; what nobody
    /// wants any more is left, and gone on with should it be wanted again.
    ///
    /// # Errors
    ///
    /// When the system does not let it; what was read by then is not read any more.
    pub(crate) fn change(&mut self, plan: Plan) -> io::Result<()> {
        self.tools.friends.rename(plan.names, &self.tools.shell, &self.tools.inbox);
        let (sources, eyes) = plan.files.into_iter().unzip();
        if let Some(OfFiles { stop, thread }) = self.files.take() {
            stop.call();
            let (mut follower, mut reader) = joined(thread);
            follower.replace_sources(sources);
            reader.replace_eyes(eyes);
            self.files = Some(self.tools.follow(follower, reader)?);
        }
        let is_other = |query: &Query, now: &mut OfJournal| {
            let wanted = plan.journals.get(query);
            !wanted.is_some_and(|eyes| same(eyes, &now.eyes))
        };
        let others: Vec<_> = self.journals.extract_if(.., is_other).collect();
        for (query, OfJournal { stop, thread, .. }) in others {
            stop.call();
            self.left.insert(query, joined(thread));
        }
        self.read_journals(plan.journals)
    }

    /// Starts to read the journal where nobody does yet.
    fn read_journals(&mut self, journals: BTreeMap<Query, Vec<Eye>>) -> io::Result<()> {
        for (query, eyes) in journals {
            if !self.journals.contains_key(&query) {
                let start = self.left.remove(&query);
                let start =
                    start.unwrap_or_else(|| journal::Start::Since(since(&eyes, &self.tools.clock)));
                let thread = self.tools.follow_journal(query.clone(), start, eyes)?;
                self.journals.insert(query, thread);
            }
        }
        Ok(())
    }

    /// Has them end, and waits until they have.
    pub(crate) fn end(self) {
        self.files.iter().for_each(|it| it.stop.call());
        self.journals.values().for_each(|it| it.stop.call());
        self.files.map(|it| joined(it.thread));
        for of_journal in self.journals.into_values() {
            joined(of_journal.thread);
        }
    }
}

/// How far everything was read in the last life.
#[derive(Debug)]
pub(crate) struct ReadSoFar {
    marks: Vec<crate::mark::Mark>,
    cursors: Places,
}

impl ReadSoFar {
    /// As the store remembers it, for what `plan` reads.
    pub(crate) fn of(store: &Store, plan: &Plan) -> Result<Self, StoreError> {
        Ok(Self { marks: store.marks()?, cursors: plan.cursors(store)? })
    }
}

impl Tools {
    fn follow(&self, mut follower: Follower, mut reader: Reader) -> io::Result<OfFiles> {
        let stop = Stop::new()?;
        let thread = spawn("guard-follow", {
            let (stop, friends) = (stop.clone(), self.friends.clone());
            move || {
                friends.wait();
                if let Err(error) = follower.run(&stop, &mut |news| reader.take(news)) {
                    tracing::error!(
                        target: "fail2ban.filter",
                        "logs are not followed any more: {}; reload or restart the daemon",
                        chain(&error)
                    );
                }
                (follower, reader)
            }
        })?;
        Ok(OfFiles { stop, thread })
    }

    fn follow_journal(
        &self,
        query: Query,
        start: journal::Start,
        eyes: Vec<Eye>,
    ) -> io::Result<OfJournal> {
        let stop = journal::Stop::default();
        let thread = spawn("guard-journal", {
            let (Self { clock, inbox, names, friends, .. }, stop) = (self.clone(), stop.clone());
            let eyes = eyes.clone();
            move || {
                friends.wait();
                reader::follow_journal(&query, start, eyes, &clock, &stop, &inbox, &names)
            }
        })?;
        Ok(OfJournal { eyes, stop, thread })
    }
}

fn same(eyes: &[Eye], others: &[Eye]) -> bool {
    eyes.len() == others.len() && eyes.iter().zip(others).all(|(eye, other)| eye.is(other))
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// What a thread hands back; that one panicked has been said, and ends the program.
fn joined<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
