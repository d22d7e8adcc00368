//! Light from all around against what can be worked out on paper.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32},
};

use p2c2r_protocol::tile::{Camera, FrameSize, Sampling};
use p2c2r_render::{
    backend::{BackendChoice, FrameView, RenderControl, TileJob, camera, open},
    prepared::PreparedScene,
    scene::{
        Affine, Environment, Instance, Material, Mesh, NamedCamera, PunctualLight, Scene, Triangle,
        environment::EnvironmentMap,
    },
};

const MAP: (u32, u32) = (256, 128);

fn environment(radiance: impl Fn(u32, u32) -> [f32; 3]) -> Environment {
    let (width, height) = MAP;
    let texels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let radiance = texels.map(|(x, y)| radiance(x, y)).collect();
    Environment { map: EnvironmentMap { width, height, radiance }, strength: 1.0, rotation_turns: 0.0 }
}

fn matt(reflectance: f32) -> Material {
    let base_color = [reflectance, reflectance, reflectance, 1.0];
    Material { base_color, metallic: 0.0, roughness: 1.0, dielectric_f0: 0.0, ..Material::default() }
}

/// A floor of 2 x 2 at the origin, seen from above so that it fills the picture.
fn floor(material: Material, environment: Environment, lights: Vec<PunctualLight>) -> Arc<PreparedScene> {
    let mesh = Mesh {
        positions: vec![[-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 0.0, -1.0]],
        normals: vec![[0.0, 1.0, 0.0]; 4],
        triangles: [[0, 1, 2], [0, 2, 3]].map(|vertices| Triangle { vertices, material: 0 }).to_vec(),
        ..Mesh::default()
    };
    Arc::new(PreparedScene::build(Scene {
        meshes: vec![mesh],
        instances: vec![Instance { mesh: 0, to_world: Affine::IDENTITY, to_mesh: Affine::IDENTITY }],
        materials: vec![material],
        lights,
        cameras: vec![NamedCamera {
            name: "above".into(),
            origin: [0.0, 1.0, 0.0],
            axes: [[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]],
            half_height: 0.5,
            parallel: false,
        }],
        environment: Some(environment),
        ..Scene::default()
    }))
}

fn pixels(scene: &Arc<PreparedScene>, samples: u32, change: impl Fn(&mut FrameView)) -> Vec<[f32; 3]> {
    let size = FrameSize::new(24, 24).unwrap();
    let sampling = Sampling { first_sample: 0, samples, max_depth: 4, seed: 3, clamp: 0.0 };
    let mut view = FrameView { size, sampling, camera: camera(&scene.scene().cameras[0], size) };
    change(&mut view);
    let (cancelled, progress) = (AtomicBool::new(false), AtomicU32::new(0));
    let control = RenderControl { cancelled: &cancelled, progress: &progress };
    let mut cpu = open(BackendChoice::Cpu, Some(1)).unwrap();
    cpu.render(scene, &TileJob { view, rect: size.full() }, &control).unwrap().radiance()
}

fn mean(pixels: &[[f32; 3]]) -> f64 {
    pixels.iter().map(|pixel| f64::from(pixel[1])).sum::<f64>() / pixels.len() as f64
}

#[test]
fn an_even_environment_is_seen_as_it_is_and_a_white_floor_vanishes_in_it() {
    let white = || environment(|_, _| [1.0; 3]);
    let up = |view: &mut FrameView| view.camera.forward = [0.0, 1.0, 0.0];
    let seen = pixels(&floor(matt(0.5), white(), Vec::new()), 2, up);
    assert!(seen.iter().flatten().all(|value| (value - 1.0).abs() < 1e-6), "{:?}", seen[0]);
    for (kind, material) in [
        ("matt", matt(1.0)),
        ("mirror", Material { metallic: 1.0, roughness: 0.05, ..matt(1.0) }),
        ("satin", Material { metallic: 1.0, roughness: 0.3, ..matt(1.0) }),
    ] {
        let found = mean(&pixels(&floor(material, white(), Vec::new()), 64, |_| {}));
        assert!((found - 1.0).abs() < 0.01, "{kind}: {found}");
    }
}

