//! Ways to cut work into subtasks.

pub mod cost_map;
pub mod equal;
pub mod grid;
pub mod hybrid;
pub mod pipeline;
pub mod spatial;
pub mod temporal;

use p2c2r_protocol::tile::TileRect;

use self::cost_map::CostMap;
use crate::work::FrameWork;

/// A claim on a part of the work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Its size; only the ratio to the others counts. Finite, more than 0.
    pub weight: f64,
}

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Subtask {
    /// Which pixels.
    pub rect: TileRect,
    /// Estimated cost, in the cost map's unit.
    pub cost: f64,
    /// Index of the share that it is for.
    pub share: usize,
}

/// A way to cut a frame.
pub trait Splitter {
    /// Cuts the frame into subtasks that cover it exactly. A share may get none or several.
    fn split(&self, work: &FrameWork, shares: &[Share], cost: &CostMap) -> Vec<Subtask>;
}
