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
//!
//! Bans and marks of one turn go in one transaction, so that after a crash the lines behind the
//! last mark are read again, and only those. It is on the disk before anybody hears of it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jail::judge::History;
use jail::{Ban, NumberedBan, Subject, judge};
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::mark::{FileId, Mark, Progress};

/// The schema that this release writes; the file carries it as `user_version`.
const SCHEMA: i64 = 1;

/// Rows of the ban log that are kept where nobody follows it, or its follower is far behind:
/// about half a gigabyte with the lines of each ban.
const MAX_LOG: u64 = 1_000_000;

/// Rows beyond [`MAX_LOG`] that are tolerated, so that not every commit purges.
const PURGE_EVERY: u64 = 1000;

/// How long after a ban of thrice its length it is forgotten that there was one: a day, as
/// fail2ban's `dbpurgeage`.
const PURGE_AGE: i64 = 24 * 3600;

/// How long to wait for the lock of a daemon that ends: its last writes, a child that was just
/// forked.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// How long between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What [`Store::bans_since`] returns at most, so that it fits into an answer of the control socket.
const MAX_PART_BYTES: usize = 8 << 20;

/// What one turn of guard has to remember.
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
    /// How far a source of lines has been dealt with.
    Read(Progress),
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
    log: String,
    last: u64,
    first: u64,
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
        let (log, first, last) = identity(&db).map_err(|error| fault(&path, error))?;
        Ok(Self { path, uri, db, log, last, first, _lock: lock })
    }

    /// Which ban log this is: another one in every new guard.db.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The number of the last ban in the log; 0 for none yet.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Remembers all of `records`, in order, or none; afterwards they are on the disk.
    ///
    /// # Errors
    ///
    /// When they are not.
    pub fn commit(&mut self, records: &[Record]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let (first, last) =
            write(&mut self.db, records, self.first).map_err(|error| fault(&self.path, error))?;
        (self.first, self.last) = (first, last.unwrap_or(self.last));
        Ok(())
    }

    /// The bans that stood when the last life ended, in the order of their beginning.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn standing(&self) -> Result<Vec<Ban>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut rows = self.db.prepare("SELECT ban FROM standing ORDER BY time, rowid")?;
            let bans = rows.query_map([], |row| parse(&row.get::<_, String>(0)?))?;
            bans.collect()
        };
        read().map_err(|error| fault(&self.path, error))
    }

    /// How far each log has been dealt with.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn marks(&self) -> Result<Vec<Mark>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut rows = self.db.prepare("SELECT path, dev, ino, head, offset FROM mark")?;
            let marks = rows.query_map([], |row| {
                Ok(Mark {
                    path: OsStr::from_bytes(&row.get::<_, Vec<u8>>(0)?).into(),
                    file: FileId {
                        dev: row.get::<_, i64>(1)?.cast_unsigned(),
                        ino: row.get::<_, i64>(2)?.cast_unsigned(),
                    },
                    head: row.get(3)?,
                    offset: row.get::<_, i64>(4)?.cast_unsigned(),
                })
            })?;
            marks.collect()
        };
        read().map_err(|error| fault(&self.path, error))
    }

    /// The cursor of the last entry of the journal that was dealt with for this query.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn cursor(&self, query: &str) -> Result<Option<String>, StoreError> {
        self.db
            .query_row("SELECT cursor FROM cursor WHERE query = ?", [query], |row| row.get(0))
            .optional()
            .map_err(|error| fault(&self.path, error))
    }

    /// Who was banned before, for the judge; a view of its own, which sees what is committed.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened a second time.
    pub fn history(&self) -> Result<Past, StoreError> {
        Past::of(&self.uri).map_err(|error| fault(&self.path, error))
    }

    /// Forgets who was banned so long ago that it does not count any more.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn purge(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let purge = self.db.execute(
            "DELETE FROM past WHERE bantime >= 0 AND last + 3 * bantime < ?",
            [now.as_second() - PURGE_AGE],
        );
        purge.map(drop).map_err(|error| fault(&self.path, error))
    }

    /// The bans of the log after number `after`, in order: at most `limit`, and fewer where they
    /// are large.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn bans_since(&self, after: u64, limit: u32) -> Result<Vec<NumberedBan>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut rows = self.db.prepare_cached(
                "SELECT number, ban FROM ban_log WHERE number > ? ORDER BY number LIMIT ?",
            )?;
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let mut rows = rows.query(params![after, limit])?;
            let (mut bans, mut n_bytes) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let (number, text): (i64, String) = (row.get(0)?, row.get(1)?);
                n_bytes += text.len();
                if n_bytes > MAX_PART_BYTES && !bans.is_empty() {
                    break;
                }
                bans.push(NumberedBan { number: number.cast_unsigned(), ban: parse(&text)? });
            }
            Ok(bans)
        };
        read().map_err(|error| fault(&self.path, error))
    }

    /// Notes that the log's follower has taken care of all bans up to `number`, and forgets them.
    /// A number that is not ahead of the last one changes nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn reached(&mut self, number: u64) -> Result<(), StoreError> {
        let number = number.min(self.last);
        let mut write = || {
            let tx = self.db.transaction()?;
            let moved = tx.execute(
                "UPDATE meta SET value = ?1 WHERE name = 'reached' AND value < ?1",
                [number.cast_signed()],
            )?;
            if moved > 0 {
                tx.execute("DELETE FROM ban_log WHERE number <= ?", [number.cast_signed()])?;
            }
            tx.commit()
        };
        write().map_err(|error| fault(&self.path, error))?;
        self.first = self.first.max(number + 1);
        Ok(())
    }

    /// How far the log was followed; 0 where nobody ever did.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn followed(&self) -> Result<u64, StoreError> {
        let read = self.db.query_row("SELECT value FROM meta WHERE name = 'reached'", [], |row| {
            row.get::<_, i64>(0)
        });
        read.map(i64::cast_unsigned).map_err(|error| fault(&self.path, error))
    }
}

