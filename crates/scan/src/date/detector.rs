//! The detector: which of several templates tells a line's date.
//!
//! fail2ban learns the order in which it tries them (`server/datedetector.py`): the template that
//! won is tried first on the next line, at the same place; others are tried in their order, and
//! one that matches further right than usual is only a candidate. Winners rise in the order. All
//! of this is followed step by step, because a line with two dates is cut differently after a
//! different history.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::hot::Hot;
use super::pattern::Years;
use super::stamp::Moment;
use super::template::{Template, TemplateError};
use crate::expression::{Budget, Searcher, Subject};

/// A template that won within this many seconds is not displaced by a lighter one.
const LONG_UNUSED_SECONDS: i64 = 300;

/// Dates are looked for in so many bytes of a line: all templates go over them, and nobody but
/// an attacker writes more before a date.
const DATE_REACH: usize = 16 << 10;

/// All templates of a filter, in the order in which they are tried at first.
#[derive(Clone, Debug)]
pub(crate) struct DatePatterns {
    templates: Vec<Arc<Template>>,
}

impl DatePatterns {
    /// Reads `datepattern`, one pattern a line; `Err` with the number of the line at fault.
    pub(crate) fn read(text: Option<&str>, years: Years) -> Result<Self, (usize, String)> {
        let mut patterns = Self { templates: Vec::new() };
        let lines = text.unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty());
        for (index, line) in lines.enumerate() {
            patterns.append(line, years).map_err(|reason| (index, reason))?;
        }
        if patterns.templates.is_empty() {
            patterns.templates = defaults(years).map_err(|error| (0, error.to_string()))?;
        }
        Ok(patterns)
    }

    /// The forms among them that are read byte by byte, in their order.
    pub(crate) fn hot(&self) -> impl Iterator<Item = Hot> {
        self.templates.iter().filter_map(|template| template.hot)
    }

    fn append(&mut self, line: &str, years: Years) -> Result<(), String> {
        let text = |error: TemplateError| error.to_string();
        let key = if line.contains('%') { line.to_owned() } else { line.to_uppercase() };
        match key.as_str() {
            "{DEFAULT}" => self.extend(defaults(years).map_err(text)?),
            "{^LN-BEG}" => {
                let all = defaults(years).map_err(text)?;
                self.extend(all.into_iter().filter(|template| template.bound_start).collect())
            }
            "{NONE}" => self.push(Template::new("{UNB}^", years).map_err(text)?),
            key if key.contains("{DATE}") => {
                let made = default_patterns().into_iter().enumerate().map(|(index, date)| {
                    let mut template = Template::new(&replace_date(line, &date), years)?;
                    if line == AFTER_BRACKET && index == ACCESS {
                        template.hot = Some(Hot::Access(years));
                    }
                    Ok(Arc::new(template))
                });
                self.extend(made.collect::<Result<_, _>>().map_err(text)?)
            }
            _ => self.push(Template::new(line, years).map_err(text)?),
        }
    }

    fn push(&mut self, template: Template) -> Result<(), String> {
        if self.knows(&template.name) {
            return Err(format!("`{}` is given twice", template.name));
        }
        self.templates.push(Arc::new(template));
        Ok(())
    }

    /// Adds several templates; what is there already is left out, unless nothing was there.
    fn extend(&mut self, templates: Vec<Arc<Template>>) -> Result<(), String> {
        let tolerant = !self.templates.is_empty();
        for template in templates {
            match self.knows(&template.name) {
                true if tolerant => {}
                true => return Err(format!("`{}` is given twice", template.name)),
                false => self.templates.push(template),
            }
        }
        Ok(())
    }

    fn knows(&self, name: &str) -> bool {
        self.templates.iter().any(|template| template.name == name)
    }
}

/// Puts `date`, without what binds it to a line, in the place of each `{DATE}`.
fn replace_date(around: &str, date: &str) -> String {
    const MARK: &str = "{DATE}";
    let date = date.strip_prefix("{^LN-BEG}").unwrap_or(date);
    let upper = around.to_ascii_uppercase();
    let mut out = String::new();
    let mut done = 0;
    for (at, _) in upper.match_indices(MARK) {
        if !around[..at].ends_with('\\') {
            out.push_str(&around[done..at]);
            out.push_str(date);
            done = at + MARK.len();
        }
    }
    out.push_str(&around[done..]);
    out
}

