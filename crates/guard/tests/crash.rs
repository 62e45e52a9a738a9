//! Guard is killed again and again while a log grows and is rotated: no ban is lost, none is
//! made twice, failures that are no ban yet count on, and the kernel, guard.db and the log of bans
//! agree. At the end the bans are those of a guard that nobody killed.
//!
//! `FAIL2MISP_CRASHES=200 cargo test -p guard --test crash` is the full form.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod jails;
mod netns;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use control::guard::GuardClient;
use guard::{Clock, Firewall, Guard, Limits, Memory, Nft, Setup};
use jail::{Ban, NumberedBan, Subject};
use jiff::Timestamp;

/// Set in the process that is killed: the folder that it guards.
const FOLDER: &str = "FAIL2MISP_TEST_CRASH";

/// How often guard is killed, where somebody wants another number than [`N_KILLS`].
const KILLS: &str = "FAIL2MISP_CRASHES";
const N_KILLS: u32 = 10;

/// Lines until the log is rotated.
const N_LINES_A_FILE: u32 = 700;

/// Old logs that are kept.
const N_FILES: u32 = 20;

/// How long the writer rests after every twenty lines.
const PACE: Duration = Duration::from_millis(12);

/// Attackers that are at it at once: so many failures of others lie between two of one.
const N_AT_ONCE: u32 = 40;

/// Who fails first: once he is banned, it is known where reading goes on.
const FIRST: &str = "192.0.2.1";

/// Who fails last: once he is banned, everything was read.
const LAST: &str = "192.0.2.255";

const PATIENCE: Duration = Duration::from_secs(60);

fn setup(folder: &Path, name: &str, firewall: Box<dyn Firewall>) -> Setup {
    Setup {
        disabled: Vec::new(),
        jails: vec![jails::jail("sshd", &folder.join("log"))],
        state: Some(folder.join(format!("state-{name}"))),
        socket: Some(socket(folder, name)),
        firewall,
        block_limits: Limits::default(),
        clock: Clock::utc(),
        purge_age: guard::store::PURGE_AGE,
        fail2ban_socket: None,
        actions: None,
        together: jail::judge::Together::default(),
        protect_sessions: false,
        look_back: None,
        program: None,
    }
}

fn socket(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.sock"))
}

/// Not a test of its own: the process that is killed.
#[test]
fn guards_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let setup = setup(Path::new(&folder), "killed", Box::new(Nft::new()));
    let guard = Guard::start(setup).unwrap();
    println!("guarding");
    guard.wait();
}

fn spawn(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "guards_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn start(folder: &Path) -> Child {
    let mut child = spawn(folder);
    let mut words = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(words.any(|line| line.unwrap().contains("guarding")), "it does not start");
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Numbers that repeat with their seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Writes lines, one of four a failed login, until it is told to end, and rotates the log.
struct Writer {
    folder: PathBuf,
    n_lines: u32,
    dice: Dice,
}

impl Writer {
    fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), n_lines: 0, dice: Dice(0x0B5E) }
    }

    fn write_until(mut self, end: Arc<AtomicBool>) -> JoinHandle<()> {
        thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                self.write_some();
                thread::sleep(PACE);
            }
            self.fail(LAST);
        })
    }

    fn fail(&mut self, who: &str) {
        (0..3).for_each(|_| self.line(&format!("login of root from {who} failed")));
    }

    fn write_some(&mut self) {
        for n in 0..20 {
            if n % 4 != 0 {
                self.line("session of somebody opened");
                continue;
            }
            // Whoever is at it changes slowly; most fail often enough, some do not.
            let first = self.n_lines / 80;
            let attacker = first + self.dice.below(u64::from(N_AT_ONCE)) as u32;
            let addr = Ipv4Addr::from_bits(0x0a00_0000 + attacker);
            self.line(&format!("login of root from {addr} failed"));
        }
    }

    fn line(&mut self, text: &str) {
        self.n_lines += 1;
        if self.n_lines.is_multiple_of(N_LINES_A_FILE) {
            self.rotate();
        }
        let mut log = OpenOptions::new().append(true).create(true).open(self.file(0)).unwrap();
        let now = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S");
        // In two parts, so that a kill may fall between them.
        let (begin, end) = text.split_at(text.len() / 2);
        write!(log, "{now} {begin}").unwrap();
        writeln!(log, "{end}").unwrap();
    }

    /// As logrotate's `create` and `copytruncate` do, in turn.
    fn rotate(&self) {
        for older in (1..N_FILES).rev().filter(|&it| self.file(it).exists()) {
            fs::rename(self.file(older), self.file(older + 1)).unwrap();
        }
        if (self.n_lines / N_LINES_A_FILE).is_multiple_of(2) {
            fs::copy(self.file(0), self.file(1)).unwrap();
            File::options().write(true).open(self.file(0)).unwrap().set_len(0).unwrap();
        } else {
            fs::rename(self.file(0), self.file(1)).unwrap();
        }
    }

    fn file(&self, n: u32) -> PathBuf {
        self.folder.join(if n == 0 { "log".to_owned() } else { format!("log.{n}") })
    }
}

