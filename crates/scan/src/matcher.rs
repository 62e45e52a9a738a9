//! The matcher: a filter's expressions at work, and what they remember between lines.

use std::sync::Arc;

use jiff::Timestamp;

use crate::address::{IdKind, address, free_form};
use crate::buffer::{CutLine, join, part};
use crate::connections::Connections;
use crate::dating::{Dated, When};
use crate::expression::Subject;
use crate::fields::{Caught, FieldNames, Fields, Name};
use crate::filter::Filter;
use crate::scanner::{Hit, Outcome};
use crate::search::{Finding, Findings, Match, Reach, Search, inner};
use crate::sieve::Rules;

/// A line on its way through the expressions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'l> {
    pub(crate) dated: Dated<'l>,
    /// What stands in front of a line that has the date of another.
    pub(crate) last_text: &'l str,
    /// When it was written, and whether that is known; none if its failures do not count.
    pub(crate) time: Option<(Timestamp, bool)>,
    pub(crate) now: Timestamp,
    pub(crate) reach: Reach,
    /// Whether the id is the text as it stands.
    pub(crate) raw: bool,
    /// Whether a hit tells its fields and its lines.
    pub(crate) evidence: bool,
}

impl Line<'_> {
    fn parts(&self) -> [&str; 3] {
        let Dated { before, date, after, when } = self.dated;
        [before, if matches!(when, When::Last(_)) { self.last_text } else { date }, after]
    }

    /// The line as it was written, made for those who want to see it.
    fn shown(self) -> impl Iterator<Item = String> {
        Some(self).filter(|it| it.evidence).into_iter().map(|it| it.parts().concat())
    }

    fn cut(&self) -> CutLine {
        let [before, date, after] = self.parts().map(str::to_owned);
        CutLine { before, date, after }
    }
}

/// A filter's expressions at work on one log.
#[derive(Debug)]
pub(crate) struct Matcher {
    pub(crate) search: Search,
    memory: Memory,
    /// The last lines, where `maxlines` is more than one.
    lines: Vec<CutLine>,
    /// What was found in the last line; kept for its memory.
    findings: Findings,
}

/// What a filter remembers of the lines that it matched.
#[derive(Debug)]
struct Memory {
    filter: Arc<Filter>,
    connections: Connections,
    /// What a match caught, and what `prefregex` did; kept for their memory.
    fields: Fields,
    before: Fields,
    /// What is cut from a line for them; kept for its memory.
    content: String,
    connection: String,
}

