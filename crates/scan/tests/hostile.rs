//! Lines that are written to hold a scanner up: it gives them up, counts that, and goes on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use scan::{Filter, FilterSpec, Outcome, Scanner, Settings};

/// Far above what a line costs in an unoptimised build on a busy machine, far below the hours that
/// it costs without a limit for long lines.
const LIMIT: Duration = Duration::from_secs(10);

/// Scans one line with `n_bytes` of `fill`, then one that is a failure.
#[track_caller]
fn check(failregex: &str, fill: &str, n_bytes: usize) {
    let spec = FilterSpec { failregex: vec![failregex.to_owned()], ..FilterSpec::default() };
    let mut scanner = Scanner::new(Arc::new(Filter::compile(&spec).unwrap()), Settings::default());
    let start = Instant::now();
    let line = format!("gate {}- [x] denied 192.0.2.1", fill.repeat(n_bytes / fill.len()));
    assert_eq!(scanner.line(line.as_bytes(), Timestamp::UNIX_EPOCH), Outcome::Missed);
    let took = start.elapsed();
    assert!(took < LIMIT, "{failregex}: {took:?}");
    assert_eq!(scanner.statistics().n_exceeded, 1, "{failregex}");
    let line = "gate [x] denied 192.0.2.1";
    let outcome = scanner.line(line.as_bytes(), Timestamp::UNIX_EPOCH);
    assert!(matches!(outcome, Outcome::Failure(_)), "{failregex}: {outcome:?}");
}

#[test]
fn gives_up_lines_that_hold_it_up() {
    // Each of a million places where the first run of spaces may end costs a walk to its end.
    check(r"^gate\s*(?:x\s+)?\s*\[x\] denied <HOST>$", " ", 1 << 20);
    check(r"^gate\s*(?:x\s+)?\s*\[x\] denied <HOST>$", "\u{3000}", 1 << 20);
    check(r"^gate (?:\w+\s?)*\[x\] denied <HOST>$", "ab ", 1 << 20);
    check(r"^gate (?:\w+\s?)*\[x\] denied <HOST>$", "ab ", 200);
}

/// Every word may end in many places, and none of them is right.
const SLOW: &str = r"^ (?:\w+\s?)+ from <HOST>(?:!|\?)$";

fn scanner(failregex: &[&str]) -> Scanner {
    let failregex = failregex.iter().map(|&text| text.to_owned()).collect();
    let filter = Filter::compile(&FilterSpec { failregex, ..FilterSpec::default() }).unwrap();
    Scanner::new(Arc::new(filter), Settings::default())
}

fn now() -> Timestamp {
    Timestamp::from_second(1_124_013_600).unwrap()
}

fn id(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Failure(hit) => Some(hit.id),
        _ => None,
    }
}

/// A line that is slow for all expressions is given up after some of them.
#[test]
fn a_line_has_a_budget() {
    let mut scanner = scanner(&[SLOW; 40]);
    let words = "word ".repeat(45);
    let outcome = scanner.line(format!("Aug 14 11:59:59 {words}from 192.0.2.7").as_bytes(), now());
    assert_eq!(outcome, Outcome::Missed);
    assert!((1..40).contains(&scanner.statistics().n_exceeded), "{:?}", scanner.statistics());
}

/// The limit is far from what honest expressions need.
#[test]
fn a_long_line_is_no_harm() {
    let mut scanner = scanner(&[r"^ (?:(?:[ab]|aa)+c?)+? from <HOST>$"]);
    for n_letters in [10, 100, 1000] {
        let line = format!("Aug 14 11:59:59 {} from 192.0.2.7", "a".repeat(n_letters));
        let outcome = scanner.line(line.as_bytes(), now());
        assert_eq!(id(outcome).as_deref(), Some("192.0.2.7"), "{n_letters}");
    }
}

/// Bytes that are no text, line ends of all kinds, nothing at all.
#[test]
fn any_bytes_are_a_line() {
    let mut scanner = scanner(&[r"user (?P<user>.*) from <HOST>$"]);
    let found = |outcome| match outcome {
        Outcome::Failure(hit) => Some(hit.fields),
        _ => None,
    };
    let user = |user: &str| Some(vec![("user".to_owned(), user.to_owned())]);
    let mut check =
        |line: &[u8], want| assert_eq!(found(scanner.line(line, now())), want, "{line:?}");
    check(b"", None);
    check(b"\r\n", None);
    check(b"\0\0\0", None);
    check(b"Aug 14 11:59:59 user \0 from 192.0.2.7\r\r\n", user("\0"));
    check(b"Aug 14 11:59:59 user a\xffb\xc3( from 192.0.2.7\n", user("a\u{fffd}b\u{fffd}("));
    check(b"\xff\xfeAug 14 11:59:59 user x from 192.0.2.7", user("x"));
    check(&[b'1'; 70_000], None);
    check("é".repeat(70_000).as_bytes(), None);
    let long = format!("Aug 14 11:59:59 user {} from 192.0.2.7", "x".repeat(1 << 20));
    check(long.as_bytes(), user(&"x".repeat(1 << 20)));
}
