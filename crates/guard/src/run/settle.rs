//! The end of a turn: the firewall first, then the disk, and only then is it said.

use std::time::{Duration, Instant};

use control::Refusal;
use jail::judge::Action;
use jiff::Timestamp;

use super::{MARK_EVERY, Run};
use crate::firewall::FirewallError;
use crate::store::{Failing, StoreError};
use crate::words::{self, chain};

/// How long until a firewall or a disk that refused is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Changes in one batch for the firewall: larger ones outgrow the kernel's buffers.
const MAX_BATCH: usize = 10_000;

/// Records that are kept while the disk refuses them; beyond that the oldest are forgotten, and
/// it is said. With their lines they are some hundred megabytes.
const MAX_OWED: usize = 100_000;

impl Run {
    /// Does what the turn came to.
    pub(super) fn settle(&mut self) {
        (self.turn.more, self.turn.begun, self.turn.n_bans) = (false, None, 0);
        self.move_firewall();
        self.look_after();
        match self.remember() {
            Ok(()) => {
                self.feed.reached(self.store.ban_log().last);
                self.turn.words.drain(..).for_each(|it| words::say(&it, &mut self.calendar));
                for (reply, answer) in self.turn.replies.drain(..) {
                    // Whoever asked may have gone.
                    let _ = reply.send(Ok(answer));
                }
            }
            Err(why) => {
                // A ban is said once it is on the disk.
                self.turn.words.retain(|action| {
                    let is_ban = matches!(action, Action::Ban(_));
                    if !is_ban {
                        words::say(action, &mut self.calendar);
                    }
                    is_ban
                });
                for (reply, _) in self.turn.replies.drain(..) {
                    let why = format!("it is done in the firewall and not remembered: {why}");
                    // As above.
                    let _ = reply.send(Err(Refusal::Failed(why)));
                }
            }
        }
    }

    pub(super) fn move_firewall(&mut self) {
        let changes = std::mem::take(&mut self.turn.changes);
        match self.firewall_due {
            // What is to change is among all bans, which are put back then.
            Some(due) if due > Instant::now() => {}
            Some(_) => self.rebuild_firewall(),
            None => {
                let outcome = changes.chunks(MAX_BATCH).try_for_each(|it| self.firewall.apply(it));
                if let Err(error) = outcome {
                    tracing::warn!(
                        target: "fail2ban.actions",
                        "{}; all bans are put into it anew", chain(&error)
                    );
                    self.rebuild_firewall();
                }
            }
        }
        self.clock_bans();
    }

    pub(super) fn rebuild_firewall(&mut self) {
        match self.fill_firewall(self.clock.now()) {
            Ok(n_bans) => {
                self.firewall_due = None;
                tracing::info!(
                    target: "fail2ban.actions", notice = true,
                    "the firewall holds all {n_bans} bans again"
                );
            }
            Err(error) => self.firewall_fails(&error),
        }
    }

    pub(super) fn firewall_fails(&mut self, error: &FirewallError) {
        if self.firewall_due.is_none() {
            tracing::error!(
                target: "fail2ban.actions",
                "nobody is blocked until the firewall works again, it is tried every {} s: {}",
                RETRY.as_secs(), chain(error)
            );
        }
        self.firewall_due = Some(Instant::now() + RETRY);
    }

    /// Puts what is owed on the disk, and with it how far the logs were read.
    fn remember(&mut self) -> Result<(), String> {
        self.marks_are_due |= !self.marks.is_empty() && self.marked.elapsed() >= MARK_EVERY;
        if self.owed.is_empty() && !self.marks_are_due {
            return Ok(());
        }
        if self.store_due.is_some_and(|due| due > Instant::now()) {
            return Err("the disk refuses".to_owned());
        }
        let n_missed = self.store.ban_log().n_missed();
        let outcome = self.commit();
        match outcome {
            Ok(()) => {
                self.owed.clear();
                self.judge.changes_written();
                self.marks.clear();
                (self.marked, self.marks_are_due) = (Instant::now(), false);
                self.say_what_is_missed(n_missed);
                if self.store_due.take().is_some() {
                    tracing::info!(
                        target: "fail2ban.actions", notice = true,
                        "guard.db is written again; nothing was lost"
                    );
                }
                Ok(())
            }
            Err(error) => {
                let why = chain(&error);
                if self.store_due.is_none() {
                    tracing::error!(
                        target: "fail2ban.actions",
                        "bans stand in the firewall and are not remembered yet, it is tried every \
                         {} s: {why}", RETRY.as_secs()
                    );
                }
                self.store_due = Some(Instant::now() + RETRY);
                self.forget_the_oldest();
                Err(why)
            }
        }
    }

    /// Puts on the disk what is owed, and with it how far the logs were read and the failures that
    /// this came to and that are no ban yet: only together do they let the next life count on.
    fn commit(&mut self) -> Result<(), StoreError> {
        let failing = self.judge.changed_tickets().map(|(rules, subject, ticket)| {
            let ticket = ticket.map(|ticket| {
                let until = ticket.last().saturating_add(rules.find_time);
                (ticket, until.unwrap_or(Timestamp::MAX))
            });
            Failing { jail: &rules.jail, subject, ticket }
        });
        self.store.commit(&self.owed, failing, self.marks.values())
    }

    /// Says once that exchange is so far behind that bans were dropped which it never saw.
    fn say_what_is_missed(&self, n_missed_before: u64) {
        let ban_log = self.store.ban_log();
        if n_missed_before == 0 && ban_log.n_missed() > 0 {
            tracing::error!(
                target: "fail2ban.actions",
                "exchange has not taken a ban since number {}, and the log of bans is full: the \
                 oldest are dropped and nobody will be told of them; see `fail2misp status` for \
                 whether exchange runs",
                ban_log.reached
            );
        }
    }

    fn forget_the_oldest(&mut self) {
        if self.owed.len() <= MAX_OWED {
            return;
        }
        let n_lost = self.owed.len() - MAX_OWED;
        self.owed.drain(..n_lost);
        tracing::error!(
            target: "fail2ban.actions",
            "{n_lost} changes of bans will not be remembered after a restart: the disk has refused \
             {MAX_OWED} of them"
        );
    }

    /// Puts on the disk how far the logs were read, whatever is due.
    pub(super) fn remember_marks(mut self) {
        if let Err(error) = self.commit() {
            tracing::error!(
                target: "fail2ban.actions", "the last changes are not remembered: {}", chain(&error)
            );
        }
    }
}
