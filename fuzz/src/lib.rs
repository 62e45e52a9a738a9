//! What the fuzz targets hold the parsers to: a module a target, and in it one `check`.
//!
//! `crates/jail/tests/fuzz_corpus.rs` includes these modules and replays `corpus/`, so that they
//! cannot rot between two runs of the fuzzer.

pub mod date;
pub mod expand;
pub mod filter;
pub mod ini;
pub mod line;

mod files;
mod scanning;
