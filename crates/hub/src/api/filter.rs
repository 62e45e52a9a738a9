//! What a search asks for, as MISP's clients write it.
//!
//! Each filter is a text, a list, or `{"OR": .., "AND": .., "NOT": ..}`; a `!` before a text means
//! NOT. Flags come as 0, 1, true, false or their texts. A key that is unknown is ignored beside a
//! filter that is known, and refused when it is all that is asked: a slip of the pen must not
//! fetch everything there is.

use axum::http::Method;
use serde_json::{Map, Value};

use crate::answer::Fault;
use crate::instant::instant;
use crate::request::{Body, Request, flag, integer, text};
use crate::seen;
use crate::store::Organisation;
use crate::store::search::{Deleted, Filter, Order, Page, Range, Terms};

/// Keys that narrow a search.
const FILTERS: &[&str] = &[
    "attribute_timestamp",
    "category",
    "comment",
    "date",
    "deleted",
    "event_tags",
    "event_timestamp",
    "eventid",
    "eventinfo",
    "first_seen",
    "from",
    "last",
    "last_seen",
    "limit",
    "org",
    "publish_timestamp",
    "published",
    "searchall",
    "tags",
    "threat_level_id",
    "timestamp",
    "to",
    "to_ids",
    "type",
    "uuid",
    "value",
];

/// Keys that narrow a search for objects, besides.
const OBJECT_FILTERS: [&str; 3] =
    ["object_name", "object_template_uuid", "object_template_version"];

/// Filters that name what is sought: empty, they are a script's empty variable.
const TARGETS: [&str; 3] = ["value", "uuid", "eventid"];

/// Keys that say how to answer; the hub follows some and knows them all.
const MANNERS: &[&str] = &[
    "allow_proposal_blocking",
    "attackGalaxy",
    "decayingModel",
    "decaying_model",
    "enforceWarninglist",
    "excludeDecayed",
    "excludeLocalTags",
    "headerless",
    "includeAllTags",
    "includeContext",
    "includeCorrelations",
    "includeDecayScore",
    "includeEventTags",
    "includeEventUuid",
    "includeFullModel",
    "includeLastSighting",
    "includeProposals",
    "includeSightingdb",
    "includeSightings",
    "includeWarninglistHits",
    "metadata",
    "minimal",
    "modelOverrides",
    "order",
    "page",
    "requested_attributes",
    "returnFormat",
    "score",
    "sgReferenceOnly",
    "withAttachments",
];

/// A search with its manners.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) filter: Filter,
    pub(super) fields: Map<String, Value>,
}

impl Search {
    /// Reads what the path and the body ask.
    pub(super) fn read(request: &Request, organisation: &Organisation) -> Result<Self, Fault> {
        Self::with_filters(request, organisation, &[])
    }

    /// The same, of objects.
    pub(super) fn of_objects(
        request: &Request,
        organisation: &Organisation,
    ) -> Result<Self, Fault> {
        let mut it = Self::with_filters(request, organisation, &OBJECT_FILTERS)?;
        let given = |name: &str| it.fields.get(name).map(terms).unwrap_or_default();
        it.filter.templates = OBJECT_FILTERS.map(given);
        Ok(it)
    }

    fn with_filters(
        request: &Request,
        organisation: &Organisation,
        more: &[&str],
    ) -> Result<Self, Fault> {
        if request.method == Method::GET && request.path.named.is_empty() {
            return Err(Fault::refused(
                axum::http::StatusCode::BAD_REQUEST,
                "Restsearch queries using GET and no parameters are not allowed. If you have \
                 passed parameters via a JSON body, make sure you use POST requests.",
            ));
        }
        if *request.body == Body::Unread {
            return Err(Fault::misplaced(
                "The body is not declared as JSON. This request has been blocked to avoid an \
                 unfiltered request: send Content-Type: application/json.",
            ));
        }
        let mut fields = request.body.unwrapped("request");
        for (name, value) in &request.path.named {
            fields.insert(name.clone(), path_value(value));
        }
        refuse_unfiltered(&fields, more)?;
        let filter = filter(&fields, request.now, organisation);
        Ok(Self { filter, fields })
    }

    /// Whether the flag `name` is set.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(flag)
    }

    /// Whether the request says anything about `name`.
    pub(super) fn says(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|it| !it.is_null())
    }

    /// The format of the answer.
    pub(super) fn format(&self) -> &str {
        self.fields.get("returnFormat").and_then(Value::as_str).unwrap_or("json")
    }
}

/// In a path, `a||b` is a list.
fn path_value(value: &str) -> Value {
    match value.contains("||") {
        true => value.split("||").map(Value::from).collect(),
        false => Value::from(value),
    }
}

