//! Attributes that were found, written as they are read.
//!
//! A search may find everything there is. It is read in chunks, and each is written before the
//! next is read: a million attributes cost no more memory than a thousand.

use std::collections::{HashMap, HashSet};
use std::io::Write;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use misp::value::Value as Normal;
use rusqlite::{Connection, Row};
use serde_json::Value;

use super::Api;
use super::detection::{self, Indicator};
use super::filter::Search;
use crate::answer::{Answer, Fault};
use crate::csv;
use crate::feed::md5_of;
use crate::request::text;
use crate::shape::{
    AttributeShape, EventContext, EventOfAttribute, ObjectOfAttribute, SightingShape, TagShape,
};
use crate::store::attribute::{self, Attribute};
use crate::store::event::{Event, Name};
use crate::store::object::Object;
use crate::store::search::{self, Filter, Page};
use crate::store::sighting::Sighting;
use crate::store::tag::{self, Attached, Carrier};
use crate::store::{Organisation, StoreError, warninglist};

/// Attributes of a chunk: the look-ups of what they carry are one each.
pub(super) const CHUNK: usize = 1_000;

/// How a search is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Json,
    Csv,
    /// A value on each line.
    Text,
    /// The MD5 of a value on each line.
    Cache,
    /// How many there are.
    Count,
    /// Rules for Suricata or Snort.
    Suricata,
    Snort,
    /// A file of hosts.
    Hosts,
    /// A response policy zone for a resolver.
    Rpz,
}

impl Format {
    const ALL: [Self; 9] = [
        Self::Json,
        Self::Csv,
        Self::Text,
        Self::Cache,
        Self::Count,
        Self::Suricata,
        Self::Snort,
        Self::Hosts,
        Self::Rpz,
    ];

    pub(super) fn of(search: &Search) -> Result<Self, Fault> {
        let named = Self::ALL.into_iter().find(|it| it.name() == search.format());
        named.ok_or_else(Self::unknown)
    }

    /// MISP's word on a format that it has not.
    pub(super) fn unknown() -> Fault {
        Fault::refused(StatusCode::NOT_FOUND, "Invalid output format.")
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Text => "text",
            Self::Cache => "cache",
            Self::Count => "count",
            Self::Suricata => "suricata",
            Self::Snort => "snort",
            Self::Hosts => "hosts",
            Self::Rpz => "rpz",
        }
    }

    /// Has `search` ask for no more than a list in this format holds: of what detects, as with
    /// MISP, only what is meant for that and published, unless the search says otherwise.
    pub(super) fn narrow(self, search: &mut Search) {
        let detects = !matches!(self, Self::Json | Self::Csv | Self::Cache | Self::Count);
        if detects && !search.says("to_ids") {
            search.filter.to_ids = vec![true];
        }
        if detects && !search.says("published") {
            search.filter.published = vec![true];
        }
        if search.filter.kinds.is_empty() {
            search.filter.kinds.any = self.types().iter().map(|it| (*it).to_owned()).collect();
        }
    }

    /// The types of attributes that it has words for; empty for all.
    const fn types(self) -> &'static [&'static str] {
        match self {
            Self::Suricata | Self::Snort => detection::ADDRESSES,
            Self::Hosts => detection::NAMES,
            Self::Rpz => detection::RESOLVED,
            Self::Json | Self::Csv | Self::Text | Self::Cache | Self::Count => &[],
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=UTF-8",
            Self::Csv => "text/csv; charset=UTF-8",
            _ => "text/plain; charset=UTF-8",
        }
    }

    /// The headers that tell MISP's clients what they got, and how much of it was left out.
    pub(super) fn answer(self, body: Vec<u8>, n_found: usize, n_left_out: usize) -> Answer {
        let response_format = match self {
            Self::Json => "json",
            Self::Csv => "csv",
            _ => "txt",
        };
        Answer::new(StatusCode::OK, self.content_type(), body)
            .with(HeaderName::from_static("x-result-count"), HeaderValue::from(n_found))
            .with(
                HeaderName::from_static("x-export-module-used"),
                HeaderValue::from_static(self.name()),
            )
            .with(
                HeaderName::from_static("x-response-format"),
                HeaderValue::from_static(response_format),
            )
            .with(
                HeaderName::from_static("x-skipped-elements-count"),
                HeaderValue::from(n_left_out),
            )
    }
}

/// A search and how it is answered.
pub(super) struct Export {
    pub(super) api: Api,
    pub(super) search: Search,
    pub(super) format: Format,
    /// Attributes of the page that are not told of.
    pub(super) left_out: HashSet<i64>,
    now: i64,
}

