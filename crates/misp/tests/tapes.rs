//! What a real MISP 2.5.1 answered, and what the client makes of it: a table of tape → outcome.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod replay;

use std::time::Duration;

use misp::wire::{Attribute, Event, Sighting, SightingKind};
use misp::{Client, Misconfigured, MispError, Options, Outage, Refusal};
use replay::{answer, serve, tape};
use secrecy::SecretString;
use serde_json::Value;

const KEY: &str = "a-key-of-forty-characters-0123456789abcd";

fn client(url: &str) -> Client {
    let options = Options { timeout: Duration::from_secs(5), ..Options::default() };
    Client::new(url, &SecretString::from(KEY), &options).unwrap()
}

/// A failure in a few words: who must act, and on what.
fn words(error: &MispError) -> String {
    let name = |debug: String| debug.split(['(', ' ']).next().unwrap_or_default().to_owned();
    match error {
        MispError::Misconfigured { why, .. } => {
            format!("misconfigured {}", name(format!("{why:?}")))
        }
        MispError::Refused { why, .. } => format!("refused {}", name(format!("{why:?}"))),
        MispError::Later { why, .. } => format!("later {}", name(format!("{why:?}"))),
    }
}

/// Makes the call of a tape against its recorded answer.
#[track_caller]
fn play<T>(
    name: &str,
    label: &str,
    call: impl FnOnce(&Client, &Value, &str) -> Result<T, MispError>,
) -> Result<T, String> {
    let tape = tape(name, label);
    let argument = tape.path.trim_start_matches('/').splitn(3, '/').nth(2).unwrap_or("").to_owned();
    let (url, asked) = serve(tape.answer);
    let outcome = call(&client(&url), &tape.body, &argument);
    let (head, _) = asked.join().unwrap();
    assert!(head.contains("\r\naccept: application/json\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nauthorization: {KEY}\r\n")), "{head}");
    outcome.map_err(|error| {
        assert!(!format!("{error} {error:?}").contains(KEY));
        words(&error)
    })
}

#[track_caller]
fn version(name: &str, label: &str, want: Result<&str, &str>) {
    let found = play(name, label, |client, _, _| client.version());
    let found = found.as_ref().map(|it| it.version.as_str());
    assert_eq!(found.map_err(String::as_str), want, "{label}");
}

#[test]
fn who_we_are() {
    version("01_identity", "getVersion, good key", Ok("2.5.1"));
    version("01_identity", "users/view/me, bad key (40 chars)", Err("misconfigured Key"));
    version(
        "01_identity",
        "users/view/me, missing key, no Accept header",
        Err("misconfigured Redirected"),
    );
    version("10_errors", "disabled user's key", Err("misconfigured Key"));
    version("10_errors", "unknown action without key", Err("misconfigured Key"));
    version("10_errors", "unknown controller", Err("misconfigured NoSuchCall"));
    version("10_errors", "Accept text/html", Err("misconfigured Redirected"));
    version(
        "13_settings_and_outages",
        "MISP.live = false: plain user, getVersion",
        Err("misconfigured Redirected"),
    );
    let me = play("01_identity", "users/view/me, good key", |client, _, _| client.me()).unwrap();
    assert_eq!((me.user.email.as_str(), me.role.perm_add), ("admin@admin.test", Some(true)));
    let me = play("01_identity", "users/view/me, read-only user", |client, _, _| client.me());
    let role = me.unwrap().role;
    assert_eq!((role.perm_add, role.perm_sighting), (Some(false), Some(false)));
}

#[test]
fn events() {
    let add = |label: &str| {
        let event = Event { info: "x".into(), ..Event::default() };
        let made = play("02_events", label, |client, _, _| client.add_event(&event));
        made.map(|made| made.and_then(|event| event.id))
    };
    assert_eq!(add("add event wrapped in {Event:{}}, with uuid"), Ok(Some(3)));
    assert_eq!(add("add event, same uuid again"), Ok(None)); // a 404 that is none
    assert_eq!(add("add event with no info"), Err("refused Invalid".into()));
    assert_eq!(add("add event, read-only user"), Err("misconfigured NoRight".into()));
    assert_eq!(
        add("add an event again whose uuid was deleted (blocklist)"),
        Err("misconfigured EventBlocked".into())
    );

    let find = |name: &str, label: &str| {
        let found = play(name, label, |client, _, _| client.event("2"));
        found.map(|event| (event.id, event.published))
    };
    let found = find("02_events", "restSearch by eventinfo (exact)");
    assert_eq!(found, Ok((Some(2), Some(false))));
    let found = find("02_events", "restSearch by eventinfo, no match");
    assert_eq!(found, Err("misconfigured NoEvent".into()));
    let found = find("02_events", "view missing event");
    assert_eq!(found, Err("misconfigured NoEvent".into()));
    let found = find("15_publish_state", "published after: attributes/add new");
    assert_eq!(found, Ok((Some(1), Some(false)))); // the add took it away
    let found = find("12_permissions_limits_races", "restSearch as a rate limited user, call 4");
    assert_eq!(found, Err("later RateLimited".into()));

    let publish = |label: &str| play("02_events", label, |client, _, it| client.publish(it));
    assert_eq!(publish("publish an event again"), Ok(()));
    assert_eq!(
        publish("publish as plain user (no perm_publish)"),
        Err("misconfigured NoRight".into())
    );
}

