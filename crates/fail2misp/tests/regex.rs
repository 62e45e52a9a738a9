//! `fail2misp regex`, `check` and `backfill`: what they say, and that fail2ban-regex says the same.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::{BINARY, has, skip};

const AUTH_LOG: &str = "\
Nov 22 06:31:58 web-1 sshd[11]: Accepted publickey for alice from 192.0.2.10 port 50514 ssh2
Nov 22 06:32:03 web-1 sshd[12]: Failed password for root from 203.0.113.61 port 41120 ssh2
Nov 22 06:32:04 web-1 CRON[13]: pam_unix(cron:session): session closed for user root
Nov 22 06:32:05 web-1 sshd[12]: Failed password for root from 203.0.113.61 port 41120 ssh2
Nov 22 06:32:07 web-1 sshd[12]: Failed password for root from 203.0.113.61 port 41120 ssh2
";

/// The program with its built-in jails.
fn built_in(dir: &Path) -> Command {
    let mut command = Command::new(BINARY);
    // A folder that is not there would be named; this one has our own filters.
    let filters = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters");
    command.env("FAIL2MISP_CONFIG", dir.join("none.toml")).env("FAIL2MISP_FAIL2BAN_DIR", filters);
    command
}

fn objects(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn tells_each_failure_and_a_summary() {
    let temp = tempfile::tempdir().unwrap();
    let log = temp.path().join("auth.log");
    fs::write(&log, AUTH_LOG).unwrap();
    let output = built_in(temp.path())
        .args(["regex", "--json", "--now", "1795330800", "--timezone", "Europe/Vienna"])
        .arg(&log)
        .arg("sshd")
        .output()
        .unwrap();
    assert!(output.status.success());
    let told = objects(&output);
    assert_eq!(told.len(), 4);
    assert_eq!(told[0]["line"], 2);
    assert_eq!(told[0]["id"], "203.0.113.61");
    assert_eq!(told[0]["time"], json!(1795325523.0)); // 06:32:03 in Vienna
    assert_eq!(told[0]["fields"]["user"], "root");
    assert_eq!(told[3]["summary"]["lines"], 5);
    assert_eq!(told[3]["summary"]["matched"], 3);
}

#[test]
fn reads_dated_lines_from_standard_input() {
    let temp = tempfile::tempdir().unwrap();
    let mut child = built_in(temp.path())
        .args(["regex", "--json", "--dated", "-", "^out <HOST>$"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"@1795330800.5 out 192.0.2.1\nno date\n").unwrap();
    let told = objects(&child.wait_with_output().unwrap());
    assert_eq!(told[0]["time"], json!(1795330800.5));
    assert_eq!(told[1]["summary"]["missed"], 1);
}

/// Years are believed up to the end of the decade that begins three years after the clock's.
#[test]
fn the_clock_says_which_years_are_believed() {
    let temp = tempfile::tempdir().unwrap();
    let time = |now: &str| {
        let output = built_in(temp.path())
            .args(["regex", "--json", "--timezone", "UTC", "--now", now])
            .args(["2047-03-01 00:00:00 out 192.0.2.1", "^ out <HOST>$"])
            .output()
            .unwrap();
        objects(&output)[0]["time"].clone()
    };
    assert_eq!(time("2435000000"), json!(2435011200.0)); // in 2047
    assert_eq!(time("1795330800"), Value::Null); // in 2026: no date, so nothing of the expression
}

#[test]
fn a_log_is_read_in_the_encoding_of_the_locale() {
    let temp = tempfile::tempdir().unwrap();
    let log = temp.path().join("log");
    fs::write(&log, b"\xf2\xef\xef\xf4 out 192.0.2.1\n").unwrap();
    let user = |locale: &str| {
        let output = built_in(temp.path())
            .args(["regex", "--json"])
            .arg(&log)
            .arg("^<F-USER>.*</F-USER> out <HOST>$")
            .env("LC_ALL", locale)
            .output()
            .unwrap();
        objects(&output)[0]["fields"]["user"].clone()
    };
    assert_eq!(user("ru_RU.KOI8-R"), json!("РООТ"));
    assert_eq!(user("C.UTF-8"), json!("\u{fffd}\u{fffd}\u{fffd}\u{fffd}"));
}

#[test]
fn ends_as_fail2ban_regex_does() {
    let temp = tempfile::tempdir().unwrap();
    let log = temp.path().join("auth.log");
    fs::write(&log, AUTH_LOG).unwrap();
    let run = |filter: &str| {
        let output = built_in(temp.path()).arg("regex").arg(&log).arg(filter).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = run("sshd");
    assert_eq!(code, Some(0));
    assert!(said.contains("Lines: 5 lines, 1 ignored, 3 matched, 1 missed"), "{said}");
    // Log text is hostile to a terminal, too.
    fs::write(&log, "\u{1b}[2J gone\n").unwrap();
    let (code, said) = run("^nobody <HOST>");
    assert_eq!(code, Some(1));
    assert!(said.contains("\\u{1b}[2J gone") && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn what_cannot_be_tried_is_said() {
    let temp = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let output = built_in(temp.path()).arg("regex").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["a line", "nosuchfilter"]).contains("there is no filter `nosuchfilter`"));
    assert!(refused(&["a line", "(<HOST>"]).contains("failregex 0"));
    assert!(refused(&["--timezone", "Moon", "a line", "sshd"]).contains("--timezone `Moon`"));
    assert!(refused(&["--option", "mode", "a line", "sshd"]).contains("mode=aggressive"));
}

#[test]
fn backfill_tells_who_would_have_been_banned() {
    let temp = tempfile::tempdir().unwrap();
    let log = temp.path().join("auth.log");
    fs::write(&log, AUTH_LOG.repeat(2)).unwrap();
    let output =
        built_in(temp.path()).args(["backfill", "--json", "sshd"]).arg(&log).output().unwrap();
    let told = objects(&output);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["address"], "203.0.113.61");
    assert_eq!(told[0]["bans"], 1);
    assert_eq!(told[0]["failures"], 5);
}

#[test]
fn counts_the_dates_of_each_pattern_as_fail2ban_regex_does() {
    if !has("fail2ban-regex") {
        return skip("fail2ban is not installed");
    }
    let temp = tempfile::tempdir().unwrap();
    let log = temp.path().join("log");
    let mixed = "2026-11-22 06:32:09 out 192.0.2.1\n[22/Nov/2026:06:32:10 +0000] out 192.0.2.1\n\
                 1795325531 out 192.0.2.1\nno date out 192.0.2.1\n";
    fs::write(&log, AUTH_LOG.repeat(3) + mixed + AUTH_LOG).unwrap();
    let counts = |command: &mut Command| {
        let output = command.arg(&log).arg("^.* <HOST>").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let (_, said) = said.split_once("Date template hits:").unwrap();
        let (told, _) = said.split_once("`-").unwrap();
        let counts = told.lines().filter_map(|line| line.strip_prefix("|  [")?.split(']').next());
        counts.map(str::to_owned).collect::<Vec<_>>()
    };
    let ours = counts(built_in(temp.path()).arg("regex"));
    assert_eq!(ours, counts(&mut Command::new("fail2ban-regex")));
    assert_eq!(ours.len(), 4, "{ours:?}");
}

/// The short form of `bench/detection.py`: the same lines, by the same filters, in both programs.
#[test]
fn agrees_with_fail2ban_regex_line_by_line() {
    if !has("fail2ban-regex") {
        return skip("fail2ban is not installed");
    }
    let temp = tempfile::tempdir().unwrap();
    let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/detection.py");
    let output = Command::new("python3")
        .arg(bench)
        .args(["--table", "--lines", "3000", "--runs", "1", "--ours", BINARY, "--logs"])
        .arg(temp.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("  same").count(), 6, "{said}");
}
