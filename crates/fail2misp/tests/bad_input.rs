//! What goes wrong on real hosts: each is one line with place, reason and remedy, and nothing that was
//! accepted is lost.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::{BINARY, Hub, Running, ShownOnFailure, append, skip, wait_for, write_private};

/// The program with all its folders in `dir`.
fn program(dir: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .env("FAIL2MISP_CONFIG", dir.join("config.toml"))
        .env("FAIL2MISP_STATE", dir.join("state"))
        .env("FAIL2MISP_RUNTIME", dir.join("run"))
        .env("FAIL2MISP_FAIL2BAN_DIR", dir.join("fail2ban"))
        .env("FAIL2MISP_DELIVER", "never");
    command
}

#[track_caller]
fn one_line(output: &Output, code: i32, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    let last = said.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "`{word}` is not in: {said}");
    }
}

/// An expression of a line whose date is cut out.
const FAILED: &str = "^ fail from <HOST>$";

/// As many lines of now as it takes to be banned.
fn failures(address: &str) -> Vec<String> {
    let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S");
    vec![format!("{now} fail from {address}"); 5]
}

/// Jails of a filter that is one expression.
fn jails(dir: &Path, jails: &[(&str, &str)]) {
    let config = dir.join("fail2ban");
    fs::create_dir_all(config.join("filter.d")).unwrap();
    let mut text = String::new();
    for (name, expression) in jails {
        let filter = format!("[Definition]\nfailregex = {expression}\n");
        fs::write(config.join(format!("filter.d/{name}.conf")), filter).unwrap();
        let log = dir.join(format!("{name}.log"));
        text +=
            &format!("[{name}]\nenabled = true\nfilter = {name}\nlogpath = {}\n", log.display());
    }
    fs::write(config.join("jail.conf"), text).unwrap();
}

#[test]
fn one_bad_jail_leaves_the_rest_guarding() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    jails(dir, &[("good", FAILED), ("broken", "^ fail (from <HOST>$"), ("late", FAILED)]);
    fs::write(dir.join("good.log"), "").unwrap();
    fs::write(dir.join("broken.log"), "").unwrap();
    let log = dir.join("log");
    let _shown = ShownOnFailure(log.clone());
    let guard = Running::start(
        program(dir).args(["run", "--dry-run"]).stderr(fs::File::create(&log).unwrap()),
    );
    let said = |words: &str| fs::read_to_string(&log).unwrap().contains(words).then_some(());
    wait_for("the good jail", || said("Jail 'good' started"));
    wait_for("a word of the broken one", || said("Jail 'broken' does not start: failregex 0"));
    // A log that is not there yet is waited for, and said once.
    wait_for("a word of the missing log", || said("[late] there is no log"));
    append(&dir.join("good.log"), &failures("198.51.100.1"));
    wait_for("the ban", || said("[good] Ban 198.51.100.1"));
    append(&dir.join("late.log"), &failures("198.51.100.2"));
    wait_for("the late log", || said("[late] Ban 198.51.100.2"));
    guard.stop();

    let output = program(dir).arg("check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("filter.d/broken.conf:2: jail `broken` does not start"), "{said}");
}

#[test]
fn a_jail_without_logs_does_what_it_says() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    jails(dir, &[("good", FAILED), ("late", FAILED), ("absent", FAILED)]);
    fs::write(dir.join("good.log"), "").unwrap();
    fs::write(dir.join("fail2ban/jail.local"), "[absent]\nskip_if_nologs = true\n").unwrap();
    let output = program(dir).arg("check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("jail `late` has no log yet at "), "{said}");
    assert!(said.contains("jail `absent` does not start: "), "{said}");
    assert!(said.contains("2 jails of ") && said.contains(": good, late"), "{said}");
}

#[test]
fn check_says_every_fault_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let path = |name: &str| dir.join(name).display().to_string();
    jails(
        dir,
        &[
            ("recursive", "^<a> <HOST>$\na = <b>\nb = <a>"),
            ("missing", "^%(__prefix_line)sbad <HOST>$\n[INCLUDES]\nbefore = absent.conf"),
            ("group", "^%(_open)s <HOST>$\n_open = (x"),
            ("date", "^x <HOST>$\ndatepattern = %%Q"),
            ("nobody", "^x .*$"),
            ("folder", FAILED),
            ("binary", FAILED),
            ("pipe", FAILED),
        ],
    );
    fs::create_dir(dir.join("folder.log")).unwrap();
    fs::write(dir.join("binary.log"), b"\x7fELF\0\0").unwrap();
    let made = Command::new("mkfifo").arg(dir.join("pipe.log")).status().unwrap();
    assert!(made.success());
    let output = program(dir).arg("check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for (place, words) in [
        ("filter.d/recursive.conf:3", "`a` uses `<a>`, which leads back to it; break the circle"),
        ("filter.d/missing.conf:2", "`%(__prefix_line)s` is defined nowhere"),
        (
            "filter.d/group.conf:2",
            "at byte 1: correct the expression; it is read as Python's `re` \
                                   reads it; it reads `^(x <HOST>$`",
        ),
        ("filter.d/date.conf:3", "begins no token"),
        ("filter.d/nobody.conf:2", "no group tells who failed: put `<HOST>`"),
        ("jail.conf:", &format!("`{}` is a folder; name the logs in it", path("folder.log"))),
        ("jail.conf:", &format!("`{}` holds NUL bytes; is it a log", path("binary.log"))),
    ] {
        let is_said = |line: &str| line.contains(place) && line.contains(words);
        assert!(said.lines().any(is_said), "`{place}`, `{words}` in: {said}");
    }
    assert!(said.contains(": folder, binary, pipe\n"), "{said}");
}

