//! One value: who reported it, who saw it, whether firewalls are told of it, and why.

use std::collections::BTreeSet;

use askama::Template;
use axum::http::StatusCode;
use lists::net;
use lists::places::Place;
use rusqlite::Connection;
use uuid::Uuid;

use super::chart::{self, Chart, Day};
use super::{Page, Visit, field, html, when};
use crate::answer::{Answer, Fault};
use crate::keys::{KeyRecord, Role};
use crate::lists::{curators, may_name};
use crate::store::allowed::{self, Allowed};
use crate::store::attribute::{self, Attribute};
use crate::store::event::{Event, Name};
use crate::store::search::{self, Filter, Terms};
use crate::store::sighting::{self, Sighting};
use crate::store::{StoreError, listed};

/// Sightings that are shown, the latest ones.
const SIGHTINGS: usize = 200;

#[derive(Template)]
#[template(path = "value.html")]
struct OneValue<'a> {
    organisation: &'a str,
    holder: &'a KeyRecord,
    sought: &'a str,
    status: Status,
    /// Where it is, if files know that.
    place: Option<Place>,
    /// What an administrator said of it.
    allowed: Option<Allowed>,
    reports: Vec<Report>,
    tags: BTreeSet<String>,
    chart: Chart,
    sightings: Vec<Seen>,
    n_sightings: usize,
    /// For the form that calls it a false positive.
    token: String,
}

/// Whether firewalls are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Status {
    Listed,
    Allowed,
    Withdrawn,
    NotForDetection,
    NotPublic,
}

impl Status {
    const fn text(self) -> &'static str {
        match self {
            Self::Listed => "on the lists",
            Self::Allowed => "allowed: no list names it",
            Self::Withdrawn => "withdrawn as a false positive",
            Self::NotForDetection => "not on the lists: nobody means it for detection",
            Self::NotPublic => "not on the lists: no address of the public internet",
        }
    }
}

/// An attribute with its event.
struct Report {
    attribute: Attribute,
    event: Event,
}

impl Report {
    fn changed(&self) -> String {
        when(self.attribute.timestamp)
    }
}

/// A sighting, and whose it is.
struct Seen {
    sighting: Sighting,
    reporter: String,
}

impl Seen {
    fn date(&self) -> String {
        when(self.sighting.date)
    }

    const fn kind(&self) -> &'static str {
        match self.sighting.kind {
            0 => "seen",
            1 => "false positive",
            _ => "expired",
        }
    }
}

/// The live attributes with just this value, or with it as one half.
fn attributes(db: &Connection, value: &str) -> Result<Vec<Attribute>, StoreError> {
    // A `%` would be a wildcard: no value that is shown as one has it.
    let any = if value.contains('%') { Vec::new() } else { vec![value.to_owned()] };
    let nothing = any.is_empty();
    let filter = Filter { values: Terms { any, ..Terms::default() }, nothing, ..Filter::default() };
    let mut found = Vec::new();
    search::attributes(db, &filter, attribute::COLUMNS, |row| {
        found.push(Attribute::read(row)?);
        Ok::<_, StoreError>(())
    })?;
    Ok(found)
}

/// What the store knows of a value.
struct Known {
    reports: Vec<Report>,
    sightings: Vec<Sighting>,
    tags: BTreeSet<String>,
    is_withdrawn: bool,
    allowed: Option<Allowed>,
}

impl Known {
    fn load(db: &Connection, value: &str, curators: &[u32]) -> Result<Self, StoreError> {
        let found = attributes(db, value)?;
        let ids: Vec<i64> = found.iter().map(|it| it.id).collect();
        let mut sightings: Vec<_> = search::sightings(db, &ids)?.into_values().flatten().collect();
        sightings.sort_by_key(|it| std::cmp::Reverse((it.date, it.id)));
        let tags = search::tags(db, &ids)?.into_values().flatten().map(|it| it.tag.name);
        let mut reports = Vec::with_capacity(found.len());
        for attribute in found {
            if let Some(event) = Event::find(db, Name::Id(attribute.event))? {
                reports.push(Report { attribute, event });
            }
        }
        let this = serde_json::to_string(&[value]).expect("texts become JSON");
        Ok(Self {
            reports,
            sightings,
            tags: tags.collect(),
            is_withdrawn: listed::withdrawn(db, &this, curators)?.contains(value),
            allowed: net::read(value).map_or(Ok(None), |net| allowed::of(db, net))?,
        })
    }

