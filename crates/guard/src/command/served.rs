//! The role `actions`: runs the commands of jails, and resolves names, for a guard that has not the
//! rights for them.
//!
//! A thread a connection does one thing; whose turn it is, how often and for how long, is for the
//! queues of guard to say. It listens to root and guard's own user alone, as what it is told to run
//! it runs.

use std::path::Path;

use control::actions::{ActionsAnswer, ActionsRequest};
use control::{Accounts, Caller, Server, ServerError};

use super::{names, shell};

/// Commands are run, and names resolved, for as long as this lives.
#[derive(Debug)]
pub struct Actions {
    _server: Server,
}

impl Actions {
    /// Listens at `socket`.
    ///
    /// # Errors
    ///
    /// When another daemon answers there, or the system does not allow it.
    pub fn serve(socket: &Path) -> Result<Self, ServerError> {
        let fault = |source| ServerError::Io { path: socket.to_owned(), source };
        let accounts = Accounts::of_guard().map_err(fault)?;
        let answer = |_: &Caller, request| Ok(answer(request));
        Ok(Self { _server: Server::listen(socket, accounts, answer)? })
    }
}

fn answer(request: ActionsRequest) -> ActionsAnswer {
    match request {
        ActionsRequest::Run(command) => ActionsAnswer::Ended(shell::answer(&command)),
        ActionsRequest::Addresses { name } => ActionsAnswer::Addresses(names::addresses_of(&name)),
        ActionsRequest::Name { of } => ActionsAnswer::Name(names::name_of(&of)),
    }
}
