//! The model that the scheduler decides by: times with intervals, and failures, learned from outcomes.
//!
//! Deterministic: the same outcomes in the same order, with fits installed at the same places, give the same
//! predictions, bit for bit. No clock, no randomness of the system.

mod peer;
mod persist;
mod refit;
mod report;

use std::collections::BTreeMap;

use p2c2r_protocol::id::{NodeId, WorkKind};

use self::{
    peer::{Everybody, PeerModel, PeerState, SharedFailureTrees},
    refit::Models,
};
pub use self::{
    refit::{Fitted, Refit},
    report::ModelReport,
};
use super::{
    LearnedSpeed, Outcome, Prediction, Predictor, TaskFeatures, failure,
    features::{SANE_MS, Sample},
    interval::LogInterval,
    time::{Readings, TimeEstimate, TimeTrees},
};
use crate::{
    history::{
        Store,
        record::{Ended, Record},
    },
    peer::PeerView,
};

/// Most peers that are known.
const MAX_PEERS: usize = 16_384;
/// Most outcomes that are kept, of all peers together: 100 bytes each.
const MAX_RECORDS: usize = 1_000_000;
/// Share of the peers that are forgotten at once when there are too many: those not heard of for longest.
const FORGET_SHARE: usize = 16;
/// A peer's trees are fitted for the first time after so many outcomes, and again after so many.
const FIRST_FITS: [u32; 2] = [60, 125];
const FIT_EVERY: u32 = 250;
/// After an abrupt change, trees are fitted again once this many outcomes have come since the last fit.
const FIT_AFTER_DRIFT: u32 = 50;
/// The same for the models over all peers.
const EVERYBODY_FIRST_FIT: u64 = 120;
const EVERYBODY_FIT_EVERY: u64 = 500;
/// Of more outcomes that are kept, after such a share of them: in a large swarm 500 pass within a frame. Never later than
/// after the second number.
const EVERYBODY_FIT_SHARE: u64 = 50;
const EVERYBODY_FIT_AT_LATEST: u64 = 5000;
/// Below so many outcomes a peer's time is predicted by the trees over all peers.
const OWN_TREES_FROM: u32 = 60;
/// A peer's state is written after so many outcomes.
const SAVE_PEER_EVERY: u32 = 32;
/// What is known of all peers is written after so many outcomes.
const SAVE_EVERYBODY_EVERY: u64 = 128;
/// How much wider than usual the residuals of a kind of work are that a peer has not done: 1 + this, under the root.
const NEWCOMER_WIDENING: f64 = 4.0;

/// Learns times, intervals and failures of every peer.
pub struct LearnedPredictor {
    store: Box<dyn Store>,
    unix_ms_at_zero: f64,
    peers: BTreeMap<NodeId, PeerModel>,
    everybody: Everybody,
    failure_trees: SharedFailureTrees,
    everybody_since_fit: u64,
    records: usize,
    dropped_fits: u64,
}

/// A prediction with what it was made from.
struct Reading {
    readings: Readings,
    trees_speak: bool,
    wait_share: f64,
    widening: f64,
    interval: LogInterval,
    prior: f64,
    rest: Option<f32>,
}

impl Reading {
    fn chosen(&self) -> TimeEstimate {
        self.readings.trees.filter(|_| self.trees_speak).unwrap_or(self.readings.structure)
    }
}

impl LearnedPredictor {
    /// Goes on with what the store remembers. `unix_ms_at_zero` is the wall clock at time 0, ms since 1970.
    pub fn new(store: Box<dyn Store>, unix_ms_at_zero: f64) -> Self {
        let loaded = persist::load(store.as_ref(), MAX_PEERS);
        let mut predictor = Self {
            store,
            unix_ms_at_zero,
            peers: loaded.peers,
            everybody: loaded.everybody,
            failure_trees: loaded.failure_trees,
            everybody_since_fit: 0,
            records: 0,
            dropped_fits: 0,
        };
        predictor.records = predictor.peers.values().map(PeerModel::records).sum();
        for (peer, record) in loaded.unlearned {
            predictor.learn(peer, &record);
        }
        predictor
    }

    /// Fits that came to nothing: too few outcomes, or smartcore panicked.
    pub fn dropped_fits(&self) -> u64 {
        self.dropped_fits
    }

    fn trees_of<'a>(&'a self, state: &'a PeerState) -> Option<&'a TimeTrees> {
        let own = state.trees.as_ref().filter(|_| state.sequence >= OWN_TREES_FROM);
        own.or(self.everybody.trees.as_ref())
    }

