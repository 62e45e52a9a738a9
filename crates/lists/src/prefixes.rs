//! Sets of addresses as sorted ranges: a question costs a binary search, a million prefixes 40 MB.

use std::net::IpAddr;

use ipnet::IpNet;

/// A set of addresses, made of prefixes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PrefixSet {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl PrefixSet {
    /// Whether `addr` is in it; a mapped address is the IPv4 address that it stands for.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.covers(IpNet::from(addr.to_canonical()))
    }

    /// Whether every address of `net` is in it.
    pub fn covers(&self, net: IpNet) -> bool {
        match net {
            IpNet::V4(net) => self.v4.covers(net.network().into(), net.broadcast().into()),
            IpNet::V6(net) => self.v6.covers(net.network().into(), net.broadcast().into()),
        }
    }

    /// Whether any address of `net` is in it.
    pub fn touches(&self, net: IpNet) -> bool {
        match net {
            IpNet::V4(net) => self.v4.touches(net.network().into(), net.broadcast().into()),
            IpNet::V6(net) => self.v6.touches(net.network().into(), net.broadcast().into()),
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.v4.0.is_empty() && self.v6.0.is_empty()
    }
}

impl FromIterator<IpNet> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => v4.push((net.network().into(), net.broadcast().into())),
                IpNet::V6(net) => v6.push((net.network().into(), net.broadcast().into())),
            }
        }
        Self { v4: Ranges::of(v4), v6: Ranges::of(v6) }
    }
}

/// Ranges from first to last address, sorted; none touches another.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Ranges<T>(Vec<(T, T)>);

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + Ord> Ranges<T> {
    fn of(mut ranges: Vec<(T, T)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        merged.shrink_to_fit();
        Self(merged)
    }

    fn covers(&self, first: T, last: T) -> bool {
        self.until(first).is_some_and(|range| last <= range.1)
    }

    fn touches(&self, first: T, last: T) -> bool {
        self.until(last).is_some_and(|range| first <= range.1)
    }

    /// The last range that begins at or before `place`.
    fn until(&self, place: T) -> Option<&(T, T)> {
        let n = self.0.partition_point(|range| range.0 <= place);
        n.checked_sub(1).map(|n| &self.0[n])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(texts: &[&str]) -> PrefixSet {
        texts.iter().map(|text| text.parse::<IpNet>().expect("the row holds a prefix")).collect()
    }

    #[test]
    fn membership() {
        let set = set(&["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32"]);
        let contains = |text: &str| set.contains(text.parse().expect("an address"));
        assert!(contains("192.0.2.0") && contains("192.0.2.255"));
        assert!(!contains("192.0.1.255") && !contains("192.0.3.0"));
        assert!(contains("198.51.100.7") && !contains("198.51.100.8"));
        assert!(contains("::ffff:192.0.2.9")); // mapped
        assert!(contains("2001:db8::1") && !contains("2001:db9::"));
        let net = |text: &str| text.parse::<IpNet>().expect("a prefix");
        assert!(set.covers(net("192.0.2.128/25")) && !set.covers(net("192.0.2.0/23")));
        assert!(set.touches(net("192.0.2.0/23")) && set.touches(net("0.0.0.0/0")));
        assert!(!set.touches(net("203.0.113.0/24")));
    }

    #[test]
    fn the_ends_of_the_space() {
        let all = set(&["0.0.0.0/0", "::/0"]);
        assert!(all.covers("0.0.0.0/0".parse().expect("a prefix")));
        assert!(all.contains("255.255.255.255".parse().expect("an address")));
        assert!(all.contains("ffff::ffff".parse().expect("an address")));
        assert!(PrefixSet::default().is_empty() && !all.is_empty());
    }

    proptest! {
        #[test]
        fn is_what_a_plain_list_says(
            prefixes in prop::collection::vec((0_u32..4_096, 20_u8..=32), 0..40),
            asked in (0_u32..4_096, 20_u8..=32),
        ) {
            let net = |(bits, len): (u32, u8)| {
                IpNet::new(IpAddr::from(bits.to_be_bytes()), len).expect("a length").trunc()
            };
            let nets: Vec<IpNet> = prefixes.into_iter().map(net).collect();
            let set: PrefixSet = nets.iter().copied().collect();
            let asked = net(asked);
            let addresses: Vec<IpAddr> = asked.hosts().collect();
            let is_in = |addr: &IpAddr| nets.iter().any(|net| net.contains(addr));
            for addr in &addresses {
                prop_assert_eq!(set.contains(*addr), is_in(addr));
            }
            let touches = nets.iter().any(|it| it.contains(&asked) || asked.contains(it));
            prop_assert_eq!(set.touches(asked), touches);
            if nets.iter().any(|it| it.contains(&asked)) {
                prop_assert!(set.covers(asked));
            }
        }
    }
}
