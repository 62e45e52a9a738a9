//! Tags, and what carries them.

use serde::Serialize;

use super::number;
use crate::store::tag::{Attached, Tag};

/// A tag; each place shows other parts of it.
#[derive(Serialize)]
pub(crate) struct TagShape<'a> {
    #[serde(serialize_with = "number")]
    id: i64,
    name: &'a str,
    colour: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exportable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hide_tag: Option<bool>,
    numerical_value: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_galaxy: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_custom_galaxy: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relationship_type: Option<Option<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inherited: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    favourite: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribute_count: Option<i64>,
}

impl<'a> TagShape<'a> {
    /// Number, name, colour: as in the answer to an added attribute.
    pub(crate) fn plain(it: &'a Tag) -> Self {
        Self {
            id: it.id,
            name: &it.name,
            colour: &it.colour,
            exportable: None,
            org_id: None,
            user_id: None,
            hide_tag: None,
            numerical_value: None,
            is_galaxy: None,
            is_custom_galaxy: None,
            local_only: None,
            local: None,
            relationship_type: None,
            inherited: None,
            favourite: None,
            count: None,
            attribute_count: None,
        }
    }

    /// As a found attribute carries it.
    pub(crate) fn found(it: &'a Attached) -> Self {
        Self { is_galaxy: Some(false), local: Some(it.local), ..Self::plain(&it.tag) }
    }

    /// As the context of a found attribute carries it.
    pub(super) fn of_context(it: &'a Attached) -> Self {
        Self { local: Some(it.local), ..Self::plain(&it.tag) }
    }

    /// As a found attribute carries its event's.
    pub(crate) fn inherited(it: &'a Attached) -> Self {
        Self { inherited: Some(1), ..Self::plain(&it.tag) }
    }

    /// As an edited attribute carries it.
    pub(crate) fn carried(it: &'a Tag) -> Self {
        Self {
            exportable: Some(true),
            user_id: Some("0"),
            hide_tag: Some(false),
            is_galaxy: Some(false),
            is_custom_galaxy: Some(false),
            local_only: Some(false),
            ..Self::plain(it)
        }
    }

    /// As an event and what it holds carry it.
    pub(crate) fn inner(it: &'a Attached) -> Self {
        Self { local: Some(it.local), relationship_type: Some(None), ..Self::carried(&it.tag) }
    }

    /// As the tag itself.
    pub(crate) fn alone(it: &'a Tag) -> Self {
        Self { org_id: Some("0"), ..Self::carried(it) }
    }

    /// As a line of the index of tags.
    pub(crate) fn counted(it: &'a Tag, n_events: i64, n_attributes: i64) -> Self {
        Self {
            favourite: Some(false),
            count: Some(n_events),
            attribute_count: Some(n_attributes),
            ..Self::alone(it)
        }
    }
}

/// A tag on a line of the index of events.
#[derive(Serialize)]
pub(super) struct EventTagShape<'a> {
    #[serde(serialize_with = "number")]
    id: i64,
    #[serde(serialize_with = "number")]
    event_id: i64,
    #[serde(serialize_with = "number")]
    tag_id: i64,
    local: bool,
    relationship_type: &'static str,
    #[serde(rename = "Tag")]
    tag: TagOfLine<'a>,
}

#[derive(Serialize)]
struct TagOfLine<'a> {
    #[serde(serialize_with = "number")]
    id: i64,
    name: &'a str,
    colour: &'a str,
    is_galaxy: bool,
}

impl<'a> EventTagShape<'a> {
    pub(super) fn new(event: i64, it: &'a Attached) -> Self {
        let tag = TagOfLine {
            id: it.tag.id,
            name: &it.tag.name,
            colour: &it.tag.colour,
            is_galaxy: false,
        };
        Self {
            id: it.id,
            event_id: event,
            tag_id: it.tag.id,
            local: it.local,
            relationship_type: "",
            tag,
        }
    }
}
