//! Reads lines of any length in a bounded amount of memory, many at once.

use std::io::{self, Read};

use memchr::{memchr, memrchr};

/// What is kept of a line. Log daemons cut far below this (journald at 48 KiB, rsyslog at 8 KiB), and
/// whoever writes more means harm.
pub(crate) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// How much of a log is read at once: what a processor's own cache holds.
const READ_BYTES: usize = 256 * 1024;

/// Whole lines of a log.
#[derive(Default)]
pub(crate) struct Piece {
    /// What is behind the lines is kept for its memory.
    bytes: Vec<u8>,
    len: usize,
}

impl Piece {
    /// The lines with their ends; the last one of a log may have none.
    pub(crate) fn text(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The lines without their ends.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        of(self.text())
    }

    /// Reads more behind what there is; at the end of the log, nothing.
    fn read(&mut self, input: &mut impl Read) -> io::Result<usize> {
        if self.bytes.len() < self.len + READ_BYTES {
            self.bytes.resize(self.len + READ_BYTES, 0);
        }
        loop {
            match input.read(&mut self.bytes[self.len..][..READ_BYTES]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    self.len += *read.as_ref().unwrap_or(&0);
                    return read;
                }
            }
        }
    }
}

/// The lines of `text`, without their ends.
pub(crate) fn of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let all = (!rest.is_empty()).then_some(rest)?;
        let end = memchr(b'\n', all).unwrap_or(all.len());
        rest = all.get(end + 1..).unwrap_or_default();
        Some(&all[..end])
    })
}

/// A log, piece by piece.
pub(crate) struct Pieces<R> {
    input: R,
    /// The beginning of a line that did not end in the last piece.
    begun: Vec<u8>,
}

impl<R: Read> Pieces<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, begun: Vec::new() }
    }

    /// Reads the next lines into `piece`, as soon as there are any; what exceeds
    /// [`MAX_LINE_BYTES`] of a line is left out. False at the end of the log.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub(crate) fn read(&mut self, piece: &mut Piece) -> io::Result<bool> {
        piece.len = self.begun.len();
        if piece.bytes.len() < piece.len {
            piece.bytes.resize(piece.len, 0);
        }
        piece.bytes[..piece.len].copy_from_slice(&self.begun);
        self.begun.clear();
        loop {
            let known = piece.len;
            if piece.read(&mut self.input)? == 0 {
                return Ok(piece.len > 0);
            }
            let new = &piece.text()[known..];
            let (Some(first), Some(last)) = (memchr(b'\n', new), memrchr(b'\n', new)) else {
                piece.len = piece.len.min(MAX_LINE_BYTES);
                continue;
            };
            self.begun.extend_from_slice(&new[last + 1..]);
            piece.len = known + last + 1;
            let first = known + first;
            if first > MAX_LINE_BYTES {
                piece.bytes.copy_within(first..piece.len, MAX_LINE_BYTES);
                piece.len -= first - MAX_LINE_BYTES;
            }
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An input that gives few bytes at once.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n_bytes = self.1.min(buffer.len());
            self.0.read(&mut buffer[..n_bytes])
        }
    }

    #[track_caller]
    fn check(input: &[u8], at_once: usize, want: &[&[u8]]) {
        let mut pieces = Pieces::new(Slow(input, at_once));
        let (mut piece, mut lines) = (Piece::default(), Vec::new());
        while pieces.read(&mut piece).expect("bytes in memory can be read") {
            lines.extend(piece.lines().map(<[u8]>::to_vec));
        }
        assert_eq!(lines, want);
    }

    #[test]
    fn every_line_comes_whole_whatever_is_read_at_once() {
        for at_once in 1..9 {
            check(b"ab\n\ncde", at_once, &[b"ab", b"", b"cde"]);
            check(b"ab\n", at_once, &[b"ab"]);
            check(b"", at_once, &[]);
        }
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut input = vec![b'x'; 3 * MAX_LINE_BYTES];
        input.extend_from_slice(b"\nnext");
        let cut = vec![b'x'; MAX_LINE_BYTES];
        check(&input, 4096, &[&cut, b"next"]);
        check(&input, 8 * MAX_LINE_BYTES, &[&cut, b"next"]);
    }
}
