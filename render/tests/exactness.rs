//! The same bits from every kernel, however the frame is cut.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

#[path = "mutated_scenes/corpus.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod corpus;
#[path = "mutated_scenes/glb.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod glb;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32},
};

use p2c2r_protocol::tile::{FrameSize, Sampling, SceneTime, TileRect};
use p2c2r_render::{
    backend::{
        Backend, BackendChoice, FrameView, RenderControl, RenderError, TileJob, TilePixels, camera, open,
        open_with, render_pixels,
    },
    bvh::{Hit, walk::Stack},
    kernel::{
        cpu::CpuBackend,
        gpu::GpuOptions,
        self_test::{known_scene, known_tile},
        sum::RadianceSum,
    },
    limit::SceneLimits,
    math::{Vec3, normalize, vec3},
    prepared::PreparedScene,
    ray::Ray,
    scene::{
        Affine, Environment, Instance, Material, Mesh, NamedCamera, Scene, Triangle,
        environment::EnvironmentMap,
        generate::{SceneKind, generate},
        gltf::{parse_package, parse_package_at},
    },
    simd::levels,
};

fn render(backend: &mut dyn Backend, scene: &Arc<PreparedScene>, job: &TileJob) -> TilePixels {
    let (cancelled, progress) = (AtomicBool::new(false), AtomicU32::new(0));
    let control = RenderControl { cancelled: &cancelled, progress: &progress };
    backend.load(scene).unwrap();
    backend.render(scene, job, &control).unwrap()
}

fn generated(kind: SceneKind) -> Arc<PreparedScene> {
    let package = generate(kind, 3, Some(3000));
    Arc::new(PreparedScene::build(parse_package(&package, &SceneLimits::default()).unwrap().scene))
}

fn view(scene: &PreparedScene, width: u32, height: u32, seed: u32) -> FrameView {
    let size = FrameSize::new(width, height).unwrap();
    let sampling = Sampling { first_sample: 0, samples: 3, max_depth: 5, seed, clamp: 0.0 };
    FrameView { size, sampling, camera: camera(&scene.scene().cameras[0], size) }
}

fn differing(a: &[[f32; 3]], b: &[[f32; 3]]) -> usize {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).filter(|(a, b)| a.map(f32::to_bits) != b.map(f32::to_bits)).count()
}

/// The GPU, or nothing and a loud word.
fn gpu() -> Option<Box<dyn Backend>> {
    gpu_with(GpuOptions::default())
}

fn gpu_with(options: GpuOptions) -> Option<Box<dyn Backend>> {
    match open_with(BackendChoice::Gpu, None, options) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            assert!(matches!(error, RenderError::NoGpu(_)), "{error}");
            assert!(
                !std::env::var("P2C2R_REQUIRE_GPU").is_ok_and(|wanted| wanted == "1"),
                "P2C2R_REQUIRE_GPU is set, and there is no GPU: {error}"
            );
            eprintln!("SKIPPED: no GPU, not even a software one: {error}");
            None
        }
    }
}

#[test]
fn gpu_and_cpu_give_the_same_bits() {
    let Some(gpu) = gpu() else { return };
    gives_the_bits_of_the_cpu(gpu);
}

#[test]
fn gpu_with_corrected_arithmetic_gives_the_same_bits() {
    let Some(gpu) = gpu_with(GpuOptions { corrects_all: true, ..GpuOptions::default() }) else { return };
    gives_the_bits_of_the_cpu(gpu);
}

