//! Finding attributes and events: what a search asks for, as SQL.
//!
//! Lists travel as one JSON text into `json_each`, so that a search has few shapes, and each shape
//! one prepared statement.

use std::collections::HashMap;

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Row, params_from_iter};

use super::event::Name;
use super::sighting::Sighting;
use super::tag::{Attached, Tag};
use super::{StoreError, sighting};

/// Texts of which one, all or none must be there; `%` in them stands for anything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Terms {
    pub(crate) any: Vec<String>,
    pub(crate) all: Vec<String>,
    pub(crate) none: Vec<String>,
}

impl Terms {
    /// Whether nothing is asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.any.is_empty() && self.all.is_empty() && self.none.is_empty()
    }
}

/// First and last second, each included.
pub(crate) type Range = (i64, i64);

/// What a search asks for; what is empty or `None` asks nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) values: Terms,
    pub(crate) kinds: Terms,
    pub(crate) categories: Terms,
    pub(crate) comments: Terms,
    pub(crate) uuids: Terms,
    /// Tags of the attribute or of its event.
    pub(crate) tags: Terms,
    pub(crate) event_tags: Terms,
    /// Events by number or uuid.
    pub(crate) events: Terms,
    pub(crate) event_info: Terms,
    /// Objects by their template: its name, its uuid, its version.
    pub(crate) templates: [Terms; 3],
    /// In the info of the event, in a value or in a comment.
    pub(crate) anywhere: Option<String>,
    pub(crate) threat_levels: Vec<i64>,
    pub(crate) timestamp: Option<Range>,
    pub(crate) event_timestamp: Option<Range>,
    pub(crate) publish_timestamp: Option<Range>,
    /// Days of the event, first and last.
    pub(crate) date: (Option<String>, Option<String>),
    /// In microseconds.
    pub(crate) first_seen_after: Option<i64>,
    pub(crate) last_seen_after: Option<i64>,
    /// Empty: both.
    pub(crate) to_ids: Vec<bool>,
    pub(crate) published: Vec<bool>,
    pub(crate) deleted: Deleted,
    /// Another organisation than ours was asked for: there is nothing.
    pub(crate) nothing: bool,
    pub(crate) order: Order,
    pub(crate) page: Option<Page>,
}

/// Whether deleted attributes are wanted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Deleted {
    #[default]
    No,
    Only,
    Too,
}

impl Deleted {
    /// Whether a row that is deleted, or is not, is wanted.
    pub(crate) const fn admits(self, deleted: bool) -> bool {
        match self {
            Self::No => !deleted,
            Self::Only => deleted,
            Self::Too => true,
        }
    }
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Order {
    #[default]
    Id,
    IdDescending,
    Timestamp,
    TimestampDescending,
}

/// A part of what is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Page {
    pub(crate) limit: i64,
    /// The first is 1.
    pub(crate) number: i64,
}

/// SQL with the values of its question marks.
#[derive(Debug, Default)]
struct Clause {
    sql: String,
    values: Vec<Sql>,
}

impl Clause {
    fn and(&mut self, sql: &str, values: impl IntoIterator<Item = Sql>) {
        self.sql += if self.sql.is_empty() { " WHERE " } else { " AND " };
        self.sql += sql;
        self.values.extend(values);
    }

    fn range(&mut self, column: &str, range: Option<Range>) {
        if let Some((first, last)) = range {
            self.and(&format!("{column} BETWEEN ? AND ?"), [first.into(), last.into()]);
        }
    }

    /// `test` makes the SQL that asks for one of a list of terms.
    fn terms(&mut self, terms: &Terms, test: impl Fn(&[String]) -> (String, Vec<Sql>)) {
        if !terms.any.is_empty() {
            let (sql, values) = test(&terms.any);
            self.and(&sql, values);
        }
        for term in &terms.all {
            let (sql, values) = test(std::slice::from_ref(term));
            self.and(&sql, values);
        }
        if !terms.none.is_empty() {
            let (sql, values) = test(&terms.none);
            self.and(&format!("NOT {sql}"), values);
        }
    }

