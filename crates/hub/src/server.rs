//! HTTP: the one module that knows axum and tokio.
//!
//! A task reads a request whole; a thread of the blocking pool answers it. What comes in is
//! bounded: the body, unpacked, by [`MAX_BODY`]; a request by [`MAX_REQUEST_TIME`]; requests being
//! answered at once by [`MAX_ANSWERING`].

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use ::lists::places::Places;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request as Incoming, State};
use axum::http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header,
};
use axum::response::Response;
use jiff::Timestamp;
use tokio::sync::watch;
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;

use crate::answer::{Answer, Fault};
use crate::api::{self, Api};
use crate::changes::Changes;
use crate::follow::{self, Followed, Question};
use crate::fresh::Tags;
use crate::keys::{KeyRecord, Keys};
use crate::listener::Bounded;
use crate::page::{Page, Sessions, Visit};
use crate::rate::{MAX_SEARCHES, Rates, TooMany};
use crate::request::{Body, Path, Request};
use crate::store::Store;
use crate::tls::Greeting;
use crate::{audit, feed, lists, relay, retention, stream};

/// Threads of the runtime; they only move bytes.
const WORKERS: usize = 2;

/// Requests that are answered at once, each on a thread that mostly waits for the writer.
const MAX_ANSWERING: usize = 128;

/// Bytes of a body, unpacked: 30,000 attributes are 5 MB, a whole event to edit has thrice that.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Bytes of a form, from whoever comes: a key and its name.
const MAX_FORM: usize = 4 * 1024;

/// A request must be read and answered by then: a client that dawdles holds a connection for
/// nothing. MISP needs 90 s for 30,000 attributes; the hub needs a few.
const MAX_REQUEST_TIME: Duration = Duration::from_secs(120);

/// How long a stopping hub waits for the requests that it is answering.
const MAX_STOP_TIME: Duration = Duration::from_secs(5);

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) api: Api,
    pub(crate) keys: Keys,
    pub(crate) sessions: Sessions,
    pub(crate) tags: Tags,
    pub(crate) rates: Rates,
    pub(crate) public_lists: bool,
    pub(crate) keep: Option<Duration>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) places: Places,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Serves until `stop` turns true.
pub(crate) fn serve(
    listener: TcpListener,
    greeting: Option<Greeting>,
    server: Server,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(MAX_ANSWERING)
        .thread_name("hub")
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = Bounded::new(tokio::net::TcpListener::from_std(listener)?, greeting);
        if let Some(keep) = server.keep {
            tokio::spawn(forgetting(Arc::clone(&server.api.store), keep, stop.clone()));
        }
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::new(server))
            .layer(RequestDecompressionLayer::new().gzip(true))
            .layer(CompressionLayer::new().gzip(true).compress_when(is_file));
        let serving = axum::serve(listener, router).with_graceful_shutdown(stopped(stop.clone()));
        let late = async {
            stopped(stop).await;
            tokio::time::sleep(MAX_STOP_TIME).await;
        };
        tokio::select! {
            outcome = serving => outcome,
            () = late => Ok(()), // idle connections are cut; what was answered is on the disk
        }
    });
    runtime.shutdown_timeout(MAX_STOP_TIME);
    outcome
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that nobody is left who could say stop: the hub goes on.
    if stop.wait_for(|it| *it).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Forgets what is too old, again and again.
async fn forgetting(store: Arc<Store>, keep: Duration, stop: watch::Receiver<bool>) {
    loop {
        let (store, stopping) = (Arc::clone(&store), stop.clone());
        let forgetting =
            tokio::task::spawn_blocking(move || retention::forget(&store, keep, &stopping));
        // A thread that panicked has said so already; the next look may do better.
        let _ = forgetting.await;
        tokio::select! {
            () = tokio::time::sleep(retention::LOOK_EVERY) => {}
            () = stopped(stop.clone()) => return,
        }
    }
}

async fn answer(State(server): State<Arc<Server>>, incoming: Incoming) -> Response {
    let handled = tokio::time::timeout(MAX_REQUEST_TIME, read_and_answer(server, incoming));
    handled.await.unwrap_or_else(|_| response(plain(StatusCode::REQUEST_TIMEOUT)))
}

