//! What comes back: from a hub, from a MISP, and from whoever only says so.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod upstream;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use control::exchange::ExchangeClient;
use control::pulled::{BlockListQuestion, BlockListView, SourceStatus};
use exchange::destination::Transport;
use exchange::{BlockPolicy, Ended, Mode, Origin, Pull, Setup, Stop, run};
use ipnet::IpNet;
use lists::change::{Change, Withdrawal};
use lists::{Signer, net};
use serde_json::{Value, json};
use upstream::{StandInGuard, Upstream, entry, now};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// An exchange that pulls from one server until it is dropped.
struct Pulling {
    folder: tempfile::TempDir,
    guard: Option<StandInGuard>,
    stop: Stop,
    thread: Option<JoinHandle<Ended>>,
}

impl Pulling {
    fn start(from: &Upstream) -> Self {
        Self::with(from, BlockPolicy::default())
    }

    fn with(from: &Upstream, policy: BlockPolicy) -> Self {
        // Another test of this process has done so already.
        let _ = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Said).try_init();
        let folder = tempfile::tempdir().unwrap();
        let mut it = Self { folder, guard: None, stop: Stop::default(), thread: None };
        it.start_guard();
        it.run(from, policy);
        it
    }

    fn run(&mut self, from: &Upstream, policy: BlockPolicy) {
        let key_file = self.folder.path().join("key");
        fs::write(&key_file, "0123456789012345678901234567890123456789").unwrap();
        let origin = Origin {
            name: "main".to_owned(),
            url: from.url(),
            key_file,
            transport: Transport::default(),
            hub_key: None,
        };
        let every = Duration::from_millis(50);
        let pull = Pull {
            origins: vec![origin],
            every,
            policy,
            guard: self.guard_socket(),
            look_back: None,
        };
        let setup = Setup {
            socket: Some(self.folder.path().join("exchange.sock")),
            pull: Some(pull),
            ..Setup::new(self.folder.path().join("state"), Mode::Daemon)
        };
        self.stop = Stop::default();
        let stop = self.stop.clone();
        self.thread = Some(thread::spawn(move || run(setup, &stop).unwrap()));
    }

    fn end(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            assert_eq!(thread.join().unwrap(), Ended::Stopped);
        }
    }

    fn guard_socket(&self) -> PathBuf {
        self.folder.path().join("guard.sock")
    }

    /// Starts a guard that knows nothing.
    fn start_guard(&mut self) {
        self.guard = None;
        self.guard = Some(StandInGuard::start(&self.guard_socket()));
    }

    fn guard(&self) -> &StandInGuard {
        self.guard.as_ref().unwrap()
    }

    #[track_caller]
    fn await_list(&self, want: &[&str]) {
        self.wait("the list", || self.guard().list("main") == want);
    }

    #[track_caller]
    fn wait(&self, what: &str, is_there: impl FnMut() -> bool) {
        self.wait_within(PATIENCE, what, is_there);
    }

    #[track_caller]
    fn wait_within(&self, patience: Duration, what: &str, mut is_there: impl FnMut() -> bool) {
        let end = Instant::now() + patience;
        while !is_there() {
            if Instant::now() >= end {
                let list = self.guard().list("main");
                panic!("{what}: {} blocked: {:.200}; {}", list.len(), list.join(" "), said());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn ask(&self, question: BlockListQuestion) -> BlockListView {
        let mut client = None;
        self.wait("exchange", || {
            client = ExchangeClient::connect(&self.folder.path().join("exchange.sock")).ok();
            client.is_some()
        });
        client.unwrap().block_lists(question).unwrap()
    }

    fn status(&self) -> SourceStatus {
        match self.ask(BlockListQuestion::Sources) {
            BlockListView::Sources(mut sources) => sources.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Why `value` is not blocked.
    fn why_not(&self, value: &str) -> Vec<Option<String>> {
        match self.ask(BlockListQuestion::Why { net: net::read(value).unwrap() }) {
            BlockListView::Why(reasons) => reasons.into_iter().map(|it| it.why_not).collect(),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Pulling {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

fn list(value: &str) -> Change {
    Change::List(entry(value))
}

fn withdraw(value: &str) -> Change {
    Change::Withdraw { value: net::read(value).unwrap(), why: Withdrawal::FalsePositive }
}

/// All that this process has said.
static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Said;

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        SAID.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn said() -> String {
    String::from_utf8(SAID.lock().unwrap().clone()).unwrap()
}

#[test]
fn a_hubs_list_is_blocked_and_follows_it() {
    let hub = Upstream::hub();
    hub.say(vec![list("45.33.32.1"), list("45.33.33.0/24"), list("2606:4700::1")]);
    hub.say((2..=200).map(|n| list(&format!("45.33.34.{n}"))).collect());
    let mut pulling = Pulling::start(&hub);
    pulling.wait("the list as a whole", || pulling.guard().list("main").len() == 202);
    pulling.wait("the stream", || hub.n_followers() == 1);
    let n_whole = pulling.guard().n_whole();
    let told = Instant::now();
    hub.say(vec![list("45.33.35.1"), withdraw("45.33.32.1")]);
    pulling.wait("the change", || {
        let list = pulling.guard().list("main");
        list.contains(&"45.33.35.1".to_owned()) && !list.contains(&"45.33.32.1".to_owned())
    });
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
    assert_eq!(pulling.guard().n_whole(), n_whole, "guard is told of the change alone");
    assert_eq!(pulling.why_not("45.33.33.7"), [None]); // by the prefix around it
    // Guard comes back and knows nothing.
    pulling.start_guard();
    hub.say(vec![list("45.33.35.3")]);
    pulling.wait("the list again", || pulling.guard().list("main").len() == 203);
    // Exchange comes back, and goes on where it was.
    pulling.end();
    hub.say(vec![list("45.33.35.2")]);
    pulling.run(&hub, BlockPolicy::default());
    pulling.wait("what was missed", || pulling.guard().list("main").len() == 204);
}

#[test]
fn a_list_stays_while_its_hub_is_away() {
    let hub = Upstream::hub();
    hub.say(vec![list("45.33.32.1")]);
    let pulling = Pulling::start(&hub);
    pulling.await_list(&["45.33.32.1"]);
    hub.state().is_portal = true;
    hub.forget();
    pulling.wait("the trouble", || pulling.status().last_error.is_some());
    assert_eq!(pulling.guard().list("main"), ["45.33.32.1"]);
    hub.state().is_portal = false;
    hub.say(vec![list("45.33.32.2")]);
    pulling.await_list(&["45.33.32.1", "45.33.32.2"]);
    pulling.wait("its end", || pulling.status().last_error.is_none());
}

#[test]
fn hostile_upstreams_reach_nobody_and_are_told_of_once() {
    let hub = Upstream::hub();
    hub.say(vec![list("45.33.32.1")]);
    let own: IpNet = "81.2.69.142/32".parse().unwrap();
    let policy = BlockPolicy {
        never: [own].into_iter().collect(),
        max_entries: 5_000,
        max_added: 4_000,
        ..BlockPolicy::default()
    };
    let pulling = Pulling::with(&hub, policy);
    pulling.await_list(&["45.33.32.1"]);
    let once = |word: &str| {
        pulling.wait(word, || said().contains(word));
        assert_eq!(said().matches(word).count(), 1, "{}", said());
    };

    // All of the internet, the host's own address, private ones: known, and not blocked.
    let odd = ["0.0.0.0/0", "::/0", "45.32.0.0/15", "81.2.69.142", "81.2.0.0/16", "10.0.0.1"];
    hub.say(odd.iter().map(|it| list(it)).collect());
    hub.say(vec![list("45.33.32.2")]);
    pulling.await_list(&["45.33.32.1", "45.33.32.2"]);
    for value in odd {
        assert!(pulling.why_not(value).iter().all(Option::is_some), "{value}");
    }

    // A record of somebody else's.
    let mut place = hub.state().place;
    let thief = Signer::from_seed(&[66; 32]);
    hub.send(&place.append(vec![list("45.33.32.66")], &thief, now(), now() + 600));
    once("is not signed by the pinned key");

    // A page in its place.
    hub.state().is_portal = true;
    hub.forget();
    once("the answer is no list (text/html)");
    hub.state().is_portal = false;
    pulling.wait("the stream", || hub.n_followers() == 1);

    // More than anybody can want.
    let honest = hub.state().entries.clone();
    hub.state().entries = (0..10_001_u32)
        .map(|n| entry(&std::net::Ipv4Addr::from(0x2d21_0000 + n).to_string()))
        .collect();
    hub.forget();
    once("more than 10000 entries");
    assert_eq!(pulling.guard().list("main"), ["45.33.32.1", "45.33.32.2"]);

    // As many as may be, and yet too many at once: they wait.
    hub.state().entries.truncate(4_500);
    hub.forget();
    once("the list stays as it is until `fail2misp blocklist accept`");
    assert_eq!(pulling.guard().list("main"), ["45.33.32.1", "45.33.32.2"]);
    hub.state().entries = honest;
    hub.forget();
    pulling.wait("the stream", || hub.n_followers() == 1);
    assert_eq!(pulling.guard().list("main"), ["45.33.32.1", "45.33.32.2"]);
}

/// How many entries the endless list has: `PULL_TEST_ENTRIES=10000000 cargo test --release -p exchange
/// --test pulled endless` sends ten million to a host that takes a million.
const N_ENDLESS: &str = "PULL_TEST_ENTRIES";

#[test]
fn of_an_endless_list_nothing_is_taken() {
    let n: u32 = std::env::var(N_ENDLESS).map_or(20_000, |it| it.parse().unwrap());
    let hub = Upstream::hub();
    hub.say(vec![list("45.33.32.1")]);
    let max_entries = n as usize / 10;
    let pulling = Pulling::with(&hub, BlockPolicy { max_entries, ..BlockPolicy::default() });
    pulling.await_list(&["45.33.32.1"]);
    hub.state().n_endless = n;
    hub.forget();
    let patience = PATIENCE * (1 + n / 50_000);
    let too_long = format!("more than {} entries", n / 5);
    pulling.wait_within(patience, "the refusal", || said().contains(&too_long));
    assert_eq!(pulling.guard().list("main"), ["45.33.32.1"]);
    assert!(pulling.status().last_error.unwrap().contains(&too_long));
    // What came of it is in nobody's way.
    hub.state().n_endless = 0;
    hub.say(vec![list("45.33.32.2")]);
    pulling.wait_within(patience, "the list", || pulling.guard().list("main").len() == 2);
    assert_eq!(said().matches(&too_long).count(), 1, "{}", said());
}

fn numbered(n: u32) -> String {
    std::net::Ipv4Addr::from(0x2d21_2000 + n).to_string()
}

#[test]
fn a_list_that_loses_most_of_itself_waits_for_somebody() {
    let hub = Upstream::hub();
    hub.say((0..900).map(|n| list(&numbered(n))).collect());
    hub.say((900..1_800).map(|n| list(&numbered(n))).collect());
    hub.say((1_800..2_500).map(|n| list(&numbered(n))).collect());
    let pulling = Pulling::start(&hub);
    let n_blocked = || pulling.guard().list("main").len();
    pulling.wait("the list", || n_blocked() == 2_500);
    hub.state().entries.truncate(250);
    hub.forget();
    pulling.wait("the brake", || pulling.status().waiting.is_some());
    assert_eq!(n_blocked(), 2_500);
    pulling.wait("the stream", || hub.n_followers() == 1);
    // It still lets go of whom a curator calls a false positive, and lets nobody in.
    hub.say(vec![withdraw(&numbered(7)), list("45.33.99.1")]);
    pulling.wait("the false positive", || n_blocked() == 2_499);
    let BlockListView::Differences(all) = pulling.ask(BlockListQuestion::Diff { limit: 5 }) else {
        panic!("no differences")
    };
    assert_eq!((all[0].n_added, all[0].n_removed, all[0].removed.len()), (1, 2_250, 5));
    pulling.ask(BlockListQuestion::Accept);
    pulling.wait("what was accepted", || n_blocked() == 250);
    assert_eq!(pulling.status().waiting, None);
    assert_eq!(said().matches("fewer in a list of").count(), 1, "{}", said());
    // And back.
    pulling.ask(BlockListQuestion::Rollback);
    pulling.wait("what was rolled back", || n_blocked() > 2_000 || n_blocked() == 0);
    assert!(pulling.status().waiting.is_some());
    pulling.ask(BlockListQuestion::Accept);
    pulling.wait("what was accepted again", || n_blocked() == 250);
}

fn attribute(n: u32, value: &str) -> Value {
    json!({
        "uuid": format!("00000000-0000-4000-8000-{n:012}"), "type": "ip-src", "value": value,
        "to_ids": true, "timestamp": now().to_string(), "deleted": false,
        "Tag": [{"name": "tlp:green"}], "Event": {"orgc_id": "7"},
    })
}

/// Changes an attribute of a MISP, as an analyst does.
fn edit(misp: &Upstream, place: usize, field: &str, to: bool) {
    let attribute = &mut misp.state().attributes[place];
    attribute[field] = json!(to);
    attribute["timestamp"] = json!(now().to_string());
}

fn sighting(value: &str, kind: &str, who: &str) -> Value {
    json!({"Sighting": {
        "value": value, "type": kind, "date_sighting": now().to_string(),
        "Organisation": {"name": who},
    }})
}

#[test]
fn a_misp_is_pulled_page_by_page_and_judged_here() {
    let misp = Upstream::misp();
    let mut quiet = attribute(3, "45.33.32.3");
    quiet["to_ids"] = json!(false);
    misp.state().attributes =
        vec![attribute(1, "45.33.32.1"), attribute(2, "45.33.32.2|22"), quiet];
    let policy = BlockPolicy { trusted: vec!["CERT".to_owned()], ..BlockPolicy::default() };
    let pulling = Pulling::with(&misp, policy);
    pulling.await_list(&["45.33.32.1", "45.33.32.2"]);
    assert!(pulling.why_not("45.33.32.3")[0].as_ref().unwrap().contains("to_ids"));
    // An analyst takes one away, and another one back.
    edit(&misp, 0, "deleted", true);
    edit(&misp, 2, "to_ids", true);
    pulling.await_list(&["45.33.32.2", "45.33.32.3"]);
    // One organisation's word is a vote; that of a trusted one withdraws.
    misp.state().sightings = vec![sighting("45.33.32.2", "1", "ORG")];
    misp.state().attributes.push(attribute(4, "45.33.32.4"));
    pulling.await_list(&["45.33.32.2", "45.33.32.3", "45.33.32.4"]);
    misp.state().sightings.push(sighting("45.33.32.2", "1", "CERT"));
    pulling.await_list(&["45.33.32.3", "45.33.32.4"]);
    assert!(pulling.why_not("45.33.32.2")[0].as_ref().unwrap().contains("CERT"));
    assert!(misp.state().searches.len() > 3);
}

/// Attributes that MISP has so many of that a pull takes three pages.
const MANY: u32 = 10_001;
/// Attributes in a page of ours.
const PAGE: usize = 5_000;

#[test]
fn many_pages_are_read_to_the_last_though_some_are_short() {
    let misp = Upstream::misp();
    let hour_ago = (now() - 3_600).to_string();
    misp.state().attributes = (0..MANY)
        .map(|n| {
            let mut old = attribute(n, &numbered(n));
            old["timestamp"] = json!(hour_ago);
            old
        })
        .collect();
    let left_out = misp.state().attributes[PAGE]["value"].as_str().unwrap().to_owned();
    misp.state().left_out = Some(left_out.leak());
    let pulling = Pulling::start(&misp);
    pulling.wait("all but one", || pulling.guard().list("main").len() == MANY as usize - 1);
    let first = pulling.guard().n_whole();
    assert_eq!(misp.state().searches[..3], [(0, 1), (0, 2), (0, 3)]);
    // From then on changes alone are asked for, from a little before the last time.
    misp.state().attributes.push(attribute(MANY, "45.99.0.1"));
    edit(&misp, 0, "deleted", true);
    pulling.wait("the change", || {
        let list = pulling.guard().list("main");
        list.contains(&"45.99.0.1".to_owned()) && !list.contains(&numbered(0))
    });
    let (since, page) = *misp.state().searches.last().unwrap();
    assert!(page == 1 && (now() - 300..now() - 60).contains(&since), "{since} {page}");
    assert_eq!(pulling.guard().n_whole(), first, "guard is told of the change alone");
}

#[test]
fn what_a_misp_deleted_for_good_goes_when_all_is_compared() {
    let misp = Upstream::misp();
    misp.state().attributes = vec![attribute(1, "45.33.32.1"), attribute(2, "45.33.32.2")];
    let mut pulling = Pulling::start(&misp);
    pulling.await_list(&["45.33.32.1", "45.33.32.2"]);
    misp.state().attributes.remove(0);
    misp.state().attributes.push(attribute(3, "45.33.32.3"));
    pulling.await_list(&["45.33.32.1", "45.33.32.2", "45.33.32.3"]); // it left no trace
    pulling.end();
    let database = pulling.folder.path().join("state/exchange/exchange.db");
    let seven_hours_ago = now() - 7 * 3_600;
    let db = rusqlite::Connection::open(database).unwrap();
    db.execute("UPDATE pull_source SET reconciled = ?1", [seven_hours_ago]).unwrap();
    drop(db);
    pulling.run(&misp, BlockPolicy::default());
    pulling.await_list(&["45.33.32.2", "45.33.32.3"]);
}

#[test]
fn organisations_are_known_by_their_names() {
    let misp = Upstream::misp();
    let of = |n: u32, organisation: &str| {
        let mut it = attribute(n, &numbered(n));
        it["Event"]["orgc_id"] = json!(organisation);
        it
    };
    misp.state().organisations = [(7, "CIRCL"), (8, "CERT")].into();
    misp.state().attributes = vec![of(1, "7"), of(2, "8"), of(3, "9"), of(4, "10"), of(5, "7")];
    let organisations = vec!["CIRCL".to_owned(), "9".to_owned()];
    let pulling = Pulling::with(&misp, BlockPolicy { organisations, ..BlockPolicy::default() });
    // The one without a name goes by its number.
    pulling.await_list(&[&numbered(1), &numbered(3), &numbered(5)]);
    assert!(pulling.why_not(&numbered(2))[0].as_ref().unwrap().contains("`CERT`"));
    assert_eq!(misp.state().n_names, 4, "each is asked for once");
}

#[test]
fn a_misps_warninglists_keep_from_being_blocked() {
    let misp = Upstream::misp();
    misp.state().warninglists = vec![
        ("List of known IPv4 public DNS resolvers", vec!["45.33.32.1"]),
        ("List of known Stretchoid scanning addresses", vec!["45.33.32.2"]),
        ("List of known Amazon AWS IP address ranges", vec!["45.33.32.0/24"]),
    ];
    misp.state().attributes = (1..=3).map(|n| attribute(n, &format!("45.33.32.{n}"))).collect();
    let mut pulling = Pulling::start(&misp);
    // Whoever rents a machine in a cloud may well be an attacker.
    pulling.await_list(&["45.33.32.3"]);
    let why = pulling.why_not("45.33.32.1");
    assert!(why[0].as_ref().unwrap().contains("public DNS resolvers"), "{why:?}");
    // They hold while MISP is away.
    pulling.end();
    misp.state().is_portal = true;
    pulling.run(&misp, BlockPolicy::default());
    pulling.wait("the trouble", || pulling.status().last_error.is_some());
    assert_eq!(pulling.why_not("45.33.32.1"), why);
}
