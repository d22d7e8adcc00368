//! How long will it take? Structure first, learning on top:
//!
//! t = backlog + round trip + bytes / bandwidth + F0 + cost · exp(μ + β · x + g(x) + b)
//!
//! μ, F0 and the backlog's share are moving averages of this peer, β a ridge fit of its last outcomes, g trees on what
//! these leave, b the moving average of what the trees leave. Two readings compete: the structure alone, and with the
//! trees; each has a level of its own (μ, and μ + b), so that both are right on average at any time.

use p2c2r_protocol::id::WorkKind;
use serde::{Deserialize, Serialize};

pub use super::{
    estimate::{Readings, Split, TimeEstimate, TimeTrees},
    kind::KindTime,
};
use super::{
    features::{LOAD_TERMS, Sample},
    interval::Spreads,
    level::Level,
    ridge::{dot, ridge},
    wait::WaitModel,
};
use crate::history::record::Record;

/// Outcomes that the prior of a level counts for.
const PRIOR_WEIGHT: f64 = 2.0;
/// A residual of log time counts as so many spreads at most.
const CLIP_SPREADS: f64 = 3.0;
/// And this, so that a quiet peer's clip is not nothing.
const CLIP_LEAST: f64 = 0.15;
/// Before so many outcomes nothing can be told from a change.
const MIN_OUTCOMES_OF_DRIFT: u64 = 8;
/// Largest residual of log time that the readings are compared by.
const MAX_COMPARED: f64 = 1.5;
/// Weight of the newest outcome in the readings' rolling errors.
const ERROR_WEIGHT: f64 = 0.02;
/// Outcomes of both readings before the trees may speak.
const MIN_COMPARED: u32 = 30;
/// The trees speak while their rolling error is at most this share of the structure's.
const TREES_MUST_REACH: f64 = 0.97;
/// Rows that β is fitted to.
pub const RIDGE_ROWS: usize = 250;
/// How strongly each coefficient is pulled to what all peers have, in rows.
const RIDGE_PULL: [f64; LOAD_TERMS] = [0.1, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0];
/// β is fitted again after so many outcomes.
const RIDGE_EVERY: u32 = 16;
/// How much a newcomer's β follows each fit of a known peer.
const BETA_FOLLOWS: f64 = 0.05;
/// Largest magnitude of a coefficient.
const MAX_COEFFICIENT: f64 = 3.0;
/// Largest execution time that is predicted, ms.
const MAX_EXECUTION_MS: f64 = 1e12;

/// What is known of a peer's times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerTime {
    /// The kinds of work that it has done.
    pub kinds: Vec<KindTime>,
    /// β.
    pub beta: [f64; LOAD_TERMS],
    /// F0, ms.
    pub extra_ms: Level,
    /// Mean execution time, ms: what a task of others in its queue is taken for.
    mean_execution_ms: Level,
    wait: WaitModel,
    /// Rolling errors of log time: structure, with trees.
    errors: [f64; 2],
    compared: u32,
    since_ridge: u32,
}

impl Default for PeerTime {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            beta: [0.0; LOAD_TERMS],
            extra_ms: Level::new(0.0, 1.0),
            mean_execution_ms: Level::new(0.0, 0.0),
            wait: WaitModel::default(),
            errors: [0.0; 2],
            compared: 0,
            since_ridge: 0,
        }
    }
}

impl PeerTime {
    /// What is known of a kind.
    pub fn kind(&self, kind: WorkKind) -> Option<&KindTime> {
        self.kinds.iter().find(|known| known.kind == kind)
    }

    /// What is known of a kind, from a prior on if it is the first time.
    pub fn kind_from(&mut self, kind: WorkKind, prior: f64) -> &mut KindTime {
        self.kind_with(kind, Level::new(prior, PRIOR_WEIGHT))
    }

    /// As [`Self::kind_from`], with a level that is known otherwise.
    pub fn kind_with(&mut self, kind: WorkKind, level: Level) -> &mut KindTime {
        let place = self.kinds.iter().position(|known| known.kind == kind).unwrap_or_else(|| {
            self.kinds.push(KindTime::new(kind, level));
            self.kinds.len() - 1
        });
        &mut self.kinds[place]
    }

