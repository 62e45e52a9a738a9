//! Reads a file of systemd's journal as lines: journalctl exports it, and each entry becomes a line
//! as syslog would have written it, with its full date.

use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use jiff::Timestamp;

/// The fields that make a line.
const FIELDS: &str = "--output-fields=MESSAGE,_HOSTNAME,SYSLOG_IDENTIFIER,_COMM,SYSLOG_PID,_PID";
/// The largest field that is kept; journald cuts messages at 48 KiB, and core dumps are not text.
const MAX_FIELD_BYTES: u64 = 1 << 20;

/// What our own entries are called.
const OURS: &[u8] = b"fail2misp";

/// The entries of the journal's file at `path`.
///
/// # Errors
///
/// When journalctl is not there.
pub(crate) fn open(path: &Path) -> io::Result<impl Read + Send + use<>> {
    let mut child = Command::new("journalctl")
        .args(["--all", "--quiet", "--output=export", FIELDS])
        .arg("--file")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("journalctl is needed: {error}")))?;
    let out = child.stdout.take().expect("the output is piped");
    Ok(Journal { entries: Entries { from: BufReader::new(out) }, child, line: Vec::new(), read: 0 })
}

/// journalctl at work.
struct Journal {
    entries: Entries<BufReader<ChildStdout>>,
    child: Child,
    line: Vec<u8>,
    /// How much of `line` was read.
    read: usize,
}

impl Read for Journal {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.read == self.line.len() {
            self.read = 0;
            self.line.clear();
            match self.entries.next()? {
                // What we said of somebody is no trace of him.
                Some(entry) if entry.name == OURS => {}
                Some(entry) => entry.write(&mut self.line),
                None => return self.end().map(|()| 0),
            }
        }
        let n_bytes = into.len().min(self.line.len() - self.read);
        into[..n_bytes].copy_from_slice(&self.line[self.read..self.read + n_bytes]);
        self.read += n_bytes;
        Ok(n_bytes)
    }
}

impl Journal {
    /// What journalctl says of how it ended.
    fn end(&mut self) -> io::Result<()> {
        if self.child.wait()?.success() {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            errors.read_to_string(&mut said)?;
        }
        Err(io::Error::other(format!("journalctl: {}", said.trim())))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // It has ended, or nobody reads what it writes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fields of one entry that make a line.
#[derive(Debug, Default, PartialEq)]
struct Entry {
    time: Option<Timestamp>,
    host: Vec<u8>,
    name: Vec<u8>,
    pid: Vec<u8>,
    message: Vec<u8>,
}

impl Entry {
    fn take(&mut self, field: &[u8], value: Vec<u8>) {
        match field {
            b"__REALTIME_TIMESTAMP" => {
                let micros = std::str::from_utf8(&value).ok().and_then(|it| it.parse().ok());
                self.time = micros.and_then(|it| Timestamp::from_microsecond(it).ok());
            }
            b"_HOSTNAME" => self.host = value,
            b"SYSLOG_IDENTIFIER" => self.name = value,
            b"_COMM" if self.name.is_empty() => self.name = value,
            b"SYSLOG_PID" => self.pid = value,
            b"_PID" if self.pid.is_empty() => self.pid = value,
            b"MESSAGE" => self.message = value,
            _ => {}
        }
    }

    fn write(&self, line: &mut Vec<u8>) {
        if let Some(time) = self.time {
            line.extend_from_slice(format!("{time:.6} ").as_bytes());
        }
        for part in [&self.host[..], b" ", &self.name] {
            line.extend_from_slice(part);
        }
        if !self.pid.is_empty() {
            line.extend([b"[", &self.pid[..], b"]"].concat());
        }
        line.extend_from_slice(b": ");
        let one_line = self.message.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte });
        line.extend(one_line);
        line.push(b'\n');
    }
}

/// Reads journalctl's export format: `NAME=value`, or `NAME`, the length in eight bytes and the
/// value; an empty line ends an entry.
struct Entries<R> {
    from: R,
}

impl<R: io::BufRead> Entries<R> {
    fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut entry = Entry::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            let n_bytes = self.from.by_ref().take(MAX_FIELD_BYTES).read_until(b'\n', &mut line)?;
            if n_bytes as u64 == MAX_FIELD_BYTES && !line.ends_with(b"\n") {
                self.from.skip_until(b'\n')?;
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            match memchr::memchr(b'=', text) {
                Some(end) => entry.take(&text[..end], text[end + 1..].to_vec()),
                None if n_bytes == 0 && entry == Entry::default() => return Ok(None),
                None if text.is_empty() && entry != Entry::default() => return Ok(Some(entry)),
                None if text.is_empty() => {}
                None => {
                    let value = self.counted()?;
                    entry.take(text, value);
                }
            }
        }
    }

    fn counted(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 8];
        self.from.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        let mut value = Vec::new();
        let kept = length.min(MAX_FIELD_BYTES);
        self.from.by_ref().take(kept).read_to_end(&mut value)?;
        // The rest of it, and the end of its line.
        io::copy(&mut self.from.by_ref().take(length - kept + 1), &mut io::sink())?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_become_lines() {
        let export = b"__CURSOR=x\n__REALTIME_TIMESTAMP=1795327200123456\n_HOSTNAME=web-1\n\
            _COMM=sshd\nSYSLOG_IDENTIFIER=sshd\n_PID=71\nMESSAGE=Failed\n\n\
            __REALTIME_TIMESTAMP=1795327200123456\n_HOSTNAME=web-1\n_COMM=x\n\
            MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n";
        let mut entries = Entries { from: &export[..] };
        let mut lines = Vec::new();
        while let Some(entry) = entries.next().expect("bytes in memory can be read") {
            entry.write(&mut lines);
        }
        assert_eq!(
            String::from_utf8_lossy(&lines),
            "2026-11-22T06:00:00.123456Z web-1 sshd[71]: Failed\n\
             2026-11-22T06:00:00.123456Z web-1 x: a b\n"
        );
    }
}
