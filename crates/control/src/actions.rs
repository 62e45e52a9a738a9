//! What the role `actions` is asked: to run a command of an action for guard, which has not the
//! rights for it.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Client, ClientError, Request, Role};

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

impl Request for RunCommand {
    type Answer = CommandEnded;

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
pub fn run(socket: &Path, command: &RunCommand) -> Result<CommandEnded, ClientError> {
    let longer = Duration::from_millis(command.timeout_ms);
    Client::connect(socket)?.ask_patiently(command, longer)
}
