//! Page and Hinkley's test: has the mean of what was within ± 1 or so moved?

use serde::{Deserialize, Serialize};

/// Deviation of the mean, in standard deviations, that is let pass.
const TOLERANCE: f64 = 0.5;
/// Sum beyond which there is an alarm: four outcomes in a row at the limit of [`MAX_STEP`].
const ALARM: f64 = 9.5;
/// Most that one outcome may say, standard deviations: a single freak never raises the alarm.
const MAX_STEP: f64 = 3.0;

/// The test, in both directions. Its steps have mean zero as long as the model holds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PageHinkley {
    upward: f64,
    downward: f64,
    /// The last values that were measured.
    last: [f64; 3],
}

impl PageHinkley {
    /// Takes a measured value and how far it is from what was expected, in standard deviations. `Some`: the mean has
    /// moved, and it is about this now; the test starts again.
    pub fn push(&mut self, measured: f64, residual: f64) -> Option<f64> {
        if !measured.is_finite() || residual.is_nan() {
            return None;
        }
        let [_, second, third] = self.last;
        self.last = [second, third, measured];
        let step = residual.clamp(-MAX_STEP, MAX_STEP);
        self.upward = (self.upward + step - TOLERANCE).max(0.0);
        self.downward = (self.downward - step - TOLERANCE).max(0.0);
        if self.upward.max(self.downward) <= ALARM {
            return None;
        }
        (self.upward, self.downward) = (0.0, 0.0);
        // An alarm takes more than three outcomes, so these are after the change; one of them may be a freak.
        let mut sorted = self.last;
        sorted.sort_by(f64::total_cmp);
        Some(sorted[1])
    }

    /// Whether every number is one: what a store gave back may be anything.
    pub fn is_finite(&self) -> bool {
        self.last.iter().chain([&self.upward, &self.downward]).all(|number| number.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::synthetic::Noise;

    #[test]
    fn a_shift_is_found_within_six_outcomes_and_noise_rarely_is() {
        let mut noise = Noise::new(1);
        let mut test = PageHinkley::default();
        let false_alarms = (0..20_000).filter(|_| test.push(0.0, noise.normal()).is_some()).count();
        assert!(false_alarms <= 5, "{false_alarms} in 20,000");
        for direction in [-4.0, 4.0] {
            let mut test = PageHinkley::default();
            let moved = (1..=6).find_map(|_| test.push(direction, direction + noise.normal()));
            assert_eq!(moved, Some(direction));
        }
    }

    #[test]
    fn f21_one_freak_or_nonsense_is_no_drift() {
        let mut test = PageHinkley::default();
        for freak in [1e300, f64::NAN, f64::INFINITY, -1e300] {
            assert_eq!(test.push(freak, freak), None);
        }
    }
}
