//! Exchange as the program runs it: what an operator asks of it, and a crowd of reports.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Child;

use serde_json::{Value, json};
use support::{BINARY, Host, Hub, wait_for, write_private};

/// A hundred reports at once.
const N_REPORTS: usize = 100;
/// How often exchange is killed meanwhile.
const N_KILLS: usize = 4;

/// A host with a daily event at a hub, whose key is a systemd credential.
fn host(hub: &Hub, more: &str) -> Host {
    let host = Host::new();
    write_private(&host.path().join("misp-main"), &hub.key);
    let url = hub.url();
    host.configure(&format!(
        "{more}\n[misp.main]\nurl = \"{url}\"\nkey_credential = \"misp-main\"\n"
    ));
    host
}

fn output(host: &Host, arguments: &[&str]) -> String {
    let output = host.command(BINARY).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn found(hub: &Hub, value: &str) -> Option<Value> {
    hub.attributes(&json!({"returnFormat": "json", "value": value})).pop()
}

#[test]
fn a_hundred_reports_while_exchange_is_killed() {
    let host = Host::new();
    let hub = Hub::start(&host.path().join("hub"));
    let event = hub.add_event("many");
    let (key, url) = (hub.key.as_str(), hub.url());
    let mut exchange = Some(host.start_exchange());
    let mut reports: Vec<Child> = Vec::new();
    for n in 0..N_REPORTS {
        let ip = format!("192.0.2.{n}");
        let arguments = ["report", &ip, key, &url, &event, "true"];
        reports.push(host.command(BINARY).args(arguments).spawn().unwrap());
        if n % (N_REPORTS / N_KILLS) == N_REPORTS / N_KILLS - 1 {
            // In the midst of whatever it does.
            exchange.take().unwrap().kill();
            exchange = Some(host.start_exchange());
        }
    }
    for mut report in reports {
        assert!(report.wait().unwrap().success());
    }
    wait_for("all of them", || (hub.values(&event).len() == N_REPORTS).then_some(()));
    wait_for("an empty outbox", || {
        output(&host, &["outbox"]).contains("MISP has confirmed everything").then_some(())
    });
    assert_eq!(hub.values(&event).len(), N_REPORTS, "none twice");
    assert_eq!(hub.n_sightings(&event), 0, "none is told again");
    exchange.unwrap().stop();
}

#[test]
fn a_mistake_is_taken_back_without_guard_too() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&dir.path().join("hub"));
    let host = host(&hub, "");
    let command = |arguments: &[&str]| {
        let mut command = host.command(BINARY);
        command.env("CREDENTIALS_DIRECTORY", host.path()).args(arguments);
        assert!(command.status().unwrap().success());
    };
    command(&["report", "192.0.2.1", "--jail", "sshd"]);
    let told = wait_for("the attribute", || found(&hub, "192.0.2.1"));
    assert_eq!(told["to_ids"], true);
    command(&["unban", "192.0.2.1", "--false-positive"]);
    let id: u64 = told["id"].as_str().unwrap().parse().unwrap();
    let sightings = wait_for("the sighting", || {
        let (_, answer) = hub.post("/sightings/restSearch/attribute", &json!({"id": id}));
        Some(answer["response"].clone()).filter(|it| it != &json!([]))
    });
    assert_eq!(sightings[0]["Sighting"]["type"], "1");
    assert_eq!(found(&hub, "192.0.2.1").unwrap()["to_ids"], false);
}

#[test]
fn review_on_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&dir.path().join("hub"));
    let host = Host::new();
    let key = host.path().join("misp.key");
    write_private(&key, &hub.key);
    let text = format!(
        "review = true\n[misp.main]\nurl = \"{}\"\nkey_file = \"{}\"\n",
        hub.url(),
        key.display()
    );
    host.configure(&text);
    let exchange = host.start_exchange();
    assert!(host.report(&["192.0.2.1", "--jail", "sshd"]).status.success());
    let listed = wait_for("the entry", || {
        Some(output(&host, &["outbox"])).filter(|said| said.contains("192.0.2.1"))
    });
    assert!(listed.contains("waits for `outbox approve`"), "{listed}");
    let shown = output(&host, &["outbox", "preview"]);
    assert!(shown.contains(&format!("POST {}/attributes/add/", hub.url())), "{shown}");
    assert!(shown.contains("Authorization: (the key)") && !shown.contains(&hub.key), "{shown}");
    assert!(found(&hub, "192.0.2.1").is_none());
    assert_eq!(output(&host, &["outbox", "approve", "--all"]), "1\n");
    wait_for("the attribute", || found(&hub, "192.0.2.1"));
    exchange.stop();
}

#[test]
fn numbers_are_served() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&dir.path().join("hub"));
    let host = Host::new();
    let key = host.path().join("misp.key");
    write_private(&key, &hub.key);
    host.configure(&format!(
        "[metrics]\nlisten = \"{free}\"\n[misp.main]\nurl = \"{}\"\nkey_file = \"{}\"\n",
        hub.url(),
        key.display()
    ));
    let exchange = host.start_exchange();
    assert!(host.report(&["192.0.2.1", "--jail", "sshd"]).status.success());
    assert!(host.report(&["10.1.2.3", "--jail", "sshd"]).status.success());
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(free).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let page = wait_for("the count", || {
        Some(ask("/metrics"))
            .filter(|page| page.contains("fail2misp_push_total{result=\"told\"} 1"))
    });
    for line in [
        "f2b_up 0",
        "fail2misp_outbox_depth{destination=\"main\"} 0",
        "fail2misp_suppressed_total{reason=\"private\"} 1",
        "fail2misp_push_seconds_count 1",
    ] {
        assert!(page.lines().any(|it| it == line), "{line}: {page}");
    }
    assert!(!page.contains("192.0.2.1") && !page.contains("10.1.2.3"));
    assert!(ask("/").starts_with("HTTP/1.1 404"));
    exchange.stop();
}
