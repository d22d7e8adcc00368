//! Radiance as a pure function of scene, view, pixel and sample: a unidirectional path tracer with next-event
//! estimation and multiple importance sampling, a step of several paths at a time. `kernel/gpu/path.wgsl` is the twin
//! of this file.

use p2c2r_protocol::tile::{Camera, FrameSize, Sampling};

use super::{
    direct::Candidate,
    surface::{SurfacePoint, surface_point},
};
use crate::{
    albedo,
    bsdf::{Bsdf, evaluate, sample, seen_from},
    bvh::Hit,
    light::{NO_LIGHT, limited, mis_weight, solid_angle_density},
    math::{Vec3, dot, normalize, reciprocal, sin_cos_turn, square_root},
    prepared::PreparedScene,
    ray::Ray,
    real::{MAX_LANES, Real, always},
    sample::{
        BOUNCE_DIMENSIONS, CAMERA_DIMENSIONS, DIRECTION, FILM, LENS, LIGHT_CHOICE, LOBE_CHOICE, ROULETTE,
        SEE_THROUGH, path_key, random,
    },
};

/// Paths are ended by chance from this bounce on.
const ROULETTE_FROM: u32 = 3;
/// Smallest probability that a path goes on.
const MIN_SURVIVAL: f32 = 0.05;

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

impl Path {
    /// Begins with a ray.
    #[inline(always)]
    fn new(ray: Ray, key: u32) -> Self {
        Self { ray, radiance: Vec3::ZERO, throughput: Vec3::ONE, density: 0.0, key, bounce: 0 }
    }
}

/// A path that has hit something.
#[derive(Debug, Clone, Copy)]
pub struct Struck {
    /// Its index.
    pub path: u32,
    /// What it has hit.
    pub hit: Hit,
}

/// Places on paths, lane by lane, and where their random numbers come from.
pub(super) struct Vertex<'a, R: Real> {
    pub token: R::Token,
    pub point: &'a SurfacePoint<R>,
    pub bsdf: &'a Bsdf<R>,
    pub view: Vec3<R>,
    keys: [u32; MAX_LANES],
    /// First dimension of the bounce.
    first: u32,
}

