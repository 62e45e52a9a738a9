//! A request as MISP reads it: `/controller/action/argument/name:value`, and a body.

use std::sync::Arc;

use axum::http::{HeaderMap, Method, header};
use serde_json::{Map, Value};

use crate::keys::KeyRecord;

/// Parts of a path that are looked at; no call has more.
const MAX_SEGMENTS: usize = 32;

/// A request whose key is known. A clone shares the body.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: Path,
    pub(crate) body: Arc<Body>,
    /// Whose key it carries.
    pub(crate) holder: KeyRecord,
    /// When it came, in epoch seconds.
    pub(crate) now: i64,
}

/// The path, taken apart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Path {
    /// Path and query as they came, for errors.
    pub(crate) target: String,
    pub(crate) controller: String,
    pub(crate) action: String,
    pub(crate) args: Vec<String>,
    /// What the path says as `name:value`.
    pub(crate) named: Vec<(String, String)>,
    /// Whether it ended in `.json`, which says what `Accept` should.
    pub(crate) json_suffix: bool,
}

impl Path {
    /// Takes `target` apart: empty parts are left out, `.json` at the end is a wish for JSON, and
    /// `/events/7` is short for `/events/view/7`.
    pub(crate) fn parse(target: &str) -> Self {
        let path = target.split('?').next().unwrap_or_default();
        let (path, json_suffix) = match path.strip_suffix(".json") {
            Some(path) => (path, true),
            None => (path, false),
        };
        let mut it = Self { target: target.to_owned(), json_suffix, ..Self::default() };
        let segments = path.split('/').filter(|it| !it.is_empty()).take(MAX_SEGMENTS);
        for (place, segment) in segments.map(decoded).enumerate() {
            match (place, segment.split_once(':')) {
                (0, _) => it.controller = segment,
                (_, Some((name, value))) => it.named.push((name.to_owned(), value.to_owned())),
                (1, None) if is_id(&segment) => {
                    it.action = "view".to_owned();
                    it.args.push(segment);
                }
                (1, None) => it.action = segment,
                _ => it.args.push(segment),
            }
        }
        if it.action.is_empty() {
            it.action = "index".to_owned();
        }
        it
    }

    /// What the path says under `name`.
    pub(crate) fn named(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(it, _)| it == name).map(|(_, value)| &**value)
    }

    /// What the query says under `name`.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        form(query.as_bytes()).get(name).and_then(text)
    }

    /// The argument at `place`.
    pub(crate) fn arg(&self, place: usize) -> Option<&str> {
        self.args.get(place).map(|it| &**it)
    }
}

fn is_id(segment: &str) -> bool {
    let digits = segment.bytes().all(|it| it.is_ascii_digit());
    digits || uuid::Uuid::try_parse(segment).is_ok()
}

/// Undoes percent-encoding; what is not UTF-8 afterwards is replaced.
fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |it: u8| char::from(it).to_digit(16);
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(u8::try_from(high * 16 + low).expect("two digits are one byte"));
                    after
                }
                _ => {
                    bytes.push(first);
                    rest.get(1..).unwrap_or_default()
                }
            },
            _ => {
                bytes.push(first);
                after
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the body is worth, by what its type says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    /// No bytes.
    Absent,
    /// JSON, or a form's fields as one flat object.
    Data(Value),
    /// Declared as JSON, and is not.
    Malformed,
    /// Not declared as anything that is read.
    Unread,
}

impl Body {
    /// Reads `bytes` as `headers` declare them.
    pub(crate) fn read(headers: &HeaderMap, bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Absent;
        }
        let kind = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/json" => serde_json::from_slice(bytes).map_or(Self::Malformed, Self::Data),
            "application/x-www-form-urlencoded" => Self::Data(Value::Object(form(bytes))),
            _ => Self::Unread,
        }
    }

    /// The body as an object; everything else is an empty one.
    pub(crate) fn object(&self) -> Map<String, Value> {
        match self {
            Self::Data(Value::Object(fields)) => fields.clone(),
            _ => Map::new(),
        }
    }

    /// The object, without the envelope `{"name": {…}}` that MISP accepts and leaves away.
    pub(crate) fn unwrapped(&self, name: &str) -> Map<String, Value> {
        let mut fields = self.object();
        match fields.remove(name) {
            Some(Value::Object(inner)) => inner,
            Some(other) => {
                fields.insert(name.to_owned(), other);
                fields
            }
            None => fields,
        }
    }
}

fn form(bytes: &[u8]) -> Map<String, Value> {
    let text = String::from_utf8_lossy(bytes);
    let pairs = text.split('&').filter_map(|it| it.split_once('='));
    pairs
        .map(|(name, value)| {
            let value = decoded(&value.replace('+', " "));
            (decoded(name), Value::from(value))
        })
        .collect()
}

/// The text of a JSON string or number.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A whole number, also one written as a string.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(it) => Some(i64::from(*it)),
        _ => None,
    }
}

/// A flag as PHP reads it: nothing, zero and their texts are false.
pub(crate) fn flag(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(it) => *it,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.as_str(), "" | "0" | "false" | "False"),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(target: &str, controller: &str, action: &str, args: &[&str]) {
        let path = Path::parse(target);
        assert_eq!((&*path.controller, &*path.action), (controller, action), "{target}");
        assert_eq!(path.args, args, "{target}");
    }

    #[test]
    fn paths() {
        check("/", "", "index", &[]);
        check("/events/view/2", "events", "view", &["2"]);
        check("//events/view/2/", "events", "view", &["2"]);
        check("/events/view/1.json", "events", "view", &["1"]);
        check("/events/2", "events", "view", &["2"]);
        check("/events", "events", "index", &[]);
        check("/attributes/add/2?breakOnDuplicate=0", "attributes", "add", &["2"]);
        check("/attributes/add/2/breakOnDuplicate:0", "attributes", "add", &["2"]);
        check("/tags/search/a%20b%zz%4", "tags", "search", &["a b%zz%4"]);
        let path = Path::parse("/attributes/restSearch/value:2001:db8::1/type:ip-src");
        assert_eq!(path.named("value"), Some("2001:db8::1"));
        assert_eq!(path.named("type"), Some("ip-src"));
        assert!(Path::parse("/servers/getVersion.json").json_suffix);
    }

    #[test]
    fn bodies_are_read_as_declared() {
        let body = |kind: &'static str, bytes: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
            Body::read(&headers, bytes)
        };
        assert_eq!(body("application/json", b""), Body::Absent);
        assert_eq!(body("application/json; charset=utf-8", b"[1]"), Body::Data(json!([1])));
        assert_eq!(body("application/json", b"{\"a\":\"\xff\"}"), Body::Malformed);
        assert_eq!(body("text/plain", b"{}"), Body::Unread);
        let form = body("application/x-www-form-urlencoded", b"type=ip-src&a=b+c%21");
        assert_eq!(form, Body::Data(json!({"type": "ip-src", "a": "b c!"})));
    }

    #[test]
    fn flags_are_phps() {
        for (value, want) in [
            (json!(0), false),
            (json!("0"), false),
            (json!(false), false),
            (json!(null), false),
            (json!(1), true),
            (json!("1"), true),
            (json!(true), true),
        ] {
            assert_eq!(flag(&value), want, "{value}");
        }
    }
}
