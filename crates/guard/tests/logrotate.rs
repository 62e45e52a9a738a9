//! Logs that Debian's logrotate turns, in each of its ways: every line counts once, whether guard runs
//! meanwhile or not.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod host;
mod jails;

use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use guard::Guard;
use host::{Host, eventually, stop};
use jail::config::Jail;
use jiff::Timestamp;

const LOGROTATE: &str = "/usr/sbin/logrotate";

/// Whether logrotate is there; says `skipped` where not, which is a failure on CI.
fn is_there() -> bool {
    match Command::new(LOGROTATE).arg("--version").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            assert!(std::env::var_os("CI").is_none(), "logrotate is not installed");
            println!("skipped: logrotate is not installed");
            false
        }
        output => output.unwrap().status.success(),
    }
}

/// A host with a log, and how it is turned.
struct Rotated {
    host: Host,
    how: &'static str,
    n_written: u64,
    n_rotated: u32,
}

impl Rotated {
    fn start(&self) -> Guard {
        self.host.start(vec![Jail { max_retry: 1000, ..self.host.jail("sshd") }])
    }

    /// Writes failures, each in other words.
    fn fail(&mut self) {
        let now = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S");
        for _ in 0..7 {
            self.n_written += 1;
            let n = self.n_written;
            self.host.write("sshd", &format!("{now} login of user{n} from 203.0.113.1 failed\n"));
        }
    }

    fn rotate(&mut self) {
        self.n_rotated += 1;
        // Dates tell a day's rotations apart.
        let how = self.how.replace('N', &self.n_rotated.to_string());
        let configuration = self.host.path("logrotate.conf");
        let log = self.host.path("sshd.log");
        let text = format!("{} {{\nrotate 9\n{how}\n}}\n", log.display());
        fs::write(&configuration, text).unwrap();
        let state = self.host.path("logrotate.state");
        let mut command = Command::new(LOGROTATE);
        command.arg("--force").arg("--state").arg(state).arg(configuration);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", self.how);
    }

    /// Waits until all is counted but what was before.
    #[track_caller]
    fn all_are_counted(&self, n_before: u64) {
        let n_counted = || self.host.status().jails[0].total_failed;
        let n = self.n_written - n_before;
        eventually(&format!("{}: all {n} are counted", self.how), || n_counted() >= n);
        assert_eq!(n_counted(), n, "{}", self.how);
    }
}

#[test]
fn every_line_counts_once() {
    if !is_there() {
        return;
    }
    for how in [
        "create",
        "nocreate",
        "create\ncompress\ndelaycompress",
        "create\ndateext\ndateformat -%Y%m%d-N",
        "create\ndateext\nextension .log\ndateformat -%Y%m%d-N",
        "copytruncate",
        "copytruncate\ndateext\ndateformat -%Y%m%d-N",
    ] {
        let mut log = Rotated { host: Host::new(), how, n_written: 0, n_rotated: 0 };
        log.fail();
        let guard = log.start();
        log.all_are_counted(0);
        for _ in 0..3 {
            log.fail();
            log.rotate();
            log.fail();
        }
        log.all_are_counted(0);
        stop(guard);
        let n_before = log.n_written;
        // While it is down, what it was about to read may be packed with the second rotation.
        for _ in 0..if how.contains("compress") { 1 } else { 3 } {
            log.fail();
            log.rotate();
        }
        log.fail();
        let guard = log.start();
        log.all_are_counted(n_before);
        stop(guard);
    }
}