fn refuse_unfiltered(fields: &Map<String, Value>, more: &[&str]) -> Result<(), Fault> {
    if fields.is_empty() {
        return Err(Fault::misplaced(
            "Nothing is asked. This request has been blocked to avoid an unfiltered request: \
             {\"returnFormat\": \"json\"} asks for everything.",
        ));
    }
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    if let Some(name) = TARGETS.iter().find(|it| fields.get(**it).is_some_and(is_empty)) {
        return Err(Fault::misplaced(format!(
            "`{name}` is empty. This request has been blocked to avoid an unfiltered request."
        )));
    }
    let is_filter = |name: &str| FILTERS.contains(&name) || more.contains(&name);
    let filtered = fields.iter().any(|(name, it)| is_filter(name) && !is_empty(it));
    let unknown = fields.keys().find(|it| !is_filter(it) && !MANNERS.contains(&&***it));
    match unknown {
        Some(name) if !filtered => Err(Fault::misplaced(format!(
            "`{name}` is no filter. This request has been blocked to avoid an unfiltered request."
        ))),
        _ => Ok(()),
    }
}

pub(super) fn filter(fields: &Map<String, Value>, now: i64, organisation: &Organisation) -> Filter {
    let given = |name: &str| fields.get(name).filter(|it| !it.is_null());
    let terms = |name: &str| given(name).map(terms).unwrap_or_default();
    let mut it = Filter {
        values: terms("value"),
        kinds: terms("type"),
        categories: terms("category"),
        comments: terms("comment"),
        uuids: terms("uuid"),
        tags: terms("tags"),
        event_tags: terms("event_tags"),
        events: terms("eventid"),
        event_info: terms("eventinfo"),
        anywhere: given("searchall").and_then(text).filter(|it| !it.is_empty()),
        ..Filter::default()
    };
    let mut instants = |names: &[&str]| {
        let value = names.iter().find_map(|name| given(name))?;
        let range = range(value, now);
        it.nothing |= range.is_none(); // as MISP: what cannot be read finds nothing
        range
    };
    it.timestamp = instants(&["timestamp", "attribute_timestamp"]);
    it.event_timestamp = instants(&["event_timestamp"]);
    it.publish_timestamp = instants(&["publish_timestamp", "last"]);
    it.date = (given("from").or_else(|| given("date")).and_then(text), given("to").and_then(text));
    let instant = |name| given(name).and_then(text).and_then(|it| seen::parse(&it));
    it.first_seen_after = instant("first_seen");
    it.last_seen_after = instant("last_seen");
    it.threat_levels = given("threat_level_id").map(integers).unwrap_or_default();
    it.to_ids = given("to_ids").map(flags).unwrap_or_default();
    it.published = given("published").map(flags).unwrap_or_default();
    it.deleted = given("deleted").map(deleted).unwrap_or_default();
    if let Some(asked) = given("org").and_then(text) {
        let ours = [organisation.name.clone(), organisation.uuid.to_string(), "1".to_owned()];
        it.nothing |= !ours.contains(&asked);
    }
    it.order = given("order").and_then(Value::as_str).map(order).unwrap_or_default();
    it.page = page(fields);
    it
}

/// A page needs a limit; a number without one means nothing.
fn page(fields: &Map<String, Value>) -> Option<Page> {
    let limit = fields.get("limit").and_then(integer).filter(|it| *it > 0)?;
    let number = fields.get("page").and_then(integer).filter(|it| *it > 0).unwrap_or(1);
    Some(Page { limit, number })
}

/// Keeps the part of `found` that `page` names.
pub(super) fn cut(found: &mut Vec<i64>, page: Page) {
    let skipped = page.limit.saturating_mul(page.number - 1);
    let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(found.len());
    found.drain(..skipped);
    found.truncate(usize::try_from(page.limit).unwrap_or(usize::MAX));
}

fn order(text: &str) -> Order {
    let text = text.to_ascii_lowercase();
    match (text.contains("timestamp"), text.contains("desc")) {
        (false, false) => Order::Id,
        (false, true) => Order::IdDescending,
        (true, false) => Order::Timestamp,
        (true, true) => Order::TimestampDescending,
    }
}

/// A text, a list, or an object of lists.
fn terms(value: &Value) -> Terms {
    let mut terms = Terms::default();
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let into = match name.as_str() {
                    "AND" => &mut terms.all,
                    "NOT" => &mut terms.none,
                    _ => &mut terms.any,
                };
                into.extend(texts(value));
            }
        }
        other => {
            for text in texts(other) {
                match text.strip_prefix('!') {
                    Some(text) => terms.none.push(text.to_owned()),
                    None => terms.any.push(text),
                }
            }
        }
    }
    terms
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(list) => list.iter().filter_map(text).collect(),
        one => text(one).filter(|it| !it.is_empty()).into_iter().collect(),
    }
}

