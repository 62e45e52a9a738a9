//! What servers told, and the lists that came of it: tables of exchange.db, on a connection of
//! their own, so that a long list never keeps a ban from the outbox.
//!
//! A list as a whole is gathered in a temporary table, and becomes what its server told once it is
//! complete and believed. All of this can be fetched anew, so a power cut may take the last of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use lists::chain::{Follower, Place};
use lists::net;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::list::List;
use super::policy::Indicator;
use crate::pull::{Progress, Row, RowChange};
use crate::store::{StoreError, keep_plans};

/// How long a statement waits for the outbox.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages of 4 KiB that are kept in memory.
const CACHE_KIB: i32 = 8 << 10;
/// Statements that are kept prepared: to make one anew costs more than to run it.
const STATEMENTS: usize = 64;
/// Rows in one transaction of a list as a whole: the outbox gets its turn in between.
const TURN: usize = 5_000;
/// Changes that come so soon after another are taken back together with it.
const BATCH: i64 = 10 * 60;
/// Batches that can be taken back: a day of a busy stream.
const MAX_BATCHES: i64 = 144;

/// The tables of the block lists.
#[derive(Debug)]
pub(crate) struct ListStore {
    db: Connection,
    path: PathBuf,
    /// Whether what is new is noted, for old logs to be searched for it.
    notes_new: bool,
}

/// What is kept of a source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SourceRow {
    pub(crate) progress: Progress,
    pub(crate) pulled: Option<i64>,
    pub(crate) list: String,
    pub(crate) version: u64,
    pub(crate) waiting: Option<String>,
}

impl SourceRow {
    /// What guard calls the list as it is now.
    pub(crate) fn version(&self) -> String {
        format!("{}-{}", self.list, self.version)
    }
}

/// A change of a list: until when somebody is blocked, or that nobody is.
pub(crate) type Change = (IpNet, Option<i64>);

/// Changes that were made together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Batch {
    pub(crate) id: i64,
    pub(crate) began: i64,
}

/// Changes that come to be together or not at all.
pub(crate) struct Writing<'a> {
    tx: Transaction<'a>,
    source: &'a str,
    notes_new: bool,
}

impl ListStore {
    /// Opens the tables in the database at `path`; `notes_new` has what is new noted.
    pub(crate) fn open(path: &Path, notes_new: bool) -> Result<Self, StoreError> {
        let fault = |source| StoreError::Failed { path: path.to_owned(), source };
        let db = Connection::open(path).map_err(fault)?;
        db.busy_timeout(BUSY_TIMEOUT).map_err(fault)?;
        keep_plans(&db).map_err(fault)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        db.execute_batch(&format!(
            "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA temp_store = FILE;
             PRAGMA cache_size = -{CACHE_KIB};
             CREATE TEMP TABLE fresh AS SELECT 1 WHERE 0;"
        ))
        .map_err(fault)?;
        db.execute_batch(include_str!("tables.sql")).map_err(fault)?;
        Ok(Self { db, path: path.to_owned(), notes_new })
    }

    /// Makes `source` known, if it is not.
    pub(crate) fn know(&self, source: &str) -> Result<(), StoreError> {
        self.look(|db| {
            db.execute(
                "INSERT OR IGNORE INTO pull_source (name, list) VALUES (?1, ?2)",
                params![source, Uuid::new_v4().simple().to_string()],
            )
            .map(drop)
        })
    }

    /// What is kept of `source`, which is known.
    pub(crate) fn source(&self, source: &str) -> Result<SourceRow, StoreError> {
        self.look(|db| {
            db.prepare_cached(
                "SELECT cursor, reconciled, key, sequence, head, pulled, list, version, waiting
                 FROM pull_source WHERE name = ?1",
            )?
            .query_row([source], source_row)
        })
    }

    /// Writes about `source`, all of it or nothing.
    pub(crate) fn write<T>(
        &mut self,
        source: &str,
        work: impl FnOnce(&Writing<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let notes_new = self.notes_new;
        let done =
            self.db.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|tx| {
                let writing = Writing { tx, source, notes_new };
                let done = work(&writing)?;
                writing.tx.commit()?;
                Ok(done)
            });
        done.map_err(|source| StoreError::Failed { path: self.path.clone(), source })
    }

