//! Holds our own filters to fail2ban's sample logs: what fail2ban calls a failure, they catch; what
//! it calls harmless, they leave alone.
//!
//! `oracle/samples.py` runs the sample tests of an installed fail2ban and prints each answer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod disk;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use jail::config::options::Item;
use jail::config::{Select, read, read_filter};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use scan::{Filter, Outcome, Scanner, Settings};
use serde_json::Value;

use disk::{Disk, debian};

/// The clock and the zone of fail2ban's tests.
const NOW: i64 = 1_124_013_600;
const ZONE: &str = "CET-01CEST-02,M3.5.0,M10.5.0";

/// How much of what fail2ban calls failures a filter of ours must catch, in percent.
const LEAST_CAUGHT: usize = 95;

/// Our filters, and those of fail2ban whose samples they are held to.
const PAIRS: [(&str, &str); 1] = [("sshd", "sshd")];

/// One call of fail2ban's sample tests: a line, and who failed by it.
struct Sample {
    options: BTreeMap<String, String>,
    line: String,
    is_dated: bool,
    failed: Vec<String>,
}

fn ours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters")
}

#[test]
fn every_jail_of_ours_can_start() {
    let configuration = read(&Disk, &ours(), Select::All);
    assert!(configuration.faults.is_empty(), "{:#?}", configuration.faults);
    for jail in &configuration.jails {
        assert!(!jail.filter.failregex.is_empty(), "{}", jail.name);
        assert!(!jail.log_paths.is_empty(), "{}", jail.name);
        assert!(!jail.actions.is_empty(), "{}", jail.name);
        Filter::compile(&jail.filter).unwrap();
    }
    let enabled = read(&Disk, &ours(), Select::Enabled).jails;
    assert_eq!(enabled.iter().map(|jail| &jail.name).collect::<Vec<_>>(), ["sshd"]);
}

#[test]
fn our_filters_catch_what_fail2ban_calls_failures() {
    let Some(samples) = samples() else { return };
    for (name, theirs) in PAIRS {
        let report = Report::of(name, &samples[theirs]);
        println!(
            "{name}: {} of {} failures caught, {} of {} harmless lines left alone",
            report.n_failures - report.missed.len(),
            report.n_failures,
            report.n_harmless - report.wrong.len(),
            report.n_harmless,
        );
        for missed in &report.missed {
            println!("  {missed}");
        }
        assert_eq!(report.wrong, [""; 0], "{name} calls these failures");
        let most_missed = report.n_failures * (100 - LEAST_CAUGHT) / 100;
        assert!(report.missed.len() <= most_missed, "{name} misses {:#?}", report.missed);
        assert!(report.n_failures > 0, "{name}");
    }
}

#[derive(Default)]
struct Report {
    n_failures: usize,
    n_harmless: usize,
    /// Failures that were missed, or held against somebody else.
    missed: Vec<String>,
    /// Harmless lines that were not left alone.
    wrong: Vec<String>,
}

impl Report {
    fn of(name: &str, samples: &[Sample]) -> Self {
        let mut scanners = HashMap::new();
        let mut report = Self::default();
        let now = Timestamp::from_second(NOW).unwrap();
        for sample in samples {
            let scanner =
                scanners.entry(&sample.options).or_insert_with(|| scanner(name, &sample.options));
            let line = sample.line.as_bytes();
            let outcome = if sample.is_dated {
                scanner.dated_line(line, now, now)
            } else {
                scanner.line(line, now)
            };
            let id = match outcome {
                Outcome::Failure(hit) => Some(hit.id),
                _ => None,
            };
            let told = || format!("{id:?} {:?} {}", sample.options, sample.line.trim_end());
            if sample.failed.is_empty() {
                report.n_harmless += 1;
                report.wrong.extend(id.is_some().then(told));
            } else {
                report.n_failures += 1;
                let is_caught = id.as_ref().is_some_and(|id| sample.failed.contains(id));
                report.missed.extend((!is_caught).then(told));
            }
        }
        report
    }
}

fn scanner(name: &str, options: &BTreeMap<String, String>) -> Scanner {
    let item = Item { name: name.to_owned(), options: options.clone() };
    let filter = read_filter(&Disk, &ours(), item, "auto").unwrap();
    let zone = TimeZone::posix(ZONE).unwrap();
    let settings = Settings { zone, raw: true, ..Settings::default() };
    Scanner::new(Arc::new(Filter::compile(&filter.spec).unwrap()), settings)
}

/// What fail2ban answers to its samples, by filter; nothing, aloud, where it is not installed.
fn samples() -> Option<HashMap<String, Vec<Sample>>> {
    debian()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/samples.py");
    let output = Command::new("/usr/bin/python3").arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut samples: HashMap<String, Vec<Sample>> = HashMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let call: Value = serde_json::from_str(line).unwrap();
        let name = call["filter"].as_str().unwrap().to_owned();
        samples.entry(name).or_default().push(Sample::new(&call));
    }
    Some(samples)
}

impl Sample {
    fn new(call: &Value) -> Self {
        let options = call["opts"].as_object().unwrap().iter();
        let found = call["result"].as_array().unwrap().iter();
        let failed = found.filter(|found| found["data"]["nofail"].is_null());
        Self {
            options: options
                .filter(|(name, _)| !name.starts_with("test."))
                .map(|(name, text)| (name.clone(), text.as_str().unwrap().to_owned()))
                .collect(),
            line: call["line"].as_str().unwrap().to_owned(),
            is_dated: call["journal"].as_bool().unwrap(),
            failed: failed.filter_map(|found| Some(found["fid"].as_str()?.to_owned())).collect(),
        }
    }
}
