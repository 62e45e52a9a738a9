//! What is asked at the control socket, answered from the loop's state.

use std::sync::mpsc::SyncSender;

use control::Refusal;
use control::guard::{
    BanLog, BanLogStatus, GuardAnswer, GuardRequest, GuardStatus, JailStatus, StandingBan,
};
use jail::judge::{self, Action, IgnoredBy, Reading};
use jail::{Ban, Failure, Subject};
use jiff::Timestamp;

use super::{Post, Run};
use crate::addresses;
use crate::store::StoreError;
use crate::words::chain;

/// Bans in one answer about the log; the follower asks again.
const MAX_BANS: u32 = 10_000;

impl Run {
    /// Answers at once, or when the turn is settled where something is to be changed.
    pub(super) fn asked(
        &mut self,
        request: GuardRequest,
        reply: SyncSender<Result<GuardAnswer, Refusal>>,
        now: Timestamp,
    ) {
        let answer = match request {
            GuardRequest::Ping => Ok(GuardAnswer::Pong),
            GuardRequest::Status => Ok(GuardAnswer::Status(self.status(now))),
            GuardRequest::JailStatus { jail } => match self.post(&jail) {
                Ok(post) => Ok(GuardAnswer::JailStatus(self.jail_status(post, now))),
                Err(refusal) => Err(refusal),
            },
            GuardRequest::Banned { subjects } => self.banned(&subjects).map(GuardAnswer::Banned),
            GuardRequest::Standing { jail } => self.standing(&jail).map(GuardAnswer::Standing),
            GuardRequest::Ban { jail, subjects, force } => {
                self.ban_by_hand(&jail, &subjects, force, now)
            }
            GuardRequest::Unban { jail, subjects } => self.unban_by_hand(jail, subjects, now),
            GuardRequest::BansSince { after, limit, .. } => self.bans_since(after, limit),
            GuardRequest::Reached { log, number } => self.reached(&log, number),
            GuardRequest::Metrics => Ok(GuardAnswer::Metrics(self.metrics(now))),
            GuardRequest::Failure(failure) => self.reported(failure, now),
            GuardRequest::BlockList(_) | GuardRequest::FalsePositive { .. } => {
                Err(Refusal::Failed("what others say is the desk's".to_owned()))
            }
            GuardRequest::LookBack(_) => {
                Err(Refusal::Failed("old logs are searched beside the loop".to_owned()))
            }
            GuardRequest::Attempt { jail, subject, matches } => {
                self.attempt(jail, subject, matches, now)
            }
            GuardRequest::Config(_) => {
                Err(Refusal::Failed("what is configured is the roster's".to_owned()))
            }
        };
        match answer {
            Ok(answer @ (GuardAnswer::Changed(_) | GuardAnswer::Done)) => {
                self.turn.replies.push((reply, answer));
            }
            // Whoever asked may have gone.
            answer => _ = reply.send(answer),
        }
    }

    fn post(&self, jail: &str) -> Result<&Post, Refusal> {
        let found = self.posts.iter().find(|it| it.jail.name == jail);
        found.ok_or_else(|| Refusal::NoJail(jail.to_owned()))
    }

