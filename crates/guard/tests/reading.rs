//! What guard reads of its logs, and what its filters make of it: big ones, those that docker keeps,
//! lines without an end, connections over a restart.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod host;
mod jails;

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use host::{Host, eventually, kill, stop};
use jail::config::Jail;
use jail::{Ban, BanTime};
use jiff::{SignedDuration, Timestamp};

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second() - seconds).unwrap()
}

/// Lines whose dates rise from two days ago to now, one failed login in ten, and those of each
/// attacker of `net` close to each other.
fn big_log(n_lines: i64, net: &str) -> String {
    let span = 48 * 3600;
    let mut text = String::new();
    for n in 0..n_lines {
        let time = ago(span - n * span / n_lines).strftime("%Y-%m-%d %H:%M:%S");
        let (a, b) = (n / 40 / 250 % 250, n / 40 % 250);
        match n % 10 {
            0 => writeln!(text, "{time} login of root from {net}.{a}.{b} failed").unwrap(),
            _ => writeln!(text, "{time} session of somebody with a long name: {n}").unwrap(),
        }
    }
    text
}

/// Waits until `who`, who failed last, is banned; returns all bans before that.
fn bans_before(host: &Host, who: &str) -> Vec<Ban> {
    let bans = || host.client().bans_since(0, 10_000, Duration::ZERO).unwrap().bans;
    let is_last = |it: &Ban| it.subject.to_string() == who;
    eventually("all is read", || bans().last().is_some_and(|it| is_last(&it.ban)));
    bans().into_iter().map(|it| it.ban).filter(|it| !is_last(it)).collect()
}

#[test]
fn of_a_big_log_the_end_is_read_as_if_all_were() {
    const N_LINES: i64 = 100_000;
    const FIND_TIME: SignedDuration = SignedDuration::from_hours(4);
    let host = Host::new();
    let text = big_log(N_LINES, "10.0");
    host.write("sshd", &text);
    let ban_time = BanTime::Seconds(24 * 3600);
    let jail = |host: &Host| Jail { find_time: FIND_TIME, ban_time, ..host.jail("sshd") };
    let guard = host.start(vec![jail(&host)]);
    host.fail("sshd", "203.0.113.1", 3);
    let bans = bans_before(&host, "203.0.113.1");
    let n_read = |host: &Host| host.client().metrics().unwrap().jails[0].n_lines;
    assert!(n_read(&host) < 30_000, "{} lines were read", n_read(&host));

    // What has no dates in its midst cannot be looked through: all of it is read.
    let other = Host::new();
    let (before, after) = text.split_at(text[..text.len() / 2].rfind('\n').unwrap() + 1);
    other.write("sshd", before);
    other.write("sshd", &"a trace without a date\n".repeat(9000));
    other.write("sshd", after);
    let of_other = other.start(vec![jail(&other)]);
    other.fail("sshd", "203.0.113.1", 3);
    let want = bans_before(&other, "203.0.113.1");
    assert!(n_read(&other) as i64 > N_LINES, "{} lines were read", n_read(&other));
    assert!(want.len() > 100, "{}", want.len());
    // The clock went on meanwhile, so the first of them may be too old by now.
    let n = want.len() - 5;
    assert_eq!(bans[bans.len() - n..], want[want.len() - n..]);
    stop(of_other);

    // After a long time down it is as at the first start.
    stop(guard);
    host.write("sshd", &big_log(N_LINES, "10.1"));
    let guard = host.start(vec![jail(&host)]);
    host.fail("sshd", "203.0.113.2", 3);
    let bans = bans_before(&host, "203.0.113.2");
    let is_new = |it: &&Ban| it.subject.to_string().starts_with("10.1.");
    assert!(bans.iter().filter(is_new).count() >= n);
    assert!(n_read(&host) < 30_000, "{} lines were read", n_read(&host));
    stop(guard);
}

