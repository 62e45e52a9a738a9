//! What the hub refuses, and what it keeps.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hub::keys::Keys;
use hub::{Hub, HubError, Settings};
use serde_json::{Value, json};
use support::Running;

fn loopback(data: &Path) -> Settings {
    Settings { listen: "127.0.0.1:0".parse().unwrap(), ..Settings::new(data) }
}

fn event(hub: &Running, key: &str) -> String {
    let reply = hub.call_as(key, "POST", "/events/add", &json!({"info": "bans"}));
    reply.json()["Event"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_restart_keeps_everything_and_shows_no_key_again() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let id = event(&hub, &hub.admin);
    let attribute = json!({"type": "ip-src", "value": "192.0.2.7", "Tag": [{"name": "tlp:green"}]});
    hub.post(&format!("/attributes/add/{id}"), &attribute);
    hub.post("/sightings/add", &json!({"value": "192.0.2.7"}));
    let view = format!("/events/view/{id}");
    let before = hub.call("GET", &view, &Value::Null).json();
    let key = hub.admin.clone();
    hub.stop();
    let hub = Running::start(data.path());
    assert_eq!(hub.admin, key);
    assert_eq!(hub.call("GET", &view, &Value::Null).json(), before);
    hub.stop();
    let hub = Hub::open(loopback(data.path())).unwrap();
    assert!(hub.first_key().is_none());
}

#[test]
fn a_backup_is_taken_while_the_hub_runs() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let id = event(&hub, &hub.admin);
    Hub::backup(data.path(), &elsewhere.path().join("hub.db")).unwrap();
    assert!(Hub::backup(data.path(), &elsewhere.path().join("hub.db")).is_err(), "it exists");
    event(&hub, &hub.admin);
    let copy = Running::start(elsewhere.path());
    let events = copy.call("GET", "/events/index", &Value::Null).json();
    assert_eq!(events.as_array().unwrap().len(), 1);
    assert_eq!(events[0]["id"], *id);
}

#[test]
fn the_data_folder_is_private_and_has_one_hub() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("hub");
    let hub = Hub::open(loopback(&folder)).unwrap();
    assert_eq!(hub.first_key(), Some(&hub.admin_key().unwrap()));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("admin.key")), 0o600);
    assert!(matches!(Hub::open(loopback(&folder)), Err(HubError::InUse(_))));
    let everywhere = Settings { listen: "0.0.0.0:0".parse().unwrap(), ..loopback(data.path()) };
    assert!(matches!(Hub::open(everywhere.clone()), Err(HubError::Insecure(_))));
    assert!(Hub::open(Settings { insecure_http: true, ..everywhere }).is_ok());
}

#[test]
fn of_many_who_add_one_value_one_succeeds() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let path = format!("/attributes/add/{}", event(&hub, &hub.admin));
    let attribute = json!({"type": "ip-src", "value": "192.0.2.7"});
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let add = || hub.call("POST", &path, &attribute).status;
        let adders: Vec<_> = (0..8).map(|_| scope.spawn(add)).collect();
        adders.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|it| **it == 200).count(), 1, "{statuses:?}");
    let found = hub.post("/attributes/restSearch", &json!({"value": "192.0.2.7"}));
    assert_eq!(found["response"]["Attribute"].as_array().unwrap().len(), 1);
}

