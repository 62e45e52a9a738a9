//! fail2ban's filters on lines that are written to hold them up: a few searches are given up, then
//! the line is.
//!
//! The full form, `cargo bench -p jail --bench hostile`, tells what such lines cost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod debian;
mod hostile_lines;

use std::sync::Arc;

use hostile_lines::{FILLS, blown_up};
use jiff::Timestamp;
use scan::{Outcome, Scanner, Settings};

/// Searches that are given up on one line at most: four for its date, four for who failed.
const MOST_GIVEN_UP: u64 = 8;

/// What a sample is blown up to: where many expressions are slow, and few searches are given up.
const LENGTH: usize = 2000;

#[test]
fn no_line_holds_a_filter_up() {
    let Some(targets) = hostile_lines::targets() else { return };
    let now = Timestamp::from_second(1_124_013_600).unwrap();
    let (mut n_lines, mut n_given_up) = (0, 0);
    for (number, target) in targets.iter().enumerate() {
        let fill = FILLS[number % FILLS.len()];
        let (sample, is_dated) = &target.samples[number % target.samples.len()];
        let mut scanner = Scanner::new(Arc::clone(&target.filter), Settings::default());
        for (at, line) in blown_up(sample, fill, LENGTH) {
            let before = scanner.statistics().n_exceeded;
            match is_dated {
                true => scanner.dated_line(line.as_bytes(), now, now),
                false => scanner.line(line.as_bytes(), now),
            };
            let given_up = scanner.statistics().n_exceeded - before;
            assert!(given_up <= MOST_GIVEN_UP, "{}: {fill:?} at {at} of {sample}", target.name);
            n_lines += 1;
            n_given_up += given_up;
        }
    }
    println!("{n_given_up} searches in {n_lines} lines were given up");
    assert!(n_lines > 1000, "{n_lines}");
}

/// An expression of Debian's for Domino takes fail2ban twice as long for each further word.
#[test]
fn many_words_are_no_harm() {
    let Some(targets) = hostile_lines::targets() else { return };
    let domino = targets.iter().find(|target| target.name.starts_with("domino-smtp")).unwrap();
    let mut scanner = Scanner::new(Arc::clone(&domino.filter), Settings::default());
    let mut find = |words: &str, end: &str| {
        let line =
            format!("2005-08-14 10:00:00 smtp: {words}[192.0.2.7] authentication failure {end}");
        scanner.line(line.as_bytes(), Timestamp::from_second(1_124_013_600).unwrap())
    };
    let right = "using internet password";
    assert!(matches!(find("someone ", right), Outcome::Failure(_)));
    assert!(matches!(find(&"word ".repeat(45), right), Outcome::Failure(_)));
    assert_eq!(find(&"word ".repeat(45), "using none"), Outcome::Missed);
    assert!(matches!(find("someone ", right), Outcome::Failure(_)));
}
