//! MISP's JSON, as the hub answers it: ids and times are texts, flags are booleans.

mod attribute;
mod event;
mod object;
mod sighting;
mod tag;

use misp::value::Value;
use serde::{Serialize, Serializer};
use uuid::Uuid;

pub(crate) use self::attribute::{
    AttributeShape, AttributeTagShape, EventContext, EventOfAttribute, ObjectOfAttribute,
};
pub(crate) use self::event::{EventLine, EventMinimal, EventShape};
pub(crate) use self::object::ObjectShape;
pub(crate) use self::sighting::{AttributeOfSighting, EventOfSighting, SightingShape};
pub(crate) use self::tag::TagShape;
use crate::seen;
use crate::store::Organisation;

/// The one organisation has this number in every answer.
const ORGANISATION: &str = "1";

/// A list that the hub never fills: proposals, galaxies, reports.
type Never = [(); 0];

fn number<S: Serializer>(it: &i64, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(itoa::Buffer::new().format(*it))
}

fn value<S: Serializer>(it: &Value, out: S) -> Result<S::Ok, S::Error> {
    match it.second.is_empty() {
        true => out.serialize_str(&it.first),
        false => out.collect_str(it),
    }
}

fn instant<S: Serializer>(it: &Option<i64>, out: S) -> Result<S::Ok, S::Error> {
    match it {
        Some(microseconds) => out.collect_str(&seen::Display(*microseconds)),
        None => out.serialize_none(),
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
