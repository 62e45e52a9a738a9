//! MISP's calls: which function answers which path.

mod attributes;
mod detection;
mod draft;
mod events;
mod export;
mod filter;
mod identity;
mod objects;
mod openapi;
mod routes;
mod search;
mod sightings;
mod tags;
mod warninglists;

use std::sync::Arc;

use axum::http::Method;

pub(crate) use self::events::{Content, Whole};
pub(crate) use self::openapi::description;
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
    /// The same, with a body that says what is sought.
    Search(Handler),
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
        let route = routes::of(&request.path).ok_or_else(not_found)?;
        if *request.body == Body::Malformed {
            return Err(malformed());
        }
        let reading = matches!(request.method, Method::GET | Method::HEAD);
        match route.call {
            Call::Read(handler) | Call::Search(handler) => handler(self, request),
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
