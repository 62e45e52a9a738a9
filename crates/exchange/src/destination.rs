//! Where offenders are told: a server, a key, an event, and how it is done there.
//!
//! Plain data that the program fills from `config.toml`, or from the options of fail2ban's `misp`
//! action. A destination is what its url and its event say ([`Destination::id`]): two that agree in
//! both have one writer, whatever they are named.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::civil::{Date, ISOWeekDate, Weekday};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::pattern::matches;

/// The comment of the article's script, which is every attribute's unless told otherwise.
pub const DEFAULT_COMMENT: &str = "login attempt (via fail2ban)";
/// How long a changed event waits for more changes before it is published.
const DEFAULT_PUBLISH_EVERY: Duration = Duration::from_secs(15 * 60);
/// One sighting of an address by a jail in this time.
const DEFAULT_SIGHTING_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Attributes of one event before the next is begun: MISP's pages and its synchronisation grow
/// slow with larger ones, and its own example for fail2ban stops here as well.
pub const DEFAULT_MAX_ATTRIBUTES: u64 = 1_000;
/// No configuration goes beyond this, and a fixed event that does is warned of.
pub const HARD_MAX_ATTRIBUTES: u64 = 10_000;

/// Where offenders are told, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// Its name in the configuration, for messages.
    pub name: String,
    /// The server.
    pub url: String,
    /// The file that holds the API key; read when used, and again when it changed.
    pub key_file: PathBuf,
    /// Which event.
    pub event: EventChoice,
    /// Which jails are told here; `*` and `?` stand for any text and any character.
    pub jails: Vec<String>,
    /// Whether a known address is sighted.
    pub sightings: bool,
    /// One sighting of an address by a jail in this time, from the last sighting on; zero for
    /// every ban.
    pub sighting_interval: Duration,
    /// When the event is published.
    pub publish: Publish,
    /// How long a changed event waits for more changes before it is published.
    pub publish_every: Duration,
    /// The comment of an attribute; `{jail}`, `{failures}` and `{site}` are filled in.
    pub comment: String,
    /// On our own events, or on each attribute of a fixed one.
    pub tags: Vec<String>,
    /// Whether MISP shall not look for our attributes in other events.
    pub disable_correlation: bool,
    /// What our own events look like.
    pub template: EventTemplate,
    /// How the server is reached.
    pub transport: Transport,
}

/// Which event the attributes go to.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum EventChoice {
    /// One that is there, by id or uuid; never made by us.
    Fixed(String),
    /// A new one for each day (UTC).
    Daily,
    /// A new one for each week (ISO 8601, UTC).
    Weekly,
}

/// When an event is published. Adding an attribute un-publishes it, and then no partner sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Publish {
    /// Never by us.
    Never,
    /// Where it was published before our change.
    AsBefore,
    /// After every change.
    Always,
}

/// What our own events look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventTemplate {
    /// Its title; `{site}` and `{period}` are filled in.
    pub info: String,
    /// 1 high, 2 medium, 3 low, 4 undefined.
    pub threat_level: u8,
    /// 0 initial, 1 ongoing, 2 completed.
    pub analysis: u8,
    /// 0 own organisation, 1 this community, 2 connected communities, 3 all, 4 a sharing group.
    pub distribution: u8,
    /// The sharing group, where `distribution` is 4.
    pub sharing_group: Option<u64>,
    /// Attributes until the next event is begun; at most [`HARD_MAX_ATTRIBUTES`].
    pub max_attributes: u64,
}

impl Default for EventTemplate {
    /// As MISP's own defaults, and of low threat.
    fn default() -> Self {
        Self {
            info: "Login attempts at {site}, {period}".into(),
            threat_level: 3,
            analysis: 2,
            distribution: 1,
            sharing_group: None,
            max_attributes: DEFAULT_MAX_ATTRIBUTES,
        }
    }
}

/// How the server is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transport {
    /// Authorities that are trusted beside the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate and its key, in PEM.
    pub client_file: Option<PathBuf>,
    /// A proxy.
    pub proxy: Option<String>,
    /// Whether the server's certificate is checked.
    pub verify: bool,
    /// How long a call may take.
    pub timeout: Duration,
}

impl Default for Transport {
    fn default() -> Self {
        let timeout = misp::CALL_TIMEOUT;
        Self { ca_file: None, client_file: None, proxy: None, verify: true, timeout }
    }
}

