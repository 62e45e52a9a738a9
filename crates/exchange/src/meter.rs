//! Counts what was told since the start, for whoever reads the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use control::metrics::Histogram;

/// Seconds that a step of a delivery takes: from one call to a healthy server to a time-out.
const BOUNDS: [f64; 9] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0];

/// What became of a row, or of a try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// MISP was told.
    Told,
    /// MISP need not be told.
    Settled,
    /// MISP refused it for good.
    Refused,
    /// The server could not be reached, or would not.
    Failed,
}

impl Outcome {
    pub(crate) const ALL: [Self; 4] = [Self::Told, Self::Settled, Self::Refused, Self::Failed];

    /// A word for labels.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Settled => "settled",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// The counts of one process.
#[derive(Debug)]
pub(crate) struct Meter {
    counts: [AtomicU64; Outcome::ALL.len()],
    seconds: Mutex<Histogram>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { counts: Default::default(), seconds: Mutex::new(Histogram::new(&BOUNDS)) }
    }
}

impl Meter {
    pub(crate) fn count(&self, outcome: Outcome, n: u64) {
        self.counts[outcome as usize].fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn counted(&self, outcome: Outcome) -> u64 {
        self.counts[outcome as usize].load(Ordering::Relaxed)
    }

    /// Adds how long a step took that told something.
    pub(crate) fn took(&self, time: Duration) {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).observe(time.as_secs_f64());
    }

    pub(crate) fn seconds(&self) -> Histogram {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
