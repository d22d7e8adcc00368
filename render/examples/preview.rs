//! Renders a scene on this machine's CPU and writes the picture: for looking at scenes while they are made.
//!
//! `preview SCENE.glb|cornell|spheres|city OUT.png|OUT.exr [WIDTHxHEIGHT] [SAMPLES] [CAMERA] [SEED]`

use std::{
    error::Error,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32},
    },
    time::Instant,
};

use p2c2r_protocol::tile::{FrameSize, Sampling};
use p2c2r_render::{
    backend::{self, BackendChoice, FrameView, RenderControl, TileJob},
    film::Film,
    limit::SceneLimits,
    picture,
    prepared::PreparedScene,
    scene::{
        generate::{SceneKind, generate},
        gltf::parse_package,
        package::pack,
    },
};

const MAX_DEPTH: u32 = 6;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument =
        |index: usize, default: &str| arguments.get(index).map_or(default, String::as_str).to_owned();
    let [Some(scene), Some(output)] = [arguments.first(), arguments.get(1)] else {
        return Err("usage: preview SCENE OUT [WIDTHxHEIGHT] [SAMPLES] [CAMERA] [SEED]".into());
    };
    picture::check_target(Path::new(output), true)?;
    let size = parse_size(&argument(2, "480x270"))?;
    let samples: u32 = argument(3, "16").parse()?;
    let seed: u64 = argument(5, "1").parse()?;
    let bytes = match scene.parse::<SceneKind>() {
        Ok(kind) => generate(kind, seed, None),
        Err(_) => pack(Path::new(scene), &SceneLimits::default())?.bytes,
    };
    let loaded = parse_package(&bytes, &SceneLimits::default())?;
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    let name = argument(4, "");
    let cameras = &loaded.scene.cameras;
    let named = cameras.iter().find(|camera| camera.name == name).or(cameras.first()).ok_or("no camera")?;
    let sampling = Sampling { first_sample: 0, samples, max_depth: MAX_DEPTH, seed: 1, clamp: 0.0 };
    let view = FrameView { size, sampling, camera: backend::camera(named, size) };
    eprintln!("{} triangles, {} KiB", loaded.scene.placed_triangles(), bytes.len() / 1024);
    render(PreparedScene::build(loaded.scene), view, Path::new(output))
}

fn render(scene: PreparedScene, view: FrameView, output: &Path) -> Result<(), Box<dyn Error>> {
    let mut backend = backend::open(BackendChoice::Cpu, None)?;
    let (scene, rect) = (Arc::new(scene), view.size.full());
    let control = RenderControl { cancelled: &AtomicBool::new(false), progress: &AtomicU32::new(0) };
    backend.load(&scene)?;
    let started = Instant::now();
    let tile = backend.render(&scene, &TileJob { view, rect }, &control)?;
    let seconds = started.elapsed().as_secs_f64();
    eprintln!("{seconds:.1} s, {:.2} Mrays/s", tile.rays as f64 / seconds * 1e-6);
    let mut film = Film::new(view.size);
    film.insert(rect, &tile.radiance())?;
    Ok(picture::write_film(output, &film)?)
}

fn parse_size(text: &str) -> Result<FrameSize, Box<dyn Error>> {
    let (width, height) = text.split_once('x').ok_or("a size looks like 960x540")?;
    Ok(FrameSize::new(width.parse()?, height.parse()?)?)
}
