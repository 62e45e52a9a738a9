//! Expands `%(name)s` within the values of one section.
//!
//! Python's `BasicInterpolation`, with what fail2ban adds: `%(__name__)s` is the section,
//! `%(section/option)s` another section's value, `%(known/option)s` the value that an earlier file
//! gave, `%(default/option)s` that of `[DEFAULT]`. A value from elsewhere is expanded where it is
//! used, with the names of the section that uses it.

use std::collections::BTreeMap;

use super::document::Document;
use super::ini::Value;

/// How deep values may use values, as in Python.
const MAX_DEPTH: usize = 10;

/// Names replaced in one value, and the bytes that come of it: values that use each other many
/// times would else fill the memory within the depth, or never be done.
const MAX_REPLACED: usize = 10_000;
const MAX_VALUE_BYTES: usize = 1 << 20;

/// Names given from outside, which beat those of the files; in lower case.
pub(super) type Vars = BTreeMap<String, String>;

/// Why a value could not be expanded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum InterpolationError {
    #[error("`%({0})s` is defined nowhere; define `{0}` in this section or in [DEFAULT]")]
    Missing(String),
    #[error("`%` at `{0}` begins no `%(name)s`; write `%%` for the sign itself")]
    Syntax(String),
    #[error("`%({0})s` uses values more than {MAX_DEPTH} deep; does it use itself?")]
    Depth(String),
    #[error(
        "at `%({0})s` the value grows beyond {MAX_REPLACED} names or {MAX_VALUE_BYTES} bytes; \
         shorten what it uses"
    )]
    TooLong(String),
}

/// A value on its way to its full length.
#[derive(Default)]
struct Growing {
    text: String,
    n_replaced: usize,
}

/// Where names are looked up.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// All that the files say.
    pub(super) document: &'a Document,
    /// The section whose values are expanded.
    pub(super) section: &'a str,
    /// Names that beat the section's.
    pub(super) vars: &'a Vars,
}

impl<'a> Scope<'a> {
    /// The expanded value of an option; `None` where neither the section nor `[DEFAULT]` has it.
    pub(super) fn get(&self, option: &str) -> Result<Option<String>, InterpolationError> {
        match self.raw(&option.to_lowercase()) {
            Some(text) => self.expand(text).map(Some),
            None => Ok(None),
        }
    }

    /// Where the value of an option was written.
    pub(super) fn value(&self, option: &str) -> Option<&'a Value> {
        self.document.value(self.section, option)
    }

    fn raw(&self, option: &str) -> Option<&'a str> {
        match self.vars.get(option) {
            Some(text) => Some(text),
            None => self.value(option).map(|value| &*value.text),
        }
    }

    /// A text with the names of this section replaced.
    pub(super) fn expand(&self, text: &str) -> Result<String, InterpolationError> {
        let mut out = Growing::default();
        self.expand_into(text, 1, &mut out)?;
        Ok(out.text)
    }

    fn expand_into(
        &self,
        text: &str,
        depth: usize,
        out: &mut Growing,
    ) -> Result<(), InterpolationError> {
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out.text.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("%%") {
                out.text.push('%');
                rest = after;
                continue;
            }
            let (name, after) = reference(rest)
                .ok_or_else(|| InterpolationError::Syntax(rest.chars().take(20).collect()))?;
            rest = after;
            let value = self.resolve(name)?;
            out.n_replaced += 1;
            if out.n_replaced > MAX_REPLACED || out.text.len() + value.len() > MAX_VALUE_BYTES {
                return Err(InterpolationError::TooLong(name.to_owned()));
            }
            if !value.contains('%') {
                out.text.push_str(value);
            } else if depth < MAX_DEPTH {
                self.expand_into(value, depth + 1, out)?;
            } else {
                return Err(InterpolationError::Depth(name.to_owned()));
            }
        }
        out.text.push_str(rest);
        Ok(())
    }

    fn resolve(&self, name: &str) -> Result<&'a str, InterpolationError> {
        let lower = name.to_lowercase();
        if lower == "__name__" {
            return Ok(self.section);
        }
        self.raw(&lower)
            .or_else(|| self.elsewhere(&lower))
            .ok_or_else(|| InterpolationError::Missing(name.to_owned()))
    }

    /// The value of `section/option`.
    fn elsewhere(&self, name: &str) -> Option<&'a str> {
        let (section, option) = name.split_once('/')?;
        let own = match section {
            "default" => None,
            "known" => self.document.known(self.section, option),
            _ => self.document.section(section)?.get(option),
        };
        own.or_else(|| self.document.defaults.get(option)).map(|value| &*value.text)
    }
}

/// Splits `%(name)s…` into the name and the rest.
pub(super) fn reference(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix("%(")?.split_once(')')?;
    let rest = rest.strip_prefix('s')?;
    (!name.is_empty()).then_some((name, rest))
}
