//! Bytes in, failures out: lines, dates, filters. Knows no file, no clock, no thread.
//!
//! A [`Filter`] is what fail2ban's configuration says, compiled once; it is immutable and shared.
//! A [`Scanner`] is one filter at work on one log: it remembers what fail2ban remembers between
//! lines (the connections of `<F-MLFID>`, the buffer of `maxlines`, the last date). Every line
//! goes in with the time it is now, and an [`Outcome`] comes out. A [`Pass`] is all filters of
//! one log, which read each of its lines once. [`Dates`] tells only when lines were written.

mod address;
mod buffer;
mod connections;
mod date;
mod dates;
mod dating;
mod encoding;
mod expression;
mod fields;
mod filter;
mod matcher;
mod pass;
mod scanner;
mod search;
mod sieve;
mod skim;

pub use address::IdKind;
pub use dates::{DateForms, Dates};
pub use encoding::knows_encoding;
pub use filter::{Filter, FilterError, FilterSpec, Part};
pub use pass::Pass;
pub use scanner::{Hit, Outcome, Scanner, Settings, Statistics, Told, Undated};
pub use search::Reach;
pub use skim::{Form, Skimmed, Skimmer};
