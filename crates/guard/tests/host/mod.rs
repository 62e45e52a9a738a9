//! A host for tests: logs, state and socket in a folder of its own.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use control::guard::{GuardClient, GuardStatus};
use guard::{Clock, Firewall, Guard, Limits, Memory, Setup};
use jail::config::Jail;
use jiff::Timestamp;
use tempfile::TempDir;

use crate::jails;

/// How long to wait for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A host of its own: logs, state, socket.
pub(crate) struct Host {
    pub(crate) folder: TempDir,
    pub(crate) memory: Memory,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), memory: Memory::default() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn jail(&self, name: &str) -> Jail {
        jails::jail(name, &self.path(&format!("{name}.log")))
    }

    pub(crate) fn setup(&self, jails: Vec<Jail>, firewall: impl Firewall + 'static) -> Setup {
        Setup {
            disabled: Vec::new(),
            jails,
            state: Some(self.path("state/guard")),
            socket: Some(self.path("run/control.sock")),
            firewall: Box::new(firewall),
            block_limits: Limits::default(),
            clock: Clock::utc(),
            purge_age: guard::store::PURGE_AGE,
            fail2ban_socket: None,
            actions: None,
            together: jail::judge::Together::default(),
            protect_sessions: false,
            look_back: None,
            program: None,
        }
    }

    pub(crate) fn start(&self, jails: Vec<Jail>) -> Guard {
        Guard::start(self.setup(jails, self.memory.clone())).unwrap()
    }

    pub(crate) fn client(&self) -> GuardClient {
        GuardClient::connect(&self.path("run/control.sock")).unwrap()
    }

    pub(crate) fn status(&self) -> GuardStatus {
        self.client().status().unwrap()
    }

    /// Adds `n` failed logins of `who` to the log of `jail`.
    pub(crate) fn fail(&self, jail: &str, who: &str, n: usize) {
        let now = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S");
        self.write(jail, &format!("{now} login of \u{1b}root from {who} failed\n").repeat(n));
    }

    pub(crate) fn write(&self, jail: &str, text: &str) {
        let path = self.path(&format!("{jail}.log"));
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[track_caller]
    pub(crate) fn bans(&self, want: &[(&str, &str)]) {
        let want: Vec<_> = want
            .iter()
            .map(|&(jail, who)| (jail.to_owned(), format!("{who}/32").parse().unwrap()))
            .collect();
        eventually(&format!("{want:?} are banned"), || self.memory.bans() == want);
    }
}

pub(crate) fn stop(guard: Guard) {
    guard.stopper().stop();
    guard.wait();
}

pub(crate) fn kill(guard: Guard) {
    guard.stopper().abandon();
    guard.wait();
}

#[track_caller]
pub(crate) fn eventually(what: &str, mut happens: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happens() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
