//! What planning a frame costs: 16 peers and 64 tiles, ten thousand peers and 256 tiles.
//!
//! `cargo run --release -p p2c2r-scheduler --example bench_plan`

use std::time::Instant;

use p2c2r_protocol::{
    id::{NodeId, WorkKind},
    tile::FrameSize,
};
use p2c2r_scheduler::{
    Outcome, OutcomeResult, PeerView, Scheduler, SchedulerConfig, TaskFeatures,
    history::MemoryStore,
    split::{cost_map::CostMap, spatial::SpatialSplitter},
    time::TimeMs,
    work::FrameWork,
};

/// (peers, those that work on a frame, tiles each).
const CASES: [(u32, usize, usize); 2] = [(16, 16, 4), (10_000, 128, 2)];
/// Outcomes of each peer.
const OUTCOMES: u32 = 20;
/// Plans that are timed.
const REPEATS: u32 = 20;
/// Edge of a cell of the cost map, pixels.
const CELL_PX: u32 = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let size = FrameSize::new(1920, 1080)?;
    let cells = size.width_px().div_ceil(CELL_PX) * size.height_px().div_ceil(CELL_PX);
    let costs: Vec<f32> = (0..cells).map(|cell| 1e3 + (cell % 977) as f32).collect();
    let cost = CostMap::new(size, CELL_PX, &costs)?;
    let work = FrameWork {
        kind: WorkKind::RayTracing,
        size,
        samples: 16,
        bytes_per_pixel: 12.0,
        max_tile_pixels: u64::MAX,
        deadline: None,
    };
    for (peers, max_peers, tiles_per_peer) in CASES {
        let config = SchedulerConfig { tiles_per_peer, max_peers, ..SchedulerConfig::default() };
        let mut scheduler = Scheduler::new(Box::new(MemoryStore::default()), config);
        let views: Vec<PeerView> = (0..peers).map(view).collect();
        for step in 0..OUTCOMES {
            for view in &views {
                scheduler.observe(&outcome(view, step));
            }
        }
        // Trees too are asked.
        while let Some(refit) = scheduler.take_refit() {
            scheduler.install(refit.run());
        }
        let plan = || scheduler.plan(&work, &views, &cost, &SpatialSplitter, TimeMs(1e6));
        let mut times_ms: Vec<f64> = (0..REPEATS)
            .map(|_| {
                let since = Instant::now();
                std::hint::black_box(plan());
                since.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times_ms.sort_by(f64::total_cmp);
        let (tiles, median_ms) =
            (plan().tiles.len(), times_ms.get(times_ms.len() / 2).copied().unwrap_or(0.0));
        println!("{peers:6} peers, {tiles} tiles: {median_ms:.3} ms");
    }
    Ok(())
}

fn view(index: u32) -> PeerView {
    let mut key = [1; 32];
    for (place, byte) in key.iter_mut().zip(index.to_le_bytes()) {
        *place = byte;
    }
    PeerView {
        mrays_per_s: 10.0 + (index % 7) as f32,
        round_trip_ms: 10.0 + (index % 50) as f32,
        jitter_ms: 1.0,
        bytes_per_ms: 1e4,
        credit: 8,
        ready: true,
        ..PeerView::unknown(NodeId::from_public_key(key))
    }
}

fn outcome(peer: &PeerView, step: u32) -> Outcome {
    let cost = 1e6 * (1.0 + f64::from(step % 5));
    let features = TaskFeatures {
        cost,
        pixels: 4096.0,
        bytes: 5e4,
        in_flight: step % 3,
        backlog_ms: 0.0,
        at: TimeMs(f64::from(step) * 1e3),
    };
    let execution_ms = cost / 1e4 / f64::from(peer.mrays_per_s) * 10.0;
    let result = OutcomeResult::Success { queue_ms: 0.0, execution_ms };
    let total_ms = execution_ms + 10.0 + f64::from(peer.round_trip_ms);
    Outcome { peer: *peer, kind: WorkKind::RayTracing, features, total_ms, result }
}