/// The pattern of all filters for access logs: a date after the first bracket of the line.
const AFTER_BRACKET: &str = r"^[^\[]*\[({DATE})";
/// The place of the form that web servers write there among those known.
const ACCESS: usize = 4;

/// The forms of dates that are known without a `datepattern`, in the order of fail2ban's.
fn default_patterns() -> Vec<String> {
    // Fractions of a second may follow, and a year or a zone after that.
    let clock = "%H:%M:%S";
    let padded = r"%k:%M:%S";
    let fraction = r"(?:\.%f)?";
    let any_fraction = r"(?:[,.]%f)?";
    let any_zone = r"(?:\s*%z)?";
    let asctime = format!("(?:%a )?%b %d {padded}{fraction}(?: %ExY)?");
    vec![
        format!(r"%ExY(?P<_sep>[-./])%m(?P=_sep)%d(?:T|  ?){clock}{any_fraction}{any_zone}"),
        asctime.clone(),
        format!("(?:%a )?%b %d %ExY {padded}{fraction}"),
        format!("%d(?P<_sep>[-/])%m(?P=_sep)(?:%ExY|%Exy) {padded}"),
        format!("%d(?P<_sep>[-/])%b(?P=_sep)%ExY[ :]?{clock}{fraction}(?: %z)?"),
        format!("%m/%d/%ExY:{clock}"),
        format!("%m-%d-%ExY {padded}{fraction}"),
        "Epoch".to_owned(),
        format!("{{^LN-BEG}}{clock}"),
        format!("^<%m/%d/%Exy@{clock}>"),
        format!("%Exy%Exm%Exd  ?{clock}"),
        "%b %d, %ExY %I:%M:%S %p".to_owned(),
        format!("^%b-%d-%Exy {padded}"),
        format!("%ExY%Exm%Exd(?:-|T|  ?)%ExH:?%ExM:?%ExS{any_fraction}{any_zone}"),
        format!("(?:%Z )?{asctime}"),
        format!("(?:%z )?{asctime}"),
        "TAI64N".to_owned(),
    ]
}

/// The known forms, made once for all filters: most filters use them, and each of them is
/// compiled at its first use. Filters compiled in another year make their own.
fn defaults(years: Years) -> Result<Vec<Arc<Template>>, TemplateError> {
    static SHARED: OnceLock<(Years, Vec<Arc<Template>>)> = OnceLock::new();
    match SHARED.get() {
        Some((known, templates)) if *known == years => Ok(templates.clone()),
        Some(_) => make_defaults(years),
        None => {
            let made = make_defaults(years)?;
            let (known, templates) = SHARED.get_or_init(|| (years, made.clone()));
            Ok(if *known == years { templates.clone() } else { made })
        }
    }
}

/// The known forms bound to the start of the line, then the same and the others as they are.
fn make_defaults(years: Years) -> Result<Vec<Arc<Template>>, TemplateError> {
    let free = default_patterns();
    let bound = free
        .iter()
        .filter(|text| !text.starts_with("{^LN-BEG}") && !text.starts_with('^'))
        .map(|text| Template::bound(text, years));
    let all = bound.chain(free.iter().map(|text| Template::new(text, years)));
    let mut all = all.collect::<Result<Vec<_>, _>>()?;
    for (template, hot) in all.iter_mut().zip([Hot::Iso(years), Hot::Syslog]) {
        template.hot = Some(hot);
    }
    Ok(all.into_iter().map(Arc::new).collect())
}

/// Where a line's date is, and what it means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) moment: Moment,
}

/// A template in use on one log.
#[derive(Debug)]
struct Slot {
    template: Arc<Template>,
    searcher: Searcher,
    /// Lines on which it won.
    n_won: u32,
    /// Searches in which it matched.
    n_matched: u32,
    last_won: i64,
    /// The column at which its last match began.
    distance: usize,
}

impl Slot {
    fn weight(&self) -> f64 {
        f64::from(self.n_won) * self.template.weight / self.distance.max(1) as f64
    }

