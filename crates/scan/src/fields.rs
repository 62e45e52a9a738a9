//! The fields of a failure: what the named groups of its expressions caught.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::expression::tags::group_name;
use crate::expression::{Expression, Searcher};

/// Groups that give a failure's id.
const ID_GROUPS: [&str; 4] = ["fid", "ip4", "ip6", "dns"];
/// The group of `prefregex` that the other expressions go on with: no field.
const CONTENT: &str = "content";

/// A group that is merged into another after a match: `<F-ALT_USER>` and `<F-TUPLE_ID>`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Merged {
    from: Arc<str>,
    into: Arc<str>,
}

/// The named groups of an expression.
#[derive(Debug)]
pub(crate) struct Groups {
    /// In the order in which they open: number and name.
    named: Vec<(usize, Arc<str>)>,
    content: Option<usize>,
    alternatives: Vec<Merged>,
    tuples: Vec<Merged>,
}

impl Groups {
    /// The groups of `expression`.
    pub(crate) fn of(expression: &Expression) -> Self {
        let numbered = expression.names().iter().enumerate();
        let named = numbered.filter_map(|(index, name)| Some((index + 1, name.as_deref()?)));
        let named: Vec<(usize, Arc<str>)> =
            named.map(|(number, name)| (number, name.into())).collect();
        let merged = |prefix: &str| {
            let merge = |from: &Arc<str>| {
                let into = group_name(without_number(from.strip_prefix(prefix)?)).into();
                Some(Merged { from: Arc::clone(from), into })
            };
            let mut merged: Vec<_> = named.iter().filter_map(|(_, name)| merge(name)).collect();
            merged.sort();
            merged
        };
        let (alternatives, tuples) = (merged("alt_"), merged("tuple_"));
        let content = named.iter().find(|(_, name)| **name == *CONTENT).map(|(number, _)| *number);
        Self { named, content, alternatives, tuples }
    }

    /// What the last search of `searcher`, which was in `text`, caught: every group, those that
    /// took no part in the match as unset. `room` is for more of them.
    pub(crate) fn caught(&self, searcher: &Searcher, text: &str, room: &Fields) -> Fields {
        let entries = Vec::with_capacity(self.named.len() + room.entries.len() + 2);
        let text_room = String::with_capacity(text.len() + room.text.len());
        let mut fields = Fields { entries, text: text_room };
        self.catch(searcher, text, &mut fields);
        fields
    }

    /// The same in the memory of other fields.
    pub(crate) fn catch(&self, searcher: &Searcher, text: &str, fields: &mut Fields) {
        fields.entries.clear();
        fields.text.clear();
        for (number, name) in &self.named {
            if Some(*number) != self.content {
                let value = fields.store(searcher.group(*number, text));
                fields.entries.push((Arc::clone(name), value));
            }
        }
        for Merged { from, into } in &self.alternatives {
            if fields.is_set(from) && !fields.is_set(into) {
                let value = fields.value(from).cloned().unwrap_or(Value::Unset);
                fields.put(into, value);
            }
        }
        for Merged { from, into } in &self.tuples {
            let mut parts = match fields.value(into) {
                Some(Value::Tuple(parts)) => parts.clone(),
                _ => vec![fields.text(into).map(str::to_owned)],
            };
            parts.push(fields.text(from).map(str::to_owned));
            fields.put(into, Value::Tuple(parts));
        }
    }

    /// The content that the last search of `searcher` caught, if it is not empty.
    pub(crate) fn content<'t>(&self, searcher: &Searcher, text: &'t str) -> Option<&'t str> {
        searcher.group(self.content?, text).filter(|content| !content.is_empty())
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
enum Value {
    /// It took no part in the match.
    Unset,
    /// These bytes of the fields' text.
    Text(Range<usize>),
    /// Several groups together, each of them perhaps unset.
    Tuple(Vec<Option<String>>),
}

/// Fields by name, in the order in which they were set first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    entries: Vec<(Arc<str>, Value)>,
    /// All texts, one after the other.
    text: String,
}

impl Fields {
    fn value(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }

