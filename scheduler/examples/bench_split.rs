//! How well frames are cut: the largest tile against its target, and the time that cutting takes, over twenty cost maps.
//!
//! `cargo run --release -p p2c2r-scheduler --example bench_split`

use std::time::Instant;

use p2c2r_protocol::{id::WorkKind, tile::FrameSize};
use p2c2r_scheduler::{
    split::{Share, Splitter, cost_map::CostMap, spatial::SpatialSplitter},
    work::FrameWork,
};

/// Tiles, and what the largest may be of its target.
const AIMS: [(usize, f64); 4] = [(4, 1.02), (16, 1.04), (64, 1.10), (256, 1.22)];
/// Edge of a cell of the maps, pixels.
const CELL_PX: u32 = 8;
/// Pixels by which the camera moves from frame to frame.
const MOTION_PX: f64 = 16.0;
/// Times that a cut is timed.
const REPEATS: u32 = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let size = FrameSize::new(1920, 1080)?;
    let work = FrameWork {
        kind: WorkKind::RayTracing,
        size,
        samples: 1,
        bytes_per_pixel: 12.0,
        max_tile_pixels: u64::MAX,
        deadline: None,
    };
    let maps: Vec<(&str, CostMap, CostMap)> = patterns()
        .into_iter()
        .map(|(name, cost)| {
            Ok((name, drawn(size, 0.0, cost.as_ref())?, drawn(size, MOTION_PX, cost.as_ref())?))
        })
        .collect::<Result<_, Box<dyn std::error::Error>>>()?;
    for (tiles, aim) in AIMS {
        let shares = vec![Share { weight: 1.0 }; tiles];
        let (mut still, mut moved, mut best_us, mut worst) = (0.0, 0.0, f64::MAX, ("", 0.0));
        let mut mean_us = 0.0;
        for (name, map, next) in &maps {
            let cut = SpatialSplitter.split(&work, &shares, map);
            let excess = |cost: &CostMap| {
                let target = cost.total() / tiles as f64;
                cut.iter().map(|subtask| cost.cost(subtask.rect) / target).fold(0.0, f64::max)
            };
            still += excess(map) / maps.len() as f64;
            moved += excess(next) / maps.len() as f64;
            if excess(map) > worst.1 {
                worst = (name, excess(map));
            }
            let fastest_us = (0..REPEATS)
                .map(|_| {
                    let since = Instant::now();
                    std::hint::black_box(SpatialSplitter.split(&work, &shares, map));
                    since.elapsed().as_secs_f64() * 1e6
                })
                .fold(f64::MAX, f64::min);
            mean_us += fastest_us / maps.len() as f64;
            best_us = fastest_us.min(best_us);
        }
        println!(
            "{tiles:4} tiles: largest/target {still:.3} (aim {aim}), worst {:.3} ({}); {mean_us:.0} us; the next frame, moved by {MOTION_PX} px: {moved:.3}",
            worst.1, worst.0
        );
    }
    Ok(())
}

type Cost = Box<dyn Fn(f64, f64) -> f64>;

/// A map of a pattern over the unit square, seen from so many pixels further right.
fn drawn(
    size: FrameSize,
    shift_px: f64,
    cost: &dyn Fn(f64, f64) -> f64,
) -> Result<CostMap, Box<dyn std::error::Error>> {
    let (columns, rows) = (size.width_px().div_ceil(CELL_PX), size.height_px().div_ceil(CELL_PX));
    let cells: Vec<f32> = (0..rows)
        .flat_map(|row| (0..columns).map(move |column| (column, row)))
        .map(|(column, row)| {
            let x = (f64::from(column * CELL_PX) + shift_px) / f64::from(size.width_px());
            cost(x, f64::from(row * CELL_PX) / f64::from(size.height_px())) as f32
        })
        .collect();
    Ok(CostMap::new(size, CELL_PX, &cells)?)
}

/// Skies, hot spots, cities, gradients: what frames look like to whoever pays for them.
fn patterns() -> Vec<(&'static str, Cost)> {
    let mut patterns: Vec<(&'static str, Cost)> = vec![
        ("uniform", Box::new(|_, _| 1.0)),
        ("gradient", Box::new(|x, y| 0.1 + x + 0.5 * y)),
        ("sky", Box::new(|_, y| if y < 0.45 { 0.02 } else { 1.0 })),
        ("horizon", Box::new(|_, y| 0.05 + (-((y - 0.5) / 0.05).powi(2)).exp())),
        ("hall", Box::new(|x, y| 0.2 + 2.0 * (x - 0.5).abs() * (y - 0.5).abs() * 4.0)),
        ("stripes", Box::new(|x, _| if (x * 40.0).fract() < 0.5 { 0.1 } else { 1.0 })),
        (
            "checks",
            Box::new(
                |x, y| if ((x * 30.0) as u32 + (y * 17.0) as u32).is_multiple_of(2) { 0.1 } else { 1.0 },
            ),
        ),
        ("corner", Box::new(|x, y| 0.01 + (-8.0 * (x + y)).exp())),
    ];
    for index in 0..6_u32 {
        let (cx, cy) = (noise(index, 1), noise(index, 2));
        let radius = 0.04 + 0.1 * noise(index, 3);
        patterns.push((
            "hotspot",
            Box::new(move |x, y| {
                0.05 + (-((x - cx).powi(2) + (y - cy).powi(2)) / (2.0 * radius * radius)).exp()
            }),
        ));
    }
    for index in 0..6_u32 {
        patterns.push((
            "city",
            Box::new(move |x, y| {
                let building = (x * 24.0) as u32;
                if y < 0.25 + 0.5 * noise(index * 100 + building, 4) {
                    return 0.02;
                }
                let lit = (y * 60.0).fract() < 0.4 && (x * 96.0).fract() < 0.5;
                0.2 + 0.6 * noise(index * 100 + building, 5) + if lit { 0.4 } else { 0.0 }
            }),
        ));
    }
    patterns
}

/// A number from 0 to 1 that looks like chance.
fn noise(index: u32, purpose: u32) -> f64 {
    let mut hash = index.wrapping_mul(0x9e37_79b9) ^ purpose.wrapping_mul(0x85eb_ca6b);
    for _ in 0..3 {
        hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
    }
    f64::from(hash ^ (hash >> 16)) / f64::from(u32::MAX)
}
