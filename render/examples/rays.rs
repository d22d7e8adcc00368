//! Measures the kernels: million rays a second on the built-in scene and on a generated city.
//!
//! `cargo run --release -p p2c2r-render --example rays [auto|cpu|gpu] [THREADS]`

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32},
    },
    time::Instant,
};

use p2c2r_protocol::tile::{FrameSize, Sampling};
use p2c2r_render::{
    backend::{FrameView, RenderControl, TileJob, camera, measure, open},
    cost::cost_map,
    limit::SceneLimits,
    prepared::PreparedScene,
    scene::{
        generate::{SceneKind, generate},
        gltf::parse_package,
    },
};

/// Triangles of the generated scenes.
const TRIANGLES: u32 = 200_000;
/// Samples of each pixel.
const SAMPLES: u32 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let choice = arguments.next().unwrap_or_else(|| "cpu".into()).parse()?;
    let threads = arguments.next().map(|threads| threads.parse()).transpose()?;
    let started = Instant::now();
    let mut backend = open(choice, threads)?;
    let (info, open_ms) = (backend.info().clone(), started.elapsed().as_secs_f64() * 1e3);
    println!("{} {}, exact: {}, opened and tested in {open_ms:.0} ms", info.kind, info.adapter, info.exact);
    println!("built-in scene: {:.2} Mrays/s", measure(backend.as_mut()));
    for kind in [SceneKind::Cornell, SceneKind::Spheres, SceneKind::City] {
        let parsed = parse_package(&generate(kind, 1, Some(TRIANGLES)), &SceneLimits::default())?;
        let started = Instant::now();
        let scene = Arc::new(PreparedScene::build(parsed.scene));
        let build_ms = started.elapsed().as_secs_f64() * 1e3;
        let size = FrameSize::new(640, 360)?;
        let sampling = Sampling { first_sample: 0, samples: SAMPLES, max_depth: 4, seed: 1, clamp: 0.0 };
        let named = scene.scene().cameras.first().ok_or("the scene has no camera")?;
        let view = FrameView { size, sampling, camera: camera(named, size) };
        let started = Instant::now();
        let cells = cost_map(&scene, &view, 8).cost.len();
        let cost_map_ms = started.elapsed().as_secs_f64() * 1e3;
        let (cancelled, progress) = (AtomicBool::new(false), AtomicU32::new(0));
        let control = RenderControl { cancelled: &cancelled, progress: &progress };
        backend.load(&scene)?;
        let started = Instant::now();
        let tile = backend.render(&scene, &TileJob { view, rect: size.full() }, &control)?;
        let elapsed_s = started.elapsed().as_secs_f64();
        println!(
            "{kind}: {} triangles prepared in {build_ms:.0} ms, {cells} cost cells in {cost_map_ms:.1} ms, \
             {:.2} Mrays/s, {:.2} Msamples/s{}",
            scene.triangle_count(),
            tile.rays as f64 / elapsed_s / 1e6,
            tile.samples() as f64 / elapsed_s / 1e6,
            tile.device_ms.map(|ms| format!(", device at work {ms:.0} ms")).unwrap_or_default(),
        );
    }
    Ok(())
}
