//! Light that comes straight from lights: one is chosen for each lane, and a point of it; how much of its light arrives
//! if nothing is in the way. `kernel/gpu/path.wgsl` has the twins of these functions.

use super::{
    path::{PathTracer, Vertex, same_side},
    surface::emission_of,
};
use crate::{
    bsdf::evaluate,
    environment::{EnvironmentLight, Sky},
    light::{Arrival, FAR, Light, Source, arrival, mis_weight, solid_angle_density, triangle_point},
    math::{Vec3, cross, dot, normalize, reciprocal, square_root},
    ray::{Corners, Ray},
    real::{MAX_LANES, Real, always},
    sample::{LIGHT_CHOICE, LIGHT_POINT, TEXEL_POINT},
};

/// Shadow rays end this share of the way before their light.
const SHADOW_REACH: f32 = 0.9999;

impl PathTracer<'_> {
    /// Light that comes straight from one of the lights; `None` if it comes to no lane.
    #[inline(always)]
    pub(super) fn direct_light<R: Real>(
        &self,
        vertex: &Vertex<'_, R>,
        throughput: Vec3<R>,
        bounce: u32,
    ) -> Option<Candidates<R>> {
        let aims = self.aims(vertex)?;
        let scattering = evaluate(vertex.bsdf, vertex.point.normal, vertex.view, aims.direction);
        let seen = aims.seen & scattering.density.above(0.0) & same_side(vertex.point, aims.direction);
        let inverse = reciprocal(aims.density.at_least(1e-20));
        let weight = mis_weight(aims.density, scattering.density) * inverse;
        // A light without extent cannot be hit by chance. What arrives from it counts before the weight does.
        let (first, second) = (
            Vec3::select(aims.punctual, aims.radiance, Vec3::all(weight)),
            Vec3::select(aims.punctual, Vec3::all(inverse), aims.radiance),
        );
        let radiance = scattering.value * first * second;
        let zero = inverse.same(0.0);
        // Exactly nothing: rounding can make a light's share a little less than that, and then it counts, as on the GPU.
        let nothing = |channel: R| channel.le(zero) & zero.le(channel);
        let black = nothing(radiance.x) & nothing(radiance.y) & nothing(radiance.z);
        let seen = seen & !black;
        R::any(seen).then(|| Candidates {
            seen,
            ray: Ray { origin: aims.origin, direction: aims.direction },
            reach: aims.reach,
            radiance: self.tamed(throughput * radiance, bounce + 1),
        })
    }

    /// A light for each lane, and a point of it.
    #[inline(always)]
    fn aims<R: Real>(&self, vertex: &Vertex<'_, R>) -> Option<Aims<R>> {
        let (token, lights) = (vertex.token, self.scene().lights());
        let share = lights.environment_share();
        let table = lights.lights();
        let choice = vertex.random(LIGHT_CHOICE);
        let mut chosen: [Option<&Light>; MAX_LANES] = [None; MAX_LANES];
        if !table.is_empty() {
            let stretched = (choice - share) * lights.stretch();
            for (lane, light) in chosen.iter_mut().enumerate().take(R::LANES) {
                if choice.lane(lane) >= share {
                    *light = table.get(lights.choose(stretched.lane(lane)) as usize);
                }
            }
        }
        let chosen = &chosen[..R::LANES];
        let (r0, r1) = (vertex.random(LIGHT_POINT), vertex.random(LIGHT_POINT + 1));
        let mut aims = self.at_triangles(vertex, chosen, r0, r1);
        let is_punctual = |light: Option<&Light>| light.is_some_and(|light| light.triangle().is_none());
        if chosen.iter().any(|light| is_punctual(*light)) {
            let others = at_punctual_lights(vertex, chosen);
            aims =
                Aims::select(R::mask(token, always!(|lane: usize| is_punctual(chosen[lane]))), others, aims);
        }
        let to_sky = choice.below(share);
        if R::any(to_sky) {
            let others = at_environment(vertex, self.scene().environment()?, share, [r0, r1]);
            aims = Aims::select(to_sky, others, aims);
        }
        R::any(aims.seen).then_some(aims)
    }

    /// At the lights that are triangles.
    #[inline(always)]
    fn at_triangles<R: Real>(
        &self,
        vertex: &Vertex<'_, R>,
        chosen: &[Option<&Light>],
        r0: R,
        r1: R,
    ) -> Aims<R> {
        let token = vertex.token;
        let triangle = always!(|lane: usize| chosen[lane].and_then(Light::triangle));
        let corners = Corners::from_lanes(
            token,
            always!(|lane: usize| { triangle(lane).map_or(NO_CORNERS, |light| light.corners,) }),
        );
        let (u, v) = triangle_point(r0, r1);
        let target = corners.corner + corners.edge1 * u + corners.edge2 * v;
        let origin = vertex.point.lifted(target - vertex.point.position);
        let path = target - origin;
        let distance_squared = dot(path, path);
        let distance = square_root(distance_squared);
        let direction = path * reciprocal(distance);
        let facing = -dot(normalize(cross(corners.edge1, corners.edge2)), direction);
        let double_sided = R::mask(
            token,
            always!(|lane: usize| { triangle(lane).is_some_and(|light| light.double_sided,) }),
        );
        let cosine = R::select(facing.below(0.0) & double_sided, -facing, facing);
        let far_enough = !distance_squared.below(1e-12) & !cosine.below(1e-6);
        let area_density =
            R::from_lanes(token, always!(|lane: usize| { chosen[lane].map_or(0.0, |light| light.density,) }));
        let radiance = Vec3::from_lanes(
            token,
            always!(|lane: usize| {
                triangle(lane).map_or(Vec3::ZERO, |light| {
                    emission_of(self.scene(), light.instance, light.primitive, u.lane(lane), v.lane(lane))
                })
            }),
        );
        Aims {
            seen: far_enough & R::mask(token, always!(|lane: usize| triangle(lane).is_some())),
            punctual: R::mask(token, always!(|_: usize| false)),
            origin,
            direction,
            reach: distance * SHADOW_REACH,
            density: solid_angle_density(area_density, distance_squared, cosine),
            radiance,
        }
    }
}

