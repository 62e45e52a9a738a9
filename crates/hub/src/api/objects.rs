//! `/objects/…`: attributes that belong together, by a template.

use axum::http::StatusCode;
use rusqlite::Connection;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::attributes::{Conflict, refusal};
use super::draft::{Draft, drafts};
use super::{Api, may_change};
use crate::answer::{Answer, Errors, Fault};
use crate::request::{Request, integer, text};
use crate::seen;
use crate::shape::{AttributeShape, ObjectShape};
use crate::store::attribute::Attribute;
use crate::store::event::{self, Event, Name};
use crate::store::object::Object;

/// The answer to a GET of `add`.
pub(super) const ADD: &str = r#"{
    "name": "/objects/add API description",
    "description": "POST an object with its attributes to store it in the event.",
    "mandatory_fields": ["name", "meta-category", "template_uuid", "template_version", "Attribute"],
    "optional_fields": ["description", "comment", "distribution", "uuid", "first_seen",
        "last_seen"],
    "url": "/objects/add/[event_id]"
}"#;

/// A template that the hub knows: MISP/misp-objects, `fail2ban`, version 6. Objects of any other
/// are taken as they come, if they bring a description.
const FAIL2BAN: Template = Template {
    uuid: "32f7ded6-e774-4401-81b0-79634e82f589",
    description: "Fail2ban event",
    required: &["banned-ip", "processing-timestamp", "attack-type"],
};

struct Template {
    uuid: &'static str,
    description: &'static str,
    required: &'static [&'static str],
}

/// What a request says of an object.
#[derive(Clone, Debug)]
pub(super) struct ObjectDraft {
    pub(super) uuid: Option<Uuid>,
    name: String,
    meta_category: String,
    description: String,
    template_uuid: String,
    template_version: String,
    comment: String,
    distribution: Option<i64>,
    first_seen: Option<i64>,
    last_seen: Option<i64>,
    pub(super) parts: Vec<Draft>,
}

impl ObjectDraft {
    /// Reads an object, or says in MISP's words why it is none.
    pub(super) fn read(fields: &Map<String, Value>) -> Result<Self, String> {
        let given = |name: &str| fields.get(name).and_then(text).unwrap_or_default();
        let parts = match fields.get("Attribute") {
            Some(list @ Value::Array(_)) => drafts(list),
            _ => Vec::new(),
        };
        if parts.is_empty() {
            return Err("Could not save the object as no attributes were set.".to_owned());
        }
        let mut it = Self {
            uuid: fields.get("uuid").and_then(text).and_then(|it| Uuid::try_parse(&it).ok()),
            name: given("name"),
            meta_category: given("meta-category"),
            description: given("description"),
            template_uuid: given("template_uuid"),
            template_version: given("template_version"),
            comment: given("comment"),
            distribution: fields.get("distribution").and_then(integer),
            first_seen: seen::parse(&given("first_seen")),
            last_seen: seen::parse(&given("last_seen")),
            parts,
        };
        if it.template_uuid == FAIL2BAN.uuid {
            FAIL2BAN.description.clone_into(&mut it.description);
            let has = |relation: &&&str| {
                it.parts.iter().any(|part| part.relation.as_deref() == Some(**relation))
            };
            if let Some(missing) = FAIL2BAN.required.iter().find(|it| !has(it)) {
                return Err(format!(
                    "Could not save the object as a required attribute is not set ({missing})"
                ));
            }
        }
        let template = [
            ("name", &it.name),
            ("meta-category", &it.meta_category),
            ("template_uuid", &it.template_uuid),
            ("template_version", &it.template_version),
            ("description", &it.description),
        ];
        let lacking: Vec<&str> =
            template.iter().filter(|(_, it)| it.is_empty()).map(|(name, _)| *name).collect();
        if !lacking.is_empty() {
            return Err(format!(
                "Object could not be saved.\ntemplate: No valid template found and object lacking \
                 template information. ({})",
                lacking.join(", ")
            ));
        }
        Ok(it)
    }

    /// Stores the object with all its parts; or says which part is wrong.
    pub(super) fn store(
        &self,
        db: &Connection,
        event: &Event,
        now: i64,
    ) -> Result<Result<Stored, (String, Errors)>, Fault> {
        let mut object = Object {
            id: 0,
            event: event.id,
            uuid: self.uuid.unwrap_or_else(Uuid::new_v4),
            name: self.name.clone(),
            meta_category: self.meta_category.clone(),
            description: self.description.clone(),
            template_uuid: self.template_uuid.clone(),
            template_version: self.template_version.clone(),
            comment: self.comment.clone(),
            distribution: self.distribution.unwrap_or(event.distribution),
            deleted: false,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            timestamp: now,
        };
        let mut parts = Vec::with_capacity(self.parts.len());
        for draft in &self.parts {
            match draft.attribute(event.id, now) {
                Ok(part) => parts.push(Attribute { relation: draft.relation.clone(), ..part }),
                Err(errors) => {
                    return Ok(Err((draft.relation.clone().unwrap_or_default(), errors)));
                }
            }
        }
        object.insert(db)?;
        for (draft, part) in self.parts.iter().zip(&mut parts) {
            part.object = object.id;
            let conflict = part.insert(db)?;
            if conflict != Conflict::default() {
                object.erase(db)?;
                let relation = part.relation.clone().unwrap_or_default();
                return Ok(Err((relation, refusal(conflict))));
            }
            draft.tag(db, part)?;
        }
        let n_added = i64::try_from(parts.len()).unwrap_or(i64::MAX);
        event::touch(db, event.id, now, n_added)?;
        Ok(Ok(Stored { object, parts }))
    }

