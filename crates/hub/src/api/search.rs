//! `/attributes/restSearch` and `/events/restSearch`.

use std::collections::HashMap;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use misp::value::Value as Normal;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::Api;
use super::events::{Content, Whole};
use super::filter::{self, Search};
use crate::answer::{Answer, Fault};
use crate::csv;
use crate::feed::md5_of;
use crate::request::{Request, text};
use crate::shape::{
    AttributeShape, EventContext, EventOfAttribute, ObjectOfAttribute, SightingShape, TagShape,
};
use crate::store::attribute::{self, Attribute};
use crate::store::event::{Event, Name};
use crate::store::object::Object;
use crate::store::search::{self, Filter, Page};
use crate::store::tag::{self, Attached, Carrier};
use crate::store::{StoreError, sighting};

/// How a search is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    Json,
    Csv,
    /// A value on each line.
    Text,
    /// The MD5 of a value on each line.
    Cache,
    /// How many there are.
    Count,
}

impl Format {
    fn of(search: &Search) -> Result<Self, Fault> {
        match search.format() {
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            "text" => Ok(Self::Text),
            "cache" => Ok(Self::Cache),
            "count" => Ok(Self::Count),
            _ => Err(Fault::refused(StatusCode::NOT_FOUND, "Invalid output format.")),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Text => "text",
            Self::Cache => "cache",
            Self::Count => "count",
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=UTF-8",
            Self::Csv => "text/csv; charset=UTF-8",
            Self::Text | Self::Cache | Self::Count => "text/plain; charset=UTF-8",
        }
    }

    /// The headers that tell MISP's clients what they got.
    fn answer(self, body: Vec<u8>, n_found: usize) -> Answer {
        let response_format = match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Text | Self::Cache | Self::Count => "txt",
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
                HeaderValue::from_static("0"),
            )
    }
}

/// `POST /attributes/restSearch`
pub(super) fn attributes(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let mut search = Search::read(request, &api.store.organisation)?;
    let format = Format::of(&search)?;
    if format == Format::Text {
        // As MISP: a list for detection holds what is meant for detection and published.
        if !search.says("to_ids") {
            search.filter.to_ids = vec![true];
        }
        if !search.says("published") {
            search.filter.published = vec![true];
        }
    }
    let page = search.filter.page;
    let (body, n_found) = api.store.read(|db| match format {
        Format::Json => found_json(db, &search, api),
        Format::Csv => found_csv(db, &search, api),
        Format::Text => found_text(db, &search.filter, |value| value.to_string()),
        Format::Cache => found_text(db, &search.filter, |value| md5_of(&value.to_string())),
        Format::Count => found_count(db, &search.filter),
    })?;
    Ok(format.answer(body, counted(n_found, page)))
}

/// MISP's X-Result-Count: of a page, one more than its limit when more follows, and 1 past the end.
fn counted(n_found: usize, page: Option<Page>) -> usize {
    match page {
        Some(page) if n_found == 0 && page.number > 1 => 1,
        _ => n_found,
    }
}

/// How many of the rows belong to the page; the one beyond only says that more follows.
fn limit(filter: &Filter) -> usize {
    filter.page.map_or(usize::MAX, |it| usize::try_from(it.limit).unwrap_or(usize::MAX))
}

/// What is found, with what else is told of it.
struct Found {
    attributes: Vec<Attribute>,
    events: HashMap<i64, (Event, Vec<Attached>)>,
    tags: HashMap<i64, Vec<Attached>>,
    objects: HashMap<i64, Object>,
    /// As many as were found, the one beyond the page too.
    n_found: usize,
}

