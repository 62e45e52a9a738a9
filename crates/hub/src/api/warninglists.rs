//! `/warninglists/…`: what is no indicator. The hub comes without lists: an administrator gives it
//! MISP's own, which are files of this very shape, or such of one's own networks.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::Api;
use crate::answer::{Answer, Errors, Fault};
use crate::keys::Role;
use crate::request::{Body, Request, flag, text};
use crate::store::warninglist::{self, Kind, Warning, Warninglist};

/// Values of one question.
const MAX_VALUES: usize = 10_000;

/// `/warninglists[/index][/value:…][/enabled:…]`
pub(super) fn index(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let fields = request.body.object();
    let said = |name: &str| {
        let named = request.path.named(name).map(Value::from);
        named.or_else(|| fields.get(name).cloned())
    };
    let part = said("value").and_then(|it| text(&it)).unwrap_or_default();
    let enabled = said("enabled").map(|it| flag(&it));
    let lists = api.store.read(|db| warninglist::list(db, &part, enabled))?;
    let lists: Vec<_> = lists
        .iter()
        .map(|it| {
            let mut shape = shape(it);
            shape["warninglist_entry_count"] = Value::from(it.n_entries.to_string());
            shape["valid_attributes"] = Value::from(&*it.matching);
            json!({ "Warninglist": shape })
        })
        .collect();
    Ok(Answer::json(&json!({ "Warninglists": lists })))
}

/// `GET /warninglists/view/{id}`
pub(super) fn view(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let id = request.path.arg(0).and_then(|it| it.parse().ok()).ok_or_else(missing)?;
    let (list, entries) = api.store.read(|db| -> Result<_, Fault> {
        let list = Warninglist::find(db, id)?.ok_or_else(missing)?;
        let entries = list.entries(db)?;
        Ok((list, entries))
    })?;
    let entry = |(number, value): &(i64, String)| {
        json!({"id": number.to_string(), "value": value, "warninglist_id": id.to_string(),
            "comment": null})
    };
    let mut shape = shape(&list);
    shape["WarninglistEntry"] = entries.iter().map(entry).collect();
    let types = list.matching.split(", ").filter(|it| !it.is_empty());
    shape["WarninglistType"] = types.map(|it| json!({ "type": it })).collect();
    Ok(Answer::json(&json!({ "Warninglist": shape })))
}

/// `POST /warninglists/checkValue`: a value, a list of them, or an object that has them.
pub(super) fn check(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let Body::Data(body) = &*request.body else {
        return Err(Fault::misplaced("Send a value, or a list of values, as JSON."));
    };
    let body = body.get("value").unwrap_or(body);
    let values: Vec<String> = match body {
        Value::Array(values) => values.iter().filter_map(text).take(MAX_VALUES).collect(),
        one => text(one).into_iter().collect(),
    };
    let hits = api.store.read(|db| {
        let mut hits = Map::new();
        for value in values {
            let warnings = warninglist::warnings(db, &value)?;
            if !warnings.is_empty() {
                hits.insert(value, warnings.iter().map(hit).collect());
            }
        }
        Ok::<_, Fault>(hits)
    })?;
    // PHP's empty array is a list.
    Ok(if hits.is_empty() { Answer::json(&json!([])) } else { Answer::json(&hits) })
}

fn hit(it: &Warning) -> Value {
    json!({"id": it.list.to_string(), "name": it.name, "matched": it.entry})
}

/// `POST /warninglists/toggleEnable`: lists by name, enabled or not as the request says.
pub(super) fn toggle(api: &Api, request: &Request) -> Result<Answer, Fault> {
    let fields = request.body.unwrapped("Warninglist");
    let names = match fields.get("name") {
        Some(Value::Array(names)) => names.iter().filter_map(text).collect(),
        Some(one) => text(one).into_iter().collect(),
        None => Vec::new(),
    };
    let enabled = fields.get("enabled").is_some_and(flag);
    may_manage(request)?;
    let n_lists = api.store.write(move |db| -> Result<usize, Fault> {
        names.iter().try_fold(0, |n, name| Ok(n + warninglist::enable(db, name, enabled)?))
    })?;
    let word = if enabled { "enabled" } else { "disabled" };
    Ok(match n_lists {
        0 => Answer::json(&json!({"saved": false, "errors": "Warninglist not found."})),
        n => Answer::json(&json!({"saved": true, "success": format!("{n} warninglist(s) {word}")})),
    })
}

