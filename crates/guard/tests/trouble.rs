//! What must hold when something goes wrong around guard: its journal, its disk, its clock, its logs,
//! and who floods them.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod host;
mod jails;
mod journald;
mod small_disk;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use guard::{Clock, Guard, Setup};
use host::{Host, eventually, kill, stop};
use jail::config::{Backend, Jail};
use jiff::{SignedDuration, Timestamp};
use journald::Journald;

/// A jail that reads this journal.
fn jail_of(host: &Host, journald: &Journald) -> Jail {
    let mut jail = Jail { backend: Backend::Journal, ..host.jail("sshd") };
    let backend = format!("systemd[namespace={}]", journald.name);
    jail.options.insert("backend".to_owned(), backend);
    jail.journal_match = vec![vec!["SYSLOG_IDENTIFIER=sshd".to_owned()]];
    jail
}

fn fail(journald: &Journald, who: &str) {
    (0..3).for_each(|_| journald.log(&format!("login of x from {who} failed")));
}

#[test]
fn reads_the_journal_and_goes_on_where_it_ended() {
    let Some(journald) = Journald::start() else { return };
    let host = Host::new();
    let jail = || jail_of(&host, &journald);
    let fail = |who| fail(&journald, who);
    fail("203.0.113.1");
    let guard = host.start(vec![jail()]);
    host.bans(&[("sshd", "203.0.113.1")]);
    fail("203.0.113.2");
    host.bans(&[("sshd", "203.0.113.1"), ("sshd", "203.0.113.2")]);
    assert_eq!(host.status().jails[0].journal_matches[0].split(' ').count(), 2);
    stop(guard);
    fail("203.0.113.3");
    let guard = host.start(vec![jail()]);
    host.bans(&[("sshd", "203.0.113.1"), ("sshd", "203.0.113.2"), ("sshd", "203.0.113.3")]);
    let log = host.client().bans_since(0, 9, Duration::ZERO).unwrap();
    assert_eq!(log.bans.len(), 3); // nobody twice
    assert_eq!(host.client().jail_status("sshd").unwrap().total_failed, 3);
    stop(guard);
}

#[test]
fn a_journald_that_restarts_is_read_on() {
    let Some(mut journald) = Journald::start() else { return };
    let host = Host::new();
    let guard = host.start(vec![jail_of(&host, &journald)]);
    fail(&journald, "203.0.113.1");
    host.bans(&[("sshd", "203.0.113.1")]);
    journald.restart();
    fail(&journald, "203.0.113.2");
    host.bans(&[("sshd", "203.0.113.1"), ("sshd", "203.0.113.2")]);
    // Its reader dies: another one goes on after the last entry.
    journald.kill_readers();
    fail(&journald, "203.0.113.3");
    host.bans(&[("sshd", "203.0.113.1"), ("sshd", "203.0.113.2"), ("sshd", "203.0.113.3")]);
    assert_eq!(host.client().jail_status("sshd").unwrap().total_failed, 9);
    stop(guard);
}

/// Seconds that the clock of [`jumping`] is ahead.
static AHEAD: AtomicI64 = AtomicI64::new(0);

fn jumping() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(AHEAD.load(Ordering::SeqCst))
}

#[test]
fn a_clock_that_jumps_a_day_stops_no_ban() {
    const DAY: i64 = 24 * 3600;
    let host = Host::new();
    let start = || {
        let setup = host.setup(vec![host.jail("sshd")], host.memory.clone());
        let clock = Clock { now: jumping, ..Clock::utc() };
        Guard::start(Setup { clock, ..setup }).unwrap()
    };
    let fail = |who: &str| {
        let now = jumping().strftime("%Y-%m-%d %H:%M:%S");
        host.write("sshd", &format!("{now} login of root from {who} failed\n").repeat(3));
    };
    let guard = start();
    fail("203.0.113.1");
    host.bans(&[("sshd", "203.0.113.1")]);
    // Forward: the old ban is over, whoever fails now is banned.
    AHEAD.store(DAY, Ordering::SeqCst);
    fail("203.0.113.2");
    host.bans(&[("sshd", "203.0.113.2")]);
    // And back: what stands stays, whoever fails now is banned.
    AHEAD.store(0, Ordering::SeqCst);
    fail("203.0.113.3");
    let both = [("sshd", "203.0.113.2"), ("sshd", "203.0.113.3")];
    host.bans(&both);
    kill(guard);
    let guard = start();
    host.bans(&both);
    fail("203.0.113.4");
    host.bans(&[both[0], both[1], ("sshd", "203.0.113.4")]);
    stop(guard);
}

