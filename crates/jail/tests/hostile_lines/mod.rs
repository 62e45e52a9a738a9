//! Lines that are written to hold a filter up: fail2ban's samples and our own, blown up where a
//! client may write what it likes.

use std::collections::BTreeMap;
use std::sync::Arc;

use scan::{Filter, FilterSpec};
use serde_json::Value;

use crate::debian::{debian, oracle};

/// What lines are blown up with.
pub(crate) const FILLS: [&str; 16] = [
    " ", "a", "1", ":", "[", "]", "(", "<", "\"", "=", "ab ", "a: ", "1.1.1.1 ", "::1 ", "a=b, ",
    "é ",
];

/// A filter, and lines that it finds failures in or nearly so.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) filter: Arc<Filter>,
    /// Each with whether its date is known, and not in its text.
    pub(crate) samples: Vec<(String, bool)>,
}

/// fail2ban's filters with their samples; nothing, aloud, where it is not installed.
pub(crate) fn targets() -> Option<Vec<Target>> {
    debian()?;
    let output = oracle("../scan/tests/oracle/samples.py").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut targets: BTreeMap<u64, Target> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let told: Value = serde_json::from_str(line).unwrap();
        let number = told["spec"].as_u64().unwrap();
        let Some(text) = told["line"].as_str() else {
            let filter = Arc::new(Filter::compile(&spec(&told)).unwrap());
            targets.insert(number, Target { name: String::new(), filter, samples: Vec::new() });
            continue;
        };
        let Some(target) = targets.get_mut(&number) else { continue };
        target.name = format!("{} {}", told["filter"].as_str().unwrap(), told["opts"]);
        target.samples.push((text.to_owned(), told["journal"] == true));
    }
    Some(targets.into_values().collect())
}

fn spec(told: &Value) -> FilterSpec {
    let text = |name: &str| told[name].as_str().map(str::to_owned);
    let texts = |name: &str| {
        let texts = told[name].as_array().into_iter().flatten();
        texts.map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let lines = &told["maxlines"];
    FilterSpec {
        prefregex: text("prefregex"),
        failregex: texts("failregex"),
        ignoreregex: texts("ignoreregex"),
        maxlines: lines.as_u64().or_else(|| lines.as_str()?.parse().ok()).map(|n| n as usize),
        datepattern: text("datepattern"),
        ..FilterSpec::default()
    }
}

/// `line` with `fill` put in where a word begins or ends, as often as it takes to be `n_bytes` long,
/// and spoilt at its end, so that all of it was for nothing; each with the place of the fill.
pub(crate) fn blown_up(line: &str, fill: &str, n_bytes: usize) -> Vec<(usize, String)> {
    let is_edge = |&(at, found): &(usize, char)| {
        at > 0 && found.is_alphanumeric() != line[..at].ends_with(char::is_alphanumeric)
    };
    let edges = line.char_indices().filter(is_edge).map(|(at, _)| at).chain([line.len()]);
    let much = fill.repeat(n_bytes / fill.len());
    edges.map(|at| (at, format!("{}{much}{}\u{1}", &line[..at], &line[at..]))).collect()
}
