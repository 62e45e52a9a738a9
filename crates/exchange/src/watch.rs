//! Watches the spool's folder and rings when a report is put there.
//!
//! A thread of its own: woken by the kernel (inotify), and every second to see whether it shall
//! end. Where the folder cannot be watched it rings every second instead.

use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::stop::Stop;

/// How often to look without being woken.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn start(folder: PathBuf, stop: Stop) -> JoinHandle<()> {
    thread::spawn(move || {
        let watch = watch(&folder).ok();
        while !stop.is_stopped() {
            match &watch {
                Some(watch) if !wait(watch) => {}
                Some(_) => stop.ring(),
                None => {
                    stop.pause(LOOK_EVERY);
                    stop.ring();
                }
            }
        }
    })
}

fn watch(folder: &Path) -> rustix::io::Result<OwnedFd> {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&watch, folder, WatchFlags::MOVED_TO)?;
    Ok(watch)
}

/// Waits for a while; tells whether anything came, and forgets what.
fn wait(watch: &OwnedFd) -> bool {
    let timeout = Timespec { tv_sec: LOOK_EVERY.as_secs().cast_signed(), tv_nsec: 0 };
    let mut fds = [PollFd::new(watch, PollFlags::IN)];
    // An interrupted wait is one in which nothing came.
    if poll(&mut fds, Some(&timeout)).unwrap_or(0) == 0 {
        return false;
    }
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(watch, &mut buffer);
    while events.next().is_ok() {}
    true
}
