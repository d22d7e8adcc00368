//! How far forecasts of the ways to split were off here before: what the models do not see (how often this node's pictures
//! get in each other's way, what a swarm's distances cost a way with many messages) is learned as a factor.

use p2c2r_scheduler::split::hybrid::{Forecast, Strategy};

/// Weight of the newest sequence against what was believed before: at first, that forecasts are right. The first ones are
/// the worst, made while little is known of the peers.
const WEIGHT: f64 = 0.25;
/// A forecast is not off by more than so many times, as far as is believed.
const MAX_FACTOR: f64 = 4.0;

/// Factors, by strategy.
#[derive(Debug, Clone, Copy, Default)]
pub struct SplitExperience {
    /// Logs of measured over predicted time.
    log_factors: [Option<f64>; Strategy::ALL.len()],
}

impl SplitExperience {
    /// Learns from a sequence that was predicted (before any correction) and took so long.
    pub fn learn(&mut self, strategy: Strategy, predicted_ms: f64, measured_ms: f64) {
        let log = (measured_ms / predicted_ms).ln();
        if !log.is_finite() {
            return;
        }
        let log = log.clamp(-MAX_FACTOR.ln(), MAX_FACTOR.ln());
        let believed = self.log_factor(strategy);
        self.log_factors[strategy as usize] = Some(believed + WEIGHT * (log - believed));
    }

    /// The forecast as it is expected to come true.
    pub fn corrected(&self, forecast: Forecast) -> Forecast {
        Forecast { makespan_ms: forecast.makespan_ms * self.log_factor(forecast.strategy).exp(), ..forecast }
    }

    /// A way that was never gone is off as the others are.
    fn log_factor(&self, strategy: Strategy) -> f64 {
        let known: Vec<f64> = self.log_factors.iter().flatten().copied().collect();
        let others = known.iter().sum::<f64>() / known.len().max(1) as f64;
        self.log_factors[strategy as usize].unwrap_or(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corrected(experience: &SplitExperience, strategy: Strategy) -> f64 {
        experience.corrected(Forecast { strategy, makespan_ms: 100.0, whole_frames: 0 }).makespan_ms
    }

    #[test]
    fn what_was_off_before_is_corrected() {
        let mut experience = SplitExperience::default();
        assert!((corrected(&experience, Strategy::Spatial) - 100.0).abs() < 1e-9);
        experience.learn(Strategy::Spatial, 100.0, 150.0);
        assert!((110.0..112.0).contains(&corrected(&experience, Strategy::Spatial)), "once proves little");
        for _ in 0..80 {
            experience.learn(Strategy::Spatial, 100.0, 150.0);
        }
        assert!((corrected(&experience, Strategy::Spatial) - 150.0).abs() < 1e-6);
        assert!((corrected(&experience, Strategy::Temporal) - 150.0).abs() < 1e-6, "never gone");
        experience.learn(Strategy::Temporal, 100.0, 150.0);
        assert!((corrected(&experience, Strategy::Temporal) - 150.0).abs() < 1e-6, "as it was believed");
        experience.learn(Strategy::Temporal, 100.0, 80.0);
        let known = corrected(&experience, Strategy::Temporal);
        assert!((120.0..135.0).contains(&known), "{known}");
        experience.learn(Strategy::Temporal, 0.0, 80.0);
        experience.learn(Strategy::Temporal, f64::NAN, 80.0);
        assert!((corrected(&experience, Strategy::Temporal) - known).abs() < 1e-6, "these are no times");
        for _ in 0..80 {
            experience.learn(Strategy::Pipeline, 1.0, 1e9);
        }
        assert!(corrected(&experience, Strategy::Pipeline) < 401.0);
    }
}
