//! What is older than it is to be kept is forgotten; what was seen of late is not.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::time::{Duration, Instant};

use hub::Settings;
use serde_json::json;
use support::Running;

const DAY: i64 = 86_400;

#[test]
fn the_old_goes_and_the_rest_stays() {
    let data = tempfile::tempdir().unwrap();
    let now = jiff::Timestamp::now().as_second();
    let hub = Running::start(data.path());
    let event = hub.post("/events/add", &json!({"info": "bans of web-1"}));
    let id = event["Event"]["id"].as_str().unwrap().to_owned();
    let add = |value: &str, days: i64| {
        let attribute = json!({"type": "ip-src", "value": value, "timestamp": now - days * DAY});
        hub.post(&format!("/attributes/add/{id}"), &attribute);
    };
    for n in 1..=30 {
        add(&format!("192.0.2.{n}"), 500);
    }
    add("198.51.100.1", 500);
    add("198.51.100.2", 10);
    for days in [450, 5] {
        let seen = json!({"value": "198.51.100.1", "timestamp": now - days * DAY});
        hub.post("/sightings/add", &seen);
    }
    hub.stop();

    let keep = Some(Duration::from_secs(400 * 86_400));
    let hub = Running::start_with(Settings { keep, ..Settings::new(data.path()) });
    let values = || {
        let found = hub.post("/attributes/restSearch", &json!({"eventid": id, "limit": 100}));
        let found = found["response"]["Attribute"].as_array().unwrap().clone();
        found.iter().map(|it| it["value"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let end = Instant::now() + Duration::from_secs(20);
    while values() != ["198.51.100.1", "198.51.100.2"] {
        assert!(Instant::now() < end, "{:?}", values());
        std::thread::sleep(Duration::from_millis(20));
    }
    let seen = hub.post("/sightings/listSightings", &json!({"context": "event", "id": id}));
    assert_eq!(seen.as_array().unwrap().len(), 1, "older sightings of what stays go, too");
    let event = hub.call("GET", &format!("/events/view/{id}"), &json!(null)).json();
    assert_eq!(event["Event"]["attribute_count"], "2");
}
