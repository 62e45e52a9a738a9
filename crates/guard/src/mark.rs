//! How far logs were read, so that reading goes on there after a restart.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

/// How much of a file's beginning tells it from another one: two or three lines of syslog, with
/// the second in which the file was begun.
pub(crate) const HEAD_BYTES: usize = 256;

/// Which file, whatever it is called.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FileId {
    /// The device that holds it.
    pub dev: u64,
    /// Its number there; given to another file once this one is gone.
    pub ino: u64,
}

impl FileId {
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { dev: metadata.dev(), ino: metadata.ino() }
    }
}

/// How far a source of lines has been dealt with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// A log file.
    File(Mark),
    /// The journal.
    Journal {
        /// What is read of it, as text.
        query: String,
        /// The last entry.
        cursor: String,
    },
}

impl Progress {
    /// Which source it is about; what it says replaces what was said before.
    pub(crate) fn source(&self) -> String {
        match self {
            Self::File(mark) => format!("file {}", mark.path.display()),
            Self::Journal { query, .. } => format!("journal {query}"),
        }
    }
}

/// How far a log file has been dealt with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mark {
    /// The path that it was followed by.
    pub path: PathBuf,
    /// Which file.
    pub file: FileId,
    /// Its first bytes, at most 256 of what was dealt with.
    pub head: Vec<u8>,
    /// The end of the last line that was dealt with.
    pub offset: u64,
}

/// Whether `file` begins with `head`: if not, it was overwritten or is another one.
pub(crate) fn begins_with(file: &File, head: &[u8]) -> io::Result<bool> {
    Ok(first_bytes(file, head.len())? == head)
}

/// The first bytes of a file, at most `n`, which is at most 256.
pub(crate) fn first_bytes(file: &File, n: usize) -> io::Result<Vec<u8>> {
    bytes(file, 0..n.min(HEAD_BYTES) as u64)
}

/// The bytes of a part of a file; fewer where it ends before.
pub(crate) fn bytes(file: &File, part: Range<u64>) -> io::Result<Vec<u8>> {
    let n_bytes = usize::try_from(part.end - part.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; n_bytes];
    let mut n_read = 0;
    while n_read < bytes.len() {
        match file.read_at(&mut bytes[n_read..], part.start + n_read as u64)? {
            0 => break,
            n => n_read += n,
        }
    }
    bytes.truncate(n_read);
    Ok(bytes)
}
