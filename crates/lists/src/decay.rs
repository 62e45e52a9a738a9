//! How the word of a sighting fades, by MISP's polynomial.
//!
//! `score = base · (1 − (age / lifetime)^(1 / speed))`, as in MISP's own description of decaying
//! models (<https://arxiv.org/abs/1902.03914>); a new sighting sets the age back to nothing.

/// A decaying model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// Seconds until the score is nothing.
    pub lifetime: i64,
    /// 1 falls in a line; a larger one falls faster at first.
    pub speed: f64,
    /// What a fresh indicator scores.
    pub base: f64,
    /// A score that is not above this is none.
    pub threshold: f64,
}

impl Default for Model {
    /// The parameters of MISP's "NIDS Simple Decaying Model", which MISP 2.5.1 brings along.
    fn default() -> Self {
        const DAY: i64 = 24 * 60 * 60;
        Self { lifetime: 120 * DAY, speed: 2.0, base: 80.0, threshold: 30.0 }
    }
}

impl Model {
    /// The score at `now` of what was seen last at `last`, in epoch seconds. What is said to have
    /// been seen in the future is fresh.
    #[allow(clippy::cast_precision_loss, reason = "a lifetime is far below 2^52 seconds")]
    pub fn score(&self, last: i64, now: i64) -> f64 {
        let age = now.saturating_sub(last).max(0);
        if age >= self.lifetime {
            return 0.0;
        }
        self.base * (1.0 - (age as f64 / self.lifetime as f64).powf(1.0 / self.speed))
    }

    /// Seconds for which the score of what is never seen again stays above the threshold.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a lifetime is far below 2^52 seconds, and this is a part of it"
    )]
    pub fn alive_for(&self) -> i64 {
        let left = (1.0 - self.threshold / self.base).clamp(0.0, 1.0);
        (self.lifetime as f64 * left.powf(self.speed)) as i64
    }

    /// Whether that score still means something.
    pub fn is_alive(&self, last: i64, now: i64) -> bool {
        self.score(last, now) > self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(age: i64, want: f64) {
        let score = Model::default().score(1_795_328_739, 1_795_328_739 + age);
        assert!((score - want).abs() < 1e-9, "{age}: {score}");
    }

    #[test]
    fn scores() {
        check(0, 80.0);
        check(1, 79.975_154_800_25); // what MISP 2.5.1 answered, and so is the next
        check(2, 79.964_863_581_553_69);
        check(120 * 86_400, 0.0);
        check(900 * 86_400, 0.0);
        check(-60, 80.0);
    }

    #[test]
    fn a_score_at_the_threshold_is_none() {
        let model = Model { lifetime: 100, speed: 1.0, base: 100.0, threshold: 50.0 };
        assert!(model.is_alive(0, 49));
        assert!(!model.is_alive(0, 50));
        assert_eq!(model.alive_for(), 50);
        let model = Model::default();
        assert!(
            model.is_alive(0, model.alive_for() - 1) && !model.is_alive(0, model.alive_for() + 1)
        );
    }
}
