//! The calls that MISP takes, as values: what is sent can be shown before it is sent.

use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::wire::{Attribute, Event, Object, Sighting, SightingKind};

/// The most values in one sightings/add: from about 100 on MISP's database reads its whole table
/// for each (2.3 ms a value at 50, 12 ms at 100).
pub const MAX_SIGHTED_VALUES: usize = 50;

/// One call: a path and a body. Never a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// What is called, which messages name: `attributes/add`.
    pub name: &'static str,
    /// What it is called on, the rest of the path: an event's uuid; often nothing.
    pub argument: String,
    /// The JSON that is posted; a call without one is a GET.
    pub body: Option<String>,
}

impl Call {
    /// The server's version.
    pub fn version() -> Self {
        Self::get("servers/getVersion", "")
    }

    /// Whose key this is, and what it may.
    pub fn me() -> Self {
        Self::get("users/view/me", "")
    }

    /// Adds an event.
    pub fn add_event(event: &Event) -> Self {
        Self::post("events/add", "", &json!({ "Event": event }))
    }

    /// An event without its attributes, by its id or uuid.
    pub fn event(event: &str) -> Self {
        let field = if Uuid::parse_str(event).is_ok() { "uuid" } else { "eventid" };
        let body = json!({ "returnFormat": "json", field: event, "metadata": 1 });
        Self::post("events/restSearch", "", &body)
    }

    /// Publishes an event, without mail.
    pub fn publish(event: &str) -> Self {
        Self::post("events/publish", event, &json!({}))
    }

    /// Adds attributes to an event.
    pub fn add_attributes(event: &str, attributes: &[Attribute]) -> Self {
        Self::post("attributes/add", event, &attributes)
    }

    /// Changes those fields of an attribute that `change` holds.
    pub fn edit_attribute(attribute: Uuid, change: &AttributeChange) -> Self {
        Self::post("attributes/edit", &attribute.to_string(), change)
    }

    /// The live attributes of an event that have this type and one of these values.
    pub fn find_attributes(event: &str, kind: &str, values: &[&str]) -> Self {
        let body =
            json!({ "returnFormat": "json", "eventid": event, "type": kind, "value": values });
        Self::post("attributes/restSearch", "", &body)
    }

    /// Adds an object to an event; MISP takes no more than one at a time.
    pub fn add_object(event: &str, object: &Object) -> Self {
        Self::post("objects/add", event, &json!({ "Object": object }))
    }

    /// Adds sightings of attributes whose uuids are known.
    pub fn add_sightings(event: &str, sightings: &[Sighting]) -> Self {
        Self::post("sightings/bulkSaveSightings", event, &sightings)
    }

    /// Adds a sighting to every attribute that the key sees and that holds one of `values`.
    ///
    /// # Panics
    ///
    /// On an empty value, which MISP takes for every attribute that it holds, and on more than
    /// [`MAX_SIGHTED_VALUES`].
    pub fn sight_values(values: &[&str], kind: SightingKind) -> Self {
        assert!(values.len() <= MAX_SIGHTED_VALUES, "the caller cuts values into pieces");
        assert!(values.iter().all(|value| !value.trim().is_empty()), "an empty value sights all");
        let body = json!({ "values": values, "type": kind.number().to_string() });
        Self::post("sightings/add", "", &body)
    }

    /// The sightings that an attribute got in the last thirty days, MISP's own window.
    pub fn sightings_of(attribute: u64) -> Self {
        // The id must be a number here; MISP refuses it as a string, which all other calls take.
        let body = json!({ "returnFormat": "json", "id": attribute });
        Self::post("sightings/restSearch/attribute", "", &body)
    }

    /// All tags.
    pub fn tags() -> Self {
        Self::get("tags/index", "")
    }

    /// Makes a tag; one that is there already is left as it is.
    pub fn add_tag(name: &str) -> Self {
        Self::post("tags/add", "", &json!({ "name": name }))
    }

    /// The warninglists that are switched on, without their entries.
    pub fn warninglists() -> Self {
        Self::post("warninglists/index", "", &json!({ "enabled": 1 }))
    }

    /// A warninglist with its entries.
    pub fn warninglist(id: u64) -> Self {
        Self::get("warninglists/view", &id.to_string())
    }

    pub(crate) fn get(name: &'static str, argument: &str) -> Self {
        Self { name, argument: argument.to_owned(), body: None }
    }

    pub(crate) fn post(name: &'static str, argument: &str, body: &impl Serialize) -> Self {
        let body = serde_json::to_string(body).expect("our types have text keys and no writer");
        Self { name, argument: argument.to_owned(), body: Some(body) }
    }

    /// `GET` or `POST`.
    pub fn method(&self) -> &'static str {
        if self.body.is_some() { "POST" } else { "GET" }
    }

    /// The path below the server's address.
    pub fn path(&self) -> String {
        let gap = if self.argument.is_empty() { "" } else { "/" };
        format!("/{}{gap}{}", self.name, self.argument)
    }
}

/// What shall become different in an attribute; MISP leaves alone what is not named.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AttributeChange {
    /// Whether detection shall act on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_ids: Option<bool>,
    /// When it was seen last.
    #[serde(with = "crate::loose::iso", skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<jiff::Timestamp>,
}
