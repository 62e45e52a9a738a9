//! A stand-in for MISP, shaped by what a real MISP 2.5.1 answered: statuses, texts, and the shapes
//! of a batch's answer. It counts what it is asked and can be made to fail.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

pub(crate) const KEY: &str = "stand-in-key-0123456789abcdefghijklmnopq";

/// What goes wrong with the next calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Trouble {
    /// 500, and nothing is done.
    Broken,
    /// 429 with a wait of one second.
    RateLimited,
    /// The work is done and the answer is lost.
    AnswerLost,
    /// The work is done and half the answer arrives.
    HalfAnswer,
    /// A proxy's page in its place.
    Proxy,
    /// 403, as with a wrong key.
    Denied,
    /// The login page, as in maintenance.
    Maintenance,
    /// The connection is closed without an answer and without work.
    Closed,
    /// No answer, and no end of the connection.
    Hangs,
}

const TROUBLES: [Trouble; 9] = [
    Trouble::AnswerLost,
    Trouble::HalfAnswer,
    Trouble::Broken,
    Trouble::RateLimited,
    Trouble::Proxy,
    Trouble::Denied,
    Trouble::Maintenance,
    Trouble::Closed,
    Trouble::Hangs,
];

/// Numbers by chance that are the same in each run.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32 % end
    }

    /// One call in four goes wrong. A lost answer to an add is the hardest of all: what was asked
    /// for is done, and nobody knows.
    fn trouble(&mut self, path: &str) -> Option<Trouble> {
        match self.below(4) {
            0 if is_add(path) => {
                Some([Trouble::AnswerLost, Trouble::HalfAnswer][self.below(2) as usize])
            }
            0 => Some(TROUBLES[self.below(9) as usize]),
            _ => None,
        }
    }
}

fn is_add(path: &str) -> bool {
    path.starts_with("/attributes/add/")
}

#[derive(Clone, Debug)]
pub(crate) struct Attribute {
    pub(crate) uuid: String,
    pub(crate) value: String,
    pub(crate) kind: String,
    pub(crate) comment: String,
    pub(crate) first_seen: Value,
    pub(crate) last_seen: Value,
    pub(crate) tags: Vec<String>,
    pub(crate) to_ids: bool,
    /// Of the object that it is a part of.
    pub(crate) object: Option<Value>,
    pub(crate) is_deleted: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) uuid: String,
    pub(crate) info: String,
    pub(crate) body: Value,
    pub(crate) published: bool,
    pub(crate) n_published: usize,
    pub(crate) attributes: Vec<Attribute>,
    /// Where each value is among them.
    places: HashMap<String, usize>,
}

impl Event {
    fn live(&self, value: &str) -> Option<&Attribute> {
        let place = self.places.get(value)?;
        Some(&self.attributes[*place]).filter(|it| !it.is_deleted)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) uuid: String,
    pub(crate) attribute_uuid: String,
    pub(crate) source: String,
    pub(crate) time: String,
    pub(crate) kind: String,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) events: Vec<Event>,
    pub(crate) sightings: Vec<Sighting>,
    sighting_uuids: HashSet<String>,
    attribute_uuids: HashSet<String>,
    pub(crate) blocked: HashSet<String>,
    pub(crate) tags: Vec<String>,
    /// Name and entries of each, all of the kind `cidr`.
    pub(crate) warninglists: Vec<(&'static str, Vec<&'static str>)>,
    pub(crate) key: String,
    /// Rights that the key has not: `sightings`, `publish`, `tags`, `edit`, `bulk` (the call does
    /// not exist).
    pub(crate) lacks: HashSet<&'static str>,
    /// What the next calls come to, before anything else.
    pub(crate) troubles: Vec<Trouble>,
    /// What the next objects/add come to.
    pub(crate) object_troubles: Vec<Trouble>,
    /// What the calls after those come to.
    pub(crate) chance: Option<Chance>,
    /// How often it was called, whatever it came to.
    pub(crate) n_asked: usize,
    /// Bodies that hold this are answered 500.
    pub(crate) poison: Option<String>,
    /// More attributes in one call are answered 413.
    pub(crate) max_batch: Option<usize>,
    /// Answers that were lost though attributes had been added.
    pub(crate) n_lost: usize,
    /// How often each call was made.
    pub(crate) calls: BTreeMap<String, usize>,
    /// What was posted where, of all calls that change anything.
    pub(crate) posted: Vec<(String, String)>,
}

