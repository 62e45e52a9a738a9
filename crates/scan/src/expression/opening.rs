//! The characters that a match can begin with, where it begins at the start of the text.
//!
//! Of the expressions of a filter that need the same literal, most are told apart by the first
//! character.

use super::emit::{begins_at_start, item_holds};
use super::syntax::Node;

/// A set of ASCII characters, one bit each; all others are in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Opening([u64; 2]);

impl Opening {
    const NONE: Self = Self([0; 2]);
    pub(crate) const ALL: Self = Self([u64::MAX; 2]);

    /// What the texts begin with that `root` matches.
    pub(crate) fn of(root: &Node) -> Self {
        match first(root) {
            (opening, Followed::Never) if begins_at_start(root) => opening,
            _ => Self::ALL,
        }
    }

    /// Whether `text` begins with one of them, or is empty.
    pub(crate) fn admits(self, text: &str) -> bool {
        let first = text.as_bytes().first();
        first.is_none_or(|first| {
            !first.is_ascii() || self.0[usize::from(first / 64)] >> (first % 64) & 1 == 1
        })
    }

    fn of_codes(codes: impl Iterator<Item = u8>) -> Self {
        let mut all = Self::NONE;
        codes.for_each(|code| all.0[usize::from(code / 64)] |= 1 << (code % 64));
        all
    }

    fn unite(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(all, other)| *all |= other);
    }
}

/// Whether a match may be empty, so that the first character is that of what follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Followed {
    Never,
    Perhaps,
}

/// What a match of `node` begins with.
fn first(node: &Node) -> (Opening, Followed) {
    use Followed::{Never, Perhaps};
    match node {
        Node::Char(found) if found.is_ascii() => {
            (Opening::of_codes(std::iter::once(*found as u8)), Never)
        }
        Node::Class(class) => {
            let holds = |code: u8| class.items.iter().any(|item| item_holds(*item, code));
            let codes = (0..128).filter(|&code| holds(code) != class.negated);
            (Opening::of_codes(codes), Never)
        }
        Node::Char(_) | Node::Any | Node::AnyOrLineEnd => (Opening::ALL, Never),
        Node::Anchor(_) | Node::Look { .. } => (Opening::NONE, Perhaps),
        Node::Capture(_, inner) | Node::Group(inner) | Node::Atomic(inner) => first(inner),
        Node::Repeat { least: 1.., inner, .. } => first(inner),
        Node::Repeat { inner, .. } => (first(inner).0, Perhaps),
        Node::Sequence(nodes) => {
            let mut all = Opening::NONE;
            for node in nodes {
                let (opening, followed) = first(node);
                all.unite(opening);
                if followed == Never {
                    return (all, Never);
                }
            }
            (all, Perhaps)
        }
        Node::Choice(branches) => branches.iter().map(first).fold(
            (Opening::NONE, Never),
            |(mut all, so_far), (it, followed)| {
                all.unite(it);
                (all, if followed == Perhaps { Perhaps } else { so_far })
            },
        ),
        // The other case of a letter, or what was caught before: not worth the telling.
        Node::Case { .. } | Node::Reference(_) | Node::Conditional { .. } => {
            (Opening::ALL, Perhaps)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::syntax::parse;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let syntax = parse(text, false).map_err(|error| error.to_string());
        let opening = syntax.map(|it| Opening::of(&it.root));
        let admitted = |opening: Opening| {
            let ascii = (0..128).map(char::from).filter(|it| opening.admits(&it.to_string()));
            ascii.collect::<String>()
        };
        assert_eq!(opening.map(admitted), Ok(want.to_owned()), "{text}");
    }

    #[test]
    fn tells_what_a_match_begins_with() {
        check("^from x", "f");
        check("^[iI](?:llegal|nvalid)", "Ii");
        check("^(?P<a>x?)(?:y|z+)*(?!v)[0-2]", "012xyz");
        check("^(?:error|(?:b|c))d", "bce");
        check(
            r"^\D",
            &(0..128).map(char::from).filter(|it| !it.is_ascii_digit()).collect::<String>(),
        );
        let all = (0..128).map(char::from).collect::<String>();
        check("from x", &all); // further on
        check("^(?:from)?$", &all); // at the end
        check("^(?i:from)", &all);
        check("(?i)^from", &all);
    }

    #[test]
    fn admits_what_is_not_told_apart() {
        assert!(
            Opening::NONE.admits("é") && Opening::NONE.admits("") && !Opening::NONE.admits("e")
        );
    }
}
