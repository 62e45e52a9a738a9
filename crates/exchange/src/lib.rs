//! The networked half: outbox to MISP, MISP to block list.
//!
//! Reports come from the spool ([`spool`]) and bans from guard's log ([`Source`]). What the
//! policy lets through goes to the outbox on disk, and from there to MISP in batches. The only
//! holder of an API key.

mod answer;
mod backoff;
mod blocklist;
mod budget;
mod connect;
mod deliver;
pub mod destination;
pub mod examine;
mod follow;
mod intake;
pub mod keys;
mod lock;
mod look_back;
mod meter;
mod metrics;
mod owner;
mod pattern;
mod plan;
pub mod policy;
mod preview;
mod pull;
mod report;
mod run;
pub mod spool;
mod state;
mod stop;
mod store;
mod take;
mod warnings;
mod watch;

pub use backoff::FIRST_RETRY;
pub use blocklist::{ADDRESS_TYPES, BlockPolicy, Pull};
pub use connect::{ConnectError, client};
pub use destination::{
    Addressee, Budget, Context, Destination, EventChoice, EventTemplate, HARD_MAX_ATTRIBUTES,
    Publish, Transport,
};
pub use follow::{GuardSource, Part, Source, SourceError};
pub use lock::{LockError, is_delivering};
pub use look_back::LookBack;
pub use metrics::MetricsSetup;
pub use policy::{Policy, Treatment};
pub use pull::Origin;
pub use report::{Past, Report};
pub use run::{Ended, ExchangeError, Mode, Setup, run};
pub use stop::Stop;
pub use store::StoreError;

/// The target of every line of exchange's log, which is apart from guard's.
pub const LOG: &str = "fail2misp.exchange";