    fn is_bound(&self) -> bool {
        self.template.bound_start || self.template.bound_end
    }
}

/// One end of the last date, with the characters around it.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    column: usize,
    before: Option<char>,
    after: Option<char>,
}

/// Finds the dates of one log.
#[derive(Debug)]
pub(crate) struct Detector {
    slots: Vec<Slot>,
    last: usize,
    start: Place,
    end: Place,
    first_unused: usize,
}

/// No template, no place.
const NONE: usize = usize::MAX;

impl Detector {
    /// A detector that has seen no line yet.
    pub(crate) fn new(patterns: &DatePatterns) -> Self {
        let slots = patterns.templates.iter().map(|template| Slot {
            template: Arc::clone(template),
            searcher: Searcher::new(Arc::clone(&template.expression)),
            n_won: 0,
            n_matched: 0,
            last_won: 0,
            distance: NONE,
        });
        Self {
            slots: slots.collect(),
            last: NONE,
            start: Place { column: 1, ..Place::default() },
            end: Place { column: NONE, ..Place::default() },
            first_unused: 0,
        }
    }

    /// The templates that told dates, in the order in which they are tried by now, with how many.
    pub(crate) fn hits(&self) -> impl Iterator<Item = (u32, &str)> {
        let won = self.slots.iter().filter(|slot| slot.n_won > 0);
        won.map(|slot| (slot.n_won, slot.template.name.as_str()))
    }

    /// Finds the date of `line`.
    pub(crate) fn find(
        &mut self,
        line: Subject<'_>,
        now: Timestamp,
        budget: &mut Budget,
    ) -> Option<Found> {
        if let Some(found) = self.hot(line, now) {
            return Some(found);
        }
        let winner = self.winner(line, budget)?;
        let slot = &mut self.slots[winner];
        let (from, to) = slot.searcher.span(0)?;
        let (start, end) = slot.searcher.span(1).unwrap_or((from, from));
        let moment = slot.template.read(&slot.searcher, line.text);
        self.settle(winner, line, (from, to), now);
        Some(Found { start, end, moment })
    }

    /// What the last winner, which is bound to the start of the line, reads without its
    /// expression.
    fn hot(&mut self, line: Subject<'_>, now: Timestamp) -> Option<Found> {
        let bytes = line.text.as_bytes();
        let (start, end, moment) = self.form()?.read(bytes)?;
        let end_column = line.column(end);
        self.win(1, line.text.chars().next(), end_place(bytes, end, end_column), now);
        Some(Found { start, end, moment })
    }

    /// The form in which the last winner reads dates without its expression.
    pub(crate) fn form(&self) -> Option<Hot> {
        self.slots.get(self.last)?.template.hot
    }

    /// Passes over lines whose dates are of this form; `line` is the last of them, ASCII as far
    /// as the end of its date.
    pub(crate) fn pass(&mut self, n_lines: u32, line: &[u8], end: usize, now: Timestamp) {
        let first = line.first().copied().map(char::from);
        self.win(n_lines, first, end_place(line, end, end), now);
    }

    /// Notes that the last winner, which is bound to the start of the line, won again.
    fn win(&mut self, n_lines: u32, first: Option<char>, end: Place, now: Timestamp) {
        let Some(slot) = self.slots.get_mut(self.last) else { return };
        slot.n_won = slot.n_won.saturating_add(n_lines);
        slot.last_won = now.as_second();
        slot.distance = 0;
        self.start = Place { column: 0, before: None, after: first };
        self.end = end;
    }

    /// Notes who won, and where.
    fn settle(&mut self, winner: usize, line: Subject<'_>, span: (usize, usize), now: Timestamp) {
        let slot = &mut self.slots[winner];
        slot.n_won = slot.n_won.saturating_add(1);
        slot.last_won = now.as_second();
        slot.distance = line.column(span.0);
        if self.first_unused == winner {
            self.first_unused += 1;
        }
        self.start = place(line, span.0);
        self.end = place(line, span.1);
        let moved = winner != 0 && winner != self.last;
        self.last = if moved { self.rise(winner) } else { winner };
    }

