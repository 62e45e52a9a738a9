//! Events: rows, and what changes them.

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::StoreError;

/// An event as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: i64,
    pub(crate) uuid: Uuid,
    pub(crate) info: String,
    pub(crate) date: String,
    pub(crate) threat_level: i64,
    pub(crate) analysis: i64,
    pub(crate) distribution: i64,
    pub(crate) published: bool,
    pub(crate) timestamp: i64,
    pub(crate) publish_timestamp: i64,
    pub(crate) sighting_timestamp: i64,
    pub(crate) disable_correlation: bool,
    pub(crate) extends_uuid: String,
    /// Attributes that are not deleted.
    pub(crate) n_attributes: i64,
    /// The key that made it.
    pub(crate) creator: u32,
    pub(crate) creator_email: String,
}

/// How a request names an event or an attribute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Name {
    Id(i64),
    Uuid(Uuid),
}

impl Name {
    /// Reads a number or a uuid; anything else names nothing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(id) => Some(Self::Id(id)),
            Err(_) => Uuid::try_parse(text).ok().map(Self::Uuid),
        }
    }
}

/// The columns of [`Event::read`], in its order.
pub(crate) const COLUMNS: &str = "event.id, event.uuid, event.info, event.date, \
    event.threat_level, event.analysis, event.distribution, event.published, event.timestamp, \
    event.publish_timestamp, event.sighting_timestamp, event.disable_correlation, \
    event.extends_uuid, event.n_attributes, event.creator, event.creator_email";

impl Event {
    /// Reads the columns of [`COLUMNS`].
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            uuid: Uuid::from_bytes(row.get(1)?),
            info: row.get(2)?,
            date: row.get(3)?,
            threat_level: row.get(4)?,
            analysis: row.get(5)?,
            distribution: row.get(6)?,
            published: row.get(7)?,
            timestamp: row.get(8)?,
            publish_timestamp: row.get(9)?,
            sighting_timestamp: row.get(10)?,
            disable_correlation: row.get(11)?,
            extends_uuid: row.get(12)?,
            n_attributes: row.get(13)?,
            creator: row.get(14)?,
            creator_email: row.get(15)?,
        })
    }

    /// The event of that name, if there is one.
    pub(crate) fn find(db: &Connection, name: Name) -> Result<Option<Self>, StoreError> {
        let found = match name {
            Name::Id(id) => db
                .prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE id = ?"))?
                .query_row([id], Self::read)
                .optional()?,
            Name::Uuid(uuid) => db
                .prepare_cached(&format!("SELECT {COLUMNS} FROM event WHERE uuid = ?"))?
                .query_row([uuid.as_bytes()], Self::read)
                .optional()?,
        };
        Ok(found)
    }

    /// Stores a new event under the next number, which is left in `id`.
    pub(crate) fn insert(&mut self, db: &Connection) -> Result<(), StoreError> {
        db.prepare_cached(
            "INSERT INTO event (uuid, info, date, threat_level, analysis, distribution, published,
                 timestamp, publish_timestamp, disable_correlation, extends_uuid, creator,
                 creator_email)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            self.uuid.as_bytes(),
            &self.info,
            &self.date,
            self.threat_level,
            self.analysis,
            self.distribution,
            self.published,
            self.timestamp,
            self.publish_timestamp,
            self.disable_correlation,
            &self.extends_uuid,
            self.creator,
            &self.creator_email,
        ))?;
        self.id = db.last_insert_rowid();
        Ok(())
    }

    /// Stores what a request may change.
    pub(crate) fn update(&self, db: &Connection) -> Result<(), StoreError> {
        db.prepare_cached(
            "UPDATE event SET info = ?, date = ?, threat_level = ?, analysis = ?,
                 distribution = ?, published = ?, timestamp = ?, publish_timestamp = ?,
                 disable_correlation = ?, extends_uuid = ?
             WHERE id = ?",
        )?
        .execute((
            &self.info,
            &self.date,
            self.threat_level,
            self.analysis,
            self.distribution,
            self.published,
            self.timestamp,
            self.publish_timestamp,
            self.disable_correlation,
            &self.extends_uuid,
            self.id,
        ))?;
        Ok(())
    }

    /// Deletes the event with all it holds; its uuid cannot come back.
    pub(crate) fn delete(&self, db: &Connection, now: i64) -> Result<(), StoreError> {
        db.execute("DELETE FROM event WHERE id = ?", [self.id])?;
        db.execute(
            "INSERT OR REPLACE INTO blocked_event (uuid, deleted) VALUES (?, ?)",
            (self.uuid.as_bytes(), now),
        )?;
        Ok(())
    }
}

/// Whether an event of that uuid was deleted here.
pub(crate) fn is_blocked(db: &Connection, uuid: Uuid) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM blocked_event WHERE uuid = ?)";
    Ok(db.prepare_cached(sql)?.query_row([uuid.as_bytes()], |row| row.get(0))?)
}

/// Notes that what an event holds has changed: it is newer, and no longer as it was published.
pub(crate) fn touch(db: &Connection, id: i64, now: i64, added: i64) -> Result<(), StoreError> {
    db.prepare_cached(
        "UPDATE event SET timestamp = max(timestamp, ?), published = 0,
             n_attributes = n_attributes + ?
         WHERE id = ?",
    )?
    .execute((now, added, id))?;
    Ok(())
}
