//! How often one key may search in a minute, so that one agent gone wrong does not starve the
//! others. As in MISP, searches alone are counted: what is brought is cheap, and must not be lost.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Searches of one key in one window: twenty a second, where an agent needs one in five minutes.
pub(crate) const MAX_SEARCHES: u32 = 1_200;

/// Seconds of a window.
const WINDOW: i64 = 60;

/// The windows of all keys, by number of the key.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<u32, Window>>);

#[derive(Clone, Copy, Debug)]
struct Window {
    began: i64,
    n_searches: u32,
}

/// A key has asked too often.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TooMany {
    /// Seconds until it may ask again.
    pub(crate) seconds: i64,
}

impl Rates {
    /// Counts a search of the key numbered `key`.
    pub(crate) fn count(&self, key: u32, now: i64) -> Result<(), TooMany> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(key).or_insert(Window { began: now, n_searches: 0 });
        if now - window.began >= WINDOW || now < window.began {
            *window = Window { began: now, n_searches: 0 };
        }
        if window.n_searches >= MAX_SEARCHES {
            return Err(TooMany { seconds: window.began + WINDOW - now });
        }
        window.n_searches += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_fills_and_passes() {
        let rates = Rates::default();
        for _ in 0..MAX_SEARCHES {
            assert_eq!(rates.count(1, 100), Ok(()));
        }
        assert_eq!(rates.count(1, 110), Err(TooMany { seconds: 50 }));
        assert_eq!(rates.count(2, 110), Ok(())); // another key has its own
        assert_eq!(rates.count(1, 160), Ok(()));
        assert_eq!(rates.count(1, 0), Ok(())); // the clock was set back
    }
}
