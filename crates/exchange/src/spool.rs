//! The spool: reports on their way to the outbox, a file for each that was put.
//!
//! `put` is called by many processes at once and as other users than exchange's. It writes under a
//! temporary name, forces the bytes to the disk, renames, and forces the folder to the disk, as
//! mail systems do: a file that has its final name is whole. Names sort by time, and say how much
//! is in the file, so that the limits are checked without a look inside:
//! `UUIDv7.RECORDS.BYTES.jsonl`, one report a line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fmt, fs};

use rustix::fs::OFlags;
use uuid::Uuid;

use crate::owner::as_owner_of;
use crate::report::Report;
use crate::state;

/// The most records that wait: a host under heavy attack makes a few thousand an hour, and a look
/// back through years of logs some hundred thousand.
pub const MAX_RECORDS: u64 = 1_000_000;
/// The most bytes that wait, so that the spool never fills the disk.
pub const MAX_BYTES: u64 = 256 << 20;
/// The largest record; matched lines that do not fit are left out.
const MAX_RECORD_BYTES: usize = 256 << 10;
/// When the temporary file of a process that died is swept away.
const STALE_AFTER: Duration = Duration::from_secs(60 * 60);
/// What a finished file's name ends with.
const SUFFIX: &str = ".jsonl";

/// Why reports were not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It is full.
    #[error(
        "the spool `{}` holds {n_records} reports ({n_bytes} bytes) and takes no more; is MISP \
         away, or does `fail2misp run` not run?",
        folder.display()
    )]
    Full {
        /// The spool.
        folder: PathBuf,
        /// Reports that wait.
        n_records: u64,
        /// Bytes that wait.
        n_bytes: u64,
    },
    /// The system does not allow it.
    #[error(
        "writing to the spool `{}` failed; is there room on the disk, and may this user write there?",
        folder.display()
    )]
    Io {
        /// The spool.
        folder: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Puts reports into the spool; when this returns they survive a crash.
///
/// # Errors
///
/// When the spool is full, or cannot be written.
pub fn put(state: &Path, reports: &[Report]) -> Result<(), SpoolError> {
    if reports.is_empty() {
        return Ok(());
    }
    let folder = state::spool(state);
    let failed = |source| SpoolError::Io { folder: folder.clone(), source };
    let lines = lines(reports).map_err(failed)?;
    state::make(&folder).map_err(failed)?;
    let full = as_owner_of(&folder, || {
        let used = used(&folder)?;
        let (n_records, n_bytes) = (reports.len() as u64, lines.len() as u64);
        if used.n_records + n_records > MAX_RECORDS || used.n_bytes + n_bytes > MAX_BYTES {
            return Ok(Some(used));
        }
        write(&folder, &lines, reports.len()).map(|()| None)
    });
    match full.map_err(failed)? {
        None => Ok(()),
        Some(Used { n_records, n_bytes }) => Err(SpoolError::Full { folder, n_records, n_bytes }),
    }
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Used {
    pub(crate) n_records: u64,
    pub(crate) n_bytes: u64,
}

/// Counts what waits, by the names alone.
pub(crate) fn used(folder: &Path) -> io::Result<Used> {
    let mut used = Used::default();
    for name in finished(folder)? {
        let size = size(&name);
        used.n_records += size.n_records;
        used.n_bytes += size.n_bytes;
    }
    Ok(used)
}

/// How much a file holds, by its name; a foreign one counts as one small record.
pub(crate) fn size(name: &str) -> Used {
    let mut parts = name.split('.').skip(1).map(|part| part.parse().unwrap_or(1));
    Used { n_records: parts.next().unwrap_or(1), n_bytes: parts.next().unwrap_or(1) }
}

/// The files that are whole, oldest first.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = finished(folder)?;
    names.sort_unstable();
    Ok(names)
}

/// Removes the temporary files of processes that died while they wrote.
pub(crate) fn sweep(folder: &Path, now: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_temporary = entry.file_name().as_encoded_bytes().starts_with(b".");
        let modified = entry.metadata().and_then(|it| it.modified());
        // A file that is gone by now needs no sweeping.
        let Ok(modified) = modified else { continue };
        let age = now.duration_since(modified).unwrap_or_default();
        if is_temporary && age > STALE_AFTER {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A line that is no report, and why.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct BadLine {
    /// From 1.
    pub(crate) line: u64,
    pub(crate) why: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}", self.line, self.why)
    }
}

/// Reads a file of the spool line by line, however large it is.
pub(crate) fn read(path: &Path) -> io::Result<impl Iterator<Item = Result<Report, BadLine>>> {
    let nofollow = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(nofollow.bits() as i32).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file"));
    }
    let mut from = BufReader::new(file.take(MAX_BYTES));
    let mut n_line = 0;
    Ok(std::iter::from_fn(move || {
        n_line += 1;
        read_line(&mut from)
            .map(|line| parse(&line?))
            .map(|report| report.map_err(|error| BadLine { line: n_line, why: error.to_string() }))
    }))
}

/// The next line, or `None` at the end. A line past the limit is skipped to its end.
fn read_line(from: &mut impl BufRead) -> Option<io::Result<Vec<u8>>> {
    let mut line = Vec::new();
    let limit = MAX_RECORD_BYTES as u64 + 1;
    match from.by_ref().take(limit).read_until(b'\n', &mut line) {
        Err(error) => return Some(Err(error)),
        Ok(0) => return None,
        Ok(_) if line.last() == Some(&b'\n') || (line.len() as u64) < limit => {
            return Some(Ok(line));
        }
        Ok(_) => {}
    }
    let too_long = io::Error::new(io::ErrorKind::InvalidData, "the line is too long for a report");
    Some(from.skip_until(b'\n').and(Err(too_long)))
}

fn parse(line: &[u8]) -> io::Result<Report> {
    Ok(serde_json::from_slice(line)?)
}

fn lines(reports: &[Report]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for report in reports {
        let mut line = serde_json::to_vec(report)?;
        if line.len() >= MAX_RECORD_BYTES {
            let mut bare = report.clone();
            bare.ban.matches.clear();
            line = serde_json::to_vec(&bare)?;
        }
        lines.append(&mut line);
        lines.push(b'\n');
    }
    Ok(lines)
}

fn write(folder: &Path, lines: &[u8], n_records: usize) -> io::Result<()> {
    let id = Uuid::now_v7();
    let temporary = folder.join(format!(".{id}"));
    let name = folder.join(format!("{id}.{n_records}.{}{SUFFIX}", lines.len()));
    let written = write_whole(&temporary, lines)
        .and_then(|()| fs::rename(&temporary, &name))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // Best effort: what is left behind is swept away later.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes a file that must not be there yet, for its owner alone, down to the disk.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn finished(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is no text is none of ours.
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if name.ends_with(SUFFIX) && !name.starts_with('.') {
            names.push(name);
        }
    }
    Ok(names)
}
