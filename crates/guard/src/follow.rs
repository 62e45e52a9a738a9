//! Follows log files: every line once, in order, through every way of rotating them.
//!
//! One thread. It wakes when the kernel (inotify) tells of a change in a folder that matters, at
//! the latest after `RECHECK`, and ends when it is told to stop or nobody listens any more.
//! What to do about one log is decided by `state`, without any I/O.
//!
//! - Renamed (logrotate's default): the file is read to its end before its successor is opened,
//!   and for `RETIRED_FOR` longer, because its writer may not have noticed yet.
//! - Copied and truncated: seen by its size, and by its first bytes where it has grown again; what was
//!   written before is read in the copy.
//! - Renamed to what a pattern names, too: read on there, and not once more.
//! - Missing, deleted, made again, matched by a pattern only later: waited for.
//! - Rotated while guard was down: the rest of the old file is found by its number and read first.

mod file;
mod kin;
mod lines;
mod pattern;
mod rotated;
mod state;
mod watches;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jail::judge::Reading;
use rustix::event::EventfdFlags;

use crate::mark::{self, FileId, Mark};
use file::Open;
use rotated::{born, copies_since, copy_of, missed_between, rest_of};
use state::{Seen, State, Step};
use watches::{Told, Watches};

/// How often everything is looked at although nothing was told: a safety net, for a network file
/// system among others.
const RECHECK: Duration = Duration::from_secs(30);

/// How often logs are looked at that the kernel tells nothing of, and files put aside.
const POLL: Duration = Duration::from_secs(1);

/// What came to an empty log was copied there if no such pause was in it: who copies an old log
/// writes faster than this, and at first slower than we read.
const PAUSE: Duration = Duration::from_secs(1);

/// A log that is read as it is written for so long is in operation, if it never pauses, too.
const WRITTEN_FOR: Duration = Duration::from_secs(60);

/// By how much the clock that stamps files may be behind the one that we ask.
const CLOCK_GRAIN: Duration = Duration::from_millis(10);

/// How long a file that was rotated away is still followed; daemons reopen their logs within
/// seconds of logrotate's signal.
const RETIRED_FOR: Duration = Duration::from_secs(600);

/// Files that are followed at most; more is a pattern gone wrong.
const MAX_FILES: usize = 4096;

/// The files that a pattern of `logpath` names now, in the order of their names.
pub(crate) fn files_of(pattern: &str) -> Vec<PathBuf> {
    pattern::look(pattern).files
}

/// Whether a pattern of `logpath` names `path`, which need not be there any more.
pub(crate) fn names(pattern: &str, path: &Path) -> bool {
    pattern == path.as_os_str() || files_of(pattern).iter().any(|it| it == path)
}

/// Where news go; to break ends the follower.
type Tell<'a> = &'a mut dyn FnMut(News<'_>) -> ControlFlow<()>;

/// A pattern of files to follow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    /// The path, or a pattern of paths.
    pub pattern: String,
    /// Whether of a file that is there only what is written from now on counts.
    pub from_end: bool,
    /// Whether to look again and again and not to wait for the kernel's word.
    pub polled: bool,
}

/// What the follower tells.
#[derive(Debug)]
pub enum News<'a> {
    /// A file is followed from now on.
    Followed {
        /// Its path.
        path: &'a Path,
        /// The sources, by their number, whose pattern names it.
        sources: &'a [usize],
        /// Where reading begins; `None` where it goes on, or has no place to go back to.
        begin: Option<Mark>,
    },
    /// The pattern of this source names no file yet.
    Awaited {
        /// The number of the source.
        source: usize,
        /// Its pattern.
        pattern: &'a str,
    },
    /// A file cannot be followed; told once for each reason.
    Trouble {
        /// Its path.
        path: &'a Path,
        /// The sources, by their number, whose pattern names it.
        sources: &'a [usize],
        /// Why.
        why: &'a str,
    },
    /// A file was replaced by its successor, or overwritten.
    Rotated {
        /// Its path.
        path: &'a Path,
        /// How.
        how: &'static str,
    },
    /// A file is about to be read for the first time in this life.
    Opened {
        /// The sources, by their number, whose pattern names it.
        sources: &'a [usize],
        /// The file.
        file: &'a File,
        /// How many bytes it has.
        size: u64,
        /// Where reading begins, which may be moved on to any other line's beginning.
        begin: &'a mut u64,
    },
    /// Whole lines of a file that were dealt with in an earlier life, or count no more: filters
    /// remember what they said.
    Past {
        /// Its path.
        path: &'a Path,
        /// The lines, each with its end.
        whole: &'a [u8],
    },
    /// Whole lines of a file.
    Lines {
        /// Its path.
        path: &'a Path,
        /// The lines, each with its end.
        whole: &'a [u8],
        /// Whether they may be old.
        reading: Reading,
        /// Lines, of which some are these, that were too long and are cut.
        n_cut: u64,
        /// How far the log is dealt with when they are; `None` where a later file of the same
        /// path is being read already.
        mark: Option<Mark>,
        /// Whether more of the file is there already, and comes next.
        more: bool,
    },
    /// Something the administrator should know about following itself.
    Note(&'a str),
}

