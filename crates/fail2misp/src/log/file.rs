//! The log's file: kept open for as long as its name means it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Target;
use super::sink::write_to_stderr;

/// How much is kept back at most, where many lines belong together.
const MAX_KEPT_BYTES: usize = 64 << 10;

/// A file that lines are added to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// `None` where it is not open now.
    file: Option<File>,
    /// Lines that are not written yet.
    kept: Vec<u8>,
}

impl LogFile {
    /// The file of a target, where it is one.
    pub(super) fn of(target: &Target) -> Option<Self> {
        match target {
            Target::File(path) => Some(Self { path: path.clone(), file: None, kept: Vec::new() }),
            Target::Stderr | Target::Stdout | Target::Syslog(_) | Target::Journal(_) => None,
        }
    }

    /// Adds a line; it is written with the next ones.
    pub(super) fn add(&mut self, line: &[u8]) {
        self.kept.extend_from_slice(line);
        if self.kept.len() >= MAX_KEPT_BYTES {
            self.flush();
        }
    }

    /// Writes what was added, to standard error where the file cannot be written.
    pub(super) fn flush(&mut self) {
        if !self.kept.is_empty() && self.write().is_err() {
            write_to_stderr(&self.kept);
        }
        self.kept.clear();
    }

    fn write(&mut self) -> io::Result<()> {
        // After a rotation the name is that of another file, or of none.
        let mut file = match self.file.take() {
            Some(file) if is_named(&file, &self.path) => file,
            _ => open(&self.path)?,
        };
        file.write_all(&self.kept)?;
        self.file = Some(file);
        Ok(())
    }
}

/// Whether `path` still names `file`.
fn is_named(file: &File, path: &Path) -> bool {
    let id = |it: fs::Metadata| (it.dev(), it.ino());
    file.metadata().map(id).ok() == fs::metadata(path).map(id).ok()
}

/// Opens a log to be added to; it is made where it is missing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_into_the_file_that_has_the_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, rotated) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut log = LogFile::of(&Target::File(path.clone())).expect("it is a file");
        let mut write = |line: &str| {
            log.add(line.as_bytes());
            log.flush();
        };
        let read = |path: &Path| fs::read_to_string(path).expect("it is there");
        write("one\n");
        fs::rename(&path, &rotated).expect("it is there");
        write("two\n");
        assert_eq!([read(&rotated), read(&path)], ["one\n", "two\n"]);
        fs::remove_file(&path).expect("it is there");
        write("three\n");
        // As logrotate's copytruncate does.
        File::options().write(true).open(&path).and_then(|it| it.set_len(0)).expect("it is there");
        write("four\n");
        assert_eq!(read(&path), "four\n");
    }

    #[test]
    fn lines_of_a_burst_are_kept_until_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut log = LogFile::of(&Target::File(path.clone())).expect("it is a file");
        let n_bytes = || fs::metadata(&path).map_or(0, |it| it.len() as usize);
        let line = [b'x'; 100];
        log.add(&line);
        assert_eq!(n_bytes(), 0);
        // A large one fills no memory.
        (0..MAX_KEPT_BYTES / 100).for_each(|_| log.add(&line));
        assert!(n_bytes() >= MAX_KEPT_BYTES);
        log.add(&line);
        log.flush();
        assert_eq!(n_bytes(), 100 * (MAX_KEPT_BYTES / 100 + 2));
    }
}
