//! The HTTP client: one server, one key, one connection that is kept alive.
//!
//! `Accept` and `Content-Type` are always sent: without the first MISP 2.5.1 answers a redirect to
//! its login page, without the second it ignores the body, and a search then runs unfiltered.
//! Redirects are never followed. Outcomes are judged by the body, not by the status alone
//! ([`crate::answer`]).

use std::error::Error as _;
use std::fmt;
use std::io::Read;
use std::time::Duration;

use reqwest::blocking::{self, RequestBuilder, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Certificate, Identity, Method, Proxy, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::answer::{self, Answer};
use crate::error::{Misconfigured, MispError, Outage, Refusal};
use crate::wire::{Attribute, Event, Me, Sighting, SightingKind, Version};

/// How long a connection may take to stand; a host that drops packets answers never.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take. MISP 2.5.1 took 19 s for 10,000 attributes in one call, and 1,000
/// take two.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an idle connection is kept; Apache before MISP closes it after five seconds, and a
/// request on a connection that is being closed is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// The largest answer that is read: 10,000 attributes in one answer are 6.8 MB.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// The most values in one sightings/add: from about 100 on MISP's database reads its whole table
/// for each (2.3 ms a value at 50, 12 ms at 100).
pub const MAX_SIGHTED_VALUES: usize = 50;

/// How a server is reached.
#[derive(Clone, Debug)]
pub struct Options {
    /// Certificates of authorities that are trusted beside the system's, in PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Our own certificate and its key, in PEM.
    pub client_pem: Option<SecretString>,
    /// A proxy: `http://`, `https://` or `socks5h://`.
    pub proxy: Option<String>,
    /// Whether the server's certificate is checked.
    pub verify: bool,
    /// How long a call may take.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { ca_pem: None, client_pem: None, proxy: None, verify: true, timeout: CALL_TIMEOUT }
    }
}

/// A MISP server and our key to it.
#[derive(Clone)]
pub struct Client {
    http: blocking::Client,
    /// Without a slash at its end.
    base: String,
    timeout: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Client {
    /// Prepares calls to the server at `url`; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When `url`, the key or an option cannot be used.
    pub fn new(url: &str, key: &SecretString, options: &Options) -> Result<Self, MispError> {
        let base = base(url).map_err(|why| misconfigured("setup", shown(url), why))?;
        let http = http(key, options).map_err(|why| misconfigured("setup", base.clone(), why))?;
        Ok(Self { http, base, timeout: options.timeout })
    }

    /// The server's version.
    ///
    /// # Errors
    ///
    /// When the call fails, here and in all that follows: see [`MispError`].
    pub fn version(&self) -> Result<Version, MispError> {
        self.get("servers/getVersion", "")?.read()
    }

    /// Whose key this is, and what it may.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn me(&self) -> Result<Me, MispError> {
        self.get("users/view/me", "")?.read()
    }

    /// Adds an event; `None` where one with its uuid is there already.
    ///
    /// # Errors
    ///
    /// When the call fails, or MISP refuses the event.
    pub fn add_event(&self, event: &Event) -> Result<Option<Event>, MispError> {
        let answer = self.post("events/add", "", &json!({ "Event": event }))?;
        if answer.says("Event already exists") {
            return Ok(None);
        }
        answer.read_in("Event").map(Some)
    }

    /// An event without its attributes, by its id or uuid.
    ///
    /// # Errors
    ///
    /// When the call fails; [`Misconfigured::NoEvent`] where there is none for this key.
    pub fn event(&self, event: &str) -> Result<Event, MispError> {
        let field = if Uuid::parse_str(event).is_ok() { "uuid" } else { "eventid" };
        let body = json!({ "returnFormat": "json", field: event, "metadata": 1 });
        let answer = self.post("events/restSearch", "", &body)?;
        answer.read_event(event)
    }

