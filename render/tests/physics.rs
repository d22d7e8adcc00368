//! Pictures against what can be worked out by hand: direct light of known emitters, and white objects in a white sky.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{
    f64::consts::PI,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32},
    },
};

use p2c2r_protocol::tile::{FrameSize, Sampling};
use p2c2r_render::{
    backend::{BackendChoice, FrameView, RenderControl, TileJob, camera, open},
    prepared::PreparedScene,
    scene::{Affine, Instance, Material, Mesh, NamedCamera, PunctualLight, Scene, Triangle},
};

/// Reflectance of the patch.
const ALBEDO: f32 = 0.8;
/// Half the edge of the patch: so small that the light on it is even.
const PATCH_HALF: f32 = 0.005;
/// Height of the lights above the patch.
const HEIGHT: f64 = 2.0;
/// Largest share by which a mean pixel may miss the value that was worked out.
const TOLERANCE: f64 = 5e-3;

fn diffuse() -> Material {
    let [base_color, metallic, dielectric_f0] = [ALBEDO, 0.0, 0.0];
    Material {
        base_color: [base_color, base_color, base_color, 1.0],
        metallic,
        dielectric_f0,
        double_sided: true,
        ..Material::default()
    }
}

/// A horizontal square that looks up, or down.
fn square(height: f32, half: f32, up: bool, material: u32) -> Mesh {
    let corner = |x: f32, z: f32| [x * half, height, z * half];
    let positions = vec![corner(-1.0, -1.0), corner(-1.0, 1.0), corner(1.0, 1.0), corner(1.0, -1.0)];
    let faces = if up { [[0, 1, 2], [0, 2, 3]] } else { [[0, 2, 1], [0, 3, 2]] };
    Mesh {
        normals: vec![[0.0, if up { 1.0 } else { -1.0 }, 0.0]; positions.len()],
        positions,
        triangles: faces.map(|vertices| Triangle { vertices, material }).into(),
        ..Mesh::default()
    }
}

/// Sees the middle of the patch, and nothing but it, from the side and above.
fn onto_the_patch() -> NamedCamera {
    let slope = std::f32::consts::FRAC_1_SQRT_2;
    NamedCamera {
        name: "patch".into(),
        origin: [0.0, 1.0, 1.0],
        axes: [[1.0, 0.0, 0.0], [0.0, slope, -slope], [0.0, -slope, -slope]],
        half_height: 0.001,
        parallel: false,
    }
}

fn scene(meshes: Vec<Mesh>, materials: Vec<Material>, camera: NamedCamera) -> Scene {
    let place = |mesh| Instance { mesh, to_world: Affine::IDENTITY, to_mesh: Affine::IDENTITY };
    let instances = (0..meshes.len() as u32).map(place).collect();
    Scene { meshes, instances, materials, cameras: vec![camera], ..Scene::default() }
}

fn patch_under(lights: Vec<PunctualLight>) -> Scene {
    let patch = square(0.0, PATCH_HALF, true, 0);
    Scene { lights, ..scene(vec![patch], vec![diffuse()], onto_the_patch()) }
}

/// Mean of the green channel.
fn mean(scene: Scene, edge_px: u32, samples: u32, max_depth: u32) -> f64 {
    let scene = Arc::new(PreparedScene::build(scene));
    let size = FrameSize::new(edge_px, edge_px).unwrap();
    let sampling = Sampling { first_sample: 0, samples, max_depth, seed: 1, clamp: 0.0 };
    let view = FrameView { size, sampling, camera: camera(&scene.scene().cameras[0], size) };
    let (cancelled, progress) = (AtomicBool::new(false), AtomicU32::new(0));
    let control = RenderControl { cancelled: &cancelled, progress: &progress };
    let mut cpu = open(BackendChoice::Cpu, Some(2)).unwrap();
    cpu.load(&scene).unwrap();
    let tile = cpu.render(&scene, &TileJob { view, rect: size.full() }, &control).unwrap();
    let pixels = tile.radiance();
    pixels.iter().map(|pixel| f64::from(pixel[1])).sum::<f64>() / pixels.len() as f64
}

#[track_caller]
fn assert_close(found: f64, expected: f64, what: &str) {
    let miss = found / expected - 1.0;
    assert!(miss.abs() < TOLERANCE, "{what}: {found}, not {expected} ({:.2} %)", miss * 100.0);
}

fn point(x: f32, cone: [f32; 2], axis: [f32; 3]) -> PunctualLight {
    PunctualLight::Point { position: [x, HEIGHT as f32, 0.0], intensity: [5.0; 3], axis, cone, range: 0.0 }
}

