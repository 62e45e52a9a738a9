//! The matcher: a filter's expressions at work, and what they remember between lines.

use std::sync::Arc;

use jiff::Timestamp;

use crate::address::{IdKind, address, free_form};
use crate::buffer::{CutLine, join, part};
use crate::connections::{Case, Connections, connection_id};
use crate::dating::{Dated, When};
use crate::expression::{Budget, Searcher, Subject};
use crate::fields::{Fields, Value};
use crate::filter::{Filter, Rule};
use crate::scanner::{Hit, Outcome};
use crate::sieve::Rules;

/// Whether a line is done with at its first match.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reach {
    First,
    Every,
}

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
}

impl Line<'_> {
    fn cut(&self) -> CutLine {
        let Dated { before, date, after, when } = self.dated;
        let date = if matches!(when, When::Last(_)) { self.last_text } else { date };
        let [before, date, after] = [before, date, after].map(str::to_owned);
        CutLine { before, date, after }
    }
}

/// A filter's expressions at work on one log.
#[derive(Debug)]
pub(crate) struct Matcher {
    filter: Arc<Filter>,
    prefix: Option<Searcher>,
    failures: Vec<Searcher>,
    ignored: Vec<Searcher>,
    connections: Connections,
    /// The last lines, where `maxlines` is more than one.
    lines: Vec<CutLine>,
    pub(crate) budget: Budget,
}

/// What an expression matched.
struct Match {
    failregex: usize,
    fields: Fields,
    lines: Vec<String>,
}

impl Matcher {
    /// A matcher that has seen nothing yet.
    pub(crate) fn new(filter: Arc<Filter>) -> Self {
        let searchers = |rules: &[Rule]| {
            rules.iter().map(|rule| Searcher::new(Arc::clone(&rule.expression))).collect()
        };
        Self {
            prefix: filter.prefix.as_ref().map(|it| Searcher::new(Arc::clone(&it.expression))),
            failures: searchers(&filter.failures),
            ignored: searchers(&filter.ignored),
            connections: Connections::default(),
            lines: Vec::new(),
            budget: Budget::default(),
            filter,
        }
    }

    /// Looks for failures in `line`, of which `text` is what is left without its date; only the
    /// expressions that are `wanted` can match.
    pub(crate) fn find(&mut self, line: Line<'_>, text: &str, wanted: Rules) -> Vec<Outcome> {
        let filter = Arc::clone(&self.filter);
        if filter.max_lines > 1 {
            return self.find_in_several(&filter, line);
        }
        let mut found = Vec::new();
        let whole = Subject::new(text);
        if filter.ignores_first()
            && let Some(index) = self.ignored(whole, line.reach, wanted)
        {
            return vec![Outcome::Ignored(index)];
        }
        let Some((before, content)) = self.enter(&filter, whole) else { return found };
        let content = content.map(|content| content + "\n");
        let inner = content.as_deref().map_or(whole, Subject::new);
        for failregex in (0..filter.failures.len()).filter(|&index| wanted.has(index)) {
            let searcher = &mut self.failures[failregex];
            if !searcher.search(inner, &mut self.budget) {
                continue;
            }
            let fields = filter.failures[failregex].groups.caught(searcher, inner.text);
            if !filter.ignored.is_empty()
                && let Some(index) = self.ignored(inner, line.reach, Rules::ALL)
            {
                found.push(Outcome::Ignored(index));
            } else if let Some(time) = line.time {
                let lines = vec![line.cut().whole()];
                let matched = Match { failregex, fields: before.with(fields), lines };
                found.push(self.outcome(matched, line, time));
            } else {
                continue;
            }
            if line.reach == Reach::First {
                break;
            }
        }
        found
    }

