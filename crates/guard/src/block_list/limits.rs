//! Whom guard never blocks, whatever a list says, and whose word frees.

use std::collections::BTreeMap;
use std::net::IpAddr;

use control::block_list::{Refused, WhyRefused};
use ipnet::IpNet;

/// Where no attacker from afar can be: unspecified, loopback, link-local (IPv6 finds its neighbours
/// there), multicast and reserved addresses, and IPv4 in the form of IPv6 (RFC 6890).
const SPECIAL: [&str; 10] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "fe80::/10",
    "ff00::/8",
];

/// What guard takes of block lists, whoever asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The shortest length of a prefix of IPv4.
    pub widest_v4: u8,
    /// The shortest length of a prefix of IPv6.
    pub widest_v6: u8,
    /// Entries of all lists together.
    pub max_entries: usize,
    /// Whose word that somebody is a false positive lifts the bans of all jails.
    pub trusted: Vec<String>,
}

impl Default for Limits {
    /// A sixteenth bit more than the widest networks that one attacker is seen in; as many entries as
    /// the kernel holds in some 200 MB.
    fn default() -> Self {
        Self { widest_v4: 16, widest_v6: 32, max_entries: 1_000_000, trusted: Vec::new() }
    }
}

impl Limits {
    /// Why a prefix is never taken; this does not depend on the host.
    pub(super) fn refuses(&self, net: &IpNet) -> Option<WhyRefused> {
        if self.is_too_wide(net) {
            return Some(WhyRefused::TooWide);
        }
        let special = SPECIAL.iter().filter_map(|it| it.parse::<IpNet>().ok());
        overlaps(special, net).then_some(WhyRefused::Special)
    }

    /// Whether the word of `who` lifts the bans of `net`, or why not.
    pub(crate) fn may_lift(&self, net: &IpNet, who: &str) -> Result<(), String> {
        if !self.trusted.iter().any(|it| it == who) {
            return Err(format!("`trusted_false_positives` of guard does not name {who:?}"));
        }
        match self.is_too_wide(net) {
            true => Err(format!("{net} is wider than `widest` of guard allows")),
            false => Ok(()),
        }
    }

    fn is_too_wide(&self, net: &IpNet) -> bool {
        let widest = match net {
            IpNet::V4(_) => self.widest_v4,
            IpNet::V6(_) => self.widest_v6,
        };
        net.prefix_len() < widest
    }
}

fn overlaps(mut nets: impl Iterator<Item = IpNet>, net: &IpNet) -> bool {
    nets.any(|it| it.contains(net) || net.contains(&it))
}

/// Whom guard must not block now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Spared {
    /// First address, last address and reason; in order, and none in another.
    ranges: Vec<(IpAddr, IpAddr, WhyRefused)>,
}

impl Spared {
    pub(super) fn new(nets: impl Iterator<Item = (IpNet, WhyRefused)>) -> Self {
        let mut nets: Vec<_> = nets.map(|(net, why)| (net.trunc(), why)).collect();
        nets.sort_unstable();
        let mut ranges: Vec<(IpAddr, IpAddr, WhyRefused)> = Vec::new();
        // In order, a prefix comes before those that lie in it.
        for (net, why) in nets {
            if ranges.last().is_none_or(|(_, last, _)| *last < net.network()) {
                ranges.push((net.network(), net.broadcast(), why));
            }
        }
        Self { ranges }
    }

    /// Why `net`, or a part of it, must not be blocked.
    pub(super) fn why(&self, net: &IpNet) -> Option<WhyRefused> {
        let after = self.ranges.partition_point(|(first, ..)| *first <= net.broadcast());
        let (_, last, why) = self.ranges[..after].last()?;
        (*last >= net.network()).then_some(*why)
    }

    /// The prefixes of this one that are not in `other`.
    pub(super) fn beyond(&self, other: &Self) -> Vec<IpNet> {
        let new = self.ranges.iter().filter(|it| !other.ranges.contains(it));
        new.flat_map(|(first, last, _)| net_of(*first, *last)).collect()
    }
}

