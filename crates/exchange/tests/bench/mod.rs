//! A state folder, a server, and bans to report.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, panic, thread};

use exchange::{
    Addressee, Destination, Ended, EventChoice, Mode, Report, Setup, Stop, keys, run, spool,
};
use jail::{Ban, BanTime, Subject};
use jiff::Timestamp;

use crate::stand_in::{KEY, StandIn};

/// When the first ban of each test is.
pub(crate) const BEGIN: i64 = 1_795_328_415;
/// How long a delivery may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A state folder, a server, and the article's destination there.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) server: StandIn,
    pub(crate) event: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(StandIn::start())
    }

    pub(crate) fn with(server: StandIn) -> Self {
        let event = server.add_event(false);
        Self { folder: tempfile::tempdir().unwrap(), server, event }
    }

    pub(crate) fn state(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn to(&self) -> Addressee {
        let key = KEY.to_owned().into();
        let key_file = keys::put(self.state(), &self.server.url(), &self.event, &key).unwrap();
        Addressee { url: self.server.url(), event: self.event.clone(), sightings: true, key_file }
    }

    /// Reports bans, as `fail2misp report` does.
    pub(crate) fn report(&self, reports: &[Report]) {
        spool::put(self.state(), reports).unwrap();
    }

    /// Delivers until nothing waits.
    pub(crate) fn deliver(&self) {
        self.deliver_with(Vec::new());
    }

    pub(crate) fn deliver_with(&self, destinations: Vec<Destination>) {
        let setup = Setup { destinations, ..setup(self.state()) };
        assert_eq!(run(setup, &Stop::default()).unwrap(), Ended::Empty);
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        let path = self.state().join("misp.key");
        fs::write(&path, format!("{KEY}\n")).unwrap();
        path
    }

    pub(crate) fn configured(&self, event: EventChoice) -> Destination {
        let mut it = Destination::new("main", &self.server.url(), event, self.key_file());
        it.transport.timeout = Duration::from_secs(5);
        it
    }
}

pub(crate) fn setup(state: &Path) -> Setup {
    Setup {
        site: "web-1".into(),
        first_retry: Duration::from_millis(20),
        ..Setup::new(state.to_owned(), Mode::UntilEmpty { limit: PATIENCE })
    }
}

pub(crate) fn ban(subject: &str, jail: &str, second: i64) -> Ban {
    let time = Timestamp::from_second(BEGIN + second).unwrap();
    Ban {
        jail: jail.into(),
        subject: Subject::from(subject),
        time,
        bantime: BanTime::Seconds(600),
        n_failures: 5,
        first_failure: time,
        last_failure: time,
        matches: Vec::new(),
        fields: Vec::new(),
    }
}

pub(crate) fn report(to: &Addressee, subject: &str, second: i64) -> Report {
    Report { to: Some(to.clone()), ..Report::of(ban(subject, "sshd", second)) }
}

/// Bans of as many different addresses, a second apart.
pub(crate) fn reports(to: &Addressee, n: u32) -> Vec<Report> {
    (0..n).map(|n| report(to, &address(n), i64::from(n))).collect()
}

pub(crate) fn address(n: u32) -> String {
    std::net::Ipv4Addr::from(0x2d21_0000 + n).to_string()
}

pub(crate) fn database(state: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(state.join("exchange/exchange.db")).unwrap()
}

pub(crate) fn wait_for(what: &str, mut until: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !until() {
        assert!(Instant::now() < end, "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn daemon(state: &Path) -> Setup {
    Setup { mode: Mode::Daemon, ..setup(state) }
}

/// Runs a daemon while `work` does something beside it.
pub(crate) fn beside<T>(setup: Setup, work: impl FnOnce() -> T) -> T {
    let stop = Stop::default();
    thread::scope(|scope| {
        let ringer = stop.clone();
        let daemon = scope.spawn(move || run(setup, &stop));
        let done = panic::catch_unwind(panic::AssertUnwindSafe(work));
        ringer.stop();
        assert_eq!(daemon.join().unwrap().unwrap(), Ended::Stopped);
        done.unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

/// The state of every row of the outbox, and why it is there.
pub(crate) fn outbox(state: &Path) -> Vec<(u8, Option<String>)> {
    let db = database(state);
    let mut rows = db.prepare("SELECT state, why FROM outbox ORDER BY id").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// How many bans the policy kept for a reason.
pub(crate) fn n_withheld(state: &Path, reason: &str) -> i64 {
    let found =
        database(state)
            .query_row("SELECT n FROM withheld WHERE reason = ?1", [reason], |row| row.get(0));
    found.unwrap_or(0)
}
