//! Lists for firewalls and the feed for MISPs.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use hub::Settings;
use serde_json::{Value, json};
use support::{Reply, Running};

fn fetch(hub: &Running, path: &str, more: &[(&str, &str)]) -> Reply {
    let mut headers = vec![("Authorization", &*hub.reader)];
    headers.extend(more);
    hub.send("GET", path, &headers, b"")
}

/// An event with offenders; its id and uuid.
fn event(hub: &Running, key: &str, values: &[&str]) -> (String, String) {
    let attributes: Vec<Value> =
        values.iter().map(|it| json!({"type": "ip-src", "value": it})).collect();
    let body = json!({"info": "bans", "Tag": [{"name": "tlp:green"}], "Attribute": attributes});
    let event = hub.call_as(key, "POST", "/events/add", &body).json();
    let text = |name: &str| event["Event"][name].as_str().unwrap().to_owned();
    (text("id"), text("uuid"))
}

#[test]
fn a_list_holds_what_may_be_blocked() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let values =
        ["192.0.2.4", "192.0.2.5", "198.51.100.0/24", "10.0.0.1", "0.0.0.0/0", "2001:db8::7"];
    let (id, _) = event(&hub, &hub.sensor, &values);
    hub.post(&format!("/attributes/add/{id}"), &json!({"type": "domain", "value": "evil.example"}));
    let quiet = json!({"type": "ip-src", "value": "203.0.113.9", "to_ids": false});
    hub.post(&format!("/attributes/add/{id}"), &quiet);
    let list = |path: &str| fetch(&hub, path, &[]).text();
    assert_eq!(list("/lists/ipv4.txt"), "192.0.2.4/31\n198.51.100.0/24\n");
    assert_eq!(list("/lists/ipv4.txt?merge=0"), "192.0.2.4\n192.0.2.5\n198.51.100.0/24\n");
    assert_eq!(list("/lists/ipv6.txt"), "2001:db8::7\n");
    assert_eq!(list("/lists/ipv4.txt?tag=tlp:green").lines().count(), 2);
    assert_eq!(list("/lists/ipv4.txt?tag=tlp:red"), "");
    assert_eq!(list("/lists/ipv4.txt?tag=!tlp:green"), "");
    assert_eq!(list("/lists/ipv4.txt?published=1"), "");
    assert_eq!(list("/lists/ipv4.txt?age=1h").lines().count(), 2);
    assert_eq!(list("/lists/ipv4.txt?min_hosts=2"), "");
    hub.call_as(&hub.curator, "POST", "/sightings/add", &json!({"value": "192.0.2.4"}));
    assert_eq!(list("/lists/ipv4.txt?min_hosts=2"), "192.0.2.4\n");
    let objects = fetch(&hub, "/lists/addresses.json", &[]).json();
    assert_eq!(
        (objects[0]["address"].as_str(), &objects[0]["sightings"]),
        (Some("192.0.2.4"), &json!(1))
    );
    assert!(list("/lists/addresses.csv").starts_with("address,first_seen"));
    assert_eq!(fetch(&hub, "/lists/ipv4.txt?age=soon", &[]).status, 400);
    assert_eq!(fetch(&hub, "/lists/nonsense", &[]).status, 404);
}

#[test]
fn a_curators_false_positive_withdraws_and_a_sensors_does_not() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    event(&hub, &hub.sensor, &["192.0.2.4"]);
    let list = || fetch(&hub, "/lists/ipv4.txt", &[]).text();
    let wrong = json!({"value": "192.0.2.4", "type": 1});
    hub.call_as(&hub.sensor, "POST", "/sightings/add", &wrong);
    assert_eq!(list(), "192.0.2.4\n");
    hub.call_as(&hub.curator, "POST", "/sightings/add", &wrong);
    assert_eq!(list(), "");
}

#[test]
fn firewalls_read_their_lists() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    event(&hub, &hub.sensor, &["192.0.2.4", "192.0.2.5", "2001:db8::7", "2001:db8:1::/48"]);
    let script = fetch(&hub, "/lists/nftables.nft", &[]).text();
    assert!(script.contains("add element inet fail2misp_hub ipv4 { 192.0.2.4/31 }"), "{script}");
    let restore = fetch(&hub, "/lists/ipset.txt", &[]).text();
    assert!(restore.contains("add fail2misp-ipv6-new 2001:db8:1::/48 -exist"), "{restore}");
    // Twice: the second time the sets are there and are replaced.
    let twice = format!("{script}{script}");
    accepted(&["unshare", "-rn", "nft", "-f", "-"], "nft", &twice);
    accepted(&["unshare", "-rn", "ipset", "restore"], "ipset", &format!("{restore}{restore}"));
}

