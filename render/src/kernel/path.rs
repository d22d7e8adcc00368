//! Radiance as a pure function of scene, view, pixel and sample: a unidirectional path tracer with next-event
//! estimation and multiple importance sampling. `kernel/gpu/path.wgsl` is the twin of this file.

use p2c2r_protocol::tile::{Camera, FrameSize, Sampling};

use super::surface::{SurfacePoint, emission_of, surface_point};
use crate::{
    albedo,
    bsdf::{Bsdf, evaluate, sample, seen_from},
    bvh::Hit,
    environment::EnvironmentLight,
    light::{
        FAR, Light, NO_LIGHT, Source, arrival, limited, mis_weight, solid_angle_density, triangle_point,
    },
    math::{Vec3, cross, dot, normalize, reciprocal, sin_cos_turn, square_root},
    prepared::PreparedScene,
    ray::Ray,
    sample::{
        BOUNCE_DIMENSIONS, CAMERA_DIMENSIONS, DIRECTION, FILM, LENS, LIGHT_CHOICE, LIGHT_POINT, LOBE_CHOICE,
        ROULETTE, SEE_THROUGH, TEXEL_POINT, path_key, random,
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
    parallel: bool,
    inverse_width: f32,
    inverse_height: f32,
    lens: Lens,
}

/// Where rays start, and where they meet.
struct Lens {
    radius: f32,
    focus_distance: f32,
    /// Unit vectors of its plane.
    right: Vec3,
    up: Vec3,
}

/// A path on its way.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// The ray that goes on with it.
    pub ray: Ray,
    /// What it has collected.
    pub radiance: Vec3,
    /// Share of the light along the ray that arrives at the camera.
    throughput: Vec3,
    /// Density of the ray's direction.
    density: f32,
    /// Where its random numbers come from.
    key: u32,
    bounce: u32,
}

/// What happens where a path hits something.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Light from a light, if nothing is in the way.
    pub direct: Option<Candidate>,
    /// Whether the path goes on.
    pub goes_on: bool,
}