    fn read(&self, state: &PeerState, sample: &Sample, mrays_per_s: f32, as_offered: bool) -> Reading {
        let prior = self.everybody.prior(state, sample.kind, mrays_per_s);
        let trees = self.trees_of(state);
        let rest = trees.map(|fitted| fitted.trees.predict(&sample.time_row()));
        let readings = state.time.read(sample, prior, as_offered, trees.zip(rest));
        let outcomes = state.time.kind(sample.kind).map_or(0, |known| known.outcomes);
        let trees_speak = state.time.trees_speak(&self.everybody.time);
        let chosen = readings.trees.filter(|_| trees_speak).unwrap_or(readings.structure);
        let wait_share = chosen.wait_ms / chosen.total_ms();
        let widening = (1.0 + NEWCOMER_WIDENING / (outcomes as f64 + 1.0)).sqrt();
        let offered = as_offered.then_some(sample.at_unix_ms);
        Reading {
            readings,
            trees_speak,
            wait_share,
            widening,
            interval: state.intervals.interval(&self.everybody.intervals, widening, wait_share, offered),
            prior,
            rest,
        }
    }

    /// Learns from an outcome: a new one, or one that the store had and no state knew of.
    fn learn(&mut self, peer: NodeId, record: &Record) {
        let mut model = self.peers.remove(&peer).unwrap_or_else(|| PeerModel::new(self.everybody.newcomer()));
        let state = &mut model.state;
        let reading = self.read(state, &record.sample, state.mrays_per_s, true);
        let (total_ms, expected_ms) = (f64::from(record.total_ms), reading.chosen().total_ms());
        let expected = self.failure_trees.as_ref().map(|trees| trees.risk(&record.sample.failure_row()));
        state.count(record, total_ms / expected_ms, expected);
        if let Some(failed) = record.ended.failed() {
            self.everybody.failures.count(failed, 0.1, None);
        }
        if record.has_time() {
            self.learn_time(&mut model.state, record, &reading);
        } else if record.took_at_least() && total_ms > expected_ms {
            state.time.learn_at_least(&record.sample, total_ms, reading.prior, state.intervals.spreads());
        }
        let state = &mut model.state;
        state.sequence = record.sequence.wrapping_add(1);
        state.last_unix_ms = record.sample.at_unix_ms + total_ms;
        if state.time.ridge_is_due() {
            let mut time = std::mem::take(&mut model.state.time);
            time.fit_ridge(model.last_times(), &self.everybody.time.beta);
            self.everybody.time.follow_beta(&time);
            model.state.time = time;
        }
        model.since_fit += 1;
        model.since_save += 1;
        self.everybody.outcomes += 1;
        self.everybody_since_fit += 1;
        self.peers.insert(peer, model);
    }

    fn learn_time(&mut self, state: &mut PeerState, record: &Record, reading: &Reading) {
        let total_ms = f64::from(record.total_ms);
        let residual = (total_ms / reading.chosen().total_ms()).ln();
        let split = state.time.split(record);
        state.time.compare(&reading.readings, &split);
        if state.trees.is_none() {
            self.everybody.time.compare(&reading.readings, &split);
        }
        let spreads = state.intervals.spreads();
        let known_unix_ms = record.sample.at_unix_ms + total_ms;
        for intervals in [&mut state.intervals, &mut self.everybody.intervals] {
            intervals.learn(residual, reading.interval, reading.widening, reading.wait_share, known_unix_ms);
        }
        self.everybody.time.extra_ms.learn(split.overhead_ms - record.sample.line_ms(), 50.0);
        let own = state.trees.take();
        let trees = own.as_ref().filter(|_| state.sequence >= OWN_TREES_FROM);
        let trees = trees.or(self.everybody.trees.as_ref()).zip(reading.rest);
        let alarm = state.time.learn(record, &split, reading.prior, spreads, trees, reading.trees_speak);
        state.trees = own;
        state.drifts += u32::from(alarm);
        self.everybody.learn_prior(state, record.sample.kind);
    }

    fn record(&self, outcome: &Outcome) -> Record {
        let newcomer;
        let state = if let Some(model) = self.peers.get(&outcome.peer.peer) {
            &model.state
        } else {
            newcomer = self.everybody.newcomer();
            &newcomer
        };
        let sample = self.sample(&outcome.peer, outcome.kind, &outcome.features, state);
        let level = match state.time.kind(outcome.kind) {
            Some(known) => known.structure.value(),
            None => self.everybody.prior(state, outcome.kind, outcome.peer.mrays_per_s),
        };
        Record::new(state.sequence, sample, outcome, level)
    }

