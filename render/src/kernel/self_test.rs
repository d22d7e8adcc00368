//! The known answer: a small scene with every kind of material, light and texture, rendered at start-up and compared
//! bit by bit with the Rust kernel. A device that passes is of the exact class.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicBool, AtomicU32},
};

use p2c2r_protocol::tile::{Camera, FrameSize, Sampling, TileRect};
use tracing::warn;

use crate::{
    backend::{Backend, FrameView, RenderControl, TileJob, camera, render_pixels},
    math::{Vec3, cross, dot, normalize, vec3},
    prepared::PreparedScene,
    scene::{
        Affine, AlphaMode, Environment, Filter, Image, Instance, Material, Mesh, NamedCamera, PunctualLight,
        Scene, Texture, TextureUse, Triangle, Wrap, environment::EnvironmentMap,
    },
};

/// Edge of the known tile, pixels: enough for every material to be met, few enough for a software device to be quick.
const EDGE_PX: u32 = 20;

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
    let sampling = Sampling { first_sample: 0, samples: 2, max_depth: 5, seed: 42, clamp: 1.5 };
    let pinhole = camera(&scene.scene().cameras[0], size);
    let camera = Camera { lens_radius: 0.02, focus_distance: 2.5, ..pinhole };
    TileJob { view: FrameView { size, sampling, camera }, rect: size.full() }
}

/// Whether the backend renders the known tile to the same bits as the Rust kernel.
pub fn passes(backend: &mut dyn Backend) -> bool {
    let (scene, job) = (known_scene(), known_tile());
    let (cancelled, progress) = (AtomicBool::new(false), AtomicU32::new(0));
    let control = RenderControl { cancelled: &cancelled, progress: &progress };
    let rendered = match backend.load(&scene).and_then(|()| backend.render(&scene, &job, &control)) {
        Ok(rendered) => rendered.radiance(),
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

/// A room that shows every kind of material, texture and light: mapped and mirrored instances of a panel before walls.
fn scene() -> Scene {
    let mut room = Mesh::default();
    let [x, y, z] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    quad(&mut room, 0, [-2.0, 0.0, 2.0], scaled(x, 4.0), scaled(z, -4.0));
    quad(&mut room, 1, [-1.5, 0.0, -1.2], [1.5, 0.0, -0.4], scaled(y, 1.6));
    quad(&mut room, 2, [0.1, 0.0, -1.5], [1.3, 0.0, 0.7], [0.1, 1.2, -0.2]);
    quad(&mut room, 3, [-0.4, 1.9, -0.4], scaled(x, 0.8), scaled(z, 0.8));
    quad(&mut room, 4, [-1.3, 0.2, 0.4], [0.6, 0.0, 0.2], [0.0, 0.6, -0.1]);
    quad(&mut room, 5, [-0.5, 0.3, 0.9], [0.5, 0.0, 0.1], [0.1, 0.5, 0.0]);
    quad(&mut room, 6, [0.3, 0.2, 0.8], [0.5, 0.0, -0.1], [0.0, 0.7, 0.1]);
    quad(&mut room, 7, [-0.2, 1.1, 0.2], [0.5, 0.1, 0.0], [0.0, 0.4, 0.1]);
    quad(&mut room, 8, [0.9, 0.1, 0.6], [0.4, 0.0, -0.3], [0.0, 0.8, 0.0]);
    let mut panel = Mesh::default();
    quad(&mut panel, 9, [-0.5, -0.5, 0.0], x, y);
    quad(&mut panel, 10, [-0.3, -0.3, 0.2], [0.5, 0.0, 0.1], [0.0, 0.5, 0.1]);
    for (index, vertex) in panel.normals.clone().iter().enumerate() {
        let unit = normalize(vec3(1.0 + 0.1 * index as f32, vertex[1], -vertex[0])).to_array();
        panel.tangents.push([unit[0], unit[1], unit[2], if index % 3 == 0 { -1.0 } else { 1.0 }]);
    }
    Scene {
        meshes: vec![room, panel],
        instances: vec![
            Instance { mesh: 0, to_world: Affine::IDENTITY, to_mesh: Affine::IDENTITY },
            placed(1, [0.6, 0.0, 0.25], [0.5, 0.75, -0.6]),
            placed(1, [-0.5, 0.25, 0.0], [-1.0, 1.0, -0.2]),
        ],
        materials: materials(),
        textures: textures(),
        images: vec![image()],
        lights: vec![
            PunctualLight::Directional { direction: [0.36, 0.8, 0.48], irradiance: [1.5, 1.4, 1.2] },
            PunctualLight::Point {
                position: [1.2, 1.5, 1.0],
                intensity: [0.8, 1.0, 1.6],
                axis: [0.0, -1.0, 0.0],
                cone: [4.0, -2.0],
                range: 5.0,
            },
        ],
        cameras: vec![NamedCamera {
            name: "known".into(),
            origin: [0.1, 1.0, 3.0],
            axes: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]],
            half_height: 0.6,
            parallel: false,
        }],
        sky: [[0.02, 0.02, 0.03], [0.2, 0.3, 0.5]],
        environment: Some(environment()),
    }
}

/// A few texels, one of them a sun, and one black.
fn environment() -> Environment {
    let radiance = (0..15).map(|index| match index {
        4 => [60.0, 50.0, 40.0],
        7 => [0.0; 3],
        _ => [0.02 * index as f32, 0.3 - 0.01 * index as f32, 0.4],
    });
    let map = EnvironmentMap { width: 5, height: 3, radiance: radiance.collect() };
    Environment { map, strength: 0.7, rotation_turns: 0.3 }
}

