//! `/sightings/…`: add, list, find.
//!
//! A sighting that could not be added is answered with 200 and a message, as in MISP: success is
//! the key `Sighting`.

use axum::http::{HeaderName, HeaderValue, StatusCode};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rusqlite::Connection;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::draft::MAX_NAME;
use super::{Api, filter};
use crate::answer::{Answer, Fault};
use crate::csv;
use crate::keys::Role;
use crate::request::{Body, Request, flag, integer, text};
use crate::shape::{AttributeOfSighting, EventOfSighting, OrganisationShape, SightingShape};
use crate::store::attribute::{self, Attribute};
use crate::store::event::{Event, Name};
use crate::store::search::{self, Filter, Terms};
use crate::store::sighting::{self, Sighting, Wanted};

/// The answer to a GET of `add`.
pub(super) const ADD: &str = r#"{
    "name": "/sightings/add API description",
    "description": "POST a sighting of attributes, which are named by value, id or uuid.",
    "mandatory_fields": {"OR": ["values", "id"]},
    "optional_fields": ["type", "source", "timestamp", "date", "time", "filters"],
    "url": "/sightings/add"
}"#;

/// MISP looks back this far where a search says no time: 30 days.
const DEFAULT_WINDOW: i64 = 30 * 86_400;

/// What a request says of a sighting.
#[derive(Clone, Debug)]
struct Draft {
    kind: i64,
    source: String,
    date: i64,
}

impl Draft {
    fn read(fields: &Map<String, Value>, now: i64) -> Result<Self, &'static str> {
        let kind = match fields.get("type").filter(|it| !it.is_null()) {
            None => Some(0),
            Some(value) => integer(value).filter(|it| (0..=2).contains(it)),
        };
        let kind =
            kind.ok_or("Invalid type, please change it before you POST 1000000 sightings.")?;
        let source = fields.get("source").and_then(text).unwrap_or_default();
        if source.len() > MAX_NAME {
            return Err("The source has more than 255 bytes.");
        }
        let day = |name| fields.get(name).and_then(text).filter(|it| !it.is_empty());
        let date = match (fields.get("timestamp").and_then(integer), day("date")) {
            (Some(timestamp), _) => timestamp,
            (None, Some(date)) => {
                let time = day("time").unwrap_or_else(|| "00:00:00".to_owned());
                let local: Option<DateTime> = format!("{date} {time}").parse().ok();
                let instant = local.and_then(|it| it.to_zoned(TimeZone::UTC).ok());
                instant.ok_or("The date could not be read.")?.timestamp().as_second()
            }
            (None, None) => now,
        };
        Ok(Self { kind, source, date })
    }

    fn of(&self, attribute: &Attribute, reporter: u32) -> Sighting {
        Sighting {
            id: 0,
            uuid: Uuid::new_v4(),
            attribute: attribute.id,
            attribute_uuid: attribute.uuid,
            event: attribute.event,
            kind: self.kind,
            source: self.source.clone(),
            date: self.date,
            reporter,
        }
    }
}

/// What a request sights.
#[derive(Clone, Debug)]
enum Target {
    One(Name),
    /// Every attribute with one of these values, within a filter.
    Values(Box<Filter>),
}

/// `POST /sightings/add[/{attribute}]`
pub(super) fn add(api: &Api, request: &Request) -> Result<Answer, Fault> {
    const NOTHING: &str = "No valid attributes found.";
    let fields = request.body.unwrapped("Sighting");
    let target = match request.path.arg(0) {
        Some(name) => Name::parse(name).map(Target::One),
        None => target(&fields, api, request.now),
    };
    let Some(target) = target else { return Ok(not_added(NOTHING)) };
    let draft = match Draft::read(&fields, request.now) {
        Ok(draft) => draft,
        Err(reason) => return Ok(not_added(reason)),
    };
    let holder = request.holder.clone();
    let last = api.store.write(move |db| -> Result<_, Fault> {
        let mut last = None;
        for attribute in targets(db, &target)? {
            if holder.role == Role::Sensor && !sighting::is_own(db, attribute.event, holder.id)? {
                continue;
            }
            let mut sighting = draft.of(&attribute, holder.id);
            sighting.insert(db)?;
            last = Some(sighting);
        }
        Ok(last)
    })?;
    Ok(match last {
        Some(sighting) => Answer::json(&json!({ "Sighting": SightingShape::new(&sighting) })),
        None => not_added("No valid attributes found that match the criteria."),
    })
}

