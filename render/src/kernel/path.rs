//! Radiance as a pure function of scene, view, pixel and sample: a unidirectional path tracer with next-event
//! estimation and multiple importance sampling. `kernel/gpu/path.wgsl` is the twin of this file.

use p2c2r_protocol::tile::{Camera, FrameSize, Sampling};

use super::surface::{Opacity, SurfacePoint, emission_of, surface_point};
use crate::{
    albedo,
    bsdf::{Bsdf, evaluate, sample, seen_from},
    bvh::{Hit, wide::Stack},
    light::{FAR, Light, NO_LIGHT, Source, arrival, mis_weight, solid_angle_density, triangle_point},
    math::{Vec3, cross, dot, flush_tiny, normalize, reciprocal, square_root},
    prepared::PreparedScene,
    ray::Ray,
    sample::{
        BOUNCE_DIMENSIONS, CAMERA_DIMENSIONS, DIRECTION, FILM, LIGHT_CHOICE, LIGHT_POINT, LOBE_CHOICE,
        ROULETTE, SEE_THROUGH, path_key, random,
    },
    scene::PunctualLight,
};

/// Paths are ended by chance from this bounce on.
const ROULETTE_FROM: u32 = 3;
/// Smallest probability that a path goes on.
const MIN_SURVIVAL: f32 = 0.05;
/// Shadow rays end this share of the way before their light.
const SHADOW_REACH: f32 = 0.9999;

/// A view of a scene in the form that the kernel wants.
pub struct PathTracer<'a> {
    scene: &'a PreparedScene,
    albedo: &'a [[f32; 2]],
    size: FrameSize,
    sampling: Sampling,
    origin: Vec3,
    forward: Vec3,
    right: Vec3,
    up: Vec3,
    inverse_width: f32,
    inverse_height: f32,
}

/// What a path came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathOutcome {
    /// Radiance.
    pub radiance: Vec3,
    /// Rays traced.
    pub rays: u32,
}

/// A place on a path, and where its random numbers come from.
struct Vertex<'a> {
    point: &'a SurfacePoint,
    bsdf: &'a Bsdf,
    view: Vec3,
    key: u32,
    /// First dimension of the bounce.
    first: u32,
}

impl<'a> PathTracer<'a> {
    /// For one view. The values are valid: the protocol layer has checked them.
    pub fn new(scene: &'a PreparedScene, size: FrameSize, sampling: Sampling, camera: &Camera) -> Self {
        Self {
            scene,
            albedo: &albedo::TABLE,
            size,
            sampling,
            origin: camera.origin.into(),
            forward: camera.forward.into(),
            right: camera.right.into(),
            up: camera.up.into(),
            inverse_width: reciprocal(size.width_px() as f32),
            inverse_height: reciprocal(size.height_px() as f32),
        }
    }

    /// Mean radiance of a pixel over the view's samples, added up in the order of the samples.
    #[inline]
    pub fn pixel(&self, x: u32, y: u32, stack: &mut Stack) -> PathOutcome {
        let mut sum = PathOutcome::default();
        for index in 0..self.sampling.samples {
            let path = self.path(x, y, self.sampling.first_sample + index, stack);
            sum.radiance = sum.radiance + path.radiance;
            sum.rays += path.rays;
        }
        sum.radiance = flush_tiny(sum.radiance * reciprocal(self.sampling.samples as f32));
        sum
    }

    /// One path.
    pub fn path(&self, x: u32, y: u32, sample_index: u32, stack: &mut Stack) -> PathOutcome {
        let key = path_key(self.sampling.seed, y * self.size.width_px() + x, sample_index);
        let mut ray = self.camera_ray(x, y, key);
        let mut throughput = Vec3::ONE;
        let mut outcome = PathOutcome::default();
        let mut density = 0.0;
        for bounce in 0..self.sampling.max_depth {
            let first = CAMERA_DIMENSIONS + bounce * BOUNCE_DIMENSIONS;
            let hit = self.closest(&ray, key.wrapping_add(first + SEE_THROUGH), stack);
            outcome.rays += 1;
            if !hit.is_some() {
                outcome.radiance = outcome.radiance + throughput * self.sky(ray.direction);
                break;
            }
            let point = surface_point(self.scene, &ray, &hit);
            if point.light != NO_LIGHT || point.unlit {
                let sought = bounce > 0 && point.light != NO_LIGHT;
                let weight = if sought { self.hit_weight(&ray, hit.t, &point, density) } else { 1.0 };
                outcome.radiance = outcome.radiance + throughput * point.emission * weight;
            }
            if point.unlit || bounce + 1 >= self.sampling.max_depth {
                break;
            }
            let view = -ray.direction;
            let bsdf = seen_from(self.albedo, &point.surface, point.normal, view);
            let vertex = Vertex { point: &point, bsdf: &bsdf, view, key, first };
            let direct = self.direct_light(&vertex, &mut outcome.rays, stack);
            outcome.radiance = outcome.radiance + throughput * direct;
            let (layer, r0, r1) = (
                random(key, first + LOBE_CHOICE),
                random(key, first + DIRECTION),
                random(key, first + DIRECTION + 1),
            );
            let direction = sample(&bsdf, point.normal, view, layer, r0, r1);
            let scattering = evaluate(&bsdf, point.normal, view, direction);
            if scattering.density <= 1e-12 || !same_side(&point, direction) {
                break;
            }
            throughput = throughput * (scattering.value * reciprocal(scattering.density));
            density = scattering.density;
            if bounce >= ROULETTE_FROM {
                let survival = throughput.max_component().clamp(MIN_SURVIVAL, 1.0);
                if random(key, first + ROULETTE) >= survival {
                    break;
                }
                throughput = throughput * reciprocal(survival);
            }
            ray = Ray { origin: point.lifted(direction), direction };
        }
        outcome
    }

