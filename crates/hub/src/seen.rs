//! The times of a first and a last look: ISO 8601 outside, microseconds since the epoch inside.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Reads what MISP takes: a date, a date and time, or one with an offset; without one it is UTC.
/// A bare number is none of them.
pub(crate) fn parse(text: &str) -> Option<i64> {
    if !text.contains('-') {
        return None;
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_microsecond());
    }
    let local: DateTime = text.parse().ok()?;
    Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// Prints microseconds since the epoch as MISP does.
pub(crate) struct Display(pub(crate) i64);

impl fmt::Display for Display {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_microsecond(self.0) {
            Ok(it) => write!(out, "{}", it.strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00")),
            Err(_) => Ok(()), // no such instant was ever read
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<&str>) {
        let got = parse(text).map(|it| Display(it).to_string());
        assert_eq!(got.as_deref(), want, "{text}");
    }

    #[test]
    fn reads_iso_8601_alone() {
        check("2026-11-20T10:00:00+00:00", Some("2026-11-20T10:00:00.000000+00:00"));
        check("2026-11-21T10:00:00Z", Some("2026-11-21T10:00:00.000000+00:00"));
        check("2026-11-20T10:00:00.123456+02:00", Some("2026-11-20T08:00:00.123456+00:00"));
        check("2026-11-20T10:00:00.5", Some("2026-11-20T10:00:00.500000+00:00"));
        check("2026-11-20", Some("2026-11-20T00:00:00.000000+00:00"));
        check("1795000000", None);
        check("1795000000123456", None);
        check("-1", None);
        check("yesterday-ish", None);
        check("", None);
    }
}
