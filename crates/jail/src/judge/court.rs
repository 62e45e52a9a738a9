//! One jail before the judge: what a failure counts, and when it bans.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

use super::failing::{Counted, Evidence, Failing, Ticket};
use super::ignore::IgnoreList;
use super::standing::{Standing, Verdict};
use super::{Action, IgnoredBy, Known, Reading, Rules};
use crate::event::{Ban, BanTime, Failure, Subject};
use crate::increment::weight;

/// Beyond this distance from now, a line that was just written bears a wrong date and counts as
/// now; fail2ban's own limit.
const ODD_TIME: SignedDuration = SignedDuration::from_secs(60);

/// A jail warns of strange times once in this while; a wrong time zone would warn on every line.
const WARN_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// One jail before the judge.
#[derive(Debug)]
pub(super) struct Court {
    pub(super) rules: Rules,
    pub(super) ignore: IgnoreList,
    pub(super) failing: Failing,
    pub(super) standing: Standing,
    warn_odd_time: Option<Timestamp>,
    warn_too_old: Option<Timestamp>,
}

impl Court {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            ignore: IgnoreList::new(&rules.ignore_ip),
            rules,
            failing: Failing::default(),
            standing: Standing::default(),
            warn_odd_time: None,
            warn_too_old: None,
        }
    }

    pub(super) fn under(self, rules: Rules) -> Self {
        Self { ignore: IgnoreList::new(&rules.ignore_ip), rules, ..self }
    }

    /// Whether `subject` is never banned here.
    pub(super) fn ignores(&self, subject: &Subject, known: &Known) -> Option<IgnoredBy> {
        let is_own = |own: &IpAddr| match subject {
            Subject::Addr(addr) => addr == own,
            Subject::Net(net) => net.contains(own),
            Subject::Id(_) => false,
        };
        if self.rules.ignore_self && known.own.iter().any(is_own) {
            return Some(IgnoredBy::OwnAddress);
        }
        self.ignore.covers(subject, &known.resolved)
    }

    pub(super) fn failure(
        &mut self,
        mut failure: Failure,
        reading: Reading,
        known: &Known,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let Some(time) = self.time_of(failure.time, reading, now, out) else {
            return;
        };
        failure.time = time;
        let subject = failure.subject.clone();
        if let Some(by) = self.ignores(&subject, known) {
            out.push(Action::Ignored { jail: failure.jail, subject, by });
            return;
        }
        let together = known.together.counted(&subject).filter(|net| !self.is_friendly(net, known));
        let subject = together.map_or(subject, Subject::Net);
        failure.subject = subject.clone();
        out.push(Action::Found { jail: failure.jail, subject, time });
        let extra = self.extra(&failure.subject, time, known);
        let counted = Counted { retry: 1, n_failures: failure.n_attempts.max(1), extra };
        let evidence = Evidence { matches: failure.matches, fields: failure.fields };
        let due = self.failing.add(&failure.subject, time, counted, evidence, &self.rules, now);
        if let Some(ticket) = due {
            self.ban(failure.subject, ticket, known, now, out);
        }
    }

    /// The time that a line counts for; `None` where it counts for nothing.
    fn time_of(
        &mut self,
        date: Timestamp,
        reading: Reading,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) -> Option<Timestamp> {
        let off = date.duration_since(now);
        match reading {
            // fail2ban compares whole seconds: 60.9 s are not odd yet.
            Reading::InOperation if off.as_secs().abs() > ODD_TIME.as_secs() => {
                if is_due(&mut self.warn_odd_time, now) {
                    out.push(Action::OddTime { jail: self.rules.jail.clone(), off });
                }
                Some(now)
            }
            Reading::CatchingUp | Reading::Filling if off < -self.rules.find_time => {
                if is_due(&mut self.warn_too_old, now) {
                    out.push(Action::TooOld { jail: self.rules.jail.clone() });
                }
                None
            }
            Reading::CatchingUp | Reading::Filling | Reading::InOperation => Some(date.min(now)),
        }
    }

    pub(super) fn attempt(
        &mut self,
        subject: Subject,
        matches: Vec<String>,
        known: &Known,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let retry = u32::try_from(matches.len()).unwrap_or(u32::MAX).max(1);
        let counted = Counted { retry, n_failures: 1, extra: 0 };
        let evidence = Evidence { matches, fields: Vec::new() };
        if let Some(ticket) = self.failing.add(&subject, now, counted, evidence, &self.rules, now) {
            self.ban(subject, ticket, known, now, out);
        }
    }

    /// What a failure counts on top, of whoever was banned here before.
    fn extra(&self, subject: &Subject, time: Timestamp, known: &Known) -> u32 {
        if self.rules.increment.is_none() {
            return 0;
        }
        match known.history.past(Some(&self.rules.jail), subject) {
            // A line from before the last ban is read once more, and was counted for it.
            Some(past) if time > past.last => {
                weight(past.n_bans).min(self.rules.max_retry).saturating_sub(1)
            }
            _ => 0,
        }
    }

    fn ban(
        &mut self,
        subject: Subject,
        ticket: Ticket,
        known: &Known,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let mut ban = Ban {
            jail: self.rules.jail.clone(),
            subject,
            time: ticket.last,
            bantime: self.rules.ban_time,
            n_failures: ticket.n_failures,
            first_failure: ticket.first_failure,
            last_failure: ticket.last,
            matches: ticket.matches,
            fields: ticket.fields,
        };
        let grown = self.grow(&mut ban, known);
        let crowd = known.together.crowd(&ban.subject).map(|crowd| (crowd, ban.clone()));
        self.stand(ban, Action::Ban, grown, now, out);
        if let Some(((net, n_banned), ban)) = crowd
            && self.is_crowded(net, n_banned, known)
        {
            self.stand(Ban { subject: Subject::Net(net), ..ban }, Action::Ban, None, now, out);
        }
    }

    /// Whether so many in `net` are banned that all of it is to be.
    fn is_crowded(&self, net: IpNet, n_banned: usize, known: &Known) -> bool {
        let is_new = self.standing.get(&Subject::Net(net)).is_none();
        let is_due = is_new && self.standing.n_in(&net) >= n_banned;
        is_due && !self.is_friendly(&net, known)
    }

    /// Whether anybody in `net` is never to be banned here.
    fn is_friendly(&self, net: &IpNet, known: &Known) -> bool {
        self.ignore.touches(net, &known.resolved)
            || (self.rules.ignore_self && known.own.iter().any(|own| net.contains(own)))
    }

    /// Makes the ban of whoever was banned before longer; tells which of his bans it is. A ban that
    /// stands already does not grow.
    fn grow(&self, ban: &mut Ban, known: &Known) -> Option<u32> {
        let increment = self.rules.increment.as_ref()?;
        if self.standing.get(&ban.subject).is_some() {
            return None;
        }
        let jail = (!increment.overall).then_some(self.rules.jail.as_str());
        let past = known.history.past(jail, &ban.subject)?;
        let grown = increment.ban_time(ban.bantime, past.n_bans, &(&ban.subject, ban.time));
        let before = std::mem::replace(&mut ban.bantime, grown);
        (grown != before).then(|| past.n_bans.saturating_add(1))
    }

    pub(super) fn ban_by_hand(
        &mut self,
        subject: Subject,
        ban_time: Option<BanTime>,
        known: &Known,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let mut ban = Ban {
            jail: self.rules.jail.clone(),
            subject,
            time: now,
            bantime: ban_time.unwrap_or(self.rules.ban_time),
            n_failures: 0,
            first_failure: now,
            last_failure: now,
            matches: Vec::new(),
            fields: Vec::new(),
        };
        let grown = if ban_time.is_none() { self.grow(&mut ban, known) } else { None };
        self.stand(ban, Action::Ban, grown, now, out);
    }

    /// Makes `ban` stand, as `made` says, unless it stands already or is over; `grown` tells which of
    /// its subject's bans it is, where that made it longer.
    fn stand(
        &mut self,
        mut ban: Ban,
        made: fn(Ban) -> Action,
        grown: Option<u32>,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        match self.standing.add(&ban, now) {
            Verdict::New => {
                let increased = grown.map(|n_bans| Action::Increased { ban: ban.clone(), n_bans });
                out.push(made(ban));
                out.extend(increased);
            }
            Verdict::Expired => {
                out.push(Action::Expired { jail: ban.jail, subject: ban.subject });
            }
            Verdict::Standing { since, prolonged } => {
                out.push(Action::AlreadyBanned {
                    jail: ban.jail.clone(),
                    subject: ban.subject.clone(),
                    after: ban.time.duration_since(since),
                });
                if let Some(bantime) = prolonged {
                    (ban.time, ban.bantime) = (since, bantime);
                    out.push(Action::Prolong(ban));
                }
            }
        }
    }

    pub(super) fn restore(
        &mut self,
        mut ban: Ban,
        known: &Known,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let longest = match &self.rules.increment {
            Some(increment) => increment.longest(),
            None => Some(self.rules.ban_time),
        };
        // A ban made under a longer bantime is cut to what the jail allows today. One that was
        // prolonged runs from the failure that prolonged it.
        if let Some(BanTime::Seconds(longest)) = longest {
            let later = ban.last_failure.duration_since(ban.time).as_secs();
            let longest = longest.saturating_add(u32::try_from(later).unwrap_or(0));
            ban.bantime = match ban.bantime {
                BanTime::Seconds(seconds) => BanTime::Seconds(seconds.min(longest)),
                BanTime::Permanent => BanTime::Seconds(longest),
            };
        }
        if ban.until().is_some_and(|until| until <= now) {
            out.push(Action::Expired { jail: ban.jail, subject: ban.subject });
        } else if let Some(by) = self.ignores(&ban.subject, known) {
            out.push(Action::Ignored { jail: ban.jail, subject: ban.subject, by });
        } else {
            self.stand(ban, Action::Restored, None, now, out);
        }
    }
}

/// Whether a warning may be given again, and notes that it was.
fn is_due(next: &mut Option<Timestamp>, now: Timestamp) -> bool {
    if next.is_some_and(|next| now < next) {
        return false;
    }
    *next = now.checked_add(WARN_EVERY).ok();
    true
}
