//! Four triangles that are tested at once (Ernst and Greiner 2008).

use fearless_simd::{Simd, f32x4, prelude::*};

use super::Hit;
use crate::{
    math::{TINY, Vec3, vec3},
    ray::{Corners, Ray},
};

/// Triangles of a pack.
pub const LANES: usize = 4;

/// What a tree has to know of a triangle beside its corners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facing {
    /// Hit from both sides.
    pub double_sided: bool,
    /// Not there everywhere: every hit is to be asked about.
    pub filtered: bool,
}

/// Triangles, component by component; unused ones are degenerate and never hit.
#[derive(Debug, Clone)]
#[repr(C, align(32))]
pub struct Pack {
    corner: [[f32; LANES]; 3],
    edge1: [[f32; LANES]; 3],
    edge2: [[f32; LANES]; 3],
    primitives: [u32; LANES],
    /// -1 for triangles that are hit from both sides, 1 for those only from the front.
    sides: [f32; LANES],
    /// A bit for each triangle whose hits are to be asked about.
    filtered: u8,
}

/// The triangles of a pack that a ray's line goes through, and where.
pub struct Crossings {
    /// A bit for each.
    pub lanes: u32,
    /// Distance along the ray.
    pub t: [f32; LANES],
    /// Weight of the second corner.
    pub u: [f32; LANES],
    /// Weight of the third corner.
    pub v: [f32; LANES],
}

#[inline(always)]
fn cross<S: Simd>(a: &[f32x4<S>; 3], b: &[f32x4<S>; 3]) -> [f32x4<S>; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[inline(always)]
fn dot<S: Simd>(a: &[f32x4<S>; 3], b: &[f32x4<S>; 3]) -> f32x4<S> {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

impl Pack {
    /// Of up to [`LANES`] of the triangles.
    pub fn new(primitives: &[u32], triangles: &[Corners], facing: &dyn Fn(u32) -> Facing) -> Self {
        let mut pack = Self {
            corner: [[0.0; LANES]; 3],
            edge1: [[0.0; LANES]; 3],
            edge2: [[0.0; LANES]; 3],
            primitives: [Hit::NONE; LANES],
            sides: [1.0; LANES],
            filtered: 0,
        };
        for (lane, primitive) in primitives.iter().take(LANES).enumerate() {
            let corners = &triangles[*primitive as usize];
            let parts = [
                (&mut pack.corner, corners.corner),
                (&mut pack.edge1, corners.edge1),
                (&mut pack.edge2, corners.edge2),
            ];
            for (lanes, value) in parts {
                for (axis, component) in value.to_array().into_iter().enumerate() {
                    lanes[axis][lane] = component;
                }
            }
            let facing = facing(*primitive);
            pack.primitives[lane] = *primitive;
            pack.sides[lane] = if facing.double_sided { -1.0 } else { 1.0 };
            pack.filtered |= u8::from(facing.filtered) << lane;
        }
        pack
    }

    /// Indices of the triangles; [`Hit::NONE`] where there is none.
    pub fn primitives(&self) -> [u32; LANES] {
        self.primitives
    }

    /// Whether hits of a triangle are to be asked about.
    #[inline(always)]
    pub fn is_filtered(&self, lane: usize) -> bool {
        self.filtered >> lane & 1 != 0
    }

    /// A triangle.
    #[inline(always)]
    pub fn corners(&self, lane: usize) -> Corners {
        let at = |lanes: &[[f32; LANES]; 3]| -> Vec3 { vec3(lanes[0][lane], lanes[1][lane], lanes[2][lane]) };
        Corners { corner: at(&self.corner), edge1: at(&self.edge1), edge2: at(&self.edge2) }
    }

    /// [`Corners::intersect`], four at a time, operation by operation, up to `t_max`.
    #[inline(always)]
    pub fn intersect<S: Simd>(&self, simd: S, ray: &Ray, t_max: f32) -> Crossings {
        let lanes = |values: &[[f32; LANES]; 3]| values.map(|axis| f32x4::simd_from(simd, axis));
        let splat = |value: f32| f32x4::splat(simd, value);
        let (corner, edge1, edge2) = (lanes(&self.corner), lanes(&self.edge1), lanes(&self.edge2));
        let direction = ray.direction.to_array().map(splat);
        let origin = ray.origin.to_array().map(splat);
        let p = cross(&direction, &edge2);
        let determinant = dot(&edge1, &p);
        let inverse = splat(1.0) / determinant;
        let s = [origin[0] - corner[0], origin[1] - corner[1], origin[2] - corner[2]];
        let u = dot(&s, &p) * inverse;
        let q = cross(&s, &edge1);
        let v = dot(&direction, &q) * inverse;
        let t = dot(&edge2, &q) * inverse;
        let zero = splat(0.0);
        let sides = f32x4::simd_from(simd, self.sides);
        // Of triangles that are hit from both sides the magnitude, of the others the determinant itself.
        let proper = determinant.max(determinant * sides).simd_ge(splat(TINY));
        let inside = proper & u.simd_ge(zero) & v.simd_ge(zero) & (u + v).simd_le(splat(1.0));
        let hits = inside & t.simd_gt(zero) & t.simd_le(splat(t_max));
        Crossings { lanes: hits.to_bitmask() as u32, t: t.into(), u: u.into(), v: v.into() }
    }
}
