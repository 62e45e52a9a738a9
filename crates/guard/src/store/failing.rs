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
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX failing_until ON failing (until);";

impl Store {
    /// Who was failing when the last life ended, with the jail that counts it.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn failing(&self, now: Timestamp) -> Result<Vec<(String, Subject, Ticket)>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut rows = self.db.prepare(
                "SELECT jail, subject, ticket FROM failing WHERE until > ?
                 ORDER BY until DESC LIMIT ?",
            )?;
            let failing = rows.query_map(params![now.as_second(), MAX_TICKETS], |row| {
                let subject: String = row.get(1)?;
                Ok((row.get(0)?, subject.into(), parse(&row.get::<_, String>(2)?)?))
            })?;
            failing.collect()
        };
        read().map_err(|error| fault(&self.path, error))
    }
}

pub(super) fn write(tx: &Transaction<'_>, failing: &Failing) -> rusqlite::Result<()> {
    let Failing { jail, subject, ticket } = failing;
    match ticket {
        Some((ticket, until)) => tx
            .prepare_cached("INSERT OR REPLACE INTO failing VALUES (?, ?, ?, ?)")?
            .execute(params![jail, subject.to_string(), until.as_second(), json(ticket)?])?,
        None => tx
            .prepare_cached("DELETE FROM failing WHERE jail = ? AND subject = ?")?
            .execute(params![jail, subject.to_string()])?,
    };
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
