//! Rays and triangles. `kernel/gpu/bvh.wgsl` has the twin of [`Corners::intersect`].

use crate::{
    bvh::Aabb,
    math::{TINY, Vec3, cross, dot, reciprocal},
};

/// A half-line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ray {
    /// Where it starts.
    pub origin: Vec3,
    /// Along it: unit length in the world, any length in the space of an instance.
    pub direction: Vec3,
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
pub struct Corners {
    /// First corner.
    pub corner: Vec3,
    /// From the first to the second corner.
    pub edge1: Vec3,
    /// From the first to the third corner.
    pub edge2: Vec3,
}

/// Where a triangle was hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Barycentric {
    /// Distance along the ray.
    pub t: f32,
    /// Weight of the second corner.
    pub u: f32,
    /// Weight of the third corner.
    pub v: f32,
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

    /// Where the ray hits the triangle, from the front or from either side (Möller and Trumbore 1997), every operation
    /// spelled out.
    #[inline(always)]
    pub fn intersect(&self, ray: &Ray, double_sided: bool) -> Option<Barycentric> {
        let p = cross(ray.direction, self.edge2);
        let determinant = dot(self.edge1, p);
        let turned = if double_sided { -determinant } else { determinant };
        if determinant.max(turned) < TINY {
            return None;
        }
        let inverse = reciprocal(determinant);
        let s = ray.origin - self.corner;
        let u = dot(s, p) * inverse;
        let q = cross(s, self.edge1);
        let v = dot(ray.direction, q) * inverse;
        let t = dot(self.edge2, q) * inverse;
        (u >= 0.0 && v >= 0.0 && u + v <= 1.0 && t > 0.0).then_some(Barycentric { t, u, v })
    }
}
