//! What is looked after every minute: whether others have changed the firewall, which is healed,
//! the addresses of this host, the files of `ignoreip`, and bans so old that they do not count any
//! more.

use std::cmp::Ordering;
use std::path::Path;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use jail::judge;
use jiff::Timestamp;

use super::{LOOK_EVERY, Run, standing};
use crate::addresses;
use crate::firewall::{Change, FirewallError, Look};
use crate::ignore_file;
use crate::words::chain;

/// How soon after a look at the firewall another one is worth it.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// A ban that ends within this may have ended in the kernel already.
const ENDING: Duration = Duration::from_secs(5);

impl Run {
    /// Looks after all of it: every minute, and when somebody who is banned goes on failing.
    pub(super) fn look_after(&mut self) {
        let since = self.looked.elapsed();
        let suspicious = std::mem::take(&mut self.suspicious) && since >= LOOK_AGAIN;
        if self.firewall_due.is_some() || !(suspicious || since >= LOOK_EVERY) {
            return;
        }
        self.looked = Instant::now();
        if let Err(error) = self.look_at_firewall() {
            tracing::error!(
                target: "fail2ban.actions",
                "the firewall does not tell what it holds: {}", chain(&error)
            );
        }
        if let Err(error) = self.store.purge(self.clock.now()) {
            tracing::warn!(target: "fail2ban.actions", "old bans are not forgotten: {}", chain(&error));
        }
        self.tell_of_host(self.clock.now());
    }

    /// Tells the judge what of the host it needs to know, and may have changed.
    pub(super) fn tell_of_host(&mut self, now: Timestamp) {
        self.judge.handle(judge::Event::OwnAddresses(addresses::own()), now);
        for file in self.judge.files() {
            match ignore_file::words(Path::new(&file)) {
                Ok(words) => _ = self.judge.handle(judge::Event::Listed { file, words }, now),
                Err(error) => tracing::warn!(
                    target: "fail2ban.filter",
                    "`{file}` of ignoreip cannot be read, who was named in it last is ignored: \
                     {error}"
                ),
            }
        }
        self.lists.ignore(self.judge.ignored());
    }

    fn look_at_firewall(&mut self) -> Result<(), FirewallError> {
        if self.posts.iter().all(|it| it.blocking.is_none()) {
            return Ok(());
        }
        match self.firewall.look()? {
            Look::Untouched => {}
            Look::Touched => self.heal_firewall()?,
            Look::Gone => {
                tracing::warn!(
                    target: "fail2ban.actions",
                    "somebody has flushed our rules from the firewall: they are put back"
                );
                self.rebuild_firewall();
            }
        }
        Ok(())
    }

    /// Puts back the bans that others took away, and takes away those that they made.
    fn heal_firewall(&mut self) -> Result<(), FirewallError> {
        let held = self.firewall.banned()?;
        let bans: Vec<Change> =
            standing(&self.judge, &self.blockings(), self.clock.now()).collect();
        let n_bans = bans.len();
        let changes = differences(bans, &held);
        if changes.is_empty() {
            return Ok(());
        }
        let n_missing = changes.iter().filter(|it| matches!(it, Change::Ban { .. })).count();
        tracing::warn!(
            target: "fail2ban.actions",
            "somebody has changed the firewall: {n_missing} of {n_bans} bans were missing and are \
             put back, {} that are none of ours are taken away", changes.len() - n_missing
        );
        self.turn.changes = changes;
        self.move_firewall();
        Ok(())
    }
}

/// What makes a firewall that holds `held`, in order, hold `bans` and nothing else.
fn differences(mut bans: Vec<Change>, held: &[(String, IpNet)]) -> Vec<Change> {
    bans.sort_by(|a, b| (a.jail(), a.target()).cmp(&(b.jail(), b.target())));
    let (mut bans, mut held) = (bans.into_iter().peekable(), held.iter().peekable());
    let mut changes = Vec::new();
    loop {
        let order = match (bans.peek(), held.peek()) {
            (None, None) => return changes,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(ban), Some((jail, net))) => (ban.jail(), ban.target()).cmp(&(jail, net)),
        };
        match order {
            Ordering::Less => {
                let is_ending = |ban: &Change| matches!(ban, Change::Ban { timeout: Some(left), .. } if *left < ENDING);
                changes.extend(bans.next().filter(|ban| !is_ending(ban)));
            }
            Ordering::Equal => _ = (bans.next(), held.next()),
            Ordering::Greater => {
                changes.extend(
                    held.next().map(|(jail, target)| Change::Unban {
                        jail: jail.clone(),
                        target: *target,
                    }),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(jail: &str, target: &str, seconds: Option<u64>) -> Change {
        let (jail, target) = (jail.to_owned(), target.parse().expect("a prefix"));
        Change::Ban { jail, target, timeout: seconds.map(Duration::from_secs) }
    }

    #[test]
    fn finds_what_others_changed() {
        let bans = vec![
            ban("web", "192.0.2.1/32", None),
            ban("sshd", "192.0.2.9/32", None),
            ban("sshd", "192.0.2.1/32", Some(600)),
            ban("sshd", "192.0.2.2/32", Some(1)), // may have ended
            ban("sshd", "198.51.100.0/24", Some(600)),
        ];
        let held = [("sshd", "192.0.2.9/32"), ("sshd", "203.0.113.1/32"), ("web", "192.0.2.1/32")]
            .map(|(jail, target)| (jail.to_owned(), target.parse().expect("a prefix")));
        let target = "203.0.113.1/32".parse().expect("a prefix");
        assert_eq!(
            differences(bans, &held),
            [
                ban("sshd", "192.0.2.1/32", Some(600)),
                ban("sshd", "198.51.100.0/24", Some(600)),
                Change::Unban { jail: "sshd".to_owned(), target },
            ]
        );
    }
}