/// `POST /warninglists/add`: a list with its entries, in MISP's form or as MISP's own lists are
/// written; in the place of one of the same name.
pub(super) fn add(api: &Api, request: &Request) -> Result<Answer, Fault> {
    may_manage(request)?;
    let fields = request.body.unwrapped("Warninglist");
    let (mut list, entries) = read(&fields).map_err(|errors| Fault::NotSaved {
        name: "Could not add Warninglist",
        url: "/warninglists/add".into(),
        errors: Value::Object(errors),
    })?;
    let list = api.store.write(move |db| {
        list.put(db, &entries)?;
        Ok::<_, Fault>(list)
    })?;
    Ok(Answer::json(&json!({ "Warninglist": shape(&list) })))
}

/// `POST /warninglists/delete/{id}`
pub(super) fn delete(api: &Api, request: &Request) -> Result<Answer, Fault> {
    may_manage(request)?;
    let id = request.path.arg(0).and_then(|it| it.parse().ok()).ok_or_else(missing)?;
    match api.store.write(move |db| warninglist::remove(db, id))? {
        true => Ok(Answer::done("Warninglist deleted.", &request.path.target, None)),
        false => Err(missing()),
    }
}

/// What a request says of a list, and its entries.
fn read(fields: &Map<String, Value>) -> Result<(Warninglist, Vec<String>), Errors> {
    let said = |name: &str| fields.get(name).and_then(text).unwrap_or_default();
    let mut errors = Errors::new();
    let (name, kind) = (said("name"), Kind::parse(&said("type")));
    if name.trim().is_empty() {
        errors.insert("name".to_owned(), json!(["A list needs a name."]));
    }
    if kind.is_none() {
        let text = "The hub compares lists of the types cidr, string and hostname.";
        errors.insert("type".to_owned(), json!([text]));
    }
    let given: Vec<String> = match (fields.get("entries"), fields.get("list")) {
        (Some(Value::String(lines)), _) => lines.lines().map(str::to_owned).collect(),
        (Some(Value::Array(all)), _) | (None, Some(Value::Array(all))) => {
            all.iter().filter_map(text).collect()
        }
        _ => Vec::new(),
    };
    // MISP lets a comment follow a `#`.
    let bare = given.iter().map(|it| it.split('#').next().unwrap_or_default().trim());
    let mut entries = Vec::with_capacity(given.len());
    for text in bare.filter(|it| !it.is_empty()) {
        match kind.and_then(|it| it.entry(text)) {
            Some(entry) => entries.push(entry),
            None if kind.is_some() => {
                let text = format!("`{text}` is no address and no network.");
                errors.insert("entries".to_owned(), json!([text]));
            }
            None => {}
        }
    }
    let (Some(kind), true) = (kind, errors.is_empty()) else { return Err(errors) };
    let matching = match fields.get("matching_attributes") {
        Some(Value::Array(types)) => types.iter().filter_map(text).collect::<Vec<_>>().join(", "),
        _ => said("matching_attributes"),
    };
    let category = match &*said("category") {
        "" => "false_positive".to_owned(),
        other => other.to_owned(),
    };
    let list = Warninglist {
        id: 0,
        name,
        kind,
        description: said("description"),
        version: said("version"),
        enabled: fields.get("enabled").is_none_or(flag),
        category,
        matching,
        n_entries: 0,
    };
    Ok((list, entries))
}

fn shape(it: &Warninglist) -> Value {
    json!({
        "id": it.id.to_string(),
        "name": it.name,
        "type": it.kind.name(),
        "description": it.description,
        "version": it.version,
        "enabled": it.enabled,
        "default": false,
        "category": it.category,
    })
}

fn may_manage(request: &Request) -> Result<(), Fault> {
    match request.holder.role {
        Role::Curator | Role::Administrator => Ok(()),
        Role::Reader | Role::Sensor => Err(Fault::no_right()),
    }
}

fn missing() -> Fault {
    Fault::refused(StatusCode::NOT_FOUND, "Invalid Warninglist.")
}
