//! The Cornell box: red, green and white walls, a light in the ceiling, two blocks.

use super::solids::Point;
use crate::scene::write_glb::{Description, Mesh, Surface, View};

const WHITE: u32 = 0;
const RED: u32 = 1;
const GREEN: u32 = 2;
const LIGHT: u32 = 3;

/// Quads without the light, before any is cut up: four walls, the ceiling around the light, and two blocks.
const QUADS: u32 = 4 + 4 + 2 * 6;
/// The box reaches from -1 to 1 across and in depth, from 0 to 2 in height; it is open towards the camera (+z).
const HALF: f32 = 1.0;
const HEIGHT: f32 = 2.0;
/// Half the light's edge.
const LIGHT_HALF: f32 = 0.25;

/// Triangles when nothing is asked for.
pub(super) const DEFAULT_TRIANGLES: u32 = 2 * QUADS + 2;
/// Triangles of the room alone, uncut.
pub(super) const ROOM_TRIANGLES: u32 = 2 * (QUADS - 2 * 6) + 2;

/// The box with every quad cut into a grid, so that there are about as many triangles as asked for.
pub(super) fn describe(triangles: u32) -> Description {
    let pieces = (triangles as f32 / (2 * QUADS) as f32).sqrt().round().max(1.0) as u32;
    let mut description = room(pieces);
    if let Some((_, white)) = description.meshes.first_mut() {
        white.block_turned([-0.35, -0.3], [0.6, 1.2, 0.6], 0.3, pieces);
        white.block_turned([0.35, 0.3], [0.6, 0.6, 0.6], -0.29, pieces);
    }
    description
}

/// The box without its blocks, every quad cut into `pieces` x `pieces`. Its first mesh is the white one.
pub(super) fn room(pieces: u32) -> Description {
    let mut white = Mesh::default();
    let (across, deep, high) = ([2.0 * HALF, 0.0, 0.0], [0.0, 0.0, 2.0 * HALF], [0.0, HEIGHT, 0.0]);
    white.panel([-HALF, 0.0, -HALF], deep, across, pieces);
    add_ceiling(&mut white, pieces);
    white.panel([-HALF, 0.0, -HALF], across, high, pieces);
    let (mut red, mut green, mut light) = (Mesh::default(), Mesh::default(), Mesh::default());
    red.panel([-HALF, 0.0, HALF], [0.0, 0.0, -2.0 * HALF], high, pieces);
    green.panel([HALF, 0.0, -HALF], deep, high, pieces);
    let corner = [-LIGHT_HALF, HEIGHT, -LIGHT_HALF];
    light.panel(corner, [2.0 * LIGHT_HALF, 0.0, 0.0], [0.0, 0.0, 2.0 * LIGHT_HALF], 1);
    Description {
        surfaces: vec![
            Surface::matter("white", [0.73, 0.73, 0.73], 0.0, 0.9),
            Surface::matter("red", [0.63, 0.065, 0.05], 0.0, 0.9),
            Surface::matter("green", [0.14, 0.45, 0.09], 0.0, 0.9),
            Surface::light("light", [1.0, 0.78, 0.49], 18.0),
        ],
        meshes: vec![(WHITE, white), (RED, red), (GREEN, green), (LIGHT, light)],
        views: vec![View {
            name: "front",
            eye: [0.0, 1.0, 3.9],
            target: [0.0, 1.0, 0.0],
            yfov_degrees: 38.0,
        }],
        ..Description::default()
    }
}

/// The ceiling, with a hole for the light: a light that hung below it would dazzle the ceiling from a hair's breadth.
fn add_ceiling(mesh: &mut Mesh, pieces: u32) {
    let mut part = |[x0, x1]: [f32; 2], [z0, z1]: [f32; 2]| {
        mesh.panel([x0, HEIGHT, z0], [x1 - x0, 0.0, 0.0], [0.0, 0.0, z1 - z0], pieces);
    };
    part([-HALF, HALF], [-HALF, -LIGHT_HALF]);
    part([-HALF, HALF], [LIGHT_HALF, HALF]);
    part([-HALF, -LIGHT_HALF], [-LIGHT_HALF, LIGHT_HALF]);
    part([LIGHT_HALF, HALF], [-LIGHT_HALF, LIGHT_HALF]);
}

impl Mesh {
    /// A block on the floor, its centre at (x, z), turned about the vertical.
    fn block_turned(&mut self, [x, z]: [f32; 2], [width, height, depth]: Point, angle: f32, pieces: u32) {
        let (sin, cos) = angle.sin_cos();
        let along = [cos * width, 0.0, -sin * width];
        let back = [sin * depth, 0.0, cos * depth];
        let corner = [x - (along[0] + back[0]) * 0.5, 0.001, z - (along[2] + back[2]) * 0.5];
        self.block(corner, [along, [0.0, height, 0.0], back], pieces);
    }
}
