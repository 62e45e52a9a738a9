//! How soon a line is a ban in the kernel, and how fast many are: `cargo bench -p guard`; one of
//! them alone, say the restarts, by `cargo bench -p guard -- restore`.
//!
//! Runs in a network namespace of its own, so it needs root; the kernel itself tells (by its
//! events of nf_tables) when an element stands.

#![allow(clippy::unwrap_used, reason = "a benchmark may fail by panic")]

#[path = "../tests/jails/mod.rs"]
mod jails;
#[path = "../tests/netns/mod.rs"]
mod netns;

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use control::block_list::BlockEntry;
use control::guard::GuardClient;
use guard::store::{Record, Store};
use guard::{Clock, Firewall, Guard, Memory, Nft, Setup};
use ipnet::Ipv4Net;
use jail::config::Jail;
use jail::{Ban, BanTime, Subject};
use jiff::Timestamp;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketType, sockopt};

/// Lines of a backlog.
const N_LINES: u32 = 1_000_000;
/// Lines whose way is measured, and the microseconds between two of them at most.
const N_SAMPLES: u32 = 10_000;
const MAX_PAUSE: u64 = 4000;
/// Attackers that fail at once.
const N_FLOOD: u32 = 10_000;
/// Bans that are put back at a start.
const N_RESTORED: [u32; 3] = [10_000, 100_000, 500_000];

/// `NFNLGRP_NFTABLES` as a bit of a mask.
const NFTABLES_EVENTS: u32 = 1 << (7 - 1);

/// Set in the process that writes the bans of a last life: where, and how many.
const PREPARE: &str = "FAIL2MISP_BENCH_FOLDER";
const N_PREPARED: &str = "FAIL2MISP_BENCH_BANS";

fn main() {
    if let Some(folder) = std::env::var_os(PREPARE) {
        let n_bans = std::env::var(N_PREPARED).unwrap().parse().unwrap();
        return prepare(Path::new(&folder), n_bans);
    }
    // cargo itself adds a flag.
    let wanted = std::env::args().skip(1).find(|it| !it.starts_with('-')).unwrap_or_default();
    netns::within(move || {
        for (_, bench) in BENCHES.iter().filter(|(name, _)| name.contains(&wanted)) {
            bench();
        }
    });
}

/// What is measured.
const BENCHES: [(&str, fn()); 5] = [
    ("lines", lines),
    ("line_to_kernel", line_to_kernel),
    ("flood", flood),
    ("restore", || N_RESTORED.into_iter().for_each(restore)),
    ("block_list", || {
        block_list(100_000, 0);
        block_list(950_000, 50_000);
    }),
];

/// A backlog with one failure in ten lines, of 5,000 attackers, read by a guard that only
/// remembers; the last attacker of it tells that it was read.
fn lines() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let (guard, mut log) = start(folder.path(), memory.clone());
    let now = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    let mut backlog = String::new();
    for n in 0..N_LINES {
        match n % 10 {
            0 => backlog.push_str(&line(n / 10 % 5000)),
            _ => {
                _ = writeln!(
                    backlog,
                    "{now} web1 sshd[{n}]: Connection closed by 10.1.2.3 port {n}"
                )
            }
        }
    }
    backlog.push_str(&line(9999));
    let begun = Instant::now();
    log.write_all(backlog.as_bytes()).unwrap();
    while memory.bans().last().is_none_or(|(_, last)| last.addr() != addr(9999)) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = begun.elapsed();
    println!(
        "{N_LINES} lines at once, {} bans: {took:?}, {:.0} lines/s",
        memory.bans().len(),
        f64::from(N_LINES) / took.as_secs_f64()
    );
    stop(guard);
}

fn line_to_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let (guard, mut log) = start(folder.path(), Nft::new());
    let events = listen();
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    let mut took: Vec<Duration> = (0..N_SAMPLES)
        .map(|n| {
            // At random distances, as attackers come (xorshift).
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            std::thread::sleep(Duration::from_micros(dice % MAX_PAUSE));
            let line = line(n);
            let begun = Instant::now();
            log.write_all(line.as_bytes()).unwrap();
            wait(&events);
            begun.elapsed()
        })
        .collect();
    took.sort();
    let at = |share: f64| took[(took.len() as f64 * share) as usize];
    println!(
        "line to kernel, {N_SAMPLES} lines: p50 {:?}, p99 {:?}, worst {:?}",
        at(0.5),
        at(0.99),
        at(0.999_9)
    );
    stop(guard);
}

fn flood() {
    let folder = tempfile::tempdir().unwrap();
    let (guard, mut log) = start(folder.path(), Nft::new());
    let lines: String = (0..N_FLOOD).map(line).collect();
    let mut kernel = Nft::new();
    let begun = Instant::now();
    log.write_all(lines.as_bytes()).unwrap();
    while n_bans(&mut kernel) < N_FLOOD as usize {}
    println!("{N_FLOOD} attackers at once: all banned after {:?}", begun.elapsed());
    stop(guard);
}

