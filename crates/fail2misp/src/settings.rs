//! `/etc/fail2misp/config.toml`: our own configuration, read once.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::log;

/// All of the file; every key has a default, so an absent file is a complete configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) jails: Jails,
    /// `[misp.NAME]`, any number of destinations.
    pub(crate) misp: BTreeMap<String, Misp>,
    pub(crate) share: Share,
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

/// `[misp.NAME]`: one destination.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Misp {
    pub(crate) url: String,
    pub(crate) key_file: PathBuf,
    /// `daily`, `weekly`, an id or a uuid.
    #[serde(default = "daily", deserialize_with = "text_or_number")]
    pub(crate) event: String,
    #[serde(default = "yes")]
    pub(crate) sightings: bool,
    #[serde(default = "quarter_of_an_hour", deserialize_with = "duration")]
    pub(crate) publish_every: Duration,
    #[serde(default)]
    pub(crate) tags: Vec<String>,
    /// Names of jails, `*` for all.
    #[serde(default = "all_jails")]
    pub(crate) jails: Vec<String>,
    /// A file of certificates, PEM, that are trusted beside the system's.
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
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
    #[serde(deserialize_with = "duration")]
    pub(crate) sighting_interval: Duration,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            site: None,
            never: Vec::new(),
            allow: Vec::new(),
            min_failures: 1,
            sighting_interval: Duration::from_secs(60 * 60),
        }
    }
}

/// `[metrics]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Metrics {
    /// The file that guard's numbers are written to, for node_exporter's textfile collector.
    pub(crate) textfile: Option<PathBuf>,
}

/// `[log]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// Where guard's log goes: `stderr`, or a file; where fail2ban's `logtarget` says if absent.
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
    let target = settings.log.target.as_deref();
    if let Some(target) = target.filter(|target| log::Target::read(target).is_none()) {
        let problem = format!("log.target `{target}` is not known; it can be `stderr` or a file");
        return Err(wrong(None, problem));
    }
    Ok(settings)
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

fn duration<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let text = text_or_number(input)?;
    let read = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_no_number) => {
            text.parse::<jiff::SignedDuration>().ok().and_then(|it| it.try_into().ok())
        }
    };
    read.ok_or_else(|| {
        serde::de::Error::custom(format!("`{text}` is no duration; write `15m`, `1h` or `1d`"))
    })
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
        check("[share]\nmin_failures = 3\nsighting_interval = \"2h\"\n", "fine");
        check("[misp.main]\nurl = \"https://m\"\nkey_file = \"/k\"\nevent = 12\n", "fine");
        check(
            "[share]\nmin_failurs = 3\n",
            "`config.toml` line 2: unknown field `min_failurs`, expected one of `site`, `never`, \
             `allow`, `min_failures`, `sighting_interval`; did you mean `min_failures`?",
        );
        check(
            "[share]\nsighting_interval = \"soon\"\n",
            "`config.toml` line 2: `soon` is no duration; write `15m`, `1h` or `1d`",
        );
        check(
            "[misp.main]\nurl = \"https://m\"\n",
            "`config.toml` line 1: missing field `key_file`",
        );
    }

    #[test]
    fn an_absent_file_is_a_complete_configuration() {
        let settings = read(Path::new("/nonexistent/config.toml")).expect("defaults");
        assert_eq!(settings.share.min_failures, 1);
    }
}
