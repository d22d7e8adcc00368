//! Measures what a frame of a game takes on one core: `realtime_speed [WIDTHxHEIGHT]`, on the built-in scenes. Light comes
//! at half the width and height, with two samples a pixel.

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
    backend::{Backend, FrameView, RenderControl, TileJob, camera},
    film::Film,
    kernel::cpu::CpuBackend,
    limit::SceneLimits,
    prepared::PreparedScene,
    realtime::{
        base::{AmbientLight, BasePass, BaseView},
        compose::Composer,
        layer::LitFrame,
        reproject::reproject,
    },
    scene::{
        generate::{SceneKind, generate},
        gltf::parse_package,
    },
    tone::ToneMapping,
};

const ROUNDS: usize = 50;
const SAMPLES: u32 = 2;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let text = std::env::args().nth(1).unwrap_or_else(|| "320x180".to_owned());
    let (width, height) = text.split_once('x').ok_or("a size looks like 320x180")?;
    let size = FrameSize::new(width.parse()?, height.parse()?)?;
    // The filter takes as many threads as the pool has.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    println!("{text} on one thread, ms (fastest of {ROUNDS}, median):");
    println!(
        "                   base        reproject   compose     light: path tracing, first hits, filter"
    );
    for kind in SceneKind::ALL {
        let scene = parse_package(&generate(kind, 1, None), &SceneLimits::default())?.scene;
        pool.install(|| measure(kind, &Arc::new(PreparedScene::build(scene)), size))?;
    }
    Ok(())
}

fn measure(
    kind: SceneKind,
    scene: &Arc<PreparedScene>,
    size: FrameSize,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let named = scene.scene().cameras.first().ok_or("a scene without a camera")?.clone();
    let (mut pass, mut pixels) = (BasePass::new(), Vec::new());
    let view = BaseView { size, camera: camera(&named, size) };
    let light = AmbientLight::default();
    let base_ms = times_ms(|| {
        let memory = std::mem::take(&mut pixels);
        let base = pass.render_into(scene, &view, size.full(), &light, memory);
        pixels = base.map(|base| base.pixels).unwrap_or_default();
    });
    let base = pass.render(scene, &view, size.full(), &light)?;
    let half = FrameSize::new(size.width_px().div_ceil(2), size.height_px().div_ceil(2))?;
    let sampling = Sampling { first_sample: 0, samples: SAMPLES, max_depth: 4, seed: 1, clamp: 4.0 };
    let half_view = FrameView { size: half, sampling, camera: camera(&named, half) };
    let mut film = Film::new(half);
    let tracing_ms = times_ms(|| film = traced(scene, &half_view));
    let mut lit = None;
    let first_hits_ms = times_ms(|| lit = LitFrame::new(scene, &half_view, &film).ok());
    let lit = lit.ok_or("the film is not of the frame")?;
    let mut layer = lit.layer(None);
    let filter_ms = times_ms(|| layer = lit.denoised(&layer).unwrap_or_else(|_| layer.clone()));
    let mut carried = reproject(&layer, &base);
    let reproject_ms = times_ms(|| carried = reproject(&layer, &base));
    let mut composer = Composer::new(ToneMapping::default());
    let compose_ms = times_ms(|| drop(composer.picture(&base, &carried)));
    println!("{kind:>8} {base_ms} {reproject_ms} {compose_ms} {tracing_ms} {first_hits_ms} {filter_ms}");
    Ok(())
}

fn traced(scene: &Arc<PreparedScene>, view: &FrameView) -> Film {
    let (cancelled, progress) = (AtomicBool::new(false), AtomicU32::new(0));
    let control = RenderControl { cancelled: &cancelled, progress: &progress };
    let job = TileJob { view: *view, rect: view.size.full() };
    let mut film = Film::new(view.size);
    if let Ok(tile) = CpuBackend::open(Some(1)).and_then(|mut cpu| cpu.render(scene, &job, &control)) {
        // A tile that is the frame fits it; otherwise the film stays empty.
        let _ = film.insert(job.rect, &tile.radiance());
    }
    film
}

/// Fastest and median time.
fn times_ms(mut run: impl FnMut()) -> String {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    format!("{:>5.2} {:>5.2}", times[0], times[ROUNDS / 2])
}
