//! The events that are written to: found, made, filled and published.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use misp::wire::Event;
use misp::{Misconfigured, MispError, identity};
use tracing::{info, warn};
use uuid::Uuid;

use super::{Broken, Deliverer, PublishWhen};
use crate::LOG;
use crate::destination::{EventChoice, HARD_MAX_ATTRIBUTES, Publish};
use crate::store::{EventRow, StoreError};

/// How many events of one period may have been deleted at MISP before something else is wrong.
const MAX_DELETED: usize = 16;
/// When a publication that the key may not make is tried again: somebody has to mend that first.
const PUBLISH_AGAIN: Duration = Duration::from_secs(60 * 60);

impl Deliverer {
    /// The event of a period, found or made at MISP, with room for at least one attribute.
    pub(super) fn ready_event(&mut self, period: &str, now: Timestamp) -> Result<EventRow, Broken> {
        for _ in 0..MAX_DELETED {
            let event = self.current_event(period)?;
            if event.is_made {
                return Ok(event);
            }
            match self.find_or_make(&event, now) {
                Ok(made) => return Ok(self.keep_event(event, &made)?),
                Err(Broken::Misp(MispError::Misconfigured {
                    why: Misconfigured::EventBlocked(_),
                    ..
                })) => {
                    let (name, uuid) = (self.name(), event.uuid);
                    info!(target: LOG, "{name}: event {uuid} was deleted; the next is begun");
                    self.store().change(|changes| changes.close_event(event.id))?;
                }
                Err(error) => return Err(error),
            }
        }
        let why = Misconfigured::EventBlocked(format!("{MAX_DELETED} events of {period}"));
        let url = self.row.destination.url.clone();
        Err(MispError::Misconfigured { call: "events/add", url, why }.into())
    }

    /// How many more attributes an event takes.
    pub(super) fn room(&self, event: &EventRow) -> usize {
        match self.max_attributes() {
            Some(max) => usize::try_from(max.saturating_sub(event.n_attributes)).unwrap_or(0),
            None => usize::MAX,
        }
    }

    /// Remembers, before the event is changed, that it has to be published afterwards; tells
    /// whether it was clean until now.
    pub(super) fn will_change(&mut self, event: &EventRow, now: Timestamp) -> Result<bool, Broken> {
        if event.publish_at.is_some() {
            return Ok(false);
        }
        let was_published = match self.row.destination.publish {
            Publish::Never => return Ok(true),
            Publish::Always => true,
            Publish::AsBefore => {
                let name = event.uuid.to_string();
                self.client()?.event(&name)?.published == Some(true)
            }
        };
        let wait = match self.manner.when {
            PublishWhen::Timed => self.row.destination.publish_every,
            PublishWhen::AtEnd => Duration::ZERO,
        };
        let publish_at = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        self.store().change(|it| it.will_change(event.id, publish_at, was_published))?;
        Ok(true)
    }

