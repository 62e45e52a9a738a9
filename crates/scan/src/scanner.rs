//! A scanner: one filter at work on one log, and what it remembers between lines.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::filter::Filter;

/// What `Hit::id` is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdKind {
    /// An address or a prefix, in its canonical form.
    Address,
    /// A host's name: whether it is resolved is for `usedns` to say.
    Name,
    /// Any other id, as the filter caught it.
    Id,
}

/// A failure as the filter sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// What would be banned: an address, a name or any other id.
    pub id: String,
    /// Which of the three `id` is.
    pub kind: IdKind,
    /// When, by the line's date, or by the last known one.
    pub time: Timestamp,
    /// False where neither the line nor one before it told the time: `time` is now.
    pub dated: bool,
    /// Which expression found it, from 0 in the filter's own list.
    pub failregex: usize,
    /// Failures that it stands for.
    pub n_attempts: u32,
    /// The other named groups that are not empty, under fail2ban's names.
    pub fields: Vec<(String, String)>,
    /// The lines that made it.
    pub matches: Vec<String>,
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A failure, complete with its id.
    Failure(Hit),
    /// A failure whose id is not known yet: kept until another line of the connection tells it.
    /// fail2ban-regex counts it as matched.
    Pending,
    /// `<F-NOFAIL>` or `<F-MLFGAINED>`: kept for the connection, no failure by itself.
    /// fail2ban-regex counts it as ignored.
    Remembered,
    /// The `ignoreregex` of this number matched.
    Ignored(usize),
    /// No expression matched, or the line is too old to look at.
    Missed,
}

/// What a failure counts as when neither its line nor a line of the last minute tells the time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Undated {
    /// It happened now: what is read is being written.
    #[default]
    Now,
    /// It is missed: what is read is old.
    Skip,
}

/// How a scanner looks at its log.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The zone of dates that name none; `logtimezone` goes before it.
    pub zone: TimeZone,
    /// What becomes of failures without a date.
    pub undated: Undated,
    /// Lines dated before this are missed unseen: fail2ban's catch-up after a start.
    pub since: Option<Timestamp>,
    /// The id is the text as it stands, and no name is one: `fail2ban-regex --raw`.
    pub raw: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { zone: TimeZone::UTC, undated: Undated::Now, since: None, raw: false }
    }
}

/// What a scanner counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Statistics {
    /// Lines looked at.
    pub n_lines: u64,
    /// Searches that were given up because they exceeded the match limit.
    pub n_exceeded: u64,
}

/// One filter at work on one log.
#[derive(Debug)]
pub struct Scanner {
    filter: Arc<Filter>,
    settings: Settings,
    statistics: Statistics,
}

impl Scanner {
    /// A scanner that has seen nothing yet.
    pub fn new(filter: Arc<Filter>, settings: Settings) -> Self {
        Self { filter, settings, statistics: Statistics::default() }
    }

    /// Looks at a line, with or without its end, at the time it is `now`.
    pub fn line(&mut self, line: &[u8], now: Timestamp) -> Outcome {
        let _ = (line, now);
        self.statistics.n_lines += 1;
        Outcome::Missed
    }

    /// Looks at an entry whose date is known, as a journal's is: none is looked for in its text.
    pub fn dated_line(&mut self, line: &[u8], at: Timestamp, now: Timestamp) -> Outcome {
        let _ = (line, at, now);
        self.statistics.n_lines += 1;
        Outcome::Missed
    }

    /// The filter it works with.
    pub fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    /// How it looks at its log; may be changed between lines.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// What it counted.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }
}
