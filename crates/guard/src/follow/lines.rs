//! Bytes to whole lines: the last one waits for its end, and none is endless.

use std::io;

use memchr::{memchr, memrchr};

/// The longest line that is looked at. Of a longer one the rest is skipped: no daemon writes
/// such a line, somebody who wants to tire the guard may.
const MAX_LINE_BYTES: usize = 1 << 20;

/// How much is read at once: large enough to make a system call cheap, small enough that many
/// logs take turns.
const CHUNK_BYTES: usize = 256 << 10;

/// What was read of a file and is not dealt with yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// What is behind the bytes that were read is kept for its memory.
    buffer: Vec<u8>,
    n_read: usize,
    /// How many of the first bytes are whole lines.
    n_whole: usize,
    /// Inside a line that is too long: everything up to its end is skipped.
    skipping: bool,
    /// Lines that were cut and not told yet.
    n_cut: u64,
}

impl Lines {
    /// Has `read` read on, at most `n_left` bytes, and returns how many it read.
    pub(super) fn fill(
        &mut self,
        n_left: u64,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<u64> {
        let begin = self.n_read;
        let end = begin + usize::try_from(n_left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        let n_read = read(&mut self.buffer[begin..end])?;
        self.n_read += n_read;
        self.n_whole = 0;

        if self.skipping {
            let line_end = memchr(b'\n', self.unfinished());
            self.drop_first(line_end.map_or(self.n_read, |at| at + 1));
            self.skipping = line_end.is_none();
        }
        self.n_whole = memrchr(b'\n', self.unfinished()).map_or(0, |at| at + 1);
        if self.n_whole == 0 && self.n_read > MAX_LINE_BYTES {
            self.buffer[MAX_LINE_BYTES] = b'\n';
            self.n_read = MAX_LINE_BYTES + 1;
            self.n_whole = self.n_read;
            self.skipping = true;
            self.n_cut += 1;
        }
        Ok(n_read as u64)
    }

    /// The lines that are whole now, each with its end.
    pub(super) fn whole(&self) -> &[u8] {
        &self.buffer[..self.n_whole]
    }

    /// How many lines were cut since this was asked last.
    pub(super) fn take_cut(&mut self) -> u64 {
        std::mem::take(&mut self.n_cut)
    }

    /// How many bytes of a line without its end are kept.
    pub(super) fn n_unfinished(&self) -> u64 {
        self.unfinished().len() as u64
    }

    /// Forgets the whole lines.
    pub(super) fn consume(&mut self) {
        self.drop_first(self.n_whole);
        self.n_whole = 0;
    }

    /// Gives back the memory of what is dealt with: a thousand idle logs must not hold a chunk each.
    pub(super) fn shrink(&mut self) {
        self.buffer.truncate(self.n_read);
        self.buffer.shrink_to_fit();
    }

    /// What was read behind the whole lines.
    fn unfinished(&self) -> &[u8] {
        &self.buffer[self.n_whole..self.n_read]
    }

    fn drop_first(&mut self, n_bytes: usize) {
        self.buffer.copy_within(n_bytes..self.n_read, 0);
        self.n_read -= n_bytes;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use std::io::Write;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    /// Reads `text` in steps to these offsets, and returns the whole lines of each step with the
    /// offset behind them.
    fn steps(text: &[u8], ends: &[u64]) -> Vec<(String, u64)> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let mut lines = Lines::default();
        let mut done = 0;
        let mut got = Vec::new();
        for &end in ends {
            while done < end {
                done += lines.fill(end - done, |room| file.read_at(room, done)).unwrap();
                if !lines.whole().is_empty() {
                    let whole = String::from_utf8_lossy(lines.whole()).into_owned();
                    got.push((whole, done - lines.n_unfinished()));
                    lines.consume();
                }
            }
        }
        got
    }

    #[test]
    fn an_unfinished_line_waits() {
        assert_eq!(
            steps(b"one\ntwo\nthree\n", &[5, 6, 9, 14]),
            [("one\n".into(), 4), ("two\n".into(), 8), ("three\n".into(), 14)]
        );
    }

    #[test]
    fn a_line_without_end_is_cut_and_its_rest_skipped() {
        let mut text = vec![b'x'; 3 * MAX_LINE_BYTES];
        text.extend_from_slice(b"\nnext\n");
        let got = steps(&text, &[text.len() as u64]);
        assert_eq!(got.len(), 2);
        assert_eq!(got[0].0.len(), MAX_LINE_BYTES + 1);
        assert_eq!(got[1], ("next\n".into(), text.len() as u64));
    }
}
