//! Prefixes that overlap, as a firewall's interval sets take them: the widest only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ipnet::IpNet;

/// Prefixes and when each of them ends; `None` for never.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Nets(BTreeMap<IpNet, Option<Instant>>);

impl Nets {
    /// Puts a prefix in for `timeout` from now on.
    pub(super) fn insert(&mut self, net: IpNet, timeout: Option<Duration>, now: Instant) {
        // A moment so far away that it cannot be told is never.
        self.0.insert(net, timeout.and_then(|it| now.checked_add(it)));
    }

    pub(super) fn remove(&mut self, net: &IpNet) {
        self.0.remove(net);
    }

    /// The prefixes that have not ended.
    pub(super) fn live(&self, now: Instant) -> impl Iterator<Item = IpNet> {
        self.0.iter().filter(move |(_, end)| end.is_none_or(|end| end > now)).map(|(net, _)| *net)
    }

    /// Forgets what has ended, and returns the prefixes that lie in no other, in order, with what
    /// is left of their time.
    pub(super) fn cover(&mut self, now: Instant) -> Vec<(IpNet, Option<Duration>)> {
        self.0.retain(|_, end| end.is_none_or(|end| end > now));
        let mut cover: Vec<(IpNet, Option<Duration>)> = Vec::new();
        // In order, a prefix comes before those that lie in it.
        for (net, end) in &self.0 {
            if cover.last().is_none_or(|(last, _)| !last.contains(net)) {
                cover.push((*net, end.map(|end| end - now)));
            }
        }
        cover
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(nets: &[(&str, Option<u64>)], want: &str) {
        let begun = Instant::now();
        let mut all = Nets::default();
        for (net, seconds) in nets {
            let net = net.parse().expect("the row holds a prefix");
            all.insert(net, seconds.map(Duration::from_secs), begun);
        }
        let cover = all.cover(begun + Duration::from_secs(1));
        let words: Vec<String> = cover
            .iter()
            .map(|(net, left)| match left {
                Some(left) => format!("{net} {}", left.as_secs()),
                None => net.to_string(),
            })
            .collect();
        assert_eq!(words.join(", "), want);
    }

    #[test]
    fn the_widest_stand_for_those_in_them() {
        check(&[("192.0.2.0/25", None), ("192.0.2.0/24", Some(9))], "192.0.2.0/24 8");
        check(&[("192.0.2.0/25", None), ("192.0.2.0/24", Some(1))], "192.0.2.0/25"); // it ended
        check(&[("10.1.0.0/16", None), ("10.0.0.0/8", None), ("10.2.0.0/16", None)], "10.0.0.0/8");
        check(&[("10.0.0.0/9", None), ("10.128.0.0/9", None)], "10.0.0.0/9, 10.128.0.0/9");
        check(&[("2001:db8::/64", None), ("0.0.0.0/1", None)], "0.0.0.0/1, 2001:db8::/64");
    }
}