impl Found {
    fn load(db: &Connection, filter: &Filter) -> Result<Self, StoreError> {
        let mut attributes = Vec::new();
        search::attributes(db, filter, attribute::COLUMNS, |row| {
            attributes.push(Attribute::read(row)?);
            Ok(())
        })?;
        let n_found = attributes.len();
        attributes.truncate(limit(filter));
        let mut events = HashMap::new();
        for it in &attributes {
            if !events.contains_key(&it.event)
                && let Some(event) = Event::find(db, Name::Id(it.event))?
            {
                let tags = tag::of(db, Carrier::Event(event.id))?;
                events.insert(it.event, (event, tags));
            }
        }
        let mut objects = HashMap::new();
        for it in attributes.iter().filter(|it| it.object != 0) {
            if !objects.contains_key(&it.object)
                && let Some(object) = Object::find(db, Name::Id(it.object))?
            {
                objects.insert(it.object, object);
            }
        }
        let ids: Vec<i64> = attributes.iter().map(|it| it.id).collect();
        let tags = search::tags(db, &ids)?;
        Ok(Self { attributes, events, tags, objects, n_found })
    }

    fn tags(&self, attribute: i64) -> &[Attached] {
        self.tags.get(&attribute).map_or(&[], |it| &**it)
    }
}

fn found_json(db: &Connection, search: &Search, api: &Api) -> Result<(Vec<u8>, usize), Fault> {
    let found = Found::load(db, &search.filter)?;
    let ids: Vec<i64> = found.attributes.iter().map(|it| it.id).collect();
    let seen: HashMap<i64, Vec<sighting::Sighting>> = match search.flag("includeSightings") {
        true => search::sightings(db, &ids)?,
        false => HashMap::new(),
    };
    let with_context = search.flag("includeContext");
    let (with_uuid, with_tags) = (search.flag("includeEventUuid"), search.flag("includeEventTags"));
    let shapes: Vec<_> = found
        .attributes
        .iter()
        .map(|it| {
            let mut shape = AttributeShape::new(it);
            shape.tags = found.tags(it.id).iter().map(TagShape::found).collect();
            let sightings = seen.get(&it.id).map_or(&[][..], |it| it);
            let inner = |it| SightingShape::inner(it, &api.store.organisation);
            shape.sightings = sightings.iter().map(inner).collect();
            shape.object = found.objects.get(&it.object).map(ObjectOfAttribute::new);
            if let Some((event, tags)) = found.events.get(&it.event) {
                if with_context {
                    shape.context = Some(EventContext::new(event, tags, &api.store.organisation));
                } else {
                    shape.event = Some(EventOfAttribute::new(event));
                }
                shape.event_uuid = with_uuid.then_some(event.uuid);
                if with_tags {
                    shape.tags.extend(tags.iter().map(TagShape::inherited));
                }
            }
            shape
        })
        .collect();
    let answer = Answer::json(&json_response(&shapes));
    Ok((answer.body, found.n_found))
}

/// `{"response": {"Attribute": [..]}}` without a copy of the list.
fn json_response<'a>(attributes: &'a [AttributeShape<'a>]) -> impl serde::Serialize + 'a {
    #[derive(serde::Serialize)]
    struct Response<'a> {
        response: Inner<'a>,
    }
    #[derive(serde::Serialize)]
    struct Inner<'a> {
        #[serde(rename = "Attribute")]
        attributes: &'a [AttributeShape<'a>],
    }
    Response { response: Inner { attributes } }
}

fn found_text(
    db: &Connection,
    filter: &Filter,
    line: fn(&Normal) -> String,
) -> Result<(Vec<u8>, usize), Fault> {
    let (mut body, mut n_found) = (Vec::new(), 0);
    let limit = limit(filter);
    search::attributes(db, filter, "value1, value2", |row| {
        if n_found < limit {
            let value = Normal { first: row.get(0)?, second: row.get(1)? };
            body.extend_from_slice(line(&value).as_bytes());
            body.push(b'\n');
        }
        n_found += 1;
        Ok(())
    })?;
    Ok((body, n_found))
}

