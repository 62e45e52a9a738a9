//! A template: one form that dates have, the expression that finds it and how to read it.
//!
//! A template is made from a date pattern. Unless the pattern says otherwise (`^`, `$`, `**`,
//! `{UNB}`), its text begins and ends where a word does; `{^LN-BEG}` binds it to the start of the
//! line, after at most two characters that belong to no word. Group 1 is the date: it is cut out
//! of the line.

use std::sync::Arc;

use jiff::Timestamp;

use super::hot::Hot;
use super::pattern::{self, MONTHS, PatternError, WEEKDAYS, Years};
use super::stamp::{Moment, Stamp, Week};
use super::zones::offset_minutes;
use crate::expression::syntax::SyntaxError;
use crate::expression::{Expression, Searcher};

/// Binds a pattern to the start of the line.
const LINE_START: &str = "{^LN-BEG}";
/// Binds a pattern to nothing.
const UNBOUND: &str = "{UNB}";
/// What `{^LN-BEG}` becomes.
const AT_LINE_START: &str = r"^\W{0,2}";
/// A word may begin here.
const WORD_START: &str = r"(?:^|\b|(?=\W))";
/// A word may end here.
const WORD_END: &str = r"(?:\b|$|(?=\W))";
/// Seconds since 1970, with a fraction perhaps.
const EPOCH: &str = r"\d{10,11}\b(?:\.\d{3,6})?";
/// Seconds, milliseconds or microseconds since 1970.
const LONG_EPOCH: &str = r"\d{10,11}(?:\d{3}(?:\.\d{1,6}|\d{3})?)?";
/// Where `EPOCH` stands: at the start of a line, in brackets there, or in SELinux's `audit(`.
const BEFORE_EPOCH: &str = r"(?:^|(?<=^\[)|(?<=\baudit\())";
/// External TAI64N, as multilog writes it.
const TAI64N: &str = "@[0-9a-f]{24}";
/// How much more a bound template weighs than a free one.
const BOUND_WEIGHT: f64 = 100.0;

/// Why a date pattern cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
}

/// One form that dates have.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// What tells it from others; fail2ban refuses the same one twice.
    pub(crate) name: String,
    /// What finds it.
    pub(crate) expression: Arc<Expression>,
    /// Bound to the start or the end of the line.
    pub(crate) bound_start: bool,
    pub(crate) bound_end: bool,
    /// How much it is preferred.
    pub(crate) weight: f64,
    /// What reads most of its dates without the expression.
    pub(crate) hot: Option<Hot>,
    value: Value,
}

/// How the moment is read.
#[derive(Clone, Debug)]
enum Value {
    /// Group by group: its number and the letter of its token.
    Fields(Vec<(usize, char)>),
    /// From the digits of this group.
    Epoch { group: usize, long: bool },
    /// From group 1.
    Tai64n,
}

/// How a pattern is bound to words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Bound {
    Free,
    Word,
    LineStart,
}

impl Template {
    /// A template from one line of `datepattern` that is no `{DATE}` and no `{DEFAULT}`.
    pub(crate) fn new(text: &str, years: Years) -> Result<Self, TemplateError> {
        let key = if text.contains('%') { text.to_owned() } else { text.to_uppercase() };
        if let Some((found, long)) = find_epoch(text) {
            return Self::epoch_within(text, found, long);
        }
        let base = key.strip_prefix(LINE_START).or_else(|| key.strip_prefix('^'));
        let bound = if base.is_some() { Bound::LineStart } else { Bound::Free };
        match base.unwrap_or(&key) {
            name @ ("EPOCH" | "LEPOCH") => Self::epoch(name, bound),
            "TAI64N" => Self::build("TAI64N", TAI64N, bound, Bound::Word, |_| Value::Tai64n),
            _ => Self::from_pattern(text, years),
        }
    }

    /// The same bound to the start of the line, as it goes before the free ones.
    pub(crate) fn bound(text: &str, years: Years) -> Result<Self, TemplateError> {
        let template = Self::new(&format!("{LINE_START}{text}"), years)?;
        Ok(Self { weight: BOUND_WEIGHT, ..template })
    }

    fn epoch(name: &str, bound: Bound) -> Result<Self, TemplateError> {
        let long = name == "LEPOCH";
        let digits = if long { LONG_EPOCH } else { EPOCH };
        let before = if bound == Bound::LineStart { "" } else { BEFORE_EPOCH };
        let text = format!("({before}{digits})");
        Self::build(name, &text, bound, Bound::Word, |_| Value::Epoch { group: 1, long })
    }

    /// `{EPOCH}` within an expression: all of it is cut out, and its second group is read.
    fn epoch_within(text: &str, mark: &str, long: bool) -> Result<Self, TemplateError> {
        let digits = if long { LONG_EPOCH } else { EPOCH };
        let text = format!("({})", text.replace(mark, &format!("({digits})")));
        let value = |_: &Expression| Value::Epoch { group: 2, long };
        Self::build(&text, &text, Bound::Word, Bound::Word, value)
    }

