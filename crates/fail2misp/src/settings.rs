//! `/etc/fail2misp/config.toml`: our own configuration, read once.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

mod blocklist;
mod look_back;

pub(crate) use self::blocklist::BlockList;
pub(crate) use self::look_back::LookBack;
use crate::log;

/// All of the file; every key has a default, so an absent file is a complete configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) jails: Jails,
    pub(crate) guard: Guard,
    /// `[misp.NAME]`, any number of destinations.
    pub(crate) misp: BTreeMap<String, Misp>,
    pub(crate) share: Share,
    /// What comes back; nothing where it is absent.
    pub(crate) blocklist: Option<BlockList>,
    /// What is pulled anew is searched for in old logs.
    pub(crate) look_back: LookBack,
    pub(crate) who: Who,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
}

/// `[jails]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Jails {
    /// fail2ban's folder.
    pub(crate) path: Option<PathBuf>,
}

/// `[guard]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Guard {
    pub(crate) firewall: FirewallChoice,
    /// Whether the stock actions of nftables, iptables and ipset are taken natively.
    pub(crate) native: bool,
    /// Whether who is banned in one jail meets the verdict at every port of this host.
    pub(crate) ban_from_everything: bool,
    /// The length of the IPv6 prefix whose addresses count as one.
    #[serde(deserialize_with = "ipv6_length")]
    pub(crate) ipv6_prefix: Option<u8>,
    /// An IPv4 prefix that is banned once so many of its addresses are.
    #[serde(deserialize_with = "ipv4_length")]
    pub(crate) ipv4_prefix: Option<u8>,
    pub(crate) ipv4_prefix_after: usize,
    /// Whether who is at a live session on port 22 is not banned for failures either.
    pub(crate) protect_sessions: bool,
    /// Where fail2ban's own protocol is spoken, for exporters that know no other.
    pub(crate) fail2ban_socket: Option<PathBuf>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            firewall: FirewallChoice::Auto,
            native: true,
            ban_from_everything: false,
            ipv6_prefix: None,
            ipv4_prefix: None,
            ipv4_prefix_after: 5,
            protect_sessions: false,
            fail2ban_socket: None,
        }
    }
}

/// What holds the bans.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FirewallChoice {
    /// nftables, or ipset and iptables where it does not work.
    Auto,
    Nftables,
    Ipset,
    /// Nothing is blocked.
    Memory,
}

/// `[misp.NAME]`: one destination. What is not said is as [`exchange::Destination`] has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Misp {
    pub(crate) url: String,
    /// The key's file, or the name of a systemd credential.
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) key_credential: Option<String>,
    /// `daily`, `weekly`, an id or a uuid.
    #[serde(default = "daily", deserialize_with = "text_or_number")]
    pub(crate) event: String,
    /// Names of jails, `*` for all.
    #[serde(default = "all_jails")]
    pub(crate) jails: Vec<String>,
    #[serde(default = "yes")]
    pub(crate) sightings: bool,
    /// Whether a sighting tells that a ban has ended.
    #[serde(default)]
    pub(crate) expirations: bool,
    /// `as_before`, `always`, `never`.
    pub(crate) publish: Option<exchange::Publish>,
    #[serde(default = "quarter_of_an_hour", deserialize_with = "duration")]
    pub(crate) publish_every: Duration,
    /// `attribute`, or `object` for the template `fail2ban`.
    #[serde(default)]
    pub(crate) context: exchange::Context,
    pub(crate) comment: Option<String>,
    #[serde(default, deserialize_with = "some_duration")]
    pub(crate) last_seen_every: Option<Duration>,
    #[serde(default)]
    pub(crate) disable_correlation: bool,
    /// Of our own events, and on each attribute of a fixed one.
    pub(crate) tags: Option<Vec<String>>,
    /// Whether each jail has events of its own.
    #[serde(default)]
    pub(crate) by_jail: bool,
    pub(crate) title: Option<String>,
    /// 1 high, 2 medium, 3 low, 4 undefined.
    pub(crate) threat_level: Option<u8>,
    /// 0 initial, 1 ongoing, 2 completed.
    pub(crate) analysis: Option<u8>,
    /// 0 own organisation, 1 community, 2 connected communities, 3 all, 4 a sharing group.
    pub(crate) distribution: Option<u8>,
    pub(crate) sharing_group: Option<u64>,
    pub(crate) max_attributes: Option<u64>,
    pub(crate) calls_per_minute: Option<u32>,
    /// Certificates, PEM, that are trusted beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// Our own certificate and its key, PEM.
    pub(crate) client_file: Option<PathBuf>,
    /// `http://`, `https://` or `socks5h://`.
    pub(crate) proxy: Option<String>,
    /// `false`: whoever is in between can read the key.
    #[serde(default = "yes")]
    pub(crate) verify: bool,
    #[serde(default, deserialize_with = "some_duration")]
    pub(crate) timeout: Option<Duration>,
    /// The key that signs a hub's change stream; the first one that it shows where absent.
    #[serde(default)]
    pub(crate) hub_key: Option<String>,
}