/// Who was banned before, as the judge asks it.
#[derive(Debug)]
pub struct Past {
    db: Connection,
}

impl Past {
    fn of(uri: &str) -> rusqlite::Result<Self> {
        let db = Connection::open(uri)?;
        db.pragma_update(None, "query_only", true)?;
        Ok(Self { db })
    }

    fn look(&self, jail: Option<&str>, subject: &Subject) -> rusqlite::Result<Option<judge::Past>> {
        let mut rows = self.db.prepare_cached(
            "SELECT sum(n_bans), max(last) FROM past
             WHERE subject = ?1 AND (?2 IS NULL OR jail = ?2)",
        )?;
        let (n_bans, last): (Option<u32>, Option<i64>) = rows
            .query_row(params![subject.to_string(), jail], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let last = last.and_then(|last| Timestamp::from_second(last).ok());
        Ok(n_bans.zip(last).map(|(n_bans, last)| judge::Past { n_bans, last }))
    }
}

impl History for Past {
    fn past(&self, jail: Option<&str>, subject: &Subject) -> Option<judge::Past> {
        // Whoever cannot be looked up counts as new: his ban is as long as anybody's.
        self.look(jail, subject).unwrap_or_default()
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
    let tx = db.transaction()?;
    let found: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == 0 {
        tx.execute_batch(
            "CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
             CREATE TABLE ban_log (
               number INTEGER PRIMARY KEY AUTOINCREMENT, ban TEXT NOT NULL
             ) STRICT;
             CREATE TABLE standing (
               jail TEXT NOT NULL, subject TEXT NOT NULL, time INTEGER NOT NULL,
               ban TEXT NOT NULL, UNIQUE (jail, subject)
             ) STRICT;
             CREATE TABLE mark (
               path BLOB PRIMARY KEY, dev INTEGER NOT NULL, ino INTEGER NOT NULL,
               head BLOB NOT NULL, offset INTEGER NOT NULL
             ) STRICT;
             CREATE TABLE cursor (query TEXT PRIMARY KEY, cursor TEXT NOT NULL) STRICT;
             CREATE TABLE past (
               jail TEXT NOT NULL, subject TEXT NOT NULL, n_bans INTEGER NOT NULL,
               last INTEGER NOT NULL, bantime INTEGER NOT NULL, PRIMARY KEY (subject, jail)
             ) STRICT, WITHOUT ROWID;
             INSERT INTO meta VALUES ('log', lower(hex(randomblob(16)))), ('reached', 0);",
        )?;
        tx.pragma_update(None, "user_version", SCHEMA)?;
    }
    tx.commit()?;
    Ok(found)
}

/// Which log it is, its first number that is kept and its last number ever given.
fn identity(db: &Connection) -> rusqlite::Result<(String, u64, u64)> {
    let log = db.query_row("SELECT value FROM meta WHERE name = 'log'", [], |row| row.get(0))?;
    let last = db
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'ban_log'", [], |row| row.get(0))
        .optional()?
        .unwrap_or(0_i64);
    let first: Option<i64> =
        db.query_row("SELECT min(number) FROM ban_log", [], |row| row.get(0))?;
    Ok((log, first.unwrap_or(last + 1).cast_unsigned(), last.cast_unsigned()))
}

/// Writes the records in one transaction; returns the first number that is kept, and the last
/// one that was given, if any was.
fn write(
    db: &mut Connection,
    records: &[Record],
    mut first: u64,
) -> rusqlite::Result<(u64, Option<u64>)> {
    let tx = db.transaction()?;
    let mut last = None;
    for record in records {
        match record {
            Record::Banned(ban) => {
                let text = text(ban)?;
                tx.prepare_cached("INSERT INTO ban_log (ban) VALUES (?)")?.execute([&text])?;
                last = Some(tx.last_insert_rowid().cast_unsigned());
                count(&tx, ban)?;
                stands(&tx, ban, &text)?;
            }
            Record::Stands(ban) => stands(&tx, ban, &text(ban)?)?,
            Record::Lifted { jail, subject } => {
                tx.prepare_cached("DELETE FROM standing WHERE jail = ? AND subject = ?")?
                    .execute(params![jail, subject.to_string()])?;
            }
            Record::Read(Progress::File(mark)) => {
                tx.prepare_cached("INSERT OR REPLACE INTO mark VALUES (?, ?, ?, ?, ?)")?.execute(
                    params![
                        mark.path.as_os_str().as_bytes(),
                        mark.file.dev.cast_signed(),
                        mark.file.ino.cast_signed(),
                        mark.head,
                        mark.offset.cast_signed(),
                    ],
                )?;
            }
            Record::Read(Progress::Journal { query, cursor }) => {
                tx.prepare_cached("INSERT OR REPLACE INTO cursor VALUES (?, ?)")?
                    .execute([query, cursor])?;
            }
        }
    }
    if let Some(last) = last.filter(|last| last - first >= MAX_LOG + PURGE_EVERY) {
        first = last - MAX_LOG;
        tx.execute("DELETE FROM ban_log WHERE number < ?", [first.cast_signed()])?;
    }
    tx.commit()?;
    Ok((first, last))
}

fn stands(tx: &Transaction<'_>, ban: &Ban, text: &str) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO standing (jail, subject, time, ban) VALUES (?, ?, ?, ?)",
    )?
    .execute(params![ban.jail, ban.subject.to_string(), ban.time.as_second(), text])?;
    Ok(())
}

fn count(tx: &Transaction<'_>, ban: &Ban) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO past VALUES (?1, ?2, 1, ?3, ?4)
         ON CONFLICT DO UPDATE SET n_bans = n_bans + 1, last = ?3, bantime = ?4",
    )?
    .execute(params![
        ban.jail,
        ban.subject.to_string(),
        ban.time.as_second(),
        i64::from(ban.bantime)
    ])?;
    Ok(())
}

