//! Replays the corpus of the fuzz targets, so that they hold between two runs of the fuzzer.

#[path = "../../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "elsewhere these modules are a crate")]
mod fuzz;

use std::fs;
use std::path::Path;

/// Runs `check` over every file of a target's corpus, and over files that are empty or torn.
#[track_caller]
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).expect("the target has a corpus");
    let mut n_files = 0;
    for entry in entries {
        let path = entry.expect("the corpus can be listed").path();
        println!("{}", path.display());
        let input = fs::read(&path).expect("the corpus can be read");
        check(&input);
        check(&input[..input.len() / 2]);
        n_files += 1;
    }
    assert!(n_files > 0, "{} is empty", folder.display());
    check(b"");
}

#[test]
fn line() {
    replay("line", fuzz::line::check);
}

#[test]
fn date() {
    replay("date", fuzz::date::check);
}

#[test]
fn ini() {
    replay("ini", fuzz::ini::check);
}

#[test]
fn expand() {
    replay("expand", fuzz::expand::check);
}

#[test]
fn filter() {
    replay("filter", fuzz::filter::check);
}
