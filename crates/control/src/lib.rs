//! The one protocol that the halves, the command line and the decoys speak over a Unix socket.
//!
//! One JSON object a line each way, a request and then its answer. Who may ask what is decided
//! by the kernel's word of who is at the other end ([`Caller`]), never by what is said.
//!
//! - [`guard`]: what guard is asked, and answers
//! - [`block_list`]: of it, what exchange wants blocked
//! - [`look_back`]: of it, what old logs are searched for
//! - [`config`]: the part of it that is about what is configured
//! - [`fail2ban`]: fail2ban-client's commands, in terms of those
//! - [`exchange`]: what exchange is asked, and answers
//! - [`actions`]: what runs commands for guard is asked, and answers
//! - [`pulled`]: of it, what came back and is blocked
//! - [`metrics`]: the numbers of both, as Prometheus reads them
//! - [`Client`] and [`Server`]: the two ends, for either protocol

pub mod actions;
pub mod block_list;
mod caller;
mod client;
pub mod config;
pub mod exchange;
pub mod fail2ban;
mod frame;
pub mod guard;
pub mod look_back;
pub mod metrics;
mod pickle;
pub mod pulled;
mod server;

pub use caller::{Accounts, Caller, Role};
pub use client::{Client, ClientError};
pub use frame::FrameError;
pub use guard::BanLog;
pub use server::{Refusal, Server, ServerError};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// One side of a conversation: what may be asked, and what is then answered.
pub trait Request: Serialize + DeserializeOwned + Send + 'static {
    /// What is answered.
    type Answer: Serialize + DeserializeOwned + std::fmt::Debug;

    /// Whether a caller in this role may ask for this.
    fn allows(&self, role: Role) -> bool;
}

/// What crosses the socket for one request.
#[derive(Debug, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply<A> {
    Done(A),
    Refused(Refusal),
}
