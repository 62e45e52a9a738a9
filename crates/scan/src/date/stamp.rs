//! A stamp: the fields that a date's text gives, and the moment that they mean.
//!
//! What the text leaves out is guessed as fail2ban does (`server/strptime.py`): no year is this
//! year, or last year if that would be more than a day ahead; no date at all is today, or
//! yesterday if that would be ahead. Where only fail2ban's order of steps explains the answer, a
//! comment says so.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

/// What a date's text says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    /// Fields of the calendar, some of them perhaps absent.
    Civil(Stamp),
    /// Seconds since 1970.
    Exact(Timestamp),
    /// Nothing that means a moment.
    Unknown,
}

/// Fields of the calendar as a date's text gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Stamp {
    pub(crate) year: Option<i16>,
    pub(crate) month: Option<i8>,
    pub(crate) day: Option<i8>,
    pub(crate) hour: i8,
    pub(crate) minute: i8,
    pub(crate) second: i8,
    /// Minutes that the local time is ahead of UTC.
    pub(crate) offset: Option<i32>,
    pub(crate) day_of_year: Option<i16>,
    /// From Monday, which is 0.
    pub(crate) weekday: Option<i8>,
    pub(crate) week: Option<Week>,
}

/// A week of the year.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Week {
    pub(crate) number: i8,
    /// `%W` counts from Monday, `%U` from Sunday.
    pub(crate) from_monday: bool,
}

/// The time it is, and the zone of dates that name none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock<'z> {
    pub(crate) now: Timestamp,
    pub(crate) zone: &'z TimeZone,
    /// `logtimezone`, in minutes ahead of UTC.
    pub(crate) offset: Option<i32>,
}

impl Clock<'_> {
    fn civil(self) -> DateTime {
        self.zone.to_datetime(self.now)
    }
}

impl Moment {
    /// The moment meant, at the time it is by `clock`; `None` for a date that does not exist.
    pub(crate) fn resolve(self, clock: Clock<'_>) -> Option<Timestamp> {
        match self {
            Self::Exact(time) => Some(time),
            Self::Civil(stamp) => stamp.resolve(clock),
            Self::Unknown => None,
        }
    }
}

impl Moment {
    /// The moment, if there is such a one; it is resolved only where that is needed to tell.
    pub(crate) fn settle(self, clock: Clock<'_>) -> Option<Self> {
        match self {
            Self::Civil(stamp) if stamp.surely_exists() => Some(self),
            _ => self.resolve(clock).map(Self::Exact),
        }
    }
}

impl Stamp {
    /// Whether every clock agrees that there is such a date.
    fn surely_exists(self) -> bool {
        let year = self.year.is_none_or(|year| (1970..=9000).contains(&year));
        let day = self.month.is_some_and(|month| (1..=12).contains(&month))
            && self.day.is_some_and(|day| (1..=28).contains(&day));
        year && day && self.hour < 24 && self.minute < 60 && self.second < 60
    }

    fn resolve(self, clock: Clock<'_>) -> Option<Timestamp> {
        let guesses = self.year.is_none() || (self.month.is_none() && self.day.is_none());
        let now = if guesses { clock.civil() } else { DateTime::MAX };
        let found = self.date(self.year.unwrap_or(now.year()), now)?;
        let time = jiff::civil::Time::new(self.hour, self.minute, self.second, 0).ok()?;
        let offset = self.offset.or(clock.offset);
        let mut local = found.date.to_datetime(time);
        if let Some(minutes) = offset {
            local = local.checked_sub(SignedDuration::from_mins(i64::from(minutes))).ok()?;
        }
        // Both guesses compare with the local time even where `local` is UTC by now.
        if found.today && local > now {
            local = local.checked_sub(Span::new().days(1)).ok()?;
        }
        let is_ahead = self.year.is_none() && local > now;
        if is_ahead && local > now.checked_add(Span::new().days(1)).ok()? {
            // The day as written, even where the offset moved it to another.
            let date = Date::new(found.date.year() - 1, found.date.month(), found.date.day());
            local = date.ok()?.to_datetime(local.time());
        }
        let zone = if offset.is_some() { &TimeZone::UTC } else { clock.zone };
        zone.to_ambiguous_timestamp(local).compatible().ok()
    }

    fn date(self, year: i16, now: DateTime) -> Option<Day> {
        if year < 1 {
            return None;
        }
        let day_of_year = match (self.day_of_year, self.week, self.weekday) {
            (Some(day), ..) => Some(i32::from(day)),
            (None, Some(week), Some(weekday)) => Some(day_of_week(year, week, weekday)?),
            _ => None,
        };
        let date = match (self.month, self.day, day_of_year) {
            (Some(month), Some(day), _) => Date::new(year, month, day).ok()?,
            (_, _, Some(day)) => {
                Date::new(year, 1, 1).ok()?.checked_add(Span::new().days(day - 1)).ok()?
            }
            (None, None, None) => {
                let date = Date::new(year, now.month(), now.day()).ok()?;
                return Some(Day { date, today: true });
            }
            _ => return None,
        };
        Some(Day { date, today: false })
    }
}

struct Day {
    date: Date,
    /// Taken from the clock.
    today: bool,
}

/// The day of the year, from 1, that a weekday of a week is; before it, 0 or less.
fn day_of_week(year: i16, week: Week, weekday: i8) -> Option<i32> {
    let new_year = Date::new(year, 1, 1).ok()?.weekday();
    let (first, weekday) = if week.from_monday {
        (new_year.to_monday_zero_offset(), weekday)
    } else {
        (new_year.to_sunday_zero_offset(), (weekday + 1) % 7)
    };
    let (first, weekday) = (i32::from(first), i32::from(weekday));
    Some(match i32::from(week.number) {
        0 => 1 + weekday - first,
        number => 1 + (7 - first) % 7 + 7 * (number - 1) + weekday,
    })
}
