//! The audit log: who changed what, by the API and at the page; and no secret in it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::json;
use support::{Running, page};

/// A log that is kept in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn changes_are_noted_with_who_made_them() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path());
    let body = json!({"info": "bans", "Attribute": [{"type": "ip-src", "value": "192.0.2.7"}]});
    assert_eq!(hub.call_as(&hub.sensor, "POST", "/events/add", &body).status, 200);
    hub.call_as(&hub.reader, "GET", "/events/view/1", &json!(null));
    let (admin, reader) = (page::cookie(&hub, &hub.admin), page::cookie(&hub, &hub.reader));
    let token = page::token(&page::look(&hub, "/allowed", &admin));
    let form = format!("net=192.0.2.7&reason=ours%0Akey%3D9&token={token}");
    assert_eq!(page::submit(&hub, "/allowed/add", &admin, &form).status, 303);
    assert_eq!(page::submit(&hub, "/allowed/add", &reader, &form).status, 403);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> =
        log.lines().filter(|it| it.ends_with("asked") || it.contains(" asked ")).collect();
    let [added, allowed, refused] = &lines[..] else { panic!("{log}") };
    assert!(added.contains("who=\"sensor\"") && added.contains("\"/events/add\""), "{added}");
    assert!(allowed.contains("who=\"admin\"") && allowed.contains("status=303"), "{allowed}");
    assert!(allowed.contains("192.0.2.7") && allowed.contains(r"ours\nkey=9"), "{allowed}");
    assert!(refused.contains("who=\"reader\"") && refused.contains("status=403"), "{refused}");
    for secret in [&token, &hub.admin, &hub.reader, &hub.sensor] {
        assert!(!log.contains(secret.as_str()), "{log}");
    }
}
