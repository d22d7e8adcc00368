//! How long will it take, and will it fail? Learned per (peer, kind of work).

pub mod drift;
pub mod ema;
pub mod estimate;
pub mod failure;
pub mod features;
pub mod interval;
pub mod kind;
pub mod learned;
pub mod level;
pub mod ridge;
#[cfg(test)]
pub mod synthetic;
pub mod time;
pub mod trees;
pub mod wait;

use p2c2r_protocol::id::{NodeId, WorkKind};
use serde::{Deserialize, Serialize};

pub use self::learned::{Fitted, Refit};
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
    /// Time until the last of these results is expected here, ms.
    pub backlog_ms: f64,
    /// When it is offered.
    pub at: TimeMs,
}

/// What is expected of one task. Its total time is waiting, overhead and execution together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Time to render, ms.
    pub execution_ms: f64,
    /// Time for everything else (request, result, waiting for a thread) once its turn has come, ms.
    pub overhead_ms: f64,
    /// Time until its turn comes: what experience makes of the backlog and of others' tasks there, ms.
    pub wait_ms: f64,
    /// Factor on `execution_ms` with which 95 % of the tasks take less than their total.
    pub p95_factor: f64,
    /// Factor on the total that 2.5 % of the tasks stay under.
    pub low_factor: f64,
    /// Factor on the total that 2.5 % of the tasks go beyond.
    pub high_factor: f64,
    /// Factor on the total that 95 % of the tasks stay under.
    pub p95_total_factor: f64,
    /// Standard deviation of the log of the total.
    pub spread: f64,
    /// Outcomes of the peer at this kind of work that it was learned from.
    pub outcomes: u64,
    /// Probability that it fails, 0 to 1.
    pub failure_risk: f64,
}

impl Prediction {
    /// From offer to result, ms.
    pub fn total_ms(&self) -> f64 {
        self.wait_ms + self.overhead_ms + self.execution_ms
    }

    /// As if the log of the total were normally distributed with this spread.
    pub fn with_spread(
        execution_ms: f64,
        overhead_ms: f64,
        wait_ms: f64,
        spread: f64,
        failure_risk: f64,
    ) -> Self {
        Self {
            execution_ms,
            overhead_ms,
            wait_ms,
            p95_factor: (P95_DEVIATIONS * spread).exp(),
            low_factor: (-P975_DEVIATIONS * spread).exp(),
            high_factor: (P975_DEVIATIONS * spread).exp(),
            p95_total_factor: (P95_DEVIATIONS * spread).exp(),
            spread,
            outcomes: 0,
            failure_risk,
        }
    }
}

/// The 95 % quantile of a normal distribution, in standard deviations.
const P95_DEVIATIONS: f64 = 1.645;
/// Its 97.5 % quantile.
const P975_DEVIATIONS: f64 = 1.96;

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
    /// Not there after all the patience there was, although the peer had told of progress: a failure, and it takes at least
    /// that long.
    GivenUp,
    /// The same, and nothing was heard of it (nodes tell of progress five times a second): a failure that says nothing of
    /// the peer's speed.
    Lost,
    /// Another copy was first, and this one was withdrawn. Without what became of it, every hedge would hide a failure.
    Cancelled {
        /// What the peer answered; its silence is [`CancelledFate::Failed`].
        fate: CancelledFate,
    },
}

/// Where a withdrawn task stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelledFate {
    /// Done; its result was not needed any more.
    Finished,
    /// Waiting or being worked on.
    Unfinished,
    /// Lost.
    Failed,
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
    /// Trees that are due to be fitted, if any: [`Refit::run`] takes tens of milliseconds and belongs on a worker thread,
    /// one at a time.
    fn take_refit(&mut self) -> Option<Refit> {
        None
    }
    /// Takes over what was fitted.
    fn install(&mut self, _fitted: Fitted) {}
}
