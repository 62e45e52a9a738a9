//! An attribute as a request describes it, before it becomes one.

use misp::describe_types;
use misp::value::{Value as Normal, normalise};
use rusqlite::Connection;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::answer::{Errors, Fault};
use crate::request::{flag, integer, text};
use crate::seen;
use crate::store::attribute::Attribute;
use crate::store::tag::{self, Attached, Carrier, Tag};

/// MISP keeps comments, and infos of events, in columns of this many bytes.
pub(super) const MAX_TEXT: usize = 65_535;

/// MISP keeps names of tags, and sources of sightings, in columns of this many bytes.
pub(super) const MAX_NAME: usize = 255;

/// A distribution of 5: as the event's.
const INHERIT: i64 = 5;

/// What a request says of one attribute. What it does not say is `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    kind: Option<String>,
    pub(super) relation: Option<String>,
    category: Option<String>,
    value: Option<String>,
    comment: Option<String>,
    to_ids: Option<bool>,
    distribution: Option<i64>,
    disable_correlation: Option<bool>,
    deleted: Option<bool>,
    pub(super) uuid: Option<Uuid>,
    pub(super) timestamp: Option<i64>,
    first_seen: Option<Option<i64>>,
    last_seen: Option<Option<i64>>,
    /// Refuse a value that is on a warninglist.
    pub(super) enforces_warninglists: bool,
    tags: Vec<TagDraft>,
    /// What could not be read.
    errors: Errors,
}

/// A tag that a request gives by name.
#[derive(Clone, Debug)]
pub(super) struct TagDraft {
    name: String,
    colour: Option<String>,
    local: bool,
}

/// The attributes of a body: one object or a list, with or without an envelope.
pub(super) fn drafts(body: &Value) -> Vec<Draft> {
    let body = body.get("Attribute").unwrap_or(body);
    let objects = match body {
        Value::Array(list) => list.iter().collect(),
        other => vec![other],
    };
    let mut items = Vec::with_capacity(objects.len());
    for object in objects {
        let Value::Object(fields) = object else {
            items.push(Draft::default());
            continue;
        };
        let values = values(fields);
        let draft = Draft::read(fields);
        items.extend(values.into_iter().map(|value| Draft { value, ..draft.clone() }));
    }
    items
}

/// The values of one object: a list, or lines, are as many attributes.
fn values(fields: &Map<String, Value>) -> Vec<Option<String>> {
    match fields.get("value") {
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        Some(Value::String(lines)) if lines.trim().contains('\n') && is_one_line(fields) => {
            let lines = lines.lines().map(str::trim).filter(|it| !it.is_empty());
            lines.map(|it| Some(it.to_owned())).collect()
        }
        Some(value) => vec![text(value)],
        None => vec![None],
    }
}

/// Whether the type never holds a line break, so that lines are several values.
fn is_one_line(fields: &Map<String, Value>) -> bool {
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    kind.starts_with("ip-") || matches!(kind, "domain" | "hostname" | "url" | "md5" | "sha256")
}

impl Draft {
    /// Reads the fields that are known; the others are ignored.
    pub(super) fn read(fields: &Map<String, Value>) -> Self {
        let mut it = Self::default();
        let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
        it.kind = given("type").and_then(text).filter(|it| !it.is_empty());
        it.relation = given("object_relation").and_then(text).filter(|it| !it.is_empty());
        it.category = given("category").and_then(text).filter(|it| !it.is_empty());
        it.value = given("value").and_then(text);
        it.comment = given("comment").and_then(text);
        it.to_ids = given("to_ids").map(flag);
        it.disable_correlation = given("disable_correlation").map(flag);
        it.deleted = given("deleted").map(flag);
        it.timestamp = given("timestamp").and_then(integer).filter(|it| *it > 0);
        it.enforces_warninglists = given("enforceWarninglist").is_some_and(flag);
        it.tags = tags(fields);
        if it.comment.as_ref().is_some_and(|comment| comment.len() > MAX_TEXT) {
            it.errors.insert("comment".to_owned(), json!(["Comments have at most 65535 bytes."]));
        }
        if let Some(distribution) = given("distribution") {
            match integer(distribution) {
                Some(number @ (0..=3 | INHERIT)) => it.distribution = Some(number),
                Some(4) => {
                    let text = "Invalid Sharing Group or not authorised.";
                    it.errors.insert("sharing_group_id".to_owned(), json!([text]));
                }
                _ => {
                    let text = "Options: Your organisation only, This community only, Connected \
                                communities, All communities, Sharing group, Inherit event";
                    it.errors.insert("distribution".to_owned(), json!([text]));
                }
            }
        }
        if let Some(uuid) = given("uuid").and_then(text) {
            match Uuid::try_parse(&uuid) {
                Ok(uuid) => it.uuid = Some(uuid),
                Err(_) => {
                    it.errors
                        .insert("uuid".to_owned(), json!(["Please provide a valid RFC 4122 UUID"]));
                }
            }
        }
        it.first_seen = it.instant("first_seen", fields);
        it.last_seen = it.instant("last_seen", fields);
        it
    }

