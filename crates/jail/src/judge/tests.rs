#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::increment::Written;

/// Noon of a day; all times of the tests are seconds from it.
const NOON: i64 = 1_780_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOON + second).unwrap()
}

fn rules() -> Rules {
    Rules {
        jail: "sshd".to_owned(),
        max_retry: 3,
        find_time: SignedDuration::from_secs(600),
        ban_time: BanTime::Seconds(600),
        max_matches: 2,
        ignore_self: true,
        ignore_ip: [
            "192.0.2.8",
            "198.51.100.0/24",
            "203.0.113.0/255.255.255.128",
            "friend.example",
        ]
        .map(str::to_owned)
        .to_vec(),
        increment: None,
    }
}

fn judge() -> Judge {
    Judge::new(vec![rules()])
}

fn failure(subject: &str, second: i64) -> Failure {
    Failure {
        jail: "sshd".to_owned(),
        subject: Subject::from(subject),
        time: at(second),
        n_attempts: 1,
        matches: vec![format!("line of {second}")],
        fields: Vec::new(),
    }
}

/// One word for each action, in order.
fn told(actions: &[Action]) -> String {
    let words: Vec<String> = actions
        .iter()
        .map(|action| match action {
            Action::Found { subject, time, .. } => {
                format!("found {subject} {}", time.as_second() - NOON)
            }
            Action::Ignored { subject, by, .. } => format!("ignored {subject} {by:?}"),
            Action::OddTime { off, .. } => format!("odd {}", off.as_secs()),
            Action::TooOld { .. } => "old".to_owned(),
            Action::Ban(ban) => format!("ban {}", end(ban)),
            Action::Increased { ban, n_bans } => format!("increased {n_bans} {}", end(ban)),
            Action::Restored(ban) => format!("restored {}", end(ban)),
            Action::Prolong(ban) => format!("prolong {}", end(ban)),
            Action::AlreadyBanned { subject, after, .. } => {
                format!("already {subject} {}", after.as_secs())
            }
            Action::Expired { subject, .. } => format!("expired {subject}"),
            Action::Unban { subject, why, .. } => format!("unban {subject} {why:?}"),
            Action::NotBanned { subject } => format!("not banned {subject}"),
            Action::NoSuchJail { jail } => format!("no jail {jail}"),
        })
        .collect();
    words.join(", ")
}

fn end(ban: &Ban) -> String {
    match ban.until() {
        Some(until) => format!("{} until {}", ban.subject, until.as_second() - NOON),
        None => format!("{} for ever", ban.subject),
    }
}

impl Judge {
    #[track_caller]
    fn check(&mut self, event: Event, second: i64, want: &str) {
        assert_eq!(told(&self.handle(event, at(second))), want);
    }

    #[track_caller]
    fn fails(&mut self, subject: &str, second: i64, want: &str) {
        let event = Event::Failure(failure(subject, second), Reading::InOperation);
        self.check(event, second, want);
    }
}

fn ban(subject: &str, ban_time: Option<BanTime>) -> Event {
    Event::Ban { jail: "sshd".to_owned(), subject: Subject::from(subject), ban_time }
}

fn unban(subject: &str) -> Event {
    Event::Unban { jail: None, subject: Subject::from(subject) }
}

#[test]
fn bans_at_maxretry_and_lifts_after_bantime() {
    let mut judge = judge();
    judge.fails("192.0.2.1", 0, "found 192.0.2.1 0");
    judge.fails("192.0.2.1", 1, "found 192.0.2.1 1");
    judge.fails("192.0.2.1", 2, "found 192.0.2.1 2, ban 192.0.2.1 until 602");
    judge.check(Event::Deadline, 602, ""); // to the second, it stands
    judge.check(Event::Deadline, 603, "unban 192.0.2.1 Expired");
    assert_eq!(judge.deadline(), None);
}

