//! What systemd is told of a daemon: that it is ready, that it ends, and, where the unit has a
//! `WatchdogSec`, that its loop still turns.

use std::path::PathBuf;
use std::thread;

use control::guard::GuardClient;
use sd_notify::NotifyState;
use tracing::warn;

/// Tells that everything is up; from now on the guard at `socket`, where there is one, is asked for
/// its numbers as often as the watchdog wants to hear of it.
pub(crate) fn ready(socket: Option<PathBuf>) {
    tell(&[NotifyState::Ready]);
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let watch = move || {
        loop {
            // Only an answer of the loop itself tells that it turns.
            let lives = socket.as_ref().is_none_or(|socket| {
                GuardClient::connect(socket).and_then(|mut guard| guard.metrics()).is_ok()
            });
            if lives {
                tell(&[NotifyState::Watchdog]);
            }
            thread::sleep(patience / 2);
        }
    };
    if let Err(error) = thread::Builder::new().name("watchdog".to_owned()).spawn(watch) {
        warn!("systemd's watchdog will end this daemon: no thread can tell that it lives: {error}");
    }
}

/// Tells that the end was asked for.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    // Without systemd there is nobody to be told, and that is no error.
    if let Err(error) = sd_notify::notify(state) {
        warn!("systemd is not told: {error}");
    }
}
