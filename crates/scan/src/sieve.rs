//! The sieve: which expressions may match a text at all, by the literals that they need.
//!
//! One automaton holds the literals of all filters of a log, so that a line is read once, and a
//! line that nobody wants costs no more than that.

use std::ops::Range;

use aho_corasick::packed::{self, Searcher as Packed};
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind, Span};
use memchr::memmem;

use crate::expression::literal::Required;

/// Expressions of a filter that are told apart; further ones count as always wanted.
const MOST_RULES: usize = 64;

/// A second look at a line pays where it chooses as well as this.
const LEAST_SECOND_WORTH: f32 = 6.0;

/// A set of the expressions of one filter, `failregex` first, then `ignoreregex`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Rules(u64);

impl Rules {
    /// All expressions.
    pub(crate) const ALL: Self = Self(u64::MAX);

    /// Whether there is none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The numbers below `end` in the set, in their order; those past the last that is told apart
    /// are all in it.
    pub(crate) fn below(self, end: usize) -> impl Iterator<Item = usize> {
        let mut rest = if end < MOST_RULES { self.0 & ((1 << end) - 1) } else { self.0 };
        let told_apart = std::iter::from_fn(move || {
            let first = rest.trailing_zeros() as usize;
            rest &= rest.wrapping_sub(1);
            (first < MOST_RULES).then_some(first)
        });
        told_apart.chain(MOST_RULES..end)
    }

    /// Whether expression `index` is in the set; one past the last that is told apart is.
    pub(crate) fn has(self, index: usize) -> bool {
        index >= MOST_RULES || self.0 >> index & 1 == 1
    }

    fn add(&mut self, index: usize) {
        if index < MOST_RULES {
            self.0 |= 1 << index;
        }
    }

