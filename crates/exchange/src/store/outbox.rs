//! The outbox: rows go in when a ban is accepted, and out when MISP has said yes.

use jiff::Timestamp;
use misp::wire::SightingKind;
use rusqlite::{OptionalExtension, params};

use super::{Changes, Store, StoreError, moment, signed, time};
use crate::policy::Terms;

/// What was accepted for one destination: of nearly every row, that somebody was banned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Accepted {
    pub(crate) destination: i64,
    /// What is said of the value.
    pub(crate) kind: SightingKind,
    /// The subject, as MISP normalises it.
    pub(crate) value: String,
    pub(crate) jail: String,
    pub(crate) time: Timestamp,
    /// When the ban ends; `None` where it never does, or nobody said.
    pub(crate) until: Option<Timestamp>,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) n_failures: u32,
    /// Whether it becomes a sighting where the value is known.
    pub(crate) sightings: Sightings,
    pub(crate) terms: Terms,
    /// Whether it is of old logs, and nobody was banned.
    pub(crate) historical: bool,
    /// Lines of the log, where the destination is told of them.
    pub(crate) matches: Option<String>,
}

/// Whether a row becomes a sighting.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sightings {
    /// Never: a known value is not told again.
    Never = 0,
    /// Where the value is known; elsewhere it becomes an attribute.
    WhereKnown = 1,
    /// Nothing else: wherever the destination knows the value, in whoever's event.
    Only = 2,
}

impl From<bool> for Sightings {
    fn from(wanted: bool) -> Self {
        if wanted { Self::WhereKnown } else { Self::Never }
    }
}

/// What a row waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// Its turn.
    Due = 0,
    /// Nothing any more: it was refused for good, and an operator may look at it.
    Refused = 1,
    /// An operator's approval.
    Review = 2,
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
    pub(crate) state: State,
    pub(crate) why: Option<String>,
}

/// How much waits for a destination.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Depth {
    pub(crate) n_pending: u64,
    pub(crate) oldest: Option<Timestamp>,
    pub(crate) n_refused: u64,
    pub(crate) n_in_review: u64,
}

const COLUMNS: &str = "id, destination, kind, value, jail, time, until, first_seen, last_seen, \
                       n_failures, sightings, terms, matches, n_tried, next_try, state, why, \
                       historical";

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
                 WHERE destination = ?1 AND state = 0 AND next_try <= ?2 ORDER BY id LIMIT ?3"
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
                    "SELECT next_try FROM outbox WHERE destination = ?1 AND state = 0
                     ORDER BY id LIMIT 1",
                )?
                .query_row([destination], |row| moment(row, 0))
                .optional()?
                .flatten();
            match oldest {
                Some(at) if at > Timestamp::UNIX_EPOCH => db
                    .prepare_cached(
                        "SELECT min(next_try) FROM outbox WHERE destination = ?1 AND state = 0",
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
                "SELECT count(*) FILTER (WHERE state = 0), min(accepted) FILTER (WHERE state = 0),
                 count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 2)
                 FROM outbox WHERE destination = ?1",
            )?
            .query_row([destination], |row| {
                Ok(Depth {
                    n_pending: row.get::<_, i64>(0)?.unsigned_abs(),
                    oldest: time(row, 1)?,
                    n_refused: row.get::<_, i64>(2)?.unsigned_abs(),
                    n_in_review: row.get::<_, i64>(3)?.unsigned_abs(),
                })
            })
        })
    }

    /// What waits or was refused, oldest first.
    pub(crate) fn list(&self, limit: u32) -> Result<Vec<Listed>, StoreError> {
        self.look(|db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM outbox ORDER BY id LIMIT ?1"))?
                .query_map([limit], listed)?
                .collect()
        })
    }

    /// Rows by their numbers, as far as they are there.
    pub(crate) fn rows(&self, ids: &[u64]) -> Result<Vec<Listed>, StoreError> {
        self.look(|db| {
            let sql = format!("SELECT {COLUMNS} FROM outbox WHERE id = ?1");
            let mut statement = db.prepare_cached(&sql)?;
            let found = ids.iter().map(|id| statement.query_row([signed(*id)], listed).optional());
            found.filter_map(Result::transpose).collect()
        })
    }
}

