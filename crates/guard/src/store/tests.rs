#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::os::unix::fs::PermissionsExt;

use jail::judge::{self, History as _, Rules};
use jail::{BanTime, Failure};

use super::*;
use crate::mark::{FileId, Mark};

fn ban(who: &str) -> Ban {
    let time = Timestamp::from_second(1_780_000_000).unwrap();
    Ban {
        jail: "sshd".to_owned(),
        subject: who.into(),
        time,
        bantime: BanTime::Seconds(600),
        n_failures: 5,
        first_failure: time,
        last_failure: time,
        matches: vec!["a \u{1b}[31mhostile\u{0} line".to_owned()],
        fields: vec![("user".to_owned(), "\u{1b}root".to_owned())],
    }
}

fn rules() -> Rules {
    Rules {
        jail: "sshd".to_owned(),
        max_retry: 3,
        find_time: SignedDuration::from_secs(600),
        ban_time: BanTime::Seconds(600),
        max_matches: 3,
        ignore_self: true,
        ignore_ip: Vec::new(),
        increment: None,
    }
}

fn standing(store: &Store) -> Vec<Ban> {
    let mut standing = store.standing().unwrap();
    std::iter::from_fn(|| standing.part(store).unwrap()).flatten().collect()
}

fn numbers(store: &Store, after: u64, limit: u32) -> Vec<(u64, String)> {
    let bans = store.bans_since(after, limit).unwrap();
    bans.into_iter().map(|it| (it.number, it.ban.subject.to_string())).collect()
}

#[test]
fn keeps_bans_and_marks_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state/guard");
    let mark = Mark {
        path: "/var/log/auth.log".into(),
        file: FileId { dev: 1, ino: u64::MAX },
        head: b"Nov 22\xff".to_vec(),
        offset: 7,
    };
    let mut store = Store::open(&state).unwrap();
    let log = store.ban_log().id.clone();
    let lifted = Record::Lifted { jail: "sshd".to_owned(), subject: "192.0.2.1".into() };
    let records = [Record::Banned(ban("192.0.2.1")), Record::Banned(ban("2001:db8::1")), lifted];
    let read = [7, 9].map(|offset| Progress::File(Mark { offset, ..mark.clone() }));
    store.commit(&records, [], &read).unwrap();
    assert!(matches!(Store::open(&state), Err(StoreError::Taken { .. })));
    drop(store);

    let store = Store::open(&state).unwrap();
    assert_eq!(store.ban_log().id, log);
    assert_eq!(store.ban_log().last, 2);
    assert_eq!(standing(&store), [ban("2001:db8::1")]);
    assert_eq!(store.marks().unwrap(), [Mark { offset: 9, ..mark }]);
    assert_eq!(numbers(&store, 0, 9), [(1, "192.0.2.1".into()), (2, "2001:db8::1".into())]);
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn numbers_are_never_used_twice() {
    let mut store = Store::in_memory().unwrap();
    let bans: Vec<Record> = (1..=5).map(|n| Record::Banned(ban(&format!("192.0.2.{n}")))).collect();
    store.commit(&bans, [], []).unwrap();
    store.reached(3).unwrap();
    store.reached(2).unwrap(); // a late word changes nothing
    assert_eq!(store.ban_log().reached, 3);
    assert_eq!(numbers(&store, 3, 1), [(4, "192.0.2.4".into())]);
    store.reached(99).unwrap(); // nobody is ahead of the log
    assert_eq!(store.ban_log().reached, 5);
    assert_eq!(numbers(&store, 5, 9), []);
    store.commit(&bans[..1], [], []).unwrap();
    assert_eq!(numbers(&store, 5, 9), [(6, "192.0.2.1".into())]);
}

/// Who reads beside the log's follower, a moment later, misses nothing.
#[test]
fn the_last_bans_stay_for_other_readers() {
    let mut store = Store::in_memory().unwrap();
    store.commit(&[Record::Banned(ban("192.0.2.1"))], [], []).unwrap();
    store.reached(1).unwrap();
    assert_eq!(numbers(&store, 0, 9), [(1, "192.0.2.1".into())]);
    // As if so many had come since.
    store.db.execute("UPDATE sqlite_sequence SET seq = 1500", []).unwrap();
    store.commit(&[Record::Banned(ban("192.0.2.2"))], [], []).unwrap();
    store.reached(1501).unwrap();
    assert_eq!(numbers(&store, 0, 9), [(1501, "192.0.2.2".into())]);
}

#[test]
fn what_nobody_takes_is_dropped_from_the_old_end() {
    let mut store = Store::in_memory().unwrap();
    store
        .commit(&[Record::Banned(ban("192.0.2.1")), Record::Banned(ban("192.0.2.2"))], [], [])
        .unwrap();
    store.reached(1).unwrap();
    assert_eq!(store.ban_log().n_missed(), 0);
    // As if so many had come since.
    store.db.execute("UPDATE sqlite_sequence SET seq = 1001001", []).unwrap();
    store.commit(&[Record::Banned(ban("192.0.2.3"))], [], []).unwrap();
    let ban_log = store.ban_log();
    assert_eq!((ban_log.first, ban_log.last), (1_002, 1_001_002));
    assert_eq!(ban_log.n_missed(), 1000); // 2 to 1001
    assert_eq!(numbers(&store, 1, 9), [(1_001_002, "192.0.2.3".into())]);
}

