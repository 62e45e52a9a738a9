//! What guard counts, for whoever draws it.

use control::guard::{GuardMetrics, JailMetrics, LookBackMetrics};
use control::metrics::Histogram;
use jiff::Timestamp;

use super::{Post, Run};
use crate::store::BanLog;

/// Seconds from reading a line to the kernel: a ban takes less than a millisecond where nothing
/// else goes on, and seconds where the firewall is slow.
const LOG_TO_BAN: [f64; 11] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0];

pub(super) fn log_to_ban() -> Histogram {
    Histogram::new(&LOG_TO_BAN)
}

impl Run {
    pub(super) fn metrics(&self, now: Timestamp) -> GuardMetrics {
        let BanLog { last, reached, .. } = self.store.ban_log();
        GuardMetrics {
            jails: self.posts.iter().filter_map(|it| self.jail_metrics(it, now)).collect(),
            log_to_ban: self.log_to_ban.clone(),
            ban_log_waiting: last - reached,
            // The loop does not know of it: the desk adds it.
            look_back: LookBackMetrics::default(),
        }
    }

    fn jail_metrics(&self, post: &Post, now: Timestamp) -> Option<JailMetrics> {
        let (status, rules) =
            (self.judge.status(&post.jail.name, now)?, self.judge.rules(&post.jail.name)?);
        Some(JailMetrics {
            jail: post.jail.name.clone(),
            n_lines: post.n_lines,
            currently_failed: status.currently_failed as u64,
            total_failed: status.total_failed,
            currently_banned: status.currently_banned as u64,
            total_banned: status.total_banned,
            ban_time: rules.ban_time.into(),
            find_time: rules.find_time.as_secs(),
            max_retry: rules.max_retry,
        })
    }

    /// Notes how long the bans of this turn took to the firewall, which holds them now.
    pub(super) fn clock_bans(&mut self) {
        for read in self.turn.read.drain(..) {
            self.log_to_ban.observe(read.elapsed().as_secs_f64());
        }
    }
}
