//! `/feed/…`: what is published, as a feed in MISP's format.
//!
//! A MISP asks for `manifest.json`, then for `{uuid}.json` of each event that is newer than its
//! own, and for `hashes.csv` when it caches the feed. Deleted attributes stay in the file of their
//! event, so that who has fetched them before learns of it.

use axum::http::StatusCode;
use md5::{Digest, Md5};
use misp::value::Value as Normal;
use rusqlite::Connection;
use serde_json::{Map, json};

use crate::answer::{Answer, Fault};
use crate::api::{Content, Whole};
use crate::request::Path;
use crate::shape::{OrganisationShape, TagShape};
use crate::store::event::{Event, Name};
use crate::store::search::{self, Filter};
use crate::store::tag::{self, Carrier};
use crate::store::{Store, StoreError};

/// Answers `/feed/{file}`; the router takes `.json` off the end of a path.
pub(crate) fn answer(store: &Store, path: &Path) -> Result<Answer, Fault> {
    match (&*path.action, path.arg(0).and_then(Name::parse)) {
        ("manifest", _) if path.json_suffix => manifest(store),
        ("hashes.csv", _) => hashes(store),
        ("view", Some(name @ Name::Uuid(_))) if path.json_suffix => event(store, name),
        _ => Err(Fault::refused(StatusCode::NOT_FOUND, "Not Found")),
    }
}

fn published() -> Filter {
    Filter { published: vec![true], ..Filter::default() }
}

fn events(db: &Connection) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::new();
    for id in search::events(db, &published())? {
        events.extend(Event::find(db, Name::Id(id))?);
    }
    Ok(events)
}

fn manifest(store: &Store) -> Result<Answer, Fault> {
    let orgc = OrganisationShape::of_feed(&store.organisation);
    let entries = store.read(|db| -> Result<_, Fault> {
        let mut entries = Map::new();
        for event in events(db)? {
            let tags = tag::of(db, Carrier::Event(event.id))?;
            let tags: Vec<_> = tags.iter().map(|it| TagShape::plain(&it.tag)).collect();
            let entry = json!({
                "Orgc": orgc,
                "Tag": tags,
                "info": event.info,
                "date": event.date,
                "analysis": event.analysis.to_string(),
                "threat_level_id": event.threat_level.to_string(),
                "timestamp": event.timestamp.to_string(),
            });
            entries.insert(event.uuid.to_string(), entry);
        }
        Ok(entries)
    })?;
    Ok(Answer::json(&entries))
}

fn event(store: &Store, name: Name) -> Result<Answer, Fault> {
    let whole = store.read(|db| -> Result<_, Fault> {
        let event = Event::find(db, name)?.filter(|it| it.published);
        let event = event.ok_or_else(Fault::no_event)?;
        Ok(Whole::load(db, event, Content::WithDeleted)?)
    })?;
    Ok(Answer::json(&json!({ "Event": whole.shape(&store.organisation) })))
}

/// `md5(value),uuid of the event` on each line; both halves of a composite on their own.
fn hashes(store: &Store) -> Result<Answer, Fault> {
    let body = store.read(|db| -> Result<_, Fault> {
        let mut body = Vec::new();
        for event in events(db)? {
            let events = search::Terms { any: vec![event.id.to_string()], ..Default::default() };
            let filter = Filter { events, ..Filter::default() };
            search::attributes(db, &filter, "value1, value2", |row| {
                let value = Normal { first: row.get(0)?, second: row.get(1)? };
                for part in [&value.first, &value.second].into_iter().filter(|it| !it.is_empty()) {
                    let line = format!("{},{}\n", md5_of(part), event.uuid);
                    body.extend_from_slice(line.as_bytes());
                }
                Ok::<_, Fault>(())
            })?;
        }
        Ok(body)
    })?;
    Ok(Answer::new(StatusCode::OK, "text/csv; charset=UTF-8", body))
}

/// The MD5 of a value, which is how MISP looks it up in a feed that it caches.
pub(crate) fn md5_of(value: &str) -> String {
    Md5::digest(value.as_bytes()).iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn md5_is_that_of_rfc_1321() {
        assert_eq!(super::md5_of("abc"), "900150983cd24fb0d6963f7d28e17f72");
    }
}
