//! Everything that reads: the threads of the follower, of the journal and of names, and what ends
//! them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use jail::config::{Backend, Jail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use scan::Filter;

use crate::event::Event;
use crate::follow::{Follower, Source, Stop};
use crate::journal::{self, Query};
use crate::mark::Mark;
use crate::reader::{self, Eye, Friends, MAX_UNRESOLVED, Reader, UseDns};
use crate::store::{Store, StoreError};
use crate::words::chain;

/// What is to be read, and from where on.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Patterns of files, and whose eye looks at them.
    files: Vec<(Source, Eye)>,
    marks: Vec<Mark>,
    journals: BTreeMap<Query, (journal::Start, Vec<Eye>)>,
}

impl Plan {
    /// What these jails read, from where the last life ended.
    pub(crate) fn of<'a>(
        jails: impl Iterator<Item = (&'a Jail, &'a Arc<Filter>)>,
        store: &Store,
    ) -> Result<Self, StoreError> {
        let mut plan = Self { marks: store.marks()?, ..Self::default() };
        let mut journals: BTreeMap<Query, Vec<Eye>> = BTreeMap::new();
        for (jail, filter) in jails {
            let eye = Eye {
                jail: jail.name.clone(),
                filter: Arc::clone(filter),
                find_time: jail.find_time,
                use_dns: UseDns::read(jail.filter.usedns.as_deref()),
            };
            if jail.backend == Backend::Journal {
                journals.entry(Query::of(jail)).or_default().push(eye);
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
        for (query, eyes) in journals {
            let start = match store.cursor(&query.to_string())? {
                Some(cursor) => journal::Start::After(cursor),
                None => journal::Start::Since(since(&eyes)),
            };
            plan.journals.insert(query, (start, eyes));
        }
        Ok(plan)
    }
}

/// When the first failure was that can still count for one of these.
fn since(eyes: &[Eye]) -> Timestamp {
    let longest = eyes.iter().map(|eye| eye.find_time).max().unwrap_or_default();
    Timestamp::now().checked_sub(longest).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The threads that read.
#[derive(Debug)]
pub(crate) struct Readers {
    stop: Stop,
    stop_journals: journal::Stop,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts them; lines are read once the names of `ignoreip` are known.
    pub(crate) fn start(
        plan: Plan,
        ignored: Vec<String>,
        zone: &TimeZone,
        inbox: &SyncSender<Event>,
    ) -> io::Result<Self> {
        let (sources, eyes) = plan.files.into_iter().unzip();
        let follower = Follower::new(sources, plan.marks)?;
        let (names, unresolved) = sync_channel(MAX_UNRESOLVED);
        let reader = Reader::new(eyes, zone.clone(), inbox.clone(), names.clone());
        let friends = Friends::default();
        let mut readers = Self {
            stop: Stop::new()?,
            stop_journals: journal::Stop::default(),
            threads: Vec::new(),
        };

        // It ends with those that send it names, and is not waited for: a name may take long.
        drop(spawn("guard-names", {
            let (inbox, friends) = (inbox.clone(), friends.clone());
            move || reader::resolve(&unresolved, &ignored, &friends, &inbox)
        })?);
        readers.threads.push(spawn("guard-follow", {
            let (stop, friends) = (readers.stop.clone(), friends.clone());
            move || {
                friends.wait();
                follow(follower, &stop, reader);
            }
        })?);
        for (query, (start, eyes)) in plan.journals {
            readers.threads.push(spawn("guard-journal", {
                let (zone, stop) = (zone.clone(), readers.stop_journals.clone());
                let (inbox, names) = (inbox.clone(), names.clone());
                let friends = friends.clone();
                move || {
                    friends.wait();
                    reader::follow_journal(&query, start, &eyes, &zone, &stop, &inbox, &names);
                }
            })?);
        }
        Ok(readers)
    }

    /// Has them end.
    pub(crate) fn stop(&self) {
        self.stop.call();
        self.stop_journals.call();
    }

    /// Waits until they have.
    pub(crate) fn wait(self) {
        for thread in self.threads {
            // It can only have panicked, and has said so.
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

fn follow(follower: Follower, stop: &Stop, mut reader: Reader) {
    if let Err(error) = follower.run(stop, &mut |news| reader.take(news)) {
        tracing::error!(
            target: "fail2ban.filter",
            "logs are not followed any more: {}; restart the daemon", chain(&error)
        );
    }
}