/// Cuts every array that can be cut: as on devices that bind less than a large scene needs.
#[test]
fn gpu_with_small_buffers_gives_the_same_bits() {
    let mut cpu = open(BackendChoice::Cpu, Some(2)).unwrap();
    for (scene_buffer_bytes, scene) in
        [(4 << 10, known_scene()), (128 << 10, generated(SceneKind::Spheres)), (1 << 20, large_city())]
    {
        let options = GpuOptions { scene_buffer_bytes: Some(scene_buffer_bytes), ..GpuOptions::default() };
        let Some(mut gpu) = gpu_with(options) else { return };
        let view = view(&scene, 40, 24, 11);
        let job = TileJob { view, rect: view.size.full() };
        let (a, b) = (render(gpu.as_mut(), &scene, &job), render(cpu.as_mut(), &scene, &job));
        assert_eq!(
            (differing(&a.radiance(), &b.radiance()), a.rays),
            (0, b.rays),
            "{scene_buffer_bytes} bytes"
        );
    }
}

/// Its nodes alone take more than 1 MiB.
fn large_city() -> Arc<PreparedScene> {
    let package = generate(SceneKind::City, 3, Some(40_000));
    Arc::new(PreparedScene::build(parse_package(&package, &SceneLimits::default()).unwrap().scene))
}

#[test]
fn scene_that_cannot_be_bound_is_refused_in_words() {
    let options = GpuOptions { scene_buffer_bytes: Some(1 << 10), ..GpuOptions::default() };
    let Some(mut gpu) = gpu_with(options) else { return };
    assert!(!gpu.info().exact, "the self-test's scene does not fit either");
    let refused = gpu.load(&large_city()).unwrap_err().to_string();
    assert!(refused.contains("--backend cpu"), "{refused}");
}

/// Scenes that together take every way through the kernels: every material, light, texture, camera, and what the loader
/// makes of animations, skins and whole-number attributes.
fn suite() -> Vec<(String, Arc<PreparedScene>, TileJob)> {
    let mut suite = Vec::new();
    for seed in [1, 99] {
        let mut job = known_tile();
        job.view.sampling.seed = seed;
        suite.push((format!("known, seed {seed}"), known_scene(), job));
    }
    for kind in [SceneKind::Cornell, SceneKind::Spheres, SceneKind::City, SceneKind::Knot] {
        let scene = generated(kind);
        let view = view(&scene, 64, 40, 5);
        suite.push((
            kind.to_string(),
            scene,
            TileJob { view, rect: TileRect { x: 5, y: 3, width: 50, height: 33 } },
        ));
    }
    let scene = lit_by_a_map();
    let mut view_of_map = view(&scene, 32, 24, 5);
    (view_of_map.camera.lens_radius, view_of_map.camera.focus_distance) = (0.1, 4.0);
    view_of_map.sampling.clamp = 2.0;
    let lens = TileJob { view: view_of_map, rect: view_of_map.size.full() };
    let mut parallel = lens;
    parallel.view.camera.parallel = true;
    suite.push(("a map and a lens".into(), Arc::clone(&scene), lens));
    suite.push(("parallel rays".into(), scene, parallel));
    let scene = matte_beside_everything_else();
    let mixed = view(&scene, 48, 32, 11);
    suite.push((
        "matte beside everything else".into(),
        scene,
        TileJob { view: mixed, rect: mixed.size.full() },
    ));
    for (name, package) in corpus::corpus() {
        let moment = SceneTime::from_us(400_000).unwrap();
        let loaded = parse_package_at(&package, &SceneLimits::default(), moment).unwrap();
        let scene = Arc::new(PreparedScene::build(loaded.scene));
        let view = view(&scene, 32, 20, 2);
        suite.push((format!("corpus: {name}"), scene, TileJob { view, rect: view.size.full() }));
    }
    suite
}