#[test]
fn a_ban_tells_its_failures() {
    let mut judge = judge();
    for second in [0, 4] {
        judge
            .handle(Event::Failure(failure("192.0.2.1", second), Reading::InOperation), at(second));
    }
    let last = Failure { n_attempts: 5, ..failure("192.0.2.1", 9) };
    let actions = judge.handle(Event::Failure(last, Reading::InOperation), at(9));
    let Some(Action::Ban(ban)) = actions.last() else { panic!("{actions:?}") };
    assert_eq!((ban.n_failures, ban.first_failure, ban.last_failure), (7, at(0), at(9)));
    assert_eq!(ban.matches, ["line of 4", "line of 9"]); // maxmatches is 2
}

#[test]
fn scales_the_count_to_the_rate() {
    let mut judge = judge();
    judge.fails("192.0.2.1", 0, "found 192.0.2.1 0");
    judge.fails("192.0.2.1", 500, "found 192.0.2.1 500");
    // 2 in 1000 s are 1.2 in 600 s: one, and this one.
    judge.fails("192.0.2.1", 1000, "found 192.0.2.1 1000");
    judge.fails("192.0.2.1", 1001, "found 192.0.2.1 1001, ban 192.0.2.1 until 1601");
    // Whoever is silent for findtime begins anew.
    judge.fails("192.0.2.2", 2000, "found 192.0.2.2 2000, unban 192.0.2.1 Expired");
    judge.fails("192.0.2.2", 2001, "found 192.0.2.2 2001");
    judge.fails("192.0.2.2", 2601, "found 192.0.2.2 2601");
}

#[test]
fn one_line_may_stand_for_many_failures() {
    let first = Failure { n_attempts: 3, ..failure("192.0.2.1", 0) };
    let event = Event::Failure(first, Reading::InOperation);
    judge().check(event, 0, "found 192.0.2.1 0, ban 192.0.2.1 until 600");
}

#[test]
fn believes_dates_only_while_catching_up() {
    let mut judge = judge();
    let at_date = |date, reading| Event::Failure(failure("192.0.2.1", date), reading);
    // Old lines of a log that is read for the first time are none of ours.
    judge.check(at_date(-700, Reading::CatchingUp), 0, "old");
    judge.check(at_date(-701, Reading::CatchingUp), 0, "");
    judge.check(at_date(-600, Reading::CatchingUp), 0, "found 192.0.2.1 -600");
    judge.check(at_date(90, Reading::CatchingUp), 0, "found 192.0.2.1 0");
    // Later, a line was just written, whatever it says.
    judge.check(at_date(-61, Reading::InOperation), 0, "odd -61, found 192.0.2.1 0");
    let just_right = "found 192.0.2.1 -60, ban 192.0.2.1 until 600";
    judge.check(at_date(-60, Reading::InOperation), 0, just_right);
}

#[test]
fn ignores_whom_it_must() {
    let mut judge = judge();
    judge.handle(Event::OwnAddresses(vec!["192.0.2.77".parse().unwrap()]), at(0));
    judge.fails("192.0.2.77", 0, "ignored 192.0.2.77 OwnAddress");
    judge.fails("192.0.2.8", 0, "ignored 192.0.2.8 Address");
    judge.fails("198.51.100.200", 0, "ignored 198.51.100.200 Address");
    judge.fails("203.0.113.127", 0, "ignored 203.0.113.127 Address"); // the mask in dots
    judge.fails("203.0.113.128", 0, "found 203.0.113.128 0");
    assert_eq!(judge.names(), ["friend.example"]);
    judge.fails("192.0.2.9", 0, "found 192.0.2.9 0");
    let addrs = vec!["192.0.2.9".parse().unwrap()];
    judge.handle(Event::Resolved { name: "friend.example".to_owned(), addrs }, at(0));
    judge.fails("192.0.2.9", 0, "ignored 192.0.2.9 Name");
    // An operator may.
    judge.check(ban("192.0.2.9", None), 0, "ban 192.0.2.9 until 600");
}