impl<R: Real> Vertex<'_, R> {
    /// Random numbers of a dimension of the bounce.
    #[inline(always)]
    pub fn random(&self, dimension: u32) -> R {
        R::random(self.token, &self.keys, self.first + dimension)
    }
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
        Path::new(self.camera_ray(x, y, key), key)
    }

    /// A path of one ray, from the middle of the lens through the middle of the pixel: what is seen of a scene that
    /// stands still stands still, too.
    #[inline(always)]
    pub fn begin_at_centre(&self, x: u32, y: u32) -> Path {
        let (origin, direction) = self.film_ray(x as f32 + 0.5, y as f32 + 0.5);
        let key = path_key(self.sampling.seed, y * self.size.width_px() + x, 0);
        Path::new(Ray { origin, direction: normalize(direction) }, key)
    }

    /// Where the random numbers of the see-through surfaces before the path's next hit come from.
    #[inline(always)]
    pub fn see_through_key(&self, path: &Path) -> u32 {
        path.key.wrapping_add(CAMERA_DIMENSIONS + path.bounce * BOUNCE_DIMENSIONS + SEE_THROUGH)
    }

    /// Ends a path whose ray has hit nothing.
    #[inline(always)]
    pub fn leave(&self, path: &mut Path) {
        let light = path.throughput * self.background(path);
        path.radiance = path.radiance + self.tamed(light, path.bounce);
    }

    /// Goes on with paths of the same bounce where their rays have hit: at least one, and not more than there are
    /// lanes. `seek` is told of light that comes straight from a light, and by which path. A bit for each that goes on.
    #[inline(always)]
    pub fn step<R: Real>(
        &self,
        token: R::Token,
        struck: &[Struck],
        paths: &mut [Path],
        mut seek: impl FnMut(u32, Candidate),
    ) -> u32 {
        // Lanes beyond the last one repeat it; what they come to is left aside.
        let last = struck.len().min(R::LANES) - 1;
        let path = always!(|lane: usize| &paths[struck[lane.min(last)].path as usize]);
        let hits: [Hit; MAX_LANES] = std::array::from_fn(always!(|lane: usize| struck[lane.min(last)].hit));
        let keys: [u32; MAX_LANES] = std::array::from_fn(always!(|lane: usize| path(lane).key));
        let bounce = path(0).bounce;
        let first = CAMERA_DIMENSIONS + bounce * BOUNCE_DIMENSIONS;
        let ray = Ray {
            origin: Vec3::from_lanes(token, always!(|lane: usize| path(lane).ray.origin)),
            direction: Vec3::from_lanes(token, always!(|lane: usize| path(lane).ray.direction)),
        };
        let mut throughput = Vec3::<R>::from_lanes(token, always!(|lane: usize| path(lane).throughput));
        let density = R::from_lanes(token, always!(|lane: usize| path(lane).density));
        let point = surface_point(token, self.scene, &ray, &hits);
        if let Some(weight) = self.emission_weight(token, &ray, &hits, &point, density) {
            let light = self.tamed(throughput * point.emission * weight, bounce);
            for (lane, struck) in struck.iter().enumerate() {
                let path = &mut paths[struck.path as usize];
                path.radiance = path.radiance + light.lane(lane);
            }
        }
        let scatters = R::bits(!point.unlit) & ((2 << last) - 1);
        if bounce + 1 >= self.sampling.max_depth || scatters == 0 {
            return 0;
        }
        let view = -ray.direction;
        let bsdf = seen_from(self.albedo, &point.surface, point.normal, view);
        let vertex = Vertex { token, point: &point, bsdf: &bsdf, view, keys, first };
        if let Some(found) = self.direct_light(&vertex, throughput, bounce) {
            for lane in lanes_of(R::bits(found.seen) & scatters) {
                seek(struck[lane].path, found.lane(lane, shadow_key(keys[lane], first)));
            }
        }
        let (layer, r0, r1) =
            (vertex.random(LOBE_CHOICE), vertex.random(DIRECTION), vertex.random(DIRECTION + 1));
        let direction = sample(&bsdf, point.normal, view, layer, r0, r1);
        let scattering = evaluate(&bsdf, point.normal, view, direction);
        let mut goes_on = scattering.density.above(1e-12) & same_side(&point, direction);
        throughput = throughput * (scattering.value * reciprocal(scattering.density));
        if bounce >= ROULETTE_FROM {
            let survival = throughput.max_component().at_least(MIN_SURVIVAL).at_most(1.0);
            goes_on = goes_on & vertex.random(ROULETTE).lt(survival);
            throughput = throughput * reciprocal(survival);
        }
        let origin = point.lifted(direction);
        let goes_on = R::bits(goes_on) & scatters;
        for lane in lanes_of(goes_on) {
            let path = &mut paths[struck[lane].path as usize];
            path.throughput = throughput.lane(lane);
            path.density = scattering.density.lane(lane);
            path.ray = Ray { origin: origin.lane(lane), direction: direction.lane(lane) };
            path.bounce = bounce + 1;
        }
        goes_on
    }

    /// How much counts of what surfaces give off that were hit, since a light could have been chosen as well; `None` if
    /// nothing shines.
    #[inline(always)]
    fn emission_weight<R: Real>(
        &self,
        token: R::Token,
        ray: &Ray<R>,
        hits: &[Hit],
        point: &SurfacePoint<R>,
        density: R,
    ) -> Option<R> {
        let shines = R::mask(token, always!(|lane: usize| point.lights[lane] != NO_LIGHT));
        if !R::any(shines | point.unlit) {
            return None;
        }
        let table = self.scene.lights().lights();
        let of_light = R::from_lanes(
            token,
            always!(|lane: usize| {
                table.get(point.lights[lane] as usize).map_or(0.0, |light| light.density)
            }),
        );
        let t = R::from_lanes(token, always!(|lane: usize| hits[lane].t));
        let cosine = -dot(point.geometric, ray.direction);
        let weight = mis_weight(density, solid_angle_density(of_light, t * t, cosine));
        // What the camera sees was not looked for, nor can it be.
        let sought = shines & density.above(0.0);
        Some(R::select(sought, weight, t.same(1.0)))
    }

    /// Light at the end of a path is limited when it was scattered more than once; `scatterings` counts how often.
    #[inline(always)]
    pub(super) fn tamed<R: Real>(&self, light: Vec3<R>, scatterings: u32) -> Vec3<R> {
        if scatterings > 1 { limited(light, self.sampling.clamp) } else { light }
    }

    /// Through a random point of the pixel, from a random point of the lens.
    #[inline(always)]
    fn camera_ray(&self, x: u32, y: u32, key: u32) -> Ray {
        let (origin, direction) =
            self.film_ray(x as f32 + random(key, FILM), y as f32 + random(key, FILM + 1));
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

    /// Through a point of the film, pixels from its top left: the ray's origin, and its direction, of any length.
    #[inline(always)]
    fn film_ray(&self, x: f32, y: f32) -> (Vec3, Vec3) {
        let u = x * self.inverse_width * 2.0 - 1.0;
        let v = 1.0 - y * self.inverse_height * 2.0;
        let film = self.right * u + self.up * v;
        if self.parallel { (self.origin + film, self.forward) } else { (self.origin, self.forward + film) }
    }

    /// Radiance from outside the scene, as a path's first ray sees it.
    #[inline(always)]
    pub(crate) fn surroundings(&self, direction: Vec3) -> Vec3 {
        self.scene
            .environment()
            .map_or_else(|| self.sky(direction), |environment| environment.radiance(direction))
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
}

/// Where the random numbers of a shadow ray's see-through surfaces come from.
#[inline(always)]
fn shadow_key(key: u32, first: u32) -> u32 {
    key.wrapping_add(first + LIGHT_CHOICE)
}

/// Whether directions leave on the same side of the triangle as of its shading normal: the others would shine
/// through what is solid.
#[inline(always)]
pub(super) fn same_side<R: Real>(point: &SurfacePoint<R>, direction: Vec3<R>) -> R::Mask {
    (dot(point.geometric, direction) * dot(point.normal, direction)).above(0.0)
}

/// The lanes whose bits are set.
#[inline(always)]
fn lanes_of(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(always!(move || {
        let lane = (bits != 0).then(|| bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        lane
    }))
}
