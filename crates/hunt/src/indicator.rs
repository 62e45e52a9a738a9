//! What is looked for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// What a SHA-256 fingerprint begins with, as OpenSSH writes it; 43 letters of base 64 follow.
pub(crate) const SHA256: &str = "SHA256:";
/// Letters of a SHA-256 fingerprint.
const SHA256_LETTERS: usize = 43;
/// What an MD5 fingerprint begins with; 16 pairs of hexadecimal digits follow, with colons.
const MD5: &str = "MD5:";
/// What marks a name as that of a user in a list of indicators.
const USER: &str = "user:";

/// What is looked for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Indicator {
    /// One address; an IPv4-mapped one is held as IPv4.
    Address(IpAddr),
    /// A prefix with its host bits cleared, always shorter than a whole address.
    Prefix(IpNet),
    /// The fingerprint of an SSH key, as OpenSSH writes it: `SHA256:…` or `MD5:…`.
    Fingerprint(String),
    /// The name of a user.
    User(String),
}

/// Text that is no indicator.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("neither an address, a prefix, a fingerprint (SHA256:…) nor a user (user:NAME)")]
pub struct NoIndicator;

impl FromStr for Indicator {
    type Err = NoIndicator;

    fn from_str(text: &str) -> Result<Self, NoIndicator> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(addr) = bare.parse::<IpAddr>() {
            return Ok(Self::Address(addr.to_canonical()));
        }
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::from(net));
        }
        if let Some(name) = text.strip_prefix(USER).filter(|name| !name.is_empty()) {
            return Ok(Self::User(name.to_owned()));
        }
        fingerprint(text).ok_or(NoIndicator)
    }
}

impl From<IpNet> for Indicator {
    fn from(net: IpNet) -> Self {
        if net.prefix_len() == net.max_prefix_len() {
            return Self::Address(net.addr().to_canonical());
        }
        Self::Prefix(net.trunc())
    }
}

impl fmt::Display for Indicator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => addr.fmt(out),
            Self::Prefix(net) => net.fmt(out),
            Self::Fingerprint(print) => print.fmt(out),
            Self::User(name) => write!(out, "{USER}{name}"),
        }
    }
}

/// The fingerprint that `text` is.
fn fingerprint(text: &str) -> Option<Indicator> {
    let is_whole = if let Some(letters) = text.strip_prefix(SHA256) {
        letters.len() == SHA256_LETTERS && letters.bytes().all(is_base64)
    } else {
        let pairs = text.strip_prefix(MD5)?;
        pairs.split(':').count() == 16
            && pairs.split(':').all(|it| it.len() == 2 && u8::from_str_radix(it, 16).is_ok())
    };
    is_whole.then(|| Indicator::Fingerprint(text.to_owned()))
}

/// Whether `byte` is a letter of base 64.
pub(crate) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<&str>) {
        let read = text.parse::<Indicator>().ok().map(|it| it.to_string());
        assert_eq!(read.as_deref(), want, "{text}");
    }

    #[test]
    fn reads_indicators() {
        check("192.0.2.7", Some("192.0.2.7"));
        check("::ffff:192.0.2.7", Some("192.0.2.7"));
        check("[2001:DB8::1]", Some("2001:db8::1"));
        check("192.0.2.7/24", Some("192.0.2.0/24"));
        check("192.0.2.7/32", Some("192.0.2.7"));
        check("user:mallory", Some("user:mallory"));
        let print = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg";
        check(print, Some(print));
        let md5 = "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48";
        check(md5, Some(md5));
        check("SHA256:short", None);
        check("mallory", None);
        check("192.0.2.300", None);
        check("user:", None);
    }
}
