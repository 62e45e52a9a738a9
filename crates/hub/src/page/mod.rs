//! The page for people who would rather look: offenders, events, search.
//!
//! It needs a key, as everything does, on loopback too: any program of any user of the machine can
//! reach a port of loopback. The key is given once to a form and becomes a session. The page
//! changes little: what is called a false positive, and, for administrators, what is allowed and
//! the keys; those forms carry a token of the session. It needs no script, loads nothing from
//! elsewhere (the policy forbids both), and all that came from a log is escaped by the templates.

mod allowed;
mod chart;
mod event;
mod keys;
mod live;
mod overview;
mod session;
mod value;

use askama::Template;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use lists::places::Places;
use serde_json::{Map, Value};

pub(crate) use self::session::Sessions;
use crate::answer::{Answer, Fault};
use crate::audit;
use crate::keys::{KeyRecord, Keys, Role};
use crate::request::{Body, Path};
use crate::store::Store;
use crate::store::overview::Line;

/// Lines of a table; the next ones are one click away.
const LINES: i64 = 100;

const STYLE: &str = include_str!("../../templates/style.css");

/// Nothing but our own style sheet, and forms to ourselves.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

/// What a browser asks.
pub(crate) struct Visit<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a Path,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Body,
    pub(crate) now: i64,
}

/// The page of one hub.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) store: &'a Store,
    pub(crate) keys: &'a Keys,
    pub(crate) sessions: &'a Sessions,
    pub(crate) places: &'a Places,
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login<'a> {
    organisation: &'a str,
    refused: bool,
}

#[derive(Template)]
#[template(path = "missing.html")]
struct Missing<'a> {
    organisation: &'a str,
    holder: &'a KeyRecord,
    sought: &'a str,
}

impl Page<'_> {
    /// Answers a browser; `None` when it must log in first.
    pub(crate) fn answer(&self, visit: &Visit<'_>) -> Option<Answer> {
        match (&*visit.path.controller, &*visit.path.action, visit.method) {
            ("style.css", ..) => Some(style()),
            ("users", "login", &Method::POST) => Some(self.log_in(visit)),
            ("users", "login", _) => Some(self.form(StatusCode::OK)),
            ("users", "logout", &Method::POST) => {
                let gone = self.sessions.end(visit.headers);
                let answer = Answer::redirect(StatusCode::SEE_OTHER, "/users/login");
                Some(answer.with(header::SET_COOKIE, gone))
            }
            _ => {
                let holder = self.sessions.holder(visit.headers, self.keys, visit.now);
                let shown = match holder {
                    Ok(holder) => self.shown(visit, &holder?),
                    Err(error) => Err(Fault::from(error)),
                };
                Some(shown.unwrap_or_else(|fault| fault.answer(&visit.path.target)))
            }
        }
    }

    fn form(&self, status: StatusCode) -> Answer {
        let organisation = &self.store.organisation.name;
        html(status, &Login { organisation, refused: status != StatusCode::OK })
    }

    /// Takes a key, and gives a session for it. Another site's form is refused.
    fn log_in(&self, visit: &Visit<'_>) -> Answer {
        let site = visit.headers.get("sec-fetch-site").and_then(|it| it.to_str().ok());
        if !matches!(site, None | Some("same-origin" | "none")) {
            return self.form(StatusCode::FORBIDDEN);
        }
        let fields = visit.body.object();
        let key = fields.get("key").and_then(Value::as_str).unwrap_or_default().trim();
        let begun = self.keys.holder(key).and_then(|holder| {
            holder.map(|holder| self.sessions.begin(&holder, visit.now)).transpose()
        });
        match begun {
            Ok(Some(cookie)) => {
                let answer = Answer::redirect(StatusCode::SEE_OTHER, "/");
                answer.with(header::SET_COOKIE, cookie)
            }
            Ok(None) => self.form(StatusCode::FORBIDDEN),
            Err(error) => Fault::from(error).answer(&visit.path.target),
        }
    }

    fn shown(&self, visit: &Visit<'_>, holder: &KeyRecord) -> Result<Answer, Fault> {
        let is_read = matches!(*visit.method, Method::GET | Method::HEAD);
        match (&*visit.path.controller, &*visit.path.action) {
            _ if *visit.method == Method::POST => {
                let answer = self
                    .changed(visit, holder)
                    .unwrap_or_else(|fault| fault.answer(&visit.path.target));
                audit::note(holder, visit.method, &visit.path.target, &said(visit), &answer);
                Ok(answer)
            }
            _ if !is_read => Err(Fault::no_right()),
            ("values", "index") => self.value(visit, holder),
            ("live", _) => self.live(holder),
            ("keys", "index") if is_administrator(holder) => self.key_list(visit, holder, None),
            ("allowed", "index") if is_administrator(holder) => {
                self.allow_list(visit, holder, None)
            }
            ("" | "events" | "attributes", "index") => self.overview(visit, holder),
            ("events", "view") => self.event(visit, holder),
            _ => Ok(self.missing(holder)),
        }
    }

    /// Does what a form asks for.
    fn changed(&self, visit: &Visit<'_>, holder: &KeyRecord) -> Result<Answer, Fault> {
        // A session alone is no consent: another site may have sent the form.
        let token = Sessions::form_token(visit.headers);
        if token.is_none() || token != field(visit, "token") {
            return Err(Fault::no_right());
        }
        match (&*visit.path.controller, &*visit.path.action) {
            ("values", "wrong") if holder.role.may_write() => self.wrong(visit, holder),
            _ if !is_administrator(holder) => Err(Fault::no_right()),
            ("allowed", "add") => self.allow(visit, holder),
            ("allowed", "revoke") => self.disallow(visit),
            ("keys", "add") => self.add_key(visit, holder),
            ("keys", "revoke") => self.revoke_key(visit),
            _ => Err(Fault::no_right()),
        }
    }

    fn missing(&self, holder: &KeyRecord) -> Answer {
        let organisation = &self.store.organisation.name;
        html(StatusCode::NOT_FOUND, &Missing { organisation, holder, sought: "" })
    }
}

