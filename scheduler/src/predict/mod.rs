//! How long will it take, and will it fail? Learned per (peer, kind of work).

pub mod ema;

use p2c2r_protocol::id::{NodeId, WorkKind};

use crate::peer::PeerView;

/// What a prediction is made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskFeatures {
    /// Estimated cost, rays.
    pub cost: f64,
    /// Bytes of the result.
    pub bytes: f64,
    /// Tasks of ours that the peer holds already.
    pub in_flight: u32,
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
    /// At whom.
    pub peer: NodeId,
    /// The kind of work.
    pub kind: WorkKind,
    /// Estimated cost, rays.
    pub cost: f64,
    /// Bytes of the result.
    pub bytes: f64,
    /// Tasks of ours that the peer held when this one was offered.
    pub in_flight: u32,
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
