//! Searches attributes by what people ask for: values, tags, events, time.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::call::Call;
use crate::client::Client;
use crate::error::MispError;
use crate::loose;
use crate::pull::Page;

/// What is searched for; what is empty asks nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Search {
    /// Types, of which an attribute has one.
    pub kinds: Vec<String>,
    /// Values, of which it has one; each half of a composite value counts.
    pub values: Vec<String>,
    /// Tags, of which it or its event has one; `!` in front excludes.
    pub tags: Vec<String>,
    /// Ids or uuids of events, of which it is in one.
    pub events: Vec<String>,
    /// How long ago it was added or changed at the most, in MISP's words: `7d`, `12h`.
    pub last: Option<String>,
    /// Whether its sightings and its score are wanted, too.
    pub with_context: bool,
}

/// Somebody saw a value.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// [`crate::wire::SightingKind::number`].
    #[serde(rename = "type", with = "loose::number")]
    pub kind: Option<u8>,
    /// When.
    #[serde(with = "loose::epoch")]
    pub date_sighting: Option<Timestamp>,
    /// Who says so.
    pub source: String,
}

/// What one model of decay makes of an attribute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Score {
    /// From 100 down.
    pub score: f64,
    /// Whether it is below the model's threshold.
    pub decayed: bool,
    /// The model.
    #[serde(rename = "DecayingModel")]
    pub model: Model,
}

/// A model of decay.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Model {
    /// Its name.
    pub name: String,
}

impl Call {
    /// A page of the live attributes that a search finds; pages count from 1.
    pub fn search(search: &Search, page: u32, limit: u32) -> Self {
        let mut body = json!({
            "returnFormat": "json", "includeEventTags": 1, "page": page, "limit": limit,
        });
        let lists = [
            ("type", &search.kinds),
            ("value", &search.values),
            ("tags", &search.tags),
            ("eventid", &search.events),
        ];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            body[name] = json!(list);
        }
        if let Some(last) = &search.last {
            body["timestamp"] = json!(last);
        }
        if search.with_context {
            body["includeSightings"] = json!(1);
            body["includeDecayScore"] = json!(1);
        }
        Self::post("attributes/restSearch", "", &body)
    }
}

impl Client {
    /// A page of the live attributes that a search finds; pages count from 1.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn search(&self, search: &Search, page: u32, limit: u32) -> Result<Page, MispError> {
        Page::read(&self.make(Call::search(search, page, limit))?, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_is_not_sent() {
        let search = Search { tags: vec!["tlp:green".to_owned()], ..Search::default() };
        let body = Call::search(&search, 2, 10).body.unwrap_or_default();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let want = json!({
            "returnFormat": "json", "includeEventTags": 1, "page": 2, "limit": 10,
            "tags": ["tlp:green"],
        });
        assert_eq!(body, want);
    }
}