pub(crate) struct StandIn {
    pub(crate) addr: SocketAddr,
    state: Arc<Mutex<State>>,
    stopping: Arc<AtomicBool>,
}

impl StandIn {
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), Arc::default())
    }

    /// The same server again, at the same address, with all that it held.
    pub(crate) fn restart(self) -> Self {
        let (addr, state) = (self.addr, Arc::clone(&self.state));
        drop(self);
        Self::start_at(addr, state)
    }

    /// Where a server could be that is not there yet, and what it will hold.
    pub(crate) fn start_later() -> (SocketAddr, impl FnOnce() -> Self) {
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        (addr, move || Self::start_at(addr, Arc::default()))
    }

    fn start_at(addr: SocketAddr, state: Arc<Mutex<State>>) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        state.lock().unwrap().key = KEY.into();
        let stopping = Arc::new(AtomicBool::new(false));
        let (theirs, stop) = (Arc::clone(&state), Arc::clone(&stopping));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (state, stop) = (Arc::clone(&theirs), Arc::clone(&stop));
                if let Ok(stream) = stream {
                    thread::spawn(move || serve(&stream, &state, &stop));
                }
            }
        });
        Self { addr, state, stopping }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Adds an event, as an analyst would, and tells its id.
    pub(crate) fn add_event(&self, published: bool) -> String {
        let mut state = self.state();
        let id = state.events.len() as u64 + 1;
        let uuid = format!("46114ea8-3024-4254-af53-{id:012}");
        state.events.push(Event { id, uuid, published, ..Event::default() });
        id.to_string()
    }

    /// Every value that is live, in all events, sorted.
    pub(crate) fn values(&self) -> Vec<String> {
        let state = self.state();
        let live = state.events.iter().flat_map(|event| &event.attributes);
        let mut values: Vec<_> =
            live.filter(|it| !it.is_deleted).map(|it| it.value.clone()).collect();
        values.sort();
        values
    }

    pub(crate) fn n_sightings(&self) -> usize {
        self.state().sightings.len()
    }

    pub(crate) fn n_calls(&self, call: &str) -> usize {
        self.state().calls.get(call).copied().unwrap_or(0)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the listener, which closes with its thread; the address is free then.
        drop(TcpStream::connect(self.addr));
        while TcpStream::connect_timeout(&self.addr, Duration::from_millis(100)).is_ok() {
            thread::yield_now();
        }
    }
}

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn read_request(from: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if from.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body })
}

