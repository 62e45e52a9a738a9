//! A folder on disk, read as configuration; and what Debian's package of fail2ban left on it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jail::config::Files;

/// Where Debian's package keeps its configuration.
pub(crate) const ETC: &str = "/etc/fail2ban";

/// Files as they lie on disk.
pub(crate) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        match fs::read_dir(dir) {
            Ok(entries) => {
                entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Debian's configuration, where it is installed; on CI it must be.
pub(crate) fn debian() -> Option<PathBuf> {
    let etc = PathBuf::from(ETC);
    if etc.join("jail.conf").exists() {
        return Some(etc);
    }
    assert!(std::env::var_os("CI").is_none(), "{ETC} is missing: install Debian's fail2ban");
    println!("skipped: {ETC} is missing");
    None
}