    /// The template that tells the date; its searcher holds the match.
    fn winner(&mut self, line: Subject<'_>, budget: &mut Budget) -> Option<usize> {
        let mut tried = None;
        let mut candidate = None;
        if let Some((matched, whole)) = self.try_last(line, budget) {
            tried = whole.then_some(self.last);
            if let Some((from, to)) = matched {
                let same =
                    line.column(from) == self.start.column && line.column(to) == self.end.column;
                if self.slots.len() == 1 || self.slots[self.last].is_bound() || same {
                    return Some(self.last);
                }
                candidate = Some((self.last, from, to));
            }
        }
        for index in 0..self.slots.len() {
            if tried == Some(index) {
                continue;
            }
            let Some((from, to)) = self.search(index, line, 0, line.text.len(), budget) else {
                continue;
            };
            let next_is_fresh = self.slots.get(index + 1).is_none_or(|next| next.n_matched == 0);
            let slot = &self.slots[index];
            let settled = index + 1 == self.slots.len()
                || slot.is_bound()
                || (from == 0 && slot.n_won > 0 && next_is_fresh);
            let column = line.column(from);
            if settled || (column <= slot.distance && column <= self.start.column) {
                return Some(index);
            }
            // Further right than usual: perhaps a date in the message. The leftmost will do.
            if candidate.is_none_or(|(_, best, _)| from < best) {
                candidate = Some((index, from, to));
            }
        }
        let (index, from, to) = candidate?;
        // Tried at its last place and then on the whole line, the searcher holds the wrong match.
        if self.slots[index].searcher.span(0) != Some((from, to)) {
            let (from, to) = (line.byte(self.start.column), line.byte(self.end.column));
            self.search(index, line, from, to, budget)?;
        }
        Some(index)
    }

    /// Tries the last winner: what it matched, and whether all of the line was searched.
    fn try_last(
        &mut self,
        line: Subject<'_>,
        budget: &mut Budget,
    ) -> Option<(Option<(usize, usize)>, bool)> {
        let bound = self.slots.get(self.last)?.is_bound();
        let (from, to) = (line.byte(self.start.column), line.byte(self.end.column));
        let here = alike(place(line, from), self.start) && alike_end(place(line, to), self.end);
        let whole = bound || !here;
        let (from, to) = if whole { (0, line.text.len()) } else { (from, to) };
        Some((self.search(self.last, line, from, to, budget), whole))
    }

    fn search(
        &mut self,
        index: usize,
        line: Subject<'_>,
        from: usize,
        to: usize,
        budget: &mut Budget,
    ) -> Option<(usize, usize)> {
        let slot = &mut self.slots[index];
        let reach = line.text.floor_char_boundary(DATE_REACH);
        let cut = to > reach && !slot.template.bound_end;
        let to = if cut { reach } else { to };
        if from > to || !slot.searcher.search_in(line, from, to, budget) {
            return None;
        }
        // What ends where the line was cut might have gone on.
        let found = slot.searcher.span(0).filter(|&(_, end)| !(cut && end == reach))?;
        slot.n_matched = slot.n_matched.saturating_add(1);
        Some(found)
    }

    /// Moves a winner forward in the order, and says where it went.
    fn rise(&mut self, index: usize) -> usize {
        let half = if self.first_unused < index { self.first_unused } else { index / 2 };
        let target = if self.may_displace(index, half) {
            half
        } else if half + 1 != index && self.may_displace(index, index - 1) {
            index - 1
        } else {
            return index;
        };
        let slot = self.slots.remove(index);
        self.slots.insert(target, slot);
        while self.slots.get(self.first_unused).is_some_and(|slot| slot.n_won > 0) {
            self.first_unused += 1;
        }
        target
    }

    fn may_displace(&self, index: usize, target: usize) -> bool {
        let (slot, other) = (&self.slots[index], &self.slots[target]);
        slot.weight() > other.weight() || slot.last_won - LONG_UNUSED_SECONDS > other.last_won
    }
}

/// The place where a date ends that a byte parser read: the characters around it are ASCII.
fn end_place(line: &[u8], end: usize, column: usize) -> Place {
    let at = |place: usize| line.get(place).copied().map(char::from);
    Place { column, before: at(end - 1), after: at(end) }
}

