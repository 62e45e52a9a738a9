//! The page: logging in, looking, and text from attackers that stays text.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use hub::keys::Keys;
use serde_json::json;
use support::{Reply, Running};

/// What a browser sends of itself.
const ACCEPT: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

fn look(hub: &Running, path: &str, cookie: &str) -> Reply {
    hub.send("GET", path, &[ACCEPT, ("Cookie", cookie)], b"")
}

fn log_in(hub: &Running, key: &str, site: &str) -> Reply {
    let headers =
        [ACCEPT, ("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", site)];
    hub.send("POST", "/users/login", &headers, format!("key={key}").as_bytes())
}

#[track_caller]
fn cookie(hub: &Running, key: &str) -> String {
    let reply = log_in(hub, key, "same-origin");
    assert_eq!((reply.status, reply.header("location")), (303, Some("/")));
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

#[test]
fn nobody_looks_without_a_key() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    for path in ["/", "/events/view/1", "/?value=192.0.2.1"] {
        let reply = look(&hub, path, "hub_session=guess");
        assert_eq!((reply.status, reply.header("location")), (302, Some("/users/login")));
    }
    assert_eq!(look(&hub, "/users/login", "").status, 200);
    assert_eq!(log_in(&hub, "wrong", "same-origin").status, 403);
    assert_eq!(log_in(&hub, &hub.admin, "cross-site").status, 403);
    let cookie = cookie(&hub, &hub.admin);
    assert_eq!(look(&hub, "/", &cookie).status, 200);
    let out = hub.send("POST", "/users/logout", &[ACCEPT, ("Cookie", &cookie)], b"");
    assert_eq!(out.status, 303);
    assert_eq!(look(&hub, "/", &cookie).status, 302);
}

#[test]
fn a_revoked_key_ends_its_sessions() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let cookie = cookie(&hub, &hub.reader);
    assert_eq!(look(&hub, "/", &cookie).status, 200);
    let keys = Keys::open(data.path());
    let reader = keys.list().unwrap().into_iter().find(|it| it.name == "reader").unwrap();
    keys.revoke(reader.id).unwrap();
    assert_eq!(look(&hub, "/", &cookie).status, 302);
}

#[test]
fn the_page_shows_offenders_and_their_sightings() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let event = hub.post("/events/add", &json!({"info": "bans of web-1"}));
    let id = event["Event"]["id"].as_str().unwrap();
    let values: Vec<String> = (1..=120).map(|n| format!("192.0.2.{n}")).collect();
    hub.post(&format!("/attributes/add/{id}"), &json!({"type": "ip-src", "value": values}));
    hub.post("/sightings/add", &json!({"values": ["192.0.2.120", "192.0.2.120"]}));
    let cookie = cookie(&hub, &hub.reader);
    let first = look(&hub, "/", &cookie).text();
    assert!(first.contains("bans of web-1") && first.contains(">192.0.2.120<"));
    assert!(first.contains(r#"<span class="count">1</span>"#), "one sighting: a value counts once");
    assert!(!first.contains(">192.0.2.20<"), "the older ones are one click away");
    let next = first.split("before=").nth(1).unwrap().split('"').next().unwrap();
    let older = look(&hub, &format!("/?value=&before={next}"), &cookie).text();
    assert!(older.contains(">192.0.2.20<") && !older.contains(">192.0.2.120<"));
    let found = look(&hub, "/?value=.0.2.77", &cookie).text();
    assert!(found.contains(">192.0.2.77<") && !found.contains(">192.0.2.7<"));
    assert!(look(&hub, "/?value=203.0.113.1", &cookie).text().contains("Nothing is known"));
    let view = look(&hub, &format!("/events/view/{id}"), &cookie).text();
    assert!(view.contains(">192.0.2.120<") && view.contains("not published"));
    assert_eq!(look(&hub, "/events/view/99", &cookie).status, 404);
}

#[test]
fn text_from_attackers_stays_text() {
    const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>";
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let event = hub.post("/events/add", &json!({"info": HOSTILE, "Tag": [{"name": HOSTILE}]}));
    let id = event["Event"]["id"].as_str().unwrap();
    let text = json!({"type": "text", "category": "Other", "value": HOSTILE, "comment": HOSTILE,
        "Tag": [{"name": HOSTILE}]});
    hub.post(&format!("/attributes/add/{id}"), &text);
    let cookie = cookie(&hub, &hub.admin);
    let sought = "/?value=%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    for path in ["/", &format!("/events/view/{id}"), sought] {
        let reply = look(&hub, path, &cookie);
        let page = reply.text();
        assert!(page.contains("alert(1)"), "{path} shows it");
        assert!(!page.contains("<script") && !page.contains("<img"), "{path}: {page}");
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
}

#[test]
fn a_false_positive_at_the_page_takes_a_value_off_the_lists() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let event = hub.post("/events/add", &json!({"info": "bans"}));
    let id = event["Event"]["id"].as_str().unwrap();
    let address = json!({"type": "ip-src", "value": "192.0.2.7", "comment": "sshd"});
    hub.post(&format!("/attributes/add/{id}"), &address);
    hub.post("/sightings/add", &json!({"value": "192.0.2.7", "source": "web-1/sshd"}));
    let list = || {
        let headers = [("Authorization", &*hub.reader)];
        hub.send("GET", "/lists/ipv4.txt", &headers, b"").text()
    };
    let wrong = |cookie: &str, token: &str| {
        let headers =
            [ACCEPT, ("Cookie", cookie), ("Content-Type", "application/x-www-form-urlencoded")];
        let form = format!("value=192.0.2.7&token={token}");
        hub.send("POST", "/values/wrong", &headers, form.as_bytes()).status
    };
    let reader = cookie(&hub, &hub.reader);
    let shown = look(&hub, "/values?value=192.0.2.7", &reader).text();
    assert!(shown.contains("on the lists") && shown.contains("web-1/sshd"));
    assert!(!shown.contains("/values/wrong"), "a reader is offered nothing to change");
    let curator = cookie(&hub, &hub.curator);
    let shown = look(&hub, "/values?value=192.0.2.7", &curator).text();
    let token = shown.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(wrong(&curator, "guess"), 403);
    assert_eq!(wrong(&reader, token), 403);
    assert_eq!(wrong("", token), 302);
    assert_eq!(list(), "192.0.2.7\n");
    assert_eq!(wrong(&curator, token), 303);
    assert_eq!(list(), "");
    let shown = look(&hub, "/values?value=192.0.2.7", &curator).text();
    assert!(shown.contains("withdrawn as a false positive"));
    assert_eq!(look(&hub, "/values?value=%25", &curator).status, 404);
    assert_eq!(look(&hub, "/values?value=203.0.113.1", &curator).status, 404);
}
