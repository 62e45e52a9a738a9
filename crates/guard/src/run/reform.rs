//! Other jails, or other rules for them, while guard runs: what stays keeps its failures, its bans
//! and the commands of its actions.

use control::Refusal;
use jail::Ban;
use jail::judge::{self, Action, Rules};
use jiff::Timestamp;

use super::asked::refused;
use super::failures::ignore_command;
use super::{Post, Run};
use crate::command::{Order, Queue, Shell};
use crate::event::Reform;
use crate::firewall::Blocking;
use crate::ready::Ready;
use crate::store::StoreError;
use crate::words::chain;

impl Run {
    /// Makes guard what `reform` says; returns the names of `ignoreip`.
    ///
    /// # Errors
    ///
    /// When the firewall would not take the rules; nothing has changed then.
    pub(super) fn reform(
        &mut self,
        reform: Reform,
        now: Timestamp,
    ) -> Result<Vec<String>, Refusal> {
        let Reform { jails, unbanned, restarted, disabled, is_reload } = reform;
        let before = self.blockings();
        let blockings: Vec<Blocking> = jails.iter().filter_map(|it| it.blocking.clone()).collect();
        self.firewall
            .check(&blockings)
            .map_err(|error| Refusal::Failed(format!("{}; nothing has changed", chain(&error))))?;

        for jail in unbanned {
            let actions = self.judge.handle(judge::Event::UnbanAll { jail: Some(jail) }, now);
            self.carry(actions);
        }
        let rules: Vec<Rules> = jails.iter().map(|it| Rules::from(&*it.jail)).collect();
        let stays = |it: &&Rules| {
            self.posts.iter().any(|post| post.jail.name == it.jail) && !restarted.contains(&it.jail)
        };
        let staying: Vec<Rules> = rules.iter().filter(stays).cloned().collect();
        let new = rules.iter().filter(|it| !stays(it)).map(|it| it.jail.clone());
        let new: Vec<String> = new.collect();

        // The bans of those that leave are lifted while their posts still stand.
        let actions = self.judge.handle(judge::Event::Rules(staying), now);
        self.carry(actions);
        self.settle();
        self.man_posts(jails, &new, is_reload);
        self.judge.handle(judge::Event::Rules(rules), now);
        self.tell_of_host(now);
        if !new.is_empty() {
            let is_new = |ban: &Ban| new.contains(&ban.jail);
            self.restore_bans(is_new, now).map_err(|error| refused(&error))?;
        }
        self.disabled = disabled.unwrap_or_else(|| std::mem::take(&mut self.disabled));

        if (!new.is_empty() || self.blockings() != before)
            && let Err(error) = self.fill_firewall(now)
        {
            self.firewall_fails(&error);
        }
        Ok(self.names())
    }

    /// Mans the posts of `jails`, of which these are `new`.
    fn man_posts(&mut self, jails: Vec<Ready>, new: &[String], is_reload: bool) {
        let mut old = std::mem::take(&mut self.posts);
        for mut ready in jails {
            let at = old.iter().position(|it| it.jail.name == ready.jail.name);
            let mut before = at.map(|at| old.remove(at));
            let is_new = new.contains(&ready.jail.name);
            let queue = before.as_mut().and_then(|it| it.commands.take());
            let same =
                !is_new && before.as_ref().is_some_and(|it| it.jail.actions == ready.jail.actions);
            let commands = match queue {
                Some(mut queue) if same => {
                    if is_reload {
                        queue.add(Order::Reload);
                    }
                    Some(queue)
                }
                queue => start_commands(&mut ready, self.firewall.blocks(), &self.shell, queue),
            };
            let retell = commands.is_some() && !same && !is_new;
            let asked = before.as_mut().and_then(|it| it.ignore.take());
            let ignore = ignore_command(&ready.jail, asked, &self.shell, &self.inbox);
            let post = Post { ignore, ..Post::of(ready, commands) };
            if is_new {
                tracing::info!(target: "fail2ban.jail", "Jail '{}' started", post.jail.name);
            }
            let name = post.jail.name.clone();
            self.posts.push(match before.filter(|_| !is_new) {
                Some(before) => post.after(before),
                None => post,
            });
            if retell {
                self.retell(&name);
            }
        }
        for mut post in old {
            tracing::info!(target: "fail2ban.jail", "Jail '{}' stopped", post.jail.name);
            self.leaving.extend(post.commands.take().map(Queue::leave));
        }
    }

    /// Tells commands that are new to a jail of its bans.
    fn retell(&mut self, jail: &str) {
        if let Err(error) = self.retell_standing(jail) {
            tracing::error!(
                target: "fail2ban.actions",
                "[{jail}] its new actions are not told who is banned already: {}", chain(&error)
            );
        }
    }

    fn retell_standing(&mut self, jail: &str) -> Result<(), StoreError> {
        let mut standing = self.store.standing()?;
        while let Some(bans) = standing.part(&self.store)? {
            for ban in bans.into_iter().filter(|it| it.jail == jail) {
                self.order(&Action::Restored(ban));
            }
        }
        Ok(())
    }
}

/// Starts the commands of a jail, where it has any and really blocks, once `old` ones have ended.
pub(super) fn start_commands(
    ready: &mut Ready,
    blocks: bool,
    shell: &Shell,
    old: Option<Queue>,
) -> Option<Queue> {
    let old = old.map(Queue::leave);
    let commands = std::mem::take(&mut ready.commands);
    if commands.is_empty() || !blocks {
        return None;
    }
    let jail = &ready.jail.name;
    match Queue::start(jail.clone(), commands, shell.clone(), old) {
        Ok(queue) => Some(queue),
        Err(error) => {
            tracing::error!(
                target: "fail2ban.actions",
                "[{jail}] bans are made without the commands of its actions: {error}"
            );
            None
        }
    }
}
