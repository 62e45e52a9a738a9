//! A scanner: one filter at work on one log, and what it remembers between lines.

use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::address::IdKind;
use crate::date::Clock;
use crate::dating::{Dated, Dating, When};
use crate::expression::Subject;
use crate::filter::Filter;
use crate::matcher::{Line, Matcher};
use crate::search::{Findings, Reach};
use crate::sieve::{Rules, Wanted};
use crate::skim::{DatedLine, Form, Note, Skimmed, Skimmer, Stamp};

/// A failure as the filter sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// What would be banned: an address, a name or any other id.
    pub id: String,
    /// Which of the three `id` is.
    pub kind: IdKind,
    /// When, by the line's date, or by the last known one.
    pub time: Timestamp,
    /// False where a date should be and is not, and none was of late: `time` is now.
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
    Pending {
        /// Which expression found it.
        failregex: usize,
    },
    /// `<F-NOFAIL>` or `<F-MLFGAINED>`: kept for the connection, no failure by itself.
    /// fail2ban-regex counts it as ignored.
    Remembered {
        /// Which expression found it.
        failregex: usize,
    },
    /// The `ignoreregex` of this number matched.
    Ignored(usize),
    /// No expression matched, or the line is too old to look at.
    Missed,
}

/// What became of one line of a piece, or of several in a row.
#[derive(Debug)]
pub enum Told<'l> {
    /// Nothing was found in these lines, which are given with their ends.
    Missed {
        /// The lines.
        lines: &'l [u8],
        /// How many they are.
        n_lines: u32,
    },
    /// This came of a line, which is given without its `\n`: nothing, where it was missed.
    Line {
        /// The line.
        line: &'l [u8],
        /// May be taken away.
        outcomes: &'l mut Vec<Outcome>,
    },
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
    /// A [`Hit`] tells its fields and its lines; who only counts does without.
    pub evidence: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { zone: TimeZone::UTC, undated: Undated::Now, since: None, raw: false, evidence: true }
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
    member: Member,
    dating: Dating,
    /// The line without its date; kept for its memory.
    text: String,
    wanted: Wanted,
    /// What became of the last line; kept for its memory.
    found: Vec<Outcome>,
}

impl Scanner {
    /// A scanner that has seen nothing yet.
    pub fn new(filter: Arc<Filter>, settings: Settings) -> Self {
        let dating = Dating::new(&filter.dates);
        let member = Member::new(filter, settings);
        Self { member, dating, text: String::new(), wanted: Wanted::all(1), found: Vec::new() }
    }

    /// Looks at a line, with or without its end, at the time it is `now`.
    pub fn line(&mut self, line: &[u8], now: Timestamp) -> Outcome {
        self.look(line, None, now, Reach::First);
        self.found.pop().unwrap_or(Outcome::Missed)
    }

    /// Looks at an entry whose date is known, as a journal's is: none is looked for in its text.
    pub fn dated_line(&mut self, line: &[u8], at: Timestamp, now: Timestamp) -> Outcome {
        self.look(line, Some(at), now, Reach::First);
        self.found.pop().unwrap_or(Outcome::Missed)
    }

    /// Looks at a line with every expression, as fail2ban-regex does: all that matched, in
    /// order, and nothing for a line that was missed. `at` is the date where it is known.
    pub fn every(&mut self, line: &[u8], at: Option<Timestamp>, now: Timestamp) -> Vec<Outcome> {
        self.look(line, at, now, Reach::Every);
        std::mem::take(&mut self.found)
    }

    /// What looks at pieces of the log before [`Scanner::settle`] goes through them in order.
    pub fn skimmer(&self, reach: Reach) -> Skimmer {
        Skimmer::new(Arc::clone(&self.member.filter), self.member.settings.clone(), reach)
    }

    /// How the dates of the last lines were read: what the next skim begins with. One that begins
    /// with an older form finds the same, in more time.
    pub fn form(&self) -> Form {
        self.dating.form()
    }