#[test]
fn configuration_faults_name_file_line_and_remedy() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    jails(dir, &[("good", FAILED)]);
    fs::write(dir.join("fail2ban/jail.local"), "[good]\nmax_retry = 3\n").unwrap();
    let output = program(dir).arg("check").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("jail.local:2: option `max_retry`"), "{said}");
    assert!(said.contains("did you mean `maxretry`?"), "{said}");
    assert!(output.status.success(), "the jail can start");

    fs::write(dir.join("config.toml"), "[misp.main]\nurl = \"https://misp.example.org\"\n")
        .unwrap();
    let output = program(dir).arg("run").output().unwrap();
    one_line(&output, 2, &["config.toml` line 1", "name its file by `key_file`"]);
}

#[test]
fn a_damaged_database_is_named_and_not_touched() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    jails(dir, &[("good", FAILED)]);
    for (half, file) in [("guard", "guard/guard.db"), ("exchange", "exchange/exchange.db")] {
        let path = dir.join("state").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let damaged = b"no database at all, whoever wrote it".repeat(100);
        fs::write(&path, &damaged).unwrap();
        let output = program(dir).args(["run", "--only", half]).output().unwrap();
        one_line(&output, 3, &[&path.display().to_string()]);
        assert_eq!(fs::read(&path).unwrap(), damaged, "{half}");
    }
}

#[test]
fn a_wrong_key_holds_reports_back_until_it_is_replaced() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let hub = Hub::start(&dir.join("hub"));
    let event = hub.add_event("wrong key");
    let key_file = dir.join("misp.key");
    write_private(&key_file, "0000000000000000000000000000000000000000\n");
    fs::write(
        dir.join("config.toml"),
        format!(
            "[misp.main]\nurl = \"{}\"\nkey_file = \"{}\"\nevent = {event}\n\
             [share]\nallow = [\"198.51.100.0/24\"]\n",
            hub.url(),
            key_file.display()
        ),
    )
    .unwrap();
    let log = dir.join("exchange.log");
    let _shown = ShownOnFailure(log.clone());
    let exchange = Running::start(
        program(dir).args(["run", "--only", "exchange"]).stderr(fs::File::create(&log).unwrap()),
    );
    assert!(program(dir).args(["report", "198.51.100.1"]).status().unwrap().success());
    wait_for("a word of the key", || {
        let log = fs::read_to_string(&log).unwrap();
        (log.contains("main") && log.contains("key")).then_some(())
    });
    wait_for("the outbox to tell why", || {
        let output = program(dir).args(["outbox", "--json"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (said.contains("198.51.100.1") && said.contains("main")).then_some(())
    });
    assert!(hub.values(&event).is_empty());
    write_private(&key_file, &hub.key);
    wait_for("the attribute", || (hub.values(&event) == ["198.51.100.1"]).then_some(()));
    assert!(!fs::read_to_string(&log).unwrap().contains(&hub.key));
    exchange.stop();
}

#[test]
fn a_second_exchange_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let exchange = Running::start(program(dir).args(["run", "--only", "exchange"]));
    wait_for("the first to answer", || {
        dir.join("run/exchange/control.sock").exists().then_some(())
    });
    let output = program(dir).args(["run", "--only", "exchange"]).output().unwrap();
    one_line(&output, 3, &["another exchange runs", "--state"]);
    exchange.stop();
}

#[test]
fn a_full_disk_is_said_and_breaks_nothing() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root may mount a small disk");
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    fs::create_dir(dir.join("fail2ban")).unwrap();
    let state = dir.join("state");
    fs::create_dir(&state).unwrap();
    let Some(_mounted) = Mounted::small_disk(&state) else {
        return skip("this machine mounts no tmpfs");
    };
    fs::write(
        dir.join("config.toml"),
        "[misp.main]\nurl = \"http://127.0.0.1:9\"\nkey_file = \"/nonexistent\"\n",
    )
    .unwrap();
    assert!(program(dir).args(["report", "198.51.100.1"]).status().unwrap().success());
    // A write that stops half-way fills what is left.
    let _ = fs::write(state.join("ballast"), vec![0; 1 << 20]);
    let output = program(dir).args(["report", "198.51.100.2"]).output().unwrap();
    one_line(&output, 3, &["spool", "No space left on device"]);
    let spooled: Vec<_> = fs::read_dir(state.join("spool")).unwrap().flatten().collect();
    assert_eq!(spooled.len(), 1, "what was accepted is there, and nothing half written");
}

/// A disk of 256 KiB.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn small_disk(at: &'a Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "none"])
            .arg(at)
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // The folder is removed next, which fails loudly where this did.
        let _ = Command::new("umount").arg(self.0).status();
    }
}