    /// Whether the trees have shown that they are better here. Without outcomes of its own, what all peers came to
    /// counts.
    pub fn trees_speak(&self, everybody: &Self) -> bool {
        let judge = if self.compared >= MIN_COMPARED { self } else { everybody };
        judge.compared >= MIN_COMPARED && judge.errors[1] <= TREES_MUST_REACH * judge.errors[0]
    }

    /// Rolling errors of log time: the structure's, and with trees; and how many outcomes they are of.
    pub fn rolling_errors(&self) -> ([f64; 2], u32) {
        (self.errors, self.compared)
    }

    fn expected_wait_ms(&self, sample: &Sample) -> f64 {
        self.wait.expected_ms(sample, self.mean_execution_ms.value())
    }

    /// Predicts a task from the levels as they are now, or as they were at its offer.
    pub fn read(
        &self,
        sample: &Sample,
        prior: f64,
        as_offered: bool,
        trees: Option<(&TimeTrees, f32)>,
    ) -> Readings {
        let levels = match self.kind(sample.kind) {
            Some(kind) if as_offered => kind.levels_at(sample.at_unix_ms),
            Some(kind) => (kind.structure.value(), kind.trees.value()),
            None => (prior, prior),
        };
        let terms = sample.load_terms();
        let wait_ms = self.expected_wait_ms(sample);
        let estimate = |beta: &[f64; LOAD_TERMS], extra_ms: f64, log_rate: f64| TimeEstimate {
            wait_ms,
            overhead_ms: (sample.line_ms() + extra_ms).max(0.0),
            execution_ms: (f64::from(sample.cost) * (log_rate + load(beta, &terms)).clamp(-80.0, 40.0).exp())
                .min(MAX_EXECUTION_MS),
        };
        let extra_ms = self.extra_ms.value();
        Readings {
            structure: estimate(&self.beta, extra_ms, levels.0),
            trees: trees.map(|(fitted, rest)| {
                let beta = fitted.beta.as_ref().unwrap_or(&self.beta);
                estimate(beta, fitted.extra_ms.unwrap_or(extra_ms), levels.1 + f64::from(rest))
            }),
        }
    }

    /// A total in parts. The peer's words are believed only as far as the total, the line and the backlog allow.
    pub fn split(&self, record: &Record) -> Split {
        let sample = &record.sample;
        let total_ms = f64::from(record.total_ms);
        let most_wait = (3.0 * self.expected_wait_ms(sample) + (0.4 * total_ms).max(50.0)).min(total_ms);
        let wait_ms = f64::from(record.queue_ms).clamp(0.0, most_wait);
        let rest_ms = total_ms - wait_ms;
        // Where the bandwidth is unknown, it is taken to be 1 MB/s at least.
        let transfer_ms = if sample.bytes_per_ms > 0.0 { 0.0 } else { f64::from(sample.bytes) / 1e3 };
        let most_overhead =
            2.0 * sample.line_ms() + 4.0 * f64::from(sample.jitter_ms) + transfer_ms + 20.0 + 0.1 * total_ms;
        let least_execution = (rest_ms - most_overhead).max(0.02 * rest_ms);
        let execution_ms = f64::from(record.execution_ms).clamp(least_execution.min(rest_ms), rest_ms);
        Split { wait_ms, execution_ms, overhead_ms: rest_ms - execution_ms }
    }

    /// Compares the readings by how long a task truly took once its turn had come: the wait is the same in both.
    pub fn compare(&mut self, readings: &Readings, split: &Split) {
        let turn_ms = (split.overhead_ms + split.execution_ms).max(1e-3);
        let Some(trees) = &readings.trees else { return };
        let first = 1.0 / (f64::from(self.compared) + 1.0);
        for (error, estimate) in self.errors.iter_mut().zip([&readings.structure, trees]) {
            let expected_ms = (estimate.overhead_ms + estimate.execution_ms).max(1e-3);
            let residual = (turn_ms / expected_ms).ln().abs().min(MAX_COMPARED);
            *error += ERROR_WEIGHT.max(first) * (residual - *error);
        }
        self.compared = self.compared.saturating_add(1);
    }

