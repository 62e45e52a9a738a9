//! The names of our sets and counters in the kernel.
//!
//! A set is named for what it holds, its jail and its generation: `addr4-sshd.1`. Each rebuild
//! fills sets of a new generation and then turns the rules to them.

use std::fmt::Write as _;

use ipnet::IpNet;

use crate::firewall::is_address;

/// A set of a jail: by family, and by whether it holds addresses or prefixes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Set {
    Addr4,
    Addr6,
    Net4,
    Net6,
}

impl Set {
    pub(super) const ALL: [Self; 4] = [Self::Addr4, Self::Addr6, Self::Net4, Self::Net6];

    pub(super) fn of(target: &IpNet) -> Self {
        match (target, is_address(target)) {
            (IpNet::V4(_), true) => Self::Addr4,
            (IpNet::V4(_), false) => Self::Net4,
            (IpNet::V6(_), true) => Self::Addr6,
            (IpNet::V6(_), false) => Self::Net6,
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Addr4 => "addr4-",
            Self::Addr6 => "addr6-",
            Self::Net4 => "net4-",
            Self::Net6 => "net6-",
        }
    }

    /// The name in the kernel.
    pub(super) fn name(self, jail: &str, generation: u32) -> String {
        format!("{}{}.{generation}", self.prefix(), plain(jail))
    }

    /// Which set, of which jail, of which generation bears a name, where it is one of ours.
    pub(super) fn read(name: &str) -> Option<(Self, String, u32)> {
        let (name, generation) = name.rsplit_once('.')?;
        let set = Self::ALL.into_iter().find(|set| name.starts_with(set.prefix()))?;
        let jail = jail(&name[set.prefix().len()..])?;
        Some((set, jail, generation.parse().ok()?))
    }

    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Addr4 | Self::Net4 => "ipv4_addr",
            Self::Addr6 | Self::Net6 => "ipv6_addr",
        }
    }

    pub(super) fn family(self) -> &'static str {
        match self {
            Self::Addr4 | Self::Net4 => "ip",
            Self::Addr6 | Self::Net6 => "ip6",
        }
    }

    pub(super) fn holds_prefixes(self) -> bool {
        matches!(self, Self::Net4 | Self::Net6)
    }

    pub(super) fn flags(self) -> &'static str {
        match self {
            Self::Addr4 | Self::Addr6 => "timeout",
            Self::Net4 | Self::Net6 => "interval, timeout",
        }
    }
}

/// What the name of a counter begins with: a word of nft's own, as `icmp` or `log`, is no name.
const COUNTER: &str = "of-";

/// The counter of a jail or a list.
pub(super) fn counter(jail: &str) -> String {
    format!("{COUNTER}{}", plain(jail))
}

/// Whose a counter is, where it is one of ours.
pub(super) fn counted(name: &str) -> Option<String> {
    jail(name.strip_prefix(COUNTER)?)
}

/// The name of a jail or a list as a part of a word of nft, which reads letters, digits, `-` and `_` in one;
/// any other byte, and `_` itself, is written as `_` and two digits, so that no two share a name.
fn plain(name: &str) -> String {
    let mut word = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => word.push(byte.into()),
            // Writing to a string cannot fail.
            byte => _ = write!(word, "_{byte:02x}"),
        }
    }
    word
}

/// What [`plain`] made the word of.
fn jail(word: &str) -> Option<String> {
    let mut bytes = word.bytes();
    let mut name = Vec::new();
    while let Some(byte) = bytes.next() {
        name.push(match byte {
            b'_' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(name).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_read_back() {
        for jail in ["sshd", "nginx-http-auth", "a b", "a_b", "a_20b", "a.1", "böse; drop", "x}"] {
            let name = Set::Addr6.name(jail, 7);
            assert!(name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._".contains(&it)));
            assert_eq!(Set::read(&name), Some((Set::Addr6, jail.to_owned(), 7)), "{name}");
            assert_eq!(counted(&counter(jail)).as_deref(), Some(jail));
        }
        assert_ne!(Set::Net4.name("a b", 1), Set::Net4.name("a_20b", 1));
        assert_eq!(Set::read("somebody-elses.1"), None);
        assert_eq!(Set::read("addr4-sshd"), None);
    }
}
