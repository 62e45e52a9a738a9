//! Judges MISP's answers: by the body, because one status means many things.
//!
//! 403 is a wrong key, a missing right, a duplicate and an invalid value alike; 200 is also a
//! sighting that was not added; 404 is also an event that is there already. The texts are those of
//! MISP 2.5.1.
//!
//! A body is kept as it came, and only what a call asks for is read out of it: an answer to a
//! thousand attributes repeats each of them with two dozen fields.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::blocking::Response;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::{Misconfigured, MispError, Outage, Refusal};
use crate::text::short;
use crate::wire::{Attribute, Errors, Event, Fault};

/// What an answer says before its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) location: String,
    pub(crate) content_type: String,
    pub(crate) retry_after: Option<Duration>,
    /// The server's clock.
    pub(crate) date: Option<Timestamp>,
    /// How many rows a search found, in MISP's way of counting.
    pub(crate) result_count: Option<u64>,
}

impl Head {
    pub(crate) fn of(response: &Response) -> Self {
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default()
        };
        Self {
            status: response.status().as_u16(),
            location: header("location").to_owned(),
            content_type: header("content-type").to_owned(),
            retry_after: header("retry-after")
                .parse()
                .or_else(|_| header("x-rate-limit-reset").parse())
                .map(Duration::from_secs)
                .ok(),
            date: rfc2822::parse(header("date")).map(|date| date.timestamp()).ok(),
            result_count: header("x-result-count").parse().ok(),
        }
    }

    /// That this is no answer of a MISP's.
    pub(crate) fn no_misp(&self) -> Outage {
        Outage::NotMisp { status: self.status, content_type: short(&self.content_type) }
    }
}

/// An answer that MISP itself gave, and that may still be a refusal of what was asked.
#[derive(Debug)]
pub(crate) struct Answer {
    call: &'static str,
    url: String,
    status: u16,
    clock: Option<Timestamp>,
    result_count: Option<u64>,
    /// JSON, whatever it says.
    body: Vec<u8>,
}

/// The answer to attributes/add, in its three shapes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Added {
    #[serde(rename = "Attribute")]
    saved: Saved,
    errors: Option<Errors>,
}

/// How many attributes an answer repeats. Of a batch of which exactly one was saved, MISP 2.5.1
/// answers an object where a list was asked.
#[derive(Default)]
struct Saved(usize);

/// The answer to a search for attributes.
#[derive(Deserialize)]
struct Found {
    response: FoundAttributes,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FoundAttributes {
    #[serde(rename = "Attribute")]
    attributes: Vec<Attribute>,
}

impl Answer {
    /// Takes what MISP itself answered; what only tells of trouble is an error already.
    pub(crate) fn judge(
        call: &'static str,
        url: &str,
        head: &Head,
        body: Vec<u8>,
    ) -> Result<Self, MispError> {
        let later = |why| MispError::Later { call, url: url.to_owned(), why };
        match (head.status, serde_json::from_slice::<IgnoredAny>(&body)) {
            (300..=399, _) => Err(MispError::Misconfigured {
                call,
                url: url.to_owned(),
                why: Misconfigured::Redirected { location: short(&head.location) },
            }),
            (413, _) => Err(later(Outage::TooLarge)),
            (429, _) => Err(later(Outage::RateLimited { retry_after: head.retry_after })),
            (status @ 500.., Ok(_)) => {
                Err(later(Outage::Broken { status, text: short(fault(&body).text()) }))
            }
            (status @ 500.., Err(_)) => {
                Err(later(Outage::Broken { status, text: short(&head.content_type) }))
            }
            (status, Ok(_)) => {
                let (clock, result_count) = (head.date, head.result_count);
                Ok(Self { call, url: url.to_owned(), status, clock, result_count, body })
            }
            (status, Err(error)) if error.is_eof() && is_json(&head.content_type) => {
                Err(later(Outage::CutShort(format!("{status}, {} bytes", body.len()))))
            }
            (_, Err(_)) => Err(later(head.no_misp())),
        }
    }

    /// How many rows a search found, in MISP's way of counting.
    pub(crate) fn result_count(&self) -> Option<u64> {
        self.result_count
    }

    /// The server's clock when it answered.
    pub(crate) fn clock(&self) -> Option<Timestamp> {
        self.clock
    }

    /// Whether its text holds `word`, whatever the status.
    pub(crate) fn says(&self, word: &str) -> bool {
        fault(&self.body).text().contains(word)
    }