impl Export {
    /// An export of all that is found, or of what no warninglist speaks of if that is asked for.
    pub(super) fn new(
        api: &Api,
        search: Search,
        format: Format,
        db: &Connection,
        now: i64,
    ) -> Result<Self, Fault> {
        let left_out = match search.flag("enforceWarninglist") {
            true => warned(db, &search.filter)?,
            false => HashSet::new(),
        };
        Ok(Self { api: api.clone(), search, format, left_out, now })
    }

    /// Writes all that is found; tells how much that is, the one beyond the page too.
    pub(super) fn write(&self, db: &Connection, out: &mut dyn Write) -> Result<usize, Fault> {
        match self.format {
            Format::Json => self.json(db, out),
            Format::Csv => self.csv(db, out),
            Format::Text => self.values(db, out, |value| value.to_string()),
            Format::Cache => self.values(db, out, |value| md5_of(&value.to_string())),
            Format::Suricata | Format::Snort => self.indicators(db, out, Indicator::rule),
            Format::Hosts => self.indicators(db, out, Indicator::host),
            Format::Rpz => {
                out.write_all(detection::zone(self.now).as_bytes())?;
                self.indicators(db, out, Indicator::record)
            }
            Format::Count => {
                let n_found = search::count(db, &self.search.filter)?;
                let n_told = n_found.min(limit(self.search.filter.page)) - self.left_out.len();
                write!(out, "{n_told}")?;
                Ok(n_found)
            }
        }
    }

