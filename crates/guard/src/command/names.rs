//! What names stand for and what addresses are called, as this host resolves them: it may take half
//! a minute, and needs a network, which guard's own unit has not.

use std::net::{IpAddr, ToSocketAddrs};
use std::process::Command;

use control::{ClientError, actions};

use super::Shell;

/// Why a name stands for nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NameError {
    /// The role `actions` could not be asked.
    #[error("nobody was asked; does fail2misp-actions.service run?")]
    Unasked(#[from] ClientError),
    /// It does not resolve, and why.
    #[error("{0}")]
    Unknown(String),
}

impl Shell {
    /// What a name stands for now.
    pub(crate) fn addresses_of(&self, name: &str) -> Result<Vec<IpAddr>, NameError> {
        let addrs = match self {
            Self::Here => addresses_of(name),
            Self::At(socket) => actions::addresses(socket, name)?,
        };
        addrs.map_err(NameError::Unknown)
    }

    /// The name of an address or a host; nothing where it has none, or nobody could be asked.
    pub(super) fn name_of(&self, of: &str) -> Option<String> {
        match self {
            Self::Here => name_of(of),
            Self::At(socket) => actions::name(socket, of).ok().flatten(),
        }
    }
}

/// What a name stands for, as this process resolves it; else why that is nothing.
pub(super) fn addresses_of(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut addrs: Vec<IpAddr> = found.map(|it| it.ip().to_canonical()).collect();
    addrs.sort_unstable();
    addrs.dedup();
    Ok(addrs)
}

/// The name of an address or a host, as this process resolves it; by getent(1), because the standard
/// library asks for addresses alone.
pub(super) fn name_of(of: &str) -> Option<String> {
    let output = Command::new("getent").args(["hosts", "--", of]).output().ok()?;
    str::from_utf8(&output.stdout).ok()?.split_whitespace().nth(1).map(str::to_owned)
}
