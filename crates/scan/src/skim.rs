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
use crate::expression::{Budget, Subject};
use crate::filter::Filter;
use crate::scanner::{Settings, without_end};
use crate::search::{Findings, Reach, Search};
use crate::sieve::{Along, Wanted};

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
    /// The lines in which something was found, without their dates, and each date behind its line.
    pub(crate) texts: String,
}

/// What there is to know of one line or of several in a row.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// Nothing can be found in these lines.
    Missed(Run),
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
        let (Self::Missed(Run { lines, .. }) | Self::Found { lines, .. } | Self::Unknown { lines }) =
            self;
        lines.clone()
    }
}

/// Lines in a row that have a date, with their ends; perhaps none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) lines: Range<usize>,
    pub(crate) n_lines: u32,
    pub(crate) last: DatedLine,
}

/// A line with the place of its date.
#[derive(Clone, Debug, Default)]
pub(crate) struct DatedLine {
    /// Bytes of the piece, without the `\n`.
    pub(crate) line: Range<usize>,
    /// Where in the line the date begins.
    pub(crate) from: usize,
    /// The place of its date in `Skimmed::stamps`.
    pub(crate) stamp: usize,
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
        let (filter, zone) = (Arc::clone(&self.filter), self.settings.zone.clone());
        let mut way = Way {
            piece,
            clock: Clock { now: skimmed.now, zone: &zone, offset: filter.offset },
            reader: StampReader::new(hot),
            along: filter.sieve.along(piece),
            is_unsifted: filter.sieve.wants_more(hot.cuts_inside()),
        };
        let mut run = Run::default();
        let mut start = 0;
        while start < piece.len() {
            let end = memchr(b'\n', &piece[start..]).map_or(piece.len(), |len| start + len);
            match way.reader.repeated(&piece[start..end]) {
                Some(from) if end < way.along.at() && !way.is_unsifted => {
                    if run.n_lines == 0 {
                        run.lines.start = start;
                    }
                    run.lines.end = end + 1;
                    run.n_lines += 1;
                    run.last = DatedLine { line: start..end, from, stamp: way.reader.stamp };
                }
                repeated => {
                    skimmed.missed(std::mem::take(&mut run));
                    self.line(start..end, repeated, &mut way, skimmed);
                    way.along.go_to(end);
                }
            }
            start = end + 1;
        }
        skimmed.missed(run);
    }

    /// Skims a line that may be wanted, or has a date of its own: unless it is the last one, which
    /// begins where it is `repeated`.
    #[inline(never)] // The loop over all the others stays small.
    fn line(
        &mut self,
        line: Range<usize>,
        repeated: Option<usize>,
        way: &mut Way<'_>,
        skimmed: &mut Skimmed,
    ) {
        let text = &way.piece[line.clone()];
        let from = repeated.or_else(|| way.reader.read(text, way.clock, &mut skimmed.stamps));
        let Some(from) = from else { return skimmed.unknown(way.whole(&line)) };
        let dated = DatedLine { line: line.clone(), from, stamp: way.reader.stamp };
        let is_wanted = way.is_unsifted
            || (way.along.wants(line, &mut self.wanted)
                && self.filter.sieve.sift_again(text, &mut self.wanted));
        match is_wanted {
            true => self.search(dated, way, skimmed),
            false => skimmed.missed(way.run(dated)),
        }
    }

    /// Searches a line that may be wanted.
    fn search(&mut self, dated: DatedLine, way: &Way<'_>, skimmed: &mut Skimmed) {
        let line = without_end(&way.piece[dated.line.clone()]);
        let Cow::Borrowed(line) = self.filter.encoding.decode(line) else {
            return skimmed.unknown(way.whole(&dated.line));
        };
        let stamp = &mut skimmed.stamps[dated.stamp];
        stamp.time = stamp.time.or_else(|| stamp.moment.resolve(way.clock));
        let Some(time) = stamp.time else { return skimmed.unknown(way.whole(&dated.line)) };
        if self.settings.since.is_some_and(|since| time < since) {
            return skimmed.missed(way.run(dated));
        }
        let start = skimmed.texts.len();
        let (before, rest) = line.split_at(dated.from);
        let (date, after) = rest.split_at(stamp.n_bytes);
        skimmed.texts.extend([before, after, "\n"]);
        let text = start..skimmed.texts.len();
        let whole = Subject::line(&skimmed.texts[text.clone()]);
        if way.is_unsifted {
            self.filter.sieve.sift(whole.text.as_bytes(), &mut self.wanted);
        }
        let n_found = skimmed.findings.list.len();
        self.search.budget = Budget::default();
        let wanted = self.wanted.rules[0];
        if !wanted.is_empty() {
            self.search.find(&self.filter, whole, wanted, true, self.reach, &mut skimmed.findings);
        }
        let found = n_found..skimmed.findings.list.len();
        let n_exceeded = self.search.budget.n_exceeded_ever;
        if found.is_empty() && n_exceeded == 0 {
            skimmed.texts.truncate(start);
            return skimmed.missed(way.run(dated));
        }
        skimmed.texts.push_str(date);
        let lines = way.whole(&dated.line);
        skimmed.notes.push(Note::Found { lines, line: dated, text, found, n_exceeded });
    }
}

