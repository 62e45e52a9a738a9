//! Servers that fail in every way and an exchange that is killed at random: at the end every
//! offender is one attribute at each destination, and every repeat one sighting.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod bench;
mod stand_in;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use bench::{PATIENCE, address, ban, database, setup, wait_for};
use exchange::{Budget, Destination, Ended, EventChoice, Mode, Report, Setup, Stop, run, spool};
use stand_in::{Chance, KEY, StandIn};

/// Offenders that are reported, repeats among them.
const N_REPORTS: u32 = 20_000;
/// How often the exchange is killed.
const N_KILLS: u32 = 12;
/// Where the child finds its state folder, and the urls of the two servers.
const STATE: &str = "EXCHANGE_CHAOS_STATE";
const URLS: &str = "EXCHANGE_CHAOS_URLS";

fn destinations(state: &Path, urls: &[String]) -> Vec<Destination> {
    let key_file = state.join("misp.key");
    let to = |(n, url): (usize, &String)| {
        let event = EventChoice::Fixed("1".into());
        let name = format!("server-{n}");
        let mut destination = Destination::new(&name, url, event, key_file.clone());
        destination.sighting_interval = Duration::ZERO;
        destination.budget = Budget { max_per_day: u64::MAX, calls_per_minute: u32::MAX };
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

/// A process that is killed (-9) when it is let go.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
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
    let urls = servers.each_ref().map(StandIn::url);
    for server in &servers {
        server.add_event(true);
    }
    let (servers, distinct) = thread::scope(|scope| {
        let reporting = scope.spawn(|| report_all(state));
        let servers = kill_at_random(state, servers);
        (servers, reporting.join().unwrap())
    });
    servers.iter().for_each(|server| server.state().chance = None);
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
    let n_lost: usize = servers.iter().map(|server| server.state().n_lost).sum();
    assert!(n_lost > 0, "no answer to an add was lost, so nothing was tried");
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
            reports.push(Report::of(ban));
            n += 1;
        }
        spool::put(state, &reports).unwrap();
    }
    (0..n_distinct).map(address).collect()
}

/// Starts the exchange and kills it after some calls, again and again; the servers fail at some
/// calls, and are restarted now and then.
fn kill_at_random(state: &Path, mut servers: [StandIn; 2]) -> [StandIn; 2] {
    let urls = servers.each_ref().map(StandIn::url);
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for server in &servers {
        let mut state = server.state();
        state.chance = Some(Chance(0xd1b5_4a32_d192_ed03));
        // A batch is cut in halves first, and there are more calls to fail at.
        state.max_batch = Some(250);
    }
    for _ in 0..N_KILLS {
        let n_asked = |servers: &[StandIn; 2]| -> usize {
            servers.iter().map(|server| server.state().n_asked).sum()
        };
        let until = n_asked(&servers) + 1 + chance.below(10) as usize;
        let exchange = Mortal(start(state, &urls));
        wait_for("calls", || n_asked(&servers) >= until);
        drop(exchange);
        if chance.below(4) == 0 {
            servers = servers.map(StandIn::restart);
        }
    }
    servers
}
