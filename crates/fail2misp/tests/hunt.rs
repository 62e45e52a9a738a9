//! The look back as an analyst runs it: the real binary over old logs, and a hub that hears of it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::{BINARY, Hub, has, skip, wait_for, write_private};

/// Last month's log of a host: one attacker who failed and then got in, one who only failed, one who
/// only knocked, and a line that would like to be a part of a page or a terminal.
const LOG: &str = "\
Oct 20 06:05:01 web-1 sshd[71]: Failed password for root from 203.0.113.61 port 41120 ssh2
Oct 20 06:05:04 web-1 sshd[71]: Failed password for root from 203.0.113.61 port 41120 ssh2
Oct 21 07:00:00 web-1 sshd[72]: Accepted password for root from 203.0.113.61 port 41121 ssh2
Oct 21 07:10:00 web-1 sshd[73]: Failed password for invalid user oracle from 203.0.113.62 port 9 ssh2
Oct 22 07:10:00 web-1 sshd[74]: Connection from 203.0.113.63 port 9 on 192.0.2.1 port 22
Oct 22 07:11:00 web-1 sshd[75]: Failed password for invalid user <script>\u{1b}[31m from 2001:db8::64 port 9 ssh2
Oct 22 07:12:00 web-1 CRON[76]: nothing
";

const INDICATORS: &str = "203.0.113.61\n203.0.113.62\n# known\nevil.example\n203.0.113.63\n2001:db8::/32\n128.0.0.0/1\n203.0.113.99\n";

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .current_dir(folder)
        .env("TZ", "UTC")
        .env("FAIL2MISP_STATE", folder.join("state"))
        .env("FAIL2MISP_RUNTIME", folder.join("runtime"))
        .env("FAIL2MISP_CONFIG", folder.join("config.toml"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The log packed, as logrotate leaves it, and the list.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("auth.log.1");
    fs::write(&log, LOG).unwrap();
    let packed = Command::new("gzip").arg(log).status().unwrap();
    assert!(packed.success());
    fs::write(dir.path().join("list"), INDICATORS).unwrap();
    dir
}

/// A hub with an event, which the configuration names as the one destination.
fn destination(folder: &Path) -> (Hub, String) {
    let hub = Hub::start(&folder.join("hub"));
    let key = folder.join("key");
    write_private(&key, &hub.key);
    let event = hub.add_event("look back");
    let config = format!(
        "[misp.main]\nurl = \"{}\"\nkey_file = \"{}\"\nevent = {event}\n\
         [share]\nallow = [\"203.0.113.0/24\"]\n",
        hub.url(),
        key.display()
    );
    fs::write(folder.join("config.toml"), config).unwrap();
    (hub, event)
}

#[test]
fn who_got_in_comes_first() {
    let dir = folder();
    let output = run(dir.path(), &["hunt", "-i", "list", ".", "-n", "1", "--fail-on", "success"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let rows: Vec<_> = shown
        .lines()
        .take(5)
        .map(|row| row.split_whitespace().take(3).collect::<Vec<_>>())
        .collect();
    assert_eq!(rows[1], ["succeeded", "203.0.113.61", "3"], "{shown}");
    assert_eq!(rows[2], ["failed", "203.0.113.62", "1"]);
    assert_eq!(rows[3], ["failed", "2001:db8::/32", "1"]);
    assert_eq!(rows[4], ["probed", "203.0.113.63", "1"]);
    assert!(shown.contains("> Oct 21 07:00:00 web-1 sshd[72]: Accepted password"), "{shown}");
    assert!(
        shown.lines().all(|line| line.starts_with("  ") || line.chars().count() <= 100),
        "{shown}"
    );
    assert!(!shown.contains('\u{1b}'), "a line of a log reaches the terminal as text alone");
    let said = text(&output.stderr);
    assert!(said.contains("`list` line 4: `evil.example` is no indicator"), "{said}");
    assert!(said.contains("1 prefix wider than /8 left out; --any takes them"), "{said}");
}

#[test]
fn json_is_one_object_for_each_and_a_summary() {
    let dir = folder();
    let output = run(dir.path(), &["hunt", "-i", "list", "auth.log.1.gz", "--json", "--any"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let found = objects(&output);
    let by = |name: &str| found.iter().find(|it| it["indicator"] == name).unwrap();
    let first = by("203.0.113.61");
    assert_eq!(first["count"], 3);
    assert_eq!(first["outcome"], "succeeded");
    assert_eq!(first["files"], json!({"auth.log.1.gz": 3}));
    assert_eq!(first["users"], json!(["root"]));
    let times = [&first["first"], &first["last"]].map(|it| it.as_i64().unwrap());
    assert_eq!(times[1] - times[0], 24 * 3600 + 54 * 60 + 59);
    let day = first["days"].as_object().unwrap().keys().next().unwrap();
    assert!(day.ends_with("-10-20"), "{day}");
    assert_eq!(by("128.0.0.0/1")["indicator"], "128.0.0.0/1");
    let summary = &found.last().unwrap()["summary"];
    assert_eq!(summary["lines"], 7);
    assert_eq!(summary["indicators"], 6, "{summary}");
    assert_eq!(summary["complete"], true);
}

#[test]
fn times_bound_the_search() {
    let dir = folder();
    let year =
        if jiff::Zoned::now().strftime("%m-%d").to_string().as_str() < "10-20" { -1 } else { 0 };
    let year = i32::from(jiff::Zoned::now().year()) + year;
    let since = format!("{year}-10-21");
    let output = run(
        dir.path(),
        &[
            "hunt",
            "-i",
            "list",
            ".",
            "--json",
            "--since",
            &since,
            "--until",
            &format!("{since}T07:05"),
        ],
    );
    let found = objects(&output);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((&found[0]["indicator"], &found[0]["count"]), (&json!("203.0.113.61"), &json!(1)));
}

#[test]
fn nothing_found_is_no() {
    let dir = folder();
    fs::write(dir.path().join("list"), "198.51.100.7\n").unwrap();
    let output = run(dir.path(), &["hunt", "-i", "list", "auth.log.1.gz"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("none of 1 indicator was found"));
    let output = run(dir.path(), &["hunt", "-i", "missing", "auth.log.1.gz"]);
    assert_eq!(output.status.code(), Some(2));
    let output = run(dir.path(), &["hunt", "-i", "list", "no-such.log"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("`no-such.log` was not read to its end"));
}

/// The page is one file that loads nothing and runs nothing, and a browser shows all of it.
#[test]
fn the_page_opens_in_a_browser() {
    let dir = folder();
    run(dir.path(), &["hunt", "-i", "list", ".", "--html", "page.html", "-C", "1"]);
    let page = fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains("://"), "it loads nothing: {page}");
    if !has("chromium") {
        return skip("chromium is not installed");
    }
    let url = format!("file://{}/page.html", dir.path().display());
    let profile = format!("--user-data-dir={}", dir.path().join("profile").display());
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", &profile, &url])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    assert_eq!(shown.matches("<rect ").count(), 5, "one for each day and outcome: {shown}");
    assert!(shown.contains("&lt;script&gt;"), "a line of the log is text: {shown}");
    assert!(shown.contains("<mark>Oct 21 07:00:00 web-1 sshd[72]: Accepted password"), "{shown}");
}

/// An indicator that became known today was here last month: MISP hears of it with last month's time.
#[test]
fn misp_is_told_when_it_was() {
    let dir = folder();
    let (hub, event) = destination(dir.path());
    let added = json!({"type": "ip-src", "value": "203.0.113.61", "to_ids": true});
    let (status, answer) = hub.post(&format!("/attributes/add/{event}"), &added);
    assert_eq!(status, 200, "{answer}");
    let output = run(dir.path(), &["hunt", "-i", "list", "auth.log.1.gz", "--sight", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let last = objects(&output)[0]["last"].as_i64().unwrap();
    let number: u64 = event.parse().unwrap();
    let sighting = wait_for("the sighting at the hub", || {
        let (_, answer) =
            hub.post("/sightings/restSearch/event", &json!({"id": number, "last": "400d"}));
        answer["response"].as_array()?.first().cloned()
    });
    assert_eq!(sighting["Sighting"]["date_sighting"], json!(last.to_string()), "{sighting}");
}

/// Old logs are lived through again, packed ones, too: MISP learns whom the jail would have banned.
#[test]
fn backfill_tells_misp_with_the_times_of_the_log() {
    let dir = folder();
    let (hub, event) = destination(dir.path());
    let failures =
        "Oct 20 06:05:01 web-1 sshd[71]: Failed password for root from 203.0.113.61 port 4 ssh2\n";
    fs::write(dir.path().join("auth.log"), failures.repeat(5)).unwrap();
    let jails = concat!(env!("CARGO_MANIFEST_DIR"), "/../../filters");
    let backfill = ["--fail2ban-dir", jails, "backfill", "sshd", "auth.log", "--share", "--json"];
    let output = run(dir.path(), &backfill);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let first = objects(&output)[0]["first"].as_i64().unwrap();
    let attribute = wait_for("the attribute at the hub", || {
        hub.attributes(&json!({"returnFormat": "json", "eventid": event})).first().cloned()
    });
    assert_eq!(attribute["value"], "203.0.113.61");
    let comment = attribute["comment"].as_str().unwrap();
    assert!(comment.starts_with("historical: "), "nobody was banned: {comment}");
    let seen: jiff::Timestamp = attribute["first_seen"].as_str().unwrap().parse().unwrap();
    assert_eq!(seen.as_second(), first);
}

/// One screen, also where nothing runs that could be asked: those parts say so.
#[test]
fn who_tells_what_it_can() {
    let dir = folder();
    let output = run(dir.path(), &["who", "203.0.113.61", "."]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.starts_with("203.0.113.61\n"), "{shown}");
    assert!(shown.contains("succeeded: "), "{shown}");
    assert!(shown.contains("Accepted password for root"), "{shown}");
    assert!(shown.contains("banned here  cannot be asked: guard: no daemon answers"), "{shown}");
    let output = run(dir.path(), &["who", "198.51.100.0/24", "auth.log.1.gz", "--json"]);
    assert_eq!(output.status.code(), Some(1), "nothing is known");
    let known = &objects(&output)[0];
    assert_eq!(known["subject"], "198.51.100.0/24");
    assert_eq!(known["logs"]["found"], Value::Null);
    assert!(known["outbox"]["error"].as_str().unwrap().contains("no daemon"), "{known}");
    assert_eq!(run(dir.path(), &["who", "mallory"]).status.code(), Some(2));
}

/// Who tries the same names, comes from the same network or at the same time has to do with it, and
/// who only tries what everybody tries has not.
#[test]
fn related_are_those_who_share_what_is_rare() {
    let dir = tempfile::tempdir().unwrap();
    let failed = |day: u32, second: u32, user: &str, address: &str| {
        format!(
            "Oct {day} 06:05:{second:02} web-1 sshd[71]: Failed password for {user} from {address} \
             port 9 ssh2\n"
        )
    };
    let mut log = String::new();
    log += &failed(20, 1, "oracle", "203.0.113.61");
    log += &failed(20, 2, "root", "203.0.113.61");
    for day in 21..26 {
        log += &failed(day, 3, "root", "203.0.113.61");
        log += &failed(day, 4, "admin", "198.51.100.9"); // always at the same time
    }
    log += &failed(27, 1, "oracle", "192.0.2.70"); // the same rare name
    log += &failed(28, 1, "root", "203.0.113.80"); // the same network
    for host in 1..60 {
        log += &failed(29, host, "root", &format!("192.0.2.{}", host + 100));
    }
    fs::write(dir.path().join("auth.log"), log).unwrap();
    fs::write(dir.path().join("list"), "203.0.113.61\n").unwrap();
    let output = run(dir.path(), &["hunt", "-i", "list", "auth.log", "--related", "--json"]);
    let related: Vec<_> =
        objects(&output).into_iter().filter(|it| it["related"].is_string()).collect();
    let of = |address: &str| related.iter().find(|it| it["related"] == address);
    let reason = |address: &str| of(address).unwrap()["reasons"][0].as_str().unwrap().to_owned();
    assert_eq!(related.len(), 3, "{related:?}");
    assert_eq!(reason("192.0.2.70"), "tries user oracle as 203.0.113.61 (2 in all)");
    assert_eq!(reason("203.0.113.80"), "is in 203.0.113.0/24 with 203.0.113.61");
    assert_eq!(reason("198.51.100.9"), "comes together with 203.0.113.61 (5 times)");
    assert_eq!(of("192.0.2.70").unwrap()["to"], json!(["203.0.113.61"]));
    let arguments = ["hunt", "-i", "list", "auth.log", "--related", "--html", "page.html"];
    let shown = text(&run(dir.path(), &arguments).stdout);
    let page = fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert!(page.contains("tries user oracle as 203.0.113.61 (2 in all)"), "{page}");
    assert!(shown.contains("related, by what they share with the above:"), "{shown}");
    assert!(shown.contains("tries user oracle"), "{shown}");
}

/// A hub, or a MISP, is asked for what is looked for, as far as it is asked for.
#[test]
fn indicators_come_from_a_hub() {
    let dir = folder();
    assert_eq!(run(dir.path(), &["hunt", "-i", "misp", "."]).status.code(), Some(2), "no MISP");
    let (hub, event) = destination(dir.path());
    let other = hub.add_event("another");
    for (event, address, tag) in [
        (&event, "203.0.113.61", "known"),
        (&other, "203.0.113.62", "new"),
        (&other, "203.0.113.63", "known"),
    ] {
        let attribute = json!({"type": "ip-src", "value": address, "Tag": [{"name": tag}]});
        let (status, answer) = hub.post(&format!("/attributes/add/{event}"), &attribute);
        assert_eq!(status, 200, "{answer}");
    }
    let found = |options: &[&str]| -> Vec<String> {
        let arguments = [&["hunt", "-i", "misp", "auth.log.1.gz", "--json"], options].concat();
        let output = run(dir.path(), &arguments);
        let found = objects(&output).into_iter().filter_map(|it| {
            Some(it["indicator"].as_str()?.trim_start_matches("203.0.113.").to_owned())
        });
        let mut found: Vec<_> = found.collect();
        found.sort();
        found
    };
    assert_eq!(found(&[]), ["61", "62", "63"]);
    assert_eq!(found(&["--tag", "known"]), ["61", "63"]);
    assert_eq!(found(&["--tag", "known", "--event", &other]), ["63"]);
    assert_eq!(found(&["--last", "1d"]), ["61", "62", "63"]);
    assert_eq!(run(dir.path(), &["hunt", "-i", "list", ".", "--tag", "x"]).status.code(), Some(2));
    drop(hub);
    let output = run(dir.path(), &["hunt", "-i", "misp", "."]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

/// What the hub holds of somebody, and where he is, stands on the screen, too.
#[test]
fn who_asks_the_hub_and_the_files_of_places() {
    let dir = folder();
    let (hub, event) = destination(dir.path());
    let places = concat!(env!("CARGO_MANIFEST_DIR"), "/../lists/tests/places");
    let config = dir.path().join("config.toml");
    let geoip =
        format!("[who]\ngeoip = [\"{places}/countries.mmdb\", \"{places}/systems.mmdb\"]\n");
    fs::write(&config, fs::read_to_string(&config).unwrap() + &geoip).unwrap();
    let attribute = json!({"type": "ip-src", "value": "203.0.113.61", "to_ids": true, "Tag": [{"name": "known"}]});
    let (status, answer) = hub.post(&format!("/attributes/add/{event}"), &attribute);
    assert_eq!(status, 200, "{answer}");
    hub.post("/sightings/add", &json!({"values": ["203.0.113.61"]}));
    let output = run(dir.path(), &["who", "203.0.113.61", ".", "--json"]);
    let known = &objects(&output)[0];
    let held = &known["misp"][0]["attributes"][0];
    assert_eq!(held["event"]["info"], "look back", "{known}");
    assert_eq!((&held["tags"], &held["sightings"]), (&json!(["known"]), &json!(1)), "{known}");
    assert_eq!(known["place"]["country"], "NL");
    assert_eq!(known["place"]["as"]["number"], 4_200_000_001_u32);
    let shown = text(&run(dir.path(), &["who", "203.0.113.61", "."]).stdout);
    assert!(shown.contains("NL, AS4200000001 Second Example"), "{shown}");
    assert!(shown.contains(&format!("ip-src in event {event} (look back), 1 sighting")), "{shown}");
    let known = &objects(&run(dir.path(), &["who", "203.0.113.61", ".", "--json", "--offline"]))[0];
    assert_eq!(known["misp"], json!([]), "nobody is asked");
}
