//! Serves the numbers of both halves to Prometheus, over HTTP: `GET /metrics`, and nothing else.
//!
//! A thread of its own, which answers one caller after the other; ended by [`Stop`], for which it
//! looks between two callers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use control::guard::GuardClient;
use control::metrics::{CONTENT_TYPE, Page};
use control::pulled::SourceStatus;
use jiff::Timestamp;

use crate::answer;
use crate::blocklist::Keeper;
use crate::deliver::{Shared, lock};
use crate::meter::{Meter, Outcome};
use crate::stop::Stop;
use crate::store::{Store, StoreError};

/// How long a caller may take for its few lines; the next one waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that is read of a caller's head.
const MAX_HEAD_BYTES: u64 = 8 << 10;
/// How often the thread looks whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where numbers are served, and where guard's are asked for.
#[derive(Clone, Debug)]
pub struct MetricsSetup {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Guard's control socket.
    pub guard: PathBuf,
}

/// What the numbers are read from.
pub(crate) struct Numbers {
    pub(crate) store: Shared,
    pub(crate) meter: std::sync::Arc<Meter>,
    pub(crate) guard: PathBuf,
    pub(crate) keeper: Option<Keeper>,
}

/// Listens, and answers from then on.
pub(crate) fn serve(
    listen: SocketAddr,
    numbers: Numbers,
    stop: Stop,
) -> io::Result<JoinHandle<()>> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    Ok(thread::spawn(move || {
        while !stop.is_stopped() {
            match listener.accept() {
                // Whoever goes away before the answer does not miss it.
                Ok((stream, _)) => drop(answer(&stream, &numbers)),
                Err(_nobody) => stop.pause(LOOK_EVERY),
            }
        }
    }))
}

fn answer(stream: &TcpStream, numbers: &Numbers) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = BufReader::new(stream.take(MAX_HEAD_BYTES));
    let mut request = String::new();
    head.read_line(&mut request)?;
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    let (status, body) = match request.split_whitespace().collect::<Vec<_>>()[..] {
        ["GET", "/metrics", ..] => match numbers.page() {
            Ok(page) => ("200 OK", page),
            Err(error) => ("500 Internal Server Error", format!("{error}\n")),
        },
        _ => ("404 Not Found", "the numbers are at /metrics\n".to_owned()),
    };
    let length = body.len();
    let mut to = stream;
    write!(
        to,
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

impl Numbers {
    fn page(&self) -> Result<String, StoreError> {
        let mut page = Page::default();
        page.guard(ask(&self.guard).as_ref());
        delivered(&mut page, &self.meter);
        let now = Timestamp::now();
        waiting(&mut page, &lock(&self.store), now)?;
        pulled(&mut page, &answer::sources(self.keeper.as_ref()), now);
        Ok(page.into_text())
    }
}

/// Guard's numbers; none where it does not answer, and the page says so.
fn ask(guard: &Path) -> Option<control::guard::GuardMetrics> {
    GuardClient::connect(guard).and_then(|mut guard| guard.metrics()).ok()
}

fn delivered(page: &mut Page, meter: &Meter) {
    let help = "What became of offenders, and tries that failed, since the start.";
    let mut pushed = page.counter("fail2misp_push_total", help);
    for outcome in Outcome::ALL {
        pushed.of("result", outcome.word(), meter.counted(outcome));
    }
    let help = "How long a step took that told MISP something.";
    page.histogram("fail2misp_push_seconds", help, &meter.seconds());
}

fn waiting(page: &mut Page, store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let mut depths = Vec::new();
    for row in store.destinations()? {
        depths.push((row.destination.name, store.depth(row.id)?));
    }
    let mut waiting = page.gauge("fail2misp_outbox_depth", "What MISP has not confirmed.");
    for (name, depth) in &depths {
        waiting.of("destination", name, depth.n_pending);
    }
    let mut oldest =
        page.gauge("fail2misp_outbox_oldest_seconds", "For how long the oldest of it waits.");
    for (name, depth) in &depths {
        let age = depth.oldest.map_or(0, |then| now.duration_since(then).as_secs().max(0));
        oldest.of("destination", name, age);
    }
    let mut aside = page.gauge("fail2misp_outbox_set_aside", "What MISP refused for good.");
    for (name, depth) in &depths {
        aside.of("destination", name, depth.n_refused);
    }
    let help = "Bans that were not shared, by reason.";
    let mut suppressed = page.counter("fail2misp_suppressed_total", help);
    for (reason, n) in store.withheld()? {
        suppressed.of("reason", &reason, n);
    }
    Ok(())
}

fn pulled(page: &mut Page, sources: &[SourceStatus], now: Timestamp) {
    let mut age = page.gauge("fail2misp_pull_age_seconds", "Since a source last answered.");
    for source in sources {
        if let Some(then) = source.pulled {
            age.of("source", &source.name, now.duration_since(then).as_secs().max(0));
        }
    }
    let mut entries = page.gauge("fail2misp_blocklist_entries", "Entries of each block list.");
    for source in sources {
        entries.of("source", &source.name, source.n_entries);
    }
}
