//! Rays and triangles. `kernel/gpu/bvh.wgsl` has the twin of [`Corners::intersect`].

use crate::math::{TINY, Vec3, cross, dot, reciprocal};

/// A half-line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ray {
    /// Where it starts.
    pub origin: Vec3,
    /// Unit vector along it.
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
    /// Where the ray hits the triangle, from either side (Möller and Trumbore 1997), every operation spelled out.
    #[inline(always)]
    pub fn intersect(&self, ray: &Ray) -> Option<Barycentric> {
        let p = cross(ray.direction, self.edge2);
        let determinant = dot(self.edge1, p);
        if determinant.abs() < TINY {
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
