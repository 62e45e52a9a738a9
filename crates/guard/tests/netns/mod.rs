//! Network namespaces of the tests' own: a thread alone enters one, and what it starts inherits it.

use std::process::Command;
use std::{io, thread};

use rustix::thread::UnshareFlags;

/// Runs `test` in a new network namespace whose loopback is up; says `skipped` where this user
/// may not make one, which is a failure on CI.
pub(crate) fn within(test: impl FnOnce() + Send + 'static) {
    let outcome = thread::spawn(move || {
        if let Err(error) = enter_new() {
            assert!(std::env::var_os("CI").is_none(), "no network namespace: {error}");
            println!("skipped: no network namespace of our own: {error}");
            return;
        }
        ip("link set lo up");
        test();
    });
    if let Err(panic) = outcome.join() {
        std::panic::resume_unwind(panic);
    }
}

#[allow(unsafe_code, reason = "the call can also unshare what safe code relies on")]
pub(crate) fn enter_new() -> io::Result<()> {
    // SAFETY: the network namespace is no memory and no table of descriptors.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?)
}

pub(crate) fn ip(args: &str) {
    let output = Command::new("ip").args(args.split(' ')).output().expect("iproute2 is there");
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
}
