//! One contract for every firewall, and real packets for the kernel's.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod neighbour;
mod netns;

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use guard::firewall::{
    Blocking, Change, Firewall, FirewallError, Hook, Memory, Nft, Ports, Rule, Verdict,
};
use ipnet::IpNet;
use jail::Subject;

/// How long to wait for what happens by itself, the end of a ban of a second among it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `test` over every firewall there is; the kernel's in a namespace of its own.
fn over_all(test: fn(&mut dyn Firewall)) {
    test(&mut Memory::default());
    netns::within(move || test(&mut Nft::new()));
}

fn blocking(jail: &str, ports: &[&str]) -> Blocking {
    let ports = match ports {
        [] => Ports::All,
        these => Ports::These(these.iter().map(|&port| port.to_owned()).collect()),
    };
    let protocols = vec!["tcp".to_owned()];
    let rule = Rule { hook: Hook::Input, protocols, ports, verdict: Verdict::Drop };
    Blocking { jail: jail.to_owned(), rules: vec![rule] }
}

fn target(text: &str) -> IpNet {
    match Subject::from(text) {
        Subject::Addr(addr) => addr.into(),
        Subject::Net(net) => net,
        Subject::Id(id) => panic!("`{id}` is no address"),
    }
}

fn ban(jail: &str, who: &str, seconds: Option<u64>) -> Change {
    let timeout = seconds.map(Duration::from_secs);
    Change::Ban { jail: jail.to_owned(), target: target(who), timeout }
}

fn unban(jail: &str, who: &str) -> Change {
    Change::Unban { jail: jail.to_owned(), target: target(who) }
}

#[track_caller]
fn check(firewall: &mut dyn Firewall, want: &[(&str, &str)]) {
    let want: Vec<_> = want.iter().map(|&(jail, who)| (jail.to_owned(), target(who))).collect();
    assert_eq!(firewall.banned().unwrap(), want, "{}", firewall.describe());
}

