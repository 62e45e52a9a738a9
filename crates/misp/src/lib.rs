//! MISP's wire format as plain types, and one HTTP client.
//!
//! This room reads no file, no clock, no environment: what a call needs is an argument.

pub mod describe_types;
pub mod identity;
mod loose;
pub mod value;
pub mod wire;