    /// Publishes an event, without mail.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn publish(&self, event: &str) -> Result<(), MispError> {
        self.post("events/publish", event, &json!({}))?.check()
    }

    /// Adds attributes to an event, and tells for each, in their order, what became of it.
    ///
    /// # Errors
    ///
    /// When the call as a whole fails; a refused item is no failure of the call.
    pub fn add_attributes(
        &self,
        event: &str,
        attributes: &[Attribute],
    ) -> Result<Vec<Result<(), Refusal>>, MispError> {
        if attributes.is_empty() {
            return Ok(Vec::new());
        }
        self.post("attributes/add", event, &attributes)?.read_items(attributes.len())
    }

    /// The live attributes of an event that have this type and one of these values.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn find_attributes(
        &self,
        event: &str,
        kind: &str,
        values: &[&str],
    ) -> Result<Vec<Attribute>, MispError> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let body =
            json!({ "returnFormat": "json", "eventid": event, "type": kind, "value": values });
        self.post("attributes/restSearch", "", &body)?.read_found()
    }

    /// Adds sightings of attributes whose uuids are known; a repeat changes nothing.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn add_sightings(&self, event: &str, sightings: &[Sighting]) -> Result<(), MispError> {
        if sightings.is_empty() {
            return Ok(());
        }
        // "No sightings added." is the answer to a repeat, and to an attribute that an analyst
        // deleted: both are settled.
        self.post("sightings/bulkSaveSightings", event, &sightings)?
            .check_saved(&["sightings added", "No sightings added"])
    }

    /// Adds a sighting by value to every attribute that the key sees and that holds one of
    /// `values`; tells whether there was any. A repeat adds them once more.
    ///
    /// # Errors
    ///
    /// When the call fails.
    ///
    /// # Panics
    ///
    /// On an empty value, which MISP takes for every attribute that it holds, and on more than
    /// [`MAX_SIGHTED_VALUES`].
    pub fn sight_values(&self, values: &[&str], kind: SightingKind) -> Result<bool, MispError> {
        assert!(values.len() <= MAX_SIGHTED_VALUES, "the caller cuts values into pieces");
        assert!(values.iter().all(|value| !value.trim().is_empty()), "an empty value sights all");
        if values.is_empty() {
            return Ok(false);
        }
        let body = json!({ "values": values, "type": kind.number().to_string() });
        let answer = self.post("sightings/add", "", &body)?;
        if answer.says("No valid attributes found") {
            return Ok(false);
        }
        answer.read_in::<Value>("Sighting").map(|_| true)
    }

    /// The sightings that an attribute got in the last thirty days, MISP's own window.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn sightings_of(&self, attribute: u64) -> Result<Vec<Sighting>, MispError> {
        #[derive(serde::Deserialize)]
        struct Row {
            #[serde(rename = "Sighting")]
            sighting: Sighting,
        }
        // The id must be a number here; MISP refuses it as a string, which all other calls take.
        let body = json!({ "returnFormat": "json", "id": attribute });
        let answer = self.post("sightings/restSearch/attribute", "", &body)?;
        let rows: Vec<Row> = answer.read_in("response")?;
        Ok(rows.into_iter().map(|row| row.sighting).collect())
    }

    /// The server's address, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.base
    }

    fn get(&self, call: &'static str, argument: &str) -> Result<Answer, MispError> {
        self.send(call, self.http.request(Method::GET, self.path(call, argument)))
    }

    fn post(
        &self,
        call: &'static str,
        argument: &str,
        body: &impl Serialize,
    ) -> Result<Answer, MispError> {
        self.send(call, self.http.request(Method::POST, self.path(call, argument)).json(body))
    }

    fn path(&self, call: &str, argument: &str) -> String {
        let gap = if argument.is_empty() { "" } else { "/" };
        format!("{}/{call}{gap}{argument}", self.base)
    }

    fn send(&self, call: &'static str, request: RequestBuilder) -> Result<Answer, MispError> {
        let fail = |error: &reqwest::Error| self.failure(call, error);
        let response = request.send().map_err(|error| fail(&error))?;
        let (status, location) = (response.status().as_u16(), header(&response, "location"));
        let content_type = header(&response, "content-type");
        let retry_after = header(&response, "retry-after")
            .parse()
            .or_else(|_| header(&response, "x-rate-limit-reset").parse())
            .map(Duration::from_secs)
            .ok();
        let body = read_body(response).map_err(|why| self.later(call, why))?;
        let head = answer::Head { status, location, content_type, retry_after };
        Answer::judge(call, &self.base, &head, &body)
    }

    fn failure(&self, call: &'static str, error: &reqwest::Error) -> MispError {
        if error.is_timeout() && !error.is_connect() {
            return self.later(call, Outage::TimedOut(self.timeout));
        }
        let cause = root_cause(error);
        if is_certificate(error) {
            return misconfigured(call, self.base.clone(), Misconfigured::Certificate(cause));
        }
        match error.is_connect() {
            true => self.later(call, Outage::Unreachable(cause)),
            false => self.later(call, Outage::CutShort(cause)),
        }
    }

    fn later(&self, call: &'static str, why: Outage) -> MispError {
        MispError::Later { call, url: self.base.clone(), why }
    }
}

