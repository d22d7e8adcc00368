//! How well the cost of a frame is known before it is rendered: cut into sixteen tiles by the estimate, what the largest
//! really costs against what it should, while the camera moves by 16 pixels a frame.
//!
//! `cargo run --release -p p2c2r-tests --example cost_map`

use std::time::Instant;

use p2c2r_protocol::{
    id::WorkKind,
    tile::{Camera, FrameSize, Sampling},
};
use p2c2r_render::{
    backend::{FrameView, camera},
    cost::cost_map,
    kernel::{path::PathTracer, wave::Wave},
    limit::SceneLimits,
    prepared::PreparedScene,
    scene::{
        generate::{SceneKind, generate},
        gltf::parse_package,
    },
};
use p2c2r_scheduler::{
    split::{Share, Splitter, cost_map::CostMap, spatial::SpatialSplitter},
    work::FrameWork,
};
use rayon::prelude::*;

/// Edge of a cell of the true map, pixels.
const CELL_PX: u32 = 8;
/// Pixels by which the picture moves from frame to frame.
const MOTION_PX: f32 = 16.0;
/// Samples of each pixel that its true cost is counted over.
const TRUE_SAMPLES: u32 = 2;
/// Tiles.
const TILES: usize = 16;
/// Frames.
const FRAMES: u32 = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let size = FrameSize::new(1920, 1080)?;
    for kind in SceneKind::ALL {
        let scene = parse_package(&generate(kind, 1, None), &SceneLimits::default())?.scene;
        let first = scene.cameras.first().ok_or("no camera")?.clone();
        let scene = PreparedScene::build(scene);
        let sampling = Sampling { first_sample: 0, samples: 16, max_depth: 6, seed: 1, clamp: 0.0 };
        let (mut uniform, mut sampled, mut ms) = (0.0, 0.0, 0.0);
        for frame in 0..FRAMES {
            let view = FrameView { size, sampling, camera: turned(camera(&first, size), size, frame) };
            let truth = true_map(&scene, &view)?;
            uniform += excess(&CostMap::uniform(size, 1.0), &truth) / f64::from(FRAMES);
            let since = Instant::now();
            let cells = cost_map(&scene, &view, 16);
            ms += since.elapsed().as_secs_f64() * 1e3 / f64::from(FRAMES);
            sampled += excess(&CostMap::new(size, 16, &cells.cost)?, &truth) / f64::from(FRAMES);
        }
        println!("{kind:8}: uniform {uniform:.3}, sampled {sampled:.3} ({ms:.1} ms)");
    }
    Ok(())
}

/// The camera after so many frames of turning to the right.
fn turned(mut camera: Camera, size: FrameSize, frame: u32) -> Camera {
    let by = 2.0 * MOTION_PX * frame as f32 / size.width_px() as f32;
    let forward: [f32; 3] = std::array::from_fn(|axis| camera.forward[axis] + by * camera.right[axis]);
    let length = forward.iter().map(|axis| axis * axis).sum::<f32>().sqrt();
    camera.forward = forward.map(|axis| axis / length);
    camera
}

/// Rays of each cell, counted.
fn true_map(scene: &PreparedScene, view: &FrameView) -> Result<CostMap, Box<dyn std::error::Error>> {
    let tracer = PathTracer::new(scene, view.size, view.sampling, &view.camera);
    let (columns, rows) = (view.size.width_px().div_ceil(CELL_PX), view.size.height_px().div_ceil(CELL_PX));
    let row = |row: u32| {
        let mut wave = Wave::default();
        let tracer = &tracer;
        let cells = (0..columns).map(move |column| {
            let pixels = (row * CELL_PX..((row + 1) * CELL_PX).min(view.size.height_px())).flat_map(|y| {
                (column * CELL_PX..((column + 1) * CELL_PX).min(view.size.width_px())).map(move |x| (x, y))
            });
            let paths: Vec<(u32, u32, u32)> =
                pixels.flat_map(|(x, y)| (0..TRUE_SAMPLES).map(move |sample| (x, y, sample))).collect();
            wave.path_rays(tracer, &paths) as f32
        });
        cells.collect::<Vec<f32>>()
    };
    let cells: Vec<f32> = (0..rows).into_par_iter().flat_map_iter(row).collect();
    Ok(CostMap::new(view.size, CELL_PX, &cells)?)
}

/// The largest tile's true cost against its target, when the estimate cuts.
fn excess(estimate: &CostMap, truth: &CostMap) -> f64 {
    let work = FrameWork {
        kind: WorkKind::RayTracing,
        size: truth.size(),
        samples: 1,
        bytes_per_pixel: 12.0,
        max_tile_pixels: u64::MAX,
        deadline: None,
    };
    let cut = SpatialSplitter.split(&work, &[Share { weight: 1.0 }; TILES], estimate);
    let target = truth.total() / TILES as f64;
    cut.iter().map(|subtask| truth.cost(subtask.rect) / target).fold(0.0, f64::max)
}
