//! The bans that stand, and the numbered log of bans that exchange follows.

use jail::judge::History;
use jail::{Ban, NumberedBan, Subject, judge};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{Record, Store, StoreError, fault, json, parse};

/// Rows of the ban log that are kept where nobody follows it, or its follower is far behind:
/// about half a gigabyte with the lines of each ban.
const MAX_LOG: u64 = 1_000_000;

/// Rows beyond [`MAX_LOG`] that are tolerated, so that not every commit purges.
const PURGE_EVERY: u64 = 1000;

/// Bans that stay though the log's follower has taken care of them, for whoever else reads the log
/// a moment later: the demonstration, an operator.
const TAIL: u64 = 1000;

/// What [`Store::bans_since`] returns at most, so that it fits into an answer of the control socket.
const MAX_PART_BYTES: usize = 8 << 20;

/// Bans of one part of [`Standing`].
const STANDING_PART: usize = 1000;

pub(super) const SCHEMA: &str = "
    CREATE TABLE ban_log (number INTEGER PRIMARY KEY AUTOINCREMENT, ban TEXT NOT NULL) STRICT;
    CREATE TABLE standing (
      jail TEXT NOT NULL, subject TEXT NOT NULL, time INTEGER NOT NULL,
      ban TEXT NOT NULL, UNIQUE (jail, subject)
    ) STRICT;
    CREATE TABLE past (
      jail TEXT NOT NULL, subject TEXT NOT NULL, n_bans INTEGER NOT NULL,
      last INTEGER NOT NULL, bantime INTEGER NOT NULL, PRIMARY KEY (subject, jail)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO meta VALUES ('log', lower(hex(randomblob(16)))), ('reached', 0);";

/// Where the log of bans begins and ends, and how far it was followed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BanLog {
    /// Which log: another one in every new guard.db.
    pub id: String,
    /// The first number that is kept.
    pub first: u64,
    /// The last number that was given; 0 for none yet.
    pub last: u64,
    /// How far it was followed; 0 where nobody ever did.
    pub reached: u64,
}

impl BanLog {
    pub(super) fn read(db: &Connection) -> rusqlite::Result<Self> {
        let meta = "SELECT value FROM meta WHERE name = ?";
        let last: Option<i64> = db
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'ban_log'", [], |it| it.get(0))
            .optional()?;
        let first: Option<i64> =
            db.query_row("SELECT min(number) FROM ban_log", [], |row| row.get(0))?;
        let last = last.unwrap_or(0).cast_unsigned();
        Ok(Self {
            id: db.query_row(meta, ["log"], |row| row.get(0))?,
            first: first.map_or(last + 1, i64::cast_unsigned),
            last,
            reached: db.query_row(meta, ["reached"], |row| row.get::<_, i64>(0))?.cast_unsigned(),
        })
    }

    /// How many bans its follower will never see: it was so far behind that they were dropped.
    pub fn n_missed(&self) -> u64 {
        match self.reached {
            0 => 0,
            reached => self.first.saturating_sub(reached + 1),
        }
    }

    /// Forgets the oldest bans where there are too many.
    pub(super) fn trim(&mut self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        if self.last.saturating_sub(self.first) >= MAX_LOG + PURGE_EVERY {
            self.first = self.last - MAX_LOG;
            tx.execute("DELETE FROM ban_log WHERE number < ?", [self.first.cast_signed()])?;
        }
        Ok(())
    }
}

impl Store {
    /// The bans that stood when the last life ended, in the order of their beginning.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn standing(&self) -> Result<Standing, StoreError> {
        let read = || -> rusqlite::Result<Vec<i64>> {
            let mut rows = self.db.prepare("SELECT rowid FROM standing ORDER BY time, rowid")?;
            rows.query_map([], |row| row.get(0))?.collect()
        };
        let rows = read().map_err(|error| fault(&self.path, error))?;
        Ok(Standing { rows: rows.into_iter() })
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

    /// Notes that the log's follower has taken care of all bans up to `number`, and forgets all but
    /// the last of them.
    /// A number that is not ahead of the last one changes nothing.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn reached(&mut self, number: u64) -> Result<(), StoreError> {
        let number = number.min(self.ban_log.last);
        let forgotten = number.saturating_sub(TAIL);
        let mut write = || {
            let tx = self.db.transaction()?;
            let moved = tx.execute(
                "UPDATE meta SET value = ?1 WHERE name = 'reached' AND value < ?1",
                [number.cast_signed()],
            )?;
            if moved > 0 {
                tx.execute("DELETE FROM ban_log WHERE number <= ?", [forgotten.cast_signed()])?;
            }
            tx.commit()
        };
        write().map_err(|error| fault(&self.path, error))?;
        self.ban_log.first = self.ban_log.first.max(forgotten + 1);
        self.ban_log.reached = self.ban_log.reached.max(number);
        Ok(())
    }
}

/// Bans that stood; with their lines they are large, so they are read a part at a time.
#[derive(Debug)]
pub struct Standing {
    rows: std::vec::IntoIter<i64>,
}

impl Standing {
    /// The next bans; `None` where there are no more.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn part(&mut self, store: &Store) -> Result<Option<Vec<Ban>>, StoreError> {
        if self.rows.len() == 0 {
            return Ok(None);
        }
        let mut read = || -> rusqlite::Result<Vec<Ban>> {
            let mut row = store.db.prepare_cached("SELECT ban FROM standing WHERE rowid = ?")?;
            let rows = self.rows.by_ref().take(STANDING_PART);
            rows.map(|it| row.query_row([it], |row| parse(row.get_ref(0)?.as_str()?))).collect()
        };
        read().map(Some).map_err(|error| fault(&store.path, error))
    }
}

/// Who was banned before, as the judge asks it.
#[derive(Debug)]
pub struct Past {
    db: Connection,
}

impl Past {
    pub(super) fn of(uri: &str) -> rusqlite::Result<Self> {
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

/// Notes what happened to a ban; a new one gets the next number of the log.
pub(super) fn write(
    tx: &Transaction<'_>,
    record: &Record,
    ban_log: &mut BanLog,
) -> rusqlite::Result<()> {
    match record {
        Record::Banned(ban) => {
            let text = json(ban)?;
            tx.prepare_cached("INSERT INTO ban_log (ban) VALUES (?)")?.execute([&text])?;
            ban_log.last = tx.last_insert_rowid().cast_unsigned();
            count(tx, ban)?;
            stands(tx, ban, &text)
        }
        Record::Stands(ban) => stands(tx, ban, &json(ban)?),
        Record::Lifted { jail, subject } => {
            tx.prepare_cached("DELETE FROM standing WHERE jail = ? AND subject = ?")?
                .execute(params![jail, subject.to_string()])?;
            Ok(())
        }
    }
}

fn stands(tx: &Transaction<'_>, ban: &Ban, text: &str) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO standing (jail, subject, time, ban) VALUES (?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET time = excluded.time, ban = excluded.ban",
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
