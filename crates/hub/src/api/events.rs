//! `/events/…`: add, view, edit, publish, delete, index.

use std::collections::HashSet;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rusqlite::Connection;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::attributes::{Duplicate, add_all};
use super::draft::{self, Draft, MAX_TEXT, TagDraft};
use super::objects::ObjectDraft;
use super::{Api, filter, may_change};
use crate::answer::{Answer, Errors, Fault};
use crate::request::{Request, flag, integer, text};
use crate::shape::{
    AttributeShape, EventLine, EventMinimal, EventShape, ObjectShape, SightingShape, TagShape,
};
use crate::store::attribute::{self, Attribute, Conflict};
use crate::store::event::{self, Event, Name};
use crate::store::object::{self, Object};
use crate::store::sighting::{self, Wanted};
use crate::store::tag::{self, Attached, Carrier};
use crate::store::{Organisation, StoreError, search};

/// The answer to a GET of `add`.
pub(super) const ADD: &str = r#"{
    "name": "/events/add API description",
    "description": "POST an event, with or without attributes, to store it.",
    "mandatory_fields": ["info"],
    "optional_fields": ["threat_level_id", "analysis", "distribution", "uuid", "published",
        "timestamp", "date", "Attribute", "Tag"],
    "url": "/events/add"
}"#;

const NOT_ADDED: &str = "Could not add Event";

/// What a request says of an event. What it does not say is `None`.
#[derive(Clone, Debug, Default)]
struct EventDraft {
    info: Option<String>,
    date: Option<String>,
    threat_level: Option<i64>,
    analysis: Option<i64>,
    distribution: Option<i64>,
    published: Option<bool>,
    timestamp: Option<i64>,
    disable_correlation: Option<bool>,
    extends_uuid: Option<String>,
    uuid: Option<Uuid>,
    attributes: Vec<Draft>,
    objects: Vec<ObjectDraft>,
    tags: Vec<TagDraft>,
    errors: Errors,
}

impl EventDraft {
    fn read(fields: &Map<String, Value>) -> Self {
        let mut it = Self::default();
        let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
        it.info = given("info").and_then(text).map(|it| it.trim().to_owned());
        it.published = given("published").map(flag);
        it.disable_correlation = given("disable_correlation").map(flag);
        it.timestamp = given("timestamp").and_then(integer).filter(|it| *it > 0);
        it.tags = draft::tags(fields);
        if let Some(list @ Value::Array(_)) = fields.get("Attribute") {
            it.attributes = draft::drafts(list);
        }
        if let Some(Value::Array(list)) = fields.get("Object") {
            // As with attributes, the answer has no place for what is wrong with one of them.
            let objects = list.iter().filter_map(Value::as_object);
            it.objects = objects.filter_map(|it| ObjectDraft::read(it).ok()).collect();
        }
        let mut refuse = |field: &str, text: &str| {
            it.errors.insert(field.to_owned(), json!([text]));
        };
        if it.info.as_ref().is_some_and(|info| info.len() > MAX_TEXT) {
            refuse("info", "Infos have at most 65535 bytes.");
        }
        let mut number = |field: &str, range: std::ops::RangeInclusive<i64>, options: &str| {
            let number = integer(given(field)?).filter(|it| range.contains(it));
            if number.is_none() {
                refuse(field, options);
            }
            number
        };
        it.threat_level = number("threat_level_id", 1..=4, "Options: 1, 2, 3, 4");
        it.analysis = number("analysis", 0..=2, "Options : 0, 1, 2");
        it.distribution = number(
            "distribution",
            0..=3,
            "Options : Your organisation only, This community only, Connected communities, \
             All communities",
        );
        if let Some(date) = given("date").and_then(text) {
            match date.parse::<Date>() {
                Ok(date) => it.date = Some(date.to_string()),
                Err(_) => refuse("date", "Expected date format: YYYY-MM-DD"),
            }
        }
        let mut uuid = |field: &str| {
            let given = given(field).and_then(text).filter(|it| !it.is_empty())?;
            let uuid = Uuid::try_parse(&given).ok();
            if uuid.is_none() {
                refuse(field, "Please provide a valid RFC 4122 UUID");
            }
            uuid
        };
        it.uuid = uuid("uuid");
        it.extends_uuid = uuid("extends_uuid").map(|it| it.to_string());
        it
    }

    /// Changes `event` by what is said.
    fn apply(&self, event: &mut Event, now: i64) {
        if let Some(info) = &self.info {
            event.info.clone_from(info);
        }
        if let Some(date) = &self.date {
            event.date.clone_from(date);
        }
        if let Some(extends) = &self.extends_uuid {
            event.extends_uuid.clone_from(extends);
        }
        event.threat_level = self.threat_level.unwrap_or(event.threat_level);
        event.analysis = self.analysis.unwrap_or(event.analysis);
        event.distribution = self.distribution.unwrap_or(event.distribution);
        event.disable_correlation = self.disable_correlation.unwrap_or(event.disable_correlation);
        event.timestamp = self.timestamp.unwrap_or(now);
        event.published = self.published.unwrap_or(false);
        if event.published {
            event.publish_timestamp = now;
        }
    }
}