    fn json(&self, db: &Connection, out: &mut dyn Write) -> Result<usize, Fault> {
        let with_sightings = self.search.flag("includeSightings");
        let includes = Includes {
            context: self.search.flag("includeContext"),
            event_uuid: self.search.flag("includeEventUuid"),
            event_tags: self.search.flag("includeEventTags"),
        };
        let mut is_first = true;
        out.write_all(br#"{"response":{"Attribute":["#)?;
        let n_found = self.chunks(db, |db, known, chunk| {
            let ids: Vec<i64> = chunk.attributes.iter().map(|it| it.id).collect();
            let seen = match with_sightings {
                true => search::sightings(db, &ids)?,
                false => HashMap::new(),
            };
            for it in &chunk.attributes {
                if !std::mem::replace(&mut is_first, false) {
                    out.write_all(b",")?;
                }
                let seen = seen.get(&it.id).map_or(&[][..], |it| it);
                let shape = self.shape(it, known, chunk.tags(it.id), seen, includes);
                serde_json::to_writer(&mut *out, &shape).map_err(std::io::Error::from)?;
            }
            Ok(())
        })?;
        out.write_all(b"]}}")?;
        Ok(n_found)
    }

    fn shape<'a>(
        &'a self,
        it: &'a Attribute,
        known: &'a Known,
        tags: &'a [Attached],
        seen: &'a [Sighting],
        includes: Includes,
    ) -> AttributeShape<'a> {
        let organisation = self.organisation();
        let mut shape = AttributeShape::new(it);
        shape.tags = tags.iter().map(TagShape::found).collect();
        shape.sightings = seen.iter().map(|it| SightingShape::inner(it, organisation)).collect();
        shape.object = known.objects.get(&it.object).map(ObjectOfAttribute::new);
        if let Some((event, tags)) = known.events.get(&it.event) {
            match includes.context {
                true => shape.context = Some(EventContext::new(event, tags, organisation)),
                false => shape.event = Some(EventOfAttribute::new(event)),
            }
            shape.event_uuid = includes.event_uuid.then_some(event.uuid);
            if includes.event_tags {
                shape.tags.extend(tags.iter().map(TagShape::inherited));
            }
        }
        shape
    }

    fn csv(&self, db: &Connection, out: &mut dyn Write) -> Result<usize, Fault> {
        let asked: Vec<String> = match self.search.fields.get("requested_attributes") {
            Some(Value::Array(list)) => list.iter().filter_map(text).collect(),
            _ => CSV_COLUMNS.iter().map(|it| (*it).to_owned()).collect(),
        };
        // The time is called `date` in the answer, whatever it was called in the request.
        let mut columns: Vec<&str> =
            asked.iter().map(|it| if it == "timestamp" { "date" } else { it.as_str() }).collect();
        if self.search.flag("includeContext") {
            columns.extend(CSV_CONTEXT);
        }
        if !self.search.flag("headerless") {
            writeln!(out, "{}", columns.join(","))?;
        }
        let mut line = Vec::new();
        let n_found = self.chunks(db, |_, known, chunk| {
            for it in &chunk.attributes {
                line.clear();
                for (place, column) in columns.iter().enumerate() {
                    if place > 0 {
                        line.push(b',');
                    }
                    let name = &self.organisation().name;
                    csv_field(&mut line, column, it, known, chunk.tags(it.id), name);
                }
                line.push(b'\n');
                out.write_all(&line)?;
            }
            Ok(())
        })?;
        out.write_all(b"\n")?;
        Ok(n_found)
    }

    fn values(
        &self,
        db: &Connection,
        out: &mut dyn Write,
        line: fn(&Normal) -> String,
    ) -> Result<usize, Fault> {
        self.lines(db, out, "value1, value2", |row| {
            let value = Normal { first: row.get(1)?, second: row.get(2)? };
            Ok(Some(line(&value)))
        })
    }

    /// Lines for those that the format has words for.
    fn indicators(
        &self,
        db: &Connection,
        out: &mut dyn Write,
        line: fn(&Indicator) -> Option<String>,
    ) -> Result<usize, Fault> {
        self.lines(db, out, "value1, value2, attribute.event, attribute.type", |row| {
            let value = Normal { first: row.get(1)?, second: row.get(2)? };
            let (id, event, kind) = (row.get(0)?, row.get(3)?, row.get(4)?);
            Ok(line(&Indicator { id, event, kind, value }))
        })
    }

    /// A line for each attribute of the page; `line` gets its number, then `columns`.
    fn lines(
        &self,
        db: &Connection,
        out: &mut dyn Write,
        columns: &str,
        line: impl Fn(&Row<'_>) -> rusqlite::Result<Option<String>>,
    ) -> Result<usize, Fault> {
        let (mut n_found, limit) = (0, limit(self.search.filter.page));
        let columns = format!("attribute.id, {columns}");
        search::attributes(db, &self.search.filter, &columns, |row| {
            n_found += 1;
            if n_found <= limit
                && !self.left_out.contains(&row.get(0)?)
                && let Some(line) = line(row)?
            {
                writeln!(out, "{line}")?;
            }
            Ok::<_, Fault>(())
        })?;
        Ok(n_found)
    }

    /// Calls `each` with all that is found of the page, chunk by chunk; tells how much is found.
    fn chunks(
        &self,
        db: &Connection,
        mut each: impl FnMut(&Connection, &Known, &Chunk) -> Result<(), Fault>,
    ) -> Result<usize, Fault> {
        let (mut n_found, limit) = (0, limit(self.search.filter.page));
        let mut known = Known::default();
        let mut gathered = Vec::with_capacity(CHUNK.min(limit));
        let mut flush = |gathered: &mut Vec<Attribute>| {
            known.learn(db, gathered)?;
            each(db, &known, &Chunk::load(db, gathered)?)
        };
        search::attributes(db, &self.search.filter, attribute::COLUMNS, |row| {
            n_found += 1;
            if n_found <= limit && !self.left_out.contains(&row.get(0)?) {
                gathered.push(Attribute::read(row)?);
            }
            if gathered.len() == CHUNK {
                flush(&mut gathered)?;
            }
            Ok::<_, Fault>(())
        })?;
        flush(&mut gathered)?;
        Ok(n_found)
    }

    fn organisation(&self) -> &Organisation {
        &self.api.store.organisation
    }
}

/// How many of the rows belong to the page; the one beyond only says that more follows.
pub(super) fn limit(page: Option<Page>) -> usize {
    page.map_or(usize::MAX, |it| usize::try_from(it.limit).unwrap_or(usize::MAX))
}

/// The attributes of the page that an enabled warninglist speaks of: as with MISP, a page is cut
/// first, and may come out short.
fn warned(db: &Connection, filter: &Filter) -> Result<HashSet<i64>, Fault> {
    let (mut n_found, limit) = (0, limit(filter.page));
    let mut warned = HashSet::new();
    search::attributes(db, filter, "attribute.id, value1", |row| {
        n_found += 1;
        let value: String = row.get(1)?;
        if n_found <= limit && !warninglist::warnings(db, &value)?.is_empty() {
            warned.insert(row.get(0)?);
        }
        Ok::<_, Fault>(())
    })?;
    Ok(warned)
}

/// What is told of the event of each attribute.
#[derive(Clone, Copy, Debug)]
struct Includes {
    context: bool,
    event_uuid: bool,
    event_tags: bool,
}

/// Events and objects that were looked up for one attribute or another.
#[derive(Default)]
struct Known {
    events: HashMap<i64, (Event, Vec<Attached>)>,
    objects: HashMap<i64, Object>,
}