fn not_added(reason: &str) -> Answer {
    let text = format!("Could not add the Sighting. Reason: {reason}");
    Answer::json(&json!({ "message": text }))
}

/// Reads what is sighted. An empty value names nothing: MISP takes it for everything.
fn target(fields: &Map<String, Value>, api: &Api, now: i64) -> Option<Target> {
    if let Some(name) = ["id", "uuid"].iter().find_map(|it| fields.get(*it).and_then(text)) {
        // What is neither a number nor a uuid names no attribute, as a missing number does.
        return Some(Target::One(Name::parse(&name).unwrap_or(Name::Id(0))));
    }
    let values: Vec<String> = match (fields.get("value"), fields.get("values")) {
        (Some(value), _) => text(value).into_iter().collect(),
        (None, Some(Value::Array(list))) => list.iter().filter_map(text).collect(),
        (None, Some(value)) => text(value).into_iter().collect(),
        (None, None) => Vec::new(),
    };
    // A `%` would be a wildcard in a search; no value of an attribute that is sighted needs one.
    let values: Vec<String> = values
        .iter()
        .map(|it| it.trim())
        .filter(|it| !it.is_empty() && !it.contains('%'))
        .map(str::to_owned)
        .collect();
    if values.is_empty() {
        return None;
    }
    let within = fields.get("filters").and_then(Value::as_object).cloned().unwrap_or_default();
    let filter = filter::filter(&within, now, &api.store.organisation);
    let values = Terms { any: values, ..Terms::default() };
    Some(Target::Values(Box::new(Filter { values, page: None, ..filter })))
}

fn targets(db: &Connection, target: &Target) -> Result<Vec<Attribute>, Fault> {
    Ok(match target {
        Target::One(name) => {
            Attribute::find(db, *name)?.filter(|it| !it.deleted).into_iter().collect()
        }
        Target::Values(filter) => {
            let mut found = Vec::new();
            search::attributes(db, filter, attribute::COLUMNS, |row| {
                found.push(Attribute::read(row)?);
                Ok::<_, Fault>(())
            })?;
            found
        }
    })
}

/// One line of `bulkSaveSightings`.
#[derive(Clone, Debug)]
struct Line {
    uuid: Uuid,
    attribute: Uuid,
    draft: Draft,
}

/// `POST /sightings/bulkSaveSightings/{event}`: each with its own uuid, so that a repeat is
/// harmless. As in MISP the event is only a place to knock at: attributes of others are sighted too.
pub(super) fn add_many(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let event = request.path.arg(0).and_then(Name::parse);
    let lines = lines(&request.body, request.now);
    let holder = request.holder.clone();
    let n_added = api.store.write(move |db| {
        let event = event.map(|it| Event::find(db, it)).transpose()?.flatten();
        if event.is_none() {
            return Err(Fault::misplaced("Event not found or not accessible by this user."));
        }
        let mut n_added = 0;
        for line in lines {
            let found = Attribute::find(db, Name::Uuid(line.attribute))?;
            let Some(attribute) = found.filter(|it| !it.deleted) else { continue };
            if holder.role == Role::Sensor && !sighting::is_own(db, attribute.event, holder.id)? {
                continue;
            }
            let mut sighting = Sighting { uuid: line.uuid, ..line.draft.of(&attribute, holder.id) };
            n_added += u64::from(sighting.insert(db)?);
        }
        Ok(n_added)
    })?;
    Ok(Answer::json(&match n_added {
        0 => json!({"saved": false, "success": "No sightings added."}),
        n => json!({"saved": true, "success": format!("{n} sightings added.")}),
    }))
}

fn lines(body: &Body, now: i64) -> Vec<Line> {
    let Body::Data(body) = body else { return Vec::new() };
    let Value::Array(list) = body.get("Sighting").unwrap_or(body) else { return Vec::new() };
    let uuid = |it: &Value, name| it.get(name)?.as_str().and_then(|it| Uuid::try_parse(it).ok());
    list.iter()
        .filter_map(|it| {
            let mut fields = it.as_object()?.clone();
            if let Some(date) = fields.remove("date_sighting") {
                fields.insert("timestamp".to_owned(), date);
            }
            let attribute = uuid(it, "attribute_uuid")?;
            let draft = Draft::read(&fields, now).ok()?;
            Some(Line { uuid: uuid(it, "uuid").unwrap_or_else(Uuid::new_v4), attribute, draft })
        })
        .collect()
}

