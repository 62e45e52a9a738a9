//! One event and its attributes.

use askama::Template;
use axum::http::StatusCode;

use super::{LINES, Page, Visit, before, html, next, when};
use crate::answer::{Answer, Fault};
use crate::keys::KeyRecord;
use crate::store::event::{Event, Name};
use crate::store::overview::{self, Line, Wanted};
use crate::store::tag;

#[derive(Template)]
#[template(path = "event.html")]
struct OneEvent<'a> {
    organisation: &'a str,
    holder: &'a KeyRecord,
    sought: &'a str,
    event: Event,
    tags: Vec<String>,
    lines: Vec<Line>,
    next: Option<i64>,
}

impl Page<'_> {
    /// `/events/view/{id or uuid}`
    pub(super) fn event(&self, visit: &Visit<'_>, holder: &KeyRecord) -> Result<Answer, Fault> {
        let name = visit.path.arg(0).and_then(Name::parse);
        let found = self.store.read(|db| -> Result<_, Fault> {
            let event = name.map(|it| Event::find(db, it)).transpose()?.flatten();
            let Some(event) = event else { return Ok(None) };
            let tags = tag::of(db, tag::Carrier::Event(event.id))?;
            let (id, before) = (Some(event.id), before(visit));
            let wanted = Wanted { event: id, before, limit: LINES, ..Wanted::default() };
            Ok(Some((event, tags, overview::lines(db, &wanted)?)))
        })?;
        let Some((event, tags, lines)) = found else { return Ok(self.missing(holder)) };
        let shown = OneEvent {
            organisation: &self.store.organisation.name,
            holder,
            sought: "",
            event,
            tags: tags.into_iter().map(|it| it.tag.name).collect(),
            next: next(&lines),
            lines,
        };
        Ok(html(StatusCode::OK, &shown))
    }
}

impl Event {
    pub(super) fn changed(&self) -> String {
        when(self.timestamp)
    }
}
