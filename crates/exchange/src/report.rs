//! One ban to tell MISP about, or to take back, as it lies in the spool.

use jail::{Ban, BanTime, Subject};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::destination::Addressee;

/// What stands for a jail where an operator says that a ban was a mistake.
const OPERATOR: &str = "operator";

/// The jail that sightings out of old logs come from: a destination takes them if it takes this jail.
const HUNT: &str = "hunt";

/// Who was in old logs, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Who.
    pub subject: Subject,
    /// In how many lines.
    pub n_lines: u64,
    /// The time of the earliest.
    pub first: Timestamp,
    /// The time of the latest.
    pub last: Timestamp,
}

/// A ban, and where it shall be told. It never holds a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The ban.
    #[serde(flatten)]
    pub ban: Ban,
    /// Whether it was only set up again after a restart, and so told before.
    #[serde(default)]
    pub restored: bool,
    /// Whether it says that the ban was a mistake.
    #[serde(default, skip_serializing_if = "is_false")]
    pub false_positive: bool,
    /// Whether it is told only where its value is known: as a sighting.
    #[serde(default, skip_serializing_if = "is_false")]
    pub only_sighting: bool,
    /// Whether it is of old logs, and nobody was banned: wherever it is told, it says so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub historical: bool,
    /// The host that banned, where it is not this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where it goes; to all destinations that take the jail, where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Addressee>,
}

impl Report {
    /// A ban of this host that goes wherever its jail goes.
    pub fn of(ban: Ban) -> Self {
        Self {
            ban,
            restored: false,
            false_positive: false,
            only_sighting: false,
            historical: false,
            host: None,
            to: None,
        }
    }

    /// That old logs hold somebody: what is known of him gets a sighting at the time of the last
    /// line, and what is not stays unknown.
    pub fn of_the_past(seen: Past) -> Self {
        let ban = Ban {
            jail: HUNT.to_owned(),
            subject: seen.subject,
            time: seen.last,
            bantime: BanTime::Seconds(0),
            n_failures: u32::try_from(seen.n_lines).unwrap_or(u32::MAX),
            first_failure: seen.first,
            last_failure: seen.last,
            matches: Vec::new(),
            fields: Vec::new(),
        };
        Self { only_sighting: true, ..Self::of(ban) }
    }

    /// That an operator takes back whatever was said of an address.
    pub fn mistake(subject: Subject, now: Timestamp) -> Self {
        let ban = Ban {
            jail: OPERATOR.to_owned(),
            subject,
            time: now,
            bantime: BanTime::Seconds(0),
            n_failures: 0,
            first_failure: now,
            last_failure: now,
            matches: Vec::new(),
            fields: Vec::new(),
        };
        Self { false_positive: true, ..Self::of(ban) }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}
