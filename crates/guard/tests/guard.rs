//! From a line in a log to a ban that others hear of: the whole guard in a folder of its own.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod host;
mod jails;
mod netns;

use std::fs;
use std::time::{Duration, Instant};

use control::ClientError;
use guard::firewall::{Banned, Dropped, Look};
use guard::{Firewall, FirewallError, Guard, Memory, Nft, StartError};
use host::{Host, PATIENCE, eventually, kill, stop};
use jail::config::Jail;
use jail::{BanTime, Failure, Subject};
use jiff::Timestamp;

#[test]
fn a_line_becomes_a_ban_that_others_hear_of() {
    let host = Host::new();
    host.write("sshd", "");
    let guard = host.start(vec![host.jail("sshd")]);
    let mut follower = host.client();
    host.fail("sshd", "203.0.113.1", 2);
    host.fail("sshd", "203.0.113.200", 5); // in ignoreip
    host.fail("sshd", "127.0.0.1", 5); // our own
    host.fail("sshd", "203.0.113.1", 1);
    let log = follower.bans_since(0, 100, PATIENCE).unwrap();
    assert_eq!(log.bans.len(), 1);
    let (number, ban) = (log.bans[0].number, &log.bans[0].ban);
    assert_eq!((number, ban.subject.to_string().as_str()), (1, "203.0.113.1"));
    assert_eq!((ban.n_failures, ban.bantime), (3, BanTime::Seconds(600)));
    assert_eq!(ban.matches.len(), 3);
    host.bans(&[("sshd", "203.0.113.1")]);

    // The next ban wakes who waits for it.
    let begun = Instant::now();
    let waiting = std::thread::spawn(move || follower.bans_since(1, 100, PATIENCE).unwrap());
    host.fail("sshd", "203.0.113.2", 3);
    let next = waiting.join().unwrap();
    assert!(begun.elapsed() < PATIENCE / 2);
    assert_eq!(next.log, log.log);
    assert_eq!(next.bans[0].ban.subject.to_string(), "203.0.113.2");

    host.client().reached(&log.log, 1).unwrap();
    let status = host.status();
    assert_eq!((status.ban_log.last, status.ban_log.reached), (2, 1));
    let bans = host.client().bans_since(0, 9, Duration::ZERO).unwrap().bans;
    assert_eq!(bans.len(), 2, "who reads beside exchange misses nothing");
    stop(guard);
    host.bans(&[]);
}

#[test]
fn counts_what_it_does() {
    let host = Host::new();
    let guard = host.start(vec![host.jail("sshd"), host.jail("web")]);
    host.write("sshd", "nothing\n");
    host.write("web", "nothing\nagain\n");
    eventually("all lines are counted", || {
        let jails = host.client().metrics().unwrap().jails;
        jails.iter().map(|it| it.n_lines).collect::<Vec<_>>() == [1, 2]
    });
    host.fail("sshd", "203.0.113.1", 3);
    host.fail("sshd", "203.0.113.2", 2);
    host.bans(&[("sshd", "203.0.113.1")]);
    eventually("it is counted", || host.client().metrics().unwrap().log_to_ban.n_values() == 1);
    let metrics = host.client().metrics().unwrap();
    let sshd = &metrics.jails[0];
    assert_eq!((sshd.jail.as_str(), sshd.n_lines), ("sshd", 6));
    assert_eq!((sshd.currently_failed, sshd.total_failed), (1, 5));
    assert_eq!((sshd.currently_banned, sshd.total_banned), (1, 1));
    assert_eq!((sshd.ban_time, sshd.find_time, sshd.max_retry), (600, 600, 3));
    assert_eq!(metrics.ban_log_waiting, 1);
    stop(guard);
}

#[test]
fn bans_survive_a_crash_with_the_time_they_have_left() {
    let host = Host::new();
    let jail = || Jail { ban_time: BanTime::Seconds(100), ..host.jail("sshd") };
    let guard = host.start(vec![jail()]);
    host.fail("sshd", "203.0.113.1", 3);
    host.fail("sshd", "203.0.113.2", 3);
    host.bans(&[("sshd", "203.0.113.1"), ("sshd", "203.0.113.2")]);
    let before = host.client().banned(&[]).unwrap();
    assert_eq!(host.client().unban(None, Some(&["203.0.113.2".into()])).unwrap(), 1);
    kill(guard);
    host.bans(&[("sshd", "203.0.113.1")]); // as the kernel keeps them

    host.memory.clone().remove().unwrap();
    let guard = host.start(vec![jail()]);
    host.bans(&[("sshd", "203.0.113.1")]);
    let after = host.client().banned(&[]).unwrap();
    assert_eq!(after[..], before[..1]); // the same beginning, so the same end
    // It is no new ban.
    assert_eq!(host.client().bans_since(2, 9, Duration::ZERO).unwrap().bans, []);
    stop(guard);

    // A ban whose jail is gone waits for it.
    let guard = host.start(vec![host.jail("web")]);
    host.bans(&[]);
    stop(guard);
    let guard = host.start(vec![jail()]);
    host.bans(&[("sshd", "203.0.113.1")]);
    stop(guard);
}

