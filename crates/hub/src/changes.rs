//! `/lists/changes`: what changed in the lists, as it changes.
//!
//! A thread looks at what was touched as soon as a commit has touched it, and appends signed
//! records to the chain ([`crate::store::change`]). Whoever follows asks for what is new since a
//! number and waits, in one of two ways:
//!
//! | `Accept` | answer |
//! |---|---|
//! | `text/event-stream` | server-sent events without end: `id` is the number, `data` the line |
//! | anything else | lines; with `wait=SECONDS` not before there is one, or the time is over |
//!
//! Whoever asks since 0, since a number that is no longer kept, or since one that never was, gets
//! the list as a whole, as lines, and asks again since the number that its last line says.
//! `/lists/key` tells the key that signs.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use lists::Signer;
use serde_json::json;
use tokio::sync::watch;

use crate::answer::{Answer, Fault, Rest};
use crate::keys::Keys;
use crate::signing;
use crate::store::change::{self, Sent};
use crate::store::{Store, StoreError};
use crate::{HubError, lists as files};

/// How long the thread waits for a commit before it looks whether it shall end, or rotate the key.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The pause after the disk failed.
const DISK_PAUSE: Duration = Duration::from_secs(5);

/// The newest records are kept in memory, so that a thousand agents read each of them once.
const MAX_RECENT: usize = 256;

/// Bytes of them: while a thousand attributes come at a time, each record has 130,000.
const MAX_RECENT_BYTES: usize = 4 * 1024 * 1024;

/// Records in one look at the store.
const MAX_READ: usize = 100;

/// A record as it is told: all who follow share its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) sequence: u64,
    event: Bytes,
    /// Where the line begins in the event.
    begins: usize,
}

impl Told {
    fn new(record: &Sent) -> Self {
        let head = format!("id: {}\ndata: ", record.sequence);
        let event = Bytes::from([&head, &*record.line, END].concat());
        Self { sequence: record.sequence, event, begins: head.len() }
    }

    /// As a server-sent event.
    pub(crate) fn event(&self) -> Bytes {
        self.event.clone()
    }

    fn line(&self) -> &[u8] {
        &self.event[self.begins..self.event.len() - END.len()]
    }
}

/// What ends a server-sent event.
const END: &str = "\n\n";

/// The change stream of a hub that runs.
#[derive(Debug)]
pub(crate) struct Changes {
    data: PathBuf,
    store: Arc<Store>,
    keys: Keys,
    signer: RwLock<Arc<Signer>>,
    recent: Mutex<VecDeque<Told>>,
    /// The number of the last record.
    head: watch::Sender<u64>,
}

impl Changes {
    /// Opens the stream: the signing key, and where the chain ends.
    pub(crate) fn open(data: PathBuf, store: Arc<Store>, keys: Keys) -> Result<Self, HubError> {
        let signer = signing::open(&data)?;
        let introduced = store.read(change::last_key)?;
        let waits = signing::next(&data)?.map(|it| it.public_key());
        // A rotation that was cut off after the chain had introduced the new key.
        let signer = match introduced.is_some() && introduced == waits {
            true => {
                signing::promote(&data)?;
                signing::open(&data)?
            }
            false => signer,
        };
        let head = store.read(change::place)?.sequence;
        Ok(Self {
            data,
            store,
            keys,
            signer: RwLock::new(Arc::new(signer)),
            recent: Mutex::default(),
            head: watch::Sender::new(head),
        })
    }

    /// Starts the thread that appends; it ends when `stop` turns true.
    pub(crate) fn start(self: &Arc<Self>, stop: watch::Receiver<bool>) -> JoinHandle<()> {
        let changes = Arc::clone(self);
        thread::spawn(move || {
            let mut n_commits = 0;
            while !*stop.borrow() {
                match changes.catch_up() {
                    Ok(()) => {
                        n_commits = changes.store.commits().wait_beyond(n_commits, LOOK_EVERY);
                    }
                    Err(error) => {
                        tracing::error!("the change stream stands still: {error}");
                        changes.store.commits().wait_beyond(u64::MAX, DISK_PAUSE);
                    }
                }
            }
        })
    }