impl Step {
    const END: Self = Self { direct: None, goes_on: false };
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
            parallel: camera.parallel,
            inverse_width: reciprocal(size.width_px() as f32),
            inverse_height: reciprocal(size.height_px() as f32),
            lens: Lens {
                radius: camera.lens_radius,
                focus_distance: camera.focus_distance,
                right: normalize(camera.right.into()),
                up: normalize(camera.up.into()),
            },
        }
    }

    /// The scene that is seen.
    pub fn scene(&self) -> &'a PreparedScene {
        self.scene
    }

    /// How it is sampled.
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// A path that starts at the camera.
    #[inline(always)]
    pub fn begin(&self, x: u32, y: u32, sample_index: u32) -> Path {
        let key = path_key(self.sampling.seed, y * self.size.width_px() + x, sample_index);
        Path {
            ray: self.camera_ray(x, y, key),
            radiance: Vec3::ZERO,
            throughput: Vec3::ONE,
            density: 0.0,
            key,
            bounce: 0,
        }
    }

    /// Where the random numbers of the see-through surfaces before the path's next hit come from.
    #[inline(always)]
    pub fn see_through_key(&self, path: &Path) -> u32 {
        path.key.wrapping_add(CAMERA_DIMENSIONS + path.bounce * BOUNCE_DIMENSIONS + SEE_THROUGH)
    }

    /// Goes on with a path where its ray has hit.
    #[inline(always)]
    pub fn step(&self, path: &mut Path, hit: &Hit) -> Step {
        let (ray, key, bounce) = (path.ray, path.key, path.bounce);
        let first = CAMERA_DIMENSIONS + bounce * BOUNCE_DIMENSIONS;
        if !hit.is_some() {
            let light = path.throughput * self.background(path);
            path.radiance = path.radiance + self.tamed(light, bounce);
            return Step::END;
        }
        let point = surface_point(self.scene, &ray, hit);
        if point.light != NO_LIGHT || point.unlit {
            let sought = bounce > 0 && point.light != NO_LIGHT;
            let weight = if sought { self.hit_weight(&ray, hit.t, &point, path.density) } else { 1.0 };
            let light = path.throughput * point.emission * weight;
            path.radiance = path.radiance + self.tamed(light, bounce);
        }
        if point.unlit || bounce + 1 >= self.sampling.max_depth {
            return Step::END;
        }
        let view = -ray.direction;
        let bsdf = seen_from(self.albedo, &point.surface, point.normal, view);
        let vertex = Vertex { point: &point, bsdf: &bsdf, view, key, first };
        let direct = self.direct_light(&vertex, path.throughput, bounce);
        let (layer, r0, r1) = (
            random(key, first + LOBE_CHOICE),
            random(key, first + DIRECTION),
            random(key, first + DIRECTION + 1),
        );
        let direction = sample(&bsdf, point.normal, view, layer, r0, r1);
        let scattering = evaluate(&bsdf, point.normal, view, direction);
        if scattering.density <= 1e-12 || !same_side(&point, direction) {
            return Step { direct, goes_on: false };
        }
        path.throughput = path.throughput * (scattering.value * reciprocal(scattering.density));
        path.density = scattering.density;
        if bounce >= ROULETTE_FROM {
            let survival = path.throughput.max_component().clamp(MIN_SURVIVAL, 1.0);
            if random(key, first + ROULETTE) >= survival {
                return Step { direct, goes_on: false };
            }
            path.throughput = path.throughput * reciprocal(survival);
        }
        path.ray = Ray { origin: point.lifted(direction), direction };
        path.bounce = bounce + 1;
        Step { direct, goes_on: true }
    }

    /// Light at the end of a path is limited when it was scattered more than once; `scatterings` counts how often.
    #[inline(always)]
    fn tamed(&self, light: Vec3, scatterings: u32) -> Vec3 {
        if scatterings > 1 { limited(light, self.sampling.clamp) } else { light }
    }

    /// Through a random point of the pixel, from a random point of the lens.
    #[inline(always)]
    fn camera_ray(&self, x: u32, y: u32, key: u32) -> Ray {
        let u = (x as f32 + random(key, FILM)) * self.inverse_width * 2.0 - 1.0;
        let v = 1.0 - (y as f32 + random(key, FILM + 1)) * self.inverse_height * 2.0;
        let film = self.right * u + self.up * v;
        let (origin, direction) = if self.parallel {
            (self.origin + film, self.forward)
        } else {
            (self.origin, self.forward + film)
        };
        let lens = &self.lens;
        if lens.radius <= 0.0 {
            return Ray { origin, direction: normalize(direction) };
        }
        // The root spreads the points evenly over the disc.
        let distance = square_root(random(key, LENS)) * lens.radius;
        let (sine, cosine) = sin_cos_turn(random(key, LENS + 1));
        let aside = lens.right * (cosine * distance) + lens.up * (sine * distance);
        Ray { origin: origin + aside, direction: normalize(direction * lens.focus_distance - aside) }
    }

    /// Radiance from outside the scene, as much of it as is not looked for as a light.
    #[inline(always)]
    fn background(&self, path: &Path) -> Vec3 {
        let direction = path.ray.direction;
        let Some(environment) = self.scene.environment() else { return self.sky(direction) };
        let radiance = environment.radiance(direction);
        if path.bounce == 0 {
            return radiance;
        }
        let density = environment.density(direction) * self.scene.lights().environment_share();
        radiance * mis_weight(path.density, density)
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
    fn direct_light(&self, vertex: &Vertex<'_>, throughput: Vec3, bounce: u32) -> Option<Candidate> {
        let lights = self.scene.lights();
        let share = lights.environment_share();
        let choice = random(vertex.key, vertex.first + LIGHT_CHOICE);
        let candidate = if choice < share {
            from_environment(vertex, self.scene.environment()?, share)
        } else if lights.lights().is_empty() {
            None
        } else {
            let light = &lights.lights()[lights.choose((choice - share) * lights.stretch()) as usize];
            match &light.source {
                Source::Triangle { .. } => self.from_triangle(vertex, light),
                Source::Punctual(punctual) => from_punctual(vertex, light, punctual),
            }
        };
        let mut candidate = candidate.filter(|candidate| candidate.radiance != Vec3::ZERO)?;
        candidate.radiance = self.tamed(throughput * candidate.radiance, bounce + 1);
        Some(candidate)
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
        Some(Candidate {
            ray: Ray { origin, direction },
            reach: distance * SHADOW_REACH,
            key: shadow_key(vertex),
            radiance: weight * emission,
        })
    }
}

/// What comes from a light if nothing is in the way.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Towards the light.
    pub ray: Ray,
    /// How far nothing may be in the way.
    pub reach: f32,
    /// Where the random numbers of see-through surfaces on the way come from.
    pub key: u32,
    /// What arrives.
    pub radiance: Vec3,
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
    Some(Candidate { ray, reach: seen.distance * SHADOW_REACH, key: shadow_key(vertex), radiance: value })
}

#[inline(always)]
fn from_environment(vertex: &Vertex<'_>, environment: &EnvironmentLight, share: f32) -> Option<Candidate> {
    let seen = environment.sample([
        random(vertex.key, vertex.first + LIGHT_POINT),
        random(vertex.key, vertex.first + LIGHT_POINT + 1),
        random(vertex.key, vertex.first + TEXEL_POINT),
        random(vertex.key, vertex.first + TEXEL_POINT + 1),
    ]);
    let direction = seen.direction;
    let scattering = evaluate(vertex.bsdf, vertex.point.normal, vertex.view, direction);
    if scattering.density <= 0.0 || !same_side(vertex.point, direction) {
        return None;
    }
    let density = seen.density * share;
    let weight =
        scattering.value * (mis_weight(density, scattering.density) * reciprocal(density.max(1e-20)));
    Some(Candidate {
        ray: Ray { origin: vertex.point.lifted(direction), direction },
        reach: FAR * SHADOW_REACH,
        key: shadow_key(vertex),
        radiance: weight * environment.radiance(direction),
    })
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
