//! A small MISP-compatible server: http, store, page.
//!
//! [`Hub::open`] claims the data folder, opens the store and binds the address; [`Hub::run`]
//! serves until a [`StopHandle`] says stop. tokio and axum live in the module `server` and nowhere else:
//! what a request means is decided by plain functions on plain threads.
//!
//! # What it serves
//!
//! | path | what |
//! |---|---|
//! | `/events/…`, `/attributes/…`, `/objects/…`, `/sightings/…`, `/tags/…` | MISP's API, for whoever shows a key |
//! | `/servers/getVersion`, `/users/view/me`, `/users/heartbeat` | what MISP's clients ask first |
//! | `/openapi.json` | what of it there is, for whoever asks |
//! | `/feed/manifest.json`, `/feed/{uuid}.json`, `/feed/hashes.csv` | what is published, as a feed for MISPs |
//! | `/lists/…` | addresses that are worth blocking, in the words of firewalls |
//! | `/lists/changes`, `/lists/key` | what changes in them, as it changes, signed; and by which key |
//! | `/`, `/events/view/{id}`, `/values?value=…` | the page, for a browser that is logged in |
//!
//! # Where the hub differs from MISP, on purpose
//!
//! It answers with MISP's statuses, texts and shapes, bugs that only hurt excepted:
//!
//! - A JSON body that is not declared as JSON is refused where MISP would ignore it and search
//!   without a filter; so are a search with no body, and one whose only filter is unknown.
//! - A sighting of an empty value is refused; MISP puts one on every attribute there is.
//! - A list of several attributes is answered with a list, also when just one of it was saved.
//! - The check for duplicates is atomic: of two writers of one value, one is told.
//! - Characters beyond the basic plane are stored; what is too long is refused with a reason,
//!   and a tag given as a bare string is taken as its name: MISP answers all of these with 500.
//! - `breakOnDuplicate:0` changes only the fields that were sent; MISP resets the others, and with
//!   them an analyst's `to_ids`.

mod answer;
mod api;
mod audit;
mod changes;
mod csv;
mod feed;
mod follow;
mod fresh;
mod instant;
pub mod keys;
mod listener;
mod lists;
mod page;
mod rate;
mod relay;
mod request;
mod retention;
mod seen;
mod server;
mod shape;
mod signing;
mod store;
mod stream;
mod tls;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::lists::PublicKey;
use ::lists::places::{Places, PlacesError};
use tokio::sync::watch;
use uuid::Uuid;

use crate::api::Api;
use crate::changes::Changes;
use crate::fresh::Tags;
use crate::keys::{Key, Keys, KeysError, Role};
use crate::page::Sessions;
use crate::rate::Rates;
pub use crate::relay::{Entries, Log, LogEntry};
use crate::server::Server;
pub use crate::signing::SigningError;
use crate::store::Store;
pub use crate::store::StoreError;
use crate::tls::Greeting;
pub use crate::tls::{TlsError, TlsFiles};

/// What an administrator chooses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder that holds the store and the keys; made when it is absent, mode 0700.
    pub data: PathBuf,
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Serve HTTPS with this certificate.
    pub tls: Option<TlsFiles>,
    /// Serve plain HTTP beyond loopback too: keys then travel readable.
    pub insecure_http: bool,
    /// Serve feed and lists to whoever asks: for firewalls that cannot show a key.
    pub public_lists: bool,
    /// Forget attributes that neither changed nor were sighted for so long; `None` keeps all.
    pub keep: Option<Duration>,
    /// Files in MaxMind's format that know of countries or autonomous systems.
    pub geoip: Vec<PathBuf>,
    /// The organisation that events belong to, as other MISPs will read it.
    pub organisation: String,
    /// Keep a [`Log`] of what hosts bring, for a relay that tells it on.
    pub relays: bool,
}

impl Settings {
    /// Settings that hold for a hub on this machine alone.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            tls: None,
            insecure_http: false,
            public_lists: false,
            keep: None,
            geoip: Vec::new(),
            organisation: "fail2misp".to_owned(),
            relays: false,
        }
    }
}

