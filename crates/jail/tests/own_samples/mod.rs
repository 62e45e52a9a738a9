//! Holds our own filters to our own sample lines, `NAME.log` in this folder: what fail2ban has no
//! samples of, what daemons write today, and lines in which a client forges an address.
//!
//! A line is the address that must be found in it, or `-`, then ` | `, then the line of the log;
//! `mode: X` sets the filter's mode for what follows it; a line that begins with `#` is a comment.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use scan::Filter;

use crate::debian::{debian, oracle};
use crate::ours;

/// Filters whose forgeries fail2ban's samples hold already.
const WITHOUT_OWN_SAMPLES: [&str; 1] = ["sshd"];

/// A line of a log, and who fails by it.
struct Sample {
    /// Where it stands in its file, from 1.
    number: usize,
    mode: Option<String>,
    want: Option<String>,
    line: String,
}

#[test]
fn our_filters_find_who_failed_in_our_samples() {
    let mut wrong = Vec::new();
    for name in named() {
        let samples = samples(&name);
        let n_failures = samples.iter().filter(|sample| sample.want.is_some()).count();
        let n_others = samples.len() - n_failures;
        println!("{name:18} {n_failures:>4} failures {n_others:>4} others");
        assert!(n_failures > 0 && n_others > 0, "{name}.log lacks one kind of lines");

        let mut scanners = HashMap::new();
        for sample in samples {
            let options = sample.mode.iter().map(|mode| ("mode".to_owned(), mode.clone()));
            let scanner = scanners
                .entry(sample.mode.clone())
                .or_insert_with(|| ours::scanner(&name, options.collect()));
            let found = ours::failed(scanner, &sample.line, false);
            wrong.extend((found != sample.want).then(|| sample.told(&name, found.as_deref())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whoever keeps fail2ban may take our filters for it.
#[test]
fn fail2ban_finds_the_same_with_our_filters() {
    if debian().is_none() {
        return;
    }
    let mut python = oracle("tests/oracle/own.py");
    let output = python.arg(ours::folder()).arg(folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers = String::from_utf8(output.stdout).unwrap();
    let found: HashMap<(String, usize), Option<String>> = answers
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|(name, number, id)| ((name, number), id))
        .collect();
    let mut wrong = Vec::new();
    for name in named() {
        for sample in samples(&name) {
            let found = &found[&(name.clone(), sample.number)];
            wrong.extend((*found != sample.want).then(|| sample.told(&name, found.as_deref())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_expression_of_ours_looks_at_every_line() {
    for name in ours::names() {
        for mode in modes(&name) {
            let spec = ours::spec(&name, [("mode".to_owned(), mode.clone())].into());
            let always = Filter::compile(&spec).unwrap().unsieved();
            assert_eq!(always, [0; 0], "{name}[mode={mode}] has expressions without a literal");
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/own_samples")
}

/// The names of our filters that have samples here.
fn named() -> impl Iterator<Item = String> {
    ours::names().into_iter().filter(|name| !WITHOUT_OWN_SAMPLES.contains(&name.as_str()))
}

fn samples(name: &str) -> Vec<Sample> {
    let log = fs::read_to_string(folder().join(format!("{name}.log")));
    let log = log.unwrap_or_else(|error| panic!("{name} has no samples: {error}"));
    let mut samples = Vec::new();
    let mut mode = None;
    for (number, text) in (1..).zip(log.lines()) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(next) = text.strip_prefix("mode: ") {
            mode = Some(next.to_owned());
            continue;
        }
        let (want, line) = text.split_once(" | ").unwrap();
        let want = (want != "-").then(|| want.to_owned());
        samples.push(Sample { number, mode: mode.clone(), want, line: line.to_owned() });
    }
    samples
}

impl Sample {
    /// What was found instead.
    fn told(&self, name: &str, found: Option<&str>) -> String {
        format!("{name}.log:{}: found {found:?}, not {:?}", self.number, self.want)
    }
}

/// The modes that the file of the filter `name` tells apart, `fails-MODE` or `with_MODE`.
fn modes(name: &str) -> Vec<String> {
    let path = ours::folder().join(format!("filter.d/{name}.conf"));
    let text = fs::read_to_string(path).unwrap();
    let options = text.lines().filter_map(|line| line.split_once(" = ")).map(|(option, _)| option);
    let modes = options.filter_map(|option| {
        option.strip_prefix("fails-").or_else(|| option.strip_prefix("with_"))
    });
    std::iter::once("normal").chain(modes).map(str::to_owned).collect()
}
