//! exchange.db: what waits for MISP, what MISP is known to hold, and how far guard's log is read.
//!
//! | table | holds |
//! |---|---|
//! | `place` | guard's log, and the last ban of it that is in the outbox |
//! | `destinations` | each url and event, as last configured, and since when it cannot be reached |
//! | `outbox` | what waits for MISP or for approval, and what was refused, with the reason |
//! | `expirations` | when bans end, where MISP is told of it |
//! | `witnesses` | which hosts banned a value, where more than one must have |
//! | `events` | events that we write to, their sizes, and when each is to be published |
//! | `attributes` | which value is in which event, under which uuid |
//! | `sighted` | the last sighting of a value in an event, by jail |
//! | `taken` | files of the spool that are in the outbox and still have to go |
//! | `withheld` | how many bans the policy kept, by reason |
//! | `paused` | that an operator has paused all sharing |
//!
//! One process writes it ([`crate::lock`]); its threads share one connection. What is decided is on
//! disk before the network hears of it, so a crash repeats a delivery and never drops one.

mod event;
mod outbox;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use crate::blocklist::TOLD_OF;
use crate::destination::Destination;
use crate::policy::Kept;

pub(crate) use event::{EventRow, Known};
pub(crate) use outbox::{Accepted, Listed, Row, Sightings, State};

/// Marks the file as ours ("f2mx"), so that nothing else is opened by mistake.
const APPLICATION_ID: i32 = 0x6632_6d78;
/// The newest layout of the tables.
const VERSION: i32 = 1;
/// How long a statement waits for another process that only looks.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages of 4 KiB that are kept in memory: enough for the indices' hot ends, and bounded.
const CACHE_KIB: i32 = 4 << 10;

/// Why exchange.db cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else's file.
    #[error("`{}` is no database of exchange; move it away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer release made it.
    #[error(
        "`{}` was written by a newer release (layout {found}, this one knows {VERSION}); \
         use that release, or move the file away",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: i32,
    },
    /// It is damaged.
    #[error(
        "`{}` is damaged; move it away and start again (what it had accepted is lost with it, \
         guard's bans are read again)",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Reading or writing it failed.
    #[error("`{}` cannot be used; is there room on the disk, and may this user write there?", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// exchange.db.
#[derive(Debug)]
pub(crate) struct Store {
    db: Connection,
    path: PathBuf,
}

/// A destination as it is remembered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DestinationRow {
    pub(crate) id: i64,
    pub(crate) destination: Destination,
    pub(crate) trouble: Trouble,
    pub(crate) last_success: Option<Timestamp>,
    pub(crate) told: Told,
}

/// How much of the daily budget is used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Told {
    /// The day (UTC).
    pub(crate) day: String,
    /// The offenders that were told on it.
    pub(crate) n: u64,
}

/// How a destination fails, if it does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trouble {
    /// Tries that failed in a row.
    pub(crate) n_failed: u32,
    /// Not before this.
    pub(crate) next_try: Option<Timestamp>,
    /// What it said last.
    pub(crate) why: Option<String>,
}

/// Changes that come to be together or not at all.
pub(crate) struct Changes<'a> {
    tx: Transaction<'a>,
}

