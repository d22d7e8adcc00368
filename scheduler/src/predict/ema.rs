//! Speed by exponential moving average: the mean of log(time / cost), so that a task twice as fast and one twice as
//! slow weigh the same.

use std::collections::BTreeMap;

use p2c2r_protocol::id::{NodeId, WorkKind};
use serde::{Deserialize, Serialize};

use super::{CancelledFate, LearnedSpeed, Outcome, OutcomeResult, Prediction, Predictor, TaskFeatures};
use crate::{history::Store, peer::PeerView};

/// Weight of the newest outcome once there are several.
const WEIGHT: f64 = 0.15;
/// Largest step of log time that one outcome may claim once there are several: one freak does not spoil the mean.
const MAX_STEP: f64 = 1.5;
/// Outcomes before [`MAX_STEP`] holds.
const SETTLED_OUTCOMES: u64 = 3;
/// Speed assumed of a peer that says nothing, million rays per second.
const DEFAULT_MRAYS_PER_S: f64 = 1.0;
/// Spread of log time before anything is known.
const PRIOR_SPREAD: f64 = 0.5;
/// Spread is never believed to be less.
const MIN_SPREAD: f64 = 0.1;
/// Failures and successes that a newcomer is taken to have had.
const PRIOR_FAILURES: f64 = 0.5;
const PRIOR_SUCCESSES: f64 = 9.5;
/// Weight that the past keeps with each outcome of the failure rate.
const FAILURE_MEMORY: f64 = 0.97;
/// Times and costs outside this range are no measurements.
const SANE: std::ops::RangeInclusive<f64> = 1e-6..=1e9;
/// Form of the stored record.
const RECORD_VERSION: u8 = 1;
/// Keys of the stored records begin so.
const KEY_PREFIX: &[u8] = b"ema/1/";
/// Most peers kept in memory and store.
const MAX_PEERS: usize = 16_384;

/// What is remembered of one (peer, kind).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Record {
    version: u8,
    outcomes: u64,
    /// Mean of ln(execution ms / cost).
    log_rate: f64,
    /// Mean absolute deviation from it, as a standard deviation.
    spread: f64,
    /// Mean of everything that is not execution or queue, ms.
    overhead_ms: f64,
    failures: f64,
    successes: f64,
}

/// Moving averages of every (peer, kind).
pub struct EmaPredictor {
    store: Box<dyn Store>,
    records: BTreeMap<(NodeId, WorkKind), Record>,
}

impl EmaPredictor {
    /// Goes on with what the store remembers.
    pub fn new(store: Box<dyn Store>) -> Self {
        let stored = store.scan(KEY_PREFIX).unwrap_or_default();
        let records = stored.iter().filter_map(|(key, value)| read(key, value)).take(MAX_PEERS).collect();
        Self { store, records }
    }

    fn record(&self, peer: &NodeId, kind: WorkKind) -> Option<&Record> {
        self.records.get(&(*peer, kind))
    }
}

/// An entry that this version wrote; anything else is learned again.
fn read(key: &[u8], value: &[u8]) -> Option<((NodeId, WorkKind), Record)> {
    let (public_key, kind) = key.strip_prefix(KEY_PREFIX)?.split_first_chunk::<32>()?;
    let kind = WorkKind::ALL.into_iter().find(|known| known.name().as_bytes() == kind)?;
    let record: Record = ciborium::from_reader(value).ok()?;
    let sane = [record.log_rate, record.spread, record.overhead_ms, record.failures, record.successes];
    let whole = record.version == RECORD_VERSION && sane.iter().all(|number| number.is_finite());
    whole.then_some(((NodeId::from_public_key(*public_key), kind), record))
}

/// What the store knows of a (peer, kind) from this model: a prior for another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredPrior {
    /// Mean of ln(execution ms / cost).
    pub log_rate: f64,
    /// Outcomes that it is the mean of.
    pub outcomes: u64,
    /// Failures, the older ones counting less.
    pub failures: f64,
    /// Successes, the older ones counting less.
    pub successes: f64,
}

/// All that this model has in a store, in the order of its keys.
pub fn stored_priors(store: &dyn Store) -> Vec<(NodeId, WorkKind, StoredPrior)> {
    let stored = store.scan(KEY_PREFIX).unwrap_or_default();
    let records = stored.iter().filter_map(|(key, value)| read(key, value));
    records
        .filter(|(_, record)| record.outcomes > 0)
        .map(|((peer, kind), record)| {
            let Record { log_rate, outcomes, failures, successes, .. } = record;
            (peer, kind, StoredPrior { log_rate, outcomes, failures, successes })
        })
        .collect()
}

fn key(peer: &NodeId, kind: WorkKind) -> Vec<u8> {
    [KEY_PREFIX, peer.public_key(), kind.name().as_bytes()].concat()
}