    fn unite(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Who needs a literal: the filter's number, and its expressions.
#[derive(Clone, Copy, Debug)]
struct Owner {
    filter: usize,
    rules: Rules,
}

/// So many literals are found faster one by one than together.
const FEW: usize = 2;

/// Finds literals in a text.
#[derive(Debug, Default)]
enum Finder {
    /// There are none to find.
    #[default]
    Nothing,
    /// One by one.
    Few(Vec<memmem::Finder<'static>>),
    /// By the processor's wide registers: the longest literal at the first place there is.
    Packed(Packed),
    /// Letter by letter: every literal at every place.
    Automaton(AhoCorasick),
}

impl Finder {
    fn new(literals: &[String], caseless: bool) -> Option<Self> {
        if literals.is_empty() {
            return Some(Self::Nothing);
        }
        if !caseless && literals.len() <= FEW {
            let finders = literals.iter().map(|literal| memmem::Finder::new(literal).into_owned());
            return Some(Self::Few(finders.collect()));
        }
        let longest = packed::MatchKind::LeftmostLongest;
        let packed =
            || packed::Config::new().match_kind(longest).builder().extend(literals).build();
        if !caseless && let Some(packed) = packed() {
            return Some(Self::Packed(packed));
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .ascii_case_insensitive(caseless)
            .build(literals);
        automaton.ok().map(Self::Automaton)
    }
}

/// What a text must hold for an expression to match it: a literal of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// Those that choose best.
    pub(crate) best: Option<Required>,
    /// Those that choose best of the others.
    second: Option<Required>,
}

impl Needs {
    /// Of an expression that needs `own`, behind a `prefregex` that needs `prefix`; the best of
    /// each are first.
    pub(crate) fn of(own: Vec<Required>, prefix: &[Required]) -> Self {
        let worth = |it: &Option<Required>| it.as_ref().map_or(0.0, Required::worth);
        let mut own = own.into_iter();
        let (own, more_own) = (own.next(), own.next());
        let (prefix, more_prefix) = (prefix.first().cloned(), prefix.get(1).cloned());
        let (best, [one, other]) = match worth(&own) >= worth(&prefix) {
            true => (own, [prefix, more_own]),
            false => (prefix, [own, more_prefix]),
        };
        // Where a date is cut out, brackets may come together that do not stand so in the line.
        let is_in_line = |it: &Required| !it.literals.iter().any(|literal| literal.contains("[]"));
        let [one, other] = [one, other].map(|it| it.filter(is_in_line));
        let second = if worth(&one) >= worth(&other) { one } else { other };
        Self { best, second: second.filter(|it| it.worth() >= LEAST_SECOND_WORTH) }
    }
}

/// Finds what of one or more filters may match a text.
#[derive(Debug, Default)]
pub(crate) struct Sieve {
    best: Layer,
    second: Layer,
}

/// What of each filter may match a text.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Filter by filter.
    pub(crate) rules: Vec<Rules>,
    /// What passed the second layer; kept for its memory.
    second: Vec<Rules>,
}

impl Wanted {
    /// All of so many filters.
    pub(crate) fn all(n_filters: usize) -> Self {
        Self { rules: vec![Rules::ALL; n_filters], second: vec![Rules::ALL; n_filters] }
    }
}

impl Sieve {
    /// A sieve for filters, each given as what its expressions need.
    pub(crate) fn new(filters: &[Vec<Needs>]) -> Self {
        let layer = |of: fn(&Needs) -> Option<&Required>| {
            let filters = filters.iter().map(|needs| needs.iter().map(of).collect());
            Layer::new(&filters.collect::<Vec<_>>())
        };
        Self { best: layer(|it| it.best.as_ref()), second: layer(|it| it.second.as_ref()) }
    }

    /// Tells what of each filter may match `text`.
    pub(crate) fn sift(&self, text: &[u8], wanted: &mut Wanted) {
        self.best.sift(text, &mut wanted.rules);
        self.sift_again(text, wanted);
    }

    /// Tells what of that which is `wanted` by the best literals may match `text`, a line with its
    /// date or without, by the others; false where nothing may.
    pub(crate) fn sift_again(&self, text: &[u8], wanted: &mut Wanted) -> bool {
        let Wanted { rules, second } = wanted;
        let always = &self.second.always;
        if rules.iter().zip(always).any(|(rules, always)| rules.0 & !always.0 != 0) {
            self.second.sift(text, second);
            rules.iter_mut().zip(second).for_each(|(rules, second)| rules.0 &= second.0);
        }
        rules.iter().any(|it| !it.is_empty())
    }

    /// A way along `piece` from one of the best literals to the next.
    pub(crate) fn along<'s>(&'s self, piece: &'s [u8]) -> Along<'s> {
        let ahead = [None; FEW];
        let mut along = Along { layer: &self.best, piece, at: 0, literal: 0, ahead };
        along.go_on(0);
        along
    }

    /// Whether lines are wanted that hold no literal as they stand: those of any kind, or those
    /// in whose midst `[` and `]` come together where a date is cut out.
    pub(crate) fn wants_more(&self, cuts_inside: bool) -> bool {
        self.best.always.iter().any(|rules| !rules.is_empty())
            || (cuts_inside && self.best.literals.iter().any(|literal| literal.contains("[]")))
    }
}

/// A way along a piece of a log, for which it is read only once.
pub(crate) struct Along<'s> {
    layer: &'s Layer,
    piece: &'s [u8],
    /// Where the next literal begins; the end of the piece behind the last one.
    at: usize,
    /// Its number.
    literal: usize,
    /// Where each of a few literals comes next, as far as that is known.
    ahead: [Option<usize>; FEW],
}

impl Along<'_> {
    /// Where the next literal begins; the end of the piece, if there is none.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Goes to the first literal from byte `start` on. Places are given in their order.
    pub(crate) fn go_to(&mut self, start: usize) {
        if self.at < start {
            self.go_on(start);
        }
    }

    /// Goes on to the end of a line, and tells what of each filter may match it; false where
    /// nothing may. Lines are given in their order.
    pub(crate) fn wants(&mut self, line: Range<usize>, wanted: &mut Wanted) -> bool {
        self.go_to(line.start);
        if self.at >= line.end {
            return false;
        }
        if matches!(self.layer.finder, Finder::Automaton(_)) {
            self.layer.sift(&self.piece[line.clone()], &mut wanted.rules);
            self.go_on(line.end);
            return true;
        }
        wanted.rules.copy_from_slice(&self.layer.always);
        while self.at < line.end {
            self.layer.want(self.literal, &mut wanted.rules);
            self.go_on(self.at + 1);
        }
        true
    }

