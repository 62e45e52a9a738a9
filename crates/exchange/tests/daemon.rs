//! Exchange as a daemon: woken by the spool, following guard's log, asked over its socket, alone.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod bench;
mod stand_in;

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bench::{Bench, PATIENCE, address, ban, beside, daemon, report, reports, wait_for};
use control::exchange::ExchangeClient;
use exchange::{
    Destination, Ended, EventChoice, Part, Report, Setup, Source, SourceError, Stop, run, spool,
};
use jail::NumberedBan;
use stand_in::Trouble;

#[test]
fn a_report_wakes_it() {
    let bench = Bench::new();
    let to = bench.to();
    beside(daemon(bench.state()), || {
        for n in 0..3 {
            bench.report(&[report(&to, &address(n), 0)]);
            wait_for("the attribute", || bench.server.values().len() == n as usize + 1);
        }
        wait_for("the spool to be empty", || {
            std::fs::read_dir(bench.state().join("spool")).unwrap().count() == 0
        });
    });
}

/// A log of bans that the test writes.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<LogState>>);

#[derive(Default)]
struct LogState {
    name: String,
    bans: Vec<NumberedBan>,
    reached: (String, u64),
    is_away: bool,
    n_asked: usize,
}

impl Log {
    fn ban(&self, subject: &str) {
        let mut log = self.0.lock().unwrap();
        let number = log.bans.len() as u64 + 1;
        log.bans.push(NumberedBan { number, ban: ban(subject, "sshd", 0) });
    }
}

impl Source for Log {
    fn since(&mut self, after: u64, limit: u32, _wait: Duration) -> Result<Part, SourceError> {
        let mut log = self.0.lock().unwrap();
        log.n_asked += 1;
        if log.is_away {
            return Err("guard is away".into());
        }
        let new = log.bans.iter().filter(|ban| ban.number > after);
        let new: Vec<_> = new.take(limit as usize).cloned().collect();
        let last = new.last().map_or(after, |it| it.number);
        let reports = new.into_iter().map(|it| Report::of(it.ban)).collect();
        Ok(Part { log: log.name.clone(), last, reports })
    }

    fn reached(&mut self, log: &str, number: u64) -> Result<(), SourceError> {
        self.0.lock().unwrap().reached = (log.to_owned(), number);
        Ok(())
    }
}

fn following(bench: &Bench, log: &Log) -> Setup {
    let destination = bench.configured(EventChoice::Fixed(bench.event.clone()));
    Setup {
        source: Some(Box::new(log.clone())),
        destinations: vec![destination],
        ..daemon(bench.state())
    }
}

#[test]
fn it_follows_a_log_and_its_successor() {
    let bench = Bench::new();
    let log = Log::default();
    log.0.lock().unwrap().name = "first".into();
    log.ban("45.33.32.1");
    log.ban("45.33.32.2");
    beside(following(&bench, &log), || {
        wait_for("the first bans", || bench.server.values().len() == 2);
        log.ban("45.33.32.3");
        wait_for("the next", || bench.server.values().len() == 3);
        wait_for("the place", || log.0.lock().unwrap().reached == ("first".into(), 3));
    });
    // A restart goes on where it was; nothing is asked of MISP for what was taken care of.
    let n_calls = bench.server.n_calls("attributes/add");
    beside(following(&bench, &log), || {
        let asked = log.0.lock().unwrap().n_asked;
        wait_for("the follower", || log.0.lock().unwrap().n_asked > asked);
    });
    assert_eq!(bench.server.n_calls("attributes/add"), n_calls);
    // guard.db was made anew: its numbers begin again.
    *log.0.lock().unwrap() = LogState { name: "second".into(), ..LogState::default() };
    log.ban("45.33.32.4");
    beside(following(&bench, &log), || {
        wait_for("the new log's ban", || bench.server.values().len() == 4);
        assert_eq!(bench.server.n_sightings(), 0);
    });
}

#[test]
fn a_guard_that_is_away_comes_back() {
    let bench = Bench::new();
    let log = Log::default();
    log.0.lock().unwrap().is_away = true;
    log.ban("45.33.32.1");
    beside(following(&bench, &log), || {
        wait_for("a try", || log.0.lock().unwrap().n_asked > 0);
        log.0.lock().unwrap().is_away = false;
        wait_for("the ban", || bench.server.values().len() == 1);
    });
}

#[test]
fn it_says_how_it_is() {
    let bench = Bench::new();
    let to = bench.to();
    let socket = bench.state().join("control.sock");
    let setup = Setup { socket: Some(socket.clone()), ..daemon(bench.state()) };
    bench.server.state().troubles = vec![Trouble::Denied; 10_000];
    beside(setup, || {
        bench.report(&reports(&to, 3));
        wait_for("the socket", || ExchangeClient::connect(&socket).is_ok());
        let mut client = ExchangeClient::connect(&socket).unwrap();
        client.ping().unwrap();
        wait_for("the trouble", || {
            let status = client.status().unwrap();
            status.destinations.iter().any(|it| it.depth == 3 && it.last_error.is_some())
        });
        let status = client.status().unwrap();
        let destination = &status.destinations[0];
        assert_eq!(destination.url, bench.server.url());
        let error = destination.last_error.as_deref().unwrap();
        assert!(error.contains("the key is not accepted"), "{error}");
        assert!(destination.oldest.is_some() && destination.next_try.is_some());
        let outbox = client.outbox(2).unwrap();
        assert_eq!(outbox.len(), 2);
        assert_eq!(outbox[0].subject.to_string(), address(0));
        bench.server.state().troubles.clear();
        wait_for("delivery", || {
            let destination = &client.status().unwrap().destinations[0];
            let is_well = destination.last_error.is_none() && destination.last_success.is_some();
            destination.depth == 0 && is_well
        });
    });
}

