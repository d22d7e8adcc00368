//! Measures what a frame of a game takes on one core: `realtime_speed [WIDTHxHEIGHT]`, on the built-in scenes.

use std::{error::Error, time::Instant};

use p2c2r_protocol::tile::FrameSize;
use p2c2r_render::{
    backend::camera,
    limit::SceneLimits,
    prepared::PreparedScene,
    realtime::base::{AmbientLight, BasePass, BaseView},
    scene::{
        generate::{SceneKind, generate},
        gltf::parse_package,
    },
};

const ROUNDS: usize = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let text = std::env::args().nth(1).unwrap_or_else(|| "320x180".to_owned());
    let (width, height) = text.split_once('x').ok_or("a size looks like 320x180")?;
    let size = FrameSize::new(width.parse()?, height.parse()?)?;
    println!("{text} on one thread, ms (fastest and median of {ROUNDS}):");
    for kind in SceneKind::ALL {
        let scene = parse_package(&generate(kind, 1, None), &SceneLimits::default())?.scene;
        let named = scene.cameras.first().ok_or("a scene without a camera")?.clone();
        let scene = PreparedScene::build(scene);
        let view = BaseView { size, camera: camera(&named, size) };
        let (mut pass, mut pixels) = (BasePass::new(), Vec::new());
        let base = times_ms(|| {
            let memory = std::mem::take(&mut pixels);
            let base = pass.render_into(&scene, &view, size.full(), &AmbientLight::default(), memory);
            pixels = base.map(|base| base.pixels).unwrap_or_default();
        });
        println!("{kind:>8}, {:>8} triangles: base {}", scene.triangle_count(), base);
    }
    Ok(())
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
    format!("{:.2} {:.2}", times[0], times[ROUNDS / 2])
}
