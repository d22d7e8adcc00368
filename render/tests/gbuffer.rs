//! The G-buffer tells what a scene of known geometry shows.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(clippy::float_cmp, reason = "these values are exact")]

use std::sync::atomic::{AtomicBool, AtomicU32};

use p2c2r_protocol::tile::{Camera, FrameSize, Sampling};
use p2c2r_render::{
    backend::{FrameView, RenderControl, RenderError, camera, render_pixels},
    gbuffer::{self, GBuffer, NEVER_SEEN, NO_INSTANCE},
    limit::SceneLimits,
    prepared::PreparedScene,
    scene::{
        Affine, Instance, Material, Mesh, NamedCamera, Scene, Triangle,
        generate::{SceneKind, generate},
        gltf::parse_package,
    },
};

/// Samples of each pixel.
const SAMPLES: u32 = 4;
/// How far the square is from the camera.
const DISTANCE: f32 = 2.0;

/// A unit square that faces +z around the origin, twice: shifted left, matt red, and right, unlit blue.
fn two_squares() -> PreparedScene {
    let square = |material| Mesh {
        positions: vec![[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0]],
        normals: vec![[0.0, 0.0, 1.0]; 4],
        triangles: vec![
            Triangle { vertices: [0, 1, 2], material },
            Triangle { vertices: [0, 2, 3], material },
        ],
        ..Mesh::default()
    };
    let shifted = |mesh, x: f32| {
        let moved = |by| Affine([[1.0, 0.0, 0.0, by], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
        Instance { mesh, to_world: moved(x), to_mesh: moved(-x) }
    };
    PreparedScene::build(Scene {
        meshes: vec![square(0), square(1)],
        instances: vec![shifted(0, -0.5), shifted(1, 0.5)],
        materials: vec![
            Material { base_color: [0.75, 0.25, 0.5, 1.0], metallic: 0.0, ..Material::default() },
            Material { base_color: [0.125, 0.25, 0.875, 1.0], unlit: true, ..Material::default() },
        ],
        cameras: vec![NamedCamera {
            name: "front".into(),
            origin: [0.0, 0.0, DISTANCE],
            axes: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]],
            half_height: 0.5,
            parallel: false,
        }],
        ..Scene::default()
    })
}

fn view(scene: &PreparedScene, width: u32, height: u32) -> FrameView {
    let size = FrameSize::new(width, height).unwrap();
    let sampling = Sampling { first_sample: 0, samples: SAMPLES, max_depth: 3, seed: 5, clamp: 0.0 };
    FrameView { size, sampling, camera: camera(&scene.scene().cameras[0], size) }
}

fn render(scene: &PreparedScene, view: &FrameView, previous: Option<&Camera>) -> GBuffer {
    let (cancelled, progress) = (AtomicBool::new(false), AtomicU32::new(0));
    let control = RenderControl { cancelled: &cancelled, progress: &progress };
    gbuffer::render(scene, view, previous, SAMPLES, &control).unwrap()
}

/// The film is 3 wide and 1.5 high at the squares' distance; the squares cover x from -1 to 1 and y from -0.5 to 0.5.
#[test]
fn squares_have_their_colour_normal_depth_and_instance_and_the_background_none() {
    let scene = two_squares();
    let view = view(&scene, 48, 32);
    let buffer = render(&scene, &view, None);
    let at = |x: usize, y: usize| y * 48 + x;
    let (left, right, corner) = (at(16, 16), at(31, 16), at(1, 1));
    assert_eq!(buffer.features.albedo[left], [0.75, 0.25, 0.5]);
    assert_eq!(buffer.features.albedo[right], [0.125, 0.25, 0.875]);
    assert_eq!(buffer.features.normal[left], [0.0, 0.0, 1.0]);
    // The pixel's middle is 0.5 to the left: the ray is longer than the straight way.
    let slanted = (DISTANCE * DISTANCE + 0.47 * 0.47_f32).sqrt();
    assert!((buffer.features.depth[left] - slanted).abs() < 0.02, "{}", buffer.features.depth[left]);
    assert_eq!((buffer.instance[left], buffer.instance[right], buffer.instance[corner]), (0, 1, NO_INSTANCE));
    assert_eq!(
        (buffer.features.albedo[corner], buffer.features.normal[corner], buffer.features.depth[corner]),
        ([0.0; 3], [0.0; 3], 0.0)
    );
    assert!(buffer.motion.iter().all(|motion| *motion == [0.0; 2]));
}

