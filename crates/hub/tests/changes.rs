//! The change stream: what one host reports, the others hear of at once, and believe.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use hub::keys::Keys;
use hub::{Hub, Settings};
use lists::chain::{ChainError, Entries, Follower, Taken};
use lists::change::{Change, Line};
use lists::net;
use serde_json::{Value, json};
use support::{Running, page, unchunked};

/// An agent that believes a key and keeps a list.
struct Agent {
    follower: Follower,
    list: BTreeMap<String, Vec<String>>,
}

impl Agent {
    /// Pins the key that the hub shows.
    fn new(hub: &Running) -> Self {
        let shown = get(hub, "/lists/key").json();
        assert_eq!(shown["algorithm"], "ed25519");
        let key = shown["key"].as_str().unwrap().parse().unwrap();
        Self { follower: Follower::new(key), list: BTreeMap::new() }
    }

    /// Asks for what is new and takes it; tells how many lines there were.
    fn poll(&mut self, hub: &Running, wait: u32) -> usize {
        let since = self.follower.place.sequence;
        let reply = get(hub, &format!("/lists/changes?since={since}&wait={wait}"));
        assert_eq!(reply.status, 200, "{}", reply.text());
        let body = match reply.header("transfer-encoding") {
            Some("chunked") => unchunked(&reply.body),
            _ => reply.body,
        };
        let text = String::from_utf8(body).unwrap();
        let (mut entries, mut held) = (Entries::default(), BTreeMap::new());
        for line in text.lines() {
            match serde_json::from_str(line).unwrap() {
                Line::Entry(entry) => {
                    entries.add(line);
                    held.insert(net::write(entry.value), entry.tags);
                }
                Line::Signed(signed) => {
                    match self.follower.take(&signed, std::mem::take(&mut entries), now()) {
                        Ok(Taken::Changes(changes)) => {
                            changes.into_iter().for_each(|it| self.take(it));
                        }
                        Ok(Taken::Whole) => self.list = std::mem::take(&mut held),
                        // Of a list as a whole the first lines may introduce the key of its last.
                        Err(error) => assert!(self.follower.introduce(&signed).unwrap(), "{error}"),
                    }
                }
            }
        }
        text.lines().count()
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::List(entry) => drop(self.list.insert(net::write(entry.value), entry.tags)),
            Change::Withdraw { value, .. } => drop(self.list.remove(&net::write(value))),
            Change::Key { .. } => {}
        }
    }

    /// Polls until the list is `want`.
    #[track_caller]
    fn await_list(&mut self, hub: &Running, want: &[&str]) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.list.keys().ne(want) {
            assert!(Instant::now() < end, "{:?} is not {want:?}", self.list);
            self.poll(hub, 1);
        }
    }
}

fn now() -> i64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

fn get(hub: &Running, path: &str) -> support::Reply {
    hub.send("GET", path, &[("Authorization", &*hub.reader)], b"")
}

/// An event of the sensor with these addresses; its id.
fn report(hub: &Running, values: &[&str]) -> String {
    let attributes: Vec<Value> =
        values.iter().map(|it| json!({"type": "ip-src", "value": it})).collect();
    let body = json!({"info": "bans", "Tag": [{"name": "tlp:green"}], "Attribute": attributes});
    let event = hub.call_as(&hub.sensor, "POST", "/events/add", &body).json();
    event["Event"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_list_and_what_changes_in_it() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let mut agent = Agent::new(&hub);
    let event = report(&hub, &["192.0.2.4", "198.51.100.0/24", "10.0.0.1", "0.0.0.0/0"]);
    agent.await_list(&hub, &["192.0.2.4", "198.51.100.0/24"]);
    assert_eq!(agent.list["192.0.2.4"], ["tlp:green"]);
    // From here on by records alone.
    let add = |value: &str| json!({"type": "ip-src", "value": value});
    hub.post(&format!("/attributes/add/{event}"), &add("2001:db8::7"));
    agent.await_list(&hub, &["192.0.2.4", "198.51.100.0/24", "2001:db8::7"]);
    let wrong = json!({"value": "192.0.2.4", "type": 1});
    hub.call_as(&hub.sensor, "POST", "/sightings/add", &wrong);
    hub.post(&format!("/attributes/add/{event}"), &add("203.0.113.1"));
    let all = ["192.0.2.4", "198.51.100.0/24", "2001:db8::7", "203.0.113.1"];
    agent.await_list(&hub, &all); // a sensor's false positive is a vote
    hub.call_as(&hub.curator, "POST", "/sightings/add", &wrong);
    agent.await_list(&hub, &all[1..]);
    hub.post(&format!("/attributes/add/{event}"), &json!({"type": "domain", "value": "x.example"}));
    hub.post(
        "/tags/attachTagToObject",
        &json!({"uuid": uuid_of(&hub, &event), "tag": "tlp:clear"}),
    );
    hub.post(&format!("/events/delete/{event}"), &json!({}));
    agent.await_list(&hub, &[]);
    assert_eq!(agent.poll(&hub, 0), 0, "what was said is not said again");
    assert_eq!(get(&hub, "/lists/changes?since=soon").status, 400);
    assert_eq!(hub.send("GET", "/lists/changes?since=0", &[], b"").status, 401);
}

fn uuid_of(hub: &Running, event: &str) -> String {
    let event = hub.call("GET", &format!("/events/view/{event}"), &Value::Null).json();
    event["Event"]["uuid"].as_str().unwrap().to_owned()
}

#[test]
fn a_sighting_an_hour_later_is_news_and_one_at_once_is_not() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let mut agent = Agent::new(&hub);
    report(&hub, &["192.0.2.4"]);
    agent.await_list(&hub, &["192.0.2.4"]);
    let place = agent.follower.place;
    let sight = |time: i64| {
        let body = json!({"value": "192.0.2.4", "timestamp": time});
        assert_eq!(hub.call("POST", "/sightings/add", &body).status, 200);
    };
    sight(now() + 60);
    sight(now() + 2 * 60 * 60);
    while agent.follower.place == place {
        agent.poll(&hub, 1);
    }
    assert_eq!(agent.follower.place.sequence, place.sequence + 1);
}

