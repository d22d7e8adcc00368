//! What the game looks like: the base picture of a frame, and the path-traced light that lies over it.
//!
//! A base pixel is four bytes: colour of the surface (three sRGB codes) and how brightly a cheap light falls on it; 255
//! means that the colour is seen as it is (lamps, sky). A pixel of light is four bytes: mantissas and exponent that the
//! three share (Ward 1991).

use p2c2r_protocol::tile::{Camera, FrameSize, GeometryError, Sampling};
use p2c2r_render::{
    backend::{FrameView, render_pixels},
    film::Film,
    prepared::PreparedScene,
    realtime::{
        base::{AmbientLight, BasePass, BasePixel, BaseView},
        layer::{LayerError, LayerPixel, LitFrame},
    },
    scene::{Affine, Instance, Material, Mesh, Scene, Triangle},
    tone::{ToneCurve, ToneMapping, ToneTable},
};

use crate::{
    layout::{CAMERA_LEN, POSE_LEN, metres, turn},
    level::{AGENT_HALF_M, AGENT_HEIGHT_M, BODY_HALF_M, HALF_M, Level},
    limit::{LIGHT_DEPTH, LIGHT_PX, LIGHT_SAMPLES, PICTURE_PX},
};

/// Bytes of a pixel of the base, and of the light.
pub const PIXEL_BYTES: usize = 4;
/// How much of the film is seen: half its height at distance 1.
const HALF_HEIGHT: f32 = 0.55;
/// Materials, in the order of the scene's meshes: ground, buildings, three colours of bodies, two of agents, lamps.
const COLORS: [[f32; 3]; 8] = [
    [0.32, 0.33, 0.35],
    [0.55, 0.52, 0.48],
    [0.75, 0.32, 0.12],
    [0.15, 0.42, 0.65],
    [0.72, 0.62, 0.2],
    [0.25, 0.55, 0.3],
    [0.6, 0.25, 0.45],
    [1.0, 0.85, 0.6],
];
const GROUND: u32 = 0;
const BUILDING: u32 = 1;
const FIRST_BODY: u32 = 2;
const FIRST_AGENT: u32 = 5;
const LAMP: u32 = 7;
/// Radiance of a lamp.
const LAMP_RADIANCE: f32 = 14.0;
/// Where lamps hang, metres: above the crossings around the middle.
const LAMP_AT: [[f32; 3]; 4] = [[-7.5, 4.5, -7.5], [7.5, 4.5, -7.5], [-7.5, 4.5, 7.5], [7.5, 4.5, 7.5]];
/// Half a lamp's edges, metres.
const LAMP_HALF: [f32; 3] = [0.6, 0.1, 0.6];
/// Dusk.
const SKY: [[f32; 3]; 2] = [[0.10, 0.09, 0.10], [0.18, 0.24, 0.42]];
/// The cheap light, as bright as what the lamps and the sky bring on average.
const AMBIENT: [f32; 3] = [0.55; 3];
/// Shades are shares of this radiance.
const SHADE_RANGE: f32 = 1.0;
/// The code of what shines by itself.
const SEEN_AS_IT_IS: u8 = 255;

/// Draws pictures of a level. Made once: it keeps its memory.
pub struct Painter {
    base: BasePass,
    tone: ToneTable,
}

impl Default for Painter {
    fn default() -> Self {
        Self {
            base: BasePass::new(),
            tone: ToneTable::new(ToneMapping { curve: ToneCurve::Linear, exposure_stops: 0.0 }),
        }
    }
}

/// Where everything stands that a picture shows.
pub struct Stand<'a> {
    /// Place and direction of the camera, in steps.
    pub camera: [i32; CAMERA_LEN],
    /// Poses of the bodies, in steps.
    pub bodies: &'a [[i32; POSE_LEN]],
    /// Places of the agents, in steps.
    pub agents: &'a [[i32; 2]],
}

