//! Attributes, with what each place tells of their event and their object.

use serde::Serialize;
use uuid::Uuid;

use super::{
    Never, ORGANISATION, OrganisationShape, SightingShape, TagShape, instant, number, value,
};
use crate::store::Organisation;
use crate::store::attribute::Attribute;
use crate::store::event::Event;
use crate::store::object::Object;
use crate::store::tag::Attached;

/// An attribute: alone, in a list, or in its event. What is `None` is left out.
#[derive(Serialize)]
pub(crate) struct AttributeShape<'a> {
    #[serde(serialize_with = "number")]
    id: i64,
    #[serde(serialize_with = "number")]
    event_id: i64,
    #[serde(serialize_with = "number")]
    object_id: i64,
    object_relation: Option<&'a str>,
    category: &'a str,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value1: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value2: Option<&'a str>,
    to_ids: bool,
    uuid: Uuid,
    #[serde(serialize_with = "number")]
    timestamp: i64,
    #[serde(serialize_with = "number")]
    distribution: i64,
    sharing_group_id: &'static str,
    comment: &'a str,
    deleted: bool,
    disable_correlation: bool,
    #[serde(serialize_with = "instant")]
    first_seen: Option<i64>,
    #[serde(serialize_with = "instant")]
    last_seen: Option<i64>,
    #[serde(serialize_with = "value")]
    value: &'a misp::value::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_uuid: Option<Uuid>,
    #[serde(rename = "Galaxy", skip_serializing_if = "Option::is_none")]
    galaxy: Option<Never>,
    #[serde(rename = "ShadowAttribute", skip_serializing_if = "Option::is_none")]
    proposals: Option<Never>,
    #[serde(rename = "Sighting", skip_serializing_if = "Vec::is_empty")]
    pub(crate) sightings: Vec<SightingShape<'a>>,
    #[serde(rename = "Event", skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<EventOfAttribute<'a>>,
    /// More of the event, in the place of `event`.
    #[serde(rename = "Event", skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<EventContext<'a>>,
    #[serde(rename = "Object", skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<ObjectOfAttribute>,
    #[serde(rename = "Tag", skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<TagShape<'a>>,
    /// The tags of a part of a found object.
    #[serde(rename = "AttributeTag", skip_serializing_if = "Option::is_none")]
    attached: Option<Vec<AttributeTagShape<'a>>>,
}

impl<'a> AttributeShape<'a> {
    pub(crate) fn new(it: &'a Attribute) -> Self {
        Self {
            id: it.id,
            event_id: it.event,
            object_id: it.object,
            object_relation: it.relation.as_deref(),
            category: &it.category,
            r#type: &it.kind,
            value1: None,
            value2: None,
            to_ids: it.to_ids,
            uuid: it.uuid,
            timestamp: it.timestamp,
            distribution: it.distribution,
            sharing_group_id: "0",
            comment: &it.comment,
            deleted: it.deleted,
            disable_correlation: it.disable_correlation,
            first_seen: it.first_seen,
            last_seen: it.last_seen,
            value: &it.value,
            event_uuid: None,
            galaxy: None,
            proposals: None,
            sightings: Vec::new(),
            event: None,
            context: None,
            object: None,
            tags: Vec::new(),
            attached: None,
        }
    }

    /// As the answer to an added attribute: with both halves of the value.
    pub(crate) fn added(it: &'a Attribute) -> Self {
        let (value1, value2) = (Some(&*it.value.first), Some(&*it.value.second));
        Self { value1, value2, ..Self::new(it) }
    }

    /// As a part of a found object.
    pub(crate) fn part(it: &'a Attribute, tags: &'a [Attached]) -> Self {
        let attached = tags.iter().map(|tag| AttributeTagShape::new(it, tag)).collect();
        Self { attached: Some(attached), ..Self::added(it) }
    }

    /// As a part of its event.
    pub(crate) fn inner(it: &'a Attribute) -> Self {
        Self { galaxy: Some([]), proposals: Some([]), ..Self::new(it) }
    }
}

