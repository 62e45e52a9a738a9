//! `/tags/…`, and the tagging of events and attributes.

use axum::http::StatusCode;
use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::draft::{MAX_NAME, colour};
use super::{Api, may_change};
use crate::answer::{Answer, Fault};
use crate::request::{Request, flag, text};
use crate::shape::TagShape;
use crate::store::attribute::Attribute;
use crate::store::event::{self, Event, Name};
use crate::store::tag::{self, Carrier, Tag};

/// `GET /tags/index`
pub(super) fn index(api: &Api, _: &Request) -> Result<Answer, Fault> {
    let tags = api.store.read(|db| tag::list(db, "%"))?;
    let line = |(tag, n_events, n_attributes)| TagShape::counted(tag, n_events, n_attributes);
    let lines: Vec<_> = tags.iter().map(|(tag, events, of)| line((tag, *events, *of))).collect();
    Ok(Answer::json(&json!({ "Tag": lines })))
}

/// `GET /tags/search/{name}`: `%` stands for anything
pub(super) fn search(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let name = request.path.arg(0).unwrap_or_default();
    let tags = api.store.read(|db| tag::list(db, name))?;
    let lines: Vec<_> = tags.iter().map(|(tag, ..)| json!({"Tag": TagShape::alone(tag)})).collect();
    Ok(Answer::json(&lines))
}

/// `POST /tags/add`: the one that is there already is as good as a new one.
pub(super) fn add(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let fields = request.body.unwrapped("Tag");
    let name = name(fields.get("name")).ok_or_else(|| Fault::NotSaved {
        name: "Could not add Tag",
        url: "/tags/add".into(),
        errors: json!({"name": ["A tag needs a name of at most 255 bytes."]}),
    })?;
    let colour = colour(fields.get("colour"));
    let tag = api.store.write(move |db| Tag::ensure(db, &name, colour.as_deref()))?;
    Ok(Answer::json(&json!({ "Tag": TagShape::alone(&tag) })))
}

fn name(value: Option<&Value>) -> Option<String> {
    let name = text(value?)?.trim().to_owned();
    (!name.is_empty() && name.len() <= MAX_NAME).then_some(name)
}

/// What a request tags, found.
struct Tagged {
    carrier: Carrier,
    event: Event,
    /// `Event(7)`, as MISP names it in its answers.
    named: String,
}

fn event_of(db: &Connection, name: Name) -> Result<Option<Tagged>, Fault> {
    let found = Event::find(db, name)?;
    Ok(found.map(|event| Tagged {
        carrier: Carrier::Event(event.id),
        named: format!("Event({})", event.id),
        event,
    }))
}

fn attribute_of(db: &Connection, name: Name) -> Result<Option<Tagged>, Fault> {
    let found = Attribute::find(db, name)?.filter(|it| !it.deleted);
    let Some(attribute) = found else { return Ok(None) };
    let event = Event::find(db, Name::Id(attribute.event))?.ok_or_else(Fault::no_event)?;
    let named = format!("Attribute({})", attribute.id);
    Ok(Some(Tagged { carrier: Carrier::Attribute(attribute.id), named, event }))
}

/// Attaches, and notes the change; `false` when it was attached already.
fn attach_to(
    db: &Connection,
    tag: &Tag,
    to: &Tagged,
    local: bool,
    request: &Request,
) -> Result<bool, Fault> {
    if !may_change(request, to.event.creator) {
        return Err(Fault::not_yours());
    }
    let attached = tag.attach(db, to.carrier, local)?;
    if attached && !local {
        note(db, to, request.now)?;
    }
    Ok(attached)
}

/// A tag that travels makes what carries it newer, and its event unpublished.
fn note(db: &Connection, to: &Tagged, now: i64) -> Result<(), Fault> {
    if let Carrier::Attribute(id) = to.carrier
        && let Some(mut attribute) = Attribute::find(db, Name::Id(id))?
    {
        attribute.timestamp = now;
        attribute.update(db)?;
    }
    Ok(event::touch(db, to.event.id, now, 0)?)
}

