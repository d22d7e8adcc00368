//! What the first hit of a path tells of its surface, without following the path any further. It has no twin on the
//! GPU: the node that owns the frame computes it.

use super::{
    path::{Path, PathTracer},
    surface::surface_point,
};
use crate::{
    bvh::Hit,
    math::{Vec3, vec3},
};

/// What a path's first ray meets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FirstHit {
    /// Where the ray goes, a unit vector.
    pub direction: Vec3,
    /// What it hits, if anything.
    pub surface: Option<FirstSurface>,
}

/// The surface that a path's first ray hits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FirstSurface {
    /// World space.
    pub position: Vec3,
    /// Shading normal in world space, on the side that the ray came from.
    pub normal: Vec3,
    /// Base colour; where a surface shines, what it gives off if that is more, but no more than 1.
    pub albedo: Vec3,
    /// Distance along the ray, world units.
    pub distance: f32,
    /// Index of the instance in the scene.
    pub instance: u32,
}

impl PathTracer<'_> {
    /// What the first ray of a path that has just begun meets.
    pub fn first_hit(&self, path: &Path, hit: &Hit) -> FirstHit {
        let surface = hit.is_some().then(|| {
            let point = surface_point((), self.scene(), &path.ray, std::slice::from_ref(hit));
            // What shines shows its pattern in what it gives off; its base colour is often black.
            let (base, glow) = (point.surface.base_color, point.emission);
            let seen = |base: f32, glow: f32| base.max(glow).clamp(0.0, 1.0);
            FirstSurface {
                position: point.position,
                normal: point.normal,
                albedo: vec3(seen(base.x, glow.x), seen(base.y, glow.y), seen(base.z, glow.z)),
                distance: hit.t,
                instance: hit.instance,
            }
        });
        FirstHit { direction: path.ray.direction, surface }
    }
}
