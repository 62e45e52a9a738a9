//! What a value names, and which prefixes may be in a list of offenders at all.

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;

use crate::PrefixSet;

/// Networks that mean another host everywhere: private ones, those of carriers (RFC 6598), links.
pub static PRIVATE: LazyLock<PrefixSet> = LazyLock::new(|| {
    set(&[
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    ])
});

/// Networks that no sender on the Internet has: this network, multicast, what is reserved.
pub static NOBODYS: LazyLock<PrefixSet> =
    LazyLock::new(|| set(&["0.0.0.0/8", "224.0.0.0/3", "::/96", "::ffff:0:0/96", "ff00::/8"]));

/// Networks of special purpose, by IANA's registries: documentation, tests, translation. Whoever
/// seems to come from there is nobody to tell others of; a list may name them all the same.
pub static SPECIAL: LazyLock<PrefixSet> = LazyLock::new(|| {
    set(&[
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    ])
});

fn set(texts: &[&str]) -> PrefixSet {
    texts.iter().map(|text| text.parse::<IpNet>().expect("the tables hold networks")).collect()
}

/// The widest prefix that a list may hold: a wider one is a mistake, or an attack on whoever
/// loads the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Widest {
    /// The shortest length of an IPv4 prefix.
    pub v4: u8,
    /// The shortest length of an IPv6 prefix.
    pub v6: u8,
}

impl Default for Widest {
    /// A /16 is the network of one provider, and so is a /32 of IPv6.
    fn default() -> Self {
        Self { v4: 16, v6: 32 }
    }
}

impl Widest {
    /// Whether a list may hold `net`, by its length alone.
    pub fn admits(self, net: IpNet) -> bool {
        net.prefix_len() >= if net.addr().is_ipv4() { self.v4 } else { self.v6 }
    }
}

/// Whether hosts of the public Internet have the addresses of `net`, all of them.
pub fn is_public(net: IpNet) -> bool {
    !PRIVATE.touches(net) && !NOBODYS.touches(net)
}

/// The prefix that an attribute's value names: an address, a prefix, or the first half of an
/// address with a port (`192.0.2.1|22`). A mapped address is the IPv4 address that it stands for.
pub fn read(value: &str) -> Option<IpNet> {
    let value = value.split_once('|').map_or(value, |(first, _port)| first).trim();
    if let Ok(addr) = value.parse::<IpAddr>() {
        return Some(IpNet::from(addr.to_canonical()));
    }
    value.parse::<IpNet>().ok().map(|net| net.trunc())
}

/// `net` as it is written in lists: a single address without its length.
pub fn write(net: IpNet) -> String {
    match is_single(net) {
        true => net.addr().to_string(),
        false => net.to_string(),
    }
}

/// Whether `net` is one address.
pub fn is_single(net: IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

/// Reads and writes a prefix as [`read`] and [`write`](fn@write) do.
pub mod text {
    use ipnet::IpNet;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// For `#[serde(with)]`.
    pub fn serialize<S: Serializer>(net: &IpNet, out: S) -> Result<S::Ok, S::Error> {
        match super::is_single(*net) {
            true => out.collect_str(&net.addr()),
            false => out.collect_str(net),
        }
    }

    /// For `#[serde(with)]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<IpNet, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(input)?;
        let fault = || de::Error::custom(format_args!("`{text}` is no address and no prefix"));
        super::read(&text).ok_or_else(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, want: Option<&str>) {
        assert_eq!(read(value).map(write).as_deref(), want, "{value}");
    }

    #[test]
    fn values() {
        check("192.0.2.7", Some("192.0.2.7"));
        check("192.0.2.7/32", Some("192.0.2.7"));
        check(" 192.0.2.7|22 ", Some("192.0.2.7"));
        check("198.51.100.77/26", Some("198.51.100.64/26")); // bits beyond the prefix mean nothing
        check("2001:DB8::7", Some("2001:db8::7"));
        check("::ffff:192.0.2.7", Some("192.0.2.7"));
        check("0.0.0.0/0", Some("0.0.0.0/0")); // read; `Widest` has its say
        check("192.0.2.300", None);
        check("192.0.2.0/33", None);
        check("evil.example", None);
        check("", None);
    }

    #[test]
    fn the_public_internet() {
        let is_public = |text: &str| read(text).is_some_and(is_public);
        assert!(is_public("192.0.2.7") && is_public("2001:db8::7"));
        for text in ["10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1", "224.0.0.1", "0.0.0.0"] {
            assert!(!is_public(text), "{text}");
        }
        for text in ["::", "::1", "fe80::1", "fd00::1", "ff02::1", "0.0.0.0/0", "10.0.0.0/7"] {
            assert!(!is_public(text), "{text}");
        }
    }

    #[test]
    fn the_widest() {
        let admits = |text: &str| read(text).is_some_and(|net| Widest::default().admits(net));
        assert!(admits("192.0.2.7"));
        assert!(admits("198.51.0.0/16"));
        assert!(!admits("8.0.0.0/15"));
        assert!(!admits("0.0.0.0/0"));
        assert!(admits("2001:db8::/32"));
        assert!(!admits("2001::/31"));
        assert!(!admits("::/0"));
    }
}