/// Neighbouring pixels see surfaces of all kinds: purely diffuse ones, for which shading is shorter when all lanes have
/// one, beside those that shine, are coated, let light through, or scatter nothing.
fn matte_beside_everything_else() -> Arc<PreparedScene> {
    let package = generate(SceneKind::Spheres, 3, Some(3000));
    let mut scene = parse_package(&package, &SceneLimits::default()).unwrap().scene;
    let kinds = [
        Material { metallic: 0.0, dielectric_f0: 0.0, ..Material::default() },
        Material { metallic: 0.0, roughness: 0.3, ..Material::default() },
        Material {
            metallic: 0.0,
            dielectric_f0: 0.0,
            clearcoat: 0.8,
            clearcoat_roughness: 0.1,
            ..Material::default()
        },
        Material { metallic: 0.0, transmission: 0.7, roughness: 0.2, ..Material::default() },
        Material { metallic: 0.9, roughness: 0.25, ..Material::default() },
        Material { unlit: true, ..Material::default() },
    ];
    let first = scene.materials.len() as u32;
    for (index, kind) in kinds.into_iter().enumerate() {
        let shade = 0.4 + 0.1 * index as f32;
        scene.materials.push(Material {
            base_color: [shade, 0.9 - shade, 0.5, 1.0],
            double_sided: true,
            ..kind
        });
    }
    for mesh in &mut scene.meshes {
        for (index, triangle) in mesh.triangles.iter_mut().enumerate() {
            let glows =
                scene.materials[triangle.material as usize].emission.iter().any(|channel| *channel > 0.0);
            if !glows && index % 7 != 6 {
                triangle.material = first + (index % 7) as u32;
            }
        }
    }
    Arc::new(PreparedScene::build(scene))
}

/// Nothing but a map gives light.
fn lit_by_a_map() -> Arc<PreparedScene> {
    let package = generate(SceneKind::Spheres, 3, Some(3000));
    let mut scene = parse_package(&package, &SceneLimits::default()).unwrap().scene;
    scene.lights.clear();
    let radiance = (0..32).map(|index| [if index == 9 { 900.0 } else { 0.1 }, 0.4, 0.02 * index as f32]);
    let map = EnvironmentMap { width: 8, height: 4, radiance: radiance.collect() };
    scene.environment = Some(Environment { map, strength: 0.5, rotation_turns: 0.8 });
    Arc::new(PreparedScene::build(scene))
}

fn gives_the_bits_of_the_cpu(mut gpu: Box<dyn Backend>) {
    let mut cpu = open(BackendChoice::Cpu, Some(2)).unwrap();
    assert!(gpu.info().exact, "{} failed the self-test", gpu.info().adapter);
    for (name, scene, job) in suite() {
        let (a, b) = (render(gpu.as_mut(), &scene, &job), render(cpu.as_mut(), &scene, &job));
        let differing = differing(&a.radiance(), &b.radiance());
        assert_eq!((differing, a.rays, a.samples()), (0, b.rays, b.samples()), "{name}");
    }
}

#[test]
fn every_set_of_instructions_gives_the_same_bits() {
    let levels = levels();
    if levels.len() < 3 {
        eprintln!("SKIPPED in part: this machine has no more than {levels:?}");
    }
    for (name, scene, job) in suite() {
        let of = |level| render(&mut CpuBackend::open_at(level, Some(2)).unwrap(), &scene, &job);
        let best = of(levels[0]);
        for level in &levels[1..] {
            let other = of(*level);
            assert_eq!(
                (differing(&best.radiance(), &other.radiance()), best.rays),
                (0, other.rays),
                "{name}, {:?} and {level:?}",
                levels[0]
            );
        }
    }
}

