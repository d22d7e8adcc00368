//! Radiance as a pure function of scene, view, pixel and sample: a unidirectional path tracer with next-event
//! estimation and multiple importance sampling. `kernel/gpu/path.wgsl` is the twin of this file.

use p2c2r_protocol::tile::{Camera, FrameSize, Sampling};

use crate::{
    bvh::wide::Stack,
    light::{NO_LIGHT, mis_weight, solid_angle_density, triangle_point},
    material::{Surface, evaluate, sample, surface},
    math::{Vec3, cross, dot, flush_tiny, normalize, reciprocal, square_root},
    prepared::PreparedScene,
    ray::Ray,
    sample::{
        BOUNCE_DIMENSIONS, CAMERA_DIMENSIONS, DIRECTION, FILM, LIGHT_CHOICE, LIGHT_POINT, LOBE_CHOICE,
        ROULETTE, path_key, random,
    },
    scene::Material,
    texture::lookup,
};

/// Paths are ended by chance from this bounce on.
const ROULETTE_FROM: u32 = 3;
/// Smallest probability that a path goes on.
const MIN_SURVIVAL: f32 = 0.05;
/// Farther than any scene reaches.
const FAR: f32 = 1e30;
/// Shadow rays end this share of the way before their light.
const SHADOW_REACH: f32 = 0.9999;

/// A view of a scene in the form that the kernel wants.
pub struct PathTracer<'a> {
    scene: &'a PreparedScene,
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

/// A surface that a ray has hit.
struct SurfacePoint {
    position: Vec3,
    /// On the side that the ray came from.
    geometric: Vec3,
    /// Interpolated, on the same side.
    normal: Vec3,
    surface: Surface,
    emission: Vec3,
    light: u32,
}

