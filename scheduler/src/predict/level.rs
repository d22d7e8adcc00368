//! The level of a quantity that may move: two moving averages, of which the better one speaks.

use serde::{Deserialize, Serialize};

/// Weight of the newest outcome in the average that follows quickly, and in the one that is steady.
const WEIGHTS: [f64; 2] = [0.2, 0.04];
/// Weight of the newest outcome in the averages' errors.
const ERROR_WEIGHT: f64 = 0.04;
/// The quick average speaks while its error is less than this share of the steady one's. Where nothing moves, it is
/// about 4 % worse, and chance must not choose it.
const QUICK_MUST_REACH: f64 = 0.97;
/// Largest error that counts, in clips: the quick average must be seen to come nearer while both are far away.
const ERROR_CLIPS: f64 = 4.0;
/// Second outcome, this far from what the prior and the first made of it: the prior is forgotten (a factor of two).
const DISBELIEF: f64 = 0.7;
/// Outcomes from which on a residual is clipped.
const SETTLED_OUTCOMES: f64 = 3.0;

/// Two moving averages of the same quantity. At first both are the mean of the prior, with a weight of its own, and of
/// all outcomes: Σ residual / (n + weight).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Level {
    /// Outcomes since the start, or since the last restart.
    outcomes: f64,
    prior_weight: f64,
    values: [f64; 2],
    errors: [f64; 2],
}

impl Level {
    /// A level of which only the prior is known; the prior counts as so many outcomes.
    pub fn new(prior: f64, prior_weight: f64) -> Self {
        Self { outcomes: 0.0, prior_weight, values: [prior; 2], errors: [0.0; 2] }
    }

    /// The level as far as it is known.
    pub fn value(&self) -> f64 {
        self.values[usize::from(self.errors[0] >= QUICK_MUST_REACH * self.errors[1])]
    }

    /// Learns from a measured value. One that is further away than `clip` counts as that far, once there were several.
    pub fn learn(&mut self, measured: f64, clip: f64) {
        if !measured.is_finite() {
            return;
        }
        if (0.5..1.5).contains(&self.outcomes)
            && self.prior_weight > 0.0
            && (measured - self.value()).abs() > DISBELIEF
        {
            (self.outcomes, self.prior_weight) = (0.0, 0.0);
        }
        let first = 1.0 / (self.outcomes + 1.0 + self.prior_weight);
        for ((value, error), weight) in self.values.iter_mut().zip(&mut self.errors).zip(WEIGHTS) {
            let step = measured - *value;
            *error += ERROR_WEIGHT.max(first) * (step.abs().min(ERROR_CLIPS * clip) - *error);
            let step = if self.outcomes >= SETTLED_OUTCOMES { step.clamp(-clip, clip) } else { step };
            *value += weight.max(first) * step;
        }
        self.outcomes += 1.0;
    }

    /// The quantity has moved: it is this now, as the mean of so many outcomes.
    pub fn restart(&mut self, value: f64, outcomes: f64) {
        if value.is_finite() {
            *self = Self { outcomes, ..Self::new(value, 0.0) };
        }
    }

    /// Adds to the level, because something else now says that much less.
    pub fn shift(&mut self, by: f64) {
        for value in &mut self.values {
            *value += by;
        }
    }

    /// Whether every number is one: what a store gave back may be anything.
    pub fn is_finite(&self) -> bool {
        let numbers = [self.outcomes, self.prior_weight];
        numbers.iter().chain(&self.values).chain(&self.errors).all(|number| number.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_first_it_is_the_shrunken_mean() {
        let mut level = Level::new(1.0, 2.0);
        level.learn(1.6, 9.0);
        assert!((level.value() - 1.2).abs() < 1e-12);
        level.learn(1.6, 9.0);
        assert!((level.value() - 1.3).abs() < 1e-12);
    }

    #[test]
    fn b14_a_prior_that_two_outcomes_contradict_is_forgotten() {
        let mut level = Level::new(0.0, 2.0);
        level.learn(2.3, 9.0);
        assert!(level.value() < 1.0);
        level.learn(2.3, 9.0);
        assert!((level.value() - 2.3).abs() < 1e-12);
    }

    #[test]
    fn b36_wild_values_move_it_by_the_clip_at_most() {
        let mut level = Level::new(0.0, 2.0);
        for _ in 0..10 {
            level.learn(0.0, 0.5);
        }
        for wild in [f64::NAN, f64::INFINITY, 1e9] {
            level.learn(wild, 0.5);
        }
        assert!(level.value().abs() <= 0.11, "{}", level.value());
    }

    #[test]
    fn after_a_restart_the_level_is_the_mean_since() {
        let mut level = Level::new(0.0, 2.0);
        for _ in 0..50 {
            level.learn(0.0, 0.5);
        }
        level.restart(1.0, 4.0);
        level.learn(1.5, 0.5);
        assert!((level.value() - 1.1).abs() < 1e-12, "{}", level.value());
    }
}
