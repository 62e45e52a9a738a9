//! Replays what was asked of a real MISP 2.5.1, and compares the answers.
//!
//! `tapes/*.json` hold requests and answers in the order in which they were recorded; later tapes
//! build on what earlier ones left. Ids and uuids that the hub chose differently are learned from
//! its answers and put into later requests. Where an answer differs on purpose it stands in
//! [`DIFFERENCES`] with its reason; a line there that no longer differs fails the test as well.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use hub::Settings;
use serde_json::{Map, Value};
use support::{Reply, Running};

/// Tapes that were recorded one after the other on one MISP.
const STORY: [&str; 14] = [
    "01_identity",
    "02_events",
    "03a_attributes_add_one",
    "03b_attributes_add_batch",
    "03c_attributes_add_followup",
    "04_sightings",
    "04b_sightings_restsearch_int_id",
    "05a_attributes_restsearch_formats_filters",
    "05b_attributes_restsearch_paging_headers",
    "06_edit_delete_tag",
    "08_objects",
    "10_errors",
    "11_pymisp",
    "14_small_checks",
];

/// Where the hub answers otherwise, and why: tape, numbers of the exchanges, reason.
const DIFFERENCES: &[(&str, &[u64], &str)] = &[
    ("01_identity", &[0, 1, 2], "there are no galaxies and no analyst data to have rights to"),
    ("02_events", &[40], "nobody is sent mail, so the answer speaks of publishing alone"),
    (
        "02_events",
        &[43],
        "every role that may write may publish: an unpublished event helps nobody",
    ),
    ("02_events", &[45], "405 with the reason instead of 500"),
    ("03a_attributes_add_one", &[38], "a tag given as a text is taken as its name; MISP: 500"),
    ("03a_attributes_add_one", &[40], "every role that may write may name a new tag"),
    ("03b_attributes_add_batch", &[3], "a list is answered with a list"),
    ("03b_attributes_add_batch", &[4], "the answer keeps the order of the request"),
    ("03b_attributes_add_batch", &[14], "403 with the reason instead of 500"),
    ("03c_attributes_add_followup", &[0, 4, 5, 7, 8, 15], "an upsert leaves what was not sent"),
    ("03c_attributes_add_followup", &[6], "a tag given as a text was attached"),
    ("03c_attributes_add_followup", &[17], "no correlation"),
    ("04_sightings", &[27], "the reason instead of 500"),
    ("04_sightings", &[29], "an empty value names nothing; MISP: a sighting of every attribute"),
    ("04_sightings", &[34], "a composite is found by the whole of it, too"),
    (
        "04_sightings",
        &[37, 38, 39, 44, 46, 47, 53, 54],
        "without the sightings of the empty value, and with those of the composite",
    ),
    ("04b_sightings_restsearch_int_id", &[0, 1, 3, 6, 8], "as above"),
    (
        "05a_attributes_restsearch_formats_filters",
        &[11, 12, 13, 14],
        "the head and the words of rules are our own, and rules are about addresses alone",
    ),
    ("05a_attributes_restsearch_formats_filters", &[20], "no exports of before restSearch"),
    ("05a_attributes_restsearch_formats_filters", &[21], "an unfiltered search by mistake"),
    ("05b_attributes_restsearch_paging_headers", &[10], "no more follows, and the count says so"),
    (
        "08_objects",
        &[4, 5, 7, 17, 18],
        "a part is meant for detection if its type is, as elsewhere",
    ),
    ("08_objects", &[9], "everything that is lacking is named"),
    ("08_objects", &[10, 13], "one shape for every refusal"),
    ("08_objects", &[11, 12], "of templates that the hub does not know the description must come"),
    ("08_objects", &[14, 16], "without those objects"),
    ("10_errors", &[3, 23, 24], "403 with the reason instead of 500"),
    ("10_errors", &[8], "events of tapes that are not replayed"),
    ("10_errors", &[9, 10], "described in our own words"),
    ("10_errors", &[11, 12], "PUT and PATCH are as good as POST; MISP: 500"),
    ("10_errors", &[13], "no XML"),
    ("10_errors", &[27], "every character is stored; MISP: 500"),
    ("10_errors", &[33], "there are no galaxies and no analyst data to have rights to"),
    ("10_errors", &[31], "no method but the request's own"),
    ("11_pymisp", &[0, 41, 47], "there are no galaxies and no analyst data to have rights to"),
    ("11_pymisp", &[3, 4, 30, 31], "no correlation"),
    ("11_pymisp", &[8, 12, 13, 19, 20], "a tag is attached once"),
    ("11_pymisp", &[10], "a list is answered with a list"),
    ("11_pymisp", &[22], "no decay score; what decays is decided by who blocks"),
    ("11_pymisp", &[23, 24, 25], "events of tapes that are not replayed"),
    ("11_pymisp", &[36, 38], "a hub comes without warninglists"),
    ("14_small_checks", &[0], "there are no galaxies and no analyst data to have rights to"),
    ("14_small_checks", &[6], "two attributes more: those of the 500s"),
    ("15_publish_state", &[26], "every user of the hub is of its own organisation"),
];

