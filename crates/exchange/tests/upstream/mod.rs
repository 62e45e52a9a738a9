//! A server to pull from, honest or not, and a guard to bring lists to.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use control::block_list::{BlockListAnswer, BlockListOutcome, BlockListRequest, BlockListStatus};
use control::guard::{GuardAnswer, GuardRequest};
use control::{Accounts, Refusal, Server};
use ipnet::IpNet;
use jiff::Timestamp;
use lists::chain::{Entries, Place};
use lists::change::{Change, Entry, Signed};
use lists::{Signer, net};
use serde_json::{Value, json};

pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

pub(crate) fn entry(value: &str) -> Entry {
    Entry {
        value: net::read(value).unwrap(),
        kind: "ip-src".to_owned(),
        first: now() - 60,
        last: now() - 60,
        sightings: 1,
        hosts: 1,
        tags: vec!["tlp:green".to_owned()],
    }
}

/// A server whose answers a test chooses.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    /// Answers everything with a page of a captive portal.
    pub(crate) is_portal: bool,
    /// A hub, else a MISP.
    pub(crate) is_hub: bool,
    pub(crate) signer: Signer,
    pub(crate) place: Place,
    pub(crate) entries: Vec<Entry>,
    records: Vec<(u64, String)>,
    followers: Vec<Sender<String>>,
    /// What the MISP holds.
    pub(crate) attributes: Vec<Value>,
    pub(crate) sightings: Vec<Value>,
    /// The names of its organisations.
    pub(crate) organisations: BTreeMap<u64, &'static str>,
    /// Its warninglists, by their names.
    pub(crate) warninglists: Vec<(&'static str, Vec<&'static str>)>,
    /// What it was asked: since when, and for which page.
    pub(crate) searches: Vec<(i64, u64)>,
    /// How often it was asked for a name.
    pub(crate) n_names: usize,
    /// Leaves this value out of its pages, as MISP does with what a warninglist names: such a page
    /// is short, and more may follow.
    pub(crate) left_out: Option<&'static str>,
    /// Instead of its list, a hub sends so many entries, and no end.
    pub(crate) n_endless: u32,
    /// What its last page says of how much it found.
    n_found: usize,
}

impl Upstream {
    pub(crate) fn hub() -> Self {
        Self::start(true)
    }

    pub(crate) fn misp() -> Self {
        Self::start(false)
    }