    /// A live object of the event that says just the same.
    fn same(&self, db: &Connection, event: i64, now: i64) -> Result<Option<Object>, Fault> {
        let said = |it: &Attribute| {
            (it.relation.clone(), it.kind.clone(), it.category.clone(), it.value.to_string())
        };
        let ours = self.parts.iter().map(|draft| {
            let part = draft.attribute(event, now).ok()?;
            Some(said(&Attribute { relation: draft.relation.clone(), ..part }))
        });
        let Some(mut ours) = ours.collect::<Option<Vec<_>>>() else { return Ok(None) };
        ours.sort();
        for object in crate::store::object::of_event(db, event, false)? {
            if object.template_uuid != self.template_uuid {
                continue;
            }
            let parts = object.parts(db)?;
            let mut theirs: Vec<_> = parts.iter().filter(|it| !it.deleted).map(said).collect();
            theirs.sort();
            if ours == theirs {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }
}

/// An object with its parts.
#[derive(Debug)]
pub(super) struct Stored {
    object: Object,
    parts: Vec<Attribute>,
}

/// `POST /objects/add/{event}[/{template}][/breakOnDuplicate:1]`
pub(super) fn add(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let name = request.path.arg(0).and_then(Name::parse).ok_or_else(no_event)?;
    let draft = ObjectDraft::read(&request.body.unwrapped("Object")).map_err(not_added)?;
    let must_be_new = request.path.named("breakOnDuplicate") == Some("1");
    let request = request.clone();
    let stored = api.store.write(move |db| {
        let event = Event::find(db, name)?.ok_or_else(no_event)?;
        if !may_change(&request, event.creator) {
            return Err(Fault::not_yours());
        }
        if must_be_new && let Some(same) = draft.same(db, event.id, request.now)? {
            return Err(not_added(format!(
                "Object could not be saved.\nvalue: Duplicate object found (id: {}, uuid: {}). \
                 Since breakOnDuplicate is set the object will not be added.",
                same.id, same.uuid
            )));
        }
        draft.store(db, &event, request.now)?.map_err(|(relation, errors)| {
            let errors = Value::Object(errors);
            let text = format!(
                "Could not save object as at least one attribute has failed validation \
                 ({relation}). {errors}"
            );
            let (name, url) = ("Could not add object", format!("/objects/add/{}/", event.id));
            Fault::NotSaved { name, url: url.into(), errors: Value::from(text) }
        })
    })?;
    let parts = stored.parts.iter().map(AttributeShape::added).collect();
    Ok(Answer::json(&json!({ "Object": ObjectShape::added(&stored.object, parts) })))
}

fn not_added(text: String) -> Fault {
    let errors = Value::from(text);
    Fault::NotSaved { name: "Could not add Object", url: "/objects/add".into(), errors }
}

fn no_event() -> Fault {
    Fault::refused(StatusCode::NOT_FOUND, "Invalid event.")
}

fn no_object() -> Fault {
    Fault::refused(StatusCode::NOT_FOUND, "Invalid object.")
}

/// `GET /objects/view/{object}`
pub(super) fn view(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let name = request.path.arg(0).and_then(Name::parse).ok_or_else(no_object)?;
    let (object, parts) = api.store.read(|db| -> Result<_, Fault> {
        let object = Object::find(db, name)?.filter(|it| !it.deleted).ok_or_else(no_object)?;
        let parts = object.parts(db)?;
        Ok((object, parts))
    })?;
    let parts = parts.iter().filter(|it| !it.deleted).map(AttributeShape::added).collect();
    Ok(Answer::json(&json!({ "Object": ObjectShape::added(&object, parts) })))
}

/// `POST /objects/delete/{object}`: softly, with its parts.
pub(super) fn delete(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let name = request.path.arg(0).and_then(Name::parse).ok_or_else(no_object)?;
    let request = request.clone();
    let event = api.store.write(move |db| {
        let object = Object::find(db, name)?.filter(|it| !it.deleted).ok_or_else(no_object)?;
        let event = Event::find(db, Name::Id(object.event))?.ok_or_else(no_event)?;
        if !may_change(&request, event.creator) {
            return Err(Fault::not_yours());
        }
        let n_parts = object.delete(db, request.now)?;
        event::touch(db, event.id, request.now, -n_parts)?;
        Ok(event.id)
    })?;
    let url = format!("/objects/delete/{event}");
    Ok(Answer::done("Object deleted", &url, Some(&event.to_string())))
}
