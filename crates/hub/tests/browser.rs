//! The page in a real browser: headless Chromium, driven as WebDriver says.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "browser/driver.rs"]
mod driver;
mod support;

use driver::Browser;
use serde_json::json;
use support::Running;

/// What an attacker leaves in comments, user agents and names of jails.
const HOSTILE: &str = "\"'><script>window.broken=1</script><img src=x onerror='window.broken=2'>";

/// Where pictures of the page go, when somebody wants new ones for the documents.
const PICTURES: &str = "HUB_TEST_PICTURES";

/// Offenders and a month of sightings, of addresses that documents may name.
fn hub_with_offenders(hub: &Running) {
    let event = hub.post("/events/add", &json!({"info": "web-1: offenders of the day"}));
    let path = format!("/attributes/add/{}", event["Event"]["id"].as_str().unwrap());
    let now = jiff::Timestamp::now().as_second();
    for n in 1..=40 {
        let value = match n {
            1..=25 => format!("198.51.100.{n}"),
            26..=35 => format!("203.0.113.{n}"),
            _ => format!("2001:db8:{n:x}::1"),
        };
        let comment = if n == 7 { HOSTILE } else { "login attempt (via fail2ban)" };
        let report = json!({"type": "ip-src", "value": value, "comment": comment, "to_ids": true});
        hub.post(&path, &report);
        let hosts = [(&hub.admin, "web-1/sshd"), (&hub.curator, "mail/postfix")];
        for (key, source) in hosts.into_iter().take(1 + n % 2) {
            for days_ago in (0..n / 4).map(|it| it * 3) {
                let sighting = json!({"value": value, "source": source,
                    "timestamp": now - i64::try_from(days_ago).unwrap() * 86_400});
                assert_eq!(hub.call_as(key, "POST", "/sightings/add", &sighting).status, 200);
            }
        }
    }
    let source = format!("web-1/{HOSTILE}");
    hub.post("/sightings/add", &json!({"value": "198.51.100.7", "source": source}));
}

fn picture(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os(PICTURES) {
        std::fs::write(std::path::Path::new(&folder).join(name), browser.picture()).unwrap();
    }
}

/// Nothing of an attacker's text became markup, and nothing ran.
#[track_caller]
fn assert_harmless(browser: &Browser) {
    let look = "return [document.querySelectorAll('script, img, iframe').length, !!window.broken]";
    assert_eq!(browser.script(look), json!([0, false]));
}

/// As wide as the window, no wider.
#[track_caller]
fn assert_fits(browser: &Browser) {
    let look = "return document.documentElement.scrollWidth <= window.innerWidth";
    assert_eq!(browser.script(look), json!(true), "{}", browser.address());
}

#[test]
fn an_administrator_looks_searches_withdraws_and_keeps_keys() {
    let Some(browser) = Browser::start() else { return };
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    hub_with_offenders(&hub);
    let url = format!("http://{}", hub.address);

    // Logged in by keyboard alone; a wrong key is told.
    browser.go(&format!("{url}/"));
    assert!(browser.address().ends_with("/users/login"));
    browser.enter("#key", "not a key");
    assert!(browser.text("[role=alert]").contains("not a key"));
    browser.enter("#key", &hub.admin);
    assert_eq!(browser.address(), format!("{url}/"));

    // The overview counts, draws and ranks.
    assert_eq!(browser.text(".totals strong"), "40");
    assert_eq!(browser.count(".chart svg g"), 30);
    assert!(browser.text(".place").contains("198.51.100.0/24"));
    assert_harmless(&browser);
    picture(&browser, "overview.png");
    browser.darken();
    picture(&browser, "overview-dark.png");
    browser.resize(390, 844);
    assert_fits(&browser);
    picture(&browser, "overview-phone.png");
    browser.resize(1280, 900);

    // A search finds; a page for the address tells all that is known.
    browser.enter("input[name=value]", "198.51.100.7");
    assert_eq!(browser.count(".value"), 1);
    browser.click(".value a");
    assert_eq!(browser.text("h1"), "198.51.100.7");
    assert_eq!(browser.text(".state"), "on the lists");
    assert!(browser.source().contains("window.broken"), "the attacker's text is shown as text");
    assert_harmless(&browser);
    picture(&browser, "address.png");

    // Called a false positive, it leaves the lists.
    assert!(hub.list().contains("198.51.100.7\n"), "{}", hub.list());
    browser.click("summary");
    browser.click("details[open] button");
    assert_eq!(browser.text(".state"), "withdrawn as a false positive");
    assert!(!hub.list().contains("198.51.100.7\n"));

    // Allowed, with a reason, an address is on no list, until that is revoked.
    browser.go(&format!("{url}/values?value=198.51.100.8"));
    browser.click("details:last-of-type summary");
    browser.enter("details[open] #reason", "our monitoring");
    assert_eq!(browser.address(), format!("{url}/allowed"));
    assert!(browser.text("tbody tr").contains("our monitoring"));
    assert!(!hub.list().contains("198.51.100.8\n"));
    browser.go(&format!("{url}/values?value=198.51.100.8"));
    assert_eq!(browser.text(".state"), "allowed: no list names it");
    browser.go(&format!("{url}/allowed"));
    browser.click("tbody tr summary");
    browser.click("details[open] button");
    assert!(browser.text(".empty").contains("Nothing is allowed"));
    assert!(hub.list().contains("198.51.100.8\n"));

    // A key is made, works, is revoked, and works no more.
    browser.go(&format!("{url}/keys"));
    browser.enter("#name", "mail-1");
    let key = browser.text("#key");
    assert_eq!(hub.call_as(&key, "GET", "/users/view/me", &json!(null)).status, 200);
    browser.go(&format!("{url}/keys"));
    assert!(!browser.source().contains(&key), "a key is shown once");
    picture(&browser, "keys.png");
    browser.click("tbody tr:last-child summary");
    browser.click("details[open] button");
    assert!(browser.text("tbody tr:last-child").contains("revoked"));
    assert_eq!(hub.call_as(&key, "GET", "/users/view/me", &json!(null)).status, 403);

    // The live feed looks anew by itself.
    browser.go(&format!("{url}/live"));
    assert_harmless(&browser);
    let event = hub.post("/events/add", &json!({"info": "mail-1"}));
    let path = format!("/attributes/add/{}", event["Event"]["id"].as_str().unwrap());
    hub.post(&path, &json!({"type": "ip-src", "value": "192.0.2.99"}));
    browser.wait_until(|it| it.text("td.value") == "192.0.2.99");

    browser.click(".leave button");
    browser.go(&format!("{url}/"));
    assert!(browser.address().ends_with("/users/login"));
}
