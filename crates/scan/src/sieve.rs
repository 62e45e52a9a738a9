//! The sieve: which expressions may match a text at all, by the literals that they need.
//!
//! One automaton holds the literals of all filters of a log, so that a line is read once, and a
//! line that nobody wants costs no more than that.

use aho_corasick::packed::{self, Searcher as Packed};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

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

/// The literals of one or more filters.
#[derive(Debug)]
pub(crate) struct Sieve {
    /// Tells fast that there is no literal at all.
    packed: Option<Packed>,
    literals: Option<AhoCorasick>,
    owners: Vec<Vec<Owner>>,
    /// What is wanted whatever the text holds, filter by filter.
    always: Vec<Rules>,
}

impl Sieve {
    /// A sieve for filters, each given as what its expressions require.
    pub(crate) fn new(filters: &[Vec<Option<Required>>]) -> Self {
        let mut texts: Vec<String> = Vec::new();
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
                    let place = texts.iter().position(|known| known == text).unwrap_or(texts.len());
                    if place == texts.len() {
                        texts.push(text.clone());
                        owners.push(Vec::new());
                    }
                    own(&mut owners[place], filter, index);
                }
            }
        }
        let literals = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .ascii_case_insensitive(caseless)
            .build(&texts)
            .ok();
        if literals.is_none() {
            always.fill(Rules::ALL);
        }
        let packed = if caseless || texts.is_empty() {
            None
        } else {
            packed::Config::new().builder().extend(&texts).build()
        };
        Self { packed, literals, owners, always }
    }

    /// Writes what of each filter may match `text`, which is ASCII, to `wanted`; says whether
    /// that is anything.
    pub(crate) fn sift(&self, text: &str, wanted: &mut [Rules]) -> bool {
        wanted.copy_from_slice(&self.always);
        let nothing = self.packed.as_ref().is_some_and(|packed| packed.find(text).is_none());
        if let Some(literals) = self.literals.as_ref().filter(|_| !nothing) {
            for found in literals.find_overlapping_iter(text) {
                for owner in &self.owners[found.pattern().as_usize()] {
                    wanted[owner.filter].unite(owner.rules);
                }
            }
        }
        wanted.iter().any(|rules| !rules.is_empty())
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