impl Painter {
    /// The base picture, [`PICTURE_PX`] pixels of [`PIXEL_BYTES`].
    pub fn base(&mut self, level: &Level, stand: &Stand<'_>) -> Result<Vec<u8>, GeometryError> {
        let scene = scene(level, stand);
        let size = FrameSize::new(PICTURE_PX.0, PICTURE_PX.1)?;
        let view = BaseView { size, camera: camera(stand, size) };
        let light = AmbientLight { level: AMBIENT };
        let base = self.base.render(&scene, &view, size.full(), &light)?;
        Ok(base.pixels.iter().flat_map(|pixel| self.base_pixel(pixel)).collect())
    }

    fn base_pixel(&self, pixel: &BasePixel) -> [u8; PIXEL_BYTES] {
        let shines = !pixel.is_surface() || pixel.emission.iter().any(|channel| *channel > 0.0);
        let [red, green, blue] = self.tone.to_srgb8(if shines { pixel.emission } else { pixel.albedo });
        if shines {
            return [red, green, blue, SEEN_AS_IT_IS];
        }
        let [albedo, radiance] = [pixel.albedo, pixel.radiance].map(|color| color.iter().sum::<f32>());
        let shade = radiance / albedo.max(1e-3) / SHADE_RANGE;
        [red, green, blue, (shade * 254.0).clamp(0.0, 254.0) as u8]
    }
}

/// The light, [`LIGHT_PX`] pixels of [`PIXEL_BYTES`]: what arrives at each place, without noise as far as possible.
pub fn light(level: &Level, tick: u32, stand: &Stand<'_>) -> Result<Vec<u8>, LayerError> {
    let scene = scene(level, stand);
    let size = FrameSize::new(LIGHT_PX.0, LIGHT_PX.1)?;
    let sampling =
        Sampling { first_sample: 0, samples: LIGHT_SAMPLES, max_depth: LIGHT_DEPTH, seed: tick, clamp: 8.0 };
    let view = FrameView { size, sampling, camera: camera(stand, size) };
    let pixels: Vec<(u32, u32)> =
        (0..LIGHT_PX.1).flat_map(|y| (0..LIGHT_PX.0).map(move |x| (x, y))).collect();
    let radiance = render_pixels(&scene, &view, &pixels);
    let film = Film::from_fn(size, |index| radiance.get(index).copied());
    let frame = LitFrame::new(&scene, &view, &film)?;
    let layer = frame.denoised(&frame.layer(None))?;
    Ok(layer.pixels.iter().flat_map(light_pixel).collect())
}

fn light_pixel(pixel: &LayerPixel) -> [u8; PIXEL_BYTES] {
    if !pixel.is_lit() {
        return [0; PIXEL_BYTES];
    }
    let most = pixel.light.iter().fold(0.0_f32, |most, channel| most.max(*channel));
    // The exponent that lets the brightest channel just fit; by halving, since powers differ between machines.
    let (mut scale, mut exponent) = (1.0_f32, 128_u8);
    while most >= scale && exponent < 160 {
        (scale, exponent) = (scale * 2.0, exponent + 1);
    }
    while most < scale * 0.5 && exponent > 100 {
        (scale, exponent) = (scale * 0.5, exponent - 1);
    }
    let [red, green, blue] = pixel.light.map(|channel| (channel / scale * 256.0).clamp(0.0, 255.0) as u8);
    [red, green, blue, exponent]
}

