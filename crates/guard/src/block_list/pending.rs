//! A change of a list that has begun and is not committed.

use std::net::IpAddr;

use control::block_list::{BlockEntry, WhyRefused};
use ipnet::IpNet;

use super::limits::{Limits, Refusals};
use super::store::Entry;

/// What the steps of a change came to so far.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) source: String,
    pub(super) version: String,
    /// The version that is changed; `None` where the list is made anew.
    pub(super) base: Option<String>,
    /// In order, each once, after [`Self::sort`].
    pub(super) add: Vec<Entry>,
    pub(super) remove: Vec<IpNet>,
    pub(super) refused: Refusals,
    limits: Limits,
}

impl Pending {
    pub(super) fn new(
        source: String,
        version: String,
        base: Option<String>,
        limits: Limits,
    ) -> Self {
        let (add, remove, refused) = (Vec::new(), Vec::new(), Refusals::default());
        Self { source, version, base, add, remove, refused, limits }
    }

    /// Takes those entries that may be taken; of more than the limit nothing is kept.
    pub(super) fn add(&mut self, entries: Vec<BlockEntry>) {
        for BlockEntry { net, until } in entries {
            let net = canonical(net);
            let is_full = self.add.len() >= self.limits.max_entries;
            let why = self.limits.refuses(&net).or(is_full.then_some(WhyRefused::TooMany));
            match why {
                Some(why) => self.refused.add(why, net),
                None => self.add.push((net, until.map(|it| it.as_second()))),
            }
        }
    }

    pub(super) fn remove(&mut self, nets: Vec<IpNet>) {
        let room = self.limits.max_entries.saturating_sub(self.remove.len());
        self.remove.extend(nets.into_iter().map(canonical).take(room));
    }

    /// Puts what is added in order; of an entry that came twice the later one counts.
    pub(super) fn sort(&mut self) {
        self.add.reverse();
        self.add.sort_by_key(|(net, _)| *net);
        self.add.dedup_by_key(|(net, _)| *net);
    }
}

/// A prefix without host bits; an IPv4 address in the form of IPv6 is one of IPv4.
fn canonical(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(96)) {
        (addr @ IpAddr::V4(_), Some(length)) if matches!(net, IpNet::V6(_)) => {
            IpNet::new(addr, length).map_or(net, |net| net.trunc())
        }
        _ => net.trunc(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use jiff::Timestamp;

    use super::*;

    fn entry(net: &str, until: Option<i64>) -> BlockEntry {
        let until = until.map(|it| Timestamp::from_second(it).unwrap());
        BlockEntry { net: net.parse().unwrap(), until }
    }

    #[test]
    fn takes_what_it_may() {
        let limits = Limits { max_entries: 3, ..Limits::default() };
        let mut pending = Pending::new("hub".into(), "1".into(), None, limits);
        pending.add(vec![
            entry("203.0.113.9/32", Some(5)),
            entry("203.0.113.7/24", None), // host bits are masked
            entry("0.0.0.0/0", None),
            entry("127.0.0.1/32", None),
            entry("::ffff:203.0.113.9/128", Some(9)), // the first again
            entry("203.0.113.10/32", None),           // one too many
        ]);
        pending.sort();
        let taken: Vec<_> =
            pending.add.iter().map(|(net, until)| (net.to_string(), *until)).collect();
        assert_eq!(taken, [("203.0.113.0/24".into(), None), ("203.0.113.9/32".into(), Some(9))]);
        let refused: Vec<_> = pending.refused.list().iter().map(|it| (it.why, it.n)).collect();
        let want = [WhyRefused::TooWide, WhyRefused::Special, WhyRefused::TooMany];
        assert_eq!(refused, want.map(|why| (why, 1)));
    }
}
