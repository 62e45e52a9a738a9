//! Writes an expression in PCRE2's language so that it answers as Python's `re` does.
//!
//! Three renderings: two for text that is all ASCII, which PCRE2 matches byte by byte, and one for
//! any text. Python's `\d`, `\s` and `\w` know all of Unicode, and a little more than PCRE2's do
//! (`\s` holds the four separators from U+001C on); groups are numbered, so that no name meets a
//! limit of PCRE2.

use super::syntax::{Anchor, Class, Item, Kind, Manner, Node};

/// What text an expression is rendered for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Alphabet {
    /// ASCII alone, and one line with its end: what nearly every search is in.
    Line,
    /// ASCII alone.
    Ascii,
    /// Any Unicode text.
    Unicode,
}

impl Alphabet {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Unicode as usize + 1;
}

/// Characters that Python calls spaces, beyond ASCII.
const WIDE_SPACES: &str =
    r"\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}";
/// Characters that Python calls spaces in ASCII.
const SPACES: &str = r"\x{09}-\x{0d}\x{1c}-\x{20}";
/// Characters that Python calls a part of a word.
const WORD: &str = r"\p{L}\p{N}_";

/// Renders `node` for texts of `alphabet`.
pub(crate) fn emit(node: &Node, alphabet: Alphabet) -> String {
    let promised = promised(node);
    let mut emitter = Emitter { out: String::new(), alphabet, measured: false, promised };
    emitter.node(node);
    emitter.out
}

/// The same so that PCRE2's match limit counts every character that is looked at.
///
/// PCRE2 counts what it does within groups, and anew for each place where a match may begin. So each
/// character that is repeated becomes a group, and the way to where the match begins a part of it.
pub(crate) fn emit_measured(node: &Node, alphabet: Alphabet) -> String {
    let promised = Vec::new();
    let mut emitter = Emitter { out: String::new(), alphabet, measured: true, promised };
    match begins_at_start(node) {
        true => emitter.node(node),
        false => emitter.enclosed(r"\G(?:(?s:.))*?\K(?:", node),
    }
    emitter.out
}

/// Whether a match of `node` can begin nowhere but at the start of the text.
pub(super) fn begins_at_start(node: &Node) -> bool {
    match node {
        Node::Anchor(Anchor::TextStart) => true,
        Node::Sequence(nodes) => nodes.first().is_some_and(begins_at_start),
        Node::Capture(_, inner) | Node::Group(inner) | Node::Case { inner, .. } => {
            begins_at_start(inner)
        }
        _ => false,
    }
}

/// Groups that take part in a match only where a text stands behind them, with that text: those that
/// a conditional asks for which every match comes to, and whose branch for them is the text.
fn promised(root: &Node) -> Vec<(usize, String)> {
    let Node::Sequence(nodes) = root else { return Vec::new() };
    let promised = nodes.iter().enumerate().filter_map(|(place, node)| match node {
        Node::Conditional { group, yes, .. }
            if nodes[..place].iter().any(|node| may_catch(node, *group)) =>
        {
            Some((*group, only_text(yes)?))
        }
        _ => None,
    });
    promised.collect()
}

/// Whether a group is in `node`, and nothing keeps PCRE2 from coming back to it: where something
/// does, what it tried first counts, whether or not a match comes of it.
fn may_catch(node: &Node, group: usize) -> bool {
    match node {
        Node::Capture(number, inner) => *number == group || may_catch(inner, group),
        Node::Repeat { manner: Manner::Greedy | Manner::Lazy, inner, .. }
        | Node::Group(inner)
        | Node::Case { inner, .. } => may_catch(inner, group),
        Node::Conditional { yes, no, .. } => may_catch(yes, group) || may_catch(no, group),
        Node::Sequence(nodes) | Node::Choice(nodes) => {
            nodes.iter().any(|node| may_catch(node, group))
        }
        Node::Char(_)
        | Node::Any
        | Node::AnyOrLineEnd
        | Node::Class(_)
        | Node::Anchor(_)
        | Node::Atomic(_)
        | Node::Look { .. }
        | Node::Reference(_)
        | Node::Repeat { manner: Manner::Possessive, .. } => false,
    }
}

/// The text that `node` is, if it is one, and ASCII.
fn only_text(node: &Node) -> Option<String> {
    match node {
        Node::Char(found) => found.is_ascii().then(|| found.to_string()),
        Node::Sequence(nodes) => nodes.iter().map(only_text).collect(),
        _ => None,
    }
}

/// Whether `node` takes all that is left of a line, which is something.
fn is_rest(node: &Node) -> bool {
    match node {
        Node::Capture(_, inner) => is_rest(inner),
        Node::Sequence(nodes) => matches!(&nodes[..], [node] if is_rest(node)),
        Node::Repeat { least: 1, most: None, manner: Manner::Greedy, inner } => {
            **inner == Node::Any
        }
        _ => false,
    }
}