/// `POST /events/add`
pub(super) fn add(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let fields = request.body.unwrapped("Event");
    if fields.is_empty() {
        return Err(Fault::misplaced("No valid event data received."));
    }
    let draft = EventDraft::read(&fields);
    let mut errors = draft.errors.clone();
    if draft.info.as_deref().unwrap_or_default().is_empty() {
        errors.insert("info".to_owned(), json!(["valueNotEmpty"]));
    }
    if !errors.is_empty() {
        let errors = json!({ "Event": errors });
        return Err(Fault::NotSaved { name: NOT_ADDED, url: "/events/add".into(), errors });
    }
    let (holder, now) = (request.holder.clone(), request.now);
    let id = api.store.write(move |db| {
        let uuid = draft.uuid.unwrap_or_else(Uuid::new_v4);
        if let Some(event) = Event::find(db, Name::Uuid(uuid))? {
            return Err(Fault::EventExists(event.id));
        }
        if event::is_blocked(db, uuid)? {
            let text = "Event blocked by event blocklist.";
            return Err(Fault::refused(StatusCode::FORBIDDEN, text));
        }
        let mut event = Event {
            id: 0,
            uuid,
            info: String::new(),
            date: day(now),
            threat_level: 4,
            analysis: 0,
            distribution: 1,
            published: false,
            timestamp: now,
            publish_timestamp: 0,
            sighting_timestamp: 0,
            disable_correlation: false,
            extends_uuid: String::new(),
            n_attributes: 0,
            creator: holder.id,
            creator_email: holder.email(),
        };
        draft.apply(&mut event, now);
        event.insert(db)?;
        // MISP's answer has no place for what is wrong with one of them: it is left out.
        add_all(db, event.id, &draft.attributes, Duplicate::Refuse, now)?;
        for object in &draft.objects {
            // A part that is wrong leaves its object out, and nothing of it.
            let _ = object.store(db, &event, now)?;
        }
        draft::attach(db, &draft.tags, Carrier::Event(event.id))?;
        event.update(db)?; // what was added has made it newer and unpublished
        Ok(event.id)
    })?;
    shown(api, Name::Id(id), Content::WithoutDeleted)
}

/// The day of an instant, in UTC.
fn day(now: i64) -> String {
    let instant = Timestamp::from_second(now).unwrap_or_default();
    instant.to_zoned(TimeZone::UTC).date().to_string()
}

/// `GET /events/view/{event}[/deleted:1]`
pub(super) fn view(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let name = request.path.arg(0).and_then(Name::parse).ok_or_else(Fault::no_event)?;
    let deleted = request.path.named("deleted").map(Value::from);
    let deleted = deleted.as_ref().or(request.body.object().get("deleted")).is_some_and(flag);
    shown(api, name, if deleted { Content::WithDeleted } else { Content::WithoutDeleted })
}

fn shown(api: &Api, name: Name, content: Content) -> Result<Answer, Fault> {
    let whole = api.store.read(|db| -> Result<_, Fault> {
        let event = Event::find(db, name)?.ok_or_else(Fault::no_event)?;
        Ok(Whole::load(db, event, content)?)
    })?;
    Ok(Answer::json(&json!({ "Event": whole.shape(&api.store.organisation) })))
}

/// How much of an event is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    Metadata,
    WithoutDeleted,
    WithDeleted,
}

/// An event with what is shown of it.
#[derive(Debug)]
pub(crate) struct Whole {
    event: Event,
    tags: Vec<Attached>,
    attributes: Option<Vec<Held>>,
    objects: Vec<(Object, Vec<Held>)>,
}

/// An attribute with what is shown of it.
#[derive(Debug)]
struct Held {
    attribute: Attribute,
    tags: Vec<Attached>,
    sightings: Vec<sighting::Sighting>,
}