    /// The whole body as `T`.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<T, MispError> {
        self.check()?;
        serde_json::from_slice(&self.body).map_err(|error| self.unaccounted(error.to_string()))
    }

    /// What the body holds under `field`, as `T`.
    pub(crate) fn read_in<T: DeserializeOwned>(&self, field: &str) -> Result<T, MispError> {
        self.check()?;
        match self.field(field) {
            Ok(Some(inner)) => Ok(inner),
            Ok(None) => Err(self.unaccounted(format!("it holds no `{field}`"))),
            Err(error) => Err(self.unaccounted(error.to_string())),
        }
    }

    /// The one event that a search found.
    pub(crate) fn read_event(self, asked: &str) -> Result<Event, MispError> {
        let mut found: Vec<Value> = self.read_in("response")?;
        let Some(first) = found.first_mut().and_then(|row| row.get_mut("Event")).map(Value::take)
        else {
            let why = Misconfigured::NoEvent(format!("`{}`", short(asked)));
            return Err(MispError::Misconfigured { call: self.call, url: self.url, why });
        };
        serde_json::from_value(first).map_err(|error| self.unaccounted(error.to_string()))
    }

    /// The attributes that a search found.
    pub(crate) fn read_found(self) -> Result<Vec<Attribute>, MispError> {
        self.read::<Found>().map(|found| found.response.attributes)
    }

    /// That it is no refusal.
    pub(crate) fn check(&self) -> Result<(), MispError> {
        if self.status < 400 {
            return Ok(());
        }
        Err(self.refusal())
    }

    /// That it is one of these texts, in `success`; MISP answers 200 in any case.
    pub(crate) fn check_saved(&self, texts: &[&str]) -> Result<(), MispError> {
        self.check()?;
        // A word of another shape is none of these.
        let said: String = self.field("success").ok().flatten().unwrap_or_default();
        match texts.iter().any(|text| said.contains(text)) {
            true => Ok(()),
            false => Err(self.unaccounted(self.text())),
        }
    }

    /// What became of each of the `n` items of a batch, in their order.
    pub(crate) fn read_items(self, n: usize) -> Result<Vec<Result<(), Refusal>>, MispError> {
        let Ok(Added { saved: Saved(n_saved), errors }) = serde_json::from_slice(&self.body) else {
            return Err(self.unaccounted(self.text()));
        };
        let mut items = vec![Ok(()); n];
        match errors {
            // A wrong key, no right, no event: nothing of it is about an item.
            None if n_saved == 0 => return Err(self.refusal()),
            None => {}
            Some(Errors::Items(errors)) => {
                for (name, errors) in errors {
                    let index = name.strip_prefix("attribute_").and_then(|n| n.parse().ok());
                    match index.and_then(|index: usize| items.get_mut(index)) {
                        Some(item) => *item = Err(Refusal::of(&errors)),
                        None => return Err(self.unaccounted(short(&name))),
                    }
                }
            }
            // A list of one: MISP leaves the index out.
            Some(Errors::Fields(errors)) if n == 1 => items[0] = Err(Refusal::of(&errors)),
            Some(_) => return Err(self.refusal()),
        }
        let n_left = items.iter().filter(|item| item.is_ok()).count();
        if n_left != n_saved {
            let why = format!("{n_saved} saved and {} refused of {n}", n - n_left);
            return Err(self.unaccounted(why));
        }
        Ok(items)
    }

    /// What the body holds under `name`.
    fn field<T: DeserializeOwned>(&self, name: &str) -> serde_json::Result<Option<T>> {
        let mut json = serde_json::Deserializer::from_slice(&self.body);
        json.deserialize_map(Field { name, kind: PhantomData })
    }

    /// The body for a message.
    fn text(&self) -> String {
        short(&String::from_utf8_lossy(&self.body))
    }

    fn unaccounted(&self, what: String) -> MispError {
        MispError::Later { call: self.call, url: self.url.clone(), why: Outage::Unaccounted(what) }
    }