/// Whichever pixels are shaded together, and alone.
#[test]
fn i1_tiles_threads_and_single_pixels_give_the_same_bits_as_the_whole() {
    let mut one = open(BackendChoice::Cpu, Some(1)).unwrap();
    let mut three = open(BackendChoice::Cpu, Some(3)).unwrap();
    for (name, scene, TileJob { view, .. }) in suite() {
        let (width, height) = (view.size.width_px(), view.size.height_px());
        let full = TileJob { view, rect: view.size.full() };
        let whole = render(one.as_mut(), &scene, &full).radiance();
        assert_eq!(differing(&whole, &render(three.as_mut(), &scene, &full).radiance()), 0, "{name}");
        let (left, top) = (width / 7, height / 5);
        let rect = TileRect { x: left, y: top, width: width * 3 / 5, height: height * 3 / 5 };
        let tile = render(three.as_mut(), &scene, &TileJob { view, rect }).radiance();
        let pixels: Vec<(u32, u32)> =
            (0..rect.height).flat_map(|y| (0..rect.width).map(move |x| (left + x, top + y))).collect();
        let cut: Vec<[f32; 3]> = pixels.iter().map(|(x, y)| whole[(y * width + x) as usize]).collect();
        assert_eq!(differing(&tile, &cut), 0, "{name}");
        assert_eq!(differing(&tile, &render_pixels(&scene, &view, &pixels)), 0, "{name}");
        // Without neighbours, and with others than in the picture.
        for (index, pixel) in pixels.iter().enumerate().step_by(17) {
            let alone = render_pixels(&scene, &view, &[*pixel]);
            assert_eq!(differing(&cut[index..=index], &alone), 0, "{name}, {pixel:?} alone");
        }
        let spread: Vec<usize> = (0..pixels.len()).step_by(5).collect();
        let mixed: Vec<(u32, u32)> = spread.iter().map(|index| pixels[*index]).collect();
        let expected: Vec<[f32; 3]> = spread.iter().map(|index| cut[*index]).collect();
        assert_eq!(differing(&expected, &render_pixels(&scene, &view, &mixed)), 0, "{name}, mixed");
    }
}

/// The samples of a tile in ranges, taken in any order by either kernel, add up to the sums of the whole.
#[test]
fn i1_ranges_of_samples_merge_to_the_same_bits_as_the_whole() {
    let scene = generated(SceneKind::City);
    let mut view = view(&scene, 40, 30, 11);
    view.sampling.samples = 13;
    let rect = TileRect { x: 3, y: 2, width: 33, height: 21 };
    let mut cpu = open(BackendChoice::Cpu, Some(2)).unwrap();
    let whole = render(cpu.as_mut(), &scene, &TileJob { view, rect });
    let mut devices = vec![cpu];
    devices.extend(gpu());
    for ranges in [&[(0, 13)][..], &[(0, 1), (1, 12)], &[(6, 7), (0, 6)], &[(4, 4), (12, 1), (0, 4), (8, 4)]]
    {
        for first_device in 0..devices.len() {
            let mut sums = vec![RadianceSum::default(); whole.sums.len()];
            let mut rays = 0;
            for (number, (first_sample, samples)) in ranges.iter().enumerate() {
                let mut part = view;
                (part.sampling.first_sample, part.sampling.samples) = (*first_sample, *samples);
                let count = devices.len();
                let device = devices[(first_device + number) % count].as_mut();
                let tile = render(device, &scene, &TileJob { view: part, rect });
                rays += tile.rays;
                for (sum, more) in sums.iter_mut().zip(tile.sums) {
                    *sum = sum.merged(more);
                }
            }
            assert!(sums == whole.sums && rays == whole.rays, "{ranges:?}");
        }
    }
    let mean: Vec<[f32; 3]> = whole.sums.iter().map(|sum| sum.mean(13)).collect();
    assert_eq!(differing(&mean, &whole.radiance()), 0);
}

#[test]
fn seeds_differ_and_pictures_are_finite_and_lit() {
    for kind in [SceneKind::Cornell, SceneKind::Spheres, SceneKind::City, SceneKind::Knot] {
        let scene = generated(kind);
        let mut cpu = open(BackendChoice::Cpu, Some(2)).unwrap();
        let mut picture = |seed| {
            let view = view(&scene, 64, 48, seed);
            render(cpu.as_mut(), &scene, &TileJob { view, rect: view.size.full() }).radiance()
        };
        let (a, b) = (picture(1), picture(2));
        assert!(differing(&a, &b) > 0, "{kind}");
        assert!(a.iter().flatten().all(|value| value.is_finite() && *value >= 0.0), "{kind}");
        assert!(a.iter().flatten().sum::<f32>() > 1.0, "{kind} is dark");
    }
}