/// `POST /tags/attachTagToObject {uuid, tag, local}`: makes the tag where there is none.
pub(super) fn attach(api: &Api, request: &Request) -> Result<Answer, Fault> {
    tag_object(api, request, |db, tag, to, local, request| {
        let kind = if local { "Local" } else { "Global" };
        let (name, id) = (&tag.name, tag.id);
        Ok(match attach_to(db, tag, to, local, request)? {
            true => {
                let text =
                    format!("{kind} tag {name}({id}) successfully attached to {}.", to.named);
                Ok(text)
            }
            false => Err(format!("{kind} tag {name}({id}) is already attached to {}.", to.named)),
        })
    })
}

/// `POST /tags/removeTagFromObject {uuid, tag}`
pub(super) fn detach(api: &Api, request: &Request) -> Result<Answer, Fault> {
    tag_object(api, request, |db, tag, from, _, request| {
        let (name, id) = (&tag.name, tag.id);
        if !may_change(request, from.event.creator) {
            return Err(Fault::not_yours());
        }
        Ok(match tag.detach(db, from.carrier)? {
            Some(local) => {
                if !local {
                    note(db, from, request.now)?;
                }
                let kind = if local { "Local" } else { "Global" };
                Ok(format!("{kind} tag {name} ({id}) successfully removed from {}.", from.named))
            }
            None => Err("Invalid object or tag.".to_owned()),
        })
    })
}

type TagChange =
    fn(&Connection, &Tag, &Tagged, bool, &Request) -> Result<Result<String, String>, Fault>;

fn tag_object(api: &Api, request: &Request, how: TagChange) -> Result<Answer, Fault> {
    let fields = request.body.object();
    let uuid = fields.get("uuid").and_then(text);
    let uuid = uuid.as_deref().and_then(Name::parse).filter(|it| matches!(it, Name::Uuid(_)));
    let name = name(fields.get("tag"));
    let local = fields.get("local").is_some_and(flag);
    let invalid = || Fault::misplaced("Invalid Target.");
    let (uuid, name) = (uuid.ok_or_else(invalid)?, name.ok_or_else(invalid)?);
    let (url, request) = (format!("/tags/{}", request.path.action), request.clone());
    let done = api.store.write(move |db| -> Result<_, Fault> {
        let target = match event_of(db, uuid)? {
            Some(event) => event,
            None => attribute_of(db, uuid)?.ok_or_else(invalid)?,
        };
        let tag = match Tag::find(db, &name)? {
            Some(tag) => tag,
            None => Tag::ensure(db, &name, None)?,
        };
        how(db, &tag, &target, local, &request)
    })?;
    Ok(match done {
        Ok(text) => Answer::done(&text, &url, None),
        Err(text) => {
            let body = json!({ "saved": false, "name": text, "message": text, "url": url });
            Answer::json(&body)
        }
    })
}

/// The texts in which events and attributes differ.
struct Words {
    missing: fn() -> Fault,
    attached_already: &'static str,
    no_such_tag: &'static str,
}

const EVENT: Words = Words {
    missing: Fault::no_event,
    attached_already: "Tag is already attached to this event.",
    no_such_tag: "Invalid Tag.",
};

const ATTRIBUTE: Words = Words {
    missing: no_attribute,
    attached_already: "Tag could not be added.",
    no_such_tag: "Tag could not be added.",
};

fn no_attribute() -> Fault {
    Fault::refused(StatusCode::NOT_FOUND, "Invalid attribute")
}

/// `POST /events/addTag`: the tag must be there already.
pub(super) fn add_to_event(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let (names, tag) = named(request, "event");
    add_to(api, request, names, tag, event_of, &EVENT)
}

/// `POST /attributes/addTag`: of one attribute, or of `selected` ones.
pub(super) fn add_to_attribute(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let (names, tag) = named(request, "attribute");
    add_to(api, request, names, tag, attribute_of, &ATTRIBUTE)
}