    fn sample(&self, peer: &PeerView, kind: WorkKind, task: &TaskFeatures, state: &PeerState) -> Sample {
        Sample::new(peer, kind, task, self.unix_ms_at_zero, state.trace)
    }

    /// Whether a peer's trees should be fitted now.
    fn fit_is_due(model: &PeerModel) -> bool {
        let (since, total) = (model.since_fit, model.state.sequence);
        let first = FIRST_FITS.iter().any(|at| total >= *at && total.saturating_sub(since) < *at);
        first || since >= FIT_EVERY || (model.drifted && since >= FIT_AFTER_DRIFT && total > FIRST_FITS[0])
    }

    /// Forgets the peers that were not heard of for longest when there are too many, or too many outcomes.
    fn make_room(&mut self) {
        if self.peers.len() <= MAX_PEERS && self.records <= MAX_RECORDS {
            return;
        }
        let mut heard: Vec<(f64, NodeId)> =
            self.peers.iter().map(|(peer, model)| (model.state.last_unix_ms, *peer)).collect();
        heard.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        heard.truncate((self.peers.len() / FORGET_SHARE).max(1));
        for (_, peer) in heard {
            if let Some(model) = self.peers.remove(&peer) {
                self.records -= model.records().min(self.records);
            }
            persist::forget(self.store.as_ref(), &peer);
        }
    }

    fn save(&mut self, peer: &NodeId) {
        if let Some(model) = self.peers.get_mut(peer).filter(|model| model.since_save >= SAVE_PEER_EVERY) {
            model.since_save = 0;
            persist::save_peer(self.store.as_ref(), peer, &model.state);
        }
        if self.everybody.outcomes.is_multiple_of(SAVE_EVERYBODY_EVERY) {
            persist::save_everybody(self.store.as_ref(), &self.everybody);
        }
    }

    fn install_peer(&mut self, peer: NodeId, trees: TimeTrees) {
        let Some(model) = self.peers.get_mut(&peer) else { return };
        restart_levels(model, &trees);
        model.state.trees = Some(trees);
        persist::save_peer(self.store.as_ref(), &peer, &model.state);
    }

    fn install_everybody(&mut self, trees: TimeTrees) {
        for model in self.peers.values_mut().filter(|model| model.state.trees.is_none()) {
            restart_levels(model, &trees);
        }
        self.everybody.trees = Some(trees);
    }
}

/// Starts the levels with new trees from what they leave of the last outcomes.
fn restart_levels(model: &mut PeerModel, trees: &TimeTrees) {
    /// Outcomes of each kind that the level is started from.
    const LAST: usize = 50;
    let spread = model.state.intervals.spread();
    for (kind, ring) in &model.rings {
        let mut last: Vec<&Record> = ring.newest().filter(|record| record.has_time()).take(LAST).collect();
        last.reverse();
        let residuals: Vec<f64> =
            last.iter().map(|record| model.state.time.residual(record, trees)).collect();
        model.state.time.restart_trees(*kind, residuals.into_iter(), spread);
    }
}

impl Predictor for LearnedPredictor {
    fn predict(&self, peer: &PeerView, kind: WorkKind, features: &TaskFeatures) -> Prediction {
        let newcomer;
        let state = if let Some(model) = self.peers.get(&peer.peer) {
            &model.state
        } else {
            newcomer = self.everybody.newcomer();
            &newcomer
        };
        let sample = self.sample(peer, kind, features, state);
        let reading = self.read(state, &sample, peer.mrays_per_s, false);
        let estimate = reading.chosen();
        let total_ms = estimate.total_ms();
        let p95_execution_ms =
            total_ms * reading.interval.p95.exp() - estimate.wait_ms - estimate.overhead_ms;
        Prediction {
            execution_ms: estimate.execution_ms,
            overhead_ms: estimate.overhead_ms,
            wait_ms: estimate.wait_ms,
            p95_factor: (p95_execution_ms / estimate.execution_ms.max(1e-9)).clamp(1.0, 1e6),
            low_factor: reading.interval.low.clamp(-20.0, 20.0).exp(),
            high_factor: reading.interval.high.clamp(-20.0, 20.0).exp(),
            p95_total_factor: reading.interval.p95.clamp(-20.0, 20.0).exp(),
            spread: reading.interval.spread,
            outcomes: state.time.kind(kind).map_or(0, |known| known.outcomes),
            failure_risk: failure::risk(self.failure_trees.as_ref(), &sample.failure_row(), &state.failures),
        }
    }

