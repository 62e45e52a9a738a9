//! The fields of a failure: what the named groups of its expressions caught.

use std::borrow::Cow;

use crate::expression::tags::group_name;
use crate::expression::{Expression, Searcher};

/// A field's name, as its place among the names of a filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Name(usize);

/// The names that mean something to us, in the order of the constants.
const KNOWN: [&str; 12] = [
    "fid",
    "ip4",
    "ip6",
    "dns",
    "cidr",
    "ip",
    "user",
    "mlfid",
    "mlfforget",
    "mlfgained",
    "nofail",
    "content",
];

impl Name {
    pub(crate) const FID: Self = Self(0);
    pub(crate) const IP4: Self = Self(1);
    pub(crate) const IP6: Self = Self(2);
    pub(crate) const DNS: Self = Self(3);
    pub(crate) const CIDR: Self = Self(4);
    pub(crate) const IP: Self = Self(5);
    pub(crate) const USER: Self = Self(6);
    pub(crate) const MLFID: Self = Self(7);
    pub(crate) const MLFFORGET: Self = Self(8);
    pub(crate) const MLFGAINED: Self = Self(9);
    pub(crate) const NOFAIL: Self = Self(10);
    /// The group of `prefregex` that the other expressions go on with: no field.
    const CONTENT: Self = Self(11);
}

/// All names of a filter's fields.
#[derive(Debug)]
pub(crate) struct FieldNames(Vec<Box<str>>);

impl Default for FieldNames {
    fn default() -> Self {
        Self(KNOWN.map(Box::from).into())
    }
}

impl FieldNames {
    /// The name with this text, if a group of the filter has it or it means something to us.
    pub(crate) fn find(&self, text: &str) -> Option<Name> {
        self.0.iter().position(|known| **known == *text).map(Name)
    }

    /// The name with this text, which is one from now on.
    fn add(&mut self, text: &str) -> Name {
        self.find(text).unwrap_or_else(|| {
            self.0.push(text.into());
            Name(self.0.len() - 1)
        })
    }

    fn text(&self, name: Name) -> &str {
        &self.0[name.0]
    }
}

/// A group that is merged into another after a match: `<F-ALT_USER>` and `<F-TUPLE_ID>`.
#[derive(Clone, Copy, Debug)]
struct Merged {
    from: Name,
    into: Name,
}

/// The named groups of an expression.
#[derive(Debug)]
pub(crate) struct Groups {
    /// In the order in which they open: number and name.
    named: Vec<(usize, Name)>,
    content: Option<usize>,
    alternatives: Vec<Merged>,
    tuples: Vec<Merged>,
}

impl Groups {
    /// The groups of `expression`, whose names become `names` of its filter.
    pub(crate) fn of(expression: &Expression, names: &mut FieldNames) -> Self {
        let numbered = expression.names().iter().enumerate();
        let named = numbered.filter_map(|(index, name)| Some((index + 1, name.as_deref()?)));
        let named: Vec<(usize, &str)> = named.collect();
        let mut merged = |prefix: &str| {
            let merge = |&(_, from): &(usize, &'_ str)| {
                Some((from.to_owned(), group_name(without_number(from.strip_prefix(prefix)?))))
            };
            let mut merged: Vec<_> = named.iter().filter_map(merge).collect();
            merged.sort();
            let named = |(from, into): (String, String)| Merged {
                from: names.add(&from),
                into: names.add(&into),
            };
            merged.into_iter().map(named).collect()
        };
        let (alternatives, tuples) = (merged("alt_"), merged("tuple_"));
        let named: Vec<_> =
            named.into_iter().map(|(number, name)| (number, names.add(name))).collect();
        let content = named.iter().find(|(_, name)| *name == Name::CONTENT).map(|it| it.0);
        Self { named, content, alternatives, tuples }
    }

    /// Appends what the last search of `searcher` caught to `spans`: one span for each of these
    /// groups.
    pub(crate) fn spans(&self, searcher: &Searcher, spans: &mut Vec<Caught>) {
        spans.extend(self.named.iter().map(|(number, _)| searcher.span(*number)));
    }