fn serve(stream: &TcpStream, state: &Mutex<State>, stopping: &AtomicBool) {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut from = BufReader::new(stream);
    while let Some(request) = read_request(&mut from) {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let trouble = {
            let mut state = state.lock().unwrap();
            state.n_asked += 1;
            let is_object = request.path.starts_with("/objects/add/");
            match state.troubles.is_empty() {
                false => Some(state.troubles.remove(0)),
                true if is_object && !state.object_troubles.is_empty() => {
                    Some(state.object_troubles.remove(0))
                }
                // The hardest of all happens in every run, whatever chance says.
                true if state.chance.is_some() && state.n_lost == 0 && is_add(&request.path) => {
                    Some(Trouble::AnswerLost)
                }
                true => state.chance.as_mut().and_then(|it| it.trouble(&request.path)),
            }
        };
        let mut to = stream;
        let say = |mut to: &TcpStream, status: u16, kind: &str, extra: &str, body: &str| {
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{extra}Content-Length: {}\r\n\r\n",
                body.len()
            );
            to.write_all(head.as_bytes()).and_then(|()| to.write_all(body.as_bytes())).is_ok()
        };
        let json_kind = "application/json; charset=UTF-8";
        let fault = |text: &str| json!({"name": text, "message": text, "url": request.path});
        let kept = match trouble {
            Some(Trouble::Broken) => {
                let body = fault("An Internal Error Has Occurred.").to_string();
                say(to, 500, json_kind, "", &body)
            }
            Some(Trouble::RateLimited) => {
                let body = fault("Rate limit exceeded.").to_string();
                say(to, 429, json_kind, "X-Rate-Limit-Reset: 1\r\n", &body)
            }
            Some(Trouble::Proxy) => say(to, 200, "text/html", "", "<html>log in</html>"),
            Some(Trouble::Denied) => {
                say(to, 403, json_kind, "", &denied(&request.path).to_string())
            }
            Some(Trouble::Maintenance) => {
                say(to, 302, "text/html", "Location: /users/login\r\n", "")
            }
            Some(Trouble::Closed) => false,
            Some(Trouble::Hangs) => {
                // Until the client has lost patience and closes.
                let mut byte = [0];
                let _ = from.read(&mut byte);
                false
            }
            Some(Trouble::AnswerLost) => {
                let mut state = state.lock().unwrap();
                let (status, _) = answer(&mut state, &request);
                state.n_lost += usize::from(is_add(&request.path) && status == 200);
                false
            }
            Some(Trouble::HalfAnswer) => {
                let (status, body) = {
                    let mut state = state.lock().unwrap();
                    let (status, body) = answer(&mut state, &request);
                    state.n_lost += usize::from(is_add(&request.path) && status == 200);
                    (status, body)
                };
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: {json_kind}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let _ = to.write_all(head.as_bytes());
                let _ = to.write_all(&body.as_bytes()[..body.len() / 2]);
                false
            }
            None => {
                let (status, body) = answer(&mut state.lock().unwrap(), &request);
                say(to, status, json_kind, "", &body.to_string())
            }
        };
        if !kept {
            return;
        }
    }
}

fn denied(path: &str) -> Value {
    let text = "Authentication failed. Please make sure you pass the API key of an API enabled \
                user along in the Authorization header.";
    json!({"name": text, "message": text, "url": path})
}