    fn from_pattern(text: &str, years: Years) -> Result<Self, TemplateError> {
        let (rest, mut start, mut end) = match text.strip_prefix(UNBOUND) {
            Some(rest) => (rest, Bound::Free, Bound::Free),
            None => (text, Bound::Word, Bound::Word),
        };
        let mut rest = rest;
        if start == Bound::Word
            && let Some(inner) = rest.strip_prefix(LINE_START)
        {
            (rest, start, end) = (inner, Bound::LineStart, Bound::Word);
        }
        let mut expression = pattern::expand(rest, years)?;
        if pattern::holds_names(rest) {
            expression.insert_str(0, "(?iu)");
        }
        Self::build(text, &expression, start, end, |expression| {
            let fields = expression.names().iter().enumerate().filter_map(|(index, name)| {
                let mut letters = name.as_deref()?.chars();
                let letter = letters.next()?;
                letters.next().is_none().then_some((index + 1, letter))
            });
            Value::Fields(fields.collect())
        })
    }

    fn build(
        name: &str,
        text: &str,
        start: Bound,
        end: Bound,
        value: impl FnOnce(&Expression) -> Value,
    ) -> Result<Self, TemplateError> {
        let (flags, mut text) = cut_flags(text.trim());
        let bind_start = start != Bound::Free && !says_start(&text);
        let bind_end = end != Bound::Free && !says_end(&text);
        if !has_plain_group(&text) {
            text = with_group(&text);
        }
        let bound_start = if bind_start { start == Bound::LineStart } else { at_line_start(&text) };
        let bound_end = !bind_end && at_line_end(&text);
        text = without_stars(&text, !bind_start, !bind_end);
        let before = match (bind_start, start) {
            (false, _) | (_, Bound::Free) => "",
            (true, Bound::Word) => WORD_START,
            (true, Bound::LineStart) => AT_LINE_START,
        };
        let after = if bind_end { WORD_END } else { "" };
        let expression = Expression::read(&format!("{flags}{before}{text}{after}"), false)?;
        let value = value(&expression);
        let name = match (start, name.starts_with(LINE_START)) {
            (Bound::LineStart, false) => format!("{LINE_START}{name}"),
            _ => name.to_owned(),
        };
        let expression = Arc::new(expression);
        Ok(Self { name, expression, bound_start, bound_end, weight: 1.0, hot: None, value })
    }

    /// Reads what the last search of `searcher` found in `line`.
    pub(crate) fn read(&self, searcher: &Searcher, line: &str) -> Moment {
        let group = |number| searcher.group(number, line);
        let read = match &self.value {
            Value::Fields(fields) => {
                let found = fields
                    .iter()
                    .filter_map(|&(number, letter)| group(number).map(|text| (letter, text)));
                stamp(&found).map(Moment::Civil)
            }
            Value::Epoch { group: number, long } => {
                group(*number).and_then(|digits| epoch(digits, *long)).map(Moment::Exact)
            }
            Value::Tai64n => group(1).and_then(tai64n).map(Moment::Exact),
        };
        read.unwrap_or(Moment::Unknown)
    }
}

/// Puts fields together, in the order of their groups.
fn stamp<'t>(fields: &(impl Iterator<Item = (char, &'t str)> + Clone)) -> Option<Stamp> {
    let mut stamp = Stamp::default();
    for (letter, text) in fields.clone() {
        let number = || text.trim_start().parse::<i16>().ok();
        let small = || text.trim_start().parse::<i8>().ok();
        match letter {
            'Y' => stamp.year = Some(number()?),
            'y' => stamp.year = Some(number()?.checked_add(2000)?),
            'm' => stamp.month = Some(small()?),
            'b' | 'B' => stamp.month = Some(place(&MONTHS, text, letter == 'B')? + 1),
            'd' => stamp.day = Some(small()?),
            'H' => stamp.hour = small()?,
            'I' => {
                let half = fields.clone().find(|&(letter, _)| letter == 'p');
                let afternoon = half.is_some_and(|(_, text)| text.eq_ignore_ascii_case("pm"));
                // No hour of the day comes of `13 PM`.
                stamp.hour = match (small()?, afternoon) {
                    (12, false) => 0,
                    (12, true) => 12,
                    (hour, false) => hour,
                    (hour, true) => hour.checked_add(12)?,
                };
            }
            'M' => stamp.minute = small()?,
            'S' => stamp.second = small()?,
            'a' | 'A' => stamp.weekday = Some(place(&WEEKDAYS, text, letter == 'A')?),
            'w' => stamp.weekday = Some(small()?.checked_add(6)? % 7),
            'j' => stamp.day_of_year = Some(number()?),
            'U' | 'W' => {
                stamp.week = Some(Week { number: small()?, from_monday: letter == 'W' });
            }
            'z' | 'Z' => stamp.offset = Some(offset_minutes(text)?),
            _ => {}
        }
    }
    Some(stamp)
}