fn integers(value: &Value) -> Vec<i64> {
    match value {
        Value::Array(list) => list.iter().filter_map(integer).collect(),
        one => integer(one).into_iter().collect(),
    }
}

fn flags(value: &Value) -> Vec<bool> {
    match value {
        Value::Array(list) => {
            let mut flags: Vec<_> = list.iter().map(flag).collect();
            flags.sort_unstable();
            flags.dedup();
            flags
        }
        one => vec![flag(one)],
    }
}

fn deleted(value: &Value) -> Deleted {
    match value {
        Value::String(text) if text == "only" => Deleted::Only,
        value => match &*flags(value) {
            [false] => Deleted::No,
            [true] => Deleted::Only,
            _ => Deleted::Too,
        },
    }
}

/// An instant means since then; two of them mean between.
pub(super) fn range(value: &Value, now: i64) -> Option<Range> {
    match value {
        Value::Array(list) => match &**list {
            [first, last] => {
                let (first, last) = (instant(first, now)?, instant(last, now)?);
                Some((first.min(last), first.max(last)))
            }
            [first] => Some((instant(first, now)?, i64::MAX)),
            _ => None,
        },
        one => Some((instant(one, now)?, i64::MAX)),
    }
}

/// What an index of events asks for.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) filter: Filter,
    /// Only what another MISP needs to know what it lacks.
    pub(super) minimal: bool,
}

/// Reads the filters of `/events/index`: `eventinfo` is a part of the info there.
pub(super) fn of_index(request: &Request) -> Index {
    let mut fields = request.body.object();
    for (name, value) in &request.path.named {
        let name = name.strip_prefix("search").unwrap_or(name);
        fields.insert(name.to_owned(), path_value(value));
    }
    let given = |names: &[&str]| names.iter().find_map(|it| fields.get(*it));
    let part = given(&["eventinfo"]).and_then(text).filter(|it| !it.is_empty());
    let info = part.map(|it| format!("%{it}%")).into_iter().collect();
    let filter = Filter {
        event_info: Terms { any: info, ..Terms::default() },
        events: given(&["eventid", "uuid"]).map(terms).unwrap_or_default(),
        tags: given(&["tag", "tags"]).map(terms).unwrap_or_default(),
        published: given(&["published"]).map(flags).unwrap_or_default(),
        timestamp: given(&["timestamp"]).and_then(|it| range(it, request.now)),
        page: page(&fields),
        ..Filter::default()
    };
    Index { filter, minimal: given(&["minimal"]).is_some_and(flag) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_795_328_000;

    #[test]
    fn ranges() {
        assert_eq!(range(&json!(["1d", "1h"]), NOW), Some((NOW - 86_400, NOW - 3_600)));
        assert_eq!(range(&json!("1h"), NOW), Some((NOW - 3_600, i64::MAX)));
        assert_eq!(range(&json!(["soon", "1h"]), NOW), None);
    }

    #[test]
    fn terms_have_three_forms() {
        let want = |any: &[&str], all: &[&str], none: &[&str]| {
            let own = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
            Terms { any: own(any), all: own(all), none: own(none) }
        };
        assert_eq!(terms(&json!("a")), want(&["a"], &[], &[]));
        assert_eq!(terms(&json!(["a", "!b", 3])), want(&["a", "3"], &[], &["b"]));
        let object = json!({"AND": ["a", "b"], "NOT": "c", "OR": ["d"]});
        assert_eq!(terms(&object), want(&["d"], &["a", "b"], &["c"]));
        assert_eq!(terms(&json!("")), Terms::default());
    }

    #[test]
    fn a_slip_of_the_pen_is_refused() {
        let refused = |value: Value| {
            refuse_unfiltered(value.as_object().expect("a row"), &OBJECT_FILTERS).is_err()
        };
        assert!(refused(json!({})));
        assert!(refused(json!({"returnFormat": "json", "valeu": "192.0.2.1"})));
        assert!(refused(json!({"returnFormat": "json", "value": ""})));
        assert!(refused(json!({"eventid": [], "type": "ip-src"})));
        assert!(!refused(json!({"returnFormat": "json"}))); // everything, and meant so
        assert!(!refused(json!({"value": "192.0.2.1", "banana": 1})));
        assert!(!refused(json!({"returnFormat": "json", "withAttachments": 0})));
    }
}