/// Corners of no triangle.
const NO_CORNERS: Corners = Corners { corner: Vec3::ZERO, edge1: Vec3::ZERO, edge2: Vec3::ZERO };

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

/// What comes from lights, lane by lane.
pub(super) struct Candidates<R: Real> {
    /// Where something comes.
    pub seen: R::Mask,
    ray: Ray<R>,
    reach: R,
    radiance: Vec3<R>,
}

impl<R: Real> Candidates<R> {
    /// Of a lane; `key` is where the random numbers of see-through surfaces on the way come from.
    #[inline(always)]
    pub fn lane(&self, lane: usize, key: u32) -> Candidate {
        Candidate {
            ray: Ray { origin: self.ray.origin.lane(lane), direction: self.ray.direction.lane(lane) },
            reach: self.reach.lane(lane),
            key,
            radiance: self.radiance.lane(lane),
        }
    }
}

/// Points of lights as seen from surfaces, lane by lane.
#[derive(Clone, Copy)]
struct Aims<R: Real> {
    /// Where there is one.
    seen: R::Mask,
    /// Where the light has no extent.
    punctual: R::Mask,
    /// Where the shadow ray starts.
    origin: Vec3<R>,
    direction: Vec3<R>,
    /// How far nothing may be in the way.
    reach: R,
    /// Per solid angle; of a light without extent the probability that it was chosen.
    density: R,
    /// What comes from there; of a light without extent the irradiance.
    radiance: Vec3<R>,
}

impl<R: Real> Aims<R> {
    /// The first where the mask says so, elsewhere the second.
    #[inline(always)]
    fn select(mask: R::Mask, yes: Self, no: Self) -> Self {
        Self {
            seen: (mask & yes.seen) | (!mask & no.seen),
            punctual: (mask & yes.punctual) | (!mask & no.punctual),
            origin: Vec3::select(mask, yes.origin, no.origin),
            direction: Vec3::select(mask, yes.direction, no.direction),
            reach: R::select(mask, yes.reach, no.reach),
            density: R::select(mask, yes.density, no.density),
            radiance: Vec3::select(mask, yes.radiance, no.radiance),
        }
    }
}

/// At the lights without extent.
#[inline(always)]
fn at_punctual_lights<R: Real>(vertex: &Vertex<'_, R>, chosen: &[Option<&Light>]) -> Aims<R> {
    let token = vertex.token;
    let mut arrivals = [Arrival { direction: Vec3::ZERO, distance: 0.0, irradiance: Vec3::ZERO }; MAX_LANES];
    let mut found = [false; MAX_LANES];
    for (lane, light) in chosen.iter().enumerate() {
        if let Some(Source::Punctual(punctual)) = light.map(|light| &light.source) {
            arrivals[lane] = arrival(punctual, vertex.point.position.lane(lane));
            found[lane] = true;
        }
    }
    let seen = R::mask(token, always!(|lane: usize| found[lane]));
    let direction = Vec3::from_lanes(token, always!(|lane: usize| arrivals[lane].direction));
    Aims {
        seen,
        punctual: seen,
        origin: vertex.point.lifted(direction),
        direction,
        reach: R::from_lanes(token, always!(|lane: usize| arrivals[lane].distance)) * SHADOW_REACH,
        density: R::from_lanes(
            token,
            always!(|lane: usize| { chosen[lane].map_or(0.0, |light| light.density,) }),
        ),
        radiance: Vec3::from_lanes(token, always!(|lane: usize| arrivals[lane].irradiance)),
    }
}

/// At the light from all around.
#[inline(always)]
fn at_environment<R: Real>(
    vertex: &Vertex<'_, R>,
    environment: &EnvironmentLight,
    share: f32,
    [r0, r1]: [R; 2],
) -> Aims<R> {
    let token = vertex.token;
    let (r2, r3) = (vertex.random(TEXEL_POINT), vertex.random(TEXEL_POINT + 1));
    let mut skies = [(Sky { direction: Vec3::ZERO, density: 0.0 }, Vec3::ZERO); MAX_LANES];
    for (lane, (sky, radiance)) in skies.iter_mut().enumerate().take(R::LANES) {
        *sky = environment.sample([r0.lane(lane), r1.lane(lane), r2.lane(lane), r3.lane(lane)]);
        *radiance = environment.radiance(sky.direction);
    }
    let direction = Vec3::from_lanes(token, always!(|lane: usize| skies[lane].0.direction));
    Aims {
        seen: R::mask(token, always!(|_: usize| true)),
        punctual: R::mask(token, always!(|_: usize| false)),
        origin: vertex.point.lifted(direction),
        direction,
        reach: R::splat(token, FAR * SHADOW_REACH),
        density: R::from_lanes(token, always!(|lane: usize| skies[lane].0.density)) * share,
        radiance: Vec3::from_lanes(token, always!(|lane: usize| skies[lane].1)),
    }
}
