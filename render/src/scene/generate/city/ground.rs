//! The wet road and its pavements: one grid, cut along the water's edge.

use super::{
    FRONT, STREET_HALF,
    palette::{Model, Stuff},
};
use crate::scene::{
    generate::{
        random::value_noise,
        solids::{Point, normalised},
    },
    write_glb::Mesh,
};

/// The road reaches from behind the camera to the far end of the rows.
const NEAR: f32 = 26.0;
const FAR: f32 = -230.0;
/// How much finer the grid is near the camera than far away: exponent of the spacing.
const FINENESS: f32 = 3.0;
/// Cells along the road for each cell across.
const CELLS_ALONG_PER_ACROSS: f32 = 5.0;
/// Triangles that a cell becomes on average, cuts included.
const TRIANGLES_PER_CELL: f32 = 2.9;
/// Water level above which the road is merely damp, wet, or under water.
const WET_LEVEL: f32 = 0.36;
const PUDDLE_LEVEL: f32 = 0.60;
/// Slope of the ripples, at most.
const RIPPLE: f32 = 0.010;
/// Height of the kerb.
const KERB: f32 = 0.14;

/// Road, markings, pavements, with about `triangles` triangles.
pub(super) fn add(model: &mut Model, seed: u64, triangles: u32) {
    let cells = (triangles as f32 / TRIANGLES_PER_CELL).max(64.0);
    let across = (cells / CELLS_ALONG_PER_ACROSS).sqrt().round().max(3.0) as u32;
    let along = (cells / across as f32).round().max(12.0) as u32;
    let spread = FINENESS.exp() - 1.0;
    let z_at = |row: u32| {
        let share = row as f32 / along as f32;
        NEAR + (FAR - NEAR) * ((FINENESS * share).exp() - 1.0) / spread
    };
    let x_at = |column: u32| STREET_HALF * (2.0 * column as f32 / across as f32 - 1.0);
    for row in 0..along {
        for column in 0..across {
            let (x0, x1, z0, z1) = (x_at(column), x_at(column + 1), z_at(row), z_at(row + 1));
            add_cell(model, seed, [[x0, z0], [x1, z0], [x1, z1]]);
            add_cell(model, seed, [[x0, z0], [x1, z1], [x0, z1]]);
        }
    }
    add_markings(model);
    add_pavements(model);
}

/// A corner of the ground: x, z, and how much water stands there.
#[derive(Clone, Copy)]
struct Corner {
    place: [f32; 2],
    water: f32,
}

/// One triangle, cut into its damp, wet and flooded parts.
fn add_cell(model: &mut Model, seed: u64, places: [[f32; 2]; 3]) {
    let corners = places.map(|place| Corner { place, water: water(seed, place) });
    let damp = clip(&corners, |water| WET_LEVEL - water);
    let wet = clip(&clip(&corners, |water| water - WET_LEVEL), |water| PUDDLE_LEVEL - water);
    let flooded = clip(&corners, |water| water - PUDDLE_LEVEL);
    add_polygon(model.of(Stuff::DampAsphalt), seed, &damp, 1.0);
    add_polygon(model.of(Stuff::WetAsphalt), seed, &wet, 1.0);
    add_polygon(model.of(Stuff::Puddle), seed, &flooded, 0.35);
}

/// Water level of 0 to 1: large pools, broken up by smaller ones, more of it along the kerbs and in two wheel tracks.
fn water(seed: u64, [x, z]: [f32; 2]) -> f32 {
    let pools = value_noise(seed ^ 0xA11CE, x * 0.22 + 11.0, z * 0.13);
    let patches = value_noise(seed ^ 0xB0B, x * 0.7, z * 0.42);
    let edges = value_noise(seed ^ 0xCAFE, x * 2.3, z * 1.7);
    let track = 1.0 - ((x.abs() - 2.6).abs() / 1.1).min(1.0);
    0.52 * pools + 0.30 * patches + 0.12 * edges + 0.12 * track
}

