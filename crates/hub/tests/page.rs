//! The page: logging in, looking, and text from attackers that stays text.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use hub::keys::Keys;
use hub::{Hub, Settings};
use serde_json::json;
use support::Running;
use support::page::{ACCEPT, cookie, log_in, look, submit, token};

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
    let wrong = |cookie: &str, token: &str| {
        let form = format!("value=192.0.2.7&token={token}");
        submit(&hub, "/values/wrong", cookie, &form).status
    };
    let reader = cookie(&hub, &hub.reader);
    let shown = look(&hub, "/values?value=192.0.2.7", &reader).text();
    assert!(shown.contains("on the lists") && shown.contains("web-1/sshd"));
    assert!(!shown.contains("/values/wrong"), "a reader is offered nothing to change");
    let curator = cookie(&hub, &hub.curator);
    let token = &token(&look(&hub, "/values?value=192.0.2.7", &curator));
    assert_eq!(wrong(&curator, "guess"), 403);
    assert_eq!(wrong(&reader, token), 403);
    assert_eq!(wrong("", token), 302);
    assert_eq!(hub.list(), "192.0.2.7\n");
    assert_eq!(wrong(&curator, token), 303);
    assert_eq!(hub.list(), "");
    let shown = look(&hub, "/values?value=192.0.2.7", &curator).text();
    assert!(shown.contains("withdrawn as a false positive"));
    assert_eq!(look(&hub, "/values?value=%25", &curator).status, 404);
    assert_eq!(look(&hub, "/values?value=203.0.113.1", &curator).status, 404);
}

#[test]
fn what_an_administrator_allows_is_on_no_list() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let values = json!(["192.0.2.7", "198.51.100.0/24", "203.0.113.1"]);
    hub.post(
        "/events/add",
        &json!({"info": "bans", "Attribute": [
        {"type": "ip-src", "value": values[0]}, {"type": "ip-src", "value": values[1]},
        {"type": "ip-src", "value": values[2]}]}),
    );
    let admin = cookie(&hub, &hub.admin);
    let token = token(&look(&hub, "/allowed", &admin));
    let allow = |cookie: &str, net: &str, reason: &str| {
        let form = format!("net={net}&reason={reason}&token={token}");
        submit(&hub, "/allowed/add", cookie, &form)
    };
    let curator = cookie(&hub, &hub.curator);
    assert_eq!(allow(&curator, "192.0.2.7", "mine").status, 403);
    assert_eq!(look(&hub, "/allowed", &curator).status, 404);
    assert_eq!(hub.list(), "192.0.2.7\n198.51.100.0/24\n203.0.113.1\n");

    assert_eq!(allow(&admin, "192.0.2.7", "our+%3Cmonitoring%3E").status, 303);
    assert_eq!(hub.list(), "198.51.100.0/24\n203.0.113.1\n");
    let shown = look(&hub, "/values?value=192.0.2.7", &admin).text();
    assert!(
        shown.contains("allowed: no list names it") && shown.contains("our &#60;monitoring&#62;")
    );
    // A prefix that holds an allowed address would block it, too.
    assert_eq!(allow(&admin, "198.51.100.77", "a+partner").status, 303);
    assert_eq!(hub.list(), "203.0.113.1\n");
    // So would a report that comes later, of the same or of a part of it.
    assert_eq!(allow(&admin, "2001:db8::/32", "ours").status, 303);
    hub.post(
        "/events/add",
        &json!({"info": "more", "Attribute": [
        {"type": "ip-src", "value": "2001:db8::7"}, {"type": "ip-src", "value": "192.0.2.7"}]}),
    );
    let headers = [("Authorization", &*hub.reader)];
    assert_eq!(hub.send("GET", "/lists/ipv6.txt", &headers, b"").text(), "");

    let refused = allow(&admin, "192.0.2.300", "a+slip");
    assert!(refused.status == 400 && refused.text().contains("neither an address nor a prefix"));
    let refused = allow(&admin, "203.0.113.1", "");
    assert!(refused.status == 400 && refused.text().contains("say why"));
    assert_eq!(hub.list(), "203.0.113.1\n");

    let form = format!("net=192.0.2.7&token={token}");
    assert_eq!(submit(&hub, "/allowed/revoke", &curator, &form).status, 403);
    assert_eq!(submit(&hub, "/allowed/revoke", &admin, &form).status, 303);
    assert_eq!(hub.list(), "192.0.2.7\n203.0.113.1\n");
    assert!(!look(&hub, "/allowed", &admin).text().contains("monitoring&#62;"));
}

#[test]
fn files_of_places_tell_countries_and_networks() {
    let place = |name: &str| {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../lists/tests/places").join(name)
    };
    let data = tempfile::tempdir().unwrap();
    let geoip = vec![place("countries.mmdb"), place("systems.mmdb")];
    let hub = Running::start_with(Settings { geoip, ..Settings::new(data.path()) });
    hub.post(
        "/events/add",
        &json!({"info": "bans", "Attribute": [
        {"type": "ip-src", "value": "192.0.2.7"}, {"type": "ip-src", "value": "192.0.2.8"},
        {"type": "ip-src", "value": "198.51.100.7"}]}),
    );
    let cookie = cookie(&hub, &hub.reader);
    let front = look(&hub, "/", &cookie).text();
    let ranked = |title: &str, first: &str| {
        let (_, after) = front.split_once(title).unwrap_or_default();
        let (_, place) = after.split_once("class=\"place\">").unwrap_or_default();
        assert!(place.starts_with(first), "{title}: {}", &place[..place.len().min(80)]);
    };
    ranked("Countries of the latest", "NL<");
    ranked("Autonomous systems of the latest", "AS64500 Example &#60;Networks&#62;<");
    let shown = look(&hub, "/values?value=192.0.2.7", &cookie).text();
    assert!(shown.contains("NL, AS64500 Example &#60;Networks&#62;"), "{shown}");
    drop(hub);

    let wrong = Settings { geoip: vec![place("other.mmdb")], ..Settings::new(data.path()) };
    let listen = "127.0.0.1:0".parse().unwrap();
    let refused = Hub::open(Settings { listen, ..wrong }).unwrap_err().to_string();
    assert!(
        refused.contains("other.mmdb` of --geoip: it is of the kind `Test-Domain`"),
        "{refused}"
    );
}
