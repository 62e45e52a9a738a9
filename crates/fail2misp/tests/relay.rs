//! A hub tells another one, or a MISP, what many hosts brought to it, and never in a circle.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{BINARY, Host, Hub, Running, ShownOnFailure, wait_for, write_private};

/// Makes `hub` tell whoever is at `url` from its next start on; `more` stands under `[share]`.
fn relay(hub: &mut Hub, url: &str, key: &str, dir: &Path, more: &str) {
    let (key_file, config) = (dir.join("upstream.key"), dir.join("config.toml"));
    write_private(&key_file, key);
    let text = format!(
        "[misp.up]\nurl = \"{url}\"\nkey_file = \"{}\"\n\n\
         [share]\n{more}\n",
        key_file.display()
    );
    fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    hub.arguments = ["--config", &config, "--upstream", "up"].map(str::to_owned).to_vec();
}

fn key_of_relay(upstream: &Hub) -> String {
    upstream.key_of("relay", "sensor")
}

/// A host that reports to `hub` and knows no MISP.
fn host(hub: &Hub, name: &str) -> (Host, Running) {
    let host = Host::new();
    let key = host.path().join("hub.key");
    write_private(&key, &hub.key_of(name, "sensor"));
    host.configure(&format!(
        "site = \"{name}\"\nsighting_interval = \"0s\"\n\n[misp.hub]\nurl = \"{}\"\n\
         key_file = \"{}\"\n",
        hub.url(),
        key.display()
    ));
    let exchange = host.start_exchange();
    (host, exchange)
}

fn report(host: &Host, value: &str) {
    assert!(host.report(&[value, "--jail", "sshd"]).status.success());
}

fn found(hub: &Hub, value: &str) -> Vec<Value> {
    hub.attributes(&json!({"returnFormat": "json", "value": value}))
}

#[track_caller]
fn await_one(hub: &Hub, value: &str) -> Value {
    wait_for(value, || Some(found(hub, value)).filter(|it| !it.is_empty())).remove(0)
}

fn sightings(hub: &Hub, attribute: &Value) -> Vec<Value> {
    let id: u64 = attribute["id"].as_str().unwrap().parse().unwrap();
    let (_, answer) = hub.post("/sightings/restSearch/attribute", &json!({"id": id}));
    answer["response"].as_array().unwrap().clone()
}

#[test]
fn what_many_hosts_saw_is_told_by_one() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let (mut upstream, mut hub) = (Hub::start(&dir.join("up")), Hub::start(&dir.join("hub")));
    let _shown = ShownOnFailure(dir.join("hub.log"));
    relay(&mut hub, &upstream.url(), &key_of_relay(&upstream), dir, "min_hosts = 2");
    hub.stop();
    hub.restart();
    let (first, _first) = host(&hub, "web-1");
    let (second, _second) = host(&hub, "web-2");

    // One host alone does not suffice. What it reported came before what both did.
    report(&first, "45.33.32.1");
    await_one(&hub, "45.33.32.1");
    let by_both = |value: &str| {
        report(&first, value);
        report(&second, value);
    };
    by_both("45.33.32.2");
    await_one(&upstream, "45.33.32.2");
    assert_eq!(found(&upstream, "45.33.32.1").len(), 0);
    report(&second, "45.33.32.1");
    let told = await_one(&upstream, "45.33.32.1");

    // However often both see it, it is one attribute there, with one sighting in an interval.
    let now = jiff::Timestamp::now().as_second();
    for time in now + 1..=now + 3 {
        for host in [&first, &second] {
            let time = time.to_string();
            let arguments = ["45.33.32.1", "--jail", "sshd", "--time", &time];
            assert!(host.report(&arguments).status.success());
        }
    }
    wait_for("the sightings at the hub", || {
        let all = found(&hub, "45.33.32.1");
        (all.iter().map(|it| sightings(&hub, it).len()).sum::<usize>() == 6).then_some(())
    });
    by_both("45.33.32.3");
    await_one(&upstream, "45.33.32.3");
    assert_eq!((found(&hub, "45.33.32.1").len(), found(&upstream, "45.33.32.1").len()), (2, 1));
    let seen = sightings(&upstream, &told);
    assert_eq!(seen.len(), 1, "{seen:?}");
    let source = seen[0]["Sighting"]["source"].as_str().unwrap();
    assert!(source.starts_with("hub ") && source.ends_with("/login"), "{source}");

    // With the upstream away, what comes waits on disk, and is told when it is back.
    upstream.stop();
    by_both("45.33.32.4");
    let waiting = || {
        let mut outbox = Command::new(BINARY);
        outbox.arg("--runtime").arg(dir.join("hub/relay")).args(["outbox", "--json"]);
        String::from_utf8(outbox.output().unwrap().stdout).unwrap()
    };
    wait_for("the entry", || waiting().contains("45.33.32.4").then_some(()));
    hub.kill();
    hub.restart();
    assert_eq!(found(&hub, "45.33.32.4").len(), 2);
    upstream.restart();
    await_one(&upstream, "45.33.32.4");

    // A curator's false positive is taken back there, too.
    let (status, answer) = hub.post("/sightings/add", &json!({"value": "45.33.32.1", "type": 1}));
    assert_eq!(status, 200, "{answer}");
    wait_for("the false positive", || {
        let told = found(&upstream, "45.33.32.1").remove(0);
        let types = sightings(&upstream, &told);
        (told["to_ids"] == false && types.iter().any(|it| it["Sighting"]["type"] == "1"))
            .then_some(())
    });
}

