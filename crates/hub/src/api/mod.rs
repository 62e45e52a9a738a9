//! MISP's calls: which function answers which path.

mod attributes;
mod draft;
mod events;
mod export;
mod filter;
mod identity;
mod objects;
mod search;
mod sightings;
mod tags;
mod warninglists;

use std::sync::Arc;

use axum::http::Method;

pub(crate) use self::events::{Content, Whole};
use crate::answer::{Answer, Fault};
use crate::keys::Role;
use crate::request::{Body, Request};
use crate::store::Store;

/// What a call needs beside its request.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) store: Arc<Store>,
}

/// How a call may be made, and by whom.
enum Call {
    /// By any method and any role.
    Read(Handler),
    /// By POST, PUT or DELETE, and by roles that may write.
    Write(Handler),
    /// As `Write`; a GET is answered with how to use it.
    Described(Handler, &'static str),
}

type Handler = fn(&Api, &Request) -> Result<Answer, Fault>;

impl Api {
    /// Answers a request whose key is known.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        self.call(request).unwrap_or_else(|fault| fault.answer(&request.path.target))
    }

    fn call(&self, request: &Request) -> Result<Answer, Fault> {
        let call = call(&request.path.controller, &request.path.action).ok_or_else(not_found)?;
        if *request.body == Body::Malformed {
            return Err(malformed());
        }
        let reading = matches!(request.method, Method::GET | Method::HEAD);
        match call {
            Call::Read(handler) => handler(self, request),
            Call::Described(_, description) if reading => Ok(Answer::json(
                &serde_json::from_str::<serde_json::Value>(description)
                    .expect("the descriptions are JSON: a test reads them"),
            )),
            Call::Write(handler) | Call::Described(handler, _) => {
                if reading {
                    return Err(Fault::misplaced(
                        "This function is only accessible via POST requests.",
                    ));
                }
                if !request.holder.role.may_write() {
                    return Err(Fault::no_right());
                }
                handler(self, request)
            }
        }
    }
}

fn call(controller: &str, action: &str) -> Option<Call> {
    Some(match (controller, action) {
        ("", "index") => Call::Read(events::index),
        ("servers", "getVersion") => Call::Read(identity::version),
        ("servers", "getPyMISPVersion") => Call::Read(identity::pymisp_version),
        ("users", "view") => Call::Read(identity::user),
        ("attributes", "describeTypes") => Call::Read(identity::describe_types),
        ("events", "index") => Call::Read(events::index),
        ("events", "view") => Call::Read(events::view),
        ("events", "restSearch") => Call::Read(search::events),
        ("events", "add") => Call::Described(events::add, events::ADD),
        ("events", "edit") => Call::Write(events::edit),
        ("events", "publish" | "alert") => Call::Write(events::publish),
        ("events", "unpublish") => Call::Write(events::unpublish),
        ("events", "delete") => Call::Write(events::delete),
        ("events", "addTag") => Call::Write(tags::add_to_event),
        ("events", "removeTag") => Call::Write(tags::remove_from_event),
        ("attributes", "view") => Call::Read(attributes::view),
        ("attributes", "restSearch") => Call::Read(search::attributes),
        ("attributes", "add") => Call::Described(attributes::add, attributes::ADD),
        ("attributes", "edit") => Call::Write(attributes::edit),
        ("attributes", "delete") => Call::Write(attributes::delete),
        ("attributes", "restore") => Call::Write(attributes::restore),
        ("attributes", "deleteSelected") => Call::Write(attributes::delete_selected),
        ("attributes", "addTag") => Call::Write(tags::add_to_attribute),
        ("attributes", "removeTag") => Call::Write(tags::remove_from_attribute),
        ("sightings", "add") => Call::Described(sightings::add, sightings::ADD),
        ("sightings", "bulkSaveSightings") => Call::Write(sightings::add_many),
        ("sightings", "delete") => Call::Write(sightings::delete),
        ("sightings", "listSightings") => Call::Read(sightings::list),
        ("sightings", "index") => Call::Read(sightings::index),
        ("sightings", "restSearch") => Call::Read(sightings::search),
        ("objects", "add") => Call::Described(objects::add, objects::ADD),
        ("objects", "view") => Call::Read(objects::view),
        ("objects", "delete") => Call::Write(objects::delete),
        ("tags", "index") => Call::Read(tags::index),
        ("tags", "search") => Call::Read(tags::search),
        ("tags", "add") => Call::Write(tags::add),
        ("tags", "attachTagToObject") => Call::Write(tags::attach),
        ("tags", "removeTagFromObject") => Call::Write(tags::detach),
        ("warninglists", "index") => Call::Read(warninglists::index),
        ("warninglists", "view") => Call::Read(warninglists::view),
        ("warninglists", "checkValue") => Call::Read(warninglists::check),
        ("warninglists", "toggleEnable") => Call::Write(warninglists::toggle),
        ("warninglists", "add") => Call::Write(warninglists::add),
        ("warninglists", "delete") => Call::Write(warninglists::delete),
        _ => return None,
    })
}

fn not_found() -> Fault {
    Fault::refused(axum::http::StatusCode::NOT_FOUND, "Not Found")
}

fn malformed() -> Fault {
    Fault::misplaced(
        "Invalid JSON input. Make sure that the JSON input is a correctly formatted JSON string. \
         This request has been blocked to avoid an unfiltered request.",
    )
}

/// Whether the holder may change what the holder of key `creator` made.
fn may_change(request: &Request, creator: u32) -> bool {
    request.holder.role > Role::Sensor || request.holder.id == creator
}
