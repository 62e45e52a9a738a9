//! Reads whole lines in blocks, in a bounded amount of memory however long a line is.

use std::io::{self, ErrorKind, Read};

use memchr::memrchr;

use crate::token::is_word;

/// What is read at once: large enough that system calls do not count, small enough for the cache.
const BLOCK_BYTES: usize = 1 << 20;
/// How far from its end a line that fills a block is cut, so that no token is.
const CUT_REACH: usize = 4 << 10;

/// Reads blocks of lines.
pub(crate) struct Blocks<R> {
    from: R,
    /// The beginning of a line, which the last block had no room for.
    begun: Vec<u8>,
    /// The last block ended amid a line.
    is_cut: bool,
    failed: Option<io::Error>,
}

/// Some whole lines, or a part of one that fills a block.
#[derive(Debug, Default)]
pub(crate) struct Block {
    buffer: Vec<u8>,
    n_bytes: usize,
    /// Its first line began in a block before.
    pub(crate) goes_on: bool,
    /// Its last line goes on in the next block.
    pub(crate) is_cut: bool,
}

impl Block {
    pub(crate) fn text(&self) -> &[u8] {
        &self.buffer[..self.n_bytes]
    }
}

impl<R: Read> Blocks<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, begun: Vec::new(), is_cut: false, failed: None }
    }

    /// Reads the next block into `block`, and tells whether there is one. What was read before a
    /// failure comes before it.
    pub(crate) fn next(&mut self, block: &mut Block) -> io::Result<bool> {
        block.buffer.resize(BLOCK_BYTES, 0);
        block.buffer[..self.begun.len()].copy_from_slice(&self.begun);
        let n_filled = self.fill(&mut block.buffer, self.begun.len());
        if n_filled == 0 {
            return self.failed.take().map_or(Ok(false), Err);
        }
        let text = &block.buffer[..n_filled];
        let is_full = n_filled == BLOCK_BYTES;
        block.goes_on = self.is_cut;
        (block.n_bytes, block.is_cut) = match memrchr(b'\n', text) {
            Some(end) if is_full => (end + 1, false),
            None if is_full => (cut(text), true),
            _ => (n_filled, false),
        };
        self.is_cut = block.is_cut;
        self.begun.clear();
        self.begun.extend_from_slice(&text[block.n_bytes..]);
        Ok(true)
    }

    /// Fills `buffer` from `n_filled` on, and tells how far.
    fn fill(&mut self, buffer: &mut [u8], mut n_filled: usize) -> usize {
        while n_filled < buffer.len() && self.failed.is_none() {
            match self.from.read(&mut buffer[n_filled..]) {
                Ok(0) => break,
                Ok(n_bytes) => n_filled += n_bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.failed = Some(error),
            }
        }
        n_filled
    }
}

/// Where a text may be cut without cutting a token.
fn cut(text: &[u8]) -> usize {
    let from = text.len() - CUT_REACH;
    let may_part = |byte: &u8| !is_word(*byte) && !matches!(byte, b'.' | b':' | b'-' | b'+' | b'/');
    let last = text[from..].iter().rposition(may_part);
    last.map_or(text.len(), |last| from + last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &[u8]) -> Vec<(usize, bool, bool)> {
        let (mut blocks, mut block) = (Blocks::new(text), Block::default());
        let mut seen = Vec::new();
        while blocks.next(&mut block).expect("bytes in memory can be read") {
            seen.push((block.text().len(), block.goes_on, block.is_cut));
        }
        seen
    }

    #[test]
    fn lines_come_whole() {
        assert_eq!(blocks(b""), []);
        assert_eq!(blocks(b"a\nb"), [(3, false, false)]);
        let line = [&[b'x'; 700_000][..], b"\n"].concat();
        let text = line.repeat(3);
        assert_eq!(blocks(&text), [(700_001, false, false); 3]);
    }

    #[test]
    fn a_line_that_fills_blocks_is_cut_where_no_token_is() {
        let text = b"192.0.2.7 ".repeat(300_000);
        let seen = blocks(&text);
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|(len, ..)| len % 10 == 0), "{seen:?}");
        assert_eq!(
            seen.iter().map(|it| (it.1, it.2)).collect::<Vec<_>>(),
            [(false, true), (true, true), (true, false)]
        );
        assert_eq!(
            blocks(&vec![b'x'; BLOCK_BYTES + 1]),
            [(BLOCK_BYTES, false, true), (1, true, false)]
        );
    }
}
