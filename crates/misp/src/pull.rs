//! What comes back from a server: attributes page by page, sightings, and a hub's lines.

use std::io::BufReader;

use jiff::Timestamp;
use reqwest::blocking::Response;
use reqwest::header::ACCEPT;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::answer::{Answer, Head};
use crate::call::Call;
use crate::client::{Client, read_body};
use crate::error::MispError;
use crate::loose;
use crate::search::{Score, Seen};
use crate::wire::Tag;

/// The sightings of one call: MISP 2.5.1 has no pages there.
const MAX_SIGHTINGS: u32 = 100_000;

/// An attribute as a search finds it, with what a block list asks of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// The name that all servers know it by.
    pub uuid: Option<Uuid>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its value.
    pub value: String,
    /// Whether detection shall act on it.
    #[serde(with = "loose::flag")]
    pub to_ids: Option<bool>,
    /// When it was last changed.
    #[serde(with = "loose::epoch")]
    pub timestamp: Option<Timestamp>,
    /// When it was seen first.
    #[serde(with = "loose::iso")]
    pub first_seen: Option<Timestamp>,
    /// When it was seen last.
    #[serde(with = "loose::iso")]
    pub last_seen: Option<Timestamp>,
    /// Whether an analyst deleted it.
    #[serde(with = "loose::flag")]
    pub deleted: Option<bool>,
    /// Its tags, and those of its event.
    #[serde(rename = "Tag")]
    pub tags: Vec<Tag>,
    /// Its event.
    #[serde(rename = "Event")]
    pub event: FoundEvent,
    /// Its sightings, where a search asks for them.
    #[serde(rename = "Sighting")]
    pub sightings: Vec<Seen>,
    /// What each model of decay makes of it, where a search asks for that; a hub has none.
    #[serde(rename = "decay_score")]
    pub scores: Vec<Score>,
}

/// The event of a found attribute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct FoundEvent {
    /// The name that all servers know it by.
    pub uuid: Option<Uuid>,
    /// Its number at this server.
    #[serde(with = "loose::number")]
    pub id: Option<u64>,
    /// What it is about.
    pub info: String,
    /// The organisation that made it, by its number.
    #[serde(with = "loose::number")]
    pub orgc_id: Option<u64>,
}

/// Some of the attributes that a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The attributes; a page may be short though more follow.
    pub attributes: Vec<Found>,
    /// Whether there is a page after this one.
    pub is_last: bool,
}

impl Page {
    /// Reads the answer to a search for at most `limit` attributes.
    pub(crate) fn read(answer: &Answer, limit: u32) -> Result<Self, MispError> {
        #[derive(Deserialize)]
        struct Rows {
            #[serde(rename = "Attribute", default)]
            attributes: Vec<Found>,
        }
        // It counts one more than the limit where more follows, however short the page is.
        let is_last = answer.result_count().is_none_or(|count| count <= u64::from(limit));
        let rows: Rows = answer.read_in("response")?;
        Ok(Self { attributes: rows.attributes, is_last })
    }
}

/// A sighting as a search finds it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct FoundSighting {
    /// The value that was sighted.
    pub value: String,
    /// [`crate::wire::SightingKind::number`].
    #[serde(rename = "type", with = "loose::number")]
    pub kind: Option<u8>,
    /// When.
    #[serde(with = "loose::epoch")]
    pub date_sighting: Option<Timestamp>,
    /// Whose word it is.
    #[serde(rename = "Organisation")]
    pub organisation: FoundOrganisation,
}

/// An organisation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct FoundOrganisation {
    /// Its name.
    pub name: String,
}

/// A body that is read while it comes.
#[derive(Debug)]
pub struct Stream {
    /// What it claims to be.
    pub content_type: String,
    /// The body.
    pub body: BufReader<Response>,
}