impl Changes<'_> {
    /// Accepts what is to be told.
    pub(crate) fn accept(
        &self,
        row: &Accepted,
        state: State,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "INSERT INTO outbox (destination, kind, value, jail, time, until, first_seen,
                 last_seen, n_failures, sightings, terms, matches, accepted, state, historical)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            )?
            .execute(params![
                row.destination,
                row.kind.number(),
                row.value,
                row.jail,
                row.time.as_second(),
                row.until.map(Timestamp::as_second),
                row.first_seen.as_second(),
                row.last_seen.as_second(),
                row.n_failures,
                row.sightings as u8,
                row.terms as u8,
                row.matches,
                now.as_second(),
                state as u8,
                row.historical,
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
                "UPDATE outbox SET n_tried = n_tried + 1, state = 1, why = ?2 WHERE id = ?1",
            )?
            .execute(params![row, why])
            .map(drop)
    }

    /// Has rows tried again at once, all that were set aside where none is named; tells how many.
    pub(crate) fn retry(&self, rows: Option<&[u64]>) -> rusqlite::Result<u64> {
        // The destination as well: whoever retries does not want to wait for its next try.
        self.tx.execute("UPDATE destinations SET next_try = NULL", [])?;
        // What waits for approval is not approved by a retry.
        let set = "UPDATE outbox SET state = iif(state = 1, 0, state), n_tried = 0, next_try = 0,
                   why = NULL";
        self.for_each(rows, set, State::Refused)
    }

    /// Forgets rows, all that were set aside where none is named; tells how many.
    pub(crate) fn forget(&self, rows: Option<&[u64]>) -> rusqlite::Result<u64> {
        self.for_each(rows, "DELETE FROM outbox", State::Refused)
    }

    /// Lets rows go that waited for approval, all of them where none is named; tells how many.
    pub(crate) fn approve(&self, rows: Option<&[u64]>) -> rusqlite::Result<u64> {
        let set = "UPDATE outbox SET state = iif(state = 2, 0, state)";
        self.for_each(rows, set, State::Review)
    }

    /// Does something to the rows of these numbers, or to all in a state.
    fn for_each(
        &self,
        rows: Option<&[u64]>,
        verb: &str,
        otherwise: State,
    ) -> rusqlite::Result<u64> {
        let Some(rows) = rows else {
            let sql = format!("{verb} WHERE state = ?1");
            return Ok(self.tx.execute(&sql, [otherwise as u8])? as u64);
        };
        let mut statement = self.tx.prepare_cached(&format!("{verb} WHERE id = ?1"))?;
        let mut n = 0;
        for row in rows {
            n += statement.execute([signed(*row)])? as u64;
        }
        Ok(n)
    }

    /// Some bans that wait, after row `after`, with the failures they stand for.
    pub(crate) fn pending(
        &self,
        after: i64,
        limit: usize,
    ) -> rusqlite::Result<Vec<(i64, String, u32)>> {
        self.tx
            .prepare_cached(
                "SELECT id, value, n_failures FROM outbox
                 WHERE id > ?1 AND state <> 1 AND kind = 0 AND sightings < 2
                 ORDER BY id LIMIT ?2",
            )?
            .query_map(params![after, signed(limit as u64)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect()
    }

    /// Changes on what terms a row is told.
    pub(crate) fn set_terms(&self, row: i64, terms: Terms) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached("UPDATE outbox SET terms = ?2 WHERE id = ?1 AND terms <> ?2")?
            .execute(params![row, terms as u8])
            .map(drop)
    }

    /// Takes back what waits of a value: whatever it said is a mistake.
    pub(crate) fn retract(&self, value: &str) -> rusqlite::Result<()> {
        self.tx.execute("DELETE FROM expirations WHERE value = ?1", [value])?;
        self.tx.execute("DELETE FROM outbox WHERE value = ?1 AND kind <> 1", [value]).map(drop)
    }

    /// Remembers when a ban ends that MISP is to be told of.
    pub(crate) fn expect_end(&self, row: &Accepted, until: Timestamp) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "INSERT INTO expirations (destination, value, jail, at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET jail = excluded.jail, at = max(at, excluded.at)",
            )?
            .execute(params![row.destination, row.value, row.jail, until.as_second()])
            .map(drop)
    }

    /// Puts the ends of bans into the outbox that have come; tells how many.
    pub(crate) fn end_bans(&self, now: Timestamp) -> rusqlite::Result<usize> {
        let ended = self.tx.execute(
            "INSERT INTO outbox (destination, kind, value, jail, time, first_seen, last_seen,
             n_failures, sightings, accepted)
             SELECT destination, 2, value, jail, at, at, at, 0, 1, ?1 FROM expirations WHERE at <= ?1",
            [now.as_second()],
        )?;
        self.tx.execute("DELETE FROM expirations WHERE at <= ?1", [now.as_second()])?;
        Ok(ended)
    }
}

fn listed(row: &rusqlite::Row<'_>) -> rusqlite::Result<Listed> {
    let state = match row.get(15)? {
        0_u8 => State::Due,
        1 => State::Refused,
        _ => State::Review,
    };
    let next_try = if state == State::Due { moment(row, 14)? } else { None };
    Ok(Listed { row: self::row(row)?, next_try, state, why: row.get(16)? })
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let at = |column| Ok::<_, rusqlite::Error>(time(row, column)?.unwrap_or_default());
    Ok(Row {
        id: row.get(0)?,
        ban: Accepted {
            destination: row.get(1)?,
            kind: match row.get(2)? {
                0_u8 => SightingKind::Seen,
                1 => SightingKind::FalsePositive,
                _ => SightingKind::Expiration,
            },
            value: row.get(3)?,
            jail: row.get(4)?,
            time: at(5)?,
            until: time(row, 6)?,
            first_seen: at(7)?,
            last_seen: at(8)?,
            n_failures: row.get(9)?,
            sightings: match row.get(10)? {
                0_u8 => Sightings::Never,
                1 => Sightings::WhereKnown,
                _ => Sightings::Only,
            },
            terms: match row.get(11)? {
                0_u8 => Terms::Full,
                1 => Terms::WithoutToIds,
                _ => Terms::Short,
            },
            matches: row.get(12)?,
            historical: row.get(17)?,
        },
        n_tried: row.get(13)?,
    })
}
