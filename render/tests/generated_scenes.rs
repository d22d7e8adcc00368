//! Generated scenes load back as what they were described to be, and an independent glTF reader accepts them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    reason = "a panic is a test's report; the numbers are exact"
)]

use std::collections::HashSet;

use p2c2r_protocol::tile::SceneTime;
use p2c2r_render::{
    limit::SceneLimits,
    scene::{
        Material, Scene,
        generate::{SceneKind, generate, generate_with_drive},
        gltf::{cameras_over, parse_package, parse_package_at},
    },
};

/// Most emitting triangles of the city: each light costs samples.
const MAX_CITY_EMITTERS: usize = 3000;

fn load(kind: SceneKind, seed: u64, triangles: Option<u32>) -> Scene {
    let loaded = parse_package(&generate(kind, seed, triangles), &SceneLimits::default()).unwrap();
    assert!(loaded.warnings.is_empty(), "{kind}: {:?}", loaded.warnings);
    loaded.scene
}

fn emitters(scene: &Scene) -> usize {
    let glows = |material: u32| scene.materials[material as usize].emission.iter().any(|value| *value > 0.0);
    scene.meshes.iter().flat_map(|mesh| &mesh.triangles).filter(|triangle| glows(triangle.material)).count()
}

fn camera_names(scene: &Scene) -> Vec<&str> {
    scene.cameras.iter().map(|camera| camera.name.as_str()).collect()
}

#[test]
fn the_cornell_box_has_its_walls_blocks_and_light() {
    let scene = load(SceneKind::Cornell, 1, None);
    assert_eq!(scene.placed_triangles(), 2 * (4 + 4 + 2 * 6) + 2);
    assert_eq!(emitters(&scene), 2);
    assert_eq!(camera_names(&scene), ["front"]);
    assert_eq!((scene.lights.len(), scene.sky), (0, [[0.0; 3]; 2]));
    let light = scene.materials.iter().find(|material| material.emission[0] > 0.0).unwrap();
    assert_eq!(light.emission, [18.0, 0.78 * 18.0, 0.49 * 18.0]);
    let fine = load(SceneKind::Cornell, 1, Some(40_000)).placed_triangles();
    assert!((36_000..44_000).contains(&fine), "{fine}");
}

#[test]
fn the_knot_is_purely_diffuse_and_as_fine_as_asked_for() {
    let scene = load(SceneKind::Knot, 1, Some(200_000));
    assert!((199_000..201_000).contains(&scene.placed_triangles()), "{}", scene.placed_triangles());
    assert_eq!(emitters(&scene), 2);
    let used =
        scene.meshes.iter().flat_map(|mesh| &mesh.triangles).map(|triangle| triangle.material as usize);
    let purely_diffuse = |material: &Material| material.dielectric_f0 == 0.0 && material.metallic == 0.0;
    assert!(used.map(|material| &scene.materials[material]).all(purely_diffuse));
}

#[test]
fn the_spheres_have_a_textured_floor_many_materials_and_a_sky() {
    let scene = load(SceneKind::Spheres, 3, None);
    assert!((25_000..50_000).contains(&scene.placed_triangles()), "{}", scene.placed_triangles());
    assert_eq!(camera_names(&scene), ["front", "close"]);
    assert_eq!(emitters(&scene), 6);
    let [texture] = &scene.images[..] else { panic!("one picture") };
    assert_eq!((texture.width, texture.height), (128, 128));
    assert_eq!(
        (texture.texels[33 * 128 + 1], texture.texels[128 + 1]),
        ([214, 208, 196, 255], [52, 58, 72, 255])
    );
    assert_eq!(scene.materials[0].base_color_texture.map(|used| used.texture), Some(0));
    assert!(scene.sky[1][2] > 0.0);
    let small = load(SceneKind::Spheres, 3, Some(500)).placed_triangles();
    assert!((100..1000).contains(&small), "{small}");
}

#[test]
fn the_city_is_large_and_its_lights_are_few() {
    for seed in 1..12 {
        let scene = load(SceneKind::City, seed, None);
        assert!((30_000..60_000).contains(&scene.placed_triangles()), "{}", scene.placed_triangles());
        let lights = emitters(&scene);
        assert!((500..=MAX_CITY_EMITTERS).contains(&lights), "{lights} emitters");
        assert_eq!(camera_names(&scene), ["street", "above"]);
        assert!(scene.materials.iter().any(|material| material.roughness < 0.1));
        assert!(scene.materials.iter().any(|material| material.roughness > 0.6));
    }
}