/// What became of each item: `+` saved, `d` a duplicate, `u` a taken uuid, `w` on a warninglist,
/// `!` anything else.
#[track_caller]
fn add(name: &str, label: &str, want: Result<&str, &str>) {
    let found = play(name, label, |client, body, event| {
        let items: Vec<Attribute> = match body {
            Value::Array(items) => {
                items.iter().map(|it| serde_json::from_value(it.clone()).unwrap()).collect()
            }
            // What was recorded of some requests is only their beginning.
            one => vec![serde_json::from_value(one.clone()).unwrap_or_default()],
        };
        client.add_attributes(event, &items)
    });
    let marks = found.map(|items| {
        let mark = |item: &Result<(), Refusal>| match item {
            Ok(()) => '+',
            Err(Refusal::Duplicate) => 'd',
            Err(Refusal::UuidTaken) => 'u',
            Err(Refusal::Warninglist(_)) => 'w',
            Err(Refusal::Invalid(_)) => '!',
        };
        items.iter().map(mark).collect::<String>()
    });
    assert_eq!(marks.as_deref().map_err(String::as_str), want, "{label}");
}

#[test]
fn one_attribute() {
    const TAPE: &str = "03a_attributes_add_one";
    add(TAPE, "ip-src v4 with category", Ok("+"));
    add(TAPE, "invalid IP", Ok("!"));
    add(TAPE, "DUPLICATE value in the same event", Ok("d"));
    add(TAPE, "with the same uuid again (other value)", Ok("u"));
    add(TAPE, "with distribution 4 without sharing group", Err("misconfigured Denied"));
    add(TAPE, "event does not exist", Err("misconfigured NoEvent"));
    add(TAPE, "read-only role", Err("misconfigured NoRight"));
    add(TAPE, "no Content-Type header with JSON body", Ok("!"));
    add("03c_attributes_add_followup", "add the uuid of a soft-deleted one", Ok("u"));
    add("15_publish_state", "attributes/add duplicate (403)", Ok("d"));
    const RIGHTS: &str = "12_permissions_limits_races";
    add(RIGHTS, "other org: attributes/add on the shared event", Err("misconfigured NoRight"));
    add(RIGHTS, "other org: attributes/add on the private event", Err("misconfigured NoEvent"));
    const OUTAGES: &str = "13_settings_and_outages";
    add(OUTAGES, "MISP.live = false: plain user, attributes/add", Err("misconfigured Redirected"));
    add(OUTAGES, "MariaDB down: attributes/add", Err("later Broken"));
    add("10_errors", "malformed JSON on attributes/add", Err("misconfigured NoSuchCall"));
    add("10_errors", "POST with Content-Type json and no Accept", Err("misconfigured Redirected"));
    add("10_errors", "comment of 70,000", Err("later Broken"));
    add("10_errors", "emoji in comment", Err("later Broken"));
    add("07_warninglists", "attributes/add with enforceWarninglist:1 in the path", Ok("w"));
}

#[test]
fn many_attributes() {
    const TAPE: &str = "03b_attributes_add_batch";
    add(TAPE, "list of 5 new", Ok("+++++"));
    add(TAPE, "list of 5, all duplicates", Ok("ddddd")); // 403
    add(
        TAPE,
        "list: 2 new + 1 duplicate in event + 1 invalid + 1 duplicate inside the list",
        Ok("+d!+d"),
    );
    add(TAPE, "the same list again with breakOnDuplicate=0", Ok("+d")); // an object, not a list
    add(TAPE, "list of one", Ok("+"));
    add(TAPE, "list of one duplicate", Ok("d")); // errors without an index
    add(TAPE, "list of one invalid", Ok("!"));
    add(
        "07_warninglists",
        "attributes/add batch with listed value and enforceWarninglist in body",
        Ok("w+"),
    );
    const AGAIN: &str = "attributes/add 3 again with own uuid (retry after a lost answer)";
    add("03d_attributes_upsert_paths", AGAIN, Ok("dd+"));
}

