//! A server that says one thing to whoever asks, and remembers what was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use serde_json::Value;

/// One request and its answer, as they were recorded.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) answer: Vec<u8>,
}

/// The exchange of a tape that bears this label.
#[track_caller]
pub(crate) fn tape(name: &str, label: &str) -> Exchange {
    let path = format!("{}/tests/tapes/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let tape: Vec<Value> = serde_json::from_str(&text).unwrap();
    let found = tape.into_iter().find(|it| it["label"] == label);
    let found = found.unwrap_or_else(|| panic!("`{name}` holds no `{label}`"));
    let response = &found["response"];
    let headers: Vec<(String, String)> =
        serde_json::from_value(response["headers"].clone()).unwrap();
    let body = match &response["body"] {
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    Exchange {
        path: found["request"]["path"].as_str().unwrap().to_owned(),
        body: found["request"]["body"].clone(),
        answer: answer(&response["status"].to_string(), &headers, &body),
    }
}

/// An answer in bytes.
pub(crate) fn answer(status: &str, headers: &[(String, String)], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// Says `answer` once; the thread returns the head of the request and its body.
pub(crate) fn serve(answer: Vec<u8>) -> (String, JoinHandle<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let asked = read(&stream);
        // A client that has gone away has seen enough.
        let _ = stream.write_all(&answer);
        asked
    });
    (url, asked)
}

fn read(stream: &TcpStream) -> (String, Vec<u8>) {
    let mut from = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        from.read_line(&mut head).unwrap();
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    from.read_exact(&mut body).unwrap();
    (head, body)
}
