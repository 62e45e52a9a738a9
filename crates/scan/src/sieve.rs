//! The sieve: which expressions may match a text at all, by the literals that they need.
//!
//! One automaton holds the literals of all filters of a log, so that a line is read once, and a
//! line that nobody wants costs no more than that.

use aho_corasick::packed::{self, Searcher as Packed};
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind, Span};

use crate::expression::literal::Required;

/// Expressions of a filter that are told apart; further ones count as always wanted.
const MOST_RULES: usize = 128;

/// A set of the expressions of one filter, `failregex` first, then `ignoreregex`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Rules(u128);

impl Rules {
    /// All expressions.
    pub(crate) const ALL: Self = Self(u128::MAX);

    /// Whether there is none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
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

/// Finds literals in a text.
#[derive(Debug, Default)]
enum Finder {
    /// There are none to find.
    #[default]
    Nothing,
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

/// The literals of one or more filters.
#[derive(Debug, Default)]
pub(crate) struct Sieve {
    finder: Finder,
    literals: Vec<String>,
    /// Literal by literal: who needs it, or another that begins it.
    owners: Vec<Vec<Owner>>,
    /// What is wanted whatever the text holds, filter by filter.
    always: Vec<Rules>,
}

impl Sieve {
    /// A sieve for filters, each given as what its expressions require.
    pub(crate) fn new(filters: &[Vec<Option<Required>>]) -> Self {
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
    pub(crate) fn sift(&self, text: &[u8], wanted: &mut [Rules]) {
        wanted.copy_from_slice(&self.always);
        match &self.finder {
            Finder::Nothing => {}
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

    /// The place of a literal in `piece`, from byte `start` on: of one in the first line that
    /// holds any.
    pub(crate) fn first(&self, piece: &[u8], start: usize) -> Option<usize> {
        let rest = Span::from(start..piece.len());
        match &self.finder {
            Finder::Nothing => None,
            Finder::Packed(packed) => packed.find_in(piece, rest).map(|found| found.start()),
            Finder::Automaton(automaton) => {
                automaton.find(Input::new(piece).span(rest)).map(|found| found.start())
            }
        }
    }

    /// Whether lines are wanted that hold no literal as they stand: those of any kind, or those
    /// in whose midst `[` and `]` come together where a date is cut out.
    pub(crate) fn wants_more(&self, cuts_inside: bool) -> bool {
        self.always.iter().any(|rules| !rules.is_empty())
            || (cuts_inside && self.literals.iter().any(|literal| literal.contains("[]")))
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
