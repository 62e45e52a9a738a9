//! MISP's wire format as plain types, and one HTTP client.
//!
//! This room reads no file, no clock, no environment: what a call needs is an argument.

mod answer;
mod client;
pub mod describe_types;
mod error;
pub mod identity;
mod loose;
pub mod text;
pub mod value;
pub mod wire;

pub use client::{CALL_TIMEOUT, Client, MAX_SIGHTED_VALUES, Options};
pub use error::{Misconfigured, MispError, Outage, Refusal};
