//! What dispatching costs: tiles of almost no work on contributor processes over loopback, through the very path that
//! frames take (plan, offer, render, sign, send, verify, film), but cut into a grid and with many tiles in flight.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use p2c2r_protocol::tile::{Camera, FrameSize, PixelEncoding, Sampling, SceneTime};
use p2c2r_render::{
    limit::MAX_PREPARED_BYTES,
    scene::generate::{SceneKind, generate},
};
use p2c2r_scheduler::split::cost_map::CostMap;
use serde::Serialize;
use tokio::sync::watch;

use crate::{
    cli::{BenchScheduleArgs, GlobalArgs},
    config::{DeviceConfig, NodeConfig, Throttle},
    coordinator::{Cut, JobSpec, Policy},
    data_dir::DataDir,
    exit::Exit,
    node::{Node, job_id},
    progress::Progress,
    scene_library::{Package, ResidentScene},
};

/// Edge of a tile: its result is 64 x 64 x 12 bytes, 48 KiB.
const TILE_PX: u32 = 64;
/// Tiles that a contributor holds at once in the throughput part.
const IN_FLIGHT: u32 = 48;
/// Single tiles whose round trips are measured.
const SINGLE_TILES: u32 = 200;
/// Contributors must have joined by then.
const JOIN_LIMIT: Duration = Duration::from_mins(1);

/// The figures.
#[derive(Debug, Serialize)]
struct Figures {
    schema: &'static str,
    contributors: u32,
    tile_bytes: u32,
    /// One tile at a time, over all repeats, ms.
    round_trip_ms_p50: f64,
    round_trip_ms_p99: f64,
    /// Tiles in flight together.
    batch_tiles: u32,
    /// Of each repeat, tiles per second.
    tiles_per_s: Vec<f64>,
    tiles_per_s_median: f64,
    /// Request bytes per tile.
    request_bytes: f64,
}

/// A contributor that ends with the bench, however that ends.
struct Contributor(Child);

impl Drop for Contributor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the bench.
pub async fn run(_global: &GlobalArgs, args: BenchScheduleArgs) -> anyhow::Result<Exit> {
    let folder = std::env::temp_dir().join(format!("p2c2r-bench-{}", std::process::id()));
    let outcome = measure(&folder, &args).await;
    // Left-overs of a bench are of no use to anybody.
    let _ = std::fs::remove_dir_all(&folder);
    let figures = outcome?;
    if args.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        println!(
            "{} contributors, tiles of {} KiB\none at a time: {:.3} ms median, {:.3} ms p99\n{} at once: {:.0} tiles/s median of {:?}\nrequest: {:.0} bytes a tile",
            figures.contributors,
            figures.tile_bytes / 1024,
            figures.round_trip_ms_p50,
            figures.round_trip_ms_p99,
            figures.batch_tiles,
            figures.tiles_per_s_median,
            figures.tiles_per_s.iter().map(|speed| speed.round()).collect::<Vec<_>>(),
            figures.request_bytes,
        );
    }
    Ok(Exit::Done)
}

async fn measure(folder: &Path, args: &BenchScheduleArgs) -> anyhow::Result<Figures> {
    let data = DataDir::open(&folder.join("coordinator"))?;
    let device = DeviceConfig {
        backend: p2c2r_render::backend::BackendChoice::Cpu,
        threads: Some(1),
        scene_memory_bytes: MAX_PREPARED_BYTES,
        throttle: Throttle::default(),
    };
    let config = NodeConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], ..NodeConfig::alone(device) };
    let node = Node::start(&config, data).await?;
    let measured = measure_on(&node, folder, args).await;
    node.stop().await;
    measured
}

