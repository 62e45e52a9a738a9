//! Finds the logs: files, folders, wildcards; rotated sets from the oldest to the live one.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::packing;

/// What stands for standard input.
pub const STDIN: &str = "-";

/// A log that is to be searched.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name when it was found; [`STDIN`] for standard input.
    pub path: PathBuf,
    /// What keeps its identity when it is renamed.
    pub file: FileId,
    /// Bytes on disk; 0 for what is no file.
    pub size: u64,
    /// When it was last written: dates without a year are before this.
    pub modified: Option<Timestamp>,
}

/// A file, whatever its name.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A log that cannot be searched, or not wholly.
#[derive(Debug, thiserror::Error)]
#[error("`{}`: {why}", path.display())]
pub struct Unread {
    /// Which.
    pub path: PathBuf,
    /// Why not, and what to do about it.
    pub why: String,
}

impl Unread {
    pub(crate) fn new(path: &Path, why: &impl ToString) -> Self {
        Self { path: path.to_owned(), why: why.to_string() }
    }
}

/// Finds all logs that `paths` name, each once, in the order of their time; and what is no log.
pub fn find(paths: &[String]) -> (Vec<Input>, Vec<Unread>) {
    let mut finder = Finder::default();
    for path in paths {
        if path == STDIN {
            finder.inputs.push(Input { path: STDIN.into(), ..Input::nothing() });
        } else if Path::new(path).exists() || !path.contains(['*', '?', '[']) {
            finder.take_named(Path::new(path));
        } else {
            finder.take_pattern(path);
        }
    }
    finder.inputs.sort_by_cached_key(|input| Rotation::of(&input.path));
    (finder.inputs, finder.unread)
}

/// Finds the logs at `paths`, and what was rotated away from each of them and lies beside it.
pub fn find_rotated(paths: &[PathBuf]) -> (Vec<Input>, Vec<Unread>) {
    let mut finder = Finder::default();
    for path in paths {
        finder.take_set(path);
    }
    finder.inputs.sort_by_cached_key(|input| Rotation::of(&input.path));
    (finder.inputs, finder.unread)
}

/// Files are not older than this: what says so was unpacked without its time.
const OLDEST_FILE: Timestamp = Timestamp::constant(946_684_800, 0);

impl Input {
    /// When it was last written, as far as that is known: dates without a year are not after it.
    pub fn written(&self, now: Timestamp) -> Timestamp {
        self.modified.filter(|time| *time > OLDEST_FILE).map_or(now, |time| time.min(now))
    }

    /// Its text, from whatever it is packed in.
    ///
    /// # Errors
    ///
    /// When it cannot be opened; what is broken further on fails to read there.
    pub fn text(&self) -> io::Result<Box<dyn Read + Send>> {
        if self.path.as_os_str() == STDIN {
            return self.unpacked(io::stdin());
        }
        self.unpacked(self.open()?)
    }

    /// The text of what `from` reads of it.
    pub(crate) fn unpacked<'r>(
        &self,
        from: impl Read + Send + 'r,
    ) -> io::Result<Box<dyn Read + Send + 'r>> {
        let (packing, from) = packing::tell(from)?;
        packing::unpack(packing, &self.path, from)
    }

    /// The file that it was when it was found; logrotate may have renamed it since.
    pub(crate) fn open(&self) -> io::Result<fs::File> {
        let is_it = |file: &fs::File| {
            file.metadata().is_ok_and(|metadata| FileId::of(&metadata) == self.file)
        };
        match fs::File::open(&self.path) {
            Ok(file) if is_it(&file) => return Ok(file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let folder = self.path.parent().filter(|path| *path != Path::new(""));
        let renamed = fs::read_dir(folder.unwrap_or(Path::new(".")))?
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
            .filter_map(|entry| fs::File::open(entry.path()).ok())
            .find(|file| is_it(file));
        renamed.ok_or_else(|| {
            let why = "it was removed or packed meanwhile; search again";
            io::Error::new(io::ErrorKind::NotFound, why)
        })
    }

    fn nothing() -> Self {
        Self { path: PathBuf::new(), file: FileId::default(), size: 0, modified: None }
    }

    fn new(path: &Path, metadata: &Metadata) -> Self {
        Self {
            path: path.to_owned(),
            file: FileId::of(metadata),
            size: if metadata.is_file() { metadata.len() } else { 0 },
            modified: Timestamp::from_second(metadata.mtime()).ok(),
        }
    }
}

#[derive(Default)]
struct Finder {
    inputs: Vec<Input>,
    unread: Vec<Unread>,
    /// Files and folders that were seen: a link may lead back to them.
    seen: HashSet<FileId>,
}

impl Finder {
    fn take_pattern(&mut self, pattern: &str) {
        let paths = match glob::glob(pattern) {
            Ok(paths) => paths,
            Err(error) => return self.unread.push(Unread::new(Path::new(pattern), &error)),
        };
        let n_before = self.inputs.len() + self.unread.len();
        for path in paths {
            match path {
                Ok(path) => self.take_named(&path),
                Err(error) => self.unread.push(Unread::new(error.path(), error.error())),
            }
        }
        if self.inputs.len() + self.unread.len() == n_before {
            self.unread.push(Unread::new(Path::new(pattern), &"no file has such a name"));
        }
    }

    /// Takes what somebody named, a pipe, too.
    fn take_named(&mut self, path: &Path) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.take_folder(path, &metadata),
            Ok(metadata) => self.take_file(path, &metadata),
            Err(error) => self.unread.push(Unread::new(path, &error)),
        }
    }

    fn take_folder(&mut self, path: &Path, metadata: &Metadata) {
        if !self.seen.insert(FileId::of(metadata)) {
            return;
        }
        let entries = match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => return self.unread.push(Unread::new(path, &error)),
        };
        for entry in entries {
            let path = entry.path();
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.take_folder(&path, &metadata),
                Ok(metadata) if metadata.is_file() => self.take_file(&path, &metadata),
                // A socket or a pipe is no log, and a link that leads nowhere neither.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.unread.push(Unread::new(&path, &error)),
            }
        }
    }

    /// Takes the rotated set of a log.
    fn take_set(&mut self, path: &Path) {
        let set = Rotation::of(path);
        let entries = match fs::read_dir(&set.folder) {
            Ok(entries) => entries.filter_map(Result::ok),
            Err(error) => return self.unread.push(Unread::new(path, &error)),
        };
        for path in entries.map(|entry| entry.path()) {
            let Rotation { folder, set: name, .. } = Rotation::of(&path);
            if (folder, name) != (set.folder.clone(), set.set.clone()) {
                continue;
            }
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => self.take_file(&path, &metadata),
                // What is no file is no log, and what is gone was packed or removed.
                _ => {}
            }
        }
    }

    fn take_file(&mut self, path: &Path, metadata: &Metadata) {
        if self.seen.insert(FileId::of(metadata)) {
            self.inputs.push(Input::new(path, metadata));
        }
    }
}