/// The part of a convex polygon where `side` of the water level is not negative (Sutherland and Hodgman 1974).
fn clip(corners: &[Corner], side: impl Fn(f32) -> f32) -> Vec<Corner> {
    let mut kept = Vec::with_capacity(corners.len() + 1);
    for (index, here) in corners.iter().enumerate() {
        let next = &corners[(index + 1) % corners.len()];
        let (a, b) = (side(here.water), side(next.water));
        if a >= 0.0 {
            kept.push(*here);
        }
        if (a > 0.0 && b < 0.0) || (a < 0.0 && b > 0.0) {
            let t = a / (a - b);
            let between = |from: f32, to: f32| from + (to - from) * t;
            kept.push(Corner {
                place: [between(here.place[0], next.place[0]), between(here.place[1], next.place[1])],
                water: between(here.water, next.water),
            });
        }
    }
    kept
}

fn add_polygon(mesh: &mut Mesh, seed: u64, corners: &[Corner], roughness: f32) {
    if corners.len() < 3 {
        return;
    }
    let with_normals: Vec<(Point, Point)> = corners
        .iter()
        .map(|corner| {
            let [x, z] = corner.place;
            ([x, 0.0, z], ripple(seed, corner.place, roughness))
        })
        .collect();
    mesh.polygon(&with_normals);
}

/// A normal that leans a little: it breaks reflections up as a road's unevenness does.
fn ripple(seed: u64, [x, z]: [f32; 2], strength: f32) -> Point {
    let lean = |salt: u64| (value_noise(seed ^ salt, x * 1.3, z * 1.3) - 0.5) * 2.0 * RIPPLE * strength;
    normalised([lean(0xD0), 1.0, lean(0xD1)])
}

/// Dashes in the middle and a crossing in front of the camera, just above the road.
fn add_markings(model: &mut Model) {
    let mesh = model.of(Stuff::Marking);
    let mut flat = |x0: f32, x1: f32, z0: f32, z1: f32| {
        mesh.quad([[x0, 0.004, z0], [x1, 0.004, z0], [x1, 0.004, z1], [x0, 0.004, z1]]);
    };
    for dash in 0..26 {
        let z = -8.0 - 7.0 * dash as f32;
        flat(-0.08, 0.08, z, z - 3.0);
    }
    for stripe in 0..10 {
        let x = -5.4 + 1.13 * stripe as f32;
        flat(x, x + 0.55, -0.5, -3.8);
    }
    flat(-0.2, 5.6, 1.2, 0.85);
}

fn add_pavements(model: &mut Model) {
    for side in [-1.0_f32, 1.0] {
        let (inner, outer) = (side * STREET_HALF, side * (FRONT + 30.0));
        let (low, high) = (inner.min(outer), inner.max(outer));
        model.of(Stuff::Paving).cuboid([low, -0.2, FAR], [high, KERB, NEAR]);
        let edge = side * (STREET_HALF + 0.16);
        model.of(Stuff::Concrete).cuboid([inner.min(edge), 0.0, FAR], [inner.max(edge), KERB + 0.012, NEAR]);
    }
    // Land beyond the street, so that the skyline does not stand on nothing.
    let plain = model.of(Stuff::DampAsphalt);
    plain.quad([
        [-600.0, -0.3, NEAR + 300.0],
        [600.0, -0.3, NEAR + 300.0],
        [600.0, -0.3, -900.0],
        [-600.0, -0.3, -900.0],
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(corners: &[Corner]) -> f32 {
        let cross = |a: [f32; 2], b: [f32; 2]| a[0] * b[1] - a[1] * b[0];
        (0..corners.len())
            .map(|i| cross(corners[i].place, corners[(i + 1) % corners.len()].place))
            .sum::<f32>()
            * 0.5
    }

    #[test]
    fn the_parts_of_a_cut_triangle_make_up_the_whole() {
        for waters in [[0.1, 0.5, 0.9], [0.9, 0.2, 0.36], [0.6, 0.36, 0.6], [0.2, 0.2, 0.2]] {
            let places = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
            let corners: Vec<Corner> =
                places.into_iter().zip(waters).map(|(place, water)| Corner { place, water }).collect();
            let damp = clip(&corners, |water| WET_LEVEL - water);
            let wet = clip(&clip(&corners, |water| water - WET_LEVEL), |water| PUDDLE_LEVEL - water);
            let flooded = clip(&corners, |water| water - PUDDLE_LEVEL);
            assert!((area(&damp) + area(&wet) + area(&flooded) - 0.5).abs() < 1e-5, "{waters:?}");
        }
    }
}
