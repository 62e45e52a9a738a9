//! Where lines go: in fail2ban's format to a file or a stream, as datagrams to syslog and the journal.

use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Target;
use super::file::LogFile;
use super::line::Line;

/// syslog's facility of daemons.
const DAEMON: u8 = 3;

/// Writes lines to a target.
#[derive(Debug)]
pub(super) struct Sink {
    target: Target,
    /// Where the target is one.
    file: Option<LogFile>,
    /// The number of this process, as lines bear it.
    pid: String,
    date: Date,
    /// The line that is written; kept for its memory.
    text: Vec<u8>,
}

impl Sink {
    pub(super) fn new(target: Target) -> Self {
        let pid = format!("[{}]: ", std::process::id());
        let (date, text) = (Date::default(), Vec::new());
        Self { file: LogFile::of(&target), target, pid, date, text }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Writes to another target from now on.
    pub(super) fn turn_to(&mut self, target: Target) {
        self.flush();
        self.file = LogFile::of(&target);
        self.target = target;
    }

    /// Writes a line; to a file, with the next ones at the next [`Self::flush`].
    pub(super) fn write(&mut self, line: &Line) {
        self.text.clear();
        let written = match &self.target {
            Target::File(_) if line.is_guards() => {
                self.put_dated(line);
                if let Some(file) = &mut self.file {
                    file.add(&self.text);
                }
                return;
            }
            Target::Stdout if line.is_guards() => {
                self.put_dated(line);
                io::stdout().write_all(&self.text)
            }
            Target::Syslog(socket) | Target::Journal(socket) if line.is_guards() => {
                let socket = connect(socket);
                self.put_datagram(line);
                socket.and_then(|it| it.send(&self.text)).map(drop)
            }
            _ => {
                self.put_dated(line);
                write_to_stderr(&self.text);
                return;
            }
        };
        if written.is_err() {
            write_to_stderr(&self.text);
        }
    }

    /// Has everything be where it goes.
    pub(super) fn flush(&mut self) {
        if let Some(file) = &mut self.file {
            file.flush();
        }
    }

    /// `2026-11-22 06:32:40,943 fail2ban.actions        [6081]: NOTICE  [sshd] Ban 192.0.2.1`; piece
    /// by piece, as there may be a hundred thousand of them in a second.
    fn put_dated(&mut self, line: &Line) {
        let (date, ms) = self.date.now();
        let ms = [ms / 100, ms / 10 % 10, ms % 10].map(|digit| b'0' + digit as u8);
        let text = &mut self.text;
        text.extend_from_slice(date.as_bytes());
        text.push(b',');
        text.extend_from_slice(&ms);
        text.push(b' ');
        put_padded(text, line.source, 24);
        text.extend_from_slice(self.pid.as_bytes());
        put_padded(text, line.level().0, 8);
        text.extend_from_slice(line.message.as_bytes());
        text.push(b'\n');
    }

    fn put_datagram(&mut self, line: &Line) {
        let (Line { source, message, .. }, pid) = (line, std::process::id());
        let (level, severity) = line.level();
        // Writing to memory cannot fail.
        let _ = if let Target::Syslog(_) = &self.target {
            let priority = DAEMON * 8 + severity;
            write!(self.text, "<{priority}>{source}[{pid}]: {level:<7} {message}")
        } else {
            // A line end would begin another field.
            let message = message.replace('\n', " ");
            write!(
                self.text,
                "PRIORITY={severity}\nSYSLOG_IDENTIFIER={source}\nSYSLOG_PID={pid}\n\
                 MESSAGE={level:<7} {message}\n"
            )
        };
    }
}

/// A socket that takes datagrams for syslog or the journal.
pub(super) fn connect(socket: &Path) -> io::Result<UnixDatagram> {
    let datagram = UnixDatagram::unbound()?;
    datagram.connect(socket)?;
    // A log that nobody takes away must not hold up a ban.
    datagram.set_nonblocking(true)?;
    Ok(datagram)
}

/// What else cannot be written goes here; where this cannot either, nobody can be told.
pub(super) fn write_to_stderr(text: &[u8]) {
    let _ = io::stderr().write_all(text);
}

fn put_padded(text: &mut Vec<u8>, word: &str, n_bytes: usize) {
    let end = text.len() + n_bytes;
    text.extend_from_slice(word.as_bytes());
    text.resize(end.max(text.len()), b' ');
}

/// The date and the time of day here, as text that lasts for a second.
#[derive(Debug, Default)]
struct Date {
    second: i64,
    text: String,
}

impl Date {
    /// The text of now, and the milliseconds behind it.
    fn now(&mut self) -> (&str, i32) {
        let now = Timestamp::now();
        if self.second != now.as_second() || self.text.is_empty() {
            self.second = now.as_second();
            let now = now.to_zoned(TimeZone::system());
            self.text = now.strftime("%Y-%m-%d %H:%M:%S").to_string();
        }
        (&self.text, now.subsec_millisecond())
    }
}
