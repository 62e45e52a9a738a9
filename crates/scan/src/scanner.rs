//! A scanner: one filter at work on one log, and what it remembers between lines.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::address::{IdKind, address, free_form};
use crate::buffer::{CutLine, join, part};
use crate::connections::{Case, Connections, connection_id};
use crate::date::{Clock, Detector, Found};
use crate::expression::{Budget, Searcher, Subject};
use crate::fields::{Fields, Value};
use crate::filter::{Filter, Rule};

/// A line without a date was written when the last one was, if that was so long ago at most.
const LAST_DATE_HOLDS: SignedDuration = SignedDuration::from_secs(60);

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

/// Whether a line is done with at its first failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reach {
    First,
    Every,
}

/// A line with the date cut out.
#[derive(Clone, Copy, Debug)]
struct Cut<'l> {
    before: &'l str,
    date: &'l str,
    after: &'l str,
}

impl Cut<'_> {
    fn to_owned(self) -> CutLine {
        let [before, date, after] = [self.before, self.date, self.after].map(str::to_owned);
        CutLine { before, date, after }
    }
}

/// When a line was written, as far as it is known.
#[derive(Clone, Copy, Debug)]
struct When {
    time: Timestamp,
    dated: bool,
}

/// The last date of a log.
#[derive(Clone, Debug)]
struct LastDate {
    time: Timestamp,
    text: String,
}

/// One filter at work on one log.
#[derive(Debug)]
pub struct Scanner {
    filter: Arc<Filter>,
    settings: Settings,
    prefix: Option<Searcher>,
    failures: Vec<Searcher>,
    ignored: Vec<Searcher>,
    detector: Detector,
    last_date: Option<LastDate>,
    connections: Connections,
    /// The last lines, where `maxlines` is more than one.
    lines: Vec<CutLine>,
    budget: Budget,
    n_lines: u64,
}

impl Scanner {
    /// A scanner that has seen nothing yet.
    pub fn new(filter: Arc<Filter>, settings: Settings) -> Self {
        let searchers = |rules: &[Rule]| {
            rules.iter().map(|rule| Searcher::new(Arc::clone(&rule.expression))).collect()
        };
        Self {
            settings,
            prefix: filter.prefix.as_ref().map(|it| Searcher::new(Arc::clone(&it.expression))),
            failures: searchers(&filter.failures),
            ignored: searchers(&filter.ignored),
            detector: Detector::new(&filter.dates),
            last_date: None,
            connections: Connections::default(),
            lines: Vec::new(),
            budget: Budget::default(),
            n_lines: 0,
            filter,
        }
    }

    /// Looks at a line, with or without its end, at the time it is `now`.
    pub fn line(&mut self, line: &[u8], now: Timestamp) -> Outcome {
        let mut outcomes = self.look(line, None, now, Reach::First);
        outcomes.pop().unwrap_or(Outcome::Missed)
    }

    /// Looks at an entry whose date is known, as a journal's is: none is looked for in its text.
    pub fn dated_line(&mut self, line: &[u8], at: Timestamp, now: Timestamp) -> Outcome {
        let mut outcomes = self.look(line, Some(at), now, Reach::First);
        outcomes.pop().unwrap_or(Outcome::Missed)
    }

    /// Looks at a line with every expression, as fail2ban-regex does: all that matched, in
    /// order, and nothing for a line that was missed. `at` is the date where it is known.
    pub fn every(&mut self, line: &[u8], at: Option<Timestamp>, now: Timestamp) -> Vec<Outcome> {
        self.look(line, at, now, Reach::Every)
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
        Statistics { n_lines: self.n_lines, n_exceeded: self.budget.n_exceeded_ever }
    }

    fn look(
        &mut self,
        line: &[u8],
        at: Option<Timestamp>,
        now: Timestamp,
        reach: Reach,
    ) -> Vec<Outcome> {
        self.n_lines += 1;
        self.budget.refill();
        let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
        let filter = Arc::clone(&self.filter);
        let text = filter.encoding.decode(&line[..end.map_or(0, |at| at + 1)]);
        let last_text;
        let (cut, when) = match at {
            Some(time) => {
                self.last_date = Some(LastDate { time, text: String::new() });
                (Cut { before: "", date: "", after: &text }, Some(When { time, dated: true }))
            }
            None => {
                let found = self.detector.find(Subject::new(&text), now, &mut self.budget);
                let (cut, when) = self.date(&text, found, now);
                match cut {
                    Some(cut) => (cut, when),
                    None => {
                        last_text = self.last_date.as_ref().map(|it| it.text.clone());
                        let date = last_text.as_deref().unwrap_or_default();
                        (Cut { before: "", date, after: &text }, when)
                    }
                }
            }
        };
        let too_old = |since| when.is_some_and(|when| when.time < since);
        if self.settings.since.is_some_and(too_old) {
            return Vec::new();
        }
        let mut search = Search { scanner: self, filter: &filter, when, now, reach };
        search.find(cut)
    }