/// What a player sees: the base under the light, three sRGB codes a pixel; light that is not there (or of another size)
/// is the base's cheap one.
pub fn compose(base: &[u8], light: Option<&[u8]>, tone: &ToneTable) -> Vec<u8> {
    let light = light.filter(|light| light.len() == (LIGHT_PX.0 * LIGHT_PX.1) as usize * PIXEL_BYTES);
    let pixels = base.chunks_exact(PIXEL_BYTES).enumerate();
    pixels
        .flat_map(|(index, pixel)| {
            let color: [f32; 3] = std::array::from_fn(|channel| linear(pixel[channel]));
            if pixel[3] == SEEN_AS_IT_IS {
                return tone.to_srgb8(color);
            }
            let place = (index as u32 % PICTURE_PX.0, index as u32 / PICTURE_PX.0);
            let cheap = [f32::from(pixel[3]) / 254.0 * SHADE_RANGE; 3];
            let arriving = light.and_then(|light| light_at(light, place)).unwrap_or(cheap);
            tone.to_srgb8(std::array::from_fn(|channel| color[channel] * arriving[channel]))
        })
        .collect()
}

/// Of the four nearest pixels of light that have any, weighted by how near they are.
fn light_at(light: &[u8], (x, y): (u32, u32)) -> Option<[f32; 3]> {
    let along = |place: u32, of: u32, to: u32| {
        let middle = (place as f32 + 0.5) * to as f32 / of as f32 - 0.5;
        let first = middle.floor();
        (first as i64, middle - first)
    };
    let (column, right) = along(x, PICTURE_PX.0, LIGHT_PX.0);
    let (row, down) = along(y, PICTURE_PX.1, LIGHT_PX.1);
    let (mut sum, mut weights) = ([0.0; 3], 0.0);
    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let weight = (if dx == 0 { 1.0 - right } else { right }) * if dy == 0 { 1.0 - down } else { down };
        let column = (column + dx).clamp(0, i64::from(LIGHT_PX.0) - 1) as usize;
        let row = (row + dy).clamp(0, i64::from(LIGHT_PX.1) - 1) as usize;
        let at = (row * LIGHT_PX.0 as usize + column) * PIXEL_BYTES;
        let Some([red, green, blue, exponent]) = light.get(at..at + PIXEL_BYTES) else { continue };
        if *exponent == 0 {
            continue;
        }
        let scale = (f32::from(*exponent) - 128.0).exp2() / 256.0;
        for (sum, mantissa) in sum.iter_mut().zip([red, green, blue]) {
            *sum += (f32::from(*mantissa) + 0.5) * scale * weight;
        }
        weights += weight;
    }
    (weights > 1e-3).then(|| sum.map(|channel| channel / weights))
}

