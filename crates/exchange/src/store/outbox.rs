//! The outbox: rows go in when a ban is accepted, and out when MISP has said yes.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{Changes, Store, StoreError, moment, signed, time};

/// A ban that was accepted for one destination.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Accepted {
    pub(crate) destination: i64,
    /// The subject, as MISP normalises it.
    pub(crate) value: String,
    pub(crate) jail: String,
    pub(crate) time: Timestamp,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) n_failures: u32,
    /// Whether it becomes a sighting where the value is known.
    pub(crate) sightings: bool,
}

/// A row of the outbox.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) ban: Accepted,
    pub(crate) n_tried: u32,
}

/// A row of the outbox, for who looks at it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) row: Row,
    pub(crate) next_try: Option<Timestamp>,
    pub(crate) is_refused: bool,
    pub(crate) why: Option<String>,
}

/// How much waits for a destination.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Depth {
    pub(crate) n_pending: u64,
    pub(crate) oldest: Option<Timestamp>,
    pub(crate) n_refused: u64,
}

const COLUMNS: &str = "id, destination, value, jail, time, first_seen, last_seen, n_failures, \
                       sightings, n_tried, next_try, refused, why";

impl Store {
    /// The rows of a destination that are due, oldest first.
    pub(crate) fn due(
        &self,
        destination: i64,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.look(|db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM outbox
                 WHERE destination = ?1 AND refused = 0 AND next_try <= ?2 ORDER BY id LIMIT ?3"
            ))?
            .query_map(params![destination, now.as_millisecond(), signed(limit as u64)], row)?
            .collect()
        })
    }

    /// When the next row of a destination is due; `None` where nothing waits.
    pub(crate) fn next_due(&self, destination: i64) -> Result<Option<Timestamp>, StoreError> {
        self.look(|db| {
            // Nearly always the oldest is due, and then there is no need to look at all of them.
            let oldest = db
                .prepare_cached(
                    "SELECT next_try FROM outbox WHERE destination = ?1 AND refused = 0
                     ORDER BY id LIMIT 1",
                )?
                .query_row([destination], |row| moment(row, 0))
                .optional()?
                .flatten();
            match oldest {
                Some(at) if at > Timestamp::UNIX_EPOCH => db
                    .prepare_cached(
                        "SELECT min(next_try) FROM outbox WHERE destination = ?1 AND refused = 0",
                    )?
                    .query_row([destination], |row| moment(row, 0)),
                found => Ok(found),
            }
        })
    }

    /// How much waits for a destination.
    pub(crate) fn depth(&self, destination: i64) -> Result<Depth, StoreError> {
        self.look(|db| {
            db.prepare_cached(
                "SELECT count(*) FILTER (WHERE refused = 0), min(accepted) FILTER (WHERE refused = 0),
                 count(*) FILTER (WHERE refused = 1) FROM outbox WHERE destination = ?1",
            )?
            .query_row([destination], |row| {
                Ok(Depth {
                    n_pending: row.get::<_, i64>(0)?.unsigned_abs(),
                    oldest: time(row, 1)?,
                    n_refused: row.get::<_, i64>(2)?.unsigned_abs(),
                })
            })
        })
    }

    /// What waits or was refused, oldest first.
    pub(crate) fn list(&self, limit: u32) -> Result<Vec<Listed>, StoreError> {
        self.look(|db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM outbox ORDER BY id LIMIT ?1"))?
                .query_map([limit], |found| {
                    let is_refused = found.get(11)?;
                    let next_try = if is_refused { None } else { moment(found, 10)? };
                    Ok(Listed { row: row(found)?, next_try, is_refused, why: found.get(12)? })
                })?
                .collect()
        })
    }
}

impl Changes<'_> {
    /// Accepts a ban.
    pub(crate) fn accept(&self, ban: &Accepted, now: Timestamp) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "INSERT INTO outbox (destination, value, jail, time, first_seen, last_seen,
                 n_failures, sightings, accepted) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                ban.destination,
                ban.value,
                ban.jail,
                ban.time.as_second(),
                ban.first_seen.as_second(),
                ban.last_seen.as_second(),
                ban.n_failures,
                ban.sightings,
                now.as_second(),
            ])
            .map(drop)
    }

    /// Drops a row that is settled.
    pub(crate) fn settle(&self, row: i64) -> rusqlite::Result<()> {
        self.tx.prepare_cached("DELETE FROM outbox WHERE id = ?1")?.execute([row]).map(drop)
    }

    /// Tries a row again later.
    pub(crate) fn postpone(&self, row: i64, until: Timestamp, why: &str) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "UPDATE outbox SET n_tried = n_tried + 1, next_try = ?2, why = ?3 WHERE id = ?1",
            )?
            .execute(params![row, until.as_millisecond(), why])
            .map(drop)
    }

    /// Sets a row aside for good, with the reason.
    pub(crate) fn refuse(&self, row: i64, why: &str) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "UPDATE outbox SET n_tried = n_tried + 1, refused = 1, why = ?2 WHERE id = ?1",
            )?
            .execute(params![row, why])
            .map(drop)
    }

    /// Has rows tried again at once, all that were set aside where none is named; tells how many.
    pub(crate) fn retry(&self, rows: Option<&[u64]>) -> rusqlite::Result<u64> {
        // The destination as well: whoever retries does not want to wait for its next try.
        self.tx.execute("UPDATE destinations SET next_try = NULL", [])?;
        self.for_each(rows, "UPDATE outbox SET refused = 0, n_tried = 0, next_try = 0, why = NULL")
    }

    /// Forgets rows, all that were set aside where none is named; tells how many.
    pub(crate) fn forget(&self, rows: Option<&[u64]>) -> rusqlite::Result<u64> {
        self.for_each(rows, "DELETE FROM outbox")
    }

    fn for_each(&self, rows: Option<&[u64]>, verb: &str) -> rusqlite::Result<u64> {
        let Some(rows) = rows else {
            return Ok(self.tx.execute(&format!("{verb} WHERE refused = 1"), [])? as u64);
        };
        let mut statement = self.tx.prepare_cached(&format!("{verb} WHERE id = ?1"))?;
        let mut n = 0;
        for row in rows {
            n += statement.execute([signed(*row)])? as u64;
        }
        Ok(n)
    }

    /// Every value that waits, with the failures it stands for.
    pub(crate) fn pending(&self) -> rusqlite::Result<Vec<(i64, String, u32)>> {
        self.tx
            .prepare("SELECT id, value, n_failures FROM outbox WHERE refused = 0")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    }
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let at = |column| Ok::<_, rusqlite::Error>(time(row, column)?.unwrap_or_default());
    Ok(Row {
        id: row.get(0)?,
        ban: Accepted {
            destination: row.get(1)?,
            value: row.get(2)?,
            jail: row.get(3)?,
            time: at(4)?,
            first_seen: at(5)?,
            last_seen: at(6)?,
            n_failures: row.get(7)?,
            sightings: row.get(8)?,
        },
        n_tried: row.get(9)?,
    })
}
