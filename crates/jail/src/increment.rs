//! Longer bans for whoever comes back: `bantime.increment` and its kin.
//!
//! fail2ban's rules (`server/jail.py`, `setBanTimeExtra`; `server/observer.py`): the ban time grows by
//! a formula or a list of multipliers with the number of earlier bans, up to `maxtime`, and gets up to
//! `rndtime` on top. Each failure of whoever was banned before counts for several.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, RandomState};

use crate::config::duration;
use crate::config::expression::{ExpressionError, evaluate};
use crate::config::is_true;
use crate::event::BanTime;

/// The formula where none is given.
const FORMULA: &str = "ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor";

/// Earlier bans beyond this count no more, so that the powers of two stay numbers; as in fail2ban.
const MAX_COUNT: u32 = 20;

/// The options as they are written; an empty text is as none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written<'a> {
    /// `bantime.formula`.
    pub formula: Option<&'a str>,
    /// `bantime.multipliers`, which go before the formula.
    pub multipliers: Option<&'a str>,
    /// `bantime.factor`.
    pub factor: Option<&'a str>,
    /// `bantime.maxtime`.
    pub max_seconds: Option<f64>,
    /// `bantime.rndtime`.
    pub random_seconds: Option<f64>,
    /// `bantime.overalljails`.
    pub overall: bool,
}

/// How ban times grow.
#[derive(Clone, Debug, PartialEq)]
pub struct Increment {
    growth: Growth,
    factor: f64,
    max_seconds: Option<f64>,
    random_seconds: f64,
    /// Whether the bans of all jails count.
    pub overall: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Growth {
    Formula(String),
    Multipliers(Vec<f64>),
}

/// Why ban times cannot grow so.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IncrementError {
    /// `bantime.formula`.
    #[error("`bantime.formula`: {0}; it may use ban.Time, ban.Count, banFactor and arithmetic")]
    Formula(ExpressionError),
    /// `bantime.factor`.
    #[error("`bantime.factor = {0}` is no number")]
    Factor(String),
    /// `bantime.multipliers`.
    #[error("`bantime.multipliers = {0}` is no list of whole numbers with spaces between them")]
    Multipliers(String),
    /// `bantime.maxtime` or `bantime.rndtime`.
    #[error("`{0} = {1}` is no time: {2}; write seconds, or `1d 12h 30m`")]
    Time(&'static str, String, ExpressionError),
}

impl IncrementError {
    /// The option at fault.
    pub fn option(&self) -> &'static str {
        match self {
            Self::Formula(_) => "bantime.formula",
            Self::Factor(_) => "bantime.factor",
            Self::Multipliers(_) => "bantime.multipliers",
            Self::Time(option, ..) => option,
        }
    }
}

impl Increment {
    /// What a jail's options say; nothing where ban times do not grow.
    ///
    /// # Errors
    ///
    /// Names the option that has no meaning.
    pub fn of(options: &BTreeMap<String, String>) -> Result<Option<Self>, IncrementError> {
        let text = |option: &str| options.get(option).map(String::as_str);
        let is_on = |option: &str| text(option).is_some_and(is_true);
        let seconds = |option: &'static str| {
            let text = text(option).filter(|text| !text.is_empty());
            let seconds = text.map(|text| {
                duration::seconds(text)
                    .map_err(|error| IncrementError::Time(option, text.to_owned(), error))
            });
            seconds.transpose()
        };
        if !is_on("bantime.increment") {
            return Ok(None);
        }
        let written = Written {
            formula: text("bantime.formula"),
            multipliers: text("bantime.multipliers"),
            factor: text("bantime.factor"),
            max_seconds: seconds("bantime.maxtime")?,
            random_seconds: seconds("bantime.rndtime")?,
            overall: is_on("bantime.overalljails"),
        };
        Self::new(written).map(Some)
    }

    /// Gives the options their meaning.
    ///
    /// # Errors
    ///
    /// Names the option that has none.
    pub fn new(written: Written<'_>) -> Result<Self, IncrementError> {
        let Written { formula, multipliers, factor, max_seconds, random_seconds, overall } =
            written;
        let given =
            |text: Option<&str>| text.filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let factor = match given(factor) {
            None => 1.0,
            Some(text) => evaluate(&text, &|_| None).map_err(|_| IncrementError::Factor(text))?,
        };
        let growth = match given(multipliers) {
            Some(text) => {
                let numbers = text.split_whitespace().map(|it| it.parse::<i64>().ok()).collect();
                let Some(numbers): Option<Vec<i64>> = numbers else {
                    return Err(IncrementError::Multipliers(text));
                };
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a multiplier beyond 2^53 is capped anyway"
                )]
                Growth::Multipliers(numbers.into_iter().map(|number| number as f64).collect())
            }
            None => Growth::Formula(given(formula).unwrap_or_else(|| FORMULA.to_owned())),
        };
        let random_seconds = random_seconds.unwrap_or(0.0);
        let increment = Self { growth, factor, max_seconds, random_seconds, overall };
        increment.grown(1.0, 1).map_err(IncrementError::Formula)?;
        Ok(increment)
    }

    /// The longest ban; `None` where there is no bound.
    pub(crate) fn longest(&self) -> Option<BanTime> {
        self.max_seconds.map(whole_seconds)
    }

    /// How long a ban stands that would stand for `ban_time`, after so many earlier ones.
    pub(crate) fn ban_time(&self, ban_time: BanTime, n_bans: u32, salt: &impl Hash) -> BanTime {
        let BanTime::Seconds(seconds) = ban_time else { return ban_time };
        // The formula was tried when it was read; where it has no value now, the ban does not grow.
        let grown = self.grown(f64::from(seconds), n_bans).unwrap_or(f64::from(seconds));
        let grown = grown.min(self.max_seconds.unwrap_or(f64::INFINITY));
        whole_seconds(grown + random(salt) * self.random_seconds)
    }

    fn grown(&self, seconds: f64, n_bans: u32) -> Result<f64, ExpressionError> {
        match &self.growth {
            Growth::Multipliers(multipliers) => {
                let index = usize::try_from(n_bans).unwrap_or(usize::MAX);
                let last = multipliers.last().copied().unwrap_or(1.0);
                let multiplier = multipliers.get(index).copied().unwrap_or(last);
                Ok(seconds * self.factor * multiplier)
            }
            Growth::Formula(formula) => {
                let name = |name: &str| match name {
                    "ban.Time" => Some(seconds),
                    "ban.Count" => Some(f64::from(n_bans)),
                    "banFactor" => Some(self.factor),
                    _ => None,
                };
                evaluate(formula, &name).map(|grown| grown.max(seconds))
            }
        }
    }
}

