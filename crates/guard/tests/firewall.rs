//! One contract for every firewall, and real packets for the kernel's.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod neighbour;
mod netns;

use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use guard::firewall::{
    Banned, Blocking, Change, Firewall, FirewallError, Hook, Ipset, Look, Memory, Nft, Ports, Rule,
    Verdict,
};
use ipnet::IpNet;
use jail::Subject;

/// How long to wait for what happens by itself, the end of a ban of a second among it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Set where `iptables` is the one of before nf_tables, and nothing else is to be tested.
const LEGACY: &str = "FAIL2MISP_TEST_LEGACY";

/// Runs `test` over every firewall there is.
fn over_all(test: fn(&mut dyn Firewall)) {
    test(&mut Memory::default());
    over_kernels(test);
}

/// Runs `test` over those that move the kernel, each in a namespace of its own.
fn over_kernels(test: fn(&mut dyn Firewall)) {
    if std::env::var_os(LEGACY).is_none() {
        netns::within(move || test(&mut Nft::new()));
        netns::within(move || test(&mut Nft::by_program()));
    }
    netns::within(move || test(&mut Ipset::new()));
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

fn rebuild(
    firewall: &mut dyn Firewall,
    jails: &[Blocking],
    bans: &[Change],
) -> Result<(), FirewallError> {
    firewall.rebuild(jails, &mut bans.iter().cloned())
}

#[track_caller]
fn check(firewall: &mut dyn Firewall, want: &[(&str, &str)]) {
    let mut banned = Banned::new();
    for &(jail, who) in want {
        banned.entry(jail.to_owned()).or_default().push(target(who));
    }
    assert_eq!(firewall.banned().unwrap(), banned, "{}", firewall.describe());
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
        rebuild(firewall, &[blocking("sshd", &["ssh"]), blocking("web", &["80", "443"])], &[])
            .unwrap();
        assert_ne!(firewall.look().unwrap(), Look::Gone);
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
        rebuild(firewall, &[blocking("sshd", &["ssh"])], &[]).unwrap();
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
        rebuild(firewall, &[blocking("sshd", &["ssh"])], &[]).unwrap();
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
fn everybody_is_a_prefix_too() {
    over_all(|firewall| {
        rebuild(firewall, &[blocking("sshd", &["ssh"])], &[]).unwrap();
        let all = [("sshd", "0.0.0.0/0"), ("sshd", "::/0")];
        firewall.apply(&all.map(|(jail, who)| ban(jail, who, Some(60)))).unwrap();
        firewall.apply(&[ban("sshd", "192.0.2.1", Some(60))]).unwrap();
        check(firewall, &[all[0], ("sshd", "192.0.2.1"), all[1]]);
        firewall.apply(&all.map(|(jail, who)| unban(jail, who))).unwrap();
        check(firewall, &[("sshd", "192.0.2.1")]);
    });
}

#[test]
fn a_batch_is_made_whole_or_not_at_all() {
    over_all(|firewall| {
        rebuild(firewall, &[blocking("sshd", &["ssh"])], &[]).unwrap();
        let changes = [ban("sshd", "192.0.2.1", Some(60)), ban("nosuch", "192.0.2.2", Some(60))];
        assert!(matches!(firewall.apply(&changes), Err(FirewallError::Refused { .. })));
        check(firewall, &[]);
    });
}

#[test]
fn rebuilds_and_goes_away() {
    over_all(|firewall| {
        rebuild(firewall, &[blocking("old", &["ssh"])], &[ban("old", "192.0.2.1", None)]).unwrap();
        let bans = [ban("new_jail", "192.0.2.2", Some(60)), ban("new_jail", "2001:db8::/64", None)];
        rebuild(firewall, &[blocking("new_jail", &[])], &bans).unwrap();
        check(firewall, &[("new_jail", "192.0.2.2"), ("new_jail", "2001:db8::/64")]);
        firewall.remove().unwrap();
        assert_eq!(firewall.look().unwrap(), Look::Gone);
        firewall.remove().unwrap();
        rebuild(firewall, &[blocking("new_jail", &[])], &[]).unwrap();
        check(firewall, &[]);
    });
}

#[test]
fn bans_end_by_themselves_and_can_be_renewed() {
    over_all(|firewall| {
        rebuild(firewall, &[blocking("sshd", &["ssh"])], &[]).unwrap();
        firewall
            .apply(&[ban("sshd", "192.0.2.1", Some(1)), ban("sshd", "192.0.2.2", Some(1))])
            .unwrap();
        firewall.apply(&[ban("sshd", "192.0.2.2", Some(60))]).unwrap();
        eventually("a ban of a second ends", || firewall.banned().unwrap()["sshd"].len() == 1);
        check(firewall, &[("sshd", "192.0.2.2")]);
    });
}

#[test]
fn packets_are_dropped_and_pass_again() {
    over_kernels(|firewall| {
        let neighbour = neighbour::Neighbour::new();
        let _open = [2222, 8080].map(|port| TcpListener::bind(("::", port)).unwrap());
        rebuild(firewall, &[blocking("sshd", &["2222"])], &[]).unwrap();
        for source in ["10.9.0.2", "10.9.0.3", "fd00:9::2", "fd00:9::3"] {
            // The first packet on a new wire may wait for the neighbour to be found.
            eventually("a new wire works", || neighbour.connects(source, 2222));
        }
        let bans = [ban("sshd", "10.9.0.2", Some(600)), ban("sshd", "fd00:9::2", None)];
        firewall.apply(&bans).unwrap();
        firewall
            .apply(&[ban("sshd", "10.9.0.4/31", None), ban("sshd", "fd00:9::8/125", Some(600))])
            .unwrap();
        for (source, passes) in [
            ("10.9.0.2", false),
            ("10.9.0.3", true),
            ("10.9.0.4", false), // by its prefix
            ("10.9.0.5", false),
            ("10.9.0.6", true),
            ("fd00:9::2", false),
            ("fd00:9::3", true),
            ("fd00:9::9", false), // by its prefix
        ] {
            assert_eq!(neighbour.connects(source, 2222), passes, "{source}");
        }
        assert!(neighbour.connects("10.9.0.2", 8080), "only the jail's ports are closed");

        // Who restarts guard opens no gap: the same bans, on every port now.
        rebuild(firewall, &[blocking("sshd", &[])], &bans).unwrap();
        assert!(!neighbour.connects("10.9.0.2", 8080));
        assert!(neighbour.connects("10.9.0.4", 2222), "its prefix is not among them");

        firewall.apply(&[unban("sshd", "10.9.0.2"), unban("sshd", "fd00:9::2")]).unwrap();
        assert!(neighbour.connects("10.9.0.2", 2222));
        assert!(neighbour.connects("fd00:9::2", 2222));
        let dropped = firewall.dropped().unwrap();
        assert_eq!(dropped.len(), 1);
        assert!(dropped[0].by == "sshd" && dropped[0].n_packets > 0, "{dropped:?}");
        assert!(dropped[0].n_bytes >= 40 * dropped[0].n_packets, "{dropped:?}");
    });
}

#[test]
fn packets_meet_the_rules_of_their_jail() {
    over_kernels(|firewall| {
        let neighbour = neighbour::Neighbour::new();
        let _open = [22, 80, 8005, 8101].map(|port| TcpListener::bind(("::", port)).unwrap());
        let [udp53, udp8005] = [53, 8005].map(|port| UdpSocket::bind(("::", port)).unwrap());
        let mut jails = [
            blocking("ports", &["ssh", "http", "8000-8100"]),
            blocking("resolver", &["domain"]),
            blocking("everything", &[]),
        ];
        for (jail, protocols) in jails.iter_mut().zip(["tcp", "udp,tcp", ""]) {
            jail.rules[0].protocols =
                protocols.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        }
        jails[1].rules[0].verdict = Verdict::Reset;
        rebuild(firewall, &jails, &[]).unwrap();
        for family in ["10.9.0.", "fd00:9::"] {
            let [ports, resolver, everything] = [2, 3, 4].map(|it| format!("{family}{it}"));
            for who in [&ports, &resolver, &everything] {
                eventually("a new wire works", || neighbour.connects(who, 22));
            }
            let bans = [
                ban("ports", &ports, None),
                ban("resolver", &resolver, None),
                ban("everything", &everything, None),
            ];
            firewall.apply(&bans).unwrap();
            for (who, port, passes) in [
                (&ports, 22, false), // by its name
                (&ports, 80, false),
                (&ports, 8005, false), // in a range
                (&ports, 8101, true),
                (&resolver, 22, true),
                (&everything, 8101, false),
            ] {
                assert_eq!(neighbour.connects(who, port), passes, "{who} {port}");
            }
            for (who, socket, passes) in [
                (&ports, &udp8005, true),   // of TCP alone
                (&resolver, &udp53, false), // nobody is left alone because he cannot be reset
                (&resolver, &udp8005, true),
                (&everything, &udp53, false),
            ] {
                assert_eq!(neighbour.reaches(who, socket), passes, "{who} {socket:?}");
            }
        }
    });
}

#[test]
fn no_packet_slips_through_while_bans_are_renewed() {
    over_kernels(|firewall| {
        let neighbour = neighbour::Neighbour::new();
        let socket = UdpSocket::bind("[::]:53").unwrap();
        let jails = [blocking("everything", &[])].map(|mut jail| {
            jail.rules[0].protocols.clear();
            jail
        });
        let whom = ["10.9.0.2", "10.9.0.4/31", "fd00:9::2", "fd00:9::4/127"];
        let bans = |seconds| whom.map(|it| ban("everything", it, Some(seconds)));
        rebuild(firewall, &jails, &[]).unwrap();
        let sources = ["10.9.0.2", "10.9.0.5", "fd00:9::2", "fd00:9::5"];
        for source in sources {
            eventually("a new wire works", || neighbour.reaches(source, &socket));
        }
        firewall.apply(&bans(600)).unwrap();
        // What came late of the packets before.
        while socket.recv(&mut [0; 9]).is_ok() {}
        let senders = sources.map(|it| neighbour.sender(it, 53));
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !end.load(Ordering::Relaxed) {
                    // A ban that rejects is told to the sender.
                    senders.iter().for_each(|it| drop(it.send(b"knock")));
                }
            });
            for n in 0..20 {
                firewall.apply(&bans(600 + n)).unwrap();
                if n % 5 == 0 {
                    rebuild(firewall, &jails, &bans(600)).unwrap();
                }
            }
            end.store(true, Ordering::Relaxed);
        });
        let slipped = socket.recv_from(&mut [0; 9]);
        assert!(slipped.is_err(), "{}: {slipped:?}", firewall.describe());
    });
}

