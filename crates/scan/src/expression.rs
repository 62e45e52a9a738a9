//! An expression of a filter, compiled, and the searches in it.

mod emit;
pub(crate) mod literal;
mod opening;
pub(crate) mod syntax;
pub(crate) mod tags;

use std::sync::{Arc, OnceLock};

use memchr::memchr;
use pcre2::bytes::{CaptureLocations, Regex, RegexBuilder};

use emit::{Alphabet, emit, emit_measured};
use literal::Required;
use opening::Opening;
use syntax::{Node, Syntax, SyntaxError};

/// Backtracks from one place where a match may begin: about 0.1 ms where all are used up.
const MATCH_LIMIT: u32 = 20_000;
/// The longest texts of each class of length but the last. Each class gets an eighth of the
/// backtracks of the one before, because between two of them PCRE2 may walk along all of the text,
/// and because there are so many more places to begin at.
const CLASS_BYTES: [usize; N_CLASSES - 1] = [1 << 10, 1 << 13, 1 << 16];
const N_CLASSES: usize = 4;
/// Longer texts are given up at the first search that exceeds the limit, without a second try.
const LAST_PATIENT_CLASS: usize = 2;
/// Searches that may exceed the limit on one line before the line is given up: an attacker
/// writes lines, and all expressions of a filter may be slow on the same one.
const EXCEEDED_PER_LINE: u32 = 4;
/// Characters that a second try may look at, each time that it looks counting anew, wherever the
/// match begins: some 2 ms.
const STEP_LIMIT: u32 = 10 * MATCH_LIMIT;
/// Second tries on one line.
const SECOND_TRIES_PER_LINE: u32 = 2;
/// PCRE2's stack for one search; what needs more counts as exceeding the limit.
const STACK_BYTES: usize = 1 << 20;

/// An expression, compiled for an alphabet when the first text of that alphabet comes. Most of those
/// of a host never see one, so no more than their text is kept until then.
pub(crate) struct Expression {
    text: Box<str>,
    multiline: bool,
    names: Vec<Option<String>>,
    required: Vec<Required>,
    opening: Opening,
    /// By alphabet.
    engines: [OnceLock<Option<Box<Engine>>>; Alphabet::COUNT],
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl Expression {
    /// Reads `text`, whose tags are expanded.
    pub(crate) fn read(text: &str, multiline: bool) -> Result<Self, SyntaxError> {
        let names = syntax::parse(text, multiline)?.names;
        Ok(Self::of(text, multiline, names, Vec::new(), Opening::ALL))
    }

    /// Reads `text`, and makes sure that PCRE2 takes it.
    pub(crate) fn compile(text: &str, multiline: bool) -> Result<Self, SyntaxError> {
        let Syntax { root, names } = syntax::parse(text, multiline)?;
        // Without the machine code, which takes far longer than the rest.
        RegexBuilder::new()
            .build(&emit(&root, Alphabet::Ascii))
            .map_err(|error| SyntaxError { offset: 0, reason: error.to_string() })?;
        Ok(Self::of(text, multiline, names, literal::required(&root), Opening::of(&root)))
    }

    fn of(
        text: &str,
        multiline: bool,
        names: Vec<Option<String>>,
        required: Vec<Required>,
        opening: Opening,
    ) -> Self {
        let engines = Default::default();
        Self { text: text.into(), multiline, names, required, opening, engines }
    }

    /// The names of the groups, from group 1 on.
    pub(crate) fn names(&self) -> &[Option<String>] {
        &self.names
    }

    /// What a text must hold for the expression, which was compiled, to match it, the best first.
    pub(crate) fn required(&self) -> &[Required] {
        &self.required
    }

    /// Whether a group has this name.
    pub(crate) fn has_group(&self, name: &str) -> bool {
        self.names.iter().flatten().any(|known| known == name)
    }

    /// `None` for what PCRE2 does not take: it matches nothing.
    fn engine(&self, alphabet: Alphabet) -> Option<&Engine> {
        let make = || Engine::new(self, alphabet).ok().map(Box::new);
        self.engines[alphabet as usize].get_or_init(make).as_deref()
    }

    fn root(&self) -> Node {
        syntax::parse(&self.text, self.multiline).expect("it was read before").root
    }
}

/// An expression for one alphabet, compiled for what its searches may cost.
struct Engine {
    alphabet: Alphabet,
    /// For a short text: what nearly every search is in.
    regex: Regex,
    /// For the longer texts, class by class, once they come.
    longer: [OnceLock<Option<Regex>>; N_CLASSES - 1],
    /// For the second try, once there is one.
    measured: OnceLock<Option<Regex>>,
}

impl Engine {
    fn new(expression: &Expression, alphabet: Alphabet) -> Result<Self, pcre2::Error> {
        let regex = build(&emit(&expression.root(), alphabet), alphabet, MATCH_LIMIT)?;
        let (longer, measured) = Default::default();
        Ok(Self { alphabet, regex, longer, measured })
    }