struct Emitter {
    out: String,
    alphabet: Alphabet,
    /// Whether each character counts against the match limit.
    measured: bool,
    promised: Vec<(usize, String)>,
}

impl Emitter {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn enclosed(&mut self, open: &str, inner: &Node) {
        self.push(open);
        self.node(inner);
        self.push(")");
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Char(found) => self.char(*found),
            Node::Any => self.push("."),
            Node::AnyOrLineEnd => self.push("(?s:.)"),
            Node::Class(class) => self.class(class),
            Node::Anchor(anchor) => self.anchor(*anchor),
            Node::Capture(group, inner) => {
                self.push("(");
                self.promise(*group);
                self.node(inner);
                self.push(")");
            }
            Node::Group(inner) => self.enclosed("(?:", inner),
            Node::Atomic(inner) => self.enclosed("(?>", inner),
            Node::Case { sensitive: true, inner } => self.enclosed("(?-i:", inner),
            Node::Case { sensitive: false, inner } => self.enclosed("(?i:", inner),
            Node::Look { behind, negative, inner } => {
                let open = match (behind, negative) {
                    (false, false) => "(?=",
                    (false, true) => "(?!",
                    (true, false) => "(?<=",
                    (true, true) => "(?<!",
                };
                self.enclosed(open, inner);
            }
            Node::Reference(group) => self.push(&format!(r"\g{{{group}}}")),
            Node::Conditional { group, yes, no } => {
                self.push(&format!("(?({group})"));
                self.branch(yes);
                self.push("|");
                self.branch(no);
                self.push(")");
            }
            Node::Repeat { least, most, manner, inner } => {
                // Always one atom: the parser repeats nothing else.
                match self.measured && most.is_none() && is_character(inner) {
                    true => self.enclosed("(?:", inner),
                    false => self.node(inner),
                }
                self.quantifier(*least, *most, *manner);
            }
            Node::Sequence(nodes) => self.sequence(nodes),
            Node::Choice(branches) => {
                for (index, branch) in branches.iter().enumerate() {
                    if index > 0 {
                        self.push("|");
                    }
                    self.node(branch);
                }
            }
        }
    }

    /// In one line, all that is left of it and then its end are found without a look at each
    /// character.
    fn sequence(&mut self, nodes: &[Node]) {
        let mut rest = nodes;
        while let [node, after @ ..] = rest {
            rest = after;
            match after {
                [Node::Anchor(Anchor::TextEnd), after @ ..]
                    if self.alphabet == Alphabet::Line && !self.measured && is_rest(node) =>
                {
                    self.rest(node);
                    self.push(r"(?=\x{0a}\z)");
                    rest = after;
                }
                _ => self.node(node),
            }
        }
    }

    /// Renders what [`is_rest`] so that it takes the end of the line, too, and gives it back.
    fn rest(&mut self, node: &Node) {
        match node {
            Node::Capture(_, inner) => {
                self.push("(");
                self.rest(inner);
                self.push(")");
            }
            Node::Sequence(nodes) => nodes.iter().for_each(|node| self.rest(node)),
            _ => self.push("(?s:.+)"),
        }
    }

    /// Goes into a group only where what it promises stands behind.
    fn promise(&mut self, group: usize) {
        let promised = std::mem::take(&mut self.promised);
        for (_, text) in promised.iter().filter(|(promised, _)| *promised == group) {
            let mut text = text.chars();
            let Some(first) = text.next() else { continue };
            // From one first character to the next, until the others follow.
            self.push("(?=(?:[^");
            self.char(first);
            self.push("]*+");
            self.char(first);
            self.push(")+?");
            text.for_each(|found| self.char(found));
            self.push(")");
        }
        self.promised = promised;
    }

    /// A branch of a conditional must not be taken apart at a `|` of its own.
    fn branch(&mut self, node: &Node) {
        match node {
            Node::Choice(_) => self.enclosed("(?:", node),
            _ => self.node(node),
        }
    }

    fn quantifier(&mut self, least: u32, most: Option<u32>, manner: Manner) {
        match (least, most) {
            (0, None) => self.push("*"),
            (1, None) => self.push("+"),
            (0, Some(1)) => self.push("?"),
            (least, None) => self.push(&format!("{{{least},}}")),
            (least, Some(most)) => self.push(&format!("{{{least},{most}}}")),
        }
        self.push(match manner {
            Manner::Greedy => "",
            Manner::Lazy => "?",
            Manner::Possessive => "+",
        });
    }

    fn char(&mut self, found: char) {
        if found.is_ascii_alphanumeric() {
            self.out.push(found);
        } else if found.is_ascii() || self.is_wide() {
            self.push(&format!(r"\x{{{:02x}}}", u32::from(found)));
        } else {
            self.push("(?!)");
        }
    }

    /// Whether there is more than ASCII.
    fn is_wide(&self) -> bool {
        self.alphabet == Alphabet::Unicode
    }

    fn anchor(&mut self, anchor: Anchor) {
        let text = match (anchor, self.is_wide()) {
            (Anchor::TextStart, _) => "^".to_owned(),
            // PCRE2's own `(?m:^)` does not match after a line end that is the last character.
            (Anchor::LineStart, _) => r"(?:^|(?<=\x{0a}))".to_owned(),
            (Anchor::TextEnd, _) => "$".to_owned(),
            (Anchor::LineEnd, _) => "(?m:$)".to_owned(),
            (Anchor::VeryEnd, _) => r"\z".to_owned(),
            (Anchor::WordEdge, false) => r"\b".to_owned(),
            (Anchor::NoWordEdge, false) => r"\B".to_owned(),
            (Anchor::WordEdge, true) => {
                format!("(?:(?<=[{WORD}])(?![{WORD}])|(?<![{WORD}])(?=[{WORD}]))")
            }
            (Anchor::NoWordEdge, true) => {
                format!("(?:(?<=[{WORD}])(?=[{WORD}])|(?<![{WORD}])(?![{WORD}]))")
            }
        };
        self.push(&text);
    }

    fn class(&mut self, class: &Class) {
        match self.is_wide() {
            false => self.ascii_class(class),
            true => self.unicode_class(class),
        }
    }

    /// Renders the ASCII part of a class as plain ranges, or by PCRE2's own shorthand.
    fn ascii_class(&mut self, class: &Class) {
        if let [Item::Kind { kind: kind @ (Kind::Digit | Kind::Word), negated }] = class.items[..] {
            self.push(match (kind, negated != class.negated) {
                (Kind::Digit, false) => r"\d",
                (Kind::Digit, true) => r"\D",
                (_, false) => r"\w",
                (_, true) => r"\W",
            });
            return;
        }
        let holds = |code: u8| class.items.iter().any(|item| item_holds(*item, code));
        let mut ranges = String::new();
        let mut code = 0;
        while code < 128 {
            if !holds(code) {
                code += 1;
                continue;
            }
            let low = code;
            while code < 128 && holds(code) {
                code += 1;
            }
            push_range(&mut ranges, u32::from(low), u32::from(code - 1));
        }
        match (ranges.is_empty(), class.negated) {
            (true, true) => self.push("(?s:.)"),
            (true, false) => self.push("(?!)"),
            (false, true) => self.push(&format!("[^{ranges}]")),
            (false, false) => self.push(&format!("[{ranges}]")),
        }
    }

    fn unicode_class(&mut self, class: &Class) {
        let mut plain = String::new();
        let mut others: Vec<String> = Vec::new();
        for item in &class.items {
            match *item {
                Item::Range(low, high) => {
                    push_range(&mut plain, u32::from(low), u32::from(high));
                }
                Item::Kind { kind: Kind::Digit, negated: false } => plain.push_str(r"\p{Nd}"),
                Item::Kind { kind: Kind::Digit, negated: true } => plain.push_str(r"\P{Nd}"),
                Item::Kind { kind: Kind::Word, negated: false } => plain.push_str(WORD),
                Item::Kind { kind: Kind::Word, negated: true } => others.push(format!("[^{WORD}]")),
                Item::Kind { kind: Kind::Space, negated: false } => {
                    plain.push_str(SPACES);
                    plain.push_str(WIDE_SPACES);
                }
                Item::Kind { kind: Kind::Space, negated: true } => {
                    others.push(format!("[^{SPACES}{WIDE_SPACES}]"));
                }
            }
        }
        let negation = if class.negated { "^" } else { "" };
        if others.is_empty() {
            self.push(&format!("[{negation}{plain}]"));
            return;
        }
        // A class cannot hold the complement of several ranges: it becomes a choice of classes.
        if !plain.is_empty() {
            others.push(format!("[{plain}]"));
        }
        match (class.negated, others.join("|")) {
            (true, choice) => self.push(&format!("(?:(?!{choice})(?s:.))")),
            (false, choice) => self.push(&format!("(?:{choice})")),
        }
    }
}

fn is_character(node: &Node) -> bool {
    matches!(node, Node::Char(_) | Node::Any | Node::AnyOrLineEnd | Node::Class(_))
}

fn push_range(out: &mut String, low: u32, high: u32) {
    out.push_str(&format!(r"\x{{{low:02x}}}"));
    if low < high {
        out.push_str(&format!(r"-\x{{{high:02x}}}"));
    }
}

pub(super) fn item_holds(item: Item, code: u8) -> bool {
    let found = char::from(code);
    match item {
        Item::Range(low, high) => (low..=high).contains(&found),
        Item::Kind { kind, negated } => kind_holds(kind, found) != negated,
    }
}

fn kind_holds(kind: Kind, found: char) -> bool {
    match kind {
        Kind::Digit => found.is_ascii_digit(),
        Kind::Space => matches!(found, '\t'..='\r' | '\x1c'..=' '),
        Kind::Word => found.is_ascii_alphanumeric() || found == '_',
    }
}
