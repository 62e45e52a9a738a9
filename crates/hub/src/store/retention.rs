//! Forgetting what is old.

use rusqlite::Connection;

use super::StoreError;

/// Forgets attributes that neither changed nor were sighted since `before` (epoch seconds), objects
/// that are empty then, and older sightings of the others; at most `most` of each. Says how many
/// attributes or sightings went: less than `most` when nothing old is left.
///
/// Events stay: a host may report to one for years.
pub(crate) fn forget(db: &Connection, before: i64, most: u16) -> Result<usize, StoreError> {
    db.execute_batch(
        "CREATE TEMP TABLE IF NOT EXISTS old (id INTEGER PRIMARY KEY, event INTEGER NOT NULL);
         DELETE FROM temp.old;",
    )?;
    db.execute(
        "INSERT INTO temp.old SELECT id, event FROM attribute
         WHERE timestamp < ?1 AND NOT EXISTS
             (SELECT 1 FROM sighting WHERE attribute = attribute.id AND date >= ?1)
         LIMIT ?2",
        (before, most),
    )?;
    let n_attributes =
        db.execute("DELETE FROM attribute WHERE id IN (SELECT id FROM temp.old)", [])?;
    db.execute(
        "UPDATE event SET n_attributes =
             (SELECT count(*) FROM attribute WHERE event = event.id AND deleted = 0)
         WHERE id IN (SELECT event FROM temp.old)",
        [],
    )?;
    db.execute(
        "DELETE FROM object WHERE timestamp < ?1 AND event IN (SELECT event FROM temp.old)
             AND NOT EXISTS (SELECT 1 FROM attribute WHERE attribute.object = object.id)",
        [before],
    )?;
    let n_sightings = db.execute(
        "DELETE FROM sighting WHERE id IN (SELECT id FROM sighting WHERE date < ?1 LIMIT ?2)",
        (before, most),
    )?;
    Ok(n_attributes.max(n_sightings))
}
