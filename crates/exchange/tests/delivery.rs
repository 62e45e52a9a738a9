//! From the spool to MISP: what arrives there, whatever fails on the way.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod bench;
mod stand_in;

use std::time::{Duration, Instant};
use std::{fs, thread};

use bench::{BEGIN, Bench, PATIENCE, address, ban, database, report, reports, setup, wait_for};
use exchange::{
    Addressee, Destination, Ended, EventChoice, Mode, Policy, Publish, Report, Setup, Stop, keys,
    run, spool,
};
use stand_in::{KEY, StandIn, Trouble};

#[test]
fn a_ban_becomes_an_attribute_and_the_next_a_sighting() {
    let bench = Bench::new();
    let to = bench.to();
    bench.report(&[report(&to, "45.33.32.156", 0)]);
    bench.deliver();
    bench.report(&[report(&to, "45.33.32.156", 60)]);
    bench.deliver();
    assert_eq!(bench.server.values(), ["45.33.32.156"]);
    let state = bench.server.state();
    let attribute = &state.events[0].attributes[0];
    assert_eq!(attribute.comment, "login attempt (via fail2ban)");
    assert_eq!(attribute.kind, "ip-src");
    assert_eq!(attribute.first_seen, "2026-11-22T06:20:15.000000+00:00");
    assert_eq!(state.sightings.len(), 1);
    assert_eq!(state.sightings[0].attribute_uuid, attribute.uuid);
    assert_eq!(state.sightings[0].source, "web-1/sshd");
    assert_eq!(state.sightings[0].time, (BEGIN + 60).to_string());
}

#[test]
fn both_in_one_go_too() {
    let bench = Bench::new();
    let to = bench.to();
    bench.report(&[report(&to, "45.33.32.156", 0), report(&to, "45.33.32.156", 60)]);
    bench.deliver();
    assert_eq!((bench.server.values().len(), bench.server.n_sightings()), (1, 1));
}

#[test]
fn without_sightings_a_known_address_is_left_alone() {
    let bench = Bench::new();
    let to = Addressee { sightings: false, ..bench.to() };
    bench.report(&[report(&to, "45.33.32.156", 0), report(&to, "45.33.32.156", 60)]);
    bench.deliver();
    assert_eq!((bench.server.values().len(), bench.server.n_sightings()), (1, 0));
}

#[test]
fn an_address_that_an_analyst_added_is_sighted() {
    let bench = Bench::new();
    bench.report(&reports(&bench.to(), 1));
    bench.deliver();
    // Another host, which knows nothing of the first.
    let other = tempfile::tempdir().unwrap();
    let to = bench.to();
    spool::put(other.path(), &[report(&to, &address(0), 90)]).unwrap();
    assert_eq!(run(setup(other.path()), &Stop::default()).unwrap(), Ended::Empty);
    assert_eq!((bench.server.values().len(), bench.server.n_sightings()), (1, 1));
}

#[test]
fn many_go_in_few_calls() {
    let bench = Bench::new();
    bench.report(&reports(&bench.to(), 2_500));
    bench.deliver();
    assert_eq!(bench.server.values().len(), 2_500);
    assert_eq!(bench.server.n_calls("attributes/add"), 3);
    let before: usize = bench.server.state().calls.values().sum();
    bench.deliver();
    let after: usize = bench.server.state().calls.values().sum();
    assert_eq!(after, before, "an empty outbox asks nothing");
}

#[test]
fn whatever_fails_nothing_is_lost_or_doubled() {
    let troubles = [
        Trouble::Broken,
        Trouble::RateLimited,
        Trouble::AnswerLost,
        Trouble::HalfAnswer,
        Trouble::Proxy,
        Trouble::Denied,
        Trouble::Maintenance,
        Trouble::Closed,
    ];
    thread::scope(|scope| {
        for trouble in troubles {
            scope.spawn(move || {
                // At each of the first calls in turn: lookup, adding, sighting.
                for n_before in 0..4 {
                    survives(trouble, n_before);
                }
            });
        }
    });
}

fn survives(trouble: Trouble, n_before: usize) {
    let bench = Bench::new();
    let to = bench.to();
    let mut all = reports(&to, 20);
    all.extend((0..5).map(|n| report(&to, &address(n), 100)));
    bench.report(&all);
    // The trouble begins at the n-th call: a server that fails from the start differs from one
    // that fails at the adding.
    let stop = Stop::default();
    thread::scope(|scope| {
        let state = bench.state();
        let delivery = scope.spawn(|| run(setup(state), &stop).unwrap());
        let end = Instant::now() + PATIENCE;
        while bench.server.state().calls.values().sum::<usize>() < n_before
            && !delivery.is_finished()
            && Instant::now() < end
        {
            thread::yield_now();
        }
        bench.server.state().troubles = vec![trouble; 2];
        assert_eq!(delivery.join().unwrap(), Ended::Empty, "{trouble:?}");
    });
    assert_eq!(bench.server.values().len(), 20, "{trouble:?} after {n_before}");
    assert_eq!(bench.server.n_sightings(), 5, "{trouble:?} after {n_before}");
}