#[test]
fn two_hubs_may_tell_each_other() {
    let temp = tempfile::tempdir().unwrap();
    let dirs = [temp.path().join("0"), temp.path().join("1")];
    dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let [mut one, mut other] = dirs.each_ref().map(|dir| Hub::start(&dir.join("hub")));
    relay(&mut one, &other.url(), &key_of_relay(&other), &dirs[0], "");
    relay(&mut other, &one.url(), &key_of_relay(&one), &dirs[1], "");
    for hub in [&mut one, &mut other] {
        hub.stop();
        hub.restart();
    }
    let (at_one, _one) = host(&one, "web-1");
    let (at_other, _other) = host(&other, "web-2");
    report(&at_one, "45.33.32.1");
    await_one(&other, "45.33.32.1");
    // What is told in turn comes after whatever would come back.
    report(&at_other, "45.33.32.2");
    await_one(&one, "45.33.32.2");
    report(&at_one, "45.33.32.3");
    await_one(&other, "45.33.32.3");
    for hub in [&one, &other] {
        for value in ["45.33.32.1", "45.33.32.2", "45.33.32.3"] {
            let all = found(hub, value);
            assert_eq!(all.len(), 1, "{value}: {all:?}");
            assert_eq!(sightings(hub, &all[0]).len(), 0, "{value}");
        }
    }
}

/// What a hub that cannot start says, which is a fault of its configuration.
#[track_caller]
fn refusal(hub: &Hub) -> String {
    let mut command = Command::new(BINARY);
    command.args(["hub", "--listen", "127.0.0.1:0", "--data"]).arg(hub.data());
    let output = command.args(&hub.arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

#[test]
fn a_hub_is_not_its_own_upstream() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let mut hub = Hub::start(&dir.join("hub"));
    let (url, key) = (hub.url(), key_of_relay(&hub));
    // Whatever name it is called by.
    relay(&mut hub, &url.replace("127.0.0.1", "localhost"), &key, dir, "");
    hub.stop();
    hub.restart();
    let (host, _exchange) = host(&hub, "web-1");
    report(&host, "45.33.32.1");
    wait_for("the refusal", || hub.said().contains("is its own upstream").then_some(()));
    assert_eq!(found(&hub, "45.33.32.1").len(), 1);
    hub.stop();
    hub.arguments[3] = "nobody".to_owned();
    let said = refusal(&hub);
    assert!(said.contains("there is no [misp.nobody]; there is [misp.up]"), "{said}");
}
