//! Who has to do with the indicators that were found: addresses that failed or got in and share an
//! SSH key, user names, the network or the time with them, scored up to 100, with the reasons.
//!
//! | shared | points |
//! |---|---|
//! | an SSH key | 60 |
//! | a user name | 20 where nobody else tries it, 20 / log₂(n) where n addresses do; 40 for all |
//! | the network, a /24 or a /64 | 15 |
//! | the time: lines next to each other, ten seconds apart at most | 3 for each; 15 for all |
//!
//! Two searches: the first notes what stood beside the indicators, the second who shares that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::finding::{Beside, Finding, Findings};
use crate::indicator::Indicator;
use crate::set::IndicatorSet;

/// Indicators that are followed further, those that got in first: each may bring names of users
/// along, and all of those are looked for.
const MAX_LEADS: usize = 1_000;
/// Whoever comes to less is a coincidence.
const MIN_SCORE: u32 = 10;
/// Addresses that are told of; a list that nobody reads to its end is long enough.
const MAX_RELATED: usize = 1_000;
/// Indicators that are named for one reason.
const MAX_NAMED: usize = 3;

const KEY_POINTS: f64 = 60.0;
const USER_POINTS: f64 = 20.0;
const MAX_USER_POINTS: f64 = 40.0;
const NETWORK_POINTS: f64 = 15.0;
const TIME_POINTS: f64 = 3.0;
const MAX_TIME_POINTS: f64 = 15.0;

/// An address that has to do with indicators.
#[derive(Clone, Debug, PartialEq)]
pub struct Related {
    /// Who.
    pub addr: IpAddr,
    /// How much, of 100.
    pub score: u32,
    /// Why, the weightiest first.
    pub reasons: Vec<Reason>,
    /// When it was here, and what it came to, in the lines that say so.
    pub seen: Beside,
}

/// What an address shares with indicators.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// What.
    pub shared: Shared,
    /// With whom: some of them.
    pub with: Vec<Indicator>,
    points: f64,
}

/// What can be shared.
#[derive(Clone, Debug, PartialEq)]
pub enum Shared {
    /// An SSH key, by its fingerprint.
    Key(String),
    /// The name of a user, which so many addresses try in all; hostile.
    User(String, usize),
    /// A network.
    Network(IpNet),
    /// The time, so often.
    Time(u64),
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with: Vec<_> = self.with.iter().map(Indicator::to_string).collect();
        let with = with.join(", ");
        match &self.shared {
            Shared::Key(print) => write!(out, "has the key {print} of {with}"),
            Shared::User(name, n) => write!(out, "tries user {name} as {with} ({n} in all)"),
            Shared::Network(net) => write!(out, "is in {net} with {with}"),
            Shared::Time(n) => write!(out, "comes together with {with} ({n} times)"),
        }
    }
}

/// What is to be looked for in a second search: what stood beside the indicators of the first.
pub fn clues(found: &Findings) -> IndicatorSet {
    let mut clues = BTreeSet::new();
    for (indicator, finding) in leads(found) {
        clues.extend(finding.users.iter().cloned().map(Indicator::User));
        clues.extend(finding.keys.iter().cloned().map(Indicator::Fingerprint));
        match indicator {
            Indicator::Address(addr) => drop(clues.insert(Indicator::Prefix(network(*addr)))),
            Indicator::Prefix(_) => {}
            Indicator::Fingerprint(_) | Indicator::User(_) => drop(clues.insert(indicator.clone())),
        }
    }
    clues.into_iter().collect()
}

/// Who shares what: `found` is of the search for `indicators`, `shared` of that for its clues.
pub fn related(indicators: &IndicatorSet, found: &Findings, shared: &Findings) -> Vec<Related> {
    let mut candidates = Candidates { indicators, all: BTreeMap::new() };
    let leads = leads(found);
    for (clue, finding) in shared.sorted() {
        let with = |is: &dyn Fn(&Indicator, &Finding) -> bool| -> Vec<Indicator> {
            let with = leads.iter().filter(|(it, lead)| is(it, lead));
            with.map(|(it, _)| (*it).clone()).take(MAX_NAMED).collect()
        };
        let n_addresses = finding.beside.len();
        let (shared, with, points) = match clue {
            Indicator::Fingerprint(print) => {
                let with = with(&|it, lead| it == clue || lead.keys.contains(print));
                (Shared::Key(print.clone()), with, KEY_POINTS)
            }
            Indicator::User(name) => {
                let with = with(&|it, lead| it == clue || lead.users.contains(name));
                let points = USER_POINTS / (n_addresses.max(2) as f64).log2();
                (Shared::User(name.clone(), n_addresses), with, points)
            }
            Indicator::Prefix(net) => {
                let with =
                    with(&|it, _| matches!(it, Indicator::Address(addr) if net.contains(addr)));
                (Shared::Network(*net), with, NETWORK_POINTS)
            }
            Indicator::Address(_) => continue,
        };
        for (addr, seen) in &finding.beside {
            let (shared, with) = (shared.clone(), with.clone());
            candidates.add(*addr, seen, Reason { shared, with, points });
        }
    }
    for (indicator, finding) in &leads {
        for (addr, seen) in &finding.beside {
            let points = (TIME_POINTS * seen.count as f64).min(MAX_TIME_POINTS);
            let (shared, with) = (Shared::Time(seen.count), vec![(*indicator).clone()]);
            candidates.add(*addr, seen, Reason { shared, with, points });
        }
    }
    candidates.ranked()
}

