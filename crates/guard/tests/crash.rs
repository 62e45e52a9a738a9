//! Guard is killed again and again while a log grows and is rotated: no ban is lost, none is
//! made twice, and the firewall, guard.db and the log of bans agree.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod jails;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use control::guard::GuardClient;
use guard::{Guard, Memory, Setup};
use jail::config::Jail;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Set in the process that is killed: the folder that it guards.
const FOLDER: &str = "FAIL2MISP_TEST_CRASH";

const N_KILLS: u32 = 20;
const N_ATTACKERS: u32 = 6000;
/// Lines until the log is rotated.
const N_LINES_A_FILE: u32 = 700;

/// How long the writer rests after every twenty lines, so that it outlasts most of the kills.
const PACE: Duration = Duration::from_millis(12);

const PATIENCE: Duration = Duration::from_secs(60);

/// Not a test of its own: the process that is killed.
#[test]
fn guards_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let setup = Setup {
        disabled: Vec::new(),
        jails: vec![Jail { max_retry: 1, ..jails::jail("sshd", &folder.join("log")) }],
        state: Some(folder.join("state")),
        socket: Some(folder.join("control.sock")),
        firewall: Box::new(Memory::default()),
        zone: TimeZone::UTC,
        program: None,
    };
    let guard = Guard::start(setup).unwrap();
    println!("guarding");
    guard.wait();
}

fn start(folder: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "guards_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut words = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(words.any(|line| line.unwrap().contains("guarding")), "it does not start");
    child
}

fn attacker(n: u32) -> String {
    Ipv4Addr::from_bits(0x0a00_0000 + n).to_string()
}

/// Writes a line of each attacker, and rotates as logrotate does, three files deep.
fn write_log(folder: &Path, pace: Duration) {
    let name = |n: u32| folder.join(if n == 0 { "log".to_owned() } else { format!("log.{n}") });
    for n in 0..N_ATTACKERS {
        if n % N_LINES_A_FILE == N_LINES_A_FILE - 1 {
            for older in (0..20).rev().filter(|&it| name(it).exists()) {
                fs::rename(name(older), name(older + 1)).unwrap();
            }
        }
        let mut log = OpenOptions::new().append(true).create(true).open(name(0)).unwrap();
        let now = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S");
        // In two parts, so that a kill may fall between them.
        write!(log, "{now} login of root from ").unwrap();
        writeln!(log, "{} failed", attacker(n)).unwrap();
        if n % 20 == 0 {
            std::thread::sleep(pace);
        }
    }
}

#[test]
fn nothing_is_lost_and_nothing_doubled() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("log"), "").unwrap();
    let path = folder.path().to_owned();
    let writer = std::thread::spawn(move || write_log(&path, PACE));
    let mut seen = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    let mut hear = |client: &mut GuardClient| {
        let after = numbers.last().copied().unwrap_or(0);
        let Ok(log) = client.bans_since(after, 10_000, Duration::ZERO) else { return };
        for it in log.bans {
            assert!(numbers.insert(it.number), "number {} twice", it.number);
            let who = it.ban.subject.to_string();
            assert!(seen.insert(who.clone()), "{who} is banned twice");
        }
    };
    for n in 0..N_KILLS {
        let mut child = start(folder.path());
        if let Ok(mut client) = GuardClient::connect(&folder.path().join("control.sock")) {
            hear(&mut client);
        }
        std::thread::sleep(Duration::from_millis(u64::from(n * 37 % 60)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    writer.join().unwrap();

    let mut child = start(folder.path());
    let mut client = GuardClient::connect(&folder.path().join("control.sock")).unwrap();
    let begun = Instant::now();
    while client.status().unwrap().ban_log.last < u64::from(N_ATTACKERS) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", client.status().unwrap().ban_log);
        std::thread::sleep(Duration::from_millis(20));
    }
    hear(&mut client);
    assert_eq!(client.banned(&[]).unwrap().len(), N_ATTACKERS as usize);
    child.kill().unwrap();
    child.wait().unwrap();
    let all: BTreeSet<String> = (0..N_ATTACKERS).map(attacker).collect();
    assert_eq!(seen, all);
}