/// `POST /sightings/delete/{id}`
pub(super) fn delete(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let missing = || Fault::refused(StatusCode::NOT_FOUND, "Invalid sighting.");
    let id: i64 = request.path.arg(0).and_then(|it| it.parse().ok()).ok_or_else(missing)?;
    let holder = request.holder.clone();
    api.store.write(move |db| {
        let sighting = Sighting::find(db, id)?.ok_or_else(missing)?;
        if holder.role == Role::Sensor && sighting.reporter != holder.id {
            return Err(Fault::not_yours());
        }
        Ok::<_, Fault>(sighting.erase(db)?)
    })?;
    let url = format!("/sightings/delete/{id}");
    Ok(Answer::done("Sighting successfully deleted.", &url, Some(&id.to_string())))
}

/// `POST /sightings/listSightings[/{id}/{context}]`: the latest first.
pub(super) fn list(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let body = request.body.object();
    let said = |place, name: &str| {
        request.path.arg(place).map(str::to_owned).or_else(|| body.get(name).and_then(text))
    };
    let name = said(0, "id").as_deref().and_then(Name::parse);
    let context = said(1, "context").unwrap_or_else(|| "attribute".to_owned());
    let sightings = api.store.read(|db| -> Result<_, Fault> {
        let wanted = wanted_of(db, &context, name)?;
        let mut found = sighting::list(db, &wanted)?;
        found.sort_by_key(|it| std::cmp::Reverse(it.date));
        Ok(found)
    })?;
    let organisation = &api.store.organisation;
    let lines: Vec<_> = sightings
        .iter()
        .map(|it| {
            let by = OrganisationShape::name_alone(organisation);
            json!({ "Sighting": SightingShape::new(it), "Organisation": by })
        })
        .collect();
    Ok(Answer::json(&lines))
}

/// The sightings of one attribute or one event.
fn wanted_of(db: &Connection, context: &str, name: Option<Name>) -> Result<Wanted, Fault> {
    let name = name.unwrap_or(Name::Id(0));
    Ok(match context {
        "event" => {
            let event = Event::find(db, name)?.ok_or_else(Fault::no_event)?;
            Wanted { event: Some(event.id), ..Wanted::default() }
        }
        _ => {
            let found = Attribute::find(db, name)?;
            let missing = || Fault::refused(StatusCode::NOT_FOUND, "Invalid attribute");
            Wanted { attribute: Some(found.ok_or_else(missing)?.id), ..Wanted::default() }
        }
    })
}

/// `GET /sightings/index/{event}`
pub(super) fn index(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let event = request.path.arg(0).and_then(Name::parse).ok_or_else(Fault::no_event)?;
    let sightings = api.store.read(|db| -> Result<_, Fault> {
        let wanted = wanted_of(db, "event", Some(event))?;
        Ok(sighting::list(db, &wanted)?)
    })?;
    let organisation = &api.store.organisation;
    let lines: Vec<_> = sightings.iter().map(|it| SightingShape::inner(it, organisation)).collect();
    Ok(Answer::json(&lines))
}

/// `POST /sightings/restSearch[/attribute|/event]`. A context needs an id, which must be a JSON
/// number (MISP refuses a string), or a uuid.
pub(super) fn search(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let fields = request.body.object();
    let csv = match fields.get("returnFormat").and_then(Value::as_str) {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => {
            return Err(Fault::refused(StatusCode::NOT_FOUND, "Invalid output format."));
        }
    };
    let context = request.path.arg(0);
    let name = context.map(|_| name_of(&fields)).transpose()?;
    let found = api.store.read(|db| -> Result<_, Fault> {
        let mut wanted = match (context, name) {
            (Some(context), Some(name)) => wanted_of(db, context, Some(name))?,
            _ => Wanted::default(),
        };
        wanted.dates = Some(dates(&fields, request.now));
        wanted.source = fields.get("source").and_then(text).filter(|it| !it.is_empty());
        wanted.kinds = match fields.get("type") {
            Some(Value::Array(list)) => list.iter().filter_map(integer).collect(),
            Some(one) => integer(one).into_iter().collect(),
            None => Vec::new(),
        };
        let mut found = Vec::new();
        for sighting in sighting::list(db, &wanted)? {
            let attribute = Attribute::find(db, Name::Id(sighting.attribute))?;
            let event = Event::find(db, Name::Id(sighting.event))?;
            if let (Some(attribute), Some(event)) = (attribute, event) {
                found.push(Found { sighting, attribute, event });
            }
        }
        Ok(found)
    })?;
    let includes = |name: &str| fields.get(name).is_some_and(flag);
    Ok(match csv {
        true => as_csv(&found, includes("includeAttribute")),
        false => as_json(&found, includes, api),
    })
}

