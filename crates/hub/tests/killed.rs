//! A hub that is killed under load keeps what it has answered.
//!
//! In full: `HUB_TEST_KILLS=100 cargo test -p hub --test killed`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use hub::{Hub, Settings, StopHandle};
use serde_json::{Value, json};
use support::{Running, ask};

/// Times that it is killed, unless [`KILLS`] says otherwise; each takes about a fifth of a second.
const ROUNDS: usize = 5;

/// Says how many times instead.
const KILLS: &str = "HUB_TEST_KILLS";

/// Clients that add one attribute after the other.
const CLIENTS: usize = 8;

/// Answers after which it is killed.
const ANSWERS: usize = 150;

/// Says to this test's own program where to serve from.
const DATA: &str = "HUB_TEST_DATA";

#[test]
fn killed_under_load_it_keeps_what_it_answered() {
    let rounds = std::env::var(KILLS).map_or(ROUNDS, |it| it.parse().unwrap());
    for round in 0..rounds {
        let data = tempfile::tempdir().unwrap();
        let (child, address, key) = spawn(data.path());
        let event = post(address, &key, "/events/add", &json!({"info": "bans"})).unwrap();
        let path = format!("/attributes/add/{}", event["Event"]["id"].as_str().unwrap());
        let (child, answered) = (Mutex::new(child), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (child, answered, key, path) = (&child, &answered, &key, &path);
                scope.spawn(move || {
                    for n in 0.. {
                        let value = format!("198.18.{client}.{n}");
                        let body = json!({"type": "ip-src", "value": value});
                        let Some(reply) = post(address, key, path, &body) else { return };
                        assert!(reply.get("Attribute").is_some(), "{reply}");
                        let mut answered = answered.lock().unwrap();
                        answered.push(value);
                        if answered.len() == ANSWERS {
                            child.lock().unwrap().kill().unwrap(); // SIGKILL
                        }
                    }
                });
            }
        });
        child.into_inner().unwrap().wait().unwrap();
        let answered = answered.into_inner().unwrap();
        let hub = Running::start(data.path());
        let kept = hub.post("/attributes/restSearch", &json!({"type": "ip-src", "limit": 1_000}));
        let kept: Vec<&str> = kept["response"]["Attribute"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["value"].as_str().unwrap())
            .collect();
        let lost: Vec<_> = answered.iter().filter(|it| !kept.contains(&&***it)).collect();
        assert!(lost.is_empty(), "round {round}: of {} {lost:?} are gone", answered.len());
    }
}

/// Posts, and reads the answer; `None` when there is none any more.
fn post(address: SocketAddr, key: &str, path: &str, body: &Value) -> Option<Value> {
    let headers = [
        ("Authorization", key),
        ("Accept", "application/json"),
        ("Content-Type", "application/json"),
    ];
    let reply = ask(address, "POST", path, &headers, body.to_string().as_bytes()).ok()?;
    serde_json::from_slice(&reply.body).ok()
}

/// This program again, as the hub that will be killed.
fn spawn(data: &Path) -> (Child, SocketAddr, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_hub_that_is_killed", "--nocapture"])
        .env(DATA, data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).find_map(|line| {
        let (_, rest) = line.split_once("serves ")?;
        let (address, key) = rest.split_once(' ')?;
        Some((address.parse().unwrap(), key.to_owned()))
    });
    let (address, key) = said.expect("the hub says where it serves");
    (child, address, key)
}

/// Not a test of its own: what [`spawn`] runs.
#[test]
fn the_hub_that_is_killed() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let listen = "127.0.0.1:0".parse().unwrap();
    let hub = Hub::open(Settings { listen, ..Settings::new(data) }).unwrap();
    println!("serves {} {}", hub.address(), hub.first_key().unwrap().reveal());
    hub.run(&StopHandle::new()).unwrap();
}