#[test]
fn a_point_light_gives_intensity_times_cosine_over_distance_squared() {
    let found = mean(patch_under(vec![point(1.0, [0.0, 1.0], [0.0, -1.0, 0.0])]), 16, 16, 2);
    let distance = (HEIGHT * HEIGHT + 1.0).sqrt();
    let expected = f64::from(ALBEDO) / PI * 5.0 * (HEIGHT / distance) / (distance * distance);
    assert_close(found, expected, "point light");
}

#[test]
fn a_spot_gives_its_whole_intensity_inside_the_inner_cone() {
    // Whole from a cosine of 0.9 on, nothing below 0.8; the patch lies on the axis.
    let spot = point(0.0, [10.0, -8.0], [0.0, -1.0, 0.0]);
    let expected = f64::from(ALBEDO) / PI * 5.0 / (HEIGHT * HEIGHT);
    assert_close(mean(patch_under(vec![spot]), 16, 16, 2), expected, "spot");
}

#[test]
fn a_directional_light_gives_irradiance_times_cosine() {
    let sun = PunctualLight::Directional { direction: [0.6, 0.8, 0.0], irradiance: [3.0; 3] };
    let expected = f64::from(ALBEDO) / PI * 3.0 * 0.8;
    assert_close(mean(patch_under(vec![sun]), 16, 16, 2), expected, "directional light");
}

#[test]
fn a_square_emitter_gives_its_form_factor() {
    let half = 0.5_f64;
    let light = Material { emission: [7.0; 3], base_color: [0.0, 0.0, 0.0, 1.0], ..diffuse() };
    let meshes = vec![square(0.0, PATCH_HALF, true, 0), square(HEIGHT as f32, half as f32, false, 1)];
    let found = mean(scene(meshes, vec![diffuse(), light], onto_the_patch()), 32, 512, 2);
    // From a small patch to a parallel rectangle with a corner above it (Howell, "Catalog of Radiation Heat Transfer
    // Configuration Factors", B-3), four times.
    let x = half / HEIGHT;
    let root = (1.0 + x * x).sqrt();
    let form_factor = 4.0 * (1.0 / (2.0 * PI)) * 2.0 * (x / root) * (x / root).atan();
    assert_close(found, f64::from(ALBEDO) * 7.0 * form_factor, "square emitter");
}

/// A sphere of flat pieces with smooth normals.
fn sphere() -> Mesh {
    const RINGS: u32 = 48;
    const SECTORS: u32 = 96;
    let mut mesh = Mesh::default();
    for (ring, sector) in (0..=RINGS).flat_map(|ring| (0..=SECTORS).map(move |sector| (ring, sector))) {
        let polar = std::f32::consts::PI * ring as f32 / RINGS as f32;
        let turn = std::f32::consts::TAU * sector as f32 / SECTORS as f32;
        let place = [polar.sin() * turn.cos(), polar.cos(), polar.sin() * turn.sin()];
        mesh.positions.push(place);
        mesh.normals.push(place);
    }
    for (ring, sector) in (0..RINGS).flat_map(|ring| (0..SECTORS).map(move |sector| (ring, sector))) {
        let at = ring * (SECTORS + 1) + sector;
        let below = at + SECTORS + 1;
        for vertices in [[at, at + 1, below], [at + 1, below + 1, below]] {
            mesh.triangles.push(Triangle { vertices, material: 0 });
        }
    }
    mesh
}

/// Sees the whole sphere in a square that just holds it.
fn onto_the_sphere() -> NamedCamera {
    NamedCamera {
        name: "sphere".into(),
        origin: [0.0, 0.0, 4.0],
        axes: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]],
        half_height: 0.26,
        parallel: false,
    }
}

#[test]
fn white_objects_of_every_kind_vanish_in_a_white_sky() {
    let white = Material { base_color: [1.0; 4], metallic: 0.0, double_sided: true, ..Material::default() };
    let metal = |roughness| Material { metallic: 1.0, roughness, ..white.clone() };
    let dielectric = |roughness| Material { roughness, ..white.clone() };
    let kinds = [
        ("diffuse", Material { dielectric_f0: 0.0, ..white.clone() }),
        ("smooth dielectric", dielectric(0.05)),
        ("rough dielectric", dielectric(0.7)),
        ("metal 0.2", metal(0.2)),
        ("metal 0.6", metal(0.6)),
        ("metal 1", metal(1.0)),
        ("glass", Material { transmission: 1.0, roughness: 0.1, ..white.clone() }),
        ("coated", Material { clearcoat: 1.0, clearcoat_roughness: 0.1, ..white.clone() }),
    ];
    for (name, material) in kinds {
        let white_sky =
            Scene { sky: [[1.0; 3]; 2], ..scene(vec![sphere()], vec![material], onto_the_sphere()) };
        let found = mean(white_sky, 64, 64, 32);
        assert_close(found, 1.0, name);
    }
}
