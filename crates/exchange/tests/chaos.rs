//! Servers that fail in every way and an exchange that is killed at random: at the end every
//! offender is one attribute at each destination, and every repeat one sighting.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod bench;
mod stand_in;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use bench::{PATIENCE, address, ban, database, setup};
use exchange::{Destination, Ended, EventChoice, Mode, Report, Setup, Stop, run, spool};
use stand_in::{KEY, StandIn, Trouble};

/// Offenders that are reported, repeats among them.
const N_REPORTS: u32 = 20_000;
/// How often the exchange is killed.
const N_KILLS: u32 = 15;
/// Where the child finds its state folder, and the urls of the two servers.
const STATE: &str = "EXCHANGE_CHAOS_STATE";
const URLS: &str = "EXCHANGE_CHAOS_URLS";

/// Numbers by chance that are the same in each run.
struct Chance(u64);

impl Chance {
    /// A number below `end`.
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32 % end
    }
}

fn destinations(state: &Path, urls: &[String]) -> Vec<Destination> {
    let key_file = state.join("misp.key");
    let to = |(n, url): (usize, &String)| {
        let event = EventChoice::Fixed("1".into());
        let name = format!("server-{n}");
        let mut destination = Destination::new(&name, url, event, key_file.clone());
        destination.sighting_interval = Duration::ZERO;
        destination.transport.timeout = Duration::from_millis(1_500);
        destination
    };
    urls.iter().enumerate().map(to).collect()
}

/// The exchange that is killed: not a test, but this very program run by one.
#[test]
fn child() {
    let (Ok(state), Ok(urls)) = (env::var(STATE), env::var(URLS)) else { return };
    let urls: Vec<String> = urls.split(' ').map(str::to_owned).collect();
    let state = Path::new(&state);
    let mode = Mode::Daemon;
    let setup = Setup { mode, destinations: destinations(state, &urls), ..setup(state) };
    run(setup, &Stop::default()).unwrap();
}

fn start(state: &Path, urls: &[String]) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(STATE, state)
        .env(URLS, urls.join(" "))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn every_offender_arrives_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    fs::write(state.join("misp.key"), KEY).unwrap();
    let servers = [StandIn::start(), StandIn::start()];
    let urls: Vec<String> = servers.iter().map(StandIn::url).collect();
    for server in &servers {
        server.add_event(true);
    }
    let is_over = AtomicBool::new(false);
    let (servers, distinct) = thread::scope(|scope| {
        let failing = scope.spawn(|| fail_at_random(servers, &is_over));
        let reporting = scope.spawn(|| report_all(state));
        kill_at_random(state, &urls);
        let distinct = reporting.join().unwrap();
        is_over.store(true, Ordering::SeqCst);
        (failing.join().unwrap(), distinct)
    });
    let mode = Mode::UntilEmpty { limit: PATIENCE * 2 };
    let last = Setup { mode, destinations: destinations(state, &urls), ..setup(state) };
    assert_eq!(run(last, &Stop::default()).unwrap(), Ended::Empty);
    for server in &servers {
        let values = server.values();
        let unique: BTreeSet<&String> = values.iter().collect();
        assert_eq!(values.len(), unique.len(), "no address twice");
        assert_eq!(unique, distinct.iter().collect(), "every address once");
        assert_eq!(server.n_sightings(), N_REPORTS as usize - distinct.len());
        assert!(server.state().events[0].published);
    }
    let left: i64 =
        database(state).query_row("SELECT count(*) FROM outbox", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "nothing is left or set aside");
}

/// Reports offenders, three in ten of them known ones, in files of one to four hundred.
fn report_all(state: &Path) -> BTreeSet<String> {
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let (mut n_distinct, mut n) = (0, 0);
    while n < N_REPORTS {
        let n_here = (1 + chance.below(400)).min(N_REPORTS - n);
        let mut reports = Vec::new();
        for _ in 0..n_here {
            let is_repeat = n_distinct > 0 && chance.below(10) < 3;
            let subject = if is_repeat { chance.below(n_distinct) } else { n_distinct };
            n_distinct += u32::from(!is_repeat);
            // No two of one address in the same second, which would be one sighting.
            let ban = ban(&address(subject), "sshd", i64::from(n));
            reports.push(Report { ban, restored: false, to: None });
            n += 1;
        }
        spool::put(state, &reports).unwrap();
    }
    (0..n_distinct).map(address).collect()
}

fn kill_at_random(state: &Path, urls: &[String]) {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for _ in 0..N_KILLS {
        let mut child = start(state, urls);
        thread::sleep(Duration::from_millis(u64::from(100 + chance.below(600))));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

fn fail_at_random(mut servers: [StandIn; 2], is_over: &AtomicBool) -> [StandIn; 2] {
    const TROUBLES: [Trouble; 8] = [
        Trouble::Broken,
        Trouble::AnswerLost,
        Trouble::HalfAnswer,
        Trouble::Proxy,
        Trouble::Denied,
        Trouble::Maintenance,
        Trouble::Closed,
        Trouble::Hangs,
    ];
    let mut chance = Chance(0xd1b5_4a32_d192_ed03);
    while !is_over.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(u64::from(20 + chance.below(100))));
        let trouble = TROUBLES[chance.below(8) as usize];
        servers[chance.below(2) as usize].state().troubles = vec![trouble; 2];
        if chance.below(8) == 0 {
            servers = servers.map(StandIn::restart);
        }
    }
    for server in &servers {
        server.state().troubles.clear();
    }
    servers
}
