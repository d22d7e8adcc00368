//! Spheres of every roughness, of plastic and of metal, on a checkered floor under area lights.

use super::{random::Random, solids::add};
use crate::scene::write_glb::{Description, Mesh, Surface, View};

const SPHERES: u32 = 36;
/// Triangles when nothing is asked for.
pub(super) const DEFAULT_TRIANGLES: u32 = 36_000;
/// Fewest bands that still look like a sphere.
const MIN_RINGS: u32 = 3;
/// Pixels of a square of the checker, and squares along an edge of its picture.
const CHECKER_SQUARE_PX: u32 = 32;
const CHECKER_SQUARES: u32 = 4;
/// Half the floor's edge.
const FLOOR_HALF: f32 = 40.0;

const FLOOR: u32 = 0;
const LAMPS: [Surface; 3] = [
    Surface::light("warm lamp", [1.0, 0.72, 0.42], 34.0),
    Surface::light("cool lamp", [0.45, 0.7, 1.0], 26.0),
    Surface::light("rose lamp", [1.0, 0.35, 0.6], 18.0),
];
const PAINTS: [[f32; 3]; 8] = [
    [0.8, 0.12, 0.08],
    [0.9, 0.55, 0.1],
    [0.12, 0.5, 0.2],
    [0.08, 0.25, 0.7],
    [0.75, 0.75, 0.78],
    [0.95, 0.72, 0.35],
    [0.9, 0.5, 0.4],
    [0.4, 0.12, 0.55],
];

/// About as many triangles as asked for: fewer bands on each sphere first, then fewer spheres.
pub(super) fn describe(seed: u64, triangles: u32) -> Description {
    let smallest = 4 * MIN_RINGS * (MIN_RINGS - 1);
    let spheres = (triangles / smallest).clamp(1, SPHERES);
    let rings = ((triangles / spheres) as f32 / 4.0).sqrt().round() as u32 + 1;
    let mut scene = Description {
        surfaces: vec![Surface { picture: Some(0), ..Surface::matter("checker", [0.8; 3], 0.0, 0.35) }],
        meshes: vec![(FLOOR, floor())],
        pictures_png: vec![checker_png()],
        views: vec![
            View { name: "front", eye: [0.0, 3.4, 11.5], target: [0.0, 0.9, 0.0], yfov_degrees: 36.0 },
            View { name: "close", eye: [3.2, 1.3, 6.4], target: [0.2, 0.7, 0.0], yfov_degrees: 40.0 },
        ],
        sky: [[0.035, 0.03, 0.045], [0.02, 0.05, 0.13]],
        drive_s: None,
    };
    add_spheres(&mut scene, seed, spheres, rings.max(MIN_RINGS));
    add_lamps(&mut scene);
    scene
}

fn floor() -> Mesh {
    let half = FLOOR_HALF;
    let mut mesh = Mesh::default();
    mesh.quad([[-half, 0.0, half], [half, 0.0, half], [half, 0.0, -half], [-half, 0.0, -half]]);
    let repeats = half;
    mesh.uvs = vec![[0.0, repeats], [repeats, repeats], [repeats, 0.0], [0.0, 0.0]];
    mesh
}

/// Spheres on a jittered grid, so that none touch; roughness grows to the right, metal is at random.
fn add_spheres(scene: &mut Description, seed: u64, spheres: u32, rings: u32) {
    let mut random = Random::new(seed ^ 0x5EED_0000_5F4E_7E5A);
    let columns = (spheres as f32).sqrt().ceil() as u32;
    for number in 0..spheres {
        let (column, row) = (number % columns, number / columns);
        let share = column as f32 / columns.max(2).saturating_sub(1) as f32;
        let radius = random.between(0.34, 0.62);
        let spread = 1.45;
        let middle = (columns as f32 - 1.0) * 0.5;
        let x = (column as f32 - middle) * spread + random.between(-0.1, 0.1);
        let z = (row as f32 - middle) * spread + random.between(-0.1, 0.1);
        let roughness = (share + random.between(-0.08, 0.08)).clamp(0.03, 1.0);
        let metallic = if random.chance(0.45) { 1.0 } else { 0.0 };
        let mut mesh = Mesh::default();
        mesh.sphere([x, radius, z], radius, rings);
        scene.meshes.push((scene.surfaces.len() as u32, mesh));
        scene.surfaces.push(Surface::matter("sphere", random.pick(&PAINTS), metallic, roughness));
    }
}

fn add_lamps(scene: &mut Description) {
    let places = [[-5.5, 5.0, 2.0], [4.0, 6.0, -3.5], [0.5, 5.5, 5.0]];
    for (lamp, corner) in LAMPS.into_iter().zip(places) {
        let mut mesh = Mesh::default();
        // Wound so that they shine downwards.
        let edges = [[1.6, 0.0, 0.0], [0.0, 0.0, 1.6]];
        let (a, b) = (add(corner, edges[0]), add(corner, edges[1]));
        mesh.quad([corner, a, add(a, edges[1]), b]);
        scene.meshes.push((scene.surfaces.len() as u32, mesh));
        scene.surfaces.push(lamp);
    }
}

fn checker_png() -> Vec<u8> {
    let edge = CHECKER_SQUARE_PX * CHECKER_SQUARES;
    let mut pixels = Vec::new();
    for y in 0..edge {
        for x in 0..edge {
            let dark = (x / CHECKER_SQUARE_PX + y / CHECKER_SQUARE_PX).is_multiple_of(2);
            // A thin joint around each square.
            let joint = x % CHECKER_SQUARE_PX == 0 || y % CHECKER_SQUARE_PX == 0;
            pixels.extend(match (joint, dark) {
                (true, _) => [70_u8, 66, 62],
                (_, true) => [52, 58, 72],
                (_, false) => [214, 208, 196],
            });
        }
    }
    super::encode_png(edge, edge, &pixels)
}
