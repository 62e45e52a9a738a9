//! guard.db: who is banned, the numbered log of bans, and how far each log has been read.
//!
//! | table | a row is |
//! |---|---|
//! | `meta` | a name and its value: `log`, which ban log this is; `reached`, how far it was followed |
//! | `ban_log` | a ban with its number; numbers are never used twice, old rows are purged |
//! | `standing` | a ban that stands |
//! | `mark` | how far a log file has been dealt with |
//! | `cursor` | how far the journal has been dealt with |
//! | `past` | how often a jail has banned somebody, and when last |
//! | `failing` | the failures of somebody that are no ban yet |
//!
//! Bans, failures and marks of one turn go in one transaction, so that after a crash the lines behind the
//! last mark are read again, and only those. It is on the disk before anybody hears of it.

mod bans;
mod failing;
mod positions;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jail::judge::Ticket;
use jail::{Ban, Subject};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, ErrorCode};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::mark::Progress;

pub use bans::{BanLog, Past, Standing};

/// The schema that this release writes; the file carries it as `user_version`.
const SCHEMA: i64 = 1;

/// How long after a ban of thrice its length it is forgotten that there was one, where nobody says:
/// a day, as fail2ban's `dbpurgeage`.
pub const PURGE_AGE: SignedDuration = SignedDuration::from_hours(24);

/// Pages of 4 KiB that the log of changes may hold before a turn folds them into the file: a burst is
/// not held up by that, its disk is bounded all the same.
const MAX_WAL_PAGES: u32 = 10_000;

/// How long to wait for the lock of a daemon that ends: its last writes, a child that was just
/// forked.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// How long between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What happened to a ban.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A new ban: it stands, and gets the next number of the log.
    Banned(Ban),
    /// A ban that stood already and was prolonged or restored.
    Stands(Ban),
    /// A ban that stands no more.
    Lifted {
        /// The jail.
        jail: String,
        /// Who was banned.
        subject: Subject,
    },
}

/// The failures of somebody that are no ban yet.
#[derive(Clone, Copy, Debug)]
pub struct Failing<'t> {
    /// The jail that counts them.
    pub jail: &'t str,
    /// Who fails.
    pub subject: &'t Subject,
    /// The failures, and until when they count; `None` where there are none any more.
    pub ticket: Option<(&'t Ticket, Timestamp)>,
}

/// Why guard.db could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("`{}` belongs to a daemon that runs; stop it, or give this one its own `--state`", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// A newer release wrote it.
    #[error(
        "`{}` has schema {found}, this release knows {SCHEMA}; install the newer release again, or \
         move the file away and lose its bans",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// It is damaged.
    #[error(
        "`{}` is damaged; move it away with its -wal and -shm and start again: bans begin anew, \
         and logs are read from `findtime` ago",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// No space is left.
    #[error("no space is left for `{}`; make some, then this is tried again", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// SQLite refused otherwise.
    #[error("`{}` could not be read or written", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The folder could not be prepared.
    #[error("`{}` could not be prepared; may this user write there?", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// guard.db, opened by its one writer.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// How SQLite finds it again.
    uri: String,
    db: Connection,
    ban_log: BanLog,
    purge_age: SignedDuration,
    /// Held for as long as the store is open; `None` in memory.
    _lock: Option<File>,
}