    /// Learns a time. True: the peer's speed has moved abruptly.
    pub fn learn(
        &mut self,
        record: &Record,
        split: &Split,
        prior: f64,
        spreads: Spreads,
        trees: Option<(&TimeTrees, f32)>,
        trees_speak: bool,
    ) -> bool {
        let sample = &record.sample;
        self.wait.learn(sample, self.mean_execution_ms.value(), split.wait_ms);
        let unexplained = split.overhead_ms - sample.line_ms();
        self.extra_ms.learn(unexplained, 20.0 + sample.line_ms());
        self.mean_execution_ms.learn(split.execution_ms, 2.0 * self.mean_execution_ms.value() + 1.0);
        if !sample.has_cost() || split.execution_ms <= 0.0 {
            return false;
        }
        let terms = sample.load_terms();
        let cost = f64::from(sample.cost);
        let measured = (split.execution_ms / cost).ln() - load(&self.beta, &terms);
        let with_trees = trees.map(|(fitted, rest)| {
            let execution_ms = self.execution_by_total(record, split, fitted);
            let beta = fitted.beta.as_ref().unwrap_or(&self.beta);
            (execution_ms / cost).ln() - load(beta, &terms) - f64::from(rest)
        });
        let clip = CLIP_SPREADS * spreads.now + CLIP_LEAST;
        let known = self.kind_from(sample.kind, prior);
        let before = known.levels_at(sample.at_unix_ms);
        let surprise = match with_trees {
            Some(with_trees) if trees_speak => with_trees - before.1,
            _ => measured - before.0,
        };
        let moved_to = known.drift.push(measured, surprise / spreads.steady.max(0.02));
        let alarm = known.restart(moved_to.filter(|_| known.outcomes >= MIN_OUTCOMES_OF_DRIFT));
        known.structure.learn(measured, clip);
        known.trees.learn(with_trees.unwrap_or(measured), clip);
        known.outcomes += 1;
        known.remember(sample.at_unix_ms + f64::from(record.total_ms));
        self.since_ridge += 1;
        alarm
    }

    /// It took at least so long: learned only if that is longer than expected.
    pub fn learn_at_least(&mut self, sample: &Sample, total_ms: f64, prior: f64, spreads: Spreads) {
        let expected = self.read(sample, prior, false, None).structure;
        let least_ms = total_ms - expected.wait_ms - expected.overhead_ms;
        if !sample.has_cost() || least_ms <= expected.execution_ms {
            return;
        }
        let measured = (least_ms / f64::from(sample.cost)).ln() - load(&self.beta, &sample.load_terms());
        let clip = CLIP_SPREADS * spreads.now + CLIP_LEAST;
        let known = self.kind_from(sample.kind, prior);
        let moved_to =
            known.drift.push(measured, (measured - known.structure.value()) / spreads.steady.max(0.02));
        known.restart(moved_to);
        known.structure.learn(measured, clip);
        known.trees.learn(measured, clip);
    }

    /// Execution as the total tells it: what is left of it after waiting, line and the trees' F0.
    pub fn execution_by_total(&self, record: &Record, split: &Split, fitted: &TimeTrees) -> f64 {
        let rest_ms = (f64::from(record.total_ms) - split.wait_ms).max(1e-3);
        let extra_ms = fitted.extra_ms.unwrap_or_else(|| self.extra_ms.value());
        (rest_ms - (record.sample.line_ms() + extra_ms).max(0.0)).max(0.1 * rest_ms)
    }

    /// What trees leave of a record's log execution time over cost: the level that goes with them.
    pub fn residual(&self, record: &Record, fitted: &TimeTrees) -> f64 {
        let execution_ms = self.execution_by_total(record, &self.split(record), fitted);
        let beta = fitted.beta.as_ref().unwrap_or(&self.beta);
        let sample = &record.sample;
        let measured = (execution_ms / f64::from(sample.cost)).ln() - load(beta, &sample.load_terms());
        measured - f64::from(fitted.trees.predict(&sample.time_row()))
    }

