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

use reqwest::blocking::{self, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Certificate, Identity, Proxy, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use uuid::Uuid;

use crate::answer::{self, Answer};
use crate::call::{AttributeChange, Call};
use crate::error::{Misconfigured, MispError, Outage, Refusal};
use crate::wire::{
    Attribute, Event, Me, Object, Sighting, SightingKind, Tag, Version, Warninglist,
};

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

/// Says with a request that a hub tells on what others brought to it, and which hub.
pub const RELAY: &str = "x-fail2misp-relay";

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
    /// The hub in whose name calls are made, if it is one ([`RELAY`]).
    pub relay: Option<Uuid>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ca_pem: None,
            client_pem: None,
            proxy: None,
            verify: true,
            timeout: CALL_TIMEOUT,
            relay: None,
        }
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

    /// The server's version, and its clock.
    ///
    /// # Errors
    ///
    /// When the call fails, here and in all that follows: see [`MispError`].
    pub fn version(&self) -> Result<Version, MispError> {
        let answer = self.make(Call::version())?;
        let clock = answer.clock();
        answer.read::<Version>().map(|version| Version { clock, ..version })
    }

    /// Whose key this is, and what it may.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn me(&self) -> Result<Me, MispError> {
        self.make(Call::me())?.read()
    }

    /// Adds an event; `None` where one with its uuid is there already.
    ///
    /// # Errors
    ///
    /// When the call fails, or MISP refuses the event.
    pub fn add_event(&self, event: &Event) -> Result<Option<Event>, MispError> {
        let answer = self.make(Call::add_event(event))?;
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
        self.make(Call::event(event))?.read_event(event)
    }

    /// Publishes an event, without mail.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn publish(&self, event: &str) -> Result<(), MispError> {
        self.make(Call::publish(event))?.check()
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
        self.make(Call::add_attributes(event, attributes))?.read_items(attributes.len())
    }

    /// Changes an attribute, by its uuid.
    ///
    /// # Errors
    ///
    /// When the call fails; [`Misconfigured::NoAttribute`] where there is none for this key.
    pub fn edit_attribute(
        &self,
        attribute: Uuid,
        change: &AttributeChange,
    ) -> Result<(), MispError> {
        self.make(Call::edit_attribute(attribute, change))?.check()
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
        self.make(Call::find_attributes(event, kind, values))?.read_found()
    }

    /// Adds an object to an event.
    ///
    /// # Errors
    ///
    /// When the call fails, or MISP refuses the object.
    pub fn add_object(&self, event: &str, object: &Object) -> Result<(), MispError> {
        self.make(Call::add_object(event, object))?.check()
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
        self.make(Call::add_sightings(event, sightings))?
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
    /// As [`Call::sight_values`].
    pub fn sight_values(&self, values: &[&str], kind: SightingKind) -> Result<bool, MispError> {
        if values.is_empty() {
            return Ok(false);
        }
        let answer = self.make(Call::sight_values(values, kind))?;
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
        let rows: Vec<Row> = self.make(Call::sightings_of(attribute))?.read_in("response")?;
        Ok(rows.into_iter().map(|row| row.sighting).collect())
    }

    /// All tags that there are.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn tags(&self) -> Result<Vec<Tag>, MispError> {
        self.make(Call::tags())?.read_in("Tag")
    }

    /// Makes a tag where it is missing.
    ///
    /// # Errors
    ///
    /// When the call fails; [`Misconfigured::NoRight`] where the key may not make tags.
    pub fn add_tag(&self, name: &str) -> Result<Tag, MispError> {
        self.make(Call::add_tag(name))?.read_in("Tag")
    }

    /// The warninglists that are switched on, without their entries.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn warninglists(&self) -> Result<Vec<Warninglist>, MispError> {
        #[derive(serde::Deserialize)]
        struct Row {
            #[serde(rename = "Warninglist")]
            list: Warninglist,
        }
        let rows: Vec<Row> = self.make(Call::warninglists())?.read_in("Warninglists")?;
        Ok(rows.into_iter().map(|row| row.list).collect())
    }

    /// A warninglist with its entries.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn warninglist(&self, id: u64) -> Result<Warninglist, MispError> {
        self.make(Call::warninglist(id))?.read_in("Warninglist")
    }

    /// Makes any call, and tells only whether MISP did not refuse it.
    ///
    /// # Errors
    ///
    /// When the call fails.
    pub fn check(&self, call: &Call) -> Result<(), MispError> {
        self.make(call.clone())?.check()
    }

    /// The server's address, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.base
    }

    pub(crate) fn http(&self) -> &blocking::Client {
        &self.http
    }

    pub(crate) fn make(&self, call: Call) -> Result<Answer, MispError> {
        let url = format!("{}{}", self.base, call.path());
        let request = match call.body {
            None => self.http.get(url),
            Some(body) => self.http.post(url).body(body),
        };
        let response = request.send().map_err(|error| self.failure(call.name, &error))?;
        let head = answer::Head::of(&response);
        let body = read_body(response).map_err(|why| self.later(call.name, why))?;
        Answer::judge(call.name, &self.base, &head, body)
    }

    pub(crate) fn failure(&self, call: &'static str, error: &reqwest::Error) -> MispError {
        if error.is_timeout() && !error.is_connect() {
            return self.later(call, Outage::TimedOut(self.timeout));
        }
        let cause = root_cause(error);
        match certificate_fault(error) {
            Some(Whose::Theirs) => {
                return misconfigured(call, self.base.clone(), Misconfigured::Certificate(cause));
            }
            Some(Whose::Ours) => {
                let why = Misconfigured::ClientCertificate(cause);
                return misconfigured(call, self.base.clone(), why);
            }
            None => {}
        }
        match error.is_connect() {
            true => self.later(call, Outage::Unreachable(cause)),
            false => self.later(call, Outage::CutShort(cause)),
        }
    }

    pub(crate) fn later(&self, call: &'static str, why: Outage) -> MispError {
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
    let unusable = |option: &'static str| {
        move |error: reqwest::Error| Misconfigured::Option { option, why: root_cause(&error) }
    };
    // An error says that somebody has installed a provider before us, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut key =
        HeaderValue::from_str(key.expose_secret().trim()).map_err(|_| Misconfigured::KeyText)?;
    key.set_sensitive(true);
    let json = HeaderValue::from_static("application/json");
    let mut headers =
        HeaderMap::from_iter([(AUTHORIZATION, key), (ACCEPT, json.clone()), (CONTENT_TYPE, json)]);
    if let Some(hub) = options.relay {
        let hub = HeaderValue::from_str(&hub.to_string()).expect("a uuid is made of digits");
        headers.insert(RELAY, hub);
    }
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
        let certificates = Certificate::from_pem_bundle(pem).map_err(unusable("ca_file"))?;
        if certificates.is_empty() {
            let why = "there is no certificate in it".to_owned();
            return Err(Misconfigured::Option { option: "ca_file", why });
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some(pem) = &options.client_pem {
        let identity = Identity::from_pem(pem.expose_secret().as_bytes());
        let identity = identity.map_err(unusable("client_file"))?;
        builder = builder.identity(identity);
    }
    if let Some(proxy) = &options.proxy {
        builder = builder.proxy(Proxy::all(proxy).map_err(unusable("proxy"))?);
    }
    builder.build().map_err(|error| Misconfigured::Transport(root_cause(&error)))
}

