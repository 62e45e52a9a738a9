//! What hosts brought, in the order in which it came, for a relay that tells it on.
//!
//! Triggers write it down, in the transaction that stores it, and only while a relay wants it. What
//! another relay brought is not among it: a report goes from hub to hub once, and never in a circle.

use jiff::Timestamp;
use rusqlite::Connection;

use super::{StoreError, listed};

/// Rows that are looked at together.
const MAX_LOOK: u32 = 1_000;

/// What makes a hub write down what is brought.
const BEGIN: &str = "
    CREATE TRIGGER IF NOT EXISTS attribute_brought AFTER INSERT ON attribute
    WHEN NEW.type IN ('ip-src', 'ip-src|port') AND NOT EXISTS (
        SELECT 1 FROM relay_key JOIN event ON event.creator = key WHERE event.id = NEW.event)
    BEGIN
        INSERT INTO brought (attribute) VALUES (NEW.id);
    END;
    CREATE TRIGGER IF NOT EXISTS sighting_brought AFTER INSERT ON sighting
    WHEN NEW.type IN (0, 1) AND NEW.reporter NOT IN (SELECT key FROM relay_key)
    BEGIN
        INSERT INTO brought (attribute, sighting) VALUES (NEW.attribute, NEW.id);
    END;";

/// What ends that: nobody would ever clear the table.
const END: &str = "
    DROP TRIGGER IF EXISTS attribute_brought;
    DROP TRIGGER IF EXISTS sighting_brought;
    DELETE FROM brought;";

/// Something that was brought.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Brought {
    pub(crate) value: String,
    pub(crate) is_false_positive: bool,
    /// The key that brought it.
    pub(crate) reporter: u32,
    /// The event that it is in.
    pub(crate) event: i64,
    pub(crate) time: Timestamp,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

/// Writes down what is brought from now on, or no more.
pub(crate) fn keep(db: &Connection, is_wanted: bool) -> Result<(), StoreError> {
    Ok(db.execute_batch(if is_wanted { BEGIN } else { END })?)
}

/// What was brought after `number`, as far as it was looked at; the second is the last number.
/// What is not for detection any more is left out, and a false positive that is but a vote.
pub(crate) fn since(
    db: &Connection,
    number: u64,
    limit: u32,
    curators: &[u32],
) -> Result<(Vec<Brought>, u64), StoreError> {
    let sql = "
        SELECT number, value1, event, to_ids AND NOT deleted, sighting.type,
            coalesce(sighting.reporter, event.creator),
            coalesce(sighting.date * 1000000, last_seen, attribute.timestamp * 1000000),
            coalesce(first_seen, attribute.timestamp * 1000000),
            coalesce(last_seen, attribute.timestamp * 1000000)
        FROM brought JOIN attribute ON attribute.id = brought.attribute
        JOIN event ON event.id = attribute.event
        LEFT JOIN sighting ON sighting.id = brought.sighting
        WHERE number > ? AND (brought.sighting IS NULL OR sighting.id IS NOT NULL)
        ORDER BY number LIMIT ?";
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query((number.cast_signed(), limit.min(MAX_LOOK)))?;
    let (mut found, mut last) = (Vec::new(), number);
    while let Some(row) = rows.next()? {
        last = row.get::<_, i64>(0)?.cast_unsigned();
        let value: String = row.get(1)?;
        let is_false_positive = row.get::<_, Option<i64>>(4)? == Some(1);
        let is_told = match is_false_positive {
            true => is_denied(db, &value, curators)?,
            false => row.get(3)?,
        };
        if is_told {
            let time = |column| row.get(column).map(moment);
            found.push(Brought {
                value,
                is_false_positive,
                event: row.get(2)?,
                reporter: row.get(5)?,
                time: time(6)?,
                first: time(7)?,
                last: time(8)?,
            });
        }
    }
    Ok((found, last))
}

/// Whether nobody lists `value` any more: it was withdrawn, or whoever reported it took it back.
fn is_denied(db: &Connection, value: &str, curators: &[u32]) -> Result<bool, StoreError> {
    let sql = "SELECT NOT EXISTS (
        SELECT 1 FROM attribute WHERE value1 = ? AND deleted = 0 AND to_ids = 1)";
    let is_taken_back = db.prepare_cached(sql)?.query_row([value], |row| row.get(0))?;
    let this = serde_json::to_string(&[value]).expect("texts become JSON");
    Ok(is_taken_back || !listed::withdrawn(db, &this, curators)?.is_empty())
}

/// Forgets what was brought up to `number`.
pub(crate) fn forget(db: &Connection, number: u64) -> Result<(), StoreError> {
    let sql = "DELETE FROM brought WHERE number <= ?";
    db.prepare_cached(sql)?.execute([number.cast_signed()])?;
    Ok(())
}

/// Remembers that a relay writes with `key`.
pub(crate) fn know_relay(db: &Connection, key: u32) -> Result<(), StoreError> {
    db.prepare_cached("INSERT OR IGNORE INTO relay_key VALUES (?)")?.execute([key])?;
    Ok(())
}

/// Whether a relay is known to write with `key`.
pub(crate) fn is_relay(db: &Connection, key: u32) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM relay_key WHERE key = ?)";
    Ok(db.prepare_cached(sql)?.query_row([key], |row| row.get(0))?)
}

fn moment(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}
