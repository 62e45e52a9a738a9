//! Warninglists: given by an administrator, asked about as MISP's are.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use serde_json::{Value, json};
use support::Running;

const RESOLVERS: &str = "List of known IPv4 public DNS resolvers";

fn hub_with_lists(data: &std::path::Path) -> Running {
    let hub = Running::start(data);
    // As MISP's repository of warninglists writes them.
    let resolvers = json!({"name": RESOLVERS, "type": "cidr", "version": 20240615,
        "description": "Public resolvers", "list": ["8.8.8.8", "1.1.1.0/24", "2001:4860::/32"],
        "matching_attributes": ["ip-src", "ip-dst"]});
    let added = hub.post("/warninglists/add", &resolvers);
    assert_eq!(added["Warninglist"]["version"], "20240615");
    // As MISP's form sends them.
    let names = json!({"Warninglist": {"name": "own names", "type": "hostname", "enabled": 0,
        "description": "", "version": 1, "entries": "example.org # ours\r\n.example.net"}});
    hub.post("/warninglists/add", &names);
    hub
}

#[test]
fn values_are_checked_against_the_enabled_lists() {
    let data = tempfile::tempdir().unwrap();
    let hub = hub_with_lists(data.path());
    let check = |body: Value| hub.post("/warninglists/checkValue", &body);
    let hit = |matched: &str| json!([{"id": "1", "name": RESOLVERS, "matched": matched}]);
    assert_eq!(check(json!("8.8.8.8")), json!({"8.8.8.8": hit("8.8.8.8/32")}));
    let several = check(json!(["1.1.1.77", "198.51.100.1", "2001:4860:4860::8888"]));
    let want =
        json!({"1.1.1.77": hit("1.1.1.0/24"), "2001:4860:4860::8888": hit("2001:4860::/32")});
    assert_eq!(several, want);
    assert_eq!(check(json!(["198.51.100.1", "1.1.0.0/16"])), json!([]));

    assert_eq!(check(json!("mail.example.org")), json!([]), "that list is not enabled");
    let toggle = |body: Value| hub.post("/warninglists/toggleEnable", &body);
    let enabled = toggle(json!({"name": ["%NAMES"], "enabled": 1}));
    assert_eq!(enabled, json!({"saved": true, "success": "1 warninglist(s) enabled"}));
    assert_eq!(check(json!("mail.example.org"))["mail.example.org"][0]["matched"], "example.org");
    assert_eq!(check(json!("example.net"))["example.net"][0]["matched"], "example.net");
    assert_eq!(check(json!("notexample.org")), json!([]));
    let unknown = toggle(json!({"name": "nonsense", "enabled": 1}));
    assert_eq!(unknown, json!({"saved": false, "errors": "Warninglist not found."}));
}

#[test]
fn lists_are_found_seen_and_removed() {
    let data = tempfile::tempdir().unwrap();
    let hub = hub_with_lists(data.path());
    let index = hub.call("GET", "/warninglists/index/value:ipv4", &json!(null)).json();
    let [found] = &index["Warninglists"].as_array().unwrap()[..] else { panic!("{index}") };
    assert_eq!(found["Warninglist"]["warninglist_entry_count"], "3");
    assert_eq!(found["Warninglist"]["valid_attributes"], "ip-src, ip-dst");
    let enabled = hub.post("/warninglists/index", &json!({"enabled": 1}));
    assert_eq!(enabled["Warninglists"].as_array().unwrap().len(), 1);
    let one = hub.call("GET", "/warninglists/view/1", &json!(null)).json();
    assert_eq!(one["Warninglist"]["WarninglistEntry"][0]["value"], "8.8.8.8/32");
    hub.post("/warninglists/delete/1", &json!({}));
    assert_eq!(hub.call("GET", "/warninglists/view/1", &json!(null)).status, 404);
    assert_eq!(hub.post("/warninglists/checkValue", &json!("8.8.8.8")), json!([]));
}

#[test]
fn a_listed_value_is_refused_where_that_is_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let hub = hub_with_lists(data.path());
    let event = hub.post("/events/add", &json!({"info": "bans"}));
    let path = format!("/attributes/add/{}", event["Event"]["id"].as_str().unwrap());
    let add = |path: &str, body: Value| hub.call("POST", path, &body);
    let listed = json!({"type": "ip-src", "value": "8.8.8.8"});
    let refused = add(&format!("{path}/enforceWarninglist:1"), listed.clone());
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("trips over a warninglist"), "{}", refused.text());
    let wary = |value: &str| json!({"type": "ip-src", "value": value, "enforceWarninglist": true});
    let both = add(&path, json!([wary("1.1.1.1"), wary("198.51.100.200")])).json();
    assert_eq!(both["Attribute"].as_array().unwrap().len(), 1);
    assert!(both["errors"]["attribute_0"].to_string().contains("trips over a warninglist"));
    assert_eq!(add(&path, listed).status, 200, "without it, a value is stored whatever it is");
}

#[test]
fn only_who_may_change_all_gives_lists_and_only_such_as_are_compared() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let list = |kind: &str, entries: Value| json!({"name": "x", "type": kind, "list": entries});
    let add = |key: &str, body: &Value| hub.call_as(key, "POST", "/warninglists/add", body);
    let good = list("cidr", json!(["192.0.2.0/24"]));
    assert_eq!(add(&hub.sensor, &good).status, 403);
    assert_eq!(add(&hub.curator, &good).status, 200);
    let regex = add(&hub.admin, &list("regex", json!([".*"])));
    assert!(regex.status == 403 && regex.text().contains("cidr, string and hostname"));
    let bad = add(&hub.admin, &list("cidr", json!(["192.0.2.0/24", "evil.example"])));
    assert!(bad.status == 403 && bad.text().contains("`evil.example` is no address"));
}
