//! The asking end.

use std::io::{self, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::frame::{self, FrameError, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES};
use crate::server::Refusal;
use crate::{Reply, Request};

/// How long an answer may take: a daemon that restores half a million bans is busy for seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers at `{}`; start it with `fail2misp run`", path.display())]
    NoDaemon {
        /// The socket that was tried.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket's folder is closed to this user.
    #[error(
        "this user may not reach `{}`; be root or a member of group fail2misp-admin",
        path.display()
    )]
    NoAccess {
        /// The socket that was tried.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It listens and does not answer.
    #[error("the daemon at `{}` did not answer within {} s", path.display(), patience.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long was waited.
        patience: Duration,
    },
    /// The conversation broke.
    #[error("the conversation with the daemon at `{}` broke off", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// How.
        source: FrameError,
    },
    /// It answered something else: the two ends are of different releases.
    #[error(
        "the daemon at `{}` answered something else than was asked; restart it after an upgrade",
        path.display()
    )]
    Unexpected {
        /// The socket.
        path: PathBuf,
    },
    /// It said no, and why.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A connection to a daemon; one request at a time.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the daemon that listens at `path`.
    ///
    /// # Errors
    ///
    /// When nobody listens there, or this user may not connect.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|source| {
            let path = path.to_owned();
            match source.kind() {
                io::ErrorKind::PermissionDenied => ClientError::NoAccess { path, source },
                _ => ClientError::NoDaemon { path, source },
            }
        })?;
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// Asks, and waits for the answer.
    ///
    /// After an error other than a refusal the connection is of no use any more.
    ///
    /// # Errors
    ///
    /// When the daemon refuses, is silent, or breaks off.
    pub fn ask<R: Request>(&mut self, request: &R) -> Result<R::Answer, ClientError> {
        self.ask_patiently(request, Duration::ZERO)
    }

    /// Asks for what the daemon itself may wait for, `longer` than any answer may take.
    ///
    /// # Errors
    ///
    /// As [`Self::ask`].
    pub fn ask_patiently<R: Request>(
        &mut self,
        request: &R,
        longer: Duration,
    ) -> Result<R::Answer, ClientError> {
        let patience = PATIENCE + longer;
        match self.exchange(request, patience) {
            Ok(Reply::Done(answer)) => Ok(answer),
            Ok(Reply::Refused(refusal)) => Err(refusal.into()),
            Err(FrameError::Io(error)) if timed_out(&error) => {
                Err(ClientError::Silent { path: self.path.clone(), patience })
            }
            Err(source) => Err(ClientError::Broken { path: self.path.clone(), source }),
        }
    }

    /// Waits until the daemon has closed the connection, as its end does; no longer than any answer
    /// may take.
    ///
    /// # Errors
    ///
    /// Where it has not by then.
    pub(crate) fn wait_for_end(mut self) -> Result<(), ClientError> {
        let patience = PATIENCE;
        let ended = self.stream.get_mut().set_read_timeout(Some(patience));
        match ended.and_then(|()| self.stream.read(&mut [0])) {
            Err(error) if timed_out(&error) => {
                Err(ClientError::Silent { path: self.path, patience })
            }
            // A reset is an end, too.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The error for an answer that does not belong to the request.
    pub(crate) fn unexpected(&self) -> ClientError {
        ClientError::Unexpected { path: self.path.clone() }
    }

    fn exchange<R: Request>(
        &mut self,
        request: &R,
        patience: Duration,
    ) -> Result<Reply<R::Answer>, FrameError> {
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(patience)).map_err(FrameError::Io)?;
        stream.set_write_timeout(Some(patience)).map_err(FrameError::Io)?;
        match frame::write(stream, request, MAX_REQUEST_BYTES) {
            // A daemon that turns the caller away says why first, and closes then.
            Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            sent => sent?,
        }
        frame::read(&mut self.stream, MAX_ANSWER_BYTES)
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