    /// Whether there is such a field, set or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The text of a field that took part in the match.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Text(range) => self.text.get(range.clone()),
            Value::Unset | Value::Tuple(_) => None,
        }
    }

    /// The same, and a tuple as Python writes it.
    pub(crate) fn shown(&self, name: &str) -> Option<Cow<'_, str>> {
        self.show(self.value(name)?)
    }

    fn show(&self, value: &Value) -> Option<Cow<'_, str>> {
        match value {
            Value::Unset => None,
            Value::Text(range) => self.text.get(range.clone()).map(Cow::Borrowed),
            Value::Tuple(parts) => {
                let show = |part: &Option<String>| part.as_deref().map_or("None".into(), quoted);
                let parts: Vec<_> = parts.iter().map(show).collect();
                Some(format!("({})", parts.join(", ")).into())
            }
        }
    }

    /// Whether a field holds anything.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        match self.value(name) {
            None | Some(Value::Unset) => false,
            Some(Value::Text(range)) => !range.is_empty(),
            Some(Value::Tuple(parts)) => !parts.is_empty(),
        }
    }

    /// Adds the fields of `before` that took no part in this match; fail2ban's rule from 1.1.1 on,
    /// where an address that `prefregex` caught was lost to a group of the same name before.
    pub(crate) fn underlay(&mut self, before: &Self) {
        for (name, value) in &before.entries {
            if matches!(self.value(name), None | Some(Value::Unset)) {
                let value = self.copy(&before.text, value.clone());
                self.put(name, value);
            }
        }
    }

    fn store(&mut self, text: Option<&str>) -> Value {
        text.map_or(Value::Unset, |text| {
            let start = self.text.len();
            self.text.push_str(text);
            Value::Text(start..self.text.len())
        })
    }

    fn put(&mut self, name: &Arc<str>, value: Value) {
        match self.entries.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((Arc::clone(name), value)),
        }
    }

    /// Sets a field to a text.
    pub(crate) fn set(&mut self, name: &str, text: &str) {
        let value = self.store(Some(text));
        self.put(&name.into(), value);
    }

    /// Removes a field, and says whether it held anything.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let place = self.entries.iter().position(|(known, _)| **known == *name);
        place.is_some_and(|place| match self.entries.remove(place).1 {
            Value::Unset => false,
            Value::Text(range) => !range.is_empty(),
            Value::Tuple(parts) => !parts.is_empty(),
        })
    }

    /// Sets the fields of `newer` that took part in its match.
    pub(crate) fn update(&mut self, newer: Self) {
        // What was overwritten would stay in the text for as long as the connection lives.
        let old = std::mem::take(self);
        for (name, value) in old.entries {
            if matches!(newer.value(&name), None | Some(Value::Unset)) {
                let value = self.copy(&old.text, value);
                self.entries.push((name, value));
            } else {
                self.entries.push((name, Value::Unset));
            }
        }
        for (name, value) in newer.entries {
            if value != Value::Unset {
                let value = self.copy(&newer.text, value);
                self.put(&name, value);
            }
        }
    }

    fn copy(&mut self, from: &str, value: Value) -> Value {
        match value {
            Value::Text(range) => self.store(from.get(range)),
            other => other,
        }
    }

    /// All fields that are not empty, but for those that the id came from.
    pub(crate) fn others(&self, id_groups: &[&str]) -> Vec<(String, String)> {
        let others = self.entries.iter().filter(|(name, _)| !id_groups.contains(&&**name));
        let shown = others.filter_map(|(name, value)| Some((name, self.show(value)?)));
        let set = shown.filter(|(_, text)| !text.is_empty());
        set.map(|(name, text)| (name.to_string(), text.into_owned())).collect()
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

/// Whether a group of `expression` can tell a failure's id, now or from another line.
pub(crate) fn tells_id(expression: &Expression) -> bool {
    ID_GROUPS.iter().chain(&["mlfid"]).any(|name| expression.has_group(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_no_part_does_not_hide_what_was_caught_before() {
        let fields = |entries: &[(&str, Option<&str>)]| {
            let mut fields = Fields::default();
            for (name, text) in entries {
                let value = fields.store(*text);
                fields.put(&Arc::from(*name), value);
            }
            fields
        };
        let mut after = fields(&[("user", None), ("port", Some("22")), ("ip4", Some("192.0.2.1"))]);
        after.underlay(&fields(&[("user", Some("root")), ("port", Some("23")), ("ip6", None)]));
        let text = |name| after.text(name);
        assert_eq!(
            (text("user"), text("port"), text("ip4")),
            (Some("root"), Some("22"), Some("192.0.2.1"))
        );
        assert!(after.has("ip6") && !after.is_set("ip6"));
    }
}
