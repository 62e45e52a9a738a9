//! How soon a line is a ban in the kernel, and how fast many are: `cargo bench -p guard`.
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
use std::time::{Duration, Instant};

use guard::firewall::{Blocking, Change, Hook, Ports, Rule, Verdict};
use guard::{Clock, Firewall, Guard, Memory, Nft, Setup};
use jail::Subject;
use jail::config::Jail;
use jiff::Timestamp;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketType, sockopt};

/// Lines of a backlog.
const N_LINES: u32 = 1_000_000;
/// Lines whose way is measured.
const N_SAMPLES: u32 = 2000;
/// Attackers that fail at once.
const N_FLOOD: u32 = 10_000;
/// Bans that are put back at a start.
const N_RESTORED: u32 = 100_000;

/// `NFNLGRP_NFTABLES` as a bit of a mask.
const NFTABLES_EVENTS: u32 = 1 << (7 - 1);

fn main() {
    lines();
    netns::within(|| {
        line_to_kernel();
        flood();
        restore();
    });
}

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
    let mut took: Vec<Duration> = (0..N_SAMPLES)
        .map(|n| {
            // At uneven distances, as attackers come.
            std::thread::sleep(Duration::from_micros(500 + u64::from(n * 7919 % 1500)));
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
    while kernel.banned().unwrap().len() < N_FLOOD as usize {}
    println!("{N_FLOOD} attackers at once: all banned after {:?}", begun.elapsed());
    stop(guard);
}

fn restore() {
    let rule = Rule {
        hook: Hook::Input,
        protocols: vec!["tcp".to_owned()],
        ports: Ports::All,
        verdict: Verdict::Drop,
    };
    let blocking = Blocking { jail: "sshd".to_owned(), rules: vec![rule] };
    let bans: Vec<Change> = (0..N_RESTORED)
        .map(|n| Change::Ban {
            jail: "sshd".to_owned(),
            target: addr(n).into(),
            timeout: Some(Duration::from_secs(600)),
        })
        .collect();
    let mut kernel = Nft::new();
    let begun = Instant::now();
    kernel.rebuild(&[blocking], &mut bans.into_iter()).unwrap();
    println!("{N_RESTORED} bans put back in one step: {:?}", begun.elapsed());
    kernel.remove().unwrap();
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
        socket: None,
        firewall: Box::new(firewall),
        block_limits: guard::Limits::default(),
        clock: Clock::utc(),
        purge_age: guard::store::PURGE_AGE,
        fail2ban_socket: None,
        together: jail::judge::Together::default(),
        protect_sessions: false,
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
