//! Squares of one size, dealt out in turn: for measurements, not for frames.

use p2c2r_protocol::tile::TileRect;

use super::{Share, Splitter, Subtask, cost_map::CostMap};
use crate::work::FrameWork;

/// A regular grid.
#[derive(Debug, Clone, Copy)]
pub struct GridSplitter {
    /// Edge of a square, pixels; those at the right and lower border may be smaller.
    pub edge_px: u32,
}

impl Splitter for GridSplitter {
    fn split(&self, work: &FrameWork, shares: &[Share], cost: &CostMap) -> Vec<Subtask> {
        let edge = self.edge_px.max(1);
        let (width, height) = (work.size.width_px(), work.size.height_px());
        let corners = (0..height).step_by(edge as usize).flat_map(|y| {
            (0..width).step_by(edge as usize).map(move |x| TileRect {
                x,
                y,
                width: edge.min(width - x),
                height: edge.min(height - y),
            })
        });
        corners
            .enumerate()
            .map(|(index, rect)| Subtask { rect, cost: cost.cost(rect), share: index % shares.len().max(1) })
            .collect()
    }
}
