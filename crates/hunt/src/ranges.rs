//! Prefixes as sorted ranges: which of them hold an address.
//!
//! Two prefixes are apart, or one lies within the other. So the last one that begins at or before
//! an address holds it, or one that lies around that one does, or none.

use ipnet::IpNet;

/// No range lies around this one.
const NONE: u32 = u32::MAX;

/// Prefixes of one family; `N` is an address as a number.
#[derive(Debug)]
pub(crate) struct Ranges<N> {
    firsts: Vec<N>,
    ranges: Vec<Range<N>>,
}

#[derive(Debug)]
struct Range<N> {
    last: N,
    /// The place of the range that lies around this one.
    outer: u32,
    prefix: IpNet,
}

impl<N: Copy + Ord> Ranges<N> {
    /// The ranges of `prefixes`, each given with its first and last address.
    pub(crate) fn new(mut prefixes: Vec<(N, N, IpNet)>) -> Self {
        prefixes.sort_unstable_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
        prefixes.dedup_by_key(|(first, last, _)| (*first, *last));
        let firsts = prefixes.iter().map(|(first, ..)| *first).collect();
        let mut ranges: Vec<Range<N>> = Vec::with_capacity(prefixes.len());
        let mut outer = NONE;
        for (first, last, prefix) in prefixes {
            while let Some(range) = ranges.get(outer as usize).filter(|it| it.last < first) {
                outer = range.outer;
            }
            ranges.push(Range { last, outer, prefix });
            outer = (ranges.len() - 1) as u32;
        }
        Self { firsts, ranges }
    }

    /// How many prefixes there are.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Every prefix that holds `addr`, the longest first.
    pub(crate) fn around(&self, addr: N) -> impl Iterator<Item = IpNet> {
        let n_before = self.firsts.partition_point(|first| *first <= addr);
        let mut next = n_before.checked_sub(1).map_or(NONE, |last| last as u32);
        std::iter::from_fn(move || {
            let range = self.ranges.get(next as usize)?;
            next = range.outer;
            Some(range)
        })
        .filter(move |range| addr <= range.last)
        .map(|range| range.prefix)
    }
}
