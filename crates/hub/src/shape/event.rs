//! Events: whole, and as lines of an index.

use serde::Serialize;
use uuid::Uuid;

use super::tag::EventTagShape;
use super::{
    AttributeShape, Never, ORGANISATION, ObjectShape, OrganisationShape, TagShape, number,
};
use crate::store::Organisation;
use crate::store::event::Event;
use crate::store::tag::Attached;

/// An event with what it holds. The lists are `None` where only metadata was asked for.
#[derive(Serialize)]
pub(crate) struct EventShape<'a> {
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
    attribute_count: i64,
    #[serde(serialize_with = "number")]
    analysis: i64,
    #[serde(serialize_with = "number")]
    timestamp: i64,
    #[serde(serialize_with = "number")]
    distribution: i64,
    proposal_email_lock: bool,
    locked: bool,
    #[serde(serialize_with = "number")]
    publish_timestamp: i64,
    sharing_group_id: &'static str,
    disable_correlation: bool,
    extends_uuid: &'a str,
    protected: Option<bool>,
    event_creator_email: &'a str,
    #[serde(rename = "Org")]
    org: OrganisationShape<'a>,
    #[serde(rename = "Orgc")]
    orgc: OrganisationShape<'a>,
    #[serde(rename = "Attribute", skip_serializing_if = "Option::is_none")]
    pub(crate) attributes: Option<Vec<AttributeShape<'a>>>,
    #[serde(rename = "ShadowAttribute", skip_serializing_if = "Option::is_none")]
    proposals: Option<Never>,
    #[serde(rename = "RelatedEvent")]
    related: Never,
    #[serde(rename = "Galaxy")]
    galaxy: Never,
    #[serde(rename = "Object", skip_serializing_if = "Option::is_none")]
    pub(crate) objects: Option<Vec<ObjectShape<'a>>>,
    #[serde(rename = "EventReport", skip_serializing_if = "Option::is_none")]
    reports: Option<Never>,
    #[serde(rename = "CryptographicKey")]
    keys: Never,
    #[serde(rename = "Tag", skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<TagShape<'a>>,
}

impl<'a> EventShape<'a> {
    pub(crate) fn metadata(it: &'a Event, organisation: &'a Organisation) -> Self {
        let org = OrganisationShape { local: Some(true), ..OrganisationShape::new(organisation) };
        Self {
            id: it.id,
            orgc_id: ORGANISATION,
            org_id: ORGANISATION,
            date: &it.date,
            threat_level_id: it.threat_level,
            info: &it.info,
            published: it.published,
            uuid: it.uuid,
            attribute_count: it.n_attributes,
            analysis: it.analysis,
            timestamp: it.timestamp,
            distribution: it.distribution,
            proposal_email_lock: false,
            locked: false,
            publish_timestamp: it.publish_timestamp,
            sharing_group_id: "0",
            disable_correlation: it.disable_correlation,
            extends_uuid: &it.extends_uuid,
            protected: None,
            event_creator_email: &it.creator_email,
            orgc: org.clone(),
            org,
            attributes: None,
            proposals: None,
            related: [],
            galaxy: [],
            objects: None,
            reports: None,
            keys: [],
            tags: Vec::new(),
        }
    }

    /// With the lists of what it holds.
    pub(crate) fn whole(
        it: &'a Event,
        attributes: Vec<AttributeShape<'a>>,
        objects: Vec<ObjectShape<'a>>,
        organisation: &'a Organisation,
    ) -> Self {
        Self {
            attributes: Some(attributes),
            proposals: Some([]),
            objects: Some(objects),
            reports: Some([]),
            ..Self::metadata(it, organisation)
        }
    }
}

/// A line of the index of events.
#[derive(Serialize)]
pub(crate) struct EventLine<'a> {
    #[serde(serialize_with = "number")]
    id: i64,
    org_id: &'static str,
    date: &'a str,
    info: &'a str,
    uuid: Uuid,
    published: bool,
    #[serde(serialize_with = "number")]
    analysis: i64,
    #[serde(serialize_with = "number")]
    attribute_count: i64,
    orgc_id: &'static str,
    #[serde(serialize_with = "number")]
    timestamp: i64,
    #[serde(serialize_with = "number")]
    distribution: i64,
    sharing_group_id: &'static str,
    proposal_email_lock: bool,
    locked: bool,
    #[serde(serialize_with = "number")]
    threat_level_id: i64,
    #[serde(serialize_with = "number")]
    publish_timestamp: i64,
    #[serde(serialize_with = "number")]
    sighting_timestamp: i64,
    disable_correlation: bool,
    extends_uuid: &'a str,
    protected: Option<bool>,
    #[serde(rename = "Org")]
    org: OrganisationShape<'a>,
    #[serde(rename = "Orgc")]
    orgc: OrganisationShape<'a>,
    #[serde(rename = "EventTag")]
    tags: Vec<EventTagShape<'a>>,
}

impl<'a> EventLine<'a> {
    pub(crate) fn new(it: &'a Event, tags: &'a [Attached], organisation: &'a Organisation) -> Self {
        let org = OrganisationShape::new(organisation);
        Self {
            id: it.id,
            org_id: ORGANISATION,
            date: &it.date,
            info: &it.info,
            uuid: it.uuid,
            published: it.published,
            analysis: it.analysis,
            attribute_count: it.n_attributes,
            orgc_id: ORGANISATION,
            timestamp: it.timestamp,
            distribution: it.distribution,
            sharing_group_id: "0",
            proposal_email_lock: false,
            locked: false,
            threat_level_id: it.threat_level,
            publish_timestamp: it.publish_timestamp,
            sighting_timestamp: it.sighting_timestamp,
            disable_correlation: it.disable_correlation,
            extends_uuid: &it.extends_uuid,
            protected: None,
            orgc: org.clone(),
            org,
            tags: tags.iter().map(|tag| EventTagShape::new(it.id, tag)).collect(),
        }
    }
}

/// An event as `events/index` with `minimal` lists it.
#[derive(Serialize)]
pub(crate) struct EventMinimal {
    #[serde(serialize_with = "number")]
    id: i64,
    #[serde(serialize_with = "number")]
    timestamp: i64,
    #[serde(serialize_with = "number")]
    sighting_timestamp: i64,
    published: bool,
    uuid: Uuid,
    orgc_uuid: Uuid,
}

impl EventMinimal {
    pub(crate) const fn new(it: &Event, organisation: &Organisation) -> Self {
        Self {
            id: it.id,
            timestamp: it.timestamp,
            sighting_timestamp: it.sighting_timestamp,
            published: it.published,
            uuid: it.uuid,
            orgc_uuid: organisation.uuid,
        }
    }
}
