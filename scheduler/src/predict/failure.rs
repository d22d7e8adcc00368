//! Will it fail? Boosted trees over all peers, and each peer's own rate.

use serde::{Deserialize, Serialize};

use super::{
    features::FAILURE_FEATURES,
    trees::{FlatTrees, LEAVES, TreeSettings},
};

/// Weight of the trees; the peer's own rate has the rest.
const TREES_SHARE: f64 = 0.7;
/// Failures and successes that a newcomer is taken to have had.
const PRIOR: [f64; 2] = [0.5, 9.5];
/// Weight that a peer's past keeps with each outcome.
const OWN_MEMORY: f64 = 0.985;
/// Failures, as many as expected, that are taken to have been before.
const RATIO_PRIOR: f64 = 1.0;
/// Trees of the model.
const TREES: usize = 30;
/// Share of each Newton step that is taken.
const RATE: f64 = 0.1;
/// Rows that each tree sees.
const SUBSAMPLE: f64 = 0.5;
/// Fewest rows of a leaf.
const MIN_LEAF: usize = 50;
/// Pull of a leaf's Newton step towards zero, in units of p (1 − p).
const LEAF_PULL: f64 = 3.0;
/// Largest step of the log odds in one leaf.
const MAX_LEAF_STEP: f64 = 4.0;
/// Fewest failures and fewest successes that a fit makes sense with.
const MIN_OF_EACH: usize = 10;
/// The risk is never believed to be outside.
const RISK_RANGE: (f64, f64) = (0.001, 0.99);

/// A share of failures in which the past counts less and less.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FailureRate {
    failures: f64,
    successes: f64,
    /// Failures that the trees expected of the same tasks.
    expected: f64,
}

impl Default for FailureRate {
    fn default() -> Self {
        Self { failures: PRIOR[0], successes: PRIOR[1], expected: PRIOR[0] }
    }
}

impl FailureRate {
    /// With these counts to begin with; the prior if they are none.
    pub fn from_counts(failures: f64, successes: f64) -> Self {
        let sane = failures.is_finite() && successes.is_finite() && failures >= 0.0 && successes >= 0.0;
        if sane && failures + successes > 0.0 {
            Self { failures, successes, expected: failures }
        } else {
            Self::default()
        }
    }

    /// Counts an outcome of which the trees, if there are any, expected a failure with this probability; `weight` is 1,
    /// or less where it is only partly known.
    pub fn count(&mut self, failed: bool, weight: f64, expected: Option<f64>) {
        let keep = 1.0 - (1.0 - OWN_MEMORY) * weight;
        self.expected = self.expected * keep + weight * expected.unwrap_or_else(|| self.risk());
        self.failures *= keep;
        self.successes *= keep;
        *(if failed { &mut self.failures } else { &mut self.successes }) += weight;
    }

    /// The share of failures, 0 to 1.
    pub fn risk(&self) -> f64 {
        self.failures / (self.failures + self.successes).max(f64::MIN_POSITIVE)
    }

    /// The share of failures among tasks of which the trees expect this share: their expectation, times how this peer's
    /// failures compare to what they expected of it. The bare share would say the same of an idle peer and of one at its
    /// limit.
    pub fn risk_of(&self, expected: f64) -> f64 {
        expected * (self.failures + RATIO_PRIOR) / (self.expected + RATIO_PRIOR)
    }

    /// Whether it is a rate: what a store gave back may be anything.
    pub fn is_whole(&self) -> bool {
        self.failures.is_finite()
            && self.successes.is_finite()
            && self.expected.is_finite()
            && self.failures + self.successes > 0.0
    }
}

/// Trees whose sum is the log odds of a failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureTrees(FlatTrees);

impl FailureTrees {
    /// Fits them to rows and whether each failed. `None` if there is too little of either.
    ///
    /// smartcore has no classifier that boosts: each step is one tree of its regressor on what is left, y − σ(F), and
    /// the leaves are then set to the Newton step of the log loss.
    pub fn fit(rows: &[[f32; FAILURE_FEATURES]], failed: &[bool], seed: u64) -> Option<Self> {
        let failures = failed.iter().filter(|failed| **failed).count();
        if failures < MIN_OF_EACH || rows.len() < failures + MIN_OF_EACH || rows.len() != failed.len() {
            return None;
        }
        let mean = failures as f64 / rows.len() as f64;
        let base = (mean / (1.0 - mean)).ln();
        let mut model = FlatTrees::constant(base as f32);
        let mut log_odds = vec![base; rows.len()];
        let mut rest = vec![0.0_f32; rows.len()];
        for step in 0..TREES {
            for ((rest, failed), log_odds) in rest.iter_mut().zip(failed).zip(&log_odds) {
                *rest = (f64::from(u8::from(*failed)) - logistic(*log_odds)) as f32;
            }
            let settings = TreeSettings {
                trees: 1,
                rate: 1.0,
                subsample: SUBSAMPLE,
                min_leaf: MIN_LEAF,
                shrinkage_rows: 1.0,
                seed: seed.wrapping_mul(1000).wrapping_add(step as u64),
            };
            let tree = FlatTrees::fit(rows, &rest, settings)?;
            let leaf_of: Vec<usize> = rows.iter().filter_map(|row| tree.leaf_indices(row).next()).collect();
            let steps = newton_steps(&leaf_of, &rest, &log_odds);
            for (log_odds, leaf) in log_odds.iter_mut().zip(&leaf_of) {
                *log_odds += steps[*leaf];
            }
            model.push(&tree, steps.map(|step| step as f32));
        }
        Some(Self(model))
    }

