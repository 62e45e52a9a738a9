//! Counts the commits, and lets who wants to know wait for the next.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The number of commits so far.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    n: Mutex<u64>,
    more: Condvar,
}

impl Commits {
    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        *self.n.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There was one more.
    pub(super) fn add(&self) {
        *self.n.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.more.notify_all();
    }

    /// Waits until there were more than `n`, for so long, and tells how many there were.
    pub(crate) fn wait_beyond(&self, n: u64, longest: Duration) -> u64 {
        let count = self.n.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.more.wait_timeout_while(count, longest, |count| *count <= n);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