async fn measure_on(node: &Node, folder: &Path, args: &BenchScheduleArgs) -> anyhow::Result<Figures> {
    let swarm = node.swarm.as_ref().context("the bench node has no swarm")?;
    let ticket = swarm.ticket().await?.to_string();
    let mut contributors = Vec::new();
    for index in 0..args.contributors {
        contributors.push(start_contributor(&folder.join(format!("contributor-{index}")), &ticket)?);
    }
    let since = Instant::now();
    while swarm.peers().await.iter().filter(|peer| peer.heartbeat.is_some()).count() < contributors.len() {
        anyhow::ensure!(since.elapsed() < JOIN_LIMIT, "the contributors did not join within {JOIN_LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let scene = scene(node).await?;
    // Warms up connections, sessions and caches.
    frame(node, &scene, args.contributors, FrameSize::new(TILE_PX * 8, TILE_PX * 4)?, 4).await?;
    let mut round_trips = Vec::new();
    let single = FrameSize::new(TILE_PX, TILE_PX)?;
    for _ in 0..SINGLE_TILES {
        round_trips.push(frame(node, &scene, args.contributors, single, 1).await?.frame_ms);
    }
    round_trips.sort_by(f64::total_cmp);
    let columns = (f64::from(args.tiles).sqrt().ceil() as u32).min(args.tiles);
    let size = FrameSize::new(TILE_PX * columns, TILE_PX * args.tiles.div_ceil(columns))?;
    let (mut speeds, mut request_bytes, mut batch_tiles) = (Vec::new(), 0.0, 0);
    for _ in 0..args.repeats {
        let report = frame(node, &scene, args.contributors, size, IN_FLIGHT).await?;
        batch_tiles = report.tiles.len() as u32;
        speeds.push(report.tiles.len() as f64 / report.frame_ms * 1e3);
        request_bytes = report.bytes.per_request;
    }
    let mut sorted = speeds.clone();
    sorted.sort_by(f64::total_cmp);
    Ok(Figures {
        schema: "p2c2r.bench.schedule/1",
        contributors: args.contributors,
        tile_bytes: TILE_PX * TILE_PX * 12,
        round_trip_ms_p50: quantile(&round_trips, 0.5),
        round_trip_ms_p99: quantile(&round_trips, 0.99),
        batch_tiles,
        tiles_per_s: speeds,
        tiles_per_s_median: quantile(&sorted, 0.5),
        request_bytes,
    })
}

/// Of a sorted list.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(0.0)
}

fn start_contributor(folder: &Path, ticket: &str) -> anyhow::Result<Contributor> {
    let program = std::env::current_exe().context("the program does not know where it lies")?;
    let child = Command::new(program)
        .args([
            "run",
            "--quiet",
            "--no-mdns",
            "--backend",
            "cpu",
            "--threads",
            "1",
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
        ])
        .args(["--join", ticket, "--data-dir"])
        .arg(folder)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .context("a contributor could not be started")?;
    Ok(Contributor(child))
}

async fn scene(node: &Node) -> anyhow::Result<ResidentScene> {
    let library = Arc::clone(&node.library);
    let prepare = move || {
        let package = Package::of(generate(SceneKind::Cornell, 1, None).into());
        library.prepare(&package, SceneTime::START)
    };
    Ok(tokio::task::spawn_blocking(prepare).await??)
}

/// A frame that looks away from the scene: every ray misses it, one sample a pixel.
async fn frame(
    node: &Node,
    scene: &ResidentScene,
    contributors: u32,
    size: FrameSize,
    in_flight: u32,
) -> anyhow::Result<crate::report::FrameReport> {
    let camera = Camera {
        origin: [1000.0, 1000.0, 1000.0],
        forward: [0.0, 1.0, 0.0],
        right: [0.1, 0.0, 0.0],
        up: [0.0, 0.0, 0.1],
        lens_radius: 0.0,
        focus_distance: 0.0,
        parallel: false,
    };
    let spec = JobSpec {
        job: job_id()?,
        scene: scene.clone(),
        next_scene: None,
        scene_name: "bench".into(),
        size,
        sampling: Sampling { first_sample: 0, samples: 1, max_depth: 1, seed: 1, clamp: 0.0 },
        camera,
        deadline_ms: None,
        wait_peers: Some(contributors as usize),
        cost: CostMap::uniform(size, 1.0),
        cut: Cut::Grid { edge_px: TILE_PX, in_flight },
        encoding: PixelEncoding::RgbF32,
        sequence: None,
        policy: Policy::Learned,
        peers_only: false,
        pipeline: None,
    };
    let (progress, _) = watch::channel(Progress::default());
    let outcome = node.coordinator.render(spec, Arc::new(progress)).await?;
    anyhow::ensure!(outcome.report.missing.is_empty(), "tiles are missing");
    Ok(outcome.report)
}
