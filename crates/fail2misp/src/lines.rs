//! Reads lines of any length in a bounded amount of memory.

use std::io::{self, BufRead};

use memchr::memchr;

/// What is kept of a line. Log daemons cut far below this (journald at 48 KiB, rsyslog at 8 KiB), and
/// whoever writes more means harm.
pub(crate) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// Calls `each` with every line, without its `\n`; what exceeds [`MAX_LINE_BYTES`] is left out.
///
/// # Errors
///
/// When the input cannot be read, or `each` fails.
pub(crate) fn for_each<E: From<io::Error>>(
    mut input: impl BufRead,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    // The beginning of a line that did not end in the buffer.
    let mut begun = Vec::new();
    loop {
        let buffer = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if buffer.is_empty() {
            break;
        }
        let n_bytes = buffer.len();
        let mut rest = buffer;
        while let Some(end) = memchr(b'\n', rest) {
            let line = &rest[..end];
            if begun.is_empty() {
                each(&line[..end.min(MAX_LINE_BYTES)])?;
            } else {
                extend(&mut begun, line);
                each(&begun)?;
                begun.clear();
            }
            rest = &rest[end + 1..];
        }
        extend(&mut begun, rest);
        input.consume(n_bytes);
    }
    if begun.is_empty() { Ok(()) } else { each(&begun) }
}

fn extend(line: &mut Vec<u8>, more: &[u8]) {
    let room = MAX_LINE_BYTES - line.len();
    line.extend_from_slice(&more[..more.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[track_caller]
    fn check(input: &[u8], buffer: usize, want: &[&[u8]]) {
        let mut lines = Vec::new();
        for_each(BufReader::with_capacity(buffer, input), |line| {
            lines.push(line.to_vec());
            Ok::<_, io::Error>(())
        })
        .expect("bytes in memory can be read");
        assert_eq!(lines, want);
    }

    #[test]
    fn every_line_comes_whole_whatever_the_buffer_holds() {
        for buffer in 1..9 {
            check(b"ab\n\ncde", buffer, &[b"ab", b"", b"cde"]);
            check(b"ab\n", buffer, &[b"ab"]);
            check(b"", buffer, &[]);
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