async fn read_and_answer(server: Arc<Server>, incoming: Incoming) -> Response {
    let (head, body) = incoming.into_parts();
    let target = head.uri.path_and_query().map_or("/", |it| it.as_str());
    let path = Path::parse(target);
    let visitor = match server.visitor(&head.headers, &path) {
        Ok(visitor) => visitor,
        Err(answer) => return response(answer),
    };
    if let (Visitor::Fetcher, "changes") = (&visitor, &*path.action) {
        return changes(&server, &path, &head.headers).await;
    }
    let Ok(bytes) = to_bytes(body, visitor.max_body()).await else {
        return response(plain(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let answering = tokio::task::spawn_blocking(move || {
        server.answer(visitor, head.method, path, &head.headers, &bytes)
    });
    response(answering.await.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR)))
}

/// Answers who follows the change stream.
async fn changes(server: &Arc<Server>, path: &Path, headers: &HeaderMap) -> Response {
    let followed = match Question::read(path, headers) {
        Ok(asked) => {
            let (changes, stop) = (Arc::clone(&server.changes), server.stop.clone());
            // A key may be revoked while its stream is open.
            let (server, headers) = (Arc::clone(server), headers.clone());
            let admitted = Box::new(move || server.may_fetch(&headers).unwrap_or(false));
            follow::follow(changes, asked, admitted, stop).await
        }
        Err(fault) => Err(fault),
    };
    match followed {
        Ok(Followed::Answer(answer)) => response(answer),
        Ok(Followed::Stream(stream)) => stream,
        Err(fault) => response(fault.answer(&path.target)),
    }
}

/// Who asks, as far as the head of the request tells.
enum Visitor {
    /// A program with a key.
    Holder(KeyRecord),
    /// Whoever may fetch a list or a feed.
    Fetcher,
    /// A browser, logged in or not.
    Browser,
}

impl Visitor {
    /// Nobody may send much who has not shown a key.
    const fn max_body(&self) -> usize {
        match self {
            Self::Holder(_) => MAX_BODY,
            Self::Fetcher | Self::Browser => MAX_FORM,
        }
    }
}

fn plain(status: StatusCode) -> Answer {
    let text = status.canonical_reason().unwrap_or_default();
    Fault::refused(status, text).answer("")
}

fn response(answer: Answer) -> Response {
    let body = match answer.rest {
        Some(rest) => stream::body(answer.body, rest),
        None => axum::body::Body::from(answer.body),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in answer.headers {
        headers.insert(name, value);
    }
    response
}

impl Server {
    /// Decides, before the body is read, who asks; or answers who need not be read.
    fn visitor(&self, headers: &HeaderMap, path: &Path) -> Result<Visitor, Answer> {
        if (&*path.controller, &*path.action) == ("users", "heartbeat") {
            let text = "We require more vespene gas.";
            return Err(Answer::json(&serde_json::json!({ "message": text })));
        }
        if (&*path.controller, &*path.action) == ("openapi", "index") {
            return Err(Answer::json(&api::description()));
        }
        if is_file_of(path) {
            return self.fetcher(headers, path);
        }
        // MISP's old exports answer a program that does not say what it accepts.
        if !wants_json(headers, path) && path.action != "restSearch" {
            return Ok(Visitor::Browser);
        }
        match self.holder(headers) {
            Ok(Some(holder)) => Ok(Visitor::Holder(holder)),
            Ok(None) => Err(stranger().answer(&path.target)),
            Err(fault) => Err(fault.answer(&path.target)),
        }
    }

    /// Lists and feeds are fetched by programs that know no more than a name and a password, and
    /// fetched again and again: what has not changed is answered here.
    fn fetcher(&self, headers: &HeaderMap, path: &Path) -> Result<Visitor, Answer> {
        if !self.may_fetch(headers).map_err(|fault| fault.answer(&path.target))? {
            let refused = stranger().answer(&path.target);
            let basic = HeaderValue::from_static("Basic realm=\"hub\"");
            return Err(Answer { status: StatusCode::UNAUTHORIZED, ..refused }
                .with(header::WWW_AUTHENTICATE, basic));
        }
        let (generation, now) = (self.api.store.commits().count(), Timestamp::now().as_second());
        let unchanged = self.tags.unchanged(&path.target, headers, generation, now);
        unchanged.map_or(Ok(Visitor::Fetcher), Err)
    }

    /// Whether whoever shows these headers may have lists and feeds.
    fn may_fetch(&self, headers: &HeaderMap) -> Result<bool, Fault> {
        Ok(self.public_lists || self.holder(headers)?.is_some())
    }

    /// Makes a list or a file of the feed.
    fn file(&self, path: &Path, headers: &HeaderMap, now: i64) -> Answer {
        // Before it is read: a change meanwhile makes the tag stale, not wrong.
        let generation = self.api.store.commits().count();
        let made = match (&*path.controller, &*path.action) {
            ("feed", _) => feed::answer(&self.api.store, path),
            ("lists", "key") => return self.changes.key(),
            _ => lists::answer(&self.api.store, &self.keys, path, now),
        };
        match made {
            Ok(answer) => self.tags.tagged(&path.target, headers, generation, now, answer),
            Err(fault) => fault.answer(&path.target),
        }
    }

    fn answer(
        &self,
        visitor: Visitor,
        method: Method,
        path: Path,
        headers: &HeaderMap,
        bytes: &[u8],
    ) -> Answer {
        let now = Timestamp::now().as_second();
        let body = Body::read(headers, bytes);
        match visitor {
            Visitor::Holder(holder) => {
                let holder = match relay::meet(&self.api.store, headers, holder) {
                    Ok(holder) => holder,
                    Err(fault) => return fault.answer(&path.target),
                };
                if path.action == "restSearch"
                    && let Err(too_many) = self.rates.count(holder.id, now)
                {
                    return too_often(too_many, &path.target);
                }
                let request = Request { method, path, body: Arc::new(body), holder, now };
                let answer = self.api.answer(&request);
                audit::note(&request.holder, &request.method, &request.path.target, &(), &answer);
                answer
            }
            Visitor::Fetcher => self.file(&path, headers, now),
            Visitor::Browser => {
                let visit = Visit { method: &method, path: &path, headers, body: &body, now };
                let page = Page {
                    store: &self.api.store,
                    keys: &self.keys,
                    sessions: &self.sessions,
                    places: &self.places,
                };
                let log_in = || Answer::redirect(StatusCode::FOUND, "/users/login");
                page.answer(&visit).unwrap_or_else(log_in)
            }
        }
    }

    /// Whose key the request carries, as MISP looks for it.
    fn holder(&self, headers: &HeaderMap) -> Result<Option<KeyRecord>, Fault> {
        let text = |name| headers.get(name).and_then(|it: &HeaderValue| it.to_str().ok());
        let key = text("authorization").or_else(|| text("x-misp-auth")).map(str::trim);
        match key.map(|key| key.strip_prefix("Basic ").map_or(key.to_owned(), password)) {
            Some(key) => Ok(self.keys.holder(&key)?),
            None => Ok(None),
        }
    }
}

/// MISP's 429, with its headers.
fn too_often(too_many: TooMany, target: &str) -> Answer {
    let refused = Fault::refused(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded.");
    refused
        .answer(target)
        .with(HeaderName::from_static("x-rate-limit-limit"), HeaderValue::from(MAX_SEARCHES))
        .with(HeaderName::from_static("x-rate-limit-remaining"), HeaderValue::from(0))
        .with(HeaderName::from_static("x-rate-limit-reset"), HeaderValue::from(too_many.seconds))
        .with(header::RETRY_AFTER, HeaderValue::from(too_many.seconds))
}

/// The password of HTTP's basic authentication: a key, whatever the name before it.
fn password(encoded: &str) -> String {
    let bytes = base64(encoded.trim());
    let text = String::from_utf8_lossy(&bytes);
    text.split_once(':').map_or(String::new(), |(_, password)| password.to_owned())
}

/// RFC 4648, section 4; what is none of its letters ends it.
fn base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut n_bits) = (0_u32, 0);
    for letter in text.bytes().map_while(value) {
        held = held << 6 | u32::from(letter);
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push(u8::try_from(held >> n_bits & 0xff).expect("eight bits"));
        }
    }
    bytes
}

/// Whether the path is a list or a part of the feed.
fn is_file_of(path: &Path) -> bool {
    matches!(&*path.controller, "feed" | "lists")
}

/// Whether an answer is a file that is worth packing: lists and feeds carry a tag, and nothing
/// else does. The answers of the API are for the local network, where packing costs more than it
/// saves.
fn is_file(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    headers.contains_key(header::ETAG)
}

fn wants_json(headers: &HeaderMap, path: &Path) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    path.json_suffix || accept.is_some_and(|it| it.contains("application/json"))
}

/// MISP's 403 for a key that is missing, wrong or revoked.
fn stranger() -> Fault {
    Fault::refused(
        StatusCode::FORBIDDEN,
        "Authentication failed. Please make sure you pass the API key of an API enabled user \
         along in the Authorization header.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_what_follows_the_name() {
        assert_eq!(password("YW55OmtleTp3aXRoOmNvbG9ucw=="), "key:with:colons");
        assert_eq!(password("OmtleQ"), "key");
        assert_eq!(password("a2V5"), ""); // no colon, no password
        assert_eq!(password("%%%"), "");
    }
}
