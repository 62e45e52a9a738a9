//! How much a destination may still be asked: offenders on a day, and calls in a minute.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::destination::Budget;
use crate::store::Told;

/// A minute's calls, which come back one by one. A step may make more calls than are left, and then
/// the next waits until they are paid for.
#[derive(Debug)]
pub(crate) struct Calls {
    per_second: f64,
    most: f64,
    left: f64,
    counted: Timestamp,
}

impl Calls {
    pub(crate) fn new(budget: Budget, now: Timestamp) -> Self {
        let most = f64::from(budget.calls_per_minute.max(1));
        Self { per_second: most / 60.0, most, left: most, counted: now }
    }

    /// Counts a call.
    pub(crate) fn spend(&mut self) {
        self.left -= 1.0;
    }

    /// How long to wait for the next call; not at all, where one is left.
    pub(crate) fn wait(&mut self, now: Timestamp) -> Option<Duration> {
        // A clock that was set back gives nothing, and takes nothing.
        let passed = now.duration_since(self.counted).as_secs_f64().max(0.0);
        self.left = self.most.min(self.left + passed * self.per_second);
        self.counted = now;
        let missing = 1.0 - self.left;
        (missing > 0.0).then(|| Duration::from_secs_f64(missing / self.per_second))
    }
}

impl Told {
    /// How many more offenders may be told today.
    pub(crate) fn left(&self, budget: Budget, now: Timestamp) -> u64 {
        let n = if self.day == day(now) { self.n } else { 0 };
        budget.max_per_day.saturating_sub(n)
    }

    /// With `n` more that were told.
    pub(crate) fn and(&self, n: u64, now: Timestamp) -> Self {
        let day = day(now);
        let before = if self.day == day { self.n } else { 0 };
        Self { day, n: before + n }
    }
}

fn day(now: Timestamp) -> String {
    now.to_zoned(TimeZone::UTC).date().to_string()
}

/// When the next day begins, and with it the next daily budget.
pub(crate) fn tomorrow(now: Timestamp) -> Timestamp {
    let midnight = now.to_zoned(TimeZone::UTC).tomorrow().and_then(|it| it.start_of_day());
    midnight.map_or(Timestamp::MAX, |it| it.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn calls_come_back_one_by_one() {
        let budget = Budget { calls_per_minute: 60, ..Budget::default() };
        let mut calls = Calls::new(budget, at(0));
        assert_eq!(calls.wait(at(0)), None);
        (0..60).for_each(|_| calls.spend());
        assert_eq!(calls.wait(at(0)), Some(Duration::from_secs(1)));
        assert_eq!(calls.wait(at(1)), None);
        // A step of many calls is paid for afterwards.
        (0..5).for_each(|_| calls.spend());
        assert_eq!(calls.wait(at(1)), Some(Duration::from_secs(5)));
        // No more than a minute's calls are ever saved up.
        assert_eq!(calls.wait(at(100_000)), None);
        (0..60).for_each(|_| calls.spend());
        assert_eq!(calls.wait(at(100_000)), Some(Duration::from_secs(1)));
        assert_eq!(calls.wait(at(0)), Some(Duration::from_secs(1))); // the clock was set back
    }

    #[test]
    fn a_day_has_its_own_budget() {
        let budget = Budget { max_per_day: 10, ..Budget::default() };
        let (monday, tuesday) = (at(1_795_392_000), at(1_795_392_000 + 86_400));
        let told = Told::default().and(7, monday);
        assert_eq!((told.left(budget, monday), told.left(budget, tuesday)), (3, 10));
        assert_eq!(told.and(5, monday).left(budget, monday), 0);
        assert_eq!(tomorrow(monday + Duration::from_secs(5)), tuesday);
    }
}
