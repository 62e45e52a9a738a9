//! An expression of a filter, compiled, and the searches in it.

mod emit;
pub(crate) mod literal;
pub(crate) mod syntax;
pub(crate) mod tags;

use std::sync::{Arc, OnceLock};

use pcre2::bytes::{CaptureLocations, Regex, RegexBuilder};

use emit::{Alphabet, emit};
use literal::Required;
use syntax::{Node, SyntaxError};

/// Steps that a search may take: about 0.2 ms where all are used up.
const MATCH_LIMIT: u32 = 50_000;
/// How many times as many the second try of a search may take.
const PATIENCE: u32 = 10;
/// The longest texts of each class of length but the last. Each class gets an eighth of the steps
/// of the one before, because one step may walk along all of the text: `\s*` does.
const CLASS_BYTES: [usize; N_CLASSES - 1] = [1 << 10, 1 << 13, 1 << 16];
const N_CLASSES: usize = 4;
/// Longer texts are given up at the first search that exceeds the limit, without a second try.
const LAST_PATIENT_CLASS: usize = 1;
/// Searches that may exceed the limit on one line before the line is given up: an attacker
/// writes lines, and all expressions of a filter may be slow on the same one.
const EXCEEDED_PER_LINE: u32 = 6;
/// Second tries on one line.
const PATIENCE_PER_LINE: u32 = 1;
/// PCRE2's stack for one search; what needs more counts as exceeding the limit.
const STACK_BYTES: usize = 1 << 20;

/// An expression, compiled for an alphabet when the first text of that alphabet comes.
pub(crate) struct Expression {
    root: Node,
    names: Vec<Option<String>>,
    ascii: OnceLock<Option<Engine>>,
    unicode: OnceLock<Option<Engine>>,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Expression").field(&emit(&self.root, Alphabet::Ascii)).finish()
    }
}

impl Expression {
    /// Reads `text`, whose tags are expanded, and leaves the compiling for later.
    pub(crate) fn read(text: &str, multiline: bool) -> Result<Self, SyntaxError> {
        let syntax = syntax::parse(text, multiline)?;
        let (ascii, unicode) = (OnceLock::new(), OnceLock::new());
        Ok(Self { root: syntax.root, names: syntax.names, ascii, unicode })
    }

    /// Reads `text` and compiles it for ASCII.
    pub(crate) fn compile(text: &str, multiline: bool) -> Result<Self, SyntaxError> {
        let read = Self::read(text, multiline)?;
        let engine = Engine::new(emit(&read.root, Alphabet::Ascii), Alphabet::Ascii)
            .map_err(|error| SyntaxError { offset: 0, reason: error.to_string() })?;
        Ok(Self { ascii: OnceLock::from(Some(engine)), ..read })
    }

    /// The names of the groups, from group 1 on.
    pub(crate) fn names(&self) -> &[Option<String>] {
        &self.names
    }

    /// What a text must hold for the expression to match it.
    pub(crate) fn required(&self) -> Option<Required> {
        literal::required(&self.root)
    }

    /// Whether a group has this name.
    pub(crate) fn has_group(&self, name: &str) -> bool {
        self.names.iter().flatten().any(|known| known == name)
    }

    /// `None` for what PCRE2 does not take: it matches nothing.
    fn engine(&self, alphabet: Alphabet) -> Option<&Engine> {
        let slot = match alphabet {
            Alphabet::Ascii => &self.ascii,
            Alphabet::Unicode => &self.unicode,
        };
        slot.get_or_init(|| Engine::new(emit(&self.root, alphabet), alphabet).ok()).as_ref()
    }
}

/// One rendering of an expression, compiled for the steps that a search may take.
struct Engine {
    pattern: String,
    alphabet: Alphabet,
    /// For the first try on a short text: what nearly every search is.
    regex: Regex,
    /// For longer texts and second tries, once they come.
    others: [[OnceLock<Option<Regex>>; 2]; N_CLASSES],
}

impl Engine {
    fn new(pattern: String, alphabet: Alphabet) -> Result<Self, pcre2::Error> {
        let regex = build(&pattern, alphabet, MATCH_LIMIT)?;
        Ok(Self { pattern, alphabet, regex, others: Default::default() })
    }