    /// For a text of this class; `None` where PCRE2 has no memory for it. `expression` is the one
    /// that this engine was made from.
    fn first(&self, class: usize, expression: &Expression) -> Option<&Regex> {
        let Some(longer) = class.checked_sub(1) else { return Some(&self.regex) };
        let limit = MATCH_LIMIT >> (3 * class);
        let build = || build(&emit(&expression.root(), self.alphabet), self.alphabet, limit).ok();
        self.longer[longer].get_or_init(build).as_ref()
    }

    /// For the second try with `expression`, which this engine was made from.
    fn second(&self, expression: &Expression) -> Option<&Regex> {
        let build = || {
            let pattern = emit_measured(&expression.root(), self.alphabet);
            build(&pattern, self.alphabet, STEP_LIMIT).ok()
        };
        self.measured.get_or_init(build).as_ref()
    }
}

/// The class of length that a text of so many bytes is in.
fn class(n_bytes: usize) -> usize {
    CLASS_BYTES.iter().filter(|&&longest| n_bytes > longest).count()
}

fn build(pattern: &str, alphabet: Alphabet, limit: u32) -> Result<Regex, pcre2::Error> {
    RegexBuilder::new()
        .jit_if_available(true)
        .max_jit_stack_size(Some(STACK_BYTES))
        .utf(alphabet == Alphabet::Unicode)
        .build(&format!("(*LF)(*LIMIT_MATCH={limit}){pattern}"))
}

/// A text to search in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'t> {
    /// The text.
    pub(crate) text: &'t str,
    alphabet: Alphabet,
}

impl<'t> Subject<'t> {
    /// Looks once which alphabet the text needs.
    pub(crate) fn new(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let is_line = || bytes.ends_with(b"\n") && memchr(b'\n', bytes) == Some(bytes.len() - 1);
        let alphabet = match is_ascii(bytes) {
            true if is_line() => Alphabet::Line,
            true => Alphabet::Ascii,
            false => Alphabet::Unicode,
        };
        Self { text, alphabet }
    }

    /// The same for a text that is one line with its end.
    pub(crate) fn line(text: &'t str) -> Self {
        let alphabet = if is_ascii(text.as_bytes()) { Alphabet::Line } else { Alphabet::Unicode };
        Self { text, alphabet }
    }

    /// The same for a part of the text that ends as it does.
    pub(crate) fn part(self, text: &'t str) -> Self {
        match self.alphabet {
            Alphabet::Line | Alphabet::Ascii => Self { text, ..self },
            Alphabet::Unicode => Self::new(text),
        }
    }

    /// The number of characters before byte `at`.
    pub(crate) fn column(self, at: usize) -> usize {
        match self.alphabet {
            Alphabet::Line | Alphabet::Ascii => at,
            Alphabet::Unicode => self.text[..at].chars().count(),
        }
    }

    /// The byte at which the character of this column begins; the end of a shorter text.
    pub(crate) fn byte(self, column: usize) -> usize {
        let len = self.text.len();
        match self.alphabet {
            Alphabet::Line | Alphabet::Ascii => column.min(len),
            Alphabet::Unicode => self.text.char_indices().nth(column).map_or(len, |(at, _)| at),
        }
    }
}

