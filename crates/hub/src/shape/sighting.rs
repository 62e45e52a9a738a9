//! Sightings, with what each place tells of what was sighted.

use serde::Serialize;
use uuid::Uuid;

use super::{ORGANISATION, OrganisationShape, number, value};
use crate::store::Organisation;
use crate::store::attribute::Attribute;
use crate::store::event::Event;
use crate::store::sighting::Sighting;

/// A sighting; where it stands in an attribute or in a search, with more.
#[derive(Serialize)]
pub(crate) struct SightingShape<'a> {
    #[serde(serialize_with = "number")]
    id: i64,
    #[serde(serialize_with = "number")]
    attribute_id: i64,
    #[serde(serialize_with = "number")]
    event_id: i64,
    org_id: &'static str,
    #[serde(serialize_with = "number")]
    date_sighting: i64,
    uuid: Uuid,
    source: &'a str,
    #[serde(serialize_with = "number")]
    r#type: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attribute_uuid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event_uuid: Option<Uuid>,
    #[serde(rename = "Attribute", skip_serializing_if = "Option::is_none")]
    pub(crate) attribute: Option<AttributeOfSighting<'a>>,
    #[serde(rename = "Event", skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<EventOfSighting<'a>>,
    #[serde(rename = "Organisation", skip_serializing_if = "Option::is_none")]
    pub(crate) organisation: Option<OrganisationShape<'a>>,
}

impl<'a> SightingShape<'a> {
    pub(crate) fn new(it: &'a Sighting) -> Self {
        Self {
            id: it.id,
            attribute_id: it.attribute,
            event_id: it.event,
            org_id: ORGANISATION,
            date_sighting: it.date,
            uuid: it.uuid,
            source: &it.source,
            r#type: it.kind,
            value: None,
            attribute_uuid: None,
            event_uuid: None,
            attribute: None,
            event: None,
            organisation: None,
        }
    }

    /// As a part of its attribute.
    pub(crate) fn inner(it: &'a Sighting, organisation: &'a Organisation) -> Self {
        Self {
            attribute_uuid: Some(it.attribute_uuid),
            organisation: Some(OrganisationShape::new(organisation)),
            ..Self::new(it)
        }
    }
}

/// What a found sighting says of its attribute.
#[derive(Serialize)]
pub(crate) struct AttributeOfSighting<'a> {
    #[serde(serialize_with = "number")]
    id: i64,
    uuid: Uuid,
    r#type: &'a str,
    category: &'a str,
    to_ids: bool,
    #[serde(serialize_with = "value")]
    value: &'a misp::value::Value,
}

impl<'a> AttributeOfSighting<'a> {
    pub(crate) fn new(it: &'a Attribute) -> Self {
        Self {
            id: it.id,
            uuid: it.uuid,
            r#type: &it.kind,
            category: &it.category,
            to_ids: it.to_ids,
            value: &it.value,
        }
    }
}

/// What a found sighting says of its event.
#[derive(Serialize)]
pub(crate) struct EventOfSighting<'a> {
    #[serde(serialize_with = "number")]
    id: i64,
    uuid: Uuid,
    orgc_id: &'static str,
    org_id: &'static str,
    info: &'a str,
    #[serde(rename = "Orgc")]
    orgc: OrganisationShape<'a>,
}

impl<'a> EventOfSighting<'a> {
    pub(crate) fn new(it: &'a Event, organisation: &'a Organisation) -> Self {
        Self {
            id: it.id,
            uuid: it.uuid,
            orgc_id: ORGANISATION,
            org_id: ORGANISATION,
            info: &it.info,
            orgc: OrganisationShape::name_alone(organisation),
        }
    }
}