#[test]
fn the_city_grows_with_the_triangles_asked_for() {
    let large = load(SceneKind::City, 1, Some(300_000));
    assert!((200_000..400_000).contains(&large.placed_triangles()), "{}", large.placed_triangles());
    assert!(emitters(&large) <= MAX_CITY_EMITTERS, "{}", emitters(&large));
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    for kind in SceneKind::ALL {
        assert_eq!(generate(kind, 5, None), generate(kind, 5, None));
        assert_eq!(kind.to_string().parse::<SceneKind>(), Ok(kind));
    }
    for kind in [SceneKind::Spheres, SceneKind::City] {
        assert_ne!(generate(kind, 5, None), generate(kind, 6, None));
    }
    assert!("town".parse::<SceneKind>().is_err());
}

#[test]
fn extreme_sizes_still_make_scenes() {
    for kind in SceneKind::ALL {
        assert!(!load(kind, 1, Some(0)).meshes.is_empty());
    }
}

/// The `gltf` crate validates the whole document and reads the same triangles.
#[test]
fn an_independent_reader_sees_the_same_scene() {
    for kind in SceneKind::ALL {
        let bytes = generate(kind, 2, None);
        let ours = parse_package(&bytes, &SceneLimits::default()).unwrap().scene;
        let theirs = gltf::Gltf::from_slice(&bytes).unwrap();
        let blob = theirs.blob.as_deref().unwrap();
        let (mut positions, mut triangles) = (Vec::new(), 0);
        for primitive in theirs.document.meshes().flat_map(|mesh| mesh.primitives().collect::<Vec<_>>()) {
            let reader = primitive.reader(|_| Some(blob));
            positions.extend(reader.read_positions().unwrap());
            triangles += reader.read_indices().unwrap().into_u32().count() / 3;
        }
        assert_eq!(triangles, ours.placed_triangles());
        assert_eq!(positions, ours.meshes[0].positions);
        for (theirs, ours) in theirs.document.materials().zip(&ours.materials) {
            let strength = theirs.emissive_strength().unwrap_or(1.0);
            assert_eq!(theirs.emissive_factor().map(|factor| factor * strength), ours.emission);
            assert_eq!(theirs.pbr_metallic_roughness().roughness_factor(), ours.roughness);
        }
        let cameras: HashSet<_> =
            theirs.document.cameras().map(|camera| camera.name().unwrap_or_default().to_owned()).collect();
        assert_eq!(cameras, ours.cameras.iter().map(|camera| camera.name.clone()).collect());
    }
}

#[test]
fn only_the_first_camera_of_a_drive_moves() {
    let package = generate_with_drive(SceneKind::City, 1, Some(20_000), 4.0);
    let limits = SceneLimits::default();
    let time = |us| SceneTime::from_us(us).unwrap();
    let still = parse_package(&package, &limits).unwrap();
    assert!(still.cameras_move && !still.moves);
    let times = [time(0), time(2_000_000), time(4_000_000), time(9_000_000)];
    let cameras = cameras_over(&package, &limits, times).unwrap();
    assert_eq!(cameras[0], still.scene.cameras);
    let way = |index: usize| -> Vec<f32> {
        let [from, to] = [0, index].map(|time: usize| cameras[time][0].origin);
        from.iter().zip(to).map(|(from, to)| to - from).collect()
    };
    assert!(way(2).iter().map(|axis| axis.abs()).sum::<f32>() > 1.0);
    assert!(way(1).iter().zip(way(2)).all(|(half, whole)| (2.0 * half - whole).abs() < 1e-4));
    assert_eq!(way(3), way(2), "it stays where the drive ends");
    assert!(cameras.iter().all(|at| at[1..] == cameras[0][1..] && at[0].axes == cameras[0][0].axes));
    let later = parse_package_at(&package, &limits, time(2_000_000)).unwrap();
    assert_eq!(later.scene.cameras, cameras[1]);
    assert_eq!(later.scene.meshes, still.scene.meshes);
}
