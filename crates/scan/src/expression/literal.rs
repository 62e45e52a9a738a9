//! The literals that a text must hold for an expression to match it.
//!
//! An expression such as `^(?:error: )?Failed \S+ for .* from <HOST>` matches no text that lacks
//! `Failed `. What is found here is never more than is needed: a text without any of the
//! literals is not matched, a text with one of them perhaps.

use super::syntax::{Class, Item, Node};

/// Literals that stand for more bytes than this in one expression choose too little.
const MOST_LITERALS: usize = 32;
/// Shorter literals are in every line.
const SHORTEST: usize = 3;
/// Longer literals choose no better, and many begin alike: the fewer there are, the faster they
/// are found.
const LONGEST: usize = 12;
/// Literals below this worth let nearly every line through.
const LEAST_WORTH: f32 = 2.5;
/// What a web server's log has in every line.
const OF_EVERY_REQUEST: [&str; 4] = ["GET", "POST", "HEAD", "HTTP"];

/// Literals of which a matching text holds one at least.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Required {
    pub(crate) literals: Vec<String>,
    /// Whether case may differ from that of the literals.
    pub(crate) caseless: bool,
}

impl Required {
    /// How well the literals choose: as one literal does that is as rare as any of them.
    pub(crate) fn worth(&self) -> f32 {
        let share = |literal: &String| STEP.powf(-worth(literal));
        -self.literals.iter().map(share).sum::<f32>().log(STEP)
    }
}

/// How much rarer a literal is that is worth 1 more.
const STEP: f32 = 4.0;

/// What a text must hold for `node` to match it, the best first: one literal of each.
pub(crate) fn required(node: &Node) -> Vec<Required> {
    let mut found = all(node, false);
    found.retain(|it| it.worth() >= LEAST_WORTH && it.literals.len() <= MOST_LITERALS);
    found.sort_by(|a, b| b.worth().total_cmp(&a.worth()));
    for it in &mut found {
        it.literals.iter_mut().for_each(|literal| literal.truncate(LONGEST));
    }
    found
}

fn all(node: &Node, caseless: bool) -> Vec<Required> {
    let mut search = Search { caseless, run: String::new(), found: Vec::new() };
    search.visit(node);
    search.end_run();
    search.found
}

/// The first of the best.
fn best(node: &Node, caseless: bool) -> Option<Required> {
    let found = all(node, caseless).into_iter();
    let better = |best: Required, it: Required| if it.worth() > best.worth() { it } else { best };
    found.reduce(better).filter(|found| found.literals.len() <= MOST_LITERALS)
}

/// A walk along what must be matched one after the other.
struct Search {
    caseless: bool,
    /// Characters that follow each other for certain.
    run: String,
    found: Vec<Required>,
}

impl Search {
    fn visit(&mut self, node: &Node) {
        match node {
            Node::Char(found) if self.is_certain(*found) => self.run.push(*found),
            Node::Class(class) => match only_char(class).filter(|it| self.is_certain(*it)) {
                Some(found) => self.run.push(found),
                None => self.end_run(),
            },
            Node::Sequence(nodes) => nodes.iter().for_each(|node| self.visit(node)),
            Node::Capture(_, inner) | Node::Group(inner) | Node::Atomic(inner) => {
                self.visit(inner);
            }
            // They take no characters, so what is around them stays together.
            Node::Anchor(_) | Node::Look { .. } => {}
            Node::Case { sensitive, inner } => self.offer(all(inner, !sensitive)),
            Node::Choice(branches) => self.offer(union(branches, self.caseless)),
            Node::Conditional { yes, no, .. } => {
                self.offer(union([&**yes, no], self.caseless));
            }
            Node::Repeat { least: 1.., inner, .. } => self.offer(all(inner, self.caseless)),
            Node::Repeat { .. } => self.end_run(),
            Node::Char(_) | Node::Any | Node::AnyOrLineEnd | Node::Reference(_) => self.end_run(),
        }
    }

    /// Whether a character stands for itself alone. Line ends stand where lines are joined; the
    /// letters have kin beyond ASCII (U+017F, U+212A, U+0131) that differ from them by case.
    fn is_certain(&self, found: char) -> bool {
        let has_kin = matches!(found, 'i' | 'I' | 'k' | 'K' | 's' | 'S');
        found.is_ascii() && found != '\n' && !(self.caseless && has_kin)
    }

    /// Ends what followed each other for certain.
    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        if run.len() >= SHORTEST {
            self.found.push(Required { literals: vec![run], caseless: self.caseless });
        }
    }

    fn offer(&mut self, found: impl IntoIterator<Item = Required>) {
        self.end_run();
        self.found.extend(found);
    }
}

/// What the text must hold for one of `branches`: all of theirs, if each of them needs some.
fn union<'n>(branches: impl IntoIterator<Item = &'n Node>, caseless: bool) -> Option<Required> {
    let mut all = Required { literals: Vec::new(), caseless };
    for branch in branches {
        let found = best(branch, caseless)?;
        all.caseless |= found.caseless;
        all.literals.extend(found.literals);
    }
    Some(all)
}

fn only_char(class: &Class) -> Option<char> {
    match class.items[..] {
        [Item::Range(low, high)] if low == high && !class.negated && low.is_ascii() => Some(low),
        _ => None,
    }
}

/// How rare a literal is, by its letters.
fn worth(literal: &str) -> f32 {
    if OF_EVERY_REQUEST.contains(&literal.trim_matches(|it: char| !it.is_ascii_alphabetic())) {
        return 0.0;
    }
    let worth = |byte: u8| match byte {
        b' ' => 0.3,
        b'a'..=b'z' => 1.0,
        b'0'..=b'9' => 0.6,
        b'A'..=b'Z' => 1.4,
        // What parts the words of a line is in every line of some log.
        _ => 0.4,
    };
    literal.bytes().map(worth).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::syntax::parse;

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let syntax = parse(text, false).map_err(|error| error.to_string());
        let best = |it: Vec<Required>| it.into_iter().next().map(|it| it.literals);
        let found = syntax.map(|it| best(required(&it.root)).unwrap_or_default());
        assert_eq!(found, Ok(want.iter().map(|&it| it.to_owned()).collect()), "{text}");
    }

    #[test]
    fn finds_literals() {
        check(r"^(?:error: )?Failed \S+ for .* from (\S+)$", &["Failed "]);
        check(r"^(?:Invalid|Illegal) user", &["Invalid", "Illegal"]); // both, or the end
        check(r"^user (?:unknown|x|)\S", &["user "]);
        check(r"^\w+ \[\S+\]$", &[]);
        check(r"pam_[a-z]+\(sshd:auth\): authentication", &["(sshd:auth):"]);
        check(r"(?:not found)?", &[]);
        check(r"(?:not found)+", &["not found"]);
        check(r"(?!not found)x", &[]);
        check(r"a\bb", &[]);
        check(r"(?i:Denied asked)", &["Den"]); // `i`, `s` and `k` have kin
        check(r"(?P<q>denied)(?(q)yes|no)", &["denied"]);
    }
}