#[test]
fn ignores_whom_a_file_lists() {
    let ignore_ip = vec!["file:/etc/friends".to_owned()];
    let mut judge = Judge::new(vec![Rules { ignore_ip, ..rules() }]);
    assert_eq!((judge.files(), judge.names()), (vec!["/etc/friends".to_owned()], Vec::new()));
    judge.fails("192.0.2.1", 0, "found 192.0.2.1 0");
    let words = ["192.0.2.0/24", "friend.example", "file:/etc/shadow"].map(str::to_owned).to_vec();
    judge.handle(Event::Listed { file: "/etc/friends".to_owned(), words }, at(0));
    judge.fails("192.0.2.1", 0, "ignored 192.0.2.1 Address");
    assert_eq!((judge.files().len(), judge.names()), (1, vec!["friend.example".to_owned()]));
    let addrs = vec!["203.0.113.5".parse().unwrap()];
    judge.handle(Event::Resolved { name: "friend.example".to_owned(), addrs }, at(0));
    judge.fails("203.0.113.5", 0, "ignored 203.0.113.5 Name");
}

#[test]
fn prolongs_a_ban_that_stands() {
    let mut judge = judge();
    judge.check(ban("192.0.2.1", None), 0, "ban 192.0.2.1 until 600");
    let shorter = Some(BanTime::Seconds(60));
    judge.check(ban("192.0.2.1", shorter), 5, "already 192.0.2.1 5");
    judge.check(ban("192.0.2.1", None), 9, "already 192.0.2.1 9, prolong 192.0.2.1 until 609");
    judge.check(Event::Deadline, 605, ""); // the old end
    judge.check(Event::Deadline, 610, "unban 192.0.2.1 Expired");
    judge.check(ban("192.0.2.1", None), 700, "ban 192.0.2.1 until 1300");
    let ever = Some(BanTime::Permanent);
    judge.check(ban("192.0.2.1", ever), 800, "already 192.0.2.1 100, prolong 192.0.2.1 for ever");
    judge.check(Event::Deadline, 100_000, "");
    assert_eq!(judge.deadline(), None);
}

#[test]
fn restores_what_is_left_of_a_ban() {
    let mut judge = judge();
    let mut old = Ban {
        jail: "sshd".to_owned(),
        subject: Subject::from("192.0.2.1"),
        time: at(0),
        bantime: BanTime::Seconds(600),
        n_failures: 3,
        first_failure: at(-9),
        last_failure: at(0),
        matches: Vec::new(),
        fields: Vec::new(),
    };
    judge.check(Event::Restore(old.clone()), 100, "restored 192.0.2.1 until 600");
    old.subject = Subject::from("192.0.2.2");
    judge.check(Event::Restore(old.clone()), 600, "expired 192.0.2.2");
    old.subject = Subject::from("192.0.2.8");
    judge.check(Event::Restore(old.clone()), 100, "ignored 192.0.2.8 Address"); // ignoreip is newer
    old.subject = Subject::from("192.0.2.3");
    old.bantime = BanTime::Permanent; // bantime was -1, and is 10 minutes now
    judge.check(Event::Restore(old.clone()), 100, "restored 192.0.2.3 until 600");
    old.subject = Subject::from("192.0.2.4");
    old.last_failure = at(50); // it prolonged the ban
    judge.check(Event::Restore(old.clone()), 100, "restored 192.0.2.4 until 650");
    old.jail = "gone".to_owned();
    judge.check(Event::Restore(old), 100, "no jail gone");
}

#[test]
fn unbans_addresses_and_what_lies_in_a_prefix() {
    let mut judge = judge();
    for subject in ["192.0.2.2", "192.0.2.1", "192.0.3.1", "mallory"] {
        judge.handle(ban(subject, None), at(0));
    }
    judge.check(unban("192.0.2.9"), 1, "not banned 192.0.2.9");
    judge.check(unban("mallory"), 1, "unban mallory ByOperator");
    let both = "unban 192.0.2.2 ByOperator, unban 192.0.2.1 ByOperator";
    judge.check(unban("192.0.2.0/24"), 1, both);
    judge.check(Event::UnbanAll { jail: None }, 1, "unban 192.0.3.1 ByOperator");
    judge.check(ban("192.0.2.0/24", None), 2, "ban 192.0.2.0/24 until 602");
    judge.check(unban("192.0.2.0/24"), 2, "unban 192.0.2.0/24 ByOperator");
    judge.check(Event::UnbanAll { jail: Some("gone".to_owned()) }, 3, "no jail gone");
}

