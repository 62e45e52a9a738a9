//! `datepattern` as a language: `%` and a token stands for a field, all else is an expression.
//!
//! The tokens are those of `strptime` with fail2ban's own (`%k`, `%l`, `%Ex…`); the group that a
//! token becomes is named for its letter, and tells which field it is.

/// Years that `%ExY` accepts: from 2000 to the end of a decade of this century.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Years {
    last: i16,
}

impl Years {
    /// The years accepted by what is compiled in `year`.
    pub(crate) fn at(year: i16) -> Self {
        Self { last: (year + 3).clamp(2009, 2099) }
    }

    /// Whether the token's expression matches this year.
    pub(crate) fn accept(self, year: i16) -> bool {
        (2000..=self.last / 10 * 10 + 9).contains(&year)
    }

    fn expression(self) -> String {
        format!(r"20[0-{}]\d", self.last / 10 % 10)
    }
}

/// The months' names in full, in order.
pub(crate) const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
/// The days' names in full, from Monday.
pub(crate) const WEEKDAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Letters of an abbreviated name.
const SHORT: usize = 3;
/// A zone's abbreviation: one letter, or three to five.
const ZONE_NAME: &str = "[A-Z](?:[A-Z]{2,4})?";
/// `+hh`, `+hhmm`, `+hh:mm`.
const OFFSET: &str = r"[+-][01]\d(?::?\d\d)?";

/// What cannot be read as a date pattern.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`%` at byte {0} begins no token")]
pub(crate) struct PatternError(pub(crate) usize);

/// Expands all tokens of `pattern` to groups.
pub(crate) fn expand(pattern: &str, years: Years) -> Result<String, PatternError> {
    let mut out = String::with_capacity(pattern.len() * 4);
    let mut rest = pattern;
    while let Some(start) = rest.find('%') {
        out.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let fault = || PatternError(pattern.len() - rest.len() + start);
        let (token, len) = token(after, years).ok_or_else(fault)?;
        out.push_str(&token);
        rest = &after[len..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Whether letters of `pattern` are names of days or months: it ignores case then.
pub(crate) fn holds_names(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    (0..bytes.len()).any(|at| {
        bytes[at] == b'%'
            && (at == 0 || bytes[at - 1] != b'%')
            && bytes.get(at + 1).is_some_and(|token| b"aAbBpc".contains(token))
    })
}

/// The expression of the token at the start of `text`, and the bytes it takes.
fn token(text: &str, years: Years) -> Option<(String, usize)> {
    if let Some(letter) = text.strip_prefix("Ex").and_then(|rest| rest.chars().next())
        && let Some(expression) = exact(letter, years)
    {
        return Some((expression, 3));
    }
    let letter = text.chars().next()?;
    loose(letter).map(|expression| (expression, 1))
}

fn group(letter: char, expression: &str) -> String {
    format!("(?P<{letter}>{expression})")
}

/// fail2ban's `%Ex` tokens: as many digits as there should be.
fn exact(letter: char, years: Years) -> Option<String> {
    Some(match letter {
        'Y' => group('Y', &years.expression()),
        'y' => group('y', r"\d{2}"),
        'm' => group('m', "0[1-9]|1[0-2]"),
        'd' => group('d', r"0[1-9]|[12]\d|3[01]"),
        'H' => group('H', r"[01]\d|2[0-3]"),
        'k' => format!(" ?{}", group('H', r"[01]?\d|2[0-3]")),
        'l' => format!(" ?{}", group('I', r"1[0-2]|\d")),
        'M' => group('M', r"[0-5]\d"),
        'S' => group('S', r"[0-5]\d|6[01]"),
        'Z' => group('Z', ZONE_NAME),
        'z' => group('z', &format!("(?:{ZONE_NAME})?{OFFSET}|{ZONE_NAME}")),
        _ => return None,
    })
}

fn loose(letter: char) -> Option<String> {
    Some(match letter {
        '%' => "%".to_owned(),
        'Y' | 'G' => group(letter, r"\d{4}"),
        'y' => group('y', r"\d\d"),
        'm' => group('m', "0?[1-9]|1[0-2]"),
        'd' => group('d', r"[12]\d|[ 0]?[1-9]|3[01]"),
        'H' => group('H', r"[01]?\d|2[0-3]"),
        'k' => format!(" ?{}", group('H', r"[0-2]?\d")),
        'I' => group('I', "1[0-2]|0?[1-9]"),
        'l' => format!(" ?{}", group('I', r"1?\d")),
        'M' => group('M', r"[0-5]?\d"),
        'S' => group('S', r"[0-5]?\d|6[01]"),
        'f' => group('f', "[0-9]{1,6}"),
        'p' => group('p', "am|pm"),
        'j' => group('j', r"36[0-6]|3[0-5]\d|[12]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0?[1-9]"),
        'U' | 'W' => group(letter, r"5[0-3]|[0-4]?\d"),
        'V' => group('V', r"5[0-3]|0[1-9]|[1-4]\d|\d"),
        'w' => group('w', "[0-6]"),
        'u' => group('u', "[1-7]"),
        'z' => group('z', &format!("Z|UTC|GMT|{OFFSET}")),
        'Z' => group('Z', "Z|[A-Z]{3,5}"),
        'a' => names('a', WEEKDAYS.iter().map(|name| &name[..SHORT]).collect()),
        'A' => names('A', WEEKDAYS.to_vec()),
        'b' => names('b', MONTHS.iter().map(|name| &name[..SHORT]).collect()),
        'B' => names('B', MONTHS.to_vec()),
        'c' => {
            let parts = [loose('a')?, loose('b')?, strict_day(), strict_clock(), loose('Y')?];
            parts.join(r"\s+")
        }
        'x' => format!("{}/{}/{}", group('m', "1[0-2]|0?[1-9]"), strict_day(), loose('y')?),
        'X' => strict_clock(),
        _ => return None,
    })
}

/// The day and the clock inside the compound tokens are Python's own.
fn strict_day() -> String {
    group('d', r"3[01]|[12]\d|0[1-9]|[1-9]| [1-9]")
}

fn strict_clock() -> String {
    let (hour, minute) = (group('H', r"2[0-3]|[01]\d|\d"), group('M', r"[0-5]\d|\d"));
    format!("{hour}:{minute}:{}", group('S', r"6[01]|[0-5]\d|\d"))
}

/// Longer names first, so that none hides another.
fn names(letter: char, mut names: Vec<&str>) -> String {
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    group(letter, &names.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_tokens() {
        let years = Years::at(2026);
        assert_eq!(expand("%ExY%%x", years).as_deref(), Ok(r"(?P<Y>20[0-2]\d)%x"));
        assert_eq!(expand("a%Q", years), Err(PatternError(1)));
        assert_eq!(expand("%", years), Err(PatternError(0)));
        assert_eq!(Years::at(2027).expression(), r"20[0-3]\d");
        assert!(holds_names("%d %b") && !holds_names("%d %%b"));
    }
}