#[test]
fn lines_of_the_night_count_after_the_start() {
    let host = Host::new();
    let guard = host.start(vec![host.jail("sshd")]);
    host.fail("sshd", "203.0.113.1", 3);
    host.bans(&[("sshd", "203.0.113.1")]);
    stop(guard);
    host.fail("sshd", "203.0.113.2", 3);
    host.write(
        "sshd",
        "2020-01-01 00:00:00 login of x from 203.0.113.3 failed\n".repeat(9).as_str(),
    );
    let guard = host.start(vec![host.jail("sshd")]);
    host.bans(&[("sshd", "203.0.113.1"), ("sshd", "203.0.113.2")]);
    let log = host.client().bans_since(0, 9, Duration::ZERO).unwrap();
    assert_eq!(log.bans.len(), 2); // the first one's lines were not read again
    stop(guard);
}

#[test]
fn operators_ban_and_unban() {
    let host = Host::new();
    let guard = host.start(vec![host.jail("sshd"), host.jail("web")]);
    let mut client = host.client();
    let some: [Subject; 2] = ["203.0.113.1".into(), "203.0.113.2".into()];
    assert_eq!(client.ban("sshd", &some, false).unwrap(), 2);
    assert_eq!(client.ban("sshd", &some, false).unwrap(), 0); // they are
    assert_eq!(client.ban("web", &some[..1], false).unwrap(), 1);
    host.bans(&[("sshd", "203.0.113.1"), ("sshd", "203.0.113.2"), ("web", "203.0.113.1")]);
    let banned = client.banned(&["203.0.113.0/31".into()]).unwrap();
    assert_eq!(banned.len(), 2);

    let refusal = client.ban("sshd", &["127.0.0.1".into()], false).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "127.0.0.1 is, or holds, an address of this host; `--force` bans it all the same"
    );
    let refusal = client.ban("sshd", &["evil.example.org".into()], false).unwrap_err();
    assert!(refusal.to_string().starts_with("`evil.example.org` is no address"), "{refusal}");
    let refusal = client.ban("nosuch", &some, false).unwrap_err();
    assert!(matches!(refusal, ClientError::Refused(control::Refusal::NoJail(_))));

    let status = client.jail_status("sshd").unwrap();
    assert_eq!((status.currently_banned, status.total_banned), (2, 2));
    assert_eq!(client.unban(Some("sshd"), Some(&some[..1])).unwrap(), 1);
    assert_eq!(client.unban(None, Some(&["203.0.113.9".into()])).unwrap(), 0);
    assert_eq!(client.unban(None, None).unwrap(), 2);
    host.bans(&[]);
    stop(guard);
}

#[test]
fn bans_end() {
    let host = Host::new();
    let guard = host.start(vec![Jail { ban_time: BanTime::Seconds(1), ..host.jail("sshd") }]);
    host.fail("sshd", "203.0.113.1", 3);
    eventually("it is banned", || host.status().jails[0].total_banned == 1);
    eventually("it ends", || host.status().jails[0].currently_banned == 0);
    host.bans(&[]);
    assert_eq!(host.client().banned(&[]).unwrap(), []);
    stop(guard);
}