/// The indicators that are followed further.
fn leads(found: &Findings) -> Vec<(&Indicator, &Finding)> {
    let mut leads = found.sorted();
    leads.truncate(MAX_LEADS);
    leads
}

/// The network of an address, in which few others are: a /24, or a /64.
fn network(addr: IpAddr) -> IpNet {
    let length = if addr.is_ipv4() { 24 } else { 64 };
    IpNet::new(addr, length).expect("a /24 and a /64 are shorter than addresses").trunc()
}

/// Everybody who shares anything.
struct Candidates<'s> {
    indicators: &'s IndicatorSet,
    all: BTreeMap<IpAddr, (Beside, Vec<Reason>)>,
}

impl Candidates<'_> {
    fn add(&mut self, addr: IpAddr, seen: &Beside, reason: Reason) {
        let mut is_indicator = false;
        self.indicators.for_each_match(addr, |_| is_indicator = true);
        if !is_indicator && !reason.with.is_empty() {
            let (all, reasons) = self.all.entry(addr).or_default();
            all.join(seen);
            reasons.push(reason);
        }
    }

    fn ranked(self) -> Vec<Related> {
        let related = self.all.into_iter().map(|(addr, (seen, mut reasons))| {
            reasons.sort_by(|one, other| other.points.total_cmp(&one.points));
            Related { addr, score: score(&reasons), reasons, seen }
        });
        let mut related: Vec<_> = related.filter(|it| it.score >= MIN_SCORE).collect();
        related.sort_by_key(|it| (std::cmp::Reverse(it.score), it.addr));
        related.truncate(MAX_RELATED);
        related
    }
}

fn score(reasons: &[Reason]) -> u32 {
    let (mut key, mut users, mut network, mut time) = (0.0_f64, 0.0, 0.0_f64, 0.0);
    for Reason { shared, points, .. } in reasons {
        match shared {
            Shared::Key(_) => key = key.max(*points),
            Shared::User(..) => users += points,
            Shared::Network(_) => network = network.max(*points),
            Shared::Time(_) => time += points,
        }
    }
    let score = key + users.min(MAX_USER_POINTS) + network + time.min(MAX_TIME_POINTS);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 130")]
    let whole = score.round() as u32;
    whole.min(100)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

    use super::*;

    fn beside(addresses: &[&str]) -> BTreeMap<IpAddr, Beside> {
        let seen = Beside { count: 1, ..Beside::default() };
        addresses.iter().map(|it| (it.parse().unwrap(), seen.clone())).collect()
    }

    #[test]
    fn what_is_shared_counts_by_how_rare_it_is() {
        let indicator: Indicator = "203.0.113.61".parse().unwrap();
        let users = ["oracle", "root"].map(str::to_owned).into();
        let near = beside(&["198.51.100.9"]);
        let lead = Finding { users, beside: near, ..Finding::default() };
        let found: Findings = [(indicator.clone(), lead)].into_iter().collect();
        let names: Vec<_> = (1..200).map(|it| format!("192.0.2.{it}")).collect();
        let everybody: Vec<_> = names.iter().map(String::as_str).collect();
        let shared: Findings = [
            ("user:oracle", beside(&["203.0.113.61", "203.0.113.70"])),
            ("user:root", beside(&everybody)),
            ("203.0.113.0/24", beside(&["203.0.113.61", "203.0.113.70", "203.0.113.71"])),
        ]
        .into_iter()
        .map(|(clue, beside)| (clue.parse().unwrap(), Finding { beside, ..Finding::default() }))
        .collect();
        let indicators: IndicatorSet = [indicator].into_iter().collect();
        assert_eq!(clues(&found).len(), 3);
        let related: Vec<_> = related(&indicators, &found, &shared)
            .iter()
            .map(|it| format!("{} {}: {}", it.addr, it.score, it.reasons[0]))
            .collect();
        assert_eq!(
            related,
            [
                "203.0.113.70 35: tries user oracle as 203.0.113.61 (2 in all)",
                "203.0.113.71 15: is in 203.0.113.0/24 with 203.0.113.61",
            ]
        );
    }
}
