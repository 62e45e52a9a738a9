//! Intervals of addresses, as nf_tables keeps prefixes: where each begins, and where it has ended.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

/// An element of a set: an address, or the edge of an interval.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Edge {
    pub(super) key: IpAddr,
    /// Whether it belongs to the set itself, or is the first that does not any more.
    pub(super) begins: bool,
}

/// The first address after a prefix; none after the last address there is.
pub(super) fn after(net: &IpNet) -> Option<IpAddr> {
    match net.broadcast() {
        IpAddr::V4(last) => Some(Ipv4Addr::from_bits(last.to_bits().checked_add(1)?).into()),
        IpAddr::V6(last) => Some(Ipv6Addr::from_bits(last.to_bits().checked_add(1)?).into()),
    }
}

/// The prefixes that intervals of one family are made of, whatever the order of their edges.
pub(super) fn nets(mut edges: Vec<Edge>) -> Vec<IpNet> {
    edges.sort_unstable();
    let mut nets = Vec::new();
    for (at, edge) in edges.iter().enumerate().filter(|(_, edge)| edge.begins) {
        match (edge.key, edges.get(at + 1).map(|next| next.key)) {
            (IpAddr::V4(first), next) => {
                let last = match next {
                    Some(IpAddr::V4(next)) => Ipv4Addr::from_bits(next.to_bits().saturating_sub(1)),
                    _ => Ipv4Addr::BROADCAST,
                };
                nets.extend(Ipv4Subnets::new(first, last, 0).map(IpNet::from));
            }
            (IpAddr::V6(first), next) => {
                let last = match next {
                    Some(IpAddr::V6(next)) => Ipv6Addr::from_bits(next.to_bits().saturating_sub(1)),
                    _ => Ipv6Addr::from_bits(u128::MAX),
                };
                nets.extend(Ipv6Subnets::new(first, last, 0).map(IpNet::from));
            }
        }
    }
    nets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(nets: &[&str]) {
        let want: Vec<IpNet> =
            nets.iter().map(|it| it.parse().expect("the row holds a prefix")).collect();
        let mut edges = vec![Edge { key: Ipv4Addr::UNSPECIFIED.into(), begins: false }]; // nft's own
        for net in &want {
            edges.extend(after(net).map(|key| Edge { key, begins: false }));
            edges.push(Edge { key: net.network(), begins: true });
        }
        let edges =
            edges.into_iter().rev().filter(|it| it.key.is_ipv4() == want[0].addr().is_ipv4());
        assert_eq!(super::nets(edges.collect()), want);
    }

    #[test]
    fn reads_prefixes_back() {
        check(&["10.0.0.0/9", "10.128.0.0/9", "192.0.2.0/24"]); // the first two touch
        check(&["0.0.0.0/1", "255.0.0.0/8"]); // no address is before the one, none after the other
        check(&["2001:db8::/32", "2001:db9::/64", "ff00::/8"]);
    }
}
