//! Logs of docker's driver `json-file`: each line is an object with the line as it was written and the
//! time at which docker got it.

use std::borrow::Cow;

use jiff::Timestamp;
use memchr::memmem;
use scan::FilterSpec;
use serde::Deserialize;

/// What a line begins with as docker writes it, `daemon/logger/jsonfilelog`.
const BEGINNING: &[u8] = b"{\"log\":\"";

/// A line as docker keeps it.
#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct Record<'a> {
    /// What was written.
    #[serde(borrow)]
    pub(crate) log: Cow<'a, str>,
    /// When.
    pub(crate) time: Timestamp,
}

impl<'a> Record<'a> {
    /// Reads a line; `None` where docker did not write it.
    pub(crate) fn read(line: &'a [u8]) -> Option<Self> {
        line.starts_with(BEGINNING).then(|| serde_json::from_slice(line).ok())?
    }
}

/// Whether docker may have written some of these lines.
pub(crate) fn may_keep(lines: &[u8]) -> bool {
    memmem::find(lines, BEGINNING).is_some()
}

/// Whether a filter was written for docker's lines as they stand, and must get them so.
pub(crate) fn is_for_records(filter: &FilterSpec) -> bool {
    let texts = filter.failregex.iter().chain(&filter.prefregex).chain(&filter.datepattern);
    texts.into_iter().any(|text| text.contains("\"log") || text.contains("\"time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwraps_what_docker_wrote() {
        let line = r#"{"log":"a \"b\" \u003cc\u003e\n","stream":"stderr","time":"2026-11-22T06:05:09.5Z"}"#;
        let time = "2026-11-22T06:05:09.5Z".parse().unwrap_or_default();
        let want = Record { log: "a \"b\" <c>\n".into(), time };
        assert_eq!(Record::read(line.as_bytes()), Some(want));
        assert_eq!(Record::read(br#"{"log":"cut off"#), None);
        assert_eq!(Record::read(br#"{"time":"2026-11-22T06:05:09Z","log":"of another"}"#), None);
    }

    #[test]
    fn leaves_them_to_filters_that_were_written_for_them() {
        let filter = |failregex: &str| FilterSpec {
            failregex: vec![failregex.to_owned()],
            ..FilterSpec::default()
        };
        assert!(is_for_records(&filter(r#"^\{"log":".* from <HOST>"#)));
        assert!(!is_for_records(&filter("login from <HOST>")));
    }
}
