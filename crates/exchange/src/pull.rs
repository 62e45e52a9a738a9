//! Brings back what others know: a thread for each server, which asks a MISP now and then, and
//! follows a hub's change stream as it is written.
//!
//! What such a thread hears it tells the keeper of the block lists, in pieces; a list as a whole
//! counts once its last piece has come and is believed. When a server is away, what is known stays
//! and ages. A thread is woken by its server or by the time, and ends when it is stopped or nobody
//! listens any more.

mod hub;
mod misp;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use ::misp::{Client, Misconfigured, MispError};
use ipnet::IpNet;
use jiff::Timestamp;
use lists::PublicKey;
use lists::chain::{ChainError, Follower};
use lists::change::{MAX_LINE_BYTES, Withdrawal};
use serde::Deserialize;

use self::misp::Names;
use crate::backoff::{FIRST_RETRY, backoff};
use crate::blocklist::Indicator;
use crate::connect::{ConnectError, Connection};
use crate::destination::Transport;
use crate::intake::Intake;
use crate::stop::Stop;
use crate::warnings::Asking;

/// Rows in one piece.
const PIECE: usize = 1_000;
/// A hub that was reached a moment ago is asked again after this: its stream ends when it restarts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A server that indicators are pulled from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Its name in the configuration.
    pub name: String,
    /// Its address.
    pub url: String,
    /// The file that holds the API key.
    pub key_file: PathBuf,
    /// How it is reached.
    pub transport: Transport,
    /// The key that signs a hub's change stream, where the configuration pins it; else the first
    /// one that the hub shows is believed from then on.
    pub hub_key: Option<PublicKey>,
}

/// How far a server was followed; kept with what it told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    /// Of a MISP: the time of the last change, by its own clock.
    pub(crate) cursor: Option<Timestamp>,
    /// Of a MISP: when the list was last compared as a whole.
    pub(crate) reconciled: Option<Timestamp>,
    /// Of a hub: whom we believe, and where we are.
    pub(crate) follower: Option<Follower>,
}

/// An indicator under the name that its server knows it by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) indicator: Indicator,
}

/// A change of what a server knows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RowChange {
    Put(Row),
    Remove { id: String },
    Withdraw { net: IpNet, why: Withdrawal },
    Sighted { net: IpNet, last: i64 },
    Denied { net: IpNet, who: String },
}

/// What a server told.
#[derive(Debug)]
pub(crate) enum Told {
    /// A list as a whole begins; what came of an earlier one is forgotten.
    Begin,
    /// Rows of it.
    Rows(Vec<Row>),
    /// It was all, and is believed.
    Whole(Progress),
    /// Changes, and how far they reach.
    Changes(Vec<RowChange>, Progress),
    /// It answers, and there is nothing new.
    Alive,
    /// It did not answer as it should.
    Failed(PullError),
}

/// What was heard from one of the servers.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Which.
    pub(crate) origin: usize,
    pub(crate) told: Told,
}

/// Why nothing comes from a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Misp(#[from] MispError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(
        "the list has more than {most} entries, twice what `max_entries` allows; nothing of it is \
         taken"
    )]
    TooMany { most: u64 },
    #[error("the answer is no list ({0}); is the url that of the server itself?")]
    NoList(String),
    #[error("a line of the change stream is longer than {MAX_LINE_BYTES} bytes")]
    LongLine,
    #[error("a line of the change stream cannot be read ({0}); is the hub of a newer release?")]
    OddLine(serde_json::Error),
    #[error("the stream broke off ({0})")]
    CutShort(std::io::Error),
    /// The keeper has ended, and so does the thread.
    #[error("nobody listens any more")]
    Gone,
}

/// What is asked of every server.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// How often a MISP is asked.
    pub(crate) every: Duration,
    /// Which types of attributes.
    pub(crate) kinds: Vec<String>,
    /// The most indicators that a server may have.
    pub(crate) most: u64,
    /// Knows whether the server's warninglists are wanted, too.
    pub(crate) intake: Arc<Intake>,
}

