//! Objects with their parts.

use serde::Serialize;
use uuid::Uuid;

use super::{AttributeShape, Never, ORGANISATION, instant, number};
use crate::store::event::Event;
use crate::store::object::Object;

/// An object with its parts.
#[derive(Serialize)]
pub(crate) struct ObjectShape<'a> {
    #[serde(serialize_with = "number")]
    id: i64,
    name: &'a str,
    #[serde(rename = "meta-category")]
    meta_category: &'a str,
    description: &'a str,
    template_uuid: &'a str,
    template_version: &'a str,
    #[serde(serialize_with = "number")]
    event_id: i64,
    uuid: Uuid,
    #[serde(serialize_with = "number")]
    timestamp: i64,
    #[serde(serialize_with = "number")]
    distribution: i64,
    sharing_group_id: &'static str,
    comment: &'a str,
    deleted: bool,
    #[serde(serialize_with = "instant")]
    first_seen: Option<i64>,
    #[serde(serialize_with = "instant")]
    last_seen: Option<i64>,
    #[serde(rename = "ObjectReference", skip_serializing_if = "Option::is_none")]
    references: Option<Never>,
    #[serde(rename = "Attribute")]
    parts: Vec<AttributeShape<'a>>,
    #[serde(rename = "Event", skip_serializing_if = "Option::is_none")]
    event: Option<EventOfObject<'a>>,
}

/// What a found object says of its event.
#[derive(Serialize)]
struct EventOfObject<'a> {
    #[serde(serialize_with = "number")]
    id: i64,
    info: &'a str,
    org_id: &'static str,
    orgc_id: &'static str,
}

impl<'a> ObjectShape<'a> {
    /// As the answer to an added object.
    pub(crate) fn added(it: &'a Object, parts: Vec<AttributeShape<'a>>) -> Self {
        Self {
            id: it.id,
            name: &it.name,
            meta_category: &it.meta_category,
            description: &it.description,
            template_uuid: &it.template_uuid,
            template_version: &it.template_version,
            event_id: it.event,
            uuid: it.uuid,
            timestamp: it.timestamp,
            distribution: it.distribution,
            sharing_group_id: "0",
            comment: &it.comment,
            deleted: it.deleted,
            first_seen: it.first_seen,
            last_seen: it.last_seen,
            references: None,
            parts,
            event: None,
        }
    }

    /// As a search finds it.
    pub(crate) fn found(
        it: &'a Object,
        parts: Vec<AttributeShape<'a>>,
        event: Option<&'a Event>,
    ) -> Self {
        let event = event.map(|it| EventOfObject {
            id: it.id,
            info: &it.info,
            org_id: ORGANISATION,
            orgc_id: ORGANISATION,
        });
        Self { event, ..Self::added(it, parts) }
    }

    /// As a part of its event.
    pub(crate) fn inner(it: &'a Object, parts: Vec<AttributeShape<'a>>) -> Self {
        Self { references: Some([]), ..Self::added(it, parts) }
    }
}
