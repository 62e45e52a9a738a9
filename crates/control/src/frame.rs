//! One JSON object a line, and no line without end.

use std::io::{self, BufRead, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest request: a decoy's failure with its evidence is a few kilobytes, a list of
/// addresses to unban can be long.
pub(crate) const MAX_REQUEST_BYTES: u64 = 1 << 20;

/// The longest answer: a list of a million bans as addresses is about 50 MB.
pub(crate) const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// Why a line could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side closed before the line was complete.
    #[error("the connection was closed")]
    Closed,
    /// The line is longer than this side accepts.
    #[error("a line is longer than {max} bytes")]
    TooLong {
        /// How many bytes are accepted.
        max: u64,
    },
    /// The line is not the object that was expected.
    #[error("a line is not what the protocol says")]
    Garbled(#[source] serde_json::Error),
    /// The system said no.
    #[error("reading or writing failed")]
    Io(#[source] io::Error),
}

/// Reads one line of at most `max` bytes as a `T`.
pub(crate) fn read<T: DeserializeOwned>(
    from: &mut impl BufRead,
    max: u64,
) -> Result<T, FrameError> {
    let mut line = Vec::new();
    io::Read::take(&mut *from, max).read_until(b'\n', &mut line).map_err(FrameError::Io)?;
    if line.last() != Some(&b'\n') {
        let full = line.len() as u64 == max;
        return Err(if full { FrameError::TooLong { max } } else { FrameError::Closed });
    }
    serde_json::from_slice(&line).map_err(FrameError::Garbled)
}

/// Writes `value` as one line of at most `max` bytes.
pub(crate) fn write<T: Serialize>(
    to: &mut impl Write,
    value: &T,
    max: u64,
) -> Result<(), FrameError> {
    // serde_json escapes every control character, so the text holds no line end of its own.
    let mut line = serde_json::to_vec(value).map_err(FrameError::Garbled)?;
    line.push(b'\n');
    if line.len() as u64 > max {
        return Err(FrameError::TooLong { max });
    }
    to.write_all(&line).and_then(|()| to.flush()).map_err(FrameError::Io)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use super::*;

    #[test]
    fn a_line_carries_hostile_text() {
        let text = "a\nb\u{1b}[31m\u{0}\"".to_owned();
        let mut wire = Vec::new();
        write(&mut wire, &text, 100).unwrap();
        assert_eq!(wire.iter().filter(|&&byte| byte == b'\n').count(), 1);
        assert_eq!(read::<String>(&mut wire.as_slice(), 100).unwrap(), text);
    }

    #[test]
    fn a_line_has_an_end() {
        let long = [b'x'; 50];
        assert!(matches!(read::<String>(&mut &long[..], 20), Err(FrameError::TooLong { max: 20 })));
        assert!(matches!(read::<String>(&mut &long[..], 100), Err(FrameError::Closed)));
        assert!(matches!(write(&mut Vec::new(), &"12345", 5), Err(FrameError::TooLong { .. })));
        assert!(matches!(read::<u8>(&mut &b"{}\n"[..], 5), Err(FrameError::Garbled(_))));
    }
}
