//! Between hubs: who may tell on what, and the log of what hosts brought.
//!
//! A relay says with every request that it is one, and which hub's ([`misp::RELAY`]). From then on
//! its key is a relay's: what comes by it goes no further, and it may do no more than a sensor, so
//! that nothing of it ends in the events of others. A hub that hears its own name refuses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use crate::HubError;
use crate::answer::Fault;
use crate::keys::{KeyRecord, Keys, Role};
use crate::lists::curators;
use crate::store::brought::{self, Brought};
use crate::store::tag::{self, Carrier};
use crate::store::{Store, StoreError};

/// The holder of a key, as far as the request says that it is a relay.
pub(crate) fn meet(
    store: &Store,
    headers: &HeaderMap,
    mut holder: KeyRecord,
) -> Result<KeyRecord, Fault> {
    let Some(hub) = headers.get(misp::RELAY) else { return Ok(holder) };
    if hub.as_bytes() == store.organisation.instance.to_string().as_bytes() {
        let text = "This hub is its own upstream. Name another one with --upstream.";
        return Err(Fault::refused(StatusCode::FORBIDDEN, text));
    }
    let key = holder.id;
    if !store.read(|db| brought::is_relay(db, key))? {
        store.write(move |db| brought::know_relay(db, key))?;
    }
    holder.role = holder.role.min(Role::Sensor);
    Ok(holder)
}

/// What hosts bring to the hub, for a relay that tells it on.
#[derive(Clone, Debug)]
pub struct Log {
    store: Arc<Store>,
    keys: Keys,
}

/// A part of the log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Entries {
    /// What was brought, in order.
    pub entries: Vec<LogEntry>,
    /// The number of the last of it.
    pub last: u64,
}

/// Somebody was seen, or called a false positive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogEntry {
    /// An address or prefix.
    pub value: String,
    /// Whether it is none to be blocked, by a word that suffices here.
    pub is_false_positive: bool,
    /// The name of the key that brought it.
    pub host: String,
    /// When that was seen.
    pub time: Timestamp,
    /// When it was seen first,
    pub first: Timestamp,
    /// and last.
    pub last: Timestamp,
    /// The tags of the event that it is in.
    pub tags: Vec<String>,
}

impl Log {
    pub(crate) fn new(store: Arc<Store>, keys: Keys) -> Self {
        Self { store, keys }
    }

    /// What was brought after number `after`, at most `limit`; waits for so long where there is
    /// nothing yet.
    ///
    /// # Errors
    ///
    /// When the store or the keys cannot be read.
    pub fn since(&self, after: u64, limit: u32, wait: Duration) -> Result<Entries, HubError> {
        let end = Instant::now() + wait;
        loop {
            let n_commits = self.store.commits().count();
            let curators = curators(&self.keys)?;
            let (brought, last) =
                self.store.read(|db| brought::since(db, after, limit, &curators))?;
            let left = end.saturating_duration_since(Instant::now());
            if last > after || left.is_zero() {
                let entries = self.entries(brought)?;
                return Ok(Entries { entries, last });
            }
            self.store.commits().wait_beyond(n_commits, left);
        }
    }

    /// Forgets what was brought up to `number`.
    ///
    /// # Errors
    ///
    /// When the store cannot be written.
    pub fn forget(&self, number: u64) -> Result<(), HubError> {
        Ok(self.store.write(move |db| brought::forget(db, number))?)
    }

    fn entries(&self, brought: Vec<Brought>) -> Result<Vec<LogEntry>, HubError> {
        let keys = self.keys.list()?;
        let name = |id: u32| keys.iter().find(|it| it.id == id).map(|it| it.name.clone());
        let entries = brought.into_iter().map(|it| {
            let tags = self.store.read(|db| tag::of(db, Carrier::Event(it.event)))?;
            Ok(LogEntry {
                value: it.value,
                is_false_positive: it.is_false_positive,
                host: name(it.reporter).unwrap_or_else(|| it.reporter.to_string()),
                time: it.time,
                first: it.first,
                last: it.last,
                tags: tags.into_iter().map(|it| it.tag.name).collect(),
            })
        });
        Ok(entries.collect::<Result<_, StoreError>>()?)
    }
}