    /// Makes `fields` of what was caught in `text`: every group, those that took no part in the
    /// match as unset.
    pub(crate) fn catch(&self, text: &str, spans: &[Caught], fields: &mut Fields) {
        fields.clear();
        fields.text.push_str(text);
        for ((number, name), span) in self.named.iter().zip(spans) {
            if Some(*number) != self.content {
                let value = span.map_or(Value::Unset, |(start, end)| Value::Text(start, end));
                fields.push(*name, value);
            }
        }
        for Merged { from, into } in &self.alternatives {
            if fields.is_set(*from) && !fields.is_set(*into) {
                let value = fields.value(*from).unwrap_or(Value::Unset);
                fields.put(*into, value);
            }
        }
        for Merged { from, into } in &self.tuples {
            let mut parts = match fields.value(*into) {
                Some(Value::Tuple(place)) => fields.tuples[place].clone(),
                _ => vec![fields.text(*into).map(str::to_owned)],
            };
            parts.push(fields.text(*from).map(str::to_owned));
            let value = fields.store_tuple(parts);
            fields.put(*into, value);
        }
    }

    /// Where the text is that the group of this name caught, if it did, and nothing is merged into
    /// any group.
    pub(crate) fn caught(&self, name: Name, spans: &[Caught]) -> Caught {
        let is_merged = !self.alternatives.is_empty() || !self.tuples.is_empty();
        let place = self.named.iter().position(|(_, known)| *known == name)?;
        spans[place].filter(|(start, end)| start < end && !is_merged)
    }

    /// Whether a group has this name.
    pub(crate) fn has(&self, name: Name) -> bool {
        self.named.iter().any(|(_, known)| *known == name)
    }

    /// Where the content is that the last search of `searcher` caught, if it is not empty.
    pub(crate) fn content(&self, searcher: &Searcher) -> Caught {
        searcher.span(self.content?).filter(|(start, end)| start < end)
    }
}

/// The bytes that a group caught; none if it took no part in the match.
pub(crate) type Caught = Option<(usize, usize)>;

/// `user_1` is `user`.
fn without_number(name: &str) -> &str {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match stem.strip_suffix('_') {
        Some(stem_only) if stem.len() < name.len() => stem_only,
        _ => name,
    }
}

/// What a group caught.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Value {
    /// It took no part in the match.
    Unset,
    /// The fields' text from the one byte to the other.
    Text(usize, usize),
    /// Several groups together: their place in `Fields::tuples`.
    Tuple(usize),
}

impl Value {
    fn is_set(self) -> bool {
        match self {
            Self::Unset => false,
            Self::Text(start, end) => start < end,
            Self::Tuple(_) => true,
        }
    }
}

/// Fields by name, in the order in which they were set first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    entries: Vec<(Name, Value)>,
    /// What the values are cut from.
    text: String,
    /// What several groups together caught, each of them perhaps unset.
    tuples: Vec<Vec<Option<String>>>,
    /// The names of the entries: most of those that are asked for are not among them.
    names: NameSet,
}

/// Names, of which the 64th stands for all after it, too.
#[derive(Clone, Copy, Debug, Default)]
struct NameSet(u64);

impl NameSet {
    fn bit(name: Name) -> u64 {
        1 << name.0.min(63)
    }

    fn may_have(self, name: Name) -> bool {
        self.0 & Self::bit(name) != 0
    }

    fn add(&mut self, name: Name) {
        self.0 |= Self::bit(name);
    }
}

