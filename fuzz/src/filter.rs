//! Arbitrary filters: options, an empty line, lines of a log.
//!
//! ```text
//! input = { option "=" value LF } LF { [ "@" EPOCH " " ] text LF }
//! ```

use std::sync::Arc;
use std::time::Duration;

use scan::{Filter, FilterSpec, Settings};

use super::files::same_twice;
use super::scanning::{self, lines};

/// How long a line may take: the expressions are the administrator's, so that some patience is due.
const LIMIT: Duration = Duration::from_secs(2);
/// How long it may take to compile a filter of a few kilobytes.
const COMPILE_LIMIT: Duration = Duration::from_secs(2);
/// The most lines that a filter looks at together.
const MOST_LINES: usize = 20;

/// Compiles a filter and scans lines with it.
///
/// # Panics
///
/// Where something does not hold that should: see [`scanning::check`]; and lines are searched for
/// literals first, which changes nothing.
pub fn check(input: &[u8]) {
    let Some((options, text)) = halves(input) else { return };
    let spec = spec(options);
    let mut filter = None;
    let error = same_twice(COMPILE_LIMIT, || match Filter::compile(&spec) {
        Ok(compiled) => {
            filter = Some(compiled);
            None
        }
        Err(error) => Some(error),
    });
    if let Some(error) = error {
        assert!(!error.reason.is_empty() && !error.remedy.is_empty(), "{error:?}");
        return;
    }
    let filter = Arc::new(filter.expect("it was compiled"));
    let (settings, lines) = (Settings::default(), lines(text));
    scanning::check(&filter, &settings, &lines, LIMIT);
    if let Ok(unsieved) = Filter::compile(&without_literals(&spec)).map(Arc::new) {
        scanning::check_alike([&filter, &unsieved], &settings, &lines);
        scanning::check_pass(&[filter, unsieved], &settings, &lines);
    }
}

/// The same filter, with expressions that need no literal: what can never match stands beside them.
///
/// It need not compile: the flags of an expression stand at its beginning.
fn without_literals(spec: &FilterSpec) -> FilterSpec {
    let beside = |text: &String| format!("(?:{text}|(?!))");
    FilterSpec {
        prefregex: spec.prefregex.as_ref().filter(|text| !text.is_empty()).map(beside),
        failregex: spec.failregex.iter().map(beside).collect(),
        ignoreregex: spec.ignoreregex.iter().map(beside).collect(),
        ..spec.clone()
    }
}

/// Cuts an input at its first empty line; `None` where what stands before it is no text.
pub(crate) fn halves(input: &[u8]) -> Option<(&str, &[u8])> {
    if let Some(text) = input.strip_prefix(b"\n") {
        return Some(("", text));
    }
    let at = input.windows(2).position(|two| two == b"\n\n")?;
    Some((std::str::from_utf8(&input[..at]).ok()?, &input[at + 2..]))
}

fn spec(options: &str) -> FilterSpec {
    let mut spec = FilterSpec::default();
    for line in options.lines() {
        let Some((option, value)) = line.split_once('=') else { continue };
        let text = || Some(value.to_owned());
        match option.trim() {
            "prefregex" => spec.prefregex = text(),
            "failregex" => spec.failregex.extend(text()),
            "ignoreregex" => spec.ignoreregex.extend(text()),
            "maxlines" => spec.maxlines = value.parse().ok().map(|n: usize| n.min(MOST_LINES)),
            "datepattern" => spec.datepattern = text(),
            "usedns" => spec.usedns = text(),
            "logtimezone" => spec.logtimezone = text(),
            "logencoding" => spec.logencoding = text(),
            "year" => spec.year = value.parse().ok(),
            _ => {}
        }
    }
    spec
}
