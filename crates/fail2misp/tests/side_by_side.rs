//! `fail2misp run` and Debian's fail2ban-server side by side over the same logs: the same bans in the
//! same order in each of five jails, and the same unbans.
//!
//! Both run an action that writes down what it is told and when, so no firewall is moved.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{BINARY, Running, ShownOnFailure, append, has, skip, wait_for};

/// The jails that follow the same logs; `recidive` follows what its own side logs.
const JAILS: [&str; 4] = ["sshd", "nginx-botsearch", "postfix", "dovecot"];
const RECIDIVE: &str = "recidive";

/// Failures until a ban, bans until one by `recidive`, and how long a ban stands.
const MAX_RETRY: usize = 3;
const BAN_SECONDS: u32 = 6;

/// How far the two may lie apart with the end of a ban.
const APART_SECONDS: f64 = 3.0;

/// Bans each jail makes of its own attackers in a round.
const N_ATTACKERS: u8 = 6;

/// Fails in all four jails, so that `recidive` bans it.
const EVERYWHERE: &str = "198.51.100.99";
/// Gives up before it is banned.
const PATIENT: &str = "203.0.113.2";
/// Fails as often, and `ignoreip` holds it.
const TRUSTED: &str = "203.0.113.1";

/// One of the two, with a folder of its own.
struct Side {
    dir: PathBuf,
    process: Option<Running>,
}

/// What an action was told: a jail, an address, and the moment.
#[derive(Clone, Debug)]
struct Told {
    jail: String,
    address: String,
    at: f64,
}

impl Side {
    /// Debian's configuration with five jails that follow the logs in `logs`.
    fn new(dir: PathBuf, logs: &Path) -> Self {
        fs::create_dir_all(&dir).unwrap();
        let config = dir.join("fail2ban");
        let copied =
            Command::new("cp").args(["-a", "/etc/fail2ban"]).arg(&config).status().unwrap();
        assert!(copied.success());
        let at = |name: &str| dir.join(name).display().to_string();
        fs::write(config.join("jail.d/defaults-debian.conf"), "").unwrap();
        let mut jails = format!(
            "[DEFAULT]\nbackend = auto\naction = note[name=%(__name__)s]\nmaxretry = {MAX_RETRY}\n\
             findtime = 1h\nbantime = {BAN_SECONDS}\nignoreip = {TRUSTED}\n\n\
             [{RECIDIVE}]\nenabled = true\nbantime = {BAN_SECONDS}\nmaxretry = {MAX_RETRY}\n\
             logpath = {}\n",
            at("log")
        );
        for jail in JAILS {
            let log = logs.join(jail);
            jails += &format!("\n[{jail}]\nenabled = true\nlogpath = {}\n", log.display());
            jails += "backend = auto\nmode = normal\n";
        }
        fs::write(config.join("jail.local"), jails).unwrap();
        let note = |what: &str| {
            format!("action{what} = echo $(date +%%s.%%N) <name> <ip> >> {}\n", at(what))
        };
        let action = ["[Definition]\n", &note("ban"), &note("unban")].concat();
        fs::write(config.join("action.d/note.conf"), action).unwrap();
        let server = format!(
            "[Definition]\nlogtarget = {}\nsocket = {}\npidfile = {}\ndbfile = {}\n",
            at("log"),
            at("socket"),
            at("pid"),
            at("fail2ban.sqlite3")
        );
        fs::write(config.join("fail2ban.local"), server).unwrap();
        for file in ["log", "ban", "unban"] {
            fs::write(dir.join(file), "").unwrap();
        }
        Self { dir, process: None }
    }

    fn start(&mut self, command: &mut Command) {
        command.env("TZ", "UTC").stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Running::start(command));
        for jail in JAILS.iter().chain([&RECIDIVE]) {
            wait_for(&format!("{jail} of {}", self.dir.display()), || {
                self.log().contains(&format!("Jail '{jail}' started")).then_some(())
            });
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap()
    }

    /// What `actionban` or `actionunban` was told, in order.
    fn told(&self, what: &str) -> Vec<Told> {
        let text = fs::read_to_string(self.dir.join(what)).unwrap();
        let mut all = Vec::new();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let [at, jail, address] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let (jail, address) = (jail.to_owned(), address.to_owned());
            all.push(Told { jail, address, at: at.parse().unwrap() });
        }
        all
    }

    fn wait_for(&self, what: &str, n: usize) {
        wait_for(&format!("{n} times {what} in {}", self.dir.display()), || {
            (self.told(what).len() >= n).then_some(())
        });
    }

    /// The addresses that each jail banned, in order.
    fn bans(&self) -> BTreeMap<String, Vec<String>> {
        let mut bans: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for told in self.told("ban") {
            bans.entry(told.jail).or_default().push(told.address);
        }
        bans
    }

    /// When each ban ended, the bans of an address in a jail in their order. For `recidive` it is
    /// how long after the ban: the two log their bans at different times, and it counts by those.
    fn ends(&self) -> BTreeMap<(String, String), Vec<f64>> {
        let mut ends: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for Told { jail, address, at } in self.told("unban") {
            ends.entry((jail, address)).or_default().push(at);
        }
        for ((jail, address), ends) in ends.iter_mut().filter(|((jail, _), _)| jail == RECIDIVE) {
            let bans = self.told("ban").into_iter();
            let bans = bans.filter(|it| it.jail == *jail && it.address == *address);
            ends.iter_mut().zip(bans).for_each(|(end, ban)| *end -= ban.at);
        }
        ends
    }
}

