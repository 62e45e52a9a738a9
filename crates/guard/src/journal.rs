//! Follows the systemd journal, by a child `journalctl -f -o export`: matches and journal formats
//! are its affair, whatever the release.
//!
//! One thread a query. It wakes when the child writes, starts it again after the last entry when
//! it ends, and ends when it is told to stop or nobody listens any more.
//!
//! The export format (systemd.io/JOURNAL_EXPORT_FORMATS): an entry is fields and an empty line; a
//! field is `NAME=value`, or, where its value is no plain text, `NAME`, then its length as 64 bits
//! in little endian, then its bytes.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jail::config::Jail;
use jail::judge::Reading;
use jiff::Timestamp;

/// How long until a child that ended is started again.
const RESTART: Duration = Duration::from_secs(2);

/// How often a thread that waits for that looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// The longest value that is looked at; of a longer one the rest is skipped, as of a line of a
/// file.
const MAX_VALUE_BYTES: u64 = 1 << 20;

/// What the child says of its end is cut to this.
const MAX_COMPLAINT_BYTES: u64 = 1000;

/// The fields that a line is made of; the others are not asked for.
const FIELDS: &str = "MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID,_COMM,_PID,_HOSTNAME,\
                      _SOURCE_REALTIME_TIMESTAMP,_SOURCE_MONOTONIC_TIMESTAMP";

/// What is read of the journal.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Query {
    /// Which journal: arguments such as `--namespace=…`; none for the system's.
    pub place: Vec<String>,
    /// `journalmatch`: groups of terms, of which one must match.
    pub groups: Vec<Vec<String>>,
}

impl fmt::Display for Query {
    /// As the arguments of journalctl.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.groups.iter().map(|group| group.join(" ")).collect();
        let words: Vec<String> = self.place.iter().cloned().chain([groups.join(" + ")]).collect();
        out.write_str(words.join(" ").trim())
    }
}

impl Query {
    /// The query of a jail; what its `backend` says in brackets names the journal.
    pub(crate) fn of(jail: &Jail) -> Self {
        let backend = jail.options.get("backend").map_or("", String::as_str);
        let inside = backend.split_once('[').and_then(|(_, rest)| rest.rsplit_once(']'));
        let options = inside.map_or("", |(options, _)| options).split(',');
        let place = options
            .filter_map(|option| {
                let (name, value) = option.split_once('=')?;
                let value = value.trim().trim_matches(['"', '\'']);
                Some(match name.trim() {
                    "namespace" => format!("--namespace={value}"),
                    "journalpath" => format!("--directory={value}"),
                    "journalfiles" => format!("--file={value}"),
                    // journalflags and rotated tune how fail2ban opens files, not which.
                    _ => return None,
                })
            })
            .collect();
        Self { place, groups: jail.journal_match.clone() }
    }
}

/// Where reading begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Start {
    /// After the entry with this cursor.
    After(String),
    /// With the first entry since then.
    Since(Timestamp),
}

/// What the journal's follower tells.
#[derive(Debug)]
pub enum News<'a> {
    /// An entry, as the line that fail2ban's filters expect.
    Entry {
        /// The line.
        line: &'a [u8],
        /// When it was written.
        time: Timestamp,
        /// Whether it may be old.
        reading: Reading,
        /// Its place in the journal.
        cursor: &'a str,
        /// Whether more of them are here already.
        more: bool,
    },
    /// The journal cannot be read; told once for each reason.
    Trouble {
        /// Why.
        why: &'a str,
    },
}

/// Ends followers of the journal from another thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Mutex<Stopping>>);

#[derive(Debug, Default)]
struct Stopping {
    called: bool,
    children: Vec<Child>,
}

impl Stop {
    /// Calls for it.
    pub fn call(&self) {
        self.with(|stopping| {
            stopping.called = true;
            for child in &mut stopping.children {
                // It may have ended by itself.
                let _ = child.kill();
            }
        });
    }

    /// Ends `child`, too, when it is called for.
    fn adopt(&self, mut child: Child) {
        self.with(|stopping| {
            if stopping.called {
                // As above.
                let _ = child.kill();
            }
            stopping.children.push(child);
        });
    }

    fn is_called(&self) -> bool {
        self.with(|stopping| stopping.called)
    }

    /// Waits, at most for `patience`, until it is called for.
    fn wait(&self, patience: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < patience && !self.is_called() {
            thread::sleep(LOOK);
        }
    }

