//! What a search finds beside attributes and events, what it leaves out, and in which formats it
//! answers.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use serde_json::{Value, json};
use support::Running;

/// Adds an event that holds `attributes`, and gives its number.
fn event(hub: &Running, attributes: &Value) -> String {
    let body = json!({"info": "bans of web-1", "Attribute": attributes});
    let added = hub.post("/events/add", &body);
    added["Event"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn objects_are_found_by_template_event_and_parts() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let first = event(&hub, &json!([]));
    let second = event(&hub, &json!([]));
    let offender = |event: &str, address: &str| {
        let part = |relation: &str, kind: &str, value: &str| json!({"object_relation": relation, "type": kind, "value": value});
        let body = json!({
            "name": "fail2ban", "meta-category": "network", "template_version": "6",
            "template_uuid": "32f7ded6-e774-4401-81b0-79634e82f589",
            "Attribute": [
                part("banned-ip", "ip-src", address),
                part("attack-type", "text", "sshd"),
                part("processing-timestamp", "datetime", "2026-11-22T05:00:00+00:00"),
            ],
        });
        let added = hub.post(&format!("/objects/add/{event}"), &body);
        added["Object"]["id"].as_str().unwrap().to_owned()
    };
    let objects = [offender(&first, "192.0.2.1"), offender(&first, "192.0.2.2")];
    let other = offender(&second, "192.0.2.1");
    let other_kind = json!({
        "name": "ip-port", "meta-category": "network", "template_version": "10",
        "template_uuid": "9f8cea74-16fe-4968-a2b4-026676949ac6", "description": "a peer",
        "Attribute": [{"object_relation": "ip-src", "type": "ip-src", "value": "192.0.2.1"}],
    });
    hub.post(&format!("/objects/add/{second}"), &other_kind);

    #[track_caller]
    fn check(hub: &Running, filter: &Value, want: &[&String]) {
        let reply = hub.call("POST", "/objects/restSearch", filter);
        assert_eq!(reply.status, 200, "{filter}: {}", reply.text());
        let reply = reply.json();
        let found = reply["response"].as_array().unwrap().iter();
        let found: Vec<_> = found.map(|it| it["Object"]["id"].as_str().unwrap()).collect();
        assert_eq!(found, want, "{filter}");
    }
    let [one, two] = &objects;
    let fail2ban = "32f7ded6-e774-4401-81b0-79634e82f589";
    check(&hub, &json!({"object_name": "fail2ban"}), &[one, two, &other]);
    check(&hub, &json!({"object_template_uuid": fail2ban, "eventid": first}), &[one, two]);
    check(&hub, &json!({"object_name": "fail2ban", "value": "192.0.2.1"}), &[one, &other]);
    check(&hub, &json!({"object_name": "fail2ban", "limit": 1, "page": 2}), &[two]);
    check(&hub, &json!({"object_name": ["!ip-port"], "eventid": second}), &[&other]);
    check(&hub, &json!({"object_template_version": 7}), &[]);
    hub.post(&format!("/objects/delete/{two}"), &json!({}));
    check(&hub, &json!({"object_name": "fail2ban", "eventid": first}), &[one]);
    check(&hub, &json!({"object_name": "fail2ban", "deleted": "only"}), &[two]);

    let page = json!({"object_name": "fail2ban", "limit": 1});
    let reply = hub.call("POST", "/objects/restSearch", &page);
    assert_eq!(reply.header("x-result-count"), Some("2"), "one more than the limit: more follows");
    let found = &reply.json()["response"][0]["Object"];
    assert_eq!(found["Event"]["info"], "bans of web-1");
    assert_eq!(found["Attribute"][0]["object_relation"], "banned-ip");
    assert_eq!(found["Attribute"][0]["AttributeTag"], json!([]));
    // A slip of the pen fetches no everything, and a format of attributes no objects.
    let refused = |body: Value| hub.call("POST", "/objects/restSearch", &body).status;
    assert_eq!(refused(json!({"objekt_name": "fail2ban"})), 405);
    assert_eq!(refused(json!({"object_name": "fail2ban", "returnFormat": "csv"})), 404);
}

#[test]
fn what_a_warninglist_names_is_left_out_of_a_search() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let list = json!({"name": "resolvers", "type": "cidr", "list": ["192.0.2.0/30"]});
    hub.post("/warninglists/add", &list);
    let attributes: Value = (1..=6)
        .map(|n| json!({"type": "ip-src", "value": format!("192.0.2.{n}"), "to_ids": true}))
        .collect();
    let id = event(&hub, &attributes);
    hub.post(&format!("/events/publish/{id}"), &json!({}));
    let search = |more: Value| {
        let mut body = json!({"eventid": id, "returnFormat": "text", "enforceWarninglist": 1});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        hub.call("POST", "/attributes/restSearch", &body)
    };
    let counts = |reply: &support::Reply| {
        let header = |name| reply.header(name).unwrap().to_owned();
        (header("x-result-count"), header("x-skipped-elements-count"))
    };
    let as_told = |found: &str, left_out: &str| (found.to_owned(), left_out.to_owned());
    let all = search(json!({}));
    assert_eq!(all.text(), "192.0.2.4\n192.0.2.5\n192.0.2.6\n");
    assert_eq!(counts(&all), as_told("6", "3"));
    // A page is cut first, and comes out short.
    let page = search(json!({"limit": 4}));
    assert_eq!((page.text(), counts(&page)), ("192.0.2.4\n".to_owned(), as_told("5", "3")));
    assert_eq!(search(json!({"returnFormat": "count"})).text(), "3");
    let found = search(json!({"returnFormat": "json"})).json();
    assert_eq!(found["response"]["Attribute"].as_array().unwrap().len(), 3);
    assert_eq!(search(json!({"enforceWarninglist": 0})).text().lines().count(), 6);

    let events = hub.post("/events/restSearch", &json!({"eventid": id, "enforceWarninglist": 1}));
    let whole = &events["response"][0]["Event"];
    assert_eq!(whole["Attribute"].as_array().unwrap().len(), 3, "{whole}");
}

