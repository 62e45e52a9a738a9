//! What MISP is known to hold: our events, their attributes, the last sightings.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use uuid::Uuid;

use super::outbox::Accepted;
use super::{Changes, Store, StoreError, time, uuid};

/// An event that we write to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct EventRow {
    pub(crate) id: i64,
    /// Empty for a fixed event.
    pub(crate) period: String,
    pub(crate) number: u32,
    pub(crate) uuid: Uuid,
    /// Whether MISP is known to hold it.
    pub(crate) is_made: bool,
    pub(crate) n_attributes: u64,
    /// When it is to be published; `None` where nothing changed since it was.
    pub(crate) publish_at: Option<Timestamp>,
    /// Whether it was published before our change.
    pub(crate) was_published: bool,
}

/// An attribute that MISP is known to hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Known {
    pub(crate) event: i64,
    pub(crate) event_uuid: Uuid,
    pub(crate) uuid: Uuid,
    /// When it was last seen, as far as MISP was told.
    pub(crate) last_seen: Timestamp,
    /// An analyst deleted it: that is settled.
    pub(crate) is_deleted: bool,
}

const COLUMNS: &str = "id, period, number, uuid, is_made, n_attributes, publish_at, was_published";

impl Store {
    /// The newest event of a period that is not closed.
    pub(crate) fn event(
        &self,
        destination: i64,
        period: &str,
    ) -> Result<Option<EventRow>, StoreError> {
        self.look(|db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM events
                 WHERE destination = ?1 AND period = ?2 AND is_closed = 0
                 ORDER BY number DESC LIMIT 1"
            ))?
            .query_row(params![destination, period], row)
            .optional()
        })
    }

    /// An event by its number here.
    pub(crate) fn event_numbered(&self, id: i64) -> Result<Option<EventRow>, StoreError> {
        self.look(|db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE id = ?1"))?
                .query_row([id], row)
                .optional()
        })
    }

    /// The next event of a destination that is to be published.
    pub(crate) fn next_publish(&self, destination: i64) -> Result<Option<EventRow>, StoreError> {
        self.look(|db| {
            db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM events
                 WHERE destination = ?1 AND publish_at IS NOT NULL ORDER BY publish_at LIMIT 1"
            ))?
            .query_row([destination], row)
            .optional()
        })
    }

    /// Where a value is known, in an event of `since` or a later period; the newest such.
    pub(crate) fn known(
        &self,
        destination: i64,
        value: &str,
        since: &str,
    ) -> Result<Option<Known>, StoreError> {
        self.look(|db| {
            db.prepare_cached(
                "SELECT e.id, e.uuid, a.uuid, a.last_seen, a.is_deleted
                 FROM attributes a JOIN events e ON e.id = a.event
                 WHERE a.value = ?2 AND e.destination = ?1 AND e.period >= ?3
                 ORDER BY e.period DESC, e.number DESC LIMIT 1",
            )?
            .query_row(params![destination, value, since], known)
            .optional()
        })
    }

    /// Everywhere that a value is known.
    pub(crate) fn known_anywhere(
        &self,
        destination: i64,
        value: &str,
    ) -> Result<Vec<Known>, StoreError> {
        self.look(|db| {
            db.prepare_cached(
                "SELECT e.id, e.uuid, a.uuid, a.last_seen, a.is_deleted
                 FROM attributes a JOIN events e ON e.id = a.event
                 WHERE a.value = ?2 AND e.destination = ?1",
            )?
            .query_map(params![destination, value], known)?
            .collect()
        })
    }

    /// When a jail last sighted a value in an event.
    pub(crate) fn last_sighted(
        &self,
        event: i64,
        value: &str,
        jail: &str,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.look(|db| {
            db.prepare_cached(
                "SELECT time FROM sighted WHERE value = ?1 AND event = ?2 AND jail = ?3",
            )?
            .query_row(params![value, event, jail], |row| time(row, 0))
            .optional()
            .map(Option::flatten)
        })
    }
}