/// An unlit surface before a black sky: its radiance is its colour, averaged over the very same rays.
#[test]
fn partly_covered_pixels_are_covered_by_the_same_rays_as_the_picture() {
    let scene = two_squares();
    let view = view(&scene, 50, 30);
    let buffer = render(&scene, &view, None);
    let pixels: Vec<(u32, u32)> = (0..30).flat_map(|y| (25..50).map(move |x| (x, y))).collect();
    let mut partly = 0;
    for ((x, y), radiance) in pixels.iter().zip(render_pixels(&scene, &view, &pixels)) {
        let index = (y * 50 + x) as usize;
        let albedo = buffer.features.albedo[index];
        for channel in 0..3 {
            assert!((radiance[channel] - albedo[channel]).abs() < 1e-5, "({x}, {y})");
        }
        let is_partly = albedo[2] > 0.0 && albedo[2] < 0.87;
        partly += usize::from(is_partly);
        // The depth is that of the surface, not a mean of surface and sky.
        assert!(!is_partly || buffer.features.depth[index] > DISTANCE, "({x}, {y})");
    }
    assert!(partly > 5, "{partly} pixels at the square's edge");
}

/// Parallel rays meet the squares where they meet the film, however far it is; its edges are theirs.
#[test]
fn parallel_cameras_see_the_same_at_every_distance() {
    let scene = two_squares();
    let mut near = view(&scene, 64, 32);
    near.camera.parallel = true;
    let mut far = near;
    far.camera.origin[2] += 100.0;
    let (seen_near, seen_far) = (render(&scene, &near, None), render(&scene, &far, None));
    assert_eq!(seen_near.features.albedo, seen_far.features.albedo);
    let half = |pixel: usize| u32::from(pixel % 64 >= 32);
    for (pixel, instance) in seen_near.instance.iter().enumerate() {
        assert_eq!(*instance, half(pixel), "the film is as large as both squares");
        assert!((seen_near.features.depth[pixel] - DISTANCE).abs() < 1e-5);
        assert!((seen_far.features.depth[pixel] - DISTANCE - 100.0).abs() < 1e-3);
    }
    // Half a film to the left: whatever is seen was 16 of 64 pixels further to the right.
    let mut before = near.camera;
    before.origin[0] -= 0.5;
    let panned = render(&scene, &near, Some(&before));
    assert!(panned.motion.iter().all(|[x, y]| (x - 16.0).abs() < 1e-3 && y.abs() < 1e-3));
}

#[test]
fn motion_leads_to_where_the_surface_was() {
    let scene = two_squares();
    let view = view(&scene, 64, 32);
    let still = render(&scene, &view, Some(&view.camera));
    assert!(still.motion.iter().all(|motion| *motion == [0.0; 2]));

    // The camera came from the right: everything was further to the left then.
    let mut before = view.camera;
    before.origin[0] += 0.25;
    let panned = render(&scene, &view, Some(&before));
    // One pixel at the squares' distance is 2 * 0.5 * DISTANCE / 32 wide.
    let pixels = 0.25 / (DISTANCE / 32.0);
    for (index, motion) in panned.motion.iter().enumerate() {
        let expected = if panned.instance[index] == NO_INSTANCE { 0.0 } else { -pixels };
        assert!((motion[0] - expected).abs() < 1e-3 && motion[1].abs() < 1e-3, "pixel {index}: {motion:?}");
    }

    // Turned by a quarter of the film's width: even the sky moves.
    let mut turned = view.camera;
    let (sine, cosine) = (0.242_535_63, 0.970_142_5);
    let turn = |[x, y, z]: [f32; 3]| [cosine * x - sine * z, y, sine * x + cosine * z];
    (turned.forward, turned.right) = (turn(turned.forward), turn(turned.right));
    let sky = render(&scene, &view, Some(&turned)).motion[16 * 64 + 2];
    assert!(sky[0].abs() > 10.0, "{sky:?}");

    let mut backwards = view.camera;
    backwards.forward = backwards.forward.map(|axis| -axis);
    let unseen = render(&scene, &view, Some(&backwards));
    assert!(unseen.motion.iter().all(|motion| *motion == NEVER_SEEN));
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    let package = generate(SceneKind::City, 3, Some(3000));
    let scene = PreparedScene::build(parse_package(&package, &SceneLimits::default()).unwrap().scene);
    let view = view(&scene, 70, 40);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| render(&scene, &view, None))
    };
    let (one, three) = (on(1), on(3));
    let depths =
        |buffer: &GBuffer| buffer.features.depth.iter().map(|depth| depth.to_bits()).collect::<Vec<_>>();
    assert_eq!(depths(&one), depths(&three));
    assert_eq!(one, three);
    assert!(one.instance.iter().any(|instance| *instance != NO_INSTANCE));
}

#[test]
fn cancelled_and_absurd_requests_are_refused() {
    let scene = two_squares();
    let mut view = view(&scene, 48, 32);
    let (cancelled, progress) = (AtomicBool::new(true), AtomicU32::new(0));
    let control = RenderControl { cancelled: &cancelled, progress: &progress };
    let stopped = gbuffer::render(&scene, &view, None, SAMPLES, &control);
    assert!(matches!(stopped, Err(RenderError::Cancelled)));
    view.camera.forward = [f32::NAN; 3];
    assert!(matches!(gbuffer::render(&scene, &view, None, SAMPLES, &control), Err(RenderError::Job(_))));
}
