//! Date patterns and lines: the lines of `datepattern`, an empty one, lines of a log.
//!
//! ```text
//! input = { pattern LF } LF { [ "@" EPOCH " " ] text LF }
//! ```

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use scan::{Filter, FilterSpec, Outcome, Settings};

use super::filter::halves;
use super::scanning::{self, lines};

/// How long a line may take: patterns are the administrator's, so that some patience is due.
const LIMIT: Duration = Duration::from_secs(2);
/// A zone with gaps and folds.
const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// Finds the dates of lines.
///
/// # Panics
///
/// Where something does not hold that should: see [`scanning::check`]; and what is cut out of a
/// line is one piece of it, and nothing else is lost.
pub fn check(input: &[u8]) {
    let Some((patterns, text)) = halves(input) else { return };
    let spec = FilterSpec {
        failregex: vec!["^<F-ID>.*</F-ID>$".to_owned()],
        datepattern: Some(patterns.to_owned()).filter(|it| !it.is_empty()),
        ..FilterSpec::default()
    };
    let compiled = Filter::compile(&spec);
    assert_eq!(compiled.as_ref().err(), Filter::compile(&spec).as_ref().err());
    let Ok(filter) = compiled else { return };
    let zone = TimeZone::posix(ZONE).expect("it is a zone");
    let settings = Settings { zone, raw: true, ..Settings::default() };
    let lines = lines(text);
    let outcomes = scanning::check(&Arc::new(filter), &settings, &lines, LIMIT);
    for (line, outcome) in lines.iter().zip(outcomes) {
        let Outcome::Failure(hit) = outcome else { continue };
        let whole = String::from_utf8_lossy(line.text);
        let whole = whole.trim_end_matches(['\r', '\n']);
        let [found] = hit.matches.as_slice() else { panic!("one line, {:?}", hit.matches) };
        // A line without a date of its own is told with the last one in front.
        assert!(found.ends_with(whole), "`{whole}` became `{found}`");
        let before = whole.bytes().zip(hit.id.bytes()).take_while(|(a, b)| a == b).count();
        let pairs = whole.bytes().rev().zip(hit.id.bytes().rev());
        let after = pairs.take_while(|(a, b)| a == b).count();
        assert!(before + after >= hit.id.len(), "`{}` is not `{whole}` less a piece", hit.id);
    }
}