impl Destination {
    /// A destination of `config.toml`, with its defaults.
    pub fn new(name: &str, url: &str, event: EventChoice, key_file: PathBuf) -> Self {
        let publish = match event {
            EventChoice::Fixed(_) => Publish::AsBefore,
            EventChoice::Daily | EventChoice::Weekly => Publish::Always,
        };
        Self {
            name: name.to_owned(),
            url: trimmed(url),
            key_file,
            event,
            jails: vec!["*".into()],
            sightings: true,
            sighting_interval: DEFAULT_SIGHTING_INTERVAL,
            publish,
            publish_every: DEFAULT_PUBLISH_EVERY,
            comment: DEFAULT_COMMENT.into(),
            tags: Vec::new(),
            disable_correlation: false,
            template: EventTemplate::default(),
            transport: Transport::default(),
        }
    }

    /// The destination that fail2ban's `misp` action and the article's script name: every ban of
    /// a known address is a sighting, or none is.
    pub fn of_action(addressee: &Addressee) -> Self {
        let event = EventChoice::from(addressee.event.clone());
        Self {
            sightings: addressee.sightings,
            sighting_interval: Duration::ZERO,
            jails: Vec::new(),
            ..Self::new("misp.conf", &addressee.url, event, addressee.key_file.clone())
        }
    }

    /// What makes it one destination: its url and its event.
    pub fn id(&self) -> Uuid {
        id(&self.url, &String::from(self.event.clone()))
    }

    /// Whether this jail's bans are told here.
    pub fn takes(&self, jail: &str) -> bool {
        self.jails.iter().any(|pattern| matches(pattern, jail))
    }
}

/// What names the destination of a url and an event.
pub(crate) fn id(url: &str, event: &str) -> Uuid {
    let name = format!("destination|{}|{}", trimmed(url), event.trim());
    Uuid::new_v5(&misp::identity::NAMESPACE, name.as_bytes())
}

fn trimmed(url: &str) -> String {
    url.trim().trim_end_matches('/').to_owned()
}

/// Where one report goes, where it says so itself: what fail2ban's `misp` action names. Never
/// the key.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Addressee {
    /// `misp_base_url`.
    pub url: String,
    /// `misp_event`.
    pub event: String,
    /// `misp_sight`, which is anything but `false`.
    pub sightings: bool,
    /// Where the key lies.
    pub key_file: PathBuf,
}

impl From<String> for EventChoice {
    fn from(text: String) -> Self {
        match text.trim() {
            "daily" => Self::Daily,
            "weekly" => Self::Weekly,
            event => Self::Fixed(event.to_owned()),
        }
    }
}

impl From<EventChoice> for String {
    fn from(choice: EventChoice) -> Self {
        choice.to_string()
    }
}

impl fmt::Display for EventChoice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(event) => out.write_str(event),
            Self::Daily => out.write_str("daily"),
            Self::Weekly => out.write_str("weekly"),
        }
    }
}

impl EventChoice {
    /// The period that a day lies in; empty for a fixed event, which knows none.
    pub(crate) fn period(&self, day: Date) -> String {
        match self {
            Self::Fixed(_) => String::new(),
            Self::Daily => day.to_string(),
            Self::Weekly => {
                let week = day.iso_week_date();
                format!("{}-W{:02}", week.year(), week.week())
            }
        }
    }

    /// The first day of a period that [`Self::period`] named.
    pub(crate) fn first_day(&self, period: &str) -> Option<Date> {
        match self {
            Self::Fixed(_) => None,
            Self::Daily => period.parse().ok(),
            Self::Weekly => {
                let (year, week) = period.split_once("-W")?;
                let (year, week) = (year.parse().ok()?, week.parse().ok()?);
                ISOWeekDate::new(year, week, Weekday::Monday).ok().map(Date::from)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_destination_is_its_url_and_event() {
        let one =
            Destination::new("a", "https://misp.example", "daily".to_owned().into(), "k".into());
        let same = Destination::new("b", "https://misp.example/", EventChoice::Daily, "l".into());
        let other = Destination::new("a", "https://misp.example", EventChoice::Weekly, "k".into());
        assert_eq!(one.id(), same.id());
        assert_ne!(one.id(), other.id());
    }

    #[test]
    fn periods() {
        assert_eq!(EventChoice::Daily.period(date(2026, 11, 22)), "2026-11-22");
        assert_eq!(EventChoice::Weekly.period(date(2026, 11, 22)), "2026-W47");
        assert_eq!(EventChoice::Weekly.period(date(2027, 1, 1)), "2026-W53"); // the week's year
        assert_eq!(EventChoice::Fixed("107539".into()).period(date(2026, 1, 1)), "");
        assert_eq!(EventChoice::Daily.first_day("2026-11-22"), Some(date(2026, 11, 22)));
        assert_eq!(EventChoice::Weekly.first_day("2026-W53"), Some(date(2026, 12, 28)));
    }
}