/// The inverse of the sRGB curve (IEC 61966-2-1).
fn linear(code: u8) -> f32 {
    let value = f32::from(code) / 255.0;
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

fn camera(stand: &Stand<'_>, size: FrameSize) -> Camera {
    let [x, y, z, dx, dy, dz] = stand.camera;
    let origin = metres([x, y, z]);
    let unit = |[x, y, z]: [f32; 3], otherwise: [f32; 3]| {
        let length = (x * x + y * y + z * z).sqrt();
        if length > 1e-3 { [x / length, y / length, z / length] } else { otherwise }
    };
    let forward = unit(turn([dx, dy, dz]), [0.0, 0.0, -1.0]);
    let right = unit([-forward[2], 0.0, forward[0]], [1.0, 0.0, 0.0]);
    let up = cross(right, forward);
    let aspect = size.width_px() as f32 / size.height_px() as f32;
    Camera {
        origin,
        forward,
        right: right.map(|part| part * HALF_HEIGHT * aspect),
        up: up.map(|part| part * HALF_HEIGHT),
        lens_radius: 0.0,
        focus_distance: 0.0,
        parallel: false,
    }
}

fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// The scene of a moment.
fn scene(level: &Level, stand: &Stand<'_>) -> PreparedScene {
    let materials = COLORS.iter().enumerate().map(|(index, [red, green, blue])| Material {
        base_color: [*red, *green, *blue, 1.0],
        metallic: 0.0,
        roughness: 0.8,
        emission: if index as u32 == LAMP {
            [red * LAMP_RADIANCE, green * LAMP_RADIANCE, blue * LAMP_RADIANCE]
        } else {
            [0.0; 3]
        },
        ..Material::default()
    });
    let mut instances = vec![upright(GROUND, [0.0, -0.5, 0.0], [HALF_M, 0.5, HALF_M])];
    instances
        .extend(level.buildings.iter().map(|building| upright(BUILDING, building.centre, building.half)));
    instances.extend(LAMP_AT.iter().map(|place| upright(LAMP, *place, LAMP_HALF)));
    let colors = |index: usize, first: u32, count: u32| first + index as u32 % count;
    instances.extend(
        stand.bodies.iter().enumerate().map(|(index, pose)| turned(colors(index, FIRST_BODY, 3), *pose)),
    );
    instances.extend(stand.agents.iter().enumerate().map(|(index, place)| {
        let [x, z] = metres(*place);
        let half = [AGENT_HALF_M, AGENT_HEIGHT_M / 2.0, AGENT_HALF_M];
        upright(colors(index, FIRST_AGENT, 2), [x, half[1], z], half)
    }));
    PreparedScene::build(Scene {
        meshes: (0..COLORS.len() as u32).map(cube).collect(),
        instances,
        materials: materials.collect(),
        cameras: Vec::new(),
        sky: SKY,
        ..Scene::default()
    })
}

/// A box that stands upright.
fn upright(mesh: u32, centre: [f32; 3], half: [f32; 3]) -> Instance {
    let row = |axis: usize, scale: f32, moved: f32| {
        let mut row = [0.0; 4];
        (row[axis], row[3]) = (scale, moved);
        row
    };
    let to_world = std::array::from_fn(|axis| row(axis, half[axis], centre[axis]));
    let to_mesh = std::array::from_fn(|axis| row(axis, 1.0 / half[axis], -centre[axis] / half[axis]));
    Instance { mesh, to_world: Affine(to_world), to_mesh: Affine(to_mesh) }
}

/// A body.
fn turned(mesh: u32, [x, y, z, qx, qy, qz, qw]: [i32; POSE_LEN]) -> Instance {
    let place = metres([x, y, z]);
    let [i, j, k, w] = turn([qx, qy, qz, qw]);
    let square = i * i + j * j + k * k + w * w;
    // A rotation of length 0 turns nothing.
    let [i, j, k, w] = if square > 0.25 && square < 4.0 {
        let length = square.sqrt();
        [i / length, j / length, k / length, w / length]
    } else {
        [0.0, 0.0, 0.0, 1.0]
    };
    let rows = [
        [1.0 - 2.0 * (j * j + k * k), 2.0 * (i * j - k * w), 2.0 * (i * k + j * w)],
        [2.0 * (i * j + k * w), 1.0 - 2.0 * (i * i + k * k), 2.0 * (j * k - i * w)],
        [2.0 * (i * k - j * w), 2.0 * (j * k + i * w), 1.0 - 2.0 * (i * i + j * j)],
    ];
    let scale = BODY_HALF_M;
    let to_world = std::array::from_fn(|row| {
        [rows[row][0] * scale, rows[row][1] * scale, rows[row][2] * scale, place[row]]
    });
    let to_mesh = std::array::from_fn(|row| {
        let column = [rows[0][row] / scale, rows[1][row] / scale, rows[2][row] / scale];
        let moved = -(column[0] * place[0] + column[1] * place[1] + column[2] * place[2]);
        [column[0], column[1], column[2], moved]
    });
    Instance { mesh, to_world: Affine(to_world), to_mesh: Affine(to_mesh) }
}

/// The cube from -1 to 1, of one material.
fn cube(material: u32) -> Mesh {
    let mut mesh = Mesh::default();
    for axis in 0..3 {
        for side in [-1.0_f32, 1.0] {
            let first = mesh.positions.len() as u32;
            let (u, v) = ((axis + 1) % 3, (axis + 2) % 3);
            for (a, b) in [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)] {
                let (mut position, mut normal) = ([0.0; 3], [0.0; 3]);
                (position[axis], position[u], position[v]) = (side, a, b);
                normal[axis] = side;
                mesh.positions.push(position);
                mesh.normals.push(normal);
            }
            let corners = if side > 0.0 { [[0, 1, 2], [0, 2, 3]] } else { [[0, 2, 1], [0, 3, 2]] };
            mesh.triangles.extend(
                corners.map(|corners| Triangle { vertices: corners.map(|corner| first + corner), material }),
            );
        }
    }
    mesh
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::step::LevelSpec;

    use super::*;
    use crate::layout::{place_steps, turn_steps};

    fn camera_steps() -> [i32; CAMERA_LEN] {
        let ([x, y, z], [dx, dy, dz]) = (place_steps([0.0, 5.0, 12.0]), turn_steps([0.0, -0.35, -1.0]));
        [x, y, z, dx, dy, dz]
    }

    #[test]
    fn pictures_show_the_level_and_light_brings_shadows_and_lamps() {
        let level = Level::new(LevelSpec { seed: 3, bodies: 64, agents: 100, sounds: 1 });
        let bodies: Vec<_> = level.bodies().iter().map(crate::layout::BodyState::pose).collect();
        let agents: Vec<_> = level.agents().iter().map(|agent| place_steps(agent.place())).collect();
        let stand = Stand { camera: camera_steps(), bodies: &bodies, agents: &agents };
        let base = Painter::default().base(&level, &stand).unwrap();
        assert_eq!(base.len(), (PICTURE_PX.0 * PICTURE_PX.1) as usize * PIXEL_BYTES);
        let shining = base.chunks_exact(4).filter(|pixel| pixel[3] == SEEN_AS_IT_IS).count();
        assert!(shining > 100 && shining < base.len() / 8, "sky and lamps are seen: {shining}");
        let light = light(&level, 1, &stand).unwrap();
        assert_eq!(light.len(), (LIGHT_PX.0 * LIGHT_PX.1) as usize * PIXEL_BYTES);
        let tone = ToneTable::new(ToneMapping::default());
        let (plain, lit) = (compose(&base, None, &tone), compose(&base, Some(&light), &tone));
        assert_eq!((plain.len(), lit.len()), (base.len() / 4 * 3, base.len() / 4 * 3));
        let mean = |codes: &[u8]| codes.iter().map(|code| f64::from(*code)).sum::<f64>() / codes.len() as f64;
        assert!((mean(&plain) - mean(&lit)).abs() < 60.0 && plain != lit, "{} {}", mean(&plain), mean(&lit));
    }

    #[test]
    fn shared_exponents_keep_what_light_there_is() {
        for light in [[0.5, 0.25, 0.125], [13.0, 2.0, 0.0], [0.001, 0.0009, 0.0], [0.0; 3]] {
            let pixel = LayerPixel { light, distance: 1.0, history: 1.0, ..LayerPixel::default() };
            let code = light_pixel(&pixel);
            let picture: Vec<u8> = code.repeat((LIGHT_PX.0 * LIGHT_PX.1) as usize);
            let again = light_at(&picture, (7, 9)).unwrap();
            let most = light.iter().fold(1e-6_f32, |most, channel| most.max(*channel));
            for (again, light) in again.iter().zip(light) {
                assert!((again - light).abs() <= most / 100.0, "{again} {light}");
            }
        }
    }

    #[test]
    fn b1_poses_of_strangers_do_no_harm() {
        let level = Level::new(LevelSpec { seed: 3, bodies: 2, agents: 2, sounds: 1 });
        let bodies = [[i32::MAX; POSE_LEN], [0; POSE_LEN]];
        let agents = [[i32::MIN; 2], [i32::MAX, 0]];
        let stand = Stand { camera: [i32::MAX, 0, i32::MIN, 0, 0, 0], bodies: &bodies, agents: &agents };
        assert!(Painter::default().base(&level, &stand).is_ok());
        assert!(light(&level, 1, &stand).is_ok());
    }
}
