//! What lies where under the state folder, and how a folder comes to be.
//!
//! - `spool/`: reports on their way in, written by whoever reports
//! - `exchange/exchange.db`: what exchange knows and what is on its way out
//! - `exchange/keys/`: the keys of the article's forms, each in a file of its own
//! - `exchange/warninglists/`: MISP's, a file for each
//! - `exchange/bad/`: files of the spool that could not be read
//! - `exchange/lock`, `exchange/daemon.lock`: who delivers, and which daemon runs

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::owner::as_owner_of;

pub(crate) fn spool(state: &Path) -> PathBuf {
    state.join("spool")
}

pub(crate) fn exchange(state: &Path) -> PathBuf {
    state.join("exchange")
}

pub(crate) fn keys(state: &Path) -> PathBuf {
    exchange(state).join("keys")
}

pub(crate) fn warninglists(state: &Path) -> PathBuf {
    exchange(state).join("warninglists")
}

pub(crate) fn bad(state: &Path) -> PathBuf {
    exchange(state).join("bad")
}

pub(crate) fn database(state: &Path) -> PathBuf {
    exchange(state).join("exchange.db")
}

pub(crate) fn delivery_lock(state: &Path) -> PathBuf {
    exchange(state).join("lock")
}

pub(crate) fn daemon_lock(state: &Path) -> PathBuf {
    exchange(state).join("daemon.lock")
}

/// Makes `folder` where it is missing, closed to others and owned as the folder around it; the
/// state folder itself stays open to be looked into.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    if folder.symlink_metadata().is_ok() {
        return Ok(());
    }
    let around = folder.parent().filter(|around| !around.as_os_str().is_empty());
    let around = around.unwrap_or(Path::new("."));
    if !around.exists() {
        DirBuilder::new().recursive(true).mode(0o755).create(around)?;
    }
    as_owner_of(around, || match DirBuilder::new().mode(0o700).create(folder) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    })
}