    fn deleted(&mut self, column: &str, wanted: Deleted) {
        match wanted {
            Deleted::No => self.and(&format!("{column} = 0"), []),
            Deleted::Only => self.and(&format!("{column} = 1"), []),
            Deleted::Too => {}
        }
    }

    /// Only rows whose event, in `column`, is as `filter` asks.
    fn of_events(&mut self, column: &str, filter: &Filter) {
        if filter.asks_of_events() || filter.nothing {
            let mut events = Self::default();
            filter.event_clause(&mut events);
            let sql = format!("{column} IN (SELECT event.id FROM event{})", events.sql);
            self.and(&sql, events.values);
        }
    }

    /// `sql` with the rows of a page, and one more when there is one: that is how MISP says that
    /// more follows.
    fn cut(mut self, mut sql: String, page: Option<Page>) -> Self {
        if let Some(page) = page {
            sql += " LIMIT ? OFFSET ?";
            let skipped = page.limit.saturating_mul(page.number.saturating_sub(1));
            self.values.extend([page.limit.saturating_add(1).into(), skipped.into()]);
        }
        Self { sql, ..self }
    }

    fn flags(&mut self, column: &str, flags: &[bool]) {
        if let [flag] = flags {
            self.and(&format!("{column} = ?"), [Sql::from(*flag)]);
        }
    }
}

fn list(terms: &[String]) -> Sql {
    Sql::from(serde_json::to_string(terms).expect("texts become JSON"))
}

/// Whether `expression` is one of the terms.
fn one_of(expression: &str, terms: &[String]) -> (String, Vec<Sql>) {
    let (patterns, plain): (Vec<_>, Vec<_>) =
        terms.iter().cloned().partition(|it| it.contains('%'));
    let mut values = vec![list(&plain)];
    let mut sql = format!("({expression} IN (SELECT value FROM json_each(?))");
    for pattern in patterns {
        sql += &format!(" OR {expression} LIKE ?");
        values.push(Sql::from(pattern));
    }
    sql.push(')');
    (sql, values)
}

/// Attributes by value: by one half of it, or by the whole of a composite.
fn by_value(terms: &[String]) -> (String, Vec<Sql>) {
    let is_composite = |it: &String| it.contains('|') || it.contains('%');
    let (first, mut values) = one_of("value1", terms);
    let (second, more) = one_of("value2", terms);
    values.extend(more);
    // Each half has an index, which an OR of both would not use.
    let mut sql = format!(
        "attribute.id IN (SELECT id FROM attribute WHERE {first}
             UNION SELECT id FROM attribute WHERE value2 != '' AND {second}"
    );
    if terms.iter().any(is_composite) {
        let (whole, more) = one_of("value1 || '|' || value2", terms);
        values.extend(more);
        sql += &format!(" UNION SELECT id FROM attribute WHERE value2 != '' AND {whole}");
    }
    sql.push(')');
    (sql, values)
}

fn by_event_tag(column: &str, terms: &[String]) -> (String, Vec<Sql>) {
    let (named, values) = one_of("tag.name", terms);
    let sql = format!(
        "{column} IN (SELECT event FROM event_tag JOIN tag ON tag.id = event_tag.tag WHERE {named})"
    );
    (sql, values)
}

pub(super) fn by_any_tag(terms: &[String]) -> (String, Vec<Sql>) {
    let (of_event, values1) = by_event_tag("attribute.event", terms);
    let (named, values2) = one_of("tag.name", terms);
    let sql = format!(
        "({of_event} OR attribute.id IN (SELECT attribute FROM attribute_tag
             JOIN tag ON tag.id = attribute_tag.tag WHERE {named}))"
    );
    (sql, [values1, values2].concat())
}

