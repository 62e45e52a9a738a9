//! How much a hub takes and gives: `cargo bench -p hub`.
//!
//! The hub runs in a process of its own, on a disk, and is asked over loopback; client and hub
//! share the machine's cores. Beside each figure stands the processor's time that the hub spent on
//! it, which others on the machine do not stretch; of a search and a look it is that of one. Memory
//! is what the kernel says at the end of all that.

#![allow(clippy::unwrap_used, reason = "a benchmark may fail by panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hub::{Hub, Settings, StopHandle};
use serde_json::{Value, json};

/// Attributes in the store when it is asked.
const N_ATTRIBUTES: u32 = 1_000_000;
/// Attributes in a request, and requests for one event.
const BATCH: u32 = 1_000;
const BATCHES: u32 = 10;
/// Attributes that are added one by one, over so many connections.
const N_SINGLE: u32 = 20_000;
const SINGLE_CONNECTIONS: u32 = 64;
/// Attributes of a search.
const N_SEARCHED: u32 = 100_000;
/// Searches in each format.
const N_SEARCHES: u32 = 5;
/// Looks at the overview.
const N_LOOKS: u32 = 50;
/// Fetches of an unchanged list, over so many connections.
const N_FETCHES: u32 = 100_000;
const FETCH_CONNECTIONS: u32 = 16;

/// Says to this program where to serve from.
const DATA: &str = "HUB_BENCH_DATA";

fn main() {
    if let Some(data) = std::env::var_os(DATA) {
        let listen = "127.0.0.1:0".parse().unwrap();
        let hub = Hub::open(Settings { listen, ..Settings::new(data) }).unwrap();
        println!("{} {}", hub.address(), hub.first_key().unwrap().reveal());
        return hub.run(&StopHandle::new()).unwrap();
    }
    let data = tempfile::tempdir().unwrap();
    let hub = Served::start(data.path());
    batches(&hub);
    singles(&hub);
    searches(&hub);
    overview(&hub);
    memory(&hub, "memory, the most until then");
    unchanged(&hub);
    memory(&hub, "memory, once a list of all of them was made");
}

fn say(what: &str, figure: &str, spent: Duration) {
    println!("{what:<50} {figure:>12}, {:.2} ms of the hub", spent.as_secs_f64() * 1_000.0);
}

fn memory(hub: &Served, when: &str) {
    println!("{when:<50} {:>9} MB", hub.peak_bytes() / 1_000_000);
}

fn rate(n: u32, took: Duration) -> String {
    format!("{:.0}/s", f64::from(n) / took.as_secs_f64())
}

/// The address numbered `n`, outside of all networks that are left out of lists.
fn address(n: u32) -> String {
    std::net::Ipv4Addr::from_bits(0x2d00_0000 + n).to_string()
}

fn attribute(n: u32) -> Value {
    json!({"type": "ip-src", "value": address(n), "to_ids": true,
        "comment": "login attempt (via fail2ban)", "uuid": uuid::Uuid::new_v4()})
}

fn batches(hub: &Served) {
    let mut connection = hub.connect();
    let (mut took, begun) = (Duration::ZERO, hub.spent());
    for event in 0..N_ATTRIBUTES / BATCH / BATCHES {
        let path = hub.event(&mut connection, event);
        for batch in 0..BATCHES {
            let first = (event * BATCHES + batch) * BATCH;
            let body: Value = (first..first + BATCH).map(attribute).collect();
            let body = body.to_string();
            let start = Instant::now();
            assert_eq!(connection.ask("POST", &path, &body).0, 200);
            took += start.elapsed();
        }
    }
    let spent = hub.spent() - begun;
    say("attributes in batches of 1,000, into 1,000,000", &rate(N_ATTRIBUTES, took), spent);
    hub.settle();
    let followed = hub.spent() - begun - spent;
    println!("{:<50} {:>9.2} s of the hub", "the change stream after that", followed.as_secs_f64());
}

fn singles(hub: &Served) {
    let path = hub.event(&mut hub.connect(), u32::MAX);
    let next = AtomicU32::new(0);
    let (start, begun) = (Instant::now(), hub.spent());
    std::thread::scope(|scope| {
        for _ in 0..SINGLE_CONNECTIONS {
            scope.spawn(|| {
                let mut connection = hub.connect();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= N_SINGLE {
                        return;
                    }
                    let body = attribute(N_ATTRIBUTES + n).to_string();
                    assert_eq!(connection.ask("POST", &path, &body).0, 200);
                }
            });
        }
    });
    let figure = rate(N_SINGLE, start.elapsed());
    say("attributes one by one, over 64 connections", &figure, hub.spent() - begun);
    hub.settle();
}

