//! The fields of a failure: what the named groups of its expressions caught.

use crate::expression::tags::group_name;
use crate::expression::{Expression, Searcher};

/// Groups that give a failure's id.
const ID_GROUPS: [&str; 4] = ["fid", "ip4", "ip6", "dns"];

/// A group that is merged into another after a match: `<F-ALT_USER>` and `<F-TUPLE_ID>`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Merged {
    from: String,
    into: String,
}

/// The named groups of an expression.
#[derive(Debug)]
pub(crate) struct Groups {
    /// In the order in which they open: number and name.
    named: Vec<(usize, String)>,
    alternatives: Vec<Merged>,
    tuples: Vec<Merged>,
}

impl Groups {
    /// The groups of `expression`.
    pub(crate) fn of(expression: &Expression) -> Self {
        let numbered = expression.names().iter().enumerate();
        let named = numbered.filter_map(|(index, name)| Some((index + 1, name.clone()?)));
        let merged = |prefix: &str| {
            let names = expression.names().iter().flatten();
            let mut merged: Vec<_> = names
                .filter_map(|name| {
                    let into = without_number(name.strip_prefix(prefix)?);
                    Some(Merged { from: name.clone(), into: group_name(into) })
                })
                .collect();
            merged.sort();
            merged
        };
        Self { named: named.collect(), alternatives: merged("alt_"), tuples: merged("tuple_") }
    }

    /// What the last search of `searcher`, which was in `text`, caught.
    pub(crate) fn caught(&self, searcher: &Searcher, text: &str) -> Fields {
        let value = |number| searcher.group(number, text).map(|it| Value::Text(it.to_owned()));
        let entries = self.named.iter().map(|(number, name)| (name.clone(), value(*number)));
        let mut fields = Fields { entries: entries.collect() };
        for Merged { from, into } in &self.alternatives {
            if fields.is_set(from) && !fields.is_set(into) {
                fields.set(into, fields.get(from).cloned());
            }
        }
        for Merged { from, into } in &self.tuples {
            let mut parts = match fields.get(into).cloned() {
                Some(Value::Tuple(parts)) => parts,
                other => vec![other.map(Value::into_text)],
            };
            parts.push(fields.text(from).map(str::to_owned));
            fields.set(into, Some(Value::Tuple(parts)));
        }
        fields
    }
}

/// `user_1` is `user`.
fn without_number(name: &str) -> &str {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match stem.strip_suffix('_') {
        Some(stem_only) if stem.len() < name.len() => stem_only,
        _ => name,
    }
}

/// What a group caught.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Value {
    Text(String),
    /// Several groups together, each of them perhaps unset.
    Tuple(Vec<Option<String>>),
}

impl Value {
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Tuple(parts) => parts.is_empty(),
        }
    }

    /// The value as text; a tuple as Python writes it.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Tuple(parts) => {
                let parts: Vec<_> = parts
                    .into_iter()
                    .map(|part| part.map_or_else(|| "None".to_owned(), |it| quoted(&it)))
                    .collect();
                format!("({})", parts.join(", "))
            }
        }
    }
}

/// Text in quotes, as Python's `repr` writes it.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for found in text.chars() {
        match found {
            '\\' => out.push_str(r"\\"),
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            '\t' => out.push_str(r"\t"),
            found if found == quote => out.extend(['\\', found]),
            found if found.is_ascii_control() => {
                out.push_str(&format!(r"\x{:02x}", u32::from(found)));
            }
            found => out.push(found),
        }
    }
    out.push(quote);
    out
}

/// Fields by name, in the order in which they were set first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Fields {
    entries: Vec<(String, Option<Value>)>,
}

impl Fields {
    /// The value of a field that took part in the match.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|(known, _)| known == name)?.1.as_ref()
    }

    /// The same, where it is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            Value::Tuple(_) => None,
        }
    }

    /// Whether there is such a field, set or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(known, _)| known == name)
    }

    /// Whether a field holds anything.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !value.is_empty())
    }

    /// Sets a field.
    pub(crate) fn set(&mut self, name: &str, value: Option<Value>) {
        match self.entries.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((name.to_owned(), value)),
        }
    }

    /// Removes a field, and says whether it held anything.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let held = self.is_set(name);
        self.entries.retain(|(known, _)| known != name);
        held
    }

    /// Removes a field, and returns what it held.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.entries.iter().position(|(known, _)| known == name)?;
        self.entries.remove(index).1
    }

    /// These fields overwritten by all of `newer`, unset ones too.
    pub(crate) fn with(&self, newer: Self) -> Self {
        if self.entries.is_empty() {
            return newer;
        }
        let mut fields = self.clone();
        for (name, value) in newer.entries {
            fields.set(&name, value);
        }
        fields
    }

    /// Sets the fields of `newer` that took part in its match.
    pub(crate) fn update(&mut self, newer: Self) {
        for (name, value) in newer.entries {
            if value.is_some() {
                self.set(&name, value);
            }
        }
    }

    /// All fields that are not empty, but for those that the id came from.
    pub(crate) fn into_others(self, id_groups: &[&str]) -> Vec<(String, String)> {
        let others = self.entries.into_iter().filter(|(name, _)| !id_groups.contains(&&**name));
        others
            .filter_map(|(name, value)| Some((name, value?.into_text())))
            .filter(|(_, text)| !text.is_empty())
            .collect()
    }
}

/// Whether a group of `expression` can tell a failure's id, now or from another line.
pub(crate) fn tells_id(expression: &Expression) -> bool {
    ID_GROUPS.iter().chain(&["mlfid"]).any(|name| expression.has_group(name))
}
