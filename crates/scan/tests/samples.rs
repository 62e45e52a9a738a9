//! fail2ban's own filters on fail2ban's own sample logs: the same answer on every line.
//!
//! `oracle/samples.py` runs the sample tests of an installed fail2ban and prints each answer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use scan::{Filter, FilterSpec, Outcome, Pass, Scanner, Settings};
use serde::Deserialize;
use serde_json::Value;

/// The clock and the zone of fail2ban's tests.
const NOW: i64 = 1_124_013_600;
const ZONE: &str = "CET-01CEST-02,M3.5.0,M10.5.0";
/// What fail2ban notes of a failure beside the groups that its expressions caught.
const NOTES: [&str; 4] = ["matches", "nofail-matches", "users", "mlfpending"];
/// The groups that tell who failed: they become the id.
const ID_GROUPS: [&str; 4] = ["fid", "ip4", "ip6", "dns"];

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Call(Call),
    Spec(Spec),
}

#[derive(Deserialize)]
struct Spec {
    spec: usize,
    prefregex: Option<String>,
    failregex: Vec<String>,
    ignoreregex: Vec<String>,
    maxlines: Option<Value>,
    datepattern: Option<String>,
}

#[derive(Deserialize)]
struct Call {
    spec: usize,
    filter: String,
    opts: Value,
    line: String,
    journal: bool,
    result: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    regex: usize,
    fid: Option<String>,
    time: f64,
    data: BTreeMap<String, Value>,
}

/// What both sides tell of a match.
#[derive(Debug, PartialEq)]
enum Match {
    Failure(Failure),
    /// It waits for an address, by the expression of this number.
    Pending(usize),
    /// It is remembered as no failure.
    Remembered(usize),
}

/// A failure, reduced to what both sides tell.
#[derive(Debug, PartialEq)]
struct Failure {
    failregex: usize,
    id: String,
    time: f64,
    fields: BTreeMap<String, String>,
    /// The lines that made it; empty where they came from a journal, whose date fail2ban adds.
    matches: Vec<String>,
}

impl Found {
    fn to_match(&self, journal: bool) -> Match {
        if self.data.contains_key("nofail") {
            return Match::Remembered(self.regex);
        }
        let Some(id) = self.fid.clone() else { return Match::Pending(self.regex) };
        let fields = self.data.iter().filter(|(name, _)| is_field(name));
        let fields = fields.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        let lines = self.data["matches"].as_array().unwrap().iter().filter(|_| !journal);
        let parts = |line: &Value| -> Vec<String> { serde_json::from_value(line.clone()).unwrap() };
        Match::Failure(Failure {
            failregex: self.regex,
            id,
            time: self.time,
            fields: fields.filter(|(_, value)| !value.is_empty()).collect(),
            matches: lines.map(|line| parts(line).concat()).collect(),
        })
    }
}

fn is_field(name: &str) -> bool {
    !NOTES.contains(&name) && !ID_GROUPS.contains(&name)
}

fn to_match(outcome: Outcome, journal: bool) -> Option<Match> {
    let hit = match outcome {
        Outcome::Failure(hit) => hit,
        Outcome::Pending { failregex } => return Some(Match::Pending(failregex)),
        Outcome::Remembered { failregex } => return Some(Match::Remembered(failregex)),
        Outcome::Ignored(_) | Outcome::Missed => return None,
    };
    Some(Match::Failure(Failure {
        failregex: hit.failregex,
        id: hit.id,
        time: hit.time.as_duration().as_secs_f64(),
        fields: hit.fields.into_iter().filter(|(name, _)| is_field(name)).collect(),
        matches: if journal { Vec::new() } else { hit.matches },
    }))
}

fn filter(spec: Spec) -> Filter {
    let maxlines = spec.maxlines.map(|value| match value {
        Value::String(digits) => digits.parse().unwrap(),
        number => usize::try_from(number.as_u64().unwrap()).unwrap(),
    });
    let compiled = Filter::compile(&FilterSpec {
        prefregex: spec.prefregex,
        failregex: spec.failregex,
        ignoreregex: spec.ignoreregex,
        maxlines,
        datepattern: spec.datepattern,
        ..FilterSpec::default()
    });
    compiled.unwrap()
}

fn settings() -> Settings {
    let zone = TimeZone::posix(ZONE).unwrap();
    Settings { zone, raw: true, ..Settings::default() }
}