impl Matcher {
    /// A matcher that has seen nothing yet.
    pub(crate) fn new(filter: Arc<Filter>) -> Self {
        Self {
            search: Search::new(&filter),
            memory: Memory {
                filter,
                connections: Connections::default(),
                fields: Fields::default(),
                before: Fields::default(),
                content: String::new(),
                connection: String::new(),
            },
            lines: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// Looks for failures in `line`, of which `text` is what is left without its date; only the
    /// expressions that are `wanted` can match.
    pub(crate) fn find(
        &mut self,
        line: Line<'_>,
        text: &str,
        wanted: Rules,
        told: &mut Vec<Outcome>,
    ) {
        if self.memory.filter.max_lines > 1 {
            return self.find_in_several(line, told);
        }
        let mut findings = std::mem::take(&mut self.findings);
        findings.clear();
        let Self { search, memory, .. } = self;
        let (whole, has_time) = (Subject::new(text), line.time.is_some());
        search.find(&memory.filter, whole, wanted, has_time, line.reach, &mut findings);
        self.tell(line, text, &findings.list, &findings.spans, told);
        self.findings = findings;
    }

    /// Tells what it means that this was found in a line.
    pub(crate) fn tell(
        &mut self,
        line: Line<'_>,
        text: &str,
        findings: &[Finding],
        spans: &[Caught],
        told: &mut Vec<Outcome>,
    ) {
        for finding in findings {
            match (finding, line.time) {
                (Finding::Ignored(index), _) => told.push(Outcome::Ignored(*index)),
                (Finding::Match(found), Some(_))
                    if self.memory.forgets(text, found, spans, line.now) =>
                {
                    told.push(Outcome::Remembered { failregex: found.failregex });
                }
                (Finding::Match(found), Some(time)) => {
                    self.memory.catch(text, found, spans);
                    told.extend(self.memory.outcome(found.failregex, line.shown(), line, time));
                }
                (Finding::Match(_), None) => {}
            }
        }
    }

    /// The same where expressions look at the last lines together, and take the lines of a
    /// match away.
    fn find_in_several(&mut self, line: Line<'_>, told: &mut Vec<Outcome>) {
        let filter = Arc::clone(&self.memory.filter);
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(line.cut());
        lines.drain(..lines.len().saturating_sub(filter.max_lines));
        let mut text = join(&lines);
        self.lines = lines.clone();
        if filter.ignores_first()
            && let Some(index) = self.search.ignored(Subject::new(&text), line.reach, Rules::ALL)
        {
            return told.push(Outcome::Ignored(index));
        }
        self.findings.clear();
        let spans = &mut self.findings.spans;
        let Some(content) = self.search.enter(&filter, Subject::new(&text), spans) else { return };
        self.memory.catch_before(&text, spans);
        if let Some((start, end)) = content {
            let content = &text[start..end];
            let after = content.strip_suffix('\n').unwrap_or(content).to_owned();
            self.lines = vec![CutLine { after, ..CutLine::default() }];
            text = join(&self.lines);
        }
        for failregex in 0..filter.failures.len() {
            let searcher = &mut self.search.failures[failregex];
            if !searcher.search(Subject::new(&text), &mut self.search.budget) {
                continue;
            }
            let span = searcher.span(0).unwrap_or_default();
            self.findings.spans.clear();
            filter.failures[failregex].groups.spans(searcher, &mut self.findings.spans);
            self.memory.catch_inside(failregex, &text, &self.findings.spans);
            let parted = part(&lines, &text, span, &skipped(&self.memory.fields, &filter.fields));
            let matched_text = join(&parted.matched);
            let ignored = if filter.ignored.is_empty() {
                None
            } else {
                self.search.ignored(Subject::new(&matched_text), line.reach, Rules::ALL)
            };
            if ignored.is_none() && line.time.is_none() {
                continue;
            }
            self.lines = parted.unmatched;
            text = join(&self.lines);
            if let Some(index) = ignored {
                told.push(Outcome::Ignored(index));
            } else if let Some(time) = line.time {
                let lines = parted.matched.iter().map(CutLine::whole);
                told.extend(self.memory.outcome(failregex, lines, line, time));
            }
            if line.reach == Reach::First && !told.is_empty() {
                break;
            }
        }
    }
}

impl Memory {
    /// Whether a match is no failure and only ends a connection, of which nothing is known: nothing
    /// is of it afterwards. Most connections end so.
    fn forgets(&mut self, text: &str, found: &Match, spans: &[Caught], now: Timestamp) -> bool {
        let groups = &self.filter.failures[found.failregex].groups;
        let is_caught = |name| groups.caught(name, &spans[found.caught..]).is_some();
        let ends = is_caught(Name::MLFFORGET)
            && (is_caught(Name::NOFAIL) || is_caught(Name::MLFGAINED))
            && !groups.has(Name::MLFID);
        let id = self.filter.prefix.as_ref().filter(|_| ends).and_then(|prefix| {
            let (start, end) = prefix.groups.caught(Name::MLFID, &spans[found.before..])?;
            text.get(start..end)
        });
        id.is_some_and(|id| !self.connections.knows(id, now))
    }

    /// Makes the fields of what was found in `text`.
    fn catch(&mut self, text: &str, found: &Match, spans: &[Caught]) {
        self.catch_before(text, &spans[found.before..]);
        let mut room = std::mem::take(&mut self.content);
        let inner = inner(text, found.content, &mut room);
        self.catch_inside(found.failregex, inner, &spans[found.caught..]);
        self.content = room;
    }

    /// The part of `prefregex` in them.
    fn catch_before(&mut self, text: &str, spans: &[Caught]) {
        if let Some(prefix) = &self.filter.prefix {
            prefix.groups.catch(text, spans, &mut self.before);
        }
    }

    /// The part of a failregex, above what `prefregex` caught.
    fn catch_inside(&mut self, failregex: usize, text: &str, spans: &[Caught]) {
        self.filter.failures[failregex].groups.catch(text, spans, &mut self.fields);
        self.fields.underlay(&self.before);
    }

    /// What a match means whose fields are caught, with what is known of its connection; nothing
    /// if no group that could tell an id took part in it.
    fn outcome(
        &mut self,
        failregex: usize,
        lines: impl Iterator<Item = String>,
        line: Line<'_>,
        time: (Timestamp, bool),
    ) -> Option<Outcome> {
        let Self { filter, connections, fields, connection, .. } = self;
        let teller = Teller { filter, failregex, line, time };
        let Some(id) = fields.shown(Name::MLFID) else {
            return teller.failure(fields, || lines.collect());
        };
        connection.clear();
        connection.push_str(&id);
        let case = connections.merge(connection, fields, lines, line.now);
        if case.is_no_failure() {
            // fail2ban looks for an id of it where it tries every expression, and only there.
            if line.reach == Reach::Every {
                case.pending = !Id::is_told(&mut case.fields, filter.raw || line.raw);
            }
            return Some(Outcome::Remembered { failregex });
        }
        // Another line of the connection would begin anew.
        let failure = teller.failure(&mut case.fields, || std::mem::take(&mut case.matches));
        case.pending = failure.is_none();
        Some(failure.unwrap_or(Outcome::Pending { failregex }))
    }
}

/// What a failure is told with.
#[derive(Clone, Copy)]
struct Teller<'a> {
    filter: &'a Filter,
    failregex: usize,
    line: Line<'a>,
    time: (Timestamp, bool),
}

impl Teller<'_> {
    /// The failure of these fields and lines, if the fields tell whose it is.
    fn failure(self, fields: &mut Fields, lines: impl FnOnce() -> Vec<String>) -> Option<Outcome> {
        let Id { text, kind, group } = Id::of(fields, self.filter.raw || self.line.raw)?;
        let (time, dated) = self.time;
        let names = &self.filter.fields;
        Some(Outcome::Failure(Hit {
            id: text,
            kind,
            time,
            dated,
            failregex: self.failregex,
            n_attempts: 1,
            fields: if self.line.evidence { fields.others(group, names) } else { Vec::new() },
            matches: lines(),
        }))
    }
}