/// Who follows the log of bans, as exchange does.
#[derive(Default)]
struct Follower {
    bans: Vec<NumberedBan>,
    subjects: BTreeSet<String>,
}

impl Follower {
    fn hear(&mut self, client: &mut GuardClient) {
        loop {
            let after = self.bans.last().map_or(0, |it| it.number);
            let part = client.bans_since(after, 10_000, Duration::ZERO).unwrap().bans;
            if part.is_empty() {
                return;
            }
            for it in &part {
                let who = it.ban.subject.to_string();
                assert!(self.subjects.insert(who.clone()), "{who} is banned twice");
            }
            self.bans.extend(part);
        }
    }

    fn hear_until(&mut self, who: &str, client: &mut GuardClient) {
        let begun = Instant::now();
        while !self.subjects.contains(who) {
            assert!(begun.elapsed() < PATIENCE, "{:?}", client.status().unwrap().ban_log);
            thread::sleep(Duration::from_millis(20));
            self.hear(client);
        }
    }

    fn hear_all(mut self, client: &mut GuardClient) -> Vec<Ban> {
        self.hear_until(LAST, client);
        self.bans.into_iter().map(|it| it.ban).collect()
    }
}

fn in_kernel() -> BTreeSet<String> {
    let banned = Nft::new().banned().unwrap();
    banned.into_values().flatten().map(|net| Subject::Addr(net.addr()).to_string()).collect()
}

fn standing(client: &mut GuardClient) -> BTreeSet<String> {
    client.banned(&[]).unwrap().into_iter().map(|it| it.subject.to_string()).collect()
}

/// Compares one by one: thousands of bans fill no screen.
#[track_caller]
fn same(bans: &[Ban], want: &[Ban]) {
    let lack = |of: &[Ban], what: &[Ban]| -> Vec<String> {
        let all: BTreeSet<_> = of.iter().map(|it| it.subject.to_string()).collect();
        let missing = what.iter().map(|it| it.subject.to_string());
        missing.filter(|it| !all.contains(it)).take(5).collect()
    };
    assert_eq!((lack(bans, want), lack(want, bans)), (Vec::new(), Vec::new()), "not the same");
    for (ban, want) in bans.iter().zip(want) {
        assert_eq!(ban, want);
    }
    assert_eq!(bans.len(), want.len());
}

#[test]
fn nothing_is_lost_and_nothing_doubled() {
    let n_kills = std::env::var(KILLS).map_or(N_KILLS, |it| it.parse().unwrap());
    netns::within(move || survive(n_kills));
}

fn survive(n_kills: u32) {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    fs::write(folder.join("log"), "").unwrap();
    let spared = Guard::start(setup(folder, "spared", Box::<Memory>::default())).unwrap();
    let mut follower = Follower::default();
    let mut writer = Writer::new(folder);
    let child = start(folder);
    writer.fail(FIRST);
    follower.hear_until(FIRST, &mut GuardClient::connect(&socket(folder, "killed")).unwrap());
    kill(child);

    let end = Arc::new(AtomicBool::new(false));
    let writer = writer.write_until(Arc::clone(&end));
    let mut dice = Dice(0xDEAD);
    for _ in 0..n_kills {
        if dice.below(4) == 0 {
            // In the middle of its start.
            let child = spawn(folder);
            thread::sleep(Duration::from_millis(dice.below(80)));
            kill(child);
        }
        let child = start(folder);
        let mut client = GuardClient::connect(&socket(folder, "killed")).unwrap();
        follower.hear(&mut client);
        let standing = standing(&mut client);
        assert!(follower.subjects.is_subset(&standing), "a ban is lost");
        assert!(standing.is_subset(&in_kernel()), "a ban is not in the kernel");
        thread::sleep(Duration::from_millis(dice.below(100)));
        kill(child);
    }
    end.store(true, Ordering::Relaxed);
    writer.join().unwrap();

    let child = start(folder);
    let mut client = GuardClient::connect(&socket(folder, "killed")).unwrap();
    let bans = follower.hear_all(&mut client);
    let mut unkilled = GuardClient::connect(&socket(folder, "spared")).unwrap();
    let want = Follower::default().hear_all(&mut unkilled);
    same(&bans, &want);
    same(&client.banned(&[]).unwrap(), &unkilled.banned(&[]).unwrap());
    assert_eq!(standing(&mut client), in_kernel());
    println!("{n_kills} kills, {} bans, each as without them", bans.len());
    kill(child);
    spared.stopper().stop();
    spared.wait();
}
