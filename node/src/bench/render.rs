//! How fast this machine renders: loading, building, tracing, on bundled scenes or on one's own.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32},
    },
    time::Instant,
};

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use p2c2r_protocol::tile::Sampling;
use p2c2r_render::{
    backend::{
        Backend, BackendChoice, FrameView, RenderControl, RenderError, TileJob, TilePixels, camera, open,
    },
    limit::SceneLimits,
    prepared::PreparedScene,
    scene::{
        generate::{SceneKind, generate},
        gltf::parse_package,
        package::pack,
    },
};
use serde::Serialize;

use crate::{
    cli::{BenchRenderArgs, GlobalArgs},
    exit::Exit,
    processor_time::Processor,
};

/// Triangles of the bundled scenes.
const TRIANGLES: u32 = 200_000;
/// The bundled scenes.
const BUNDLED: [SceneKind; 4] = SceneKind::ALL;

/// The figures.
#[derive(Debug, Serialize)]
struct Figures {
    schema: &'static str,
    backend: String,
    adapter: String,
    threads: u32,
    exact: bool,
    width_px: u32,
    height_px: u32,
    samples_per_pixel: u32,
    max_depth: u32,
    /// The speeds are the best of so many.
    repeats: u32,
    scenes: Vec<SceneFigures>,
}

/// Of one scene.
#[derive(Debug, Serialize)]
struct SceneFigures {
    name: String,
    /// In memory; those of an instanced mesh count once.
    triangles: usize,
    /// As seen.
    placed_triangles: usize,
    /// From bytes to a scene.
    load_ms: f64,
    /// From a scene to trees.
    build_ms: f64,
    /// Geometry, pictures aside.
    bytes_per_triangle: f64,
    /// From the file's bytes to the first finished 16x16 pixels.
    first_pixels_ms: f64,
    rays_per_s: f64,
    samples_per_s: f64,
    /// Per second of processor time of all threads, where the system tells it.
    samples_per_cpu_s: Option<f64>,
}

/// Runs the bench.
pub fn run(_global: &GlobalArgs, args: &BenchRenderArgs) -> anyhow::Result<Exit> {
    let choice = args.device.backend.unwrap_or(BackendChoice::Auto);
    let mut backend = open(choice, args.device.threads.map(usize::from))?;
    let info = backend.info().clone();
    let mut scenes = Vec::new();
    for (name, package) in packages(args)? {
        eprintln!("{name} ...");
        scenes.push(measure(backend.as_mut(), name, &package, args)?);
    }
    let figures = Figures {
        schema: "p2c2r.bench.render/1",
        backend: info.kind.to_string(),
        adapter: info.adapter,
        threads: info.threads,
        exact: info.exact,
        width_px: args.size.width_px(),
        height_px: args.size.height_px(),
        samples_per_pixel: args.spp,
        max_depth: args.max_depth,
        repeats: args.repeats,
        scenes,
    };
    if args.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        println!("{}", table(&figures));
    }
    Ok(Exit::Done)
}

