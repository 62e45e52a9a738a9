//! The networked half: outbox to MISP, MISP to block list.
//!
//! Reports come from the spool ([`spool`]) and bans from guard's log ([`run::Source`]). What the
//! policy lets through goes to the outbox on disk, and from there to MISP in batches. The only
//! holder of an API key.

#![allow(dead_code, reason = "the outbox that uses the rest follows")]

pub mod destination;
pub mod keys;
mod owner;
mod pattern;
pub mod policy;
mod report;
pub mod run;
pub mod spool;
mod state;

pub use destination::{Addressee, Destination, EventChoice, Publish};
pub use policy::Policy;
pub use report::Report;
pub use run::{Ended, ExchangeError, Mode, Setup, Source, Stop, run};