impl Store {
    /// Opens guard.db in `folder`, which is made, closed to others, where it is missing.
    ///
    /// # Errors
    ///
    /// When another process has it, it is damaged or of a newer release, or the system says no.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            |source| StoreError::Io { path, source }
        };
        if let Some(above) = folder.parent() {
            fs::create_dir_all(above).map_err(at(above))?;
        }
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at(folder)(error));
            }
            _ => {}
        }
        let lock_path = folder.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(at(&lock_path))?;
        take(&lock).map_err(|_| StoreError::Taken { path: folder.to_owned() })?;
        let path = folder.join("guard.db");
        let uri = path.display().to_string();
        Self::with(path, uri, Some(lock))
    }

    /// A store that forgets everything when it is dropped.
    ///
    /// # Errors
    ///
    /// When SQLite has no memory for it.
    pub fn in_memory() -> Result<Self, StoreError> {
        // Of the same name for its second view, and of another one than any other store.
        static N_OPENED: AtomicU64 = AtomicU64::new(0);
        let number = N_OPENED.fetch_add(1, Ordering::Relaxed);
        let uri = format!("file:guard-{number}?mode=memory&cache=shared");
        Self::with("guard.db in memory".into(), uri, None)
    }

    fn with(path: PathBuf, uri: String, lock: Option<File>) -> Result<Self, StoreError> {
        let mut db = Connection::open(&uri).map_err(|error| fault(&path, error))?;
        let found = prepare(&mut db).map_err(|error| fault(&path, error))?;
        if found > SCHEMA {
            return Err(StoreError::Newer { path, found });
        }
        let ban_log = BanLog::read(&db).map_err(|error| fault(&path, error))?;
        Ok(Self { path, uri, db, ban_log, purge_age: PURGE_AGE, _lock: lock })
    }

    /// The same store, which forgets this long after a ban of thrice its length that there was one.
    pub fn with_purge_age(self, purge_age: SignedDuration) -> Self {
        Self { purge_age, ..self }
    }

    /// The log of bans, as it is now.
    pub fn ban_log(&self) -> &BanLog {
        &self.ban_log
    }

    /// Remembers what one turn of guard came to: the bans in their order, whose failures changed, and
    /// how far each source of lines has been dealt with. All of it or nothing; afterwards it is on
    /// the disk.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn commit<'t>(
        &mut self,
        bans: &[Record],
        failing: impl IntoIterator<Item = Failing<'t>>,
        read: impl IntoIterator<Item = &'t Progress>,
    ) -> Result<(), StoreError> {
        let write = || {
            let tx = self.db.transaction()?;
            let mut ban_log = self.ban_log.clone();
            bans.iter().try_for_each(|it| bans::write(&tx, it, &mut ban_log))?;
            failing::write(&tx, failing)?;
            read.into_iter().try_for_each(|it| positions::write(&tx, it))?;
            ban_log.trim(&tx)?;
            tx.commit()?;
            Ok(ban_log)
        };
        self.ban_log = write().map_err(|error| fault(&self.path, error))?;
        Ok(())
    }

    /// Who was banned before, for the judge; a view of its own, which sees what is committed.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened a second time.
    pub fn history(&self) -> Result<Past, StoreError> {
        Past::of(&self.uri).map_err(|error| fault(&self.path, error))
    }

    /// Forgets who was banned, and who failed, so long ago that it does not count any more, and folds
    /// the log of changes into the file.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn tidy(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let tidy = || {
            self.db.execute(
                "DELETE FROM past WHERE bantime >= 0 AND last + 3 * bantime < ?",
                [now.as_second().saturating_sub(self.purge_age.as_secs())],
            )?;
            failing::purge(&self.db, now)?;
            self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        };
        tidy().map_err(|error| fault(&self.path, error))
    }
}

/// Takes the lock, and waits a moment for a daemon that is just ending.
fn take(lock: &File) -> rustix::io::Result<()> {
    let begun = Instant::now();
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if begun.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_PAUSE),
            outcome => return outcome,
        }
    }
}

/// Makes the file what this release writes, and returns the schema that it found.
fn prepare(db: &mut Connection) -> rusqlite::Result<i64> {
    db.pragma_update(None, "journal_mode", "WAL")?;
    // A ban that exchange has heard of must not be forgotten by a power cut: its number would be
    // given to another one.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", MAX_WAL_PAGES)?;
    let tx = db.transaction()?;
    let found: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == 0 {
        tx.execute_batch(
            "CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;",
        )?;
        for schema in [bans::SCHEMA, positions::SCHEMA, failing::SCHEMA] {
            tx.execute_batch(schema)?;
        }
        tx.pragma_update(None, "user_version", SCHEMA)?;
    }
    tx.commit()?;
    Ok(found)
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn parse<T: DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(0, kind, error.into())
    })
}

pub(crate) fn fault(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path, source }
        }
        Some(ErrorCode::DiskFull) => StoreError::Full { path, source },
        _ => match source {
            rusqlite::Error::FromSqlConversionFailure(..) => StoreError::Damaged { path, source },
            source => StoreError::Sqlite { path, source },
        },
    }
}

#[cfg(test)]
mod tests;
