//! What the role `actions` is asked: to run a command for guard, or to resolve a name, for which
//! guard has not the rights.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Client, ClientError, Request, Role};

/// How long a name may take, beyond what any answer may: resolv.conf(5) allows three servers, two
/// attempts and thirty seconds.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(180);

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
    let mut client = Client::connect(socket)?;
    match client.ask_patiently(&ActionsRequest::Run(command), longer)? {
        ActionsAnswer::Ended(ended) => Ok(ended),
        _ => Err(client.unexpected()),
    }
}

/// The addresses that a name stands for, by the word of whoever listens at `socket`; else why there
/// are none.
///
/// # Errors
///
/// As [`run`].
pub fn addresses(socket: &Path, name: &str) -> Result<Result<Vec<IpAddr>, String>, ClientError> {
    let mut client = Client::connect(socket)?;
    let request = ActionsRequest::Addresses { name: name.to_owned() };
    match client.ask_patiently(&request, LOOKUP_PATIENCE)? {
        ActionsAnswer::Addresses(addrs) => Ok(addrs),
        _ => Err(client.unexpected()),
    }
}

/// The name of an address, or a host's full one, by the word of whoever listens at `socket`.
///
/// # Errors
///
/// As [`run`].
pub fn name(socket: &Path, of: &str) -> Result<Option<String>, ClientError> {
    let mut client = Client::connect(socket)?;
    let request = ActionsRequest::Name { of: of.to_owned() };
    match client.ask_patiently(&request, LOOKUP_PATIENCE)? {
        ActionsAnswer::Name(name) => Ok(name),
        _ => Err(client.unexpected()),
    }
}