    fn start(is_hub: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            is_portal: false,
            is_hub,
            signer: Signer::from_seed(&[1; 32]),
            place: Place::default(),
            entries: Vec::new(),
            records: Vec::new(),
            followers: Vec::new(),
            attributes: Vec::new(),
            sightings: Vec::new(),
            organisations: BTreeMap::new(),
            warninglists: Vec::new(),
            searches: Vec::new(),
            n_names: 0,
            left_out: None,
            n_endless: 0,
            n_found: 0,
        }));
        let it = Self { address, state };
        let server = it.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                thread::spawn(move || server.answer(stream));
            }
        });
        it
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Says what changed, to all who follow.
    pub(crate) fn say(&self, changes: Vec<Change>) {
        let mut state = self.state();
        for change in &changes {
            match change {
                Change::List(entry) => state.entries.push(entry.clone()),
                Change::Withdraw { value, .. } => state.entries.retain(|it| it.value != *value),
                Change::Key { .. } => {}
            }
        }
        let State { place, signer, .. } = &mut *state;
        let line = place.append(changes, signer, now(), now() + 600).line();
        let sequence = place.sequence;
        state.records.push((sequence, line.clone()));
        state.followers.retain(|it| it.send(line.clone()).is_ok());
    }

    /// Sends a line to all who follow, whatever it is.
    pub(crate) fn send(&self, signed: &Signed) {
        let line = signed.line();
        self.state().followers.retain(|it| it.send(line.clone()).is_ok());
    }

    /// Cuts all streams; who comes back gets the list as a whole.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.followers.clear();
        state.records.clear();
        state.place.sequence += 1;
    }

    pub(crate) fn n_followers(&self) -> usize {
        self.state().followers.len()
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut from = BufReader::new(stream.try_clone().unwrap());
        while let Some((path, body)) = request(&mut from) {
            let answered = match self.find(&path, &body) {
                Found::Body(status, kind, body) => {
                    let n_found = self.state().n_found;
                    let head = format!(
                        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n\
                         X-Result-Count: {n_found}\r\nContent-Length: {}\r\n\r\n",
                        body.len()
                    );
                    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())
                }
                Found::Endless(n) => {
                    let head = "HTTP/1.1 200 X\r\nContent-Type: application/x-ndjson\r\n\r\n";
                    let mut out = BufWriter::new(&stream);
                    let mut sent = out.write_all(head.as_bytes());
                    for n in 0..n {
                        let line = entry(&Ipv4Addr::from(0x2d00_0000 + n).to_string()).line();
                        sent = sent.and_then(|()| writeln!(out, "{line}"));
                    }
                    // Whoever had enough has gone.
                    return drop(sent);
                }
                Found::Stream(first, lines) => {
                    let head = "HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\n\r\n";
                    let mut sent = stream.write_all(head.as_bytes());
                    for line in first.into_iter().chain(lines) {
                        sent = sent.and_then(|()| {
                            stream.write_all(format!("data: {line}\n\n").as_bytes())
                        });
                    }
                    return drop(sent);
                }
            };
            if answered.is_err() {
                return;
            }
        }
    }

    fn find(&self, path: &str, body: &str) -> Found {
        let mut state = self.state();
        if state.is_portal {
            return Found::Body(200, "text/html", "<html>Log in to the hotel</html>".to_owned());
        }
        let json = |body: Value| Found::Body(200, "application/json", body.to_string());
        match path.split('?').next().unwrap() {
            "/lists/key" if state.is_hub => json(json!({"key": state.signer.public_key()})),
            "/lists/changes" if state.is_hub => state.follow(path),
            "/servers/getVersion" => json(json!({"version": "2.5.1"})),
            "/attributes/restSearch" => {
                let asked: Value = serde_json::from_str(body).unwrap();
                json(json!({"response": {"Attribute": state.page(&asked)}}))
            }
            "/sightings/restSearch" => json(json!({"response": state.sightings})),
            "/warninglists/index" => {
                let row = |(id, (name, _)): (usize, &(&str, _))| json!({"Warninglist": {"id": id, "name": name, "type": "cidr", "version": 1}});
                let rows: Vec<_> = state.warninglists.iter().enumerate().map(row).collect();
                json(json!({"Warninglists": rows}))
            }
            path if path.starts_with("/warninglists/view/") => {
                let id: usize = path.rsplit('/').next().unwrap().parse().unwrap();
                let (name, entries) = &state.warninglists[id];
                let entries: Vec<_> = entries.iter().map(|it| json!({"value": it})).collect();
                json(json!({"Warninglist": {
                    "id": id, "name": name, "type": "cidr", "version": 1,
                    "WarninglistEntry": entries,
                }}))
            }
            path if path.starts_with("/organisations/view/") => {
                state.n_names += 1;
                let id: u64 = path.rsplit('/').next().unwrap().parse().unwrap();
                match state.organisations.get(&id) {
                    Some(name) => json(json!({"Organisation": {"id": id, "name": name}})),
                    None => {
                        let text = json!({"name": "Invalid organisation", "url": path});
                        Found::Body(404, "application/json", text.to_string())
                    }
                }
            }
            _ => {
                let text = json!({"name": "Not Found", "message": "Not Found", "url": path});
                Found::Body(404, "application/json", text.to_string())
            }
        }
    }
}

enum Found {
    Endless(u32),
    Body(u16, &'static str, String),
    Stream(Vec<String>, Receiver<String>),
}

impl State {
    /// A page as MISP 2.5.1 cuts it, and how it counts: one more than the limit where more follows,
    /// one where there is nothing.
    fn page(&mut self, asked: &Value) -> Vec<Value> {
        assert_eq!(asked["deleted"], json!([0, 1]));
        assert!(asked.get("to_ids").is_none() && asked.get("published").is_none());
        let since = asked["timestamp"].as_i64().unwrap();
        let (limit, page) = (asked["limit"].as_u64().unwrap(), asked["page"].as_u64().unwrap());
        self.searches.push((since, page));
        let is_changed =
            |it: &&Value| it["timestamp"].as_str().unwrap().parse::<i64>().unwrap() >= since;
        let skip = usize::try_from((page - 1) * limit).unwrap();
        let limit = usize::try_from(limit).unwrap();
        let changed = self.attributes.iter().filter(is_changed);
        let mut found: Vec<Value> = changed.skip(skip).take(limit + 1).cloned().collect();
        self.n_found = found.len().max(1);
        found.truncate(limit);
        found.retain(|it| Some(it["value"].as_str().unwrap()) != self.left_out);
        found
    }

