//! What crosses the wire: events, attributes, tags, sightings, and MISP's answers.
//!
//! The same types are sent and read. What is `None` or empty is left out when sent, so that MISP's
//! own default holds; what MISP answers beside these fields is ignored. Shapes are those of MISP
//! 2.5.1.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::loose;

/// The category that MISP itself gives to addresses.
pub const NETWORK_ACTIVITY: &str = "Network activity";

/// The type of an address that traffic came from.
pub const IP_SRC: &str = "ip-src";

/// An event, the envelope of attributes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// The number that this one server knows it by.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The name that all servers know it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// Its title; not unique.
    pub info: String,
    /// The day that it speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// 1 high, 2 medium, 3 low, 4 undefined.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub threat_level_id: Option<u8>,
    /// 0 initial, 1 ongoing, 2 completed.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub analysis: Option<u8>,
    /// 0 own organisation, 1 this community, 2 connected communities, 3 all, 4 a sharing group.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub distribution: Option<u8>,
    /// The sharing group, where `distribution` is 4.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub sharing_group_id: Option<u64>,
    /// Whether partners see it; an added attribute takes this away.
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub published: Option<bool>,
    /// When it was last changed.
    #[serde(with = "loose::epoch", skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// When it was last published; epoch 0 where it never was.
    #[serde(with = "loose::epoch", skip_serializing_if = "Option::is_none")]
    pub publish_timestamp: Option<Timestamp>,
    /// How many attributes it holds.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub attribute_count: Option<u64>,
    /// Its tags. MISP creates an unknown one where the key may, else leaves it out silently.
    #[serde(rename = "Tag", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Its attributes; invalid ones are dropped silently when an event is added.
    #[serde(rename = "Attribute", skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
}

/// An attribute: one indicator in one event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attribute {
    /// The number that this one server knows it by.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The event that holds it.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub event_id: Option<u64>,
    /// The name that all servers know it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// Its type, such as `ip-src`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its category; MISP knows a default for each type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Which part of an object it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_relation: Option<String>,
    /// Its value. MISP normalises it: IPv6 in lower case and compressed, `/32` and `/128` dropped.
    pub value: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether detection shall act on it.
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub to_ids: Option<bool>,
    /// When it was last changed.
    #[serde(with = "loose::epoch", skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// As an event's, and 5 to inherit from the event.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub distribution: Option<u8>,
    /// When it was seen first.
    #[serde(with = "loose::iso", skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Timestamp>,
    /// When it was seen last; never before `first_seen`.
    #[serde(with = "loose::iso", skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// Whether MISP shall not look for it in other events.
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub disable_correlation: Option<bool>,
    /// Whether an analyst deleted it (MISP keeps it and its uuid).
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub deleted: Option<bool>,
    /// Its tags, as objects: MISP 2.5.1 answers 500 to bare names, and saves all the same.
    #[serde(rename = "Tag", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
}

/// A tag by its name.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tag {
    /// The number that this one server knows it by.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Such as `tlp:green`.
    pub name: String,
    /// Such as `#33ff00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour: Option<String>,
}

impl From<&str> for Tag {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// Attributes that belong together, by a template of MISP/misp-objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Object {
    /// The name that all servers know it by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// The template's name.
    pub name: String,
    /// The template's category.
    #[serde(rename = "meta-category")]
    pub meta_category: String,
    /// What it is, in the template's words; a MISP without the template takes none without.
    pub description: String,
    /// The template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_uuid: Option<Uuid>,
    /// Its version.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub template_version: Option<u32>,
    /// What it is about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Its parts.
    #[serde(rename = "Attribute")]
    pub attributes: Vec<Attribute>,
}

/// Values that are known to be harmless, or at least to be what they seem.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Warninglist {
    /// The number that this one server knows it by.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Its name.
    pub name: String,
    /// How its entries match: `cidr`, `string`, `hostname`, `substring`, `regex`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Grows with each change.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The entries, where they were asked for.
    #[serde(rename = "WarninglistEntry", skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<WarninglistEntry>,
}

/// One entry of a warninglist.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WarninglistEntry {
    /// What it matches.
    pub value: String,
}

/// What a sighting says of an attribute.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SightingKind {
    /// It was seen again.
    #[default]
    Seen,
    /// It is no indicator.
    FalsePositive,
    /// It is over.
    Expiration,
}

impl SightingKind {
    /// MISP's number for it.
    pub fn number(self) -> u8 {
        match self {
            Self::Seen => 0,
            Self::FalsePositive => 1,
            Self::Expiration => 2,
        }
    }
}

/// A sighting as bulkSaveSightings takes it: the same uuid again changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sighting {
    /// Its own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// The attribute that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribute_uuid: Option<Uuid>,
    /// When.
    #[serde(with = "loose::epoch", skip_serializing_if = "Option::is_none")]
    pub date_sighting: Option<Timestamp>,
    /// [`SightingKind::number`].
    #[serde(rename = "type", with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub kind: Option<u8>,
    /// Who saw it; MISP 2.5.1 answers 500 past 255 bytes.
    pub source: String,
}

