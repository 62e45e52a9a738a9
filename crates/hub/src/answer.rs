//! What the hub says back, and MISP's ways of saying no.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::keys::KeysError;
use crate::store::StoreError;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Vec<u8>,
    /// What follows the body, written while it is sent.
    pub(crate) rest: Option<Rest>,
}

/// A part of a body that is too large to be held.
pub(crate) struct Rest(Box<Writing>);

type Writing = dyn FnOnce(&mut dyn Write) -> Result<(), Fault> + Send;

impl Rest {
    pub(crate) fn new(
        how: impl FnOnce(&mut dyn Write) -> Result<(), Fault> + Send + 'static,
    ) -> Self {
        Self(Box::new(how))
    }

    /// Writes it all.
    pub(crate) fn write(self, out: &mut dyn Write) -> Result<(), Fault> {
        (self.0)(out)
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Rest(…)")
    }
}

impl Answer {
    /// 200 with JSON.
    pub(crate) fn json(body: &impl Serialize) -> Self {
        Self::json_with(StatusCode::OK, body)
    }

    /// JSON with any status.
    pub(crate) fn json_with(status: StatusCode, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("our shapes have text keys alone");
        Self::new(status, "application/json; charset=UTF-8", body)
    }

    /// A body of any kind.
    pub(crate) fn new(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Self {
        let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
        Self { status, headers, body, rest: None }
    }

    /// Nothing but another place to look at.
    pub(crate) fn redirect(status: StatusCode, to: &str) -> Self {
        Self { status, headers: vec![location(to)], body: Vec::new(), rest: None }
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer to a change that was made, as MISP repeats it.
    pub(crate) fn done(text: &str, url: &str, id: Option<&str>) -> Self {
        let mut body = json!({
            "saved": true, "success": true, "name": text, "message": text, "url": url,
        });
        if let Some(id) = id {
            body["id"] = Value::from(id);
        }
        Self::json(&body)
    }
}

/// The header that names another path of the hub.
fn location(to: &str) -> (HeaderName, HeaderValue) {
    let place = HeaderValue::from_str(to).expect("our paths are letters, digits and slashes");
    (header::LOCATION, place)
}

/// What is wrong with which field.
pub(crate) type Errors = Map<String, Value>;

/// Why a request is refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A status and one text.
    #[error("{text}")]
    Refused { status: StatusCode, text: String },
    /// The event is there already; the client may edit it.
    #[error("event {0} exists")]
    EventExists(i64),
    /// A save that failed, in MISP's shape.
    #[error("{name}")]
    NotSaved { name: &'static str, url: Cow<'static, str>, errors: Value },
    /// Our own: the client learns nothing of the inside.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client went away while it was answered.
    #[error("the client is gone: {0}")]
    Gone(#[from] io::Error),
    /// Our own.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(StoreError::Sqlite(error))
    }
}

impl Fault {
    /// A status and one text.
    pub(crate) fn refused(status: StatusCode, text: impl Into<String>) -> Self {
        Self::Refused { status, text: text.into() }
    }

    /// MISP's 405, which stands for many things.
    pub(crate) fn misplaced(text: impl Into<String>) -> Self {
        Self::refused(StatusCode::METHOD_NOT_ALLOWED, text)
    }

    /// There is no such event, or not for this key.
    pub(crate) fn no_event() -> Self {
        Self::refused(StatusCode::NOT_FOUND, "Invalid event")
    }

    /// The key's role does not allow the call.
    pub(crate) fn no_right() -> Self {
        let text = "You do not have permission to use this functionality.";
        Self::refused(StatusCode::FORBIDDEN, text)
    }

    /// The key's role allows the call, but not on this event.
    pub(crate) fn not_yours() -> Self {
        Self::refused(StatusCode::FORBIDDEN, "You do not have permission to do that.")
    }

    /// The answer to a request for `target`.
    pub(crate) fn answer(&self, target: &str) -> Answer {
        match self {
            Self::Refused { status, text } => say(*status, text, target),
            Self::EventExists(id) => {
                let text = "Event already exists, if you would like to edit it, use the url in \
                            the location header.";
                let (name, place) = location(&format!("/events/{id}"));
                say(StatusCode::NOT_FOUND, text, target).with(name, place)
            }
            Self::NotSaved { name, url, errors } => {
                let body = json!({
                    "saved": false, "name": name, "message": name, "url": url, "errors": errors,
                });
                Answer::json_with(StatusCode::FORBIDDEN, &body)
            }
            Self::Store(_) | Self::Keys(_) | Self::Gone(_) => {
                tracing::error!(target, "{self}");
                let text = "An Internal Error Has Occurred.";
                say(StatusCode::INTERNAL_SERVER_ERROR, text, target)
            }
        }
    }
}

/// MISP's shape of an error: the text twice, and the url with its marks escaped.
fn say(status: StatusCode, text: &str, target: &str) -> Answer {
    let mut url = String::with_capacity(target.len());
    for letter in target.chars() {
        match letter {
            '&' => url.push_str("&amp;"),
            '<' => url.push_str("&lt;"),
            '>' => url.push_str("&gt;"),
            '"' => url.push_str("&quot;"),
            '\'' => url.push_str("&#039;"),
            other => url.push(other),
        }
    }
    Answer::json_with(status, &json!({"name": text, "message": text, "url": url}))
}