/// Speaks for one server to the keeper.
struct Mouth<'a, M> {
    origin: usize,
    to: &'a SyncSender<M>,
}

impl<M: From<Heard>> Mouth<'_, M> {
    fn tell(&self, told: Told) -> Result<(), PullError> {
        let heard = Heard { origin: self.origin, told };
        self.to.send(heard.into()).map_err(|_| PullError::Gone)
    }
}

/// Starts to listen to `origin`, from where it was left.
pub(crate) fn listen<M: From<Heard> + Send + 'static>(
    number: usize,
    origin: Origin,
    progress: Progress,
    wanted: Wanted,
    to: SyncSender<M>,
    stop: Stop,
) {
    let mut visitor = Visitor {
        origin,
        progress,
        wanted,
        connection: Connection::default(),
        asking: Asking::default(),
        names: Names::default(),
    };
    // It is not waited for: a read may take as long as a server is silent, and it owns nothing.
    thread::spawn(move || {
        let mouth = Mouth { origin: number, to: &to };
        let mut n_failed = 0;
        while !stop.is_stopped() {
            let before = visitor.progress;
            let visited = visitor.visit(&mouth);
            if before != visitor.progress {
                n_failed = 0;
            }
            let every = visitor.wanted.every;
            let wait = match visited {
                Ok(Visited::Misp) => {
                    n_failed = 0;
                    every
                }
                // A stream that was cut is taken up at once, and then ever less often.
                Ok(Visited::Hub) => {
                    n_failed += 1;
                    backoff(FIRST_RETRY, n_failed).min(LONGEST_PAUSE)
                }
                Err(PullError::Gone) => return,
                Err(error) => {
                    n_failed += 1;
                    let is_hub = visitor.progress.follower.is_some();
                    let longest = if is_hub { LONGEST_PAUSE } else { every };
                    if mouth.tell(Told::Failed(error)).is_err() {
                        return;
                    }
                    backoff(FIRST_RETRY, n_failed).min(longest)
                }
            };
            stop.pause(wait);
        }
    });
}

/// What a server turned out to be.
enum Visited {
    Misp,
    Hub,
}

/// Goes to one server, and remembers how far it came.
struct Visitor {
    origin: Origin,
    progress: Progress,
    wanted: Wanted,
    connection: Connection,
    asking: Asking,
    names: Names,
}

impl Visitor {
    fn visit<M: From<Heard>>(&mut self, mouth: &Mouth<'_, M>) -> Result<Visited, PullError> {
        let Self { origin, progress, wanted, .. } = self;
        let client = self.connection.to(&origin.url, &origin.key_file, &origin.transport)?;
        let (warnings, now) = (wanted.intake.warnings(), Timestamp::now());
        if wanted.intake.heeds_warnings() && self.asking.is_due(warnings, now) {
            self.asking.ask(warnings, client, now)?;
        }
        if progress.follower.is_none() {
            let key = origin.hub_key.map_or_else(|| shown_key(client), |key| Ok(Some(key)))?;
            progress.follower = key.map(Follower::new);
        }
        match &mut progress.follower {
            Some(follower) => {
                if let Some(pinned) = origin.hub_key.filter(|_| follower.place.sequence == 0) {
                    follower.key = pinned;
                }
                hub::follow(client, follower, wanted.most, mouth).map(|()| Visited::Hub)
            }
            None => {
                misp::pull(client, progress, wanted, &mut self.names, mouth)?;
                Ok(Visited::Misp)
            }
        }
    }
}

/// The key that the server signs its list with, if it is a hub.
fn shown_key(client: &Client) -> Result<Option<PublicKey>, PullError> {
    #[derive(Deserialize)]
    struct Shown {
        key: PublicKey,
    }
    match client.read::<Shown>("lists/key") {
        Ok(shown) => Ok(Some(shown.key)),
        // A MISP knows no such call, and says so in one of several ways.
        Err(MispError::Misconfigured {
            why: Misconfigured::NoSuchCall(_) | Misconfigured::NoRight(_) | Misconfigured::Denied(_),
            ..
        }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
