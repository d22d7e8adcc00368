//! What shines: emissive triangles, chosen in proportion to their power. `kernel/gpu/light.wgsl` is the twin of the
//! functions that the kernels call.

use crate::{
    math::{Vec3, cross, dot, luminance, reciprocal, square_root},
    ray::Corners,
    scene::Scene,
};

/// Densities end here: products of two of them stay finite.
const MAX_DENSITY: f32 = 1e18;
/// The light index of a triangle that does not shine.
pub const NO_LIGHT: u32 = u32::MAX;

/// An emissive triangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Light {
    /// Which triangle.
    pub primitive: u32,
    /// Probability that this light or an earlier one is chosen.
    pub cumulative: f32,
    /// Probability density of a point on it, per unit of area: choice and position together.
    pub area_density: f32,
}

/// All lights of a scene.
#[derive(Debug, Default)]
pub struct LightTable {
    lights: Vec<Light>,
}

impl LightTable {
    /// From all emissive triangles that have an area, in the scene's order.
    pub fn build(scene: &Scene, corners: &[Corners]) -> Self {
        let mut powers = Vec::new();
        for (index, (triangle, corners)) in scene.triangles.iter().zip(corners).enumerate() {
            let emission = Vec3::from(scene.materials[triangle.material as usize].emission);
            let area = area(corners);
            let power = luminance(emission) * area;
            if power > 0.0 && area > 1e-20 {
                powers.push((index as u32, power, area));
            }
        }
        // Summed in double precision and in order: the same table everywhere.
        let total: f64 = powers.iter().map(|(_, power, _)| f64::from(*power)).sum();
        let mut sum = 0.0_f64;
        let lights = powers
            .iter()
            .map(|(primitive, power, area)| {
                sum += f64::from(*power);
                Light {
                    primitive: *primitive,
                    cumulative: (sum / total) as f32,
                    area_density: (f64::from(*power) / total / f64::from(*area)) as f32,
                }
            })
            .collect();
        Self { lights }
    }

    /// The lights.
    pub fn lights(&self) -> &[Light] {
        &self.lights
    }

    /// The light for a random number: the first whose cumulative probability exceeds it, else the last.
    #[inline(always)]
    pub fn choose(&self, random: f32) -> u32 {
        let (mut low, mut high) = (0_u32, self.lights.len() as u32 - 1);
        while low < high {
            let middle = (low + high) >> 1;
            if random < self.lights[middle as usize].cumulative {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

/// Area of a triangle.
fn area(corners: &Corners) -> f32 {
    let normal = cross(corners.edge1, corners.edge2);
    square_root(dot(normal, normal)) * 0.5
}

/// An even point on a triangle from two random numbers (Heitz 2019, "low-distortion").
#[inline(always)]
pub fn triangle_point(corners: &Corners, r0: f32, r1: f32) -> Vec3 {
    let (u, v) = if r1 > r0 {
        let u = r0 * 0.5;
        (u, r1 - u)
    } else {
        let v = r1 * 0.5;
        (r0 - v, v)
    };
    corners.corner + corners.edge1 * u + corners.edge2 * v
}

/// Density of a light's point as seen from a surface, per solid angle: `distance_squared / cosine` turns area into
/// angle.
#[inline(always)]
pub fn solid_angle_density(area_density: f32, distance_squared: f32, cosine: f32) -> f32 {
    (area_density * distance_squared * reciprocal(cosine.max(1e-6))).min(MAX_DENSITY)
}

/// How much a sample counts when another strategy could have drawn it too (Veach 1997, power heuristic).
#[inline(always)]
pub fn mis_weight(own: f32, other: f32) -> f32 {
    // Both are divided by the larger first: their squares would overflow.
    let scale = reciprocal(own.max(other).max(1e-20));
    let (own, other) = (own * scale, other * scale);
    own * own * reciprocal((own * own + other * other).max(1e-20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities_and_weights_of_absurd_lights_stay_finite() {
        let density = solid_angle_density(1e19, 3e18, 0.1);
        assert!(density.is_finite());
        for (own, other) in [(density, density), (density, 0.0), (0.0, 0.0), (1e-30, density)] {
            assert!(mis_weight(own, other).is_finite(), "{own} {other}");
        }
    }
}
