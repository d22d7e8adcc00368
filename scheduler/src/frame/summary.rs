//! What can be said of a frame, under way and afterwards.

use std::collections::BTreeMap;

use p2c2r_protocol::{id::NodeId, tile::TileRect};

use super::{Frame, state::TileState};

/// How far a frame is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameProgress {
    /// Tiles in all.
    pub tiles_total: usize,
    /// Tiles accepted.
    pub tiles_done: usize,
    /// Tiles out, copies included.
    pub in_flight: usize,
    /// Share of the estimated cost that is done, 0 to 1.
    pub cost_done_share: f64,
    /// Expected time to the end, ms.
    pub eta_ms: Option<f64>,
}

/// A tile of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TileSummary {
    /// Its index in the plan; parts that were cut off it later have indices of their own.
    pub index: usize,
    /// Of which frame, counted from 0; 0 where there is only one.
    pub frame: u32,
    /// Its pixels.
    pub rect: TileRect,
    /// Whose pixels were accepted.
    pub peer: Option<NodeId>,
    /// Predicted time, ms.
    pub predicted_ms: f64,
    /// From the winning offer to the result, ms.
    pub actual_ms: Option<f64>,
    /// Copies offered.
    pub attempts: u32,
}

/// A peer's part in a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeerSummary {
    /// Who.
    pub peer: NodeId,
    /// Tiles accepted.
    pub tiles: u32,
    /// Share of the frame's estimated cost, 0 to 1.
    pub cost_share: f64,
    /// Time that it rendered, as it says, ms.
    pub busy_ms: f64,
}

/// What became of a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameSummary {
    /// The tiles in the plan's order.
    pub tiles: Vec<TileSummary>,
    /// The peers.
    pub peers: Vec<PeerSummary>,
    /// Offers turned down.
    pub rejected: u32,
    /// Results not believed.
    pub invalid: u32,
    /// Second copies.
    pub hedges: u32,
    /// Attempts that ended without a result, copies included; not those that a busy peer turned down.
    pub failures: u32,
    /// Of these, those that left their tile with no copy under way.
    pub visible_failures: u32,
}

impl Frame {
    /// How far it is.
    pub fn progress(&self) -> FrameProgress {
        let share = if self.total_cost > 0.0 { self.done_cost / self.total_cost } else { 0.0 };
        let elapsed_ms = self.started.map(|started| self.now - started);
        FrameProgress {
            tiles_total: self.tiles.len(),
            tiles_done: self.tiles_done,
            in_flight: self.attempts.len(),
            cost_done_share: share,
            eta_ms: elapsed_ms.filter(|_| share > 0.0).map(|elapsed_ms| elapsed_ms * (1.0 - share) / share),
        }
    }

    /// What became of it so far.
    pub fn summary(&self) -> FrameSummary {
        self.summary_of(None)
    }

    /// What became so far of one frame of a sequence, or of all.
    pub fn summary_of(&self, frame: Option<u32>) -> FrameSummary {
        let mut total_cost = 0.0;
        let mut parts: BTreeMap<NodeId, (u32, f64)> =
            self.peers.keys().map(|peer| (*peer, (0, 0.0))).collect();
        let mut tiles = Vec::new();
        for (index, tile) in self.tiles.iter().enumerate() {
            if frame.is_some_and(|frame| tile.plan.frame != frame) {
                continue;
            }
            total_cost += tile.plan.cost;
            let (peer, actual_ms) = match tile.state {
                TileState::Open => (None, None),
                TileState::Done { peer, elapsed_ms } => (Some(peer), Some(elapsed_ms)),
            };
            if let Some(part) = peer.and_then(|peer| parts.get_mut(&peer)) {
                part.0 += 1;
                part.1 += tile.plan.cost;
            }
            tiles.push(TileSummary {
                index,
                frame: tile.plan.frame,
                rect: tile.plan.rect,
                peer,
                predicted_ms: tile.plan.predicted_ms,
                actual_ms,
                attempts: tile.attempts,
            });
        }
        let peers = parts
            .into_iter()
            .map(|(peer, (tiles, cost))| PeerSummary {
                peer,
                tiles,
                cost_share: cost / f64::max(total_cost, 1e-9),
                busy_ms: self.peers.get(&peer).map_or(0.0, |state| state.busy_ms),
            })
            .collect();
        FrameSummary {
            tiles,
            peers,
            rejected: self.rejected,
            invalid: self.invalid,
            hedges: self.hedges,
            failures: self.failures,
            visible_failures: self.visible_failures,
        }
    }
}
