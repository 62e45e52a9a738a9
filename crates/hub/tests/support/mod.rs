//! A hub on a free port of loopback, and a client that sends just what it is told to.

#![allow(dead_code, reason = "each test uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

pub(crate) mod page;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;

use hub::keys::Role;
use hub::{Hub, HubError, Settings, StopHandle};
use serde_json::Value;

/// A hub that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) admin: String,
    pub(crate) reader: String,
    pub(crate) curator: String,
    pub(crate) sensor: String,
    stop: StopHandle,
    thread: Option<JoinHandle<Result<(), HubError>>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}

impl Running {
    /// Starts a hub in `data`, which may hold what an earlier one left.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(Settings::new(data))
    }

    /// Starts a hub on a free port.
    pub(crate) fn start_with(settings: Settings) -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let hub = Hub::open(Settings { listen, ..settings }).unwrap();
        let key = |name, role| hub.keys().add(name, role).unwrap().1.reveal().to_owned();
        let (reader, curator) = (key("reader", Role::Reader), key("curator", Role::Curator));
        let sensor = key("sensor", Role::Sensor);
        let (address, admin) = (hub.address(), hub.admin_key().unwrap().reveal().to_owned());
        let stop = StopHandle::new();
        let told = stop.clone();
        let thread = Some(std::thread::spawn(move || hub.run(&told)));
        Self { address, admin, reader, curator, sensor, stop, thread }
    }

    /// Sends one request on a connection of its own.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        ask(self.address, method, path, headers, body).unwrap()
    }

    /// A request with JSON and a key, as a client of MISP sends it.
    pub(crate) fn call_as(&self, key: &str, method: &str, path: &str, body: &Value) -> Reply {
        let headers = [
            ("Authorization", key),
            ("Accept", "application/json"),
            ("Content-Type", "application/json"),
        ];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, &headers, body.as_bytes())
    }

    /// The same as the administrator.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.call_as(&self.admin, method, path, body)
    }

    /// Posts, and expects 200.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let reply = self.call("POST", path, body);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    /// The addresses that firewalls are told of, each by itself.
    pub(crate) fn list(&self) -> String {
        let headers = [("Authorization", &*self.reader)];
        self.send("GET", "/lists/ipv4.txt?merge=0", &headers, b"").text()
    }

    /// Stops, and waits until it has.
    pub(crate) fn stop(mut self) {
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends one request on a connection of its own; an error when no whole answer comes.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(address)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    stream.write_all(&[head.as_bytes(), b"\r\n", body].concat())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parsed(&bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn parsed(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|it| it.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let body = bytes[end + 4..].to_vec();
    if status == 100 {
        return parsed(&body);
    }
    Some(Reply { status, headers, body })
}

/// A body without the lengths between its pieces.
pub(crate) fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|it| it == b"\r\n").expect("a length");
        let length = std::str::from_utf8(&body[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + length]);
        body = &body[end + 2 + length + 2..];
    }
}