fn answer(state: &mut State, request: &Request) -> (u16, Value) {
    let header = |name: &str| request.headers.get(name).map(String::as_str).unwrap_or_default();
    let mut words = request.path.trim_matches('/').split('/');
    let call = format!("{}/{}", words.next().unwrap_or(""), words.next().unwrap_or(""));
    let argument = words.next().unwrap_or("").to_owned();
    *state.calls.entry(call.clone()).or_default() += 1;
    let fault = |status: u16, text: &str| {
        (status, json!({"name": text, "message": text, "url": request.path}))
    };
    assert_eq!(header("accept"), "application/json", "else MISP answers a redirect");
    if header("authorization") != state.key {
        return (403, denied(&request.path));
    }
    let body: Value = match request.method.as_str() {
        "GET" => Value::Null,
        _ => {
            assert_eq!(header("content-type"), "application/json", "else MISP ignores the body");
            serde_json::from_slice(&request.body).unwrap()
        }
    };
    let is_reading = call.ends_with("restSearch") || call.ends_with("index");
    if request.method == "POST" && !is_reading {
        let body = String::from_utf8(request.body.clone()).unwrap();
        state.posted.push((request.path.clone(), body));
    }
    let no_right = "You do not have permission to use this functionality.";
    if state.poison.as_ref().is_some_and(|it| body.to_string().contains(it.as_str())) {
        return fault(500, "An Internal Error Has Occurred.");
    }
    match call.as_str() {
        "servers/getVersion" => (200, json!({"version": "2.5.1", "perm_sighting": true})),
        "events/add" => add_event(state, &body),
        "events/restSearch" => {
            let asked = body.get("eventid").or_else(|| body.get("uuid")).and_then(Value::as_str);
            let found = event_mut(state, asked.unwrap()).map(|event| shown(event));
            let response: Vec<_> = found.into_iter().map(|it| json!({"Event": it})).collect();
            (200, json!({"response": response}))
        }
        "events/publish" if state.lacks.contains("publish") => fault(403, no_right),
        "events/publish" => match event_mut(state, &argument) {
            None => fault(404, "Invalid event"),
            Some(event) => {
                event.published = true;
                event.n_published += 1;
                let text = "Event published without alerts";
                (200, json!({"saved": true, "success": true, "name": text, "message": text}))
            }
        },
        "attributes/add" => add_attributes(state, &argument, &body),
        "attributes/restSearch" => {
            let wanted: Vec<&str> =
                body["value"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let event = event_mut(state, body["eventid"].as_str().unwrap());
            let found: Vec<Value> = event
                .into_iter()
                .flat_map(|event| wanted.iter().filter_map(|value| event.live(value)))
                .map(attribute_shown)
                .collect();
            (200, json!({"response": {"Attribute": found}}))
        }
        "sightings/bulkSaveSightings" if state.lacks.contains("bulk") => fault(404, "Not Found"),
        "sightings/bulkSaveSightings" if state.lacks.contains("sightings") => fault(403, no_right),
        "sightings/bulkSaveSightings" => {
            if event_mut(state, &argument).is_none() {
                return fault(405, "Event not found or not accessible by this user.");
            }
            let mut n_added = 0;
            for sighting in body.as_array().unwrap() {
                let text = |name: &str| sighting[name].as_str().unwrap().to_owned();
                assert!(text("source").len() <= 255);
                let has_attribute = state.attribute_uuids.contains(&text("attribute_uuid"));
                if has_attribute && state.sighting_uuids.insert(text("uuid")) {
                    n_added += 1;
                    state.sightings.push(Sighting {
                        uuid: text("uuid"),
                        attribute_uuid: text("attribute_uuid"),
                        source: text("source"),
                        time: text("date_sighting"),
                        kind: text("type"),
                    });
                }
            }
            match n_added {
                0 => (200, json!({"saved": false, "success": "No sightings added."})),
                n => (200, json!({"saved": true, "success": format!("{n} sightings added.")})),
            }
        }
        "sightings/add" => {
            let values: Vec<&str> =
                body["values"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert!(values.len() <= 50 && values.iter().all(|value| !value.is_empty()));
            let mut n_added = 0;
            for attribute in state.events.iter().flat_map(|event| &event.attributes) {
                if !attribute.is_deleted && values.contains(&attribute.value.as_str()) {
                    n_added += 1;
                    state.sightings.push(Sighting {
                        uuid: format!("by-value-{}", state.sightings.len()),
                        attribute_uuid: attribute.uuid.clone(),
                        source: String::new(),
                        time: String::new(),
                        kind: body["type"].as_str().unwrap().to_owned(),
                    });
                }
            }
            let none = "Could not add the Sighting. Reason: No valid attributes found that match \
                        the criteria.";
            match n_added {
                0 => (200, json!({ "message": none })),
                _ => (200, json!({"Sighting": {"id": "1"}})),
            }
        }
        "attributes/edit" if state.lacks.contains("edit") => fault(403, no_right),
        "attributes/edit" => edit_attribute(state, &argument, &body),
        "objects/add" => add_object(state, &argument, &body["Object"]),
        "tags/index" => {
            let tags: Vec<_> = state.tags.iter().map(|name| json!({"name": name})).collect();
            (200, json!({"Tag": tags}))
        }
        "tags/add" if state.lacks.contains("tags") => fault(403, no_right),
        "tags/add" => {
            let name = body["name"].as_str().unwrap().to_owned();
            state.tags.push(name.clone());
            (200, json!({"Tag": {"id": "7", "name": name}}))
        }
        "warninglists/index" => {
            let list = |(id, (name, _)): (usize, &(&str, _))| {
                json!({"Warninglist": {"id": id.to_string(), "name": name, "type": "cidr",
                       "version": "3"}})
            };
            let lists: Vec<_> = state.warninglists.iter().enumerate().map(list).collect();
            (200, json!({"Warninglists": lists}))
        }
        "warninglists/view" => {
            let (name, entries) = &state.warninglists[argument.parse::<usize>().unwrap()];
            let entries: Vec<_> = entries.iter().map(|it| json!({"value": it})).collect();
            (
                200,
                json!({"Warninglist": {"id": argument, "name": name, "type": "cidr",
                         "version": "3", "WarninglistEntry": entries}}),
            )
        }
        other => panic!("the stand-in knows no `{other}`"),
    }
}

fn add_event(state: &mut State, body: &Value) -> (u16, Value) {
    let wanted = &body["Event"];
    let uuid = wanted["uuid"].as_str().unwrap().to_owned();
    let fault = |status: u16, text: &str| {
        (status, json!({"name": text, "message": text, "url": "/events/add"}))
    };
    if state.blocked.contains(&uuid) {
        return fault(403, "Event blocked by event blocklist.");
    }
    if event_mut(state, &uuid).is_some() {
        let text = "Event already exists, if you would like to edit it, use the url in the \
                    location header.";
        return fault(404, text);
    }
    let id = state.events.len() as u64 + 1;
    let info = wanted["info"].as_str().unwrap().to_owned();
    let event = Event { id, uuid, info, body: wanted.clone(), ..Event::default() };
    let shown = shown(&event);
    state.events.push(event);
    (200, json!({"Event": shown}))
}

fn add_attributes(state: &mut State, event: &str, body: &Value) -> (u16, Value) {
    let items = body.as_array().unwrap().clone();
    if state.max_batch.is_some_and(|max| items.len() > max) {
        return (413, Value::Null);
    }
    let mut taken = std::mem::take(&mut state.attribute_uuids);
    let answer = add_to(event_mut(state, event), &items, &mut taken);
    state.attribute_uuids = taken;
    answer
}

fn add_to(event: Option<&mut Event>, items: &[Value], taken: &mut HashSet<String>) -> (u16, Value) {
    let Some(event) = event else {
        return (404, json!({"name": "Invalid event", "message": "Invalid event", "url": "/"}));
    };
    let (mut saved, mut errors) = (Vec::new(), serde_json::Map::new());
    for (index, item) in items.iter().enumerate() {
        let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        let mut fields = serde_json::Map::new();
        if event.live(&text("value")).is_some() {
            let text = "A similar attribute already exists for this event.";
            fields.insert("value".into(), json!([text]));
        }
        if text("value").starts_with("999.") {
            fields.insert("value".into(), json!(["IP address has an invalid format."]));
        }
        if taken.contains(&text("uuid")) {
            fields.insert("uuid".into(), json!(["The UUID provided is not unique"]));
        }
        if !fields.is_empty() {
            errors.insert(format!("attribute_{index}"), Value::Object(fields));
            continue;
        }
        let tags = item["Tag"].as_array().into_iter().flatten();
        let attribute = Attribute {
            uuid: text("uuid"),
            value: text("value"),
            kind: text("type"),
            comment: text("comment"),
            first_seen: item["first_seen"].clone(),
            last_seen: item["last_seen"].clone(),
            tags: tags.map(|tag| tag["name"].as_str().unwrap().to_owned()).collect(),
            to_ids: item["to_ids"].as_bool().unwrap(),
            object: None,
            is_deleted: false,
        };
        saved.push(attribute_shown(&attribute));
        taken.insert(attribute.uuid.clone());
        event.places.insert(attribute.value.clone(), event.attributes.len());
        event.attributes.push(attribute);
        event.published = false;
    }
    let errors = match (items.len(), errors.values().next().cloned()) {
        (1, Some(only)) => only,
        _ => Value::Object(errors),
    };
    match saved.len() {
        0 => {
            let text = "Could not add Attribute";
            (403, json!({"saved": false, "name": text, "message": text, "errors": errors}))
        }
        n => {
            // Exactly one saved: an object, not a list.
            let shown = if n == 1 { saved.remove(0) } else { Value::Array(saved) };
            let mut body = json!({"Attribute": shown});
            if errors.as_object().is_some_and(|it| !it.is_empty()) {
                body["errors"] = errors;
            }
            (200, body)
        }
    }
}

fn edit_attribute(state: &mut State, uuid: &str, change: &Value) -> (u16, Value) {
    for event in &mut state.events {
        let found = event.attributes.iter_mut().find(|it| it.uuid == uuid && !it.is_deleted);
        let Some(attribute) = found else { continue };
        if let Some(to_ids) = change["to_ids"].as_bool() {
            attribute.to_ids = to_ids;
        }
        if !change["last_seen"].is_null() {
            attribute.last_seen = change["last_seen"].clone();
        }
        event.published = false;
        return (200, json!({"Attribute": attribute_shown(attribute)}));
    }
    let text = "Invalid attribute";
    (404, json!({"name": text, "message": text, "url": "/attributes/edit"}))
}

/// MISP looks for no duplicates among the parts of objects.
fn add_object(state: &mut State, event: &str, object: &Value) -> (u16, Value) {
    let parts = object["Attribute"].as_array().unwrap();
    for required in ["banned-ip", "attack-type", "processing-timestamp"] {
        assert!(parts.iter().any(|part| part["object_relation"] == required), "{object}");
    }
    let address = parts.iter().find(|part| part["object_relation"] == "banned-ip").unwrap();
    let Some(event) = event_mut(state, event) else {
        return (404, json!({"name": "Invalid event", "message": "Invalid event", "url": "/"}));
    };
    let text = |name: &str| address[name].as_str().unwrap_or_default().to_owned();
    let attribute = Attribute {
        uuid: text("uuid"),
        value: text("value"),
        kind: text("type"),
        comment: object["comment"].as_str().unwrap().to_owned(),
        first_seen: address["first_seen"].clone(),
        last_seen: address["last_seen"].clone(),
        tags: Vec::new(),
        to_ids: address["to_ids"].as_bool().unwrap(),
        object: Some(object.clone()),
        is_deleted: false,
    };
    event.places.insert(attribute.value.clone(), event.attributes.len());
    event.published = false;
    let uuid = attribute.uuid.clone();
    event.attributes.push(attribute);
    state.attribute_uuids.insert(uuid);
    (200, json!({"Object": {"id": "1"}}))
}

fn event_mut<'a>(state: &'a mut State, name: &str) -> Option<&'a mut Event> {
    state.events.iter_mut().find(|it| it.id.to_string() == name || it.uuid == name)
}

fn shown(event: &Event) -> Value {
    let n_live = event.attributes.iter().filter(|it| !it.is_deleted).count();
    json!({
        "id": event.id.to_string(), "uuid": event.uuid, "info": event.info,
        "published": event.published, "attribute_count": n_live.to_string(),
        "publish_timestamp": "0", "timestamp": "1795328314",
    })
}

fn attribute_shown(attribute: &Attribute) -> Value {
    json!({
        "id": "1", "event_id": "1", "type": attribute.kind, "value": attribute.value,
        "uuid": attribute.uuid, "comment": attribute.comment,
        "first_seen": attribute.first_seen, "last_seen": attribute.last_seen,
        "to_ids": attribute.to_ids, "object_relation": null, "deleted": attribute.is_deleted,
    })
}
