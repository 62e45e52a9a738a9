//! What MISP gets: events by kind and by jail, their tags, objects, times, the ends of bans.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod bench;
mod stand_in;

use std::time::Duration;

use bench::{Bench, address, ban};
use exchange::{Context, Destination, EventChoice, Report};
use jail::Ban;
use jiff::{SignedDuration, Timestamp};
use stand_in::Trouble;

fn daily(bench: &Bench) -> Destination {
    bench.configured(EventChoice::Daily)
}

/// The titles of our own events, sorted, and the tags of each.
fn made(bench: &Bench) -> Vec<(String, Vec<String>)> {
    let state = bench.server.state();
    let ours = state.events.iter().filter(|event| !event.info.is_empty());
    let tags = |event: &stand_in::Event| {
        let tags = event.body["Tag"].as_array().into_iter().flatten();
        tags.map(|tag| tag["name"].as_str().unwrap().to_owned()).collect()
    };
    let mut made: Vec<_> = ours.map(|event| (event.info.clone(), tags(event))).collect();
    made.sort();
    made
}

#[test]
fn each_kind_of_jail_has_its_event_and_tags() {
    let bench = Bench::new();
    let jails = ["sshd", "dovecot", "nginx-botsearch", "decoy-ssh"];
    let report = |(n, jail): (u32, &str)| Report::of(ban(&address(n), jail, i64::from(n)));
    bench.report(&(0..).zip(jails).map(report).collect::<Vec<_>>());
    bench.deliver_with(vec![daily(&bench)]);
    let made = made(&bench);
    let titles: Vec<_> = made.iter().map(|(title, _)| title.as_str()).collect();
    let want = ["Honeypot contacts", "Login attempts", "Scans"];
    assert_eq!(titles, want.map(|what| format!("{what} at web-1, 2026-11-22")));
    let has = |n: usize, tag: &str| made[n].1.iter().any(|it| it == tag);
    assert!((0..3).all(|n| has(n, "tlp:green") && has(n, "PAP:GREEN")));
    assert!(has(0, "honeypot-basic:data-capture=\"attacks\""));
    assert!(has(1, "misp-galaxy:mitre-attack-pattern=\"Brute Force - T1110\""));
    assert!(has(2, "rsit:information-gathering=\"scanner\""));
    // MISP had none of them.
    let state = bench.server.state();
    assert!(made.iter().flat_map(|(_, tags)| tags).all(|tag| state.tags.contains(tag)));
}

#[test]
fn each_jail_has_its_event_if_asked() {
    let bench = Bench::new();
    let mut destination = daily(&bench);
    destination.template.by_jail = true;
    destination.template.title = "{jail} of {site} on {period}".into();
    destination.template.tags = Some(vec!["tlp:amber".into()]);
    bench.report(&[
        Report::of(ban("45.33.32.1", "sshd", 0)),
        Report::of(ban("45.33.32.2", "dovecot", 1)),
        // Known in the other jail's event: it is sighted there.
        Report::of(ban("45.33.32.1", "dovecot", 2)),
    ]);
    bench.deliver_with(vec![destination]);
    let tags = || vec!["tlp:amber".to_owned()];
    let of = |jail: &str| (format!("{jail} of web-1 on 2026-11-22"), tags());
    assert_eq!(made(&bench), [of("dovecot"), of("sshd")]);
    assert_eq!((bench.server.values().len(), bench.server.n_sightings()), (2, 1));
}

#[test]
fn a_key_that_may_not_make_tags_still_adds() {
    let bench = Bench::new();
    bench.server.state().lacks.insert("tags");
    bench.report(&[Report::of(ban("45.33.32.1", "sshd", 0))]);
    bench.deliver_with(vec![daily(&bench)]);
    assert_eq!(bench.server.values().len(), 1);
}

#[test]
fn the_comment_tells_of_lines_only_where_it_is_asked_to() {
    for (comment, want) in [
        ("{jail} on {site}: {failures} failures", "sshd on web-1: 5 failures"),
        ("{jail}: {matches}", "sshd: Failed password for {site}\nand again"),
    ] {
        let bench = Bench::new();
        let destination = Destination { comment: comment.into(), ..daily(&bench) };
        // What stands in a log is never taken for words of ours.
        let matches = vec!["Failed password for {site}".into(), "and again".into()];
        bench.report(&[Report::of(Ban { matches, ..ban("45.33.32.1", "sshd", 0) })]);
        bench.deliver_with(vec![destination]);
        let state = bench.server.state();
        assert_eq!(state.events.last().unwrap().attributes[0].comment, want);
    }
}

