//! Decides what becomes of a ban that comes in: kept by the policy, or a row of the outbox for
//! each destination that it goes to.

use std::borrow::Cow;
use std::sync::Arc;

use jail::{Ban, Subject};
use jiff::{SignedDuration, Timestamp};
use lists::warninglist::Warninglist;
use misp::value::normalise;
use misp::wire::{IP_SRC, SightingKind};
use tracing::info;

use crate::LOG;
use crate::destination::Destination;
use crate::policy::{self, Facts, Kept, Policy, Terms};
use crate::report::Report;
use crate::store::{Accepted, Changes, Sightings, State};
use crate::warnings::Warnings;

/// Within this time as many hosts must have banned an address as the policy asks for.
const WITNESSED_WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// Rows that are looked at once more at a time: an outbox may hold a million.
const SCREENED_AT_ONCE: usize = 10_000;
/// Lines of a log that are kept for a comment; a comment is no archive.
const MAX_MATCHES_BYTES: usize = 4 << 10;

/// The rules that bans come in by.
#[derive(Debug)]
pub(crate) struct Intake {
    policy: Policy,
    destinations: Vec<Destination>,
    /// What names this host.
    site: String,
    /// Whether what comes in waits for an operator's approval.
    review: bool,
    warnings: Warnings,
}

impl Intake {
    pub(crate) fn new(
        policy: Policy,
        destinations: Vec<Destination>,
        site: String,
        review: bool,
        warnings: Warnings,
    ) -> Self {
        Self { policy, destinations, site, review, warnings }
    }

    /// MISP's warninglists, as far as they were fetched.
    pub(crate) fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// Whether any warninglist has a say.
    pub(crate) fn heeds_warnings(&self) -> bool {
        !self.policy.warninglists.is_empty()
    }

    /// The warninglists that keep whom they name from being blocked.
    pub(crate) fn harmless(&self) -> Vec<Arc<Warninglist>> {
        self.warnings.lists(|name| !self.policy.warninglists.may_block(name))
    }

    /// Remembers the configured destinations as they are now.
    pub(crate) fn keep_destinations(&self, changes: &Changes<'_>) -> rusqlite::Result<()> {
        // Where two name the same url and event, the first one says how it is written to.
        self.destinations.iter().rev().try_for_each(|it| changes.keep_destination(it).map(drop))
    }

    /// Puts a report into the outbox, or counts why not.
    pub(crate) fn admit(
        &self,
        changes: &Changes<'_>,
        report: &Report,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let admitted = if report.false_positive {
            self.admit_false_positive(changes, report, now)?
        } else if report.only_sighting {
            self.admit_sighting(changes, report, now)?
        } else {
            self.admit_ban(changes, report, now)?
        };
        let Err(why) = admitted else { return Ok(()) };
        let ban = &report.ban;
        info!(target: LOG, "{} of jail {} is not shared: {why}", ban.subject, ban.jail);
        changes.count_withheld(why)
    }

    fn admit_ban(
        &self,
        changes: &Changes<'_>,
        report: &Report,
        now: Timestamp,
    ) -> rusqlite::Result<Result<(), Kept>> {
        let ban = &report.ban;
        let addressed = self.addressed(report);
        if addressed.is_empty() {
            return Ok(Ok(()));
        }
        let facts = Facts {
            n_failures: ban.n_failures,
            n_hosts: self.n_hosts(changes, report, now)?,
            is_restored: report.restored,
            ..Facts::default()
        };
        let is_pulled = self.is_pulled(changes, &ban.subject)?;
        let (value, terms) = match self.screen(&ban.subject, Facts { is_pulled, ..facts }) {
            Ok(screened) => screened,
            Err(why) => return Ok(Err(why)),
        };
        for (destination, sightings) in addressed {
            let number = match &destination {
                Cow::Borrowed(configured) => changes.destination_number(configured)?,
                Cow::Owned(named) => changes.keep_destination(named)?,
            };
            let matches = destination.tells_matches().then(|| matches_of(ban));
            let sightings = Sightings::from(sightings);
            let historical = report.historical;
            let row =
                Accepted { terms, sightings, matches, historical, ..accepted(number, &value, ban) };
            changes.accept(&row, self.state(), now)?;
        }
        Ok(Ok(()))
    }

    /// Has an address sighted that others know already, whatever is thought of it here.
    fn admit_sighting(
        &self,
        changes: &Changes<'_>,
        report: &Report,
        now: Timestamp,
    ) -> rusqlite::Result<Result<(), Kept>> {
        let ban = &report.ban;
        if let Err(why) = self.policy.may_name(&ban.subject) {
            return Ok(Err(why));
        }
        let Some(value) = value_of(&ban.subject) else { return Ok(Err(Kept::NoAddress)) };
        for (destination, sightings) in self.addressed(report) {
            if sightings {
                let number = changes.keep_destination(&destination)?;
                let row = Accepted { sightings: Sightings::Only, ..accepted(number, &value, ban) };
                changes.accept(&row, self.state(), now)?;
            }
        }
        Ok(Ok(()))
    }

