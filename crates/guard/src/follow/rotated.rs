//! Finds the files that a log was rotated to.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

use super::Retired;
use super::file::Open;
use crate::mark::{self, FileId, Mark};

/// What `mark` speaks of and is not dealt with, where it lies beside its successor now: the same file
/// under another name; or the copy that was made of it before it was truncated, and then the file, if
/// it was renamed since.
pub(super) fn rest_of(mark: &Mark) -> Vec<Open> {
    let Beside { same, copy, truncated } = beside(mark);
    match same {
        Some(same) => vec![same],
        None => copy.into_iter().chain(truncated).collect(),
    }
}

/// What is not dealt with of a copy that was made of a file before it was truncated.
pub(super) fn copy_of(mark: &Mark) -> Option<Open> {
    beside(mark).copy
}

/// What lies beside the file that a mark speaks of.
#[derive(Default)]
struct Beside {
    /// The file itself under another name, as it was.
    same: Option<Open>,
    /// The youngest copy of it as it was.
    copy: Option<Open>,
    /// The file under the name of a rotation, with something else in it.
    truncated: Option<Open>,
}

fn beside(mark: &Mark) -> Beside {
    let (mut found, mut copied) = (Beside::default(), None);
    let folder = mark.path.parent().and_then(|it| fs::read_dir(it).ok());
    for entry in folder.into_iter().flatten().filter_map(Result::ok) {
        // What vanishes meanwhile is no rest.
        let Ok(metadata) = entry.metadata() else { continue };
        let is_same = FileId::of(&metadata) == mark.file;
        let is_rotated = is_rotated(&mark.path, &entry.path());
        if !is_same && !is_rotated {
            continue;
        }
        let Ok(open) = Open::new(&entry.path()) else { continue };
        let (born, goes_on) = (born(&metadata).ok(), open.is_the_one_of(mark).unwrap_or(false));
        // A copy goes by the file that it was made of.
        let rest =
            |open| Open { done: mark.offset, id: mark.file, head: mark.head.clone(), ..open };
        match (is_same, goes_on) {
            (true, true) => found.same = Some(rest(open)),
            (true, false) if is_rotated => found.truncated = Some(open),
            (false, true) if born >= copied => (found.copy, copied) = (Some(rest(open)), born),
            (true | false, _) => {}
        }
    }
    found
}

/// The files that had the name `path` after the last of `retired` and before `next`, oldest first:
/// where a log is rotated twice before the follower looks, or while guard is down.
///
/// They lie beside it under a name that a rotation gives, are younger than the last, were written to
/// after it, and are no copy of it.
pub(super) fn missed_between(
    path: &Path,
    retired: &[Retired],
    next: &Open,
) -> io::Result<Vec<Open>> {
    let (Some(last), Some(folder)) = (retired.last(), path.parent()) else {
        return Ok(Vec::new());
    };
    let last = &last.open;
    let of_last = last.file.metadata()?;
    let (since, written) = (born(&of_last)?, of_last.modified()?);
    let mut missed = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // What vanishes meanwhile is nothing that was missed.
        let Ok(metadata) = entry.metadata() else { continue };
        let (id, born) = (FileId::of(&metadata), born(&metadata)?);
        let known = id == next.id || retired.iter().any(|it| it.open.id == id);
        let is_older = born < since || metadata.modified()? < written;
        if known || is_older || !is_rotated(path, &entry.path()) {
            continue;
        }
        let Ok(open) = Open::new(&entry.path()) else { continue };
        if last.head.is_empty() || !mark::begins_with(&open.file, &last.head)? {
            missed.push((born, open));
        }
    }
    missed.sort_by_key(|(born, _)| *born);
    Ok(missed.into_iter().map(|(_, open)| open).collect())
}

/// When a file was made; on the few file systems that do not know, when it was last written to.
fn born(metadata: &fs::Metadata) -> io::Result<SystemTime> {
    metadata.created().or_else(|_| metadata.modified())
}

/// Whether a rotation of `path` may have given the name `other`: with a number or a date behind
/// the name (`auth.log.1`, `auth.log-20261122`) or before its end (`access-20261122.log`).
fn is_rotated(path: &Path, other: &Path) -> bool {
    let (Some(name), Some(other)) = (path.file_name(), other.file_name()) else { return false };
    let (name, other) = (name.as_bytes(), other.as_bytes());
    let behind = |stem: &[u8], end: &[u8]| {
        other.strip_prefix(stem).and_then(|rest| rest.strip_suffix(end)).is_some_and(|middle| {
            middle.iter().any(u8::is_ascii_digit)
                && middle.iter().all(|it| it.is_ascii_digit() || b".-_:T".contains(it))
        })
    };
    let (stem, end) = name.split_at(name.iter().rposition(|&it| it == b'.').unwrap_or(name.len()));
    behind(name, b"") || behind(stem, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, other: &str, want: bool) {
        assert_eq!(is_rotated(Path::new(name), Path::new(other)), want, "{name} {other}");
    }

    #[test]
    fn knows_the_names_that_rotations_give() {
        check("/var/log/auth.log", "/var/log/auth.log.1", true);
        check("auth.log", "auth.log-20261122", true);
        check("access.log", "access-2026-11-22T06:00.log", true);
        check("messages", "messages.7", true);
        check("auth.log", "auth.log.2.gz", false); // it was packed, so it is older
        check("auth.log", "auth.log.failed", false); // somebody's notes
        check("auth.log", "auth.log", false);
        check("auth.log", "authority.log.1", false);
    }
}