impl Known {
    /// Looks up those of `attributes`, too.
    fn learn(&mut self, db: &Connection, attributes: &[Attribute]) -> Result<(), StoreError> {
        for it in attributes {
            if !self.events.contains_key(&it.event)
                && let Some(event) = Event::find(db, Name::Id(it.event))?
            {
                let tags = tag::of(db, Carrier::Event(event.id))?;
                self.events.insert(it.event, (event, tags));
            }
            if it.object != 0
                && !self.objects.contains_key(&it.object)
                && let Some(object) = Object::find(db, Name::Id(it.object))?
            {
                self.objects.insert(it.object, object);
            }
        }
        Ok(())
    }
}

/// Attributes with what they carry.
struct Chunk {
    attributes: Vec<Attribute>,
    tags: HashMap<i64, Vec<Attached>>,
}

impl Chunk {
    /// Takes what was gathered.
    fn load(db: &Connection, gathered: &mut Vec<Attribute>) -> Result<Self, StoreError> {
        let attributes = std::mem::take(gathered);
        let ids: Vec<i64> = attributes.iter().map(|it| it.id).collect();
        Ok(Self { tags: search::tags(db, &ids)?, attributes })
    }

    fn tags(&self, attribute: i64) -> &[Attached] {
        self.tags.get(&attribute).map_or(&[], |it| &**it)
    }
}

/// The columns of a CSV answer, as MISP names them; what the hub has not is empty.
const CSV_COLUMNS: [&str; 13] = [
    "uuid",
    "event_id",
    "category",
    "type",
    "value",
    "comment",
    "to_ids",
    "date",
    "object_relation",
    "attribute_tag",
    "object_uuid",
    "object_name",
    "object_meta_category",
];

/// The columns that `includeContext` adds.
const CSV_CONTEXT: [&str; 9] = [
    "event_info",
    "event_member_org",
    "event_source_org",
    "event_distribution",
    "event_threat_level_id",
    "event_analysis",
    "event_date",
    "event_tag",
    "event_timestamp",
];

fn csv_field(
    body: &mut Vec<u8>,
    column: &str,
    it: &Attribute,
    known: &Known,
    tags: &[Attached],
    organisation: &str,
) {
    let names =
        |tags: &[Attached]| tags.iter().map(|it| &*it.tag.name).collect::<Vec<_>>().join(",");
    let event = known.events.get(&it.event);
    let object = known.objects.get(&it.object);
    let of_event = |read: fn(&Event) -> i64| event.map_or(0, |(event, _)| read(event));
    match column {
        "id" => csv::number(body, it.id),
        "uuid" => csv::text(body, &it.uuid.to_string()),
        "event_id" => csv::number(body, it.event),
        "category" => csv::text(body, &it.category),
        "type" => csv::text(body, &it.kind),
        "value" => csv::text(body, &it.value.to_string()),
        "value1" => csv::text(body, &it.value.first),
        "value2" => csv::text(body, &it.value.second),
        "comment" => csv::text(body, &it.comment),
        "to_ids" => csv::number(body, i64::from(it.to_ids)),
        "date" => csv::number(body, it.timestamp),
        "object_relation" => csv::text(body, it.relation.as_deref().unwrap_or_default()),
        "object_uuid" => csv::text(body, &object.map_or(String::new(), |it| it.uuid.to_string())),
        "object_name" => csv::text(body, object.map_or("", |it| &*it.name)),
        "object_meta_category" => csv::text(body, object.map_or("", |it| &*it.meta_category)),
        "attribute_tag" => csv::text(body, &names(tags)),
        "event_info" => csv::text(body, event.map_or("", |(event, _)| &*event.info)),
        "event_member_org" | "event_source_org" => csv::text(body, organisation),
        "event_distribution" => csv::number(body, of_event(|it| it.distribution)),
        "event_threat_level_id" => {
            csv::text(body, threat_level(event.map_or(0, |(event, _)| event.threat_level)));
        }
        "event_analysis" => csv::number(body, of_event(|it| it.analysis)),
        "event_date" => csv::text(body, event.map_or("", |(event, _)| &*event.date)),
        "event_tag" => csv::text(body, &event.map_or(String::new(), |(_, tags)| names(tags))),
        "event_timestamp" => csv::number(body, of_event(|it| it.timestamp)),
        _ => csv::text(body, ""),
    }
}

/// A threat level's name, which CSV has instead of its number.
const fn threat_level(level: i64) -> &'static str {
    match level {
        1 => "High",
        2 => "Medium",
        3 => "Low",
        _ => "Undefined",
    }
}
