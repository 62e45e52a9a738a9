//! The two halves in processes of their own: what exchange may have guard do, and what not.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use support::{BINARY, Host, Hub, Running, ShownOnFailure, has, skip, wait_for, write_private};

/// A guard in a network of its own, by a configuration of its own.
fn start_guard(host: &Host, config: &str) -> Running {
    let path = host.path().join("guard.toml");
    fs::write(&path, config).unwrap();
    let mut guard = host.command("unshare");
    guard.args(["-n", BINARY, "run", "--only", "guard"]).env("FAIL2MISP_CONFIG", path);
    let guard = Running::start(guard.stderr(std::process::Stdio::null()));
    wait_for("guard", || UnixStream::connect(host.path().join("run/guard/control.sock")).ok());
    guard
}

fn ask(host: &Host, arguments: &[&str]) -> String {
    let output = host.command(BINARY).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Bans an address, and has a curator call it a false positive once the hub knows of it.
fn ban_and_deny(host: &Host, hub: &Hub, value: &str) {
    assert_eq!(ask(host, &["ban", "x", value]), "1\n");
    wait_for("the attribute", || {
        let found = hub.attributes(&json!({"returnFormat": "json", "value": value}));
        (!found.is_empty()).then_some(())
    });
    let (status, answer) = hub.post("/sightings/add", &json!({"value": value, "type": 1}));
    assert!(status == 200 && answer.get("Sighting") != Some(&Value::Null), "{answer}");
}

#[test]
fn a_trusted_false_positive_lifts_a_ban_where_guard_says_so_too() {
    if !has("nft") || !rustix::process::geteuid().is_root() {
        return skip("only root may make a network namespace, and `nft` must be there");
    }
    let temp = tempfile::tempdir().unwrap();
    let hub = Hub::start(&temp.path().join("hub"));
    let host = Host::new();
    let _shown = ShownOnFailure(host.path().join("exchange.log"));
    let folder = host.path().join("fail2ban");
    fs::create_dir_all(folder.join("filter.d")).unwrap();
    fs::write(folder.join("filter.d/x.conf"), "[Definition]\nfailregex = ^from <HOST>$\n").unwrap();
    let log = host.path().join("x.log");
    fs::write(&log, "").unwrap();
    let jail =
        format!("[x]\nenabled = true\nfilter = x\nlogpath = {}\nbackend = auto\n", log.display());
    fs::write(folder.join("jail.conf"), jail).unwrap();
    let key = host.path().join("hub.key");
    write_private(&key, &hub.key_of("web-1", "sensor"));
    let trusting = "[blocklist]\ntrusted_false_positives = [\"hub\"]\n";
    host.configure(&format!(
        "min_failures = 0\n[misp.hub]\nurl = \"{}\"\nkey_file = \"{}\"\n{trusting}",
        hub.url(),
        key.display()
    ));
    let _exchange = host.start_exchange();

    let guard = start_guard(&host, trusting);
    ban_and_deny(&host, &hub, "45.33.32.1");
    wait_for("the freedom", || {
        (!ask(&host, &["banned", "--json"]).contains("45.33.32.1")).then_some(())
    });
    guard.stop();

    // It is guard's word that counts, not what exchange asks for.
    let _guard = start_guard(&host, "");
    ban_and_deny(&host, &hub, "45.33.32.2");
    wait_for("the refusal", || {
        let said = fs::read_to_string(host.path().join("exchange.log")).unwrap();
        let refused = "`trusted_false_positives` of guard does not name \"hub\"";
        said.lines().any(|it| it.contains("45.33.32.2") && it.contains(refused)).then_some(())
    });
    assert!(ask(&host, &["banned", "--json"]).contains("45.33.32.2"));
}
