//! All calls there are: what is answered, and what is described at `/openapi.json`.

use super::Call::{self, Described, Read, Search, Write};
use super::{attributes, events, identity, objects, search, sightings, tags, warninglists};
use crate::request::Path;

/// A call.
pub(super) struct Route {
    /// `controller/action`, and what follows, as OpenAPI writes it.
    pub(super) path: &'static str,
    pub(super) call: Call,
    pub(super) summary: &'static str,
}

const fn route(path: &'static str, call: Call, summary: &'static str) -> Route {
    Route { path, call, summary }
}

impl Route {
    pub(super) fn controller(&self) -> &'static str {
        self.path.split('/').next().unwrap_or_default()
    }

    fn action(&self) -> &'static str {
        self.path.split('/').nth(1).unwrap_or_default()
    }

    /// The names of what follows.
    pub(super) fn arguments(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// The call that a path names.
pub(super) fn of(path: &Path) -> Option<&'static Route> {
    // To a program, the page's own address is the list of events.
    let controller = if path.controller.is_empty() { "events" } else { &path.controller };
    ALL.iter().find(|it| it.controller() == controller && it.action() == path.action)
}

/// The table.
pub(super) const ALL: &[Route] = &[
    route(
        "servers/getVersion",
        Read(identity::version),
        "The version spoken here, and what the key may do",
    ),
    route(
        "servers/getPyMISPVersion",
        Read(identity::pymisp_version),
        "The PyMISP that goes with it",
    ),
    route("users/view/{user}", Read(identity::user), "The holder of the key: `me`"),
    route(
        "attributes/describeTypes",
        Read(identity::describe_types),
        "Types and categories of attributes",
    ),
    route("events/index", Search(events::index), "Events, without their attributes"),
    route("events/view/{event}", Read(events::view), "An event with its attributes"),
    route("events/restSearch", Search(search::events), "Events that match"),
    route("events/add", Described(events::add, events::ADD), "Adds an event"),
    route("events/edit/{event}", Write(events::edit), "Changes an event, and attributes in it"),
    route("events/publish/{event}", Write(events::publish), "Publishes an event"),
    route("events/alert/{event}", Write(events::publish), "The same: nobody is sent mail"),
    route(
        "events/unpublish/{event}",
        Write(events::unpublish),
        "Takes the word of publishing back",
    ),
    route("events/delete/{event}", Write(events::delete), "Deletes an event for good"),
    route("events/addTag/{event}/{tag}", Write(tags::add_to_event), "Attaches a tag to an event"),
    route(
        "events/removeTag/{event}/{tag}",
        Write(tags::remove_from_event),
        "Takes a tag off an event",
    ),
    route("attributes/view/{attribute}", Read(attributes::view), "An attribute"),
    route(
        "attributes/restSearch",
        Search(search::attributes),
        "Attributes that match, as json, csv, text, cache, count, suricata, snort, hosts or rpz",
    ),
    route(
        "attributes/add/{event}",
        Described(attributes::add, attributes::ADD),
        "Adds an attribute, or a list of them, to an event",
    ),
    route("attributes/edit/{attribute}", Write(attributes::edit), "Changes an attribute"),
    route(
        "attributes/delete/{attribute}",
        Write(attributes::delete),
        "Deletes an attribute; for good with `hard`",
    ),
    route(
        "attributes/restore/{attribute}",
        Write(attributes::restore),
        "Brings a deleted attribute back",
    ),
    route(
        "attributes/deleteSelected/{event}",
        Write(attributes::delete_selected),
        "Deletes several attributes of an event",
    ),
    route(
        "attributes/addTag/{attribute}/{tag}",
        Write(tags::add_to_attribute),
        "Attaches a tag to an attribute",
    ),
    route(
        "attributes/removeTag/{attribute}/{tag}",
        Write(tags::remove_from_attribute),
        "Takes a tag off an attribute",
    ),
    route(
        "sightings/add",
        Described(sightings::add, sightings::ADD),
        "Sights attributes, by value or by name",
    ),
    route(
        "sightings/bulkSaveSightings/{event}",
        Write(sightings::add_many),
        "Adds many sightings with uuids of their own; a repeat changes nothing",
    ),
    route("sightings/delete/{sighting}", Write(sightings::delete), "Deletes a sighting"),
    route("sightings/listSightings", Search(sightings::list), "Sightings of an event or attribute"),
    route("sightings/index/{event}", Read(sightings::index), "Sightings of an event"),
    route("sightings/restSearch/{context}", Search(sightings::search), "Sightings that match"),
    route(
        "objects/add/{event}",
        Described(objects::add, objects::ADD),
        "Adds an object to an event",
    ),
    route("objects/view/{object}", Read(objects::view), "An object"),
    route(
        "objects/restSearch",
        Search(search::objects),
        "Objects that match, by template, by their event, or by what their parts say",
    ),
    route("objects/delete/{object}", Write(objects::delete), "Deletes an object and its parts"),
    route("tags/index", Read(tags::index), "All tags"),
    route(
        "tags/search/{name}",
        Read(tags::search),
        "Tags of that name, in which `%` stands for anything",
    ),
    route("tags/add", Write(tags::add), "Makes a tag"),
    route(
        "tags/attachTagToObject",
        Write(tags::attach),
        "Attaches a tag to an event or attribute, by uuid",
    ),
    route(
        "tags/removeTagFromObject",
        Write(tags::detach),
        "Takes a tag off an event or attribute, by uuid",
    ),
    route("warninglists/index", Search(warninglists::index), "Warninglists, without their entries"),
    route("warninglists/view/{list}", Read(warninglists::view), "A warninglist with its entries"),
    route(
        "warninglists/checkValue",
        Search(warninglists::check),
        "What the enabled warninglists say of values",
    ),
    route(
        "warninglists/toggleEnable",
        Write(warninglists::toggle),
        "Enables or disables warninglists by name",
    ),
    route(
        "warninglists/add",
        Write(warninglists::add),
        "Adds a warninglist, or replaces the one of its name",
    ),
    route("warninglists/delete/{list}", Write(warninglists::delete), "Removes a warninglist"),
];
