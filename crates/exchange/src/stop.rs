//! Tells the threads of exchange to end, and wakes the one that hands out work.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tells [`run`](fn@crate::run) to end; clones tell the same one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    is_stopped: bool,
    /// There may be something to do.
    is_rung: bool,
}

impl Stop {
    /// Ends what was started with it, soon.
    pub fn stop(&self) {
        self.state().is_stopped = true;
        self.0.1.notify_all();
    }

    /// Whether it was told.
    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// Says that there may be something to do.
    pub(crate) fn ring(&self) {
        self.state().is_rung = true;
        self.0.1.notify_all();
    }

    /// Waits until there may be something to do, or the end, or for this long.
    pub(crate) fn wait_rung(&self, longest: Duration) {
        self.wait(longest, |state| state.is_rung).is_rung = false;
    }

    /// Waits until there may be something to do, or for this long, also after the end.
    pub(crate) fn wait_bell(&self, longest: Duration) {
        let state = self.state();
        let waited = self.0.1.wait_timeout_while(state, longest, |state| !state.is_rung);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_rung = false;
    }

    /// Waits for this long, or until the end.
    pub(crate) fn pause(&self, longest: Duration) {
        drop(self.wait(longest, |_| false));
    }

    fn wait(&self, longest: Duration, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let end = Instant::now() + longest;
        let mut state = self.state();
        while !state.is_stopped && !until(&state) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.0.1.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
