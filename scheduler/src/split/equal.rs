//! Tiles of the same area, whatever they cost: how a coordinator cuts that knows nothing.

use p2c2r_protocol::tile::TileRect;

use crate::work::FrameWork;

/// Most tiles of a frame.
const MAX_TILES: usize = 256;

/// So many tiles of the same area, in rows.
pub fn equal_areas(work: &FrameWork, count: usize) -> Vec<TileRect> {
    let (width, height) = (work.size.width_px(), work.size.height_px());
    let count = count.clamp(1, MAX_TILES).min(work.size.pixels() as usize);
    let columns = ((count as f64).sqrt().ceil() as usize).min(width as usize).max(1);
    let edge = |at: usize, of: usize, length: u32| (u64::from(length) * at as u64 / of as u64) as u32;
    let mut tiles = Vec::with_capacity(count);
    let mut first = 0;
    while first < count {
        let in_row = columns.min(count - first);
        // A row with fewer tiles is less high.
        let (top, bottom) = (edge(first, count, height), edge(first + in_row, count, height));
        for column in 0..in_row {
            let (left, right) = (edge(column, in_row, width), edge(column + 1, in_row, width));
            tiles.push(TileRect { x: left, y: top, width: right - left, height: bottom - top });
        }
        first += in_row;
    }
    tiles.retain(|tile| tile.pixels() > 0);
    tiles
}
