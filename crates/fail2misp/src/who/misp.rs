//! What each MISP or hub of the configuration holds of somebody: in which events, with which tags,
//! who saw it, and what it scores.

use std::time::Duration;

use anyhow::{Context as _, Result};
use exchange::{ADDRESS_TYPES, Destination};
use jiff::Timestamp;
use misp::pull::Found;
use misp::search::Search;
use misp::wire::SightingKind;
use serde_json::{Value, json};

use crate::exit::escape;
use crate::jails::count;
use crate::operator::local;

/// Attributes that are shown of one server, on one screen.
const MAX_SHOWN: u32 = 20;
/// How long a server may take: who asks waits at a terminal.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one server holds.
pub(super) struct Held {
    server: String,
    found: Result<Vec<Found>>,
}

/// Asks a server for all attributes that hold `value`.
pub(super) fn ask(mut server: Destination, value: &str) -> Held {
    server.transport.timeout = server.transport.timeout.min(PATIENCE);
    let search = Search {
        kinds: ADDRESS_TYPES.iter().map(|it| (*it).to_owned()).collect(),
        values: vec![value.to_owned()],
        with_context: true,
        ..Search::default()
    };
    let found = exchange::client(&server).map_err(anyhow::Error::new);
    let found = found.and_then(|client| Ok(client.search(&search, 1, MAX_SHOWN)?.attributes));
    Held { found: found.with_context(|| server.url.clone()), server: server.name }
}

impl Held {
    pub(super) fn is_anything(&self) -> bool {
        self.found.as_ref().is_ok_and(|found| !found.is_empty())
    }

    pub(super) fn as_json(&self) -> Value {
        match &self.found {
            Ok(found) => {
                let attributes: Vec<_> = found.iter().map(attribute).collect();
                json!({"server": self.server, "attributes": attributes})
            }
            Err(error) => json!({"server": self.server, "error": format!("{error:#}")}),
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let server = escape(&self.server);
        match &self.found {
            Ok(found) if found.is_empty() => vec![format!("{server}: nothing")],
            Ok(found) => found.iter().map(|it| format!("{server}: {}", line(it))).collect(),
            Err(error) => vec![format!("cannot be asked: {}", escape(&format!("{error:#}")))],
        }
    }
}

/// How often it was seen, and called a mistake, and when it was seen last.
fn sightings(found: &Found) -> (usize, usize, Option<Timestamp>) {
    let of = |kind: SightingKind| {
        found.sightings.iter().filter(move |it| it.kind == Some(kind.number()))
    };
    let last = of(SightingKind::Seen).filter_map(|it| it.date_sighting).max();
    (of(SightingKind::Seen).count(), of(SightingKind::FalsePositive).count(), last)
}

fn tags(found: &Found) -> Vec<&str> {
    found.tags.iter().map(|tag| tag.name.as_str()).collect()
}

fn attribute(found: &Found) -> Value {
    let (n_seen, n_mistakes, last) = sightings(found);
    let scores: Vec<_> =
        found.scores.iter().map(|it| json!({"model": it.model.name, "score": it.score})).collect();
    json!({
        "type": found.kind,
        "value": found.value,
        "uuid": found.uuid,
        "event": {"id": found.event.id, "uuid": found.event.uuid, "info": found.event.info},
        "to_ids": found.to_ids,
        "tags": tags(found),
        "sightings": n_seen,
        "false_positives": n_mistakes,
        "last_sighting": last.map(Timestamp::as_second),
        "scores": scores,
    })
}

fn line(found: &Found) -> String {
    let (n_seen, n_mistakes, last) = sightings(found);
    let event = found.event.id.map_or_else(String::new, |id| id.to_string());
    let mut text = format!("{} in event {event} ({})", found.kind, escape(&found.event.info));
    if found.to_ids == Some(false) {
        text += ", not for detection";
    }
    if n_seen > 0 {
        let last = last.map_or_else(String::new, |it| format!(", last {}", local(it)));
        text += &format!(", {}{last}", count(n_seen, "sighting"));
    }
    if n_mistakes > 0 {
        text += &format!(", called a false positive {n_mistakes} times");
    }
    for score in &found.scores {
        text += &format!(", scores {:.0} ({})", score.score, escape(&score.model.name));
    }
    let tags: Vec<_> = tags(found).into_iter().map(escape).collect();
    if tags.is_empty() { text } else { text + "; " + &tags.join(" ") }
}