impl Whole {
    pub(crate) fn load(
        db: &Connection,
        event: Event,
        content: Content,
    ) -> Result<Self, StoreError> {
        let tags = tag::of(db, Carrier::Event(event.id))?;
        if content == Content::Metadata {
            return Ok(Self { event, tags, attributes: None, objects: Vec::new() });
        }
        let mut tagged = tag::of_attributes(db, event.id)?;
        let wanted = Wanted { event: Some(event.id), ..Wanted::default() };
        let mut seen = std::collections::HashMap::<i64, Vec<_>>::new();
        for sighting in sighting::list(db, &wanted)? {
            seen.entry(sighting.attribute).or_default().push(sighting);
        }
        let held = attribute::of_event(db, event.id, content == Content::WithDeleted)?;
        let deleted_too = content == Content::WithDeleted;
        let objects = object::of_event(db, event.id, deleted_too)?;
        let mut objects: Vec<_> = objects.into_iter().map(|it| (it, Vec::new())).collect();
        let mut alone = Vec::with_capacity(held.len());
        for attribute in held {
            let held = Held {
                tags: tagged.remove(&attribute.id).unwrap_or_default(),
                sightings: seen.remove(&attribute.id).unwrap_or_default(),
                attribute,
            };
            // Both lists are in the order of their numbers.
            let whole = objects.binary_search_by_key(&held.attribute.object, |(it, _)| it.id);
            match whole {
                Ok(place) => objects[place].1.push(held),
                Err(_) if held.attribute.object == 0 => alone.push(held),
                Err(_) => {} // of a deleted object, and not asked for
            }
        }
        Ok(Self { event, tags, attributes: Some(alone), objects })
    }

    /// Tells nothing of the attributes with these numbers.
    pub(crate) fn leave_out(&mut self, ids: &HashSet<i64>) {
        let objects = self.objects.iter_mut().map(|(_, parts)| parts);
        for held in self.attributes.iter_mut().chain(objects) {
            held.retain(|it| !ids.contains(&it.attribute.id));
        }
    }

    pub(crate) fn shape<'a>(&'a self, organisation: &'a Organisation) -> EventShape<'a> {
        let mut shape = match &self.attributes {
            None => EventShape::metadata(&self.event, organisation),
            Some(held) => {
                let shapes = |held: &'a [Held]| {
                    held.iter().map(|it| it.shape(organisation)).collect::<Vec<_>>()
                };
                let objects = self.objects.iter();
                let objects = objects.map(|(it, parts)| ObjectShape::inner(it, shapes(parts)));
                EventShape::whole(&self.event, shapes(held), objects.collect(), organisation)
            }
        };
        shape.tags = self.tags.iter().map(TagShape::inner).collect();
        shape
    }
}

impl Held {
    fn shape<'a>(&'a self, organisation: &'a Organisation) -> AttributeShape<'a> {
        let mut shape = AttributeShape::inner(&self.attribute);
        shape.tags = self.tags.iter().map(TagShape::inner).collect();
        let sightings = self.sightings.iter();
        shape.sightings = sightings.map(|it| SightingShape::inner(it, organisation)).collect();
        shape
    }
}

/// `POST /events/edit/{event}`: what the request does not say stays; its attributes are added,
/// or changed where the uuid is known and the request is newer.
pub(super) fn edit(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let name = request.path.arg(0).and_then(Name::parse).ok_or_else(Fault::no_event)?;
    let draft = EventDraft::read(&request.body.unwrapped("Event"));
    let mut errors = draft.errors.clone();
    if draft.info.as_ref().is_some_and(String::is_empty) {
        errors.insert("info".to_owned(), json!(["valueNotEmpty"]));
    }
    if !errors.is_empty() {
        let errors = json!({ "Event": errors });
        let name = "Could not edit Event";
        return Err(Fault::NotSaved { name, url: "/events/edit".into(), errors });
    }
    let request = request.clone();
    let id = api.store.write(move |db| {
        let mut event = Event::find(db, name)?.ok_or_else(Fault::no_event)?;
        if !may_change(&request, event.creator) {
            return Err(Fault::not_yours());
        }
        draft.apply(&mut event, request.now);
        let mut fresh = Vec::new();
        for draft in &draft.attributes {
            if !edit_one(db, &event, draft, request.now)? {
                fresh.push(draft.clone());
            }
        }
        add_all(db, event.id, &fresh, Duplicate::Refuse, request.now)?;
        for object in &draft.objects {
            edit_object(db, &event, object, request.now)?;
        }
        draft::attach(db, &draft.tags, Carrier::Event(event.id))?;
        event.update(db)?;
        Ok::<_, Fault>(event.id)
    })?;
    shown(api, Name::Id(id), Content::WithoutDeleted)
}

/// Changes the attribute that the draft's uuid names; `false` when there is none of it.
fn edit_one(db: &Connection, event: &Event, draft: &Draft, now: i64) -> Result<bool, Fault> {
    let Some(uuid) = draft.uuid else { return Ok(false) };
    let Some(mut stored) = Attribute::find(db, Name::Uuid(uuid))? else { return Ok(false) };
    let older = draft.timestamp.is_some_and(|it| it <= stored.timestamp);
    if stored.event != event.id || older {
        return Ok(true);
    }
    let before = i64::from(!stored.deleted);
    if draft.apply(&mut stored, now).is_ok()
        && (stored.deleted || stored.conflict(db)?.similar.is_none())
    {
        stored.update(db)?;
        draft.tag(db, &stored)?;
        event::touch(db, event.id, now, i64::from(!stored.deleted) - before)?;
    }
    Ok(true)
}

