//! The patterns of `logpath`: which files they name now, and where to look for a change of that.
//!
//! As Python's `glob` without its recursion: `*`, `?`, `[a-z]` and `[!a-z]` stay within one
//! component, and no wildcard stands for a leading dot.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Links that are gone along for one path at most: as many as the kernel does.
const MAX_LINKS: usize = 40;

/// What a pattern names at one moment.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Named {
    /// The files, in the order of their names.
    pub(super) files: Vec<PathBuf>,
    /// The folders whose change can change the answer.
    pub(super) folders: Vec<PathBuf>,
}

/// Looks what `pattern` names now.
pub(super) fn look(pattern: &str) -> Named {
    let mut named = Named::default();
    let start = PathBuf::from(if pattern.starts_with('/') { "/" } else { "." });
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    descend(start, &parts, &mut named);
    named
}

fn descend(folder: PathBuf, parts: &[&str], named: &mut Named) {
    let Some((part, rest)) = parts.split_first() else { return };
    if !has_wildcard(part) {
        let (path, is_last) = (folder.join(part), rest.is_empty());
        let is_folder = path.is_dir();
        // A link to a folder may lead to another one later.
        if is_last || !is_folder || path.is_symlink() {
            named.folders.push(folder);
        }
        if is_last {
            named.add(path);
        } else if is_folder {
            descend(path, rest, named);
        }
        return;
    }
    // A folder that cannot be listed names nothing, as one that is not there.
    let mut matching: Vec<PathBuf> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| matches(part.as_bytes(), entry.file_name().as_bytes()))
        .map(|entry| folder.join(entry.file_name()))
        .collect();
    matching.sort();
    named.folders.push(folder);
    if rest.is_empty() {
        matching.into_iter().for_each(|path| named.add(path));
    } else {
        for path in matching.into_iter().filter(|path| path.is_dir()) {
            descend(path, rest, named);
        }
    }
}

impl Named {
    /// Adds a file, or the link to one that is not there yet.
    fn add(&mut self, path: PathBuf) {
        for place in links(&path) {
            let folder = place.ancestors().skip(1).find(|it| it.is_dir());
            self.folders.extend(folder.map(Path::to_owned));
        }
        // Of one that may not be looked at, that is said when it is to be opened.
        if path.try_exists().unwrap_or(true) {
            self.files.push(path);
        }
    }
}

/// Whether `pattern` can name more than one file.
pub(super) fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// The places that a path leads to, one after the other, where it is a link; nothing need be there.
pub(super) fn links(path: &Path) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = Vec::new();
    while places.len() < MAX_LINKS {
        let place = places.last().map_or(path, PathBuf::as_path);
        let Ok(target) = fs::read_link(place) else { break };
        places.push(place.parent().unwrap_or(Path::new("/")).join(target));
    }
    places
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    (name.first() != Some(&b'.') || pattern.first() == Some(&b'.')) && glob(pattern, name)
}

/// Goes back to the last `*` alone, so a hostile name costs at most the product of both lengths.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut done) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while done < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, done));
            at += 1;
        } else if let Some(width) = one(&pattern[at..], name[done]) {
            at += width;
            done += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            (at, done) = (star_at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// How long the first element of `pattern` is, where it stands for `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => class(pattern, byte),
        literal => (literal == byte).then_some(1),
    }
}

/// As [`one`], for `[…]`; a `[` that nothing closes is itself.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'!');
    let first = if negated { 2 } else { 1 };
    // A `]` that comes first is a member.
    let Some(end) = pattern.iter().skip(first + 1).position(|&it| it == b']') else {
        return (byte == b'[').then_some(1);
    };
    let end = first + 1 + end;
    let members = &pattern[first..end];
    let mut found = false;
    let mut i = 0;
    while i < members.len() {
        if members.get(i + 1) == Some(&b'-') && i + 2 < members.len() {
            found |= (members[i]..=members[i + 2]).contains(&byte);
            i += 3;
        } else {
            found |= members[i] == byte;
            i += 1;
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, want: bool) {
        assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), want, "{pattern} {name}");
    }

    #[test]
    fn matches_as_python_does() {
        check("*.log", "auth.log", true);
        check("*.log", ".log", false); // a leading dot is nobody's
        check(".*", ".log", true);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-b-b-d", false);
        check("access?log", "access.log", true);
        check("log.[0-9]", "log.7", true);
        check("log.[!0-9]", "log.7", false);
        check("log.[]x]", "log.]", true);
        check("log.[7", "log.[7", true); // not closed
        check("[a-]", "-", true);
        check("*", "b\u{f6}se", true);
        check("", "x", false);
    }

    #[test]
    fn names_files_and_the_folders_to_watch() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for dir in ["web/a", "web/b", "web/empty"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for file in ["web/b/access.log", "web/a/access.log", "web/a/other", "auth.log"] {
            fs::write(root.join(file), "").unwrap();
        }
        let paths = |names: &[&str]| names.iter().map(|it| root.join(it)).collect::<Vec<_>>();
        let named = look(&format!("{}/web/*/access.log", root.display()));
        assert_eq!(named.files, paths(&["web/a/access.log", "web/b/access.log"]));
        assert_eq!(named.folders, paths(&["web", "web/a", "web/b", "web/empty"]));

        let named = look(&format!("{}/auth.log", root.display()));
        assert_eq!((named.files, named.folders), (paths(&["auth.log"]), paths(&[""])));
        let named = look(&format!("{}/later/mail.log", root.display()));
        assert_eq!((named.files, named.folders), (vec![], paths(&[""])));
    }
}
