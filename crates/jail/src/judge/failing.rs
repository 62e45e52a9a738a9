//! Who is failing: one ticket a subject, until it is banned or falls silent.
//!
//! fail2ban does not slide a window over single failures; it keeps the count and the first and last
//! time, and once they lie further apart than `findtime` it scales the count down to the rate
//! (`server/ticket.py`, `adjustTime`). So a ticket's size does not depend on how often it fails.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Rules;
use crate::event::Subject;

/// Failing subjects remembered in a jail. A flood from more addresses than this would have to come
/// within one `findtime`; at some 150 bytes a ticket they take 15 MB. Past it the half that has
/// been silent longest is forgotten.
const MAX_FAILING: usize = 100_000;

/// Bytes of matched lines kept in a jail's tickets, so that long lines cannot fill the memory where
/// many addresses do not.
const MAX_KEPT_BYTES: usize = 16 << 20;

/// One subject's failures, as long as they are no ban. It can be kept on a disk, and then counts
/// on in the next life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// Where the counting interval begins; moves with the rate estimate.
    first: Timestamp,
    /// When the first failure was.
    pub(super) first_failure: Timestamp,
    /// When the last failure was.
    pub(super) last: Timestamp,
    /// The count that is held against `maxretry`.
    retry: u32,
    /// The failures themselves.
    pub(super) n_failures: u32,
    /// The last matched lines; hostile.
    pub(super) matches: Vec<String>,
    /// Named groups of the first of them, as in [`crate::event::Failure::fields`]; hostile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) fields: Vec<(String, String)>,
}

/// What proves a failure; hostile.
#[derive(Debug)]
pub(super) struct Evidence {
    /// The lines.
    pub(super) matches: Vec<String>,
    /// Named groups.
    pub(super) fields: Vec<(String, String)>,
}

/// What one failure counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    /// Against `maxretry`.
    pub(super) retry: u32,
    /// As failures.
    pub(super) n_failures: u32,
    /// Against `maxretry`, on top.
    pub(super) extra: u32,
}

/// The failing subjects of one jail.
#[derive(Debug, Default)]
pub(super) struct Failing {
    tickets: HashMap<Subject, Ticket>,
    /// Whose tickets changed since they were written down last, or were taken away.
    changed: HashSet<Subject>,
    kept_bytes: usize,
    total: u64,
}

impl Failing {
    /// Counts a failure; the ticket is handed out once it reaches `maxretry`.
    pub(super) fn add(
        &mut self,
        subject: &Subject,
        time: Timestamp,
        counted: Counted,
        evidence: Evidence,
        rules: &Rules,
        now: Timestamp,
    ) -> Option<Ticket> {
        self.total += 1;
        if self.tickets.len() >= MAX_FAILING || self.kept_bytes > MAX_KEPT_BYTES {
            self.shed(rules.find_time, now);
        }
        if self.changed.len() >= MAX_FAILING {
            // Nobody writes them down: whose tickets are gone is forgotten.
            self.changed.retain(|subject| self.tickets.contains_key(subject));
        }
        let (slot, is_new) = match self.tickets.entry(subject.clone()) {
            Entry::Occupied(mut slot) => {
                let ticket = slot.get_mut();
                self.kept_bytes -= ticket.kept_bytes();
                if is_silent(ticket, rules.find_time, now) {
                    *ticket = Ticket::new(time, counted, evidence);
                } else {
                    ticket.fail_again(time, counted, evidence.matches, rules);
                }
                (slot, false)
            }
            Entry::Vacant(slot) => (slot.insert_entry(Ticket::new(time, counted, evidence)), true),
        };
        let is_due = slot.get().retry >= rules.max_retry;
        if !(is_due && is_new) {
            self.changed.insert(subject.clone());
        }
        if is_due {
            return Some(slot.remove());
        }
        self.kept_bytes += slot.get().kept_bytes();
        None
    }

