//! Rays and triangles. `kernel/gpu/bvh.wgsl` has the twin of [`Corners::intersect`].

use crate::{
    bvh::Aabb,
    math::{TINY, Vec3, cross, dot, reciprocal},
    real::{MAX_LANES, Real, always},
};

/// A half-line; or several, lane by lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ray<R = f32> {
    /// Where it starts.
    pub origin: Vec3<R>,
    /// Along it: unit length in the world, any length in the space of an instance.
    pub direction: Vec3<R>,
}

impl Ray {
    /// The point at a distance.
    #[inline(always)]
    pub fn at(&self, t: f32) -> Vec3 {
        self.origin + self.direction * t
    }
}

/// A triangle as it is intersected: a corner and the two edges from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Corners<R = f32> {
    /// First corner.
    pub corner: Vec3<R>,
    /// From the first to the second corner.
    pub edge1: Vec3<R>,
    /// From the first to the third corner.
    pub edge2: Vec3<R>,
}

/// Where a triangle was hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Barycentric<R = f32> {
    /// Distance along the ray.
    pub t: R,
    /// Weight of the second corner.
    pub u: R,
    /// Weight of the third corner.
    pub v: R,
}

impl Corners {
    /// What contains it.
    #[inline(always)]
    pub fn bounds(&self) -> Aabb {
        let (a, b, c) = (self.corner, self.corner + self.edge1, self.corner + self.edge2);
        Aabb {
            low: [a.x.min(b.x).min(c.x), a.y.min(b.y).min(c.y), a.z.min(b.z).min(c.z)],
            high: [a.x.max(b.x).max(c.x), a.y.max(b.y).max(c.y), a.z.max(b.z).max(c.z)],
        }
    }

    /// Where the ray hits the triangle, from the front or from either side.
    #[inline(always)]
    pub fn hit(&self, ray: &Ray, double_sided: bool) -> Option<Barycentric> {
        let (hits, found) = self.intersect(ray, if double_sided { -1.0 } else { 1.0 });
        hits.then_some(found)
    }
}

impl<R: Real> Corners<R> {
    /// A triangle for each lane.
    #[inline(always)]
    pub fn from_lanes(token: R::Token, mut value: impl FnMut(usize) -> Corners) -> Self {
        let mut lanes = [Corners { corner: Vec3::ZERO, edge1: Vec3::ZERO, edge2: Vec3::ZERO }; MAX_LANES];
        for (lane, corners) in lanes.iter_mut().enumerate().take(R::LANES) {
            *corners = value(lane);
        }
        Self {
            corner: Vec3::from_lanes(token, always!(|lane: usize| lanes[lane].corner)),
            edge1: Vec3::from_lanes(token, always!(|lane: usize| lanes[lane].edge1)),
            edge2: Vec3::from_lanes(token, always!(|lane: usize| lanes[lane].edge2)),
        }
    }

    /// Where rays hit triangles, and in which lanes they do (Möller and Trumbore 1997), every operation spelled out.
    /// `sides` is -1 for triangles that are hit from both sides, 1 for those only from the front.
    #[inline(always)]
    pub fn intersect(&self, ray: &Ray<R>, sides: R) -> (R::Mask, Barycentric<R>) {
        let p = cross(ray.direction, self.edge2);
        let determinant = dot(self.edge1, p);
        // Of triangles that are hit from both sides the magnitude, of the others the determinant itself.
        let proper = !determinant.larger(determinant * sides).below(TINY);
        let inverse = reciprocal(determinant);
        let s = ray.origin - self.corner;
        let u = dot(s, p) * inverse;
        let q = cross(s, self.edge1);
        let v = dot(ray.direction, q) * inverse;
        let t = dot(self.edge2, q) * inverse;
        let zero = t.same(0.0);
        let inside = zero.le(u) & zero.le(v) & (u + v).le(t.same(1.0));
        (proper & inside & zero.lt(t), Barycentric { t, u, v })
    }
}