    /// Goes through the lines of `piece`, which was skimmed, and tells what became of them in
    /// their order: what [`Scanner::line`] or [`Scanner::every`] would have told, line by line.
    ///
    /// # Errors
    ///
    /// The first error of `told` ends it.
    pub fn settle<E>(
        &mut self,
        piece: &[u8],
        skimmed: &Skimmed,
        mut told: impl FnMut(Told<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut passed = Passed::default();
        for note in &skimmed.notes {
            let lines = &piece[note.lines()];
            // The skim is right where dates are still read in the form that it went by.
            match note {
                Note::Missed(run) if skimmed.form == self.form() => {
                    passed.add(run.n_lines, &run.last);
                    told(Told::Missed { lines, n_lines: run.n_lines })?;
                }
                Note::Found { line, text, found, n_exceeded, .. }
                    if skimmed.form == self.form() =>
                {
                    passed.add(1, line);
                    self.member.matcher.search.budget.n_exceeded_ever += n_exceeded;
                    self.found.clear();
                    self.tell(line, text.clone(), found.clone(), skimmed);
                    let line = lines.strip_suffix(b"\n").unwrap_or(lines);
                    told(Told::Line { line, outcomes: &mut self.found })?;
                }
                Note::Missed(_) | Note::Found { .. } | Note::Unknown { .. } => {
                    self.pass(std::mem::take(&mut passed), piece, skimmed);
                    for line in lines.strip_suffix(b"\n").unwrap_or(lines).split(|it| *it == b'\n')
                    {
                        self.look(line, None, skimmed.now, skimmed.reach);
                        told(Told::Line { line, outcomes: &mut self.found })?;
                    }
                }
            }
        }
        self.pass(passed, piece, skimmed);
        Ok(())
    }

    /// Passes over lines that are understood, but for what was found in them.
    fn pass(&mut self, passed: Passed<'_>, piece: &[u8], skimmed: &Skimmed) {
        let Passed { n_lines, last: Some(last) } = passed else { return };
        self.member.n_lines += u64::from(n_lines);
        self.dating.pass(n_lines, piece, last, &skimmed.stamps[last.stamp], skimmed.now);
    }

    /// Goes on with what a skim found in a line.
    fn tell(
        &mut self,
        line: &DatedLine,
        text: Range<usize>,
        found: Range<usize>,
        skimmed: &Skimmed,
    ) {
        let Stamp { n_bytes, moment, time } = skimmed.stamps[line.stamp];
        let date = &skimmed.texts[text.end..text.end + n_bytes];
        let text = &skimmed.texts[text];
        let (before, after) = text.strip_suffix('\n').unwrap_or(text).split_at(line.from);
        let Settings { raw, evidence, .. } = self.member.settings;
        let line = Line {
            dated: Dated { before, date, after, when: When::Own(moment) },
            last_text: date,
            time: time.map(|time| (time, true)),
            now: skimmed.now,
            reach: skimmed.reach,
            raw,
            evidence,
        };
        let Findings { list, spans } = &skimmed.findings;
        self.member.matcher.tell(line, text, &list[found], spans, &mut self.found);
    }

    /// The filter it works with.
    pub fn filter(&self) -> &Arc<Filter> {
        &self.member.filter
    }

    /// How it looks at its log; may be changed between lines.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.member.settings
    }

    /// The patterns that dates were read by, those that are tried first before the others, and how
    /// many dates by each.
    pub fn dates(&self) -> impl Iterator<Item = (u32, &str)> {
        self.dating.hits()
    }

    /// What it counted.
    pub fn statistics(&self) -> Statistics {
        self.member.statistics(&self.dating)
    }

    fn look(&mut self, line: &[u8], at: Option<Timestamp>, now: Timestamp, reach: Reach) {
        let Self { member, dating, text, wanted, found } = self;
        found.clear();
        member.begin();
        let encoding = member.filter.encoding;
        let line = encoding.decode(without_end(line));
        let dated = match at {
            Some(at) => dating.known(&line, at, now),
            None => dating.date(Subject::new(&line), member.clock(now)),
        };
        text.clear();
        text.extend([dated.before, dated.after, "\n"]);
        if member.filter.sieves() {
            member.filter.sieve.sift(text.as_bytes(), wanted);
        }
        let wanted = wanted.rules[0];
        if !wanted.is_empty() {
            member.find(dated, dating.last_text(), text, wanted, (now, reach), found);
        }
    }
}

/// Lines in a row that a skim understood.
#[derive(Clone, Copy, Default)]
struct Passed<'s> {
    n_lines: u32,
    last: Option<&'s DatedLine>,
}

impl<'s> Passed<'s> {
    fn add(&mut self, n_lines: u32, last: &'s DatedLine) {
        self.n_lines += n_lines;
        self.last = Some(last);
    }
}

/// A filter at work, but for the dates, which it may share with others.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) filter: Arc<Filter>,
    pub(crate) settings: Settings,
    pub(crate) matcher: Matcher,
    n_lines: u64,
}

impl Member {
    pub(crate) fn new(filter: Arc<Filter>, settings: Settings) -> Self {
        let matcher = Matcher::new(Arc::clone(&filter));
        Self { filter, settings, matcher, n_lines: 0 }
    }

    /// Begins a line.
    pub(crate) fn begin(&mut self) {
        self.n_lines += 1;
        self.matcher.search.budget.refill();
    }

    pub(crate) fn clock(&self, now: Timestamp) -> Clock<'_> {
        Clock { now, zone: &self.settings.zone, offset: self.filter.offset }
    }

    pub(crate) fn statistics(&self, dating: &Dating) -> Statistics {
        let n_exceeded = dating.n_exceeded() + self.matcher.search.budget.n_exceeded_ever;
        Statistics { n_lines: self.n_lines, n_exceeded }
    }

    /// Looks for failures in a line, of which `text` is what is left without its date.
    pub(crate) fn find(
        &mut self,
        dated: Dated<'_>,
        last_text: &str,
        text: &str,
        wanted: Rules,
        (now, reach): (Timestamp, Reach),
        found: &mut Vec<Outcome>,
    ) {
        let time = match dated.when {
            When::Own(moment) => moment.resolve(self.clock(now)).map(|time| (time, true)),
            When::Last(time) => Some((time, true)),
            When::Now => Some((now, true)),
            When::Unknown if self.settings.undated == Undated::Now => Some((now, false)),
            When::Unknown => None,
        };
        let too_old = |since| time.is_some_and(|(time, _)| time < since);
        if self.settings.since.is_some_and(too_old) {
            return;
        }
        let Settings { raw, evidence, .. } = self.settings;
        let line = Line { dated, last_text, time, now, reach, raw, evidence };
        self.matcher.find(line, text, wanted, found);
    }
}

/// A line without what ends it.
pub(crate) fn without_end(line: &[u8]) -> &[u8] {
    let last = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    &line[..last.map_or(0, |last| last + 1)]
}