/// Events by number or uuid; what is neither names none. One alone is an equality, which lets the
/// pages of a large event be read along an index.
fn by_event(column: &str, terms: &[String]) -> (String, Vec<Sql>) {
    if let [one] = terms {
        return match Name::parse(one) {
            Some(Name::Id(id)) => (format!("{column} = ?"), vec![Sql::from(id)]),
            Some(Name::Uuid(uuid)) => (
                format!("{column} = (SELECT id FROM event WHERE uuid = ?)"),
                vec![Sql::from(uuid.as_bytes().to_vec())],
            ),
            None => ("0".to_owned(), Vec::new()),
        };
    }
    let (uuids, ids): (Vec<_>, Vec<_>) =
        terms.iter().cloned().partition(|it| uuid::Uuid::try_parse(it).is_ok());
    let ids: Vec<i64> = ids.iter().filter_map(|it| it.parse().ok()).collect();
    let ids = Sql::from(serde_json::to_string(&ids).expect("numbers become JSON"));
    let sql = format!(
        "({column} IN (SELECT value FROM json_each(?)) OR {column} IN
             (SELECT id FROM event WHERE uuid IN (SELECT unhex(value) FROM json_each(?))))"
    );
    (sql, vec![ids, list(&hex(&uuids))])
}

fn by_uuid(column: &str, terms: &[String]) -> (String, Vec<Sql>) {
    let sql = format!("{column} IN (SELECT unhex(value) FROM json_each(?))");
    (sql, vec![list(&hex(terms))])
}

/// Events by their own uuid or that of an attribute in them, as MISP searches events.
fn by_uuid_of_any(terms: &[String]) -> (String, Vec<Sql>) {
    let (of_event, first) = by_uuid("event.uuid", terms);
    let (of_attribute, second) = by_uuid("attribute.uuid", terms);
    let sql = format!(
        "({of_event} OR event.id IN (SELECT attribute.event FROM attribute WHERE {of_attribute}))"
    );
    (sql, [first, second].concat())
}

fn hex(uuids: &[String]) -> Vec<String> {
    let uuids = uuids.iter().filter_map(|it| uuid::Uuid::try_parse(it).ok());
    uuids.map(|it| it.simple().to_string()).collect()
}

impl Filter {
    /// Whether the events themselves are asked about.
    fn asks_of_events(&self) -> bool {
        !(self.event_info.is_empty()
            && self.threat_levels.is_empty()
            && self.event_timestamp.is_none()
            && self.publish_timestamp.is_none()
            && self.date == (None, None)
            && self.published.len() != 1)
    }

    /// Whether what events hold is asked about.
    fn asks_of_attributes(&self) -> bool {
        let terms = [&self.values, &self.kinds, &self.categories, &self.comments];
        terms.iter().any(|it| !it.is_empty())
            || self.to_ids.len() == 1
            || self.first_seen_after.is_some()
            || self.last_seen_after.is_some()
    }

    fn event_clause(&self, clause: &mut Clause) {
        clause.terms(&self.event_info, |terms| one_of("event.info", terms));
        if !self.threat_levels.is_empty() {
            let levels = serde_json::to_string(&self.threat_levels).expect("numbers become JSON");
            let sql = "event.threat_level IN (SELECT value FROM json_each(?))";
            clause.and(sql, [Sql::from(levels)]);
        }
        clause.range("event.timestamp", self.event_timestamp);
        clause.range("event.publish_timestamp", self.publish_timestamp);
        if let Some(first) = &self.date.0 {
            clause.and("event.date >= ?", [Sql::from(first.clone())]);
        }
        if let Some(last) = &self.date.1 {
            clause.and("event.date <= ?", [Sql::from(last.clone())]);
        }
        clause.flags("event.published", &self.published);
        if self.nothing {
            clause.and("0", []);
        }
    }