/// Fields whose value depends on who answers and when.
const VOLATILE: &[&str] = &[
    "uuid",
    "timestamp",
    "publish_timestamp",
    "sighting_timestamp",
    "date_sighting",
    "date",
    "colour",
    "email",
    "event_creator_email",
    "orgc_uuid",
    "event_uuid",
    "attribute_uuid",
];

#[derive(Default)]
struct Replay {
    /// What was recorded under (kind of id, id), and what the hub says instead.
    learned: HashMap<(String, String), String>,
    /// Seconds from the recording to now.
    later: i64,
    differing: BTreeMap<(String, u64), String>,
}

#[test]
fn the_story_is_answered_as_misp_did() {
    let mut replay = Replay::default();
    let data = tempfile::tempdir().unwrap();
    let hub = start(data.path());
    for tape in STORY {
        replay.play(&hub, tape);
    }
    for tape in ["04c_sightings_bulk_idempotent", "15_publish_state"] {
        let data = tempfile::tempdir().unwrap();
        replay.learned.clear();
        replay.play(&start(data.path()), tape);
    }
    let known: BTreeSet<(String, u64)> = DIFFERENCES
        .iter()
        .flat_map(|(tape, numbers, _)| numbers.iter().map(|n| ((*tape).to_owned(), *n)))
        .collect();
    let mut report = String::new();
    for ((tape, n), how) in &replay.differing {
        if !known.contains(&(tape.clone(), *n)) {
            writeln!(report, "{tape} [{n}] {how}").unwrap();
        }
    }
    for (tape, n) in &known {
        if !replay.differing.contains_key(&(tape.clone(), *n)) {
            writeln!(report, "{tape} [{n}] no longer differs").unwrap();
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// A hub of the organisation that the recorded MISP was of.
fn start(data: &Path) -> Running {
    Running::start_with(Settings { organisation: "ORGNAME".to_owned(), ..Settings::new(data) })
}

impl Replay {
    fn play(&mut self, hub: &Running, tape: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tapes");
        let text = std::fs::read_to_string(folder.join(format!("{tape}.json"))).unwrap();
        let exchanges: Vec<Value> = serde_json::from_str(&text).unwrap();
        for exchange in &exchanges {
            let reply = self.ask(hub, exchange);
            let mut differences = Vec::new();
            self.compare_head(exchange, &reply, &mut differences);
            if exchange.get("answer_cut").is_none() && exchange["method"] != "HEAD" {
                let want = exchange.get("answer").unwrap_or(&Value::Null);
                self.compare_body(exchange, want, &reply, &mut differences);
            }
            if !differences.is_empty() {
                let label = exchange["label"].as_str().unwrap();
                differences.truncate(4);
                let how = format!("{label}: {}", differences.join("; "));
                self.differing.insert((tape.to_owned(), exchange["n"].as_u64().unwrap()), how);
            }
        }
    }

    fn ask(&self, hub: &Running, exchange: &Value) -> Reply {
        let headers: Vec<(String, String)> = exchange["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), key_of(hub, value.as_str().unwrap())))
            .collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(a, b)| (&**a, &**b)).collect();
        let path = self.path(exchange["path"].as_str().unwrap());
        let body = match (exchange.get("bytes"), exchange.get("body")) {
            (Some(bytes), _) => unhex(bytes.as_str().unwrap()),
            (None, Some(Value::String(raw))) => raw.clone().into_bytes(),
            (None, Some(body)) => {
                let mut body = self.translated(body, "");
                for (name, fill) in
                    exchange.get("fill").and_then(Value::as_object).into_iter().flatten()
                {
                    let count = usize::try_from(fill[1].as_u64().unwrap()).unwrap();
                    body[name] = Value::from(fill[0].as_str().unwrap().repeat(count));
                }
                body.to_string().into_bytes()
            }
            (None, None) => Vec::new(),
        };
        hub.send(exchange["method"].as_str().unwrap(), &path, &headers, &body)
    }

    /// The path with the hub's own ids.
    fn path(&self, recorded: &str) -> String {
        let (path, query) = match recorded.split_once('?') {
            Some((path, query)) => (path, format!("?{query}")),
            None => (recorded, String::new()),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let named: Vec<&str> = parts.iter().copied().filter(|it| !it.is_empty()).collect();
        let call = (named.first().copied().unwrap_or(""), named.get(1).copied().unwrap_or(""));
        let kinds: [&str; 2] = match call {
            ("attributes", "add" | "deleteSelected") => ["event", ""],
            ("attributes", _) => ["attribute", "tag"],
            ("objects", "add") => ["event", ""],
            ("objects", _) => ["object", ""],
            ("sightings", "bulkSaveSightings" | "index") => ["event", ""],
            ("sightings", "delete") => ["sighting", ""],
            ("sightings", _) => ["attribute", ""],
            _ => ["event", "tag"],
        };
        let mut place = 0;
        let translated = parts.iter().map(|part| {
            let is_id = !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
            let uuid = part.len() == 36;
            if is_id && place < kinds.len() {
                place += 1;
                return self.id(kinds[place - 1], part);
            }
            match part.split_once(':') {
                Some(("eventid", id)) => format!("eventid:{}", self.id("event", id)),
                _ if uuid => self.id("uuid", part),
                _ => (*part).to_owned(),
            }
        });
        translated.collect::<Vec<_>>().join("/") + &query
    }

    fn id(&self, kind: &str, recorded: &str) -> String {
        let key = (kind.to_owned(), recorded.to_owned());
        self.learned.get(&key).cloned().unwrap_or_else(|| recorded.to_owned())
    }

    /// A request's body with the hub's own ids.
    fn translated(&self, value: &Value, name: &str) -> Value {
        let kind = match name {
            "eventid" | "event" | "event_id" => "event",
            "attribute" | "id" | "attribute_id" | "attribute_ids" => "attribute",
            _ => "uuid",
        };
        match value {
            Value::Array(list) => list.iter().map(|it| self.translated(it, name)).collect(),
            Value::Object(fields) => {
                let context = fields.get("context").and_then(Value::as_str);
                let translate = |(name, value): (&String, &Value)| {
                    let as_name = match (&**name, context) {
                        ("id", Some("event")) => "event",
                        (name, _) => name,
                    };
                    (name.clone(), self.translated(value, as_name))
                };
                Value::Object(fields.iter().map(translate).collect::<Map<_, _>>())
            }
            Value::String(text) if name == "attribute_ids" => {
                let ids = serde_json::from_str(text).unwrap();
                Value::from(self.translated(&ids, "attribute").to_string())
            }
            Value::String(text) if text.len() == 36 => Value::from(self.id("uuid", text)),
            Value::String(text) => Value::from(self.id(kind, text)),
            // A time of the recording's own day must be one of today's.
            Value::Number(number)
                if name == "timestamp" && number.as_i64() > Some(1_795_320_000) =>
            {
                Value::from(number.as_i64().unwrap() + self.later)
            }
            Value::Number(number) if kind != "uuid" => {
                let id = self.id(kind, &number.to_string());
                id.parse::<i64>().map_or_else(|_| value.clone(), Value::from)
            }
            other => other.clone(),
        }
    }

    fn compare_head(&self, exchange: &Value, reply: &Reply, differences: &mut Vec<String>) {
        let want = exchange["status"].as_u64().unwrap();
        if want != u64::from(reply.status) {
            differences.push(format!(
                "status {want}, here {}: {}",
                reply.status,
                cut(&reply.text())
            ));
        }
        for (name, want) in exchange["answer_headers"].as_object().unwrap() {
            let got = reply.header(name).unwrap_or("");
            let want = want.as_str().unwrap();
            let same = match &**name {
                // A place on this host, however it is written.
                "location" => stilled(want).ends_with(&stilled(got)) && !got.is_empty(),
                "content-disposition" => stilled(want) == stilled(got),
                // Without a body the type says nothing.
                "content-type" => want == got || exchange.get("answer").is_none(),
                _ => want == got,
            };
            if !same {
                differences.push(format!("{name} `{want}`, here `{got}`"));
            }
        }
    }

    fn compare_body(
        &mut self,
        exchange: &Value,
        want: &Value,
        reply: &Reply,
        differences: &mut Vec<String>,
    ) {
        match (want, serde_json::from_slice::<Value>(&reply.body)) {
            (Value::Null, _) if reply.body.is_empty() => {}
            (want @ (Value::Object(_) | Value::Array(_)), Ok(got)) => {
                let url = exchange["path"].as_str().unwrap();
                let of_event = url.starts_with("/events")
                    || url.contains("Selected")
                    || url.contains("objects/del");
                let context = if of_event { "Event" } else { "" };
                self.compare(want, &got, context, "", "", differences);
            }
            (Value::Number(want), _) if want.to_string() == reply.text() => {}
            (Value::String(want), _) => {
                let got = reply.text();
                if stilled(want) != stilled(&got) {
                    differences.push(format!("`{}`, here `{}`", cut(want), cut(&got)));
                }
            }
            (want, _) => {
                differences.push(format!(
                    "{}, here {}",
                    cut(&want.to_string()),
                    cut(&reply.text())
                ));
            }
        }
    }

    /// `parent` is the object's name, `name` the value's own, `place` the way to it.
    fn compare(
        &mut self,
        want: &Value,
        got: &Value,
        parent: &str,
        name: &str,
        place: &str,
        differences: &mut Vec<String>,
    ) {
        match (want, got) {
            (Value::Object(want), Value::Object(got)) => {
                for (key, want) in want {
                    let place = format!("{place}.{key}");
                    match got.get(key) {
                        Some(got) => {
                            let parent = if name.is_empty() { parent } else { name };
                            self.compare(want, got, parent, key, &place, differences);
                        }
                        None => differences.push(format!("{place} is missing")),
                    }
                }
                for key in got.keys().filter(|it| !want.contains_key(*it)) {
                    differences.push(format!("{place}.{key} is more"));
                }
            }
            (Value::Array(want), Value::Array(got)) => {
                if want.len() != got.len() {
                    let (want, got) = (want.len(), got.len());
                    differences.push(format!("{place} has {want}, here {got}"));
                }
                for (want, got) in want.iter().zip(got) {
                    self.compare(want, got, parent, name, place, differences);
                }
            }
            (Value::String(want), Value::String(got)) => {
                if !self.same(want, got, parent, name) {
                    differences.push(format!("{place} `{}`, here `{}`", cut(want), cut(got)));
                }
            }
            (want, got) if want == got => {}
            // What a user has set, or not.
            (Value::Null | Value::String(_), Value::Null | Value::String(_))
                if is_person(parent) => {}
            (Value::Bool(_), Value::Bool(_)) if is_person(parent) => {}
            (want, got) => differences.push(format!(
                "{place} {}, here {}",
                cut(&want.to_string()),
                cut(&got.to_string())
            )),
        }
    }

    fn same(&mut self, want: &str, got: &str, parent: &str, name: &str) -> bool {
        let id_of = match (name, parent) {
            ("id", "Event") | ("event_id", _) => "event",
            ("id", "Attribute") | ("attribute_id", _) => "attribute",
            ("id", "Object") | ("object_id", _) => "object",
            ("id", "Sighting") => "sighting",
            ("id", "Tag") | ("tag_id", _) => "tag",
            ("id", "AttributeTag" | "EventTag") => return both_ids(want, got),
            ("uuid" | "event_uuid" | "attribute_uuid", _) => "uuid",
            _ => "",
        };
        if !id_of.is_empty() {
            let key = (id_of.to_owned(), want.to_owned());
            let learned = self.learned.entry(key).or_insert_with(|| got.to_owned());
            return *learned == got;
        }
        if name == "timestamp"
            && let (Ok(want), Ok(got)) = (want.parse::<i64>(), got.parse::<i64>())
        {
            self.later = got - want;
            return true;
        }
        if want == got || stilled(want) == stilled(got) {
            return true;
        }
        VOLATILE.contains(&name) || is_person(parent)
    }
}

fn is_person(parent: &str) -> bool {
    matches!(parent, "Org" | "Orgc" | "Organisation" | "User" | "Role")
}

fn both_ids(want: &str, got: &str) -> bool {
    want.parse::<u64>().is_ok() && got.parse::<u64>().is_ok()
}

/// A text without what changes from run to run: numbers of ten and more digits, uuids, and ids in
/// messages such as `Event(36)` or paths such as `/events/publish/36`.
fn stilled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    let flush = |word: &mut String, out: &mut String| {
        let digits = word.bytes().all(|it| it.is_ascii_digit());
        let uuid = word.len() == 36 && word.bytes().filter(|it| *it == b'-').count() == 4;
        let after = out.chars().last();
        let is_id = digits && (matches!(after, Some('(' | '/')) || out.ends_with("event."));
        let day = word.len() == 10 && word.split('-').map(str::len).eq([4, 2, 2]);
        match (uuid, is_id || (digits && word.len() >= 10) || day) {
            (true, _) => out.push('U'),
            (_, true) => out.push('#'),
            _ => out.push_str(word),
        }
        word.clear();
    };
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() || letter == '-' {
            word.push(letter);
        } else {
            flush(&mut word, &mut out);
            out.push(letter);
        }
    }
    flush(&mut word, &mut out);
    // The number of an event in a line of CSV.
    let lines = out.lines().map(|line| match line.strip_prefix("\"U\",") {
        Some(rest) => rest.trim_start_matches(|it: char| it.is_ascii_digit()).to_owned(),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn key_of(hub: &Running, recorded: &str) -> String {
    recorded
        .replace("<admin key>", &hub.admin)
        .replace("<user key>", &hub.curator)
        .replace("<publisher key>", &hub.curator)
        .replace("<readonly key>", &hub.reader)
        .replace("<roadmin key>", &hub.reader)
        .replace("<bad key>", &"x".repeat(40))
}

fn unhex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(90).collect()
}
