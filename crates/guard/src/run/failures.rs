//! What becomes of a failure before the judge hears of it, and of its ban afterwards: a command may
//! say that it is ignored, and who sits at a live session may be spared.

use std::sync::mpsc::SyncSender;

use jail::config::Jail;
use jail::judge::{self, Action, IgnoredBy, Reading};
use jail::{Failure, Subject};
use jiff::Timestamp;

use super::Run;
use crate::addresses;
use crate::command::{IgnoreCommand, Shell};
use crate::event::Event;
use crate::words::Clean;

impl Run {
    /// Has a failure judged, at once or once the command of its jail has spoken.
    pub(super) fn failure(
        &mut self,
        failure: Failure,
        reading: Reading,
        now: Timestamp,
    ) -> Vec<Action> {
        let jail = &failure.jail;
        let post = self.posts.iter_mut().find(|it| it.jail.name == *jail);
        if let Some(command) = post.and_then(|it| it.ignore.as_mut())
            && self.judge.ignores(Some(jail), &failure.subject).is_none()
        {
            command.ask(failure, reading);
            return Vec::new();
        }
        let actions = self.judge.handle(judge::Event::Failure(failure, reading), now);
        self.spare_sessions(actions, now)
    }

    /// The command of the failure's jail has spoken.
    pub(super) fn judged(
        &mut self,
        failure: Failure,
        reading: Reading,
        is_ignored: bool,
        now: Timestamp,
    ) {
        if is_ignored {
            let Failure { jail, subject, .. } = failure;
            self.turn.words.push(Action::Ignored { jail, subject, by: IgnoredBy::Command });
            return;
        }
        let actions = self.judge.handle(judge::Event::Failure(failure, reading), now);
        let actions = self.spare_sessions(actions, now);
        self.carry(actions);
    }

    /// Takes back bans of whoever is at a live session of an administrator, where that is wanted.
    fn spare_sessions(&mut self, mut actions: Vec<Action>, now: Timestamp) -> Vec<Action> {
        if !self.protects_sessions || !actions.iter().any(|it| matches!(it, Action::Ban(_))) {
            return actions;
        }
        let sessions = addresses::of_sessions();
        let is_spared = |subject: &Subject| sessions.iter().any(|it| addresses::is_in(it, subject));
        actions.retain(|action| {
            let (Action::Ban(ban) | Action::Increased { ban, .. }) = action else { return true };
            if !is_spared(&ban.subject) {
                return true;
            }
            if let Action::Ban(ban) = action {
                let (jail, subject) = (ban.jail.clone(), ban.subject.clone());
                tracing::warn!(
                    target: "fail2ban.actions",
                    "[{jail}] {} is not banned: an administrator's session comes from there",
                    Clean(&subject)
                );
                self.judge.handle(judge::Event::Unban { jail: Some(jail), subject }, now);
            }
            false
        });
        actions
    }
}

/// The command of `jail`, started; `before` goes on where it is the same.
pub(super) fn ignore_command(
    jail: &Jail,
    before: Option<IgnoreCommand>,
    shell: &Shell,
    inbox: &SyncSender<Event>,
) -> Option<IgnoreCommand> {
    let command = jail.ignore_command.as_ref()?;
    let cache = jail.ignore_cache.as_ref();
    if let Some(same) = before.filter(|it| it.runs(command, cache)) {
        return Some(same);
    }
    match IgnoreCommand::start(command.clone(), cache.cloned(), shell.clone(), inbox.clone()) {
        Ok(started) => Some(started),
        Err(error) => {
            tracing::error!(
                target: "fail2ban.filter",
                "[{}] its ignorecommand is not asked, nobody is ignored by it: {error}", jail.name
            );
            None
        }
    }
}
