//! The latest arrivals: what the live page shows, and what the overview ranks. Both look at a
//! bounded number of rows from the end, however many there are.

use rusqlite::Connection;

use super::StoreError;

/// A value that was reported or seen again.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// Epoch seconds.
    pub(crate) time: i64,
    pub(crate) value: String,
    /// A new attribute, and no sighting of a known one.
    pub(crate) is_new: bool,
    /// An attribute's comment, a sighting's source.
    pub(crate) text: String,
    /// The key that brought it.
    pub(crate) reporter: u32,
}

/// The latest `limit` new attributes and sightings, the last one first.
pub(crate) fn arrivals(db: &Connection, limit: i64) -> Result<Vec<Arrival>, StoreError> {
    let sql = "SELECT * FROM (
            SELECT attribute.timestamp, value1, 1, comment, creator FROM attribute
                JOIN event ON event.id = attribute.event
                WHERE deleted = 0 ORDER BY attribute.id DESC LIMIT ?1)
        UNION ALL SELECT * FROM (
            SELECT date, value1, 0, source, reporter FROM sighting
                JOIN attribute ON attribute.id = sighting.attribute
                WHERE sighting.type = 0 ORDER BY sighting.id DESC LIMIT ?1)
        ORDER BY 1 DESC LIMIT ?1";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map([limit], |row| {
        Ok(Arrival {
            time: row.get(0)?,
            value: row.get(1)?,
            is_new: row.get(2)?,
            text: row.get(3)?,
            reporter: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The values of the latest `limit` attributes that are addresses.
pub(crate) fn addresses(db: &Connection, limit: i64) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT value1 FROM attribute
        WHERE deleted = 0 AND type IN ('ip-src', 'ip-dst', 'ip-src|port', 'ip-dst|port')
        ORDER BY id DESC LIMIT ?";
    texts(db, sql, limit)
}

/// The sources of the latest `limit` sightings.
pub(crate) fn sources(db: &Connection, limit: i64) -> Result<Vec<String>, StoreError> {
    texts(db, "SELECT source FROM sighting WHERE type = 0 ORDER BY id DESC LIMIT ?", limit)
}

fn texts(db: &Connection, sql: &str, limit: i64) -> Result<Vec<String>, StoreError> {
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map([limit], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
