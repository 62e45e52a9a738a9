//! Hostile lines: a filter's name, then lines that go through one scanner of it.
//!
//! ```text
//! input = filter LF { [ "@" EPOCH " " ] text LF }
//! filter = NAME [ "[mode=aggressive]" ]     of filters/ and of fuzz/filters/
//! ```
//!
//! `FAIL2MISP_FUZZ_FILTERS=/etc/fail2ban` adds the filters of another folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jail::config::options::Item;
use jail::config::{Files, read_filter};
use scan::{Filter, IdKind, Outcome, Settings};

use super::files::Disk;
use super::scanning::{self, lines};

/// How long a line may take: a hundred times what the worst should, for a build with assertions on
/// a busy machine.
const LIMIT: Duration = Duration::from_millis(500);

/// Filters that read each log beside the one named: they remember what stood before.
const COMPANIONS: [&str; 3] = ["block", "connection", "sshd"];

static FILTERS: LazyLock<BTreeMap<String, Arc<Filter>>> = LazyLock::new(|| {
    let mut filters = BTreeMap::new();
    for folder in folders() {
        let mut names = Disk.list(&folder.join("filter.d")).expect("the folder can be listed");
        names.retain(|name| name.ends_with(".conf"));
        for name in names.iter().filter_map(|name| name.strip_suffix(".conf")) {
            for options in ["", "[mode=aggressive]"] {
                let text = format!("{name}{options}");
                filters.extend(filter(&folder, &text).map(|filter| (text, Arc::new(filter))));
            }
        }
    }
    filters
});

/// The folders of the repository, and the one that the environment names.
fn folders() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut above = here.ancestors().filter(|folder| folder.join("filters/jail.conf").exists());
    let repository = above.next().expect("the repository has filters");
    let other = std::env::var_os("FAIL2MISP_FUZZ_FILTERS").map(PathBuf::from);
    [repository.join("filters"), repository.join("fuzz/filters")].into_iter().chain(other).collect()
}

/// A filter that finds failures; none in files that others include.
fn filter(folder: &Path, text: &str) -> Option<Filter> {
    let item = Item::parse(text).expect("a file's name is a filter's");
    let spec = read_filter(&Disk, folder, item, "auto").ok()?.spec;
    Filter::compile(&spec).ok().filter(|_| !spec.failregex.is_empty())
}

/// Scans the lines of `input`.
///
/// # Panics
///
/// Where something does not hold that should: see [`scanning::check`] and [`scanning::check_pass`];
/// and a name to be resolved holds no white space and no control character.
pub fn check(input: &[u8]) {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (name, text) = (&input[..end], &input[end + 1..]);
    let Some(filter) = std::str::from_utf8(name).ok().and_then(|name| FILTERS.get(name)) else {
        return;
    };
    let (settings, lines) = (Settings::default(), lines(text));
    let others = COMPANIONS.iter().map(|name| &FILTERS[*name]);
    let together: Vec<_> = [filter].into_iter().chain(others).map(Arc::clone).collect();
    scanning::check_pass(&together, &settings, &lines);
    let outcomes = scanning::check(filter, &settings, &lines, LIMIT);
    for outcome in outcomes {
        if let Outcome::Failure(hit) = outcome
            && hit.kind == IdKind::Name
        {
            let is_strange = |it: char| it.is_whitespace() || it.is_control();
            assert!(!hit.id.contains(is_strange), "{:?} is no name", hit.id);
            assert!(!hit.id.is_empty(), "a name is empty");
        }
    }
}
