//! When the lines of a log were written, for whoever looks for something else than failures.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::date::{Clock, DatePatterns, Detector, Years};
use crate::encoding::Encoding;
use crate::expression::{Budget, Subject};
use crate::scanner::without_end;

/// The forms of dates that are known without a `datepattern`, prepared once for any number of logs.
#[derive(Clone, Debug)]
pub struct DateForms(DatePatterns);

impl DateForms {
    /// The forms; years of four digits are believed as a filter of this `year` believes them.
    pub fn new(year: i16) -> Self {
        Self(DatePatterns::read(None, Years::at(year)).expect("the known forms can be read"))
    }
}

/// Dates the lines of one log.
#[derive(Debug)]
pub struct Dates {
    detector: Detector,
    budget: Budget,
    zone: TimeZone,
}

impl Dates {
    /// For a log that has shown no line yet; `zone` is that of dates that name none.
    pub fn new(forms: &DateForms, zone: TimeZone) -> Self {
        Self { detector: Detector::new(&forms.0), budget: Budget::default(), zone }
    }

    /// When `line` was written, if it says so. A date without a year is the last such day that is
    /// not after `now`.
    pub fn of(&mut self, line: &[u8], now: Timestamp) -> Option<Timestamp> {
        let text = Encoding::Utf8.decode(without_end(line));
        self.budget.refill();
        let found = self.detector.find(Subject::new(&text), now, &mut self.budget)?;
        if found.start == found.end {
            return None;
        }
        found.moment.resolve(Clock { now, zone: &self.zone, offset: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_when_they_were_written() {
        let mut dates = Dates::new(&DateForms::new(2026), TimeZone::UTC);
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a time");
        let mut check = |line: &str, want: Option<&str>| {
            let got = dates.of(line.as_bytes(), now).map(|time| time.to_string());
            assert_eq!(got.as_deref(), want, "{line}");
        };
        check("Oct 20 06:05:09 web-1 sshd[1]: x\n", Some("2026-10-20T06:05:09Z"));
        check("Dec 20 06:05:09 web-1 sshd[1]: x", Some("2025-12-20T06:05:09Z"));
        check("192.0.2.7 - - [02/Nov/2026:16:05:59 +0100] \"GET /", Some("2026-11-02T15:05:59Z"));
        check("2026-10-20T06:05:09.5+02:00 web-1 x", Some("2026-10-20T04:05:09Z"));
        check("no date at all", None);
    }
}
