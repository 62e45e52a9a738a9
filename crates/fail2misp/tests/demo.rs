//! `fail2misp demo`, as somebody runs it who has just built it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{BINARY, Running, post};

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("demo").args(arguments).env_remove("FAIL2MISP_FAIL2BAN_DIR");
    command
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn ends_with_what_was_banned_and_told() {
    let output = demo(&["--json"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));

    let objects = objects(&said);
    let (last, steps) = objects.split_last().unwrap();
    assert_eq!(last["banned"], 4);
    assert_eq!(last["attributes"], 4);
    assert_eq!(last["sightings"], 1);
    assert_eq!(last["key"].as_str().unwrap().len(), 40);
    let kinds: BTreeSet<_> = steps.iter().map(|it| it["step"].as_str().unwrap()).collect();
    let want = ["attribute", "ban", "firewall", "hub", "line", "sighting", "unban"];
    assert_eq!(kinds, want.into());
    println!("firewall of the demo here: {}", last["firewall"]);
}

#[test]
fn ends_with_a_table_for_people() {
    let output = demo(&[]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let table: Vec<_> = said.lines().skip_while(|line| !line.starts_with("address")).collect();
    assert!(table.iter().any(|line| line.contains("203.0.113.61") && line.contains("sshd")));
    assert!(table.iter().all(|line| line.chars().count() <= 100), "{said}");
    assert!(said.contains("http://127.0.0.1:"));
}

#[test]
fn stays_and_answers_if_asked() {
    let mut process = Running::start(demo(&["--json", "--stay"]).stdout(Stdio::piped()));
    let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    let last = lines
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .find(|object| object.get("banned").is_some())
        .expect("the demo tells how it ended");
    let address = last["hub"].as_str().unwrap().strip_prefix("http://").unwrap();
    let key = last["key"].as_str().unwrap();

    let (status, answer) = post(
        address,
        key,
        "/attributes/restSearch",
        &json!({"returnFormat": "json", "type": "ip-src"}),
    );
    assert_eq!(status, 200);
    let found: BTreeSet<_> = answer["response"]["Attribute"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["value"].as_str().unwrap())
        .collect();
    let want = ["198.51.100.23", "2001:db8:bad::7", "203.0.113.140", "203.0.113.61"];
    assert_eq!(found, want.into());
    process.stop();
}
