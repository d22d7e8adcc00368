//! What is known of one peer, and what is known of all together.

use std::collections::BTreeMap;

use p2c2r_protocol::id::WorkKind;
use serde::{Deserialize, Serialize};

use crate::{
    history::{record::Record, ring::Ring},
    predict::{
        failure::{FailureRate, FailureTrees},
        features::{FailureTrace, SANE_COST},
        interval::Intervals,
        level::Level,
        time::{PeerTime, RIDGE_ROWS, TimeTrees},
    },
};

/// Speed assumed of a peer that says nothing while nobody is known, million rays per second.
const DEFAULT_MRAYS_PER_S: f64 = 1.0;
/// Failures and successes that the rate of all peers counts for with a newcomer.
const FAILURE_PRIOR_OUTCOMES: f64 = 10.0;
/// Weight of a peer's level in what announced speeds are worth.
const PRIOR_WEIGHT: f64 = 0.02;
/// Largest step of it.
const PRIOR_CLIP: f64 = 1.0;
/// Outcomes of another kind that count at most for what a peer is at a new one.
const OTHER_KIND_CAP: f64 = 20.0;
/// And what is held against them.
const OTHER_KIND_DOUBT: f64 = 10.0;
/// Outcomes before a peer's level says anything about others.
const KNOWN_OUTCOMES: u64 = 5;
/// Weight of an outcome in the moving average of failures.
const TRACE_WEIGHT: f64 = 0.03;

/// One peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerState {
    /// Its outcomes so far, over all kinds.
    pub sequence: u32,
    /// Its times.
    pub time: PeerTime,
    /// How far its times are from their predictions.
    pub intervals: Intervals,
    /// Its failures.
    pub failures: FailureRate,
    /// Its last failures.
    pub trace: FailureTrace,
    /// Its own trees.
    pub trees: Option<TimeTrees>,
    /// Abrupt changes of speed that were found.
    pub drifts: u32,
    /// When it was last heard of, ms since 1970.
    pub last_unix_ms: f64,
    /// Speed that it announced last, million rays per second.
    pub mrays_per_s: f32,
}

/// One peer with its history.
#[derive(Debug, Clone)]
pub struct PeerModel {
    /// What is kept in the store as a whole.
    pub state: PeerState,
    /// Its outcomes, per kind.
    pub rings: BTreeMap<WorkKind, Ring>,
    /// Outcomes since its trees were last fitted.
    pub since_fit: u32,
    /// Whether its speed moved since.
    pub drifted: bool,
    /// Outcomes since its state was last written.
    pub since_save: u32,
}

/// What announced speeds are worth at a kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct KindPrior {
    /// Log of execution time over cost against what was announced.
    offset: f64,
    /// Log of execution time over cost; of anybody.
    level: f64,
    outcomes: u64,
}

/// All peers together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Everybody {
    /// Outcomes so far.
    pub outcomes: u64,
    /// Fits so far: the next one's seed.
    pub fits: u64,
    /// Rolling errors of both readings where the trees over all peers spoke, β and F0 of a newcomer.
    pub time: PeerTime,
    /// Residuals of all.
    pub intervals: Intervals,
    /// Failures of all.
    pub failures: FailureRate,
    /// What announced speeds are worth, per kind.
    pub priors: BTreeMap<WorkKind, KindPrior>,
    /// Trees over all peers for their times.
    pub trees: Option<TimeTrees>,
}

/// The failure model of all peers; stored on its own, so that no value is large.
pub type SharedFailureTrees = Option<FailureTrees>;

impl Everybody {
    /// A peer of which nothing is known.
    pub fn newcomer(&self) -> PeerState {
        let risk = self.failures.risk();
        let mut time = PeerTime::default();
        time.beta = self.time.beta;
        time.extra_ms = Level::new(self.time.extra_ms.value(), 1.0);
        PeerState {
            sequence: 0,
            time,
            intervals: Intervals::default(),
            failures: FailureRate::from_counts(
                FAILURE_PRIOR_OUTCOMES * risk,
                FAILURE_PRIOR_OUTCOMES * (1.0 - risk),
            ),
            trace: FailureTrace { ema: risk, last_unix_ms: 0.0 },
            trees: None,
            drifts: 0,
            last_unix_ms: 0.0,
            mrays_per_s: 0.0,
        }
    }