    fn follow(&mut self, path: &str) -> Found {
        let since: u64 = path.rsplit('=').next().unwrap().parse().unwrap();
        let is_kept = self.records.first().is_some_and(|(first, _)| *first <= since + 1);
        if since == self.place.sequence || (since > 0 && is_kept) {
            let (sender, receiver) = channel();
            self.followers.push(sender);
            let missed = self.records.iter().filter(|(sequence, _)| *sequence > since);
            return Found::Stream(missed.map(|(_, line)| line.clone()).collect(), receiver);
        }
        if self.n_endless > 0 {
            return Found::Endless(self.n_endless);
        }
        let (mut entries, mut body) = (Entries::default(), String::new());
        for entry in &self.entries {
            entries.add(&entry.line());
            body += &format!("{}\n", entry.line());
        }
        body += &entries.sign(self.place, &self.signer, now(), now() + 600).line();
        Found::Body(200, "application/x-ndjson", body + "\n")
    }
}

/// The path and the body of the next request.
fn request(from: &mut impl BufRead) -> Option<(String, String)> {
    let mut line = String::new();
    from.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some((path, String::from_utf8(body).ok()?))
}

/// A guard that takes every list, and keeps it in memory.
pub(crate) struct StandInGuard {
    lists: Arc<Mutex<Lists>>,
    _server: Server,
}

#[derive(Default)]
struct Lists {
    held: HashMap<String, Held>,
    pending: Option<Held>,
    n_whole: usize,
}

#[derive(Clone, Default)]
struct Held {
    version: String,
    entries: BTreeMap<IpNet, Option<Timestamp>>,
}

impl StandInGuard {
    pub(crate) fn start(socket: &Path) -> Self {
        let lists = Arc::new(Mutex::new(Lists::default()));
        // Of a guard that has ended nothing answers, on old connections neither.
        let answering = Arc::downgrade(&lists);
        let server =
            Server::listen(socket, Accounts::of_host().unwrap(), move |_, request| match request {
                GuardRequest::BlockList(step) => {
                    let lists = answering.upgrade().ok_or(Refusal::Stopping)?;
                    let answer = lists.lock().unwrap().step(step);
                    Ok(GuardAnswer::BlockList(answer))
                }
                _ => Err(Refusal::Failed("not here".to_owned())),
            });
        Self { lists, _server: server.unwrap() }
    }

    /// Who is blocked by the list of `source`.
    pub(crate) fn list(&self, source: &str) -> Vec<String> {
        let lists = self.lists.lock().unwrap();
        let held = lists.held.get(source);
        held.map(|it| it.entries.keys().map(|net| net::write(*net)).collect()).unwrap_or_default()
    }

    /// How often it was brought a whole list.
    pub(crate) fn n_whole(&self) -> usize {
        self.lists.lock().unwrap().n_whole
    }
}

impl Lists {
    fn step(&mut self, step: BlockListRequest) -> BlockListAnswer {
        let pending = self.pending.get_or_insert_default();
        match step {
            BlockListRequest::Begin { source, version, base } => {
                let held = self.held.get(&source);
                if base.is_some() && base != held.map(|it| it.version.clone()) {
                    return BlockListAnswer::OtherBase { version: None };
                }
                self.n_whole += usize::from(base.is_none());
                let entries = held.filter(|_| base.is_some()).map(|it| it.entries.clone());
                *pending = Held { version, entries: entries.unwrap_or_default() };
                BlockListAnswer::Taken
            }
            BlockListRequest::Add { entries, .. } => {
                pending.entries.extend(entries.into_iter().map(|it| (it.net, it.until)));
                BlockListAnswer::Taken
            }
            BlockListRequest::Remove { nets, .. } => {
                pending.entries.retain(|net, _| !nets.contains(net));
                BlockListAnswer::Taken
            }
            BlockListRequest::Commit { source } => {
                let held = self.pending.take().unwrap();
                let n_entries = held.entries.len() as u64;
                self.held.insert(source, held);
                BlockListAnswer::Committed(BlockListOutcome { n_entries, refused: Vec::new() })
            }
            BlockListRequest::Forget { source } => {
                self.held.remove(&source);
                BlockListAnswer::Committed(BlockListOutcome::default())
            }
            BlockListRequest::Status => {
                let status = self.held.iter().map(|(source, held)| BlockListStatus {
                    source: source.clone(),
                    version: held.version.clone(),
                    changed: Timestamp::now(),
                    n_addresses: held.entries.len() as u64,
                    n_prefixes: 0,
                    n_packets: 0,
                    n_bytes: 0,
                });
                BlockListAnswer::Status(status.collect())
            }
        }
    }
}
