//! Who follows the change stream: a long poll, or server-sent events without end.
//!
//! A task for each follower; all of them read the same records. One that reads too slowly falls
//! behind in its short queue, and starts anew once it is too far.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use tokio::sync::mpsc::{self, Sender};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::answer::{Answer, Fault};
use crate::changes::{Changes, Told, lines};
use crate::request::Path;
use crate::store::StoreError;
use crate::stream::Streamed;

/// The longest wait of a long poll, which a proxy before us lets pass.
const MAX_WAIT: u64 = 60;

/// A comment keeps a silent stream alive in proxies, and tells us who is gone.
const BEAT: Duration = Duration::from_secs(20);

/// Messages that wait for a slow follower.
const MAX_WAITING: usize = 4;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    since: u64,
    wait: Duration,
    /// Whether server-sent events are wanted.
    is_stream: bool,
}

impl Question {
    /// Reads `/lists/changes?since=SEQ&wait=SECONDS`.
    pub(crate) fn read(path: &Path, headers: &HeaderMap) -> Result<Self, Fault> {
        let number = |name: &str| {
            path.query(name).map_or(Ok(0), |text| {
                let fault = format!("`{name}` is a whole number");
                text.parse().map_err(|_| Fault::refused(StatusCode::BAD_REQUEST, fault))
            })
        };
        let accept = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
        Ok(Self {
            since: number("since")?,
            wait: Duration::from_secs(number("wait")?.min(MAX_WAIT)),
            is_stream: accept.is_some_and(|it| it.contains("text/event-stream")),
        })
    }
}

/// Whether a follower may still hear what is said.
pub(crate) type Admitted = Box<dyn Fn() -> bool + Send + Sync>;

/// What a follower gets.
pub(crate) enum Followed {
    /// All there is.
    Answer(Answer),
    /// All there will be.
    Stream(Response),
}

/// Answers a follower, who may have to wait.
pub(crate) async fn follow(
    changes: Arc<Changes>,
    asked: Question,
    admitted: Admitted,
    stop: watch::Receiver<bool>,
) -> Result<Followed, Fault> {
    let mut head = changes.subscribe();
    head.mark_unchanged();
    let Some(mut records) = records_since(&changes, asked.since).await? else {
        return Ok(Followed::Answer(changes.snapshot()));
    };
    if asked.is_stream {
        return Ok(Followed::Stream(stream(changes, asked.since, records, admitted, stop)));
    }
    if records.is_empty() && !asked.wait.is_zero() {
        // Whether it came, or the time was over: what there is now is the answer.
        let _ = timeout(asked.wait, head.changed()).await;
        records = records_since(&changes, asked.since).await?.unwrap_or_default();
    }
    Ok(Followed::Answer(lines(&records)))
}

fn stream(
    changes: Arc<Changes>,
    since: u64,
    records: Vec<Told>,
    admitted: Admitted,
    mut stop: watch::Receiver<bool>,
) -> Response {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    tokio::spawn(async move {
        tokio::select! {
            // The follower is gone or may hear no more, the disk failed, or the stream reaches no
            // further back: in each case the follower asks again.
            _ended = send_all(&changes, since, records, &admitted, &sender) => {}
            // An error means that nobody is left who could say stop.
            _stopped = stop.wait_for(|it| *it) => {}
        }
    });
    let mut response = Response::new(Body::new(Streamed::new(receiver)));
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Sends records until that is not possible any more.
async fn send_all(
    changes: &Arc<Changes>,
    mut since: u64,
    mut records: Vec<Told>,
    admitted: &Admitted,
    to: &Sender<io::Result<Bytes>>,
) -> Option<()> {
    let mut head = changes.subscribe();
    // The head goes out at once, so that the follower knows that it is heard.
    to.send(Ok(Bytes::from_static(b": followed\n\n"))).await.ok()?;
    loop {
        if !admitted() {
            return None;
        }
        for record in &records {
            since = record.sequence;
            to.send(Ok(record.event())).await.ok()?;
        }
        head.mark_unchanged();
        records = records_since(changes, since).await.ok()??;
        while records.is_empty() {
            tokio::select! {
                changed = head.changed() => changed.ok()?,
                () = sleep(BEAT) => to.send(Ok(Bytes::from_static(b":\n\n"))).await.ok()?,
                () = to.closed() => return None,
            }
            if !admitted() {
                return None;
            }
            records = records_since(changes, since).await.ok()??;
        }
    }
}

/// What there is after `since`: from memory if it reaches back so far, else from the disk.
async fn records_since(
    changes: &Arc<Changes>,
    since: u64,
) -> Result<Option<Vec<Told>>, StoreError> {
    if since > 0
        && let Some(recent) = changes.recent(since)
    {
        return Ok(Some(recent));
    }
    let changes = Arc::clone(changes);
    let looking = tokio::task::spawn_blocking(move || changes.since(since));
    looking.await.unwrap_or(Err(StoreError::Closed))
}
