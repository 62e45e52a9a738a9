//! Takes the files of the spool into the outbox, each in one transaction, and then removes them.
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
use crate::store::StoreError;

/// Why the spool cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the spool cannot be read or cleared")]
    Io(#[from] io::Error),
}

/// Takes all that is whole; tells whether there was anything.
pub(crate) fn take(
    state: &Path,
    store: &Shared,
    intake: &Intake,
    now: Timestamp,
) -> Result<bool, TakeError> {
    let folder = state::spool(state);
    // Left behind by a crash between the transaction and the removal.
    let taken = lock(store).taken()?;
    for (file, why) in &taken {
        clear(state, file, why.as_deref())?;
        lock(store).change(|changes| changes.forget_taken(file))?;
    }
    let files = spool::files(&folder)?;
    for file in &files {
        let why = lock(store).change(|changes| {
            let mut bad: Option<String> = None;
            match spool::read(&folder.join(file)) {
                Err(error) => bad = Some(error.to_string()),
                Ok(reports) => {
                    for report in reports {
                        match report {
                            Ok(report) => intake.admit(changes, &report, now)?,
                            Err(line) => bad = bad.or_else(|| Some(line.to_string())),
                        }
                    }
                }
            }
            changes.take(file, bad.as_deref())?;
            Ok(bad)
        })?;
        clear(state, file, why.as_deref())?;
        lock(store).change(|changes| changes.forget_taken(file))?;
    }
    Ok(!files.is_empty())
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