/// A sighting with what it is of.
struct Found {
    sighting: Sighting,
    attribute: Attribute,
    event: Event,
}

fn name_of(fields: &Map<String, Value>) -> Result<Name, Fault> {
    match (fields.get("id"), fields.get("uuid").and_then(Value::as_str)) {
        (Some(Value::Number(id)), _) if id.as_i64().is_some() => {
            Ok(Name::Id(id.as_i64().unwrap_or_default()))
        }
        (Some(id), _) => {
            let id = text(id).unwrap_or_default();
            let text = format!("Invalid ID `{id}` provided.");
            Err(Fault::refused(StatusCode::BAD_REQUEST, text))
        }
        (None, Some(uuid)) if Uuid::try_parse(uuid).is_ok() => {
            Ok(Name::Uuid(Uuid::try_parse(uuid).unwrap_or_default()))
        }
        (None, _) => {
            let text = "An ID or UUID must be provided if the context is set.";
            Err(Fault::refused(StatusCode::BAD_REQUEST, text))
        }
    }
}

/// The time that a search covers: `from` and `to`, or `last`, or 30 days.
fn dates(fields: &Map<String, Value>, now: i64) -> (i64, i64) {
    let instant = |name: &str| fields.get(name).and_then(|it| filter::range(it, now));
    if let Some((first, last)) = instant("last") {
        return (first, last);
    }
    match (instant("from"), instant("to")) {
        (None, None) => (now - DEFAULT_WINDOW, i64::MAX),
        (from, to) => (from.map_or(0, |it| it.0), to.map_or(i64::MAX, |it| it.0)),
    }
}

fn as_json(found: &[Found], includes: impl Fn(&str) -> bool, api: &Api) -> Answer {
    let organisation = &api.store.organisation;
    let lines: Vec<_> = found
        .iter()
        .map(|it| {
            let mut shape = SightingShape::new(&it.sighting);
            shape.value = Some(it.attribute.value.to_string());
            shape.organisation = Some(OrganisationShape::new(organisation));
            if includes("includeUuid") {
                shape.attribute_uuid = Some(it.attribute.uuid);
                shape.event_uuid = Some(it.event.uuid);
            }
            if includes("includeAttribute") {
                shape.attribute = Some(AttributeOfSighting::new(&it.attribute));
            }
            if includes("includeEvent") {
                shape.event = Some(EventOfSighting::new(&it.event, organisation));
            }
            json!({ "Sighting": shape })
        })
        .collect();
    exported(Answer::json(&json!({ "response": lines })), "json")
}

fn as_csv(found: &[Found], with_attribute: bool) -> Answer {
    let mut body = b"id,attribute_id,event_id,org_id,date_sighting,uuid,source,type".to_vec();
    if with_attribute {
        body.extend_from_slice(
            b",attribute_uuid,attribute_type,attribute_category,attribute_to_ids,attribute_value",
        );
    }
    for Found { sighting, attribute, .. } in found {
        body.push(b'\n');
        for number in [sighting.id, sighting.attribute, sighting.event, 1, sighting.date] {
            csv::number(&mut body, number);
            body.push(b',');
        }
        csv::text(&mut body, &sighting.uuid.to_string());
        body.push(b',');
        csv::text(&mut body, &sighting.source);
        body.push(b',');
        csv::number(&mut body, sighting.kind);
        if with_attribute {
            let uuid = attribute.uuid.to_string();
            for text in [&*uuid, &*attribute.kind, &*attribute.category] {
                body.push(b',');
                csv::text(&mut body, text);
            }
            body.push(b',');
            csv::number(&mut body, i64::from(attribute.to_ids));
            body.push(b',');
            csv::text(&mut body, &attribute.value.to_string());
        }
    }
    body.extend_from_slice(b"\n\n");
    exported(Answer::new(StatusCode::OK, "text/csv; charset=UTF-8", body), "csv")
}

/// MISP counts no sightings: its X-Result-Count is always 0.
fn exported(answer: Answer, format: &'static str) -> Answer {
    let zero = HeaderValue::from_static("0");
    answer
        .with(HeaderName::from_static("x-result-count"), zero.clone())
        .with(HeaderName::from_static("x-export-module-used"), HeaderValue::from_static(format))
        .with(HeaderName::from_static("x-response-format"), HeaderValue::from_static(format))
        .with(HeaderName::from_static("x-skipped-elements-count"), zero)
}