    /// Log of execution time over cost that is expected of a peer at a kind of work which it has not done yet: what it
    /// announces, corrected by what such words have been worth, and by what it turned out to be at other kinds.
    pub fn prior(&self, state: &PeerState, kind: WorkKind, mrays_per_s: f32) -> f64 {
        let (mut sum, mut weights) = (0.0, OTHER_KIND_DOUBT);
        for other in state.time.kinds.iter().filter(|other| other.kind != kind && other.outcomes > 0) {
            let weight = (other.outcomes as f64).min(OTHER_KIND_CAP);
            sum += weight * (other.structure.value() - self.announced(other.kind, mrays_per_s));
            weights += weight;
        }
        self.announced(kind, mrays_per_s) + sum / weights
    }

    fn announced(&self, kind: WorkKind, mrays_per_s: f32) -> f64 {
        let known = self.priors.get(&kind).filter(|prior| prior.outcomes > 0);
        match announced_log_rate(mrays_per_s) {
            Some(log_rate) => log_rate + known.map_or(0.0, |prior| prior.offset),
            None => known.map_or(-(DEFAULT_MRAYS_PER_S * 1e3).ln(), |prior| prior.level),
        }
    }

    /// Learns from a peer's level what announced speeds are worth.
    pub fn learn_prior(&mut self, state: &PeerState, kind: WorkKind) {
        let Some(known) = state.time.kind(kind).filter(|known| known.outcomes >= KNOWN_OUTCOMES) else {
            return;
        };
        let level = known.structure.value();
        let prior = self.priors.entry(kind).or_default();
        let first = 1.0 / (prior.outcomes as f64 + 1.0);
        let weight = PRIOR_WEIGHT.max(first);
        let clip = if prior.outcomes == 0 { f64::INFINITY } else { PRIOR_CLIP };
        prior.level += weight * (level - prior.level).clamp(-clip, clip);
        if let Some(announced) = announced_log_rate(state.mrays_per_s) {
            prior.offset += weight * (level - announced - prior.offset).clamp(-PRIOR_CLIP, PRIOR_CLIP);
        }
        prior.outcomes += 1;
    }

    /// Whether it can be used: what a store gave back may be anything.
    pub fn is_whole(&self) -> bool {
        let priors = self.priors.values().all(|prior| prior.offset.is_finite() && prior.level.is_finite());
        priors
            && self.time.is_whole()
            && self.intervals.is_whole()
            && self.failures.is_whole()
            && self.trees.as_ref().is_none_or(TimeTrees::is_whole)
    }
}

fn announced_log_rate(mrays_per_s: f32) -> Option<f64> {
    let announced = f64::from(mrays_per_s);
    SANE_COST.contains(&announced).then(|| -(announced * 1e3).ln())
}

impl PeerState {
    /// Counts how a task ended. One that was cancelled unfinished counts as a success by the share of its time that it
    /// had lived through.
    /// `expected`: the probability of a failure that the trees gave it.
    pub fn count(&mut self, record: &Record, lived: f64, expected: Option<f64>) {
        match record.ended.failed() {
            Some(failed) => {
                self.failures.count(failed, 1.0, expected);
                self.trace.ema += TRACE_WEIGHT * (f64::from(u8::from(failed)) - self.trace.ema);
                if failed {
                    self.trace.last_unix_ms = record.sample.at_unix_ms + f64::from(record.total_ms);
                }
            }
            None => self.failures.count(false, lived.clamp(0.0, 1.0), expected),
        }
    }

    /// Whether it can be used: what a store gave back may be anything.
    pub fn is_whole(&self) -> bool {
        self.time.is_whole()
            && self.intervals.is_whole()
            && self.failures.is_whole()
            && self.trace.ema.is_finite()
            && self.trace.last_unix_ms.is_finite()
            && self.last_unix_ms.is_finite()
            && self.trees.as_ref().is_none_or(TimeTrees::is_whole)
    }
}

impl PeerModel {
    /// With a state, and without outcomes.
    pub fn new(state: PeerState) -> Self {
        Self { state, rings: BTreeMap::new(), since_fit: 0, drifted: false, since_save: 0 }
    }

    /// Outcomes that are kept of it.
    pub fn records(&self) -> usize {
        self.rings.values().map(Ring::count).sum()
    }

    /// Its last outcomes that times are learned from, over all kinds.
    pub fn last_times(&self) -> impl Iterator<Item = &Record> {
        let from = self.state.sequence.saturating_sub(RIDGE_ROWS as u32);
        self.rings
            .values()
            .flat_map(move |ring| ring.newest().take_while(move |record| record.sequence >= from))
            .filter(|record| record.has_time())
    }
}
