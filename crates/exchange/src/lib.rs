//! The networked half: outbox to MISP, MISP to block list.
//!
//! Reports come from the spool ([`spool`]) and bans from guard's log ([`Source`]). What the
//! policy lets through goes to the outbox on disk, and from there to MISP in batches. The only
//! holder of an API key.

mod answer;
mod backoff;
mod connect;
mod deliver;
pub mod destination;
mod follow;
mod intake;
pub mod keys;
mod lock;
mod owner;
mod pattern;
mod plan;
pub mod policy;
mod report;
mod run;
pub mod spool;
mod state;
mod stop;
mod store;
mod take;
mod watch;

pub use backoff::FIRST_RETRY;
pub use destination::{Addressee, Destination, EventChoice, Publish};
pub use follow::{GuardSource, Source, SourceError};
pub use lock::{LockError, is_delivering};
pub use policy::Policy;
pub use report::Report;
pub use run::{Ended, ExchangeError, Mode, Setup, run};
pub use stop::Stop;
pub use store::StoreError;

/// The target of every line of exchange's log, which is apart from guard's.
pub const LOG: &str = "fail2misp.exchange";