#[test]
fn a_log_that_vanishes_is_waited_for() {
    let host = Host::new();
    fs::create_dir(host.path("logs")).unwrap();
    let jail = jails::jail("web", &host.path("logs/web.log"));
    host.write("logs/web", "");
    let guard = host.start(vec![jail]);
    host.fail("logs/web", "203.0.113.1", 3);
    host.bans(&[("web", "203.0.113.1")]);
    fs::remove_dir_all(host.path("logs")).unwrap();
    eventually("it is waited for", || host.status().jails[0].awaited.len() == 1);
    fs::create_dir(host.path("logs")).unwrap();
    host.fail("logs/web", "203.0.113.2", 3);
    host.bans(&[("web", "203.0.113.1"), ("web", "203.0.113.2")]);
    assert_eq!(host.status().jails[0].awaited, [""; 0]);
    stop(guard);
}

/// Kilobytes of memory that this process holds.
fn memory_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// With `cargo test --release -p guard --test trouble a_flood` it is 10 MB a second, of which half the
/// lines fail.
#[test]
fn a_flood_delays_no_ban_and_fills_no_memory() {
    // What is not optimised reads a small part of that.
    const BYTES_PER_SECOND: usize = if cfg!(debug_assertions) { 1 << 19 } else { 10 << 20 };
    const TICK: Duration = Duration::from_millis(10);
    const MAX_DELAY: Duration = Duration::from_secs(1);
    const MAX_GROWTH_KB: u64 = 48 << 10;
    let host = Host::new();
    host.write("sshd", "");
    let guard = host.start(vec![host.jail("sshd")]);
    let before = memory_kb();
    let end = Arc::new(AtomicBool::new(false));
    let flood = std::thread::spawn({
        let (path, end) = (host.path("sshd.log"), Arc::clone(&end));
        move || {
            let mut log = fs::OpenOptions::new().append(true).open(path).unwrap();
            let (begun, mut n_lines, mut n_bytes) = (Instant::now(), 0_u32, 0);
            while !end.load(Ordering::Relaxed) {
                let now = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
                let mut text = String::new();
                while n_bytes + text.len()
                    < (begun.elapsed().as_secs_f64() * BYTES_PER_SECOND as f64) as usize
                {
                    // Half of them fail, each from another address.
                    n_lines += 1;
                    let addr = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n_lines);
                    let what = if n_lines % 2 == 0 { "failed" } else { "succeeded in the end" };
                    _ = writeln!(text, "{now} login of somebody from {addr} {what}");
                }
                n_bytes += text.len();
                log.write_all(text.as_bytes()).unwrap();
                std::thread::sleep(TICK);
            }
            n_bytes
        }
    });
    let (mut worst, mut most) = (Duration::ZERO, before);
    for n in 1..=20 {
        let who = format!("203.0.113.{n}");
        let begun = Instant::now();
        host.fail("sshd", &who, 3);
        eventually("he is banned", || host.memory.bans().len() == n);
        worst = worst.max(begun.elapsed());
        most = most.max(memory_kb());
        std::thread::sleep(TICK * 10);
    }
    end.store(true, Ordering::Relaxed);
    let n_bytes = flood.join().unwrap();
    println!("{} MB: the slowest ban after {worst:?}, {} kB more", n_bytes >> 20, most - before);
    assert!(worst < MAX_DELAY, "{worst:?}");
    assert!(most - before < MAX_GROWTH_KB, "{} kB", most - before);
    stop(guard);
}

#[test]
fn a_full_disk_stops_no_ban_and_loses_none() {
    small_disk::within(|| {
        let host = Host::new();
        let state = host.path("state/guard");
        fs::create_dir_all(&state).unwrap();
        small_disk::mount(&state);
        let guard = host.start(vec![host.jail("sshd")]);
        let filler = state.join("filler");
        fill(&filler);
        for n in 1..=150 {
            host.fail("sshd", &format!("203.0.113.{n}"), 3);
        }
        eventually("they are banned", || host.memory.bans().len() == 150);
        eventually("it is noted", || {
            host.status().jails[0].notes.iter().any(|it| it.contains("guard.db"))
        });
        let told = host.client().bans_since(0, 1000, Duration::ZERO).unwrap();
        assert!(told.bans.len() < 150, "what is not on the disk is not told");

        fs::remove_file(filler).unwrap();
        eventually("all are told", || {
            host.client().bans_since(0, 1000, Duration::ZERO).unwrap().bans.len() == 150
        });
        assert_eq!(host.status().jails[0].notes, [""; 0]);
        kill(guard);
        let guard = host.start(vec![host.jail("sshd")]);
        assert_eq!(host.client().banned(&[]).unwrap().len(), 150);
        stop(guard);
        small_disk::unmount(&state);
    });
}

/// Writes until there is no room left, to the last block.
fn fill(path: &Path) {
    let mut filler = fs::File::create(path).unwrap();
    for size in [64 << 10, 4096, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
}
