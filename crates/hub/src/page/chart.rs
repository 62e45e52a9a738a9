//! How much came on each day, as bars: sizes for a template, no picture library, no script.

use askama::Template;
use jiff::Timestamp;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Days that a chart shows, up to today.
pub(super) const DAYS: i64 = 30;

/// Units of the picture's own coordinates; the page scales it.
const WIDTH: i64 = 720;
const HEIGHT: i64 = 120;

/// A part of a bar's width stays empty.
const GAP: i64 = 6;

/// What came on one day of UTC.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Day {
    /// Days since 1970.
    pub(crate) day: i64,
    pub(crate) n_attributes: i64,
    pub(crate) n_sightings: i64,
}

/// One chart.
#[derive(Debug, Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    bars: Vec<Bar>,
    most: i64,
}

/// A day: attributes below, sightings on top of them.
#[derive(Debug, Eq, PartialEq)]
struct Bar {
    x: i64,
    width: i64,
    attributes: Part,
    sightings: Part,
    date: String,
    n_attributes: i64,
    n_sightings: i64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Part {
    y: i64,
    height: i64,
}

/// The first day that a chart of `now` shows.
pub(super) const fn first_day(now: i64) -> i64 {
    now.div_euclid(DAY) - DAYS + 1
}

/// The day of epoch seconds.
pub(super) const fn day(seconds: i64) -> i64 {
    seconds.div_euclid(DAY)
}

impl Chart {
    /// The days up to that of `now`; of a day that is named several times, the sum.
    pub(super) fn of(days: impl IntoIterator<Item = Day>, now: i64) -> Self {
        let first = first_day(now);
        let mut shown: Vec<Day> =
            (first..first + DAYS).map(|day| Day { day, ..Day::default() }).collect();
        for one in days {
            let place = usize::try_from(one.day - first).ok();
            if let Some(sum) = place.and_then(|it| shown.get_mut(it)) {
                sum.n_attributes += one.n_attributes;
                sum.n_sightings += one.n_sightings;
            }
        }
        let most = shown.iter().map(|it| it.n_attributes + it.n_sightings).max().unwrap_or(0);
        Self { bars: shown.iter().map(|it| Bar::of(*it, first, most)).collect(), most }
    }

    fn is_empty(&self) -> bool {
        self.most == 0
    }

    fn from(&self) -> &str {
        self.bars.first().map_or("", |it| &it.date)
    }

    fn to(&self) -> &str {
        self.bars.last().map_or("", |it| &it.date)
    }
}

impl Bar {
    fn of(day: Day, first: i64, most: i64) -> Self {
        let step = WIDTH / DAYS;
        // What came at all is seen.
        let height = |n: i64| match n {
            0 => 0,
            n => (n * HEIGHT / most).max(1),
        };
        let below = height(day.n_attributes);
        let above = height(day.n_sightings).min(HEIGHT - below);
        let date = Timestamp::from_second(day.day * DAY).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            x: (day.day - first) * step,
            width: step - GAP,
            attributes: Part { y: HEIGHT - below, height: below },
            sightings: Part { y: HEIGHT - below - above, height: above },
            date: date.strftime("%Y-%m-%d").to_string(),
            n_attributes: day.n_attributes,
            n_sightings: day.n_sightings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_as_high_as_it_was_busy() {
        let now = 100 * DAY + 5;
        let day = |day, n_attributes, n_sightings| Day { day, n_attributes, n_sightings };
        let days =
            [day(100, 10, 0), day(100, 20, 30), day(99, 0, 1), day(70, 9, 9), day(101, 9, 9)];
        let chart = Chart::of(days, now);
        assert_eq!((chart.bars.len(), chart.most), (30, 60), "older and later days are left out");
        assert_eq!((chart.from(), chart.to()), ("1970-03-13", "1970-04-11"));
        let [.., yesterday, today] = &chart.bars[..] else { panic!("thirty days") };
        assert_eq!(today.attributes, Part { y: 60, height: 60 });
        assert_eq!(today.sightings, Part { y: 0, height: 60 });
        assert_eq!(yesterday.sightings, Part { y: 118, height: 2 });
        assert!(chart.bars.iter().all(|it| it.x >= 0 && it.x + it.width <= WIDTH));
    }

    #[test]
    fn nothing_is_no_chart() {
        assert!(Chart::of([], 0).is_empty());
    }
}
