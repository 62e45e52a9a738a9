//! The events that cross rooms: a failure, a ban, and what is banned.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What is banned: an address, a prefix, or fail2ban's free-form id (`<F-ID>`).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Subject {
    /// One address; an IPv4-mapped one is held as IPv4, as fail2ban does.
    Addr(IpAddr),
    /// A prefix with its host bits cleared, always shorter than a whole address.
    Net(IpNet),
    /// Any other id, as the filter caught it.
    Id(String),
}

impl From<&str> for Subject {
    fn from(text: &str) -> Self {
        if let Ok(addr) = text.parse::<IpAddr>() {
            return Self::Addr(addr.to_canonical());
        }
        match text.parse::<IpNet>() {
            Ok(net) => Self::from(net),
            Err(_) => Self::Id(text.to_owned()),
        }
    }
}

impl From<IpNet> for Subject {
    fn from(net: IpNet) -> Self {
        match net.prefix_len() == net.max_prefix_len() {
            true => Self::Addr(net.addr().to_canonical()),
            false => Self::Net(net.trunc()),
        }
    }
}

impl From<String> for Subject {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl FromStr for Subject {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::from(text))
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(out),
            Self::Net(net) => net.fmt(out),
            Self::Id(id) => id.fmt(out),
        }
    }
}

/// One failure of one subject in one jail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The jail that counts it.
    pub jail: String,
    /// Who failed.
    pub subject: Subject,
    /// When, by the line's own date; whole seconds on the wire.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub time: Timestamp,
    /// How many failures the line stands for; 1 unless the filter says otherwise.
    pub n_attempts: u32,
    /// The lines that made it, as text; hostile.
    pub matches: Vec<String>,
    /// Named groups of the expression under fail2ban's names (`F-USER` is `user`); hostile.
    pub fields: Vec<(String, String)>,
}

/// How long a ban stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub enum BanTime {
    /// For this many seconds.
    Seconds(u32),
    /// Until it is lifted by hand; `bantime = -1`.
    Permanent,
}

impl BanTime {
    /// When a ban that begins at `since` ends; `None` where it never does.
    pub fn after(self, since: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Seconds(seconds) => Some(
                since
                    .checked_add(SignedDuration::from_secs(i64::from(seconds)))
                    .unwrap_or(Timestamp::MAX),
            ),
            Self::Permanent => None,
        }
    }
}

impl From<i64> for BanTime {
    /// Reads fail2ban's seconds, where any negative number means for ever.
    fn from(seconds: i64) -> Self {
        match u32::try_from(seconds) {
            Ok(seconds) => Self::Seconds(seconds),
            Err(_) if seconds < 0 => Self::Permanent,
            Err(_) => Self::Seconds(u32::MAX),
        }
    }
}

impl From<BanTime> for i64 {
    fn from(time: BanTime) -> Self {
        match time {
            BanTime::Seconds(seconds) => Self::from(seconds),
            BanTime::Permanent => -1,
        }
    }
}

/// A decision of the judge: this subject is banned in this jail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ban {
    /// The jail that bans.
    pub jail: String,
    /// Who is banned.
    pub subject: Subject,
    /// When the ban began.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub time: Timestamp,
    /// How long it stands, from `time` on.
    pub bantime: BanTime,
    /// The failures that led to it.
    pub n_failures: u32,
    /// When the first of them was.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub first_failure: Timestamp,
    /// When the last of them was.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub last_failure: Timestamp,
    /// The last lines that led to it, as text; hostile.
    pub matches: Vec<String>,
    /// Named groups of the first failure, as in [`Failure::fields`]; hostile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
}

impl Ban {
    /// When the ban ends; `None` where it never does.
    pub fn until(&self) -> Option<Timestamp> {
        self.bantime.after(self.time)
    }
}

/// A ban with its place in guard's append-only log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberedBan {
    /// Its number; they count from 1 and have gaps only where old rows were purged.
    pub number: u64,
    /// The ban itself.
    pub ban: Ban,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str, is_id: bool) {
        let subject = Subject::from(text);
        assert_eq!(subject.to_string(), want, "{text}");
        assert_eq!(matches!(subject, Subject::Id(_)), is_id, "{text}");
    }

    #[test]
    fn reads_subjects() {
        check("192.0.2.7", "192.0.2.7", false);
        check("::ffff:192.0.2.7", "192.0.2.7", false);
        check("2001:DB8::1", "2001:db8::1", false);
        check("192.0.2.7/24", "192.0.2.0/24", false); // host bits are masked
        check("192.0.2.7/32", "192.0.2.7", false);
        check("mallory", "mallory", true);
        check("192.0.2.300", "192.0.2.300", true);
    }

    #[test]
    fn bantime_crosses_the_wire_as_seconds() {
        assert_eq!(i64::from(BanTime::from(600)), 600);
        assert_eq!(i64::from(BanTime::from(-5)), -1);
        assert_eq!(BanTime::from(i64::MAX), BanTime::Seconds(u32::MAX));
    }
}
