//! The dates of a log: each line's own, or the last one's where a line has none.

use jiff::{SignedDuration, Timestamp};

use crate::date::{Clock, DatePatterns, Detector, Found, Moment};
use crate::expression::{Budget, Subject};
use crate::scanner::without_end;
use crate::skim::{DatedLine, Form, Stamp};

/// A line without a date was written when the last one was, if that was so long ago at most.
const LAST_DATE_HOLDS: SignedDuration = SignedDuration::from_secs(60);

/// A line with its date cut out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dated<'l> {
    pub(crate) before: &'l str,
    pub(crate) date: &'l str,
    pub(crate) after: &'l str,
    /// When it was written.
    pub(crate) when: When,
}

/// When a line was written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// By its own date, which exists.
    Own(Moment),
    /// By the date of a line before, which stands in front of this one.
    Last(Timestamp),
    /// It needs no date: now.
    Now,
    /// It has none, and should.
    Unknown,
}

/// The last date of a log, with the time it was when it was read.
#[derive(Debug)]
struct LastDate {
    moment: Moment,
    now: Timestamp,
    text: String,
}

/// Tells the dates of one log.
#[derive(Debug)]
pub(crate) struct Dating {
    detector: Detector,
    budget: Budget,
    last: Option<LastDate>,
}

impl Dating {
    /// Dates as `patterns` describe them.
    pub(crate) fn new(patterns: &DatePatterns) -> Self {
        Self { detector: Detector::new(patterns), budget: Budget::default(), last: None }
    }

    /// Takes the date out of `line`.
    pub(crate) fn date<'l>(&mut self, line: Subject<'l>, clock: Clock<'_>) -> Dated<'l> {
        let text = line.text;
        self.budget.refill();
        let Some(found) = self.detector.find(line, clock.now, &mut self.budget) else {
            return self.without(whole(text, When::Unknown), text, clock);
        };
        let Found { start, end, moment } = found;
        let (before, date, after) = (&text[..start], &text[start..end], &text[end..]);
        let cut = |when| Dated { before, date, after, when };
        if date.is_empty() {
            return self.without(cut(When::Now), text, clock);
        }
        match moment.settle(clock) {
            Some(moment) => {
                self.remember(moment, clock.now, date);
                cut(When::Own(moment))
            }
            None => self.without(cut(When::Unknown), text, clock),
        }
    }

    /// How the dates of the last lines were read.
    pub(crate) fn form(&self) -> Form {
        Form(self.detector.form())
    }

    /// Passes over lines of `piece` whose dates are of this form; `last` is the last of them.
    pub(crate) fn pass(
        &mut self,
        n_lines: u32,
        piece: &[u8],
        last: &DatedLine,
        stamp: &Stamp,
        now: Timestamp,
    ) {
        let line = without_end(&piece[last.line.clone()]);
        let date = last.from..last.from + stamp.n_bytes;
        self.detector.pass(n_lines, line, date.end, now);
        // Byte parsers read nothing but ASCII.
        self.remember(stamp.moment, now, str::from_utf8(&line[date]).unwrap_or_default());
    }

    /// A line of which the date is known, and not in its text.
    pub(crate) fn known<'l>(&mut self, text: &'l str, at: Timestamp, now: Timestamp) -> Dated<'l> {
        let moment = Moment::Exact(at);
        self.remember(moment, now, "");
        whole(text, When::Own(moment))
    }

    /// The templates that told dates, with how many.
    pub(crate) fn hits(&self) -> impl Iterator<Item = (u32, &str)> {
        self.detector.hits()
    }

    /// Searches for dates that were given up.
    pub(crate) fn n_exceeded(&self) -> u64 {
        self.budget.n_exceeded_ever
    }

    /// The text of the last date.
    pub(crate) fn last_text(&self) -> &str {
        self.last.as_ref().map_or("", |last| &last.text)
    }

    /// A line without a date of its own: `otherwise`, if no date was told of late.
    fn without<'l>(&self, otherwise: Dated<'l>, text: &'l str, clock: Clock<'_>) -> Dated<'l> {
        let last = self.last.as_ref();
        let time = last.and_then(|last| last.moment.resolve(Clock { now: last.now, ..clock }));
        let limit = clock.now.checked_sub(LAST_DATE_HOLDS).unwrap_or(Timestamp::MIN);
        match time.filter(|&time| time > limit) {
            Some(time) => whole(text, When::Last(time)),
            None => otherwise,
        }
    }

    fn remember(&mut self, moment: Moment, now: Timestamp, text: &str) {
        match &mut self.last {
            Some(last) => {
                (last.moment, last.now) = (moment, now);
                last.text.clear();
                last.text.push_str(text);
            }
            None => self.last = Some(LastDate { moment, now, text: text.to_owned() }),
        }
    }
}

fn whole(text: &str, when: When) -> Dated<'_> {
    Dated { before: "", date: "", after: text, when }
}