impl Fields {
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.text.clear();
        self.tuples.clear();
        self.names = NameSet::default();
    }

    fn value(&self, name: Name) -> Option<Value> {
        if !self.names.may_have(name) {
            return None;
        }
        self.entries.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The text of a field that took part in the match.
    pub(crate) fn text(&self, name: Name) -> Option<&str> {
        match self.value(name)? {
            Value::Text(start, end) => self.text.get(start..end),
            Value::Unset | Value::Tuple(_) => None,
        }
    }

    /// The same, and a tuple as Python writes it.
    pub(crate) fn shown(&self, name: Name) -> Option<Cow<'_, str>> {
        self.show(self.value(name)?)
    }

    fn show(&self, value: Value) -> Option<Cow<'_, str>> {
        match value {
            Value::Unset => None,
            Value::Text(start, end) => self.text.get(start..end).map(Cow::Borrowed),
            Value::Tuple(place) => {
                let show = |part: &Option<String>| part.as_deref().map_or("None".into(), quoted);
                let parts: Vec<_> = self.tuples[place].iter().map(show).collect();
                Some(format!("({})", parts.join(", ")).into())
            }
        }
    }

    /// Whether there is such a field, set or not.
    pub(crate) fn has(&self, name: Name) -> bool {
        self.value(name).is_some()
    }

    /// Whether a field holds anything.
    pub(crate) fn is_set(&self, name: Name) -> bool {
        self.value(name).is_some_and(Value::is_set)
    }

    /// Adds the fields of `before` that took no part in this match; fail2ban's rule from 1.1.1 on,
    /// where an address that `prefregex` caught was lost to a group of the same name before.
    pub(crate) fn underlay(&mut self, before: &Self) {
        for (name, value) in &before.entries {
            if matches!(self.value(*name), None | Some(Value::Unset)) {
                let value = self.copy(before, *value);
                self.put(*name, value);
            }
        }
    }

    fn store(&mut self, text: &str) -> Value {
        let start = self.text.len();
        self.text.push_str(text);
        Value::Text(start, self.text.len())
    }

    fn store_tuple(&mut self, parts: Vec<Option<String>>) -> Value {
        self.tuples.push(parts);
        Value::Tuple(self.tuples.len() - 1)
    }

    fn put(&mut self, name: Name, value: Value) {
        if !self.names.may_have(name) {
            return self.push(name, value);
        }
        match self.entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.push(name, value),
        }
    }

    /// Adds a field that is not there.
    fn push(&mut self, name: Name, value: Value) {
        self.names.add(name);
        self.entries.push((name, value));
    }

    /// Sets a field to a text.
    pub(crate) fn set(&mut self, name: Name, text: &str) {
        let value = self.store(text);
        self.put(name, value);
    }

    /// Removes a field, and says whether it held anything.
    pub(crate) fn remove(&mut self, name: Name) -> bool {
        if !self.names.may_have(name) {
            return false;
        }
        let place = self.entries.iter().position(|(known, _)| *known == name);
        place.is_some_and(|place| self.entries.remove(place).1.is_set())
    }

    /// Sets the fields of `newer` that took part in its match; `room` is lost, and its memory used.
    pub(crate) fn update(&mut self, newer: &Self, room: &mut Self) {
        // What was overwritten would stay in the text for as long as the connection lives.
        room.clear();
        for (name, old) in &self.entries {
            let value = match newer.value(*name) {
                None | Some(Value::Unset) => room.copy(self, *old),
                Some(value) => room.copy(newer, value),
            };
            room.push(*name, value);
        }
        for (name, value) in &newer.entries {
            if *value != Value::Unset && !self.has(*name) {
                let value = room.copy(newer, *value);
                room.push(*name, value);
            }
        }
        std::mem::swap(self, room);
    }

    /// Stores a value of `from`.
    fn copy(&mut self, from: &Self, value: Value) -> Value {
        match value {
            Value::Unset => Value::Unset,
            Value::Text(start, end) => {
                from.text.get(start..end).map_or(Value::Unset, |text| self.store(text))
            }
            Value::Tuple(place) => self.store_tuple(from.tuples[place].clone()),
        }
    }

    /// All fields that are not empty, but for those that the id came from.
    pub(crate) fn others(&self, id_group: Name, names: &FieldNames) -> Vec<(String, String)> {
        let others = self.entries.iter().filter(|(name, _)| *name != id_group);
        let shown = others.filter_map(|(name, value)| Some((*name, self.show(*value)?)));
        let set = shown.filter(|(_, text)| !text.is_empty());
        set.map(|(name, text)| (names.text(name).to_owned(), text.into_owned())).collect()
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
    let names = [Name::FID, Name::IP4, Name::IP6, Name::DNS, Name::MLFID];
    names.iter().any(|name| expression.has_group(KNOWN[name.0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_no_part_does_not_hide_what_was_caught_before() {
        let fields = |entries: &[(Name, Option<&str>)]| {
            let mut fields = Fields::default();
            for (name, text) in entries {
                let value = text.map_or(Value::Unset, |text| fields.store(text));
                fields.put(*name, value);
            }
            fields
        };
        let mut after =
            fields(&[(Name::USER, None), (Name::CIDR, Some("22")), (Name::IP4, Some("192.0.2.1"))]);
        after.underlay(&fields(&[
            (Name::USER, Some("root")),
            (Name::CIDR, Some("23")),
            (Name::IP6, None),
        ]));
        let text = |name| after.text(name);
        assert_eq!(
            (text(Name::USER), text(Name::CIDR), text(Name::IP4)),
            (Some("root"), Some("22"), Some("192.0.2.1"))
        );
        assert!(after.has(Name::IP6) && !after.is_set(Name::IP6));
    }
}
