//! Lines and filters of our own making, answered by fail2ban and by us: the same answers.
//!
//! The lines are generated from fixed seeds, and lean to what may go wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use scan::{Filter, FilterSpec, Outcome, Scanner, Settings};
use serde_json::{Value, json};

mod dates;
mod dice;
mod encodings;
mod filters;
mod samples;

/// A filter, how to run it, and lines.
#[derive(Clone, Default)]
struct Case {
    spec: FilterSpec,
    zone: &'static str,
    now: i64,
    raw: bool,
    every: bool,
    lines: Vec<String>,
}

impl Case {
    fn to_json(&self) -> Value {
        let spec = &self.spec;
        json!({
            "prefregex": spec.prefregex, "failregex": spec.failregex,
            "ignoreregex": spec.ignoreregex, "maxlines": spec.maxlines,
            "datepattern": spec.datepattern, "logtimezone": spec.logtimezone,
            "usedns": spec.usedns, "zone": self.zone, "now": self.now, "raw": self.raw,
            "every": self.every, "lines": self.lines,
        })
    }

    /// Our answers, in the form of fail2ban's.
    fn answers(&self) -> Value {
        // The year of the clock, which fail2ban looks at when it starts.
        let year = Timestamp::now().to_zoned(TimeZone::UTC).year();
        let spec = FilterSpec { year: Some(year), ..self.spec.clone() };
        let filter = match Filter::compile(&spec) {
            Ok(filter) => Arc::new(filter),
            Err(error) => return json!(error.to_string()),
        };
        let zone = TimeZone::posix(self.zone).or_else(|_| TimeZone::get(self.zone)).unwrap();
        let settings = Settings { zone, raw: self.raw, ..Settings::default() };
        let mut scanner = Scanner::new(filter, settings);
        let now = Timestamp::from_second(self.now).unwrap();
        let answer = |line: &String| {
            let found = if self.every {
                scanner.every(line.as_bytes(), None, now)
            } else {
                vec![scanner.line(line.as_bytes(), now)]
            };
            found.into_iter().filter_map(to_json).collect::<Value>()
        };
        self.lines.iter().map(answer).collect()
    }
}

fn to_json(outcome: Outcome) -> Option<Value> {
    let Outcome::Failure(hit) = outcome else { return None };
    let time = hit.dated.then(|| hit.time.as_duration().as_secs_f64());
    let fields: serde_json::Map<_, _> =
        hit.fields.into_iter().map(|(name, text)| (name, Value::String(text))).collect();
    Some(json!({
        "regex": hit.failregex, "fid": hit.id, "time": time,
        "fields": fields, "matches": hit.matches,
    }))
}

/// fail2ban's answer to one line in the form of ours: failures alone.
fn reduce(answer: &Value) -> Value {
    let failures = answer
        .as_array()
        .into_iter()
        .flatten()
        .filter(|found| !found["fid"].is_null() && found["data"].get("nofail").is_none());
    let ids = ["fid", "ip4", "ip6", "dns", "matches", "nofail-matches", "users", "mlfpending"];
    let reduce = |found: &Value| {
        let data = found["data"].as_object().unwrap();
        let fields: serde_json::Map<_, _> = data
            .iter()
            .filter(|(name, value)| !ids.contains(&name.as_str()) && *value != "")
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let parts = |line: &Value| serde_json::from_value::<Vec<String>>(line.clone());
        let lines = data["matches"].as_array().unwrap().iter();
        let matches: Vec<_> = lines.map(|line| parts(line).unwrap().concat()).collect();
        json!({
            "regex": found["regex"], "fid": found["fid"], "time": found["time"].as_f64(),
            "fields": fields, "matches": matches,
        })
    };
    failures.map(reduce).collect()
}

/// Our failures without the groups that tell the id, as `reduce` leaves fail2ban's.
fn without_ids(mut answer: Value) -> Value {
    for failure in answer.as_array_mut().into_iter().flatten() {
        let fields = failure["fields"].as_object_mut().unwrap();
        fields.retain(|name, _| !["fid", "ip4", "ip6", "dns"].contains(&name.as_str()));
    }
    answer
}

/// What a script of `oracle/` answers; nothing, aloud, where fail2ban is not installed.
fn ask(script: &str, questions: String) -> Option<String> {
    const PACKAGE: &str = "/usr/lib/python3/dist-packages/fail2ban";
    let root = std::env::var_os("FAIL2BAN_ROOT");
    if root.is_none() && !Path::new(PACKAGE).exists() {
        assert!(std::env::var_os("CI").is_none(), "fail2ban is not installed");
        eprintln!("skipped: fail2ban is not installed at {PACKAGE}");
        return None;
    }
    let script = format!("{}/tests/oracle/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).args(root.iter().flat_map(|root| ["--root".as_ref(), root.as_os_str()]));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A script that takes no questions closes its end: its answer tells what is wrong.
    let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()).ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Asks both sides, and compares line by line.
#[track_caller]
fn check(cases: &[Case]) {
    let questions = cases.iter().map(|case| case.to_json().to_string() + "\n").collect();
    let Some(theirs) = ask("lines.py", questions) else { return };
    let (mut n_lines, mut n_wrong) = (0, 0);
    for (case, theirs) in cases.iter().zip(theirs.lines()) {
        let theirs: Value = serde_json::from_str(theirs).unwrap();
        let ours = case.answers();
        if theirs.is_string() || ours.is_string() {
            if theirs.is_string() != ours.is_string() {
                n_wrong += 1;
                eprintln!("{:?}\n  want {theirs}\n  got  {ours}", case.spec);
            }
            continue;
        }
        let pairs = theirs.as_array().unwrap().iter().zip(ours.as_array().unwrap());
        for (line, (theirs, ours)) in case.lines.iter().zip(pairs) {
            // Where fail2ban stumbles any answer is better; and before 1970 zones are a matter
            // of opinion.
            if theirs.is_string() || theirs[0]["time"].as_f64().is_some_and(|time| time < 0.0) {
                continue;
            }
            n_lines += 1;
            let (want, got) = (reduce(theirs), without_ids(ours.clone()));
            if want != got {
                n_wrong += 1;
                if n_wrong < 12 {
                    let pattern = &case.spec.datepattern;
                    eprintln!("{pattern:?} {} {line:?}\n  want {theirs}\n  got  {got}", case.zone);
                }
            }
        }
    }
    assert_eq!(n_wrong, 0, "of {n_lines} lines");
    println!("{n_lines} lines agree");
}

const ZONES: [&str; 4] =
    ["CET-01CEST-02,M3.5.0,M10.5.0", "America/New_York", "UTC", "Asia/Kathmandu"];
/// 2005-08-14T10:00:00Z, 2024-02-29T23:30:00Z, 2026-01-01T00:30:00Z.
const NOWS: [i64; 3] = [1_124_013_600, 1_709_249_400, 1_767_227_400];
