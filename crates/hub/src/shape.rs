//! MISP's JSON, as the hub answers it: ids and times are texts, flags are booleans.

use std::fmt::Display;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::seen;
use crate::store::Organisation;
use crate::store::attribute::Attribute;
use crate::store::event::Event;
use crate::store::sighting::Sighting;
use crate::store::tag::{Attached, Tag};

/// The one organisation has this number in every answer.
const ORGANISATION: &str = "1";

/// A list that the hub never fills: proposals, galaxies, reports.
type Never = [(); 0];

fn text<T: Display, S: Serializer>(it: &T, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(it)
}

fn instant<S: Serializer>(it: &Option<i64>, out: S) -> Result<S::Ok, S::Error> {
    match it {
        Some(microseconds) => out.collect_str(&seen::Display(*microseconds)),
        None => out.serialize_none(),
    }
}

/// An attribute: alone, in a list, or in its event. What is `None` is left out.
#[derive(Serialize)]
pub(crate) struct AttributeShape<'a> {
    #[serde(serialize_with = "text")]
    id: i64,
    #[serde(serialize_with = "text")]
    event_id: i64,
    object_id: &'static str,
    object_relation: Option<&'a str>,
    category: &'a str,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value1: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value2: Option<&'a str>,
    to_ids: bool,
    uuid: Uuid,
    #[serde(serialize_with = "text")]
    timestamp: i64,
    #[serde(serialize_with = "text")]
    distribution: i64,
    sharing_group_id: &'static str,
    comment: &'a str,
    deleted: bool,
    disable_correlation: bool,
    #[serde(serialize_with = "instant")]
    first_seen: Option<i64>,
    #[serde(serialize_with = "instant")]
    last_seen: Option<i64>,
    #[serde(serialize_with = "text")]
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
    #[serde(rename = "Tag", skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<TagShape<'a>>,
}

impl<'a> AttributeShape<'a> {
    pub(crate) fn new(it: &'a Attribute) -> Self {
        Self {
            id: it.id,
            event_id: it.event,
            object_id: "0",
            object_relation: None,
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
            tags: Vec::new(),
        }
    }

    /// As the answer to an added attribute: with both halves of the value.
    pub(crate) fn added(it: &'a Attribute) -> Self {
        let (value1, value2) = (Some(&*it.value.first), Some(&*it.value.second));
        Self { value1, value2, ..Self::new(it) }
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
    #[serde(serialize_with = "text")]
    distribution: i64,
    #[serde(serialize_with = "text")]
    publish_timestamp: i64,
    #[serde(serialize_with = "text")]
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
    #[serde(serialize_with = "text")]
    id: i64,
    orgc_id: &'static str,
    org_id: &'static str,
    date: &'a str,
    #[serde(serialize_with = "text")]
    threat_level_id: i64,
    info: &'a str,
    published: bool,
    uuid: Uuid,
    #[serde(serialize_with = "text")]
    analysis: i64,
    #[serde(serialize_with = "text")]
    timestamp: i64,
    #[serde(serialize_with = "text")]
    distribution: i64,
    #[serde(serialize_with = "text")]
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

/// An event with what it holds. The lists are `None` where only metadata was asked for.
#[derive(Serialize)]
pub(crate) struct EventShape<'a> {
    #[serde(serialize_with = "text")]
    id: i64,
    orgc_id: &'static str,
    org_id: &'static str,
    date: &'a str,
    #[serde(serialize_with = "text")]
    threat_level_id: i64,
    info: &'a str,
    published: bool,
    uuid: Uuid,
    #[serde(serialize_with = "text")]
    attribute_count: i64,
    #[serde(serialize_with = "text")]
    analysis: i64,
    #[serde(serialize_with = "text")]
    timestamp: i64,
    #[serde(serialize_with = "text")]
    distribution: i64,
    proposal_email_lock: bool,
    locked: bool,
    #[serde(serialize_with = "text")]
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
    objects: Option<Never>,
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
        organisation: &'a Organisation,
    ) -> Self {
        Self {
            attributes: Some(attributes),
            proposals: Some([]),
            objects: Some([]),
            reports: Some([]),
            ..Self::metadata(it, organisation)
        }
    }
}