impl Skimmed {
    fn clear(&mut self) {
        self.notes.clear();
        self.stamps.clear();
        self.findings.clear();
        self.texts.clear();
    }

    fn missed(&mut self, more: Run) {
        match self.notes.last_mut() {
            _ if more.n_lines == 0 => {}
            Some(Note::Missed(run)) => {
                run.lines.end = more.lines.end;
                run.n_lines += more.n_lines;
                run.last = more.last;
            }
            _ => self.notes.push(Note::Missed(more)),
        }
    }

    fn unknown(&mut self, more: Range<usize>) {
        match self.notes.last_mut() {
            Some(Note::Unknown { lines }) => lines.end = more.end,
            _ => self.notes.push(Note::Unknown { lines: more }),
        }
    }
}

/// A way through a piece.
struct Way<'p> {
    piece: &'p [u8],
    clock: Clock<'p>,
    reader: StampReader,
    along: Along<'p>,
    /// Whether literals do not tell which lines are wanted.
    is_unsifted: bool,
}

impl Way<'_> {
    /// The bytes of a line with its end.
    fn whole(&self, line: &Range<usize>) -> Range<usize> {
        line.start..self.piece.len().min(line.end + 1)
    }

    fn run(&self, line: DatedLine) -> Run {
        Run { lines: self.whole(&line.line), n_lines: 1, last: line }
    }
}

/// Reads dates of one form, those that repeat only once.
struct StampReader {
    hot: Hot,
    last: LastStamp,
    /// Its place in `Skimmed::stamps`.
    stamp: usize,
}

impl StampReader {
    fn new(hot: Hot) -> Self {
        Self { hot, last: LastStamp::NONE, stamp: 0 }
    }

    /// Where the date of `line` begins, if it is the last one.
    #[inline]
    fn repeated(&self, line: &[u8]) -> Option<usize> {
        let from = self.hot.start(line)?;
        self.last.begins(&line[from..]).then_some(from)
    }

    /// Where the date of `line` begins, which may end in `\r`.
    fn read(&mut self, line: &[u8], clock: Clock<'_>, stamps: &mut Vec<Stamp>) -> Option<usize> {
        let (start, end, moment) = self.hot.read(without_end(line))?;
        let (moment, n_bytes) = (moment.settle(clock)?, end - start);
        self.last = LastStamp::new(line.get(start..end + Hot::LOOKS_BEYOND).unwrap_or_default());
        self.stamp = stamps.len();
        stamps.push(Stamp { n_bytes, moment, time: None });
        Some(start)
    }
}

/// The last date with what its reader looked at behind it.
#[derive(Clone, Copy)]
struct LastStamp {
    bytes: [u8; Self::LONGEST],
    /// Which of the bytes count.
    counts: [u8; Self::LONGEST],
}

impl LastStamp {
    /// Longer ones have fractions of a second, and do not repeat.
    const LONGEST: usize = 32;
    /// No line begins with this.
    const NONE: Self = Self { bytes: [b'\n'; Self::LONGEST], counts: [0xff; Self::LONGEST] };

    fn new(looked_at: &[u8]) -> Self {
        // A `\r` behind the date ends the line, or is a part of it.
        if let [] | [.., b'\r', _] | [.., b'\r'] = looked_at {
            return Self::NONE;
        }
        if looked_at.len() > Self::LONGEST {
            return Self::NONE;
        }
        let mut new = Self { bytes: [0; Self::LONGEST], counts: [0; Self::LONGEST] };
        new.bytes[..looked_at.len()].copy_from_slice(looked_at);
        new.counts[..looked_at.len()].fill(0xff);
        new
    }

    /// Whether `text` is long enough to tell, and begins with it.
    fn begins(&self, text: &[u8]) -> bool {
        let Some(text) = text.first_chunk::<{ Self::LONGEST }>() else { return false };
        let differs = (0..Self::LONGEST).map(|at| (text[at] ^ self.bytes[at]) & self.counts[at]);
        differs.fold(0, |all, byte| all | byte) == 0
    }
}