    /// Who must act, by what it says.
    fn refusal(&self) -> MispError {
        let fault = fault(&self.body);
        let (call, url, said) = (self.call, self.url.clone(), short(fault.text()));
        let why = match (self.status, fault.text()) {
            (_, text) if text.starts_with("Authentication failed") => Misconfigured::Key(said),
            (_, text) if text.starts_with("You do not have permission") => {
                Misconfigured::NoRight(said)
            }
            (_, text) if text.starts_with("Event blocked") => Misconfigured::EventBlocked(said),
            (_, text)
                if text.starts_with("Invalid event") || text.starts_with("Event not found") =>
            {
                Misconfigured::NoEvent(said)
            }
            (_, text) if text.starts_with("Invalid attribute") => Misconfigured::NoAttribute(said),
            (404 | 405, _) => Misconfigured::NoSuchCall(said),
            (401, _) => Misconfigured::Key(said),
            _ => match fault.errors {
                None => Misconfigured::Denied(format!("{} {said}", self.status)),
                Some(errors) => return MispError::Refused { call, url, why: refusal_of(&errors) },
            },
        };
        MispError::Misconfigured { call, url, why }
    }
}

fn fault(body: &[u8]) -> Fault {
    // An answer of another shape says nothing that we know.
    serde_json::from_slice(body).unwrap_or_default()
}

fn refusal_of(errors: &Errors) -> Refusal {
    match errors {
        Errors::Fields(errors) => Refusal::of(errors),
        Errors::Items(errors) => {
            let texts: Vec<_> = errors.iter().map(|(name, why)| format!("{name}: {why}")).collect();
            Refusal::Invalid(short(&texts.join("; ")))
        }
        Errors::Other(other) => Refusal::Invalid(short(&other.to_string())),
    }
}

fn is_json(content_type: &str) -> bool {
    content_type.starts_with("application/json")
}

/// Reads what an object holds under one name, and skips the rest.
struct Field<'n, T> {
    name: &'n str,
    kind: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Field<'_, T> {
    type Value = Option<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an object that holds `{}`", self.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = fields.next_key::<String>()? {
            match name == self.name {
                true => found = Some(fields.next_value()?),
                false => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

impl<'de> Deserialize<'de> for Saved {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(SavedVisitor)
    }
}

struct SavedVisitor;

impl<'de> Visitor<'de> for SavedVisitor {
    type Value = Saved;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an attribute, or a list of them")
    }

    fn visit_unit<E>(self) -> Result<Saved, E> {
        Ok(Saved(0))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Saved, A::Error> {
        IgnoredAny.visit_map(fields).map(|_| Saved(1))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Saved, A::Error> {
        let mut n_saved = 0;
        while items.next_element::<IgnoredAny>()?.is_some() {
            n_saved += 1;
        }
        Ok(Saved(n_saved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Answer, MispError> {
        let head = Head { status, ..Head::default() };
        Answer::judge("attributes/add", "https://misp.example", &head, body.into())
    }

    /// Checks how many of two attributes an answer says were saved; `None` where it says nothing.
    #[track_caller]
    fn check(body: &str, want: Option<usize>) {
        let items = answer(200, body).and_then(|it| it.read_items(2));
        let n_saved = items.ok().map(|items| items.iter().filter(|it| it.is_ok()).count());
        assert_eq!(n_saved, want, "{body}");
    }

    #[test]
    fn what_nobody_asks_for_may_have_any_shape() {
        let odd = r#"{"id":[],"uuid":7,"Tag":null,"value":{"a":"\ud83d"}}"#;
        let refused = r#""errors":{"attribute_1":{"value":["wrong"]}}"#;
        check(&format!(r#"{{"Attribute":[{odd},{odd}],"more":[{{"x":1e999}}]}}"#), Some(2));
        check(&format!(r#"{{{refused},"Attribute":{odd}}}"#), Some(1));
        check(r#"{"errors":{"attribute_0":"no","attribute_1":"no"},"Attribute":null}"#, Some(0));
        check(&format!(r#"{{"Attribute":[{odd}]}}"#), None); // one of two, and no word on the other
        check(r#"{"Attribute":"two"}"#, None);
        check("[]", None);
    }

    #[test]
    fn a_field_is_found_among_others() {
        let tag = |body: &str| answer(200, body).and_then(|it| it.read_in::<String>("Tag"));
        assert_eq!(tag(r#"{"a":{"Tag":1},"Tag":"x","b":[]}"#), Ok("x".to_owned()));
        for body in [r#"{"a":{"Tag":"x"}}"#, r#"{"Tag":1}"#, "[]", r#""Tag""#] {
            let why = tag(body).expect_err(body);
            assert!(matches!(why, MispError::Later { why: Outage::Unaccounted(_), .. }), "{why}");
        }
    }
}