    fn observe(&mut self, outcome: &Outcome) {
        let record = self.record(outcome);
        let peer = outcome.peer.peer;
        if SANE_MS.contains(&f64::from(outcome.peer.mrays_per_s))
            && let Some(model) = self.peers.get_mut(&peer)
        {
            model.state.mrays_per_s = outcome.peer.mrays_per_s;
        }
        let known = self.peers.contains_key(&peer);
        if !known {
            let mut state = self.everybody.newcomer();
            state.mrays_per_s =
                if outcome.peer.mrays_per_s.is_finite() { outcome.peer.mrays_per_s } else { 0.0 };
            self.peers.insert(peer, PeerModel::new(state));
        }
        let drifts = self.peers.get(&peer).map_or(0, |model| model.state.drifts);
        self.learn(peer, &record);
        if let Some(model) = self.peers.get_mut(&peer) {
            model.drifted |= model.state.drifts > drifts;
            let ring = model.rings.entry(outcome.kind).or_default();
            let before = ring.count();
            ring.push(record, self.store.as_ref(), &peer, outcome.kind);
            self.records = self.records + ring.count() - before;
        }
        self.save(&peer);
        self.make_room();
    }

    fn speed(&self, peer: &NodeId, kind: WorkKind) -> Option<LearnedSpeed> {
        let state = &self.peers.get(peer)?.state;
        let known = state.time.kind(kind).filter(|known| known.outcomes > 0)?;
        Some(LearnedSpeed {
            cost_per_ms: (-known.structure.value()).exp(),
            outcomes: known.outcomes,
            failure_risk: state.failures.risk(),
        })
    }

    fn take_refit(&mut self) -> Option<Refit> {
        let first = self.everybody.trees.is_none() && self.failure_trees.is_none();
        let share = self.records as u64 / EVERYBODY_FIT_SHARE;
        let again = share.clamp(EVERYBODY_FIT_EVERY, EVERYBODY_FIT_AT_LATEST);
        let due = if first { EVERYBODY_FIRST_FIT } else { again };
        if self.everybody_since_fit >= due {
            self.everybody_since_fit = 0;
            self.everybody.fits += 1;
            if let Some(job) = Refit::of_everybody(self.peers.values(), self.everybody.fits) {
                return Some(job);
            }
        }
        let peer = self.peers.iter().find(|(_, model)| Self::fit_is_due(model)).map(|(peer, _)| *peer)?;
        let model = self.peers.get_mut(&peer)?;
        model.since_fit = 0;
        model.drifted = false;
        self.everybody.fits += 1;
        Refit::of_peer(peer, model, self.everybody.fits)
    }

    fn install(&mut self, fitted: Fitted) {
        match fitted.models {
            Models::Peer { peer, trees } if trees.is_whole() => self.install_peer(peer, trees),
            Models::Everybody { trees, failures } => {
                if let Some(trees) = trees.filter(TimeTrees::is_whole) {
                    self.install_everybody(trees);
                }
                if let Some(failures) = failures.filter(super::failure::FailureTrees::is_whole) {
                    persist::save_failure_trees(self.store.as_ref(), &failures);
                    self.failure_trees = Some(failures);
                }
                persist::save_everybody(self.store.as_ref(), &self.everybody);
            }
            Models::Peer { .. } | Models::Nothing => self.dropped_fits += 1,
        }
    }
}

impl Record {
    /// An outcome as it is kept.
    fn new(sequence: u32, sample: Sample, outcome: &Outcome, level: f64) -> Self {
        let (ended, queue_ms, execution_ms) = Ended::of(&outcome.result);
        let sane = |ms: f64| if ms.is_finite() { ms.clamp(0.0, 1e9) as f32 } else { 0.0 };
        // A time that is none teaches nothing: that is what 0 says.
        let execution_ms = if SANE_MS.contains(&execution_ms) { execution_ms as f32 } else { 0.0 };
        Self {
            sequence,
            sample,
            ended,
            total_ms: sane(outcome.total_ms),
            queue_ms: sane(queue_ms),
            execution_ms,
            level: level.clamp(-100.0, 100.0) as f32,
        }
    }
}

#[cfg(test)]
mod tests;