impl Changes<'_> {
    /// Begins an event: the next number of its period, under the uuid that `name` gives for it.
    pub(crate) fn begin_event(
        &self,
        destination: i64,
        period: &str,
        name: impl FnOnce(u32) -> Uuid,
    ) -> rusqlite::Result<EventRow> {
        let number = self.tx.query_row(
            "SELECT coalesce(max(number), 0) + 1 FROM events WHERE destination = ?1 AND period = ?2",
            params![destination, period],
            |row| row.get(0),
        )?;
        self.tx.query_row(
            &format!(
                "INSERT INTO events (destination, period, number, uuid) VALUES (?1, ?2, ?3, ?4)
                 RETURNING {COLUMNS}"
            ),
            params![destination, period, number, name(number).to_string()],
            row,
        )
    }

    /// Remembers that MISP holds an event, under which uuid, and how full it is.
    pub(crate) fn make_event(
        &self,
        event: i64,
        uuid: Uuid,
        n_attributes: u64,
    ) -> rusqlite::Result<()> {
        self.tx
            .execute(
                "UPDATE events SET is_made = 1, uuid = ?2, n_attributes = ?3 WHERE id = ?1",
                params![event, uuid.to_string(), super::signed(n_attributes)],
            )
            .map(drop)
    }

    /// Remembers that MISP does not hold an event, and with it nothing that was in it.
    pub(crate) fn unmake_event(&self, event: i64) -> rusqlite::Result<()> {
        self.tx.execute("DELETE FROM attributes WHERE event = ?1", [event])?;
        self.tx.execute("DELETE FROM sighted WHERE event = ?1", [event])?;
        self.tx
            .execute("UPDATE events SET is_made = 0, publish_at = NULL WHERE id = ?1", [event])
            .map(drop)
    }

    /// Remembers that an event was deleted for good at MISP.
    pub(crate) fn close_event(&self, event: i64) -> rusqlite::Result<()> {
        self.unmake_event(event)?;
        self.tx.execute("UPDATE events SET is_closed = 1 WHERE id = ?1", [event]).map(drop)
    }

    /// Remembers that an event is about to change, and is to be published then.
    pub(crate) fn will_change(
        &self,
        event: i64,
        publish_at: Timestamp,
        was_published: bool,
    ) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached("UPDATE events SET publish_at = ?2, was_published = ?3 WHERE id = ?1")?
            .execute(params![event, publish_at.as_second(), was_published])
            .map(drop)
    }

    /// Has every changed event published now, and not when its time comes.
    pub(crate) fn hurry_publishing(&self, now: Timestamp) -> rusqlite::Result<()> {
        let sql = "UPDATE events SET publish_at = ?1 WHERE publish_at > ?1";
        self.tx.execute(sql, [now.as_second()]).map(drop)
    }

    /// Remembers that an event is published as it stands, or need not be.
    pub(crate) fn is_published(&self, event: i64) -> rusqlite::Result<()> {
        self.tx.execute("UPDATE events SET publish_at = NULL WHERE id = ?1", [event]).map(drop)
    }

    /// Counts attributes that were added to an event.
    pub(crate) fn count_added(&self, event: i64, n: usize) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached("UPDATE events SET n_attributes = n_attributes + ?2 WHERE id = ?1")?
            .execute(params![event, super::signed(n as u64)])
            .map(drop)
    }

    /// Remembers that MISP holds a value, under which uuid, or that an analyst deleted it.
    pub(crate) fn know(
        &self,
        event: i64,
        ban: &Accepted,
        uuid: Uuid,
        is_deleted: bool,
    ) -> rusqlite::Result<()> {
        let last_seen = ban.last_seen.as_second();
        self.tx
            .prepare_cached(
                "INSERT OR REPLACE INTO attributes (value, event, uuid, last_seen, is_deleted)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![ban.value, event, uuid.to_string(), last_seen, is_deleted])
            .map(drop)
    }

    /// The destinations that hold a value.
    pub(crate) fn holders(&self, value: &str) -> rusqlite::Result<Vec<i64>> {
        self.tx
            .prepare_cached(
                "SELECT DISTINCT e.destination FROM attributes a JOIN events e ON e.id = a.event
                 WHERE a.value = ?1",
            )?
            .query_map([value], |row| row.get(0))?
            .collect()
    }

    /// Remembers that MISP was told when a value was last seen.
    pub(crate) fn saw(&self, event: i64, ban: &Accepted) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "UPDATE attributes SET last_seen = max(last_seen, ?3)
                 WHERE value = ?1 AND event = ?2",
            )?
            .execute(params![ban.value, event, ban.last_seen.as_second()])
            .map(drop)
    }

    /// Remembers that a value was sighted.
    pub(crate) fn sight(&self, event: i64, ban: &Accepted) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "INSERT INTO sighted (value, event, jail, time) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET time = max(time, excluded.time)",
            )?
            .execute(params![ban.value, event, ban.jail, ban.time.as_second()])
            .map(drop)
    }
}

fn known(row: &rusqlite::Row<'_>) -> rusqlite::Result<Known> {
    Ok(Known {
        event: row.get(0)?,
        event_uuid: uuid(row, 1)?,
        uuid: uuid(row, 2)?,
        last_seen: time(row, 3)?.unwrap_or_default(),
        is_deleted: row.get(4)?,
    })
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        id: row.get(0)?,
        period: row.get(1)?,
        number: row.get(2)?,
        uuid: uuid(row, 3)?,
        is_made: row.get(4)?,
        n_attributes: row.get::<_, i64>(5)?.unsigned_abs(),
        publish_at: time(row, 6)?,
        was_published: row.get(7)?,
    })
}
