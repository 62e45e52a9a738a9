//! What a hunt reads beside files that lie still: standard input, the journal, a pipe that somebody
//! is at; how it ends when it is interrupted, and goes on.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{BINARY, Running, skip, wait_for};

const ACCEPTED: &str =
    "Oct 21 07:00:00 web-1 sshd[72]: Accepted password for root from 203.0.113.61 port 9 ssh2\n";
const FAILED: &str =
    "Oct 20 06:05:01 web-1 sshd[71]: Failed password for root from 203.0.113.61 port 9 ssh2\n";

fn hunt(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("hunt").args(arguments).current_dir(folder).env("TZ", "UTC");
    command.env("FAIL2MISP_CONFIG", folder.join("config.toml"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What it says when it is told `text` on standard input.
fn told(folder: &Path, arguments: &[&str], text: &str) -> Output {
    let mut child = hunt(folder, arguments).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn standard_input_is_a_log_or_a_list() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("list"), "203.0.113.61\n").unwrap();
    fs::write(dir.path().join("auth.log"), FAILED).unwrap();
    let found = objects(&told(dir.path(), &["-i", "list", "-", "--json"], ACCEPTED));
    assert_eq!(found[0]["outcome"], "succeeded", "{found:?}");
    assert_eq!(found[0]["files"]["-"], 1);
    let found = objects(&told(dir.path(), &["-i", "-", "auth.log", "--json"], "203.0.113.0/24\n"));
    assert_eq!(found[0]["indicator"], "203.0.113.0/24", "{found:?}");
    assert_eq!(found[0]["outcome"], "failed");
}

#[test]
fn csv_has_a_row_for_each() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("auth.log"), [FAILED, ACCEPTED].concat()).unwrap();
    let list = "203.0.113.61\nuser:root\n";
    let output = told(dir.path(), &["-i", "-", "auth.log", "--csv"], list);
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<_> = text.split_terminator("\r\n").collect();
    assert_eq!(rows[0], "indicator,outcome,count,first,last,undated,files,users");
    let fields: Vec<_> = rows[1].split(',').collect();
    assert_eq!(fields[..3], ["203.0.113.61", "succeeded", "2"], "{text}");
    assert!(fields[3].ends_with("-10-20T06:05:01Z") && fields[4].ends_with("-10-21T07:00:00Z"));
    assert_eq!(fields[5..], ["0", "auth.log:2", "root"], "{text}");
    assert!(rows[2].starts_with("user:root,succeeded,2,"), "{text}");
}

/// A search that is asked to end tells what it has and how far it came; the next one goes on there.
#[test]
fn an_interrupted_search_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("b.pipe");
    fs::write(dir.path().join("a.log"), FAILED).unwrap();
    fs::write(dir.path().join("list"), "203.0.113.61\n").unwrap();
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let arguments =
        ["-i", "list", "a.log", "b.pipe", "--json", "--threads", "1", "--resume", "state"];
    let child = hunt(dir.path(), &arguments).stdin(Stdio::null()).spawn().unwrap();
    // It opens once the search has come so far.
    let mut writer = File::create(&pipe).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    // Until it reads no more.
    while writer.write_all(&[b'x'; 4096]).and_then(|()| writer.write_all(b"\n")).is_ok() {}
    drop(writer);
    let output = child.wait_with_output().unwrap();
    let found = objects(&output);
    assert_eq!(output.status.code(), Some(0), "{found:?}");
    assert_eq!((&found[0]["count"], &found[0]["outcome"]), (&1.into(), &"failed".into()));
    assert_eq!(found[1]["summary"]["complete"], false);
    assert!(dir.path().join("state").exists());

    let child = hunt(dir.path(), &arguments).stdin(Stdio::null()).spawn().unwrap();
    File::create(&pipe).unwrap().write_all(ACCEPTED.as_bytes()).unwrap();
    let found = objects(&child.wait_with_output().unwrap());
    assert_eq!((&found[0]["count"], &found[0]["outcome"]), (&2.into(), &"succeeded".into()));
    assert_eq!(found[1]["summary"]["lines"], 1, "what was read before is not read again");
    assert_eq!(found[1]["summary"]["complete"], true);
    assert!(!dir.path().join("state").exists(), "a search that came to its end leaves nothing");
}

/// A journald of the test's own, and its files.
struct Journald {
    name: String,
    _daemon: Running,
}

impl Journald {
    const DAEMON: &str = "/lib/systemd/systemd-journald";

    fn start() -> Self {
        let name = format!("fail2misp-hunt-{}", std::process::id());
        let daemon = Running::start(Command::new(Self::DAEMON).arg(&name).stderr(Stdio::null()));
        Self { name, _daemon: daemon }
    }

    fn log(&self, identifier: &str, message: &str) {
        let socket = UnixDatagram::unbound().unwrap();
        let entry = format!("SYSLOG_IDENTIFIER={identifier}\nMESSAGE={message}\n");
        let place = format!("/run/systemd/journal.{}/socket", self.name);
        wait_for("journald to take it", || socket.send_to(entry.as_bytes(), &place).ok());
    }

    /// Where its files lie, in a folder that begins with the number of the machine.
    fn folder(&self) -> Option<PathBuf> {
        let above = ["/run/log/journal", "/var/log/journal"];
        let folders = above.iter().filter_map(|it| fs::read_dir(it).ok()).flatten().flatten();
        folders.map(|it| it.path()).find(|it| it.to_string_lossy().ends_with(&self.name))
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let folders = self.folder().into_iter();
        for folder in folders.chain([format!("/run/systemd/journal.{}", self.name).into()]) {
            // What stays is nobody's harm.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

#[test]
fn files_of_the_journal_are_logs() {
    if !Path::new(Journald::DAEMON).exists() {
        return skip("systemd-journald is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("list"), "203.0.113.61\n").unwrap();
    let journald = Journald::start();
    let accepted = "Accepted password for root from 203.0.113.61 port 9 ssh2";
    journald.log("fail2misp", "203.0.113.61, of which others tell now, was here before");
    journald.log("sshd", accepted);
    let folder = wait_for("its folder", || journald.folder()).display().to_string();
    let found = wait_for("the entry on the disk", || {
        let output = hunt(dir.path(), &["-i", "list", &folder, "--json"]).output().unwrap();
        Some(objects(&output)).filter(|found| found.len() == 2)
    });
    assert_eq!(found[0]["outcome"], "succeeded", "{found:?}");
    assert_eq!(found[0]["count"], 1, "what we said ourselves is no trace of him: {found:?}");
    let age = jiff::Timestamp::now().as_second() - found[0]["last"].as_i64().unwrap();
    assert!((0..600).contains(&age), "{found:?}");
}
