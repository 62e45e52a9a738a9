//! Reads an expression as Python's `re` does: what fail2ban's filters are written in.
//!
//! The grammar is that of Python 3.11's `re` for text (`str`) patterns. Whatever Python refuses
//! is refused here, too, so that nothing of PCRE2's own language is reached by accident. Three
//! things that nobody writes in a log filter are refused although Python knows them: `\N{…}`
//! and the flags `a` and `L`.

use std::ops::Range;

/// Deeper nesting is refused: no filter comes near, and the parser recurses.
const DEEPEST_GROUP: usize = 200;
/// The largest count that PCRE2 can repeat.
const MOST_REPEATS: u32 = 65_535;

/// A piece of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// One character.
    Char(char),
    /// `.`: any character but a line end.
    Any,
    /// `.` under the flag `s`.
    AnyOrLineEnd,
    /// `[…]`, or a shorthand such as `\d` on its own.
    Class(Class),
    /// A place, not a character.
    Anchor(Anchor),
    /// `(…)`, numbered from 1.
    Capture(usize, Box<Self>),
    /// `(?:…)`.
    Group(Box<Self>),
    /// `(?>…)`.
    Atomic(Box<Self>),
    /// `(?i:…)` and `(?-i:…)`.
    Case { sensitive: bool, inner: Box<Self> },
    /// `(?=…)` and its three kin.
    Look { behind: bool, negative: bool, inner: Box<Self> },
    /// `\1` and `(?P=name)`.
    Reference(usize),
    /// `(?(1)yes|no)`.
    Conditional { group: usize, yes: Box<Self>, no: Box<Self> },
    /// `x{least,most}`.
    Repeat { least: u32, most: Option<u32>, manner: Manner, inner: Box<Self> },
    /// One after the other; none at all is the empty expression.
    Sequence(Vec<Self>),
    /// One or the other, at least two.
    Choice(Vec<Self>),
}

/// A place in the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Anchor {
    /// `^` and `\A`.
    TextStart,
    /// `^` under the flag `m`.
    LineStart,
    /// `$`: the end, or before a line end that is the last character.
    TextEnd,
    /// `$` under the flag `m`.
    LineEnd,
    /// `\Z`.
    VeryEnd,
    /// `\b`.
    WordEdge,
    /// `\B`.
    NoWordEdge,
}

/// How eagerly a repetition takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    /// `*`
    Greedy,
    /// `*?`
    Lazy,
    /// `*+`
    Possessive,
}

/// A set of characters.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Class {
    /// Whether it is written with `[^`.
    pub(crate) negated: bool,
    /// What it holds.
    pub(crate) items: Vec<Item>,
}

/// What a class holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Item {
    /// The characters from the first to the second.
    Range(char, char),
    /// `\d`, `\s`, `\w`; negated `\D`, `\S`, `\W`.
    Kind { kind: Kind, negated: bool },
}

/// The kinds of characters that have a shorthand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// `\d`
    Digit,
    /// `\s`
    Space,
    /// `\w`
    Word,
}

/// An expression as a tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Syntax {
    /// The tree.
    pub(crate) root: Node,
    /// The name of each group, from group 1 on.
    pub(crate) names: Vec<Option<String>>,
}

/// Why an expression cannot be read, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub(crate) struct SyntaxError {
    pub(crate) offset: usize,
    pub(crate) reason: String,
}

/// Reads `text`; `multiline` is Python's flag `re.MULTILINE`.
pub(crate) fn parse(text: &str, multiline: bool) -> Result<Syntax, SyntaxError> {
    let flags = Flags { multiline, ..Flags::default() };
    let mut parser = Parser { text, at: 0, names: Vec::new(), open: Vec::new(), depth: 0 };
    let flags = parser.global_flags(flags)?;
    let mut root = parser.choice(flags)?;
    if parser.peek() == Some(')') {
        return Err(parser.fault(parser.at, "unbalanced parenthesis"));
    }
    if flags.caseless {
        root = Node::Case { sensitive: false, inner: Box::new(root) };
    }
    Ok(Syntax { root, names: parser.names })
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    caseless: bool,
    multiline: bool,
    dot_all: bool,
    verbose: bool,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    names: Vec<Option<String>>,
    /// The groups that are not closed yet.
    open: Vec<usize>,
    depth: usize,
}

