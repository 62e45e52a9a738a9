//! What the role `actions` is asked: to run a command for guard, or to resolve a name, for which
//! guard has not the rights.

use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{Client, ClientError, Refusal, Request, Role};

/// How long a name may take, beyond what any answer may: resolv.conf(5) allows three servers, two
/// attempts and thirty seconds.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(180);

/// How long all seats may be taken: a few commands that take as long as they may by default.
const SEAT_PATIENCE: Duration = Duration::from_secs(600);

/// How long to wait before a seat is asked for again.
const SEAT_PAUSE: Duration = Duration::from_millis(50);

/// What guard asks.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum ActionsRequest {
    /// Run this.
    Run(RunCommand),
    /// What does this name stand for?
    Addresses {
        /// A host's.
        name: String,
    },
    /// What is this called?
    Name {
        /// An address, or a host's short name.
        of: String,
    },
}

/// What it is told.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionsAnswer {
    /// What became of a command.
    Ended(CommandEnded),
    /// The addresses of a name; else why there are none.
    Addresses(Result<Vec<IpAddr>, String>),
    /// A name, if there is one.
    Name(Option<String>),
}

/// A command to run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct RunCommand {
    /// The text for `/bin/sh -c`: the administrator's own.
    pub script: String,
    /// Its arguments, from `$0` on; what a log said is in these alone.
    pub arguments: Vec<String>,
    /// How long it may take.
    pub timeout_ms: u64,
}

/// What became of a command.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandEnded {
    /// It returned 0.
    Done,
    /// It took too long and was ended.
    Late,
    /// It failed.
    Failed {
        /// How it ended.
        how: String,
        /// What it returned, unless a signal ended it.
        code: Option<i32>,
        /// What it said, if anything; hostile.
        said: String,
    },
    /// It could not be started, and why.
    NotStarted(String),
}

impl Request for ActionsRequest {
    type Answer = ActionsAnswer;

    /// [`crate::Accounts::of_guard`] lets in nobody else.
    fn allows(&self, role: Role) -> bool {
        role == Role::Operator
    }
}

/// Has a command run by whoever listens at `socket`, and waits for its end.
///
/// # Errors
///
/// When nobody listens there, or the conversation breaks off.
pub fn run(socket: &Path, command: RunCommand) -> Result<CommandEnded, ClientError> {
    let longer = Duration::from_millis(command.timeout_ms);
    match ask(socket, &ActionsRequest::Run(command), longer)? {
        ActionsAnswer::Ended(ended) => Ok(ended),
        _ => Err(unexpected(socket)),
    }
}

/// The addresses that a name stands for, by the word of whoever listens at `socket`; else why there
/// are none.
///
/// # Errors
///
/// As [`run`].
pub fn addresses(socket: &Path, name: &str) -> Result<Result<Vec<IpAddr>, String>, ClientError> {
    let request = ActionsRequest::Addresses { name: name.to_owned() };
    match ask(socket, &request, LOOKUP_PATIENCE)? {
        ActionsAnswer::Addresses(addrs) => Ok(addrs),
        _ => Err(unexpected(socket)),
    }
}

/// The name of an address, or a host's full one, by the word of whoever listens at `socket`.
///
/// # Errors
///
/// As [`run`].
pub fn name(socket: &Path, of: &str) -> Result<Option<String>, ClientError> {
    let request = ActionsRequest::Name { of: of.to_owned() };
    match ask(socket, &request, LOOKUP_PATIENCE)? {
        ActionsAnswer::Name(name) => Ok(name),
        _ => Err(unexpected(socket)),
    }
}

/// Asks, and waits for a seat where a hundred jails ask at once.
fn ask(
    socket: &Path,
    request: &ActionsRequest,
    longer: Duration,
) -> Result<ActionsAnswer, ClientError> {
    let begun = Instant::now();
    loop {
        match Client::connect(socket)?.ask_patiently(request, longer) {
            Err(ClientError::Refused(Refusal::Busy)) if begun.elapsed() < SEAT_PATIENCE => {
                thread::sleep(SEAT_PAUSE);
            }
            answer => return answer,
        }
    }
}

fn unexpected(socket: &Path) -> ClientError {
    ClientError::Unexpected { path: socket.to_owned() }
}
