//! Holds our own filters to our own sample lines, `NAME.log` in this folder: what fail2ban has no
//! samples of, what daemons write today, and lines in which a client forges an address.
//!
//! A line is the address that must be found in it, or `-`, then ` | `, then the line of the log;
//! `mode: X` sets the filter's mode for what follows it; a line that begins with `#` is a comment.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::{literal, ours};

/// A literal must be as long as this to tell one line from another.
const SHORTEST_LITERAL: usize = 3;

#[test]
fn our_filters_find_who_failed_in_our_samples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/own_samples");
    let mut wrong = Vec::new();
    for name in ours::names() {
        let log = fs::read_to_string(folder.join(format!("{name}.log")));
        let log = log.unwrap_or_else(|error| panic!("{name} has no samples: {error}"));
        wrong.extend(check(&name, &log));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where the filter `name` answers otherwise than `log` asks.
fn check(name: &str, log: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut n_failures, mut n_harmless) = (0, 0);
    let mut scanner = ours::scanner(name, BTreeMap::new());
    for (number, text) in log.lines().enumerate() {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(mode) = text.strip_prefix("mode: ") {
            scanner = ours::scanner(name, [("mode".to_owned(), mode.to_owned())].into());
            continue;
        }
        let (want, line) = text.split_once(" | ").unwrap();
        let found = ours::failed(&mut scanner, line, false);
        if found.as_deref().unwrap_or("-") != want {
            wrong.push(format!("{name}.log:{}: found {found:?} in {text}", number + 1));
        }
        *if want == "-" { &mut n_harmless } else { &mut n_failures } += 1;
    }
    println!("{name:18} {n_failures:>4} failures {n_harmless:>4} others");
    assert!(n_failures > 0 && n_harmless > 0, "{name}.log lacks one kind of lines");
    wrong
}

#[test]
fn every_expression_of_ours_needs_a_literal() {
    for name in ours::names() {
        for mode in modes(&name) {
            let spec = ours::spec(&name, [("mode".to_owned(), mode)].into());
            let prefix = spec.prefregex.as_deref().map_or(0, literal::longest_needed);
            for expression in &spec.failregex {
                let longest = literal::longest_needed(expression).max(prefix);
                assert!(longest >= SHORTEST_LITERAL, "{name} looks at every line: {expression}");
            }
        }
    }
}

/// The modes that the file of the filter `name` speaks of; one at least.
fn modes(name: &str) -> Vec<String> {
    let path = ours::folder().join(format!("filter.d/{name}.conf"));
    let text = fs::read_to_string(path).unwrap();
    let definitions = text.lines().filter_map(|line| line.split_once(" = "));
    let modes = definitions.filter_map(|(option, _)| option.strip_prefix("fails-"));
    let mut modes: Vec<_> = modes.map(str::to_owned).collect();
    if modes.is_empty() {
        modes.push("normal".to_owned());
    }
    modes
}