#[test]
fn a_pause_holds_everything_across_restarts() {
    let bench = Bench::new();
    let to = bench.to();
    let socket = bench.state().join("control.sock");
    let setup = || Setup { socket: Some(socket.clone()), ..daemon(bench.state()) };
    let connect = || {
        wait_for("the socket", || ExchangeClient::connect(&socket).is_ok());
        ExchangeClient::connect(&socket).unwrap()
    };
    beside(setup(), || {
        connect().pause().unwrap();
        bench.report(&reports(&to, 3));
        wait_for("the report", || connect().outbox(9).unwrap().len() == 3);
        assert!(connect().status().unwrap().is_paused);
    });
    assert_eq!(run(bench::setup(bench.state()), &Stop::default()).unwrap(), Ended::Paused);
    assert!(bench.server.state().calls.is_empty());
    beside(setup(), || {
        let dropped = connect().outbox(1).unwrap()[0].id;
        assert_eq!(connect().drop_entries(Some(&[dropped, 999])).unwrap(), 1);
        connect().resume().unwrap();
        wait_for("the attributes", || bench.server.values() == [address(1), address(2)]);
    });
}

#[test]
fn what_was_set_aside_is_tried_again_when_asked() {
    let bench = Bench::new();
    let socket = bench.state().join("control.sock");
    let mut destination = bench.configured(EventChoice::Fixed(bench.event.clone()));
    destination.comment = "{jail}".into();
    let setup = Setup {
        socket: Some(socket.clone()),
        destinations: vec![destination],
        ..daemon(bench.state())
    };
    bench.server.state().poison = Some("sshd".into());
    beside(setup, || {
        bench.report(&reports(&bench.to(), 1));
        wait_for("the socket", || ExchangeClient::connect(&socket).is_ok());
        let mut client = ExchangeClient::connect(&socket).unwrap();
        let n_set_aside = |client: &mut ExchangeClient| {
            client.status().unwrap().destinations.iter().map(|it| it.n_set_aside).sum::<u64>()
        };
        wait_for("the dead letter", || n_set_aside(&mut client) == 1);
        bench.server.state().poison = None;
        assert_eq!(client.retry(None).unwrap(), 1);
        wait_for("the attribute", || bench.server.values().len() == 1);
        assert_eq!(n_set_aside(&mut client), 0);
    });
}

#[test]
fn a_second_one_is_refused() {
    let bench = Bench::new();
    let socket = bench.state().join("control.sock");
    let setup = Setup { socket: Some(socket.clone()), ..daemon(bench.state()) };
    beside(setup, || {
        wait_for("the first", || ExchangeClient::connect(&socket).is_ok());
        let error = run(daemon(bench.state()), &Stop::default()).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(error.contains(&format!("(process {pid})")), "{error}");
        assert!(error.contains("another exchange runs"), "{error}");
        // A delivery in the background leaves it to the daemon.
        let ended = run(bench::setup(bench.state()), &Stop::default()).unwrap();
        assert_eq!(ended, Ended::HandedOver);
    });
}

#[test]
fn a_delivery_in_the_background_hands_over() {
    let bench = Bench::new();
    bench.server.state().troubles = vec![Trouble::Broken; 100_000];
    bench.report(&reports(&bench.to(), 3));
    thread::scope(|scope| {
        let background = scope.spawn(|| run(bench::setup(bench.state()), &Stop::default()));
        wait_for("the delivery", || {
            !bench.server.state().calls.is_empty() || {
                bench.server.state().troubles.len() < 100_000
            }
        });
        beside(daemon(bench.state()), || {
            assert_eq!(background.join().unwrap().unwrap(), Ended::HandedOver);
            bench.server.state().troubles.clear();
            wait_for("the daemon's delivery", || bench.server.values().len() == 3);
        });
    });
}

#[test]
fn of_many_in_the_background_one_delivers_all() {
    let bench = Bench::new();
    let to = bench.to();
    thread::scope(|scope| {
        for n in 0..50 {
            let (state, to) = (bench.state(), &to);
            scope.spawn(move || {
                spool::put(state, &[report(to, &address(n), 0)]).unwrap();
                let ended = run(bench::setup(state), &Stop::default()).unwrap();
                assert!(matches!(ended, Ended::Empty | Ended::HandedOver), "{ended:?}");
            });
        }
    });
    // Whoever ended last has looked at the spool after it let the lock go.
    assert_eq!(bench.server.values().len(), 50);
    assert_eq!(bench.server.n_sightings(), 0);
}

#[test]
fn a_hanging_server_does_not_hold_up_another() {
    let bench = Bench::new();
    // It takes connections and never answers.
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hanging.local_addr().unwrap());
    let stuck = Destination::new("stuck", &url, EventChoice::Daily, bench.key_file());
    let works = bench.configured(EventChoice::Fixed(bench.event.clone()));
    let setup = Setup { destinations: vec![stuck, works], ..daemon(bench.state()) };
    let began = std::time::Instant::now();
    beside(setup, || {
        let mut all = reports(&bench.to(), 1);
        all[0].to = None;
        bench.report(&all);
        wait_for("the other's attribute", || bench.server.values().len() == 1);
    });
    // And a stop does not wait for it either.
    assert!(began.elapsed() < PATIENCE / 2);
}
