//! A journald of the tests' own.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::host::eventually;

const DAEMON: &str = "/lib/systemd/systemd-journald";

/// A journald of the test's own, in its own namespace of journals.
pub(crate) struct Journald {
    pub(crate) name: String,
    daemon: Child,
}

impl Journald {
    pub(crate) fn start() -> Option<Self> {
        static N_STARTED: AtomicU32 = AtomicU32::new(0);
        let number = N_STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("fail2misp-test-{}-{number}", std::process::id());
        let Ok(daemon) = Command::new(DAEMON).arg(&name).spawn() else {
            assert!(std::env::var_os("CI").is_none(), "systemd-journald is not installed");
            println!("skipped: systemd-journald is not installed");
            return None;
        };
        let journald = Self { name, daemon };
        eventually("journald listens", || journald.socket().exists());
        Some(journald)
    }

    /// Kills it, as who has no memory left does, and starts it again.
    pub(crate) fn restart(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
        self.daemon = Command::new(DAEMON).arg(&self.name).spawn().unwrap();
    }

    /// Kills who reads it for this process.
    pub(crate) fn kill_readers(&self) {
        let place = format!("--namespace={}", self.name);
        for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let arguments = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            if arguments.starts_with("journalctl") && arguments.contains(&place) {
                let pid = entry.file_name().to_str().unwrap().parse().unwrap();
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            }
        }
    }

    fn socket(&self) -> PathBuf {
        format!("/run/systemd/journal.{}/socket", self.name).into()
    }

    pub(crate) fn log(&self, message: &str) {
        let socket = UnixDatagram::unbound().unwrap();
        let entry = format!("SYSLOG_IDENTIFIER=sshd\nMESSAGE={message}\n");
        // It may be starting.
        let sent = || socket.send_to(entry.as_bytes(), self.socket()).is_ok();
        eventually("journald takes it", sent);
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = fs::remove_dir_all(format!("/run/systemd/journal.{}", self.name));
        // Its folder of entries begins with the number of the machine.
        for above in ["/run/log/journal", "/var/log/journal"] {
            for folder in fs::read_dir(above).into_iter().flatten().filter_map(Result::ok) {
                if folder.file_name().to_string_lossy().ends_with(&format!(".{}", self.name)) {
                    let _ = fs::remove_dir_all(folder.path());
                }
            }
        }
    }
}
