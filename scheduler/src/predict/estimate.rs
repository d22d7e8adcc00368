//! A predicted time in its parts, and what it is made with.

use serde::{Deserialize, Serialize};

use super::{
    features::{LOAD_TERMS, TIME_FEATURES},
    trees::FlatTrees,
};

/// Trees on what the structure leaves, and the structure that they were fitted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimeTrees {
    /// Residual of log execution time.
    pub trees: FlatTrees,
    /// β when they were fitted; `None` for trees over all peers, which go with each peer's own.
    pub beta: Option<[f64; LOAD_TERMS]>,
    /// F0 when they were fitted, ms; `None` as above.
    pub extra_ms: Option<f64>,
}

/// A prediction in parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeEstimate {
    /// Until its turn, ms.
    pub wait_ms: f64,
    /// Everything that is neither waiting nor execution, ms.
    pub overhead_ms: f64,
    /// Execution, ms.
    pub execution_ms: f64,
}

impl TimeTrees {
    /// Whether they can be used: what a store gave back may be anything.
    pub fn is_whole(&self) -> bool {
        let numbers = self.beta.iter().flatten().chain(&self.extra_ms);
        self.trees.is_whole(TIME_FEATURES) && numbers.into_iter().all(|number| number.is_finite())
    }
}

impl TimeEstimate {
    /// From offer to result, ms.
    pub fn total_ms(&self) -> f64 {
        (self.wait_ms + self.overhead_ms + self.execution_ms).max(1e-3)
    }
}

/// Both readings of one task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Readings {
    /// The structure's.
    pub structure: TimeEstimate,
    /// With the trees, if there are any.
    pub trees: Option<TimeEstimate>,
}

/// A total time in parts, as far as the peer's word is to be believed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Split {
    /// Waiting, ms.
    pub wait_ms: f64,
    /// Execution, ms.
    pub execution_ms: f64,
    /// The rest, ms.
    pub overhead_ms: f64,
}
