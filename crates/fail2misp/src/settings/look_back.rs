//! `[look_back]`: old logs are searched for what `[blocklist]` pulls anew.

use std::time::Duration;

use serde::Deserialize;

use super::duration;

/// `[look_back]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LookBack {
    /// How far back; `"0s"` switches it off.
    #[serde(deserialize_with = "duration")]
    pub(crate) within: Duration,
    /// How long one search takes at the most.
    #[serde(deserialize_with = "duration")]
    pub(crate) at_most: Duration,
    /// Bytes that one search reads at the most, as they lie on the disk; the newest logs first.
    pub(crate) max_bytes: u64,
    /// Whether MISP gets a sighting, with the time of the log, of what was here before.
    pub(crate) sightings: bool,
}

impl Default for LookBack {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(30 * 24 * 60 * 60),
            at_most: Duration::from_secs(60),
            max_bytes: 4_000_000_000,
            sightings: true,
        }
    }
}

impl LookBack {
    /// Whether it is switched on.
    pub(crate) fn is_on(&self) -> bool {
        !self.within.is_zero()
    }
}
