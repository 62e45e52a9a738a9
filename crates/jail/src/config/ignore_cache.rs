//! Reads `ignorecache`: `key="<ip>", max-count=100, max-time=5m`.

use jiff::SignedDuration;

use super::duration;
use super::expression::ExpressionError;
use super::options::{Item, OptionsError};

/// Answers remembered, and for how many seconds, where `ignorecache` does not say.
const MAX_COUNT: usize = 100;
const MAX_SECONDS: f64 = 300.0;

/// How long it is remembered whether somebody is ignored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IgnoreCache {
    /// What an answer is remembered for, with the tags of a failure in it: `<ip>`.
    pub key: String,
    /// Answers that are remembered at once; the oldest goes first.
    pub max_count: usize,
    /// How long each of them holds.
    pub max_time: SignedDuration,
}

/// Why `ignorecache` has no meaning.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreCacheError {
    /// It is no list of options.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Nothing tells whom an answer is for.
    #[error("it has no `key`; `key=\"<ip>\"` remembers each address")]
    NoKey,
    /// A number is none.
    #[error("`max-count={0}` is no whole number")]
    MaxCount(String),
    /// A time is none.
    #[error("`max-time={0}` is no time: {1}")]
    MaxTime(String, ExpressionError),
}

impl IgnoreCache {
    /// Reads the option.
    ///
    /// # Errors
    ///
    /// Says which part of it has no meaning.
    pub fn parse(text: &str) -> Result<Self, IgnoreCacheError> {
        let mut options = Item::parse(&format!("cache[{text}]"))?.options;
        let key = options.remove("key").ok_or(IgnoreCacheError::NoKey)?;
        let max_count = match options.remove("max-count") {
            None => MAX_COUNT,
            Some(text) => text.parse().map_err(|_| IgnoreCacheError::MaxCount(text))?,
        };
        let seconds = match options.remove("max-time") {
            None => MAX_SECONDS,
            Some(text) => {
                duration::seconds(&text).map_err(|why| IgnoreCacheError::MaxTime(text, why))?
            }
        };
        let max_time = SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::MAX);
        Ok(Self { key, max_count, max_time })
    }
}