fn misconfigured(call: &'static str, url: String, why: Misconfigured) -> MispError {
    MispError::Misconfigured { call, url, why }
}

/// The server's address without a slash at its end, or why it is none.
fn base(url: &str) -> Result<String, Misconfigured> {
    let fault = || Misconfigured::Url(shown(url));
    let parsed = Url::parse(url.trim()).map_err(|_| fault())?;
    let plain = matches!(parsed.scheme(), "http" | "https")
        && parsed.has_host()
        && parsed.username().is_empty()
        && parsed.password().is_none()
        && parsed.query().is_none()
        && parsed.fragment().is_none();
    if !plain {
        return Err(fault());
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

/// A URL for a message: what stands before an `@` may be a password.
fn shown(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => url.to_owned(),
    }
}

fn http(key: &SecretString, options: &Options) -> Result<blocking::Client, Misconfigured> {
    let transport = |error: reqwest::Error| Misconfigured::Transport(root_cause(&error));
    // An error says that somebody has installed a provider before us, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut key =
        HeaderValue::from_str(key.expose_secret().trim()).map_err(|_| Misconfigured::KeyText)?;
    key.set_sensitive(true);
    let json = HeaderValue::from_static("application/json");
    let headers =
        HeaderMap::from_iter([(AUTHORIZATION, key), (ACCEPT, json.clone()), (CONTENT_TYPE, json)]);
    let mut builder = blocking::Client::builder()
        .user_agent(concat!("fail2misp/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        // The environment's proxies are the program's affair; it passes them as an option.
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(options.timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(1)
        .tls_danger_accept_invalid_certs(!options.verify);
    if let Some(pem) = &options.ca_pem {
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(pem).map_err(transport)?);
    }
    if let Some(pem) = &options.client_pem {
        let identity = Identity::from_pem(pem.expose_secret().as_bytes()).map_err(transport)?;
        builder = builder.identity(identity);
    }
    if let Some(proxy) = &options.proxy {
        builder = builder.proxy(Proxy::all(proxy).map_err(transport)?);
    }
    builder.build().map_err(transport)
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn read_body(response: Response) -> Result<Vec<u8>, Outage> {
    let mut body = Vec::new();
    let read = response.take(MAX_ANSWER_BYTES + 1).read_to_end(&mut body);
    read.map_err(|error| Outage::CutShort(innermost(&error)))?;
    if body.len() as u64 > MAX_ANSWER_BYTES {
        return Err(Outage::CutShort(format!("it is larger than {MAX_ANSWER_BYTES} bytes")));
    }
    Ok(body)
}

/// The innermost cause, which is the one that says something; never the URL.
fn root_cause(error: &reqwest::Error) -> String {
    match error.source() {
        Some(source) => innermost(source),
        None => error.to_string(),
    }
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn is_certificate(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let found = inner.or_else(|| error.downcast_ref::<rustls::Error>());
        if matches!(found, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        source = error.source();
    }
    false
}
