//! MISP's warninglists, fetched once a day and kept on disk: what is no attacker, whoever bans it.
//!
//! A file for each list, in the shape of MISP's own answer. They hold while MISP is away.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jail::Subject;
use jiff::Timestamp;
use lists::warninglist::{self, Warninglist};
use misp::{Client, Misconfigured, MispError, wire};
use serde_json::json;
use tracing::{info, warn};

use crate::spool::write_whole;
use crate::{LOG, policy, state};

/// MISP's own lists change every few days.
const FETCH_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// When a server that has no lists, or cannot give them, is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(60 * 60);
/// The most lists of one server; MISP ships about 140.
const MAX_LISTS: usize = 1_000;
/// The kinds of lists that speak of addresses.
const KINDS: [&str; 2] = ["cidr", "string"];

/// The lists that are known.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    folder: PathBuf,
    known: RwLock<Known>,
    /// Held while files are changed: several servers may be asked at once.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    lists: Vec<Arc<Warninglist>>,
    fetched: Option<Timestamp>,
}

impl Warnings {
    /// The lists that were fetched before.
    pub(crate) fn load(state: &Path) -> Self {
        let folder = state::warninglists(state);
        let known = RwLock::new(Known { lists: read(&folder), fetched: fetched(&folder) });
        Self { folder, known, writing: Mutex::default() }
    }

    /// When they were fetched last.
    pub(crate) fn fetched(&self) -> Option<Timestamp> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).fetched
    }

    /// The lists whose names are `wanted`.
    pub(crate) fn lists(&self, wanted: impl Fn(&str) -> bool) -> Vec<Arc<Warninglist>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.lists.iter().filter(|list| wanted(&list.name)).cloned().collect()
    }

    /// The name of a list that names a subject.
    pub(crate) fn hit(&self, subject: &Subject) -> Option<String> {
        let net = policy::net(subject)?;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        warninglist::hit(&known.lists, net).map(str::to_owned)
    }

    /// Whether it is time to fetch them.
    fn are_stale(&self, now: Timestamp) -> bool {
        let age = self.fetched().map(|then| Duration::try_from(now.duration_since(then)));
        // A clock that was set back makes them seem to be of the future; they are fetched then, too.
        !matches!(age, Some(Ok(age)) if age < FETCH_EVERY)
    }

    /// Fetches what has changed; tells whether the server has lists at all.
    fn fetch(&self, client: &Client, now: Timestamp) -> Result<bool, MispError> {
        let offered = match client.warninglists() {
            Ok(offered) => offered,
            // A server without lists has nothing to say here; the next one is asked.
            Err(MispError::Misconfigured {
                why: Misconfigured::NoSuchCall(_) | Misconfigured::NoRight(_),
                ..
            }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let offered: Vec<_> =
            offered.into_iter().filter(speaks_of_addresses).take(MAX_LISTS).collect();
        for list in &offered {
            if let Some(id) = list.id
                && !self.path(list).is_some_and(|path| path.exists())
            {
                self.keep(&client.warninglist(id)?);
            }
        }
        self.settle(&offered, now);
        Ok(true)
    }

    /// Forgets the lists that are offered no more, and reads the others.
    fn settle(&self, offered: &[wire::Warninglist], now: Timestamp) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let paths: Vec<_> = offered.iter().filter_map(|list| self.path(list)).collect();
        for path in files(&self.folder) {
            if !paths.contains(&path) {
                // It is tried again tomorrow; until then the list holds.
                let _ = fs::remove_file(path);
            }
        }
        // Where it cannot be noted they are fetched again at the next start.
        let _ = state::make(&self.folder)
            .and_then(|()| File::open(&self.folder)?.set_modified(now.into()));
        let lists = read(&self.folder);
        info!(target: LOG, "{} warninglists of MISP are heeded", lists.len());
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = Known { lists, fetched: Some(now) };
    }

    fn keep(&self, list: &wire::Warninglist) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = self.path(list) else { return };
        let kept = state::make(&self.folder).and_then(|()| {
            let temporary = path.with_extension("new");
            // What a crash left behind is of no use.
            let _ = fs::remove_file(&temporary);
            write_whole(&temporary, json!({ "Warninglist": list }).to_string().as_bytes())?;
            fs::rename(&temporary, &path)
        });
        if let Err(error) = kept {
            let path = path.display();
            warn!(target: LOG, "the warninglist `{}` cannot be kept as `{path}`: {error}", list.name);
        }
    }

    /// Where a list lies; another version lies elsewhere.
    fn path(&self, list: &wire::Warninglist) -> Option<PathBuf> {
        let version = list.version.unwrap_or_default();
        Some(self.folder.join(format!("{}-{version}.json", list.id?)))
    }
}

/// Asks one server for its lists, again and again.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    not_before: Option<Timestamp>,
}

impl Asking {
    /// Whether it is time to ask.
    pub(crate) fn is_due(&self, warnings: &Warnings, now: Timestamp) -> bool {
        warnings.are_stale(now) && self.not_before.is_none_or(|then| then <= now)
    }

    /// Asks, and says what is wrong with the lists; an error is the server's.
    pub(crate) fn ask(
        &mut self,
        warnings: &Warnings,
        client: &Client,
        now: Timestamp,
    ) -> Result<(), MispError> {
        match warnings.fetch(client, now) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => {
                // A server that is away fails here as well, and then the lists are the least of it.
                client.version()?;
                warn!(target: LOG, "{}: {error}; the warninglists stay as they are", client.url());
            }
        }
        self.not_before = now.checked_add(ASK_AGAIN).ok();
        Ok(())
    }
}

fn speaks_of_addresses(list: &wire::Warninglist) -> bool {
    KINDS.contains(&list.kind.as_str())
}

fn read(folder: &Path) -> Vec<Arc<Warninglist>> {
    let list = |path: &PathBuf| match fs::read(path) {
        Ok(bytes) => Warninglist::read(&bytes).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let read = |path: PathBuf| {
        list(&path)
            .inspect_err(|why| warn!(target: LOG, "the warninglist `{}`: {why}", path.display()))
            .ok()
    };
    files(folder).into_iter().filter_map(read).map(Arc::new).collect()
}

/// When the lists were last fetched: the folder is marked then.
fn fetched(folder: &Path) -> Option<Timestamp> {
    fs::metadata(folder).and_then(|it| it.modified()).ok()?.try_into().ok()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let names = |entries: fs::ReadDir| -> io::Result<Vec<PathBuf>> {
        entries.map(|entry| Ok(entry?.path())).collect()
    };
    // Where there is no folder there are no lists yet.
    let mut files = fs::read_dir(folder).and_then(names).unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|it| it == "json"));
    files.sort_unstable();
    files
}