/// The files that a pattern of `logpath` names now.
pub fn files(pattern: &str) -> Vec<PathBuf> {
    pattern::look(pattern).files
}

/// Ends a follower from another thread.
#[derive(Clone, Debug)]
pub struct Stop(Arc<OwnedFd>);

impl Stop {
    /// A stop that has not been called for.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?)))
    }

    /// Calls for it.
    pub fn call(&self) {
        // It can only fail when it was called 2^64 times.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// Follows the files of its sources.
#[derive(Debug)]
pub struct Follower {
    sources: Vec<Source>,
    /// How far each file was dealt with in the last life.
    marks: HashMap<PathBuf, Mark>,
    logs: BTreeMap<PathBuf, Log>,
    watches: Watches,
    awaited: BTreeSet<usize>,
    /// Whether the sources were replaced, and who reads the files is to be told anew.
    renamed: bool,
    /// Files that are followed at most here.
    max_files: usize,
    /// Whether a log was opened that may lie in a folder which is not watched yet.
    strayed: bool,
}

/// One path that is followed.
#[derive(Debug)]
struct Log {
    sources: Vec<usize>,
    /// Whether it was there when its follower began.
    is_old: bool,
    /// Whether a file of this name was ever opened.
    is_begun: bool,
    open: Option<Open>,
    /// What is read before the open file, and for some time longer.
    retired: Vec<Retired>,
    /// Whether the open file lost its name, and no other has it yet.
    adrift: bool,
    /// Turns to operation when lines were read to the end of a file, and stays so; by and by, where
    /// that was empty.
    reading: Reading,
    /// Where every read of a log that was empty came to its end of late.
    ends: Option<Ends>,
    /// The last reason why it could not be followed.
    trouble: Option<String>,
}

/// The first and the last time of several in a row that a log was read to its end.
#[derive(Clone, Copy, Debug)]
struct Ends {
    first: Instant,
    last: Instant,
}

impl Ends {
    fn after(before: Option<Self>) -> Self {
        let now = Instant::now();
        Self { first: before.map_or(now, |it| it.first), last: now }
    }

    /// Whether the log is being written, and was not only copied.
    fn is_written(self) -> bool {
        self.last.elapsed() >= PAUSE || self.first.elapsed() >= WRITTEN_FOR
    }
}

/// A file that was rotated away.
#[derive(Debug)]
struct Retired {
    open: Open,
    until: Instant,
    reading: Reading,
}

impl Follower {
    /// A follower that has not looked yet; `marks` are those of the last life.
    pub fn new(sources: Vec<Source>, marks: Vec<Mark>) -> Self {
        Self {
            sources,
            marks: marks.into_iter().map(|mark| (mark.path.clone(), mark)).collect(),
            logs: BTreeMap::new(),
            watches: Watches::default(),
            awaited: BTreeSet::new(),
            renamed: false,
            max_files: file::room_for(MAX_FILES),
            strayed: false,
        }
    }

    /// Has other sources from the next run on. A file that one of them names goes on where it is;
    /// where one that is left stands is remembered, should it come back.
    pub fn replace_sources(&mut self, sources: Vec<Source>) {
        let old = std::mem::replace(&mut self.sources, sources);
        let (sources, marks) = (&self.sources, &mut self.marks);
        self.logs.retain(|path, log| {
            let named = |new: &Source| log.sources.iter().any(|&it| old[it].pattern == new.pattern);
            log.sources = (0..sources.len()).filter(|&it| named(&sources[it])).collect();
            if log.sources.is_empty() {
                let mark = log.open.as_ref().and_then(|it| it.mark(path));
                marks.extend(mark.map(|it| (path.clone(), it)));
            }
            !log.sources.is_empty()
        });
        self.awaited.clear();
        self.renamed = true;
    }

    /// Follows until `stop` is called for or `tell` breaks; it may then go on.
    ///
    /// # Errors
    ///
    /// When the kernel does not let it wait; nothing is followed then.
    pub fn run(&mut self, stop: &Stop, tell: Tell<'_>) -> io::Result<()> {
        if self.look_around(tell).is_break() {
            return Ok(());
        }
        self.logs.values_mut().for_each(|log| log.is_old = true);
        let mut due: BTreeSet<PathBuf> = self.logs.keys().cloned().collect();
        let (mut looked, mut polled) = (Instant::now(), Instant::now());
        loop {
            let mut unfinished = BTreeSet::new();
            for path in due {
                match self.attend(&path, tell) {
                    ControlFlow::Break(()) => return Ok(()),
                    ControlFlow::Continue(true) => _ = unfinished.insert(path),
                    ControlFlow::Continue(false) => {}
                }
            }
            due = unfinished;
            let is_idle = due.is_empty() && !self.strayed;
            let wait = if is_idle { self.patience() } else { Duration::ZERO };
            let streams = self.logs.values().filter_map(|log| log.open.as_ref());
            let streams = streams.filter(|it| it.is_stream).map(|it| &it.file);
            if self.watches.wait(stop, streams, wait)? {
                return Ok(());
            }
            due.extend(self.streams());
            let Told { touched, others, mut look_around } = self.watches.told()?;
            due.extend(touched);
            look_around |= std::mem::take(&mut self.strayed);
            if look_around || looked.elapsed() >= self.recheck() {
                looked = Instant::now();
                if self.look_around(tell).is_break() {
                    return Ok(());
                }
                due.extend(self.logs.keys().cloned());
            }
            if others || polled.elapsed() >= POLL {
                polled = Instant::now();
                due.extend(self.unwatched());
            }
        }
    }

    /// How long to wait for the kernel's word.
    fn patience(&self) -> Duration {
        if self.unwatched().next().is_some() { POLL } else { self.recheck() }
    }

    /// How long after a look around another one is due.
    fn recheck(&self) -> Duration {
        let is_blind = self.watches.failed || self.sources.iter().any(|it| it.polled);
        if is_blind { POLL } else { RECHECK }
    }

    /// The logs that the kernel may tell nothing of, or not by their name.
    fn unwatched(&self) -> impl Iterator<Item = PathBuf> {
        let polled = |log: &Log| log.sources.iter().any(|&it| self.sources[it].polled);
        let remote = |log: &Log| log.open.as_ref().is_some_and(|it| it.is_remote);
        let closed = |log: &Log| log.trouble.is_some();
        let loose =
            move |log: &Log| log.adrift || !log.retired.is_empty() || remote(log) || closed(log);
        self.logs
            .iter()
            .filter(move |(_, log)| self.watches.failed || loose(log) || polled(log))
            .map(|(path, _)| path.clone())
    }

    /// The logs of which the kernel tells only that they can be read.
    fn streams(&self) -> impl Iterator<Item = PathBuf> {
        let is_stream = |log: &Log| log.open.as_ref().is_some_and(|it| it.is_stream);
        let streams = self.logs.iter().filter(move |(_, log)| is_stream(log));
        streams.map(|(path, _)| path.clone())
    }

    /// Looks what the patterns name now, and watches where that may change.
    fn look_around(&mut self, tell: Tell<'_>) -> ControlFlow<()> {
        loop {
            let folders = self.name_logs(tell)?;
            let failed_before = self.watches.failed;
            match self.watches.watch(&folders, &self.places()) {
                // What happened before the new watches were there was told by nobody.
                Ok(true) => {}
                Ok(false) => return ControlFlow::Continue(()),
                Err(_) if failed_before => return ControlFlow::Continue(()),
                Err(why) => {
                    let note = format!(
                        "the kernel does not watch the folders of the logs ({why}), so they are \
                         looked at every second; raise fs.inotify.max_user_watches and \
                         max_user_instances"
                    );
                    return tell(News::Note(&note));
                }
            }
        }
    }

    /// Takes the files that the patterns name now for logs; returns the folders to watch.
    fn name_logs(&mut self, tell: Tell<'_>) -> ControlFlow<(), BTreeSet<PathBuf>> {
        let mut named: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        let mut folders = BTreeSet::new();
        for (number, source) in self.sources.iter().enumerate() {
            let found = pattern::look(&source.pattern);
            if !found.files.is_empty() {
                self.awaited.remove(&number);
            } else if self.awaited.insert(number) {
                tell(News::Awaited { source: number, pattern: &source.pattern })?;
            }
            for path in found.files {
                named.entry(path).or_default().push(number);
            }
            if !source.polled {
                folders.extend(found.folders);
            }
        }
        let most = self.max_files;
        if named.len() > most && self.logs.len() < most {
            let note = format!(
                "logpath names {} files, the first {most} are followed; narrow its patterns, or \
                 raise the limit of open files (LimitNOFILE) if that is below {MAX_FILES}",
                named.len()
            );
            tell(News::Note(&note))?;
        }
        for (path, sources) in named.into_iter().take(most) {
            self.logs.entry(path).or_insert_with(Log::new).sources = sources;
        }
        if std::mem::take(&mut self.renamed) {
            for (path, log) in self.logs.iter().filter(|(_, log)| log.open.is_some()) {
                tell(News::Followed { path, sources: &log.sources, begin: None })?;
            }
        }
        // A file of a pattern that is gone for good leaves nothing behind.
        self.logs.retain(|path, log| {
            log.open.is_some() || !log.retired.is_empty() || path.try_exists().unwrap_or(true)
        });
        ControlFlow::Continue(folders)
    }

    /// Where each log lies, by its own path and by its links.
    fn places(&self) -> Vec<(PathBuf, PathBuf)> {
        let places = |path: &PathBuf| {
            let all = std::iter::once(path.clone()).chain(pattern::links(path));
            all.map(|place| (place, path.clone())).collect::<Vec<_>>()
        };
        self.logs.keys().flat_map(places).collect()
    }

    /// Does what is to be done about one log, until there is nothing or lines were read; tells
    /// whether there may be more.
    fn attend(&mut self, path: &Path, tell: Tell<'_>) -> ControlFlow<(), bool> {
        loop {
            let Some(log) = self.logs.get_mut(path) else { return ControlFlow::Continue(false) };
            log.attend_retired(path, tell)?;
            let step = match log.look(path) {
                Ok((state, seen)) => {
                    log.adrift = log.open.is_some() && seen.named.is_none();
                    state.next(seen).1
                }
                Err(error) => {
                    log.complain(path, &error, tell)?;
                    return ControlFlow::Continue(false);
                }
            };
            match step {
                Step::Idle => {
                    if log.open.is_some() && log.trouble.take().is_some() {
                        tell(News::Followed { path, sources: &log.sources, begin: None })?;
                    }
                    return ControlFlow::Continue(false);
                }
                Step::Open => {
                    if !self.open(path, tell)? {
                        return ControlFlow::Continue(false);
                    }
                }
                Step::Read { from, to } => {
                    log.read(path, from, to, tell)?;
                    return ControlFlow::Continue(true);
                }
                Step::Restart => {
                    tell(News::Rotated { path, how: "it was overwritten" })?;
                    log.restart(path);
                }
                Step::Retire => {
                    tell(News::Rotated { path, how: "another file has its name" })?;
                    let reading = log.reading;
                    log.retired.extend(log.open.take().map(|it| Retired::new(it, reading)));
                }
                Step::Close => log.open = None,
            }
        }
    }

    /// Opens what a path names now; tells whether that came to anything.
    fn open(&mut self, path: &Path, tell: Tell<'_>) -> ControlFlow<(), bool> {
        let Some(found) = self.found(path) else { return ControlFlow::Continue(false) };
        let Some(log) = self.logs.get_mut(path) else { return ControlFlow::Continue(false) };
        let from_end = log.sources.iter().all(|&it| self.sources[it].from_end);
        if let Err(error) = log.open(path, found.mark.as_ref(), from_end) {
            self.marks.extend(found.mark.map(|it| (path.to_owned(), it)));
            log.complain(path, &error, tell)?;
            return ControlFlow::Continue(false);
        }
        log.retired.retain(|it| !found.of_others.contains(&it.open.id));
        // By a link it may lie anywhere, and its folder may have been as closed as it was.
        self.strayed |= path.is_symlink() || log.trouble.take().is_some();
        log.begin(path, found.is_new, tell)?;
        ControlFlow::Continue(true)
    }
}

impl Log {
    fn new() -> Self {
        Self {
            sources: Vec::new(),
            is_old: false,
            is_begun: false,
            open: None,
            retired: Vec::new(),
            adrift: false,
            reading: Reading::CatchingUp,
            ends: None,
            trouble: None,
        }
    }

    /// Where the log stands, and what is seen of it.
    fn look(&self, path: &Path) -> io::Result<(State, Seen)> {
        let named = match fs::metadata(path) {
            Ok(metadata) => Some(FileId::of(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(open) = &self.open else {
            return Ok((State::Waiting, Seen { named, size: 0, same_head: true, linked: true }));
        };
        let metadata = open.file.metadata()?;
        let seen = Seen {
            named,
            size: open.size()?,
            same_head: mark::begins_with(&open.file, &open.head)?,
            linked: metadata.nlink() > 0,
        };
        Ok((State::Reading { file: open.id, done: open.done }, seen))
    }

    fn open(&mut self, path: &Path, mark: Option<&Mark>, from_end: bool) -> io::Result<()> {
        let mut open = Open::new(path)?;
        match mark {
            Some(mark) if open.is_the_one_of(mark)? => {
                open.done = mark.offset;
                if mark.head.is_empty() {
                    // It had just been made, and was copied and truncated since, perhaps.
                    open.begun = born(&open.file.metadata()?)?;
                }
            }
            Some(mark) => {
                let rest = rest_of(mark).into_iter();
                self.retired.extend(rest.map(|it| Retired::new(it, self.reading)));
            }
            None if from_end && self.is_old && !self.is_begun => {
                open.done = open.file.metadata()?.len();
                self.reading = Reading::InOperation;
            }
            None => {}
        }
        let missed = missed_between(path, &self.retired, &open)?;
        self.retired.extend(missed.into_iter().map(|it| Retired::new(it, Reading::CatchingUp)));
        open.learn_head()?;
        self.open = Some(open);
        self.is_begun = true;
        Ok(())
    }

    /// Begins the open file anew, which was overwritten, once what it held is read in its copies.
    fn restart(&mut self, path: &Path) {
        let Some(open) = &mut self.open else { return };
        let copy = open.mark(path).and_then(|mark| copy_of(&mark));
        let copy = copy.map(|it| Open { is_new: false, ..it });
        self.retired.extend(copy.map(|it| Retired::new(it, self.reading)));
        open.restart();
    }

    /// Has whoever listens choose where the files begin that were just opened, tells of the last of
    /// them, and shows what comes before; `is_new` where nobody remembers how far the log was read.
    fn begin(&mut self, path: &Path, is_new: bool, tell: Tell<'_>) -> ControlFlow<()> {
        let sources = &self.sources;
        let retired = self.retired.iter_mut().map(|it| (&mut it.open, it.reading));
        let all = retired.chain(self.open.as_mut().map(|it| (it, self.reading)));
        let mut new: Vec<_> = all.filter(|(it, _)| it.is_new && !it.is_stream).collect();
        for (open, reading) in &mut new {
            // What cannot be looked at now is read from where it was left, and then says why.
            if let Ok(size) = open.size()
                && *reading == Reading::CatchingUp
            {
                let (file, begin) = (&open.file, &mut open.done);
                tell(News::Opened { sources, file, size, begin })?;
            }
        }
        // Remembered at once, it is not read from another place after a crash.
        let begin = new.last_mut().filter(|_| is_new).and_then(|(open, _)| {
            open.learn_head().ok()?;
            open.mark(path)
        });
        tell(News::Followed { path, sources, begin })?;
        for (open, _) in new {
            open.is_new = false;
            if open.done > 0
                && let Ok(whole) = open.recall()
            {
                tell(News::Past { path, whole: &whole })?;
            }
        }
        ControlFlow::Continue(())
    }

    fn read(&mut self, path: &Path, from: u64, to: u64, tell: Tell<'_>) -> ControlFlow<()> {
        let Some(open) = &mut self.open else { return ControlFlow::Continue(()) };
        if self.ends.is_some_and(Ends::is_written) {
            self.reading = Reading::InOperation;
        }
        let is_first = from == 0 && !open.is_read;
        if let Err(error) = open.fill(from, to) {
            return self.complain(path, &error, tell);
        }
        if is_first && open.is_read && !open.is_stream {
            self.read_copies(path, tell)?;
        }
        let Some(open) = &mut self.open else { return ControlFlow::Continue(()) };
        let at_end = open.done == to;
        if !open.lines.whole().is_empty() {
            let (mark, n_cut) = (open.mark(path), open.lines.take_cut());
            let (whole, reading) = (open.lines.whole(), self.reading);
            tell(News::Lines { path, whole, reading, n_cut, mark, more: !at_end })?;
            open.lines.consume();
        }
        if at_end {
            open.lines.shrink();
        }
        match (at_end, self.reading) {
            (_, Reading::InOperation) => {}
            (true, _) if open.was_empty => {
                self.reading = Reading::Filling;
                self.ends = Some(Ends::after(self.ends));
            }
            (true, _) => self.reading = Reading::InOperation,
            (false, _) => self.ends = None,
        }
        ControlFlow::Continue(())
    }

    /// Reads the copies that were made of the open file before any of it was read.
    fn read_copies(&mut self, path: &Path, tell: Tell<'_>) -> ControlFlow<()> {
        let Some(open) = &self.open else { return ControlFlow::Continue(()) };
        let since = open.begun - CLOCK_GRAIN;
        match copies_since(path, &self.retired, open, since) {
            Ok(copies) if copies.is_empty() => ControlFlow::Continue(()),
            Ok(copies) => {
                let copies = copies.into_iter().map(|it| Open { is_new: false, ..it });
                self.retired.extend(copies.map(|it| Retired::new(it, self.reading)));
                self.attend_retired(path, tell)
            }
            Err(error) => self.complain(path, &error, tell),
        }
    }

    /// Reads what came late to files that were rotated away.
    fn attend_retired(&mut self, path: &Path, tell: Tell<'_>) -> ControlFlow<()> {
        // Those from here on are not read yet, so those before tell how far the log is dealt with.
        let last_read = match self.retired.iter().rposition(|it| it.open.is_read) {
            _ if self.open.as_ref().is_some_and(|it| it.is_read) => self.retired.len(),
            last => last.unwrap_or(0),
        };
        for (place, Retired { open, reading, .. }) in self.retired.iter_mut().enumerate() {
            let reading = *reading;
            // A file that cannot be read any more is as good as gone.
            while let Ok(1..) = open.file.metadata().and_then(|it| open.fill(open.done, it.len())) {
                if !open.lines.whole().is_empty() {
                    let mark = open.mark(path).filter(|_| place >= last_read);
                    let n_cut = open.lines.take_cut();
                    let whole = open.lines.whole();
                    tell(News::Lines { path, whole, reading, n_cut, mark, more: false })?;
                    open.lines.consume();
                }
            }
            open.lines.shrink();
        }
        let now = Instant::now();
        self.retired.retain(|it| it.until > now);
        ControlFlow::Continue(())
    }

    /// Tells why the log cannot be followed, unless that was the last reason, too.
    fn complain(&mut self, path: &Path, error: &io::Error, tell: Tell<'_>) -> ControlFlow<()> {
        let why = error.to_string();
        if self.trouble.as_ref() != Some(&why) {
            tell(News::Trouble { path, sources: &self.sources, why: &why })?;
            self.trouble = Some(why);
        }
        ControlFlow::Continue(())
    }
}

impl Retired {
    fn new(open: Open, reading: Reading) -> Self {
        Self { open, until: Instant::now() + RETIRED_FOR, reading }
    }
}
