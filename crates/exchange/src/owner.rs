//! Becomes the owner of a folder for one piece of work.
//!
//! fail2ban runs `report` as root, and the folders belong to exchange's own user. Were root to
//! write there and give the file away afterwards, that user could put a link in the way of what
//! root does. So the thread takes the owner's user and group first, and the kernel refuses what
//! the owner may not do.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Gid, Uid};
use rustix::process::{geteuid, getgid, getgroups, getuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Does `work` as the owner of `folder` where this process is root, and as itself elsewhere.
///
/// Only this thread changes; it is root again afterwards, whatever becomes of `work`.
pub(crate) fn as_owner_of<T>(folder: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let owner = folder.symlink_metadata()?;
    if !owner.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "it is no folder; a link is not followed here",
        ));
    }
    if !geteuid().is_root() || owner.uid() == 0 {
        return work();
    }
    let _root_again = Disguise::put_on(Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()))?;
    work()
}

/// Another user and group for this thread, until it is dropped.
struct Disguise {
    groups: Vec<Gid>,
}

impl Disguise {
    fn put_on(uid: Uid, gid: Gid) -> io::Result<Self> {
        let disguise = Self { groups: getgroups()? };
        set_thread_groups(&[gid])?;
        set_thread_res_gid(None, gid, None)?;
        set_thread_res_uid(None, uid, None)?;
        Ok(disguise)
    }
}

impl Drop for Disguise {
    fn drop(&mut self) {
        let undone = set_thread_res_uid(None, getuid(), None)
            .and_then(|()| set_thread_res_gid(None, getgid(), None))
            .and_then(|()| set_thread_groups(&self.groups));
        undone.expect("the thread's real user is still root, who may take any user back");
    }
}