#[test]
fn found_attributes() {
    let found = play("03c_attributes_add_followup", "restSearch for the value", |client, _, _| {
        client.find_attributes("2", "ip-src", &["203.0.113.150"])
    });
    let values: Vec<_> = found.unwrap().into_iter().map(|it| (it.id, it.value)).collect();
    assert_eq!(values[0], (Some(59), "203.0.113.150".to_owned()));
}

#[test]
fn sightings() {
    let bulk = |label: &str| {
        play("04c_sightings_bulk_idempotent", label, |client, body, event| {
            let list = body.get("Sighting").unwrap_or(body).clone();
            let list: Vec<Sighting> = serde_json::from_value(list).unwrap();
            client.add_sightings(event, &list)
        })
    };
    assert_eq!(bulk("4 sightings, plain user"), Ok(()));
    assert_eq!(bulk("the same again (idempotent)"), Ok(()));
    assert_eq!(bulk("one new + one old, event uuid in the path, wrapped {Sighting}"), Ok(()));
    assert_eq!(bulk("unknown attribute uuid"), Ok(()));
    assert_eq!(bulk("missing event"), Err("misconfigured NoEvent".into()));
    assert_eq!(bulk("read-only role"), Err("misconfigured NoRight".into()));

    let by_value = |name: &str, label: &str| {
        play(name, label, |client, _, _| client.sight_values(&["x"], SightingKind::Seen))
    };
    assert_eq!(by_value("04_sightings", "{values:[one]}"), Ok(true));
    assert_eq!(by_value("04_sightings", "{values:[several]} known"), Ok(true));
    assert_eq!(by_value("04_sightings", "{values:[known, unknown]}"), Ok(true));
    assert_eq!(by_value("04_sightings", "{values: all unknown}"), Ok(false)); // 200 all the same
    assert_eq!(by_value("04_sightings", "source longer than 255"), Err("later Broken".into()));
    // A description of the call, because something turned our POST into a GET.
    assert_eq!(by_value("10_errors", "GET sightings/add"), Err("later Unaccounted".into()));
}

/// What no MISP says, but networks do.
#[test]
fn broken_answers() {
    let json = [("Content-Type".to_owned(), "application/json; charset=UTF-8".to_owned())];
    let html = [("Content-Type".to_owned(), "text/html".to_owned())];
    let after = [("Retry-After".to_owned(), "7".to_owned())];
    let version = r#"{"version":"2.5.1"}"#;
    let mut cut = answer("200", &json, version);
    cut.truncate(cut.len() - 5);
    let half = answer("200", &json, &version[..10]);
    let check = |answer: Vec<u8>, want: &str| {
        let (url, asked) = serve(answer);
        let error = client(&url).version().unwrap_err();
        drop(asked.join());
        assert_eq!(words(&error), want, "{error}");
        error
    };
    check(cut, "later CutShort");
    check(half, "later CutShort");
    check(b"HTTP/1.1 200 OK\r\nContent-".to_vec(), "later CutShort");
    check(Vec::new(), "later CutShort");
    check(answer("200", &html, "<html>please log in</html>"), "later NotMisp");
    check(answer("404", &html, "<html>nginx</html>"), "later NotMisp");
    check(answer("502", &html, "<html>bad gateway</html>"), "later Broken");
    check(answer("413", &html, "<html>too large</html>"), "later TooLarge");
    check(answer("200", &json, "[]"), "later Unaccounted");
    let limited = check(answer("429", &after, ""), "later RateLimited");
    let MispError::Later { why: Outage::RateLimited { retry_after }, .. } = limited else {
        panic!("{limited:?}")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[test]
fn nobody_there() {
    let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = client(&format!("http://{addr}")).version().unwrap_err();
    assert_eq!(words(&error), "later Unreachable");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn nobody_answers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let options = Options { timeout: Duration::from_millis(50), ..Options::default() };
    let client = Client::new(&url, &SecretString::from(KEY), &options).unwrap();
    assert_eq!(words(&client.version().unwrap_err()), "later TimedOut");
}

#[test]
fn what_cannot_be_called() {
    let setup = |url: &str, key: &str| {
        let made = Client::new(url, &SecretString::from(key), &Options::default());
        words(&made.unwrap_err())
    };
    assert_eq!(setup("misp.example", KEY), "misconfigured Url");
    assert_eq!(setup("ftp://misp.example", KEY), "misconfigured Url");
    assert_eq!(setup("https://user:word@misp.example", KEY), "misconfigured Url");
    assert_eq!(setup("https://misp.example", "a\nkey"), "misconfigured KeyText");
    let error = Misconfigured::Url("x".into()).to_string();
    assert_eq!(error, "`x` is no address of a server; give it as https://HOST");
    let secret = Client::new("https://u:word@h", &SecretString::from(KEY), &Options::default());
    assert!(!secret.unwrap_err().to_string().contains("word"));
    assert!(!format!("{:?}", client("https://misp.example")).contains(KEY));
}
