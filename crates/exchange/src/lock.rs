//! One exchange for each state folder.
//!
//! `exchange/lock` is held by whoever delivers, `exchange/daemon.lock` by a daemon for as long as
//! it runs. A delivery in the background looks at the second between its steps and hands over when
//! a daemon holds it; the daemon waits for the first. Both are advisory locks of the kernel (flock),
//! which end with the process, however it ends. The files hold the holder's number, for messages.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::state;

/// How long a daemon waits for a delivery in the background to hand over: that looks between two
/// calls, and a call may take a minute.
const HANDOVER: Duration = Duration::from_secs(90);
/// How long a second daemon insists: whoever only looks at the lock holds it for microseconds.
const INSIST: Duration = Duration::from_millis(500);
/// How often a lock is tried while it is waited for.
const PAUSE: Duration = Duration::from_millis(50);

/// Why exchange may not deliver.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A daemon runs already.
    #[error(
        "another exchange runs on `{}` (process {holder}); stop it, or give this one its own \
         `--state`",
        state.display()
    )]
    Taken {
        /// The state folder.
        state: PathBuf,
        /// The process that holds the lock, as far as it says.
        holder: String,
    },
    /// The delivery in the background did not hand over.
    #[error(
        "process {holder} delivers in the background and did not hand over within {} s; end it",
        HANDOVER.as_secs()
    )]
    NotHandedOver {
        /// The process that holds the lock, as far as it says.
        holder: String,
    },
    /// The system does not allow it.
    #[error("the lock `{}` cannot be used; may this user write there?", path.display())]
    Io {
        /// The lock.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// The locks of a daemon: nobody else delivers, and no second daemon runs.
pub(crate) fn daemon(state: &Path, is_stopped: impl Fn() -> bool) -> Result<[Lock; 2], LockError> {
    let path = state::daemon_lock(state);
    let only = wait(&path, INSIST, &is_stopped)?
        .map_err(|holder| LockError::Taken { state: state.to_owned(), holder })?;
    let delivery = wait(&state::delivery_lock(state), HANDOVER, &is_stopped)?
        .map_err(|holder| LockError::NotHandedOver { holder })?;
    Ok([only, delivery])
}

/// The lock of a delivery in the background; `None` where somebody delivers already.
pub(crate) fn delivery(state: &Path) -> Result<Option<Lock>, LockError> {
    let path = state::delivery_lock(state);
    Ok(take(&path, FlockOperation::NonBlockingLockExclusive).map_err(|it| fault(&path, it))?.ok())
}

/// Whether somebody delivers what lies in the spool of `state`: a daemon, or a delivery in the
/// background. Where that cannot be told, nobody does.
pub fn is_delivering(state: &Path) -> bool {
    let path = state::delivery_lock(state);
    matches!(take(&path, FlockOperation::NonBlockingLockShared), Ok(Err(_holder)))
}

/// Whether a daemon runs, or is about to and waits for the delivery lock.
pub(crate) fn daemon_runs(state: &Path) -> Result<bool, LockError> {
    let path = state::daemon_lock(state);
    let free = take(&path, FlockOperation::NonBlockingLockShared).map_err(|it| fault(&path, it))?;
    Ok(free.is_err())
}

/// Takes a lock, or tells who still holds it after `patience`.
fn wait(
    path: &Path,
    patience: Duration,
    is_stopped: impl Fn() -> bool,
) -> Result<Result<Lock, String>, LockError> {
    let end = Instant::now() + patience;
    loop {
        let taken = take(path, FlockOperation::NonBlockingLockExclusive);
        match taken.map_err(|source| fault(path, source))? {
            Ok(lock) => return Ok(Ok(lock)),
            Err(holder) if Instant::now() >= end || is_stopped() => return Ok(Err(holder)),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Takes a lock, or tells who holds it.
fn take(path: &Path, how: FlockOperation) -> io::Result<Result<Lock, String>> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    match flock(&file, how) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(Err(holder(&mut file))),
        Err(error) => return Err(error.into()),
    }
    if how == FlockOperation::NonBlockingLockExclusive {
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}", std::process::id())?;
    }
    Ok(Ok(Lock { _file: file }))
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // The number is only for the message.
    let read = Read::by_ref(file).take(16).read_to_string(&mut text);
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if read.is_ok() && is_number { text } else { "unknown".into() }
}

fn fault(path: &Path, source: io::Error) -> LockError {
    LockError::Io { path: path.to_owned(), source }
}