/// Reads a stream of server-sent events, an event's data at a time.
fn stream(hub: &Running, since: u64) -> impl Iterator<Item = String> {
    let mut to = TcpStream::connect(hub.address).unwrap();
    to.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "GET /lists/changes?since={since} HTTP/1.1\r\nHost: hub\r\nAuthorization: {}\r\n\
         Accept: text/event-stream\r\n\r\n",
        hub.reader
    );
    to.write_all(head.as_bytes()).unwrap();
    let lines = BufReader::new(to).lines().map_while(Result::ok);
    lines.filter_map(|line| line.strip_prefix("data: ").map(str::to_owned))
}

#[test]
fn a_report_is_on_the_stream_within_a_second() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let mut agent = Agent::new(&hub);
    report(&hub, &["192.0.2.4"]);
    agent.await_list(&hub, &["192.0.2.4"]);
    let mut events = stream(&hub, agent.follower.place.sequence);
    for n in 1..=5 {
        let reported = Instant::now();
        let value = format!("198.51.100.{n}");
        report(&hub, &[&value]);
        let signed = serde_json::from_str(&events.next().unwrap()).unwrap();
        let changes = agent.follower.follow(&signed, now()).unwrap();
        assert!(reported.elapsed() < Duration::from_secs(1), "{:?}", reported.elapsed());
        changes.into_iter().for_each(|it| agent.take(it));
        assert!(agent.list.contains_key(&value), "{:?}", agent.list);
    }
    // Somebody else who begins at an older number hears the same.
    let mut late = stream(&hub, agent.follower.place.sequence - 5);
    assert!(late.next().unwrap().contains("198.51.100.1"));
}

#[test]
fn whoever_has_no_key_any_more_hears_nothing_more() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    report(&hub, &["192.0.2.4"]);
    let mut agent = Agent::new(&hub);
    agent.await_list(&hub, &["192.0.2.4"]);
    let mut events = stream(&hub, agent.follower.place.sequence);
    report(&hub, &["192.0.2.5"]);
    assert!(events.next().unwrap().contains("192.0.2.5"));
    let keys = Keys::open(data.path());
    let reader = keys.list().unwrap().into_iter().find(|it| it.name == "reader").unwrap();
    keys.revoke(reader.id).unwrap();
    report(&hub, &["192.0.2.6"]);
    assert_eq!(events.next(), None);
}

#[test]
fn a_stream_outlives_a_restart_of_the_hub_and_a_rotation_of_its_key() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let (mut agent, mut late) = (Agent::new(&hub), Agent::new(&hub));
    let pinned = agent.follower.key;
    report(&hub, &["192.0.2.4"]);
    agent.await_list(&hub, &["192.0.2.4"]);
    hub.stop();
    let next = Hub::rotate_signing(data.path()).unwrap();
    assert!(Hub::rotate_signing(data.path()).is_err(), "one rotation at a time");
    let hub = Running::start(data.path());
    report(&hub, &["192.0.2.5"]);
    agent.await_list(&hub, &["192.0.2.4", "192.0.2.5"]);
    assert_ne!(next, pinned);
    assert_eq!(agent.follower.key, next);
    // Who was away all the while is introduced to the new key by the old one.
    late.await_list(&hub, &["192.0.2.4", "192.0.2.5"]);
    assert_eq!(late.follower.key, next);
    let mode = fs::metadata(data.path().join("signing.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_hub_that_was_made_anew_is_not_believed() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let mut agent = Agent::new(&hub);
    report(&hub, &["192.0.2.4"]);
    agent.await_list(&hub, &["192.0.2.4"]);
    let other = tempfile::tempdir().unwrap();
    let other = Running::start_with(Settings::new(other.path()));
    report(&other, &["192.0.2.99"]);
    let mut elsewhere = Agent::new(&other);
    elsewhere.await_list(&other, &["192.0.2.99"]);
    let text = get(&other, "/lists/changes?since=0").text();
    let signed = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let refused = agent.follower.take(&signed, Entries::default(), now());
    assert!(matches!(refused, Err(ChainError::Forged { .. })));
}

#[test]
fn what_is_allowed_is_withdrawn_from_all_who_follow() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let mut agent = Agent::new(&hub);
    report(&hub, &["192.0.2.4", "192.0.2.5", "198.51.100.0/24"]);
    agent.await_list(&hub, &["192.0.2.4", "192.0.2.5", "198.51.100.0/24"]);
    let admin = page::cookie(&hub, &hub.admin);
    let token = page::token(&page::look(&hub, "/allowed", &admin));
    let say = |path: &str, net: &str| {
        let form = format!("net={net}&reason=ours&token={token}");
        assert_eq!(page::submit(&hub, path, &admin, &form).status, 303);
    };
    say("/allowed/add", "192.0.2.4");
    say("/allowed/add", "198.51.100.9");
    agent.await_list(&hub, &["192.0.2.5"]);
    say("/allowed/revoke", "192.0.2.4");
    agent.await_list(&hub, &["192.0.2.4", "192.0.2.5"]);
}