    /// Takes back what waits of an address, and tells those who may hold it.
    fn admit_false_positive(
        &self,
        changes: &Changes<'_>,
        report: &Report,
        now: Timestamp,
    ) -> rusqlite::Result<Result<(), Kept>> {
        let ban = &report.ban;
        if let Err(why) = self.policy.may_name(&ban.subject) {
            return Ok(Err(why));
        }
        let Some(value) = value_of(&ban.subject) else { return Ok(Err(Kept::NoAddress)) };
        changes.retract(&value)?;
        let mut numbers = changes.holders(&value)?;
        for destination in &self.destinations {
            let number = changes.destination_number(destination)?;
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        for number in numbers {
            let kind = SightingKind::FalsePositive;
            let row = Accepted { kind, until: None, ..accepted(number, &value, ban) };
            changes.accept(&row, self.state(), now)?;
        }
        Ok(Ok(()))
    }

    /// Looks at what waits once more: the rules may have changed since it was accepted.
    pub(crate) fn screen_again(&self, changes: &Changes<'_>) -> rusqlite::Result<()> {
        let mut after = 0;
        loop {
            let rows = changes.pending(after, SCREENED_AT_ONCE)?;
            let Some((last, ..)) = rows.last() else { return Ok(()) };
            after = *last;
            for (row, value, n_failures) in rows {
                self.screen_row(changes, row, &value, n_failures)?;
            }
        }
    }

    fn screen_row(
        &self,
        changes: &Changes<'_>,
        row: i64,
        value: &str,
        n_failures: u32,
    ) -> rusqlite::Result<()> {
        let subject = Subject::from(value);
        // How many hosts there were was decided when it came in.
        let facts = Facts { n_failures, n_hosts: u32::MAX, ..Facts::default() };
        match self.screen(&subject, facts) {
            Ok((_, terms)) => changes.set_terms(row, terms),
            Err(why) => {
                info!(target: LOG, "{subject} waits no longer: {why}");
                changes.settle(row)?;
                changes.count_withheld(why)
            }
        }
    }

    /// The value that MISP is told and on what terms, or why it is not.
    fn screen(&self, subject: &Subject, facts: Facts<'_>) -> Result<(String, Terms), Kept> {
        let warning = self.warnings.hit(subject);
        let facts = Facts { warninglist: warning.as_deref(), ..facts };
        let terms = self.policy.judge(subject, facts)?;
        value_of(subject).map(|value| (value, terms)).ok_or(Kept::NoAddress)
    }

    /// Whether others told us of the address, and we never told anybody. What we told comes back to
    /// us as well, and is sighted.
    fn is_pulled(&self, changes: &Changes<'_>, subject: &Subject) -> rusqlite::Result<bool> {
        let (Some(net), Some(value)) = (policy::net(subject), value_of(subject)) else {
            return Ok(false);
        };
        Ok(changes.is_pulled(net)? && changes.holders(&value)?.is_empty())
    }

    /// How many hosts have banned the address of late; they are counted only where it matters.
    fn n_hosts(
        &self,
        changes: &Changes<'_>,
        report: &Report,
        now: Timestamp,
    ) -> rusqlite::Result<u32> {
        if self.policy.min_hosts <= 1 {
            return Ok(1);
        }
        let host = report.host.as_deref().unwrap_or(&self.site);
        let since = now.checked_sub(WITNESSED_WITHIN).unwrap_or(Timestamp::MIN);
        changes.witness(&report.ban.subject.to_string(), host, now, since)
    }

    /// What a row waits for that comes in.
    fn state(&self) -> State {
        if self.review { State::Review } else { State::Due }
    }

    /// Where a ban goes, each place once, and whether it may become a sighting there.
    fn addressed(&self, report: &Report) -> Vec<(Cow<'_, Destination>, bool)> {
        if let Some(addressee) = &report.to {
            let named = Destination::of_action(addressee);
            // A configured destination of the same url and event knows better how to get there.
            let configured = self.destinations.iter().find(|it| it.id() == named.id());
            let destination = configured.map_or(Cow::Owned(named), Cow::Borrowed);
            return vec![(destination, addressee.sightings)];
        }
        let mut addressed: Vec<(Cow<'_, Destination>, bool)> = Vec::new();
        for destination in self.destinations.iter().filter(|it| it.takes(&report.ban.jail)) {
            if addressed.iter().all(|(there, _)| there.id() != destination.id()) {
                addressed.push((Cow::Borrowed(destination), destination.sightings));
            }
        }
        addressed
    }
}

fn value_of(subject: &Subject) -> Option<String> {
    normalise(IP_SRC, &subject.to_string()).map(|value| value.to_string()).ok()
}

fn accepted(destination: i64, value: &str, ban: &Ban) -> Accepted {
    // MISP refuses an attribute that was seen last before it was seen first.
    let first_seen = ban.first_failure.min(ban.last_failure);
    let last_seen = ban.last_failure.max(first_seen);
    Accepted {
        destination,
        kind: SightingKind::Seen,
        value: value.to_owned(),
        jail: ban.jail.clone(),
        time: ban.time,
        until: ban.until().filter(|until| *until > ban.time),
        first_seen,
        last_seen,
        n_failures: ban.n_failures,
        sightings: Sightings::WhereKnown,
        terms: Terms::Full,
        historical: false,
        matches: None,
    }
}

fn matches_of(ban: &Ban) -> String {
    misp::text::clean(&ban.matches.join("\n"), MAX_MATCHES_BYTES)
}
