//! A part of a plain log: all lines that begin in it, so that several threads share one log.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use memchr::memchr;

/// How much is looked at in one go where only the end of a line is looked for.
const LOOK_BYTES: usize = 64 << 10;

/// Reads the lines that begin in a part of a file.
pub(crate) struct Segment {
    file: Arc<File>,
    at: u64,
    end: u64,
    /// The last line was read to its end.
    is_done: bool,
}

impl Segment {
    /// The lines that begin from `start` on and before `end`.
    pub(crate) fn new(file: Arc<File>, start: u64, end: u64) -> io::Result<Self> {
        let mut segment = Self { file, at: start.saturating_sub(1), end, is_done: false };
        if start > 0 {
            segment.skip_line()?;
        }
        Ok(segment)
    }

    /// Goes behind the next end of a line, which may be beyond the part.
    fn skip_line(&mut self) -> io::Result<()> {
        let mut look = vec![0; LOOK_BYTES];
        while self.at < self.end {
            let n_bytes = self.file.read_at(&mut look, self.at)?;
            match memchr(b'\n', &look[..n_bytes]) {
                Some(end) => {
                    self.at += end as u64 + 1;
                    self.is_done = self.at >= self.end;
                    return Ok(());
                }
                None if n_bytes == 0 => return Err(cut_short()),
                None => self.at += n_bytes as u64,
            }
        }
        self.is_done = true;
        Ok(())
    }
}

fn cut_short() -> io::Error {
    let why = "it became shorter while it was read; search again, and the rotated part of it, too";
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}

impl Read for Segment {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.is_done {
            return Ok(0);
        }
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if left > 0 {
            let n_wanted = into.len().min(left);
            let n_bytes = self.file.read_at(&mut into[..n_wanted], self.at)?;
            if n_bytes == 0 {
                return Err(cut_short());
            }
            self.at += n_bytes as u64;
            // A whole line at the very end of the part needs nothing from behind it.
            self.is_done = n_bytes == left && into[n_bytes - 1] == b'\n';
            return Ok(n_bytes);
        }
        let n_wanted = into.len().min(LOOK_BYTES);
        let n_bytes = self.file.read_at(&mut into[..n_wanted], self.at)?;
        let line_end = memchr(b'\n', &into[..n_bytes]);
        let n_bytes = line_end.map_or(n_bytes, |end| end + 1);
        self.is_done = line_end.is_some() || n_bytes == 0;
        self.at += n_bytes as u64;
        Ok(n_bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use std::io::Write as _;

    use super::*;

    #[test]
    fn every_line_is_in_one_part_however_it_is_parted() {
        let text = b"a\nbb\n\nccccccccc\nd\n\n\nee";
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let file = Arc::new(file);
        for step in 1..=text.len() {
            let mut all = Vec::new();
            for start in (0..text.len()).step_by(step) {
                let end = (start + step).min(text.len());
                let mut part = Vec::new();
                let file = Arc::clone(&file);
                Segment::new(file, start as u64, end as u64)
                    .unwrap()
                    .read_to_end(&mut part)
                    .unwrap();
                let is_whole = part.is_empty()
                    || part.ends_with(b"\n")
                    || all.len() + part.len() == text.len();
                assert!(is_whole, "{step} {start}");
                all.extend(part);
            }
            assert_eq!(all, text, "{step}");
        }
    }
}