#[test]
fn what_detects_is_told_in_its_own_language() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let attribute = |kind: &str, value: &str, to_ids: bool| json!({"type": kind, "value": value, "to_ids": to_ids});
    let id = event(
        &hub,
        &json!([
            attribute("ip-src", "192.0.2.1", true),
            attribute("ip-dst", "2001:db8:5::1", true),
            attribute("ip-src|port", "192.0.2.4|22", true),
            attribute("domain", "bad.example", true),
            attribute("ip-src", "192.0.2.9", false), // nobody means it for detection
        ]),
    );
    let search = |format: &str| {
        let body = json!({"eventid": id, "returnFormat": format});
        let reply = hub.call("POST", "/attributes/restSearch", &body);
        let (_, lines) = reply.text().split_once("NS localhost.\n").map_or_else(
            || (String::new(), reply.text()),
            |(head, lines)| (head.to_owned(), lines.to_owned()),
        );
        (reply.header("x-export-module-used").unwrap().to_owned(), lines)
    };
    assert_eq!(search("rpz").1, "", "it is not published");
    hub.post(&format!("/events/publish/{id}"), &json!({}));
    let (module, rules) = search("suricata");
    let ways: Vec<_> = rules.lines().map(|it| it.split_once(" (").unwrap().0).collect();
    let want = [
        "alert ip 192.0.2.1 any -> $HOME_NET any",
        "alert ip $HOME_NET any -> 2001:db8:5::1 any",
        "alert ip 192.0.2.4 22 -> $HOME_NET any",
    ];
    assert_eq!((&*module, &*ways), ("suricata", &want[..]));
    assert_eq!(search("snort"), ("snort".to_owned(), rules));
    assert_eq!(search("hosts"), ("hosts".to_owned(), "0.0.0.0 bad.example\n".to_owned()));
    let zone = "32.1.2.0.192.rpz-ip CNAME .\n128.1.zz.5.db8.2001.rpz-ip CNAME .\n\
                bad.example CNAME .\n*.bad.example CNAME .\n";
    assert_eq!(search("rpz"), ("rpz".to_owned(), zone.to_owned()));
}