pub(crate) fn read_body(response: Response) -> Result<Vec<u8>, Outage> {
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

/// Whose certificate a call failed for.
enum Whose {
    Theirs,
    Ours,
}

fn certificate_fault(error: &reqwest::Error) -> Option<Whose> {
    use rustls::AlertDescription::{
        BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked,
        CertificateUnknown, HandshakeFailure, UnknownCA, UnsupportedCertificate,
    };
    let mut source = error.source();
    while let Some(error) = source {
        match tls_fault(error) {
            Some(rustls::Error::InvalidCertificate(_)) => return Some(Whose::Theirs),
            // A server that asks for a certificate of ours says with these what it misses.
            Some(rustls::Error::AlertReceived(
                BadCertificate
                | CertificateExpired
                | CertificateRequired
                | CertificateRevoked
                | CertificateUnknown
                | HandshakeFailure
                | UnknownCA
                | UnsupportedCertificate,
            )) => return Some(Whose::Ours),
            _ => source = error.source(),
        }
    }
    None
}

/// The fault of TLS that an error is. One of the system wraps it, sometimes twice over, and leaves
/// itself out of the chain of sources.
fn tls_fault<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<std::io::Error>() {
        Some(outer) => outer.get_ref().and_then(|inner| tls_fault(inner)),
        None => error.downcast_ref(),
    }
}