    /// Appends whatever there is to tell.
    fn catch_up(&self) -> Result<(), HubError> {
        if let Some(next) = signing::next(&self.data)? {
            self.rotate(next)?;
        }
        loop {
            let (signer, now) = (self.signer(), Timestamp::now().as_second());
            let curators = files::curators(&self.keys)?;
            let next = self.store.read(|db| change::next(db, &signer, &curators, now))?;
            let Some(next) = next else { return Ok(()) };
            self.tell(self.store.write(move |db| next.store(db))?);
        }
    }

    fn rotate(&self, next: Signer) -> Result<(), HubError> {
        let (old, now) = (self.signer(), Timestamp::now().as_second());
        let key = next.public_key();
        let record = self
            .store
            .write(move |db| change::rotate(db, key, &old, now).map_err(HubError::Store))?;
        signing::promote(&self.data)?;
        *self.signer.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        tracing::info!("the change stream is signed by {key} from record {}", record.sequence);
        self.tell(Some(record));
        Ok(())
    }

    fn tell(&self, record: Option<Sent>) {
        let Some(record) = record else { return };
        let sequence = record.sequence;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_back(Told::new(&record));
        let bytes = |them: &VecDeque<Told>| them.iter().map(|it| it.event.len()).sum::<usize>();
        while recent.len() > MAX_RECENT || bytes(&recent) > MAX_RECENT_BYTES {
            recent.pop_front();
        }
        drop(recent);
        self.head.send_replace(sequence);
    }

    /// Who wants to know of new records.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// The records after number `since` that are in memory; `None` where they do not reach back.
    pub(crate) fn recent(&self, since: u64) -> Option<Vec<Told>> {
        if since == *self.head.borrow() {
            return Some(Vec::new());
        }
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let first = recent.front()?.sequence;
        let skip = usize::try_from((since + 1).checked_sub(first)?).ok()?;
        (skip <= recent.len()).then(|| recent.range(skip..).cloned().collect())
    }

    /// The records after number `since`, some of them at a time; `None` where the list as a whole
    /// is the answer. Reads the disk.
    pub(crate) fn since(&self, since: u64) -> Result<Option<Vec<Told>>, StoreError> {
        let kept = self.store.read(|db| change::since(db, since, MAX_READ))?;
        Ok(kept.map(|it| it.iter().map(Told::new).collect()))
    }

    /// The list as a whole.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Answer {
        let changes = Arc::clone(self);
        let rest = Rest::new(move |out| {
            let (signer, now) = (changes.signer(), Timestamp::now().as_second());
            changes.store.read(|db| {
                change::snapshot(db, &signer, now, |line| -> Result<(), Fault> {
                    out.write_all(line.as_bytes())?;
                    Ok(out.write_all(b"\n")?)
                })
            })
        });
        // The tag has it packed on its way.
        let tag = HeaderValue::from_static("W/\"snapshot\"");
        Answer { rest: Some(rest), ..lines(&[]) }.with(header::ETAG, tag)
    }

    /// The key that signs, for whoever pins it.
    pub(crate) fn key(&self) -> Answer {
        let key = self.signer().public_key();
        let sequence = *self.head.borrow();
        Answer::json(&json!({"algorithm": "ed25519", "key": key, "sequence": sequence}))
    }

    fn signer(&self) -> Arc<Signer> {
        Arc::clone(&self.signer.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Records, a line each.
pub(crate) fn lines(records: &[Told]) -> Answer {
    let body = records.iter().flat_map(|it| [it.line(), b"\n"]).collect::<Vec<_>>().concat();
    Answer::new(StatusCode::OK, "application/x-ndjson", body)
}