    fn look<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.db).map_err(|source| StoreError::Failed { path: self.path.clone(), source })
    }

    /// Begins to gather a list as a whole.
    pub(crate) fn begin(&self) -> Result<(), StoreError> {
        self.look(|db| {
            db.execute_batch(
                "DROP TABLE IF EXISTS temp.fresh;
                 CREATE TEMP TABLE fresh (
                     id TEXT PRIMARY KEY, net TEXT, kind TEXT, organisation TEXT, to_ids INTEGER,
                     first INTEGER, last INTEGER, tags TEXT
                 );",
            )
        })
    }

    /// Gathers rows of it.
    pub(crate) fn gather(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        let gathered = self.db.transaction().and_then(|tx| {
            let mut put = tx.prepare_cached(
                "INSERT OR REPLACE INTO temp.fresh VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?;
            for Row { id, indicator: it } in rows {
                let (net, tags) = (net::write(it.net), json(&it.tags)?);
                put.execute(params![
                    id,
                    net,
                    it.kind,
                    it.organisation,
                    it.to_ids,
                    it.first,
                    it.last,
                    tags
                ])?;
            }
            drop(put);
            tx.commit()
        });
        gathered.map_err(|source| StoreError::Failed { path: self.path.clone(), source })
    }

    /// Makes what was gathered all that `source` tells. In turns: until the last of them, the
    /// source is asked for all of it again.
    pub(crate) fn replace(&mut self, source: &str, progress: &Progress) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let last = self.write(source, |it| it.take_fresh(after))?;
            let Some(last) = last else { break };
            after = last;
        }
        self.write(source, |it| {
            it.tx.execute(
                "DELETE FROM indicator WHERE source = ?1 AND id NOT IN (SELECT id FROM temp.fresh)",
                [it.source],
            )?;
            it.reach(progress)
        })?;
        self.begin()
    }

    /// All that `source` tells, ordered by address.
    pub(crate) fn each_indicator(
        &self,
        source: &str,
        mut each: impl FnMut(Indicator),
    ) -> Result<(), StoreError> {
        self.look(|db| {
            let mut denied: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            let mut query =
                db.prepare_cached("SELECT net, who FROM pull_denial WHERE source = ?1")?;
            let mut rows = query.query([source])?;
            while let Some(row) = rows.next()? {
                denied.entry(row.get(0)?).or_default().insert(row.get(1)?);
            }
            let mut query = db.prepare_cached(&format!("{INDICATORS} ORDER BY indicator.net"))?;
            let mut rows = query.query([source])?;
            while let Some(row) = rows.next()? {
                let mut it = indicator(row)?;
                if !denied.is_empty()
                    && let Some(who) = denied.get(row.get_ref(0)?.as_str()?)
                {
                    it.denied_by.clone_from(who);
                }
                each(it);
            }
            Ok(())
        })
    }

    /// What `source` tells of `net` itself.
    pub(crate) fn indicators(
        &self,
        source: &str,
        net: IpNet,
    ) -> Result<Vec<Indicator>, StoreError> {
        self.look(|db| {
            let net = net::write(net);
            let denied_by: BTreeSet<String> = db
                .prepare_cached("SELECT who FROM pull_denial WHERE source = ?1 AND net = ?2")?
                .query_map([source, &net], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            let mut query = db.prepare_cached(&format!("{INDICATORS} AND indicator.net = ?2"))?;
            let found = query.query_map([source, &net], indicator)?;
            found
                .map(|it| Ok(Indicator { denied_by: denied_by.clone(), ..it? }))
                .collect::<rusqlite::Result<_>>()
        })
    }

    /// How many are new, and were not looked for in old logs yet.
    pub(crate) fn n_unsought(&self) -> Result<i64, StoreError> {
        self.look(|db| {
            db.prepare_cached("SELECT count(*) FROM unsought")?.query_row([], |row| row.get(0))
        })
    }

    /// Some of those, but for what this host itself told MISP: that comes back, and was in its logs,
    /// or it would not have been told.
    pub(crate) fn unsought(&mut self, limit: usize) -> Result<Vec<IpNet>, StoreError> {
        self.write("", |it| {
            let own = "DELETE FROM unsought WHERE net IN (SELECT value FROM attributes)";
            it.tx.execute(own, []).map(drop)
        })?;
        self.look(|db| {
            let mut query = db.prepare_cached("SELECT net FROM unsought LIMIT ?1")?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            query.query_map([limit], |row| prefix(row, 0))?.collect()
        })
    }

    /// Notes that these were looked for.
    pub(crate) fn sought(&mut self, nets: &[IpNet]) -> Result<(), StoreError> {
        for nets in nets.chunks(TURN) {
            self.write("", |it| {
                let mut forget = it.tx.prepare_cached("DELETE FROM unsought WHERE net = ?1")?;
                nets.iter().try_for_each(|net| forget.execute([net::write(*net)]).map(drop))
            })?;
        }
        Ok(())
    }

    /// How many indicators `source` tells of.
    pub(crate) fn n_indicators(&self, source: &str) -> Result<u64, StoreError> {
        self.look(|db| {
            let sql = "SELECT count(*) FROM indicator WHERE source = ?1";
            db.prepare_cached(sql)?.query_row([source], |row| row.get::<_, i64>(0))
        })
        .map(i64::unsigned_abs)
    }

    /// The list of `source`, sorted.
    pub(crate) fn blocked(&self, source: &str) -> Result<List, StoreError> {
        self.look(|db| {
            let sql = "SELECT net, until FROM blocked WHERE source = ?1";
            let mut query = db.prepare_cached(sql)?;
            let rows = query.query_map([source], |row| Ok((prefix(row, 0)?, row.get(1)?)))?;
            let mut list = rows.collect::<rusqlite::Result<List>>()?;
            list.sort_unstable();
            Ok(list)
        })
    }

    /// How long the list of `source` is.
    pub(crate) fn n_blocked(&self, source: &str) -> Result<usize, StoreError> {
        self.look(|db| {
            let sql = "SELECT count(*) FROM blocked WHERE source = ?1";
            let n: i64 = db.prepare_cached(sql)?.query_row([source], |row| row.get(0))?;
            Ok(usize::try_from(n).unwrap_or(0))
        })
    }

    /// Until when `net` itself is blocked by the list of `source`.
    pub(crate) fn until(&self, source: &str, net: IpNet) -> Result<Option<i64>, StoreError> {
        self.look(|db| {
            let sql = "SELECT until FROM blocked WHERE source = ?1 AND net = ?2";
            db.prepare_cached(sql)?
                .query_row([source, &net::write(net)], |row| row.get(0))
                .optional()
        })
    }

    /// The last changes of the list of `source` that can be taken back, and what was there before.
    pub(crate) fn last_batch(
        &self,
        source: &str,
    ) -> Result<Option<(Batch, Vec<Change>)>, StoreError> {
        self.look(|db| {
            let sql = "SELECT id, began FROM batch WHERE source = ?1 ORDER BY id DESC LIMIT 1";
            let last = db
                .query_row(sql, [source], |row| Ok(Batch { id: row.get(0)?, began: row.get(1)? }));
            let Some(last) = last.optional()? else { return Ok(None) };
            let mut query =
                db.prepare_cached("SELECT net, was FROM batch_change WHERE batch = ?1")?;
            let rows = query.query_map([last.id], |row| Ok((prefix(row, 0)?, row.get(1)?)))?;
            Ok(Some((last, rows.collect::<rusqlite::Result<_>>()?)))
        })
    }
}