/// The place of a name among `names`, in full or as its first three letters.
fn place(names: &[&str], text: &str, full: bool) -> Option<i8> {
    let matches = |name: &&str| {
        let name = if full { name } else { &name[..3] };
        name.eq_ignore_ascii_case(text)
    };
    names.iter().position(matches).and_then(|index| i8::try_from(index).ok())
}

fn epoch(digits: &str, long: bool) -> Option<Timestamp> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let unit: i128 = match digits.len() {
        13.. if long && whole.len() >= 16 && fraction.is_empty() => 1_000,
        13.. if long => 1_000_000,
        _ => 1_000_000_000,
    };
    let whole: i128 = whole.parse().ok()?;
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = part.checked_mul(unit)? / scale;
    Timestamp::from_nanosecond(whole.checked_mul(unit)?.checked_add(part)?).ok()
}

/// The label's first digit says which century of centuries; no leap second is taken off.
fn tai64n(label: &str) -> Option<Timestamp> {
    let seconds = i64::from_str_radix(label.get(2..17)?, 16).ok()?;
    Timestamp::from_second(seconds).ok()
}

/// `{EPOCH}` or `{LEPOCH}` in `text`, in any case, and whether it is the long one.
fn find_epoch(text: &str) -> Option<(&str, bool)> {
    let upper = text.to_ascii_uppercase();
    let (at, mark) = ["{EPOCH}", "{LEPOCH}"]
        .into_iter()
        .filter_map(|mark| upper.find(mark).map(|at| (at, mark)))
        .find(|&(at, _)| !text[..at].ends_with('\\'))?;
    Some((&text[at..at + mark.len()], upper.contains("LEPOCH")))
}

/// Cuts the first `(?flags)` out of `text`: it goes to the front of the whole.
fn cut_flags(text: &str) -> (String, String) {
    for (at, _) in text.match_indices("(?") {
        let letters = &text[at + 2..];
        let len = letters.bytes().take_while(u8::is_ascii_lowercase).count();
        if len > 0 && letters[len..].starts_with(')') {
            let end = at + 2 + len + 1;
            return (text[at..end].to_owned(), format!("{}{}", &text[..at], &text[end..]));
        }
    }
    (String::new(), text.to_owned())
}

/// Whether the text itself says where it starts: by `^` or `**`, perhaps in groups.
fn says_start(text: &str) -> bool {
    let inner = text.trim_start_matches('(');
    inner.starts_with('^')
        || inner.starts_with("**")
        || (text.len() > inner.len() && inner.starts_with("?:^"))
}

/// Whether the text itself says where it ends: by `$`, `$)`, `\b`, `\s` or `**`.
fn says_end(text: &str) -> bool {
    let ends = |end: &str| text.strip_suffix(end).is_some_and(|rest| !rest.ends_with('\\'));
    ends("$") || ends("$)") || ends(r"\b") || ends(r"\s") || star_end(text).is_some()
}

/// Where `**` is that ends the text, but for closing parentheses.
fn star_end(text: &str) -> Option<usize> {
    let rest = text.trim_end_matches(')').strip_suffix("**")?;
    (!rest.ends_with('\\')).then_some(rest.len())
}

/// Removes `**` where it stands for a boundary.
fn without_stars(text: &str, at_start: bool, at_end: bool) -> String {
    let mut text = text.to_owned();
    if at_end && let Some(at) = star_end(&text) {
        text.replace_range(at..at + 2, "");
    }
    let open = text.len() - text.trim_start_matches('(').len();
    if at_start && text[open..].starts_with("**") {
        text.replace_range(open..open + 2, "");
    }
    text
}

/// Whether the text has a group that is numbered and has no name.
fn has_plain_group(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len()).any(|at| {
        bytes[at] == b'('
            && bytes.get(at + 1) != Some(&b'?')
            && !text[..at].ends_with('\\')
            && !text[..at].ends_with("(?")
    })
}

/// Puts all but a leading `^` and a closing `$` into a group.
fn with_group(text: &str) -> String {
    let (start, rest) = match text.strip_prefix('^') {
        Some(rest) => ("^", rest),
        None => ("", text),
    };
    match rest.strip_suffix('$') {
        Some(rest) => format!("{start}({rest})$"),
        None => format!("{start}({rest})"),
    }
}

/// Whether the text matches at the start of a line alone.
fn at_line_start(text: &str) -> bool {
    let after = ["(?:^", "(^"].iter().find_map(|open| text.strip_prefix(open));
    text.starts_with('^') || after.is_some_and(|rest| !rest.starts_with('|'))
}

/// Whether the text matches at the end of a line alone.
fn at_line_end(text: &str) -> bool {
    let inner = text.strip_suffix(')').filter(|it| it.ends_with('$')).unwrap_or(text);
    inner.strip_suffix('$').is_some_and(|rest| !rest.ends_with(['\\', '|']))
}
