//! Visits to the page, as a browser makes them.

use super::{Reply, Running};

/// What a browser sends of itself.
pub(crate) const ACCEPT: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

/// How a form is declared.
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

pub(crate) fn look(hub: &Running, path: &str, cookie: &str) -> Reply {
    hub.send("GET", path, &[ACCEPT, ("Cookie", cookie)], b"")
}

pub(crate) fn log_in(hub: &Running, key: &str, site: &str) -> Reply {
    let headers = [ACCEPT, FORM, ("Sec-Fetch-Site", site)];
    hub.send("POST", "/users/login", &headers, format!("key={key}").as_bytes())
}

/// The session of `key`.
#[track_caller]
pub(crate) fn cookie(hub: &Running, key: &str) -> String {
    let reply = log_in(hub, key, "same-origin");
    assert_eq!((reply.status, reply.header("location")), (303, Some("/")));
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

/// What the forms of a page carry.
pub(crate) fn token(page: &Reply) -> String {
    let page = page.text();
    let (_, after) = page.split_once("name=\"token\" value=\"").unwrap_or_default();
    after.split('"').next().unwrap_or_default().to_owned()
}

/// Sends a form; `fields` are encoded as they must be.
pub(crate) fn submit(hub: &Running, path: &str, cookie: &str, fields: &str) -> Reply {
    hub.send("POST", path, &[ACCEPT, FORM, ("Cookie", cookie)], fields.as_bytes())
}
