//! The answering end: a thread a connection, few of them for each role.
//!
//! A caller that may ask for nothing is told so and let go before a thread is spent on it.

use std::fs::Permissions;
use std::io::{self, BufReader};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fs, thread};

use rustix::net::Shutdown;
use serde::{Deserialize, Serialize};

use crate::caller::{Accounts, Caller, Role};
use crate::frame::{self, FrameError, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES};
use crate::guard::{DisabledJail, GuardAnswer, GuardRequest};
use crate::{Reply, Request, fail2ban, pickle};

/// Connections at once for operators: a few terminals, a metrics reader, scripts.
const MAX_OPERATORS: usize = 64;
/// Connections at once for exchange and for decoys each, so that neither shuts operators out.
const MAX_SERVANTS: usize = 8;
/// How long a caller may take to read an answer before its connection is dropped.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait after the system could not accept, so that a full table does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a daemon says no, in words for the one who asked.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The caller's user may not ask for this.
    #[error("this user may not do that; be root or a member of group fail2misp-admin")]
    NotAllowed,
    /// The request was not understood.
    #[error("the daemon does not understand the request: {0}; is it of the same release?")]
    NotUnderstood(String),
    /// Too many connections in the caller's role.
    #[error("the daemon has too many connections; try again")]
    Busy,
    /// There is no such jail.
    #[error("there is no jail `{0}`; `fail2misp status` lists the jails")]
    NoJail(String),
    /// The configuration cannot be put in force.
    #[error("the configuration is broken, nothing has changed; {}", faults(.0))]
    Broken(Vec<DisabledJail>),
    /// The daemon is ending.
    #[error("the daemon is stopping")]
    Stopping,
    /// Anything else, as a sentence with its reason.
    #[error("{0}")]
    Failed(String),
}

fn faults(of: &[DisabledJail]) -> String {
    let faults: Vec<_> = of.iter().map(|it| format!("jail `{}`: {}", it.jail, it.why)).collect();
    faults.join("; ")
}

/// Why a daemon cannot be asked anything.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another process answers there.
    #[error(
        "another daemon answers at `{}` already; stop it, or give this one its own `--runtime`",
        path.display()
    )]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket stands there.
    #[error("`{}` is there and is no socket; move it away", path.display())]
    NotASocket {
        /// What stands there.
        path: PathBuf,
    },
    /// The system said no.
    #[error("listening at `{}` failed; may this user write there?", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Answers requests at a socket until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: Arc<UnixListener>,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `path`, whose folder is made where it is missing, and answers each request
    /// that its caller may make with what `handler` returns.
    ///
    /// `handler` runs on the connection's own thread, many at once. A socket that a killed
    /// daemon left behind is replaced.
    ///
    /// # Errors
    ///
    /// When another daemon answers there, or the system does not allow it.
    pub fn listen<R, H>(path: &Path, accounts: Accounts, handler: H) -> Result<Self, ServerError>
    where
        R: Request,
        H: Fn(&Caller, R) -> Result<R::Answer, Refusal> + Send + Sync + 'static,
    {
        // How a conversation ends is the caller's affair; it reads the reason, if any.
        Self::serve(path, accounts, move |stream, caller| drop(converse(stream, caller, &handler)))
    }

    /// Listens at `path` for operators whose programs speak fail2ban's own protocol.
    ///
    /// # Errors
    ///
    /// As [`Self::listen`].
    pub fn listen_as_fail2ban<H>(
        path: &Path,
        accounts: Accounts,
        handler: H,
    ) -> Result<Self, ServerError>
    where
        H: Fn(&Caller, GuardRequest) -> Result<GuardAnswer, Refusal> + Send + Sync + 'static,
    {
        Self::serve(path, accounts, move |stream, caller| {
            let ask = |request: &GuardRequest| match request.allows(caller.role) {
                true => handler(caller, request.clone()),
                false => Err(Refusal::NotAllowed),
            };
            // As above.
            drop(pickle::converse(stream, |words| fail2ban::answer(words, ask)));
        })
    }

    /// Listens at `path` and has `talk` speak with whoever may ask for anything.
    fn serve<T>(path: &Path, accounts: Accounts, talk: T) -> Result<Self, ServerError>
    where
        T: Fn(&UnixStream, &Caller) + Send + Sync + 'static,
    {
        let listener = Arc::new(bind(path)?);
        let stopping = Arc::new(AtomicBool::new(false));
        let accepting = {
            let (listener, stopping) = (Arc::clone(&listener), Arc::clone(&stopping));
            thread::Builder::new()
                .name("control".into())
                .spawn(move || accept(&listener, &stopping, &accounts, &Arc::new(talk)))
                .map_err(|source| ServerError::Io { path: path.to_owned(), source })?
        };
        Ok(Self { path: path.to_owned(), listener, stopping, accepting: Some(accepting) })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    /// Accepts nobody any more and removes the socket; requests that are being answered end by
    /// themselves.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Best effort, all three: the process is about to end, and the next one copes with a
        // socket that is left behind.
        let _ = rustix::net::shutdown(&self.listener, Shutdown::Both);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> Result<UnixListener, ServerError> {
    let fault = |source| ServerError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fault)?;
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ServerError::NotASocket { path: path.to_owned() });
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(ServerError::Taken { path: path.to_owned() });
        }
        Ok(_) => fs::remove_file(path).map_err(fault)?,
    }
    let listener = UnixListener::bind(path).map_err(fault)?;
    // Anybody may connect: exchange and decoys have users of their own, and who may ask what is
    // decided by the peer's credentials.
    fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(fault)?;
    Ok(listener)
}