impl Store {
    /// Opens the database, makes it where it is missing, and brings an older one up to date.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let fault = |source| fault(path, source);
        let mut db = Connection::open(path).map_err(fault)?;
        db.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
        keep_plans(&db).map_err(fault)?;
        let is_new = db
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
            .map_err(fault)?
            == 0;
        let pragma = |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
        let (application, version): (i32, i32) =
            (pragma("application_id").map_err(fault)?, pragma("user_version").map_err(fault)?);
        if !is_new && application != APPLICATION_ID {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
        if version > VERSION {
            return Err(StoreError::Newer { path: path.to_owned(), found: version });
        }
        // WAL with NORMAL survives a killed process; FULL also a power cut, and a ban that was
        // accepted shall.
        db.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = MEMORY;"
        ))
        .map_err(fault)?;
        if is_new {
            create(&mut db).map_err(fault)?;
        }
        // Whether an address was pulled is asked where nothing is pulled, too.
        db.execute_batch(include_str!("blocklist/tables.sql")).map_err(fault)?;
        Ok(Self { db, path: path.to_owned() })
    }

    /// Does `work` in one transaction.
    pub(crate) fn change<T>(
        &mut self,
        work: impl FnOnce(&Changes<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let done =
            self.db.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|tx| {
                let changes = Changes { tx };
                let done = work(&changes)?;
                changes.tx.commit()?;
                Ok(done)
            });
        done.map_err(|source| fault(&self.path, source))
    }

    /// Reads.
    fn look<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.db).map_err(|source| fault(&self.path, source))
    }

    /// How far guard's log is in the outbox.
    pub(crate) fn place(&self) -> Result<Option<(String, u64)>, StoreError> {
        self.look(|db| {
            db.query_row("SELECT log, number FROM place", [], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
            })
            .optional()
        })
    }

    /// Whether an operator has paused all sharing.
    pub(crate) fn is_paused(&self) -> Result<bool, StoreError> {
        self.look(|db| {
            db.prepare_cached("SELECT EXISTS (SELECT 1 FROM paused)")?
                .query_row([], |row| row.get(0))
        })
    }

    /// Every destination that was ever used.
    pub(crate) fn destinations(&self) -> Result<Vec<DestinationRow>, StoreError> {
        self.look(|db| {
            db.prepare_cached(
                "SELECT id, spec, n_failed, next_try, why, last_success, day, n_told
                 FROM destinations",
            )?
            .query_map([], destination)?
            .collect()
        })
    }

    /// When the next ban ends that MISP is to be told of.
    pub(crate) fn next_end(&self) -> Result<Option<Timestamp>, StoreError> {
        self.look(|db| {
            db.prepare_cached("SELECT min(at) FROM expirations")?.query_row([], |row| time(row, 0))
        })
    }

    /// How many bans the policy kept, by reason.
    pub(crate) fn withheld(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.look(|db| {
            db.prepare_cached("SELECT reason, n FROM withheld ORDER BY reason")?
                .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?
                .collect()
        })
    }

    /// Which files of the spool are in the outbox and still have to go, and why one is bad.
    pub(crate) fn taken(&self) -> Result<Vec<(String, Option<String>)>, StoreError> {
        self.look(|db| {
            db.prepare_cached("SELECT file, why FROM taken")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }
}

impl Changes<'_> {
    /// Remembers how far guard's log is in the outbox.
    pub(crate) fn reach(&self, log: &str, number: u64) -> rusqlite::Result<()> {
        self.tx.execute("DELETE FROM place WHERE log <> ?1", [log])?;
        self.tx
            .prepare_cached(
                "INSERT INTO place (log, number) VALUES (?1, ?2)
                 ON CONFLICT (log) DO UPDATE SET number = excluded.number",
            )?
            .execute(params![log, signed(number)])
            .map(drop)
    }

    /// Pauses all sharing, or ends the pause.
    pub(crate) fn pause(&self, since: Option<Timestamp>) -> rusqlite::Result<()> {
        self.tx.execute("DELETE FROM paused", [])?;
        match since {
            Some(since) => self
                .tx
                .execute("INSERT INTO paused (since) VALUES (?1)", [since.as_second()])
                .map(drop),
            None => Ok(()),
        }
    }

    /// Remembers a destination as it is configured now, and tells its number.
    pub(crate) fn keep_destination(&self, destination: &Destination) -> rusqlite::Result<i64> {
        let spec = serde_json::to_string(destination).map_err(to_sql)?;
        self.tx
            .prepare_cached(
                "INSERT INTO destinations (name, spec) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET spec = excluded.spec RETURNING id",
            )?
            .query_row(params![destination.id().to_string(), spec], |row| row.get(0))
    }

    /// The number of a destination that is remembered.
    pub(crate) fn destination_number(&self, destination: &Destination) -> rusqlite::Result<i64> {
        self.tx
            .prepare_cached("SELECT id FROM destinations WHERE name = ?1")?
            .query_row([destination.id().to_string()], |row| row.get(0))
    }

    /// Remembers how a destination fails, or that it does not any more.
    pub(crate) fn set_trouble(
        &self,
        destination: i64,
        trouble: &Trouble,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let success = trouble.why.is_none().then_some(now.as_second());
        self.tx
            .prepare_cached(
                "UPDATE destinations SET n_failed = ?2, next_try = ?3, why = ?4,
                 last_success = coalesce(?5, last_success) WHERE id = ?1",
            )?
            .execute(params![
                destination,
                trouble.n_failed,
                trouble.next_try.map(Timestamp::as_millisecond),
                trouble.why,
                success,
            ])
            .map(drop)
    }

    /// Remembers how much of the daily budget is used.
    pub(crate) fn set_told(&self, destination: i64, told: &Told) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached("UPDATE destinations SET day = ?2, n_told = ?3 WHERE id = ?1")?
            .execute(params![destination, told.day, signed(told.n)])
            .map(drop)
    }

    /// Whether a server told us of an address or prefix.
    pub(crate) fn is_pulled(&self, net: IpNet) -> rusqlite::Result<bool> {
        self.tx
            .prepare_cached(&format!("SELECT EXISTS ({TOLD_OF} ?1)"))?
            .query_row([lists::net::write(net)], |row| row.get(0))
    }

    /// Remembers that a host banned a value, and tells how many did since `since`.
    pub(crate) fn witness(
        &self,
        value: &str,
        host: &str,
        time: Timestamp,
        since: Timestamp,
    ) -> rusqlite::Result<u32> {
        self.tx.execute("DELETE FROM witnesses WHERE time < ?1", [since.as_second()])?;
        self.tx
            .prepare_cached(
                "INSERT INTO witnesses (value, host, time) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET time = max(time, excluded.time)",
            )?
            .execute(params![value, host, time.as_second()])?;
        self.tx
            .prepare_cached("SELECT count(*) FROM witnesses WHERE value = ?1")?
            .query_row([value], |row| row.get(0))
    }

    /// Remembers that a file of the spool is in the outbox, and why it is bad if it is.
    pub(crate) fn take(&self, file: &str, why: Option<&str>) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached("INSERT OR REPLACE INTO taken (file, why) VALUES (?1, ?2)")?
            .execute(params![file, why])
            .map(drop)
    }

    /// Forgets the files of the spool that were taken: they are gone.
    pub(crate) fn forget_taken(&self) -> rusqlite::Result<()> {
        self.tx.execute("DELETE FROM taken", []).map(drop)
    }

    /// Counts a ban that the policy kept.
    pub(crate) fn count_withheld(&self, why: Kept) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "INSERT INTO withheld (reason, n) VALUES (?1, 1)
                 ON CONFLICT (reason) DO UPDATE SET n = n + 1",
            )?
            .execute([why.word()])
            .map(drop)
    }
}

