//! API keys on disk: those of the article's forms, which exchange keeps itself, and those that
//! the administrator names.
//!
//! A key is read when it is used, and again when its file changed; it is never in an error.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::destination;
use crate::owner::as_owner_of;
use crate::spool::write_whole;
use crate::state;

/// The largest file that is read for a key; MISP's keys have 40 characters.
const MAX_KEY_FILE_BYTES: u64 = 4096;

/// Why a key could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system does not allow it.
    #[error("the key file `{}` cannot be used; is it there, and may this user read it?", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("the key file `{}` holds no key; put the API key on its first line", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Keeps the key of the article's forms in a file of its own, and tells where; a destination's
/// file is the same each time.
///
/// # Errors
///
/// When the file cannot be written.
pub fn put(state: &Path, url: &str, event: &str, key: &SecretString) -> Result<PathBuf, KeyError> {
    let folder = state::keys(state);
    let id = destination::id(url, event);
    let path = folder.join(id.to_string());
    let kept =
        state::make(&state::exchange(state)).and_then(|()| state::make(&folder)).and_then(|()| {
            as_owner_of(&folder, || replace(&folder, &path, key.expose_secret().trim()))
        });
    match kept {
        Ok(()) => Ok(path),
        Err(source) => Err(KeyError::Io { path, source }),
    }
}

fn replace(folder: &Path, path: &Path, key: &str) -> io::Result<()> {
    // Each ban comes through here, and the key is nearly always the one that lies there.
    if read_file(path).is_ok_and(|(there, _)| there.expose_secret() == key) {
        return Ok(());
    }
    let temporary = folder.join(format!(".{}", Uuid::now_v7()));
    let written = write_whole(&temporary, key.as_bytes())
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // Best effort: the error that is told is the first one.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A key and the state of the file that it was read from.
pub(crate) struct Key {
    pub(crate) secret: SecretString,
    pub(crate) stamp: Stamp,
}

/// Another stamp, another content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Whether others than owner and group may read it.
    pub(crate) is_open: bool,
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            is_open: metadata.mode() & 0o004 != 0,
        }
    }
}

/// The state of a key's file, to see whether it must be read again.
pub(crate) fn stamp(path: &Path) -> Result<Stamp, KeyError> {
    let metadata = fs::metadata(path);
    metadata
        .map(|metadata| Stamp::of(&metadata))
        .map_err(|source| KeyError::Io { path: path.to_owned(), source })
}

/// Reads a key: the first line of its file.
pub(crate) fn read(path: &Path) -> Result<Key, KeyError> {
    let (secret, stamp) =
        read_file(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
    if secret.expose_secret().is_empty() {
        return Err(KeyError::Empty { path: path.to_owned() });
    }
    Ok(Key { secret, stamp })
}

fn read_file(path: &Path) -> io::Result<(SecretString, Stamp)> {
    // A pipe or a device in its place must not hold us up.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    let mut text = String::new();
    file.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text)?;
    let first = text.lines().next().unwrap_or_default().trim();
    Ok((SecretString::from(first), stamp))
}