fn searches(hub: &Served) {
    let mut connection = hub.connect();
    for format in ["json", "text", "csv"] {
        // A text is of what is published, unless the search says otherwise.
        let body = json!({"type": "ip-src", "returnFormat": format, "limit": N_SEARCHED,
            "page": 1, "published": [0, 1]});
        let (took, spent) = median(hub, N_SEARCHES, || {
            let (status, answer) =
                connection.ask("POST", "/attributes/restSearch", &body.to_string());
            assert!(status == 200 && answer.len() > 1_000_000, "{status}");
        });
        say(&format!("restSearch of 100,000 ip-src as {format}"), &milliseconds(took), spent);
    }
}

fn overview(hub: &Served) {
    let cookie = hub.log_in();
    let mut connection = hub.connect();
    connection.headers = format!("Accept: text/html\r\nCookie: {cookie}\r\n");
    let look = || assert_eq!(connection.ask("GET", "/", "").0, 200);
    let (took, spent) = median(hub, N_LOOKS, look);
    say("the page's overview", &milliseconds(took), spent);
}

fn unchanged(hub: &Served) {
    let mut connection = hub.connect();
    connection.ask("GET", "/lists/ipv4.txt", "");
    let tag = connection.etag.take().unwrap();
    let next = AtomicU32::new(0);
    let (start, begun) = (Instant::now(), hub.spent());
    std::thread::scope(|scope| {
        for _ in 0..FETCH_CONNECTIONS {
            scope.spawn(|| {
                let mut connection = hub.connect();
                connection.headers += &format!("If-None-Match: {tag}\r\n");
                while next.fetch_add(1, Ordering::Relaxed) < N_FETCHES {
                    assert_eq!(connection.ask("GET", "/lists/ipv4.txt", "").0, 304);
                }
            });
        }
    });
    let figure = rate(N_FETCHES, start.elapsed());
    say("304 for an unchanged list, over 16 connections", &figure, hub.spent() - begun);
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1_000.0)
}

/// The median of `n` times, and what the hub spent on one of them.
fn median(hub: &Served, n: u32, mut how: impl FnMut()) -> (Duration, Duration) {
    let begun = hub.spent();
    let mut times: Vec<Duration> = (0..n)
        .map(|_| {
            let start = Instant::now();
            how();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times[times.len() / 2], (hub.spent() - begun) / n)
}

/// A hub in a process of its own.
struct Served {
    child: Child,
    address: SocketAddr,
    key: String,
}

impl Served {
    fn start(data: &std::path::Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(DATA, data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let (address, key) = said.trim().split_once(' ').unwrap();
        Self { child, address: address.parse().unwrap(), key: key.to_owned() }
    }

    fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        let headers = format!(
            "Authorization: {}\r\nAccept: application/json\r\nContent-Type: application/json\r\n",
            self.key
        );
        Connection { reader: BufReader::new(stream), headers, etag: None, cookie: None }
    }

    /// Adds an event, and gives the path that adds attributes to it.
    fn event(&self, connection: &mut Connection, number: u32) -> String {
        let body = json!({"info": format!("bans {number}")}).to_string();
        let (_, answer) = connection.ask("POST", "/events/add", &body);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        format!("/attributes/add/{}", answer["Event"]["id"].as_str().unwrap())
    }

    fn log_in(&self) -> String {
        let mut connection = self.connect();
        connection.headers =
            "Accept: text/html\r\nContent-Type: application/x-www-form-urlencoded\r\n".to_owned();
        connection.ask("POST", "/users/login", &format!("key={}", self.key));
        connection.cookie.take().unwrap()
    }

    /// Waits until the change stream has told of all that came.
    fn settle(&self) {
        let mut before = self.spent();
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let now = self.spent();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// The processor's time that it has used, to a hundredth of a second.
    fn spent(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name before the last parenthesis may hold anything; see proc(5).
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2).map(|it| it.parse::<u64>().unwrap());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A connection that is kept.
struct Connection {
    reader: BufReader<TcpStream>,
    headers: String,
    /// What the last answer said of itself.
    etag: Option<String>,
    cookie: Option<String>,
}

impl Connection {
    /// Status and body of the answer.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
        let length = body.len();
        let head = &self.headers;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: hub\r\n{head}Content-Length: {length}\r\n\r\n{body}"
        );
        self.reader.get_mut().write_all(request.as_bytes()).unwrap();
        let status = self.line().split(' ').nth(1).unwrap().parse().unwrap();
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            match name {
                "content-length" => length = value.parse().unwrap(),
                "transfer-encoding" => is_chunked = true,
                "etag" => self.etag = Some(value.to_owned()),
                "set-cookie" => self.cookie = value.split(';').next().map(str::to_owned),
                _ => {}
            }
        }
        let mut answer = Vec::new();
        if !is_chunked {
            self.take(length, &mut answer);
            return (status, answer);
        }
        loop {
            let length = usize::from_str_radix(&self.line(), 16).unwrap();
            self.take(length, &mut answer);
            self.line();
            if length == 0 {
                return (status, answer);
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn take(&mut self, length: usize, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + length, 0);
        self.reader.read_exact(&mut into[start..]).unwrap();
    }
}