#[test]
fn one_bad_jail_leaves_the_rest_guarding() {
    let host = Host::new();
    let mut bad_filter = host.jail("bad-filter");
    bad_filter.filter.failregex = vec!["(unclosed <HOST>".to_owned()];
    let mut bad_port = host.jail("bad-port");
    bad_port.actions[0].options.insert("port".to_owned(), "ssh;evil".to_owned());
    fs::create_dir(host.path("folder.log")).unwrap();
    let jails = vec![
        bad_filter.clone(),
        host.jail("sshd"),
        bad_port,
        host.jail("folder"),
        host.jail("later"),
    ];
    let guard = host.start(jails);
    host.fail("sshd", "203.0.113.1", 3);
    host.bans(&[("sshd", "203.0.113.1")]);
    let status = host.status();
    let disabled: Vec<_> = status.disabled.iter().map(|it| it.jail.as_str()).collect();
    assert_eq!(disabled, ["bad-filter", "bad-port"]);
    let names: Vec<_> = status.jails.iter().map(|it| it.jail.as_str()).collect();
    assert_eq!(names, ["sshd", "folder", "later"]);
    eventually("the folder is noted", || !host.status().jails[1].notes.is_empty());
    assert!(host.status().jails[1].notes[0].contains("it is a directory"));
    assert_eq!(host.status().jails[2].awaited.len(), 1);

    host.fail("later", "203.0.113.7", 3); // the log comes into being
    host.bans(&[("later", "203.0.113.7"), ("sshd", "203.0.113.1")]);
    assert_eq!(host.status().jails[2].awaited.len(), 0);
    stop(guard);

    let error = Guard::start(host.setup(vec![bad_filter], Memory::default())).unwrap_err();
    assert!(matches!(error, StartError::NoJail));
}

#[test]
fn a_decoy_counts_as_a_line_does() {
    let host = Host::new();
    let guard = host.start(vec![host.jail("decoy-ssh")]);
    let failure = Failure {
        jail: "decoy-ssh".to_owned(),
        subject: "2001:db8::1".into(),
        time: Timestamp::now(),
        n_attempts: 3,
        matches: vec!["knocked".to_owned()],
        fields: Vec::new(),
    };
    let mut client = host.client();
    client.failure(failure).unwrap();
    assert_eq!(client.jail_status("decoy-ssh").unwrap().banned, ["2001:db8::1".into()]);
    stop(guard);
}

#[test]
fn a_second_guard_is_refused() {
    let host = Host::new();
    let guard = host.start(vec![host.jail("sshd")]);
    let second = Guard::start(host.setup(vec![host.jail("sshd")], Memory::default()));
    assert!(matches!(second, Err(StartError::Store(guard::StoreError::Taken { .. }))));
    host.client().ping().unwrap();
    stop(guard);
}

#[test]
fn bans_in_the_kernel_and_heals_it() {
    netns::within(|| {
        let host = Host::new();
        let guard = Guard::start(host.setup(vec![host.jail("sshd")], Nft::new())).unwrap();
        let mut kernel = Nft::new();
        let banned = |kernel: &mut Nft| kernel.banned().map(|it| n_bans(&it)).unwrap_or_default();
        host.fail("sshd", "203.0.113.1", 3);
        eventually("it is in the kernel", || banned(&mut kernel) == 1);

        // Somebody flushes everything: the next ban finds it out.
        let nft = |args: &str| {
            let status = std::process::Command::new("nft").args(args.split(' ')).status();
            assert!(status.unwrap().success(), "nft {args}");
        };
        nft("flush ruleset");
        host.fail("sshd", "203.0.113.2", 3);
        eventually("both are in the kernel", || banned(&mut kernel) == 2);

        kill(guard);
        assert_eq!(banned(&mut kernel), 2);
        let guard = Guard::start(host.setup(vec![host.jail("sshd")], Nft::new())).unwrap();
        assert_eq!(banned(&mut kernel), 2);
        stop(guard);
        assert!(matches!(kernel.banned(), Err(FirewallError::Refused { .. })));
    });
}

#[test]
fn puts_back_what_others_took_out_of_a_set() {
    netns::within(|| {
        let host = Host::new();
        let guard = Guard::start(host.setup(vec![host.jail("sshd")], Nft::new())).unwrap();
        let mut kernel = Nft::new();
        let mut banned = || n_bans(&kernel.banned().unwrap());
        for who in ["203.0.113.1", "203.0.113.2", "2001:db8::1"] {
            host.fail("sshd", who, 3);
        }
        eventually("all are in the kernel", || banned() == 3);
        let flush = ["flush", "set", "inet", "fail2misp", "addr4-sshd.1"];
        assert!(std::process::Command::new("nft").args(flush).status().unwrap().success());
        assert_eq!(banned(), 1);
        // Whoever is banned and goes on failing gives it away; else a minute does.
        eventually("they are back", || {
            host.fail("sshd", "203.0.113.1", 1);
            banned() == 3
        });
        stop(guard);
    });
}

