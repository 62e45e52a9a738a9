//! The brake: how much of a list may change before an administrator has looked at it.
//!
//! A pull is held against the list that it changes. Records of a change stream come one by one; of
//! them what came in an hour is summed up, so that a list cannot be emptied in small pieces.

use super::policy::BlockPolicy;

/// A shorter list may change as a list of this length may: half of three entries is no alarm.
const SHORT: usize = 1_000;

/// Seconds for which the records of a change stream are summed up.
const WINDOW: i64 = 60 * 60;

/// How much a change would change.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Amount {
    pub(crate) n_added: usize,
    pub(crate) n_removed: usize,
}

impl BlockPolicy {
    /// Whether a list of `n` entries may be changed so much by one pull. A first list has nothing
    /// to be held against but its length.
    pub(crate) fn allows(&self, n: usize, amount: Amount) -> bool {
        let changed = if n == 0 { 0 } else { amount.n_added + amount.n_removed };
        changed <= self.share(n) && amount.n_added <= self.max_added
    }

    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "lists have fewer than 2^52 entries, and a share of them is not negative"
    )]
    fn share(&self, n: usize) -> usize {
        (self.max_change.max(0.0) * n.max(SHORT) as f64) as usize
    }
}

/// What a change stream changed lately.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Window {
    began: i64,
    /// Entries when it began.
    n: usize,
    amount: Amount,
}

impl Window {
    /// Whether a record may change the list, of `n` entries now, by `amount`; if so, that counts.
    /// Additions are an attack that goes on, and only their number is limited.
    pub(crate) fn admit(
        &mut self,
        policy: &BlockPolicy,
        n: usize,
        amount: Amount,
        now: i64,
    ) -> bool {
        if now - self.began >= WINDOW {
            *self = Self { began: now, n, amount: Amount::default() };
        }
        let n_added = self.amount.n_added + amount.n_added;
        let n_removed = self.amount.n_removed + amount.n_removed;
        let may = n_added <= policy.max_added && n_removed <= policy.share(self.n);
        if may {
            self.amount = Amount { n_added, n_removed };
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(n_added: usize, n_removed: usize) -> Amount {
        Amount { n_added, n_removed }
    }

    #[track_caller]
    fn check(n: usize, n_added: usize, n_removed: usize, want: bool) {
        let policy = BlockPolicy { max_change: 0.5, max_added: 20_000, ..BlockPolicy::default() };
        assert_eq!(policy.allows(n, amount(n_added, n_removed)), want, "{n} {n_added} {n_removed}");
    }

    #[test]
    fn pulls() {
        check(0, 20_000, 0, true); // the first one
        check(0, 20_001, 0, false);
        check(3, 0, 3, true); // a short list
        check(3, 600, 0, false); // by leaps, no more than 500
        check(10_000, 2_500, 2_500, true);
        check(10_000, 2_500, 2_501, false);
        check(10_000, 0, 9_000, false); // a list that loses nine tenths
        check(1_000_000, 20_001, 0, false);
    }

    #[test]
    fn a_list_is_not_emptied_in_small_pieces() {
        let policy = BlockPolicy { max_change: 0.5, max_added: 2_000, ..BlockPolicy::default() };
        let mut window = Window::default();
        assert!(window.admit(&policy, 4_000, amount(0, 1_000), 9_000));
        assert!(window.admit(&policy, 3_000, amount(0, 1_000), 9_001));
        assert!(!window.admit(&policy, 2_000, amount(0, 1), 9_002));
        assert!(window.admit(&policy, 2_000, amount(2_000, 0), 9_003), "an attack goes on");
        assert!(!window.admit(&policy, 4_000, amount(1, 0), 9_004));
        assert!(window.admit(&policy, 2_000, amount(1, 1), 9_000 + WINDOW), "the next hour");
    }
}