#[test]
fn counts_attempts_by_hand() {
    let attempt = |n: usize| Event::Attempt {
        jail: "sshd".to_owned(),
        subject: Subject::from("192.0.2.1"),
        matches: vec!["x".to_owned(); n],
    };
    let mut judge = judge();
    judge.check(attempt(0), 0, "");
    judge.check(attempt(2), 1, "ban 192.0.2.1 until 601");
}

#[test]
fn new_rules_keep_what_stays() {
    let mut judge = Judge::new(vec![rules(), Rules { jail: "old".to_owned(), ..rules() }]);
    judge.fails("192.0.2.1", 0, "found 192.0.2.1 0");
    judge.check(ban("192.0.2.2", None), 0, "ban 192.0.2.2 until 600");
    let in_old =
        Event::Ban { jail: "old".to_owned(), subject: Subject::from("192.0.2.2"), ban_time: None };
    judge.check(in_old, 0, "ban 192.0.2.2 until 600");
    let stricter = Rules { max_retry: 2, ..rules() };
    judge.check(Event::Rules(vec![stricter]), 1, "unban 192.0.2.2 JailRemoved");
    judge.fails("192.0.2.1", 2, "found 192.0.2.1 2, ban 192.0.2.1 until 602");
    assert!(judge.ban_of("sshd", &Subject::from("192.0.2.2")).is_some());
}

#[test]
fn tells_the_counters() {
    let mut judge = judge();
    judge.fails("192.0.2.2", 0, "found 192.0.2.2 0");
    judge.handle(ban("192.0.2.9", None), at(1));
    judge.handle(ban("192.0.2.1", None), at(2));
    judge.handle(unban("192.0.2.9"), at(3));
    let status = judge.status("sshd", at(3)).unwrap();
    assert_eq!((status.currently_failed, status.total_failed), (1, 1));
    assert_eq!((status.currently_banned, status.total_banned), (1, 2));
    assert_eq!(judge.banned("sshd"), [Subject::from("192.0.2.1")]);
    assert_eq!(judge.rules("sshd"), Some(&rules()));
    assert_eq!(judge.status("sshd", at(700)).unwrap().currently_failed, 0);
    assert_eq!(judge.status("gone", at(3)), None);
}

#[test]
fn failures_count_on_in_the_next_life() {
    let who = Subject::from("192.0.2.1");
    let mut judge = judge();
    judge.fails("192.0.2.1", 0, "found 192.0.2.1 0");
    judge.fails("192.0.2.2", 5, "found 192.0.2.2 5");
    judge.changes_written();
    judge.fails("192.0.2.1", 5, "found 192.0.2.1 5");
    let changed = |judge: &Judge| {
        let changes =
            judge.changed_tickets().map(|(_, who, ticket)| (who.clone(), ticket.cloned()));
        changes.collect::<Vec<_>>()
    };
    let [(whose, Some(ticket))] = &changed(&judge)[..] else { panic!("one has failed again") };
    assert_eq!(*whose, who);
    let kept = serde_json::to_string(ticket).unwrap();

    let mut next = self::judge();
    let ticket = serde_json::from_str(&kept).unwrap();
    let failing = Event::Failing { jail: "sshd".to_owned(), subject: who.clone(), ticket };
    next.check(failing, 6, "");
    let failure = Event::Failure(failure("192.0.2.1", 7), Reading::InOperation);
    assert_eq!(next.handle(failure.clone(), at(7)), judge.handle(failure, at(7)));
    assert_eq!(changed(&next), [(who, None)]); // it is a ban now
}