#[test]
fn cancelled_tile_stops() {
    let scene = generated(SceneKind::Cornell);
    let mut view = view(&scene, 512, 512, 1);
    view.sampling.samples = 100_000;
    let (cancelled, progress) = (AtomicBool::new(true), AtomicU32::new(0));
    let control = RenderControl { cancelled: &cancelled, progress: &progress };
    let mut cpu = open(BackendChoice::Cpu, Some(2)).unwrap();
    let job = TileJob { view, rect: view.size.full() };
    assert!(matches!(cpu.render(&scene, &job, &control), Err(RenderError::Cancelled)));
    if let Some(mut gpu) = gpu() {
        assert!(matches!(gpu.render(&scene, &job, &control), Err(RenderError::Cancelled)));
    }
}

#[test]
fn b5_b6_absurd_jobs_are_refused() {
    let scene = generated(SceneKind::Cornell);
    let good =
        TileJob { view: view(&scene, 32, 32, 1), rect: TileRect { x: 0, y: 0, width: 32, height: 32 } };
    let (cancelled, progress) = (AtomicBool::new(false), AtomicU32::new(0));
    let control = RenderControl { cancelled: &cancelled, progress: &progress };
    let mut cpu = open(BackendChoice::Cpu, Some(1)).unwrap();
    let mut outside = good;
    outside.rect.x = 1;
    let mut blind = good;
    blind.view.camera.forward = [f32::NAN; 3];
    let mut endless = good;
    endless.view.sampling.max_depth = 1_000_000;
    for bad in [outside, blind, endless] {
        assert!(matches!(cpu.render(&scene, &bad, &control), Err(RenderError::Job(_))));
    }
}

/// The nearest triangle by trying all: smallest t, then lowest index.
fn brute_force(scene: &PreparedScene, ray: &Ray) -> Hit {
    let mut best = Hit::nothing(f32::INFINITY);
    for (number, instance) in (0_u32..).zip(scene.instances()) {
        let (mesh, inward) = (&scene.meshes()[instance.mesh as usize], instance.inward(ray));
        for (primitive, corners) in (0_u32..).zip(mesh.corners(&scene.forest().trees)) {
            let material = mesh.triangles()[primitive as usize].material as usize;
            if let Some(hit) = corners.hit(&inward, scene.scene().materials[material].double_sided)
                && hit.t < best.t
            {
                best = Hit { t: hit.t, instance: number, primitive, place: 0 };
            }
        }
    }
    best
}

#[test]
fn bvh_finds_what_trying_all_triangles_finds() {
    let mut word = 1_u32;
    let mut random = || {
        word = p2c2r_render::sample::hash(word);
        (word >> 8) as f32 / 16_777_216.0
    };
    let kinds = [SceneKind::Cornell, SceneKind::Spheres, SceneKind::City];
    let scenes = kinds.map(|kind| (kind.to_string(), generated(kind)));
    for (name, scene) in scenes.into_iter().chain([("known".to_owned(), known_scene())]) {
        let camera = Vec3::from(scene.scene().cameras[0].origin);
        let mut stack = Stack::default();
        let mut hits = 0;
        for round in 0..3000 {
            let mut direction = vec3(random() * 2.0 - 1.0, random() * 2.0 - 1.0, random() * 2.0 - 1.0);
            match round % 5 {
                // Along the axes, and in the planes of axis-aligned walls.
                0 => direction = vec3(direction.x.signum(), 0.0, 0.0),
                1 => direction = vec3(0.0, -1.0, 0.0),
                2 => direction.y = 0.0,
                _ => {}
            }
            let mesh = &scene.meshes()[0];
            let triangle = &mesh.triangles()[(random() * mesh.triangles().len() as f32) as usize];
            let origin =
                if round % 2 == 0 { camera } else { scene.forest().trees.corners(triangle.place).corner };
            let ray = Ray { origin, direction: normalize(direction) };
            let expected = brute_force(&scene, &ray);
            let found = scene.closest_solid(&ray, 1e30, &mut stack);
            assert_eq!(
                (found.instance, found.primitive),
                (expected.instance, expected.primitive),
                "{name}, ray {ray:?}"
            );
            assert_eq!(found.is_some(), scene.forest().any_solid(&ray, 1e30, &mut stack));
            hits += usize::from(found.is_some());
        }
        assert!(hits > 500, "{name}: {hits}");
    }
}

