//! What a real MISP 2.5.1 answered, and what the client makes of it.
//!
//! Every exchange of every tape is served back. What comes of it is a table, tape → outcome, in
//! `tests/outcomes/`: `INSTA_UPDATE=always` writes it anew, and whoever does so reads each row.

#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

mod replay;

use std::time::Duration;

use misp::wire::{Attribute, Event, Object, Sighting, SightingKind};
use misp::{AttributeChange, Call, Client, Misconfigured, MispError, Options, Outage, Refusal};
use replay::{Exchange, answer, play, serve, tape};
use secrecy::SecretString;
use serde_json::Value;
use uuid::Uuid;

const KEY: &str = "a-key-of-forty-characters-0123456789abcd";

/// What an answer to an add says of each item is shortened past this many.
const MAX_MARKS: usize = 12;

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

/// Makes the call whose answer was recorded, and tells what came of it.
fn outcome(client: &Client, recorded: &Exchange) -> String {
    let made = match recorded.path.trim_matches('/').split('/').take(2).collect::<Vec<_>>()[..] {
        ["servers", "getVersion" | "getVersion.json"] => {
            client.version().map(|it| format!("version {}", it.version))
        }
        ["users", "view"] => client.me().map(|it| {
            format!("{:?} may add: {}", it.role.name, it.role.perm_add.unwrap_or_default())
        }),
        ["events", "add"] => {
            client.add_event(&Event::default()).map(|it| match it.and_then(|event| event.id) {
                Some(id) => format!("event {id}"),
                None => "there already".into(),
            })
        }
        ["events", "restSearch"] => client.event("2").map(|it| {
            let state = if it.published == Some(true) { "published" } else { "not published" };
            format!("event {}, {state}", it.id.unwrap_or_default())
        }),
        ["events", "publish"] => client.publish(recorded.argument()).map(|()| "published".into()),
        ["attributes", "add"] => add(client, recorded),
        ["attributes", "edit"] => client
            .edit_attribute(Uuid::nil(), &AttributeChange::default())
            .map(|()| "changed".into()),
        ["attributes", "restSearch"] => client
            .find_attributes("2", "ip-src", &["x"])
            .map(|found| format!("{} found", found.len())),
        ["objects", "add"] => {
            client.add_object("11", &Object::default()).map(|()| "object added".into())
        }
        ["sightings", "bulkSaveSightings"] => client
            .add_sightings(recorded.argument(), &[Sighting::default()])
            .map(|()| "sighted, now or before".into()),
        ["sightings", "add"] => {
            client.sight_values(&["x"], SightingKind::Seen).map(|is_known| match is_known {
                true => "sighted".into(),
                false => "not known".into(),
            })
        }
        ["sightings", "restSearch"] => {
            client.sightings_of(1).map(|found| format!("{} sightings", found.len()))
        }
        ["tags", "index"] => client.tags().map(|tags| format!("{} tags", tags.len())),
        ["tags", "add"] => {
            client.add_tag("x").map(|tag| format!("tag {}", tag.id.unwrap_or_default()))
        }
        ["warninglists", "index"] => {
            client.warninglists().map(|lists| format!("{} lists", lists.len()))
        }
        ["warninglists", "view"] => {
            client.warninglist(1).map(|list| format!("{} entries", list.entries.len()))
        }
        // No call of ours; its answer is judged as any other.
        _ => client.check(&other(recorded)).map(|()| "fine".into()),
    };
    made.unwrap_or_else(|error| {
        assert!(!format!("{error} {error:?}").contains(KEY));
        words(&error)
    })
}

fn other(recorded: &Exchange) -> Call {
    let body = (recorded.method != "GET").then(|| recorded.body.to_string());
    Call { name: "any", argument: String::new(), body }
}

/// What became of each item: `+` saved, `d` a duplicate, `u` a taken uuid, `w` on a warninglist,
/// `!` anything else.
fn add(client: &Client, recorded: &Exchange) -> Result<String, MispError> {
    // How many it was matters alone; a list of none is never sent.
    let n_items = match &recorded.body {
        Value::Array(items) => items.len().max(1),
        body => body["times"].as_u64().unwrap_or(1) as usize,
    };
    let items = vec![Attribute::default(); n_items];
    let items = client.add_attributes(recorded.argument(), &items)?;
    let mark = |item: &Result<(), Refusal>| match item {
        Ok(()) => '+',
        Err(Refusal::Duplicate) => 'd',
        Err(Refusal::UuidTaken) => 'u',
        Err(Refusal::Warninglist(_)) => 'w',
        Err(Refusal::Invalid(_)) => '!',
    };
    let more = if items.len() > MAX_MARKS { "…" } else { "" };
    Ok(items.iter().take(MAX_MARKS).map(mark).collect::<String>() + more)
}

/// The table of a tape: status, outcome, and what was asked.
fn check(name: &str) {
    let tape = tape(name);
    let client = client(&play(&tape));
    let mut table = String::new();
    for recorded in &tape {
        let outcome = outcome(&client, recorded);
        table += &format!("{} {outcome:32} {}\n", recorded.status, recorded.label);
    }
    insta::with_settings!({ snapshot_path => "outcomes", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, table);
    });
}

macro_rules! tapes {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            check($name);
        })*
    };
}

tapes! {
    identity: "01_identity",
    events: "02_events",
    one_attribute: "03a_attributes_add_one",
    many_attributes: "03b_attributes_add_batch",
    attributes_again: "03c_attributes_add_followup",
    attributes_with_their_uuids: "03d_attributes_upsert_paths",
    sightings: "04_sightings",
    sightings_found: "04b_sightings_restsearch_int_id",
    many_sightings: "04c_sightings_bulk_idempotent",
    edits_and_tags: "06_edit_delete_tag",
    warninglists: "07_warninglists",
    objects: "08_objects",
    errors: "10_errors",
    huge_batches: "10b_huge_batch",
    pymisp: "11_pymisp",
    rights_limits_races: "12_permissions_limits_races",
    settings_and_outages: "13_settings_and_outages",
    small_checks: "14_small_checks",
    publish_state: "15_publish_state",
}

/// MISP ignores a body without its type, and answers a redirect without `Accept`.
#[test]
fn every_call_says_what_it_sends_and_takes() {
    let json = [("Content-Type".to_owned(), "application/json".to_owned())];
    for call in [Call::version(), Call::publish("1")] {
        let (url, asked) = serve(answer("200", &json, "{}"));
        client(&url).check(&call).unwrap();
        let (head, _) = asked.join().unwrap();
        assert!(head.contains("\r\naccept: application/json\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nauthorization: {KEY}\r\n")), "{head}");
    }
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
