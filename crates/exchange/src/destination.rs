//! Where offenders are told: a server, a key, an event, and how it is done there.
//!
//! Plain data that the program fills from `config.toml`, or from the options of fail2ban's `misp`
//! action. A destination is what its url and its event say ([`Destination::id`]): two that agree in
//! both have one writer, whatever they are named.

mod event;
mod kind;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::pattern::matches;
use kind::JailKind;

pub use kind::jail_of_event;

pub use event::{DEFAULT_MAX_ATTRIBUTES, EventChoice, EventTemplate, HARD_MAX_ATTRIBUTES};

/// The comment of the article's script, which is every attribute's unless told otherwise.
pub const DEFAULT_COMMENT: &str = "login attempt (via fail2ban)";
/// Where lines of the log stand in a comment.
const MATCHES: &str = "{matches}";
/// How long a changed event waits for more changes before it is published.
const DEFAULT_PUBLISH_EVERY: Duration = Duration::from_secs(15 * 60);
/// One sighting of an address by a jail in this time.
const DEFAULT_SIGHTING_INTERVAL: Duration = Duration::from_secs(60 * 60);

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
    /// The comment of an attribute; `{jail}`, `{failures}`, `{site}` and `{matches}` are filled
    /// in. Lines of a log are told only where it asks for them.
    pub comment: String,
    /// Whether an offender is an attribute alone, or one with its circumstances.
    pub context: Context,
    /// How often the time that a known address was last seen is brought up to date, which costs a
    /// call for each; never, where nothing is said.
    pub last_seen_every: Option<Duration>,
    /// Whether a sighting tells that a ban has ended.
    pub expirations: bool,
    /// Whether MISP shall not look for our attributes in other events.
    pub disable_correlation: bool,
    /// What our own events look like.
    pub template: EventTemplate,
    /// How much it may be asked.
    pub budget: Budget,
    /// How the server is reached.
    pub transport: Transport,
}

/// What an offender becomes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Context {
    /// An attribute.
    #[default]
    Attribute,
    /// An object by the template `fail2ban` of MISP/misp-objects: with the jail, the failures and
    /// who saw it. MISP takes one in a call.
    Object,
}

/// How much a destination may be asked: a server of many sensors has a limit, and a host that is
/// attacked by a botnet shall not be what reaches it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Offenders on one day (UTC); what is beyond waits for the next.
    pub max_per_day: u64,
    /// Calls in a minute; what comes meanwhile goes in one call.
    pub calls_per_minute: u32,
}

impl Default for Budget {
    /// A real MISP 2.5.1 on two cores answers eight to thirteen calls a second.
    fn default() -> Self {
        Self { max_per_day: 10_000, calls_per_minute: 300 }
    }
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
    /// The hub in whose name calls are made, where it is one that tells on what others brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Uuid>,
}

impl Default for Transport {
    fn default() -> Self {
        let timeout = misp::CALL_TIMEOUT;
        Self { ca_file: None, client_file: None, proxy: None, verify: true, timeout, relay: None }
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
            context: Context::default(),
            last_seen_every: None,
            expirations: false,
            disable_correlation: false,
            template: EventTemplate::default(),
            budget: Budget::default(),
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

    /// Every tag that may be attached here.
    pub(crate) fn wanted_tags(&self) -> Vec<String> {
        match (&self.template.tags, &self.event) {
            (Some(tags), _) => tags.clone(),
            (None, EventChoice::Fixed(_)) => Vec::new(),
            (None, EventChoice::Daily | EventChoice::Weekly) => {
                // Of the kinds of jails that are told here, as far as their names say.
                let kinds = JailKind::ALL.into_iter().filter(|kind| match kind {
                    JailKind::Login => true,
                    other => self.jails.iter().any(|jail| JailKind::of(jail) == *other),
                });
                let mut tags: Vec<String> =
                    kinds.flat_map(|kind| self.template.tags(kind)).map(str::to_owned).collect();
                tags.sort();
                tags.dedup();
                tags
            }
        }
    }

    /// How many attributes one event takes; a fixed one takes all.
    pub(crate) fn max_attributes(&self) -> Option<u64> {
        match self.event {
            EventChoice::Fixed(_) => None,
            EventChoice::Daily | EventChoice::Weekly => {
                Some(self.template.max_attributes.clamp(1, HARD_MAX_ATTRIBUTES))
            }
        }
    }

    /// Whether lines of a log are told here.
    pub(crate) fn tells_matches(&self) -> bool {
        self.comment.contains(MATCHES)
    }

    /// The comment of an attribute.
    pub(crate) fn comment(&self, site: &str, jail: &str, n_failures: u32, matches: &str) -> String {
        // Last what comes from a log: it may hold our own words.
        self.comment
            .replace("{site}", site)
            .replace("{failures}", &n_failures.to_string())
            .replace("{jail}", jail)
            .replace(MATCHES, matches)
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

#[cfg(test)]
mod tests {
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
}
