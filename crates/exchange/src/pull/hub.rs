//! Follows a hub's change stream: server-sent events while it lasts, the list as a whole where the
//! stream does not reach back. Nothing is told before its signature was looked at.

use std::io::{BufRead, Read};

use jiff::Timestamp;
use lists::chain::{ChainError, Entries, Follower};
use lists::change::{Change, Entry, Line, MAX_LINE_BYTES, Signed};
use lists::net;
use misp::Client;
use misp::pull::Stream;

use super::{Heard, Mouth, PIECE, Progress, PullError, Row, RowChange, Told};
use crate::blocklist::Indicator;

const PATH: &str = "lists/changes";

/// Follows until the stream ends, or is not believed.
pub(super) fn follow<M: From<Heard>>(
    client: &Client,
    follower: &mut Follower,
    most: u64,
    mouth: &Mouth<'_, M>,
) -> Result<(), PullError> {
    loop {
        let query = format!("?since={}", follower.place.sequence);
        let stream = client.stream(PATH, &query, "text/event-stream, application/x-ndjson")?;
        let mut heard = Hearing { follower: &mut *follower, most, mouth };
        let heard = match &*stream.content_type {
            "text/event-stream" => heard.events(stream),
            "application/x-ndjson" => heard.list(stream),
            other => Err(PullError::NoList(other.to_owned())),
        };
        match heard {
            // The stream goes on where the list ended.
            Ok(Ended::List) => {}
            Ok(Ended::Stream) => return Ok(()),
            Err(PullError::Chain(ChainError::Broken { .. })) if follower.place.sequence > 0 => {
                let list = client.stream(PATH, "?since=0", "application/x-ndjson")?;
                Hearing { follower: &mut *follower, most, mouth }.list(list)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What came to its end.
enum Ended {
    List,
    Stream,
}

struct Hearing<'a, M> {
    follower: &'a mut Follower,
    /// The most entries of a list.
    most: u64,
    mouth: &'a Mouth<'a, M>,
}

impl<M: From<Heard>> Hearing<'_, M> {
    /// Reads records as they are written.
    fn events(&mut self, mut stream: Stream) -> Result<Ended, PullError> {
        self.mouth.tell(Told::Alive)?;
        while let Some(line) = line(&mut stream.body)? {
            match line.strip_prefix("data:") {
                Some(data) => {
                    let signed: Signed =
                        serde_json::from_str(data.trim_start()).map_err(PullError::OddLine)?;
                    self.record(&signed)?;
                }
                // A comment, which says that the hub is there.
                None if line.starts_with(':') => self.mouth.tell(Told::Alive)?,
                None => {}
            }
        }
        Ok(Ended::Stream)
    }

    fn record(&mut self, signed: &Signed) -> Result<(), PullError> {
        let changes = self.follower.follow(signed, Timestamp::now().as_second())?;
        let changes = changes.into_iter().filter_map(|change| match change {
            Change::List(entry) => Some(RowChange::Put(row(entry))),
            Change::Withdraw { value, why } => Some(RowChange::Withdraw { net: value, why }),
            Change::Key { .. } => None,
        });
        self.mouth.tell(Told::Changes(changes.collect(), self.progress()))
    }

    /// Reads the list as a whole.
    fn list(&mut self, mut stream: Stream) -> Result<Ended, PullError> {
        self.mouth.tell(Told::Begin)?;
        let (mut entries, mut rows, mut n) = (Entries::default(), Vec::new(), 0);
        while let Some(text) = line(&mut stream.body)? {
            match serde_json::from_str(&text).map_err(PullError::OddLine)? {
                Line::Entry(entry) => {
                    n += 1;
                    if n > self.most {
                        return Err(PullError::TooMany { most: self.most });
                    }
                    entries.add(&text);
                    rows.push(row(entry));
                    if rows.len() == PIECE {
                        self.mouth.tell(Told::Rows(std::mem::take(&mut rows)))?;
                    }
                }
                Line::Signed(signed) if self.follower.introduce(&signed)? => {}
                // The last line. A record that introduces a key before ours is none of ours.
                Line::Signed(signed) if signed.is_of(self.follower.key) => {
                    self.mouth.tell(Told::Rows(rows))?;
                    self.follower.replace(&signed, entries, Timestamp::now().as_second())?;
                    self.mouth.tell(Told::Whole(self.progress()))?;
                    return Ok(Ended::List);
                }
                Line::Signed(_) => {}
            }
        }
        // It ended without a signature that is believed.
        Err(ChainError::Forged { pinned: self.follower.key }.into())
    }

    fn progress(&self) -> Progress {
        Progress { follower: Some(*self.follower), ..Progress::default() }
    }
}

fn row(entry: Entry) -> Row {
    Row {
        id: net::write(entry.value),
        indicator: Indicator {
            net: entry.value,
            kind: entry.kind,
            organisation: String::new(),
            to_ids: true, // a hub lists nothing else
            first: entry.first,
            last: entry.last,
            tags: entry.tags,
            denied_by: Default::default(),
        },
    }
}

/// The next line, without its end; `None` at the end.
fn line(from: &mut impl BufRead) -> Result<Option<String>, PullError> {
    let mut bytes = Vec::new();
    let most = MAX_LINE_BYTES as u64;
    from.take(most).read_until(b'\n', &mut bytes).map_err(PullError::CutShort)?;
    match bytes.last() {
        None => Ok(None),
        Some(b'\n') => {
            bytes.pop();
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Some(_) if bytes.len() == MAX_LINE_BYTES => Err(PullError::LongLine),
        Some(_) => Err(PullError::CutShort(std::io::ErrorKind::UnexpectedEof.into())),
    }
}
