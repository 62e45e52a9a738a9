//! The units of systemd: they are sound, and the daemon says what they wait for.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use support::{BINARY, PATIENCE, Running, has, skip};

#[test]
fn units_are_sound() {
    if !has("systemd-analyze") {
        return skip("`systemd-analyze` is not installed");
    }
    let folder = tempfile::tempdir().unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
    let mut copies = Vec::new();
    for entry in fs::read_dir(units).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let copy = folder.path().join(path.file_name().unwrap());
        // The program must be where it says.
        fs::write(&copy, text.replace("/usr/bin/fail2misp", BINARY)).unwrap();
        copies.push(copy);
    }
    assert_eq!(copies.len(), 4);
    let output = Command::new("systemd-analyze").arg("verify").args(copies).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // The machine's own units may be at fault, too.
    assert!(!said.contains("fail2misp"), "{said}");
}

#[test]
fn systemd_is_told_of_the_beginning_the_life_and_the_end() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    fs::create_dir(dir.join("filter.d")).unwrap();
    fs::write(dir.join("filter.d/x.conf"), "[Definition]\nfailregex = from <HOST> failed\n")
        .unwrap();
    let log = dir.join("log").display().to_string();
    fs::write(&log, "").unwrap();
    let jail = format!("[x]\nenabled = true\nfilter = x\nbackend = auto\nlogpath = {log}\n");
    fs::write(dir.join("jail.conf"), jail).unwrap();
    let socket = UnixDatagram::bind(dir.join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut room = [0; 100];
        let n_bytes = socket.recv(&mut room).unwrap();
        String::from_utf8_lossy(&room[..n_bytes]).trim().to_owned()
    };

    let daemon = Running::start(
        Command::new(BINARY)
            .args(["run", "--only", "guard", "--dry-run", "--config", "/nonexistent"])
            .arg("--fail2ban-dir")
            .arg(dir)
            .env("NOTIFY_SOCKET", dir.join("notify"))
            .env("WATCHDOG_USEC", "200000"),
    );
    assert_eq!(told(), "READY=1");
    assert_eq!(told(), "WATCHDOG=1");
    assert_eq!(told(), "WATCHDOG=1");
    daemon.stop();
    while told() == "WATCHDOG=1" {}
}