    fn attribute_clause(&self, clause: &mut Clause) {
        clause.terms(&self.values, by_value);
        clause.terms(&self.kinds, |terms| one_of("attribute.type", terms));
        clause.terms(&self.categories, |terms| one_of("attribute.category", terms));
        clause.terms(&self.comments, |terms| one_of("attribute.comment", terms));
        clause.flags("attribute.to_ids", &self.to_ids);
        for (column, after) in
            [("first_seen", self.first_seen_after), ("last_seen", self.last_seen_after)]
        {
            if let Some(after) = after {
                clause.and(&format!("attribute.{column} >= ?"), [Sql::from(after)]);
            }
        }
        clause.deleted("attribute.deleted", self.deleted);
    }
}

/// Calls `each` with every attribute that is found, as `columns` name it.
pub(crate) fn attributes<E: From<StoreError>>(
    db: &Connection,
    filter: &Filter,
    columns: &str,
    mut each: impl FnMut(&Row<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let found = found(filter, columns);
    let mut query = db.prepare_cached(&found.sql).map_err(StoreError::from)?;
    let mut rows = query.query(params_from_iter(found.values)).map_err(StoreError::from)?;
    while let Some(row) = rows.next().map_err(StoreError::from)? {
        each(row)?;
    }
    Ok(())
}

/// How many [`attributes`] finds.
pub(crate) fn count(db: &Connection, filter: &Filter) -> Result<usize, StoreError> {
    let found = found(filter, "1");
    let mut query = db.prepare_cached(&format!("SELECT count(*) FROM ({})", found.sql))?;
    let n_found: i64 = query.query_row(params_from_iter(found.values), |row| row.get(0))?;
    Ok(usize::try_from(n_found).unwrap_or_default()) // a count is not negative
}

fn found(filter: &Filter, columns: &str) -> Clause {
    let mut clause = Clause::default();
    filter.attribute_clause(&mut clause);
    clause.terms(&filter.uuids, |terms| by_uuid("attribute.uuid", terms));
    clause.terms(&filter.events, |terms| by_event("attribute.event", terms));
    clause.terms(&filter.tags, by_any_tag);
    clause.terms(&filter.event_tags, |terms| by_event_tag("attribute.event", terms));
    clause.range("attribute.timestamp", filter.timestamp);
    if let Some(text) = &filter.anywhere {
        let (value, values) = by_value(std::slice::from_ref(text));
        let sql = format!("({value} OR attribute.comment LIKE ?)");
        clause.and(&sql, values.into_iter().chain([Sql::from(text.clone())]));
    }
    clause.of_events("attribute.event", filter);
    let order = match filter.order {
        Order::Id => "attribute.id",
        Order::IdDescending => "attribute.id DESC",
        Order::Timestamp => "attribute.timestamp, attribute.id",
        Order::TimestampDescending => "attribute.timestamp DESC, attribute.id",
    };
    let sql = format!("SELECT {columns} FROM attribute{} ORDER BY {order}", clause.sql);
    clause.cut(sql, filter.page)
}

/// The numbers of the objects that are found, oldest first.
pub(crate) fn objects(db: &Connection, filter: &Filter) -> Result<Vec<i64>, StoreError> {
    let mut clause = Clause::default();
    let columns = ["object.name", "object.template_uuid", "object.template_version"];
    for (column, terms) in columns.into_iter().zip(&filter.templates) {
        clause.terms(terms, |terms| one_of(column, terms));
    }
    clause.terms(&filter.uuids, |terms| by_uuid("object.uuid", terms));
    clause.terms(&filter.events, |terms| by_event("object.event", terms));
    clause.terms(&filter.event_tags, |terms| by_event_tag("object.event", terms));
    clause.range("object.timestamp", filter.timestamp);
    clause.deleted("object.deleted", filter.deleted);
    if filter.asks_of_attributes() || !filter.tags.is_empty() {
        let mut parts = Clause::default();
        filter.attribute_clause(&mut parts);
        parts.terms(&filter.tags, by_any_tag);
        let sql = format!("object.id IN (SELECT attribute.object FROM attribute{})", parts.sql);
        clause.and(&sql, parts.values);
    }
    clause.of_events("object.event", filter);
    let sql = format!("SELECT object.id FROM object{} ORDER BY object.id", clause.sql);
    numbers(db, clause.cut(sql, filter.page))
}

fn numbers(db: &Connection, found: Clause) -> Result<Vec<i64>, StoreError> {
    let mut query = db.prepare_cached(&found.sql)?;
    let rows = query.query_map(params_from_iter(found.values), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The numbers of the events that are found, oldest first.
pub(crate) fn events(db: &Connection, filter: &Filter) -> Result<Vec<i64>, StoreError> {
    let mut clause = Clause::default();
    filter.event_clause(&mut clause);
    clause.terms(&filter.uuids, by_uuid_of_any);
    clause.terms(&filter.events, |terms| by_event("event.id", terms));
    let tags = Terms {
        any: [&*filter.tags.any, &*filter.event_tags.any].concat(),
        all: [&*filter.tags.all, &*filter.event_tags.all].concat(),
        none: [&*filter.tags.none, &*filter.event_tags.none].concat(),
    };
    clause.terms(&tags, |terms| by_event_tag("event.id", terms));
    clause.range("event.timestamp", filter.timestamp);
    if let Some(text) = &filter.anywhere {
        let (value, values) = by_value(std::slice::from_ref(text));
        let sql = format!(
            "(event.info LIKE ? OR event.id IN (SELECT attribute.event FROM attribute
                 WHERE {value} OR attribute.comment LIKE ?))"
        );
        let text = Sql::from(text.clone());
        clause.and(&sql, [text.clone()].into_iter().chain(values).chain([text]));
    }
    if filter.asks_of_attributes() {
        let mut attributes = Clause::default();
        filter.attribute_clause(&mut attributes);
        let sql = format!("event.id IN (SELECT attribute.event FROM attribute{})", attributes.sql);
        clause.and(&sql, attributes.values);
    }
    let sql = format!("SELECT event.id FROM event{} ORDER BY event.id", clause.sql);
    numbers(db, Clause { sql, ..clause })
}

/// What the attributes numbered `ids` carry.
pub(crate) fn tags(
    db: &Connection,
    ids: &[i64],
) -> Result<HashMap<i64, Vec<Attached>>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT attribute_tag.attribute, attribute_tag.id, attribute_tag.local,
             tag.id, tag.name, tag.colour
         FROM attribute_tag JOIN tag ON tag.id = attribute_tag.tag
         WHERE attribute_tag.attribute IN (SELECT value FROM json_each(?))
         ORDER BY attribute_tag.id",
    )?;
    let ids = serde_json::to_string(ids).expect("numbers become JSON");
    let mut carried: HashMap<i64, Vec<Attached>> = HashMap::new();
    let mut rows = query.query([ids])?;
    while let Some(row) = rows.next()? {
        let tag = Tag { id: row.get(3)?, name: row.get(4)?, colour: row.get(5)? };
        let attached = Attached { id: row.get(1)?, local: row.get(2)?, tag };
        carried.entry(row.get(0)?).or_default().push(attached);
    }
    Ok(carried)
}

/// The sightings of the attributes numbered `ids`.
pub(crate) fn sightings(
    db: &Connection,
    ids: &[i64],
) -> Result<HashMap<i64, Vec<Sighting>>, StoreError> {
    let mut query = db.prepare_cached(&format!(
        "SELECT {} FROM sighting JOIN attribute ON attribute.id = sighting.attribute
         WHERE sighting.attribute IN (SELECT value FROM json_each(?)) ORDER BY sighting.id",
        sighting::COLUMNS
    ))?;
    let ids = serde_json::to_string(ids).expect("numbers become JSON");
    let mut seen: HashMap<i64, Vec<Sighting>> = HashMap::new();
    for sighting in query.query_map([ids], Sighting::read)? {
        let sighting = sighting?;
        seen.entry(sighting.attribute).or_default().push(sighting);
    }
    Ok(seen)
}