fn is_administrator(holder: &KeyRecord) -> bool {
    holder.role == Role::Administrator
}

/// A field of the form that was sent.
fn field(visit: &Visit<'_>, name: &str) -> Option<String> {
    visit.body.object().get(name)?.as_str().map(|it| it.trim().to_owned())
}

/// What a form says, for the audit log: all but the token, which is a secret.
fn said(visit: &Visit<'_>) -> Map<String, Value> {
    visit.body.object().into_iter().filter(|(name, _)| name != "token").collect()
}

/// The number that the lines of this page come before.
fn before(visit: &Visit<'_>) -> Option<i64> {
    visit.path.query("before")?.parse().ok()
}

/// Where the next page begins; `None` when this one is not full.
fn next(lines: &[Line]) -> Option<i64> {
    let is_full = i64::try_from(lines.len()) == Ok(LINES);
    lines.last().filter(|_| is_full).map(|it| it.attribute.id)
}

fn html(status: StatusCode, template: &impl Template) -> Answer {
    let body =
        template.render().expect("our templates write to memory and call nothing that fails");
    Answer::new(status, "text/html; charset=UTF-8", body.into_bytes())
        .with(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
        .with(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"))
        .with(
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        )
}

fn style() -> Answer {
    Answer::new(StatusCode::OK, "text/css; charset=UTF-8", STYLE.as_bytes().to_vec())
        .with(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"))
}

/// Epoch seconds as people read them, in UTC.
fn when(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(it) if seconds > 0 => it.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        _ => String::new(),
    }
}

impl Line {
    /// When it was first looked at, or came.
    fn first(&self) -> String {
        when(self.attribute.first_seen.map_or(self.attribute.timestamp, |it| it / 1_000_000))
    }

    /// When it was last looked at, or sighted.
    fn last(&self) -> String {
        let seen = self.attribute.last_seen.map(|it| it / 1_000_000);
        when(seen.max(self.last_sighting).unwrap_or(0))
    }
}