    /// The probability of a failure, 0 to 1.
    pub fn risk(&self, row: &[f32; FAILURE_FEATURES]) -> f64 {
        logistic(f64::from(self.0.predict(row)))
    }

    /// Whether it can be used: what a store gave back may be anything.
    pub fn is_whole(&self) -> bool {
        self.0.is_whole(FAILURE_FEATURES)
    }

    /// Memory that it takes, bytes.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// The probability that a task fails: the trees' and the peer's own rate, mixed.
pub fn risk(trees: Option<&FailureTrees>, row: &[f32; FAILURE_FEATURES], own: &FailureRate) -> f64 {
    let mixed = match trees {
        Some(trees) => {
            let expected = trees.risk(row);
            TREES_SHARE * expected + (1.0 - TREES_SHARE) * own.risk_of(expected)
        }
        None => own.risk(),
    };
    mixed.clamp(RISK_RANGE.0, RISK_RANGE.1)
}

fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Σ (y − p) / Σ p (1 − p) in each leaf, times the rate.
fn newton_steps(leaf_of: &[usize], rest: &[f32], log_odds: &[f64]) -> [f64; LEAVES] {
    let mut sums = [(0.0, 0.0); LEAVES];
    for ((leaf, rest), log_odds) in leaf_of.iter().zip(rest).zip(log_odds) {
        let p = logistic(*log_odds);
        let (gradient, curvature) = &mut sums[*leaf];
        *gradient += f64::from(*rest);
        *curvature += p * (1.0 - p);
    }
    sums.map(|(gradient, curvature)| {
        RATE * (gradient / (curvature + LEAF_PULL)).clamp(-MAX_LEAF_STEP, MAX_LEAF_STEP)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::synthetic::Noise;

    /// One peer in four is flaky, one outcome in four is above 95 % utilisation, heat and age matter a little.
    fn world(noise: &mut Noise) -> (usize, [f32; FAILURE_FEATURES], f64) {
        let peer = (noise.uniform() * 8.0) as usize;
        let utilisation =
            if noise.uniform() < 0.25 { 0.95 + 0.05 * noise.uniform() } else { 0.95 * noise.uniform() };
        let throttle = noise.uniform().powi(3);
        let flaky = if peer % 4 == 3 { 0.08 } else { 0.0 };
        let p =
            if utilisation > 0.95 { 0.2 } else { 0.02 } + flaky + 0.1 * f64::from(u8::from(throttle > 0.8));
        let mut row = [0.0; FAILURE_FEATURES];
        row[0] = utilisation as f32;
        row[1] = throttle as f32;
        row[2] = (60.0 + 10.0 * noise.normal()) as f32;
        row[4] = noise.uniform() as f32;
        row[6] = (noise.uniform() * 4.0).floor() as f32;
        (peer, row, p)
    }

    /// Mean distance between what was predicted and what happened, over ten equal classes of the prediction.
    fn calibration_error(predictions: &mut [(f64, f64)]) -> f64 {
        predictions.sort_by(|a, b| a.0.total_cmp(&b.0));
        let class = predictions.len() / 10;
        let errors = predictions.chunks(class).map(|class| {
            let (predicted, happened) = class.iter().fold((0.0, 0.0), |(a, b), (p, y)| (a + p, b + y));
            (predicted - happened).abs()
        });
        errors.sum::<f64>() / predictions.len() as f64
    }

    #[test]
    fn probabilities_are_calibrated_and_nearly_as_sharp_as_the_truth() {
        for seed in 1..=4 {
            let (brier, calibration) = judged(seed);
            println!("Brier score {brier:.4} of the true one's, calibration error {calibration:.4}");
            assert!(brier <= 1.03, "{brier}");
            assert!(calibration <= 0.03, "{calibration}");
        }
    }

    /// Brier score relative to that of the true probabilities, and expected calibration error.
    fn judged(seed: u64) -> (f64, f64) {
        let mut noise = Noise::new(seed);
        let mut own = [FailureRate::default(); 8];
        // What a peer's moving average of failures says, as the trees see it.
        let mut averages = [0.05; 8];
        let (mut rows, mut failed) = (Vec::new(), Vec::new());
        let mut trees = None;
        let (mut ours, mut truth, mut predictions) = (0.0, 0.0, Vec::new());
        for step in 0..12_000 {
            let (peer, mut row, p) = world(&mut noise);
            row[3] = averages[peer] as f32;
            let predicted = risk(trees.as_ref(), &row, &own[peer]);
            let expected = trees.as_ref().map(|trees| trees.risk(&row));
            let fails = noise.uniform() < p;
            let y = f64::from(u8::from(fails));
            if step >= 2_000 {
                ours += (predicted - y).powi(2);
                truth += (p - y).powi(2);
                predictions.push((predicted, y));
            }
            own[peer].count(fails, 1.0, expected);
            averages[peer] += 0.03 * (y - averages[peer]);
            rows.push(row);
            failed.push(fails);
            if step % 2_000 == 1_999 {
                let from = rows.len().saturating_sub(4_000);
                trees = FailureTrees::fit(&rows[from..], &failed[from..], 1);
            }
        }
        (ours / truth, calibration_error(&mut predictions))
    }

    #[test]
    fn too_little_gives_no_model() {
        assert_eq!(FailureTrees::fit(&[], &[], 1), None);
        assert_eq!(FailureTrees::fit(&[[0.0; FAILURE_FEATURES]; 100], &[true; 100], 1), None);
        assert_eq!(FailureTrees::fit(&[[0.0; FAILURE_FEATURES]; 100], &[false; 100], 1), None);
    }
}
