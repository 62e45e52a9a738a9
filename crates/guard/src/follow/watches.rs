//! The kernel's word (inotify) of what changes in the folders that matter.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::Stop;

/// Room for the kernel's events: some hundreds at once.
const EVENT_BYTES: usize = 32 << 10;

/// The folders that are watched, and the names in them that are logs.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// `None` while the system has no more of them.
    inotify: Option<OwnedFd>,
    folders: HashMap<PathBuf, i32>,
    /// The logs in each watched folder: by the name that the kernel tells.
    logs: HashMap<i32, HashMap<OsString, Vec<PathBuf>>>,
    /// Whether some folder could not be watched.
    pub(super) failed: bool,
}

/// What the kernel told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The logs that something happened to.
    pub(super) touched: BTreeSet<PathBuf>,
    /// Whether something happened to a file that is no log by its name.
    pub(super) others: bool,
    /// Whether the patterns may name other files now, or something was not told.
    pub(super) look_around: bool,
}

impl Watches {
    /// Watches these folders and no others, for these logs: where each lies, and its path; tells
    /// whether any folder was not watched before.
    pub(super) fn watch(
        &mut self,
        folders: &BTreeSet<PathBuf>,
        logs: &[(PathBuf, PathBuf)],
    ) -> io::Result<bool> {
        self.failed = true;
        let inotify = match self.inotify.take() {
            Some(inotify) => inotify,
            None => inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
        };
        let inotify = &*self.inotify.insert(inotify);
        self.folders.retain(|folder, watch| {
            let wanted = folders.contains(folder);
            if !wanted {
                // It fails where the folder is gone, and the kernel dropped the watch itself.
                let _ = inotify::remove_watch(inotify, *watch);
            }
            wanted
        });
        let mut outcome = Ok(false);
        for folder in folders {
            // The path of one that is watched may lead to another folder by now.
            match inotify::add_watch(inotify, folder, flags()) {
                Ok(watch) => {
                    let old = self.folders.insert(folder.clone(), watch);
                    if old != Some(watch) {
                        outcome = outcome.map(|_| true);
                        // As above.
                        old.map(|old| inotify::remove_watch(inotify, old));
                    }
                }
                // It vanished meanwhile, or is closed to us: its log says so itself.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {
                    _ = self.folders.remove(folder)
                }
                Err(error) => outcome = Err(error.into()),
            }
        }
        self.logs = self.folders.values().map(|&watch| (watch, HashMap::new())).collect();
        for (place, log) in logs {
            let watch = place.parent().and_then(|folder| self.folders.get(folder));
            let names = watch.and_then(|watch| self.logs.get_mut(watch));
            if let (Some(names), Some(name)) = (names, place.file_name()) {
                names.entry(name.to_owned()).or_default().push(log.clone());
            }
        }
        self.failed = outcome.is_err();
        outcome
    }

    /// Waits for something to be told, for one of `streams`, for `stop`, or at most `patience`;
    /// whether it was `stop`.
    pub(super) fn wait<'a>(
        &'a self,
        stop: &'a Stop,
        streams: impl Iterator<Item = &'a File>,
        patience: Duration,
    ) -> io::Result<bool> {
        let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
        let mut ready = vec![PollFd::new(&stop.0, PollFlags::IN)];
        ready.extend(self.inotify.iter().map(|it| PollFd::new(it, PollFlags::IN)));
        ready.extend(streams.map(|it| PollFd::new(it, PollFlags::IN)));
        match rustix::event::poll(&mut ready, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(!ready[0].revents().is_empty()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes all that was told.
    pub(super) fn told(&mut self) -> io::Result<Told> {
        let mut told = Told::default();
        let Some(inotify) = &self.inotify else { return Ok(told) };
        let mut room = [MaybeUninit::uninit(); EVENT_BYTES];
        let mut events = inotify::Reader::new(inotify, &mut room);
        let mut ended = Vec::new();
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let what = event.events();
            if what.intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF) {
                // A folder that was moved away would go on telling of what is not ours.
                ended.push(event.wd());
            }
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let logs = self.logs.get(&event.wd()).zip(name).and_then(|(logs, name)| logs.get(name));
            match logs {
                Some(logs) => told.touched.extend(logs.iter().cloned()),
                None => {
                    told.others = true;
                    told.look_around |= what.intersects(news());
                }
            }
        }
        self.folders.retain(|_, watch| {
            let gone = ended.contains(watch);
            if gone {
                // As above: it may be gone already.
                let _ = inotify::remove_watch(inotify, *watch);
            }
            !gone
        });
        Ok(told)
    }
}

/// What is told about a folder and the files in it.
fn flags() -> WatchFlags {
    WatchFlags::MODIFY
        | WatchFlags::CREATE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::DELETE
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR
}

/// What may let the patterns name other files, or tells that something was not told.
fn news() -> ReadFlags {
    ReadFlags::CREATE
        | ReadFlags::MOVED_TO
        | ReadFlags::DELETE_SELF
        | ReadFlags::MOVE_SELF
        | ReadFlags::IGNORED
        | ReadFlags::UNMOUNT
        | ReadFlags::QUEUE_OVERFLOW
}