/// `[share]`: who is told, and who never.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Share {
    /// Names this host at MISP; its host name where absent.
    pub(crate) site: Option<String>,
    pub(crate) never: Vec<ipnet::IpNet>,
    pub(crate) allow: Vec<ipnet::IpNet>,
    pub(crate) min_failures: u32,
    pub(crate) min_hosts: u32,
    #[serde(deserialize_with = "duration")]
    pub(crate) sighting_interval: Duration,
    /// Offenders on one day, for each destination.
    pub(crate) max_per_day: u64,
    /// Whether nothing leaves before `outbox approve`.
    pub(crate) review: bool,
    pub(crate) warninglists: Warninglists,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            site: None,
            never: Vec::new(),
            allow: Vec::new(),
            min_failures: 1,
            min_hosts: 1,
            sighting_interval: Duration::from_secs(60 * 60),
            max_per_day: exchange::Budget::default().max_per_day,
            review: false,
            warninglists: Warninglists::default(),
        }
    }
}

/// `[share.warninglists]`: what MISP's lists mean, by patterns of their names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Warninglists {
    pub(crate) short: Option<Vec<String>>,
    pub(crate) without_to_ids: Option<Vec<String>>,
    pub(crate) never: Option<Vec<String>>,
}

/// `[who]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Who {
    /// Files in MaxMind's format that know countries or autonomous systems.
    pub(crate) geoip: Vec<PathBuf>,
}

/// `[metrics]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Metrics {
    /// The file that guard's numbers are written to, for node_exporter's textfile collector.
    pub(crate) textfile: Option<PathBuf>,
    /// Where exchange serves the numbers of both halves.
    pub(crate) listen: Option<SocketAddr>,
    /// Whether that may be beyond this machine.
    pub(crate) beyond_loopback: bool,
}

/// `[log]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// Where guard's log goes: `stderr`, `stdout`, `syslog`, `journal` or a file; where fail2ban's
    /// `logtarget` says if absent.
    pub(crate) target: Option<String>,
}

fn daily() -> String {
    "daily".to_owned()
}

fn yes() -> bool {
    true
}

fn quarter_of_an_hour() -> Duration {
    Duration::from_secs(15 * 60)
}

