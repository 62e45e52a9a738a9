//! Debian's real fail2ban with our `misp.conf`: what the article promises, without its faults.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::json;
use support::{
    BINARY, Hub, Running, ShownOnFailure, append, failed_logins, has, skip, wait_for, write_private,
};

/// A fail2ban of the test's own: Debian's configuration, two jails, our action.
struct Fail2ban {
    dir: PathBuf,
    server: Option<Running>,
}

impl Fail2ban {
    fn new(dir: &Path, hub: &Hub, event: &str) -> Self {
        let config = dir.join("fail2ban");
        let copied =
            Command::new("cp").args(["-a", "/etc/fail2ban"]).arg(&config).status().unwrap();
        assert!(copied.success());
        let write = |name: &str, text: String| fs::write(config.join(name), text).unwrap();
        let at = |name: &str| dir.join(name).display().to_string();

        fs::copy(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters/action.d/misp.conf"),
            config.join("action.d/misp.conf"),
        )
        .unwrap();
        let command = format!(
            "{BINARY} --config {} --state {} --runtime {}",
            at("config.toml"),
            at("state"),
            at("run")
        );
        write_private(
            &config.join("action.d/misp.local"),
            &format!(
                "[Init]\nmisp_auth_key = {}\nmisp_base_url = {}\nmisp_event = {event}\n\
                 misp_command = {command}\nmisp_fail2ban_dir = {}\n",
                hub.key,
                hub.url(),
                config.display()
            ),
        );
        // The attackers' addresses are reserved for documentation, and shared only here.
        write(
            "../config.toml",
            "[share]\nallow = [\"192.0.2.0/24\", \"198.51.100.0/24\", \"203.0.113.0/24\"]\n".into(),
        );
        write("jail.d/defaults-debian.conf", String::new());
        write(
            "jail.local",
            format!(
                "[DEFAULT]\nbackend = polling\naction = misp\nmaxretry = 3\n\n\
                 [sshd]\nenabled = true\nlogpath = {}\n\n\
                 [trap]\nenabled = true\nfilter = sshd\nmaxretry = 1\nlogpath = {}\n",
                at("auth.log"),
                at("trap.log")
            ),
        );
        write(
            "fail2ban.local",
            format!(
                "[Definition]\nlogtarget = {}\nsocket = {}\npidfile = {}\ndbfile = {}\n",
                at("fail2ban.log"),
                at("fail2ban.sock"),
                at("fail2ban.pid"),
                at("fail2ban.sqlite3")
            ),
        );
        append(&dir.join("auth.log"), &[]);
        append(&dir.join("trap.log"), &[]);
        Self { dir: dir.to_owned(), server: None }
    }

    fn start(&mut self) {
        let log_before = self.log().len();
        let mut command = Command::new("fail2ban-server");
        command.args(["-f", "-x", "-c"]).arg(self.dir.join("fail2ban"));
        command.arg("start").stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Some(Running::start(&mut command));
        wait_for("both jails to start", || {
            let log = self.log()[log_before..].to_owned();
            (log.contains("Jail 'sshd' started") && log.contains("Jail 'trap' started"))
                .then_some(())
        });
    }

    fn stop(&mut self) {
        self.server.take().expect("fail2ban runs").stop();
    }

    fn attack(&self, log: &str, address: &str, n: usize) {
        append(&self.dir.join(log), &failed_logins(address, n));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("fail2ban.log")).unwrap_or_default()
    }
}

/// Looks over everybody's shoulder: does any process show `secret` in its arguments, or any file
/// below `dir` that others may read?
struct Watch {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<BTreeSet<String>>>,
    thread: JoinHandle<()>,
}

impl Watch {
    fn start(dir: &Path, secret: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let thread = std::thread::spawn({
            let (dir, secret) = (dir.to_owned(), secret.to_owned());
            let (stop, seen) = (stop.clone(), seen.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    look_at_processes(&secret, &seen);
                    look_at_files(&dir, &secret, &seen);
                }
            }
        });
        Self { stop, seen, thread }
    }

    fn finish(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        Arc::into_inner(self.seen).unwrap().into_inner().unwrap()
    }
}

fn look_at_processes(secret: &str, seen: &Mutex<BTreeSet<String>>) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        // A process may end while it is looked at.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if holds(&line, secret) {
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            seen.lock().unwrap().insert(format!("{}: {line}", entry.path().display()));
        }
    }
}

fn look_at_files(dir: &Path, secret: &str, seen: &Mutex<BTreeSet<String>>) {
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            // A file of the spool may be gone by now.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                dirs.push(entry.path());
            } else if metadata.is_file() && metadata.permissions().mode() & 0o044 != 0 {
                let bytes = fs::read(entry.path()).unwrap_or_default();
                if holds(&bytes, secret) {
                    seen.lock().unwrap().insert(entry.path().display().to_string());
                }
            }
        }
    }
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn real_fail2ban_tells_misp_through_our_action() {
    if !has("fail2ban-server") {
        return skip("fail2ban is not installed");
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let _shown = ShownOnFailure(dir.join("fail2ban.log"));
    let mut hub = Hub::start(&dir.join("hub"));
    let event = hub.add_event("fail2ban");
    let watch = Watch::start(dir, &hub.key);
    let mut fail2ban = Fail2ban::new(dir, &hub, &event);
    fail2ban.start();

    // A first ban is an attribute, just as the article makes it.
    for attacker in ["198.51.100.1", "198.51.100.2", "203.0.113.3"] {
        fail2ban.attack("auth.log", attacker, 3);
    }
    wait_for("three attributes", || (hub.values(&event).len() == 3).then_some(()));
    let found = hub.attributes(&json!({"returnFormat": "json", "value": "198.51.100.1"}));
    let attribute = &found[0];
    assert_eq!(attribute["category"], "Network activity");
    assert_eq!(attribute["type"], "ip-src");
    assert_eq!(attribute["to_ids"], true);
    assert_eq!(attribute["comment"], "login attempt (via fail2ban)");

    // The same address in a second jail is a sighting.
    fail2ban.attack("trap.log", "198.51.100.1", 1);
    wait_for("the sighting", || (hub.n_sightings(&event) == 1).then_some(()));
    assert_eq!(hub.values(&event).len(), 3);

    // A restart reports nothing again: what is banned after it arrives, and nothing but that.
    fail2ban.stop();
    fail2ban.start();
    wait_for("the bans to be restored", || {
        (fail2ban.log().matches("Restore Ban").count() == 4).then_some(())
    });
    fail2ban.attack("auth.log", "198.51.100.4", 3);
    wait_for("the fourth attribute", || (hub.values(&event).len() == 4).then_some(()));
    assert_eq!(hub.n_sightings(&event), 1);

    // With MISP away the action is as quick and content, and nothing is lost.
    hub.stop();
    fail2ban.attack("auth.log", "198.51.100.5", 3);
    wait_for("the ban", || fail2ban.log().contains("[sshd] Ban 198.51.100.5").then_some(()));
    assert!(!fail2ban.log().contains("ERROR"), "{}", fail2ban.log());
    hub.restart();
    wait_for("the fifth attribute", || (hub.values(&event).len() == 5).then_some(()));
    fail2ban.stop();
    assert!(!fail2ban.log().contains("ERROR"), "{}", fail2ban.log());

    let seen = watch.finish();
    assert!(seen.is_empty(), "the key was seen in {seen:?}");
}