fn text(ban: &Ban) -> rusqlite::Result<String> {
    serde_json::to_string(ban)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn parse(text: &str) -> rusqlite::Result<Ban> {
    serde_json::from_str(text).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(0, kind, error.into())
    })
}

fn fault(path: &Path, source: rusqlite::Error) -> StoreError {
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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use std::os::unix::fs::PermissionsExt;

    use jail::BanTime;

    use super::*;

    fn ban(who: &str) -> Ban {
        let time = Timestamp::from_second(1_780_000_000).unwrap();
        Ban {
            jail: "sshd".to_owned(),
            subject: who.into(),
            time,
            bantime: BanTime::Seconds(600),
            n_failures: 5,
            first_failure: time,
            last_failure: time,
            matches: vec!["a \u{1b}[31mhostile\u{0} line".to_owned()],
        }
    }

    fn numbers(store: &Store, after: u64, limit: u32) -> Vec<(u64, String)> {
        let bans = store.bans_since(after, limit).unwrap();
        bans.into_iter().map(|it| (it.number, it.ban.subject.to_string())).collect()
    }

    #[test]
    fn keeps_bans_and_marks_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state/guard");
        let mark = Mark {
            path: "/var/log/auth.log".into(),
            file: FileId { dev: 1, ino: u64::MAX },
            head: b"Nov 22\xff".to_vec(),
            offset: 7,
        };
        let mut store = Store::open(&state).unwrap();
        let log = store.log().to_owned();
        let lifted = Record::Lifted { jail: "sshd".to_owned(), subject: "192.0.2.1".into() };
        let records = [
            Record::Banned(ban("192.0.2.1")),
            Record::Read(Progress::File(mark.clone())),
            Record::Banned(ban("2001:db8::1")),
            lifted,
            Record::Read(Progress::File(Mark { offset: 9, ..mark.clone() })),
        ];
        store.commit(&records).unwrap();
        assert!(matches!(Store::open(&state), Err(StoreError::Taken { .. })));
        drop(store);

        let store = Store::open(&state).unwrap();
        assert_eq!(store.log(), log);
        assert_eq!(store.last(), 2);
        assert_eq!(store.standing().unwrap(), [ban("2001:db8::1")]);
        assert_eq!(store.marks().unwrap(), [Mark { offset: 9, ..mark }]);
        assert_eq!(numbers(&store, 0, 9), [(1, "192.0.2.1".into()), (2, "2001:db8::1".into())]);
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn numbers_are_never_used_twice() {
        let mut store = Store::in_memory().unwrap();
        let bans: Vec<Record> =
            (1..=5).map(|n| Record::Banned(ban(&format!("192.0.2.{n}")))).collect();
        store.commit(&bans).unwrap();
        store.reached(3).unwrap();
        store.reached(2).unwrap(); // a late word changes nothing
        assert_eq!(store.followed().unwrap(), 3);
        assert_eq!(numbers(&store, 0, 1), [(4, "192.0.2.4".into())]);
        store.reached(99).unwrap(); // nobody is ahead of the log
        assert_eq!(store.followed().unwrap(), 5);
        assert_eq!(numbers(&store, 0, 9), []);
        store.commit(&bans[..1]).unwrap();
        assert_eq!(numbers(&store, 0, 9), [(6, "192.0.2.1".into())]);
    }

    #[test]
    fn knows_who_was_banned_before() {
        let mut store = Store::in_memory().unwrap();
        let past = store.history().unwrap();
        let of = |jail, who: &str| past.past(jail, &who.into()).map(|it| it.n_bans);
        assert_eq!(of(None, "192.0.2.1"), None);
        let in_web = Ban { jail: "web".to_owned(), ..ban("192.0.2.1") };
        let again = [ban("192.0.2.1"), in_web, ban("192.0.2.1")].map(Record::Banned);
        store.commit(&again).unwrap();
        assert_eq!(of(Some("sshd"), "192.0.2.1"), Some(2));
        assert_eq!(of(None, "192.0.2.1"), Some(3));
        assert_eq!(of(None, "192.0.2.2"), None);
        let end = ban("").time.as_second() + 3 * 600;
        store.purge(Timestamp::from_second(end + PURGE_AGE).unwrap()).unwrap();
        assert_eq!(of(None, "192.0.2.1"), Some(3));
        store.purge(Timestamp::from_second(end + PURGE_AGE + 1).unwrap()).unwrap();
        assert_eq!(of(None, "192.0.2.1"), None);
    }

    #[test]
    fn a_ban_stands_once() {
        let mut store = Store::in_memory().unwrap();
        let longer = Ban { bantime: BanTime::Permanent, ..ban("192.0.2.1") };
        store.commit(&[Record::Banned(ban("192.0.2.1")), Record::Stands(longer.clone())]).unwrap();
        assert_eq!(store.standing().unwrap(), [longer]);
        assert_eq!(store.last(), 1); // a prolonged ban is no new one
    }

    #[test]
    fn says_what_is_wrong_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("guard.db");
        drop(Store::open(folder.path()).unwrap());
        let newer = Connection::open(&file).unwrap();
        newer.pragma_update(None, "user_version", SCHEMA + 1).unwrap();
        drop(newer);
        let error = Store::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 2, .. }), "{error}");

        fs::write(&file, [0x5a; 8192]).unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(&file).unwrap(), [0x5a; 8192]); // left as it is
    }

    #[test]
    fn a_full_disk_is_an_error_and_no_loss() {
        let mut store = Store::in_memory().unwrap();
        store.commit(&[Record::Banned(ban("192.0.2.1"))]).unwrap();
        let pages: i64 = store.db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        store.db.pragma_update(None, "max_page_count", pages).unwrap();
        let many: Vec<Record> =
            (0..255).map(|n| Record::Banned(ban(&format!("198.51.100.{n}")))).collect();
        assert!(matches!(store.commit(&many), Err(StoreError::Full { .. })));
        assert_eq!((store.last(), store.standing().unwrap().len()), (1, 1));
        store.db.pragma_update(None, "max_page_count", 1_000_000).unwrap();
        store.commit(&many).unwrap();
        assert_eq!(numbers(&store, 255, 9), [(256, "198.51.100.254".into())]);
    }
}
