//! Where the work lies: a few paths per cell say how many rays its pixels will take.

use rayon::prelude::*;

use crate::{
    backend::FrameView,
    kernel::{path::PathTracer, wave::Wave},
    prepared::PreparedScene,
};

/// Paths per cell.
const PATHS_PER_CELL: u32 = 4;
/// The sample numbers of these paths: far from those of any picture.
const FIRST_SAMPLE: u32 = 0xffff_0000;

/// Estimated cost of a frame's cells.
#[derive(Debug, Clone, PartialEq)]
pub struct CostCells {
    /// Edge of a cell, pixels; those at the right and lower border may be smaller.
    pub cell_px: u32,
    /// Rays that one sample of all the cell's pixels will take, rows from the top. All finite and more than 0.
    pub cost: Vec<f32>,
}

/// Estimates the cost of a frame in cells. Takes a few milliseconds.
pub fn cost_map(scene: &PreparedScene, view: &FrameView, cell_px: u32) -> CostCells {
    let cell_px = cell_px.max(1);
    let (width, height) = (view.size.width_px(), view.size.height_px());
    let tracer = PathTracer::new(scene, view.size, view.sampling, &view.camera);
    let (columns, rows) = (width.div_ceil(cell_px), height.div_ceil(cell_px));
    let row = |row: u32| {
        let mut wave = Wave::default();
        let (tracer, top) = (&tracer, row * cell_px);
        let tall = cell_px.min(height - top);
        let cells = (0..columns).map(move |column| {
            let left = column * cell_px;
            let wide = cell_px.min(width - left);
            // One path in each quarter of the cell.
            let paths: [(u32, u32, u32); PATHS_PER_CELL as usize] = std::array::from_fn(|path| {
                let path = path as u32;
                let x = left + (wide * (1 + 2 * (path & 1)) / 4).min(wide - 1);
                let y = top + (tall * (1 + 2 * (path >> 1)) / 4).min(tall - 1);
                (x, y, FIRST_SAMPLE + path)
            });
            let rays = wave.path_rays(tracer, &paths);
            rays as f32 / PATHS_PER_CELL as f32 * (wide * tall) as f32
        });
        cells.collect::<Vec<f32>>()
    };
    CostCells { cell_px, cost: (0..rows).into_par_iter().flat_map_iter(row).collect() }
}
