//! How long to wait before the next try.

use std::time::Duration;

use uuid::Uuid;

/// The pause after the first failure: most are a restart of the server.
pub const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Tries are never further apart; a minute's delay after an outage of a day is nothing.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// Nor these, where an administrator has to act: whoever has mended it wants to see it work.
pub(crate) const LONGEST_MISCONFIGURED: Duration = Duration::from_secs(60);

/// The wait after `n_failed` failures in a row: twice as long each time, and up to a quarter less
/// by chance, so that many hosts do not come back to a server at once.
pub(crate) fn backoff(first: Duration, n_failed: u32) -> Duration {
    let doubled = first.saturating_mul(1 << n_failed.saturating_sub(1).min(16)).min(LONGEST);
    let chance = f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    doubled.mul_f64(1.0 - chance / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest() {
        for (n_failed, secs) in [(0, 1), (1, 1), (2, 2), (4, 8), (9, 256), (10, 300), (99, 300)] {
            let (wait, most) = (backoff(FIRST_RETRY, n_failed), Duration::from_secs(secs));
            assert!(wait <= most && wait >= most.mul_f64(0.75), "{n_failed}: {wait:?}");
        }
    }
}
