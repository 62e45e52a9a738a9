//! The skim: what a piece of a log tells without anything that came before it.
//!
//! Most lines of a log hold no literal of any expression and begin with a date that a byte parser
//! reads: all that is left of such a line is its date, and of many in a row the last one's. For
//! the others, what the expressions find is found here. What the lines before decide, the order of
//! the date templates and the connections, is left to those who go through the pieces in order
//! ([`Scanner::settle`](crate::Scanner::settle)); skimming may be done on any thread.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use memchr::memchr;

use crate::date::{Clock, Hot, Moment};
use crate::expression::Budget;
use crate::filter::Filter;
use crate::scanner::{Settings, without_end};
use crate::search::{Findings, Reach, Search};
use crate::sieve::Wanted;

/// How the dates of a log are being read: what a skim must know of the lines before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Form(pub(crate) Option<Hot>);

/// Skims the pieces of one log for one filter.
#[derive(Debug)]
pub struct Skimmer {
    filter: Arc<Filter>,
    settings: Settings,
    search: Search,
    reach: Reach,
    wanted: Wanted,
}

/// What a skim found in a piece of a log. It may be given to another skim for its memory.
#[derive(Debug, Default)]
pub struct Skimmed {
    pub(crate) form: Form,
    pub(crate) now: Timestamp,
    pub(crate) reach: Reach,
    pub(crate) notes: Vec<Note>,
    /// Dates that differ from the one before.
    pub(crate) stamps: Vec<Stamp>,
    pub(crate) findings: Findings,
    /// The lines in which something was found, without their dates.
    pub(crate) texts: String,
}

/// What there is to know of one line or of several in a row.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// These lines have a date, and nothing can be found in them; this is the last of them.
    Missed { lines: Range<usize>, n_lines: u32, last: DatedLine },
    /// What was found in a line: places in `Skimmed::findings`, and in `Skimmed::texts`.
    Found {
        lines: Range<usize>,
        line: DatedLine,
        text: Range<usize>,
        found: Range<usize>,
        n_exceeded: u64,
    },
    /// These lines can be understood only after those before them.
    Unknown { lines: Range<usize> },
}

impl Note {
    /// The bytes of its lines, with their ends.
    pub(crate) fn lines(&self) -> Range<usize> {
        let (Self::Missed { lines, .. } | Self::Found { lines, .. } | Self::Unknown { lines }) =
            self;
        lines.clone()
    }
}

/// A line with the place of its date.
#[derive(Clone, Debug)]
pub(crate) struct DatedLine {
    /// Bytes of the piece, without what ends the line.
    pub(crate) line: Range<usize>,
    /// Where in the line the date begins.
    pub(crate) from: usize,
    /// The place of its date in `Skimmed::stamps`.
    pub(crate) stamp: usize,
}

impl DatedLine {
    /// The bytes of the date, in the piece.
    pub(crate) fn date(&self, skimmed: &Skimmed) -> Range<usize> {
        let start = self.line.start + self.from;
        start..start + skimmed.stamps[self.stamp].n_bytes
    }
}

/// A date and what it means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) n_bytes: usize,
    pub(crate) moment: Moment,
    pub(crate) time: Option<Timestamp>,
}

impl Skimmer {
    pub(crate) fn new(filter: Arc<Filter>, settings: Settings, reach: Reach) -> Self {
        let search = Search::new(&filter);
        Self { filter, settings, search, reach, wanted: Wanted::all(1) }
    }

    /// How it looks at the log; may be changed between pieces, as the scanner's own.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Looks at `piece`, which ends where a line does, and makes `skimmed` of it. `form` is how the
    /// dates of earlier lines were read, as far as that is known already.
    pub fn skim(&mut self, piece: &[u8], form: Form, now: Timestamp, skimmed: &mut Skimmed) {
        let form = form.0.or_else(|| self.guess(piece)).filter(|_| self.can_skim());
        skimmed.clear();
        (skimmed.form, skimmed.now, skimmed.reach) = (Form(form), now, self.reach);
        match form {
            Some(hot) => self.skim_lines(piece, hot, skimmed),
            None if piece.is_empty() => {}
            None => skimmed.unknown(0..piece.len()),
        }
    }

    /// Whether lines can be understood one by one, and an ASCII character is an ASCII byte.
    fn can_skim(&self) -> bool {
        self.filter.sieves() && self.filter.encoding.keeps_ascii()
    }

    /// The form of the first line: as good as any, where no line was read before.
    fn guess(&self, piece: &[u8]) -> Option<Hot> {
        let line = without_end(&piece[..memchr(b'\n', piece).unwrap_or(piece.len())]);
        self.filter.dates.hot().find(|hot| hot.read(line).is_some())
    }

