//! Finds the files that a log was rotated to.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

use super::Retired;
use super::file::Open;
use crate::mark::{self, FileId, Mark};

/// How often it is looked for rotated files while they are moved about; a rotation takes some
/// microseconds.
const MAX_LOOKS: u32 = 5;

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
    for Rotated { open, metadata } in rotated(&mark.path, Some(mark.file)).unwrap_or_default() {
        let (born, goes_on) = (born(&metadata).ok(), open.is_the_one_of(mark).unwrap_or(false));
        // A copy goes by the file that it was made of.
        let rest =
            |open| Open { done: mark.offset, id: mark.file, head: mark.head.clone(), ..open };
        match (open.id == mark.file, goes_on) {
            (true, true) => found.same = Some(rest(open)),
            (true, false) => found.truncated = Some(open),
            (false, true) if born >= copied => (found.copy, copied) = (Some(rest(open)), born),
            (false, _) => {}
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
    let Some(Retired { open: last, .. }) = retired.last() else { return Ok(Vec::new()) };
    let of_last = last.file.metadata()?;
    let (since, written) = (born(&of_last)?, of_last.modified()?);
    missed(path, retired, next, |it| {
        let is_copy = !last.head.is_empty() && mark::begins_with(&it.open.file, &last.head)?;
        Ok(born(&it.metadata)? >= since && it.metadata.modified()? >= written && !is_copy)
    })
}

/// The copies that were made of `next` since `since` and before any of it was read, oldest first.
pub(super) fn copies_since(
    path: &Path,
    retired: &[Retired],
    next: &Open,
    since: SystemTime,
) -> io::Result<Vec<Open>> {
    let since = born(&next.file.metadata()?)?.max(since);
    missed(path, retired, next, |it| {
        let is_of_now = !next.head.is_empty() && mark::begins_with(&it.open.file, &next.head)?;
        Ok(born(&it.metadata)? >= since && !is_of_now)
    })
}

/// Files under names of a rotation that are neither `next` nor known, and that are wanted, oldest
/// first.
fn missed(
    path: &Path,
    retired: &[Retired],
    next: &Open,
    is_wanted: impl Fn(&Rotated) -> io::Result<bool>,
) -> io::Result<Vec<Open>> {
    // A copy goes by another file's number.
    let known = retired.iter().map(|it| it.open.file.metadata().map(|it| FileId::of(&it)));
    let known: Vec<FileId> = known.chain([Ok(next.id)]).collect::<io::Result<_>>()?;
    let mut missed = Vec::new();
    for it in rotated(path, None)? {
        if !known.contains(&it.open.id) && !it.comes_after(next)? && is_wanted(&it)? {
            missed.push((it.metadata.modified()?, born(&it.metadata)?, it.open));
        }
    }
    // A copy is younger than the file that it was made of, and what it holds is older: it goes by
    // that file, where reading goes on. What was written within one tick of the file system's clock
    // goes by when it was made.
    missed.sort_by_key(|(written, born, _)| (*written, *born));
    let files = missed.iter().map(|(_, born, open)| (*born, open.id));
    let files: Vec<_> = files.chain([(born(&next.file.metadata()?)?, next.id)]).collect();
    let copied_of = |place: usize| {
        let (born, own) = files[place];
        let source = files[place + 1..].iter().find(|(other, _)| *other < born);
        source.map_or(own, |(_, source)| *source)
    };
    let missed = missed.into_iter().enumerate();
    Ok(missed.map(|(place, (.., open))| Open { id: copied_of(place), ..open }).collect())
}

/// A file under the name of a rotation.
struct Rotated {
    open: Open,
    metadata: fs::Metadata,
}

impl Rotated {
    /// Whether it had the name of `other` after it, and lost it, too, meanwhile: it is younger and was
    /// written to later. A copy of `other` was written before that was truncated.
    fn comes_after(&self, other: &Open) -> io::Result<bool> {
        let other = other.file.metadata()?;
        // Where the file system does not know, the file is rather read early than not at all.
        let births = self.metadata.created().ok().zip(other.created().ok());
        let is_younger = births.is_some_and(|(own, others)| own >= others);
        Ok(is_younger && self.metadata.modified()? > other.modified()?)
    }
}

/// The files beside `path` that a rotation may have made of it, and `file` under any name but this.
/// A rotation that goes on meanwhile moves them about: it is looked again then.
fn rotated(path: &Path, file: Option<FileId>) -> io::Result<Vec<Rotated>> {
    let mut found = look_beside(path, file)?;
    for _ in 0..MAX_LOOKS {
        let again = look_beside(path, file)?;
        let is_calm = again.iter().map(|it| it.open.id).eq(found.iter().map(|it| it.open.id));
        if is_calm {
            break;
        }
        found = again;
    }
    Ok(found)
}

fn look_beside(path: &Path, file: Option<FileId>) -> io::Result<Vec<Rotated>> {
    let Some(folder) = path.parent() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let other = entry?.path();
        let is_wanted = |id: FileId| other != path && Some(id) == file;
        let is_named = is_rotated(path, &other);
        // What vanishes meanwhile was not there.
        let Ok(metadata) = fs::metadata(&other) else { continue };
        if !is_named && !is_wanted(FileId::of(&metadata)) {
            continue;
        }
        let Ok(open) = Open::new(&other) else { continue };
        let metadata = open.file.metadata()?;
        if is_named || is_wanted(open.id) {
            found.push(Rotated { open, metadata });
        }
    }
    // By name a file is told twice where it is renamed meanwhile.
    found.sort_by_key(|it| (it.open.id.dev, it.open.id.ino));
    found.dedup_by_key(|it| it.open.id);
    Ok(found)
}

/// When a file was made; on the few file systems that do not know, when it was last written to.
pub(super) fn born(metadata: &fs::Metadata) -> io::Result<SystemTime> {
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
