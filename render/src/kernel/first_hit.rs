//! What the first hit of a path tells of its surface, without following the path any further. It has no twin on the
//! GPU: the node that owns the frame computes it.

use super::{
    path::{Path, PathTracer, Struck},
    surface::surface_point,
};
use crate::{
    bvh::Hit,
    math::{Vec3, vec3},
    ray::Ray,
    real::{MAX_LANES, Real, always},
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
    /// Share of the light that it reflects, 0 to 1 each.
    pub base_color: Vec3,
    /// Radiance that it gives off towards the ray.
    pub emission: Vec3,
    /// Distance along the ray, world units.
    pub distance: f32,
    /// Index of the instance in the scene.
    pub instance: u32,
}

impl FirstHit {
    /// Of a path whose first ray hits nothing.
    #[inline(always)]
    pub(super) fn missed(path: &Path) -> Self {
        Self { direction: path.ray.direction, surface: None }
    }
}

impl FirstSurface {
    /// Base colour; where a surface shines, what it gives off if that is more, but no more than 1. What shines shows
    /// its pattern in what it gives off; its base colour is often black.
    pub fn albedo(&self) -> Vec3 {
        let (base, glow) = (self.base_color, self.emission);
        let seen = |base: f32, glow: f32| base.max(glow).clamp(0.0, 1.0);
        vec3(seen(base.x, glow.x), seen(base.y, glow.y), seen(base.z, glow.z))
    }
}

impl PathTracer<'_> {
    /// Notes what the first rays of paths that have just begun meet where they have hit: at least one, and not more
    /// than there are lanes.
    #[inline(always)]
    pub(super) fn look<R: Real>(
        &self,
        token: R::Token,
        struck: &[Struck],
        paths: &[Path],
        seen: &mut [FirstHit],
    ) {
        // Lanes beyond the last one repeat it; what they come to is left aside.
        let last = struck.len().min(R::LANES) - 1;
        let ray = always!(|lane: usize| &paths[struck[lane.min(last)].path as usize].ray);
        let hits: [Hit; MAX_LANES] = std::array::from_fn(always!(|lane: usize| struck[lane.min(last)].hit));
        let rays = Ray {
            origin: Vec3::<R>::from_lanes(token, always!(|lane: usize| ray(lane).origin)),
            direction: Vec3::from_lanes(token, always!(|lane: usize| ray(lane).direction)),
        };
        let point = surface_point(token, self.scene(), &rays, &hits);
        for (lane, Struck { path, hit }) in struck.iter().enumerate() {
            seen[*path as usize].surface = Some(FirstSurface {
                position: point.position.lane(lane),
                normal: point.normal.lane(lane),
                base_color: point.surface.base_color.lane(lane),
                emission: point.emission.lane(lane),
                distance: hit.t,
                instance: hit.instance,
            });
        }
    }
}
