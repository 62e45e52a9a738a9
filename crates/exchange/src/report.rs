//! One ban to tell MISP about, or to take back, as it lies in the spool.

use jail::{Ban, BanTime, Subject};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::destination::Addressee;

/// What stands for a jail where an operator says that a ban was a mistake.
const OPERATOR: &str = "operator";

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
        Self { ban, restored: false, false_positive: false, host: None, to: None }
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