fn scaled(vector: [f32; 3], factor: f32) -> [f32; 3] {
    vector.map(|value| value * factor)
}

/// Turned about y by a rational angle and sheared a little; mirrored if the first number is negative.
fn placed(mesh: u32, [a, b, c]: [f32; 3], at: [f32; 3]) -> Instance {
    let to_world = Affine([[a, 0.0, b, at[0]], [c, 0.75, 0.0, at[1]], [-0.25, 0.0, 0.5, at[2]]]);
    // The inverse by cofactors, rounded as it comes: a scene file's would be rounded, too.
    let row = |index: usize| vec3(to_world.0[index][0], to_world.0[index][1], to_world.0[index][2]);
    let (r0, r1, r2) = (row(0), row(1), row(2));
    let columns = [cross(r1, r2), cross(r2, r0), cross(r0, r1)];
    let inverse_determinant = 1.0 / dot(r0, columns[0]);
    let [c0, c1, c2] = columns.map(|column| column * inverse_determinant);
    let back = |x: f32, y: f32, z: f32| [x, y, z, -(x * at[0] + y * at[1] + z * at[2])];
    let to_mesh = Affine([back(c0.x, c1.x, c2.x), back(c0.y, c1.y, c2.y), back(c0.z, c1.z, c2.z)]);
    Instance { mesh, to_world, to_mesh }
}

fn materials() -> Vec<Material> {
    let plain = |[red, green, blue]: [f32; 3], metallic: f32, roughness: f32| Material {
        base_color: [red, green, blue, 1.0],
        metallic,
        roughness,
        double_sided: true,
        ..Material::default()
    };
    let seen = |texture: u32, uv_set: u32| {
        Some(TextureUse { texture, uv_set, transform: [[0.8, 0.3, 0.1], [-0.3, 0.9, 0.2]] })
    };
    vec![
        Material { base_color_texture: seen(0, 0), ..plain([0.9, 0.8, 0.7], 0.0, 0.15) },
        Material { normal_texture: seen(1, 0), ..plain([0.95, 0.9, 0.6], 1.0, 0.05) },
        Material { metallic_roughness_texture: seen(1, 1), ..plain([0.2, 0.4, 0.8], 0.8, 0.9) },
        Material { emission: [6.0, 5.0, 3.0], double_sided: false, ..plain([0.5; 3], 0.0, 1.0) },
        Material {
            clearcoat: 0.9,
            clearcoat_texture: seen(2, 0),
            clearcoat_roughness: 0.4,
            clearcoat_roughness_texture: seen(1, 0),
            ..plain([0.8, 0.2, 0.2], 0.0, 1.0)
        },
        Material {
            transmission: 0.9,
            transmission_texture: seen(0, 1),
            dielectric_f0: 0.08,
            ..plain([0.7, 0.9, 0.8], 0.0, 0.2)
        },
        Material {
            alpha: AlphaMode::Blend,
            base_color: [0.3, 0.9, 0.4, 0.6],
            base_color_texture: seen(2, 1),
            ..plain([0.0; 3], 0.0, 0.6)
        },
        Material { emission: [2.0, 3.0, 4.0], emissive_texture: seen(0, 0), ..plain([0.1; 3], 0.0, 0.5) },
        Material { unlit: true, base_color_texture: seen(1, 0), ..plain([0.3, 0.6, 0.9], 0.0, 1.0) },
        Material {
            alpha: AlphaMode::Mask { cutoff: 0.5 },
            base_color_texture: seen(2, 0),
            normal_texture: seen(0, 0),
            normal_scale: 0.7,
            double_sided: false,
            ..plain([0.9; 3], 0.2, 0.4)
        },
        Material { emission: [0.5, 0.2, 1.0], ..plain([0.6, 0.6, 0.2], 0.0, 0.7) },
    ]
}

fn textures() -> Vec<Texture> {
    let texture = |wrap, filter| Texture { image: 0, wrap, filter };
    vec![
        texture([Wrap::Repeat, Wrap::Mirror], Filter::Linear),
        texture([Wrap::Mirror, Wrap::Clamp], Filter::Linear),
        texture([Wrap::Clamp, Wrap::Repeat], Filter::Nearest),
    ]
}

fn image() -> Image {
    let texels = vec![
        [250, 30, 20, 255],
        [20, 200, 240, 90],
        [130, 140, 220, 255],
        [255, 255, 255, 200],
        [128, 128, 255, 30],
        [10, 90, 190, 255],
    ];
    Image { width: 3, height: 2, texels }
}

/// A parallelogram. Everything differs from corner to corner: interpolation is part of the test.
fn quad(mesh: &mut Mesh, material: u32, corner: [f32; 3], along: [f32; 3], up: [f32; 3]) {
    let first = mesh.positions.len() as u32;
    let normal = cross(along.into(), up.into());
    for (index, [u, v]) in [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]].into_iter().enumerate() {
        let position = Vec3::from(corner) + Vec3::from(along) * u + Vec3::from(up) * v;
        let bent = normalize(normal) + vec3(0.05 * index as f32, 0.02, -0.03 * index as f32);
        mesh.positions.push(position.to_array());
        mesh.normals.push(normalize(bent).to_array());
        mesh.uvs[0].push([u * 2.5 - 0.3, 1.7 - v * 2.3]);
        mesh.uvs[1].push([v * 1.5 + 0.1, u * 1.25]);
        mesh.colors.push([1.0, 1.0 - 0.1 * u, 1.0 - 0.2 * v, 1.0 - 0.05 * u]);
    }
    for vertices in [[first, first + 1, first + 2], [first, first + 2, first + 3]] {
        mesh.triangles.push(Triangle { vertices, material });
    }
}