fn n_bans(banned: &Banned) -> usize {
    banned.values().map(Vec::len).sum()
}

/// A firewall that remembers, and claims to block: commands run beside it.
struct Claiming(Memory);

impl Firewall for Claiming {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn blocks(&self) -> bool {
        true
    }

    fn check(&mut self, jails: &[guard::firewall::Blocking]) -> Result<(), FirewallError> {
        self.0.check(jails)
    }

    fn beside(&self) -> Box<dyn Firewall> {
        self.0.beside()
    }

    fn rebuild(
        &mut self,
        jails: &[guard::firewall::Blocking],
        bans: &mut dyn Iterator<Item = guard::firewall::Change>,
    ) -> Result<(), FirewallError> {
        self.0.rebuild(jails, bans)
    }

    fn apply(&mut self, changes: &[guard::firewall::Change]) -> Result<(), FirewallError> {
        self.0.apply(changes)
    }

    fn banned(&mut self) -> Result<Banned, FirewallError> {
        self.0.banned()
    }

    fn look(&mut self) -> Result<Look, FirewallError> {
        self.0.look()
    }

    fn dropped(&mut self) -> Result<Vec<Dropped>, FirewallError> {
        self.0.dropped()
    }

    fn remove(&mut self) -> Result<(), FirewallError> {
        self.0.remove()
    }
}

#[test]
fn runs_the_commands_of_other_actions() {
    let host = Host::new();
    let diary = host.path("diary");
    let write = |words: &str| format!("echo {words} >> {}", diary.display());
    let options = [
        ("actionstart", write("start <family>")),
        ("actionstop", write("stop <family>")),
        ("actioncheck", format!("test -e {}", diary.display())),
        (
            "actionban",
            write("\"ban <ip> <failures> <bancount> <restored> $(echo \"<matches>\" | wc -l)\""),
        ),
        ("actionunban", write("unban <ip>")),
        ("which", "first".to_owned()),
        ("which?family=inet6", "second".to_owned()),
    ];
    let mut options = options.each_ref().map(|(name, text)| (*name, text.as_str())).to_vec();
    let mut jail = host.jail("sshd");
    jail.actions.push(jails::action("diary", &options));
    // A slow one, in a jail of its own, delays nobody; a failing one is only said.
    let mut slow = host.jail("slow");
    options.extend([("actionban", "sleep 30"), ("timeout", "1")]);
    slow.actions.push(jails::action("slow", &options));
    let setup = || host.setup(vec![jail.clone(), slow.clone()], Claiming(host.memory.clone()));

    let guard = Guard::start(setup()).unwrap();
    host.fail("slow", "203.0.113.9", 3);
    host.bans(&[("slow", "203.0.113.9")]);
    host.fail("sshd", "203.0.113.1", 3);
    host.bans(&[("slow", "203.0.113.9"), ("sshd", "203.0.113.1")]);
    let said = || fs::read_to_string(&diary).unwrap_or_default();
    eventually("it is told", || said().lines().filter(|it| it.starts_with("ban")).count() == 1);
    host.client().unban(None, None).unwrap();
    stop(guard);
    let lines = said();
    let of_sshd: Vec<_> = lines.lines().filter(|it| !it.contains("113.9")).collect();
    assert_eq!(of_sshd.iter().filter(|it| **it == "start inet4").count(), 2);
    assert!(of_sshd.contains(&"ban 203.0.113.1 3 1 0 3"), "{lines}");
    assert!(of_sshd.contains(&"unban 203.0.113.1"), "{lines}");
    assert!(!lines.contains("inet6"), "nobody of that family came: {lines}");
    assert_eq!(lines.lines().last(), Some("stop inet4"));
}

#[test]
fn lines_that_tire_an_expression_are_told() {
    let host = Host::new();
    let mut jail = host.jail("sshd");
    // Each word doubles the ways to fail.
    jail.filter.failregex.insert(0, r"^\s*odd (\w+\s?)*=<HOST>$".to_owned());
    let guard = host.start(vec![jail]);
    let now = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S");
    host.write("sshd", &format!("{now} odd {}= nobody\n", "word ".repeat(45)));
    host.fail("sshd", "203.0.113.1", 3);
    host.bans(&[("sshd", "203.0.113.1")]);
    let notes = &host.status().jails[0].notes;
    assert!(notes.iter().any(|it| it.contains("took too long")), "{notes:?}");
    stop(guard);
}
