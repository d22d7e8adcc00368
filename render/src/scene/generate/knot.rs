//! A knot of clay in the Cornell box: one closed, bumpy body of many small triangles, everything purely diffuse.
//! Nothing but rays and diffuse bounces, so that renderers can be compared on equal terms.

use super::{
    cornell,
    solids::{Point, add, cross, normalised, scale, subtract},
};
use crate::{
    math::sin_cos_turn,
    scene::write_glb::{Description, Mesh, Surface},
};

/// Triangles when nothing is asked for.
pub(super) const DEFAULT_TRIANGLES: u32 = 200_000;

/// Stretches along the knot for each one around its strand: the triangles come out about equilateral.
const STRETCHES_PER_SIDE: u32 = 8;
/// A strand has so many sides at least.
const LEAST_SIDES: u32 = 4;
/// Times that the strand winds about the axis of its torus, and through its hole: a trefoil.
const WINDINGS: [f32; 2] = [2.0, 3.0];
/// Middle of the torus; its axis points to the camera.
const CENTRE: Point = [0.0, 0.95, 0.0];
/// Radii of the torus and of the strand, which stays clear of itself and of the walls.
const RING_RADIUS: f32 = 0.5;
const TUBE_RADIUS: f32 = 0.22;
const STRAND_RADIUS: f32 = 0.14;
/// Bumps: their share of the strand's radius, how many along the knot, and how many around the strand.
const BUMPS: [(f32, f32, f32); 3] = [(0.12, 23.0, 3.0), (0.07, 71.0, 5.0), (0.03, 211.0, 13.0)];

/// The box with the knot in place of its blocks, in about as many triangles as asked for.
pub(super) fn describe(triangles: u32) -> Description {
    let mut description = cornell::room(1);
    let clay = description.surfaces.len() as u32;
    description.surfaces.push(Surface::matter("clay", [0.68, 0.60, 0.48], 0.0, 1.0));
    for surface in &mut description.surfaces {
        surface.index_of_refraction = 1.0;
    }
    description.meshes.push((clay, body(triangles.saturating_sub(cornell::ROOM_TRIANGLES))));
    description
}

/// A grid that is closed in both directions, with smooth normals.
fn body(triangles: u32) -> Mesh {
    let ideal = (triangles as f32 / (2 * STRETCHES_PER_SIDE) as f32).sqrt().round();
    let sides = (ideal as u32).max(LEAST_SIDES);
    let stretches = (triangles / (2 * sides)).max(STRETCHES_PER_SIDE * LEAST_SIDES);
    let mut mesh = Mesh::default();
    for (stretch, side) in (0..stretches).flat_map(|stretch| (0..sides).map(move |side| (stretch, side))) {
        mesh.positions.push(surface_point(stretch as f32 / stretches as f32, side as f32 / sides as f32));
    }
    let vertex = |stretch: u32, side: u32| (stretch % stretches) * sides + side % sides;
    let point = |stretch: u32, side: u32| mesh.positions[vertex(stretch, side) as usize];
    for (stretch, side) in (0..stretches).flat_map(|stretch| (0..sides).map(move |side| (stretch, side))) {
        let along = subtract(point(stretch + 1, side), point(stretch + stretches - 1, side));
        let around = subtract(point(stretch, side + 1), point(stretch, side + sides - 1));
        mesh.normals.push(normalised(cross(around, along)));
        let [a, b] = [vertex(stretch, side), vertex(stretch, side + 1)];
        let [c, d] = [vertex(stretch + 1, side), vertex(stretch + 1, side + 1)];
        mesh.indices.extend([a, b, c, b, d, c]);
    }
    mesh
}

/// A point of the knot: `along` and `around` in turns, 0 to 1.
fn surface_point(along: f32, around: f32) -> Point {
    let turned = |turns: f32| sin_cos_turn(turns - turns.floor());
    let ((sin_ring, cos_ring), (sin_tube, cos_tube)) =
        (turned(along * WINDINGS[0]), turned(along * WINDINGS[1]));
    let outward = [cos_ring, sin_ring, 0.0];
    let forward = [-sin_ring, cos_ring, 0.0];
    let radius = RING_RADIUS + TUBE_RADIUS * cos_tube;
    // The strand's course on the torus, and two directions across it: off the torus, and along it.
    let off = [cos_tube * outward[0], cos_tube * outward[1], sin_tube];
    let through = [-sin_tube * outward[0], -sin_tube * outward[1], cos_tube];
    let course =
        normalised(add(scale(forward, radius * WINDINGS[0]), scale(through, TUBE_RADIUS * WINDINGS[1])));
    let sideways = cross(course, off);
    let (sin, cos) = turned(around);
    let bump: f32 = BUMPS
        .iter()
        .map(|&(height, count_along, count_around)| {
            height * turned(along * count_along).0 * turned(around * count_around).1
        })
        .sum();
    let middle = add(CENTRE, [radius * outward[0], radius * outward[1], TUBE_RADIUS * sin_tube]);
    let direction = add(scale(off, cos), scale(sideways, sin));
    add(middle, scale(direction, STRAND_RADIUS * (1.0 + bump)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_knot_is_closed_faces_outwards_and_fits_the_box() {
        let mesh = body(20_000);
        assert!((19_000..21_000).contains(&(mesh.indices.len() / 3)), "{}", mesh.indices.len() / 3);
        let mut edges = HashMap::new();
        let mut volume = 0.0_f64;
        for triangle in mesh.indices.as_chunks::<3>().0 {
            for corner in 0..3 {
                *edges.entry((triangle[corner], triangle[(corner + 1) % 3])).or_insert(0) += 1;
            }
            let [a, b, c] = triangle.map(|index| mesh.positions[index as usize]);
            let dot = |a: Point, b: Point| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            volume += f64::from(dot(a, cross(b, c))) / 6.0;
            let face = cross(subtract(b, a), subtract(c, a));
            assert!(triangle.iter().all(|index| dot(mesh.normals[*index as usize], face) > 0.0));
        }
        // Every edge is used once each way: closed, and all faces on the same side.
        assert!(edges.iter().all(|(&(a, b), &count)| count == 1 && edges.contains_key(&(b, a))));
        // A tube of the strand's radius along some 4.9 units of curve holds 0.30; facing inwards it would be negative.
        assert!((0.2..0.5).contains(&volume), "{volume}");
        assert!(
            mesh.positions.iter().all(|[x, y, z]| x.abs() < 1.0 && z.abs() < 1.0 && (0.0..2.0).contains(y))
        );
    }
}