fn place(line: Subject<'_>, at: usize) -> Place {
    let before = line.text[..at].chars().next_back();
    let after = line.text[at..].chars().next();
    Place { column: line.column(at), before, after }
}

/// Whether a date may start here as the last one did: after the same character, or with the same
/// one if that is no letter or digit.
fn alike(here: Place, last: Place) -> bool {
    here.before == last.before || (here.after == last.after && !is_alphanumeric(last.after))
}

/// Whether a date may end here as the last one did.
fn alike_end(here: Place, last: Place) -> bool {
    here.after == last.after || (here.before == last.before && !is_alphanumeric(last.before))
}

fn is_alphanumeric(found: Option<char>) -> bool {
    found.is_some_and(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that repeat with their seed (xorshift).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % end
        }
    }

    /// The bytes that a mutation puts somewhere into a line.
    const BYTES: &[u8] = b"  0123456789:::..,,--//TZZ++JanxyzUG_[[]]\x0b\x1c\t";

    /// Reads `line` by the expression of a template.
    fn by_expression(template: &Template, line: &str) -> Option<(usize, usize, Moment)> {
        let mut searcher = Searcher::new(Arc::clone(&template.expression));
        let found = searcher.search(Subject::new(line), &mut Budget::default());
        let (start, end) = found.then(|| searcher.span(1)).flatten()?;
        Some((start, end, template.read(&searcher, line)))
    }

    /// The byte parsers read what the expressions read, or leave it to them.
    #[test]
    fn hot_forms_are_exact() {
        let whole = [
            "2026-11-22T06:05:09.123456+01:00 host sshd[1]: x",
            "2026-11-22 06:05:09 host sshd[1]: x",
            "2026-11-22T06:05:09Z host sshd[1]: x",
            "2026/11/22 06:05:09,123 [x]",
            "2026-11-22T06:05:09-0530",
            "Nov 22 06:05:09 host sshd[1]: x",
            "Nov  2 06:05:09: x",
            "Nov 02 16:05:59 1 x",
            "192.0.2.7 - - [02/Nov/2026:16:05:59 +0100] \"GET / HTTP/1.1\" 200 1",
        ];
        let mut templates = defaults(Years::at(2026)).unwrap_or_default();
        let access = DatePatterns::read(Some(AFTER_BRACKET), Years::at(2026));
        templates.extend(access.map(|patterns| patterns.templates).unwrap_or_default());
        let mut dice = Dice(0x407);
        let (mut n_hot, mut n_whole) = (0, 0);
        for round in 0..40_000_usize {
            let mut line = whole[round % whole.len()].as_bytes().to_vec();
            let n_mutations = if round < whole.len() { 0 } else { dice.below(4) };
            for _ in 0..n_mutations {
                let at = dice.below(line.len() as u64) as usize;
                let byte = BYTES[dice.below(BYTES.len() as u64) as usize];
                match dice.below(4) {
                    0 => line.insert(at, byte),
                    1 => drop(line.remove(at)),
                    2 => line.truncate(at + 12),
                    _ => line[at] = byte,
                }
            }
            let line = String::from_utf8_lossy(&line);
            for template in &templates {
                let Some(hot) = template.hot else { continue };
                let read = hot.read(line.as_bytes());
                if let Some((start, end, moment)) = read {
                    n_hot += 1;
                    n_whole += usize::from(round < whole.len());
                    let want = by_expression(template, &line);
                    assert_eq!(want, Some((start, end, moment)), "{line:?}");
                    // Nothing further behind it matters.
                    let kept = line.len().min(end + Hot::LOOKS_BEYOND);
                    if let Some(kept) = line.as_bytes().get(..kept).filter(|it| it.len() > end + 1)
                    {
                        let other = [kept, &BYTES[..dice.below(9) as usize]].concat();
                        assert_eq!(hot.read(&other), read, "{other:?}");
                    }
                }
            }
        }
        assert_eq!(n_whole, whole.len(), "each line as written is read by one of them");
        assert!(n_hot > 10_000, "{n_hot}");
    }
}