    /// Publishes an event, if it was before.
    pub(super) fn publish(&mut self, event: &EventRow, now: Timestamp) -> Result<(), Broken> {
        if !event.was_published || self.row.destination.publish == Publish::Never {
            self.store().change(|changes| changes.is_published(event.id))?;
            return Ok(());
        }
        let name = event.uuid.to_string();
        match self.client()?.publish(&name) {
            Ok(()) => {
                self.store().change(|changes| changes.is_published(event.id))?;
                info!(target: LOG, "{}: event {name} published", self.name());
                Ok(self.succeed(now)?)
            }
            // A key that may add and not publish: the attributes shall not wait for that.
            Err(error @ MispError::Misconfigured { .. }) => {
                warn!(target: LOG, "{}: {error}; until then partners do not see it", self.name());
                let again = now.checked_add(PUBLISH_AGAIN).unwrap_or(Timestamp::MAX);
                Ok(self.store().change(|it| it.will_change(event.id, again, true))?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Forgets what is remembered of one of our own events that is gone, so that the next try
    /// makes it anew.
    pub(super) fn forget_if_gone(&self, event: i64, error: &Broken) -> Result<(), StoreError> {
        let is_gone = matches!(
            error,
            Broken::Misp(MispError::Misconfigured { why: Misconfigured::NoEvent(_), .. })
        );
        match self.row.destination.event {
            EventChoice::Daily | EventChoice::Weekly if is_gone => {
                self.store().change(|changes| changes.unmake_event(event))
            }
            _ => Ok(()),
        }
    }

    /// The newest event of a period, or the next where that is full.
    fn current_event(&self, period: &str) -> Result<EventRow, StoreError> {
        let current = self.store().event(self.row.id, period)?;
        if let Some(event) = current
            && self.room(&event) > 0
        {
            return Ok(event);
        }
        let name = |number| match self.row.destination.event {
            // MISP says under which uuid it knows it.
            EventChoice::Fixed(_) => Uuid::nil(),
            EventChoice::Daily | EventChoice::Weekly => {
                identity::event(&self.manner.site, period, number)
            }
        };
        self.store().change(|changes| changes.begin_event(self.row.id, period, name))
    }

    fn find_or_make(&mut self, event: &EventRow, now: Timestamp) -> Result<Event, Broken> {
        if let EventChoice::Fixed(name) = &self.row.destination.event {
            let name = name.clone();
            let tags = self.row.destination.template.tags.clone().unwrap_or_default();
            self.ensure_tags(&tags)?;
            return Ok(self.client()?.event(&name)?);
        }
        let wanted = self.wanted(event, now.to_zoned(TimeZone::UTC).date());
        let tags: Vec<_> = wanted.tags.iter().map(|tag| tag.name.clone()).collect();
        self.ensure_tags(&tags)?;
        match self.client()?.add_event(&wanted)? {
            Some(made) => Ok(made),
            // It was made by us before, or by another host of this site.
            None => Ok(self.client()?.event(&event.uuid.to_string())?),
        }
    }

    fn keep_event(&self, event: EventRow, made: &Event) -> Result<EventRow, StoreError> {
        let uuid = made.uuid.unwrap_or(event.uuid);
        let n_attributes = made.attribute_count.unwrap_or(0);
        if n_attributes >= HARD_MAX_ATTRIBUTES {
            warn!(
                target: LOG,
                "{}: event {uuid} holds {n_attributes} attributes, which makes MISP slow; \
                 use another event, or event = \"daily\"",
                self.name()
            );
        }
        self.store().change(|changes| changes.make_event(event.id, uuid, n_attributes))?;
        Ok(EventRow { uuid, n_attributes, is_made: true, ..event })
    }

    /// What an event of our own is to look like.
    pub(crate) fn wanted(&self, event: &EventRow, today: Date) -> Event {
        self.items().event(&event.period, event.uuid, today)
    }

    /// Makes the tags that MISP lacks, where the key may; says once which are left out.
    fn ensure_tags(&mut self, wanted: &[String]) -> Result<(), Broken> {
        if wanted.iter().all(|name| self.tags.contains(name)) {
            return Ok(());
        }
        let there = self.client()?.tags()?;
        let is_there = |name: &str| there.iter().any(|tag| tag.name.eq_ignore_ascii_case(name));
        for name in wanted.iter().filter(|name| !is_there(name)) {
            match self.client()?.add_tag(name) {
                Ok(_) => info!(target: LOG, "{}: the tag {name} is made", self.name()),
                Err(MispError::Misconfigured { why: Misconfigured::NoRight(_), .. }) => warn!(
                    target: LOG,
                    "{}: MISP has no tag `{name}` and the key may not make it: it is left out; \
                     make it at MISP, or enable its taxonomy",
                    self.name()
                ),
                Err(error) => return Err(error.into()),
            }
        }
        self.tags.extend(wanted.iter().cloned());
        Ok(())
    }

    /// How many attributes one event takes; a fixed one takes all.
    fn max_attributes(&self) -> Option<u64> {
        self.row.destination.max_attributes()
    }
}
