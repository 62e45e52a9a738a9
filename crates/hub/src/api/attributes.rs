//! `/attributes/…`: add, view, edit, delete.

use axum::http::{Method, StatusCode};
use rusqlite::Connection;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::draft::{Draft, drafts};
use super::{Api, may_change};
use crate::answer::{Answer, Errors, Fault};
use crate::request::{Body, Request, flag};
use crate::shape::{AttributeShape, AttributeTagShape, TagShape};
use crate::store::attribute::Attribute;
pub(super) use crate::store::attribute::Conflict;
use crate::store::event::{self, Event, Name};
use crate::store::tag::{self, Attached, Carrier};
use crate::store::warninglist;

/// The answer to a GET of `add`.
pub(super) const ADD: &str = r#"{
    "name": "/attributes/add API description",
    "description": "POST an attribute, or a list of them, to store it in the event.",
    "mandatory_fields": ["value", "type"],
    "optional_fields": ["category", "to_ids", "uuid", "distribution", "timestamp", "comment",
        "disable_correlation", "first_seen", "last_seen", "Tag"],
    "url": "/attributes/add/[event_id]"
}"#;

const NOT_ADDED: &str = "Could not add Attribute";
const SIMILAR: &str = "A similar attribute already exists for this event.";
const WARNED: &str = "Attribute could not be saved as it trips over a warninglist and \
                      enforceWarninglist is enforced.";
const UUID_TAKEN: &str = "The UUID provided is not unique";

/// A stored attribute and what it carries.
type Saved = (Attribute, Vec<Attached>);

/// What to do with an attribute that the event holds already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Duplicate {
    Refuse,
    /// Change the one that is there by what the request says.
    Update,
}

/// `POST /attributes/add/{event}[/breakOnDuplicate:0][/enforceWarninglist:1]`
pub(super) fn add(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let event = request.path.arg(0).ok_or_else(|| Fault::misplaced("No event ID set."))?;
    let event = Name::parse(event).ok_or_else(Fault::no_event)?;
    let duplicate = match request.path.named("breakOnDuplicate") {
        Some("0") => Duplicate::Update,
        _ => Duplicate::Refuse,
    };
    let body = match &*request.body {
        Body::Data(body) => body,
        Body::Absent | Body::Unread | Body::Malformed => &Value::Null,
    };
    let mut drafts = drafts(body);
    if request.path.named("enforceWarninglist") == Some("1") {
        drafts.iter_mut().for_each(|it| it.enforces_warninglists = true);
    }
    if let [one] = &*drafts
        && one.wants_sharing_group()
    {
        let text = "Invalid Sharing Group or not authorised.";
        return Err(Fault::refused(StatusCode::FORBIDDEN, text));
    }
    if drafts.is_empty() {
        return Err(not_added(json!({"type": ["No type set."]})));
    }
    let request = request.clone();
    let outcomes = api.store.write(move |db| {
        let event = Event::find(db, event)?.ok_or_else(Fault::no_event)?;
        if !may_change(&request, event.creator) {
            return Err(Fault::not_yours());
        }
        add_all(db, event.id, &drafts, duplicate, request.now)
    })?;
    added(outcomes)
}

/// Adds what can be added, and unpublishes the event if anything was.
pub(super) fn add_all(
    db: &Connection,
    event: i64,
    drafts: &[Draft],
    duplicate: Duplicate,
    now: i64,
) -> Result<Vec<Result<Saved, Errors>>, Fault> {
    let mut outcomes = Vec::with_capacity(drafts.len());
    let (mut n_changed, mut n_added) = (0, 0);
    for draft in drafts {
        let outcome = match draft.attribute(event, now) {
            Ok(attribute) => match add_one(db, draft, attribute, duplicate, now)? {
                Ok((attribute, is_new)) => {
                    n_changed += 1;
                    n_added += i64::from(is_new && !attribute.deleted);
                    let tags = draft.tag(db, &attribute)?;
                    Ok((attribute, tags))
                }
                Err(errors) => Err(errors),
            },
            Err(errors) => Err(errors),
        };
        outcomes.push(outcome);
    }
    if n_changed > 0 {
        event::touch(db, event, now, n_added)?;
    }
    Ok(outcomes)
}

/// Adds one, or changes the one that is there; tells whether it is new.
fn add_one(
    db: &Connection,
    draft: &Draft,
    mut attribute: Attribute,
    duplicate: Duplicate,
    now: i64,
) -> Result<Result<(Attribute, bool), Errors>, Fault> {
    if draft.enforces_warninglists && !warninglist::warnings(db, &attribute.value.first)?.is_empty()
    {
        return Ok(Err(Errors::from_iter([("value".to_owned(), json!([WARNED]))])));
    }
    let conflict = attribute.insert(db)?;
    if conflict == Conflict::default() {
        return Ok(Ok((attribute, true)));
    }
    if let (Some(similar), Duplicate::Update) = (conflict.similar, duplicate)
        && let Some(mut stored) = Attribute::find(db, Name::Id(similar))?
    {
        return Ok(match draft.apply(&mut stored, now) {
            Ok(()) => {
                stored.update(db)?;
                Ok((stored, false))
            }
            Err(errors) => Err(errors),
        });
    }
    Ok(Err(refusal(conflict)))
}

