//! Attributes: rows, and what changes them.

use misp::value::Value;
use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::event::Name;
use super::{StoreError, change, daily};

/// Types that lists are made of.
const ADDRESSES: [&str; 4] = ["ip-src", "ip-dst", "ip-src|port", "ip-dst|port"];

/// An attribute as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Attribute {
    pub(crate) id: i64,
    pub(crate) event: i64,
    /// The object it is a part of; 0 when it stands alone.
    pub(crate) object: i64,
    /// As what it is a part of its object.
    pub(crate) relation: Option<String>,
    pub(crate) uuid: Uuid,
    pub(crate) kind: String,
    pub(crate) category: String,
    pub(crate) value: Value,
    pub(crate) comment: String,
    pub(crate) to_ids: bool,
    pub(crate) distribution: i64,
    pub(crate) deleted: bool,
    pub(crate) disable_correlation: bool,
    /// In microseconds since the epoch, as `last_seen`.
    pub(crate) first_seen: Option<i64>,
    pub(crate) last_seen: Option<i64>,
    pub(crate) timestamp: i64,
}

/// What keeps an attribute from being stored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Conflict {
    /// Another live attribute of the event says the same.
    pub(crate) similar: Option<i64>,
    /// The uuid is taken, perhaps by a deleted one.
    pub(crate) uuid: bool,
}

/// The columns of [`Attribute::read`], in its order.
pub(crate) const COLUMNS: &str = "attribute.id, attribute.event, attribute.uuid, attribute.type, \
    attribute.category, attribute.value1, attribute.value2, attribute.comment, attribute.to_ids, \
    attribute.distribution, attribute.deleted, attribute.disable_correlation, \
    attribute.first_seen, attribute.last_seen, attribute.timestamp, attribute.object, \
    attribute.relation";

/// How many columns [`COLUMNS`] names.
pub(crate) const N_COLUMNS: usize = 17;

impl Attribute {
    /// Reads the columns of [`COLUMNS`].
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            event: row.get(1)?,
            uuid: Uuid::from_bytes(row.get(2)?),
            kind: row.get(3)?,
            category: row.get(4)?,
            value: Value { first: row.get(5)?, second: row.get(6)? },
            comment: row.get(7)?,
            to_ids: row.get(8)?,
            distribution: row.get(9)?,
            deleted: row.get(10)?,
            disable_correlation: row.get(11)?,
            first_seen: row.get(12)?,
            last_seen: row.get(13)?,
            timestamp: row.get(14)?,
            object: row.get(15)?,
            relation: row.get(16)?,
        })
    }

    /// The attribute of that name, deleted or not.
    pub(crate) fn find(db: &Connection, name: Name) -> Result<Option<Self>, StoreError> {
        let found = match name {
            Name::Id(id) => db
                .prepare_cached(&format!("SELECT {COLUMNS} FROM attribute WHERE id = ?"))?
                .query_row([id], Self::read)
                .optional()?,
            Name::Uuid(uuid) => db
                .prepare_cached(&format!("SELECT {COLUMNS} FROM attribute WHERE uuid = ?"))?
                .query_row([uuid.as_bytes()], Self::read)
                .optional()?,
        };
        Ok(found)
    }

    /// What stands in the way of storing this one, itself excepted.
    pub(crate) fn conflict(&self, db: &Connection) -> Result<Conflict, StoreError> {
        let similar = db
            .prepare_cached(
                "SELECT id FROM attribute
                 WHERE event = ? AND value1 = ? AND value2 = ? AND type = ? AND category = ?
                     AND deleted = 0 AND object = 0 AND ? = 0 AND id != ?",
            )?
            .query_row(
                (
                    self.event,
                    &self.value.first,
                    &self.value.second,
                    &self.kind,
                    &self.category,
                    self.object,
                    self.id,
                ),
                |row| row.get(0),
            )
            .optional()?;
        let uuid = db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM attribute WHERE uuid = ? AND id != ?)")?
            .query_row((self.uuid.as_bytes(), self.id), |row| row.get(0))?;
        Ok(Conflict { similar, uuid })
    }

    /// Stores a new attribute under the next number, which is left in `id`; or tells what stands in
    /// the way.
    pub(crate) fn insert(&mut self, db: &Connection) -> Result<Conflict, StoreError> {
        // The index knows what is live; what is stored as deleted is compared here.
        if self.deleted {
            let conflict = self.conflict(db)?;
            if conflict != Conflict::default() {
                return Ok(conflict);
            }
        }
        let mut insert = db.prepare_cached(
            "INSERT INTO attribute (event, uuid, type, category, value1, value2, comment, to_ids,
                 distribution, disable_correlation, first_seen, last_seen, timestamp, deleted,
                 object, relation)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )?;
        let n_stored = insert.execute((
            self.event,
            self.uuid.as_bytes(),
            &self.kind,
            &self.category,
            &self.value.first,
            &self.value.second,
            &self.comment,
            self.to_ids,
            self.distribution,
            self.disable_correlation,
            self.first_seen,
            self.last_seen,
            self.timestamp,
            self.deleted,
            self.object,
            &self.relation,
        ))?;
        if n_stored == 0 {
            return self.conflict(db);
        }
        self.id = db.last_insert_rowid();
        if ADDRESSES.contains(&&*self.kind) {
            change::touch(db, &self.value.first)?;
        }
        daily::count_attribute(db, self.event, self.timestamp)?;
        Ok(Conflict::default())
    }

    /// Stores what a request may change.
    pub(crate) fn update(&self, db: &Connection) -> Result<(), StoreError> {
        db.prepare_cached(
            "UPDATE attribute SET type = ?, category = ?, value1 = ?, value2 = ?, comment = ?,
                 to_ids = ?, distribution = ?, deleted = ?, disable_correlation = ?,
                 first_seen = ?, last_seen = ?, timestamp = ?
             WHERE id = ?",
        )?
        .execute((
            &self.kind,
            &self.category,
            &self.value.first,
            &self.value.second,
            &self.comment,
            self.to_ids,
            self.distribution,
            self.deleted,
            self.disable_correlation,
            self.first_seen,
            self.last_seen,
            self.timestamp,
            self.id,
        ))?;
        Ok(())
    }

    /// Deletes the row: no trace stays.
    pub(crate) fn erase(&self, db: &Connection) -> Result<(), StoreError> {
        db.prepare_cached("DELETE FROM attribute WHERE id = ?")?.execute([self.id])?;
        Ok(())
    }
}

/// The attributes of an event, oldest first.
pub(crate) fn of_event(
    db: &Connection,
    event: i64,
    deleted_too: bool,
) -> Result<Vec<Attribute>, StoreError> {
    let mut query = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM attribute WHERE event = ? AND deleted IN (0, ?) ORDER BY id"
    ))?;
    let rows = query.query_map((event, deleted_too), Attribute::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