/// The prefix of these first and last addresses.
fn net_of(first: IpAddr, last: IpAddr) -> Option<IpNet> {
    let n_bits = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (first.to_bits() ^ last.to_bits()).leading_zeros(),
        (IpAddr::V6(first), IpAddr::V6(last)) => (first.to_bits() ^ last.to_bits()).leading_zeros(),
        _ => return None,
    };
    IpNet::new(first, u8::try_from(n_bits).ok()?).ok()
}

/// Entries that are not taken, counted by the reason.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Refusals(BTreeMap<WhyRefused, (u64, Option<IpNet>)>);

impl Refusals {
    pub(super) fn add(&mut self, why: WhyRefused, net: IpNet) {
        let (n, first) = self.0.entry(why).or_default();
        *n += 1;
        first.get_or_insert(net);
    }

    pub(super) fn list(&self) -> Vec<Refused> {
        let listed = |(why, (n, first)): (&WhyRefused, &(u64, Option<IpNet>))| {
            first.map(|first| Refused { why: *why, n: *n, first })
        };
        self.0.iter().filter_map(listed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("the row holds a prefix")
    }

    #[track_caller]
    fn check(text: &str, want: Option<WhyRefused>) {
        assert_eq!(Limits::default().refuses(&net(text)), want, "{text}");
    }

    #[track_caller]
    fn check_lift(text: &str, who: &str, want: Result<(), &str>) {
        let limits = Limits { trusted: vec!["CERT".to_owned()], ..Limits::default() };
        assert_eq!(limits.may_lift(&net(text), who), want.map_err(str::to_owned), "{text} {who}");
    }

    #[test]
    fn whose_word_frees() {
        check_lift("192.0.2.1/32", "CERT", Ok(()));
        check_lift("198.51.0.0/16", "CERT", Ok(()));
        check_lift("0.0.0.0/0", "CERT", Err("0.0.0.0/0 is wider than `widest` of guard allows"));
        let unknown = "`trusted_false_positives` of guard does not name \"ORG\"";
        check_lift("192.0.2.1/32", "ORG", Err(unknown));
    }

    #[test]
    fn some_are_never_taken() {
        check("203.0.113.7/32", None);
        check("203.0.0.0/16", None);
        check("203.0.0.0/15", Some(WhyRefused::TooWide));
        check("0.0.0.0/0", Some(WhyRefused::TooWide));
        check("::/0", Some(WhyRefused::TooWide));
        check("2001:db8::/32", None);
        check("2001:d00::/24", Some(WhyRefused::TooWide));
        check("127.0.0.1/32", Some(WhyRefused::Special));
        check("169.254.0.0/16", Some(WhyRefused::Special));
        check("224.0.0.1/32", Some(WhyRefused::Special));
        check("fe80::/64", Some(WhyRefused::Special));
        check("::ffff:192.0.2.1/128", Some(WhyRefused::Special));
    }

    #[test]
    fn spares_whoever_is_in_a_prefix_or_has_one_in_it() {
        let spared = Spared::new(
            [
                (net("192.0.2.1/32"), WhyRefused::OwnAddress),
                (net("10.0.0.0/8"), WhyRefused::Ignored),
                (net("10.1.0.0/16"), WhyRefused::Administrator), // lies in the one before
                (net("2001:db8::1/128"), WhyRefused::Administrator),
            ]
            .into_iter(),
        );
        for (text, want) in [
            ("192.0.2.1/32", Some(WhyRefused::OwnAddress)),
            ("192.0.2.0/24", Some(WhyRefused::OwnAddress)),
            ("192.0.2.2/32", None),
            ("10.1.2.3/32", Some(WhyRefused::Ignored)),
            ("11.0.0.0/16", None),
            ("9.255.255.255/32", None),
            ("2001:db8::/64", Some(WhyRefused::Administrator)),
            ("2001:db8::2/128", None),
        ] {
            assert_eq!(spared.why(&net(text)), want, "{text}");
        }
        let fewer = Spared::new([(net("10.0.0.0/8"), WhyRefused::Ignored)].into_iter());
        assert_eq!(spared.beyond(&fewer), [net("192.0.2.1/32"), net("2001:db8::1/128")]);
        assert_eq!(fewer.beyond(&spared), []);
    }
}