    /// Takes the date out of a line: the line cut, or none where the last date stands for its
    /// own, and the time, where there is any.
    fn date<'l>(
        &mut self,
        text: &'l str,
        found: Option<Found>,
        now: Timestamp,
    ) -> (Option<Cut<'l>>, Option<When>) {
        let clock = Clock { now, zone: &self.settings.zone, offset: self.filter.offset };
        let recent = |date: &&LastDate| date.time > now - LAST_DATE_HOLDS;
        let last = self.last_date.as_ref().filter(recent);
        let last = last.map(|date| When { time: date.time, dated: true });
        let now = When { time: now, dated: false };
        let Some(found) = found else {
            let undated = (self.settings.undated == Undated::Now).then_some(now);
            let cut = Cut { before: "", date: "", after: text };
            return last.map_or((Some(cut), undated), |last| (None, Some(last)));
        };
        let date = &text[found.start..found.end];
        let cut = Cut { before: &text[..found.start], date, after: &text[found.end..] };
        if date.is_empty() {
            // The pattern itself says that there may be none: now is what it means.
            let now = When { dated: true, ..now };
            return last.map_or((Some(cut), Some(now)), |last| (None, Some(last)));
        }
        let Some(time) = found.moment.resolve(clock) else {
            let undated = (self.settings.undated == Undated::Now).then_some(now);
            return last.map_or((Some(cut), undated), |last| (None, Some(last)));
        };
        self.last_date = Some(LastDate { time, text: date.to_owned() });
        (Some(cut), Some(When { time, dated: true }))
    }
}

/// One line's way through the expressions.
struct Search<'s> {
    scanner: &'s mut Scanner,
    filter: &'s Filter,
    when: Option<When>,
    now: Timestamp,
    reach: Reach,
}

