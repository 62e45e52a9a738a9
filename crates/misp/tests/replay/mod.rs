//! A server that says what was recorded, to whoever asks, and remembers what was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use serde::Deserialize;
use serde_json::Value;

/// One request and its answer, as they were recorded.
#[derive(Debug, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) label: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    answer: Value,
}

impl Exchange {
    /// What stands in the path behind the call: `7` in `/attributes/add/7`.
    pub(crate) fn argument(&self) -> &str {
        self.path.trim_start_matches('/').splitn(3, '/').nth(2).unwrap_or("")
    }

    /// The answer in bytes. Of very long ones one item was recorded and how often it came, or only
    /// the beginning, and then the connection is cut.
    fn bytes(&self) -> Vec<u8> {
        let status = self.status.to_string();
        match &self.answer {
            Value::String(text) => answer(&status, &self.headers, text),
            Value::Object(fields) if fields.contains_key("times") => {
                let n = fields["times"].as_u64().unwrap() as usize;
                let items = serde_json::json!({"Attribute": vec![&fields["Attribute"]; n]});
                answer(&status, &self.headers, &items.to_string())
            }
            Value::Object(fields) if fields.contains_key("beginning") => {
                let beginning = fields["beginning"].as_str().unwrap();
                let mut whole = answer(&status, &self.headers, &beginning.repeat(2));
                whole.truncate(whole.len() - beginning.len());
                whole
            }
            body => answer(&status, &self.headers, &body.to_string()),
        }
    }
}

/// All that a tape holds, in its order.
pub(crate) fn tape(name: &str) -> Vec<Exchange> {
    let path = format!("{}/tests/tapes/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An answer in bytes.
pub(crate) fn answer(status: &str, headers: &[(String, String)], body: &str) -> Vec<u8> {
    let mut text =
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// Says the answers of a tape, one to each who asks, in their order.
pub(crate) fn play(tape: &[Exchange]) -> String {
    let answers: Vec<_> = tape.iter().map(Exchange::bytes).collect();
    serve_all(answers).0
}

/// Says `answer` once; the thread returns the head of the request and its body.
pub(crate) fn serve(answer: Vec<u8>) -> (String, JoinHandle<(String, Vec<u8>)>) {
    serve_all(vec![answer])
}

/// Says one answer to each who asks; the thread returns the last request.
fn serve_all(answers: Vec<Vec<u8>>) -> (String, JoinHandle<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let mut last = (String::new(), Vec::new());
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            last = read(&stream);
            // A client that has gone away has seen enough.
            let _ = stream.write_all(&answer);
        }
        last
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
