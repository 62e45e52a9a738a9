//! How a log is packed, by its first bytes, and its text.

use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;

use crate::journal;

/// How much of a packed log is read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// The first bytes that tell how a log is packed.
const MAGIC_BYTES: usize = 8;

/// How a log is packed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Xz,
    Zstd,
    Bzip2,
    /// A file of systemd's journal, which journalctl reads.
    Journal,
}

impl Packing {
    fn of(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [b'L', b'P', b'K', b'S', b'H', b'H', b'R', b'H', ..] => Self::Journal,
            _ => Self::Plain,
        }
    }
}

/// A log with its first bytes put back.
type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// How the log that `from` begins with is packed, and all of it.
pub(crate) fn tell<R: Read>(mut from: R) -> io::Result<(Packing, Whole<R>)> {
    let mut magic = Vec::with_capacity(MAGIC_BYTES);
    from.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut magic)?;
    Ok((Packing::of(&magic), Cursor::new(magic).chain(from)))
}

/// The text of what is packed in this way; several archives one after the other are one.
///
/// # Errors
///
/// When it cannot begin; what is broken further on fails to read there.
pub(crate) fn unpack<'r>(
    packing: Packing,
    path: &Path,
    from: impl Read + Send + 'r,
) -> io::Result<Box<dyn Read + Send + 'r>> {
    let from = BufReader::with_capacity(BUFFER_BYTES, from);
    Ok(match packing {
        Packing::Plain => Box::new(from),
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(from)),
        Packing::Xz => Box::new(Sips(liblzma::bufread::XzDecoder::new_multi_decoder(from))),
        Packing::Zstd => Box::new(zstd::Decoder::with_buffer(from)?),
        Packing::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(from)),
        Packing::Journal => Box::new(journal::open(path)?),
    })
}

/// The most that a decoder which forgets what it gave before it failed is asked for at once.
const SIP_BYTES: usize = 4 << 10;

/// Reads a little at a time, so that little is lost where an archive is broken.
struct Sips<R>(R);

impl<R: Read> Read for Sips<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n_bytes = into.len().min(SIP_BYTES);
        self.0.read(&mut into[..n_bytes])
    }
}