/// Finds whether any source tells of the address that follows. SQLite left to itself reads a whole
/// index for it, and so it would for one address of [`INDICATORS`].
pub(crate) const TOLD_OF: &str = "
    SELECT 1 FROM pull_source CROSS JOIN indicator INDEXED BY indicator_net
    ON indicator.source = pull_source.name AND indicator.net =";

const INDICATORS: &str = "
    SELECT indicator.net, kind, organisation, to_ids, first,
        max(indicator.last, coalesce(pull_sighting.last, 0)), tags
    FROM indicator INDEXED BY indicator_net LEFT JOIN pull_sighting USING (source, net)
    WHERE indicator.source = ?1";

impl Writing<'_> {
    /// Remembers how far the source was followed.
    pub(crate) fn reach(&self, progress: &Progress) -> rusqlite::Result<()> {
        let follower = progress.follower;
        self.tx
            .prepare_cached(
                "UPDATE pull_source SET cursor = coalesce(?2, cursor),
                     reconciled = coalesce(?3, reconciled), key = coalesce(?4, key),
                     sequence = coalesce(?5, sequence), head = coalesce(?6, head)
                 WHERE name = ?1",
            )?
            .execute(params![
                self.source,
                progress.cursor.map(Timestamp::as_second),
                progress.reconciled.map(Timestamp::as_second),
                follower.map(|it| it.key.to_string()),
                follower.map(|it| it.place.sequence.cast_signed()),
                follower.map(|it| it.place.head.to_string()),
            ])
            .map(drop)
    }

    /// Remembers that the source answered.
    pub(crate) fn heard(&self, now: i64) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached("UPDATE pull_source SET pulled = ?2 WHERE name = ?1")?
            .execute(params![self.source, now])
            .map(drop)
    }

    /// Takes some of what was gathered, after this row; tells the last of them.
    fn take_fresh(&self, after: i64) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT max(rowid) FROM (
                       SELECT rowid FROM temp.fresh WHERE rowid > ?1 ORDER BY rowid LIMIT ?2)";
        let turn = i64::try_from(TURN).unwrap_or(i64::MAX);
        let last: Option<i64> = self.tx.query_row(sql, [after, turn], |row| row.get(0))?;
        if let Some(last) = last {
            if self.notes_new {
                self.tx
                    .prepare_cached(&format!(
                        "INSERT OR IGNORE INTO unsought
                         SELECT net FROM temp.fresh WHERE rowid > ?1 AND rowid <= ?2
                         AND NOT EXISTS ({TOLD_OF} fresh.net)"
                    ))?
                    .execute([after, last])?;
            }
            self.tx
                .prepare_cached(
                    "INSERT OR REPLACE INTO indicator
                     SELECT ?1, id, net, kind, organisation, to_ids, first, last, tags
                     FROM temp.fresh WHERE rowid > ?2 AND rowid <= ?3",
                )?
                .execute(params![self.source, after, last])?;
        }
        Ok(last)
    }

    /// Changes what the source tells; tells of whom.
    pub(crate) fn change(&self, change: &RowChange) -> rusqlite::Result<Option<IpNet>> {
        let source = self.source;
        match change {
            RowChange::Put(Row { id, indicator: it }) => {
                if self.notes_new {
                    self.note_new(it.net)?;
                }
                self.tx
                    .prepare_cached(
                        "INSERT OR REPLACE INTO indicator VALUES
                         (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                    )?
                    .execute(params![
                        source,
                        id,
                        net::write(it.net),
                        it.kind,
                        it.organisation,
                        it.to_ids,
                        it.first,
                        it.last,
                        json(&it.tags)?
                    ])?;
                Ok(Some(it.net))
            }
            RowChange::Remove { id } => self
                .tx
                .prepare_cached(
                    "DELETE FROM indicator WHERE source = ?1 AND id = ?2 RETURNING net",
                )?
                .query_row([source, id], |row| prefix(row, 0))
                .optional(),
            RowChange::Withdraw { net, .. } => {
                self.tx
                    .prepare_cached("DELETE FROM indicator WHERE source = ?1 AND net = ?2")?
                    .execute([source, &net::write(*net)])?;
                Ok(Some(*net))
            }
            RowChange::Sighted { net, last } => {
                self.tx
                    .prepare_cached(
                        "INSERT INTO pull_sighting VALUES (?1, ?2, ?3)
                         ON CONFLICT DO UPDATE SET last = max(last, excluded.last)",
                    )?
                    .execute(params![source, net::write(*net), last])?;
                Ok(Some(*net))
            }
            RowChange::Denied { net, who } => {
                self.tx
                    .prepare_cached("INSERT OR IGNORE INTO pull_denial VALUES (?1, ?2, ?3)")?
                    .execute([source, &net::write(*net), who])?;
                Ok(Some(*net))
            }
        }
    }

    /// Notes an address or prefix that no source has told of yet.
    fn note_new(&self, net: IpNet) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(&format!(
                "INSERT OR IGNORE INTO unsought SELECT ?1 WHERE NOT EXISTS ({TOLD_OF} ?1)"
            ))?
            .execute([net::write(net)])
            .map(drop)
    }

    /// Changes the list, which has another version then.
    pub(crate) fn block(&self, changes: &[Change], now: i64) -> rusqlite::Result<()> {
        let batch = self.batch(now)?;
        let (mut n_added, mut n_removed) = (0, 0);
        let mut was =
            self.tx.prepare_cached("SELECT until FROM blocked WHERE source = ?1 AND net = ?2")?;
        let mut put = self.tx.prepare_cached(
            "INSERT INTO blocked VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET until = excluded.until",
        )?;
        let mut remove =
            self.tx.prepare_cached("DELETE FROM blocked WHERE source = ?1 AND net = ?2")?;
        let mut note =
            self.tx.prepare_cached("INSERT OR IGNORE INTO batch_change VALUES (?1, ?2, ?3)")?;
        for (net, until) in changes {
            let net = net::write(*net);
            let before: Option<i64> =
                was.query_row([self.source, &net], |row| row.get(0)).optional()?;
            match until {
                Some(until) => drop(put.execute(params![self.source, net, until])?),
                None => drop(remove.execute([self.source, &net])?),
            }
            n_added += i64::from(before.is_none() && until.is_some());
            n_removed += i64::from(before.is_some() && until.is_none());
            note.execute(params![batch, net, before])?;
        }
        self.tx.execute(
            "UPDATE batch SET n_added = n_added + ?2, n_removed = n_removed + ?3 WHERE id = ?1",
            [batch, n_added, n_removed],
        )?;
        self.next_version()
    }

    fn next_version(&self) -> rusqlite::Result<()> {
        let sql = "UPDATE pull_source SET version = version + 1 WHERE name = ?1";
        self.tx.prepare_cached(sql)?.execute([self.source]).map(drop)
    }

    /// The batch that takes changes now.
    fn batch(&self, now: i64) -> rusqlite::Result<i64> {
        let sql = "SELECT id FROM batch WHERE source = ?1 AND began > ?2 ORDER BY id DESC LIMIT 1";
        let open = self.tx.query_row(sql, params![self.source, now - BATCH], |row| row.get(0));
        if let Some(open) = open.optional()? {
            return Ok(open);
        }
        self.tx.execute(
            "DELETE FROM batch WHERE source = ?1 AND id <= (
                 SELECT id FROM batch WHERE source = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            params![self.source, MAX_BATCHES],
        )?;
        let sql = "INSERT INTO batch (source, began) VALUES (?1, ?2) RETURNING id";
        self.tx.query_row(sql, params![self.source, now], |row| row.get(0))
    }

    /// Puts the list back to what it was before `batch`.
    pub(crate) fn take_back(&self, batch: Batch, before: &[Change]) -> rusqlite::Result<()> {
        for (net, was) in before {
            let net = net::write(*net);
            match was {
                Some(until) => self.tx.execute(
                    "INSERT OR REPLACE INTO blocked VALUES (?1, ?2, ?3)",
                    params![self.source, net, until],
                )?,
                None => self.tx.execute(
                    "DELETE FROM blocked WHERE source = ?1 AND net = ?2",
                    [self.source, &net],
                )?,
            };
        }
        self.tx.execute("DELETE FROM batch WHERE id = ?1", [batch.id])?;
        self.next_version()
    }

    /// Says why the list stands still, or that it does not.
    pub(crate) fn wait(&self, why: Option<&str>) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached("UPDATE pull_source SET waiting = ?2 WHERE name = ?1")?
            .execute(params![self.source, why])
            .map(drop)
    }

    /// Forgets what has ended by itself, in the kernel as well.
    pub(crate) fn expire(&self, now: i64) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached("DELETE FROM blocked WHERE source = ?1 AND until <= ?2")?
            .execute(params![self.source, now])
            .map(drop)
    }
}