#[test]
fn docker_keeps_lines_that_are_read_as_they_were_written() {
    let host = Host::new();
    let record = |log: &str, seconds: i64| {
        let time = ago(seconds);
        format!("{{\"log\":\"{log}\\n\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n")
    };
    // Docker's time is that of lines that bear none themselves.
    host.write("web", &record(r#"login of \"x\" from 203.0.113.1 failed"#, 30).repeat(3));
    host.write("web", &record("login of x from 203.0.113.2 failed", 7000).repeat(3));
    let own = ago(0).strftime("%Y-%m-%d %H:%M:%S").to_string();
    host.write("web", &record(&format!("{own} login of x from 203.0.113.3 failed"), 0).repeat(3));
    let guard = host.start(vec![host.jail("web")]);
    host.bans(&[("web", "203.0.113.1"), ("web", "203.0.113.3")]);
    let ban = &host.client().banned(&["203.0.113.1".into()]).unwrap()[0];
    assert!(ban.time <= ago(30), "{ban:?}");
    assert_eq!(ban.matches[0].trim_end(), r#"login of "x" from 203.0.113.1 failed"#);
    stop(guard);
}

#[test]
fn filters_remember_over_a_restart_what_a_connection_said() {
    let host = Host::new();
    let jail = || {
        let mut jail = host.jail("sshd");
        let connection = r"^\s*<F-MLFID>conn \d+</F-MLFID>";
        jail.filter.failregex = vec![
            format!("{connection} <F-NOFAIL>opened</F-NOFAIL> from <HOST>$"),
            format!("{connection} failed$"),
        ];
        jail
    };
    let line = |text: &str| format!("{} {text}\n", ago(0).strftime("%Y-%m-%d %H:%M:%S"));
    host.write("sshd", &line("conn 7 opened from 203.0.113.1"));
    host.write("sshd", &line("conn 7 failed"));
    let guard = host.start(vec![jail()]);
    eventually("it is counted", || host.status().jails[0].total_failed == 1);
    stop(guard);
    let guard = host.start(vec![jail()]);
    host.write("sshd", &line("conn 7 failed").repeat(2));
    host.bans(&[("sshd", "203.0.113.1")]);
    let log = host.client().bans_since(0, 9, Duration::ZERO).unwrap();
    assert_eq!(log.bans[0].ban.n_failures, 3); // that of the last life among them, once
    stop(guard);
}

#[test]
fn a_first_start_that_is_killed_is_gone_on_with() {
    let host = Host::new();
    host.fail("sshd", "203.0.113.1", 3);
    let jail = || {
        let mut jail = host.jail("sshd");
        jail.log_paths[0].from_end = true;
        jail
    };
    let guard = host.start(vec![jail()]);
    eventually("it is followed", || host.status().jails[0].files.len() == 1);
    kill(guard);
    host.fail("sshd", "203.0.113.2", 3);
    let guard = host.start(vec![jail()]);
    host.bans(&[("sshd", "203.0.113.2")]);
    stop(guard);
}

#[test]
fn a_log_that_is_renamed_to_what_its_pattern_names_counts_once() {
    let host = Host::new();
    let start = || host.start(vec![jails::jail("web", &host.path("web*.log"))]);
    let n_failed = || host.status().jails.iter().map(|it| it.total_failed).sum::<u64>();
    let fail = |file| host.fail(file, "203.0.113.1", 1);
    fail("web");
    let guard = start();
    eventually("it is counted", || n_failed() == 1);
    fs::rename(host.path("web.log"), host.path("web-1.log")).unwrap();
    fail("web-1");
    eventually("it is counted", || n_failed() == 2);
    stop(guard);
    // And while nobody looks.
    fs::rename(host.path("web-1.log"), host.path("web-2.log")).unwrap();
    fail("web-2");
    let guard = start();
    host.bans(&[("web", "203.0.113.1")]);
    let log = host.client().bans_since(0, 9, Duration::ZERO).unwrap();
    assert_eq!((log.bans[0].ban.n_failures, n_failed()), (3, 1));
    stop(guard);
}

#[test]
fn lines_that_are_too_long_are_counted() {
    let host = Host::new();
    let guard = host.start(vec![host.jail("sshd")]);
    host.write("sshd", &format!("{}\n", "x".repeat(3 << 20)));
    host.fail("sshd", "203.0.113.1", 3);
    host.bans(&[("sshd", "203.0.113.1")]);
    let notes = &host.status().jails[0].notes;
    assert!(notes.iter().any(|it| it.starts_with("1 lines were longer")), "{notes:?}");
    stop(guard);
}