/// Feeds `input` to a program in a network namespace of its own, where the machine has it.
fn accepted(command: &[&str], program: &str, input: &str) {
    let there = Command::new(program).arg("--version").output().is_ok();
    let namespaces = Command::new(command[0]).args(["-rn", "true"]).status();
    if !there || !namespaces.is_ok_and(|it| it.success()) {
        assert!(program != "nft" || std::env::var_os("CI").is_none(), "{program} is not there");
        println!("skipped: {program} or a network namespace is not to be had");
        return;
    }
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    event(&hub, &hub.sensor, &["192.0.2.4"]);
    let first = fetch(&hub, "/lists/ipv4.txt", &[]);
    let tag = first.header("etag").unwrap().to_owned();
    let ask = |tag: &str| fetch(&hub, "/lists/ipv4.txt", &[("If-None-Match", tag)]);
    let same = ask(&tag);
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(&*tag)));
    assert_eq!(ask(&format!("W/{tag}")).status, 304);
    hub.post("/events/add", &json!({"info": "a change that the list does not see"}));
    assert_eq!(ask(&tag).status, 304);
    event(&hub, &hub.sensor, &["192.0.2.9"]);
    assert_eq!(ask(&tag).status, 200);
    let packed = fetch(&hub, "/lists/ipv4.txt?merge=0", &[("Accept-Encoding", "gzip")]);
    assert!(packed.header("etag").is_some());
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
}

#[test]
fn a_list_is_fetched_with_a_password_or_by_anybody_if_told_so() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let stranger = hub.send("GET", "/lists/ipv4.txt", &[], b"");
    let asked = stranger.header("www-authenticate").unwrap_or_default();
    assert_eq!((stranger.status, asked), (401, "Basic realm=\"hub\""));
    hub.stop();
    let hub = Running::start_with(Settings { public_lists: true, ..Settings::new(data.path()) });
    assert_eq!(hub.send("GET", "/lists/ipv4.txt", &[], b"").status, 200);
    assert_eq!(hub.send("GET", "/feed/manifest.json", &[], b"").status, 200);
    let search = hub.send("POST", "/attributes/restSearch", &[], b"");
    assert_eq!(search.status, 403);
}

#[test]
fn the_feed_is_what_a_misp_asks_for() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let (id, uuid) = event(&hub, &hub.admin, &["192.0.2.4", "192.0.2.5"]);
    event(&hub, &hub.admin, &["192.0.2.6"]); // never published
    let manifest = || fetch(&hub, "/feed/manifest.json", &[]).json();
    assert_eq!(manifest(), json!({}));
    hub.post(&format!("/events/publish/{id}"), &Value::Null);
    let entries = manifest();
    assert_eq!(entries.as_object().unwrap().len(), 1);
    let entry = &entries[&uuid];
    assert!(entry["timestamp"].is_string() && entry["Orgc"]["uuid"].is_string(), "{entry}");
    assert_eq!(entry["Tag"][0]["name"], "tlp:green");
    // MISP 2.5.1 asks with two slashes when its own setting ends in one.
    let file = fetch(&hub, &format!("/feed//{uuid}.json"), &[]).json();
    assert_eq!(file["Event"]["Attribute"].as_array().unwrap().len(), 2);
    assert_eq!(file["Event"]["published"], true);
    let hashes = fetch(&hub, "/feed/hashes.csv", &[]).text();
    assert!(hashes.lines().count() == 2 && hashes.lines().all(|it| it.ends_with(&uuid)));
    // A deletion stays visible, so that who has fetched the event withdraws it too.
    let first = file["Event"]["Attribute"][0]["uuid"].as_str().unwrap();
    hub.post(&format!("/attributes/delete/{first}"), &json!({}));
    assert_eq!(manifest(), json!({}));
    hub.post(&format!("/events/publish/{id}"), &Value::Null);
    let file = fetch(&hub, &format!("/feed/{uuid}.json"), &[]).json();
    assert_eq!(file["Event"]["Attribute"][0]["deleted"], true);
    assert_eq!(fetch(&hub, "/feed/00000000-0000-4000-8000-000000000000.json", &[]).status, 404);
}

#[test]
fn a_search_that_finds_much_is_streamed_whole() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let values: Vec<String> =
        (0..2_500).map(|n| format!("198.18.{}.{}", n / 250, n % 250)).collect();
    let values: Vec<&str> = values.iter().map(|it| &**it).collect();
    let (id, _) = event(&hub, &hub.admin, &values);
    let search = |body: Value| hub.call("POST", "/attributes/restSearch", &body);
    let reply = search(json!({"eventid": id, "includeEventTags": 1}));
    assert_eq!(reply.header("x-result-count"), Some("2500"));
    assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
    let found = support::unchunked(&reply.body);
    let found: Value = serde_json::from_slice(&found).unwrap();
    let found = found["response"]["Attribute"].as_array().unwrap();
    let last = &found[2_499];
    assert_eq!((found.len(), last["value"].as_str()), (2_500, Some("198.18.9.249")));
    assert_eq!(last["Tag"][0]["name"], "tlp:green");
    let page = search(json!({"eventid": id, "limit": 1_200, "page": 2, "returnFormat": "text",
        "published": 0}));
    assert_eq!(page.header("x-result-count"), Some("1201"));
    assert_eq!(String::from_utf8(support::unchunked(&page.body)).unwrap().lines().count(), 1_200);
}
