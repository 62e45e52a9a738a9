//! Delivery in the background, where no exchange runs: a detached process that ends when the outbox
//! is empty.

use std::env;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::{Gid, Uid};

use crate::cli::Folders;

/// Switches delivery in the background off when it is `never`.
const SWITCH: &str = "FAIL2MISP_DELIVER";

/// Starts the delivery unless somebody delivers already, or nobody shall.
pub(crate) fn ensure(folders: &Folders) -> Result<()> {
    let is_off = env::var_os(SWITCH).is_some_and(|it| it == "never");
    if is_off || exchange::is_delivering(&folders.state) {
        return Ok(());
    }
    Command::new("/proc/self/exe")
        .arg("--config")
        .arg(&folders.config)
        .arg("--state")
        .arg(&folders.state)
        .arg("--runtime")
        .arg(&folders.runtime)
        .arg("deliver")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
        .context("start its delivery; `fail2misp run --only exchange` delivers it")
}

/// Lets go of the caller's session, so that fail2ban neither waits for the delivery nor ends it, and
/// becomes the spool's owner.
pub(crate) fn detach(folders: &Folders) -> Result<()> {
    // It fails only where this process leads a group already, and then it is detached.
    let _ = rustix::process::setsid();
    let spool = folders.state.join("spool");
    let owner =
        std::fs::metadata(&spool).with_context(|| format!("look at `{}`", spool.display()))?;
    if rustix::process::geteuid().is_root() && owner.uid() != 0 {
        // The process has one thread still; the group goes first, while it may.
        let (uid, gid) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
        rustix::thread::set_thread_groups(&[]).context("drop root's groups")?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).context("become the spool's group")?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).context("become the spool's owner")?;
    }
    Ok(())
}