#[track_caller]
fn eventually(what: &str, mut happens: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happens() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn holds_what_it_is_told() {
    over_all(|firewall| {
        firewall
            .rebuild(&[blocking("sshd", &["ssh"]), blocking("web", &["80", "443"])], &[])
            .unwrap();
        assert!(firewall.stands().unwrap());
        check(firewall, &[]);
        firewall
            .apply(&[
                ban("sshd", "192.0.2.1", Some(600)),
                ban("sshd", "192.0.2.2", None),
                ban("web", "192.0.2.1", Some(60)),
                ban("sshd", "2001:db8::1", Some(60)),
                ban("sshd", "198.51.100.0/24", Some(60)),
                ban("sshd", "2001:db8:1::/48", None),
            ])
            .unwrap();
        check(
            firewall,
            &[
                ("sshd", "192.0.2.1"),
                ("sshd", "192.0.2.2"),
                ("sshd", "198.51.100.0/24"),
                ("sshd", "2001:db8::1"),
                ("sshd", "2001:db8:1::/48"),
                ("web", "192.0.2.1"),
            ],
        );
        firewall.apply(&[unban("sshd", "192.0.2.1"), unban("sshd", "198.51.100.0/24")]).unwrap();
        firewall.apply(&[unban("sshd", "2001:db8:1::/48"), unban("sshd", "192.0.2.2")]).unwrap();
        check(firewall, &[("sshd", "2001:db8::1"), ("web", "192.0.2.1")]);
    });
}

#[test]
fn repeating_is_harmless() {
    over_all(|firewall| {
        firewall.rebuild(&[blocking("sshd", &["ssh"])], &[]).unwrap();
        // An absent ban is lifted in the same batch as others are made.
        let changes = [
            unban("sshd", "192.0.2.9"),
            ban("sshd", "192.0.2.1", Some(60)),
            ban("sshd", "192.0.2.1", None),
            unban("sshd", "203.0.113.0/24"),
            ban("sshd", "192.0.2.2", Some(60)),
            unban("sshd", "192.0.2.2"),
        ];
        firewall.apply(&changes).unwrap();
        firewall.apply(&changes).unwrap();
        check(firewall, &[("sshd", "192.0.2.1")]);
    });
}

#[test]
fn prefixes_may_overlap() {
    over_all(|firewall| {
        firewall.rebuild(&[blocking("sshd", &["ssh"])], &[]).unwrap();
        firewall.apply(&[ban("sshd", "198.51.100.0/25", Some(600))]).unwrap();
        firewall.apply(&[ban("sshd", "198.51.100.0/24", Some(60))]).unwrap();
        firewall.apply(&[ban("sshd", "198.51.100.7", Some(60))]).unwrap();
        check(
            firewall,
            &[("sshd", "198.51.100.0/24"), ("sshd", "198.51.100.0/25"), ("sshd", "198.51.100.7")],
        );
        firewall.apply(&[unban("sshd", "198.51.100.0/24")]).unwrap();
        check(firewall, &[("sshd", "198.51.100.0/25"), ("sshd", "198.51.100.7")]);
    });
}

#[test]
fn a_batch_is_made_whole_or_not_at_all() {
    over_all(|firewall| {
        firewall.rebuild(&[blocking("sshd", &["ssh"])], &[]).unwrap();
        let changes = [ban("sshd", "192.0.2.1", Some(60)), ban("nosuch", "192.0.2.2", Some(60))];
        assert!(matches!(firewall.apply(&changes), Err(FirewallError::Refused { .. })));
        check(firewall, &[]);
    });
}

#[test]
fn rebuilds_and_goes_away() {
    over_all(|firewall| {
        firewall.rebuild(&[blocking("old", &["ssh"])], &[ban("old", "192.0.2.1", None)]).unwrap();
        let bans = [ban("new_jail", "192.0.2.2", Some(60)), ban("new_jail", "2001:db8::/64", None)];
        firewall.rebuild(&[blocking("new_jail", &[])], &bans).unwrap();
        check(firewall, &[("new_jail", "192.0.2.2"), ("new_jail", "2001:db8::/64")]);
        firewall.remove().unwrap();
        assert!(!firewall.stands().unwrap());
        firewall.remove().unwrap();
        firewall.rebuild(&[blocking("new_jail", &[])], &[]).unwrap();
        check(firewall, &[]);
    });
}

#[test]
fn bans_end_by_themselves_and_can_be_renewed() {
    over_all(|firewall| {
        firewall.rebuild(&[blocking("sshd", &["ssh"])], &[]).unwrap();
        firewall
            .apply(&[ban("sshd", "192.0.2.1", Some(1)), ban("sshd", "192.0.2.2", Some(1))])
            .unwrap();
        firewall.apply(&[ban("sshd", "192.0.2.2", Some(60))]).unwrap();
        eventually("a ban of a second ends", || firewall.banned().unwrap().len() == 1);
        check(firewall, &[("sshd", "192.0.2.2")]);
    });
}

#[test]
fn packets_are_dropped_and_pass_again() {
    netns::within(|| {
        let neighbour = neighbour::Neighbour::new();
        let open = TcpListener::bind("[::]:2222").unwrap();
        let _also_open = TcpListener::bind("[::]:8080").unwrap();
        let mut firewall = Nft::new();
        firewall.rebuild(&[blocking("sshd", &["2222"])], &[]).unwrap();
        for source in ["10.9.0.2", "10.9.0.3", "fd00:9::2", "fd00:9::3"] {
            // The first packet on a new wire may wait for the neighbour to be found.
            eventually("a new wire works", || neighbour.connects(source, 2222));
        }
        let bans = [ban("sshd", "10.9.0.2", Some(600)), ban("sshd", "fd00:9::2", None)];
        firewall.apply(&bans).unwrap();
        firewall.apply(&[ban("sshd", "10.9.0.4/31", None)]).unwrap();
        for (source, passes) in [
            ("10.9.0.2", false),
            ("10.9.0.3", true),
            ("10.9.0.4", false), // by its prefix
            ("10.9.0.5", false),
            ("10.9.0.6", true),
            ("fd00:9::2", false),
            ("fd00:9::3", true),
        ] {
            assert_eq!(neighbour.connects(source, 2222), passes, "{source}");
        }
        assert!(neighbour.connects("10.9.0.2", 8080), "only the jail's ports are closed");

        // Who restarts guard opens no gap: the same bans, on every port now.
        firewall.rebuild(&[blocking("sshd", &[])], &bans).unwrap();
        assert!(!neighbour.connects("10.9.0.2", 8080));
        assert!(neighbour.connects("10.9.0.4", 2222), "its prefix is not among them");

        firewall.apply(&[unban("sshd", "10.9.0.2"), unban("sshd", "fd00:9::2")]).unwrap();
        assert!(neighbour.connects("10.9.0.2", 2222));
        assert!(neighbour.connects("fd00:9::2", 2222));
        drop(open);
    });
}

#[test]
fn notices_that_others_flushed_it() {
    netns::within(|| {
        let mut firewall = Nft::new();
        let bans = [ban("sshd", "192.0.2.1", None)];
        firewall.rebuild(&[blocking("sshd", &["ssh"])], &bans).unwrap();
        for ruin in ["flush ruleset", "flush chain inet fail2misp input"] {
            assert!(Command::new("nft").args(ruin.split(' ')).status().unwrap().success());
            assert!(!firewall.stands().unwrap(), "{ruin}");
            firewall.rebuild(&[blocking("sshd", &["ssh"])], &bans).unwrap();
            assert!(firewall.stands().unwrap());
        }
        check(&mut firewall, &[("sshd", "192.0.2.1")]);
    });
}