/// Where a log stands in its rotated set: sets by their names, each from its oldest part on.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Rotation {
    folder: PathBuf,
    set: String,
    age: Age,
}

/// Which part of a set it is, the oldest first.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Age {
    /// By the date in its name.
    Dated(String),
    /// By its number: the larger, the older.
    Numbered(std::cmp::Reverse<u32>),
    /// The one that is written to.
    Live,
}

impl Rotation {
    fn of(path: &Path) -> Self {
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let packings = [".gz", ".xz", ".zst", ".bz2"];
        let name = packings.iter().find_map(|it| name.strip_suffix(it)).unwrap_or(&name);
        let all_digits =
            |text: &&str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        if let Some((set, date)) = name.rsplit_once('-')
            && date.len() >= 8
            && all_digits(&date)
        {
            return Self { folder, set: set.to_owned(), age: Age::Dated(date.to_owned()) };
        }
        let numbered = name.rsplit_once('.').filter(|(_, number)| all_digits(number));
        let (set, age) = match numbered.and_then(|(set, number)| Some((set, number.parse().ok()?)))
        {
            Some((set, number)) => (set, Age::Numbered(std::cmp::Reverse(number))),
            None => (name, Age::Live),
        };
        Self { folder, set: set.to_owned(), age }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use super::*;

    fn names(paths: &[String], root: &Path) -> Vec<String> {
        let (inputs, _) = find(paths);
        let below = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
        inputs.iter().map(|input| below(&input.path)).collect()
    }

    #[test]
    fn rotated_sets_come_in_the_order_of_their_time() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let sorted = [
            "auth.log.10.gz",
            "auth.log.2.gz",
            "auth.log.1",
            "auth.log",
            "b.log-20261101.xz",
            "b.log-20261108",
            "b.log",
        ];
        for name in sorted.iter().rev() {
            fs::write(root.join(name), name).unwrap();
        }
        assert_eq!(names(&[root.display().to_string()], root), sorted);
        assert_eq!(names(&[root.join("auth*").display().to_string()], root), &sorted[..4]);
        let (set, unread) = find_rotated(&[root.join("auth.log"), root.join("auth.log.1")]);
        let paths: Vec<_> = set.iter().map(|input| input.path.clone()).collect();
        assert_eq!(paths, sorted[..4].iter().map(|it| root.join(it)).collect::<Vec<_>>());
        assert!(unread.is_empty(), "{unread:?}");
    }

    #[test]
    fn a_circle_of_folders_ends_and_a_file_comes_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("a")).unwrap();
        fs::write(root.join("a/x.log"), "x").unwrap();
        std::os::unix::fs::symlink(root, root.join("a/up")).unwrap();
        std::os::unix::fs::symlink(root.join("a/x.log"), root.join("y.log")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
        let paths = [root.display().to_string(), root.join("a/x.log").display().to_string()];
        assert_eq!(names(&paths, root).len(), 1);
        let (_, unread) =
            find(&[root.join("none").display().to_string(), root.join("n*").display().to_string()]);
        assert_eq!(unread.len(), 2, "{unread:?}");
    }

    #[test]
    fn a_renamed_log_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        fs::write(&path, "old").unwrap();
        let (inputs, _) = find(&[path.display().to_string()]);
        fs::rename(&path, dir.path().join("x.log.1")).unwrap();
        fs::write(&path, "new").unwrap();
        assert_eq!(io::read_to_string(inputs[0].text().unwrap()).unwrap(), "old");
        fs::remove_file(dir.path().join("x.log.1")).unwrap();
        assert!(inputs[0].text().is_err());
    }
}