#[test]
fn what_waits_arrives_once_the_server_is_there() {
    let (addr, start) = StandIn::start_later();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{addr}");
    let key_file = keys::put(folder.path(), &url, "1", &KEY.to_owned().into()).unwrap();
    let to = Addressee { url, event: "1".into(), sightings: true, key_file };
    spool::put(folder.path(), &reports(&to, 3)).unwrap();
    thread::scope(|scope| {
        let delivery = scope.spawn(|| run(setup(folder.path()), &Stop::default()).unwrap());
        // The outage is on disk before the server comes up.
        wait_for("the first try", || {
            let db =
                rusqlite::Connection::open(folder.path().join("exchange/exchange.db")).unwrap();
            let asked =
                db.query_row("SELECT max(n_failed) FROM destinations", [], |row| row.get(0));
            asked.is_ok_and(|n_failed: Option<u32>| n_failed > Some(0))
        });
        let server = start();
        server.add_event(false);
        assert_eq!(delivery.join().unwrap(), Ended::Empty);
        assert_eq!(server.values().len(), 3);
    });
}

#[test]
fn one_bad_item_is_set_aside_and_the_rest_arrives() {
    let bench = Bench::new();
    let to = bench.to();
    let mut all = reports(&to, 40);
    all[17].ban.jail = "poisoned".into();
    bench.server.state().poison = Some("poisoned".into());
    bench.report(&all);
    let destination = Destination {
        comment: "{jail}".into(),
        ..bench.configured(EventChoice::Fixed(bench.event.clone()))
    };
    bench.deliver_with(vec![destination]);
    assert_eq!(bench.server.values().len(), 39);
    let (refused, why): (i64, String) = database(bench.state())
        .query_row("SELECT state, why FROM outbox", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(refused, 1);
    assert!(why.contains("500"), "{why}");
}

#[test]
fn a_server_that_takes_less_is_given_less() {
    let bench = Bench::new();
    bench.server.state().max_batch = Some(60);
    bench.report(&reports(&bench.to(), 500));
    bench.deliver();
    assert_eq!(bench.server.values().len(), 500);
}

#[test]
fn a_key_that_may_not_sight_still_adds() {
    let bench = Bench::new();
    bench.server.state().lacks.insert("sightings");
    let to = bench.to();
    bench.report(&[report(&to, "45.33.32.156", 0), report(&to, "45.33.32.156", 60)]);
    bench.report(&reports(&to, 5));
    let stop = Stop::default();
    thread::scope(|scope| {
        let delivery = scope.spawn(|| run(setup(bench.state()), &stop).unwrap());
        wait_for("the attributes", || bench.server.values().len() == 6);
        wait_for("the refusal", || bench.server.n_calls("sightings/bulkSaveSightings") > 0);
        stop.stop();
        assert_eq!(delivery.join().unwrap(), Ended::Stopped);
    });
    // It waits for the right and is not set aside.
    let (refused, why): (bool, String) = database(bench.state())
        .query_row("SELECT state, why FROM outbox", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert!(!refused && why.contains("may not do this"), "{why}");
}

#[test]
fn an_old_server_is_told_by_value() {
    let bench = Bench::new();
    bench.server.state().lacks.insert("bulk");
    let to = bench.to();
    bench.report(&[report(&to, "45.33.32.156", 0), report(&to, "45.33.32.156", 60)]);
    bench.deliver();
    assert_eq!((bench.server.values().len(), bench.server.n_sightings()), (1, 1));
}

#[test]
fn what_an_analyst_deleted_is_never_added_again() {
    let bench = Bench::new();
    let to = bench.to();
    bench.report(&[report(&to, "45.33.32.156", 0)]);
    bench.deliver();
    bench.server.state().events[0].attributes[0].is_deleted = true;
    // A host that has forgotten all.
    fs::remove_dir_all(bench.state().join("exchange")).unwrap();
    let to = bench.to();
    for second in [60, 120] {
        bench.report(&[report(&to, "45.33.32.156", second)]);
        bench.deliver();
    }
    assert_eq!(bench.server.values(), [""; 0]);
    assert_eq!(bench.server.n_calls("attributes/add"), 2, "it is asked once and remembered");
}

#[test]
fn a_fixed_event_is_published_again_if_it_was() {
    for was_published in [true, false] {
        let server = StandIn::start();
        let event = server.add_event(was_published);
        let bench = Bench { folder: tempfile::tempdir().unwrap(), server, event };
        bench.report(&reports(&bench.to(), 3));
        bench.deliver();
        assert_eq!(bench.server.state().events[0].published, was_published);
    }
}

#[test]
fn a_key_that_may_not_publish_still_adds() {
    let server = StandIn::start();
    let event = server.add_event(true);
    server.state().lacks.insert("publish");
    let bench = Bench { folder: tempfile::tempdir().unwrap(), server, event };
    bench.report(&reports(&bench.to(), 3));
    let mode = Mode::UntilEmpty { limit: Duration::from_secs(2) };
    let setup = Setup { mode, ..setup(bench.state()) };
    assert_eq!(run(setup, &Stop::default()).unwrap(), Ended::TimeOver);
    assert_eq!(bench.server.values().len(), 3);
    assert_eq!(bench.server.n_calls("events/publish"), 1, "it is not asked again and again");
}

#[test]
fn daily_events_are_made_filled_and_published() {
    let bench = Bench::new();
    let mut daily = bench.configured(EventChoice::Daily);
    daily.template.max_attributes = 10;
    daily.template.tags = Some(vec!["tlp:green".into()]);
    let mut all: Vec<Report> = reports(&bench.to(), 25);
    // The next day; and an address of the day before, which is sighted where it is.
    all.push(report(&bench.to(), "45.40.0.1", 86_400));
    all.push(report(&bench.to(), &address(3), 86_400));
    all.iter_mut().for_each(|report| report.to = None);
    bench.report(&all);
    bench.deliver_with(vec![daily]);
    let state = bench.server.state();
    let sizes: Vec<usize> = state.events.iter().map(|it| it.attributes.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 26);
    assert!(sizes.iter().all(|n| *n <= 10), "{sizes:?}");
    assert_eq!(sizes.iter().filter(|n| **n > 0).count(), 4, "{sizes:?}");
    assert_eq!(state.sightings.len(), 1);
    let made: Vec<_> = state.events.iter().filter(|it| !it.info.is_empty()).collect();
    assert!(made.iter().all(|it| it.published && it.body["Tag"][0]["name"] == "tlp:green"));
    assert!(made.iter().any(|it| it.body["date"] == "2026-11-23"));
    assert_eq!(made[0].info, "Login attempts at web-1, 2026-11-22");
}

#[test]
fn a_deleted_event_of_ours_is_followed_by_the_next() {
    let bench = Bench::new();
    let daily = bench.configured(EventChoice::Daily);
    let mut first = reports(&bench.to(), 1);
    first[0].to = None;
    bench.report(&first);
    bench.deliver_with(vec![daily.clone()]);
    let deleted = {
        let mut state = bench.server.state();
        let event = state.events.pop().unwrap();
        state.blocked.insert(event.uuid.clone());
        event.uuid
    };
    let mut second = report(&bench.to(), "45.40.0.1", 5);
    second.to = None;
    bench.report(&[second]);
    bench.deliver_with(vec![daily]);
    let state = bench.server.state();
    let event = state.events.last().unwrap();
    assert_ne!(event.uuid, deleted);
    assert_eq!(event.attributes.len(), 1);
}

#[test]
fn a_jail_goes_where_it_is_taken() {
    let bench = Bench::new();
    let other = bench.server.add_event(false);
    let taking = |event: &str, jails: &[&str]| Destination {
        jails: jails.iter().map(|it| (*it).to_owned()).collect(),
        ..bench.configured(EventChoice::Fixed(event.into()))
    };
    let report = |subject: &str, jail: &str| Report::of(ban(subject, jail, 0));
    bench.report(&[
        report("45.33.32.1", "sshd"),
        report("45.33.32.2", "nginx"),
        report("45.33.32.3", "other"),
    ]);
    bench.deliver_with(vec![taking(&bench.event, &["ssh*"]), taking(&other, &["nginx", "sshd"])]);
    let state = bench.server.state();
    let values = |n: usize| -> Vec<&str> {
        state.events[n].attributes.iter().map(|it| it.value.as_str()).collect()
    };
    assert_eq!(values(0), ["45.33.32.1"]);
    assert_eq!(values(1), ["45.33.32.1", "45.33.32.2"]);
}

#[test]
fn sightings_come_once_an_interval() {
    let bench = Bench::new();
    let mut destination = bench.configured(EventChoice::Fixed(bench.event.clone()));
    destination.sighting_interval = Duration::from_secs(3_600);
    let at = |jail: &str, second: i64| Report::of(ban("45.33.32.156", jail, second));
    // The first is the attribute; the interval runs from the first sighting, by jail.
    let all =
        [at("sshd", 0), at("sshd", 10), at("sshd", 3_000), at("nginx", 3_000), at("sshd", 3_610)];
    for report in all {
        bench.report(&[report]);
        bench.deliver_with(vec![destination.clone()]);
    }
    let state = bench.server.state();
    let mut times: Vec<_> = state
        .sightings
        .iter()
        .map(|it| (it.source.clone(), it.time.parse::<i64>().unwrap() - BEGIN))
        .collect();
    times.sort();
    let want = [("web-1/nginx", 3_000), ("web-1/sshd", 10), ("web-1/sshd", 3_610)];
    assert_eq!(times, want.map(|(source, time)| (source.to_owned(), time)));
}

#[test]
fn the_policy_keeps_private_and_restored_ones() {
    let bench = Bench::new();
    let to = bench.to();
    let restored = Report { restored: true, ..report(&to, "45.33.32.1", 0) };
    let all = [
        report(&to, "192.168.1.7", 0),
        report(&to, "203.0.113.9", 0),
        report(&to, "mallory", 0),
        restored,
        report(&to, "45.33.32.2", 0),
    ];
    bench.report(&all);
    bench.deliver();
    assert_eq!(bench.server.values(), ["45.33.32.2"]);
    let n_kept: i64 = database(bench.state())
        .query_row("SELECT sum(n) FROM withheld", [], |row| row.get(0))
        .unwrap();
    assert_eq!(n_kept, 4);
}

#[test]
fn a_rule_that_is_made_later_holds_for_what_waits() {
    let bench = Bench::new();
    bench.report(&[report(&bench.to(), "45.33.32.1", 0)]);
    bench.server.state().troubles = vec![Trouble::Denied; 100];
    let brief = Mode::UntilEmpty { limit: Duration::from_millis(300) };
    let ended = run(Setup { mode: brief, ..setup(bench.state()) }, &Stop::default()).unwrap();
    assert_eq!(ended, Ended::TimeOver);
    bench.server.state().troubles.clear();
    let policy = Policy { never: vec!["45.33.32.0/24".parse().unwrap()], ..Policy::default() };
    let ended = run(Setup { policy, ..setup(bench.state()) }, &Stop::default()).unwrap();
    assert_eq!(ended, Ended::Empty);
    assert_eq!(bench.server.values(), [""; 0]);
}

#[test]
fn the_key_is_nowhere_but_in_its_file() {
    let bench = Bench::new();
    bench.server.state().key = "another-key".into();
    let to = bench.to();
    bench.report(&reports(&to, 2));
    for entry in fs::read_dir(bench.state().join("spool")).unwrap() {
        assert!(!fs::read_to_string(entry.unwrap().path()).unwrap().contains(KEY));
    }
    let brief = Mode::UntilEmpty { limit: Duration::from_millis(300) };
    run(Setup { mode: brief, ..setup(bench.state()) }, &Stop::default()).unwrap();
    let why: String = database(bench.state())
        .query_row("SELECT why FROM destinations", [], |row| row.get(0))
        .unwrap();
    assert!(why.contains("the key is not accepted") && !why.contains(KEY), "{why}");
    let bytes = fs::read(bench.state().join("exchange/exchange.db")).unwrap();
    assert!(!bytes.windows(KEY.len()).any(|it| it == KEY.as_bytes()));
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&to.key_file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_key_that_is_replaced_on_disk_is_used() {
    let bench = Bench::new();
    bench.server.state().key = "the-new-key".into();
    let to = bench.to();
    bench.report(&reports(&to, 2));
    thread::scope(|scope| {
        let delivery = scope.spawn(|| run(setup(bench.state()), &Stop::default()).unwrap());
        wait_for("a refusal", || bench.server.n_calls("warninglists/index") > 0);
        keys::put(bench.state(), &to.url, &to.event, &"the-new-key".to_owned().into()).unwrap();
        assert_eq!(delivery.join().unwrap(), Ended::Empty);
    });
    assert_eq!(bench.server.values().len(), 2);
}

#[test]
fn our_own_event_is_named_in_the_same_way_each_time() {
    let publish = |publish| {
        let bench = Bench::new();
        let daily = Destination { publish, ..bench.configured(EventChoice::Daily) };
        let mut all = reports(&bench.to(), 1);
        all[0].to = None;
        bench.report(&all);
        bench.deliver_with(vec![daily]);
        let event = bench.server.state().events.pop().unwrap();
        (event.uuid, event.published)
    };
    let (one, published) = publish(Publish::Always);
    let (other, unpublished) = publish(Publish::Never);
    assert_eq!(one, other);
    assert_eq!((published, unpublished), (true, false));
}