impl Record {
    fn new() -> Self {
        Self {
            version: RECORD_VERSION,
            outcomes: 0,
            log_rate: 0.0,
            spread: PRIOR_SPREAD,
            overhead_ms: 0.0,
            failures: PRIOR_FAILURES,
            successes: PRIOR_SUCCESSES,
        }
    }

    fn failure_risk(&self) -> f64 {
        self.failures / (self.failures + self.successes)
    }

    fn count(&mut self, failed: bool) {
        self.failures = self.failures * FAILURE_MEMORY + f64::from(u8::from(failed));
        self.successes = self.successes * FAILURE_MEMORY + f64::from(u8::from(!failed));
    }

    fn learn_time(&mut self, cost: f64, execution_ms: f64, overhead_ms: f64) {
        let measured = (execution_ms / cost).ln();
        // The first outcomes weigh by their number: the mean of all so far.
        let weight = WEIGHT.max(1.0 / (self.outcomes as f64 + 1.0));
        if self.outcomes == 0 {
            self.log_rate = measured;
            self.overhead_ms = overhead_ms;
        } else {
            let step = measured - self.log_rate;
            let step = if self.outcomes >= SETTLED_OUTCOMES { step.clamp(-MAX_STEP, MAX_STEP) } else { step };
            self.log_rate += weight * step;
            // Of a normal distribution, the mean absolute deviation is 0.798 standard deviations.
            self.spread += weight * (step.abs() / 0.798 - self.spread);
            self.overhead_ms +=
                weight * (overhead_ms.min(10.0 * self.overhead_ms + 100.0) - self.overhead_ms);
        }
        self.outcomes += 1;
    }
}

impl Predictor for EmaPredictor {
    fn predict(&self, peer: &PeerView, kind: WorkKind, features: &TaskFeatures) -> Prediction {
        let cost = if features.cost.is_finite() { features.cost.clamp(0.0, 1e18) } else { 0.0 };
        let round_trip_ms = f64::from(peer.round_trip_ms.clamp(0.0, 1e6));
        let known = self.record(&peer.peer, kind);
        let announced = f64::from(peer.mrays_per_s);
        let mrays_per_s = if SANE.contains(&announced) { announced } else { DEFAULT_MRAYS_PER_S };
        let log_rate = known
            .filter(|record| record.outcomes > 0)
            .map_or_else(|| -(mrays_per_s * 1e3).ln(), |record| record.log_rate);
        let spread = known.map_or(PRIOR_SPREAD, |record| record.spread).clamp(MIN_SPREAD, 2.0);
        let overhead_ms = known.map_or(round_trip_ms, |record| record.overhead_ms.max(round_trip_ms));
        let wait_ms = if features.backlog_ms.is_finite() { features.backlog_ms.max(0.0) } else { 0.0 };
        let failure_risk =
            known.map_or(PRIOR_FAILURES / (PRIOR_FAILURES + PRIOR_SUCCESSES), Record::failure_risk);
        Prediction {
            outcomes: known.map_or(0, |record| record.outcomes),
            ..Prediction::with_spread(cost * log_rate.exp(), overhead_ms, wait_ms, spread, failure_risk)
        }
    }

    fn observe(&mut self, outcome: &Outcome) {
        let entry = (outcome.peer.peer, outcome.kind);
        if !self.records.contains_key(&entry) && self.records.len() >= MAX_PEERS {
            return;
        }
        let record = self.records.entry(entry).or_insert_with(Record::new);
        match outcome.result {
            OutcomeResult::Failed
            | OutcomeResult::Lost
            | OutcomeResult::Cancelled { fate: CancelledFate::Failed } => {
                record.count(true);
            }
            OutcomeResult::Cancelled { fate: CancelledFate::Finished } => record.count(false),
            OutcomeResult::Cancelled { fate: CancelledFate::Unfinished } => {}
            OutcomeResult::GivenUp => {
                record.count(true);
                let overhead_ms = record.overhead_ms;
                let slower = (outcome.total_ms / outcome.features.cost).ln() > record.log_rate;
                let sane = SANE.contains(&outcome.total_ms)
                    && outcome.features.cost.is_finite()
                    && outcome.features.cost > 0.0;
                if sane && (record.outcomes == 0 || slower) {
                    record.learn_time(outcome.features.cost, outcome.total_ms, overhead_ms);
                }
            }
            OutcomeResult::Success { queue_ms, execution_ms } => {
                record.count(false);
                let sane = SANE.contains(&execution_ms)
                    && outcome.features.cost.is_finite()
                    && outcome.features.cost > 0.0;
                if sane && outcome.total_ms.is_finite() && queue_ms.is_finite() {
                    let overhead_ms = (outcome.total_ms - queue_ms.max(0.0) - execution_ms).clamp(0.0, 1e6);
                    record.learn_time(outcome.features.cost, execution_ms, overhead_ms);
                }
            }
        }
        let mut value = Vec::with_capacity(160);
        if ciborium::into_writer(record, &mut value).is_ok() {
            // A store that fails costs what was learned since, never a frame; it says so itself.
            let _ = self.store.put(&key(&outcome.peer.peer, outcome.kind), &value);
        }
    }

