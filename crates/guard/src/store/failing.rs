//! Failures that are no ban yet: they go into the transaction that says how far the logs were read,
//! so that after a crash everybody's count goes on where it was.

use jail::Subject;
use jail::judge::Ticket;
use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};

use super::{Failing, Store, StoreError, fault, json, parse};

/// Tickets that are kept; past it, those that fell silent first are forgotten. The judge of a jail
/// holds no more either.
const MAX_TICKETS: u32 = 100_000;

pub(super) const SCHEMA: &str = "
    CREATE TABLE failing (
      jail TEXT NOT NULL, subject TEXT NOT NULL, until INTEGER NOT NULL, ticket TEXT NOT NULL,
      PRIMARY KEY (jail, subject)
    ) STRICT, WITHOUT ROWID;";

impl Store {
    /// Who was failing when the last life ended, with the jail that counts it.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn failing(&self, now: Timestamp) -> Result<Vec<(String, Subject, Ticket)>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut rows = self
                .db
                .prepare("SELECT jail, subject, ticket FROM failing WHERE until > ? LIMIT ?")?;
            let failing = rows.query_map(params![now.as_second(), MAX_TICKETS], |row| {
                let subject: String = row.get(1)?;
                Ok((row.get(0)?, subject.into(), parse(&row.get::<_, String>(2)?)?))
            })?;
            failing.collect()
        };
        read().map_err(|error| fault(&self.path, error))
    }
}

/// Writes whose failures changed, in the order of the table: its pages are more than SQLite keeps in
/// memory, and each is written once so.
pub(super) fn write<'t>(
    tx: &Transaction<'_>,
    changed: impl IntoIterator<Item = Failing<'t>>,
) -> rusqlite::Result<()> {
    let mut changed: Vec<_> =
        changed.into_iter().map(|it| (it.jail, it.subject.to_string(), it.ticket)).collect();
    changed.sort_unstable_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    let mut keep = tx.prepare_cached(
        "INSERT INTO failing VALUES (?, ?, ?3, ?4)
         ON CONFLICT DO UPDATE SET until = ?3, ticket = ?4",
    )?;
    let mut forget = tx.prepare_cached("DELETE FROM failing WHERE jail = ? AND subject = ?")?;
    for (jail, subject, ticket) in changed {
        match ticket {
            Some((ticket, until)) => {
                keep.execute(params![jail, subject, until.as_second(), json(ticket)?])?
            }
            None => forget.execute(params![jail, subject])?,
        };
    }
    Ok(())
}

/// Forgets whose failures count no more, and who are too many.
pub(super) fn purge(db: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    db.execute("DELETE FROM failing WHERE until <= ?", [now.as_second()])?;
    db.execute(
        "DELETE FROM failing WHERE until <
           (SELECT until FROM failing ORDER BY until DESC LIMIT 1 OFFSET ?)",
        [MAX_TICKETS],
    )?;
    Ok(())
}