/// All that `<SKIPLINES>` passed over.
fn skipped(fields: &Fields, names: &FieldNames) -> String {
    let groups = (0..).map(|number| names.find(&format!("skiplines{number}")));
    let caught = groups.map_while(|name| name.filter(|name| fields.has(*name)));
    caught.filter_map(|name| fields.text(name)).collect()
}

/// Who failed, and which group told it.
struct Id {
    text: String,
    kind: IdKind,
    group: Name,
}

impl Id {
    /// Whether there is one, with what `of` does to the fields.
    fn is_told(fields: &mut Fields, raw: bool) -> bool {
        if fields.has(Name::FID) {
            return Self::of(fields, raw).is_some();
        }
        [Name::IP4, Name::IP6, Name::DNS].iter().any(|name| fields.text(*name).is_some())
    }

    /// The first of `fid`, `ip4`, `ip6` and `dns` that there is; `raw` takes the text as it is.
    fn of(fields: &mut Fields, raw: bool) -> Option<Self> {
        let free = fields.shown(Name::FID).map(|free| free.into_owned());
        let prefix = || fields.text(Name::CIDR).and_then(|digits| digits.parse().ok());
        let (text, kind, group) = if let Some(text) = fields.text(Name::IP4) {
            let (text, kind) = address(text, prefix());
            (text, kind, Name::IP4)
        } else if let Some(text) = fields.text(Name::IP6) {
            let (text, kind) = address(text, prefix());
            (text, kind, Name::IP6)
        } else if let Some(text) = fields.text(Name::DNS) {
            let name = text.to_owned();
            if raw {
                (name, IdKind::Id, Name::DNS)
            } else {
                let (text, kind) = free_form(&name);
                let kind = if kind == IdKind::Address { kind } else { IdKind::Name };
                return Some(Self { text, kind, group: Name::DNS });
            }
        } else {
            let text = free?;
            let (text, kind) = if raw { (text, IdKind::Id) } else { free_form(&text) };
            return Some(Self { text, kind, group: Name::FID });
        };
        let caught = fields.text(group);
        match free.filter(|free| Some(free.as_str()) != caught) {
            None => Some(Self { text, kind, group }),
            // A complex id: the address is one more field.
            Some(free) => {
                fields.set(Name::IP, &text);
                let (text, kind) = if raw { (free, IdKind::Id) } else { free_form(&free) };
                Some(Self { text, kind, group: Name::FID })
            }
        }
    }
}