pub(super) fn refusal(conflict: Conflict) -> Errors {
    let mut errors = Errors::new();
    if conflict.similar.is_some() {
        errors.insert("value".to_owned(), json!([SIMILAR]));
    }
    if conflict.uuid {
        errors.insert("uuid".to_owned(), json!([UUID_TAKEN]));
    }
    errors
}

/// Several are answered with a list, and what failed is named by its place; one, also as a list of
/// one, is answered as itself: PyMISP relies on both.
fn added(outcomes: Vec<Result<Saved, Errors>>) -> Result<Answer, Fault> {
    let alone = outcomes.len() == 1;
    let mut errors = Map::new();
    let mut saved = Vec::with_capacity(outcomes.len());
    for (place, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(it) => saved.push(it),
            Err(wrong) if alone => errors = wrong,
            Err(wrong) => {
                errors.insert(format!("attribute_{place}"), Value::Object(wrong));
            }
        }
    }
    if saved.is_empty() {
        return Err(not_added(Value::Object(errors)));
    }
    let errors = (!errors.is_empty()).then_some(errors);
    Ok(match &*saved {
        [(attribute, tags)] if alone => Answer::json(&AddedOne {
            attribute: AttributeShape::added(attribute),
            tags: tags.iter().map(|it| AttributeTagShape::new(attribute, it)).collect(),
        }),
        saved => {
            Answer::json(&AddedList { attributes: saved.iter().map(of_list).collect(), errors })
        }
    })
}

fn of_list((attribute, tags): &Saved) -> AttributeShape<'_> {
    let mut shape = AttributeShape::added(attribute);
    shape.tags = tags.iter().map(|it| TagShape::plain(&it.tag)).collect();
    shape
}

/// The answer to one attribute.
#[derive(Serialize)]
struct AddedOne<'a> {
    #[serde(rename = "Attribute")]
    attribute: AttributeShape<'a>,
    #[serde(rename = "AttributeTag")]
    tags: Vec<AttributeTagShape<'a>>,
}

/// The answer to a list of them.
#[derive(Serialize)]
struct AddedList<'a> {
    #[serde(rename = "Attribute")]
    attributes: Vec<AttributeShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Errors>,
}

fn not_added(errors: Value) -> Fault {
    Fault::NotSaved { name: NOT_ADDED, url: "/attributes/add".into(), errors }
}

/// `GET /attributes/view/{attribute}`
pub(super) fn view(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let name = request.path.arg(0).and_then(Name::parse);
    let found = api.store.read(|db| -> Result<_, Fault> {
        let Some(name) = name else { return Ok(None) };
        let Some(attribute) = Attribute::find(db, name)?.filter(|it| !it.deleted) else {
            return Ok(None);
        };
        let event = Event::find(db, Name::Id(attribute.event))?;
        let tags = tag::of(db, Carrier::Attribute(attribute.id))?;
        Ok(Some((attribute, event, tags)))
    })?;
    let Some((attribute, event, tags)) = found else {
        // MISP's words, and MISP's codes: 405, but 404 for HEAD.
        let missing = match request.method {
            Method::HEAD => StatusCode::NOT_FOUND,
            _ => StatusCode::METHOD_NOT_ALLOWED,
        };
        return Err(Fault::refused(missing, "Invalid attribute"));
    };
    let mut shape = AttributeShape::new(&attribute);
    shape.event_uuid = event.map(|it| it.uuid);
    shape.tags = tags.iter().map(TagShape::found).collect();
    Ok(Answer::json(&json!({ "Attribute": shape })))
}

/// `POST /attributes/edit/{attribute}`: what the request does not say stays.
pub(super) fn edit(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let name = request.path.arg(0).and_then(Name::parse).ok_or_else(no_attribute)?;
    let draft = Draft::read(&request.body.unwrapped("Attribute"));
    let request = request.clone();
    let (attribute, tags) = api.store.write(move |db| {
        let mut attribute =
            Attribute::find(db, name)?.filter(|it| !it.deleted).ok_or_else(no_attribute)?;
        may_change_attribute(db, &request, &attribute)?;
        if draft.timestamp.is_some_and(|it| it < attribute.timestamp) {
            return Err(Fault::misplaced(
                "Attribute could not be saved: Attribute in the request not newer than the local \
                 copy.",
            ));
        }
        let n_before = i64::from(!attribute.deleted);
        draft.apply(&mut attribute, request.now).map_err(not_edited)?;
        let conflict = Conflict { uuid: false, ..attribute.conflict(db)? };
        if conflict != Conflict::default() && !attribute.deleted {
            return Err(not_edited(refusal(conflict)));
        }
        attribute.update(db)?;
        draft.tag(db, &attribute)?;
        let n_after = i64::from(!attribute.deleted);
        event::touch(db, attribute.event, request.now, n_after - n_before)?;
        let tags = tag::of(db, Carrier::Attribute(attribute.id))?;
        Ok((attribute, tags))
    })?;
    let mut shape = AttributeShape::new(&attribute);
    shape.tags = tags.iter().map(|it| TagShape::carried(&it.tag)).collect();
    Ok(Answer::json(&json!({ "Attribute": shape })))
}