    fn with<T>(&self, what: impl FnOnce(&mut Stopping) -> T) -> T {
        // Nothing between lock and unlock leaves the list half changed.
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Follows `query` until `stop` is called for or `tell` breaks; entries from before `began` may be
/// old.
pub fn follow(
    query: &Query,
    mut start: Start,
    began: Timestamp,
    stop: &Stop,
    tell: &mut dyn FnMut(News<'_>) -> ControlFlow<()>,
) {
    let mut trouble = String::new();
    while !stop.is_called() {
        let why = match spawn(query, &start) {
            Ok(mut child) => {
                let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
                let id = child.id();
                stop.adopt(child);
                let mut complaint = String::new();
                if let Some(stdout) = stdout
                    && read(stdout, began, &mut start, stop, tell).is_break()
                {
                    end(id, stop);
                    return;
                }
                if let Some(stderr) = stderr {
                    // What cannot be read is not said.
                    let _ = stderr.take(MAX_COMPLAINT_BYTES).read_to_string(&mut complaint);
                }
                end(id, stop);
                match complaint.lines().last() {
                    Some(said) => format!("journalctl ended: {said}"),
                    None => "journalctl ended".to_owned(),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                "journalctl is not installed; install systemd, or set `backend = auto` and a \
                 `logpath`"
                    .to_owned()
            }
            Err(error) => format!("journalctl does not start: {error}"),
        };
        if stop.is_called() {
            return;
        }
        if why != trouble {
            if tell(News::Trouble { why: &why }).is_break() {
                return;
            }
            trouble = why;
        }
        stop.wait(RESTART);
    }
}

fn spawn(query: &Query, start: &Start) -> io::Result<Child> {
    let mut command = Command::new("journalctl");
    command.args(["-f", "-o", "export", "--no-tail", "-q"]);
    command.arg(format!("--output-fields={FIELDS}"));
    command.args(&query.place);
    command.arg(match start {
        Start::After(cursor) => format!("--after-cursor={cursor}"),
        Start::Since(time) => format!("--since=@{}", time.as_second()),
    });
    for (number, group) in query.groups.iter().enumerate() {
        if number > 0 {
            command.arg("+");
        }
        command.args(group);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Makes sure that the child has ended, and forgets it.
fn end(id: u32, stop: &Stop) {
    let child = stop.with(|stopping| {
        let at = stopping.children.iter().position(|child| child.id() == id)?;
        Some(stopping.children.swap_remove(at))
    });
    if let Some(mut child) = child {
        // It may have ended by itself; its status tells nothing more than its words.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Tells the child's entries until it ends.
fn read(
    stdout: ChildStdout,
    began: Timestamp,
    start: &mut Start,
    stop: &Stop,
    tell: &mut dyn FnMut(News<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut from = BufReader::with_capacity(64 << 10, stdout);
    // A child that is cut off in the middle of an entry ends as any other.
    while let Ok(Some(entry)) = Entry::read(&mut from) {
        if stop.is_called() {
            return ControlFlow::Break(());
        }
        let (Some(cursor), Some(time)) = (&entry.cursor, entry.time()) else { continue };
        let reading = if time < began { Reading::CatchingUp } else { Reading::InOperation };
        let more = !from.buffer().is_empty();
        tell(News::Entry { line: &entry.line(), time, reading, cursor, more })?;
        *start = Start::After(cursor.clone());
    }
    ControlFlow::Continue(())
}

/// The fields of an entry that matter.
#[derive(Debug, Default)]
struct Entry {
    cursor: Option<String>,
    written: Option<i64>,
    sent: Option<i64>,
    monotonic: Option<i64>,
    host: Option<Vec<u8>>,
    identifier: Option<Vec<u8>>,
    command: Option<Vec<u8>>,
    syslog_pid: Option<Vec<u8>>,
    pid: Option<Vec<u8>>,
    message: Vec<u8>,
}

impl Entry {
    /// The next entry; `None` where there is none any more.
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut entry = Self::default();
        let mut is_empty = true;
        loop {
            let line = read_line(from)?;
            let Some(field) = line.strip_suffix(b"\n") else { return Ok(None) };
            if field.is_empty() && is_empty {
                continue;
            }
            if field.is_empty() {
                return Ok(Some(entry));
            }
            is_empty = false;
            match field.iter().position(|&byte| byte == b'=') {
                Some(at) => entry.take(&field[..at], field[at + 1..].to_vec()),
                None => entry.take(field, read_sized(from)?),
            }
        }
    }

    fn take(&mut self, name: &[u8], value: Vec<u8>) {
        let number = || str::from_utf8(&value).ok()?.parse().ok();
        match name {
            b"__CURSOR" => self.cursor = String::from_utf8(value).ok(),
            b"__REALTIME_TIMESTAMP" => self.written = number(),
            b"_SOURCE_REALTIME_TIMESTAMP" => self.sent = number(),
            b"_SOURCE_MONOTONIC_TIMESTAMP" => self.monotonic = number(),
            b"__MONOTONIC_TIMESTAMP" => self.monotonic = self.monotonic.or_else(number),
            b"_HOSTNAME" => self.host = Some(value),
            b"SYSLOG_IDENTIFIER" => self.identifier = Some(value),
            b"_COMM" => self.command = Some(value),
            b"SYSLOG_PID" => self.syslog_pid = Some(value),
            b"_PID" => self.pid = Some(value),
            b"MESSAGE" => {
                // A field may come more than once.
                if !self.message.is_empty() {
                    self.message.push(b' ');
                }
                self.message.extend(value);
            }
            _ => {}
        }
    }

    /// When its writer wrote it, else when journald got it.
    fn time(&self) -> Option<Timestamp> {
        Timestamp::from_microsecond(self.sent.or(self.written)?).ok()
    }

    /// The line that a filter with `logtype = journal` expects: `host name[pid]: message`.
    fn line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        if let Some(host) = &self.host {
            line.extend_from_slice(host);
            line.push(b' ');
        }
        if let Some(name) = self.identifier.as_ref().or(self.command.as_ref()) {
            line.extend_from_slice(name);
            let pid = self.syslog_pid.as_ref().or(self.pid.as_ref());
            if let Some(pid) = pid {
                line.push(b'[');
                line.extend_from_slice(pid);
                line.push(b']');
            }
            line.extend_from_slice(b": ");
            if let (b"kernel", None, Some(us)) = (name.as_slice(), pid, self.monotonic) {
                let (seconds, rest) = (us / 1_000_000, us % 1_000_000);
                line.extend_from_slice(format!("[{seconds:5}.{rest:06}] ").as_bytes());
            }
        }
        for &byte in &self.message {
            match byte {
                b'\n' => line.extend_from_slice(b"\\n"),
                byte => line.push(byte),
            }
        }
        line
    }
}

/// A line with its end; what is too long of it is skipped.
fn read_line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.by_ref().take(MAX_VALUE_BYTES).read_until(b'\n', &mut line)?;
    if line.len() as u64 == MAX_VALUE_BYTES && line.last() != Some(&b'\n') {
        from.skip_until(b'\n')?;
        line.push(b'\n');
    }
    Ok(line)
}

/// A value with its length before it, and the line end after it.
fn read_sized(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut size = [0; 8];
    from.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    let mut value = Vec::new();
    from.by_ref().take(size.min(MAX_VALUE_BYTES)).read_to_end(&mut value)?;
    let rest = size.saturating_sub(MAX_VALUE_BYTES).saturating_add(1);
    io::copy(&mut from.by_ref().take(rest), &mut io::sink())?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use super::*;

    #[track_caller]
    fn check(export: &[u8], want: &[&str]) {
        let mut from = export;
        let mut got = Vec::new();
        while let Some(entry) = Entry::read(&mut from).unwrap() {
            got.push(String::from_utf8_lossy(&entry.line()).into_owned());
        }
        assert_eq!(got, want);
    }

    #[test]
    fn reads_entries_as_lines() {
        check(
            b"__CURSOR=s=1;i=1\n_HOSTNAME=web\nSYSLOG_IDENTIFIER=sshd\n_PID=7\nMESSAGE=a=b\n\n\
              MESSAGE=alone\n\n",
            &["web sshd[7]: a=b", "alone"],
        );
        // Not plain text, so its length is told; its line ends are written out.
        check(
            b"_COMM=x\nMESSAGE\n\x07\0\0\0\0\0\0\0one\ntwo\n\n_HOSTNAME=h\nMESSAGE=next\n\n",
            &["x: one\\ntwo", "h next"],
        );
        check(
            b"SYSLOG_IDENTIFIER=kernel\n_SOURCE_MONOTONIC_TIMESTAMP=1500000\nMESSAGE=m\n\n",
            &["kernel: [    1.500000] m"],
        );
        check(b"MESSAGE=cut off\n", &[]);
    }

    #[test]
    fn skips_what_is_endless() {
        let mut export = b"MESSAGE=".to_vec();
        export.resize(export.len() + 3 * (MAX_VALUE_BYTES as usize), b'x');
        export.extend(b"\n_PID\n");
        export.extend((2 * MAX_VALUE_BYTES).to_le_bytes());
        export.resize(export.len() + 2 * (MAX_VALUE_BYTES as usize), b'7');
        export.extend(b"\n\nMESSAGE=next\n\n");
        let mut from = export.as_slice();
        let entry = Entry::read(&mut from).unwrap().unwrap();
        assert!(entry.message.len() < MAX_VALUE_BYTES as usize);
        assert_eq!(Entry::read(&mut from).unwrap().unwrap().message, b"next");
    }

    #[test]
    fn tells_when() {
        let read = |mut export: &[u8]| Entry::read(&mut export).unwrap().unwrap().time();
        let at = |us| Timestamp::from_microsecond(us).ok();
        assert_eq!(read(b"__REALTIME_TIMESTAMP=9\n\n"), at(9));
        assert_eq!(read(b"__REALTIME_TIMESTAMP=9\n_SOURCE_REALTIME_TIMESTAMP=8\n\n"), at(8));
        assert_eq!(read(b"__REALTIME_TIMESTAMP=soon\n\n"), None);
    }
}
