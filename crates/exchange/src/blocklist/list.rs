//! What becomes of indicators: a list, and what has to change for it.

use std::cmp::Ordering;

use ipnet::IpNet;
use lists::PrefixSet;
use lists::net;

use super::brake::Amount;
use super::policy::{BlockPolicy, Indicator, Listed};
use super::store::Change;

/// Who is blocked, and until when, sorted.
pub(crate) type List = Vec<(IpNet, i64)>;

/// An end that moves by less than this, in seconds, is no change: each sighting would be one.
const MOVED: i64 = 60 * 60;

/// Gathers who is to be blocked, from indicators that come ordered by address.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    list: Vec<(IpNet, Listed)>,
}

impl Gathering {
    /// Goes on with an indicator; of several of one address the best counts.
    pub(crate) fn add(&mut self, policy: &BlockPolicy, indicator: &Indicator, now: i64) {
        let Ok(listed) = policy.judge(indicator, now) else { return };
        match self.list.last_mut() {
            Some((net, best)) if *net == indicator.net => {
                if listed.score > best.score {
                    *best = listed;
                }
            }
            _ => self.list.push((indicator.net, listed)),
        }
    }

    /// The list: no longer than allowed, merged, sorted.
    pub(crate) fn finish(mut self, policy: &BlockPolicy) -> List {
        if self.list.len() > policy.max_entries {
            self.list.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score));
            self.list.truncate(policy.max_entries);
        }
        let (single, wide): (Vec<_>, Vec<_>) = self
            .list
            .into_iter()
            .map(|(net, listed)| (net, listed.until))
            .partition(|(net, _)| net::is_single(*net));
        let covered: PrefixSet = wide.iter().map(|(net, _)| *net).collect();
        let mut list = merged(wide, policy);
        list.extend(single.into_iter().filter(|(net, _)| !covered.covers(*net)));
        list.sort_unstable();
        list
    }
}

/// Prefixes that are neighbours as one, and none within another; a merged one ends with the last
/// of its parts, and is no wider than any may be.
fn merged(mut wide: List, policy: &BlockPolicy) -> List {
    wide.sort_unstable();
    let nets: Vec<IpNet> = wide.iter().map(|(net, _)| *net).collect();
    let narrow = |net: IpNet| -> Vec<IpNet> {
        if policy.widest.admits(net) {
            return vec![net];
        }
        let len = if net.addr().is_ipv4() { policy.widest.v4 } else { policy.widest.v6 };
        net.subnets(len).map(Iterator::collect).unwrap_or_default()
    };
    let until = |whole: IpNet| {
        let first = wide.partition_point(|(net, _)| net.network() < whole.network());
        let parts = wide[first..].iter().take_while(|(net, _)| whole.contains(net));
        parts.map(|(_, until)| *until).max().unwrap_or_default()
    };
    let merged = IpNet::aggregate(&nets).into_iter().flat_map(narrow);
    merged.map(|net| (net, until(net))).collect()
}

/// What makes `now` of `before`; both are sorted.
pub(crate) fn difference(before: &[(IpNet, i64)], now: &[(IpNet, i64)]) -> (Vec<Change>, Amount) {
    let (mut changes, mut amount) = (Vec::new(), Amount::default());
    let (mut old, mut new) = (before.iter().peekable(), now.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return (changes, amount),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((was, _)), Some((is, _))) => was.cmp(is),
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        match (was, is) {
            (Some((_, was)), Some((_, until))) if !has_moved(*was, *until) => {}
            (was, Some((net, until))) => {
                changes.push((*net, Some(*until)));
                amount.n_added += usize::from(was.is_none());
            }
            (Some((net, _)), None) => {
                changes.push((*net, None));
                amount.n_removed += 1;
            }
            (None, None) => {}
        }
    }
}

/// Whether an end is another one, for the kernel as well.
pub(crate) fn has_moved(was: i64, until: i64) -> bool {
    was.abs_diff(until) >= MOVED.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NOW: i64 = 1_795_328_739;

    fn net(text: &str) -> IpNet {
        net::read(text).expect("the row holds a prefix")
    }

    fn list(values: &[(&str, i64)], policy: &BlockPolicy) -> Vec<String> {
        let mut gathering = Gathering::default();
        for (value, age) in values {
            let indicator = Indicator {
                net: net(value),
                kind: "ip-src".to_owned(),
                organisation: String::new(),
                to_ids: true,
                first: 0,
                last: NOW - age,
                tags: Vec::new(),
                denied_by: BTreeSet::new(),
            };
            gathering.add(policy, &indicator, NOW);
        }
        gathering.finish(policy).into_iter().map(|(net, _)| net::write(net)).collect()
    }

    #[test]
    fn a_list_is_merged() {
        let policy = BlockPolicy::default();
        let values = [
            ("45.33.32.0/25", 9),
            ("45.33.32.128/25", 9),
            ("45.33.32.7", 9),
            ("45.33.34.7", 9),
            ("45.33.34.7", 5),
            ("45.34.0.0/16", 9),
            ("45.35.0.0/16", 9), // together wider than a list may hold
        ];
        let want = ["45.33.32.0/24", "45.33.34.7", "45.34.0.0/16", "45.35.0.0/16"];
        assert_eq!(list(&values, &policy), want);
    }

    #[test]
    fn the_best_stay() {
        let policy = BlockPolicy { max_entries: 2, ..BlockPolicy::default() };
        let values = [("45.33.32.1", 900), ("45.33.32.2", 5), ("45.33.32.3", 7)];
        assert_eq!(list(&values, &policy), ["45.33.32.2", "45.33.32.3"]);
    }

    #[test]
    fn what_changes() {
        let list = |values: &[(&str, i64)]| -> List {
            values.iter().map(|(text, until)| (net(text), *until)).collect()
        };
        let before = list(&[("45.33.32.1", 0), ("45.33.32.2", 0), ("45.33.32.4", 0)]);
        let now = list(&[("45.33.32.0", 9), ("45.33.32.2", 9), ("45.33.32.4", MOVED)]);
        let (changes, amount) = difference(&before, &now);
        let want = [
            (net("45.33.32.0"), Some(9)),
            (net("45.33.32.1"), None),
            (net("45.33.32.4"), Some(MOVED)),
        ];
        assert_eq!(changes, want);
        assert_eq!(amount, Amount { n_added: 1, n_removed: 1 });
    }
}