/// The irradiance on a floor, by summing the bilinear map over small patches of the upper half.
fn irradiance(map: &Environment) -> f64 {
    let (width, height) = (MAP.0 as usize, MAP.1 as usize);
    let at = |x: usize, y: usize| f64::from(map.map.radiance[y.min(height - 1) * width + x % width][1]);
    let steps = 16;
    let mut sum = 0.0;
    for row in 0..height * steps / 2 {
        let v = (row as f64 + 0.5) / steps as f64;
        let angle = v / height as f64 * std::f64::consts::PI;
        let y = (v - 0.5).max(0.0);
        for column in 0..width * steps {
            let x = (column as f64 + 0.5) / steps as f64 - 0.5 + width as f64;
            let (x0, y0) = (x as usize, y as usize);
            let (across, down) = (x - x0 as f64, y - y0 as f64);
            let upper = at(x0, y0) * (1.0 - across) + at(x0 + 1, y0) * across;
            let lower = at(x0, y0 + 1) * (1.0 - across) + at(x0 + 1, y0 + 1) * across;
            sum += (upper * (1.0 - down) + lower * down) * angle.sin() * angle.cos();
        }
    }
    let patch =
        std::f64::consts::TAU / (width * steps) as f64 * std::f64::consts::PI / (height * steps) as f64;
    sum * patch
}

/// The same floor, lit by a light from far away that is known to be right.
#[test]
fn a_sun_of_one_texel_lights_a_floor_as_it_should() {
    let at = (70, 30);
    let sun = || environment(|x, y| if (x, y) == at { [51_200.0; 3] } else { [0.0; 3] });
    let black = || environment(|_, _| [0.0; 3]);
    let (turn, angle) = (
        std::f64::consts::TAU * ((f64::from(at.0) + 0.5) / f64::from(MAP.0) - 0.5),
        std::f64::consts::PI * (f64::from(at.1) + 0.5) / f64::from(MAP.1),
    );
    let direction =
        [angle.sin() * turn.sin(), angle.cos(), -angle.sin() * turn.cos()].map(|value| value as f32);
    let facing = (irradiance(&sun()) / angle.cos()) as f32;
    let far_sun = PunctualLight::Directional { direction, irradiance: [facing; 3] };
    let expected = mean(&pixels(&floor(matt(0.8), black(), vec![far_sun]), 4, |_| {}));
    let lambert = 0.8 * irradiance(&sun()) / std::f64::consts::PI;
    assert!((expected / lambert - 1.0).abs() < 0.05, "{expected} is far from {lambert}");
    let found = mean(&pixels(&floor(matt(0.8), sun(), Vec::new()), 64, |_| {}));
    assert!((found / expected - 1.0).abs() < 0.005, "{found} instead of {expected}");
    // Beside another light: both are there, each once.
    let lamp = PunctualLight::Directional { direction: [0.0, 1.0, 0.0], irradiance: [facing; 3] };
    let alone = mean(&pixels(&floor(matt(0.8), black(), vec![lamp]), 4, |_| {}));
    let found = mean(&pixels(&floor(matt(0.8), sun(), vec![lamp]), 256, |_| {}));
    let both = expected + alone;
    assert!((found / both - 1.0).abs() < 0.01, "{found} instead of {both}");
}

#[test]
fn a_black_environment_is_black() {
    let found = pixels(&floor(matt(0.8), environment(|_, _| [0.0; 3]), Vec::new()), 4, |_| {});
    assert!(found.iter().flatten().all(|value| *value == 0.0));
}

#[test]
fn a_lens_is_sharp_in_its_plane_and_blurs_elsewhere() {
    // The floor's edge against a bright sky below it: how many pixels are neither.
    let scene = floor(matt(0.0), environment(|_, _| [1.0; 3]), Vec::new());
    let blurred = |lens_radius: f32, focus_distance: f32| {
        let found = pixels(&scene, 64, |view| {
            view.camera = Camera { origin: [1.0, 1.0, 0.0], lens_radius, focus_distance, ..view.camera };
        });
        found.iter().filter(|pixel| pixel[1] > 0.02 && pixel[1] < 0.98).count()
    };
    let (pinhole, in_focus, before) = (blurred(0.0, 0.0), blurred(0.2, 1.0), blurred(0.2, 0.5));
    assert!(in_focus <= pinhole + 24, "{pinhole} {in_focus}");
    assert!(before > in_focus + 100, "{in_focus} {before}");
}
