//! Holds the judge to fail2ban's own filter, fail manager and ban manager: the same events, in any
//! order and at any time, the same decisions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod debian;

use std::io::Write;
use std::process::Stdio;
use std::thread;

use jail::judge::{Action, Event, Judge, Reading, Rules};
use jail::{Ban, BanTime, Failure, Subject};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Events of one round; enough for each rule to meet each other.
const N_EVENTS: usize = 2000;

/// Addresses that take turns, one of them ignored.
const N_ADDRESSES: u64 = 12;
const IGNORED: &str = "10.0.0.9";

#[test]
fn judges_as_fail2ban_does() {
    if debian::debian().is_none() {
        return;
    }
    //    maxretry, findtime, bantime, maxmatches
    check([3, 600, 600, 2], 1);
    check([5, 300, 90, 5], 2);
    check([1, 600, 3600, 1], 3);
    check([4, 60, -1, 10], 4); // for ever
    check([10, 86_400, 30, 3], 5); // bans that may be over when they are made
}

#[track_caller]
fn check([max_retry, find_time, ban_time, max_matches]: [i64; 4], seed: u64) {
    let rules = Rules {
        jail: "judged".to_owned(),
        max_retry: u32::try_from(max_retry).unwrap(),
        find_time: SignedDuration::from_secs(find_time),
        ban_time: BanTime::from(ban_time),
        max_matches: u32::try_from(max_matches).unwrap(),
        ignore_self: false,
        ignore_ip: vec![IGNORED.to_owned()],
        increment: None,
    };
    let asked = json!({
        "maxretry": max_retry, "findtime": find_time, "bantime": ban_time,
        "maxmatches": max_matches, "ignoreip": [IGNORED],
    });
    let events = events(seed);
    let want = decisions_of_fail2ban(&asked, &events);
    assert_eq!(want.len(), events.len());
    let mut judge = Judge::new(vec![rules]);
    let mut n_bans = 0;
    for (number, (event, want)) in events.iter().zip(&want).enumerate() {
        let got = decide(&mut judge, event);
        n_bans += got.iter().filter(|it| it[0] == "ban").count();
        assert_eq!(&json!(got), want, "event {number} of {asked}: {event}");
    }
    assert!(n_bans > 5, "{n_bans}");
}

/// Events at random times: mostly failures, whose lines are late, early or right.
fn events(seed: u64) -> Vec<Value> {
    let mut random = Random(seed);
    let mut now = 1_780_000_000;
    let mut events = Vec::new();
    for _ in 0..N_EVENTS {
        now += match random.below(20) {
            0 => random.below(900),
            _ => random.below(30),
        };
        let id = format!("10.0.0.{}", random.below(N_ADDRESSES));
        let op = match random.below(40) {
            0 => "ban",
            1 => "attempt",
            _ => "fail",
        };
        let time = match random.below(6) {
            0 => now - random.below(1000),
            1 => now + random.below(100),
            2 => now - random.below(62),
            _ => now,
        };
        let reading = random.below(5) > 0;
        events.push(json!({ "now": now, "op": op, "id": id, "time": time, "reading": reading }));
    }
    events
}

/// A generator that is the same everywhere (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> i64 {
        let Self(state) = self;
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((*state >> 33) % end).unwrap()
    }
}

/// What the judge decides, in the words of the script.
fn decide(judge: &mut Judge, event: &Value) -> Vec<Value> {
    let at = |name: &str| Timestamp::from_second(event[name].as_i64().unwrap()).unwrap();
    let (jail, subject) = ("judged".to_owned(), Subject::from(event["id"].as_str().unwrap()));
    let asked = match event["op"].as_str().unwrap() {
        "ban" => Event::Ban { jail, subject, ban_time: None },
        "attempt" => Event::Attempt { jail, subject, matches: vec!["x".to_owned()] },
        _ => {
            let matches = vec!["failed".to_owned()];
            let (time, n_attempts, fields) = (at("time"), 1, Vec::new());
            let failure = Failure { jail, subject, time, n_attempts, matches, fields };
            let is_read = event["reading"].as_bool().unwrap();
            Event::Failure(
                failure,
                if is_read { Reading::InOperation } else { Reading::CatchingUp },
            )
        }
    };
    let mut said = Vec::new();
    let mut lifted = Vec::new();
    for action in judge.handle(asked, at("now")) {
        match action {
            Action::Found { .. } => said.push(json!(["found"])),
            Action::Ban(ban) => {
                said.push(json!([
                    "ban",
                    ban.subject,
                    end(&ban),
                    ban.n_failures,
                    ban.matches.len()
                ]));
            }
            Action::AlreadyBanned { subject, .. } => said.push(json!(["already", subject])),
            Action::Prolong(ban) => said.push(json!(["prolong", ban.subject, end(&ban)])),
            Action::Expired { subject, .. } => said.push(json!(["expired", subject])),
            Action::Unban { subject, .. } => lifted.push(json!(["unban", subject])),
            Action::Ignored { .. } | Action::OddTime { .. } | Action::TooOld { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    lifted.sort_by_key(Value::to_string);
    said.extend(lifted);
    said
}

fn end(ban: &Ban) -> Value {
    ban.until().map_or(json!("never"), |end| json!(end.as_second()))
}

fn decisions_of_fail2ban(rules: &Value, events: &[Value]) -> Vec<Value> {
    let mut child = debian::oracle("tests/oracle/judge.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = [rules].into_iter().chain(events).map(|it| format!("{it}\n")).collect();
    let writer = thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let decisions = String::from_utf8(output.stdout).unwrap();
    decisions.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
