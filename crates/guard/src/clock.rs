//! What time it is here.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The clock that guard goes by: it may jump, and tests let it.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Tells the time.
    pub now: fn() -> Timestamp,
    /// The zone of dates in logs that name none.
    pub zone: TimeZone,
}

impl Clock {
    /// The system's own, in its zone.
    pub fn system() -> Self {
        Self { now: Timestamp::now, zone: TimeZone::system() }
    }

    /// The system's own, where dates that name no zone are in UTC.
    pub fn utc() -> Self {
        Self { zone: TimeZone::UTC, ..Self::system() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }
}