fn found_count(db: &Connection, filter: &Filter) -> Result<(Vec<u8>, usize), Fault> {
    let mut n_found = 0;
    search::attributes(db, filter, "1", |_| {
        n_found += 1;
        Ok(())
    })?;
    Ok((n_found.min(limit(filter)).to_string().into_bytes(), n_found))
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

fn found_csv(db: &Connection, search: &Search, api: &Api) -> Result<(Vec<u8>, usize), Fault> {
    let found = Found::load(db, &search.filter)?;
    let asked: Vec<String> = match search.fields.get("requested_attributes") {
        Some(Value::Array(list)) => list.iter().filter_map(text).collect(),
        _ => CSV_COLUMNS.iter().map(|it| (*it).to_owned()).collect(),
    };
    // The time is called `date` in the answer, whatever it was called in the request.
    let mut columns: Vec<&str> =
        asked.iter().map(|it| if it == "timestamp" { "date" } else { it.as_str() }).collect();
    if search.flag("includeContext") {
        columns.extend(CSV_CONTEXT);
    }
    let mut body = Vec::new();
    if !search.flag("headerless") {
        body.extend_from_slice(columns.join(",").as_bytes());
        body.push(b'\n');
    }
    for it in &found.attributes {
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                body.push(b',');
            }
            csv_field(&mut body, column, it, &found, &api.store.organisation.name);
        }
        body.push(b'\n');
    }
    body.push(b'\n');
    Ok((body, found.n_found))
}

fn csv_field(body: &mut Vec<u8>, column: &str, it: &Attribute, found: &Found, organisation: &str) {
    let names =
        |tags: &[Attached]| tags.iter().map(|it| &*it.tag.name).collect::<Vec<_>>().join(",");
    let event = found.events.get(&it.event);
    let object = found.objects.get(&it.object);
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
        "attribute_tag" => csv::text(body, &names(found.tags(it.id))),
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

/// `POST /events/restSearch`: whole events, or their metadata.
pub(super) fn events(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let search = Search::read(request, &api.store.organisation)?;
    let format = Format::of(&search)?;
    let content = match (search.flag("metadata"), search.flag("deleted")) {
        (true, _) => Content::Metadata,
        (false, true) => Content::WithDeleted,
        (false, false) => Content::WithoutDeleted,
    };
    let (body, n_found) = api.store.read(|db| -> Result<_, Fault> {
        let mut found = search::events(db, &search.filter)?;
        let n_found = found.len();
        if let Some(page) = search.filter.page {
            filter::cut(&mut found, page);
        }
        if format != Format::Json {
            return of_events(db, &search, &found, format, api).map(|body| (body, n_found));
        }
        let mut wholes = Vec::with_capacity(found.len());
        for id in found {
            if let Some(event) = Event::find(db, Name::Id(id))? {
                wholes.push(Whole::load(db, event, content)?);
            }
        }
        let organisation = &api.store.organisation;
        let shapes: Vec<_> =
            wholes.iter().map(|it| json!({ "Event": it.shape(organisation) })).collect();
        Ok((Answer::json(&json!({ "response": shapes })).body, n_found))
    })?;
    let name = search.fields.get("eventid").and_then(text).unwrap_or_else(|| "list".to_owned());
    let name: String = name.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-').collect();
    let file = format!("attachment; filename=\"misp.event.{name}.{}\"", format.name());
    let answer = format.answer(body, n_found);
    Ok(match HeaderValue::from_str(&file) {
        Ok(file) => answer.with(header::CONTENT_DISPOSITION, file),
        Err(_) => answer,
    })
}

/// What the events hold, in a format that knows attributes alone.
fn of_events(
    db: &Connection,
    search: &Search,
    events: &[i64],
    format: Format,
    api: &Api,
) -> Result<Vec<u8>, Fault> {
    let ids = events.iter().map(ToString::to_string).collect();
    let events = search::Terms { any: ids, ..search::Terms::default() };
    let filter = Filter { nothing: events.is_empty(), events, ..Filter::default() };
    let search = Search { filter, fields: search.fields.clone() };
    let (body, _) = match format {
        Format::Csv => found_csv(db, &search, api)?,
        Format::Text => found_text(db, &search.filter, |value| value.to_string())?,
        Format::Cache => found_text(db, &search.filter, |value| md5_of(&value.to_string()))?,
        Format::Json | Format::Count => found_count(db, &search.filter)?,
    };
    Ok(body)
}
