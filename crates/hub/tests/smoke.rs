//! From the first request to the last: what a client of MISP does all day.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use serde_json::{Value, json};
use support::Running;

#[test]
fn an_offender_is_added_found_and_sighted() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let event = hub.post("/events/add", &json!({"info": "bans"}));
    let id = event["Event"]["id"].as_str().unwrap();
    let attribute = json!({"type": "ip-src", "value": "192.0.2.7", "comment": "sshd"});
    let added = hub.post(&format!("/attributes/add/{id}"), &attribute);
    assert_eq!(added["Attribute"]["value"], "192.0.2.7");
    let again = hub.call("POST", &format!("/attributes/add/{id}"), &attribute);
    assert_eq!(again.status, 403);
    let found = hub.post("/attributes/restSearch", &json!({"value": "192.0.2.7"}));
    assert_eq!(found["response"]["Attribute"][0]["uuid"], added["Attribute"]["uuid"]);
    let sighted = hub.post("/sightings/add", &json!({"value": "192.0.2.7"}));
    assert_eq!(sighted["Sighting"]["type"], "0");
    let view = hub.call("GET", &format!("/events/view/{id}"), &Value::Null).json();
    assert_eq!(view["Event"]["Attribute"][0]["Sighting"].as_array().unwrap().len(), 1);
    hub.stop();
}

/// Whoever builds on the hub reads what there is; each call that is described is answered.
#[test]
fn every_call_is_described() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let description = hub.send("GET", "/openapi.json", &[], b"").json();
    assert_eq!(description["openapi"], "3.1.0");
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.contains_key("/attributes/restSearch"));
    for (path, operations) in paths {
        let target = path.replace("{user}", "me").replace(['{', '}'], "");
        for method in operations.as_object().unwrap().keys() {
            let reply = hub.call(&method.to_uppercase(), &target, &json!({}));
            assert!(!reply.text().contains("\"Not Found\""), "{method} {path}: {}", reply.text());
        }
    }
    let unknown = hub.call("GET", "/galaxies/index", &Value::Null);
    assert!(unknown.text().contains("\"Not Found\""));
}