/// What a found attribute says of its event.
#[derive(Clone, Serialize)]
pub(crate) struct EventOfAttribute<'a> {
    org_id: &'static str,
    #[serde(serialize_with = "number")]
    distribution: i64,
    #[serde(serialize_with = "number")]
    publish_timestamp: i64,
    #[serde(serialize_with = "number")]
    id: i64,
    info: &'a str,
    orgc_id: &'static str,
    uuid: Uuid,
}

impl<'a> EventOfAttribute<'a> {
    pub(crate) fn new(it: &'a Event) -> Self {
        Self {
            org_id: ORGANISATION,
            distribution: it.distribution,
            publish_timestamp: it.publish_timestamp,
            id: it.id,
            info: &it.info,
            orgc_id: ORGANISATION,
            uuid: it.uuid,
        }
    }
}

/// What a found attribute says of its event when context is asked for.
#[derive(Serialize)]
pub(crate) struct EventContext<'a> {
    #[serde(serialize_with = "number")]
    id: i64,
    orgc_id: &'static str,
    org_id: &'static str,
    date: &'a str,
    #[serde(serialize_with = "number")]
    threat_level_id: i64,
    info: &'a str,
    published: bool,
    uuid: Uuid,
    #[serde(serialize_with = "number")]
    analysis: i64,
    #[serde(serialize_with = "number")]
    timestamp: i64,
    #[serde(serialize_with = "number")]
    distribution: i64,
    #[serde(serialize_with = "number")]
    publish_timestamp: i64,
    sharing_group_id: &'static str,
    extends_uuid: &'a str,
    #[serde(rename = "Tag")]
    tags: Vec<TagShape<'a>>,
    #[serde(rename = "Orgc")]
    orgc: OrganisationShape<'a>,
}

impl<'a> EventContext<'a> {
    pub(crate) fn new(it: &'a Event, tags: &'a [Attached], organisation: &'a Organisation) -> Self {
        Self {
            id: it.id,
            orgc_id: ORGANISATION,
            org_id: ORGANISATION,
            date: &it.date,
            threat_level_id: it.threat_level,
            info: &it.info,
            published: it.published,
            uuid: it.uuid,
            analysis: it.analysis,
            timestamp: it.timestamp,
            distribution: it.distribution,
            publish_timestamp: it.publish_timestamp,
            sharing_group_id: "0",
            extends_uuid: &it.extends_uuid,
            tags: tags.iter().map(TagShape::of_context).collect(),
            orgc: OrganisationShape { local: Some(true), ..OrganisationShape::new(organisation) },
        }
    }
}

/// What a found attribute says of its object.
#[derive(Serialize)]
pub(crate) struct ObjectOfAttribute {
    #[serde(serialize_with = "number")]
    id: i64,
    #[serde(serialize_with = "number")]
    distribution: i64,
    sharing_group_id: &'static str,
}

impl ObjectOfAttribute {
    pub(crate) const fn new(it: &Object) -> Self {
        Self { id: it.id, distribution: it.distribution, sharing_group_id: "0" }
    }
}

/// A tag in the answer to one added attribute.
#[derive(Serialize)]
pub(crate) struct AttributeTagShape<'a> {
    #[serde(serialize_with = "number")]
    id: i64,
    #[serde(serialize_with = "number")]
    attribute_id: i64,
    #[serde(serialize_with = "number")]
    event_id: i64,
    #[serde(serialize_with = "number")]
    tag_id: i64,
    local: bool,
    relationship_type: Option<&'static str>,
    #[serde(rename = "Tag")]
    tag: TagShape<'a>,
}

impl<'a> AttributeTagShape<'a> {
    pub(crate) fn new(attribute: &Attribute, it: &'a Attached) -> Self {
        Self {
            id: it.id,
            attribute_id: attribute.id,
            event_id: attribute.event,
            tag_id: it.tag.id,
            local: it.local,
            relationship_type: None,
            tag: TagShape::plain(&it.tag),
        }
    }
}