/// Has SQLite keep the plan of a statement whatever is bound to it. By itself SQLite (3.54) makes a
/// new one each time that a statement comes out of the cache and has a bound `LIMIT`, or compares a
/// column that no index covers with what is bound: that was half of the cost of a delivery.
pub(crate) fn keep_plans(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn create(db: &mut Connection) -> rusqlite::Result<()> {
    let tx = db.transaction()?;
    tx.execute_batch(include_str!("store/schema.sql"))?;
    tx.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
    ))?;
    tx.commit()
}

fn destination(row: &rusqlite::Row<'_>) -> rusqlite::Result<DestinationRow> {
    let spec: String = row.get(1)?;
    Ok(DestinationRow {
        id: row.get(0)?,
        destination: serde_json::from_str(&spec).map_err(from_sql)?,
        trouble: Trouble { n_failed: row.get(2)?, next_try: moment(row, 3)?, why: row.get(4)? },
        last_success: time(row, 5)?,
        told: Told { day: row.get(6)?, n: row.get::<_, i64>(7)?.unsigned_abs() },
    })
}

/// A column of epoch seconds.
fn time(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?
        .map(|seconds| Timestamp::from_second(seconds).map_err(from_sql))
        .transpose()
}

/// A column of epoch milliseconds, for what is due.
fn moment(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?
        .map(|millis| Timestamp::from_millisecond(millis).map_err(from_sql))
        .transpose()
}

/// A column that holds a uuid as text.
fn uuid(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Uuid::parse_str(&row.get::<_, String>(column)?).map_err(from_sql)
}

/// SQLite's integers are signed; no count of ours comes near the end of them.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn to_sql(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn from_sql(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
}

fn fault(path: &Path, source: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(DatabaseCorrupt | NotADatabase) => StoreError::Corrupt { path, source },
        _ => StoreError::Failed { path, source },
    }
}