#[test]
fn packets_to_others_are_dropped_where_they_are_passed_on() {
    over_kernels(|firewall| {
        let neighbour = neighbour::Neighbour::new();
        let beyond = neighbour.beyond();
        let _open = (beyond.listener(80), TcpListener::bind(("::", 80)).unwrap());
        let mut jail = blocking("web", &["80"]);
        jail.rules[0].hook = Hook::Forward;
        rebuild(firewall, &[jail], &[]).unwrap();
        for source in ["10.9.0.2", "fd00:9::2"] {
            eventually("a new route works", || neighbour.connects_beyond(source, 80));
            firewall.apply(&[ban("web", source, None)]).unwrap();
            assert!(!neighbour.connects_beyond(source, 80), "{source}");
            assert!(neighbour.connects(source, 80), "{source}: what is for this host passes");
            firewall.apply(&[unban("web", source)]).unwrap();
            assert!(neighbour.connects_beyond(source, 80), "{source}");
        }
    });
}

#[test]
fn all_of_it_with_the_iptables_of_before() {
    if std::env::var_os(LEGACY).is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for family in ["iptables", "ip6tables"] {
        for what in ["", "-save", "-restore"] {
            let legacy = format!("/usr/sbin/{family}-legacy{what}");
            let link = folder.path().join(format!("{family}{what}"));
            std::os::unix::fs::symlink(legacy, link).unwrap();
        }
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(["--test-threads", "4"]).env("PATH", path).env(LEGACY, "1");
    let output = tests.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn any_name_of_a_jail_will_do() {
    over_all(|firewall| {
        // Words of nft's own, what no name may hold, and what two names have in common.
        let names = ["icmp", "log", "limit", "a b", "a_b", "x{}", "ümläut", "of-icmp"];
        let long: Vec<String> =
            ["a", "b"].iter().map(|it| format!("{}{it}", "long-".repeat(9))).collect();
        let names: Vec<&str> = names.into_iter().chain(long.iter().map(String::as_str)).collect();
        let jails: Vec<Blocking> = names.iter().map(|it| blocking(it, &["ssh"])).collect();
        firewall.check(&jails).unwrap();
        let bans: Vec<Change> = names.iter().map(|it| ban(it, "192.0.2.1", None)).collect();
        rebuild(firewall, &jails, &bans).unwrap();
        assert_eq!(firewall.banned().unwrap().keys().len(), names.len());
        let mut dropped: Vec<String> =
            firewall.dropped().unwrap().into_iter().map(|it| it.by).collect();
        let mut names = names;
        dropped.sort_unstable();
        names.sort_unstable();
        assert_eq!(dropped, names);
    });
}

#[test]
fn packets_pass_again_when_a_ban_ends() {
    over_kernels(|firewall| {
        let neighbour = neighbour::Neighbour::new();
        let _open = TcpListener::bind("[::]:2222").unwrap();
        rebuild(firewall, &[blocking("sshd", &["2222"])], &[]).unwrap();
        for source in ["10.9.0.2", "fd00:9::2", "10.9.0.4"] {
            eventually("a new wire works", || neighbour.connects(source, 2222));
        }
        firewall
            .apply(&[
                ban("sshd", "10.9.0.2", Some(1)),
                ban("sshd", "fd00:9::2", Some(1)),
                ban("sshd", "10.9.0.4/31", Some(1)),
            ])
            .unwrap();
        for source in ["10.9.0.2", "fd00:9::2", "10.9.0.4"] {
            eventually("a ban of a second ends", || neighbour.connects(source, 2222));
        }
        check(firewall, &[]);
    });
}

#[test]
fn rejects_and_resets() {
    over_kernels(|firewall| {
        let neighbour = neighbour::Neighbour::new();
        let _open = [2222, 8080].map(|port| TcpListener::bind(("::", port)).unwrap());
        let mut jails = [blocking("rejects", &["2222"]), blocking("resets", &["8080"])];
        jails[0].rules[0].verdict = Verdict::Reject;
        jails[1].rules[0].verdict = Verdict::Reset;
        rebuild(firewall, &jails, &[]).unwrap();
        for (source, jail, port) in [
            ("10.9.0.2", "rejects", 2222),
            ("fd00:9::2", "rejects", 2222),
            ("10.9.0.2", "resets", 8080),
            ("fd00:9::2", "resets", 8080),
        ] {
            eventually("a new wire works", || neighbour.connects(source, port));
            firewall.apply(&[ban(jail, source, None)]).unwrap();
            // Whoever is told no does not wait until it is clear that nobody answers.
            assert_eq!(
                neighbour.refusal(source, port),
                Some(std::io::ErrorKind::ConnectionRefused),
                "{jail} {source}"
            );
        }
    });
}

#[test]
fn notices_what_others_do_to_it() {
    netns::within(|| {
        let mut firewall = Nft::new();
        let bans = [ban("sshd", "192.0.2.1", None), ban("sshd", "2001:db8::/64", None)];
        let nft = |words: &str| {
            assert!(Command::new("nft").args(words.split(' ')).status().unwrap().success());
        };
        for ruin in [
            "flush ruleset",
            "flush chain inet fail2misp input",
            "insert rule inet fail2misp input accept",
            "add table inet fail2misp { flags dormant; }",
            "delete table inet fail2misp",
        ] {
            rebuild(&mut firewall, &[blocking("sshd", &["ssh"])], &bans).unwrap();
            assert_eq!(firewall.look().unwrap(), Look::Touched, "by ourselves");
            assert_eq!(firewall.look().unwrap(), Look::Untouched);
            // Bans that we make are nobody else's doing.
            for change in [ban("sshd", "192.0.2.3", Some(60)), ban("sshd", "198.51.100.0/24", None)]
            {
                firewall.apply(&[change]).unwrap();
                assert_eq!(firewall.look().unwrap(), Look::Untouched);
            }
            nft(ruin);
            assert_eq!(firewall.look().unwrap(), Look::Gone, "{ruin}");
        }
        let mut firewall = Nft::new(); // which begins to count its sets anew
        rebuild(&mut firewall, &[blocking("sshd", &["ssh"])], &bans).unwrap();
        let (set, nets) = ("addr4-sshd.1", "net6-sshd.1");
        for (ruin, left) in [
            (format!("flush set inet fail2misp {set}"), &[("sshd", "2001:db8::/64")][..]),
            (format!("flush set inet fail2misp {nets}"), &[]),
            (format!("add element inet fail2misp {set} {{ 192.0.2.7 }}"), &[("sshd", "192.0.2.7")]),
        ] {
            nft(&ruin);
            assert_eq!(firewall.look().unwrap(), Look::Touched, "{ruin}");
            check(&mut firewall, left);
        }
    });
}

#[test]
fn a_table_of_the_same_name_is_made_anew() {
    netns::within(|| {
        for foreign in [
            "add table inet fail2misp { flags dormant; }",
            "add chain inet fail2misp input { tcp dport 99 accept; }",
            "add chain inet fail2misp input { type filter hook input priority 7; }",
            "add set inet fail2misp addr4-sshd.1 { type inet_service; }",
        ] {
            let mut firewall = Nft::new();
            let script =
                format!("delete table inet fail2misp\nadd table inet fail2misp\n{foreign}");
            let nft =
                |args: &[&str]| assert!(Command::new("nft").args(args).status().unwrap().success());
            nft(&["add", "table", "inet", "fail2misp"]);
            nft(&[&script]);
            let (jails, bans) = ([blocking("sshd", &["ssh"])], [ban("sshd", "192.0.2.1", None)]);
            firewall.check(&jails).unwrap();
            rebuild(&mut firewall, &jails, &bans).unwrap();
            check(&mut firewall, &[("sshd", "192.0.2.1")]);
            assert_eq!(firewall.look().unwrap(), Look::Touched, "by ourselves");
            let listing = Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout;
            let listing = String::from_utf8(listing).unwrap();
            assert!(!listing.contains("dormant") && !listing.contains("99"), "{listing}");
            assert!(listing.contains("hook input priority filter - 1"), "{listing}");
        }
    });
}

#[test]
fn a_crash_in_the_middle_leaves_the_old_bans_and_heals() {
    netns::within(|| {
        let jails = [blocking("sshd", &["ssh"])];
        let bans = [ban("sshd", "192.0.2.1", None)];
        rebuild(&mut Nft::new(), &jails, &bans).unwrap();
        // A generation that was filled and that no rule looks into.
        for words in [
            "add set inet fail2misp addr4-sshd.2 { type ipv4_addr; flags timeout; }",
            "add element inet fail2misp addr4-sshd.2 { 192.0.2.77 }",
        ] {
            assert!(Command::new("nft").args(words.split(' ')).status().unwrap().success());
        }
        let mut firewall = Nft::new();
        rebuild(&mut firewall, &jails, &bans).unwrap();
        check(&mut firewall, &[("sshd", "192.0.2.1")]);
        let listing = Command::new("nft").args(["list", "ruleset"]).output().unwrap().stdout;
        let listing = String::from_utf8(listing).unwrap();
        assert_eq!(listing.matches("set addr4").count(), 1, "{listing}");
        assert!(!listing.contains("192.0.2.77"), "{listing}");
    });
}

#[test]
fn the_older_way_notices_what_others_do_to_it() {
    netns::within(|| {
        let mut firewall = Ipset::new();
        let bans = [ban("sshd", "192.0.2.1", None), ban("sshd", "2001:db8::/64", None)];
        let run = |words: &str| {
            let (program, args) = words.split_once(' ').unwrap();
            assert!(Command::new(program).args(args.split(' ')).status().unwrap().success());
        };
        for ruin in ["iptables -F INPUT", "ip6tables -F fail2misp-input", "iptables -F"] {
            rebuild(&mut firewall, &[blocking("sshd", &["ssh"])], &bans).unwrap();
            assert_eq!(firewall.look().unwrap(), Look::Touched);
            run(ruin);
            assert_eq!(firewall.look().unwrap(), Look::Gone, "{ruin}");
        }
        rebuild(&mut firewall, &[blocking("sshd", &["ssh"])], &bans).unwrap();
        run("ipset flush f2m4-4-0-sshd");
        assert_eq!(firewall.look().unwrap(), Look::Touched);
        check(&mut firewall, &[("sshd", "2001:db8::/64")]);
        // Nothing is left behind, and nothing of others is touched.
        run("iptables -A INPUT -s 192.0.2.9 -j DROP");
        firewall.remove().unwrap();
        let rules = Command::new("iptables-save").output().unwrap().stdout;
        let rules = String::from_utf8(rules).unwrap();
        assert!(rules.contains("192.0.2.9") && !rules.contains("fail2misp"), "{rules}");
        assert!(Command::new("ipset").arg("save").output().unwrap().stdout.is_empty());
    });
}

#[test]
fn a_full_set_is_said() {
    netns::within(|| {
        let mut firewall = Ipset::with_room_for(2);
        rebuild(&mut firewall, &[blocking("sshd", &["ssh"])], &[]).unwrap();
        let bans: Vec<Change> =
            (0..200).map(|n| ban("sshd", &format!("192.0.2.{n}"), None)).collect();
        let error = firewall.apply(&bans).unwrap_err();
        assert!(matches!(error, FirewallError::Full { max: 2, .. }), "{error}");
    });
}
