//! Who is told about, on what terms, and how much: review, budgets, warninglists, mistakes.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod bench;
mod stand_in;

use std::time::Duration;

use bench::{
    Bench, address, ban, beside, daemon, n_withheld, outbox, report, reports, setup, wait_for,
};
use control::exchange::{EntryState, ExchangeClient};
use exchange::{Budget, Destination, Ended, EventChoice, Mode, Policy, Report, Setup, Stop, run};
use stand_in::Trouble;

/// Reports that name no destination of their own.
fn bans(n: u32) -> Vec<Report> {
    (0..n).map(|n| Report::of(ban(&address(n), "sshd", i64::from(n)))).collect()
}

fn daily(bench: &Bench) -> Destination {
    bench.configured(EventChoice::Daily)
}

#[test]
fn in_review_nothing_leaves_before_it_is_approved() {
    let bench = Bench::new();
    let socket = bench.state().join("control.sock");
    let setup = Setup {
        review: true,
        socket: Some(socket.clone()),
        destinations: vec![daily(&bench)],
        ..daemon(bench.state())
    };
    bench.report(&bans(3));
    // What names its own destination is held as well, as the article's five arguments do.
    bench.report(&[report(&bench.to(), "45.40.0.1", 0)]);
    beside(setup, || {
        wait_for("the socket", || ExchangeClient::connect(&socket).is_ok());
        let mut exchange = ExchangeClient::connect(&socket).unwrap();
        wait_for("the outbox", || exchange.outbox(10).unwrap().len() == 4);
        let entries = exchange.outbox(10).unwrap();
        assert!(entries.iter().all(|it| it.state == EntryState::InReview));
        // A retry is no approval.
        exchange.retry(Some(&[entries[0].id])).unwrap();
        let previewed = exchange.preview(Some(&[entries[0].id, entries[1].id])).unwrap();
        assert_eq!(bench.server.state().n_asked, 0);
        assert_eq!(exchange.approve(Some(&[entries[0].id, entries[1].id])).unwrap(), 2);
        wait_for("two attributes", || bench.server.values() == [address(0), address(1)]);
        let shown: Vec<_> = previewed
            .into_iter()
            .map(|call| {
                let path = call.url.strip_prefix(&bench.server.url()).unwrap().to_owned();
                (path, call.body.unwrap())
            })
            .collect();
        let mut posted = bench.server.state().posted.clone();
        posted.retain(|(path, _)| !path.starts_with("/tags/"));
        assert_eq!(posted, shown, "the preview is what was sent, to the byte");
        assert_eq!(exchange.status().unwrap().destinations[0].n_in_review, 1);
        assert_eq!(exchange.approve(None).unwrap(), 2);
        wait_for("the others", || bench.server.values().len() == 4);
    });
}

#[test]
fn a_day_has_a_budget() {
    let bench = Bench::new();
    let mut destination = daily(&bench);
    destination.budget = Budget { max_per_day: 10, ..Budget::default() };
    bench.report(&bans(25));
    let mode = Mode::UntilEmpty { limit: Duration::from_secs(1) };
    let setup = Setup { mode, destinations: vec![destination], ..setup(bench.state()) };
    assert_eq!(run(setup, &Stop::default()).unwrap(), Ended::TimeOver);
    assert_eq!(bench.server.values().len(), 10);
    let state = bench.server.state();
    assert!(state.events.iter().any(|event| event.published), "what was told is published");
    assert_eq!(outbox(bench.state()).len(), 15, "the others wait");
    let why: String = bench::database(bench.state())
        .query_row("SELECT why FROM destinations", [], |row| row.get(0))
        .unwrap();
    assert!(why.contains("`max_per_day`"), "{why}");
}

#[test]
fn calls_are_few_even_if_reports_come_one_by_one() {
    let bench = Bench::new();
    let mut destination = bench.configured(EventChoice::Fixed(bench.event.clone()));
    // A minute's calls are spent by the first ones; what comes then waits and goes together.
    destination.budget = Budget { calls_per_minute: 40, ..Budget::default() };
    let setup = Setup { destinations: vec![destination], ..daemon(bench.state()) };
    beside(setup, || {
        for n in 0..100 {
            bench.report(&[Report::of(ban(&address(n), "sshd", 0))]);
            let n_asked = bench.server.state().n_asked;
            if n_asked < 30 {
                wait_for("it", || bench.server.values().len() == n as usize + 1);
            }
        }
        wait_for("all", || bench.server.values().len() == 100);
        assert!(bench.server.state().n_asked < 60, "{}", bench.server.state().n_asked);
    });
}

#[test]
fn warninglists_have_a_say() {
    let bench = Bench::new();
    bench.server.state().warninglists = vec![
        ("List of known IPv4 public DNS resolvers", vec!["45.33.1.0/24"]),
        ("List of known Amazon AWS IP address ranges", vec!["45.33.2.0/24"]),
        ("List of known addresses of research scanners", vec!["45.33.3.0/24"]),
    ];
    let ban = |subject: &str| Report::of(ban(subject, "sshd", 0));
    let all = ["45.33.1.1", "45.33.2.1", "45.33.3.1", "45.33.4.1"].map(ban);
    bench.report(&all);
    bench.deliver_with(vec![daily(&bench)]);
    assert_eq!(bench.server.values(), ["45.33.2.1", "45.33.3.1", "45.33.4.1"]);
    assert_eq!(n_withheld(bench.state(), "warninglist"), 1);
    {
        let state = bench.server.state();
        let told = |value: &str| {
            let mut all = state.events.iter().flat_map(|it| &it.attributes);
            let found = all.find(|it| it.value == value).unwrap();
            (found.to_ids, found.tags.clone())
        };
        assert_eq!(told("45.33.2.1"), (true, vec!["retention:2d".to_owned()]));
        assert_eq!(told("45.33.3.1"), (false, Vec::new()));
        assert_eq!(told("45.33.4.1"), (true, Vec::new()));
    }
    // They are kept: asked for once a day, and heeded from the first report on.
    bench.report(&[ban("45.33.1.2")]);
    bench.deliver_with(vec![daily(&bench)]);
    assert_eq!(n_withheld(bench.state(), "warninglist"), 2);
    assert_eq!(bench.server.n_calls("warninglists/index"), 1);
}