/// The same as the standard library's, which takes the last bytes one by one: the lines of a log
/// are so short that it would be half of the work.
fn is_ascii(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else { return bytes.is_ascii() };
    let (chunks, _) = bytes.as_chunks::<8>();
    let all = chunks
        .iter()
        .fold(u64::from_ne_bytes(*last), |all, chunk| all | u64::from_ne_bytes(*chunk));
    all & 0x8080_8080_8080_8080 == 0
}

/// What searches on one line may still cost, and how many cost too much.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Budget {
    n_exceeded: u32,
    n_second_tries: u32,
    /// Searches given up since the scanner began.
    pub(crate) n_exceeded_ever: u64,
}

impl Budget {
    /// Begins a new line.
    pub(crate) fn refill(&mut self) {
        self.n_exceeded = 0;
        self.n_second_tries = 0;
    }

    /// Whether a search in a text of this class, which exceeded the limit, is tried once more.
    fn may_try_again(&mut self, class: usize) -> bool {
        let may = class <= LAST_PATIENT_CLASS && self.n_second_tries < SECOND_TRIES_PER_LINE;
        self.n_second_tries += u32::from(may);
        may
    }

    /// Notes a search that was given up, in a text of this class.
    fn exceed(&mut self, class: usize) {
        self.n_exceeded_ever += 1;
        self.n_exceeded =
            if class <= LAST_PATIENT_CLASS { self.n_exceeded + 1 } else { EXCEEDED_PER_LINE };
    }
}

/// An expression with the memory that its searches write to: one for each scanner.
pub(crate) struct Searcher {
    expression: Arc<Expression>,
    /// Made by the first engine that searches; the others have the same groups.
    places: Option<CaptureLocations>,
}

impl std::fmt::Debug for Searcher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.expression.fmt(out)
    }
}

impl Searcher {
    /// A searcher that has not searched yet.
    pub(crate) fn new(expression: Arc<Expression>) -> Self {
        Self { expression, places: None }
    }

    /// Searches in all of `subject`.
    pub(crate) fn search(&mut self, subject: Subject<'_>, budget: &mut Budget) -> bool {
        self.expression.opening.admits(subject.text)
            && self.search_in(subject, 0, subject.text.len(), budget)
    }

    /// Searches from byte `start`, as if the text ended at byte `end`: both lie between two
    /// characters.
    pub(crate) fn search_in(
        &mut self,
        subject: Subject<'_>,
        start: usize,
        end: usize,
        budget: &mut Budget,
    ) -> bool {
        if budget.n_exceeded >= EXCEEDED_PER_LINE {
            return false;
        }
        let alphabet = match subject.alphabet {
            Alphabet::Line if end < subject.text.len() => Alphabet::Ascii,
            alphabet => alphabet,
        };
        let Some(engine) = self.expression.engine(alphabet) else { return false };
        let places = self.places.get_or_insert_with(|| engine.regex.capture_locations());
        let text = &subject.text.as_bytes()[..end];
        let class = class(end - start);
        let mut search = |regex: Option<&Regex>| {
            regex?.captures_read_at(places, text, start).ok().map(|found| found.is_some())
        };
        let mut answer = search(engine.first(class, &self.expression));
        if answer.is_none() && budget.may_try_again(class) {
            answer = search(engine.second(&self.expression));
        }
        answer.unwrap_or_else(|| {
            budget.exceed(class);
            false
        })
    }

    /// The bytes of a group of the last search, which found something; 0 is all that matched.
    pub(crate) fn span(&self, group: usize) -> Option<(usize, usize)> {
        self.places.as_ref()?.get(group)
    }