    /// Goes to the next literal from byte `start` on; by the automaton, the one that ends first.
    fn go_on(&mut self, start: usize) {
        let rest = Span::from(start..self.piece.len());
        let found = match &self.layer.finder {
            Finder::Nothing => None,
            Finder::Few(finders) => return self.go_on_one_by_one(finders, start),
            Finder::Packed(packed) => packed.find_in(self.piece, rest),
            Finder::Automaton(automaton) => automaton.find(Input::new(self.piece).span(rest)),
        };
        let found = found.map(|found| (found.start(), found.pattern().as_usize()));
        (self.at, self.literal) = found.unwrap_or((self.piece.len(), 0));
    }

    /// The same where each literal is looked for on its own.
    fn go_on_one_by_one(&mut self, finders: &[memmem::Finder<'_>], start: usize) {
        self.at = self.piece.len();
        for (number, (finder, ahead)) in finders.iter().zip(&mut self.ahead).enumerate() {
            let place = match *ahead {
                Some(place) if place >= start => place,
                _ => finder.find(&self.piece[start..]).map_or(self.piece.len(), |at| start + at),
            };
            *ahead = Some(place);
            if place < self.at {
                (self.at, self.literal) = (place, number);
            }
        }
    }
}

/// One literal set for each expression of one or more filters.
#[derive(Debug, Default)]
struct Layer {
    finder: Finder,
    literals: Vec<String>,
    /// Literal by literal: who needs it, or another that begins it.
    owners: Vec<Vec<Owner>>,
    /// What is wanted whatever the text holds, filter by filter.
    always: Vec<Rules>,
}

impl Layer {
    /// For filters, each given as what its expressions require.
    fn new(filters: &[Vec<Option<&Required>>]) -> Self {
        let mut literals: Vec<String> = Vec::new();
        let mut owners: Vec<Vec<Owner>> = Vec::new();
        let mut caseless = false;
        let mut always = vec![Rules::default(); filters.len()];
        for (filter, rules) in filters.iter().enumerate() {
            if rules.len() > MOST_RULES {
                always[filter] = Rules::ALL;
            }
            for (index, required) in rules.iter().enumerate() {
                let Some(required) = required else {
                    always[filter].add(index);
                    continue;
                };
                caseless |= required.caseless;
                for text in &required.literals {
                    let known = literals.iter().position(|known| known == text);
                    let place = known.unwrap_or(literals.len());
                    if known.is_none() {
                        literals.push(text.clone());
                        owners.push(Vec::new());
                    }
                    own(&mut owners[place], filter, index);
                }
            }
        }
        let begins = |whole: &String| {
            let begin = literals.iter().zip(&owners).filter(|(it, _)| whole.starts_with(*it));
            begin.flat_map(|(_, owners)| owners.iter().copied()).collect()
        };
        let owners = literals.iter().map(begins).collect();
        let finder = Finder::new(&literals, caseless).unwrap_or_else(|| {
            always.fill(Rules::ALL);
            Finder::Nothing
        });
        Self { finder, literals, owners, always }
    }

    /// Writes what of each filter may match `text` to `wanted`.
    fn sift(&self, text: &[u8], wanted: &mut [Rules]) {
        wanted.copy_from_slice(&self.always);
        match &self.finder {
            Finder::Nothing => {}
            Finder::Few(finders) => {
                for (number, finder) in finders.iter().enumerate() {
                    if finder.find(text).is_some() {
                        self.want(number, wanted);
                    }
                }
            }
            Finder::Packed(packed) => {
                let mut rest = Span::from(0..text.len());
                while let Some(found) = packed.find_in(text, rest) {
                    self.want(found.pattern().as_usize(), wanted);
                    rest.start = found.start() + 1;
                }
            }
            Finder::Automaton(automaton) => {
                for found in automaton.find_overlapping_iter(text) {
                    self.want(found.pattern().as_usize(), wanted);
                }
            }
        }
    }

    fn want(&self, literal: usize, wanted: &mut [Rules]) {
        for owner in &self.owners[literal] {
            wanted[owner.filter].unite(owner.rules);
        }
    }
}

fn own(owners: &mut Vec<Owner>, filter: usize, index: usize) {
    if owners.last().is_none_or(|last| last.filter != filter) {
        owners.push(Owner { filter, rules: Rules::default() });
    }
    if let Some(owner) = owners.last_mut() {
        owner.rules.add(index);
    }
}
