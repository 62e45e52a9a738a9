//! Our own filters, read from the project's folder, and how the tests look at a line with one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jail::config::options::Item;
use jail::config::read_filter;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use scan::{Filter, FilterSpec, Outcome, Scanner, Settings};

use crate::disk::Disk;

/// The clock and the zone of fail2ban's tests; our samples keep them.
const NOW: i64 = 1_124_013_600;
const ZONE: &str = "CET-01CEST-02,M3.5.0,M10.5.0";

/// Where our filters are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters")
}

/// The names of our filters, sorted; what they share is none.
pub(crate) fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder().join("filter.d")).unwrap();
    let files = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = files
        .filter_map(|file| file.strip_suffix(".conf").map(str::to_owned))
        .filter(|name| !name.ends_with("-common"))
        .collect();
    names.sort();
    names
}

/// What the filter `name` says with `options`.
pub(crate) fn spec(name: &str, options: BTreeMap<String, String>) -> FilterSpec {
    let item = Item { name: name.to_owned(), options };
    read_filter(&Disk, &folder(), item, "auto").unwrap().spec
}

/// The filter `name` with `options`, at the beginning of a log.
pub(crate) fn scanner(name: &str, options: BTreeMap<String, String>) -> Scanner {
    let zone = TimeZone::posix(ZONE).unwrap();
    let settings = Settings { zone, raw: true, ..Settings::default() };
    Scanner::new(Arc::new(Filter::compile(&spec(name, options)).unwrap()), settings)
}

/// Who failed by `line`; a line that comes with a date has none of its own.
pub(crate) fn failed(scanner: &mut Scanner, line: &str, is_dated: bool) -> Option<String> {
    let now = Timestamp::from_second(NOW).unwrap();
    let outcome = if is_dated {
        scanner.dated_line(line.as_bytes(), now, now)
    } else {
        scanner.line(line.as_bytes(), now)
    };
    match outcome {
        Outcome::Failure(hit) => Some(hit.id),
        _ => None,
    }
}
