//! What there is to do.

use p2c2r_protocol::{id::WorkKind, tile::FrameSize};
use serde::{Deserialize, Serialize};

use crate::time::TimeMs;

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FrameWork {
    /// The kind of work.
    pub kind: WorkKind,
    /// Its size.
    pub size: FrameSize,
    /// Samples per pixel.
    pub samples: u32,
    /// Bytes of a pixel on its way back; compression may leave less than one.
    pub bytes_per_pixel: f32,
    /// Most pixels of a tile: what every peer takes; at least 1.
    pub max_tile_pixels: u64,
    /// When it must be over.
    pub deadline: Option<TimeMs>,
}
