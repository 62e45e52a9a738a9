//! Holds the search to a reference in Python, which reads each line with regular expressions and
//! `ipaddress`, slowly and plainly: on generated logs in every packing, and on the sample logs of an
//! installed fail2ban.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hunt::{Filters, IndicatorSet, List, Options, Progress, Report};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Where Debian's fail2ban keeps the sample logs of its own tests.
const SAMPLES: &str = "/usr/lib/python3/dist-packages/fail2ban/tests/files/logs";

/// Indicator → log → lines.
type Found = BTreeMap<String, BTreeMap<String, u64>>;

fn skip(why: &str) {
    println!("skipped: {why}");
    assert!(std::env::var_os("CI").is_none(), "must run on CI: {why}");
}

fn reference(arguments: &[&str]) -> Option<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/reference.py");
    let output = Command::new("python3").arg(script).args(arguments).output();
    let Ok(output) = output else {
        skip("python3 is not installed");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output)
}

fn options(n_threads: usize) -> Options {
    Options {
        max_samples: 1,
        n_threads,
        ..Options::new(Filters::default(), TimeZone::UTC, Timestamp::now())
    }
}

fn search(indicators: &Path, paths: &[String], n_threads: usize) -> (Vec<String>, Report) {
    let list = List::read(&fs::read(indicators).unwrap()[..]).unwrap();
    let set: IndicatorSet = list.indicators.into_iter().collect();
    let (inputs, missing) = hunt::find(paths);
    assert!(missing.is_empty(), "{missing:?}");
    let options = options(n_threads);
    let report = hunt::search(&inputs, &set, &options, &Progress::default(), Default::default());
    (inputs.iter().map(|input| input.path.display().to_string()).collect(), report)
}

fn found(indicators: &Path, paths: &[String], n_threads: usize) -> Found {
    let (logs, report) = search(indicators, paths, n_threads);
    assert!(report.unread.is_empty(), "{:?}", report.unread);
    let by_log = |finding: &hunt::Finding| {
        finding.logs.iter().map(|(log, n)| (logs[*log as usize].clone(), *n)).collect()
    };
    let sorted = report.findings.sorted();
    sorted.into_iter().map(|(it, finding)| (it.to_string(), by_log(finding))).collect()
}

#[track_caller]
fn check(indicators: &Path, logs: &[PathBuf]) -> usize {
    let logs: Vec<_> = logs.iter().map(|log| log.display().to_string()).collect();
    let mut arguments = vec!["find", indicators.to_str().unwrap()];
    arguments.extend(logs.iter().map(String::as_str));
    let Some(output) = reference(&arguments) else { return 0 };
    let want: Found = serde_json::from_slice(&output.stdout).unwrap();
    for n_threads in [1, 3] {
        let got = found(indicators, &logs, n_threads);
        for indicator in want.keys().chain(got.keys()) {
            assert_eq!(got.get(indicator), want.get(indicator), "{indicator}, {n_threads} threads");
        }
    }
    want.values().flat_map(BTreeMap::values).sum::<u64>() as usize
}

#[test]
fn generated_logs_in_every_packing() {
    for seed in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        if reference(&["make", folder.to_str().unwrap(), &seed.to_string()]).is_none() {
            return;
        }
        let logs = ["plain.log", "a.log.gz", "b.log.xz", "c.log.bz2", "d.log.zst"];
        let n_found = check(&folder.join("indicators"), &logs.map(|log| folder.join(log)));
        assert!(n_found > 500, "{n_found} lines are too few to tell anything");
    }
}

#[test]
fn the_samples_of_fail2ban() {
    let Ok(samples) = fs::read_dir(SAMPLES) else {
        return skip("fail2ban's tests are not installed");
    };
    let logs: Vec<_> =
        samples.map(|entry| entry.unwrap().path()).filter(|it| it.is_file()).collect();
    let dir = tempfile::tempdir().unwrap();
    // Everything that looks like an address there, and prefixes around a part of it.
    let mut wanted = String::from("1.0.0.0/8\n192.0.2.0/24\n2001:db8::/32\n10.0.0.0/9\n::/3\n");
    for log in &logs {
        let text = fs::read(log).unwrap();
        hunt::for_each_address(&text, |_, addr| wanted += &format!("{addr}\n"));
    }
    let indicators = dir.path().join("indicators");
    fs::write(&indicators, wanted).unwrap();
    let n_found = check(&indicators, &logs);
    println!("{n_found} lines of {} logs hold an address", logs.len());
    assert!(n_found > 1_000);
}

