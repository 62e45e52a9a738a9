//! Takes the files of the spool into the outbox, many in one transaction, and then removes them.
//!
//! The names of the files are remembered in the same transaction until they are gone, so a file
//! that is still there after a crash is not taken twice.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use tracing::warn;

use crate::LOG;
use crate::deliver::{Shared, lock};
use crate::intake::Intake;
use crate::spool;
use crate::state;
use crate::store::{Changes, StoreError};

/// Records until a turn ends, so that delivery begins while a large spool is still being taken.
const MAX_RECORDS: u64 = 10_000;

/// Why the spool cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the spool cannot be read or cleared")]
    Io(#[from] io::Error),
}

/// Takes what is whole, oldest first, up to a limit; tells whether there was anything.
pub(crate) fn take(
    state: &Path,
    store: &Shared,
    intake: &Intake,
    now: Timestamp,
) -> Result<bool, TakeError> {
    // Left behind by a crash between the transaction and the removal.
    clear_taken(state, store)?;
    let folder = state::spool(state);
    let mut n_records = 0;
    let mut files = spool::files(&folder)?;
    files.retain(|file| {
        let fits = n_records < MAX_RECORDS;
        n_records += spool::size(file).n_records;
        fits
    });
    if files.is_empty() {
        return Ok(false);
    }
    lock(store).change(|changes| {
        for file in &files {
            let why = take_file(&folder.join(file), changes, intake, now)?;
            changes.take(file, why.as_deref())?;
        }
        Ok(())
    })?;
    clear_taken(state, store)?;
    Ok(true)
}

/// Takes what a file holds, and tells what is wrong with it.
fn take_file(
    path: &Path,
    changes: &Changes<'_>,
    intake: &Intake,
    now: Timestamp,
) -> rusqlite::Result<Option<String>> {
    let reports = match spool::read(path) {
        Ok(reports) => reports,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let mut bad = None;
    for report in reports {
        match report {
            Ok(report) => intake.admit(changes, &report, now)?,
            Err(line) => bad = bad.or_else(|| Some(line.to_string())),
        }
    }
    Ok(bad)
}

/// Removes the files that are in the outbox, and forgets them.
fn clear_taken(state: &Path, store: &Shared) -> Result<(), TakeError> {
    let taken = lock(store).taken()?;
    if taken.is_empty() {
        return Ok(());
    }
    for (file, why) in &taken {
        clear(state, file, why.as_deref())?;
    }
    Ok(lock(store).change(|changes| changes.forget_taken())?)
}

/// Removes a file that was taken; one with bad lines is kept for whoever wants to know.
fn clear(state: &Path, file: &str, why: Option<&str>) -> io::Result<()> {
    let path = state::spool(state).join(file);
    let cleared = match why {
        None => fs::remove_file(&path),
        Some(why) => {
            let folder = state::bad(state);
            state::make(&folder)?;
            let kept = folder.join(file);
            warn!(
                target: LOG,
                "a report could not be read ({why}); the rest was taken, and the file is kept as `{}`",
                kept.display()
            );
            fs::rename(&path, &kept)
        }
    };
    match cleared {
        // It was removed before the crash.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        cleared => cleared,
    }
}
