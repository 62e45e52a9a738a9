//! Reads a moment as people type it: a date, a date with a time, or how long ago.

use anyhow::{Result, anyhow};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, civil};

/// Reads `2026-10-01`, `2026-10-01T12:00:00+02:00`, or `30d` for thirty days before `now`. What names
/// no zone is in `zone`.
///
/// # Errors
///
/// When it is none of these.
pub(crate) fn read(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(local) = text.parse::<civil::DateTime>() {
        return Ok(local.to_zoned(zone.clone())?.timestamp());
    }
    if let Ok(ago) = text.parse::<Span>() {
        let zoned = now.to_zoned(zone.clone());
        return Ok(zoned.checked_sub(ago.abs())?.timestamp());
    }
    Err(anyhow!(
        "`{text}` is no time; write 2026-10-01, 2026-10-01T12:00:00+02:00, or 30d for 30 days ago"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<&str>) {
        let now = "2026-11-22T12:00:00Z".parse().expect("a time");
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let got = read(text, now, &zone).ok().map(|time| time.to_string());
        assert_eq!(got.as_deref(), want, "{text}");
    }

    #[test]
    fn reads_what_people_type() {
        check("2026-10-01", Some("2026-09-30T23:00:00Z"));
        check("2026-10-01T12:00", Some("2026-10-01T11:00:00Z"));
        check("2026-10-01T12:00:00+02:00", Some("2026-10-01T10:00:00Z"));
        check("30d", Some("2026-10-23T12:00:00Z"));
        check("2h", Some("2026-11-22T10:00:00Z"));
        check("soon", None);
    }
}
