//! What the hub remembers: one SQLite file, one writer, many readers.
//!
//! All changes go through one thread. It takes a job, then whatever else has been waiting, runs
//! each in a savepoint of its own and commits them together; only then are they answered. So what
//! was answered is on the disk, and a hundred clients that add one attribute each cost one flush.
//! Readers have connections of their own and see the last commit (WAL).
//!
//! Tables: `event`, `attribute`, `object`, `sighting`, `tag` with `event_tag` and `attribute_tag`,
//! `blocked_event` (deleted, and not to come back), `daily` (how much came on which day), `meta`;
//! `touched`, `listed`, `change_record` are the change stream's; `warninglist` with `warninglist_entry`, and `allowed`, are
//! what administrators give; `relay_key`, `brought` are the relay's. UUIDs are 16 bytes; times are epoch
//! seconds, `first_seen` and `last_seen` microseconds.

pub(crate) mod allowed;
pub(crate) mod attribute;
pub(crate) mod brought;
pub(crate) mod change;
mod commits;
pub(crate) mod daily;
pub(crate) mod event;
pub(crate) mod latest;
pub(crate) mod listed;
pub(crate) mod object;
pub(crate) mod overview;
pub(crate) mod retention;
pub(crate) mod search;
pub(crate) mod sighting;
pub(crate) mod tag;
pub(crate) mod warninglist;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use uuid::Uuid;

use self::commits::Commits;

/// Jobs that wait for the writer; whoever comes later waits to hand his over.
const MAX_WAITING: usize = 1_024;

/// Jobs in one transaction, so that the first of them is not kept waiting by the last.
const MAX_GROUP: usize = 256;

/// Idle connections for reading that are kept; each holds its own page cache.
const MAX_IDLE_READERS: usize = 4;

/// Kibibytes of pages that the writer keeps.
const WRITER_CACHE: i64 = 32 * 1_024;

/// Pages in the log before they are moved to their places: random uuids touch the same pages again
/// and again, and a log of 32 MB moves each of them once where SQLite's 4 MB moves it eight times.
const LOG_PAGES: i64 = 8 * 1_024;

/// Prepared statements that each connection keeps: all fixed ones, and the usual searches.
const CACHED_STATEMENTS: usize = 128;

/// What makes the tables, and what changed them since; `PRAGMA user_version` says how many of
/// these a file has seen. One that was released is never changed: the next one is added.
const STEPS: [&str; 6] = [
    include_str!("tables.sql"),
    include_str!("daily.sql"),
    include_str!("changes.sql"),
    include_str!("warninglists.sql"),
    include_str!("allowed.sql"),
    include_str!("relay.sql"),
];

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says no.
    #[error("store: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file is of a later version of the program.
    #[error("store: `{}` has version {found}, this program knows {}: upgrade the program", path.display(), STEPS.len())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// SQLite found the file damaged.
    #[error("store: `{}` is damaged ({report}): restore a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's first complaint.
        report: String,
    },
    /// The group of changes could not be committed.
    #[error("store: commit: {0}")]
    Commit(String),
    /// The hub is stopping.
    #[error("store: closed")]
    Closed,
}

/// The store of one hub.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    readers: Mutex<Vec<Connection>>,
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
    /// The groups of changes that were committed.
    commits: Arc<Commits>,
    /// The organisation that all events belong to.
    pub(crate) organisation: Organisation,
}

/// Who runs the hub, as MISP describes it.
#[derive(Clone, Debug)]
pub(crate) struct Organisation {
    pub(crate) name: String,
    pub(crate) uuid: Uuid,
    /// The uuid of this instance.
    pub(crate) instance: Uuid,
}

/// A change, and what to do once it is committed.
type Job = Box<dyn FnOnce(&mut Connection) -> Reply + Send>;
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