/// What fail2ban answers; nothing, aloud, where it is not installed.
fn oracle() -> Option<String> {
    const PACKAGE: &str = "/usr/lib/python3/dist-packages/fail2ban";
    let root = std::env::var("FAIL2BAN_ROOT").ok();
    if root.is_none() && !Path::new(PACKAGE).exists() {
        assert!(std::env::var_os("CI").is_none(), "fail2ban is not installed");
        eprintln!("skipped: fail2ban is not installed at {PACKAGE}");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/samples.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script);
    command.args(root.iter().flat_map(|root| ["--root", root]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Runs all calls through `look`, and compares what it answers with what `want` makes of
/// fail2ban's answer.
#[track_caller]
fn check(
    want: impl Fn(&Call) -> Vec<Match>,
    look: impl Fn(&mut Scanner, &Call, Timestamp) -> Vec<Match>,
) {
    let Some(answers) = oracle() else { return };
    let now = Timestamp::from_second(NOW).unwrap();
    let mut scanners = HashMap::new();
    let (mut n_calls, mut n_wrong) = (0, 0);
    for line in answers.lines() {
        let call = match serde_json::from_str(line).unwrap() {
            Answer::Spec(spec) => {
                scanners.insert(spec.spec, Scanner::new(Arc::new(filter(spec)), settings()));
                continue;
            }
            Answer::Call(call) => call,
        };
        n_calls += 1;
        let want = want(&call);
        let got = look(scanners.get_mut(&call.spec).unwrap(), &call, now);
        if got != want {
            n_wrong += 1;
            let Call { filter, opts, line, .. } = call;
            eprintln!("{filter} {opts}: {line}\n  want {want:?}\n  got  {got:?}");
        }
    }
    assert!(n_calls > 1000, "only {n_calls} calls");
    assert_eq!(n_wrong, 0, "of {n_calls} calls");
    println!("{n_calls} calls agree");
}

#[test]
fn every_expression_answers_as_in_fail2ban() {
    check(
        |call| call.result.iter().map(|found| found.to_match(call.journal)).collect(),
        |scanner, call, now| {
            let at = call.journal.then_some(now);
            let outcomes = scanner.every(call.line.as_bytes(), at, now);
            outcomes.into_iter().filter_map(|it| to_match(it, call.journal)).collect()
        },
    );
}

/// fail2ban's tests try every expression; in operation the first that matches ends the line.
/// What is a failure must not depend on that.
#[test]
fn the_first_expression_answers_as_in_fail2ban() {
    let failures = |found: Vec<Match>| -> Vec<_> {
        found.into_iter().filter(|it| matches!(it, Match::Failure(_))).collect()
    };
    check(
        |call| failures(call.result.iter().map(|it| it.to_match(call.journal)).collect()),
        |scanner, call, now| {
            let outcome = if call.journal {
                scanner.dated_line(call.line.as_bytes(), now, now)
            } else {
                scanner.line(call.line.as_bytes(), now)
            };
            failures(to_match(outcome, call.journal).into_iter().collect())
        },
    );
}

/// Filters that read a log together see what each of them sees alone.
#[test]
fn a_pass_answers_as_its_filters_do() {
    let Some(answers) = oracle() else { return };
    let now = Timestamp::from_second(NOW).unwrap();
    let (mut filters, mut lines) = (Vec::new(), Vec::new());
    for line in answers.lines() {
        match serde_json::from_str(line).unwrap() {
            Answer::Spec(spec) => filters.push((Arc::new(filter(spec)), settings())),
            Answer::Call(call) => lines.push(call.line),
        }
    }
    let mut alone: Vec<_> =
        filters.iter().map(|(filter, it)| Scanner::new(Arc::clone(filter), it.clone())).collect();
    let mut pass = Pass::new(filters);
    let mut n_found = 0;
    // Not all of them: each goes through all of the filters.
    for line in lines.into_iter().step_by(7) {
        let mut together = vec![Outcome::Missed; alone.len()];
        pass.line(line.as_bytes(), now, |place, outcome| together[place] = outcome);
        for (scanner, got) in alone.iter_mut().zip(together) {
            n_found += usize::from(got != Outcome::Missed);
            assert_eq!(got, scanner.line(line.as_bytes(), now), "{line}");
        }
    }
    assert!(n_found > 300, "{n_found}");
}

/// Nearly every expression of fail2ban's needs a literal; the sieve is for nothing otherwise.
#[test]
fn expressions_need_literals() {
    let Some(answers) = oracle() else { return };
    let (mut n_all, mut n_unsieved) = (0, 0);
    for line in answers.lines() {
        if let Answer::Spec(spec) = serde_json::from_str(line).unwrap() {
            let filter = filter(spec);
            n_all += filter.spec().failregex.len();
            n_unsieved += filter.unsieved().len();
        }
    }
    assert!(n_unsieved * 50 < n_all, "{n_unsieved} of {n_all} need none");
}
