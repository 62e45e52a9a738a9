//! Tags, and what carries them.

use std::collections::HashMap;

use ring::digest;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{StoreError, change};

/// A tag as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) colour: String,
}

/// A tag that something carries.
#[derive(Clone, Debug)]
pub(crate) struct Attached {
    /// The number of the attachment, not of the tag.
    pub(crate) id: i64,
    pub(crate) tag: Tag,
    /// For this hub alone: it does not travel.
    pub(crate) local: bool,
}

/// What can carry a tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Carrier {
    Event(i64),
    Attribute(i64),
}

impl Carrier {
    const fn table(self) -> (&'static str, &'static str, i64) {
        match self {
            Self::Event(id) => ("event_tag", "event", id),
            Self::Attribute(id) => ("attribute_tag", "attribute", id),
        }
    }
}

impl Tag {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, name: row.get(1)?, colour: row.get(2)? })
    }

    /// The tag of that number, or of that name.
    pub(crate) fn find(db: &Connection, text: &str) -> Result<Option<Self>, StoreError> {
        let by_name = Self::named(db, text)?;
        match (by_name, text.parse::<i64>()) {
            (Some(tag), _) => Ok(Some(tag)),
            (None, Ok(id)) => Ok(db
                .prepare_cached("SELECT id, name, colour FROM tag WHERE id = ?")?
                .query_row([id], Self::read)
                .optional()?),
            (None, Err(_)) => Ok(None),
        }
    }

    /// The tag of that name.
    pub(crate) fn named(db: &Connection, name: &str) -> Result<Option<Self>, StoreError> {
        Ok(db
            .prepare_cached("SELECT id, name, colour FROM tag WHERE name = ?")?
            .query_row([name], Self::read)
            .optional()?)
    }

    /// The tag of that name, made where there is none.
    pub(crate) fn ensure(
        db: &Connection,
        name: &str,
        colour: Option<&str>,
    ) -> Result<Self, StoreError> {
        if let Some(tag) = Self::named(db, name)? {
            return Ok(tag);
        }
        let colour = colour.map_or_else(|| colour_of(name), str::to_owned);
        db.prepare_cached("INSERT INTO tag (name, colour) VALUES (?, ?)")?
            .execute((name, &colour))?;
        Ok(Self { id: db.last_insert_rowid(), name: name.to_owned(), colour })
    }

    /// Attaches the tag; `false` when it is attached already.
    pub(crate) fn attach(
        &self,
        db: &Connection,
        to: Carrier,
        local: bool,
    ) -> Result<bool, StoreError> {
        let (table, column, id) = to.table();
        let n_attached = db
            .prepare_cached(&format!(
                "INSERT INTO {table} ({column}, tag, local) VALUES (?, ?, ?)
                 ON CONFLICT ({column}, tag) DO NOTHING"
            ))?
            .execute((id, self.id, local))?;
        if n_attached > 0 && matches!(to, Carrier::Attribute(_)) {
            change::touch_attribute(db, id)?;
        }
        Ok(n_attached > 0)
    }

    /// Takes the tag off; `None` when it was not attached, else whether it was local.
    pub(crate) fn detach(
        &self,
        db: &Connection,
        from: Carrier,
    ) -> Result<Option<bool>, StoreError> {
        let (table, column, id) = from.table();
        Ok(db
            .prepare_cached(&format!(
                "DELETE FROM {table} WHERE {column} = ? AND tag = ? RETURNING local"
            ))?
            .query_row((id, self.id), |row| row.get(0))
            .optional()?)
    }
}

/// A colour that is always the same for the same name.
fn colour_of(name: &str) -> String {
    let digest = digest::digest(&digest::SHA256, name.as_bytes());
    let bytes = digest.as_ref();
    format!("#{:02x}{:02x}{:02x}", bytes[0], bytes[1], bytes[2])
}

/// What `carrier` carries, in the order of attachment.
pub(crate) fn of(db: &Connection, carrier: Carrier) -> Result<Vec<Attached>, StoreError> {
    let (table, column, id) = carrier.table();
    let mut query = db.prepare_cached(&format!(
        "SELECT tag.id, tag.name, tag.colour, {table}.id, {table}.local
         FROM {table} JOIN tag ON tag.id = {table}.tag
         WHERE {table}.{column} = ? ORDER BY {table}.id"
    ))?;
    let read =
        |row: &Row<'_>| Ok(Attached { tag: Tag::read(row)?, id: row.get(3)?, local: row.get(4)? });
    let rows = query.query_map([id], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What the attributes of an event carry, by attribute.
pub(crate) fn of_attributes(
    db: &Connection,
    event: i64,
) -> Result<HashMap<i64, Vec<Attached>>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT tag.id, tag.name, tag.colour, attribute_tag.id, attribute_tag.local,
             attribute_tag.attribute
         FROM attribute_tag
         JOIN attribute ON attribute.id = attribute_tag.attribute
         JOIN tag ON tag.id = attribute_tag.tag
         WHERE attribute.event = ? ORDER BY attribute_tag.id",
    )?;
    let mut carried: HashMap<i64, Vec<Attached>> = HashMap::new();
    let mut rows = query.query([event])?;
    while let Some(row) = rows.next()? {
        let attached = Attached { tag: Tag::read(row)?, id: row.get(3)?, local: row.get(4)? };
        carried.entry(row.get(5)?).or_default().push(attached);
    }
    Ok(carried)
}

/// Each tag whose name is `name`, where `%` stands for anything; newest first, with how many events and attributes carry it.
pub(crate) fn list(db: &Connection, name: &str) -> Result<Vec<(Tag, i64, i64)>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT tag.id, tag.name, tag.colour,
             (SELECT count(*) FROM event_tag WHERE event_tag.tag = tag.id),
             (SELECT count(*) FROM attribute_tag WHERE attribute_tag.tag = tag.id)
         FROM tag WHERE tag.name = ?1 OR (instr(?1, '%') > 0 AND tag.name LIKE ?1) ORDER BY tag.id DESC",
    )?;
    let rows = query.query_map([name], |row| Ok((Tag::read(row)?, row.get(3)?, row.get(4)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