impl Client {
    /// A page of all attributes of these types that were changed at `since` or later, deleted ones
    /// too; pages count from 1.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn page(
        &self,
        kinds: &[String],
        since: Timestamp,
        page: u32,
        limit: u32,
    ) -> Result<Page, MispError> {
        // No filter by `to_ids` or `published`: what loses them would never be heard of.
        let body = json!({
            "returnFormat": "json", "type": kinds, "timestamp": since.as_second(),
            "deleted": [0, 1], "includeEventTags": 1, "limit": limit, "page": page,
        });
        Page::read(&self.make(Call::post("attributes/restSearch", "", &body))?, limit)
    }

    /// The sightings of all kinds since then.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn sightings_since(&self, since: Timestamp) -> Result<Vec<FoundSighting>, MispError> {
        #[derive(Deserialize)]
        struct Row {
            #[serde(rename = "Sighting")]
            sighting: FoundSighting,
        }
        let body = json!({
            "returnFormat": "json", "from": since.as_second(), "limit": MAX_SIGHTINGS,
        });
        let answer = self.make(Call::post("sightings/restSearch", "", &body))?;
        let rows: Vec<Row> = answer.read_in("response")?;
        Ok(rows.into_iter().map(|it| it.sighting).collect())
    }

    /// The name of an organisation.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn organisation(&self, id: u64) -> Result<String, MispError> {
        let call = Call::get("organisations/view", &id.to_string());
        self.make(call)?.read_in::<FoundOrganisation>("Organisation").map(|it| it.name)
    }

    /// What a path of the server answers as JSON.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn read<T: serde::de::DeserializeOwned>(&self, path: &'static str) -> Result<T, MispError> {
        self.make(Call::get(path, ""))?.read()
    }

    /// A body to be read while it comes. Each read of it may take as long as a call.
    ///
    /// # Errors
    ///
    /// When the call fails, or is refused.
    pub fn stream(
        &self,
        path: &'static str,
        query: &str,
        accept: &'static str,
    ) -> Result<Stream, MispError> {
        let url = format!("{}/{path}{query}", self.url());
        let request = self.http().get(url).header(ACCEPT, accept);
        let response = request.send().map_err(|error| self.failure(path, &error))?;
        let head = Head::of(&response);
        if head.status != 200 {
            let body = read_body(response).map_err(|why| self.later(path, why))?;
            Answer::judge(path, self.url(), &head, body)?.check()?;
            return Err(self.later(path, head.no_misp()));
        }
        Ok(Stream { content_type: head.content_type, body: BufReader::new(response) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shapes of MISP 2.5.1: numbers as strings, what is absent as null.
    #[test]
    fn what_is_found_is_read() {
        let found: Found = serde_json::from_str(
            r#"{"id":"61","event_id":"6","object_relation":null,"type":"ip-src","to_ids":true,
            "uuid":"4c989e8a-ae23-4c76-bbb7-f3fce7d98f99","timestamp":"1795328586","deleted":false,
            "first_seen":null,"last_seen":"2026-11-20T10:00:00.000000+00:00","value":"192.0.2.1",
            "Event":{"org_id":"1","id":"6","info":"pull","orgc_id":"7"},
            "Tag":[{"id":"3","name":"fail2ban","numerical_value":null,
            "is_galaxy":false,"local":false}]}"#,
        )
        .expect("an attribute");
        assert_eq!((&*found.value, found.event.orgc_id), ("192.0.2.1", Some(7)));
        assert_eq!(found.timestamp.map(Timestamp::as_second), Some(1_795_328_586));
        assert_eq!((found.first_seen, found.deleted), (None, Some(false)));
        assert_eq!(found.tags[0].name, "fail2ban");
        let found: FoundSighting = serde_json::from_str(
            r#"{"id":"15","attribute_id":"4","event_id":"2","org_id":"1","source":"","type":"1",
            "date_sighting":"1795328509","uuid":"8780365e-4198-4d5d-bb23-ad57883ad558",
            "value":"198.51.100.2","Organisation":{"id":"1","name":"ORGNAME"}}"#,
        )
        .expect("a sighting");
        assert_eq!((found.kind, &*found.organisation.name), (Some(1), "ORGNAME"));
    }
}
