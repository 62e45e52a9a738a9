//! What is looked after every minute: whether others have changed the firewall, which is healed,
//! the addresses of this host, the files of `ignoreip`, bans so old that they do not count any more,
//! and memory that is not needed any more.

use std::path::Path;
use std::time::{Duration, Instant};

use jail::judge;
use jiff::Timestamp;

use super::{LOOK_EVERY, Run, standing};
use crate::addresses;
use crate::allocator;
use crate::firewall::{Change, FirewallError, Look, differences};
use crate::ignore_file;
use crate::pages;
use crate::words::chain;

/// How soon after a look at the firewall another one is worth it.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

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
        if let Err(error) = self.store.tidy(self.clock.now()) {
            tracing::warn!(target: "fail2ban.actions", "old bans are not forgotten: {}", chain(&error));
        }
        self.tell_of_host(self.clock.now());
        if std::mem::take(&mut self.had_much) {
            allocator::give_back();
            pages::give_back();
        }
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
        let (mut n_bans, mut changes) = (0, Vec::new());
        for jail in self.blockings().iter().map(|it| it.jail.as_str()) {
            let mut bans: Vec<_> = standing(&self.judge, jail, self.clock.now()).collect();
            bans.sort_unstable();
            n_bans += bans.len();
            let held = held.get(jail).map_or(&[][..], Vec::as_slice);
            changes.extend(differences(jail, bans, held));
        }
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