impl<'a> PathTracer<'a> {
    /// For one view. The values are valid: the protocol layer has checked them.
    pub fn new(scene: &'a PreparedScene, size: FrameSize, sampling: Sampling, camera: &Camera) -> Self {
        Self {
            scene,
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
            let hit = self.scene.bvh().closest(&ray, FAR, stack);
            outcome.rays += 1;
            if !hit.is_some() {
                outcome.radiance = outcome.radiance + throughput * self.sky(ray.direction);
                break;
            }
            let point = self.surface_point(&ray, hit.primitive);
            if point.light != NO_LIGHT {
                let weight = if bounce == 0 { 1.0 } else { self.hit_weight(&ray, hit.t, &point, density) };
                outcome.radiance = outcome.radiance + throughput * point.emission * weight;
            }
            if bounce + 1 >= self.sampling.max_depth {
                break;
            }
            let first = CAMERA_DIMENSIONS + bounce * BOUNCE_DIMENSIONS;
            let view = -ray.direction;
            let direct = self.direct_light(&point, view, key, first, &mut outcome.rays, stack);
            outcome.radiance = outcome.radiance + throughput * direct;
            let (lobe, r0, r1) = (
                random(key, first + LOBE_CHOICE),
                random(key, first + DIRECTION),
                random(key, first + DIRECTION + 1),
            );
            let direction = sample(&point.surface, point.normal, view, lobe, r0, r1);
            let scattering = evaluate(&point.surface, point.normal, view, direction);
            if scattering.density <= 1e-12 || dot(point.geometric, direction) <= 0.0 {
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
            ray = Ray { origin: self.lift(&point), direction };
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

    /// Radiance from outside the scene.
    #[inline(always)]
    fn sky(&self, direction: Vec3) -> Vec3 {
        let [down, up] = self.scene.scene().sky.map(Vec3::from);
        down + (up - down) * (direction.y * 0.5 + 0.5)
    }

    /// A little off the surface.
    #[inline(always)]
    fn lift(&self, point: &SurfacePoint) -> Vec3 {
        point.position + point.geometric * self.scene.offset()
    }

    #[inline(always)]
    fn surface_point(&self, ray: &Ray, primitive: u32) -> SurfacePoint {
        let corners = &self.scene.corners()[primitive as usize];
        let shading = &self.scene.shading()[primitive as usize];
        let (u, v) = corners.intersect(ray).map_or((0.0, 0.0), |hit| (hit.u, hit.v));
        let w = 1.0 - u - v;
        let mut geometric = normalize(cross(corners.edge1, corners.edge2));
        if dot(geometric, ray.direction) > 0.0 {
            geometric = -geometric;
        }
        let [n0, n1, n2] = shading.normals;
        let mut normal = normalize(n0 * w + n1 * u + n2 * v);
        if dot(normal, geometric) < 0.0 {
            normal = -normal;
        }
        // A normal that the view cannot see would scatter light into the surface.
        if dot(normal, ray.direction) > -1e-3 {
            normal = geometric;
        }
        let material = &self.scene.scene().materials[shading.material as usize];
        let [a, b, c] = shading.uvs;
        let uv = [a[0] * w + b[0] * u + c[0] * v, a[1] * w + b[1] * u + c[1] * v];
        SurfacePoint {
            position: corners.corner + corners.edge1 * u + corners.edge2 * v,
            geometric,
            normal,
            surface: surface(self.base_color(material, uv), material.metallic, material.roughness),
            emission: material.emission.into(),
            light: shading.light,
        }
    }

    #[inline(always)]
    fn base_color(&self, material: &Material, uv: [f32; 2]) -> Vec3 {
        let factor = Vec3::from(material.base_color);
        match material.base_color_texture {
            Some(texture) => factor * lookup(&self.scene.scene().textures[texture as usize], uv),
            None => factor,
        }
    }

    /// How much a light counts that the scattered ray has hit, when it could have been chosen as a light as well.
    #[inline(always)]
    fn hit_weight(&self, ray: &Ray, t: f32, point: &SurfacePoint, density: f32) -> f32 {
        let light = &self.scene.lights().lights()[point.light as usize];
        let cosine = -dot(point.geometric, ray.direction);
        mis_weight(density, solid_angle_density(light.area_density, t * t, cosine))
    }

    /// Light that comes straight from a light or the sun.
    #[inline(always)]
    fn direct_light(
        &self,
        point: &SurfacePoint,
        view: Vec3,
        key: u32,
        first: u32,
        rays: &mut u32,
        stack: &mut Stack,
    ) -> Vec3 {
        let mut direct = Vec3::ZERO;
        if !self.scene.lights().lights().is_empty() {
            direct = direct + self.light_sample(point, view, key, first, rays, stack);
        }
        if let Some(sun) = &self.scene.scene().sun {
            let direction = Vec3::from(sun.direction);
            let scattering = evaluate(&point.surface, point.normal, view, direction);
            if scattering.density > 0.0 && dot(point.geometric, direction) > 0.0 {
                *rays += 1;
                let ray = Ray { origin: self.lift(point), direction };
                if !self.scene.bvh().any(&ray, FAR, stack) {
                    direct = direct + scattering.value * Vec3::from(sun.irradiance);
                }
            }
        }
        direct
    }

    #[inline(always)]
    fn light_sample(
        &self,
        point: &SurfacePoint,
        view: Vec3,
        key: u32,
        first: u32,
        rays: &mut u32,
        stack: &mut Stack,
    ) -> Vec3 {
        let lights = self.scene.lights();
        let light = &lights.lights()[lights.choose(random(key, first + LIGHT_CHOICE)) as usize];
        let corners = &self.scene.corners()[light.primitive as usize];
        let target =
            triangle_point(corners, random(key, first + LIGHT_POINT), random(key, first + LIGHT_POINT + 1));
        let origin = self.lift(point);
        let path = target - origin;
        let distance_squared = dot(path, path);
        if distance_squared < 1e-12 {
            return Vec3::ZERO;
        }
        let distance = square_root(distance_squared);
        let direction = path * reciprocal(distance);
        let facing = dot(normalize(cross(corners.edge1, corners.edge2)), direction);
        let cosine_light = if facing < 0.0 { -facing } else { facing };
        let scattering = evaluate(&point.surface, point.normal, view, direction);
        if scattering.density <= 0.0 || cosine_light < 1e-6 || dot(point.geometric, direction) <= 0.0 {
            return Vec3::ZERO;
        }
        *rays += 1;
        if self.scene.bvh().any(&Ray { origin, direction }, distance * SHADOW_REACH, stack) {
            return Vec3::ZERO;
        }
        let shading = &self.scene.shading()[light.primitive as usize];
        let emission = Vec3::from(self.scene.scene().materials[shading.material as usize].emission);
        let density = solid_angle_density(light.area_density, distance_squared, cosine_light);
        scattering.value
            * emission
            * (mis_weight(density, scattering.density) * reciprocal(density.max(1e-20)))
    }
}