    fn status(&self, now: Timestamp) -> GuardStatus {
        let ban_log = self.store.ban_log();
        GuardStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.started,
            firewall: self.firewall.describe(),
            jails: self.posts.iter().map(|it| self.jail_status(it, now)).collect(),
            disabled: self.disabled.clone(),
            ban_log: BanLogStatus {
                log: ban_log.id.clone(),
                last: ban_log.last,
                reached: ban_log.reached,
            },
        }
    }

    fn jail_status(&self, post: &Post, now: Timestamp) -> JailStatus {
        let status = self.judge.status(&post.jail.name, now).unwrap_or_default();
        let mut notes = Vec::new();
        for (path, why) in &post.troubles {
            notes.push(format!("{} cannot be followed: {why}", path.display()));
        }
        if post.n_cut > 0 {
            notes.push(format!(
                "{} lines were longer than a megabyte; only their beginning was looked at",
                post.n_cut
            ));
        }
        if post.n_given_up > 0 {
            notes.push(format!(
                "{} searches took too long and found nothing; somebody may write lines to hide",
                post.n_given_up
            ));
        }
        if self.firewall_due.is_some() && post.blocking.is_some() {
            notes.push("the firewall refuses, nobody is blocked; see the log".to_owned());
        }
        if self.store_due.is_some() {
            notes.push(
                "guard.db cannot be written, bans are not remembered; see the log".to_owned(),
            );
        }
        JailStatus {
            jail: post.jail.name.clone(),
            currently_failed: status.currently_failed as u64,
            total_failed: status.total_failed,
            files: post.files.iter().map(|it| it.display().to_string()).collect(),
            awaited: post.awaited.values().cloned().collect(),
            journal_matches: post.journal.iter().cloned().collect(),
            currently_banned: status.currently_banned as u64,
            total_banned: status.total_banned,
            banned: self.judge.banned(&post.jail.name),
            notes,
        }
    }

    fn banned(&self, subjects: &[Subject]) -> Result<Vec<Ban>, Refusal> {
        let mut bans = Vec::new();
        let mut standing = self.store.standing().map_err(|error| refused(&error))?;
        while let Some(part) = standing.part(&self.store).map_err(|error| refused(&error))? {
            bans.extend(part.into_iter().filter(|ban| {
                self.judge.ban_of(&ban.jail, &ban.subject).is_some()
                    && (subjects.is_empty() || subjects.iter().any(|it| holds(it, &ban.subject)))
            }));
        }
        Ok(bans)
    }

    fn standing(&self, jail: &str) -> Result<Vec<StandingBan>, Refusal> {
        self.post(jail)?;
        let ban = |subject: Subject| {
            let (time, bantime) = self.judge.ban_of(jail, &subject)?;
            Some(StandingBan { subject, time, bantime })
        };
        Ok(self.judge.banned(jail).into_iter().filter_map(ban).collect())
    }

    fn ban_by_hand(
        &mut self,
        jail: &str,
        subjects: &[Subject],
        force: bool,
        now: Timestamp,
    ) -> Result<GuardAnswer, Refusal> {
        let post = self.post(jail)?;
        // A ban that nobody feels would only look like one.
        if post.blocking.is_some()
            && post.commands.is_none()
            && let Some(id) = subjects.iter().find(|it| matches!(it, Subject::Id(_)))
        {
            return Err(Refusal::Failed(format!(
                "`{id}` is no address, and nothing else can be shut out by jail `{jail}`; ban the \
                 addresses that it stands for"
            )));
        }
        if !force {
            self.spare(jail, subjects)?;
        }
        let mut n_changed = 0;
        for subject in subjects {
            let (jail, subject) = (jail.to_owned(), subject.clone());
            let event = judge::Event::Ban { jail, subject, ban_time: None };
            let actions = self.judge.handle(event, now);
            n_changed += count(&actions, |it| matches!(it, Action::Ban(_)));
            self.carry(actions);
        }
        Ok(GuardAnswer::Changed(n_changed))
    }

    /// Refuses to ban the host itself, or who is at a live session of an administrator.
    fn spare(&self, jail: &str, subjects: &[Subject]) -> Result<(), Refusal> {
        let sessions = addresses::of_sessions();
        for subject in subjects {
            let what = if self.judge.ignores(Some(jail), subject) == Some(IgnoredBy::OwnAddress) {
                "is, or holds, an address of this host"
            } else if sessions.iter().any(|it| addresses::is_in(it, subject)) {
                "would end a live session on port 22"
            } else {
                continue;
            };
            let why = format!("{subject} {what}; `--force` bans it all the same");
            return Err(Refusal::Failed(why));
        }
        Ok(())
    }

    fn unban_by_hand(
        &mut self,
        jail: Option<String>,
        subjects: Option<Vec<Subject>>,
        now: Timestamp,
    ) -> Result<GuardAnswer, Refusal> {
        if let Some(jail) = &jail {
            self.post(jail)?;
        }
        let events = match subjects {
            None => vec![judge::Event::UnbanAll { jail }],
            Some(subjects) => subjects
                .into_iter()
                .map(|subject| judge::Event::Unban { jail: jail.clone(), subject })
                .collect(),
        };
        let mut n_changed = 0;
        for event in events {
            let actions = self.judge.handle(event, now);
            n_changed += count(&actions, |it| matches!(it, Action::Unban { .. }));
            self.carry(actions);
        }
        Ok(GuardAnswer::Changed(n_changed))
    }

    fn bans_since(&self, after: u64, limit: u32) -> Result<GuardAnswer, Refusal> {
        let bans = self.store.bans_since(after, limit.min(MAX_BANS));
        let bans = bans.map_err(|error| refused(&error))?;
        Ok(GuardAnswer::BanLog(BanLog { log: self.store.ban_log().id.clone(), bans }))
    }

    fn reached(&mut self, log: &str, number: u64) -> Result<GuardAnswer, Refusal> {
        // The number of another log says nothing about this one.
        if log == self.store.ban_log().id {
            self.store.reached(number).map_err(|error| refused(&error))?;
        }
        Ok(GuardAnswer::Done)
    }

    fn reported(&mut self, failure: Failure, now: Timestamp) -> Result<GuardAnswer, Refusal> {
        self.post(&failure.jail)?;
        let actions = self.failure(failure, Reading::InOperation, now);
        self.carry(actions);
        Ok(GuardAnswer::Done)
    }

    fn attempt(
        &mut self,
        jail: String,
        subject: Subject,
        matches: Vec<String>,
        now: Timestamp,
    ) -> Result<GuardAnswer, Refusal> {
        self.post(&jail)?;
        let actions = self.judge.handle(judge::Event::Attempt { jail, subject, matches }, now);
        self.carry(actions);
        Ok(GuardAnswer::Done)
    }
}

/// Whether `asked` is `banned`, or a prefix that holds it.
fn holds(asked: &Subject, banned: &Subject) -> bool {
    match (asked, banned) {
        (Subject::Net(net), Subject::Addr(addr)) => net.contains(addr),
        (Subject::Net(net), Subject::Net(inner)) => net.contains(inner),
        _ => asked == banned,
    }
}

fn count(actions: &[Action], is_one: impl Fn(&Action) -> bool) -> u64 {
    actions.iter().filter(|it| is_one(it)).count() as u64
}

pub(super) fn refused(error: &StoreError) -> Refusal {
    Refusal::Failed(chain(error))
}
