//! MISP's wire format as plain types, and one HTTP client.

pub mod describe_types;
pub mod value;