impl Search<'_> {
    fn find(&mut self, cut: Cut<'_>) -> Vec<Outcome> {
        let max_lines = self.filter.max_lines;
        let several = max_lines > 1;
        let lines = if several {
            let mut lines = std::mem::take(&mut self.scanner.lines);
            lines.push(cut.to_owned());
            lines.drain(..lines.len().saturating_sub(max_lines));
            self.scanner.lines = lines.clone();
            lines
        } else {
            vec![cut.to_owned()]
        };
        let mut text = join(&lines);
        let mut found = Vec::new();
        if self.filter.ignores_first()
            && let Some(index) = self.ignored(&text)
        {
            return vec![Outcome::Ignored(index)];
        }
        let mut before = Fields::default();
        if let (Some(prefix), Some(rule)) = (&mut self.scanner.prefix, &self.filter.prefix) {
            if !prefix.search(Subject::new(&text), &mut self.scanner.budget) {
                return found;
            }
            before = rule.groups.caught(prefix, &text);
            let content = before.text("content").filter(|it| !it.is_empty()).map(str::to_owned);
            before.remove("content");
            if let Some(content) = content {
                if several {
                    let after = content.clone();
                    self.scanner.lines = vec![CutLine { after, ..CutLine::default() }];
                }
                text = content + "\n";
            }
        }
        for index in 0..self.filter.failures.len() {
            let searcher = &mut self.scanner.failures[index];
            if !searcher.search(Subject::new(&text), &mut self.scanner.budget) {
                continue;
            }
            let rule = &self.filter.failures[index];
            let fields = rule.groups.caught(searcher, &text);
            let span = searcher.span(0).unwrap_or_default();
            let parted = part(&lines, &text, span, &skipped(&fields));
            if !self.filter.ignored.is_empty() {
                let ignored = if several {
                    self.ignored(&join(&parted.matched))
                } else {
                    self.ignored(&text)
                };
                if let Some(ignored) = ignored {
                    found.push(Outcome::Ignored(ignored));
                    if several {
                        self.scanner.lines = parted.unmatched;
                        text = join(&self.scanner.lines);
                    }
                    match self.reach {
                        Reach::First => break,
                        Reach::Every => continue,
                    }
                }
            }
            let Some(when) = self.when else { continue };
            if several {
                self.scanner.lines = parted.unmatched;
                text = join(&self.scanner.lines);
            }
            let mut all = before.clone();
            all.overwrite(fields);
            let matches = parted.matched.iter().map(CutLine::whole).collect();
            found.push(self.outcome(index, all, matches, when));
            if self.reach == Reach::First {
                break;
            }
        }
        found
    }

    /// The number of the `ignoreregex` that matches; the last one, where all are looked at.
    fn ignored(&mut self, text: &str) -> Option<usize> {
        let mut found = None;
        for (index, searcher) in self.scanner.ignored.iter_mut().enumerate() {
            if searcher.search(Subject::new(text), &mut self.scanner.budget) {
                found = Some(index);
                if self.reach == Reach::First {
                    break;
                }
            }
        }
        found
    }

    /// What a match means, with what is known of its connection.
    fn outcome(
        &mut self,
        failregex: usize,
        fields: Fields,
        matches: Vec<String>,
        when: When,
    ) -> Outcome {
        let connection = connection_id(&fields);
        let mut case = match &connection {
            Some(id) => self.scanner.connections.merge(id, fields, matches, self.now),
            None => Case::new(fields, matches),
        };
        let no_failure = connection.is_some() && case.is_no_failure();
        if no_failure && self.reach == Reach::First {
            return Outcome::Remembered { failregex };
        }
        let raw = self.filter.raw || self.scanner.settings.raw;
        let id = Id::of(&mut case.fields, raw);
        if let Some(connection) = &connection {
            case.pending = id.is_none();
            self.scanner.connections.keep(connection, &case);
        }
        match id {
            _ if no_failure => Outcome::Remembered { failregex },
            None => Outcome::Pending { failregex },
            Some(id) => Outcome::Failure(Hit {
                id: id.text,
                kind: id.kind,
                time: when.time,
                dated: when.dated,
                failregex,
                n_attempts: 1,
                fields: case.fields.into_others(id.groups),
                matches: case.matches,
            }),
        }
    }
}

/// All that `<SKIPLINES>` passed over.
fn skipped(fields: &Fields) -> String {
    let names = (0..).map(|number| format!("skiplines{number}"));
    let groups = names.map_while(|name| fields.has(&name).then(|| fields.text(&name)));
    groups.flatten().collect()
}

/// Who failed, and which groups told it.
struct Id {
    text: String,
    kind: IdKind,
    groups: &'static [&'static str],
}

impl Id {
    /// The first of `fid`, `ip4`, `ip6` and `dns` that there is; `raw` takes the text as it is.
    fn of(fields: &mut Fields, raw: bool) -> Option<Self> {
        let free = fields.get("fid").cloned().map(Value::into_text);
        let prefix = || fields.text("cidr").and_then(|digits| digits.parse().ok());
        let (text, kind, group): (_, _, &'static [_]) = if let Some(text) = fields.text("ip4") {
            let (text, kind) = address(text, prefix());
            (text, kind, &["ip4"])
        } else if let Some(text) = fields.text("ip6") {
            let (text, kind) = address(text, prefix());
            (text, kind, &["ip6"])
        } else if let Some(text) = fields.text("dns") {
            let name = text.to_owned();
            if raw {
                (name, IdKind::Id, &["dns"])
            } else {
                let (text, kind) = free_form(&name);
                let kind = if kind == IdKind::Address { kind } else { IdKind::Name };
                return Some(Self { text, kind, groups: &["dns"] });
            }
        } else {
            let text = free?;
            let (text, kind) = if raw { (text, IdKind::Id) } else { free_form(&text) };
            return Some(Self { text, kind, groups: &["fid"] });
        };
        let caught = fields.text(group[0]);
        match free.filter(|free| Some(free.as_str()) != caught) {
            None => Some(Self { text, kind, groups: group }),
            // A complex id: the address is one more field.
            Some(free) => {
                fields.set("ip", Some(Value::Text(text)));
                let (text, kind) = if raw { (free, IdKind::Id) } else { free_form(&free) };
                Some(Self { text, kind, groups: &["fid"] })
            }
        }
    }
}
