//! How long will it take, and will it fail? Learned per (peer, kind of work).

pub mod ema;

use p2c2r_protocol::id::{NodeId, WorkKind};

use crate::{peer::PeerView, time::TimeMs};

/// What a prediction is made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskFeatures {
    /// Estimated cost, rays.
    pub cost: f64,
    /// Pixels of the tile; 0 for other kinds of work.
    pub pixels: f64,
    /// Bytes of the result.
    pub bytes: f64,
    /// Tasks of ours that the peer holds already.
    pub in_flight: u32,
    /// When it is offered.
    pub at: TimeMs,
}

/// What is expected of one task, once its turn has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Time to render, ms.
    pub execution_ms: f64,
    /// Time for everything else (request, result, waiting for a thread), ms.
    pub overhead_ms: f64,
    /// Factor on `execution_ms` that 95 % of the tasks stay under.
    pub p95_factor: f64,
    /// Probability that it fails, 0 to 1.
    pub failure_risk: f64,
}

/// What came of a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// At whom, as it was seen when the task was offered.
    pub peer: PeerView,
    /// The kind of work.
    pub kind: WorkKind,
    /// What was known of the task when it was offered.
    pub features: TaskFeatures,
    /// From offer to verified result or failure, ms.
    pub total_ms: f64,
    /// How it ended.
    pub result: OutcomeResult,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OutcomeResult {
    /// Verified.
    Success {
        /// Waiting at the peer, as it says, ms.
        queue_ms: f64,
        /// Rendering, as it says, ms.
        execution_ms: f64,
    },
    /// Lost, refused with a fault, or not believed.
    Failed,
    /// Not there after all the patience there was: a failure, and it takes at least that long.
    GivenUp,
}

/// What is known of a peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearnedSpeed {
    /// Rays per ms.
    pub cost_per_ms: f64,
    /// Outcomes that it was learned from.
    pub outcomes: u64,
    /// Share of its tasks that fail, 0 to 1.
    pub failure_risk: f64,
}

/// A model of the peers.
pub trait Predictor: Send {
    /// Predicts one task.
    fn predict(&self, peer: &PeerView, kind: WorkKind, features: &TaskFeatures) -> Prediction;
    /// Learns from one outcome.
    fn observe(&mut self, outcome: &Outcome);
    /// What is known of a peer.
    fn speed(&self, peer: &NodeId, kind: WorkKind) -> Option<LearnedSpeed>;
}