/// A line of a failure of `address` that `jail` counts, written now.
fn failure(jail: &str, address: &str) -> String {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let syslog = now.strftime("%b %e %H:%M:%S web-1");
    match jail {
        "sshd" => format!("{syslog} sshd[71]: Failed password for root from {address} port 9 ssh2"),
        "nginx-botsearch" => format!(
            "{address} - - [{}] \"GET /phpmyadmin/index.php HTTP/1.1\" 404 162 \"-\" \"-\"",
            now.strftime("%d/%b/%Y:%H:%M:%S +0000")
        ),
        "postfix" => format!(
            "{syslog} postfix/smtpd[72]: NOQUEUE: reject: RCPT from unknown[{address}]: 554 5.7.1 \
             <a@example.org>: Relay access denied; from=<b@example.org> to=<a@example.org> \
             proto=ESMTP helo=<c>"
        ),
        "dovecot" => format!(
            "{syslog} dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): \
             user=<bob>, method=PLAIN, rip={address}, lip=192.0.2.1, session=<x>"
        ),
        other => panic!("{other} has no lines"),
    }
}

/// Lets the attackers of a round fail in `jail`, all by turns, and among them one that is trusted.
fn attack(logs: &Path, jail: &str, attackers: &[String]) {
    for _ in 0..MAX_RETRY {
        let mut lines: Vec<_> = attackers.iter().map(|address| failure(jail, address)).collect();
        lines.push(failure(jail, TRUSTED));
        append(&logs.join(jail), &lines);
    }
}

#[test]
fn bans_and_unbans_as_fail2ban_does() {
    if !has("fail2ban-server") {
        return skip("fail2ban is not installed");
    }
    if !rustix::process::geteuid().is_root() {
        return skip("only root has a network namespace of its own");
    }
    let temp = tempfile::tempdir().unwrap();
    let logs = temp.path().join("logs");
    fs::create_dir(&logs).unwrap();
    JAILS.iter().for_each(|jail| append(&logs.join(jail), &[]));
    let mut theirs = Side::new(temp.path().join("theirs"), &logs);
    let mut ours = Side::new(temp.path().join("ours"), &logs);
    let _shown = [&theirs, &ours].map(|side| ShownOnFailure(side.dir.join("log")));

    let mut command = Command::new("fail2ban-server");
    command.args(["-f", "-x", "-c"]).arg(theirs.dir.join("fail2ban")).arg("start");
    theirs.start(&mut command);
    let mut command = Command::new("unshare");
    command.args(["--net", BINARY, "--fail2ban-dir"]).arg(ours.dir.join("fail2ban"));
    command.arg("--config").arg(ours.dir.join("config.toml"));
    command.arg("--state").arg(ours.dir.join("state"));
    command.arg("--runtime").arg(ours.dir.join("run"));
    command.args(["run", "--only", "guard"]);
    ours.start(&mut command);
    let wait_for_both = |what: &str, n: usize| {
        [&theirs, &ours].iter().for_each(|side| side.wait_for(what, n));
    };

    // Each jail has its own attackers, and one that comes everywhere.
    let attackers = |number: usize| -> Vec<String> {
        let own =
            (1..=N_ATTACKERS).map(|last| format!("198.51.100.{}", number * 20 + usize::from(last)));
        own.chain([EVERYWHERE.to_owned()]).collect()
    };
    for (number, jail) in JAILS.iter().enumerate() {
        append(&logs.join(jail), &vec![failure(jail, PATIENT); MAX_RETRY - 1]);
        attack(&logs, jail, &attackers(number));
    }
    let n_first = JAILS.len() * (usize::from(N_ATTACKERS) + 1) + 1; // one of them by recidive
    wait_for_both("ban", n_first);
    // Whoever goes on while it is banned is banned for longer.
    attack(&logs, "sshd", &attackers(0)[..2]);
    wait_for_both("unban", n_first);

    // Some come again, and again, until recidive has enough of them.
    for round in 2..=MAX_RETRY {
        attack(&logs, "dovecot", &attackers(3)[1..3]);
        let n_recidive = if round == MAX_RETRY { 2 } else { 0 };
        let n = n_first + (round - 1) * 2 + n_recidive;
        wait_for_both("ban", n);
        wait_for_both("unban", n);
    }

    assert_eq!(ours.bans(), theirs.bans());
    assert_eq!(ours.bans()[RECIDIVE].len(), 3);
    let (got, want) = (ours.ends(), theirs.ends());
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (key, want) in &want {
        let got = &got[key];
        assert_eq!(got.len(), want.len(), "{key:?}");
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() <= APART_SECONDS, "{key:?}: {got} and {want}");
        }
    }
    [theirs, ours].into_iter().filter_map(|side| side.process).for_each(Running::stop);
}
