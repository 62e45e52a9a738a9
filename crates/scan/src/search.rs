//! The search: which expressions of a filter match a line, whatever came before it.

use std::sync::Arc;

use crate::expression::{Budget, Searcher, Subject};
use crate::fields::Caught;
use crate::filter::{Filter, Rule};
use crate::sieve::Rules;

/// Whether a line is done with at its first match.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reach {
    /// As fail2ban's server: the first expression that matches uses the line up.
    #[default]
    First,
    /// As fail2ban-regex: every expression is tried.
    Every,
}

/// What was found in a line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finding {
    /// The `ignoreregex` of this number matched.
    Ignored(usize),
    /// A `failregex` matched.
    Match(Match),
}

/// Where in [`Findings::spans`] is what the groups of a match caught.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Match {
    pub(crate) failregex: usize,
    /// The part of the line that `prefregex` left, where it left one.
    pub(crate) content: Caught,
    /// From here on what `prefregex` caught.
    pub(crate) before: usize,
    /// From here on what the failregex caught, in that part.
    pub(crate) caught: usize,
}

/// What was found in lines, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) list: Vec<Finding>,
    pub(crate) spans: Vec<Caught>,
}

impl Findings {
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.spans.clear();
    }
}

/// A filter's expressions with the memory that their searches write to.
#[derive(Debug)]
pub(crate) struct Search {
    prefix: Option<Searcher>,
    pub(crate) failures: Vec<Searcher>,
    ignored: Vec<Searcher>,
    pub(crate) budget: Budget,
    /// What `prefregex` left of a line, where that is not the end of it; kept for its memory.
    content: String,
}

impl Search {
    /// A search that has not searched yet.
    pub(crate) fn new(filter: &Filter) -> Self {
        let searchers = |rules: &[Rule]| {
            rules.iter().map(|rule| Searcher::new(Arc::clone(&rule.expression))).collect()
        };
        Self {
            prefix: filter.prefix.as_ref().map(|it| Searcher::new(Arc::clone(&it.expression))),
            failures: searchers(&filter.failures),
            ignored: searchers(&filter.ignored),
            budget: Budget::default(),
            content: String::new(),
        }
    }

    /// Looks for failures in `whole` with the expressions of `filter`, whose search this is, and adds
    /// them to `found`; only the expressions that are `wanted` can match. Failures of a line
    /// without a time do not count.
    pub(crate) fn find(
        &mut self,
        filter: &Filter,
        whole: Subject<'_>,
        wanted: Rules,
        has_time: bool,
        reach: Reach,
        found: &mut Findings,
    ) {
        if filter.ignores_first()
            && let Some(index) = self.ignored(whole, reach, wanted)
        {
            return found.list.push(Finding::Ignored(index));
        }
        let (before, n_found) = (found.spans.len(), found.list.len());
        let Some(content) = self.enter(filter, whole, &mut found.spans) else { return };
        let mut room = std::mem::take(&mut self.content);
        let inner = whole.part(inner(whole.text, content, &mut room));
        for failregex in wanted.below(filter.failures.len()) {
            if !self.failures[failregex].search(inner, &mut self.budget) {
                continue;
            }
            if !filter.ignored.is_empty()
                && let Some(index) = self.ignored(inner, reach, Rules::ALL)
            {
                found.list.push(Finding::Ignored(index));
            } else if has_time {
                let caught = found.spans.len();
                let groups = &filter.failures[failregex].groups;
                groups.spans(&self.failures[failregex], &mut found.spans);
                found.list.push(Finding::Match(Match { failregex, content, before, caught }));
            } else {
                continue;
            }
            // The line is used up, even where no id comes of it.
            if reach == Reach::First {
                break;
            }
        }
        self.content = room;
        if found.list.len() == n_found {
            found.spans.truncate(before);
        }
    }

    /// Passes `prefregex`, if it matches: where the content is that it left, if it left one. What
    /// it caught is added to `spans`.
    pub(crate) fn enter(
        &mut self,
        filter: &Filter,
        text: Subject<'_>,
        spans: &mut Vec<Caught>,
    ) -> Option<Caught> {
        let (Some(prefix), Some(rule)) = (&mut self.prefix, &filter.prefix) else {
            return Some(None);
        };
        if !prefix.search(text, &mut self.budget) {
            return None;
        }
        rule.groups.spans(prefix, spans);
        Some(rule.groups.content(prefix))
    }

    /// The number of the `ignoreregex` that matches; the last one, where all are looked at.
    pub(crate) fn ignored(
        &mut self,
        text: Subject<'_>,
        reach: Reach,
        wanted: Rules,
    ) -> Option<usize> {
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
}

/// What expressions go on with: the content with an end of its own, or all of `text` where
/// `prefregex` left no content. `room` is for what is not in `text` as it stands.
pub(crate) fn inner<'t>(text: &'t str, content: Caught, room: &'t mut String) -> &'t str {
    match content {
        None => text,
        Some((start, end)) if text.len() == end + 1 && text.ends_with('\n') => &text[start..],
        Some((start, end)) => {
            room.clear();
            room.extend([&text[start..end], "\n"]);
            room
        }
    }
}