#[test]
fn a_flood_of_addresses_is_forgotten_from_its_old_end() {
    let mut judge = judge();
    for n in 0..150_000_u32 {
        let subject = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).to_string();
        let second = i64::from(n / 1000);
        judge.handle(Event::Failure(failure(&subject, second), Reading::InOperation), at(second));
    }
    let status = judge.status("sshd", at(150)).unwrap();
    assert!(status.currently_failed <= 100_000, "{}", status.currently_failed);
    judge.fails("10.2.73.239", 150, "found 10.2.73.239 150"); // the last of them: its second
    judge.fails("10.2.73.239", 150, "found 10.2.73.239 150, ban 10.2.73.239 until 750");
}

/// Whoever it is, he was banned once in this jail and twice in all.
#[derive(Debug)]
struct BannedBefore;

impl History for BannedBefore {
    fn past(&self, jail: Option<&str>, _: &Subject) -> Option<Past> {
        Some(Past { n_bans: if jail.is_some() { 1 } else { 2 }, last: at(-1000) })
    }
}

#[test]
fn who_comes_back_is_banned_sooner_and_longer() {
    let increment = |overall| {
        let written = Written { max_seconds: Some(2000.0), overall, ..Written::default() };
        let increment = Increment::new(written).unwrap();
        let rules = Rules { increment: Some(increment), ..rules() };
        Judge::new(vec![rules]).with_history(Box::new(BannedBefore))
    };
    let mut judge = increment(false);
    judge.fails("192.0.2.1", 0, "found 192.0.2.1 0"); // counts for two
    judge.fails(
        "192.0.2.1",
        1,
        "found 192.0.2.1 1, ban 192.0.2.1 until 1201, increased 2 192.0.2.1 until 1201",
    );
    // The ban that stands does not grow: the end would be 1200.
    judge.check(ban("192.0.2.1", None), 600, "already 192.0.2.1 599");
    judge.check(ban("192.0.2.2", Some(BanTime::Seconds(60))), 600, "ban 192.0.2.2 until 660");
    let want = "ban 192.0.2.3 until 2600, increased 3 192.0.2.3 until 2600";
    increment(true).check(ban("192.0.2.3", None), 600, want); // 2400, cut to maxtime
}

#[test]
fn addresses_of_a_prefix_are_banned_together_where_that_is_wanted() {
    let crowd = Crowd { prefix: 24, n_banned: 3 };
    let together = Together { ipv6_prefix: Some(64), ipv4: Some(crowd) };
    let friends = ["2001:db8:7::7", "198.51.100.9"].map(str::to_owned).to_vec();
    let rules = Rules { ignore_ip: friends, ..rules() };
    let mut judge = Judge::new(vec![rules]).with_together(together);
    // One network's addresses are one.
    judge.fails("2001:db8::1", 0, "found 2001:db8::/64 0");
    judge.fails("2001:db8::2", 1, "found 2001:db8::/64 1");
    judge.fails("2001:db8::3", 2, "found 2001:db8::/64 2, ban 2001:db8::/64 until 602");
    // A friend lives there: each for himself.
    judge.fails("2001:db8:7::1", 3, "found 2001:db8:7::1 3");
    let ban_now = |judge: &mut Judge, who: &str, want: &str| {
        let attempt = Event::Attempt {
            jail: "sshd".to_owned(),
            subject: Subject::from(who),
            matches: vec!["x".to_owned(); 3],
        };
        judge.check(attempt, 10, want);
    };
    ban_now(&mut judge, "192.0.2.1", "ban 192.0.2.1 until 610");
    ban_now(&mut judge, "192.0.2.2", "ban 192.0.2.2 until 610");
    let both = "ban 192.0.2.3 until 610, ban 192.0.2.0/24 until 610";
    ban_now(&mut judge, "192.0.2.3", both);
    ban_now(&mut judge, "192.0.2.4", "ban 192.0.2.4 until 610");
    for who in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
        ban_now(&mut judge, who, &format!("ban {who} until 610"));
    }
}