/// The targets and the tag, from `/{target}/{tag}` or from the body.
fn named(request: &Request, target: &str) -> (Vec<Option<Name>>, Option<TagName>) {
    let body = request.body.unwrapped(if target == "event" { "Event" } else { "Attribute" });
    let in_body = |name: &str| body.get(name).and_then(text);
    let tag = match request.path.arg(1) {
        Some(id) => Some(TagName::InPath(id.to_owned())),
        None => in_body("tag").map(TagName::InBody),
    };
    let targets = match request.path.arg(0) {
        Some("selected") => selected(&body),
        Some(name) => vec![Name::parse(name)],
        None => vec![in_body(target).as_deref().and_then(Name::parse)],
    };
    (targets, tag)
}

/// Where the tag is named; MISP refuses an unknown one in different words.
enum TagName {
    InPath(String),
    InBody(String),
}

/// `attribute_ids` is a JSON list, also one written as a text.
fn selected(body: &Map<String, Value>) -> Vec<Option<Name>> {
    let list: Option<Vec<Value>> = match body.get("attribute_ids") {
        Some(Value::Array(list)) => Some(list.clone()),
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        _ => None,
    };
    let names = list.unwrap_or_default();
    names.iter().map(|it| text(it).as_deref().and_then(Name::parse)).collect()
}

fn add_to(
    api: &Api,
    request: &Request,
    names: Vec<Option<Name>>,
    tag: Option<TagName>,
    find: fn(&Connection, Name) -> Result<Option<Tagged>, Fault>,
    words: &'static Words,
) -> Result<Answer, Fault> {
    let local = request.path.named("local") == Some("1")
        || request.body.object().get("local").is_some_and(flag);
    let (many, request) = (request.path.arg(0) == Some("selected"), request.clone());
    let body = api.store.write(move |db| -> Result<_, Fault> {
        let (text, unknown) = match tag {
            Some(TagName::InPath(text)) => (text, words.no_such_tag),
            Some(TagName::InBody(text)) => (text, "Invalid Tag."),
            None => (String::new(), "Invalid Tag."),
        };
        let Some(tag) = Tag::find(db, &text)? else {
            return Ok(json!({"saved": false, "errors": unknown}));
        };
        let mut n_attached = 0;
        for name in names {
            let name = name.ok_or_else(words.missing)?;
            let target = find(db, name)?.ok_or_else(words.missing)?;
            n_attached += u32::from(attach_to(db, &tag, &target, local, &request)?);
        }
        Ok(match (n_attached, many) {
            (0, _) => json!({"saved": false, "errors": words.attached_already}),
            (_, false) => json!({"saved": true, "success": "Tag added.", "check_publish": true}),
            (n, true) => {
                json!({"saved": true, "success": format!("{n} tags added"), "check_publish": true})
            }
        })
    })?;
    Ok(Answer::json(&body))
}

/// `POST /events/removeTag/{event}/{tag}`
pub(super) fn remove_from_event(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let (names, tag) = named(request, "event");
    remove_from(api, request, names, tag, event_of)
}

/// `POST /attributes/removeTag/{attribute}/{tag}`
pub(super) fn remove_from_attribute(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let (names, tag) = named(request, "attribute");
    remove_from(api, request, names, tag, attribute_of)
}

fn remove_from(
    api: &Api,
    request: &Request,
    names: Vec<Option<Name>>,
    tag: Option<TagName>,
    find: fn(&Connection, Name) -> Result<Option<Tagged>, Fault>,
) -> Result<Answer, Fault> {
    let request = request.clone();
    let removed = api.store.write(move |db| -> Result<_, Fault> {
        let Some(TagName::InPath(text) | TagName::InBody(text)) = tag else { return Ok(false) };
        let Some(tag) = Tag::find(db, &text)? else { return Ok(false) };
        let Some(name) = names.into_iter().next().flatten() else { return Ok(false) };
        let Some(target) = find(db, name)? else { return Ok(false) };
        if !may_change(&request, target.event.creator) {
            return Err(Fault::not_yours());
        }
        let was_local = tag.detach(db, target.carrier)?;
        if was_local == Some(false) {
            note(db, &target, request.now)?;
        }
        Ok(was_local.is_some())
    })?;
    Ok(Answer::json(&match removed {
        true => json!({"saved": true, "success": "Tag removed.", "check_publish": true}),
        false => json!({"saved": false, "errors": "Tag could not be removed."}),
    }))
}
