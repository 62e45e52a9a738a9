//! What `report` leaves on disk: whole files, limits, owners, keys.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod bench;
mod stand_in;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use bench::{Bench, address, database, report, reports, setup};
use exchange::spool::{MAX_BYTES, MAX_RECORDS, SpoolError};
use exchange::{Addressee, Ended, Stop, keys, run, spool};

/// A user that is not root and that every system has room for.
const NOBODY: u32 = 65_534;

fn to() -> Addressee {
    let url = "https://misp.example".into();
    Addressee { url, event: "1".into(), sightings: true, key_file: "/nowhere".into() }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        assert!(std::env::var_os("CI").is_none(), "on CI this test needs root");
        eprintln!("skipped: only root can give files away");
    }
    is_root
}

#[test]
fn a_report_is_one_file_that_others_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    spool::put(folder.path(), &reports(&to(), 1)).unwrap();
    spool::put(folder.path(), &reports(&to(), 3)).unwrap();
    let files = files(&folder.path().join("spool"));
    assert_eq!(files.len(), 2);
    for (file, n) in files.iter().zip([1, 3]) {
        let metadata = fs::metadata(file).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(file).unwrap().lines().count(), n);
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.ends_with(&format!(".{n}.{}.jsonl", metadata.len())), "{name}");
    }
    assert_eq!(fs::metadata(folder.path().join("spool")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_full_spool_takes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    fs::create_dir(&spool).unwrap();
    let full = |name: &str| {
        fs::write(spool.join(name), "").unwrap();
        let error = spool::put(folder.path(), &reports(&to(), 2)).unwrap_err();
        fs::remove_file(spool.join(name)).unwrap();
        assert!(matches!(error, SpoolError::Full { .. }), "{error}");
        assert!(error.to_string().contains("takes no more"), "{error}");
    };
    full(&format!("a.{}.10.jsonl", MAX_RECORDS - 1));
    full(&format!("a.1.{}.jsonl", MAX_BYTES - 10));
    spool::put(folder.path(), &reports(&to(), 2)).unwrap();
}

#[test]
fn huge_matches_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut huge = report(&to(), "45.33.32.1", 0);
    huge.ban.matches = vec!["x".repeat(1 << 20)];
    spool::put(folder.path(), &[huge]).unwrap();
    let file = &files(&folder.path().join("spool"))[0];
    assert!(fs::metadata(file).unwrap().len() < 1_000);
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("spool"), "").unwrap();
    let error = spool::put(folder.path(), &reports(&to(), 1)).unwrap_err();
    assert!(matches!(error, SpoolError::Io { .. }), "{error:?}");
}

#[test]
fn root_writes_as_the_owner_of_the_folder() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (spool, home) = (folder.path().join("spool"), folder.path().join("exchange"));
    for path in [&spool, &home] {
        fs::create_dir(path).unwrap();
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    spool::put(folder.path(), &reports(&to(), 1)).unwrap();
    let key_file = keys::put(folder.path(), "https://misp.example", "1", &"k".to_owned().into());
    for path in [files(&spool)[0].clone(), key_file.unwrap(), home.join("keys")] {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (NOBODY, NOBODY), "{}", path.display());
    }
    // What that user may not do, root does not do for it.
    let secret = folder.path().join("root-only");
    fs::create_dir(&secret).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_dir_all(home.join("keys")).unwrap();
    symlink(&secret, home.join("keys")).unwrap();
    keys::put(folder.path(), "https://misp.example", "1", &"k".to_owned().into()).unwrap_err();
    assert_eq!(files(&secret).len(), 0);
    // And this thread is root again.
    assert!(rustix::process::geteuid().is_root());
    fs::read_dir(&secret).unwrap();
}

#[test]
fn a_spool_that_is_a_link_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), folder.path().join("spool")).unwrap();
    spool::put(folder.path(), &reports(&to(), 1)).unwrap_err();
    assert_eq!(files(elsewhere.path()).len(), 0);
}

#[test]
fn a_key_is_replaced_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let put = |key: &str| {
        keys::put(folder.path(), "https://misp.example/", "1", &key.to_owned().into()).unwrap()
    };
    let first = put("one");
    assert_eq!(put("two"), first);
    assert_eq!(fs::read_to_string(&first).unwrap(), "two");
    assert_eq!(files(first.parent().unwrap()).len(), 1, "nothing temporary is left");
}

#[test]
fn a_bad_file_is_kept_and_the_rest_taken() {
    let bench = Bench::new();
    bench.report(&reports(&bench.to(), 2));
    let spool = bench.state().join("spool");
    let good = fs::read_to_string(&files(&spool)[0]).unwrap();
    fs::write(spool.join("0.bad.jsonl"), "no json\n").unwrap();
    let other = good.replace(&address(0), &address(7));
    let mixed = format!("{other}{{\"jail\":1}}\n{}\n", "y".repeat(1 << 20));
    fs::write(spool.join("1.mixed.jsonl"), mixed).unwrap();
    symlink("/etc/hostname", spool.join("2.link.jsonl")).unwrap();
    bench.deliver();
    assert_eq!(bench.server.values(), [address(0), address(1), address(7)]);
    let kept: Vec<_> = files(&bench.state().join("exchange/bad"))
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(kept, ["0.bad.jsonl", "1.mixed.jsonl", "2.link.jsonl"]);
    assert_eq!(files(&spool).len(), 0);
}

#[test]
fn a_file_that_is_still_there_after_a_crash_is_not_taken_twice() {
    let bench = Bench::new();
    bench.report(&reports(&bench.to(), 2));
    let file = files(&bench.state().join("spool"))[0].clone();
    let content = fs::read(&file).unwrap();
    bench.deliver();
    // As if it had been killed after the transaction and before the removal.
    fs::write(&file, content).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    database(bench.state()).execute("INSERT INTO taken (file) VALUES (?1)", [name]).unwrap();
    bench.deliver();
    assert_eq!((bench.server.values().len(), bench.server.n_sightings()), (2, 0));
    assert!(!file.exists());
}

#[test]
fn a_database_that_is_not_ours_is_refused() {
    let check = |make: &dyn Fn(&Path), want: &str| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exchange/exchange.db");
        assert_eq!(run(setup(folder.path()), &Stop::default()).unwrap(), Ended::Empty);
        make(&path);
        let error = run(setup(folder.path()), &Stop::default()).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    let sql = |text: &'static str| {
        move |path: &Path| rusqlite::Connection::open(path).unwrap().execute_batch(text).unwrap()
    };
    check(&sql("PRAGMA user_version = 99"), "written by a newer release");
    check(&sql("PRAGMA application_id = 7"), "is no database of exchange");
    check(&|path| fs::write(path, "x".repeat(10_000)).unwrap(), "is damaged");
}
