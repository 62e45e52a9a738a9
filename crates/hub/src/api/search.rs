//! `restSearch` of attributes, events and objects.

use std::collections::HashMap;

use axum::http::{HeaderValue, header};
use rusqlite::Connection;
use serde_json::json;

use super::Api;
use super::events::{Content, Whole};
use super::export::{CHUNK, Export, Format, limit};
use super::filter::{self, Search};
use crate::answer::{Answer, Fault, Rest};
use crate::request::{Request, text};
use crate::shape::{AttributeShape, ObjectShape};
use crate::store::attribute::Attribute;
use crate::store::event::{Event, Name};
use crate::store::object::Object;
use crate::store::search::{self, Deleted, Filter, Page, Terms};
use crate::store::tag::Attached;

/// `POST /attributes/restSearch`
pub(super) fn attributes(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let mut search = Search::read(request, &api.store.organisation)?;
    let format = Format::of(&search)?;
    format.narrow(&mut search);
    let (export, n_found, body) = api.store.read(|db| -> Result<_, Fault> {
        let export = Export::new(api, search, format, db, request.now)?;
        let filter = &export.search.filter;
        let may_be_large = filter.page.is_none_or(|it| it.limit > CHUNK as i64);
        if may_be_large && format != Format::Count {
            let n_found = search::count(db, filter)?;
            if n_found > CHUNK {
                return Ok((export, n_found, None));
            }
        }
        let mut body = Vec::new();
        let n_found = export.write(db, &mut body)?;
        Ok((export, n_found, Some(body)))
    })?;
    let n_told = counted(n_found, export.search.filter.page);
    let n_left_out = export.left_out.len();
    Ok(match body {
        Some(body) => format.answer(body, n_told, n_left_out),
        None => {
            let store = api.store.clone();
            let rest = Rest::new(move |out| store.read(|db| export.write(db, out).map(drop)));
            Answer { rest: Some(rest), ..format.answer(Vec::new(), n_told, n_left_out) }
        }
    })
}

/// MISP's X-Result-Count: of a page, one more than its limit when more follows, and 1 past the end.
fn counted(n_found: usize, page: Option<Page>) -> usize {
    match page {
        Some(page) if n_found == 0 && page.number > 1 => 1,
        _ => n_found,
    }
}

/// `POST /events/restSearch`: whole events, or their metadata.
pub(super) fn events(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let search = Search::read(request, &api.store.organisation)?;
    let format = Format::of(&search)?;
    let content = match (search.flag("metadata"), search.flag("deleted")) {
        (true, _) => Content::Metadata,
        (false, true) => Content::WithDeleted,
        (false, false) => Content::WithoutDeleted,
    };
    let (body, n_found, n_left_out) = api.store.read(|db| -> Result<_, Fault> {
        let mut found = search::events(db, &search.filter)?;
        let n_found = found.len();
        if let Some(page) = search.filter.page {
            filter::cut(&mut found, page);
        }
        let mut within = of_events(&search, &found);
        format.narrow(&mut within);
        let export = Export::new(api, within, format, db, request.now)?;
        let n_left_out = export.left_out.len();
        if format != Format::Json {
            let mut body = Vec::new();
            export.write(db, &mut body)?;
            return Ok((body, n_found, n_left_out));
        }
        let mut wholes = Vec::with_capacity(found.len());
        for id in found {
            if let Some(event) = Event::find(db, Name::Id(id))? {
                let mut whole = Whole::load(db, event, content)?;
                whole.leave_out(&export.left_out);
                wholes.push(whole);
            }
        }
        let organisation = &api.store.organisation;
        let shapes: Vec<_> =
            wholes.iter().map(|it| json!({ "Event": it.shape(organisation) })).collect();
        Ok((Answer::json(&json!({ "response": shapes })).body, n_found, n_left_out))
    })?;
    let name = search.fields.get("eventid").and_then(text).unwrap_or_else(|| "list".to_owned());
    let name: String = name.chars().filter(|it| it.is_ascii_alphanumeric() || *it == '-').collect();
    let file = format!("attachment; filename=\"misp.event.{name}.{}\"", format.name());
    let answer = format.answer(body, n_found, n_left_out);
    Ok(match HeaderValue::from_str(&file) {
        Ok(file) => answer.with(header::CONTENT_DISPOSITION, file),
        Err(_) => answer,
    })
}

/// `POST /objects/restSearch`: objects with their parts.
pub(super) fn objects(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let search = Search::of_objects(request, &api.store.organisation)?;
    let format = Format::of(&search)?;
    if format != Format::Json {
        return Err(Format::unknown());
    }
    let page = search.filter.page;
    let (n_found, found) = api.store.read(|db| -> Result<_, Fault> {
        let mut ids = search::objects(db, &search.filter)?;
        let n_found = ids.len();
        ids.truncate(limit(page));
        let found = ids.into_iter().map(|id| Found::load(db, id, search.filter.deleted));
        Ok((n_found, found.collect::<Result<Vec<_>, _>>()?))
    })?;
    let shapes: Vec<_> = found.iter().flatten().map(|it| json!({ "Object": it.shape() })).collect();
    let body = Answer::json(&json!({ "response": shapes })).body;
    Ok(format.answer(body, counted(n_found, page), 0))
}

/// An object that was found, and what is told of it.
struct Found {
    object: Object,
    parts: Vec<Attribute>,
    tags: HashMap<i64, Vec<Attached>>,
    event: Option<Event>,
}

impl Found {
    fn load(db: &Connection, id: i64, deleted: Deleted) -> Result<Option<Self>, Fault> {
        let Some(object) = Object::find(db, Name::Id(id))? else { return Ok(None) };
        let mut parts = object.parts(db)?;
        parts.retain(|it| deleted.admits(it.deleted));
        let ids: Vec<i64> = parts.iter().map(|it| it.id).collect();
        let tags = search::tags(db, &ids)?;
        let event = Event::find(db, Name::Id(object.event))?;
        Ok(Some(Self { object, parts, tags, event }))
    }

    fn shape(&self) -> ObjectShape<'_> {
        let tags = |part: &Attribute| self.tags.get(&part.id).map_or(&[][..], |it| it);
        let parts = self.parts.iter().map(|it| AttributeShape::part(it, tags(it))).collect();
        ObjectShape::found(&self.object, parts, self.event.as_ref())
    }
}

/// A search for what the events hold, for a format that knows attributes alone.
fn of_events(search: &Search, events: &[i64]) -> Search {
    let ids = events.iter().map(ToString::to_string).collect();
    let events = Terms { any: ids, ..Terms::default() };
    let filter = Filter { nothing: events.is_empty(), events, ..Filter::default() };
    Search { filter, fields: search.fields.clone() }
}