    /// For a text of this class; `None` where PCRE2 has no memory for it.
    fn regex(&self, class: usize, is_second: bool) -> Option<&Regex> {
        if class == 0 && !is_second {
            return Some(&self.regex);
        }
        let limit = (MATCH_LIMIT >> (3 * class)) * if is_second { PATIENCE } else { 1 };
        self.others[class][usize::from(is_second)]
            .get_or_init(|| build(&self.pattern, self.alphabet, limit).ok())
            .as_ref()
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
        let alphabet = if is_ascii(text.as_bytes()) { Alphabet::Ascii } else { Alphabet::Unicode };
        Self { text, alphabet }
    }

    /// The same for a part of the text.
    pub(crate) fn part(self, text: &'t str) -> Self {
        match self.alphabet {
            Alphabet::Ascii => Self { text, ..self },
            Alphabet::Unicode => Self::new(text),
        }
    }

    /// The number of characters before byte `at`.
    pub(crate) fn column(self, at: usize) -> usize {
        match self.alphabet {
            Alphabet::Ascii => at,
            Alphabet::Unicode => self.text[..at].chars().count(),
        }
    }

    /// The byte at which the character of this column begins; the end of a shorter text.
    pub(crate) fn byte(self, column: usize) -> usize {
        let len = self.text.len();
        match self.alphabet {
            Alphabet::Ascii => column.min(len),
            Alphabet::Unicode => self.text.char_indices().nth(column).map_or(len, |(at, _)| at),
        }
    }
}

/// The same as the standard library's, which takes the last bytes one by one: the lines of a log
/// are so short that it would be half of the work.
pub(crate) fn is_ascii(bytes: &[u8]) -> bool {
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
    n_patient: u32,
    /// Searches given up since the scanner began.
    pub(crate) n_exceeded_ever: u64,
}

impl Budget {
    /// Begins a new line.
    pub(crate) fn refill(&mut self) {
        self.n_exceeded = 0;
        self.n_patient = 0;
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
    ascii: Option<CaptureLocations>,
    unicode: Option<CaptureLocations>,
    found: Alphabet,
}

impl std::fmt::Debug for Searcher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.expression.fmt(out)
    }
}

impl Searcher {
    /// A searcher that has not searched yet.
    pub(crate) fn new(expression: Arc<Expression>) -> Self {
        Self { expression, ascii: None, unicode: None, found: Alphabet::Ascii }
    }

    /// Searches in all of `subject`.
    pub(crate) fn search(&mut self, subject: Subject<'_>, budget: &mut Budget) -> bool {
        self.search_in(subject, 0, subject.text.len(), budget)
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
        self.found = subject.alphabet;
        let Some(engine) = self.expression.engine(subject.alphabet) else { return false };
        let places = match subject.alphabet {
            Alphabet::Ascii => &mut self.ascii,
            Alphabet::Unicode => &mut self.unicode,
        };
        let places = places.get_or_insert_with(|| engine.regex.capture_locations());
        let text = &subject.text.as_bytes()[..end];
        let class = class(end - start);
        let mut search = |is_second| {
            let regex = engine.regex(class, is_second)?;
            regex.captures_read_at(places, text, start).ok().map(|found| found.is_some())
        };
        let mut answer = search(false);
        if answer.is_none() && class <= LAST_PATIENT_CLASS && budget.n_patient < PATIENCE_PER_LINE {
            budget.n_patient += 1;
            answer = search(true);
        }
        answer.unwrap_or_else(|| {
            budget.exceed(class);
            false
        })
    }

    /// The bytes of a group of the last search, which found something; 0 is all that matched.
    pub(crate) fn span(&self, group: usize) -> Option<(usize, usize)> {
        let places = match self.found {
            Alphabet::Ascii => self.ascii.as_ref(),
            Alphabet::Unicode => self.unicode.as_ref(),
        };
        places?.get(group)
    }
    /// The text of a group of the last search, which was in `text`.
    pub(crate) fn group<'t>(&self, group: usize, text: &'t str) -> Option<&'t str> {
        let (start, end) = self.span(group)?;
        text.get(start..end)
    }
}
