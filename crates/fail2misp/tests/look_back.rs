//! The look back of the daemon: an indicator that becomes known today was here last month, and got
//! in. Nobody asks for it; the log says so, MISP hears when it was, and the reports show it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use control::guard::GuardClient;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::{BINARY, Hub, Running, ShownOnFailure, append, wait_for, write_private};

/// Public addresses, as hubs list no others.
const INTRUDER: &str = "45.33.32.66";
const STRANGER: &str = "45.33.32.67";

/// A host that follows `auth.log`, tells a hub what it bans and takes from it what to block.
struct Host {
    dir: tempfile::TempDir,
    hub: Hub,
}

impl Host {
    fn new(look_back: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::start(&dir.path().join("hub"));
        write_private(&dir.path().join("key"), &hub.key);
        let event = hub.add_event("what this host bans");
        let here = dir.path().display();
        let config = format!(
            "[guard]\nfirewall = \"memory\"\n\
             [misp.hub]\nurl = \"{}\"\nkey_file = \"{here}/key\"\nevent = {event}\n\
             [blocklist]\n[look_back]\n{look_back}\n",
            hub.url()
        );
        fs::write(dir.path().join("config.toml"), config).unwrap();
        let fail2ban = dir.path().join("fail2ban");
        fs::create_dir(&fail2ban).unwrap();
        let filters = concat!(env!("CARGO_MANIFEST_DIR"), "/../../filters/filter.d");
        symlink(filters, fail2ban.join("filter.d")).unwrap();
        let jail = format!("[sshd]\nenabled = true\nfilter = sshd\nlogpath = {here}/auth.log\n");
        fs::write(fail2ban.join("jail.conf"), jail).unwrap();
        fs::write(dir.path().join("auth.log"), "").unwrap();
        Self { dir, hub }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command
            .current_dir(self.path())
            .env("TZ", "UTC")
            .env("FAIL2MISP_CONFIG", self.path().join("config.toml"))
            .env("FAIL2MISP_STATE", self.path().join("state"))
            .env("FAIL2MISP_RUNTIME", self.path().join("run"))
            .env("FAIL2MISP_FAIL2BAN_DIR", self.path().join("fail2ban"))
            .stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.output(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().next().unwrap_or_else(|| panic!("{arguments:?} says nothing"));
        serde_json::from_str(line).unwrap()
    }

    fn start(&self) -> Running {
        let log = self.path().join("run.log");
        let log = OpenOptions::new().append(true).create(true).open(log).unwrap();
        Running::start(self.command().arg("run").stderr(log))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path().join("run.log")).unwrap_or_default()
    }

    /// Somebody else tells the hub of an address.
    fn tell_hub(&self, address: &str) {
        let event = self.hub.add_event("what others saw");
        let attribute = json!({"type": "ip-src", "value": address, "to_ids": true});
        let (status, answer) = self.hub.post(&format!("/attributes/add/{event}"), &attribute);
        assert_eq!(status, 200, "{answer}");
    }

    /// The times at which the hub knows an address to have been seen.
    fn sightings(&self, address: &str) -> Vec<i64> {
        let search = json!({"returnFormat": "json", "value": address, "includeSightings": 1});
        let found = self.hub.attributes(&search);
        let sightings =
            found.iter().flat_map(|it| it["Sighting"].as_array().cloned().unwrap_or_default());
        sightings.map(|it| it["date_sighting"].as_str().unwrap().parse().unwrap()).collect()
    }
}

/// A line of sshd, so many days ago.
fn line(days: i64, text: &str) -> (i64, String) {
    let time = Timestamp::now() - SignedDuration::from_hours(24 * days);
    let stamp = time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%b %e %H:%M:%S").to_string();
    (time.as_second(), format!("{stamp} web-1 sshd[71]: {text}"))
}

#[test]
fn an_indicator_of_today_was_here_last_month() {
    let host = Host::new("within = \"40d\"");
    let _shown = ShownOnFailure(host.path().join("run.log"));
    let failed = format!("Failed password for root from {INTRUDER} port 9 ssh2");
    let (_, first) = line(31, &failed);
    let (last, second) =
        line(30, &format!("Accepted password for root from {INTRUDER} port 9 ssh2"));
    let (_, old) = line(60, &failed);
    let packed = host.path().join("auth.log.2");
    fs::write(&packed, [old, first, second, String::new()].join("\n")).unwrap();
    assert!(Command::new("gzip").arg(packed).status().unwrap().success());

    let run = host.start();
    host.tell_hub(STRANGER);
    host.tell_hub(INTRUDER);

    let sightings = wait_for("the sighting at the hub", || {
        Some(host.sightings(INTRUDER)).filter(|it| !it.is_empty())
    });
    assert_eq!(sightings, [last], "with the time of last month's log");
    assert_eq!(host.sightings(STRANGER), [0; 0], "who was never here is not sighted");
    let log = host.log();
    let found = log.lines().find(|line| line.contains("was here before")).expect("a line says so");
    assert!(found.contains(INTRUDER) && found.contains("succeeded: 2 lines"), "{found}");

    let known = host.json(&["who", INTRUDER, "--json"]);
    assert_eq!(known["logs"]["found"]["outcome"], "succeeded", "{known}");
    assert_eq!(known["block_list"][0]["net"], format!("{INTRUDER}/32"), "{known}");
    let hunt = ["hunt", "-i", "pulled", ".", "--json", "--html", "report.html"];
    let report = host.json(&hunt);
    assert_eq!((&report["indicator"], &report["outcome"]), (&INTRUDER.into(), &"succeeded".into()));
    let page = fs::read_to_string(host.path().join("report.html")).unwrap();
    assert!(page.contains("Accepted password for root"), "{page}");

    let socket = host.path().join("run/guard/control.sock");
    let counted = GuardClient::connect(&socket).unwrap().metrics().unwrap().look_back;
    assert_eq!(counted.n_hits, [0, 0, 1], "{counted:?}");
    run.stop();
}

#[test]
fn what_this_host_told_itself_is_not_looked_for() {
    let host = Host::new("");
    let _shown = ShownOnFailure(host.path().join("run.log"));
    let run = host.start();
    wait_for("the log to be followed", || host.log().contains("follows").then_some(()));
    let failed = format!("Failed password for root from {INTRUDER} port 9 ssh2");
    append(&host.path().join("auth.log"), &vec![line(0, &failed).1; 10]);
    wait_for("what it told to come back", || {
        (host.output(&["blocklist", "why", INTRUDER]).status.code() == Some(0)).then_some(())
    });
    host.tell_hub(STRANGER);
    wait_for("the look back for what others tell", || {
        host.log().contains("1 new indicators looked for").then_some(())
    });
    assert!(!host.log().contains("was here before"), "{}", host.log());
    run.stop();
}
