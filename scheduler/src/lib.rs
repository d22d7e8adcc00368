//! What a coordinator decides: split, predict, place, hedge, learn.
//!
//! Pure: no network, no async runtime, no clock, no randomness of the system. Time comes in as an argument, decisions
//! go out as values, and the same inputs give the same decisions. `node` carries them out with tokio and libp2p; a
//! simulator can carry out the very same in virtual time.

pub mod bound;
pub mod decision;
pub mod frame;
pub mod functional;
pub mod history;
pub mod naive;
pub mod peer;
pub mod pipeline;
pub mod place;
pub mod predict;
pub mod split;
pub mod time;
pub mod trust;
pub mod work;

use p2c2r_protocol::id::{NodeId, WorkKind};
use serde::{Deserialize, Serialize};

use self::{
    decision::said::{Overheard, Said},
    history::Store,
    predict::{Predictor, learned::LearnedPredictor},
    split::{Splitter, cost_map::CostMap, temporal::PerFrame},
    time::TimeMs,
    work::FrameWork,
};
pub use self::{
    peer::PeerView,
    place::{FramePlan, PlannedTile},
    predict::{CancelledFate, Fitted, LearnedSpeed, Outcome, OutcomeResult, Prediction, Refit, TaskFeatures},
};

/// How the scheduler plans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchedulerConfig {
    /// Tiles per peer that a frame is split into at least. Two or more keep the device busy while a result travels; more mean
    /// more attempts that can fail.
    pub tiles_per_peer: usize,
    /// Most peers that work on one frame: of more, the best are taken.
    pub max_peers: usize,
    /// Most tiles of a planned frame.
    pub max_tiles: usize,
    /// Frames in flight at most: more only queue up at the peers, and all of them are late. One alone is soonest done;
    /// a second and a third keep the peers busy across their round trips.
    pub max_frames_in_flight: usize,
    /// The wall clock at [`TimeMs`] 0, ms since 1970: models know hours of the day by it.
    pub unix_ms_at_zero: f64,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            tiles_per_peer: 2,
            max_peers: 256,
            max_tiles: 4096,
            max_frames_in_flight: 3,
            unix_ms_at_zero: 0.0,
        }
    }
}

/// Everything learned about peers, and the decisions that follow from it.
pub struct Scheduler {
    predictor: Box<dyn Predictor>,
    config: SchedulerConfig,
}

impl Scheduler {
    /// A scheduler that goes on with what the store remembers. What cannot be read is learned again.
    pub fn new(store: Box<dyn Store>, config: SchedulerConfig) -> Self {
        let predictor = LearnedPredictor::new(store, config.unix_ms_at_zero);
        Self::with_predictor(Box::new(predictor), config)
    }

    /// A scheduler that decides by another model: the simulator has one that knows the truth.
    pub fn with_predictor(predictor: Box<dyn Predictor>, config: SchedulerConfig) -> Self {
        Self { predictor, config }
    }

    /// From now on what the models say can be taken, for a log of the decisions.
    pub fn overhear(self) -> (Self, Said) {
        let (overheard, said) = Overheard::new(self.predictor);
        (Self { predictor: Box::new(overheard), config: self.config }, said)
    }

    /// How it plans.
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// Splits a frame into tiles and gives each a peer and backups.
    pub fn plan(
        &self,
        work: &FrameWork,
        peers: &[PeerView],
        cost: &CostMap,
        splitter: &dyn Splitter,
        now: TimeMs,
    ) -> FramePlan {
        place::plan(self.predictor.as_ref(), &self.config, work, peers, cost, splitter, now)
    }

    /// Deals the whole frames of a sequence out, in order; `costs` has the cost of each, rays, and each takes
    /// that besides.
    pub fn plan_sequence(
        &self,
        work: &FrameWork,
        peers: &[PeerView],
        costs: &[f64],
        each: PerFrame,
        now: TimeMs,
    ) -> FramePlan {
        place::plan_sequence(self.predictor.as_ref(), &self.config, work, peers, costs, each, now)
    }

    /// Predicts the time and risk of one task.
    pub fn predict(&self, peer: &PeerView, kind: WorkKind, features: &TaskFeatures) -> Prediction {
        self.predictor.predict(peer, kind, features)
    }

    /// Learns from what came of a task.
    pub fn observe(&mut self, outcome: &Outcome) {
        self.predictor.observe(outcome);
    }

    /// Trees that are due to be fitted, if any: [`Refit::run`] takes tens of milliseconds and belongs on a worker thread,
    /// one at a time.
    pub fn take_refit(&mut self) -> Option<Refit> {
        self.predictor.take_refit()
    }

    /// Takes over what was fitted.
    pub fn install(&mut self, fitted: Fitted) {
        self.predictor.install(fitted);
    }

    /// What is known of a peer's speed.
    pub fn speed(&self, peer: &NodeId, kind: WorkKind) -> Option<LearnedSpeed> {
        self.predictor.speed(peer, kind)
    }
}