    fn instant(&mut self, name: &str, fields: &Map<String, Value>) -> Option<Option<i64>> {
        let read = match fields.get(name)? {
            Value::Null => Some(None),
            Value::String(text) if text.is_empty() => Some(None),
            Value::String(text) => seen::parse(text).map(Some),
            _ => None,
        };
        if read.is_none() {
            self.errors.insert(name.to_owned(), json!(["Invalid ISO 8601 format"]));
        }
        read
    }

    /// Whether a sharing group is asked for, which the hub has none of.
    pub(super) fn wants_sharing_group(&self) -> bool {
        self.errors.contains_key("sharing_group_id")
    }

    /// The new attribute that this describes.
    pub(super) fn attribute(&self, event: i64, now: i64) -> Result<Attribute, Errors> {
        let Some(kind) = &self.kind else {
            return Err(only("type", "No type set."));
        };
        let Some(defaults) = describe_types::defaults(kind) else {
            return Err(only("type", "Invalid type."));
        };
        let mut it = Attribute {
            id: 0,
            event,
            object: 0,
            relation: None,
            uuid: self.uuid.unwrap_or_else(Uuid::new_v4),
            kind: kind.clone(),
            category: defaults.category.clone(),
            value: Normal { first: String::new(), second: String::new() },
            comment: String::new(),
            to_ids: defaults.to_ids(),
            distribution: INHERIT,
            deleted: false,
            disable_correlation: false,
            first_seen: None,
            last_seen: None,
            timestamp: 0,
        };
        self.apply(&mut it, now)?;
        Ok(it)
    }

    /// Changes `it` by what is said, and leaves the rest. On an error `it` is half changed.
    pub(super) fn apply(&self, it: &mut Attribute, now: i64) -> Result<(), Errors> {
        let mut errors = self.errors.clone();
        if let Some(kind) = &self.kind {
            it.kind.clone_from(kind);
        }
        if let Some(category) = &self.category {
            it.category.clone_from(category);
        }
        if !describe_types::is_category(&it.category) {
            let text = "Options : Payload delivery, Antivirus detection, Payload installation, \
                        Files dropped ...";
            errors.insert("category".to_owned(), json!([text]));
        }
        if describe_types::defaults(&it.kind).is_none() {
            errors.insert("type".to_owned(), json!(["Invalid type."]));
        } else if !describe_types::takes(&it.category, &it.kind) {
            errors.insert("type".to_owned(), json!(["Options depend on the selected category."]));
        }
        let stored = it.value.to_string();
        match normalise(&it.kind, self.value.as_deref().unwrap_or(&stored)) {
            Ok(value) => it.value = value,
            Err(error) => {
                errors.insert("value".to_owned(), json!([error.to_string()]));
            }
        }
        if let Some(comment) = &self.comment {
            it.comment.clone_from(comment);
        }
        it.to_ids = self.to_ids.unwrap_or(it.to_ids);
        it.distribution = self.distribution.unwrap_or(it.distribution);
        it.disable_correlation = self.disable_correlation.unwrap_or(it.disable_correlation);
        it.deleted = self.deleted.unwrap_or(it.deleted);
        it.timestamp = self.timestamp.unwrap_or(now);
        it.first_seen = self.first_seen.unwrap_or(it.first_seen);
        it.last_seen = self.last_seen.unwrap_or(it.last_seen);
        if let (Some(first), Some(last)) = (it.first_seen, it.last_seen)
            && last < first
        {
            let text = "Last seen value should be greater than first seen value";
            errors.insert("last_seen".to_owned(), json!([text]));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Attaches the tags that are named, and tells what the attribute carries then.
    pub(super) fn tag(&self, db: &Connection, it: &Attribute) -> Result<Vec<Attached>, Fault> {
        attach(db, &self.tags, Carrier::Attribute(it.id))?;
        Ok(if self.tags.is_empty() { Vec::new() } else { tag::of(db, Carrier::Attribute(it.id))? })
    }
}

fn only(field: &str, text: &str) -> Errors {
    Errors::from_iter([(field.to_owned(), json!([text]))])
}

/// The tags that an object names: objects with a name, or bare names.
pub(super) fn tags(fields: &Map<String, Value>) -> Vec<TagDraft> {
    let Some(Value::Array(list)) = fields.get("Tag") else { return Vec::new() };
    list.iter()
        .filter_map(|it| {
            let name = it.get("name").unwrap_or(it).as_str()?.trim();
            let fits = !name.is_empty() && name.len() <= MAX_NAME;
            fits.then(|| TagDraft {
                name: name.to_owned(),
                colour: colour(it.get("colour")),
                local: it.get("local").is_some_and(flag),
            })
        })
        .collect()
}

/// A colour as `#aabbcc`; anything else is none.
pub(super) fn colour(value: Option<&Value>) -> Option<String> {
    let text = value?.as_str()?;
    let digits = text.strip_prefix('#')?;
    let valid = digits.len() == 6 && digits.bytes().all(|it| it.is_ascii_hexdigit());
    valid.then(|| text.to_owned())
}

/// Attaches tags, which are made where there are none of that name.
pub(super) fn attach(db: &Connection, tags: &[TagDraft], to: Carrier) -> Result<(), Fault> {
    for draft in tags {
        Tag::ensure(db, &draft.name, draft.colour.as_deref())?.attach(db, to, draft.local)?;
    }
    Ok(())
}