    fn status(&self) -> Status {
        if self.allowed.is_some() {
            Status::Allowed
        } else if self.is_withdrawn {
            Status::Withdrawn
        } else if !self.reports.iter().any(|it| it.attribute.to_ids) {
            Status::NotForDetection
        } else if !self.reports.iter().any(|it| may_name(&it.attribute.value.first)) {
            Status::NotPublic
        } else {
            Status::Listed
        }
    }

    /// When it was reported, and seen.
    fn days(&self) -> impl Iterator<Item = Day> {
        let day = |time, n_attributes, n_sightings| Day {
            day: chart::day(time),
            n_attributes,
            n_sightings,
        };
        let reports = self.reports.iter().map(move |it| day(it.attribute.timestamp, 1, 0));
        let seen = self.sightings.iter().filter(|it| it.kind == 0);
        reports.chain(seen.map(move |it| day(it.date, 0, 1)))
    }
}

impl Page<'_> {
    /// `/values?value=…`
    pub(super) fn value(&self, visit: &Visit<'_>, holder: &KeyRecord) -> Result<Answer, Fault> {
        let sought = visit.path.query("value").unwrap_or_default();
        let curators = curators(self.keys)?;
        let known = self.store.read(|db| Known::load(db, &sought, &curators))?;
        if known.reports.is_empty() {
            return Ok(self.missing(holder));
        }
        let names = self.names()?;
        let seen = |sighting: Sighting| {
            let reporter = names.get(&sighting.reporter).cloned().unwrap_or_default();
            Seen { sighting, reporter }
        };
        let place = net::read(&sought).map(|it| self.places.of(it.addr()));
        let shown = OneValue {
            organisation: &self.store.organisation.name,
            holder,
            sought: &sought,
            status: known.status(),
            place: place.filter(|it| !it.is_unknown()),
            chart: Chart::of(known.days(), visit.now),
            allowed: known.allowed,
            reports: known.reports,
            tags: known.tags,
            n_sightings: known.sightings.len(),
            sightings: known.sightings.into_iter().take(SIGHTINGS).map(seen).collect(),
            token: super::Sessions::form_token(visit.headers).unwrap_or_default(),
        };
        Ok(html(StatusCode::OK, &shown))
    }

    /// `POST /values/wrong`: a false positive of every attribute with the value that the holder may
    /// sight.
    pub(super) fn wrong(&self, visit: &Visit<'_>, holder: &KeyRecord) -> Result<Answer, Fault> {
        let value = field(visit, "value").unwrap_or_default();
        let (holder, now) = (holder.clone(), visit.now);
        let sought = value.clone();
        self.store.write(move |db| -> Result<(), Fault> {
            for attribute in attributes(db, &sought)? {
                let event = attribute.event;
                if holder.role == Role::Sensor && !sighting::is_own(db, event, holder.id)? {
                    continue;
                }
                let mut sighting = Sighting {
                    id: 0,
                    uuid: Uuid::new_v4(),
                    attribute: attribute.id,
                    attribute_uuid: attribute.uuid,
                    event,
                    kind: 1,
                    source: "page".to_owned(),
                    date: now,
                    reporter: holder.id,
                };
                sighting.insert(db)?;
            }
            Ok(())
        })?;
        let value: String = form_urlencoded(&value);
        Ok(Answer::redirect(StatusCode::SEE_OTHER, &format!("/values?value={value}")))
    }
}

/// RFC 3986: everything but unreserved letters as percent and two digits.
fn form_urlencoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out += &format!("%{other:02X}"),
        }
    }
    out
}