/// What `(?…` begins with flags turned out to be.
enum FlagGroup {
    Global(Flags),
    Local(Flags),
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.at += found.len_utf8();
        Some(found)
    }

    fn take(&mut self, wanted: &str) -> bool {
        let taken = self.text[self.at..].starts_with(wanted);
        if taken {
            self.at += wanted.len();
        }
        taken
    }

    fn take_while(&mut self, most: usize, wanted: impl Fn(char) -> bool) -> &'t str {
        let rest = &self.text[self.at..];
        let len = rest.chars().take(most).take_while(|&c| wanted(c)).map(char::len_utf8).sum();
        self.at += len;
        &rest[..len]
    }

    fn until(&mut self, end: char) -> Result<&'t str, SyntaxError> {
        let rest = &self.text[self.at..];
        let Some(len) = rest.find(end) else {
            return Err(self.fault(self.at, &format!("missing `{end}`")));
        };
        self.at += len + end.len_utf8();
        Ok(&rest[..len])
    }

    fn fault(&self, offset: usize, reason: &str) -> SyntaxError {
        SyntaxError { offset, reason: reason.to_owned() }
    }

    /// Flags such as `(?i)` hold for the whole expression and stand at its start.
    fn global_flags(&mut self, mut flags: Flags) -> Result<Flags, SyntaxError> {
        loop {
            if flags.verbose {
                self.skip_verbose();
            }
            let start = self.at;
            let letter = |c: char| c.is_ascii_alphabetic() || c == '-';
            if !self.take("(?") || !self.peek().is_some_and(letter) || self.peek() == Some('P') {
                self.at = start;
                return Ok(flags);
            }
            match self.flag_group(flags)? {
                FlagGroup::Global(found) => flags = found,
                FlagGroup::Local(_) => {
                    self.at = start;
                    return Ok(flags);
                }
            }
        }
    }

    fn skip_verbose(&mut self) {
        loop {
            self.take_while(usize::MAX, |c| matches!(c, ' ' | '\t'..='\r'));
            if !self.take("#") {
                return;
            }
            self.take_while(usize::MAX, |c| c != '\n');
        }
    }

    fn choice(&mut self, flags: Flags) -> Result<Node, SyntaxError> {
        self.depth += 1;
        if self.depth > DEEPEST_GROUP {
            return Err(self.fault(self.at, "groups are nested too deeply"));
        }
        let mut branches = vec![self.sequence(flags)?];
        while self.take("|") {
            branches.push(self.sequence(flags)?);
        }
        self.depth -= 1;
        Ok(match branches.pop() {
            Some(only) if branches.is_empty() => only,
            Some(last) => {
                branches.push(last);
                Node::Choice(branches)
            }
            None => Node::Sequence(Vec::new()),
        })
    }

    fn sequence(&mut self, flags: Flags) -> Result<Node, SyntaxError> {
        let mut nodes = Vec::new();
        loop {
            if flags.verbose {
                self.skip_verbose();
            }
            let start = self.at;
            match self.peek() {
                None | Some('|' | ')') => return Ok(Node::Sequence(nodes)),
                Some('*' | '+' | '?' | '{') => match self.repeat()? {
                    Some((least, most, manner)) => {
                        let inner = self.repeatable(nodes.pop(), start)?;
                        nodes.push(Node::Repeat { least, most, manner, inner });
                    }
                    None => {
                        self.next();
                        nodes.push(Node::Char('{'));
                    }
                },
                Some(_) => nodes.extend(self.atom(flags)?),
            }
        }
    }

    fn repeatable(&self, node: Option<Node>, offset: usize) -> Result<Box<Node>, SyntaxError> {
        match node {
            None | Some(Node::Anchor(_)) => Err(self.fault(offset, "nothing to repeat")),
            Some(Node::Repeat { .. }) => Err(self.fault(offset, "multiple repeat")),
            Some(node) => Ok(Box::new(node)),
        }
    }

    /// Reads a repetition; `None`, with nothing read, where a brace is only a brace.
    fn repeat(&mut self) -> Result<Option<(u32, Option<u32>, Manner)>, SyntaxError> {
        let start = self.at;
        let (least, most) = match self.next() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            _ => {
                let digits = |c: char| c.is_ascii_digit();
                let low = self.take_while(usize::MAX, digits);
                let comma = self.take(",");
                let high = if comma { self.take_while(usize::MAX, digits) } else { low };
                if !self.take("}") || (low.is_empty() && !comma) {
                    self.at = start;
                    return Ok(None);
                }
                let least = if low.is_empty() { 0 } else { self.count(low, start)? };
                let most = if high.is_empty() { None } else { Some(self.count(high, start)?) };
                if most.is_some_and(|most| most < least) {
                    return Err(self.fault(start, "least repeat exceeds the most"));
                }
                (least, most)
            }
        };
        let manner = if self.take("?") {
            Manner::Lazy
        } else if self.take("+") {
            Manner::Possessive
        } else {
            Manner::Greedy
        };
        Ok(Some((least, most, manner)))
    }

    fn count(&self, digits: &str, offset: usize) -> Result<u32, SyntaxError> {
        match digits.parse() {
            Ok(count) if count <= MOST_REPEATS => Ok(count),
            _ => Err(self.fault(offset, &format!("repeat count exceeds {MOST_REPEATS}"))),
        }
    }

    /// Reads anything but a repetition; `None` for a comment.
    fn atom(&mut self, flags: Flags) -> Result<Option<Node>, SyntaxError> {
        Ok(Some(match self.next() {
            Some('.') if flags.dot_all => Node::AnyOrLineEnd,
            Some('.') => Node::Any,
            Some('^') if flags.multiline => Node::Anchor(Anchor::LineStart),
            Some('^') => Node::Anchor(Anchor::TextStart),
            Some('$') if flags.multiline => Node::Anchor(Anchor::LineEnd),
            Some('$') => Node::Anchor(Anchor::TextEnd),
            Some('[') => Node::Class(self.class()?),
            Some('\\') => self.escape()?,
            Some('(') => return self.group(flags),
            Some(other) => Node::Char(other),
            None => return Ok(None),
        }))
    }

    fn group(&mut self, flags: Flags) -> Result<Option<Node>, SyntaxError> {
        let start = self.at - 1;
        if !self.take("?") {
            return self.capture(None, flags, start).map(Some);
        }
        let node = if self.take(":") {
            Node::Group(self.body(flags, start)?)
        } else if self.take(">") {
            Node::Atomic(self.body(flags, start)?)
        } else if self.take("#") {
            self.until(')')?;
            return Ok(None);
        } else if self.take("=") {
            Node::Look { behind: false, negative: false, inner: self.body(flags, start)? }
        } else if self.take("!") {
            Node::Look { behind: false, negative: true, inner: self.body(flags, start)? }
        } else if self.take("<=") {
            Node::Look { behind: true, negative: false, inner: self.body(flags, start)? }
        } else if self.take("<!") {
            Node::Look { behind: true, negative: true, inner: self.body(flags, start)? }
        } else if self.take("P<") {
            let name = self.until('>')?;
            self.check_name(name, start)?;
            if self.names.iter().flatten().any(|known| known == name) {
                return Err(self.fault(start, &format!("group name `{name}` is given twice")));
            }
            self.capture(Some(name.to_owned()), flags, start)?
        } else if self.take("P=") {
            let name = self.until(')')?;
            Node::Reference(self.closed_group(name, start)?)
        } else if self.take("(") {
            self.conditional(flags, start)?
        } else {
            match self.flag_group(flags)? {
                FlagGroup::Global(_) => {
                    let reason = "global flags not at the start of the expression";
                    return Err(self.fault(start, reason));
                }
                FlagGroup::Local(local) => {
                    let inner = self.body(local, start)?;
                    if local.caseless == flags.caseless {
                        Node::Group(inner)
                    } else {
                        Node::Case { sensitive: !local.caseless, inner }
                    }
                }
            }
        };
        Ok(Some(node))
    }

    fn capture(
        &mut self,
        name: Option<String>,
        flags: Flags,
        start: usize,
    ) -> Result<Node, SyntaxError> {
        self.names.push(name);
        let number = self.names.len();
        self.open.push(number);
        let inner = self.body(flags, start)?;
        self.open.pop();
        Ok(Node::Capture(number, inner))
    }

    fn body(&mut self, flags: Flags, start: usize) -> Result<Box<Node>, SyntaxError> {
        let inner = self.choice(flags)?;
        if self.take(")") {
            Ok(Box::new(inner))
        } else {
            Err(self.fault(start, "missing `)`, unterminated group"))
        }
    }

    fn check_name(&self, name: &str, offset: usize) -> Result<(), SyntaxError> {
        let mut chars = name.chars();
        let first = chars.next().is_some_and(|c| c == '_' || c.is_alphabetic());
        if first && chars.all(|c| c == '_' || c.is_alphanumeric()) {
            Ok(())
        } else {
            Err(self.fault(offset, &format!("bad group name `{name}`")))
        }
    }

    fn group_number(&self, name: &str, offset: usize) -> Result<usize, SyntaxError> {
        let named = self.names.iter().position(|known| known.as_deref() == Some(name));
        named
            .map(|index| index + 1)
            .or_else(|| name.parse().ok())
            .filter(|number| (1..=self.names.len()).contains(number))
            .ok_or_else(|| self.fault(offset, &format!("unknown group `{name}`")))
    }

    fn closed_group(&self, name: &str, offset: usize) -> Result<usize, SyntaxError> {
        let number = self.group_number(name, offset)?;
        if self.open.contains(&number) {
            return Err(self.fault(offset, "cannot refer to an open group"));
        }
        Ok(number)
    }

    fn conditional(&mut self, flags: Flags, start: usize) -> Result<Node, SyntaxError> {
        let name = self.until(')')?;
        let group = self.group_number(name, start)?;
        let yes = Box::new(self.sequence(flags)?);
        let no = if self.take("|") { self.sequence(flags)? } else { Node::Sequence(Vec::new()) };
        match self.next() {
            Some(')') => Ok(Node::Conditional { group, yes, no: Box::new(no) }),
            Some(_) => Err(self.fault(start, "conditional with more than two branches")),
            None => Err(self.fault(start, "missing `)`, unterminated group")),
        }
    }

    /// Reads flags after `(?`, with the `)` or `:` that ends them.
    fn flag_group(&mut self, mut flags: Flags) -> Result<FlagGroup, SyntaxError> {
        let start = self.at;
        let mut on = true;
        loop {
            let at = self.at;
            match self.next() {
                Some('i') => flags.caseless = on,
                Some('m') => flags.multiline = on,
                Some('s') => flags.dot_all = on,
                Some('x') => flags.verbose = on,
                Some('u') if on => {} // text patterns are Unicode as they are
                Some('-') if on => on = false,
                Some(':') if at > start => return Ok(FlagGroup::Local(flags)),
                Some(')') if at > start && on => return Ok(FlagGroup::Global(flags)),
                Some(other) => {
                    return Err(self.fault(at, &format!("unknown extension or flag `{other}`")));
                }
                None => return Err(self.fault(at, "missing `)`, unterminated group")),
            }
        }
    }

    fn escape(&mut self) -> Result<Node, SyntaxError> {
        let start = self.at - 1;
        Ok(match self.peek() {
            Some('A') => self.anchor(Anchor::TextStart),
            Some('Z') => self.anchor(Anchor::VeryEnd),
            Some('b') => self.anchor(Anchor::WordEdge),
            Some('B') => self.anchor(Anchor::NoWordEdge),
            Some('1'..='9') => self.numbered(start)?,
            _ => match self.class_escape(start)? {
                Item::Range(low, _) => Node::Char(low),
                kind @ Item::Kind { .. } => {
                    Node::Class(Class { negated: false, items: vec![kind] })
                }
            },
        })
    }

    fn anchor(&mut self, anchor: Anchor) -> Node {
        self.next();
        Node::Anchor(anchor)
    }

    /// `\1` to `\99` refer to a group, three octal digits are a character.
    fn numbered(&mut self, start: usize) -> Result<Node, SyntaxError> {
        let octal = self.text[self.at..].bytes().take(3).filter(|b| matches!(b, b'0'..=b'7'));
        if octal.count() == 3 {
            let digits = self.take_while(3, |_| true);
            return Ok(Node::Char(self.code_point(digits, 8, start)?));
        }
        let digits = self.take_while(2, |c| c.is_ascii_digit());
        Ok(Node::Reference(self.closed_group(digits, start)?))
    }

    /// Reads what follows a backslash where a class or a single character may stand.
    fn class_escape(&mut self, start: usize) -> Result<Item, SyntaxError> {
        let kind = |kind, negated| Ok(Item::Kind { kind, negated });
        let one = |found| Ok(Item::Range(found, found));
        let Some(letter) = self.next() else {
            return Err(self.fault(start, "bad escape at the end"));
        };
        match letter {
            'd' => kind(Kind::Digit, false),
            'D' => kind(Kind::Digit, true),
            's' => kind(Kind::Space, false),
            'S' => kind(Kind::Space, true),
            'w' => kind(Kind::Word, false),
            'W' => kind(Kind::Word, true),
            'a' => one('\x07'),
            'b' => one('\x08'),
            'f' => one('\x0c'),
            'n' => one('\n'),
            'r' => one('\r'),
            't' => one('\t'),
            'v' => one('\x0b'),
            'x' => one(self.hexadecimal(2, start)?),
            'u' => one(self.hexadecimal(4, start)?),
            'U' => one(self.hexadecimal(8, start)?),
            '0'..='7' => {
                self.at -= 1;
                let digits = self.take_while(3, |c| matches!(c, '0'..='7'));
                one(self.code_point(digits, 8, start)?)
            }
            other if other.is_ascii_alphanumeric() => {
                Err(self.fault(start, &format!("bad escape `\\{other}`")))
            }
            other => one(other),
        }
    }

    fn hexadecimal(&mut self, n_digits: usize, start: usize) -> Result<char, SyntaxError> {
        let digits = self.take_while(n_digits, |c| c.is_ascii_hexdigit());
        if digits.len() < n_digits {
            return Err(self.fault(start, "incomplete escape"));
        }
        self.code_point(digits, 16, start)
    }

    fn code_point(&self, digits: &str, radix: u32, start: usize) -> Result<char, SyntaxError> {
        u32::from_str_radix(digits, radix)
            .ok()
            .filter(|&code| radix == 16 || code <= 0o377)
            .and_then(char::from_u32)
            .ok_or_else(|| self.fault(start, "escape names no character"))
    }

    fn class(&mut self) -> Result<Class, SyntaxError> {
        let start = self.at - 1;
        let mut class = Class { negated: self.take("^"), items: Vec::new() };
        loop {
            let low = match self.next() {
                Some(']') if !class.items.is_empty() => return Ok(class),
                Some('\\') => self.class_escape(self.at - 1)?,
                Some(other) => Item::Range(other, other),
                None => return Err(self.fault(start, "unterminated character set")),
            };
            let dash = self.at;
            if !self.take("-") {
                class.items.push(low);
                continue;
            }
            let high = match self.next() {
                Some(']') => {
                    class.items.extend([low, Item::Range('-', '-')]);
                    return Ok(class);
                }
                Some('\\') => self.class_escape(self.at - 1)?,
                Some(other) => Item::Range(other, other),
                None => return Err(self.fault(start, "unterminated character set")),
            };
            class.items.push(self.range(low, high, dash)?);
        }
    }

    fn range(&self, low: Item, high: Item, offset: usize) -> Result<Item, SyntaxError> {
        match (low, high) {
            (Item::Range(low, _), Item::Range(high, _)) if low <= high => {
                Ok(Item::Range(low, high))
            }
            _ => Err(self.fault(offset, "bad character range")),
        }
    }
}

/// Rewrites `((?i)…)` and `(?:(?i)…)` to `(?i:…)`, as fail2ban does before it compiles.
pub(crate) fn localise_flags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut escaped = false;
    while let Some(first) = rest.chars().next() {
        match flags_after_open(rest).filter(|_| !escaped) {
            Some(flags) => {
                out.push_str(&rest[flags.clone()]);
                out.push(':');
                rest = &rest[flags.end + 1..];
                escaped = false;
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
                // fail2ban looks at one character alone: `\\(` counts as escaped, too.
                escaped = first == '\\';
            }
        }
    }
    out
}

/// Where in `((?i)` or `(?:(?i)` the part `(?i` is.
fn flags_after_open(text: &str) -> Option<Range<usize>> {
    let open = if text.starts_with("(?:(?") { 3 } else { 1 };
    let letters = text.strip_prefix('(').and_then(|_| text[open..].strip_prefix("(?"))?;
    let len = letters.bytes().take_while(u8::is_ascii_lowercase).count();
    (len > 0 && letters[len..].starts_with(')')).then_some(open..open + 2 + len)
}
