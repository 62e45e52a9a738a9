//! What was found: for each indicator when, where, how often, and what it came to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::indicator::Indicator;
use crate::outcome::Outcome;

/// User names that are kept of one indicator; whoever tries more is counted all the same.
const MAX_USERS: usize = 32;
/// Keys that are kept of one indicator.
const MAX_KEYS: usize = 32;
/// Addresses beside one indicator that are kept: what more of them share is everybody's.
const MAX_BESIDE: usize = 512;
/// Bytes of all lines that are kept, so that a million indicators fill no memory.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// The place of a log in the list of all logs.
pub type LogId = u32;

/// Lines by what they came to, in the order of [`Outcome::ALL`].
pub type Tally = [u64; Outcome::ALL.len()];

/// A line that was kept.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What it came to.
    pub outcome: Outcome,
    /// When it was written.
    #[serde(with = "jiff::fmt::serde::timestamp::second::optional")]
    pub time: Option<Timestamp>,
    /// The log that it is in.
    pub log: LogId,
    /// The lines before it, itself, and those behind it; hostile.
    pub lines: Vec<String>,
    /// Which of `lines` is the one.
    pub hit: usize,
}

/// What was found of one indicator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Lines that hold it.
    pub count: u64,
    /// The time of the earliest of them.
    #[serde(with = "jiff::fmt::serde::timestamp::second::optional")]
    pub first: Option<Timestamp>,
    /// The time of the latest.
    #[serde(with = "jiff::fmt::serde::timestamp::second::optional")]
    pub last: Option<Timestamp>,
    /// Lines that do not say when they were written.
    pub undated: u64,
    /// The worst that it came to.
    pub outcome: Outcome,
    /// Lines by log.
    pub logs: BTreeMap<LogId, u64>,
    /// Lines by day.
    pub days: BTreeMap<Date, Tally>,
    /// Names of users that stood beside it.
    pub users: BTreeSet<String>,
    /// Some of the lines: the worst first, then the earliest.
    pub samples: Vec<Sample>,
    /// Fingerprints of SSH keys that stood beside it, where company is noted.
    #[serde(default)]
    pub keys: BTreeSet<String>,
    /// Addresses that were judged beside it, where company is noted.
    #[serde(default)]
    pub beside: BTreeMap<IpAddr, Beside>,
}

/// An address beside an indicator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// How often.
    pub count: u64,
    /// First.
    #[serde(with = "jiff::fmt::serde::timestamp::second::optional")]
    pub first: Option<Timestamp>,
    /// Last.
    #[serde(with = "jiff::fmt::serde::timestamp::second::optional")]
    pub last: Option<Timestamp>,
    /// The worst that it came to.
    pub outcome: Outcome,
}

impl Beside {
    /// Once, at this time.
    pub(crate) fn once(time: Option<Timestamp>, outcome: Outcome) -> Self {
        Self { count: 1, first: time, last: time, outcome }
    }

    /// Adds what was seen elsewhere.
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.widen(other);
    }

    /// Adds what may be the same lines once more.
    pub(crate) fn join(&mut self, other: &Self) {
        self.count = self.count.max(other.count);
        self.widen(other);
    }

    fn widen(&mut self, other: &Self) {
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
        self.outcome = self.outcome.max(other.outcome);
    }
}

/// A line that holds an indicator.
pub(crate) struct Seen<'l> {
    pub(crate) log: LogId,
    pub(crate) time: Option<Timestamp>,
    pub(crate) day: Option<Date>,
    pub(crate) outcome: Outcome,
    pub(crate) user: Option<&'l str>,
}

impl Finding {
    fn add(&mut self, seen: &Seen<'_>) {
        self.count += 1;
        self.outcome = self.outcome.max(seen.outcome);
        *self.logs.entry(seen.log).or_default() += 1;
        match (seen.time, seen.day) {
            (Some(time), Some(day)) => {
                self.first = Some(self.first.map_or(time, |first| first.min(time)));
                self.last = self.last.max(Some(time));
                self.days.entry(day).or_default()[seen.outcome as usize] += 1;
            }
            _ => self.undated += 1,
        }
        if let Some(user) = seen.user
            && self.users.len() < MAX_USERS
        {
            self.users.insert(user.to_owned());
        }
    }