/// Changes the parts of the object that the draft's uuid names, or adds the object.
fn edit_object(db: &Connection, event: &Event, draft: &ObjectDraft, now: i64) -> Result<(), Fault> {
    let known = draft.uuid.map(|it| Object::find(db, Name::Uuid(it))).transpose()?.flatten();
    let Some(object) = known else {
        // A part that is wrong leaves its object out, and nothing of it.
        let _ = draft.store(db, event, now)?;
        return Ok(());
    };
    for part in &draft.parts {
        if object.event == event.id && !edit_one(db, event, part, now)? {
            add_part(db, &object, part, now)?;
        }
    }
    Ok(())
}

/// Adds a part to an object; one that is wrong is left out.
fn add_part(db: &Connection, object: &Object, draft: &Draft, now: i64) -> Result<(), Fault> {
    let Ok(part) = draft.attribute(object.event, now) else { return Ok(()) };
    let relation = draft.relation.clone();
    let mut part = Attribute { object: object.id, relation, ..part };
    if part.insert(db)? == Conflict::default() {
        draft.tag(db, &part)?;
        event::touch(db, object.event, now, 1)?;
    }
    Ok(())
}

/// `POST /events/publish/{event}`
pub(super) fn publish(api: &Api, request: &Request) -> Result<Answer, Fault> {
    set_published(api, request, true, "Event published without alerts")
}

/// `POST /events/unpublish/{event}`
pub(super) fn unpublish(api: &Api, request: &Request) -> Result<Answer, Fault> {
    set_published(api, request, false, "Event unpublished.")
}

fn set_published(
    api: &Api,
    request: &Request,
    published: bool,
    text: &str,
) -> Result<Answer, Fault> {
    let name = request.path.arg(0).and_then(Name::parse).ok_or_else(Fault::no_event)?;
    let (action, request) = (request.path.action.clone(), request.clone());
    let id = api.store.write(move |db| {
        let mut event = Event::find(db, name)?.ok_or_else(Fault::no_event)?;
        if !may_change(&request, event.creator) {
            return Err(Fault::not_yours());
        }
        event.published = published;
        if published {
            event.publish_timestamp = request.now;
        }
        event.update(db)?;
        Ok(event.id)
    })?;
    Ok(Answer::done(text, &format!("/events/{action}/{id}"), Some(&id.to_string())))
}

/// `POST /events/delete/{event}`: with all it holds; its uuid cannot come back.
pub(super) fn delete(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let asked = request.path.arg(0).unwrap_or_default().to_owned();
    let name = Name::parse(&asked);
    let request = request.clone();
    api.store.write(move |db| {
        let event = name.map(|it| Event::find(db, it)).transpose()?.flatten();
        let event = event.ok_or_else(|| Fault::NotSaved {
            name: "Could not delete Event",
            url: "/events/delete".into(),
            errors: Value::from("Event was not deleted."),
        })?;
        if !may_change(&request, event.creator) {
            return Err(Fault::not_yours());
        }
        Ok(event.delete(db, request.now)?)
    })?;
    Ok(Answer::done("Event deleted.", &format!("/events/delete/{asked}"), Some(&asked)))
}

/// `GET` or `POST /events/index`: lines without what the events hold.
pub(super) fn index(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let asked = filter::of_index(request);
    let lines = api.store.read(|db| -> Result<_, Fault> {
        let mut found = search::events(db, &asked.filter)?;
        let n_found = found.len();
        if let Some(page) = asked.filter.page {
            filter::cut(&mut found, page);
        }
        let mut lines = Vec::with_capacity(found.len());
        for id in found {
            if let Some(event) = Event::find(db, Name::Id(id))? {
                let tags = tag::of(db, Carrier::Event(id))?;
                lines.push((event, tags));
            }
        }
        Ok((n_found, lines))
    })?;
    let (mut n_found, mut lines) = lines;
    let organisation = &api.store.organisation;
    let answer = if asked.minimal {
        lines.retain(|(event, _)| event.n_attributes > 0);
        n_found = lines.len();
        let line = |(event, _): &(Event, _)| EventMinimal::new(event, organisation);
        Answer::json(&lines.iter().map(line).collect::<Vec<_>>())
    } else {
        let line = |(event, tags)| EventLine::new(event, tags, organisation);
        Answer::json(&lines.iter().map(|(event, tags)| line((event, tags))).collect::<Vec<_>>())
    };
    let count = HeaderValue::from(n_found);
    Ok(answer.with(HeaderName::from_static("x-result-count"), count))
}