    /// The text of a group of the last search, which was in `text`.
    pub(crate) fn group<'t>(&self, group: usize, text: &'t str) -> Option<&'t str> {
        let (start, end) = self.span(group)?;
        text.get(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPRESSIONS: [&str; 22] = [
        r"^a*(b+?)\s*(?:c|d)*(\S+)$",
        r"(\w+)\s+from\s+([\d.]+)",
        r"(?i:failed)[^:]*: (.*) from (\S+)\b",
        r"(?<=user )(\w+)(?! from)",
        r"(?P<q>['\x22])(.*?)(?P=q)",
        r"(x)?y*(?(1)z+|w+)",
        r"(?:(\w+),?)*;",
        r"(?:[^\[]+ )*\[(.+)\]$",
        r"\bé*(\w{2,})\B.",
        r"(a|ab)(c|bcd)*(d*)$",
        r"[^\W\d]+?(\d{2,3})\d*",
        r"(?:^|;)\s*(\S*)",
        r"\s*$",
        r"(?s:.*)(\n)",
        r"(?m:^(.*)$)",
        r"(.*)(.*)x?(.+)",
        r"^\s*(?:\S+\s+)?(?P<content>.+)$",
        r"^(?:\w+(.+$))*",
        r"^(?:ab )?(?P<u>(?P<c>\S+)|[^:]+) from (\S+)(?: port)?(?(c): |.*$)",
        r"^(?>(?P<c>a)|ab)c?(?(c): |.)",
        r"^(?:(?P<c>a)|ab)++c?(?(c): |.)",
        r"^(?:(?=(?P<c>a))|ab)c?(?(c): |.)",
    ];
    const TEXTS: [&str; 16] = [
        "",
        "aabbb  cdcdx\n",
        "Failed password: root  from 192.0.2.7 port 22\n",
        "user mallory from user bob\n",
        "say 'a' and \"b\" 'c\n",
        "xyyzz yyww xw\n",
        "one,two,three;four; five\n",
        "a b [c] d [e]\n",
        "ééab café 日本語x ٣٤٥\n",
        "abcdabcd\n",
        "abc12345 x1 y22\nz333\n",
        " \u{a0}\u{2003}\t\n",
        "\n",
        "ab me and you from here: x\n",
        "ab me from here: from there: port\n",
        "me from here:x\ny from there port: \n",
    ];

    /// What a search finds, group by group; `None` where it gives up.
    fn groups(regex: Option<&Regex>, text: &str) -> Option<Vec<Option<(usize, usize)>>> {
        let regex = regex?;
        let mut places = regex.capture_locations();
        let found = regex.captures_read_at(&mut places, text.as_bytes(), 0).ok()?;
        Some(found.map_or(Vec::new(), |_| (0..places.len()).map(|it| places.get(it)).collect()))
    }

    #[test]
    fn a_second_try_finds_what_the_first_would() {
        for expression in EXPRESSIONS {
            let expression = Expression::read(expression, false).expect("it is sound");
            for text in TEXTS {
                let subject = Subject::new(text);
                let engine = expression.engine(subject.alphabet).expect("PCRE2 takes it");
                let first = groups(engine.first(0, &expression), text);
                assert!(first.is_some(), "{expression:?}");
                let second = groups(engine.second(&expression), text);
                assert_eq!(second, first, "{expression:?} in {text:?}");
            }
        }
    }

    /// However many places a match may begin at, and however far PCRE2 walks from each of them: the
    /// steps of all count together.
    #[test]
    fn a_second_try_counts_every_step() {
        #[track_caller]
        fn check(expression: &str, text: &str, is_answered: bool) {
            let expression = Expression::read(expression, false).expect("it is sound");
            let engine = expression.engine(Subject::new(text).alphabet).expect("PCRE2 takes it");
            let second = groups(engine.second(&expression), text);
            assert_eq!(second.is_some(), is_answered, "{expression:?}");
        }
        let spaces = " ".repeat(8 << 10);
        check(r"^\s*x", &format!("{spaces}yx"), true);
        check(r"\s+x", &format!("{spaces}yx"), false); // from each space to the last
        check(r"^\s*\s*x", &format!("{spaces}yx"), false); // the same with one beginning
        check(r"^.* from (\S+) .*x$", &format!("{spaces} from me y{spaces}yx"), true);
        check(r"(?:\S+ )*x$", &"ab ".repeat(200), true);
        check(r"^(?:\w+\s?)*!", &format!("{}!", "word ".repeat(45)), true);
        check(r"^(?:\w+\s?)*!", &format!("{};!", "word ".repeat(45)), false);
    }
}
