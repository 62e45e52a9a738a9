//! Which event attributes go to, and what our own events look like.

use std::fmt;

use jiff::civil::{Date, ISOWeekDate, Weekday};
use serde::{Deserialize, Serialize};

use super::kind::JailKind;

/// Attributes of one event before the next is begun: MISP's pages and its synchronisation grow
/// slow with larger ones, and its own example for fail2ban stops here as well.
pub const DEFAULT_MAX_ATTRIBUTES: u64 = 1_000;
/// The title of our own events.
const DEFAULT_TITLE: &str = "{what} at {site}, {period}";
/// Who may be told, and what may be done with it: partners, and nothing that the attacker notices.
const SHARING_TAGS: [&str; 2] = ["tlp:green", "PAP:GREEN"];
/// Between the days of a period and whose attributes its event takes: `2026-11-22/scan`.
const GROUP: char = '/';
/// No configuration goes beyond this, and a fixed event that does is warned of.
pub const HARD_MAX_ATTRIBUTES: u64 = 10_000;

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

/// What our own events look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventTemplate {
    /// Its title; `{what}`, `{site}`, `{period}` and `{jail}` are filled in.
    pub title: String,
    /// Whether each jail has events of its own; else those of one kind share them.
    pub by_jail: bool,
    /// Its tags; those that fit the kind of its jails where nothing is said.
    pub tags: Option<Vec<String>>,
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
            title: DEFAULT_TITLE.into(),
            by_jail: false,
            tags: None,
            threat_level: 3,
            analysis: 2,
            distribution: 1,
            sharing_group: None,
            max_attributes: DEFAULT_MAX_ATTRIBUTES,
        }
    }
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
    /// The days that a day lies in; empty for a fixed event, which knows none.
    pub(crate) fn days(&self, day: Date) -> String {
        match self {
            Self::Fixed(_) => String::new(),
            Self::Daily => day.to_string(),
            Self::Weekly => {
                let week = day.iso_week_date();
                format!("{}-W{:02}", week.year(), week.week())
            }
        }
    }

    /// The first of the days that [`Self::days`] named.
    pub(crate) fn first_day(&self, days: &str) -> Option<Date> {
        match self {
            Self::Fixed(_) => None,
            Self::Daily => days.parse().ok(),
            Self::Weekly => {
                let (year, week) = days.split_once("-W")?;
                let (year, week) = (year.parse().ok()?, week.parse().ok()?);
                ISOWeekDate::new(year, week, Weekday::Monday).ok().map(Date::from)
            }
        }
    }
}

/// What an event holds: the days, and whose attributes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Period<'a> {
    pub(crate) days: &'a str,
    pub(crate) kind: JailKind,
    /// Of one jail alone; of every jail of the kind, where it is empty.
    pub(crate) jail: &'a str,
}

impl EventTemplate {
    /// The name of the event that takes what `jail` bans in these days.
    pub(crate) fn period(&self, choice: &EventChoice, days: &str, jail: &str) -> String {
        let group = match (choice, self.by_jail) {
            (EventChoice::Fixed(_), _) => "",
            (_, true) => jail,
            (_, false) => JailKind::of(jail).group(),
        };
        if group.is_empty() { days.to_owned() } else { format!("{days}{GROUP}{group}") }
    }

    /// What a period means that [`Self::period`] named.
    pub(crate) fn read_period<'a>(&self, period: &'a str) -> Period<'a> {
        let (days, group) = period.split_once(GROUP).unwrap_or((period, ""));
        match self.by_jail {
            true => Period { days, kind: JailKind::of(group), jail: group },
            false => Period { days, kind: JailKind::of_group(group), jail: "" },
        }
    }

    /// The title of the event of a period.
    pub(crate) fn title(&self, period: Period<'_>, site: &str) -> String {
        self.title
            .replace("{what}", period.kind.what())
            .replace("{site}", site)
            .replace("{period}", period.days)
            .replace("{jail}", period.jail)
    }

    /// The tags of the event of a period.
    pub(crate) fn tags(&self, kind: JailKind) -> Vec<&str> {
        match &self.tags {
            Some(tags) => tags.iter().map(String::as_str).collect(),
            None => SHARING_TAGS.iter().chain(kind.tags()).copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn days() {
        assert_eq!(EventChoice::Daily.days(date(2026, 11, 22)), "2026-11-22");
        assert_eq!(EventChoice::Weekly.days(date(2026, 11, 22)), "2026-W47");
        assert_eq!(EventChoice::Weekly.days(date(2027, 1, 1)), "2026-W53"); // the week's year
        assert_eq!(EventChoice::Fixed("107539".into()).days(date(2026, 1, 1)), "");
        assert_eq!(EventChoice::Daily.first_day("2026-11-22"), Some(date(2026, 11, 22)));
        assert_eq!(EventChoice::Weekly.first_day("2026-W53"), Some(date(2026, 12, 28)));
    }

    /// Checks the name of a jail's event, its title, and its last tag.
    #[track_caller]
    fn check(by_jail: bool, jail: &str, want: [&str; 3]) {
        let template = EventTemplate { by_jail, ..EventTemplate::default() };
        let period = template.period(&EventChoice::Daily, "2026-11-22", jail);
        let read = template.read_period(&period);
        let (title, tags) = (template.title(read, "web-1"), template.tags(read.kind));
        assert_eq!([&*period, &*title, tags[tags.len() - 1]], want);
        // However it is grouped, periods sort by their days.
        assert!(period.as_str() >= "2026-11-22" && period.as_str() < "2026-11-23");
    }

    #[test]
    fn periods() {
        let brute_force = "misp-galaxy:mitre-attack-pattern=\"Brute Force - T1110\"";
        let title = "Login attempts at web-1, 2026-11-22";
        check(false, "sshd", ["2026-11-22", title, brute_force]);
        check(true, "sshd", ["2026-11-22/sshd", title, brute_force]);
        let scan = "misp-galaxy:mitre-attack-pattern=\"Active Scanning - T1595\"";
        let title = "Scans at web-1, 2026-11-22";
        check(false, "nginx-botsearch", ["2026-11-22/scan", title, scan]);
        check(true, "nginx-botsearch", ["2026-11-22/nginx-botsearch", title, scan]);
        let title = "Honeypot contacts at web-1, 2026-11-22";
        let decoy = "honeypot-basic:data-capture=\"attacks\"";
        check(false, "decoy-ssh", ["2026-11-22/decoy", title, decoy]);
        let fixed = EventTemplate::default().period(&EventChoice::Fixed("7".into()), "", "sshd");
        assert_eq!(fixed, "");
    }
}