#[test]
fn broken_archives_are_told_and_the_rest_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    if reference(&["make", folder.to_str().unwrap(), "99"]).is_none() {
        return;
    }
    let indicators = folder.join("indicators");
    for name in ["a.log.gz", "b.log.xz", "c.log.bz2", "d.log.zst"] {
        let whole = fs::read(folder.join(name)).unwrap();
        let broken = folder.join(format!("broken-{name}"));
        let spoilt: Vec<_> = whole[..whole.len() * 9 / 10].to_vec();
        for bytes in [&whole[..whole.len() * 9 / 10], &[&spoilt[..], &[0xff; 64]].concat()] {
            fs::write(&broken, bytes).unwrap();
            let paths = [broken.display().to_string()];
            let [(_, report), (_, by_two)] = [1, 2].map(|n| search(&indicators, &paths, n));
            assert_eq!(report.unread.len(), 1, "{name}: {:?}", report.unread);
            assert!(!report.findings.is_empty(), "{name}: the first archive in it is whole");
            assert_eq!(by_two.findings, report.findings, "{name}");
            assert_eq!(by_two.unread[0].to_string(), report.unread[0].to_string());
        }
    }
}

/// What a search finds does not depend on how a log is parted between threads, or on a stop.
#[test]
fn a_search_that_was_stopped_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("large.log");
    let line = format!("{} 192.0.2.7 x\n", "y".repeat(200));
    fs::write(&log, line.repeat((36 << 20) / line.len())).unwrap();
    let indicators = dir.path().join("indicators");
    fs::write(&indicators, "192.0.2.7").unwrap();
    let paths = [log.display().to_string()];
    let (_, whole) = search(&indicators, &paths, 2);

    let (inputs, _) = hunt::find(&paths);
    let set: IndicatorSet = ["192.0.2.7".parse().unwrap()].into_iter().collect();
    let progress = Progress::default();
    let stopped = std::thread::scope(|scope| {
        scope.spawn(|| {
            while progress.bytes.load(std::sync::atomic::Ordering::Relaxed) < 17 << 20 {
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
            progress.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        hunt::search(&inputs, &set, &options(1), &progress, Default::default())
    });
    assert!(stopped.is_stopped);
    let n_done = stopped.state.0.len();
    assert!(n_done > 0, "one segment was searched to its end");
    let rest = hunt::search(&inputs, &set, &options(2), &Progress::default(), stopped.state);
    assert!(!rest.is_stopped);
    assert_eq!(rest.findings, whole.findings);
}

/// A line of any length is searched to its end, and its date is that of its beginning.
#[test]
fn a_line_that_fills_many_blocks_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("long.log");
    let mut text = b"2026-10-20T06:05:09Z x ".to_vec();
    for _ in 0..3 {
        text.extend(b"y ".repeat(3 << 19));
        text.extend_from_slice(b"192.0.2.7 ");
    }
    text.extend_from_slice(b"\n2026-10-21T06:05:09Z 192.0.2.7\n");
    fs::write(&log, text).unwrap();
    let indicators = dir.path().join("indicators");
    fs::write(&indicators, "192.0.2.7").unwrap();
    for n_threads in [1, 2] {
        let (_, report) = search(&indicators, &[log.display().to_string()], n_threads);
        let finding = report.findings.get(&"192.0.2.7".parse().unwrap()).unwrap();
        assert_eq!(finding.count, 2);
        assert_eq!(finding.first.unwrap().to_string(), "2026-10-20T06:05:09Z");
        assert_eq!(finding.last.unwrap().to_string(), "2026-10-21T06:05:09Z");
    }
}
