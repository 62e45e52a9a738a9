//! A private network namespace for the demonstration: real bans that touch nobody.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::thread::UnshareFlags;

/// Gives this process, while it has one thread only, the right to make network namespaces: root
/// has it, anybody else becomes root of a user namespace of his own.
///
/// # Errors
///
/// Where the kernel or the administrator forbids user namespaces.
pub(crate) fn become_root_of_own() -> Result<()> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid.is_root() {
        return Ok(());
    }
    unshare(UnshareFlags::NEWUSER).context("make a user namespace")?;
    let map = |file: &str, text: String| {
        fs::write(file, text).with_context(|| format!("write `{file}` of the user namespace"))
    };
    map("/proc/self/setgroups", "deny".to_owned())?;
    map("/proc/self/uid_map", format!("0 {} 1", uid.as_raw()))?;
    map("/proc/self/gid_map", format!("0 {} 1", gid.as_raw()))
}

/// Moves the calling thread, and whatever it starts later, into a new network namespace, and makes
/// sure that `nft` works there.
///
/// # Errors
///
/// Where the kernel refuses the namespace, or `nft` is absent or cannot work in it.
pub(crate) fn enter() -> Result<()> {
    unshare(UnshareFlags::NEWNET).context("make a network namespace")?;
    let tried = Command::new("nft").args(["list", "tables"]).output();
    let output = tried.context("start `nft` (Debian: `apt install nftables`)")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("`nft list tables` failed: {}", why.trim());
    }
    Ok(())
}

#[expect(unsafe_code, reason = "rustix marks unshare as unsafe for its flag FILES alone")]
fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: descriptors stay shared, as FILES is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}