    /// Moves what newcomers start from towards what a known peer came to.
    pub fn follow_beta(&mut self, known: &Self) {
        for (mean, beta) in self.beta.iter_mut().zip(&known.beta) {
            *mean += BETA_FOLLOWS * (beta - *mean);
        }
    }

    /// Memory that is taken beside the struct itself, bytes.
    pub fn bytes(&self) -> usize {
        let moments: usize = self.kinds.iter().map(KindTime::bytes).sum();
        self.kinds.capacity() * size_of::<KindTime>() + moments
    }

    /// Whether β should be fitted again.
    pub fn ridge_is_due(&self) -> bool {
        self.since_ridge >= RIDGE_EVERY
    }

    /// Fits β to the last outcomes, and moves the levels so that predictions stay right on average.
    pub fn fit_ridge<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Record>,
        everybody: &[f64; LOAD_TERMS],
    ) {
        self.since_ridge = 0;
        let mut rows: Vec<(WorkKind, [f64; LOAD_TERMS], f64)> = records
            .map(|record| {
                let measured = (self.split(record).execution_ms / f64::from(record.sample.cost)).ln();
                (record.sample.kind, record.sample.load_terms(), measured)
            })
            .collect();
        for kind in &self.kinds {
            let of_kind = rows.iter().filter(|row| row.0 == kind.kind);
            let (sum, count) = of_kind.fold((0.0, 0.0), |(sum, count), row| (sum + row.2, count + 1.0));
            let mean = sum / f64::max(count, 1.0);
            for row in rows.iter_mut().filter(|row| row.0 == kind.kind) {
                row.2 = (row.2 - mean).clamp(-2.0, 2.0);
            }
        }
        let rows: Vec<([f64; LOAD_TERMS], f64)> =
            rows.into_iter().map(|(_, terms, target)| (terms, target)).collect();
        if rows.is_empty() {
            return;
        }
        let mut mean = [0.0; LOAD_TERMS];
        for (terms, _) in &rows {
            for (sum, term) in mean.iter_mut().zip(terms) {
                *sum += term / rows.len() as f64;
            }
        }
        let beta = ridge(rows, RIDGE_PULL, *everybody).map(|b| b.clamp(-MAX_COEFFICIENT, MAX_COEFFICIENT));
        let moved = load(&self.beta, &mean) - load(&beta, &mean);
        for kind in &mut self.kinds {
            kind.structure.shift(moved);
            // Trees over all peers go with this β; a peer's own have their own, and their level follows by itself.
        }
        self.beta = beta;
    }

    /// Starts the level with the trees again, from what the last outcomes leave.
    pub fn restart_trees(&mut self, kind: WorkKind, residuals: impl Iterator<Item = f64>, spread: f64) {
        let Some(known) = self.kinds.iter_mut().find(|known| known.kind == kind) else { return };
        let mut level: Option<Level> = None;
        for residual in residuals {
            level
                .get_or_insert_with(|| Level::new(residual, 0.0))
                .learn(residual, CLIP_SPREADS * spread + CLIP_LEAST);
        }
        if let Some(level) = level {
            known.restart_trees(level);
        }
    }

    /// Whether every number is one: what a store gave back may be anything.
    pub fn is_whole(&self) -> bool {
        let levels =
            self.kinds.iter().flat_map(|kind| [&kind.structure, &kind.trees]).chain([&self.extra_ms]);
        let numbers = self.beta.iter().chain(&self.errors);
        self.kinds.len() <= WorkKind::ALL.len()
            && levels.chain([&self.mean_execution_ms]).all(Level::is_finite)
            && self.kinds.iter().all(|kind| kind.drift.is_finite())
            && self.wait.is_finite()
            && numbers.into_iter().all(|number| number.is_finite())
    }
}

/// β · x without the constant: the level has that.
pub fn load(beta: &[f64; LOAD_TERMS], terms: &[f64; LOAD_TERMS]) -> f64 {
    (dot(beta, terms) - beta[0] * terms[0]).clamp(-10.0, 10.0)
}