    fn speed(&self, peer: &NodeId, kind: WorkKind) -> Option<LearnedSpeed> {
        let record = self.record(peer, kind).filter(|record| record.outcomes > 0)?;
        Some(LearnedSpeed {
            cost_per_ms: (-record.log_rate).exp(),
            outcomes: record.outcomes,
            failure_risk: record.failure_risk(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{history::MemoryStore, time::TimeMs};

    const KIND: WorkKind = WorkKind::RayTracing;

    fn view(index: u8, mrays_per_s: f32) -> PeerView {
        PeerView {
            mrays_per_s,
            round_trip_ms: 1.0,
            credit: 8,
            ready: true,
            ..PeerView::unknown(NodeId::from_public_key([index; 32]))
        }
    }

    fn features(cost: f64) -> TaskFeatures {
        TaskFeatures { cost, pixels: 1000.0, bytes: 1000.0, in_flight: 0, backlog_ms: 0.0, at: TimeMs(0.0) }
    }

    fn success(peer: u8, cost: f64, execution_ms: f64) -> Outcome {
        Outcome {
            peer: view(peer, 0.0),
            kind: KIND,
            features: TaskFeatures { in_flight: 1, ..features(cost) },
            total_ms: execution_ms + 5.0,
            result: OutcomeResult::Success { queue_ms: 2.0, execution_ms },
        }
    }

    #[test]
    fn newcomer_is_taken_at_its_word_until_measured() {
        let mut model = EmaPredictor::new(Box::new(MemoryStore::default()));
        let peer = view(1, 10.0);
        assert!((model.predict(&peer, KIND, &features(1e6)).execution_ms - 100.0).abs() < 1e-6);
        model.observe(&success(1, 1e6, 400.0));
        assert!((model.predict(&peer, KIND, &features(1e6)).execution_ms - 400.0).abs() < 1e-6);
    }

    #[test]
    fn a_change_of_speed_is_learned_within_ten_outcomes() {
        let mut model = EmaPredictor::new(Box::new(MemoryStore::default()));
        for _ in 0..50 {
            model.observe(&success(1, 1e6, 100.0));
        }
        for _ in 0..10 {
            model.observe(&success(1, 1e6, 50.0));
        }
        let predicted = model.predict(&view(1, 0.0), KIND, &features(1e6)).execution_ms;
        assert!((50.0..62.0).contains(&predicted), "{predicted}");
    }

    #[test]
    fn b36_absurd_outcomes_do_not_spoil_the_model() {
        let mut model = EmaPredictor::new(Box::new(MemoryStore::default()));
        for _ in 0..10 {
            model.observe(&success(1, 1e6, 100.0));
        }
        for execution_ms in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e30] {
            model.observe(&success(1, 1e6, execution_ms));
        }
        for cost in [f64::NAN, 0.0, -5.0] {
            model.observe(&success(1, cost, 100.0));
        }
        let settled = model.predict(&view(1, 0.0), KIND, &features(1e6)).execution_ms;
        assert!((settled - 100.0).abs() < 1.0, "{settled}");
        model.observe(&success(1, 1e6, 1e8));
        let shaken = model.predict(&view(1, f32::NAN), KIND, &features(f64::NAN)).execution_ms;
        assert!(shaken.is_finite());
        assert!(model.predict(&view(1, 0.0), KIND, &features(1e6)).execution_ms < 130.0);
    }

    #[test]
    fn failures_raise_the_risk_and_successes_lower_it() {
        let mut model = EmaPredictor::new(Box::new(MemoryStore::default()));
        let risk = |model: &EmaPredictor| model.predict(&view(1, 1.0), KIND, &features(1.0)).failure_risk;
        let before = risk(&model);
        model.observe(&Outcome { result: OutcomeResult::Failed, ..success(1, 1e6, 1.0) });
        let after = risk(&model);
        assert!(after > before);
        for _ in 0..30 {
            model.observe(&success(1, 1e6, 100.0));
        }
        assert!(risk(&model) < before);
    }

    #[test]
    fn what_was_learned_survives_a_restart_and_damage_costs_only_its_record() {
        let store = Arc::new(MemoryStore::default());
        let mut model = EmaPredictor::new(Box::new(Arc::clone(&store)));
        model.observe(&success(1, 1e6, 123.0));
        model.observe(&success(2, 1e6, 456.0));
        store.put(&key(&view(2, 0.0).peer, KIND), b"damaged").unwrap();
        store.put(b"ema/1/short", b"damaged").unwrap();
        let again = EmaPredictor::new(Box::new(store));
        assert_eq!(again.speed(&view(1, 0.0).peer, KIND), model.speed(&view(1, 0.0).peer, KIND));
        assert_eq!(again.speed(&view(2, 0.0).peer, KIND), None);
    }
}
