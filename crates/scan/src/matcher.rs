//! The matcher: a filter's expressions at work, and what they remember between lines.

use std::sync::Arc;

use jiff::Timestamp;

use crate::address::{IdKind, address, free_form};
use crate::buffer::{CutLine, join, part};
use crate::connections::{Case, Connections};
use crate::dating::{Dated, When};
use crate::expression::{Budget, Searcher, Subject};
use crate::fields::Fields;
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
    fn parts(&self) -> [&str; 3] {
        let Dated { before, date, after, when } = self.dated;
        [before, if matches!(when, When::Last(_)) { self.last_text } else { date }, after]
    }

    fn cut(&self) -> CutLine {
        let [before, date, after] = self.parts().map(str::to_owned);
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
    /// What `prefregex` made of the last line; kept for its memory.
    entered: Entered,
    pub(crate) budget: Budget,
}

/// What `prefregex` made of a line.
#[derive(Debug, Default)]
struct Entered {
    /// What it caught.
    before: Fields,
    /// What the other expressions go on with, with its end; empty where that is the whole.
    content: String,
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
            entered: Entered::default(),
            budget: Budget::default(),
            filter,
        }
    }

    /// Looks for failures in `line`, of which `text` is what is left without its date; only the
    /// expressions that are `wanted` can match.
    pub(crate) fn find(
        &mut self,
        line: Line<'_>,
        text: &str,
        wanted: Rules,
        found: &mut Vec<Outcome>,
    ) {
        let filter = Arc::clone(&self.filter);
        if filter.max_lines > 1 {
            return self.find_in_several(&filter, line, found);
        }
        let whole = Subject::new(text);
        if filter.ignores_first()
            && let Some(index) = self.ignored(whole, line.reach, wanted)
        {
            return found.push(Outcome::Ignored(index));
        }
        let mut entered = std::mem::take(&mut self.entered);
        if self.enter(&filter, whole, &mut entered) {
            let Entered { before, content } = &entered;
            let inner = if content.is_empty() { whole } else { Subject::new(content) };
            self.find_inside(&filter, line, before, inner, wanted, found);
        }
        self.entered = entered;
    }

    /// Goes on with what `prefregex` left of a line, `before` being what it caught.
    fn find_inside(
        &mut self,
        filter: &Filter,
        line: Line<'_>,
        before: &Fields,
        text: Subject<'_>,
        wanted: Rules,
        found: &mut Vec<Outcome>,
    ) {
        for failregex in (0..filter.failures.len()).filter(|&index| wanted.has(index)) {
            if !self.failures[failregex].search(text, &mut self.budget) {
                continue;
            }
            if !filter.ignored.is_empty()
                && let Some(index) = self.ignored(text, line.reach, Rules::ALL)
            {
                found.push(Outcome::Ignored(index));
            } else if let Some(time) = line.time {
                let (searcher, rule) = (&self.failures[failregex], &filter.failures[failregex]);
                let mut fields = rule.groups.caught(searcher, text.text, before);
                fields.underlay(before);
                let lines = vec![line.parts().concat()];
                found.extend(self.outcome(Match { failregex, fields, lines }, line, time));
            } else {
                continue;
            }
            // The line is used up, even where no id came of it.
            if line.reach == Reach::First {
                break;
            }
        }
    }

    /// The same where expressions look at the last lines together, and take the lines of a
    /// match away.
    fn find_in_several(&mut self, filter: &Filter, line: Line<'_>, found: &mut Vec<Outcome>) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(line.cut());
        lines.drain(..lines.len().saturating_sub(filter.max_lines));
        let mut text = join(&lines);
        self.lines = lines.clone();
        if filter.ignores_first()
            && let Some(index) = self.ignored(Subject::new(&text), line.reach, Rules::ALL)
        {
            return found.push(Outcome::Ignored(index));
        }
        let mut entered = Entered::default();
        if !self.enter(filter, Subject::new(&text), &mut entered) {
            return;
        }
        let Entered { before, content } = entered;
        if !content.is_empty() {
            let after = content.strip_suffix('\n').unwrap_or(&content).to_owned();
            self.lines = vec![CutLine { after, ..CutLine::default() }];
            text = join(&self.lines);
        }
        for failregex in 0..filter.failures.len() {
            let searcher = &mut self.failures[failregex];
            if !searcher.search(Subject::new(&text), &mut self.budget) {
                continue;
            }
            let mut fields = filter.failures[failregex].groups.caught(searcher, &text, &before);
            fields.underlay(&before);
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
                found.extend(self.outcome(Match { failregex, fields, lines }, line, time));
            }
            if line.reach == Reach::First && !found.is_empty() {
                break;
            }
        }
    }

    /// Passes `prefregex`, if it matches.
    fn enter(&mut self, filter: &Filter, text: Subject<'_>, entered: &mut Entered) -> bool {
        entered.content.clear();
        let (Some(prefix), Some(rule)) = (&mut self.prefix, &filter.prefix) else { return true };
        if !prefix.search(text, &mut self.budget) {
            return false;
        }
        if let Some(content) = rule.groups.content(prefix, text.text) {
            entered.content.extend([content, "\n"]);
        }
        rule.groups.catch(prefix, text.text, &mut entered.before);
        true
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

    /// What a match means, with what is known of its connection; nothing if no group that could
    /// tell an id took part in it.
    fn outcome(
        &mut self,
        matched: Match,
        line: Line<'_>,
        time: (Timestamp, bool),
    ) -> Option<Outcome> {
        let Match { failregex, fields, lines } = matched;
        let Some(connection) = fields.shown("mlfid").map(|id| id.into_owned()) else {
            let outcome = self.told(failregex, &mut Case::new(fields, lines), line, time);
            return Some(outcome).filter(|it| !matches!(it, Outcome::Pending { .. }));
        };
        let mut case = self.connections.merge(&connection, fields, lines, line.now);
        let outcome = if case.is_no_failure() {
            // fail2ban looks for an id of it where it tries every expression, and only there.
            if line.reach == Reach::Every {
                case.pending = Id::of(&mut case.fields, self.filter.raw || line.raw).is_none();
            }
            Outcome::Remembered { failregex }
        } else {
            let outcome = self.told(failregex, &mut case, line, time);
            case.pending = matches!(outcome, Outcome::Pending { .. });
            outcome
        };
        self.connections.keep(&connection, case);
        Some(outcome)
    }

    /// A failure, if its id is known.
    fn told(
        &self,
        failregex: usize,
        case: &mut Case,
        line: Line<'_>,
        time: (Timestamp, bool),
    ) -> Outcome {
        let Some(id) = Id::of(&mut case.fields, self.filter.raw || line.raw) else {
            return Outcome::Pending { failregex };
        };
        Outcome::Failure(Hit {
            id: id.text,
            kind: id.kind,
            time: time.0,
            dated: time.1,
            failregex,
            n_attempts: 1,
            fields: case.fields.others(id.groups),
            // Another line of the connection would begin anew.
            matches: std::mem::take(&mut case.matches),
        })
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
        let free = fields.shown("fid").map(|free| free.into_owned());
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
                fields.set("ip", &text);
                let (text, kind) = if raw { (free, IdKind::Id) } else { free_form(&free) };
                Some(Self { text, kind, groups: &["fid"] })
            }
        }
    }
}