#[test]
fn a_server_whose_warninglists_are_broken_is_told_all_the_same() {
    let bench = Bench::new();
    bench.server.state().troubles = vec![Trouble::Broken];
    bench.report(&bans(3));
    bench.deliver_with(vec![daily(&bench)]);
    assert_eq!(bench.server.values().len(), 3);
}

#[test]
fn as_many_hosts_as_are_asked_for_must_have_banned() {
    let bench = Bench::new();
    let policy = Policy { min_hosts: 2, ..Policy::default() };
    let by =
        |host: &str| Report { host: Some(host.into()), ..Report::of(ban("45.33.32.1", "sshd", 0)) };
    let deliver = |report: Report| {
        bench.report(&[report]);
        let destinations = vec![daily(&bench)];
        let setup = Setup { policy: policy.clone(), destinations, ..setup(bench.state()) };
        assert_eq!(run(setup, &Stop::default()).unwrap(), Ended::Empty);
        bench.server.values().len()
    };
    assert_eq!(deliver(by("mail-1")), 0);
    assert_eq!(deliver(by("mail-1")), 0, "one host does not become two");
    assert_eq!(deliver(Report { host: None, ..by("") }), 1, "this host is one as well");
    assert_eq!(n_withheld(bench.state(), "too-few-hosts"), 2);
}

#[test]
fn what_others_told_us_is_not_told_back() {
    let bench = Bench::new();
    bench.report(&bans(1));
    bench.deliver_with(vec![daily(&bench)]);
    // The pull has brought two addresses: ours came back, and one of somebody else's.
    let theirs = "45.40.0.1";
    let db = bench::database(bench.state());
    db.execute("INSERT INTO pull_source (name, list) VALUES ('main', 'l')", []).unwrap();
    for (n, net) in [address(0).as_str(), theirs].into_iter().enumerate() {
        let sql = "INSERT INTO indicator VALUES ('main', ?1, ?2, 'ip-src', '', 1, 0, 0, '[]')";
        db.execute(sql, rusqlite::params![n.to_string(), net]).unwrap();
    }
    bench.report(&[address(0).as_str(), theirs].map(|it| Report::of(ban(it, "sshd", 9_000))));
    bench.deliver_with(vec![daily(&bench)]);
    assert_eq!(bench.server.values(), [address(0)]);
    assert_eq!(
        bench.server.n_sightings(),
        1,
        "what we told is sighted, wherever it came back from"
    );
    assert_eq!(n_withheld(bench.state(), "pulled"), 1);
}

#[test]
fn a_mistake_is_taken_back_wherever_it_was_told() {
    let bench = Bench::new();
    bench.report(&bans(2));
    bench.deliver_with(vec![daily(&bench)]);
    let mistake = |n: u32| {
        let ban = ban(&address(n), "sshd", 90);
        Report { false_positive: true, ..Report::of(ban) }
    };
    // The second of its bans has not left yet.
    bench.report(&[Report::of(ban(&address(0), "sshd", 60)), mistake(0)]);
    bench.deliver_with(vec![daily(&bench)]);
    let state = bench.server.state();
    let attributes: Vec<_> = state.events.iter().flat_map(|event| &event.attributes).collect();
    assert_eq!(attributes.iter().map(|it| it.to_ids).collect::<Vec<_>>(), [false, true]);
    let kinds: Vec<_> = state.sightings.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(kinds, ["1"], "one false positive, and no sighting of what waited");
    assert_eq!(state.sightings[0].attribute_uuid, attributes[0].uuid);
    assert!(state.events.last().unwrap().published, "partners see the change");
}

#[test]
fn a_mistake_of_others_is_told_by_its_value() {
    let bench = Bench::new();
    // Another host's attribute, of which this one knows nothing.
    bench.report(&reports(&bench.to(), 1));
    bench.deliver();
    std::fs::remove_dir_all(bench.state().join("exchange")).unwrap();
    let ban = ban(&address(0), "sshd", 90);
    bench.report(&[Report { false_positive: true, ..Report::of(ban) }]);
    bench.deliver_with(vec![daily(&bench)]);
    let state = bench.server.state();
    let kinds: Vec<_> = state.sightings.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(kinds, ["1"]);
}

#[test]
fn a_key_that_may_not_edit_still_tells_of_the_mistake() {
    let bench = Bench::new();
    bench.report(&bans(1));
    bench.deliver_with(vec![daily(&bench)]);
    bench.server.state().lacks.insert("edit");
    let ban = ban(&address(0), "sshd", 90);
    bench.report(&[Report { false_positive: true, ..Report::of(ban) }]);
    bench.deliver_with(vec![daily(&bench)]);
    assert_eq!(bench.server.n_sightings(), 1);
}