/// Names and packages of the scenes that were asked for; of the bundled ones if none was.
fn packages(args: &BenchRenderArgs) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    if args.scene.is_empty() {
        return Ok(BUNDLED.map(|kind| (kind.to_string(), generate(kind, 1, Some(TRIANGLES)))).into());
    }
    let read = |path: &std::path::PathBuf| {
        let packed = pack(path, &SceneLimits::default())
            .with_context(|| format!("cannot use the scene {}", path.display()))?;
        Ok((name(path), packed.bytes))
    };
    args.scene.iter().map(read).collect()
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn measure(
    backend: &mut dyn Backend,
    name: String,
    package: &[u8],
    args: &BenchRenderArgs,
) -> anyhow::Result<SceneFigures> {
    let started = Instant::now();
    let loaded = parse_package(package, &SceneLimits::default())?;
    let load_ms = ms_since(started);
    let building = Instant::now();
    let scene = Arc::new(PreparedScene::build(loaded.scene));
    let build_ms = ms_since(building);
    let sampling =
        Sampling { first_sample: 0, samples: args.spp, max_depth: args.max_depth, seed: 1, clamp: 0.0 };
    let seen_from = scene.scene().cameras.first().context("the scene has no camera")?;
    let view = FrameView { size: args.size, sampling, camera: camera(seen_from, args.size) };
    backend.load(&scene)?;
    let mut first = TileJob { view, rect: args.size.full() };
    first.rect.width = first.rect.width.min(16);
    first.rect.height = first.rect.height.min(16);
    let (cancelled, progress) = (AtomicBool::new(false), AtomicU32::new(0));
    let control = RenderControl { cancelled: &cancelled, progress: &progress };
    backend.render(&scene, &first, &control)?;
    let first_pixels_ms = ms_since(started);
    let job = TileJob { view, rect: args.size.full() };
    let render = || backend.render(&scene, &job, &control);
    let Speed { rays_per_s, samples_per_s, samples_per_cpu_s } = speed(args.repeats, render)?;
    let triangles = scene.unique_triangle_count();
    Ok(SceneFigures {
        name,
        triangles,
        placed_triangles: scene.triangle_count(),
        load_ms,
        build_ms,
        bytes_per_triangle: scene.geometry_bytes() as f64 / triangles.max(1) as f64,
        first_pixels_ms,
        rays_per_s,
        samples_per_s,
        samples_per_cpu_s,
    })
}

/// The best of some repetitions.
#[derive(Default)]
#[allow(clippy::struct_field_names, reason = "each is so many per second, and says so")]
struct Speed {
    rays_per_s: f64,
    samples_per_s: f64,
    samples_per_cpu_s: Option<f64>,
}

/// Renders once to warm up and then as often as asked for.
fn speed(
    repeats: u32,
    mut render: impl FnMut() -> Result<TilePixels, RenderError>,
) -> Result<Speed, RenderError> {
    render()?;
    let mut best = Speed::default();
    for _ in 0..repeats {
        let (since, used_before) = (Instant::now(), Processor::Process.used());
        let tile = render()?;
        let elapsed_s = since.elapsed().as_secs_f64().max(1e-9);
        let used_s = used_before
            .and_then(|before| Some(Processor::Process.used()?.saturating_sub(before).as_secs_f64()));
        let samples = tile.samples() as f64;
        best.rays_per_s = best.rays_per_s.max(tile.rays as f64 / elapsed_s);
        best.samples_per_s = best.samples_per_s.max(samples / elapsed_s);
        let per_cpu_s = used_s.map(|used_s| samples / used_s.max(1e-9));
        best.samples_per_cpu_s = per_cpu_s.map(|speed| speed.max(best.samples_per_cpu_s.unwrap_or_default()));
    }
    Ok(best)
}

fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn table(figures: &Figures) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header([
        "scene",
        "triangles",
        "as seen",
        "load ms",
        "build ms",
        "bytes/tri",
        "first px ms",
        "Mrays/s",
        "Msamples/s",
        "per CPU-s",
    ]);
    for scene in &figures.scenes {
        table.add_row([
            scene.name.clone(),
            scene.triangles.to_string(),
            scene.placed_triangles.to_string(),
            format!("{:.0}", scene.load_ms),
            format!("{:.0}", scene.build_ms),
            format!("{:.0}", scene.bytes_per_triangle),
            format!("{:.0}", scene.first_pixels_ms),
            format!("{:.2}", scene.rays_per_s / 1e6),
            format!("{:.2}", scene.samples_per_s / 1e6),
            scene.samples_per_cpu_s.map_or_else(String::new, |speed| format!("{:.2}", speed / 1e6)),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!(
        "{} ({}), {}x{} pixels, {} samples each, {} segments, best of {}\n{table}",
        figures.backend,
        figures.adapter,
        figures.width_px,
        figures.height_px,
        figures.samples_per_pixel,
        figures.max_depth,
        figures.repeats,
    )
}
