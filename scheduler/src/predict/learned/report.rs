//! What the model says of itself.

use p2c2r_protocol::id::NodeId;

use super::{LearnedPredictor, peer::PeerModel};
use crate::history::record::Record;

/// What the model says of itself about a peer: for reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelReport {
    /// Outcomes of the peer, over all kinds of work.
    pub outcomes: u64,
    /// Mean absolute error of log time, rolling: of the structure alone.
    pub structure_error: f64,
    /// The same with trees on top.
    pub trees_error: f64,
    /// Outcomes that the two errors are of.
    pub compared: u32,
    /// Whether predictions are made with the trees.
    pub trees_speak: bool,
    /// Whether they are the peer's own, as against those over all peers.
    pub own_trees: bool,
    /// Abrupt changes of speed that were found.
    pub drifts: u32,
    /// Memory that is taken, bytes: the peer's models.
    pub model_bytes: usize,
    /// And its outcomes.
    pub history_bytes: usize,
}

impl LearnedPredictor {
    /// What the model says of itself about a peer.
    pub fn report(&self, peer: &NodeId) -> Option<ModelReport> {
        let model = self.peers.get(peer)?;
        let ([structure_error, trees_error], compared) = model.state.time.rolling_errors();
        let trees = model.state.trees.as_ref().map_or(0, |fitted| fitted.trees.bytes());
        Some(ModelReport {
            outcomes: u64::from(model.state.sequence),
            structure_error,
            trees_error,
            compared,
            trees_speak: self.trees_of(&model.state).is_some()
                && model.state.time.trees_speak(&self.everybody.time),
            own_trees: model.state.trees.is_some(),
            drifts: model.state.drifts,
            model_bytes: size_of::<PeerModel>()
                + trees
                + model.state.time.bytes()
                + model.state.intervals.bytes(),
            history_bytes: model.records() * size_of::<Record>(),
        })
    }
}
