//! Configuration that lies in memory, and the folders of the repository.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jail::config::Files;

/// Where files in memory seem to lie.
pub(crate) const ROOT: &str = "/etc/fail2ban";

/// What begins a new file in an input; its path, relative to the root, follows.
const MARK: &str = "=== ";

/// Files in memory, by their whole path.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Memory {
    /// Cuts an input into files; what stands before the first mark is `jail.conf`.
    pub(crate) fn parse(input: &[u8]) -> Self {
        let mut files = BTreeMap::new();
        let mut path = Path::new(ROOT).join("jail.conf");
        for line in input.split_inclusive(|byte| *byte == b'\n') {
            let name = line.strip_prefix(MARK.as_bytes()).map(String::from_utf8_lossy);
            match name.as_deref().map(str::trim_end).filter(|name| !name.is_empty()) {
                Some(name) => path = Path::new(ROOT).join(name),
                None => files.entry(path.clone()).or_insert_with(Vec::new).extend_from_slice(line),
            }
        }
        Self { files }
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files.get(path).cloned())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let inside = self.files.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }
}

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

/// Runs `work` twice, asserts that both answers are the same and that it is done within `limit`.
///
/// The quickest run counts, because others use the machine, too.
#[track_caller]
pub(crate) fn same_twice<T: PartialEq + std::fmt::Debug>(
    limit: Duration,
    mut work: impl FnMut() -> T,
) -> T {
    /// Runs before a slow answer is believed to be slow by itself.
    const MOST_RUNS: usize = 5;

    let mut timed = || {
        let start = Instant::now();
        (work(), start.elapsed())
    };
    let (first, mut took) = timed();
    for _ in 1..MOST_RUNS {
        let (again, this) = timed();
        assert_eq!(first, again, "the same input, another answer");
        took = took.min(this);
        if took <= limit {
            return first;
        }
    }
    panic!("it takes {took:?}, which is more than {limit:?}");
}