    /// Notes an address beside it.
    pub(crate) fn meet(&mut self, addr: IpAddr, seen: &Beside) {
        if self.beside.len() < MAX_BESIDE || self.beside.contains_key(&addr) {
            self.beside.entry(addr).or_default().add(seen);
        }
    }

    /// Notes a key beside it.
    pub(crate) fn note_key(&mut self, print: &str) {
        if self.keys.len() < MAX_KEYS {
            self.keys.insert(print.to_owned());
        }
    }

    fn merge(&mut self, other: Self, max_samples: usize) {
        self.count += other.count;
        self.undated += other.undated;
        self.outcome = self.outcome.max(other.outcome);
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = self.last.max(other.last);
        for (log, n) in other.logs {
            *self.logs.entry(log).or_default() += n;
        }
        for (day, tally) in other.days {
            let day = self.days.entry(day).or_default();
            day.iter_mut().zip(tally).for_each(|(all, n)| *all += n);
        }
        self.users.extend(other.users);
        while self.users.len() > MAX_USERS {
            self.users.pop_last();
        }
        other.keys.iter().for_each(|print| self.note_key(print));
        other.beside.iter().for_each(|(addr, seen)| self.meet(*addr, seen));
        self.samples.extend(other.samples);
        self.samples.sort_by(Sample::compare);
        self.samples.truncate(max_samples);
    }
}

impl Sample {
    /// The worst first, then the earliest, then in the order of the logs.
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let key = |it: &Self| {
            let time = it.time.unwrap_or(Timestamp::MAX);
            (std::cmp::Reverse(it.outcome), time, it.log)
        };
        key(self).cmp(&key(other)).then_with(|| self.lines.cmp(&other.lines))
    }

    fn n_bytes(&self) -> usize {
        self.lines.iter().map(String::len).sum()
    }
}

/// What was found of all indicators.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    found: HashMap<Indicator, Finding>,
    /// Bytes of the samples.
    n_kept: usize,
}

impl Findings {
    /// Adds a line that holds `indicator`; `sample` makes a sample of it if one is wanted.
    pub(crate) fn add(
        &mut self,
        indicator: &Indicator,
        seen: &Seen<'_>,
        max_samples: usize,
        sample: impl FnOnce() -> Sample,
    ) -> &mut Finding {
        if !self.found.contains_key(indicator) {
            self.found.insert(indicator.clone(), Finding::default());
        }
        let finding = self.found.get_mut(indicator).expect("it was put in just now");
        finding.add(seen);
        // Lines come in the order of their time: an earlier one stays unless a worse one comes.
        let is_worse = finding.samples.last().is_some_and(|last| last.outcome < seen.outcome);
        let has_room = finding.samples.len() < max_samples && self.n_kept < MAX_KEPT_BYTES;
        if has_room || (is_worse && max_samples > 0) {
            let sample = sample();
            self.n_kept += sample.n_bytes();
            finding.samples.push(sample);
            finding.samples.sort_by(Sample::compare);
            if finding.samples.len() > max_samples {
                self.n_kept -= finding.samples.pop().map_or(0, |last| last.n_bytes());
            }
        }
        finding
    }

    /// Adds what was found elsewhere.
    pub(crate) fn merge(&mut self, other: Self, max_samples: usize) {
        for (indicator, finding) in other.found {
            self.found.entry(indicator).or_default().merge(finding, max_samples);
        }
    }

    /// What was found of `indicator`.
    pub fn get(&self, indicator: &Indicator) -> Option<&Finding> {
        self.found.get(indicator)
    }

    /// How many indicators were found.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The worst first, then the most frequent.
    pub fn sorted(&self) -> Vec<(&Indicator, &Finding)> {
        let mut sorted: Vec<_> = self.found.iter().collect();
        sorted.sort_by(|(a, one), (b, other)| {
            (other.outcome, other.count).cmp(&(one.outcome, one.count)).then_with(|| a.cmp(b))
        });
        sorted
    }
}

impl FromIterator<(Indicator, Finding)> for Findings {
    fn from_iter<I: IntoIterator<Item = (Indicator, Finding)>>(found: I) -> Self {
        let found: HashMap<_, Finding> = found.into_iter().collect();
        let n_kept = found.values().flat_map(|it| &it.samples).map(Sample::n_bytes).sum();
        Self { found, n_kept }
    }
}
