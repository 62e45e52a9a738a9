//! `fail2misp report`, as fail2ban's action and the article's script call it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{BINARY, Host, Hub, Running, wait_for};

#[track_caller]
fn refused(output: &Output, code: i32, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn the_articles_five_arguments_arrive() {
    let host = Host::new();
    let hub = Hub::start(&host.path().join("hub"));
    let event = hub.add_event("the article's");
    let script = host.path().join("misp_add_attribute.sh");
    symlink(BINARY, &script).unwrap();
    let (key, url) = (hub.key.as_str(), hub.url());

    // Under its own name, and as a subcommand.
    let done = host.command(&script).args(["192.0.2.1", key, &url, &event, "true"]).status();
    assert!(done.unwrap().success());
    assert!(host.report(&["2001:DB8::1", key, &url, &event, "true"]).status.success());
    wait_for("two attributes", || {
        (hub.values(&event) == ["192.0.2.1", "2001:db8::1"]).then_some(())
    });

    // Known already: a sighting.
    assert!(host.report(&["192.0.2.1", key, &url, &event, "true"]).status.success());
    wait_for("the sighting", || (hub.n_sightings(&event) == 1).then_some(()));
    let found = hub.attributes(&json!({"returnFormat": "json", "value": "192.0.2.1"}));
    assert_eq!(found[0]["comment"], "login attempt (via fail2ban)");

    // The key is where only its owner reads it.
    let keys: Vec<_> =
        fs::read_dir(host.path().join("state/exchange/keys")).unwrap().flatten().collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn without_sightings_a_known_address_is_a_line_in_the_log() {
    let host = Host::new();
    let hub = Hub::start(&host.path().join("hub"));
    let event = hub.add_event("no sightings");
    let (key, url) = (hub.key.as_str(), hub.url());
    let log = host.path().join("exchange.log");
    let exchange = Running::start(
        host.command(BINARY)
            .args(["run", "--only", "exchange"])
            .stderr(fs::File::create(&log).unwrap()),
    );
    for _ in 0..2 {
        assert!(host.report(&["192.0.2.1", key, &url, &event, "false"]).status.success());
    }
    wait_for("the line in the log", || {
        let log = fs::read_to_string(&log).unwrap();
        log.contains("Not sighting 192.0.2.1 due to configuration").then_some(())
    });
    assert_eq!(hub.values(&event), ["192.0.2.1"]);
    assert_eq!(hub.n_sightings(&event), 0);
    exchange.stop();
}

#[test]
fn what_cannot_be_told_is_refused_with_a_reason() {
    let host = Host::new();
    let five = |ip: &'static str, url: &'static str| host.report(&[ip, "k", url, "1", "true"]);
    refused(&five("192.0.2.300", "http://127.0.0.1:1"), 2, "neither an address nor a prefix");
    refused(&five("mallory; reboot", "http://127.0.0.1:1"), 2, "`mallory; reboot`");
    refused(&five("192.0.2.1", "misp.example.org"), 2, "write it as https://misp.example.org");
    fs::create_dir(host.path().join("fail2ban")).unwrap();
    refused(&host.report(&["192.0.2.1"]), 2, "nobody says which MISP");
    assert_eq!(host.n_spooled(), 0);

    // A restored ban was told when it was new.
    let output = host.report(&["192.0.2.1", "--jail", "sshd", "--restored", "1"]);
    assert!(output.status.success());
    assert_eq!(host.n_spooled(), 0);
}

#[test]
fn the_jails_own_action_line_decides_and_misp_conf_where_there_is_none() {
    let host = Host::new();
    let hub = Hub::start(&host.path().join("hub"));
    let (of_all, of_jail) = (hub.add_event("all jails"), hub.add_event("one jail"));
    let config = host.path().join("fail2ban");
    fs::create_dir_all(config.join("action.d")).unwrap();
    fs::create_dir_all(config.join("filter.d")).unwrap();
    fs::write(config.join("filter.d/door.conf"), "[Definition]\nfailregex = ^<HOST>\n").unwrap();
    // As the article has it: the options in [Definition], and an action that names its script.
    fs::write(
        config.join("action.d/misp.conf"),
        format!(
            "[Definition]\nactionban = /usr/local/sbin/misp_add_attribute.sh <ip> <misp_auth_key> \
             <misp_base_url> <misp_event> <misp_sight>\nmisp_auth_key = {}\nmisp_base_url = {}\n\
             misp_event = {of_all}\nmisp_sight = true\n",
            hub.key,
            hub.url()
        ),
    )
    .unwrap();
    let jails = format!(
        "[door]\nfilter = door\nlogpath = /dev/null\naction = misp[misp_event={of_jail}]\n\
         [gate]\nfilter = door\nlogpath = /dev/null\naction = misp\n"
    );
    fs::write(config.join("jail.conf"), jails).unwrap();

    for (ip, jail) in [("192.0.2.11", "door"), ("192.0.2.12", "gate"), ("192.0.2.13", "nowhere")] {
        let output =
            host.report(&["--jail", jail, "--action", "misp", "--failures", "3", "--", ip]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    wait_for("the jail's own event", || (hub.values(&of_jail) == ["192.0.2.11"]).then_some(()));
    wait_for("the event of misp.conf", || {
        (hub.values(&of_all) == ["192.0.2.12", "192.0.2.13"]).then_some(())
    });
}

#[test]
fn nobody_waits_for_a_misp_that_is_away() {
    let host = Host::new();
    let mut hub = Hub::start(&host.path().join("hub"));
    let event = hub.add_event("away");
    let (key, url) = (hub.key.clone(), hub.url());
    hub.stop();

    let mut times: Vec<Duration> = (1..=20)
        .map(|n| {
            let start = Instant::now();
            let ip = format!("198.51.100.{n}");
            assert!(host.report(&[&ip, &key, &url, &event, "true"]).status.success());
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("report with MISP away: median {:?}, longest {:?}", times[10], times[19]);

    hub.restart();
    wait_for("all of them", || (hub.values(&event).len() == 20).then_some(()));
}

#[test]
fn a_hundred_at_once_are_a_hundred_attributes() {
    let host = Host::new();
    let hub = Hub::start(&host.path().join("hub"));
    let event = hub.add_event("many");
    let (key, url) = (hub.key.as_str(), hub.url());
    let reports: Vec<_> = (1..=100)
        .map(|n| {
            let ip = format!("192.0.2.{n}");
            let arguments = ["report", &ip, key, &url, &event, "true"];
            host.command(BINARY).args(arguments).spawn().unwrap()
        })
        .collect();
    for mut report in reports {
        assert!(report.wait().unwrap().success());
    }
    wait_for("all of them", || (hub.values(&event).len() == 100).then_some(()));
    assert_eq!(hub.n_sightings(&event), 0);
}