    /// Through a random point of the pixel.
    #[inline(always)]
    fn camera_ray(&self, x: u32, y: u32, key: u32) -> Ray {
        let u = (x as f32 + random(key, FILM)) * self.inverse_width * 2.0 - 1.0;
        let v = 1.0 - (y as f32 + random(key, FILM + 1)) * self.inverse_height * 2.0;
        Ray { origin: self.origin, direction: normalize(self.forward + self.right * u + self.up * v) }
    }

    #[inline(always)]
    fn closest(&self, ray: &Ray, key: u32, stack: &mut Stack) -> Hit {
        self.scene.closest(ray, FAR, |instance| Opacity::new(self.scene, instance, key), stack)
    }

    #[inline(always)]
    fn is_hidden(&self, ray: &Ray, distance: f32, key: u32, stack: &mut Stack) -> bool {
        self.scene.any(ray, distance, |instance| Opacity::new(self.scene, instance, key), stack)
    }

    /// Radiance from outside the scene.
    #[inline(always)]
    fn sky(&self, direction: Vec3) -> Vec3 {
        let [down, up] = self.scene.scene().sky.map(Vec3::from);
        down + (up - down) * (direction.y * 0.5 + 0.5)
    }

    /// How much a light counts that the scattered ray has hit, when it could have been chosen as a light as well.
    #[inline(always)]
    fn hit_weight(&self, ray: &Ray, t: f32, point: &SurfacePoint, density: f32) -> f32 {
        let light = &self.scene.lights().lights()[point.light as usize];
        let cosine = -dot(point.geometric, ray.direction);
        mis_weight(density, solid_angle_density(light.density, t * t, cosine))
    }

    /// Light that comes straight from one of the lights.
    #[inline(always)]
    fn direct_light(&self, vertex: &Vertex<'_>, rays: &mut u32, stack: &mut Stack) -> Vec3 {
        let lights = self.scene.lights();
        if lights.lights().is_empty() {
            return Vec3::ZERO;
        }
        let light = &lights.lights()[lights.choose(random(vertex.key, vertex.first + LIGHT_CHOICE)) as usize];
        let candidate = match &light.source {
            Source::Triangle { .. } => self.from_triangle(vertex, light),
            Source::Punctual(punctual) => from_punctual(vertex, light, punctual),
        };
        let Some(candidate) = candidate.filter(|candidate| candidate.value != Vec3::ZERO) else {
            return Vec3::ZERO;
        };
        *rays += 1;
        let hidden =
            self.is_hidden(&candidate.ray, candidate.distance * SHADOW_REACH, shadow_key(vertex), stack);
        if hidden { Vec3::ZERO } else { candidate.value }
    }

    #[inline(always)]
    #[expect(clippy::wrong_self_convention, reason = "the light comes from there")]
    fn from_triangle(&self, vertex: &Vertex<'_>, light: &Light) -> Option<Candidate> {
        let Source::Triangle { instance, primitive, corners, double_sided } = &light.source else {
            return None;
        };
        let (u, v) = triangle_point(
            random(vertex.key, vertex.first + LIGHT_POINT),
            random(vertex.key, vertex.first + LIGHT_POINT + 1),
        );
        let target = corners.corner + corners.edge1 * u + corners.edge2 * v;
        let origin = vertex.point.lifted(target - vertex.point.position);
        let path = target - origin;
        let distance_squared = dot(path, path);
        if distance_squared < 1e-12 {
            return None;
        }
        let distance = square_root(distance_squared);
        let direction = path * reciprocal(distance);
        let facing = -dot(normalize(cross(corners.edge1, corners.edge2)), direction);
        let cosine_light = if facing < 0.0 && *double_sided { -facing } else { facing };
        if cosine_light < 1e-6 {
            return None;
        }
        let scattering = evaluate(vertex.bsdf, vertex.point.normal, vertex.view, direction);
        if scattering.density <= 0.0 || !same_side(vertex.point, direction) {
            return None;
        }
        let density = solid_angle_density(light.density, distance_squared, cosine_light);
        let weight =
            scattering.value * (mis_weight(density, scattering.density) * reciprocal(density.max(1e-20)));
        let emission = emission_of(self.scene, *instance, *primitive, u, v);
        Some(Candidate { ray: Ray { origin, direction }, distance, value: weight * emission })
    }
}

/// What comes from a light if nothing is in the way.
struct Candidate {
    ray: Ray,
    distance: f32,
    value: Vec3,
}

#[inline(always)]
fn from_punctual(vertex: &Vertex<'_>, light: &Light, punctual: &PunctualLight) -> Option<Candidate> {
    let seen = arrival(punctual, vertex.point.position);
    let direction = seen.direction;
    let scattering = evaluate(vertex.bsdf, vertex.point.normal, vertex.view, direction);
    if scattering.density <= 0.0 || !same_side(vertex.point, direction) {
        return None;
    }
    let value = scattering.value * seen.irradiance * reciprocal(light.density.max(1e-20));
    let ray = Ray { origin: vertex.point.lifted(direction), direction };
    Some(Candidate { ray, distance: seen.distance, value })
}

/// Where the random numbers of a shadow ray's see-through surfaces come from.
#[inline(always)]
fn shadow_key(vertex: &Vertex<'_>) -> u32 {
    vertex.key.wrapping_add(vertex.first + LIGHT_CHOICE)
}

/// Whether a direction leaves on the same side of the triangle as of its shading normal: the others would shine
/// through what is solid.
#[inline(always)]
fn same_side(point: &SurfacePoint, direction: Vec3) -> bool {
    dot(point.geometric, direction) * dot(point.normal, direction) > 0.0
}
