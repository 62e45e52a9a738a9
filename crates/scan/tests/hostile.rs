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