#[test]
fn keeps_failures_that_are_no_ban_yet() {
    let mut store = Store::in_memory().unwrap();
    let now = ban("").time;
    let mut judge = judge::Judge::new(vec![rules()]);
    let mut fail = |who: &str| {
        let failure = Failure {
            jail: "sshd".to_owned(),
            subject: who.into(),
            time: now,
            n_attempts: 1,
            matches: vec!["a line".to_owned()],
            fields: Vec::new(),
        };
        judge.handle(judge::Event::Failure(failure, judge::Reading::InOperation), now);
        let all = judge.changed_tickets();
        let ticket =
            all.into_iter().find_map(|(_, it, ticket)| (*it == who.into()).then_some(ticket));
        ticket.flatten().unwrap().clone()
    };
    let mut keep = |who: &str, ticket: Option<&Ticket>, until: i64| {
        let until = now + SignedDuration::from_secs(until);
        let ticket = ticket.map(|it| (it, until));
        let failing = Failing { jail: "sshd", subject: &who.into(), ticket };
        store.commit(&[], [failing], []).unwrap();
        store.failing(now).unwrap()
    };
    let [a, b] = ["192.0.2.1", "192.0.2.2"].map(&mut fail);
    let kept = |who: &str, ticket: &Ticket| ("sshd".to_owned(), who.into(), ticket.clone());
    assert_eq!(keep("192.0.2.1", Some(&a), 600), [kept("192.0.2.1", &a)]);
    let both = keep("192.0.2.2", Some(&b), 500);
    assert_eq!(both, [kept("192.0.2.1", &a), kept("192.0.2.2", &b)]);
    assert_eq!(keep("192.0.2.1", None, 0), [kept("192.0.2.2", &b)]); // it is a ban now
    store.tidy(now + SignedDuration::from_secs(500)).unwrap();
    assert_eq!(store.failing(now).unwrap(), []);
}

#[test]
fn knows_who_was_banned_before() {
    let mut store = Store::in_memory().unwrap();
    let past = store.history().unwrap();
    let of = |jail, who: &str| past.past(jail, &who.into()).map(|it| it.n_bans);
    assert_eq!(of(None, "192.0.2.1"), None);
    let in_web = Ban { jail: "web".to_owned(), ..ban("192.0.2.1") };
    let again = [ban("192.0.2.1"), in_web, ban("192.0.2.1")].map(Record::Banned);
    store.commit(&again, [], []).unwrap();
    assert_eq!(of(Some("sshd"), "192.0.2.1"), Some(2));
    assert_eq!(of(None, "192.0.2.1"), Some(3));
    assert_eq!(of(None, "192.0.2.2"), None);
    let end = ban("").time.as_second() + 3 * 600;
    store.tidy(Timestamp::from_second(end + PURGE_AGE.as_secs()).unwrap()).unwrap();
    assert_eq!(of(None, "192.0.2.1"), Some(3));
    store.tidy(Timestamp::from_second(end + PURGE_AGE.as_secs() + 1).unwrap()).unwrap();
    assert_eq!(of(None, "192.0.2.1"), None);
}

#[test]
fn a_ban_stands_once() {
    let mut store = Store::in_memory().unwrap();
    let longer = Ban { bantime: BanTime::Permanent, ..ban("192.0.2.1") };
    store
        .commit(&[Record::Banned(ban("192.0.2.1")), Record::Stands(longer.clone())], [], [])
        .unwrap();
    assert_eq!(standing(&store), [longer]);
    assert_eq!(store.ban_log().last, 1); // a prolonged ban is no new one
}

#[test]
fn says_what_is_wrong_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guard.db");
    drop(Store::open(folder.path()).unwrap());
    let newer = Connection::open(&file).unwrap();
    newer.pragma_update(None, "user_version", SCHEMA + 1).unwrap();
    drop(newer);
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, .. }), "{error}");

    fs::write(&file, [0x5a; 8192]).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), [0x5a; 8192]); // left as it is
}

#[test]
fn a_full_disk_is_an_error_and_no_loss() {
    let mut store = Store::in_memory().unwrap();
    store.commit(&[Record::Banned(ban("192.0.2.1"))], [], []).unwrap();
    let pages: i64 = store.db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    store.db.pragma_update(None, "max_page_count", pages).unwrap();
    let many: Vec<Record> =
        (0..255).map(|n| Record::Banned(ban(&format!("198.51.100.{n}")))).collect();
    assert!(matches!(store.commit(&many, [], []), Err(StoreError::Full { .. })));
    assert_eq!((store.ban_log().last, standing(&store).len()), (1, 1));
    store.db.pragma_update(None, "max_page_count", 1_000_000).unwrap();
    store.commit(&many, [], []).unwrap();
    assert_eq!(numbers(&store, 255, 9), [(256, "198.51.100.254".into())]);
}
