//! `fail2misp doctor` against a hub: what is wrong is named, with its remedy.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use serde_json::Value;
use support::{BINARY, Host, Hub, write_private};

/// What is found at MISP, as `verdict text`; and the exit code.
fn doctor(host: &Host) -> (Vec<String>, Option<i32>) {
    let output = host.command(BINARY).args(["doctor", "--json"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let found = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let at_misp = found.filter(|it| it["area"].as_str().unwrap().starts_with("MISP"));
    let words =
        |it: Value| format!("{} {}", it["verdict"].as_str().unwrap(), it["text"].as_str().unwrap());
    (at_misp.map(words).collect(), output.status.code())
}

/// A host whose one destination has this key and these lines.
fn host(hub: &Hub, key: &str, lines: &str) -> Host {
    let host = Host::new();
    let file = host.path().join("misp.key");
    write_private(&file, key);
    host.configure(&format!(
        "[misp.main]\nurl = \"{}\"\nkey_file = \"{}\"\n{lines}\n",
        hub.url(),
        file.display()
    ));
    host
}

#[track_caller]
fn finds(host: &Host, verdict: &str, words: &[&str]) {
    let (found, code) = doctor(host);
    let is_it =
        |line: &&String| line.starts_with(verdict) && words.iter().all(|word| line.contains(word));
    assert!(found.iter().any(|line| is_it(&line)), "{found:#?}");
    if verdict == "FAULT" {
        assert_eq!(code, Some(1));
    }
}

#[test]
fn a_destination_that_works_has_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&dir.path().join("hub"));
    let event = hub.add_event("fine");
    let host = host(
        &hub,
        &hub.key_of("web-1", "sensor"),
        &format!("event = {event}\npublish = \"always\""),
    );
    let (found, _) = doctor(&host);
    assert!(found.iter().all(|line| !line.starts_with("FAULT")), "{found:#?}");
    finds(&host, "ok", &["it answers as MISP 2.5.1"]);
    finds(&host, "ok", &["its clock agrees"]);
    finds(&host, "ok", &["may do what it must"]);
    finds(&host, "ok", &["is there: fine"]);
}

#[test]
fn a_key_that_may_only_read() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&dir.path().join("hub"));
    let host = host(&hub, &hub.key_of("reader", "reader"), "tags = [\"acme:sensor\"]");
    finds(&host, "FAULT", &["may not add attributes (perm_add)", "another key"]);
    finds(&host, "FAULT", &["may not add sightings (perm_sighting)"]);
    finds(&host, "FAULT", &["the tag `acme:sensor` is not there", "enable its taxonomy"]);
}

#[test]
fn a_wrong_key() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&dir.path().join("hub"));
    let wrong = host(&hub, "0123456789012345678901234567890123456789", "");
    finds(&wrong, "FAULT", &["the key is not accepted", "`Auth keys`"]);
    let missing = host(&hub, "", "");
    finds(&missing, "FAULT", &["holds no key"]);
}

#[test]
fn an_event_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&dir.path().join("hub"));
    let host = host(&hub, &hub.key_of("web-1", "sensor"), "event = 4711");
    finds(&host, "FAULT", &["there is no event `4711`", "`misp_event`"]);
}

#[test]
fn a_tag_that_is_missing_is_made_later() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&dir.path().join("hub"));
    let host = host(&hub, &hub.key_of("web-1", "sensor"), "tags = [\"acme:sensor\"]");
    finds(&host, "note", &["`acme:sensor` is not there yet", "made when needed"]);
}

#[test]
fn a_server_that_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(&dir.path().join("hub"));
    let host = host(&hub, &hub.key, "");
    hub.stop();
    finds(&host, "FAULT", &["cannot be reached", "is it up"]);
}

#[test]
fn a_configuration_that_cannot_be_read() {
    let host = Host::new();
    host.configure("[misp.main]\nurll = \"https://misp.example.org\"\n");
    let output = host.command(BINARY).arg("doctor").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("did you mean `url`?") && said.contains("1 thing to mend"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}
