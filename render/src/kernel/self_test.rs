//! The known answer: a small scene with every kind of material, light and texture, rendered at start-up and compared
//! bit by bit with the Rust kernel. A device that passes is of the exact class.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicBool, AtomicU32},
};

use p2c2r_protocol::tile::{FrameSize, Sampling, TileRect};
use tracing::warn;

use crate::{
    backend::{Backend, FrameView, RenderControl, TileJob, camera, render_pixels},
    prepared::PreparedScene,
    scene::{Material, NamedCamera, Scene, Texture, Triangle, Vertex, Wrap},
};

/// Edge of the known tile, pixels.
const EDGE_PX: u32 = 48;

/// The scene, built once.
pub fn known_scene() -> Arc<PreparedScene> {
    static SCENE: LazyLock<Arc<PreparedScene>> = LazyLock::new(|| Arc::new(PreparedScene::build(scene())));
    Arc::clone(&SCENE)
}

/// The tile.
pub fn known_tile() -> TileJob {
    let scene = known_scene();
    // invariant: the numbers are constants within the limits.
    let size = FrameSize::new(EDGE_PX, EDGE_PX).unwrap_or_else(|_| unreachable!("a constant size is valid"));
    let sampling = Sampling { first_sample: 0, samples: 4, max_depth: 6, seed: 42 };
    TileJob {
        view: FrameView { size, sampling, camera: camera(&scene.scene().cameras[0], size) },
        rect: size.full(),
    }
}

/// Whether the backend renders the known tile to the same bits as the Rust kernel.
pub fn passes(backend: &mut dyn Backend) -> bool {
    let (scene, job) = (known_scene(), known_tile());
    let (cancelled, progress) = (AtomicBool::new(false), AtomicU32::new(0));
    let control = RenderControl { cancelled: &cancelled, progress: &progress };
    let rendered = match backend.load(&scene).and_then(|()| backend.render(&scene, &job, &control)) {
        Ok(rendered) => rendered.radiance,
        Err(error) => {
            warn!(adapter = backend.info().adapter, %error, "the self-test could not be rendered");
            return false;
        }
    };
    let expected = render_pixels(&scene, &job.view, &pixels(job.rect));
    let different =
        rendered.iter().zip(&expected).filter(|(a, b)| a.map(f32::to_bits) != b.map(f32::to_bits)).count();
    if different > 0 {
        warn!(
            adapter = backend.info().adapter,
            different,
            of = expected.len(),
            "the self-test's pixels differ"
        );
    }
    different == 0 && rendered.len() == expected.len()
}

fn pixels(rect: TileRect) -> Vec<(u32, u32)> {
    (rect.y..rect.y + rect.height).flat_map(|y| (rect.x..rect.x + rect.width).map(move |x| (x, y))).collect()
}

fn material(base_color: [f32; 3], metallic: f32, roughness: f32) -> Material {
    Material { base_color, base_color_texture: None, metallic, roughness, emission: [0.0; 3] }
}

/// A textured floor, walls from mirror to matt, an emissive quad, a tilted smooth-shaded quad, a sun and a sky.
fn scene() -> Scene {
    let mut scene = Scene {
        materials: vec![
            Material { base_color_texture: Some(0), ..material([0.9, 0.8, 0.7], 0.0, 0.15) },
            material([0.95, 0.9, 0.6], 1.0, 0.05),
            material([0.2, 0.4, 0.8], 0.3, 0.5),
            Material { emission: [6.0, 5.0, 3.0], ..material([0.5; 3], 0.0, 1.0) },
            material([0.8, 0.2, 0.2], 0.0, 1.0),
        ],
        textures: vec![Texture {
            width: 3,
            height: 2,
            texels: vec![
                [250, 30, 20, 255],
                [20, 200, 40, 255],
                [30, 40, 220, 255],
                [255; 4],
                [128; 4],
                [10; 4],
            ],
            wrap: [Wrap::Repeat, Wrap::Mirror],
        }],
        cameras: vec![NamedCamera {
            name: "known".into(),
            origin: [0.1, 1.0, 3.0],
            axes: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]],
            tan_half_fov_y: 0.6,
        }],
        sky: [[0.02, 0.02, 0.03], [0.2, 0.3, 0.5]],
        sun: Some(crate::scene::Sun { direction: [0.36, 0.8, 0.48], irradiance: [1.5, 1.4, 1.2] }),
        ..Scene::default()
    };
    quad(
        &mut scene,
        0,
        [[-2.0, 0.0, 2.0], [2.0, 0.0, 2.0], [2.0, 0.0, -2.0], [-2.0, 0.0, -2.0]],
        [0.0, 1.0, 0.0],
    );
    quad(
        &mut scene,
        1,
        [[-1.5, 0.0, -1.0], [0.0, 0.0, -1.5], [0.0, 1.6, -1.5], [-1.5, 1.6, -1.0]],
        [0.3, 0.0, 0.95],
    );
    quad(
        &mut scene,
        2,
        [[0.1, 0.0, -1.5], [1.4, 0.0, -0.8], [1.4, 1.2, -0.8], [0.1, 1.2, -1.5]],
        [-0.4, 0.3, 0.86],
    );
    quad(
        &mut scene,
        3,
        [[-0.4, 1.9, -0.4], [0.4, 1.9, -0.4], [0.4, 1.9, 0.4], [-0.4, 1.9, 0.4]],
        [0.0, -1.0, 0.0],
    );
    quad(
        &mut scene,
        4,
        [[-1.0, 0.2, 0.4], [-0.4, 0.2, 0.6], [-0.4, 0.8, 0.5], [-1.0, 0.8, 0.3]],
        [0.0, 0.1, 0.99],
    );
    scene
}

fn quad(scene: &mut Scene, material: u32, corners: [[f32; 3]; 4], normal: [f32; 3]) {
    let first = scene.vertices.len() as u32;
    let uvs = [[-0.3, 1.7], [2.2, 1.7], [2.2, -0.6], [-0.3, -0.6]];
    for (index, (position, uv)) in corners.into_iter().zip(uvs).enumerate() {
        // Normals that differ from corner to corner: interpolation is part of the test.
        let bend = 0.05 * index as f32;
        let normal =
            crate::math::normalize(crate::math::vec3(normal[0] + bend, normal[1], normal[2])).to_array();
        scene.vertices.push(Vertex { position, normal, uv });
    }
    for vertices in [[first, first + 1, first + 2], [first, first + 2, first + 3]] {
        scene.triangles.push(Triangle { vertices, material });
    }
}