    /// Whose failures changed since [`Self::written`], with their ticket; without one where they
    /// are a ban by now, or forgotten.
    pub(super) fn changed(&self) -> impl Iterator<Item = (&Subject, Option<&Ticket>)> {
        self.changed.iter().map(|subject| (subject, self.tickets.get(subject)))
    }

    /// Takes note that all changes are written down.
    pub(super) fn written(&mut self) {
        self.changed.clear();
    }

    /// Goes on with a ticket of an earlier life.
    pub(super) fn restore(&mut self, subject: Subject, ticket: Ticket) {
        self.kept_bytes += ticket.kept_bytes();
        let old = self.tickets.insert(subject, ticket);
        self.kept_bytes -= old.as_ref().map_or(0, Ticket::kept_bytes);
    }

    /// Failures counted since the start.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Subjects that failed within `find_time`.
    pub(super) fn n_live(&self, find_time: SignedDuration, now: Timestamp) -> usize {
        self.tickets.values().filter(|ticket| !is_silent(ticket, find_time, now)).count()
    }

    /// Forgets the silent ones and, where that frees little, the half that is silent longest.
    fn shed(&mut self, find_time: SignedDuration, now: Timestamp) {
        self.tickets.retain(|_, ticket| !is_silent(ticket, find_time, now));
        self.recount();
        if self.tickets.len() <= MAX_FAILING / 2 && self.kept_bytes <= MAX_KEPT_BYTES / 2 {
            return;
        }
        let mut lasts: Vec<Timestamp> = self.tickets.values().map(|ticket| ticket.last).collect();
        let half = lasts.len() / 2;
        let (_, median, _) = lasts.select_nth_unstable(half);
        let median = *median;
        let mut n_kept = 0;
        self.tickets.retain(|_, ticket| {
            let keep = ticket.last > median || (ticket.last == median && n_kept < half);
            n_kept += usize::from(keep);
            keep
        });
        self.recount();
    }

    fn recount(&mut self) {
        self.kept_bytes = self.tickets.values().map(Ticket::kept_bytes).sum();
    }
}

impl Ticket {
    /// When the last failure was.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    fn new(time: Timestamp, counted: Counted, evidence: Evidence) -> Self {
        let retry = counted.retry.max(counted.n_failures).saturating_add(counted.extra);
        Self {
            first: time,
            first_failure: time,
            last: time,
            retry,
            n_failures: counted.n_failures,
            matches: evidence.matches,
            fields: evidence.fields,
        }
    }

    fn fail_again(
        &mut self,
        time: Timestamp,
        counted: Counted,
        matches: Vec<String>,
        rules: &Rules,
    ) {
        self.adjust(time, rules.find_time);
        self.retry = self.retry.saturating_add(counted.retry).saturating_add(counted.extra);
        self.n_failures = self.n_failures.saturating_add(counted.n_failures);
        let kept = &mut self.matches;
        kept.extend(matches);
        let max_matches = usize::try_from(rules.max_matches).unwrap_or(usize::MAX);
        let n_over = kept.len().saturating_sub(max_matches);
        kept.drain(..n_over);
    }

    /// Moves the times on to `time`, and scales the count to what the rate makes of `find_time`.
    /// An older time, of a line that comes late, moves nothing.
    fn adjust(&mut self, time: Timestamp, find_time: SignedDuration) {
        if time <= self.last {
            return;
        }
        let span = time.duration_since(self.first);
        if span > find_time {
            let rate = f64::from(self.retry) / span.as_secs_f64();
            // Python rounds a half to the even neighbour; a count that was a u32 only shrinks here.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let retry = (rate * find_time.as_secs_f64()).round_ties_even() as u32;
            self.retry = retry;
            self.first = time.checked_sub(find_time).unwrap_or(Timestamp::MIN);
        }
        self.last = time;
    }

    fn kept_bytes(&self) -> usize {
        let fields = self.fields.iter().map(|(name, text)| name.len() + text.len());
        self.matches.iter().map(String::len).chain(fields).sum()
    }
}

/// Whether a subject has been silent for `find_time`, so that it begins anew.
fn is_silent(ticket: &Ticket, find_time: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(ticket.last) >= find_time
}