#[test]
fn an_object_holds_what_led_to_the_ban() {
    let bench = Bench::new();
    let destination = Destination { context: Context::Object, ..daily(&bench) };
    bench.report(&[Report::of(ban("45.33.32.1", "sshd", 0))]);
    bench.deliver_with(vec![destination.clone()]);
    bench.report(&[Report::of(ban("45.33.32.1", "sshd", 60))]);
    bench.deliver_with(vec![destination]);
    let state = bench.server.state();
    let attributes = &state.events.last().unwrap().attributes;
    let [attribute] = &attributes[..] else { panic!("{attributes:?}") };
    let object = attribute.object.as_ref().unwrap();
    assert_eq!(object["template_uuid"], "32f7ded6-e774-4401-81b0-79634e82f589");
    let parts: Vec<_> = object["Attribute"].as_array().unwrap().iter().collect();
    let part = |relation: &str| {
        let found = parts.iter().find(|part| part["object_relation"] == relation);
        found.map(|part| part["value"].as_str().unwrap()).unwrap_or_default()
    };
    assert_eq!(part("banned-ip"), "45.33.32.1");
    assert_eq!(part("attack-type"), "sshd");
    assert_eq!(part("failures"), "5");
    assert_eq!(part("sensor"), "web-1");
    assert_eq!(part("processing-timestamp"), "2026-11-22T06:20:15Z");
    assert_eq!(state.sightings.len(), 1, "the second ban is a sighting of the address in it");
    assert_eq!(state.sightings[0].attribute_uuid, attribute.uuid);
}

#[test]
fn an_object_whose_answer_was_lost_is_not_added_twice() {
    let bench = Bench::new();
    bench.server.state().object_troubles = vec![Trouble::AnswerLost, Trouble::Broken];
    let destination = Destination { context: Context::Object, ..daily(&bench) };
    let report = |n: u32| Report::of(ban(&address(n), "sshd", i64::from(n)));
    bench.report(&(0..5).map(report).collect::<Vec<_>>());
    bench.deliver_with(vec![destination]);
    assert_eq!(bench.server.values(), (0..5).map(address).collect::<Vec<_>>());
    assert_eq!(bench.server.n_sightings(), 0);
}

#[test]
fn the_last_time_is_kept_up_to_date_if_asked() {
    let bench = Bench::new();
    let every = Duration::from_secs(3_600);
    let mut destination = Destination { last_seen_every: Some(every), ..daily(&bench) };
    destination.sighting_interval = Duration::ZERO;
    // Not before the hour is over, and then from the last change on.
    for (second, n_edits) in [(0, 0), (3_000, 0), (3_600, 1), (3_700, 1), (7_200, 2)] {
        bench.report(&[Report::of(ban("45.33.32.1", "sshd", second))]);
        bench.deliver_with(vec![destination.clone()]);
        assert_eq!(bench.server.n_calls("attributes/edit"), n_edits, "{second}");
    }
    let state = bench.server.state();
    let event = state.events.last().unwrap();
    assert_eq!(event.attributes[0].last_seen, "2026-11-22T08:20:15.000000+00:00");
    assert!(event.published, "an edit takes the publication away, and it comes back");
}

#[test]
fn the_end_of_a_ban_is_told_if_asked() {
    for expirations in [true, false] {
        let bench = Bench::new();
        let destination = Destination { expirations, ..daily(&bench) };
        // It ended ten seconds ago, and another one stands.
        let time = Timestamp::now() - SignedDuration::from_secs(610);
        let over = |subject: &str, time| Ban { time, ..ban(subject, "sshd", 0) };
        bench.report(&[Report::of(over("45.33.32.1", time))]);
        bench.report(&[Report::of(over("45.33.32.2", Timestamp::now()))]);
        bench.deliver_with(vec![destination]);
        let state = bench.server.state();
        let kinds: Vec<_> = state.sightings.iter().map(|it| it.kind.as_str()).collect();
        assert_eq!(kinds, if expirations { vec!["2"] } else { vec![] });
    }
}