/// A start of the whole guard with so many bans of its last life.
fn restore(n_bans: u32) {
    let folder = tempfile::tempdir().unwrap();
    // What a process once held it keeps; so another one writes the bans.
    let written = Command::new(std::env::current_exe().unwrap())
        .env(PREPARE, folder.path())
        .env(N_PREPARED, n_bans.to_string())
        .status();
    assert!(written.unwrap().success());
    let begun = Instant::now();
    let (guard, _log) = start(folder.path(), Nft::new());
    let took = begun.elapsed();
    // While the kernel makes room for so many elements, its list of them leaves some out.
    let mut kernel = Nft::new();
    while self::n_bans(&mut kernel) < n_bans as usize {}
    println!("{n_bans} bans back after a restart: {took:?}");
    stop(guard);
}

fn n_bans(firewall: &mut Nft) -> usize {
    firewall.banned().unwrap().values().map(Vec::len).sum()
}

/// Writes the bans that [`restore`] puts back.
fn prepare(folder: &Path, n_bans: u32) {
    let now = Timestamp::now();
    let bans: Vec<Record> = (0..n_bans)
        .map(|n| {
            Record::Banned(Ban {
                jail: "sshd".to_owned(),
                subject: Subject::Addr(addr(n)),
                time: now,
                bantime: BanTime::Seconds(86_400),
                n_failures: 5,
                first_failure: now,
                last_failure: now,
                matches: vec![line(n)],
                fields: Vec::new(),
            })
        })
        .collect();
    Store::open(&folder.join("guard")).unwrap().commit(&bans, [], []).unwrap();
}

/// A block list as a whole, and a small change of it, over the socket into the kernel.
fn block_list(n_addresses: u32, n_prefixes: u32) {
    let folder = tempfile::tempdir().unwrap();
    let (guard, _log) = start(folder.path(), Nft::new());
    let mut client = GuardClient::connect(&folder.path().join("control.sock")).unwrap();
    let until = Some(Timestamp::now() + jiff::SignedDuration::from_hours(24));
    let entry = |first: u32, length| {
        let net = Ipv4Net::new(Ipv4Addr::from_bits(first), length).unwrap();
        BlockEntry { net: net.into(), until }
    };
    let address = |n: u32| entry(0x1600_0000 + n * 3, 32);
    let prefix = |n: u32| entry(0x5000_0000 + n * 512, 24);
    let whole: Vec<_> = (0..n_addresses).map(address).chain((0..n_prefixes).map(prefix)).collect();
    let begun = Instant::now();
    client.change_block_list("hub", "1", None, &whole, &[]).unwrap();
    let took = begun.elapsed();
    let n_listed = whole.len();
    let new: Vec<_> = (n_addresses..n_addresses + 50).map(address).collect();
    let gone: Vec<_> = (0..50).map(|n| address(n).net).collect();
    let begun = Instant::now();
    client.change_block_list("hub", "2", Some("1"), &new, &gone).unwrap();
    let change = begun.elapsed();
    let new: Vec<_> = (n_prefixes..n_prefixes + 50).map(prefix).collect();
    let gone: Vec<_> = (0..n_prefixes.min(50)).map(|n| prefix(n).net).collect();
    let begun = Instant::now();
    client.change_block_list("hub", "3", Some("2"), &new, &gone).unwrap();
    println!(
        "block list of {n_listed} entries, {n_prefixes} of them prefixes: {took:?}; a change of 100 \
         addresses {change:?}, of 100 prefixes {:?}",
        begun.elapsed()
    );
    stop(guard);
}

fn addr(n: u32) -> std::net::IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + n).into()
}

fn line(n: u32) -> String {
    let now = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S");
    format!("{now} login of root from {} failed\n", Subject::Addr(addr(n)))
}

fn start(folder: &Path, firewall: impl Firewall + 'static) -> (Guard, File) {
    let path = folder.join("log");
    let mut log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
    log.write_all(b"begun\n").unwrap();
    let jail = Jail { max_retry: 1, ignore_self: false, ..jails::jail("sshd", &path) };
    let guard = Guard::start(Setup {
        disabled: Vec::new(),
        jails: vec![jail],
        state: Some(folder.join("guard")),
        socket: Some(folder.join("control.sock")),
        firewall: Box::new(firewall),
        block_limits: guard::Limits::default(),
        clock: Clock::utc(),
        purge_age: guard::store::PURGE_AGE,
        fail2ban_socket: None,
        actions: None,
        together: jail::judge::Together::default(),
        protect_sessions: false,
        look_back: None,
        program: None,
    });
    (guard.unwrap(), log)
}

fn stop(guard: Guard) {
    guard.stopper().stop();
    guard.wait();
}

/// A socket at which the kernel tells of every change of nf_tables.
fn listen() -> OwnedFd {
    let protocol = Some(netlink::NETFILTER);
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, protocol).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 1 << 20).unwrap();
    let patience = Some(Duration::from_secs(10));
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, patience).unwrap();
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, NFTABLES_EVENTS)).unwrap();
    socket
}

/// Waits until the kernel has told of a batch: its last event is that of the new generation,
/// `NFT_MSG_NEWGEN`.
fn wait(events: &OwnedFd) {
    let mut event = vec![0; 64 << 10];
    loop {
        let (n_bytes, _) = rustix::net::recv(events, &mut event, RecvFlags::empty()).unwrap();
        let mut rest = &event[..n_bytes];
        while rest.len() >= 16 {
            if rest[4] == 15 && rest[5] == 10 {
                return;
            }
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
