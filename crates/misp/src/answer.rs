//! Judges MISP's answers: by the body, because one status means many things.
//!
//! 403 is a wrong key, a missing right, a duplicate and an invalid value alike; 200 is also a
//! sighting that was not added; 404 is also an event that is there already. The texts are those of
//! MISP 2.5.1.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::blocking::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Misconfigured, MispError, Outage, Refusal};
use crate::text::short;
use crate::wire::{Attribute, Errors, Event, Fault, OneOrMany};

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
    body: Value,
}

/// The answer to attributes/add, in its three shapes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Added {
    #[serde(rename = "Attribute")]
    attribute: Option<OneOrMany<Attribute>>,
    errors: Option<Errors>,
}

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
        body: &[u8],
    ) -> Result<Self, MispError> {
        let later = |why| MispError::Later { call, url: url.to_owned(), why };
        let parsed = serde_json::from_slice::<Value>(body);
        match (head.status, parsed) {
            (300..=399, _) => Err(MispError::Misconfigured {
                call,
                url: url.to_owned(),
                why: Misconfigured::Redirected { location: short(&head.location) },
            }),
            (413, _) => Err(later(Outage::TooLarge)),
            (429, _) => Err(later(Outage::RateLimited { retry_after: head.retry_after })),
            (status @ 500.., parsed) => {
                let text = parsed.ok().map(|body| fault(&body).text().to_owned());
                let text = short(text.as_deref().unwrap_or(&head.content_type));
                Err(later(Outage::Broken { status, text }))
            }
            (status, Ok(body)) => {
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
        let (call, url) = (self.call, self.url);
        serde_json::from_value(self.body).map_err(|error| odd(call, url, &error))
    }

    /// What the body holds under `field`, as `T`.
    pub(crate) fn read_in<T: DeserializeOwned>(mut self, field: &str) -> Result<T, MispError> {
        self.check()?;
        let inner = self.body.get_mut(field).map(Value::take);
        let (call, url) = (self.call, self.url);
        match inner {
            Some(inner) => serde_json::from_value(inner).map_err(|error| odd(call, url, &error)),
            None => Err(unaccounted(call, url, format!("it holds no `{field}`"))),
        }
    }

    /// The one event that a search found.
    pub(crate) fn read_event(self, asked: &str) -> Result<Event, MispError> {
        let (call, url) = (self.call, self.url.clone());
        let mut found: Vec<Value> = self.read_in("response")?;
        let Some(first) = found.first_mut().and_then(|row| row.get_mut("Event")).map(Value::take)
        else {
            let why = Misconfigured::NoEvent(format!("`{}`", short(asked)));
            return Err(MispError::Misconfigured { call, url, why });
        };
        serde_json::from_value(first).map_err(|error| odd(call, url, &error))
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
        let said = self.body.get("success").and_then(Value::as_str).unwrap_or_default();
        match texts.iter().any(|text| said.contains(text)) {
            true => Ok(()),
            false => Err(unaccounted(self.call, self.url.clone(), short(&self.body.to_string()))),
        }
    }

    /// What became of each of the `n` items of a batch, in their order.
    pub(crate) fn read_items(self, n: usize) -> Result<Vec<Result<(), Refusal>>, MispError> {
        let Ok(added) = Added::deserialize(&self.body) else {
            return Err(unaccounted(self.call, self.url, short(&self.body.to_string())));
        };
        let n_saved = added.attribute.map_or(0, |saved| saved.into_vec().len());
        let mut items = vec![Ok(()); n];
        match added.errors {
            // A wrong key, no right, no event: nothing of it is about an item.
            None if n_saved == 0 => return Err(self.refusal()),
            None => {}
            Some(Errors::Items(errors)) => {
                for (name, errors) in errors {
                    let index = name.strip_prefix("attribute_").and_then(|n| n.parse().ok());
                    match index.and_then(|index: usize| items.get_mut(index)) {
                        Some(item) => *item = Err(Refusal::of(&errors)),
                        None => return Err(unaccounted(self.call, self.url, short(&name))),
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
            return Err(unaccounted(self.call, self.url, why));
        }
        Ok(items)
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

fn fault(body: &Value) -> Fault {
    // An answer of another shape says nothing that we know.
    Fault::deserialize(body).unwrap_or_default()
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

fn odd(call: &'static str, url: String, error: &serde_json::Error) -> MispError {
    unaccounted(call, url, error.to_string())
}

fn unaccounted(call: &'static str, url: String, what: String) -> MispError {
    MispError::Later { call, url, why: Outage::Unaccounted(what) }
}

fn is_json(content_type: &str) -> bool {
    content_type.starts_with("application/json")
}
