//! What came on which day, and from whom: counted as it comes, so that nobody waits for a sum over
//! a million rows.

use rusqlite::Connection;

use super::StoreError;

/// What one key brought since a day.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Brought {
    /// The key.
    pub(crate) reporter: u32,
    pub(crate) n_attributes: i64,
    pub(crate) n_sightings: i64,
    /// Epoch seconds of the last of them.
    pub(crate) last: i64,
}

/// Counts a new attribute of `event` for the key that made the event.
pub(crate) fn count_attribute(db: &Connection, event: i64, time: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO daily
        VALUES (?1 / 86400, (SELECT creator FROM event WHERE id = ?2), 1, 0, ?1)
        ON CONFLICT (day, reporter) DO UPDATE
            SET n_attributes = n_attributes + 1, last = max(last, excluded.last)";
    db.prepare_cached(sql)?.execute((time, event))?;
    Ok(())
}

/// Counts a new sighting by the key `reporter`.
pub(crate) fn count_sighting(db: &Connection, reporter: u32, time: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO daily VALUES (?1 / 86400, ?2, 0, 1, ?1)
        ON CONFLICT (day, reporter) DO UPDATE
            SET n_sightings = n_sightings + 1, last = max(last, excluded.last)";
    db.prepare_cached(sql)?.execute((time, reporter))?;
    Ok(())
}

/// Day (since 1970), new attributes and sightings, from the day `since` on, the oldest first.
pub(crate) fn days(db: &Connection, since: i64) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    let sql = "SELECT day, sum(n_attributes), sum(n_sightings) FROM daily
        WHERE day >= ? GROUP BY day ORDER BY day";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map([since], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What each key brought from the day `since` on, the last one heard of first.
pub(crate) fn reporters(db: &Connection, since: i64) -> Result<Vec<Brought>, StoreError> {
    let sql = "SELECT reporter, sum(n_attributes), sum(n_sightings), max(last) FROM daily
        WHERE day >= ? GROUP BY reporter ORDER BY max(last) DESC";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map([since], |row| {
        Ok(Brought {
            reporter: row.get(0)?,
            n_attributes: row.get(1)?,
            n_sightings: row.get(2)?,
            last: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
