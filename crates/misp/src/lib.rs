//! MISP's wire format as plain types, and one HTTP client.
//!
//! This room reads no file, no clock, no environment: what a call needs is an argument.

mod answer;
mod call;
mod client;
pub mod describe_types;
mod error;
pub mod identity;
mod loose;
pub mod pull;
pub mod search;
pub mod text;
pub mod value;
pub mod wire;

pub use call::{AttributeChange, Call, MAX_SIGHTED_VALUES};
pub use client::{CALL_TIMEOUT, Client, Options, RELAY};
pub use error::{Misconfigured, MispError, Outage, Refusal};
