//! What a line that holds an indicator says: when it was written, and what became of whom.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use memchr::{memchr, memrchr};
use scan::{DateForms, Dates};

use crate::finding::{Beside, Sample};
use crate::outcome::{Filters, Judge, Outcome, Verdict};

/// Where in a line its date is looked for; nothing but a hostile line has it further on.
const DATE_REACH: usize = 4 << 10;
/// How many lines above a line without a date are asked for theirs: a stack trace, a dump.
const MAX_LINES_ABOVE: usize = 16;
/// After so many lines one after the other without a date a log is believed to have none: to find
/// none is slow, because every form is tried.
const MAX_IN_VAIN: u32 = 1_000;
/// Lines above and below that are looked at for company.
const NEAR_LINES: usize = 8;
/// What is written within so long of each other belongs together.
const NEAR: SignedDuration = SignedDuration::from_secs(10);
/// How much of a line is kept.
const MAX_SAMPLE_BYTES: usize = 1 << 10;
/// Longer names are noise.
const MAX_USER_BYTES: usize = 64;

/// Reads the lines of one log after the other.
pub(crate) struct LineReader {
    judge: Judge,
    forms: Arc<DateForms>,
    dates: Dates,
    zone: TimeZone,
    /// Lines without a date since the last one that had one.
    n_in_vain: u32,
    /// Dates without a year are not after this.
    now: Timestamp,
}

/// What a line says.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) time: Option<Timestamp>,
    pub(crate) day: Option<Date>,
    pub(crate) verdicts: Vec<Verdict>,
}

impl LineReader {
    pub(crate) fn new(filters: &Filters, forms: Arc<DateForms>, zone: TimeZone) -> Self {
        let dates = Dates::new(&forms, zone.clone());
        Self {
            judge: Judge::new(filters, &zone),
            forms,
            dates,
            zone,
            n_in_vain: 0,
            now: Timestamp::MAX,
        }
    }

    /// Begins a log that was last written at about `now`.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        self.dates = Dates::new(&self.forms, self.zone.clone());
        self.n_in_vain = 0;
        self.now = now;
    }

    /// Reads the line from `start` on; a line without a date is as old as the one above it.
    pub(crate) fn read(&mut self, text: &[u8], start: usize, end: usize) -> Said {
        let line = &text[start..end];
        let time = self.date(line).or_else(|| self.date_above(&text[..start]));
        let day = time.map(|time| self.zone.to_datetime(time).date());
        Said { time, day, verdicts: self.judge.judge(line, self.now) }
    }

    /// Who failed or got in by the lines around the one from `start` to `end`, within [`NEAR`] of
    /// `time`, each once.
    pub(crate) fn near(
        &mut self,
        text: &[u8],
        (start, end): (usize, usize),
        time: Option<Timestamp>,
    ) -> BTreeMap<IpAddr, Beside> {
        let mut company = BTreeMap::new();
        let Some(time) = time else { return company };
        for (start, end) in lines_around(text, start, end) {
            let said = self.read(text, start, end);
            let is_near = said.time.is_some_and(|it| it.duration_since(time).abs() <= NEAR);
            for verdict in said.verdicts.iter().filter(|_| is_near) {
                if let Some(addr) = verdict.addr {
                    company.insert(addr, Beside::once(said.time, verdict.outcome));
                }
            }
        }
        company
    }

    fn date(&mut self, line: &[u8]) -> Option<Timestamp> {
        if self.n_in_vain == MAX_IN_VAIN {
            return None;
        }
        let time = self.dates.of(&line[..line.len().min(DATE_REACH)], self.now);
        self.n_in_vain = if time.is_some() { 0 } else { self.n_in_vain + 1 };
        time
    }

    fn date_above(&mut self, mut above: &[u8]) -> Option<Timestamp> {
        for _ in 0..MAX_LINES_ABOVE {
            above = above.strip_suffix(b"\n")?;
            let start = memrchr(b'\n', above).map_or(0, |end| end + 1);
            if let Some(time) = self.date(&above[start..]) {
                return Some(time);
            }
            above = &above[..start];
        }
        None
    }
}

impl Said {
    /// What it says of `indicator`: the worst, and the name of the user beside it.
    pub(crate) fn of(&self, indicator: &crate::Indicator) -> (Outcome, Option<&str>) {
        let ours = || self.verdicts.iter().filter(|it| it.is_of(indicator));
        let worst = ours().map(|it| it.outcome).max().unwrap_or_default();
        let user = ours().find_map(|it| it.user.as_deref());
        (worst, user.filter(|name| name.len() <= MAX_USER_BYTES))
    }
}

/// The whole line around a place: where it begins and ends, without its `\n`.
pub(crate) fn around(text: &[u8], at: usize) -> (usize, usize) {
    let start = memrchr(b'\n', &text[..at]).map_or(0, |end| end + 1);
    let end = memchr(b'\n', &text[at..]).map_or(text.len(), |end| at + end);
    (start, end)
}

/// Where the lines above and below one begin and end, as far as they are at hand.
fn lines_around(text: &[u8], start: usize, end: usize) -> Vec<(usize, usize)> {
    let mut lines = Vec::with_capacity(2 * NEAR_LINES);
    let mut above = start;
    while lines.len() < NEAR_LINES && above > 0 {
        let (start, end) = around(text, above - 1);
        lines.push((start, end));
        above = start;
    }
    let n_above = lines.len();
    let mut below = end + 1;
    while lines.len() < n_above + NEAR_LINES && below < text.len() {
        let (start, end) = around(text, below);
        lines.push((start, end));
        below = end + 1;
    }
    lines
}

/// Makes a sample of the line from `start` to `end`, with `n_context` lines on either side as far
/// as they are at hand; `at` is where in the text the hit is.
pub(crate) fn sample(
    text: &[u8],
    (start, at, end): (usize, usize, usize),
    n_context: usize,
) -> Sample {
    let mut lines = Vec::new();
    let mut above = &text[..start];
    for _ in 0..n_context {
        let Some(rest) = above.strip_suffix(b"\n") else { break };
        let begin = memrchr(b'\n', rest).map_or(0, |end| end + 1);
        lines.push(shown(&rest[begin..], 0));
        above = &rest[..begin];
    }
    lines.reverse();
    let hit = lines.len();
    lines.push(shown(&text[start..end], at - start));
    let mut below = &text[end..];
    for _ in 0..n_context {
        let Some(rest) = below.strip_prefix(b"\n").filter(|rest| !rest.is_empty()) else { break };
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        lines.push(shown(&rest[..end], 0));
        below = &rest[end..];
    }
    Sample { outcome: Outcome::Probed, time: None, log: 0, lines, hit }
}

/// As much of a line as is kept: its beginning, and the part around the hit.
fn shown(line: &[u8], at: usize) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() <= MAX_SAMPLE_BYTES {
        return String::from_utf8_lossy(line).into_owned();
    }
    let half = MAX_SAMPLE_BYTES / 2;
    let lossy = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    if at < half {
        return lossy(&line[..MAX_SAMPLE_BYTES]) + "…";
    }
    let from = (at - half / 2).max(half);
    let to = (from + half).min(line.len());
    lossy(&line[..half]) + "…" + &lossy(&line[from..to]) + if to < line.len() { "…" } else { "" }
}