    fn skim_lines(&mut self, piece: &[u8], hot: Hot, skimmed: &mut Skimmed) {
        let filter = Arc::clone(&self.filter);
        let always = filter.sieve.wants_more(hot.cuts_inside());
        let mut reader = StampReader::new(hot);
        let mut along = filter.sieve.along(piece);
        let mut start = 0;
        while start < piece.len() {
            let end = memchr(b'\n', &piece[start..]).map_or(piece.len(), |len| start + len);
            let line = without_end(&piece[start..end]);
            let lines = start..piece.len().min(end + 1);
            match reader.read(line, self.clock(skimmed.now), &mut skimmed.stamps) {
                None => skimmed.unknown(lines),
                Some((from, stamp)) => {
                    let dated = DatedLine { line: start..start + line.len(), from, stamp };
                    if always || along.wants(start..end, &mut self.wanted) {
                        self.search(line, lines, dated, always, skimmed);
                    } else {
                        skimmed.missed(lines, dated);
                    }
                }
            }
            start = end + 1;
        }
    }

    /// Searches a line that may be wanted: by its literals, unless it is unsifted.
    fn search(
        &mut self,
        line: &[u8],
        lines: Range<usize>,
        dated: DatedLine,
        is_unsifted: bool,
        skimmed: &mut Skimmed,
    ) {
        let Cow::Borrowed(line) = self.filter.encoding.decode(line) else {
            return skimmed.unknown(lines);
        };
        let stamp = &mut skimmed.stamps[dated.stamp];
        stamp.time = stamp.time.or_else(|| stamp.moment.resolve(self.clock(skimmed.now)));
        let Some(time) = stamp.time else { return skimmed.unknown(lines) };
        if self.settings.since.is_some_and(|since| time < since) {
            return skimmed.missed(lines, dated);
        }
        let start = skimmed.texts.len();
        let (before, after) = (&line[..dated.from], &line[dated.from + stamp.n_bytes..]);
        skimmed.texts.extend([before, after, "\n"]);
        let text = &skimmed.texts[start..];
        if is_unsifted {
            self.filter.sieve.sift(text.as_bytes(), &mut self.wanted);
        } else {
            self.filter.sieve.sift_again(text.as_bytes(), &mut self.wanted);
        }
        let n_found = skimmed.findings.list.len();
        self.search.budget = Budget::default();
        let wanted = self.wanted.rules[0];
        if !wanted.is_empty() {
            self.search.find(&self.filter, text, wanted, true, self.reach, &mut skimmed.findings);
        }
        let found = n_found..skimmed.findings.list.len();
        let n_exceeded = self.search.budget.n_exceeded_ever;
        if found.is_empty() && n_exceeded == 0 {
            skimmed.texts.truncate(start);
            return skimmed.missed(lines, dated);
        }
        let text = start..skimmed.texts.len();
        skimmed.notes.push(Note::Found { lines, line: dated, text, found, n_exceeded });
    }

    fn clock(&self, now: Timestamp) -> Clock<'_> {
        Clock { now, zone: &self.settings.zone, offset: self.filter.offset }
    }
}

impl Skimmed {
    fn clear(&mut self) {
        self.notes.clear();
        self.stamps.clear();
        self.findings.clear();
        self.texts.clear();
    }

    fn missed(&mut self, more: Range<usize>, line: DatedLine) {
        match self.notes.last_mut() {
            Some(Note::Missed { lines, n_lines, last }) => {
                lines.end = more.end;
                *n_lines += 1;
                *last = line;
            }
            _ => self.notes.push(Note::Missed { lines: more, n_lines: 1, last: line }),
        }
    }

    fn unknown(&mut self, more: Range<usize>) {
        match self.notes.last_mut() {
            Some(Note::Unknown { lines }) => lines.end = more.end,
            _ => self.notes.push(Note::Unknown { lines: more }),
        }
    }
}

/// Reads dates of one form, those that repeat only once.
struct StampReader {
    hot: Hot,
    /// The last date with what its reader looked at behind it; empty where that is not known.
    last: Vec<u8>,
}

impl StampReader {
    fn new(hot: Hot) -> Self {
        Self { hot, last: Vec::new() }
    }

    /// Where the date of `line` begins, and its place in `stamps`.
    fn read(
        &mut self,
        line: &[u8],
        clock: Clock<'_>,
        stamps: &mut Vec<Stamp>,
    ) -> Option<(usize, usize)> {
        let from = self.hot.start(line)?;
        let rest = &line[from..];
        if !self.last.is_empty() && rest.starts_with(&self.last) {
            return Some((from, stamps.len() - 1));
        }
        let (start, end, moment) = self.hot.read(line)?;
        let (moment, n_bytes) = (moment.settle(clock)?, end - start);
        let looked_at = rest.get(..n_bytes + Hot::LOOKS_BEYOND).unwrap_or_default();
        self.last.clear();
        self.last.extend_from_slice(looked_at);
        stamps.push(Stamp { n_bytes, moment, time: None });
        Some((from, stamps.len() - 1))
    }
}
