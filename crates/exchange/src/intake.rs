//! Decides what becomes of a ban that comes in: kept by the policy, or a row of the outbox for
//! each destination that it goes to.

use std::borrow::Cow;

use jail::{Ban, Subject};
use jiff::Timestamp;
use misp::value::normalise;
use misp::wire::IP_SRC;
use tracing::info;

use crate::LOG;
use crate::destination::Destination;
use crate::policy::{Kept, Policy};
use crate::report::Report;
use crate::store::{Accepted, Changes};

/// The rules that bans come in by.
#[derive(Debug)]
pub(crate) struct Intake {
    policy: Policy,
    destinations: Vec<Destination>,
}

impl Intake {
    pub(crate) fn new(policy: Policy, destinations: Vec<Destination>) -> Self {
        Self { policy, destinations }
    }

    /// Remembers the configured destinations as they are now.
    pub(crate) fn keep_destinations(&self, changes: &Changes<'_>) -> rusqlite::Result<()> {
        // Where two name the same url and event, the first one says how it is written to.
        self.destinations.iter().rev().try_for_each(|it| changes.keep_destination(it).map(drop))
    }

    /// Puts a ban into the outbox, or counts why not.
    pub(crate) fn admit(
        &self,
        changes: &Changes<'_>,
        report: &Report,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let ban = &report.ban;
        let addressed = self.addressed(report);
        if addressed.is_empty() {
            return Ok(());
        }
        let value = match self.screen(&ban.subject, ban.n_failures, report.restored) {
            Ok(value) => value,
            Err(why) => {
                info!(target: LOG, "{} of jail {} is not shared: {why}", ban.subject, ban.jail);
                return changes.count_withheld(why);
            }
        };
        for (destination, sightings) in addressed {
            let destination = match destination {
                Cow::Borrowed(configured) => changes.destination_number(configured)?,
                Cow::Owned(named) => changes.keep_destination(&named)?,
            };
            changes.accept(&accepted(destination, &value, ban, sightings), now)?;
        }
        Ok(())
    }

    /// Looks at what waits once more: the rules may have changed since it was accepted.
    pub(crate) fn screen_again(&self, changes: &Changes<'_>) -> rusqlite::Result<()> {
        for (row, value, n_failures) in changes.pending()? {
            let subject = Subject::from(value.as_str());
            if let Err(why) = self.screen(&subject, n_failures, false) {
                info!(target: LOG, "{subject} waits no longer: {why}");
                changes.settle(row)?;
                changes.count_withheld(why)?;
            }
        }
        Ok(())
    }

    /// The value that MISP is told, or why it is not.
    fn screen(&self, subject: &Subject, n_failures: u32, restored: bool) -> Result<String, Kept> {
        if restored {
            return Err(Kept::Restored);
        }
        self.policy.may_share(subject, n_failures)?;
        let value = normalise(IP_SRC, &subject.to_string()).map_err(|_| Kept::NoAddress)?;
        Ok(value.to_string())
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

fn accepted(destination: i64, value: &str, ban: &Ban, sightings: bool) -> Accepted {
    // MISP refuses an attribute that was seen last before it was seen first.
    let first_seen = ban.first_failure.min(ban.last_failure);
    let last_seen = ban.last_failure.max(first_seen);
    Accepted {
        destination,
        value: value.to_owned(),
        jail: ban.jail.clone(),
        time: ban.time,
        first_seen,
        last_seen,
        n_failures: ban.n_failures,
        sightings,
    }
}
