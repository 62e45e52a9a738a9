//! A folder of configuration: files, each behind a line `=== PATH`, read as the daemon reads them.

use std::path::Path;
use std::time::Duration;

use jail::config::{self, Fault, Jail, Select};

use super::files::{Memory, ROOT, same_twice};

/// How long it may take to read a folder of a few kilobytes.
const LIMIT: Duration = Duration::from_secs(2);

/// Reads all jails of a folder.
///
/// # Panics
///
/// - Where the same files are read otherwise a second time, or take too long.
/// - Where a fault says nothing, or stands in a file or a line that is not there.
/// - Where a jail starts although one of its faults keeps it from that.
/// - Where one jail read alone is another than the same among all.
pub fn check(input: &[u8]) {
    let files = Memory::parse(input);
    let root = Path::new(ROOT);
    let read = || {
        let all = config::read(&files, root, Select::All);
        // `Jail` has no equality; what it holds is all in its `Debug`.
        (all.jails.iter().map(text).collect::<Vec<_>>(), all.faults, all.server)
    };
    let (jails, faults, _) = same_twice(LIMIT, read);
    for fault in &faults {
        check_fault(&files, fault);
    }
    for jail in config::read(&files, root, Select::All).jails {
        let name = Some(&jail.name);
        assert!(faults.iter().all(|fault| fault.jail.as_ref() != name), "{name:?} starts");
        let alone = config::read_jail(&files, root, &jail.name);
        let alone = alone.unwrap_or_else(|faults| panic!("{name:?} alone: {faults:?}"));
        assert!(jails.contains(&text(&alone)), "{name:?} alone is another");
    }
}

fn text(jail: &Jail) -> String {
    format!("{jail:?}")
}

fn check_fault(files: &Memory, fault: &Fault) {
    assert!(!fault.problem.is_empty(), "{fault:?}");
    let Some(place) = &fault.place else { return };
    let Some(bytes) = files.files.get(&place.file) else {
        assert_eq!(place.line, 0, "a line of a file that is not there: {fault:?}");
        return;
    };
    let n_lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    assert!(place.line as usize <= n_lines, "the file has {n_lines} lines: {fault:?}");
}
