//! What the page shows: offenders with their sightings, events, and how many there are.

use rusqlite::{Connection, Row};

use super::StoreError;
use super::attribute::{self, Attribute};
use super::event::{self, Event};

/// An attribute as a line of a table.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) attribute: Attribute,
    pub(crate) event_info: String,
    pub(crate) n_sightings: i64,
    pub(crate) n_false_positives: i64,
    /// Epoch seconds of the last sighting that is no false positive.
    pub(crate) last_sighting: Option<i64>,
    /// Names of tags, in the order of attachment.
    pub(crate) tags: Vec<String>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Totals {
    pub(crate) n_events: i64,
    pub(crate) n_attributes: i64,
    pub(crate) n_sightings: i64,
    /// Attributes that came on the given day.
    pub(crate) n_today: i64,
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// A part of the value.
    pub(crate) part: Option<String>,
    pub(crate) event: Option<i64>,
    /// Only those before this number, for the next page.
    pub(crate) before: Option<i64>,
    pub(crate) limit: i64,
}

/// Live attributes, the latest first.
pub(crate) fn lines(db: &Connection, wanted: &Wanted) -> Result<Vec<Line>, StoreError> {
    let columns = attribute::COLUMNS;
    let mut sql = format!(
        "SELECT {columns},
             (SELECT info FROM event WHERE event.id = attribute.event),
             (SELECT count(*) FROM sighting WHERE sighting.attribute = attribute.id AND type = 0),
             (SELECT count(*) FROM sighting WHERE sighting.attribute = attribute.id AND type = 1),
             (SELECT max(date) FROM sighting WHERE sighting.attribute = attribute.id AND type = 0)
         FROM attribute WHERE deleted = 0"
    );
    let mut values: Vec<&dyn rusqlite::ToSql> = Vec::new();
    if let Some(part) = &wanted.part {
        sql += " AND (instr(value1, ?) > 0 OR instr(value2, ?) > 0)";
        values.extend([part as &dyn rusqlite::ToSql, part]);
    }
    if let Some(event) = &wanted.event {
        sql += " AND attribute.event = ?";
        values.push(event);
    }
    if let Some(before) = &wanted.before {
        sql += " AND attribute.id < ?";
        values.push(before);
    }
    sql += " ORDER BY attribute.id DESC LIMIT ?";
    values.push(&wanted.limit);
    let mut query = db.prepare_cached(&sql)?;
    let rows = query.query_map(values.as_slice(), read)?;
    let mut lines: Vec<Line> = rows.collect::<Result<_, _>>()?;
    let ids: Vec<i64> = lines.iter().map(|it| it.attribute.id).collect();
    let mut tags = super::search::tags(db, &ids)?;
    for line in &mut lines {
        let carried = tags.remove(&line.attribute.id).unwrap_or_default();
        line.tags = carried.into_iter().map(|it| it.tag.name).collect();
    }
    Ok(lines)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Line> {
    Ok(Line {
        attribute: Attribute::read(row)?,
        event_info: row.get(attribute::N_COLUMNS)?,
        n_sightings: row.get(attribute::N_COLUMNS + 1)?,
        n_false_positives: row.get(attribute::N_COLUMNS + 2)?,
        last_sighting: row.get(attribute::N_COLUMNS + 3)?,
        tags: Vec::new(),
    })
}

/// Events, the latest first.
pub(crate) fn events(db: &Connection, limit: i64) -> Result<Vec<Event>, StoreError> {
    let columns = event::COLUMNS;
    let sql = format!("SELECT {columns} FROM event ORDER BY timestamp DESC, id DESC LIMIT ?");
    let mut query = db.prepare_cached(&sql)?;
    let rows = query.query_map([limit], Event::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How much there is, and how much of it came on the day `today`. Sightings are those that ever
/// came: to count a million that are left takes longer than a look may.
pub(crate) fn totals(db: &Connection, today: i64) -> Result<Totals, StoreError> {
    let sql = "SELECT (SELECT count(*) FROM event),
        (SELECT coalesce(sum(n_attributes), 0) FROM event),
        (SELECT coalesce(sum(n_sightings), 0) FROM daily),
        (SELECT coalesce(sum(n_attributes), 0) FROM daily WHERE day = ?)";
    Ok(db.prepare_cached(sql)?.query_row([today], |row| {
        Ok(Totals {
            n_events: row.get(0)?,
            n_attributes: row.get(1)?,
            n_sightings: row.get(2)?,
            n_today: row.get(3)?,
        })
    })?)
}
