//! The newest PyMISP, as its users install it, against a hub.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::Running;

#[test]
fn pymisp_adds_finds_sights_tags_publishes_and_deletes() {
    let Some(python) = python() else { return };
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pymisp/story.py");
    let url = format!("http://{}", hub.address);
    let output = Command::new(python).arg(story).args([&url, &hub.admin]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    println!("PyMISP: {}", said.trim());
}

/// A Python that has PyMISP: from the virtual environment that an earlier run has made, or a new
/// one. Without network there is none, and the test says so; on CI it must be there.
fn python() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pymisp");
    let python = home.join("bin/python");
    let run = |program: &Path, args: &[&str]| {
        let output = Command::new(program).args(args).output();
        output.is_ok_and(|it| it.status.success())
    };
    let there = run(&python, &["-c", "import pymisp"]);
    let made = there
        || (run(Path::new("python3"), &["-m", "venv", home.to_str().unwrap()])
            && run(&python, &["-m", "pip", "install", "--quiet", "--retries", "1", "pymisp"]));
    if made {
        return Some(python);
    }
    assert!(std::env::var_os("CI").is_none(), "PyMISP could not be installed");
    println!("skipped: python3 with venv, or PyPI, is not to be had");
    None
}
