//! Tells whoever follows the log of bans that there is a new one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Tells those who wait that there is a new ban.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    last: AtomicU64,
    closed: AtomicBool,
    lock: Mutex<()>,
    moved: Condvar,
}

impl Feed {
    /// The log's last number is this now.
    pub(crate) fn reached(&self, last: u64) {
        if self.last.swap(last, Ordering::SeqCst) != last {
            // The lock keeps a waiter from falling asleep between its look and our word.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.moved.notify_all();
        }
    }

    /// There will be no more: nobody shall wait.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }

    /// Waits until the last number is another than `number`, at most `patience`.
    pub(crate) fn wait_beyond(&self, number: u64, patience: Duration) {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(): &mut ()| {
            self.last.load(Ordering::SeqCst) == number && !self.closed.load(Ordering::SeqCst)
        };
        // Whether it moved or the time is over: the caller looks for itself.
        drop(self.moved.wait_timeout_while(lock, patience, same));
    }
}