/// How many failures one failure counts for, of whoever was banned so often: 1, 2, 3, 5, 9 …
pub(crate) fn weight(n_bans: u32) -> u32 {
    match n_bans {
        0 => 1,
        n => (1 << (n.min(MAX_COUNT) - 1)) + 1,
    }
}

fn whole_seconds(seconds: f64) -> BanTime {
    #[expect(clippy::cast_possible_truncation, reason = "what no number holds is the largest one")]
    BanTime::from(seconds as i64)
}

/// A number from 0 to below 1 that nobody outside can foresee: the keys of the hash are the
/// process's own.
fn random(salt: &impl Hash) -> f64 {
    let hash = RandomState::new().hash_one(salt);
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    let fraction = (hash >> 11) as f64 / (1_u64 << 53) as f64;
    fraction
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[track_caller]
    fn check(written: Written<'_>, want: [u32; 4]) {
        let increment = Increment::new(written).unwrap();
        let times = [0, 1, 2, 30].map(|n| increment.ban_time(BanTime::Seconds(600), n, &n));
        assert_eq!(times, want.map(BanTime::Seconds), "{written:?}");
    }

    #[test]
    fn grows() {
        let none = Written::default();
        check(none, [600, 1200, 2400, 600 << 20]);
        check(Written { max_seconds: Some(3600.0), ..none }, [600, 1200, 2400, 3600]);
        check(Written { factor: Some("2"), ..none }, [1200, 2400, 4800, 1200 << 20]);
        let multipliers = Written { formula: Some(""), multipliers: Some("1 5 30"), ..none };
        check(multipliers, [600, 3000, 18000, 18000]);
        let formula = Written { formula: Some("ban.Time * (1 + ban.Count)"), ..none };
        check(formula, [600, 1200, 1800, 18600]);
        check(Written { formula: Some("1"), ..none }, [600; 4]); // never shorter
    }

    #[test]
    fn refuses_what_has_no_meaning() {
        let error = |written| Increment::new(written).unwrap_err().to_string();
        let none = Written::default();
        assert_eq!(
            error(Written { formula: Some("ban.Tme"), ..none }),
            "`bantime.formula`: `ban.Tme` is unknown; it may use ban.Time, ban.Count, banFactor and \
             arithmetic"
        );
        assert_eq!(
            error(Written { multipliers: Some("1 x"), ..none }),
            "`bantime.multipliers = 1 x` is no list of whole numbers with spaces between them"
        );
        assert_eq!(
            error(Written { factor: Some("many"), ..none }),
            "`bantime.factor = many` is no number"
        );
    }

    #[test]
    fn a_failure_of_the_known_weighs_more() {
        assert_eq!([0, 1, 2, 3, 4, 99].map(weight), [1, 2, 3, 5, 9, (1 << 19) + 1]);
    }

    #[test]
    fn the_random_part_stays_in_its_bounds() {
        let written =
            Written { multipliers: Some("1"), random_seconds: Some(60.0), ..Written::default() };
        let increment = Increment::new(written).unwrap();
        let ends = (0..100).map(|n| i64::from(increment.ban_time(BanTime::Seconds(600), 0, &n)));
        let ends: BTreeSet<i64> = ends.collect();
        assert!(ends.len() > 10 && ends.iter().all(|it| (600..660).contains(it)), "{ends:?}");
    }
}
