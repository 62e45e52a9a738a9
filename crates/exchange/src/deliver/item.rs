//! What a row of the outbox becomes at MISP: an attribute, an object, a sighting.

use jiff::civil::Date;
use jiff::fmt::temporal::DateTimePrinter;
use misp::wire::{Attribute, Event, IP_SRC, NETWORK_ACTIVITY, Object, Sighting, Tag};
use misp::{identity, text};
use uuid::{Uuid, uuid};

use crate::destination::{Destination, EventChoice};
use crate::policy::Terms;
use crate::store::Accepted;

/// The template `fail2ban` of MISP/misp-objects, version 6.
const TEMPLATE: Uuid = uuid!("32f7ded6-e774-4401-81b0-79634e82f589");
const TEMPLATE_VERSION: u32 = 6;
/// MISP's own words for the template; a server that has not installed it asks for them.
const TEMPLATE_DESCRIPTION: &str = "Fail2ban event";
/// What is said in front of what old logs tell: nobody was banned for it.
const HISTORICAL: &str = "historical: ";
/// Where the parts of the object belong that are no address.
const OTHER: &str = "Other";
/// Marks an address that somebody else has tomorrow: by it MISP knows when to take `to_ids` away.
const SHORT_TAG: &str = "retention:2d";

/// How rows are told at one destination.
#[derive(Clone, Copy)]
pub(crate) struct Items<'a> {
    pub(crate) destination: &'a Destination,
    /// What names this host.
    pub(crate) site: &'a str,
}

impl Items<'_> {
    /// The event of our own that a period is told in.
    pub(crate) fn event(self, period: &str, uuid: Uuid, today: Date) -> Event {
        let Destination { event, template, .. } = self.destination;
        let period = template.read_period(period);
        let title = template.title(period, self.site);
        Event {
            uuid: Some(uuid),
            info: text::clean(&title, text::MAX_COMMENT_BYTES),
            date: Some(event.first_day(period.days).unwrap_or(today)),
            threat_level_id: Some(template.threat_level),
            analysis: Some(template.analysis),
            distribution: Some(template.distribution),
            sharing_group_id: template.sharing_group,
            tags: template.tags(period.kind).into_iter().map(Tag::from).collect(),
            ..Event::default()
        }
    }

    /// The attribute that a ban becomes in an event.
    pub(crate) fn attribute(self, event: Uuid, ban: &Accepted) -> Attribute {
        let matches = ban.matches.as_deref().unwrap_or_default();
        let mut comment = self.destination.comment(self.site, &ban.jail, ban.n_failures, matches);
        if ban.historical {
            comment.insert_str(0, HISTORICAL);
        }
        Attribute {
            uuid: Some(identity::attribute(event, IP_SRC, &ban.value)),
            kind: IP_SRC.into(),
            category: Some(NETWORK_ACTIVITY.into()),
            value: ban.value.clone(),
            comment: Some(text::clean(&comment, text::MAX_COMMENT_BYTES)),
            to_ids: Some(ban.terms != Terms::WithoutToIds),
            first_seen: Some(ban.first_seen),
            last_seen: Some(ban.last_seen),
            disable_correlation: self.destination.disable_correlation.then_some(true),
            tags: self.tags(ban),
            ..Attribute::default()
        }
    }

    /// The tags of an attribute: our own events carry theirs themselves.
    fn tags(self, ban: &Accepted) -> Vec<Tag> {
        let configured: &[String] = match (&self.destination.event, &self.destination.template.tags)
        {
            (EventChoice::Fixed(_), Some(tags)) => tags,
            _ => &[],
        };
        let short = (ban.terms == Terms::Short).then_some(SHORT_TAG);
        configured.iter().map(String::as_str).chain(short).map(Tag::from).collect()
    }

    /// The object that a ban becomes in an event: the attribute, and what led to it.
    pub(crate) fn object(self, event: Uuid, ban: &Accepted) -> Object {
        let address = Attribute {
            object_relation: Some("banned-ip".into()),
            comment: None,
            ..self.attribute(event, ban)
        };
        let of = |relation: &str, kind: &str, value: String| Attribute {
            uuid: Some(identity::attribute(event, relation, &ban.value)),
            object_relation: Some(relation.into()),
            kind: kind.into(),
            category: Some(OTHER.into()),
            value,
            to_ids: Some(false),
            disable_correlation: Some(true),
            ..Attribute::default()
        };
        let time = DateTimePrinter::new().timestamp_to_string(&ban.time);
        let jail = text::clean(&ban.jail, text::MAX_SOURCE_BYTES);
        Object {
            uuid: Some(identity::attribute(event, "fail2ban", &ban.value)),
            name: "fail2ban".into(),
            meta_category: "network".into(),
            description: TEMPLATE_DESCRIPTION.into(),
            template_uuid: Some(TEMPLATE),
            template_version: Some(TEMPLATE_VERSION),
            comment: self.attribute(event, ban).comment.unwrap_or_default(),
            attributes: vec![
                address,
                of("attack-type", "text", jail),
                of("processing-timestamp", "datetime", time),
                of("failures", "counter", ban.n_failures.to_string()),
                of("sensor", "text", text::clean(self.site, text::MAX_SOURCE_BYTES)),
            ],
        }
    }

    /// The sighting that a ban becomes where its value is known, by this attribute.
    pub(crate) fn sighting(self, ban: &Accepted, attribute: Uuid) -> Sighting {
        let mark = if ban.historical { HISTORICAL } else { "" };
        let source = format!("{mark}{}/{}", self.site, ban.jail);
        let source = text::clean(&source, text::MAX_SOURCE_BYTES);
        Sighting {
            uuid: Some(identity::sighting(attribute, ban.kind, &source, ban.time)),
            attribute_uuid: Some(attribute),
            date_sighting: Some(ban.time),
            kind: Some(ban.kind.number()),
            source,
        }
    }
}