impl Store {
    /// Opens the file at `path`, makes the tables where there are none, and checks it otherwise.
    pub(crate) fn open(path: &Path, organisation: &str) -> Result<Self, StoreError> {
        let mut db = Connection::open(path)?;
        prepare(&db)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        // Random uuids touch pages all over: with SQLite's 2 MB the writer reads half of them anew.
        db.pragma_update(None, "cache_size", -WRITER_CACHE)?;
        db.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        // An answer is a promise: FULL flushes with each commit, and commits are shared.
        db.pragma_update(None, "synchronous", "FULL")?;
        check(&db, path)?;
        upgrade(&mut db, path)?;
        let organisation = Organisation {
            name: organisation.to_owned(),
            uuid: identity(&db, "organisation")?,
            instance: identity(&db, "instance")?,
        };
        let (jobs, inbox) = mpsc::sync_channel(MAX_WAITING);
        let commits = Arc::new(Commits::default());
        let counted = Arc::clone(&commits);
        let writer = thread::Builder::new()
            .name("hub-writer".to_owned())
            .spawn(move || write_all(db, &inbox, &counted))
            .map_err(|error| StoreError::Commit(error.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            readers: Mutex::default(),
            jobs: Some(jobs),
            writer: Some(writer),
            commits,
            organisation,
        })
    }

    /// Reads one state of the store.
    pub(crate) fn read<T, E: From<StoreError>>(
        &self,
        how: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut db = match idle {
            Some(db) => db,
            None => self.reader()?,
        };
        let snapshot = db.transaction().map_err(StoreError::from)?;
        let outcome = how(&snapshot);
        drop(snapshot);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < MAX_IDLE_READERS {
            readers.push(db);
        }
        outcome
    }

    /// Changes the store. When `how` fails, nothing of what it did stays; when this returns `Ok`,
    /// the change is on the disk.
    pub(crate) fn write<T, E>(
        &self,
        how: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, outcome) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |db| {
            let done = in_savepoint(db, how);
            Box::new(move |committed| {
                let done = done.and_then(|it| committed.map(|()| it).map_err(E::from));
                // A client that has gone away wants no answer.
                let _ = answer.send(done);
            })
        });
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(job).map_err(|_| StoreError::Closed)?;
        outcome.recv().map_err(|_| StoreError::Closed)?
    }

    /// Counts the changes.
    pub(crate) fn commits(&self) -> &Commits {
        &self.commits
    }

    fn reader(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags)?;
        prepare(&db)?;
        Ok(db)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has left the last commit on the disk, as always.
            let _ = writer.join();
        }
    }
}

/// Copies the store at `from` to the new file `to`, as it stands at one moment.
pub(crate) fn backup(from: &Path, to: &Path) -> Result<(), StoreError> {
    let db = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let to = to.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(to.to_owned()))?;
    db.execute("VACUUM INTO ?", [to])?;
    Ok(())
}

fn prepare(db: &Connection) -> Result<(), StoreError> {
    db.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    db.pragma_update(None, "foreign_keys", true)?;
    // MISP compares values as they stand; only its wildcard `%` is SQL's.
    db.pragma_update(None, "case_sensitive_like", true)?;
    Ok(())
}

/// Makes the tables, or those of them that an earlier version did not have.
fn upgrade(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let newer = || StoreError::Newer { path: path.to_owned(), found };
    let done = usize::try_from(found).map_err(|_| newer())?;
    let steps = STEPS.get(done..).ok_or_else(newer)?;
    let transaction = db.transaction()?;
    for step in steps {
        transaction.execute_batch(step)?;
    }
    let version = i64::try_from(STEPS.len()).expect("steps are few");
    transaction.pragma_update(None, "user_version", version)?;
    Ok(transaction.commit()?)
}

fn check(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let report: String = db.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    match report.as_str() {
        "ok" => Ok(()),
        _ => Err(StoreError::Damaged { path: path.to_owned(), report }),
    }
}

/// The uuid kept under `name`, made when it is asked for first.
fn identity(db: &Connection, name: &str) -> Result<Uuid, StoreError> {
    let sql = "SELECT value FROM meta WHERE name = ?";
    if let Some(bytes) = db.query_row(sql, [name], |row| row.get(0)).optional()? {
        return Ok(Uuid::from_bytes(bytes));
    }
    let fresh = Uuid::new_v4();
    db.execute("INSERT INTO meta (name, value) VALUES (?, ?)", (name, fresh.as_bytes()))?;
    Ok(fresh)
}

