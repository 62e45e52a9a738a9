//! All indicators of a search, made for looking up every address of a log.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::indicator::Indicator;
use crate::ranges::Ranges;
use crate::table::Table;

/// Bits of an IPv4 address that a bit of the map stands for.
const HOST_BITS: u32 = 8;
/// 64-bit words of the map: 2 MiB, which stays in the cache.
const MAP_WORDS: usize = 1 << (32 - HOST_BITS - u64::BITS.trailing_zeros());

/// All indicators of a search.
#[derive(Debug)]
pub struct IndicatorSet {
    /// A bit for each /24: whether anything of it is looked for. Most addresses end here.
    map: Box<[u64]>,
    v4: Table<u32>,
    v6: Table<u128>,
    prefixes4: Ranges<u32>,
    prefixes6: Ranges<u128>,
    fingerprints: HashSet<String>,
    users: Vec<String>,
}

impl FromIterator<Indicator> for IndicatorSet {
    fn from_iter<I: IntoIterator<Item = Indicator>>(indicators: I) -> Self {
        let (mut v4, mut v6, mut users) = (Vec::new(), Vec::new(), Vec::new());
        let (mut prefixes4, mut prefixes6) = (Vec::new(), Vec::new());
        let mut fingerprints = HashSet::new();
        for indicator in indicators {
            match indicator {
                Indicator::Address(IpAddr::V4(addr)) => v4.push(addr.to_bits()),
                Indicator::Address(IpAddr::V6(addr)) => v6.push(addr.to_bits()),
                Indicator::Prefix(IpNet::V4(net)) => {
                    let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                    prefixes4.push((first, last, IpNet::V4(net)));
                }
                Indicator::Prefix(IpNet::V6(net)) => {
                    let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
                    prefixes6.push((first, last, IpNet::V6(net)));
                }
                Indicator::Fingerprint(print) => drop(fingerprints.insert(print)),
                Indicator::User(name) => users.push(name),
            }
        }
        users.sort_unstable();
        users.dedup();
        let singles = v4.iter().map(|addr| (*addr, *addr));
        let map = map(singles.chain(prefixes4.iter().map(|(first, last, _)| (*first, *last))));
        Self {
            map,
            v4: Table::new(&v4),
            v6: Table::new(&v6),
            prefixes4: Ranges::new(prefixes4),
            prefixes6: Ranges::new(prefixes6),
            fingerprints,
            users,
        }
    }
}

/// The map of all /24 between these first and last addresses.
fn map(ranges: impl Iterator<Item = (u32, u32)>) -> Box<[u64]> {
    let mut map = vec![0; MAP_WORDS].into_boxed_slice();
    for (first, last) in ranges {
        for net in first >> HOST_BITS..=last >> HOST_BITS {
            map[(net / u64::BITS) as usize] |= 1 << (net % u64::BITS);
        }
    }
    map
}

impl IndicatorSet {
    /// How many different indicators there are.
    pub fn len(&self) -> usize {
        let addresses = self.v4.len() + self.v6.len();
        let prefixes = self.prefixes4.len() + self.prefixes6.len();
        addresses + prefixes + self.fingerprints.len() + self.users.len()
    }

    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The user names that are looked for, sorted.
    pub fn users(&self) -> &[String] {
        &self.users
    }

    /// Whether any fingerprint is looked for.
    pub(crate) fn has_fingerprints(&self) -> bool {
        !self.fingerprints.is_empty()
    }

    /// Whether this fingerprint is looked for.
    pub(crate) fn has_fingerprint(&self, print: &str) -> bool {
        self.fingerprints.contains(print)
    }

    /// Calls `each` with every indicator that `addr` is, or lies in.
    #[inline]
    pub fn for_each_match(&self, addr: IpAddr, each: impl FnMut(Indicator)) {
        match addr {
            IpAddr::V4(addr) => {
                let net = addr.to_bits() >> HOST_BITS;
                let word = self.map[(net / u64::BITS) as usize];
                if word >> (net % u64::BITS) & 1 == 1 {
                    self.look_up(IpAddr::V4(addr), each);
                }
            }
            IpAddr::V6(addr) => self.look_up(IpAddr::V6(addr), each),
        }
    }

    fn look_up(&self, addr: IpAddr, mut each: impl FnMut(Indicator)) {
        let is_listed = match addr {
            IpAddr::V4(addr) => self.v4.contains(addr.to_bits()),
            IpAddr::V6(addr) => self.v6.contains(addr.to_bits()),
        };
        if is_listed {
            each(Indicator::Address(addr));
        }
        let mut tell = |net| each(Indicator::Prefix(net));
        match addr {
            IpAddr::V4(addr) => self.prefixes4.around(addr.to_bits()).for_each(&mut tell),
            IpAddr::V6(addr) => self.prefixes6.around(addr.to_bits()).for_each(&mut tell),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(set: &IndicatorSet, addr: &str) -> Vec<String> {
        let mut found = Vec::new();
        set.for_each_match(addr.parse().expect("the row holds an address"), |it| {
            found.push(it.to_string());
        });
        found
    }

    #[track_caller]
    fn check(indicators: &[&str], addr: &str, want: &[&str]) {
        let set: IndicatorSet =
            indicators.iter().map(|it| it.parse().expect("an indicator")).collect();
        assert_eq!(matches(&set, addr), want, "{addr} in {indicators:?}");
    }

    #[test]
    fn an_address_is_found_with_all_that_lie_around_it() {
        check(&["192.0.2.7"], "192.0.2.7", &["192.0.2.7"]);
        check(&["192.0.2.7"], "192.0.2.8", &[]);
        check(&["0.0.0.0", "::"], "0.0.0.0", &["0.0.0.0"]);
        check(&[], "0.0.0.0", &[]);
        check(
            &["192.0.2.0/24", "192.0.0.0/16", "192.0.2.8/30", "192.0.2.7"],
            "192.0.2.7",
            &["192.0.2.7", "192.0.2.0/24", "192.0.0.0/16"],
        );
        check(&["10.0.0.0/9", "10.5.0.0/16"], "10.200.0.1", &[]);
        check(&["0.0.0.0/0"], "255.255.255.255", &["0.0.0.0/0"]);
        check(&["2001:db8::/32", "2001:db8::7"], "2001:db8::7", &["2001:db8::7", "2001:db8::/32"]);
    }

    proptest! {
        #[test]
        fn prefixes_are_found_as_by_trying_each(
            nets in prop::collection::vec((0..64_u32, 24..=31_u8), 0..12),
            host in 0..64_u32,
        ) {
            let addr = |bits: u32| std::net::Ipv4Addr::from_bits(0x0a00_0000 | bits << 3);
            let nets: Vec<IpNet> = nets
                .iter()
                .filter_map(|(bits, len)| IpNet::new(addr(*bits).into(), *len).ok())
                .map(|net| net.trunc())
                .collect();
            let set: IndicatorSet = nets.iter().copied().map(Indicator::from).collect();
            let found: HashSet<_> = matches(&set, &addr(host).to_string()).into_iter().collect();
            let around = nets.iter().filter(|net| net.contains(&IpAddr::V4(addr(host))));
            prop_assert_eq!(found, around.map(IpNet::to_string).collect());
        }
    }
}
