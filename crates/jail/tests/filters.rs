//! Holds our own filters to fail2ban's sample logs: what fail2ban calls a failure, they catch; what
//! it calls harmless, they leave alone.
//!
//! scan's `oracle/samples.py` runs the sample tests of an installed fail2ban and prints each answer. A
//! filter of ours is held to the samples of the filter that bears its name there, mode by mode.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod debian;
mod disk;
mod ours;
mod own_samples;

use std::collections::{BTreeMap, HashMap};

use jail::config::{Select, read};
use scan::{Filter, Scanner};
use serde_json::Value;

use debian::{debian, oracle};
use disk::Disk;

/// How much of what fail2ban calls failures a filter of ours must catch, in percent.
const LEAST_CAUGHT: usize = 95;

/// Our filters of services that Debian's fail2ban has no samples of; `own_samples` has.
const WITHOUT_SAMPLES: [&str; 6] =
    ["gitea", "nextcloud", "openvpn", "postgresql", "vaultwarden", "wordpress"];

/// One call of fail2ban's sample tests: a line, and who failed by it.
struct Sample {
    options: BTreeMap<String, String>,
    line: String,
    is_dated: bool,
    failed: Vec<String>,
}

#[test]
fn every_jail_of_ours_can_start() {
    let configuration = read(&Disk, &ours::folder(), Select::All);
    assert!(configuration.faults.is_empty(), "{:#?}", configuration.faults);
    for jail in &configuration.jails {
        assert!(!jail.filter.failregex.is_empty(), "{}", jail.name);
        assert!(!jail.log_paths.is_empty(), "{}", jail.name);
        assert!(!jail.actions.is_empty(), "{}", jail.name);
        Filter::compile(&jail.filter).unwrap();
    }
    let enabled = read(&Disk, &ours::folder(), Select::Enabled).jails;
    assert_eq!(enabled.iter().map(|jail| &jail.name).collect::<Vec<_>>(), ["sshd"]);
}

#[test]
fn every_filter_of_ours_has_a_jail() {
    let configuration = read(&Disk, &ours::folder(), Select::All);
    for name in ours::names() {
        let has_it = configuration.jails.iter().any(|jail| jail.name == name);
        assert!(has_it, "no jail in jail.conf bears the name of the filter {name}");
    }
}

#[test]
fn our_filters_catch_what_fail2ban_calls_failures() {
    let Some(samples) = samples() else { return };
    let mut too_few = Vec::new();
    println!("{:18} {:>8} {:>8} {:>7} {:>8}", "filter", "failures", "caught", "", "harmless");
    for name in ours::names() {
        let Some(samples) = samples.get(&name) else {
            assert!(WITHOUT_SAMPLES.contains(&name.as_str()), "fail2ban has no samples of {name}");
            continue;
        };
        let report = Report::of(&name, samples);
        let n_caught = report.n_failures - report.missed.len();
        println!(
            "{name:18} {:>8} {n_caught:>8} {:>6}% {:>8}",
            report.n_failures,
            100 * n_caught / report.n_failures,
            report.n_harmless,
        );
        for missed in &report.missed {
            println!("  missed: {missed}");
        }
        assert_eq!(report.wrong, [""; 0], "{name} calls these failures");
        if 100 * n_caught < LEAST_CAUGHT * report.n_failures {
            too_few.push(name);
        }
    }
    assert_eq!(too_few, [""; 0], "these catch less than {LEAST_CAUGHT} %");
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
        let mut scanners: HashMap<&BTreeMap<String, String>, Scanner> = HashMap::new();
        let mut report = Self::default();
        for sample in samples {
            let scanner = scanners
                .entry(&sample.options)
                .or_insert_with(|| ours::scanner(name, sample.options.clone()));
            let id = ours::failed(scanner, &sample.line, sample.is_dated);
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

/// What fail2ban answers to its samples, by filter; nothing, aloud, where it is not installed.
fn samples() -> Option<HashMap<String, Vec<Sample>>> {
    debian()?;
    let output = oracle("../scan/tests/oracle/samples.py").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut samples: HashMap<String, Vec<Sample>> = HashMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let call: Value = serde_json::from_str(line).unwrap();
        // What else it prints is what the filters are.
        let Some(name) = call["filter"].as_str().map(str::to_owned) else { continue };
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
