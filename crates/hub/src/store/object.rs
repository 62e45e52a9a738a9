//! Objects: attributes that belong together, by a template.

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::StoreError;
use super::attribute::{self, Attribute};
use super::event::Name;

/// An object as it is stored; its parts are attributes.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) id: i64,
    pub(crate) event: i64,
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    pub(crate) meta_category: String,
    pub(crate) description: String,
    pub(crate) template_uuid: String,
    pub(crate) template_version: String,
    pub(crate) comment: String,
    pub(crate) distribution: i64,
    pub(crate) deleted: bool,
    /// In microseconds since the epoch, as `last_seen`.
    pub(crate) first_seen: Option<i64>,
    pub(crate) last_seen: Option<i64>,
    pub(crate) timestamp: i64,
}

const COLUMNS: &str = "id, event, uuid, name, meta_category, description, template_uuid, \
    template_version, comment, distribution, deleted, first_seen, last_seen, timestamp";

impl Object {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            event: row.get(1)?,
            uuid: Uuid::from_bytes(row.get(2)?),
            name: row.get(3)?,
            meta_category: row.get(4)?,
            description: row.get(5)?,
            template_uuid: row.get(6)?,
            template_version: row.get(7)?,
            comment: row.get(8)?,
            distribution: row.get(9)?,
            deleted: row.get(10)?,
            first_seen: row.get(11)?,
            last_seen: row.get(12)?,
            timestamp: row.get(13)?,
        })
    }

    /// The object of that name, deleted or not.
    pub(crate) fn find(db: &Connection, name: Name) -> Result<Option<Self>, StoreError> {
        let found = match name {
            Name::Id(id) => db
                .prepare_cached(&format!("SELECT {COLUMNS} FROM object WHERE id = ?"))?
                .query_row([id], Self::read)
                .optional()?,
            Name::Uuid(uuid) => db
                .prepare_cached(&format!("SELECT {COLUMNS} FROM object WHERE uuid = ?"))?
                .query_row([uuid.as_bytes()], Self::read)
                .optional()?,
        };
        Ok(found)
    }

    /// Stores a new object under the next number, which is left in `id`.
    pub(crate) fn insert(&mut self, db: &Connection) -> Result<(), StoreError> {
        db.prepare_cached(
            "INSERT INTO object (event, uuid, name, meta_category, description, template_uuid,
                 template_version, comment, distribution, deleted, first_seen, last_seen, timestamp)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            self.event,
            self.uuid.as_bytes(),
            &self.name,
            &self.meta_category,
            &self.description,
            &self.template_uuid,
            &self.template_version,
            &self.comment,
            self.distribution,
            self.deleted,
            self.first_seen,
            self.last_seen,
            self.timestamp,
        ))?;
        self.id = db.last_insert_rowid();
        Ok(())
    }

    /// Deletes the object, and what is still live of its parts; tells how many those were.
    pub(crate) fn delete(&self, db: &Connection, now: i64) -> Result<i64, StoreError> {
        db.execute("UPDATE object SET deleted = 1, timestamp = ? WHERE id = ?", (now, self.id))?;
        let sql =
            "UPDATE attribute SET deleted = 1, timestamp = ? WHERE object = ? AND deleted = 0";
        let n_parts = db.execute(sql, (now, self.id))?;
        Ok(i64::try_from(n_parts).unwrap_or(i64::MAX))
    }

    /// Deletes the row, and the parts that were stored: they were never answered for.
    pub(crate) fn erase(&self, db: &Connection) -> Result<(), StoreError> {
        db.execute("DELETE FROM attribute WHERE object = ? AND object != 0", [self.id])?;
        db.execute("DELETE FROM object WHERE id = ?", [self.id])?;
        Ok(())
    }

    /// The parts of the object, oldest first.
    pub(crate) fn parts(&self, db: &Connection) -> Result<Vec<Attribute>, StoreError> {
        let columns = attribute::COLUMNS;
        let sql =
            format!("SELECT {columns} FROM attribute WHERE object = ? AND object != 0 ORDER BY id");
        let mut query = db.prepare_cached(&sql)?;
        let rows = query.query_map([self.id], Attribute::read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// The objects of an event, oldest first.
pub(crate) fn of_event(
    db: &Connection,
    event: i64,
    deleted_too: bool,
) -> Result<Vec<Object>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM object WHERE event = ? AND deleted <= ? ORDER BY id");
    let mut query = db.prepare_cached(&sql)?;
    let rows = query.query_map((event, deleted_too), Object::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