fn accept<T>(listener: &UnixListener, stopping: &AtomicBool, accounts: &Accounts, talk: &Arc<T>)
where
    T: Fn(&UnixStream, &Caller) + Send + Sync + 'static,
{
    let (operators, exchanges, decoys) = (Seats::default(), Seats::default(), Seats::default());
    while !stopping.load(Ordering::SeqCst) {
        let Ok((stream, _)) = listener.accept() else {
            if !stopping.load(Ordering::SeqCst) {
                thread::sleep(ACCEPT_PAUSE);
            }
            continue;
        };
        let Ok(caller) = accounts.caller(&stream) else { continue };
        let seat = match caller.role {
            Role::Operator => operators.take(MAX_OPERATORS).ok_or(Refusal::Busy),
            Role::Exchange => exchanges.take(MAX_SERVANTS).ok_or(Refusal::Busy),
            Role::Decoy => decoys.take(MAX_SERVANTS).ok_or(Refusal::Busy),
            Role::Nobody => Err(Refusal::NotAllowed),
        };
        let seat = match seat {
            Ok(seat) => seat,
            Err(refusal) => {
                turn_away(&stream, refusal);
                continue;
            }
        };
        let talk = Arc::clone(talk);
        let spawned = thread::Builder::new().name("control-peer".into()).spawn(move || {
            let _seat = seat;
            // A caller that reads nothing does not hold its thread for ever.
            if stream.set_write_timeout(Some(WRITE_PATIENCE)).is_ok() {
                talk(&stream, &caller);
            }
        });
        // Without a thread the stream is dropped, and the caller sees the connection close.
        drop(spawned);
    }
}

/// Tells a caller why it is not listened to.
fn turn_away(stream: &UnixStream, refusal: Refusal) {
    // A caller that does not read its one line has lost nothing; never wait for it here.
    let _ = stream.set_nonblocking(true);
    let _ = frame::write(&mut &*stream, &Reply::<()>::Refused(refusal), MAX_ANSWER_BYTES);
}

fn converse<R, H>(stream: &UnixStream, caller: &Caller, handler: &H) -> Result<(), FrameError>
where
    R: Request,
    H: Fn(&Caller, R) -> Result<R::Answer, Refusal>,
{
    let mut from = BufReader::new(stream);
    loop {
        let reply = match frame::read::<R>(&mut from, MAX_REQUEST_BYTES) {
            Ok(request) if !request.allows(caller.role) => Reply::Refused(Refusal::NotAllowed),
            Ok(request) => handler(caller, request).map_or_else(Reply::Refused, Reply::Done),
            Err(FrameError::Garbled(why)) => {
                Reply::Refused(Refusal::NotUnderstood(why.to_string()))
            }
            Err(error) => return Err(error),
        };
        frame::write(&mut &*stream, &reply, MAX_ANSWER_BYTES)?;
    }
}

/// How many connections of one role there are.
#[derive(Clone, Default)]
struct Seats(Arc<AtomicUsize>);

impl Seats {
    /// Takes a seat where fewer than `max` are taken; dropping it gives it back.
    fn take(&self, max: usize) -> Option<Seat> {
        let taken = self.0.fetch_add(1, Ordering::SeqCst);
        let seat = Seat(Arc::clone(&self.0));
        (taken < max).then_some(seat)
    }
}

struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
