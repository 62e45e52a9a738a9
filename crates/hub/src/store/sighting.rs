//! Sightings: who saw an attribute, and when.

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::{StoreError, change, daily, event};

/// A sighting as it is stored, with the event of its attribute.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) id: i64,
    pub(crate) uuid: Uuid,
    pub(crate) attribute: i64,
    pub(crate) attribute_uuid: Uuid,
    pub(crate) event: i64,
    /// 0 seen, 1 false positive, 2 expired.
    pub(crate) kind: i64,
    pub(crate) source: String,
    pub(crate) date: i64,
    /// The key that brought it.
    pub(crate) reporter: u32,
}

/// The columns of [`Sighting::read`], in its order; of `sighting` joined with `attribute`.
pub(crate) const COLUMNS: &str = "sighting.id, sighting.uuid, sighting.attribute, \
    attribute.uuid, attribute.event, sighting.type, sighting.source, sighting.date, \
    sighting.reporter";

impl Sighting {
    /// Reads the columns of [`COLUMNS`].
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            uuid: Uuid::from_bytes(row.get(1)?),
            attribute: row.get(2)?,
            attribute_uuid: Uuid::from_bytes(row.get(3)?),
            event: row.get(4)?,
            kind: row.get(5)?,
            source: row.get(6)?,
            date: row.get(7)?,
            reporter: row.get(8)?,
        })
    }

    /// Stores a new sighting under the next number, which is left in `id`; `false` when its uuid
    /// is there already.
    pub(crate) fn insert(&mut self, db: &Connection) -> Result<bool, StoreError> {
        let n_stored = db
            .prepare_cached(
                "INSERT INTO sighting (uuid, attribute, type, source, date, reporter)
                 VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (uuid) DO NOTHING",
            )?
            .execute((
                self.uuid.as_bytes(),
                self.attribute,
                self.kind,
                &self.source,
                self.date,
                self.reporter,
            ))?;
        self.id = db.last_insert_rowid();
        if n_stored > 0 {
            change::touch_attribute(db, self.attribute)?;
            if self.kind == 0 {
                daily::count_sighting(db, self.reporter, self.date)?;
            }
        }
        db.prepare_cached(
            "UPDATE event SET sighting_timestamp = max(sighting_timestamp, ?) WHERE id = ?",
        )?
        .execute((self.date, self.event))?;
        Ok(n_stored > 0)
    }

    /// The sighting numbered `id`.
    pub(crate) fn find(db: &Connection, id: i64) -> Result<Option<Self>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM sighting JOIN attribute ON attribute.id = sighting.attribute
             WHERE sighting.id = ?"
        );
        Ok(db.prepare_cached(&sql)?.query_row([id], Self::read).optional()?)
    }

    /// Deletes it.
    pub(crate) fn erase(&self, db: &Connection) -> Result<(), StoreError> {
        db.execute("DELETE FROM sighting WHERE id = ?", [self.id])?;
        Ok(())
    }
}

/// Which sightings are wanted; an empty list or `None` asks nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) attribute: Option<i64>,
    pub(crate) event: Option<i64>,
    pub(crate) kinds: Vec<i64>,
    pub(crate) source: Option<String>,
    /// First and last second.
    pub(crate) dates: Option<(i64, i64)>,
}

/// The sightings that are wanted, oldest first.
pub(crate) fn list(db: &Connection, wanted: &Wanted) -> Result<Vec<Sighting>, StoreError> {
    let mut sql = format!(
        "SELECT {COLUMNS} FROM sighting JOIN attribute ON attribute.id = sighting.attribute
         WHERE 1"
    );
    let mut values: Vec<&dyn ToSql> = Vec::new();
    if let Some(attribute) = &wanted.attribute {
        sql += " AND sighting.attribute = ?";
        values.push(attribute);
    }
    if let Some(event) = &wanted.event {
        sql += " AND attribute.event = ?";
        values.push(event);
    }
    if let Some(source) = &wanted.source {
        sql += " AND sighting.source = ?";
        values.push(source);
    }
    if let Some((first, last)) = &wanted.dates {
        sql += " AND sighting.date BETWEEN ? AND ?";
        values.push(first);
        values.push(last);
    }
    if !wanted.kinds.is_empty() {
        sql += " AND sighting.type IN (";
        for (place, kind) in wanted.kinds.iter().enumerate() {
            sql += if place == 0 { "?" } else { ", ?" };
            values.push(kind);
        }
        sql += ")";
    }
    sql += " ORDER BY sighting.id";
    let mut query = db.prepare_cached(&sql)?;
    let rows = query.query_map(values.as_slice(), Sighting::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether the holder of key `key` made the event that the attribute belongs to.
pub(crate) fn is_own(db: &Connection, event: i64, key: u32) -> Result<bool, StoreError> {
    let found = event::Event::find(db, event::Name::Id(event))?;
    Ok(found.is_some_and(|it| it.creator == key))
}