    /// The same where expressions look at the last lines together, and take the lines of a
    /// match away.
    fn find_in_several(&mut self, filter: &Filter, line: Line<'_>) -> Vec<Outcome> {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(line.cut());
        lines.drain(..lines.len().saturating_sub(filter.max_lines));
        let mut text = join(&lines);
        self.lines = lines.clone();
        let mut found = Vec::new();
        if filter.ignores_first()
            && let Some(index) = self.ignored(Subject::new(&text), line.reach, Rules::ALL)
        {
            return vec![Outcome::Ignored(index)];
        }
        let Some((before, content)) = self.enter(filter, Subject::new(&text)) else { return found };
        if let Some(after) = content {
            self.lines = vec![CutLine { after, ..CutLine::default() }];
            text = join(&self.lines);
        }
        for failregex in 0..filter.failures.len() {
            let searcher = &mut self.failures[failregex];
            if !searcher.search(Subject::new(&text), &mut self.budget) {
                continue;
            }
            let fields = filter.failures[failregex].groups.caught(searcher, &text);
            let span = searcher.span(0).unwrap_or_default();
            let parted = part(&lines, &text, span, &skipped(&fields));
            let matched_text = join(&parted.matched);
            let ignored = if filter.ignored.is_empty() {
                None
            } else {
                self.ignored(Subject::new(&matched_text), line.reach, Rules::ALL)
            };
            if ignored.is_none() && line.time.is_none() {
                continue;
            }
            self.lines = parted.unmatched;
            text = join(&self.lines);
            if let Some(index) = ignored {
                found.push(Outcome::Ignored(index));
            } else if let Some(time) = line.time {
                let lines = parted.matched.iter().map(CutLine::whole).collect();
                let matched = Match { failregex, fields: before.with(fields), lines };
                found.push(self.outcome(matched, line, time));
            }
            if line.reach == Reach::First {
                break;
            }
        }
        found
    }

    /// Passes `prefregex`: what it caught, and the content that goes on; none if it is no match.
    fn enter(&mut self, filter: &Filter, text: Subject<'_>) -> Option<(Fields, Option<String>)> {
        let (Some(prefix), Some(rule)) = (&mut self.prefix, &filter.prefix) else {
            return Some((Fields::default(), None));
        };
        if !prefix.search(text, &mut self.budget) {
            return None;
        }
        let mut fields = rule.groups.caught(prefix, text.text);
        let content = fields.take("content").map(Value::into_text);
        Some((fields, content.filter(|content| !content.is_empty())))
    }

    /// The number of the `ignoreregex` that matches; the last one, where all are looked at.
    fn ignored(&mut self, text: Subject<'_>, reach: Reach, wanted: Rules) -> Option<usize> {
        let mut found = None;
        let n_failures = self.failures.len();
        for (index, searcher) in self.ignored.iter_mut().enumerate() {
            if wanted.has(n_failures + index) && searcher.search(text, &mut self.budget) {
                found = Some(index);
                if reach == Reach::First {
                    break;
                }
            }
        }
        found
    }

    /// What a match means, with what is known of its connection.
    fn outcome(&mut self, matched: Match, line: Line<'_>, time: (Timestamp, bool)) -> Outcome {
        let Match { failregex, fields, lines } = matched;
        let connection = connection_id(&fields);
        let mut case = match &connection {
            Some(id) => self.connections.merge(id, fields, lines, line.now),
            None => Case::new(fields, lines),
        };
        let no_failure = connection.is_some() && case.is_no_failure();
        if no_failure && line.reach == Reach::First {
            return Outcome::Remembered { failregex };
        }
        let id = Id::of(&mut case.fields, self.filter.raw || line.raw);
        if let Some(connection) = &connection {
            case.pending = id.is_none();
            self.connections.keep(connection, &case);
        }
        match id {
            _ if no_failure => Outcome::Remembered { failregex },
            None => Outcome::Pending { failregex },
            Some(id) => Outcome::Failure(Hit {
                id: id.text,
                kind: id.kind,
                time: time.0,
                dated: time.1,
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