#[test]
fn nothing_is_fetched_or_sighted_by_mistake() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let path = format!("/attributes/add/{}", event(&hub, &hub.admin));
    hub.post(&path, &json!({"type": "ip-src", "value": ["192.0.2.7", "192.0.2.8"]}));
    let key = hub.admin.clone();
    let search = |kind: &str, body: &str| {
        let headers = [("Authorization", &*key), ("Content-Type", kind), ("Accept", "*/*")];
        hub.send("POST", "/attributes/restSearch", &headers, body.as_bytes())
    };
    for (kind, body) in [
        ("text/plain", r#"{"value": "192.0.2.7"}"#),
        ("application/json", ""),
        ("application/json", "{}"),
        ("application/json", r#"{"valeu": "192.0.2.7"}"#),
        ("application/json", r#"{"value": ""}"#),
        ("application/json", r#"{"value": "192.0.2.7""#),
    ] {
        let reply = search(kind, body);
        assert_eq!(reply.status, 405, "{body}: {}", reply.text());
        assert!(reply.text().contains("blocked to avoid an unfiltered request"));
    }
    for body in [json!({"value": ""}), json!({"values": ["", " "]}), json!({"value": "%"})] {
        let reply = hub.post("/sightings/add", &body);
        assert!(reply.get("Sighting").is_none(), "{body}: {reply}");
    }
    let seen = hub.post("/sightings/restSearch", &json!({"last": "1d"}));
    assert_eq!(seen["response"].as_array().unwrap().len(), 0);
}

#[test]
fn a_role_allows_what_it_says() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let (ours, theirs) = (event(&hub, &hub.sensor), event(&hub, &hub.curator));
    let attribute = json!({"type": "ip-src", "value": "192.0.2.7"});
    let status =
        |key: &str, path: String, body: &Value| hub.call_as(key, "POST", &path, body).status;
    assert_eq!(status(&hub.reader, format!("/attributes/add/{theirs}"), &attribute), 403);
    assert_eq!(status(&hub.sensor, format!("/attributes/add/{theirs}"), &attribute), 403);
    assert_eq!(status(&hub.sensor, format!("/attributes/add/{ours}"), &attribute), 200);
    assert_eq!(status(&hub.curator, format!("/attributes/add/{theirs}"), &attribute), 200);
    assert_eq!(status(&hub.sensor, format!("/events/delete/{theirs}"), &Value::Null), 403);
    // The value is in both events; the sensor sights its own.
    let sight = json!({"value": "192.0.2.7"});
    let sighted = hub.call_as(&hub.sensor, "POST", "/sightings/add", &sight).json();
    assert_eq!(sighted["Sighting"]["event_id"], *ours);
    let seen = hub.post("/sightings/restSearch", &json!({"last": "1d"}));
    assert_eq!(seen["response"].as_array().unwrap().len(), 1);
    assert_eq!(status(&hub.reader, "/attributes/restSearch".to_owned(), &sight), 200);
}

#[test]
fn too_many_searches_of_one_key_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let search = |key: &str| {
        let body = json!({"value": "192.0.2.7"});
        hub.call_as(key, "POST", "/attributes/restSearch", &body)
    };
    let refused = (0..3_000).map(|_| search(&hub.reader)).find(|it| it.status != 200).unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("Rate limit exceeded."));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(search(&hub.sensor).status, 200);
}

#[test]
fn a_revoked_key_is_refused_at_once() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let status = || hub.call_as(&hub.reader, "GET", "/users/view/me", &Value::Null).status;
    assert_eq!(status(), 200);
    let keys = Keys::open(data.path());
    let reader = keys.list().unwrap().into_iter().find(|it| it.name == "reader").unwrap();
    keys.revoke(reader.id).unwrap();
    assert_eq!(status(), 403);
}

#[test]
fn a_small_body_that_unpacks_to_a_large_one_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let packed = gzip_of_spaces(80 * 1024 * 1024);
    let headers = [
        ("Authorization", &*hub.admin),
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
        ("Content-Encoding", "gzip"),
    ];
    let reply = hub.send("POST", "/events/add", &headers, &packed);
    assert_eq!(reply.status, 413);
}

/// `gzip` of the system; spaces are white space in JSON.
fn gzip_of_spaces(count: u64) -> Vec<u8> {
    use std::io::Read;
    use std::process::{Command, Stdio};
    let mut gzip = Command::new("gzip")
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut packed = Vec::new();
    std::thread::scope(|scope| {
        let mut into = gzip.stdin.take().unwrap();
        let spaces = std::io::repeat(b' ');
        scope.spawn(move || std::io::copy(&mut spaces.take(count), &mut into).unwrap());
        gzip.stdout.take().unwrap().read_to_end(&mut packed).unwrap();
    });
    assert!(gzip.wait().unwrap().success());
    packed
}
