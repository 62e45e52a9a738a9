//! Block lists: packets of whom a list names are really dropped, and what guard does not take of one.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod host;
mod jails;
mod neighbour;
mod netns;

use std::net::TcpListener;
use std::process::Command;

use control::block_list::{BlockEntry, BlockListAnswer};
use guard::{Firewall, Guard, Ipset, Limits, Nft};
use host::{Host, eventually, kill, stop};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use neighbour::Neighbour;

/// Runs `test` over every firewall that moves the kernel, each in a namespace of its own.
fn over_kernels(test: fn(&dyn Fn() -> Box<dyn Firewall>)) {
    netns::within(move || test(&|| Box::new(Nft::new())));
    netns::within(move || test(&|| Box::new(Nft::by_program())));
    netns::within(move || test(&|| Box::new(Ipset::new())));
}

fn start(host: &Host, firewall: Box<dyn Firewall>, block_limits: Limits) -> Guard {
    let setup = host.setup(vec![host.jail("sshd")], guard::Memory::default());
    Guard::start(guard::Setup { firewall, block_limits, ..setup }).unwrap()
}

fn entry(text: &str) -> BlockEntry {
    BlockEntry { net: text.parse().unwrap(), until: None }
}

/// Changes the list `hub`; returns its length, and what was refused in words.
#[track_caller]
fn change(
    host: &Host,
    version: &str,
    base: Option<&str>,
    add: &[&str],
    remove: &[&str],
) -> (u64, String) {
    let add: Vec<BlockEntry> = add.iter().map(|it| entry(it)).collect();
    let remove: Vec<IpNet> = remove.iter().map(|it| it.parse().unwrap()).collect();
    match host.client().change_block_list("hub", version, base, &add, &remove).unwrap() {
        BlockListAnswer::Committed(outcome) => {
            let refused = outcome.refused.iter().map(|it| format!("{:?} {}", it.why, it.n));
            (outcome.n_entries, refused.collect::<Vec<_>>().join(", "))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn packets_of_whom_a_list_names_are_dropped() {
    over_kernels(|firewall| {
        let neighbour = Neighbour::new();
        let _open = TcpListener::bind("[::]:8080").unwrap();
        let host = Host::new();
        let guard = start(&host, firewall(), Limits::default());
        let passes = |source: &str| neighbour.connects(source, 8080);
        for source in ["10.9.0.2", "10.9.0.4", "fd00:9::2"] {
            eventually("a new wire works", || passes(source));
        }
        let all = ["10.9.0.2/32", "10.9.0.4/31", "fd00:9::2/128", "fd00:9::8/125"];
        assert_eq!(change(&host, "1", None, &all, &[]), (4, String::new()));
        for (source, want) in [
            ("10.9.0.2", false),
            ("10.9.0.3", true),
            ("10.9.0.5", false), // by its prefix
            ("fd00:9::2", false),
            ("fd00:9::3", true),
            ("fd00:9::9", false), // by its prefix
        ] {
            assert_eq!(passes(source), want, "{source}");
        }
        let list = &host.client().block_lists().unwrap()[0];
        assert_eq!((list.n_addresses, list.n_prefixes, list.version.as_str()), (2, 2, "1"));
        assert!(list.n_packets >= 4 && list.n_bytes >= 40 * list.n_packets, "{list:?}");

        // A change of another version than guard holds is not made.
        let other = host.client().change_block_list("hub", "9", Some("0"), &[], &[]).unwrap();
        assert_eq!(other, BlockListAnswer::OtherBase { version: Some("1".to_owned()) });
        let lifted = ["10.9.0.2/32", "10.9.0.4/31", "192.0.2.1/32"];
        assert_eq!(change(&host, "2", Some("1"), &["10.9.0.3/32"], &lifted).0, 3);
        assert!(passes("10.9.0.2") && passes("10.9.0.4") && !passes("10.9.0.3"));

        // Nothing is open while guard is away, nor when it is back, whoever sends lists or not.
        kill(guard);
        assert!(!passes("10.9.0.3"));
        let guard = start(&host, firewall(), Limits::default());
        eventually("the lists stand again", || {
            assert!(!passes("10.9.0.3"));
            host.client().block_lists().unwrap()[0].version == "2"
        });
        host.client().forget_block_list("hub").unwrap();
        assert!(passes("10.9.0.3"));
        stop(guard);
    });
}

#[test]
fn an_entry_ends_by_itself() {
    over_kernels(|firewall| {
        let neighbour = Neighbour::new();
        let _open = TcpListener::bind("[::]:8080").unwrap();
        let host = Host::new();
        let guard = start(&host, firewall(), Limits::default());
        eventually("a new wire works", || neighbour.connects("10.9.0.2", 8080));
        let until = Timestamp::now() + SignedDuration::from_secs(2);
        let entry = BlockEntry { until: Some(until), ..entry("10.9.0.2/32") };
        host.client().change_block_list("hub", "1", None, &[entry], &[]).unwrap();
        assert!(!neighbour.connects("10.9.0.2", 8080));
        eventually("it ends", || neighbour.connects("10.9.0.2", 8080));
        stop(guard);
    });
}

#[test]
fn guard_takes_nobody_that_it_must_not_block() {
    over_kernels(|firewall| {
        let neighbour = Neighbour::new();
        let sshd = TcpListener::bind("[::]:22").unwrap();
        let host = Host::new();
        let guard = start(&host, firewall(), Limits { max_entries: 9, ..Limits::default() });
        eventually("a new wire works", || neighbour.connects("10.9.0.7", 22));
        let session = neighbour.stays("10.9.0.3", 22);
        let all = [
            "10.9.0.1/32",      // this host
            "10.9.0.0/31",      // holds this host
            "fd00:9::/64",      // likewise
            "203.0.113.200/32", // `ignoreip` of the jail
            "10.9.0.3/32",      // an administrator's
            "127.0.0.1/32",     // special
            "fe80::/64",        // special
            "0.0.0.0/0",        // too wide
            "198.0.0.0/15",     // too wide
            "10.9.0.2/32",
        ];
        let (n, refused) = change(&host, "1", None, &all, &[]);
        assert_eq!(n, 6, "those that only this host spares are kept");
        assert_eq!(refused, "TooWide 2, Special 2, OwnAddress 3, Ignored 1, Administrator 1");
        assert!(neighbour.connects("10.9.0.3", 22));
        assert!(!neighbour.connects("10.9.0.2", 22));

        // Once he has left he is like everybody.
        drop(session);
        while sshd.set_nonblocking(true).is_ok() && sshd.accept().is_ok() {}
        eventually("he is blocked", || {
            change(&host, "1", Some("1"), &[], &[]);
            !neighbour.connects("10.9.0.3", 22)
        });
        let more = ["198.51.100.1/32", "198.51.100.2/32", "198.51.100.3/32", "198.51.100.4/32"];
        let (n, refused) = change(&host, "2", Some("1"), &more, &[]);
        assert_eq!((n, refused.as_str()), (9, "TooMany 1"));
        stop(guard);
    });
}

#[test]
fn a_list_that_others_flushed_is_put_back() {
    netns::within(|| {
        let host = Host::new();
        let guard = start(&host, Box::new(Nft::new()), Limits::default());
        let many: Vec<String> =
            (0..300).map(|n| format!("198.51.{}.{}/32", n / 250, n % 250)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(change(&host, "1", None, &many, &[]).0, 300);
        assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
        assert_eq!(change(&host, "2", Some("1"), &["203.0.113.1/32"], &[]).0, 301);
        let listing =
            Command::new("nft").args(["list", "table", "inet", "fail2misp-lists"]).output();
        let listing = String::from_utf8(listing.unwrap().stdout).unwrap();
        assert!(listing.contains("203.0.113.1") && listing.contains("198.51.0.7"), "{listing}");
        stop(guard);
        let tables = Command::new("nft").args(["list", "tables"]).output().unwrap().stdout;
        assert_eq!(tables, b"", "nothing is left behind");
    });
}

#[test]
fn a_source_without_a_name_is_refused() {
    let host = Host::new();
    let guard = start(&host, Box::new(guard::Memory::default()), Limits::default());
    let long = "x".repeat(65);
    for source in ["", long.as_str()] {
        assert!(host.client().change_block_list(source, "1", None, &[], &[]).is_err());
    }
    assert_eq!(host.client().block_lists().unwrap(), []);
    stop(guard);
}
