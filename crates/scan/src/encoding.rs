//! A log's encoding: how its bytes become text.

use std::borrow::Cow;

/// The encodings that a log may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Encoding {
    Utf8,
    Ascii,
    Latin1,
}

impl Encoding {
    /// The encoding that Python knows by this name; `auto` is UTF-8.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.to_lowercase().replace(['_', ' '], "-").as_str() {
            "auto" | "utf-8" | "utf8" | "u8" | "utf" | "cp65001" => Some(Self::Utf8),
            "ascii" | "us-ascii" | "646" => Some(Self::Ascii),
            "latin-1" | "latin1" | "latin" | "l1" | "8859" | "cp819" | "iso-8859-1"
            | "iso8859-1" | "iso8859" => Some(Self::Latin1),
            _ => None,
        }
    }

    /// The text of `bytes`; what cannot be read becomes U+FFFD, as in fail2ban.
    pub(crate) fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            // Much faster where nothing is wrong.
            Self::Utf8 => std::str::from_utf8(bytes)
                .map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed),
            Self::Ascii | Self::Latin1 if bytes.is_ascii() => String::from_utf8_lossy(bytes),
            Self::Ascii => {
                let one = |&byte: &u8| if byte.is_ascii() { char::from(byte) } else { '\u{fffd}' };
                bytes.iter().map(one).collect()
            }
            Self::Latin1 => bytes.iter().map(|&byte| char::from(byte)).collect(),
        }
    }
}
