//! Four triangles that are tested at once (Ernst and Greiner 2008).

use fearless_simd::{Simd, f32x4, prelude::*};

use super::Hit;
use crate::{
    math::{Vec3, vec3},
    ray::{Barycentric, Corners, Ray},
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

    /// [`Corners::intersect`] up to `t_max`.
    #[inline(always)]
    pub fn intersect<S: Simd>(&self, simd: S, ray: &Ray, t_max: f32) -> Crossings {
        let lanes = |values: &[[f32; LANES]; 3]| values.map(|axis| f32x4::simd_from(simd, axis)).into();
        let splat = |vector: Vec3| vector.to_array().map(|value| f32x4::splat(simd, value)).into();
        let corners =
            Corners { corner: lanes(&self.corner), edge1: lanes(&self.edge1), edge2: lanes(&self.edge2) };
        let ray = Ray { origin: splat(ray.origin), direction: splat(ray.direction) };
        let (hits, Barycentric { t, u, v }) = corners.intersect(&ray, f32x4::simd_from(simd, self.sides));
        let hits = hits & t.simd_le(f32x4::splat(simd, t_max));
        Crossings { lanes: hits.to_bitmask() as u32, t: t.into(), u: u.into(), v: v.into() }
    }
}
