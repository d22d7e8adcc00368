//! Shapes that the generators build from. Triangles are wound counter-clockwise as seen from outside.

use crate::scene::write_glb::Mesh;

pub(super) type Point = [f32; 3];

pub(super) fn add(a: Point, b: Point) -> Point {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub(super) fn scale(a: Point, factor: f32) -> Point {
    a.map(|value| value * factor)
}

pub(super) fn subtract(a: Point, b: Point) -> Point {
    add(a, scale(b, -1.0))
}

pub(super) fn cross(a: Point, b: Point) -> Point {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// The vector at length 1. It must have a direction.
pub(super) fn normalised(a: Point) -> Point {
    let length = a.iter().map(|value| value * value).sum::<f32>().sqrt();
    scale(a, 1.0 / length)
}

impl Mesh {
    /// A convex polygon with one normal for each corner.
    pub(super) fn polygon(&mut self, corners: &[(Point, Point)]) {
        let base = self.positions.len() as u32;
        for (position, normal) in corners {
            self.positions.push(*position);
            self.normals.push(*normal);
        }
        for corner in 2..corners.len() as u32 {
            self.indices.extend([base, base + corner - 1, base + corner]);
        }
    }

    /// A flat quadrilateral.
    pub(super) fn quad(&mut self, corners: [Point; 4]) {
        let normal = normalised(cross(subtract(corners[1], corners[0]), subtract(corners[3], corners[0])));
        self.polygon(&corners.map(|corner| (corner, normal)));
    }

    /// A flat parallelogram in `pieces` x `pieces` quads.
    pub(super) fn panel(&mut self, corner: Point, along: Point, up: Point, pieces: u32) {
        let step = 1.0 / pieces as f32;
        let at = |u: u32, v: u32| add(corner, add(scale(along, u as f32 * step), scale(up, v as f32 * step)));
        for v in 0..pieces {
            for u in 0..pieces {
                self.quad([at(u, v), at(u + 1, v), at(u + 1, v + 1), at(u, v + 1)]);
            }
        }
    }

    /// A box with a base at `corner` that spans three edges; `edges` must be right-handed. Six faces.
    pub(super) fn block(&mut self, corner: Point, [a, b, c]: [Point; 3], pieces: u32) {
        let far = add(corner, add(a, add(b, c)));
        let minus = |edge: Point| scale(edge, -1.0);
        self.panel(corner, b, a, pieces);
        self.panel(corner, c, b, pieces);
        self.panel(corner, a, c, pieces);
        self.panel(far, minus(a), minus(b), pieces);
        self.panel(far, minus(b), minus(c), pieces);
        self.panel(far, minus(c), minus(a), pieces);
    }

    /// A box along the axes, `low` below `high` on each.
    pub(super) fn cuboid(&mut self, low: Point, high: Point) {
        let [x, y, z] = subtract(high, low);
        self.block(low, [[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]], 1);
    }

    /// The side of a cylinder, or of a cone when the radii differ, with smooth normals and without caps.
    pub(super) fn tube(&mut self, from: Point, to: Point, radii: [f32; 2], sides: u32) {
        let axis = normalised(subtract(to, from));
        let helper = if axis[1].abs() > 0.9 { [1.0, 0.0, 0.0] } else { [0.0, 1.0, 0.0] };
        let across = normalised(cross(helper, axis));
        let other = cross(axis, across);
        let around = |side: u32| {
            let angle = std::f32::consts::TAU * side as f32 / sides as f32;
            add(scale(across, angle.cos()), scale(other, angle.sin()))
        };
        for side in 0..sides {
            let (a, b) = (around(side), around(side + 1));
            self.polygon(&[
                (add(from, scale(a, radii[0])), a),
                (add(from, scale(b, radii[0])), b),
                (add(to, scale(b, radii[1])), b),
                (add(to, scale(a, radii[1])), a),
            ]);
        }
    }

    /// A sphere of `rings` bands and twice as many segments: 4 · rings · (rings − 1) triangles.
    pub(super) fn sphere(&mut self, centre: Point, radius: f32, rings: u32) {
        let segments = 2 * rings;
        let base = self.positions.len() as u32;
        for ring in 0..=rings {
            let (sin_theta, cos_theta) = (std::f32::consts::PI * ring as f32 / rings as f32).sin_cos();
            for segment in 0..=segments {
                let (sin_phi, cos_phi) = (std::f32::consts::TAU * segment as f32 / segments as f32).sin_cos();
                let normal = [sin_theta * cos_phi, cos_theta, sin_theta * sin_phi];
                self.positions.push(add(centre, scale(normal, radius)));
                self.normals.push(normal);
            }
        }
        let row = segments + 1;
        for ring in 0..rings {
            for segment in 0..segments {
                let (top, bottom) = (base + ring * row + segment, base + (ring + 1) * row + segment);
                if ring > 0 {
                    self.indices.extend([top, top + 1, bottom]);
                }
                if ring + 1 < rings {
                    self.indices.extend([top + 1, bottom + 1, bottom]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Winding and normal of every triangle point away from the centre.
    fn assert_outward(mesh: &Mesh, centre: Point) {
        for triangle in mesh.indices.as_chunks::<3>().0 {
            let [a, b, c] = triangle.map(|index| mesh.positions[index as usize]);
            let wound = cross(subtract(b, a), subtract(c, a));
            let out = subtract(scale(add(a, add(b, c)), 1.0 / 3.0), centre);
            let dot = |a: Point, b: Point| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            assert!(dot(wound, out) > 0.0);
            for index in triangle {
                assert!(dot(mesh.normals[*index as usize], out) > 0.0);
            }
        }
    }

    #[test]
    fn solids_face_outwards_and_have_the_stated_size() {
        let mut cuboid = Mesh::default();
        cuboid.cuboid([1.0, 2.0, 3.0], [2.0, 5.0, 4.0]);
        assert_eq!(cuboid.indices.len(), 12 * 3);
        assert_outward(&cuboid, [1.5, 3.5, 3.5]);
        let mut sphere = Mesh::default();
        sphere.sphere([1.0, 0.0, 0.0], 2.0, 5);
        assert_eq!(sphere.indices.len(), 4 * 5 * 4 * 3);
        assert_outward(&sphere, [1.0, 0.0, 0.0]);
        for to in [[0.0, 4.0, 0.0], [3.0, 0.0, 1.0]] {
            let mut tube = Mesh::default();
            tube.tube([0.0; 3], to, [0.3, 0.2], 7);
            assert_eq!(tube.indices.len(), 7 * 2 * 3);
            assert_outward(&tube, scale(to, 0.5));
        }
    }
}