/// The writer: wakes for a job, ends when the store is dropped.
fn write_all(mut db: Connection, inbox: &Receiver<Job>, commits: &Commits) {
    while let Ok(first) = inbox.recv() {
        let mut replies = Vec::new();
        let committed = write_group(&mut db, first, inbox, &mut replies);
        commits.add();
        let failure = committed.err().map(|error| error.to_string());
        for reply in replies {
            reply(failure.clone().map_or(Ok(()), |it| Err(StoreError::Commit(it))));
        }
    }
}

fn write_group(
    db: &mut Connection,
    first: Job,
    inbox: &Receiver<Job>,
    replies: &mut Vec<Reply>,
) -> Result<(), rusqlite::Error> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    replies.push(first(db));
    while replies.len() < MAX_GROUP
        && let Ok(job) = inbox.try_recv()
    {
        replies.push(job(db));
    }
    db.execute_batch("COMMIT").inspect_err(|_| {
        // The commit's own error is the one to tell; a roll-back that fails too changes nothing.
        let _ = db.execute_batch("ROLLBACK");
    })
}

fn in_savepoint<T, E: From<StoreError>>(
    db: &mut Connection,
    how: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let savepoint = db.savepoint().map_err(StoreError::from)?;
    let done = how(&savepoint)?; // dropped without a commit, a savepoint rolls back
    savepoint.commit().map_err(StoreError::from)?;
    Ok(done)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_failed_change_leaves_nothing_and_spares_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("hub.db"), "test").unwrap();
        let insert = |name: &'static str, fail: bool| {
            store.write(move |db| -> Result<(), StoreError> {
                db.execute("INSERT INTO meta (name, value) VALUES (?, '')", [name])?;
                if fail { Err(StoreError::Closed) } else { Ok(()) }
            })
        };
        assert!(insert("kept", false).is_ok());
        assert!(insert("undone", true).is_err());
        assert!(insert("kept", false).is_err(), "a name is kept once");
        let count = |name: &'static str| {
            store.read(|db| -> Result<i64, StoreError> {
                let sql = "SELECT count(*) FROM meta WHERE name = ?";
                Ok(db.query_row(sql, [name], |row| row.get(0))?)
            })
        };
        assert_eq!((count("kept").unwrap(), count("undone").unwrap()), (1, 0));
    }

    #[test]
    fn identity_lasts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let first = Store::open(&path, "test").unwrap().organisation.clone();
        let second = Store::open(&path, "renamed").unwrap().organisation.clone();
        assert_eq!((first.uuid, first.instance), (second.uuid, second.instance));
        assert_ne!(first.uuid, first.instance);
    }

    /// The days before the table was there are counted from what is left of them.
    #[test]
    fn an_older_file_is_upgraded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(STEPS[0]).unwrap();
        db.execute_batch(
            "INSERT INTO event VALUES (1, x'01', '', '', 4, 0, 0, 0, 0, 0, 0, 0, '', 1, 7, '');
             INSERT INTO attribute (event, uuid, type, category, value1, value2, comment, to_ids,
                 distribution, disable_correlation, timestamp)
                 VALUES (1, x'02', 'ip-src', '', '192.0.2.7', '', '', 1, 5, 0, 86400);
             INSERT INTO sighting (uuid, attribute, type, source, date, reporter)
                 VALUES (x'03', 1, 0, '', 86500, 7);
             PRAGMA user_version = 1;",
        )
        .unwrap();
        drop(db);
        let store = Store::open(&path, "test").unwrap();
        let sql = "SELECT day, reporter, n_attributes, n_sightings, last FROM daily";
        let counted = store.read(|db| -> Result<(i64, i64, i64, i64, i64), StoreError> {
            Ok(db.query_row(sql, [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            })?)
        });
        assert_eq!(counted.unwrap(), (1, 7, 1, 1, 86_500));
        let signer = lists::Signer::from_seed(&[7; 32]);
        let next = store.read(|db| change::next(db, &signer, &[], 90_000)).unwrap();
        assert!(next.is_some(), "the change stream begins with all of it");
    }

    #[test]
    fn a_newer_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.db");
        drop(Store::open(&path, "test").unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Store::open(&path, "test"), Err(StoreError::Newer { found: 99, .. })));
    }
}
