//! How long until its turn? The backlog that the caller expects, corrected by what became of such expectations.
//!
//! wait ≈ w · (backlog − line, others' tasks, own tasks), the tasks at this peer's mean execution time: a peer that works on
//! several at once has weights under one, one whose other tenants have larger tasks has a larger weight for those.

use serde::{Deserialize, Serialize};

use super::{
    features::Sample,
    ridge::{dot, solve},
};

/// Parts of the expectation.
const PARTS: usize = 3;
/// Weights before anything is known: the backlog is right, others' tasks are like ours.
const PRIOR: [f64; PARTS] = [1.0, 1.0, 0.0];
/// Outcomes that the prior counts for.
const PULL: [f64; PARTS] = [2.0, 2.0, 4.0];
/// Weight that the past keeps with each outcome.
const MEMORY: f64 = 0.99;
/// Weights stay within.
const RANGE: (f64, f64) = (-1.0, 4.0);
/// Largest deviation from the expectation that an outcome may teach, in expectations.
const CLIP: f64 = 2.0;
/// Shortest wait that expectations are compared by, ms.
const LEAST_MS: f64 = 5.0;

/// The weights, and the sums that they come from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WaitModel {
    matrix: [[f64; PARTS]; PARTS],
    right: [f64; PARTS],
    weights: [f64; PARTS],
}

impl Default for WaitModel {
    fn default() -> Self {
        Self { matrix: [[0.0; PARTS]; PARTS], right: [0.0; PARTS], weights: PRIOR }
    }
}

impl WaitModel {
    /// Expected wait, ms. `mean_execution_ms` is what a task takes there.
    pub fn expected_ms(&self, sample: &Sample, mean_execution_ms: f64) -> f64 {
        dot(&parts(sample, mean_execution_ms), &self.weights).max(0.0)
    }

    /// Learns from a wait.
    pub fn learn(&mut self, sample: &Sample, mean_execution_ms: f64, waited_ms: f64) {
        let parts = parts(sample, mean_execution_ms);
        let scale = parts.iter().sum::<f64>();
        // Where nobody is ahead there is nothing to learn.
        if scale < LEAST_MS || !waited_ms.is_finite() {
            return;
        }
        // Relative to what was ahead: a long queue errs by more than a short one.
        let parts = parts.map(|part| part / scale);
        let rest = (waited_ms / scale - dot(&parts, &self.weights)).clamp(-CLIP, CLIP)
            + dot(&parts, &self.weights)
            - dot(&parts, &PRIOR);
        for (i, part) in parts.iter().enumerate() {
            self.right[i] = self.right[i] * MEMORY + part * rest;
            for (sum, other) in self.matrix[i].iter_mut().zip(&parts) {
                *sum = *sum * MEMORY + part * other;
            }
        }
        let mut matrix = self.matrix;
        for (i, pull) in PULL.iter().enumerate() {
            matrix[i][i] += pull * 0.1;
        }
        if let Some(step) = solve(&matrix, &self.right) {
            for ((weight, prior), step) in self.weights.iter_mut().zip(PRIOR).zip(step) {
                *weight = (prior + step).clamp(RANGE.0, RANGE.1);
            }
        }
    }

    /// Whether every number is one: what a store gave back may be anything.
    pub fn is_finite(&self) -> bool {
        self.matrix.iter().flatten().chain(&self.right).chain(&self.weights).all(|number| number.is_finite())
    }
}

fn parts(sample: &Sample, mean_execution_ms: f64) -> [f64; PARTS] {
    let mean_ms = mean_execution_ms.clamp(0.0, 1e7);
    [
        // The last result is still on the line when the next task begins, and that task's offer has been on its way.
        (f64::from(sample.backlog_ms) - sample.line_ms()).max(0.0),
        sample.others_queued().min(100.0) * mean_ms,
        f64::from(sample.in_flight).min(100.0) * mean_ms,
    ]
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::id::WorkKind;
    use proptest::prelude::*;

    use super::*;
    use crate::predict::{
        features::FailureTrace,
        synthetic::{Noise, task, view},
    };

    fn sample(backlog_ms: f64, in_flight: u32, queued: u32) -> Sample {
        let peer = crate::peer::PeerView { queued, ..view(1) };
        let features = crate::TaskFeatures { in_flight, backlog_ms, ..task(1e6, 0.0) };
        Sample::new(&peer, WorkKind::Ai, &features, 0.0, FailureTrace::default())
    }

    #[test]
    fn what_others_wait_for_is_learned() {
        let (mut model, mut noise) = (WaitModel::default(), Noise::new(1));
        for _ in 0..200 {
            let (backlog_ms, others) = (100.0 * noise.uniform(), (4.0 * noise.uniform()) as u32);
            let sample = sample(backlog_ms, 1, 1 + others);
            // Others' tasks take three times as long as ours.
            let line_ms = sample.line_ms();
            let waited_ms = (backlog_ms - line_ms).max(0.0) + 150.0 * f64::from(others);
            model.learn(&sample, 50.0, waited_ms * (1.0 + 0.1 * noise.normal()));
        }
        let expected = model.expected_ms(&sample(65.0, 1, 3), 50.0);
        assert!((300.0..400.0).contains(&expected), "{expected}");
        assert!(model.expected_ms(&sample(0.0, 0, 0), 50.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn b05_whatever_comes_the_wait_is_finite(
            waits in prop::collection::vec((any::<f64>(), any::<u32>(), any::<u32>(), any::<f64>(), any::<f64>()), 0..30),
        ) {
            let mut model = WaitModel::default();
            for (backlog_ms, in_flight, queued, mean_ms, waited_ms) in waits {
                let sample = sample(backlog_ms, in_flight, queued);
                model.learn(&sample, mean_ms, waited_ms);
                let expected = model.expected_ms(&sample, mean_ms);
                prop_assert!(expected.is_finite() && expected >= 0.0);
            }
            prop_assert!(model.is_finite());
        }
    }
}
