//! Reads `name[option=value, option="value", …][…]`, and lists of it.
//!
//! ```text
//! list    = item { white-space item }
//! item    = name [ "[" options "]" ]
//! options = [ option { ( "," | "]" "[" ) option } ]
//! option  = key [ "?" key "=" key ] "=" value       key: letters, digits, "_", "-", "."
//! value   = '"' … '"' | "'" … "'" | anything up to "," or "]"
//! ```

use std::collections::BTreeMap;

/// One item: a name and its options.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Item {
    /// What stands before the bracket.
    pub name: String,
    /// What stands within.
    pub options: BTreeMap<String, String>,
}

/// Why text is no item.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// Brackets do not match, or the name is missing.
    #[error("`{0}` is no `name[option=value, …]`; check its brackets and quotes")]
    Shape(String),
    /// An option is not followed by a comma or the end.
    #[error(
        "`{rest}` after option `{option}` begins no other option; put the value in quotes, or a comma before it"
    )]
    After {
        /// The option.
        option: String,
        /// What follows.
        rest: String,
    },
    /// Something is no option.
    #[error("`{0}` is no `option=value`")]
    NoOption(String),
}

impl Item {
    /// Reads one item.
    ///
    /// # Errors
    ///
    /// Names the part that does not fit.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let shape = || OptionsError::Shape(excerpt(text));
        let (name, within) = match text.split_once('[') {
            None => (text, None),
            Some((name, rest)) => {
                let within = rest.trim_end().strip_suffix(']').ok_or_else(shape)?;
                (name, Some(within))
            }
        };
        let name = name.trim();
        if name.is_empty() {
            return Err(shape());
        }
        let options = within.map(options).transpose()?.unwrap_or_default();
        Ok(Self { name: name.to_owned(), options })
    }
}

/// Splits a list of items at white space outside of brackets.
pub fn split(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = item_end(rest);
        items.push(rest[..end].trim_end());
        rest = rest[end..].trim_start();
    }
    items
}

/// Where the item at the beginning of `text` ends: behind its brackets, if they read as options and
/// white space follows; else at the first white space.
fn item_end(text: &str) -> usize {
    let word_end = text.find(char::is_whitespace).unwrap_or(text.len());
    let name_end = text.find(|it: char| it == '[' || it.is_whitespace()).unwrap_or(text.len());
    let bracket = text[name_end..].trim_start();
    let end = (name_end > 0).then(|| bracket.strip_prefix('[').and_then(brackets)).flatten();
    match end {
        Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => {
            text.len() - rest.len()
        }
        _ => word_end,
    }
}

/// Skips what follows a `[` up to and with its `]`; `None` where that reads as no options.
fn brackets(text: &str) -> Option<&str> {
    let mut rest = text.trim_start();
    while !rest.starts_with(']') {
        let (_, after) = key(rest)?;
        let (_, after) = value(after.strip_prefix('=')?);
        rest = after.trim_start();
        rest = separator(rest).unwrap_or(rest).trim_start();
        if rest.is_empty() {
            return None;
        }
    }
    rest.strip_prefix(']')
}

fn options(text: &str) -> Result<BTreeMap<String, String>, OptionsError> {
    let mut options = BTreeMap::new();
    let mut rest = text.trim_start();
    while !rest.trim_start_matches(',').trim_start().is_empty() {
        let no_option = || OptionsError::NoOption(excerpt(rest));
        let (name, after) = key(rest).ok_or_else(no_option)?;
        let after = after.strip_prefix('=').ok_or_else(no_option)?;
        let (text, after) = value(after);
        let separated = if after.is_empty() { Some(after) } else { separator(after) };
        let Some(next) = separated else {
            let (option, rest) = (name.to_owned(), excerpt(after));
            return Err(OptionsError::After { option, rest });
        };
        options.insert(name.to_owned(), text.trim().to_owned());
        rest = next.trim_start();
    }
    Ok(options)
}

/// Splits an option's name off, with its condition (`blocktype?family=inet6`).
fn key(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = word(text)?;
    let conditional = || {
        let (_, after) = word(rest.strip_prefix('?')?)?;
        let (_, after) = word(after.strip_prefix('=')?)?;
        after.starts_with('=').then_some(after)
    };
    match conditional() {
        Some(after) => Some((&text[..text.len() - after.len()], after)),
        None => Some((name, rest)),
    }
}

fn word(text: &str) -> Option<(&str, &str)> {
    let is_word = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '.');
    let end = text.find(|it| !is_word(it)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Splits a value off, without its quotes.
fn value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some((within, rest)) = text.strip_prefix(quote).and_then(|it| it.split_once(quote)) {
            return (within, rest);
        }
    }
    text.split_at(text.find([',', ']']).unwrap_or(text.len()))
}

/// Skips what stands between two options.
fn separator(text: &str) -> Option<&str> {
    text.strip_prefix(',').or_else(|| text.strip_prefix(']')?.trim_start().strip_prefix('['))
}

/// The beginning of a text, for a message.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = match Item::parse(text) {
            Ok(item) => format!("{} {:?}", item.name, item.options),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn reads_items() {
        check("sshd", "sshd {}");
        check("sshd[mode=aggressive]", r#"sshd {"mode": "aggressive"}"#);
        check(r#"x[a="1,2", b='3]', c= 4 ]"#, r#"x {"a": "1,2", "b": "3]", "c": "4"}"#);
        check("x[a=1][b=2]", r#"x {"a": "1", "b": "2"}"#);
        check("x[a=1,\n  b=2,]", r#"x {"a": "1", "b": "2"}"#);
        check("x[a?family=inet6=1]", r#"x {"a?family=inet6": "1"}"#);
        check("x[]", "x {}");
    }

    #[test]
    fn tells_what_is_no_item() {
        check("x[a=1", "`x[a=1` is no `name[option=value, …]`; check its brackets and quotes");
        check("[a=1]", "`[a=1]` is no `name[option=value, …]`; check its brackets and quotes");
        check("x[a]", "`a` is no `option=value`");
        check(
            r#"x[a="1"b]"#,
            "`b` after option `a` begins no other option; put the value in quotes, or a comma \
             before it",
        );
    }

    #[test]
    fn splits_lists() {
        let split = |text: &'static str| split(text);
        assert_eq!(split("a b\n c"), ["a", "b", "c"]);
        assert_eq!(split("a[x=1 2, y=\"3\n4\"]\n b"), ["a[x=1 2, y=\"3\n4\"]", "b"]);
        assert_eq!(split("a[x=1] [y=2] b"), ["a[x=1] [y=2]", "b"]);
        assert_eq!(split("a [x=1]\tb"), ["a [x=1]", "b"]);
        assert_eq!(split("a[x b"), ["a[x", "b"]); // no options: cut at the space
        assert_eq!(split(""), [""; 0]);
    }
}
