//! What guard says in its log, in fail2ban's own words: recidive and people's scripts read them.
//!
//! Text of a log never reaches ours as it stands: control characters are written as escapes, so
//! that nobody forges a line.

use std::fmt::{self, Display, Write as _};

use jail::config::duration;
use jail::judge::{Action, IgnoredBy, Lifted};
use jail::{Ban, BanTime};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::span::EnteredSpan;

/// Below this many seconds after a ban, more failures are what was already on its way.
const STILL_ON_ITS_WAY: i64 = 60;

/// What is said on this thread until this is dropped belongs together: a log may write it at once.
pub(crate) fn together() -> EnteredSpan {
    // At the level of errors, so that it is there whatever is logged.
    tracing::error_span!(target: "fail2ban", "together").entered()
}

/// Says what the judge decided.
pub(crate) fn say(action: &Action, calendar: &mut Calendar) {
    match action {
        Action::Found { jail, subject, time } => {
            let (subject, time) = (Clean(subject), calendar.time(*time));
            tracing::info!(target: "fail2ban.filter", "[{jail}] Found {subject} - {time}");
        }
        Action::Ignored { jail, subject, by } => {
            let by = match by {
                IgnoredBy::OwnAddress => "ignoreself rule",
                IgnoredBy::Address => "ip",
                IgnoredBy::Name => "dns",
                IgnoredBy::Command => "command",
            };
            let subject = Clean(subject);
            tracing::info!(target: "fail2ban.filter", "[{jail}] Ignore {subject} by {by}");
        }
        Action::OddTime { jail, off } => tracing::warn!(
            target: "fail2ban.filter",
            "[{jail}] lines that are just written bear a time {} s from now: they count as now; \
             is the zone of the log another one (logtimezone), or a clock wrong?",
            off.as_secs()
        ),
        Action::TooOld { jail } => tracing::info!(
            target: "fail2ban.filter",
            "[{jail}] failures older than findtime do not count"
        ),
        Action::Ban(ban) => {
            let (jail, subject) = (&ban.jail, Clean(&ban.subject));
            tracing::info!(target: "fail2ban.actions", notice = true, "[{jail}] Ban {subject}");
        }
        Action::Restored(ban) => {
            let (jail, subject) = (&ban.jail, Clean(&ban.subject));
            tracing::info!(
                target: "fail2ban.actions", notice = true, "[{jail}] Restore Ban {subject}"
            );
        }
        Action::Increased { ban, n_bans } => {
            let (jail, subject) = (&ban.jail, Clean(&ban.subject));
            let (length, until) = (length(ban.bantime), end(ban, calendar));
            tracing::info!(
                target: "fail2ban.actions", notice = true,
                "[{jail}] Increase Ban {subject} ({n_bans} # {length} -> {until})"
            );
        }
        Action::Prolong(ban) => {
            let (jail, subject) = (&ban.jail, Clean(&ban.subject));
            let until = end(ban, calendar);
            // fail2ban prolongs without a word, beside that of who is banned already.
            tracing::debug!(target: "fail2ban.actions", "[{jail}] ban of {subject} until {until}");
        }
        Action::AlreadyBanned { jail, subject, after } => {
            let subject = Clean(subject);
            if after.as_secs() < STILL_ON_ITS_WAY {
                tracing::info!(
                    target: "fail2ban.actions", notice = true, "[{jail}] {subject} already banned"
                );
            } else {
                tracing::warn!(target: "fail2ban.actions", "[{jail}] {subject} already banned");
            }
        }
        Action::Expired { jail, subject } => {
            let subject = Clean(subject);
            tracing::info!(
                target: "fail2ban.actions", "[{jail}] Ignore {subject}, expired bantime"
            );
        }
        Action::Unban {
            jail,
            subject,
            why: Lifted::Expired | Lifted::ByOperator | Lifted::JailRemoved,
        } => {
            let subject = Clean(subject);
            tracing::info!(target: "fail2ban.actions", notice = true, "[{jail}] Unban {subject}");
        }
        // Told to the operator who asked.
        Action::NotBanned { subject } => {
            tracing::debug!(target: "fail2ban.actions", "{} is not banned", Clean(subject));
        }
        // A decoy's jail that is gone is not worth a line each.
        Action::NoSuchJail { .. } => {}
    }
}

/// When a ban ends, as a time of day here.
fn end<'c>(ban: &Ban, calendar: &'c mut Calendar) -> &'c str {
    ban.until().map_or("infinite", |end| calendar.time(end))
}

/// Times as people here write them. Failures come in crowds, so the last one is kept.
pub(crate) struct Calendar {
    zone: TimeZone,
    second: i64,
    text: String,
}

impl Calendar {
    pub(crate) fn of(zone: TimeZone) -> Self {
        Self { zone, second: 0, text: String::new() }
    }

    fn time(&mut self, time: Timestamp) -> &str {
        if self.second != time.as_second() || self.text.is_empty() {
            self.second = time.as_second();
            let time = time.to_zoned(self.zone.clone());
            self.text = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
        }
        &self.text
    }
}

fn length(ban_time: BanTime) -> String {
    match ban_time {
        BanTime::Seconds(seconds) => duration::words(seconds),
        BanTime::Permanent => "permanent".to_owned(),
    }
}

/// Text without control characters: those are written as escapes.
pub(crate) struct Clean<T>(pub(crate) T);

impl<T: Display> Display for Clean<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        if !text.contains(char::is_control) {
            return out.write_str(&text);
        }
        text.chars().try_for_each(|char| match char.is_control() {
            true => write!(out, "{}", char.escape_default()),
            false => out.write_char(char),
        })
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_forges_a_line() {
        let hostile = "eve\n2026-11-22 [sshd] Ban 192.0.2.1\u{1b}[2K\u{85}";
        let clean = Clean(hostile).to_string();
        assert_eq!(clean, "eve\\n2026-11-22 [sshd] Ban 192.0.2.1\\u{1b}[2K\\u{85}");
    }
}