/// A line of the index of events.
#[derive(Serialize)]
pub(crate) struct EventLine<'a> {
    #[serde(serialize_with = "text")]
    id: i64,
    org_id: &'static str,
    date: &'a str,
    info: &'a str,
    uuid: Uuid,
    published: bool,
    #[serde(serialize_with = "text")]
    analysis: i64,
    #[serde(serialize_with = "text")]
    attribute_count: i64,
    orgc_id: &'static str,
    #[serde(serialize_with = "text")]
    timestamp: i64,
    #[serde(serialize_with = "text")]
    distribution: i64,
    sharing_group_id: &'static str,
    proposal_email_lock: bool,
    locked: bool,
    #[serde(serialize_with = "text")]
    threat_level_id: i64,
    #[serde(serialize_with = "text")]
    publish_timestamp: i64,
    #[serde(serialize_with = "text")]
    sighting_timestamp: i64,
    disable_correlation: bool,
    extends_uuid: &'a str,
    protected: Option<bool>,
    #[serde(rename = "Org")]
    org: OrganisationShape<'a>,
    #[serde(rename = "Orgc")]
    orgc: OrganisationShape<'a>,
    #[serde(rename = "EventTag")]
    pub(crate) tags: Vec<EventTagShape<'a>>,
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
    #[serde(serialize_with = "text")]
    id: i64,
    #[serde(serialize_with = "text")]
    timestamp: i64,
    #[serde(serialize_with = "text")]
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

/// The organisation, as far as each place tells of it.
#[derive(Clone, Serialize)]
pub(crate) struct OrganisationShape<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'static str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<bool>,
}

impl<'a> OrganisationShape<'a> {
    pub(crate) fn new(it: &'a Organisation) -> Self {
        Self { id: Some(ORGANISATION), name: &it.name, uuid: Some(it.uuid), local: None }
    }

    /// As a feed names who made an event.
    pub(crate) fn of_feed(it: &'a Organisation) -> Self {
        Self { id: None, name: &it.name, uuid: Some(it.uuid), local: None }
    }

    pub(crate) fn name_alone(it: &'a Organisation) -> Self {
        Self { id: None, name: &it.name, uuid: None, local: None }
    }
}

/// A sighting; where it stands in an attribute or in a search, with more.
#[derive(Serialize)]
pub(crate) struct SightingShape<'a> {
    #[serde(serialize_with = "text")]
    id: i64,
    #[serde(serialize_with = "text")]
    attribute_id: i64,
    #[serde(serialize_with = "text")]
    event_id: i64,
    org_id: &'static str,
    #[serde(serialize_with = "text")]
    date_sighting: i64,
    uuid: Uuid,
    source: &'a str,
    #[serde(serialize_with = "text")]
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
    #[serde(serialize_with = "text")]
    id: i64,
    uuid: Uuid,
    r#type: &'a str,
    category: &'a str,
    to_ids: bool,
    #[serde(serialize_with = "text")]
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
    #[serde(serialize_with = "text")]
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

/// A tag; each place shows other parts of it.
#[derive(Serialize)]
pub(crate) struct TagShape<'a> {
    #[serde(serialize_with = "text")]
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
    fn of_context(it: &'a Attached) -> Self {
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
pub(crate) struct EventTagShape<'a> {
    #[serde(serialize_with = "text")]
    id: i64,
    #[serde(serialize_with = "text")]
    event_id: i64,
    #[serde(serialize_with = "text")]
    tag_id: i64,
    local: bool,
    relationship_type: &'static str,
    #[serde(rename = "Tag")]
    tag: TagOfLine<'a>,
}

#[derive(Serialize)]
struct TagOfLine<'a> {
    #[serde(serialize_with = "text")]
    id: i64,
    name: &'a str,
    colour: &'a str,
    is_galaxy: bool,
}

impl<'a> EventTagShape<'a> {
    fn new(event: i64, it: &'a Attached) -> Self {
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

/// A tag in the answer to one added attribute.
#[derive(Serialize)]
pub(crate) struct AttributeTagShape<'a> {
    #[serde(serialize_with = "text")]
    id: i64,
    #[serde(serialize_with = "text")]
    attribute_id: i64,
    #[serde(serialize_with = "text")]
    event_id: i64,
    #[serde(serialize_with = "text")]
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