/// A closed box whose walls all have one material, seen from inside.
fn closed_box(material: Material) -> Arc<PreparedScene> {
    let corner = |index: u32| [0, 1, 2].map(|axis| if index >> axis & 1 == 1 { 1.0_f32 } else { -1.0 });
    let walls = [[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]];
    let mut mesh = Mesh::default();
    for (axis, wall) in [2, 2, 1, 1, 0, 0].into_iter().zip(walls) {
        let first = mesh.positions.len() as u32;
        for index in wall {
            let position = corner(index);
            mesh.positions.push(position);
            mesh.normals.push([0, 1, 2].map(|other| if other == axis { -position[axis] } else { 0.0 }));
        }
        for vertices in [[first, first + 1, first + 2], [first, first + 2, first + 3]] {
            mesh.triangles.push(Triangle { vertices, material: 0 });
        }
    }
    let scene = Scene {
        meshes: vec![mesh],
        instances: vec![Instance { mesh: 0, to_world: Affine::IDENTITY, to_mesh: Affine::IDENTITY }],
        materials: vec![material],
        cameras: vec![NamedCamera {
            name: "inside".into(),
            origin: [0.1, 0.2, 0.3],
            axes: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]],
            half_height: 1.0,
            parallel: false,
        }],
        ..Scene::default()
    };
    Arc::new(PreparedScene::build(scene))
}

/// Every wall shines with e and reflects a share r: e / (1 - r) is seen everywhere. Lights that are counted by one
/// strategy too many or too few, or a roulette that is not made good, would show at once.
#[test]
fn radiance_in_a_closed_shining_box_is_the_geometric_series() {
    let half = Material { emission: [0.5; 3], double_sided: true, ..Material::default() };
    let kinds = [
        ("metal", 0.25, Material { base_color: [0.5, 0.5, 0.5, 1.0], metallic: 1.0, ..half.clone() }),
        (
            "matt",
            0.9,
            Material { base_color: [0.5, 0.5, 0.5, 1.0], metallic: 0.0, dielectric_f0: 0.0, ..half },
        ),
    ];
    // Rough metal would lose light between its own facets: what is left of it is no simple number.
    for (kind, roughness, material) in
        kinds.into_iter().flat_map(|(kind, most, material)| [0.1, most].map(|r| (kind, r, material.clone())))
    {
        let scene = closed_box(Material { roughness, ..material.clone() });
        let mut view = view(&scene, 24, 24, 3);
        view.sampling.samples = 128;
        view.sampling.max_depth = 32;
        let mut cpu = open(BackendChoice::Cpu, Some(2)).unwrap();
        let tile = render(cpu.as_mut(), &scene, &TileJob { view, rect: view.size.full() });
        let radiance = tile.radiance();
        let mean = radiance.iter().map(|pixel| f64::from(pixel[1])).sum::<f64>() / radiance.len() as f64;
        // r is 0.5 head-on and more at grazing angles: half of (1 - cos)^5, whose mean is 1/21 over diffuse light.
        assert!((0.99..1.10).contains(&mean), "{kind}, roughness {roughness}: {mean}");
    }
}
