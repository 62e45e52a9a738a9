//! A disk that is soon full: a small tmpfs, mounted where a thread alone sees it.

use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::thread::UnshareFlags;

/// Runs `test` where it may mount such a disk; says `skipped` where this user may not, which
/// is a failure on CI.
pub(crate) fn within(test: impl FnOnce() + Send + 'static) {
    let outcome = thread::spawn(move || {
        if let Err(error) = enter_new() {
            assert!(std::env::var_os("CI").is_none(), "no mount namespace: {error}");
            println!("skipped: no mount namespace of our own: {error}");
            return;
        }
        run("mount --make-rprivate /");
        test();
    });
    if let Err(panic) = outcome.join() {
        std::panic::resume_unwind(panic);
    }
}

#[allow(unsafe_code, reason = "the call can also unshare what safe code relies on")]
fn enter_new() -> rustix::io::Result<()> {
    // SAFETY: mounts, and with them the working folder, are no memory and no descriptors.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
}

/// Puts a small disk over `folder`.
pub(crate) fn mount(folder: &Path) {
    run(&format!("mount -t tmpfs -o size=512k,mode=700 tmpfs {}", folder.display()));
}

/// Takes it away, with all that it held.
pub(crate) fn unmount(folder: &Path) {
    run(&format!("umount -l {}", folder.display()));
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let program = words.next().expect("a command has a name");
    let output = Command::new(program).args(words).output().expect("util-linux is there");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}