fn not_edited(errors: Errors) -> Fault {
    let errors = Value::Object(errors);
    Fault::NotSaved { name: "Could not edit Attribute", url: "/attributes/edit".into(), errors }
}

fn no_attribute() -> Fault {
    Fault::refused(StatusCode::NOT_FOUND, "Invalid attribute")
}

fn may_change_attribute(
    db: &Connection,
    request: &Request,
    attribute: &Attribute,
) -> Result<(), Fault> {
    let event = Event::find(db, Name::Id(attribute.event))?.ok_or_else(Fault::no_event)?;
    if may_change(request, event.creator) { Ok(()) } else { Err(Fault::not_yours()) }
}

/// `POST /attributes/delete/{attribute}[/1]`: softly, so that partners learn of it; hard with `/1`
/// or `{"hard": 1}`, so that nothing stays.
pub(super) fn delete(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let name = request.path.arg(0).and_then(Name::parse).ok_or_else(no_attribute)?;
    let hard =
        request.path.arg(1) == Some("1") || request.body.object().get("hard").is_some_and(flag);
    let request = request.clone();
    api.store.write(move |db| {
        let attribute = Attribute::find(db, name)?.ok_or_else(no_attribute)?;
        may_change_attribute(db, &request, &attribute)?;
        if attribute.deleted && !hard {
            return Err(no_attribute());
        }
        remove(db, attribute, hard, request.now)
    })?;
    Ok(Answer::json(&json!({ "message": "Attribute deleted." })))
}

/// Deletes one attribute, and unpublishes its event.
fn remove(db: &Connection, mut attribute: Attribute, hard: bool, now: i64) -> Result<(), Fault> {
    let n_gone = i64::from(!attribute.deleted);
    if hard {
        attribute.erase(db)?;
    } else {
        attribute.deleted = true;
        attribute.timestamp = now;
        attribute.update(db)?;
    }
    event::touch(db, attribute.event, now, -n_gone)?;
    Ok(())
}

/// `POST /attributes/restore/{attribute}`: takes a soft deletion back.
pub(super) fn restore(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let name = request.path.arg(0).and_then(Name::parse).ok_or_else(no_attribute)?;
    let request = request.clone();
    let id = api.store.write(move |db| {
        let found = Attribute::find(db, name)?.filter(|it| it.deleted);
        let mut attribute = found.ok_or_else(no_attribute)?;
        may_change_attribute(db, &request, &attribute)?;
        if attribute.conflict(db)?.similar.is_some() {
            return Err(Fault::misplaced(SIMILAR));
        }
        attribute.deleted = false;
        attribute.timestamp = request.now;
        attribute.update(db)?;
        event::touch(db, attribute.event, request.now, 1)?;
        Ok(attribute.id)
    })?;
    Ok(Answer::redirect(StatusCode::FOUND, &format!("/attributes/view/{id}")))
}

/// `POST /attributes/deleteSelected/{event}` with `{"id": [..], "allow_hard_delete": 0}`
pub(super) fn delete_selected(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let event = request.path.arg(0).and_then(Name::parse).ok_or_else(Fault::no_event)?;
    let body = request.body.unwrapped("Attribute");
    let hard = body.get("allow_hard_delete").is_some_and(flag);
    let names: Vec<Name> = match body.get("id") {
        Some(Value::Array(list)) => {
            list.iter().filter_map(crate::request::text).filter_map(|it| Name::parse(&it)).collect()
        }
        Some(one) => {
            crate::request::text(one).and_then(|it| Name::parse(&it)).into_iter().collect()
        }
        None => Vec::new(),
    };
    let request2 = request.clone();
    let (event, n_deleted) = api.store.write(move |db| {
        let event = Event::find(db, event)?.ok_or_else(Fault::no_event)?;
        if !may_change(&request2, event.creator) {
            return Err(Fault::not_yours());
        }
        let mut n_deleted = 0;
        for name in names {
            let found = Attribute::find(db, name)?;
            if let Some(attribute) = found.filter(|it| it.event == event.id && !it.deleted) {
                remove(db, attribute, hard, request2.now)?;
                n_deleted += 1;
            }
        }
        Ok::<_, Fault>((event, n_deleted))
    })?;
    let text = match n_deleted {
        1 => "1 attribute deleted.".to_owned(),
        n => format!("{n} attributes deleted."),
    };
    let url = format!("/attributes/deleteSelected/{}", event.id);
    Ok(Answer::done(&text, &url, Some(&event.id.to_string())))
}
