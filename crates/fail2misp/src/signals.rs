//! What signals ask of a daemon: SIGTERM and SIGINT its end, SIGHUP that it read its configuration
//! again. SIGUSR1 asks fail2ban to open its log anew; whoever writes ours looks which file has its name.

use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// Calls `stop` once when the process is asked to end. A second request ends it at once, for whoever
/// does not want to wait for the order.
///
/// # Errors
///
/// When the signals cannot be taken.
pub(crate) fn on_end(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    heed(Signals::new([SIGTERM, SIGINT])?, stop, || {})
}

/// As [`on_end`]; calls `reload` as often as that is asked for.
///
/// # Errors
///
/// When the signals cannot be taken.
pub(crate) fn on_end_or_reload(
    stop: impl FnOnce() + Send + 'static,
    reload: impl Fn() + Clone + Send + 'static,
) -> io::Result<()> {
    heed(Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?, stop, reload)
}

fn heed(
    mut signals: Signals,
    stop: impl FnOnce() + Send + 'static,
    reload: impl Fn() + Clone + Send + 'static,
) -> io::Result<()> {
    let mut stop = Some(stop);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGUSR1 => {}
                // On a thread of its own, as names may take long to resolve; without one, never mind:
                // whoever wants it asks again.
                SIGHUP => {
                    drop(thread::Builder::new().name("reload".to_owned()).spawn(reload.clone()));
                }
                signal => match stop.take() {
                    Some(stop) => stop(),
                    None => std::process::exit(128 + signal),
                },
            }
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