/// The port when none is named.
pub const DEFAULT_PORT: u16 = 8420;

/// Why a hub could not be opened or kept running.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The data folder could not be made or read.
    #[error("hub: {doing} `{}`: check the path and who owns it", path.display())]
    Folder {
        /// What was being done.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another hub has the folder.
    #[error("hub: `{}` is in use by another hub: stop it, or choose another --data", .0.display())]
    InUse(PathBuf),
    /// The address could not be bound.
    #[error("hub: listen on {address}: choose another --listen")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why it failed.
        source: io::Error,
    },
    /// Plain HTTP would leave the machine.
    #[error(
        "hub: {0} is not loopback, and keys would travel readable: give --tls-cert and --tls-key, \
         listen on 127.0.0.1 behind a proxy that speaks TLS, or say --insecure-http"
    )]
    Insecure(SocketAddr),
    /// A file that knows of countries or autonomous systems cannot be used.
    #[error("hub: use `{}` of --geoip: {source}", path.display())]
    Geoip {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PlacesError,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The keys could not be read or written.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key of the change stream could not be used.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The runtime could not be started.
    #[error("hub: start serving")]
    Serve(#[source] io::Error),
}

/// A hub that holds its folder and its address, and is not yet serving.
#[derive(Debug)]
pub struct Hub {
    settings: Settings,
    listener: TcpListener,
    greeting: Option<Greeting>,
    address: SocketAddr,
    keys: Keys,
    store: Arc<Store>,
    places: Places,
    first_key: Option<Key>,
    /// Held, not read: the lock goes with the file.
    _claim: File,
}

impl Hub {
    /// Claims the data folder, binds the address, and on the first start makes the
    /// administrator's key, which is written to `admin.key` (0600) in the data folder.
    ///
    /// # Errors
    ///
    /// Says which folder, address or file is at fault and what to do about it.
    pub fn open(settings: Settings) -> Result<Self, HubError> {
        let is_safe = settings.listen.ip().is_loopback() || settings.tls.is_some();
        if !is_safe && !settings.insecure_http {
            return Err(HubError::Insecure(settings.listen));
        }
        let greeting = settings.tls.clone().map(Greeting::open).transpose()?;
        let places = places(&settings.geoip)?;
        let claim = claim(&settings.data)?;
        let keys = Keys::open(&settings.data);
        let first_key = first_key(&keys, &settings.data)?;
        let bind = |source| HubError::Bind { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let store = Arc::new(Store::open(&settings.data.join(STORE), &settings.organisation)?);
        let relays = settings.relays;
        store.write(move |db| store::brought::keep(db, relays))?;
        Ok(Self {
            settings,
            listener,
            greeting,
            address,
            keys,
            store,
            places,
            first_key,
            _claim: claim,
        })
    }

    /// The administrator's key, on the first start alone.
    pub fn first_key(&self) -> Option<&Key> {
        self.first_key.as_ref()
    }

    /// The administrator's key as it stands in the data folder.
    ///
    /// # Errors
    ///
    /// When the file is gone: an administrator may take it away once the key is kept elsewhere.
    pub fn admin_key(&self) -> Result<Key, HubError> {
        let path = self.settings.data.join(ADMIN_KEY);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Key::from(text.trim())),
            Err(source) => Err(HubError::Folder { doing: "read", path, source }),
        }
    }

    /// Where the hub listens: the real port, if any was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The hub's address as a client writes it.
    pub fn url(&self) -> String {
        let scheme = if self.greeting.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Copies the store of `data` to the new file `to`, as it stands at one moment; the hub may be
    /// running meanwhile. The keys are files of their own, and are copied as such.
    ///
    /// # Errors
    ///
    /// When there is no store, or `to` exists or cannot be written.
    pub fn backup(data: &Path, to: &Path) -> Result<(), HubError> {
        Ok(store::backup(&data.join(STORE), to)?)
    }

    /// Makes a new key for the change stream of `data`, and tells what it is known by. The hub
    /// introduces it at once if it runs, else at its next start.
    ///
    /// # Errors
    ///
    /// When a rotation is under way, or the key cannot be written.
    pub fn rotate_signing(data: &Path) -> Result<PublicKey, HubError> {
        Ok(signing::rotate(data)?)
    }

    /// What names this hub among all others, for ever.
    pub fn instance(&self) -> Uuid {
        self.store.organisation.instance
    }

    /// What hosts bring, from the first start on that [`Settings::relays`] asks for it.
    pub fn log(&self) -> Log {
        Log::new(Arc::clone(&self.store), self.keys.clone())
    }

    /// The hub's keys, for who manages them.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Serves until `stop` is told to stop; requests that are being answered are finished.
    ///
    /// # Errors
    ///
    /// When the runtime cannot be started.
    pub fn run(self, stop: &StopHandle) -> Result<(), HubError> {
        let api = Api { store: self.store };
        let (data, keys) = (self.settings.data, self.keys.clone());
        let changes = Arc::new(Changes::open(data, Arc::clone(&api.store), keys)?);
        let appending = changes.start(stop.0.subscribe());
        let server = Server {
            api,
            keys: self.keys,
            sessions: Sessions::default(),
            tags: Tags::default(),
            rates: Rates::default(),
            public_lists: self.settings.public_lists,
            keep: self.settings.keep,
            changes,
            places: self.places,
            stop: stop.0.subscribe(),
        };
        let served = server::serve(self.listener, self.greeting, server, stop.0.subscribe());
        // Whatever ended it: nothing goes on behind its back.
        stop.stop();
        // A thread that panicked has said so already.
        let _ = appending.join();
        served.map_err(HubError::Serve)
    }
}

/// Ends a running hub from any thread.
#[derive(Clone, Debug)]
pub struct StopHandle(watch::Sender<bool>);

impl StopHandle {
    /// A handle that has not been told to stop.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Tells every hub that runs with this handle to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Default for StopHandle {
    fn default() -> Self {
        Self::new()
    }
}

/// The store's file.
const STORE: &str = "hub.db";

/// The file with the administrator's key.
const ADMIN_KEY: &str = "admin.key";

/// Makes the folder and takes the lock that says who owns it.
fn claim(data: &Path) -> Result<File, HubError> {
    let folder = |doing| move |source| HubError::Folder { doing, path: data.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(folder("make"))?;
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(data, private).map_err(folder("make private"))?;
    let claim = File::create(data.join("hub.lock")).map_err(folder("write in"))?;
    match claim.try_lock() {
        Ok(()) => Ok(claim),
        Err(TryLockError::WouldBlock) => Err(HubError::InUse(data.to_owned())),
        Err(TryLockError::Error(source)) => Err(folder("lock")(source)),
    }
}

/// Reads the files that know where addresses are.
fn places(files: &[PathBuf]) -> Result<Places, HubError> {
    let mut places = Places::default();
    for path in files {
        let folder = |source| HubError::Folder { doing: "read", path: path.clone(), source };
        let file = fs::read(path).map_err(folder)?;
        let fault = |source| HubError::Geoip { path: path.clone(), source };
        places.add(file).map_err(fault)?;
    }
    Ok(places)
}

/// Makes the administrator's key where there has never been one.
fn first_key(keys: &Keys, data: &Path) -> Result<Option<Key>, HubError> {
    if keys.list()?.iter().any(|it| it.role == Role::Administrator) {
        return Ok(None);
    }
    let (_, key) = keys.add("admin", Role::Administrator)?;
    let path = data.join(ADMIN_KEY);
    let doing = "write";
    keys::write_private(&path, format!("{}\n", key.reveal()).as_bytes())
        .map_err(|source| HubError::Folder { doing, path, source })?;
    Ok(Some(key))
}