fn all_jails() -> Vec<String> {
    vec!["*".to_owned()]
}

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("read `{}`; make it readable, or name another file with --config", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{}`{place}: {problem}", path.display())]
    Wrong { path: PathBuf, place: String, problem: String },
}

/// Reads the file at `path`; where there is none, and nobody asked for it by name, the defaults.
///
/// # Errors
///
/// A file that cannot be read, is no TOML, or holds an unknown key or a value of the wrong kind;
/// the line and, for a key, the nearest known one are named.
pub(crate) fn read(path: &Path) -> Result<Settings, SettingsError> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Settings::default()),
        Err(source) => Err(SettingsError::Unreadable { path: path.to_owned(), source }),
    }
}

fn parse(path: &Path, text: &str) -> Result<Settings, SettingsError> {
    let wrong = |span: Option<std::ops::Range<usize>>, problem| SettingsError::Wrong {
        path: path.to_owned(),
        place: span.map_or_else(String::new, |span| format!(" line {}", line_of(text, span.start))),
        problem,
    };
    let settings: Settings = toml::from_str(text).map_err(|error| {
        let known = nearest_known(error.message());
        let remedy = known.map_or_else(String::new, |key| format!("; did you mean `{key}`?"));
        wrong(error.span(), format!("{}{remedy}", error.message().replace('\n', " ")))
    })?;
    match fault(&settings) {
        Some((table, problem)) => {
            let at = text.find(&format!("[{table}]"));
            Err(wrong(at.map(|at| at..at), format!("{table}: {problem}")))
        }
        None => Ok(settings),
    }
}

/// What no single key shows to be wrong, and in which table.
fn fault(settings: &Settings) -> Option<(String, String)> {
    let target = settings.log.target.as_deref();
    if let Some(target) = target.filter(|target| log::Target::read(target).is_none()) {
        let problem = format!("the target `{target}` is not known; {}", log::TARGETS);
        return Some(("log".into(), problem));
    }
    let listen = settings.metrics.listen.filter(|listen| !listen.ip().is_loopback());
    if let Some(listen) = listen.filter(|_| !settings.metrics.beyond_loopback) {
        let problem = format!(
            "{listen} is not loopback, and whoever reaches it reads the numbers; say \
             `beyond_loopback = true` if that is meant"
        );
        return Some(("metrics".into(), problem));
    }
    if let Some(problem) = settings.blocklist.as_ref().and_then(BlockList::problem) {
        return Some(("blocklist".into(), problem));
    }
    settings
        .misp
        .iter()
        .find_map(|(name, misp)| misp.fault().map(|problem| (format!("misp.{name}"), problem)))
}

impl Misp {
    fn fault(&self) -> Option<String> {
        match (&self.key_file, &self.key_credential) {
            (None, None) => {
                return Some(
                    "no key; name its file by `key_file`, or a systemd credential by \
                             `key_credential`"
                        .into(),
                );
            }
            (Some(_), Some(_)) => {
                return Some("both `key_file` and `key_credential`; keep one of them".into());
            }
            _ => {}
        }
        let within = [
            ("threat_level", self.threat_level, 1..=4),
            ("analysis", self.analysis, 0..=2),
            ("distribution", self.distribution, 0..=4),
        ];
        for (key, value, range) in within {
            if let Some(value) = value.filter(|value| !range.contains(value)) {
                let (first, last) = (range.start(), range.end());
                return Some(format!("`{key}` is {value}; MISP knows {first} to {last}"));
            }
        }
        let is_group = self.distribution == Some(4);
        if is_group != self.sharing_group.is_some() {
            return Some("`distribution = 4` and `sharing_group` belong together".into());
        }
        let most = exchange::HARD_MAX_ATTRIBUTES;
        let too_many = self.max_attributes.filter(|max| !(1..=most).contains(max));
        too_many.map(|max| format!("`max_attributes` is {max}; it can be 1 to {most}"))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// The known key that is nearest to an unknown one. The parser's message quotes the unknown key
/// first and then every known one, so the list here can never be out of date.
fn nearest_known(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("unknown field ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    quoted.min_by_key(|known| strsim::damerau_levenshtein(unknown, known))
}

fn ipv6_length<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u8>, D::Error> {
    prefix_length(input, 128)
}

fn ipv4_length<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u8>, D::Error> {
    prefix_length(input, 32)
}

/// A length such as `"/64"` or `64`, shorter than an address.
fn prefix_length<'de, D: Deserializer<'de>>(input: D, address: u8) -> Result<Option<u8>, D::Error> {
    let text = text_or_number(input)?;
    let length = text.strip_prefix('/').unwrap_or(&text).parse().ok();
    let length = length.filter(|it| (1..address).contains(it));
    let wrong = || serde::de::Error::custom(format!("`{text}` is no length of a prefix here"));
    length.map(Some).ok_or_else(wrong)
}

fn duration<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let text = text_or_number(input)?;
    let read = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_no_number) => text
            .parse::<jiff::Span>()
            .and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()))
            .ok()
            .and_then(|it| it.try_into().ok()),
    };
    read.ok_or_else(|| {
        serde::de::Error::custom(format!("`{text}` is no duration; write `15m`, `1h` or `1d`"))
    })
}

fn some_duration<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    duration(input).map(Some)
}

fn text_or_number<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "text or a number")]
    enum Either {
        Text(String),
        Number(i64),
    }
    Ok(match Either::deserialize(input)? {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = match parse(Path::new("config.toml"), text) {
            Ok(_) => "fine".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn faults_name_line_reason_and_remedy() {
        check("", "fine");
        check("[guard]\nfirewall = \"ipset\"\nnative = false\n", "fine");
        check(
            "[guard]\nfirewall = \"pf\"\n",
            "`config.toml` line 2: unknown variant `pf`, expected one of `auto`, `nftables`, `ipset`, \
             `memory`",
        );
        check("[share]\nmin_failures = 3\nsighting_interval = \"2h\"\n", "fine");
        check("[misp.main]\nurl = \"https://m\"\nkey_file = \"/k\"\nevent = 12\n", "fine");
        check(
            "[share]\nmin_failurs = 3\n",
            "`config.toml` line 2: unknown field `min_failurs`, expected one of `site`, `never`, \
             `allow`, `min_failures`, `min_hosts`, `sighting_interval`, `max_per_day`, `review`, \
             `warninglists`; did you mean `min_failures`?",
        );
        check(
            "[share]\nsighting_interval = \"soon\"\n",
            "`config.toml` line 2: `soon` is no duration; write `15m`, `1h` or `1d`",
        );
        check("[blocklist]\npull_every = \"1m\"\nwidest = [\"/20\", \"/48\"]\n", "fine");
        check(
            "[blocklist]\nwidest = [\"20\", \"/48\"]\n",
            "`config.toml` line 2: `20` is no length of a prefix; write `[\"/16\", \"/32\"]`",
        );
        check(
            "[blocklist]\nmax_change = 50\n",
            "`config.toml` line 1: blocklist: `max_change` is a share, from 0 to 1",
        );
        check(
            "[blocklist]\ntypes = [\"domain\"]\n",
            "`config.toml` line 1: blocklist: `domain` names no address; there is `ip-src`, \
             `ip-dst`, `ip-src|port`, `ip-dst|port`",
        );
        check("[guard]\nipv6_prefix = \"/64\"\nipv4_prefix = 24\n", "fine");
        check(
            "[guard]\nipv4_prefix = \"/32\"\n",
            "`config.toml` line 2: `/32` is no length of a prefix here",
        );
        check(
            "[misp.main]\nurl = \"https://m\"\n",
            "`config.toml` line 1: misp.main: no key; name its file by `key_file`, or a systemd \
             credential by `key_credential`",
        );
        let misp = "[misp.main]\nurl = \"https://m\"\nkey_file = \"/k\"\n";
        check(&format!("{misp}distribution = 4\nsharing_group = 7\n"), "fine");
        check(
            &format!("{misp}sharing_group = 7\n"),
            "`config.toml` line 1: misp.main: `distribution = 4` and `sharing_group` belong together",
        );
        check(
            &format!("{misp}threat_level = 0\n"),
            "`config.toml` line 1: misp.main: `threat_level` is 0; MISP knows 1 to 4",
        );
        check(
            &format!("{misp}max_attributes = 20000\n"),
            "`config.toml` line 1: misp.main: `max_attributes` is 20000; it can be 1 to 10000",
        );
        check(
            "[metrics]\nlisten = \"0.0.0.0:9191\"\n",
            "`config.toml` line 1: metrics: 0.0.0.0:9191 is not loopback, and whoever reaches it \
             reads the numbers; say `beyond_loopback = true` if that is meant",
        );
        check("[metrics]\nlisten = \"127.0.0.1:9191\"\n", "fine");
    }

    #[test]
    fn an_absent_file_is_a_complete_configuration() {
        let settings = read(Path::new("/nonexistent/config.toml")).expect("defaults");
        assert_eq!(settings.share.min_failures, 1);
    }

    /// What the manual shows can be copied, and is as it says.
    #[test]
    fn the_manual_is_right() {
        let manual = include_str!("../../../docs/sharing.md");
        let toml: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        let settings = parse(Path::new("sharing.md"), &toml.join("\n")).expect("the manual");
        let bare = "[misp.main]\nurl = \"https://m\"\nkey_file = \"/k\"\n";
        let default = parse(Path::new("bare"), bare).expect("a bare destination");
        let (shown, bare) = (&settings.misp["main"], &default.misp["main"]);
        assert_eq!((&shown.event, shown.sightings), (&bare.event, bare.sightings));
        assert_eq!(shown.publish_every, bare.publish_every);
        assert_eq!(shown.context, bare.context);
        let (shown, bare) = (&settings.share, &default.share);
        assert_eq!(shown.sighting_interval, bare.sighting_interval);
        assert_eq!((shown.max_per_day, shown.min_hosts), (bare.max_per_day, bare.min_hosts));
        let lists = exchange::Treatment::default();
        assert_eq!(shown.warninglists.short.as_ref(), Some(&lists.short));
        assert_eq!(shown.warninglists.without_to_ids.as_ref(), Some(&lists.without_to_ids));
        assert_eq!(shown.warninglists.never.as_ref(), Some(&lists.never));
    }
}
