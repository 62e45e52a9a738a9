//! Answers the control socket: each request is put to the loop, on the connection's own thread.
//!
//! Who waits for a ban waits here, so that the loop never does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use control::Refusal;
use control::guard::{GuardAnswer, GuardRequest};

use crate::run::Event;

/// The longest wait for a ban; a follower asks again.
const MAX_WAIT: Duration = Duration::from_secs(60);

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
    fn wait_beyond(&self, number: u64, patience: Duration) {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(): &mut ()| {
            self.last.load(Ordering::SeqCst) == number && !self.closed.load(Ordering::SeqCst)
        };
        // Whether it moved or the time is over: the caller looks for itself.
        drop(self.moved.wait_timeout_while(lock, patience, same));
    }
}

/// Puts `request` to the loop and waits for its answer.
pub(crate) fn answer(
    request: GuardRequest,
    inbox: &SyncSender<Event>,
    feed: &Arc<Feed>,
) -> Result<GuardAnswer, Refusal> {
    if request == GuardRequest::Ping {
        return Ok(GuardAnswer::Pong);
    }
    if let GuardRequest::BansSince { after, wait_ms, .. } = request {
        feed.wait_beyond(after, Duration::from_millis(wait_ms.into()).min(MAX_WAIT));
    }
    let (reply, answer) = sync_channel(1);
    inbox.send(Event::Asked(request, reply)).map_err(|_| Refusal::Stopping)?;
    answer.recv().map_err(|_| Refusal::Stopping)?
}
