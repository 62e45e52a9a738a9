//! Ends a daemon on SIGTERM and SIGINT, in order.

use std::io;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `stop` once when the process is asked to end. A second request ends it at once, for whoever
/// does not want to wait for the order.
///
/// # Errors
///
/// When the signals cannot be taken.
pub(crate) fn on_signal(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut asked = signals.forever();
        if asked.next().is_some() {
            stop();
        }
        if let Some(signal) = asked.next() {
            std::process::exit(128 + signal);
        }
    })?;
    Ok(())
}

/// Waits until the process is asked to end.
///
/// # Errors
///
/// When the signals cannot be taken.
pub(crate) fn wait() -> io::Result<()> {
    // The first of them is all that is waited for, and it always comes: `forever` never ends.
    Signals::new([SIGTERM, SIGINT])?.forever().next();
    Ok(())
}
