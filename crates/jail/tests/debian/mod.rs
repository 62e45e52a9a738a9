//! An installed fail2ban, of which Debian's package is one: `FAIL2BAN_ROOT` names the folder of
//! another's Python package, `FAIL2BAN_CONFIG_DIR` that of its configuration.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where packages keep the configuration.
const ETC: &str = "/etc/fail2ban";

/// The configuration, where fail2ban is installed; on CI it must be.
pub(crate) fn debian() -> Option<PathBuf> {
    let etc = std::env::var_os("FAIL2BAN_CONFIG_DIR").map_or_else(|| ETC.into(), PathBuf::from);
    if etc.join("jail.conf").exists() {
        return Some(etc);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing: install fail2ban", etc.display());
    println!("skipped: {} is missing", etc.display());
    None
}

/// A script that asks fail2ban itself, by its path from this crate.
pub(crate) fn oracle(script: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
    if let Some(root) = std::env::var_os("FAIL2BAN_ROOT") {
        command.arg("--root").arg(root);
    }
    command
}