/// `servers/getVersion`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Such as `2.5.1`.
    pub version: String,
    /// Whether the key may add sightings.
    #[serde(default, with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub perm_sighting: Option<bool>,
    /// Whether the key may synchronise.
    #[serde(default, with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub perm_sync: Option<bool>,
    /// The server's clock, from the head of its answer.
    #[serde(skip)]
    pub clock: Option<Timestamp>,
}

/// `users/view/me`: whose key it is, and what it may.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Me {
    /// The user.
    #[serde(rename = "User")]
    pub user: User,
    /// Their role.
    #[serde(rename = "Role")]
    pub role: Role,
}

/// The user of a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// The number that this one server knows them by.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Their organisation.
    #[serde(with = "loose::number", skip_serializing_if = "Option::is_none")]
    pub org_id: Option<u64>,
    /// Their name at MISP.
    pub email: String,
    /// Whether they may do nothing.
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// What a role may do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Add events and attributes.
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub perm_add: Option<bool>,
    /// Change what its user made.
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub perm_modify: Option<bool>,
    /// Change what its organisation made.
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub perm_modify_org: Option<bool>,
    /// Publish events.
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub perm_publish: Option<bool>,
    /// Attach tags.
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub perm_tagger: Option<bool>,
    /// Create tags.
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub perm_tag_editor: Option<bool>,
    /// Add sightings.
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub perm_sighting: Option<bool>,
    /// Everything.
    #[serde(with = "loose::flag", skip_serializing_if = "Option::is_none")]
    pub perm_site_admin: Option<bool>,
}

/// What MISP says when it refuses, with whatever status: 403 for a wrong key, a missing right,
/// a duplicate and an invalid value alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fault {
    /// The text, once.
    pub name: String,
    /// The same text again.
    pub message: String,
    /// The path that was called.
    pub url: String,
    /// What is wrong with which field, or a bare text, or the faults of a batch by `attribute_N`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Errors>,
}

impl Fault {
    /// The text that says what is wrong.
    pub fn text(&self) -> &str {
        if self.message.is_empty() { &self.name } else { &self.message }
    }
}

/// `errors` of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Errors {
    /// By field, or a bare text.
    Fields(FieldErrors),
    /// By item of a batch: `attribute_N`, and there by field.
    Items(BTreeMap<String, FieldErrors>),
    /// Any other shape.
    Other(serde_json::Value),
}

/// What is wrong with an item, by field; by no field, if MISP answers a bare text for it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(from = "FieldErrorsShape")]
pub struct FieldErrors(pub BTreeMap<String, Vec<String>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum FieldErrorsShape {
    Text(String),
    Fields(BTreeMap<String, Vec<String>>),
}

impl From<FieldErrorsShape> for FieldErrors {
    fn from(shape: FieldErrorsShape) -> Self {
        match shape {
            FieldErrorsShape::Text(text) => Self(BTreeMap::from([(String::new(), vec![text])])),
            FieldErrorsShape::Fields(fields) => Self(fields),
        }
    }
}

impl fmt::Display for FieldErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (field, texts)) in self.0.iter().enumerate() {
            let gap = if n == 0 { "" } else { "; " };
            let colon = if field.is_empty() { "" } else { ": " };
            write!(out, "{gap}{field}{colon}{}", texts.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed row shall end the test")]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_and_flags_in_either_shape() {
        let strings = r#"{"id":"39","type":"ip-src","value":"203.0.113.1","to_ids":"0",
            "timestamp":"1795328415","first_seen":"2026-11-20T10:00:00.000000+00:00",
            "last_seen":null,"object_relation":null}"#;
        let numbers = r#"{"id":39,"type":"ip-src","value":"203.0.113.1","to_ids":false,
            "timestamp":1795328415,"first_seen":"2026-11-20T12:00:00+02:00"}"#;
        let strings: Attribute = serde_json::from_str(strings).unwrap();
        let numbers: Attribute = serde_json::from_str(numbers).unwrap();
        assert_eq!(strings, numbers);
        assert_eq!(strings.id, Some(39));
        assert_eq!(strings.to_ids, Some(false));
    }

    #[test]
    fn leaves_out_what_is_not_given() {
        let attribute = Attribute {
            kind: IP_SRC.into(),
            value: "203.0.113.1".into(),
            first_seen: Some("2026-11-20T10:00:00Z".parse().unwrap()),
            tags: vec!["tlp:green".into()],
            ..Attribute::default()
        };
        assert_eq!(
            serde_json::to_string(&attribute).unwrap(),
            r#"{"type":"ip-src","value":"203.0.113.1","first_seen":"2026-11-20T10:00:00.000000+00:00","Tag":[{"name":"tlp:green"}]}"#
        );
    }

    #[test]
    fn reads_every_shape_of_errors() {
        let read = |text: &str| serde_json::from_str::<Errors>(text).unwrap();
        assert!(matches!(read(r#"{"value":["wrong"]}"#), Errors::Fields(_)));
        assert!(matches!(read(r#"{"attribute_1":{"value":["wrong"]}}"#), Errors::Items(_)));
        assert!(matches!(read(r#"{"attribute_1":"wrong"}"#), Errors::Items(_)));
        assert!(matches!(read(r#""Event was not deleted.""#), Errors::Fields(_)));
        assert!(matches!(read("[1]"), Errors::Other(_)));
    }
}
