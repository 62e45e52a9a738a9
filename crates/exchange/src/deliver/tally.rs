//! Counts what became of the items of a call, and postpones or sets aside those that failed alone.

use jiff::Timestamp;
use tracing::{info, warn};

use crate::LOG;
use crate::backoff::LONGEST_MISCONFIGURED;
use crate::store::{Changes, Row};

/// How often an item is tried alone that MISP answers 5xx to while it answers others.
const MAX_TRIES: u32 = 5;

/// What a call came to, for one line of the log.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) n_told: usize,
    /// For the first time.
    n_again: usize,
    not_allowed: Option<String>,
    pub(super) refused: Vec<String>,
    pub(super) deleted: Vec<String>,
}

impl Tally {
    /// Of a call that told one thing.
    pub(super) fn of_one() -> Self {
        Self { n_told: 1, ..Self::default() }
    }

    /// Tries a row again later, or sets it aside after the last try.
    pub(super) fn suspect(
        &mut self,
        changes: &Changes<'_>,
        row: &Row,
        why: &str,
        until: Timestamp,
    ) -> rusqlite::Result<()> {
        if row.n_tried + 1 >= MAX_TRIES {
            self.refused.push(format!("{} ({why})", row.ban.value));
            return changes.refuse(row.id, why);
        }
        self.n_again += usize::from(row.n_tried == 0);
        changes.postpone(row.id, until, why)
    }

    /// Tries a row again, until somebody has given the key the right.
    pub(super) fn not_allowed(
        &mut self,
        changes: &Changes<'_>,
        row: &Row,
        why: &str,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        if row.n_tried == 0 {
            self.n_again += 1;
            self.not_allowed = Some(why.to_owned());
        }
        let until = now.checked_add(LONGEST_MISCONFIGURED).unwrap_or(Timestamp::MAX);
        changes.postpone(row.id, until, why)
    }

    pub(super) fn tell(&self, name: &str, what: &str) {
        if self.n_told > 0 {
            info!(target: LOG, "{name}: {} {what}", self.n_told);
        }
        if self.n_again > 0 {
            info!(target: LOG, "{name}: {} not {what} yet, and tried again", self.n_again);
        }
        if let Some(why) = &self.not_allowed {
            warn!(target: LOG, "{name}: not {what}: {why}");
        }
        for value in &self.deleted {
            info!(target: LOG, "{name}: {value} is not added again: an analyst deleted it");
        }
        for refused in &self.refused {
            warn!(target: LOG, "{name}: refused for good and set aside: {refused}");
        }
    }
}