fn source_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<SourceRow> {
    let time = |column| -> rusqlite::Result<Option<Timestamp>> {
        let seconds: Option<i64> = row.get(column)?;
        Ok(seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()))
    };
    let (key, head): (Option<String>, Option<String>) = (row.get(2)?, row.get(4)?);
    let sequence = row.get::<_, i64>(3)?.cast_unsigned();
    let follower = match key {
        None => None,
        Some(key) => {
            let head = head.map(|it| it.parse().map_err(from_sql)).transpose()?;
            let place = Place { sequence, head: head.unwrap_or_default() };
            Some(Follower { key: key.parse().map_err(from_sql)?, place })
        }
    };
    Ok(SourceRow {
        progress: Progress { cursor: time(0)?, reconciled: time(1)?, follower },
        pulled: row.get(5)?,
        list: row.get(6)?,
        version: row.get::<_, i64>(7)?.cast_unsigned(),
        waiting: row.get(8)?,
    })
}

fn indicator(row: &rusqlite::Row<'_>) -> rusqlite::Result<Indicator> {
    let tags = row.get_ref(6)?.as_str()?;
    Ok(Indicator {
        net: prefix(row, 0)?,
        kind: row.get(1)?,
        organisation: row.get(2)?,
        to_ids: row.get(3)?,
        first: row.get(4)?,
        last: row.get(5)?,
        tags: serde_json::from_str(tags).map_err(from_sql)?,
        denied_by: BTreeSet::new(),
    })
}

/// A column that holds an address or a prefix.
fn prefix(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<IpNet> {
    let text = row.get_ref(column)?.as_str()?;
    net::read(text)
        .ok_or_else(|| rusqlite::Error::InvalidColumnType(column, text.into(), Type::Text))
}

fn json(tags: &[String]) -> rusqlite::Result<String> {
    serde_json::to_string(tags)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn from_sql(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
}
