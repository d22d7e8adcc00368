//! What rays have hit: place, directions, and the material with its textures looked up. `kernel/gpu/surface.wgsl` is
//! the twin of this file.

mod found;
mod material;
mod normal_map;

use self::{
    found::{Between, Facet, Found, Places, Weights, between},
    material::{base_color, emission, emission_at, seen, surface},
    normal_map::mapped,
};
use crate::{
    bsdf::Surface,
    bvh::{Hit, walk::Filter},
    math::{Vec3, cross, dot, vec3},
    prepared::{PreparedScene, blended},
    ray::{Corners, Ray},
    real::{MAX_LANES, Real, always},
    sample::{hash, random},
    scene::{AlphaMode, Scene},
    texture::Content,
};

/// A normal that makes a smaller cosine with the view would scatter light into the surface.
const MIN_COSINE: f32 = 1e-3;
/// Rays start this share of a point's largest coordinate off the surface, so that they do not hit it again.
const OFFSET_SHARE: f32 = 2e-6;
/// And this share of how far they came.
const OFFSET_PER_DISTANCE: f32 = 2e-6;

/// Surfaces that rays have hit, lane by lane.
pub struct SurfacePoint<R: Real> {
    /// World space.
    pub position: Vec3<R>,
    /// Of the triangle, on the side that the ray came from.
    pub geometric: Vec3<R>,
    /// Interpolated and mapped, on the same side.
    pub normal: Vec3<R>,
    /// What scatters.
    pub surface: Surface<R>,
    /// What it gives off towards the ray.
    pub emission: Vec3<R>,
    /// The light that it is a part of, or [`crate::light::NO_LIGHT`].
    pub lights: [u32; MAX_LANES],
    /// Scatters nothing.
    pub unlit: R::Mask,
    /// How far off the surface rays start.
    pub offset: R,
}

impl<R: Real> SurfacePoint<R> {
    /// Where a ray to that direction starts.
    #[inline(always)]
    pub fn lifted(&self, direction: Vec3<R>) -> Vec3<R> {
        let below = dot(self.geometric, direction).below(0.0);
        self.position + self.geometric * R::select(below, -self.offset, self.offset)
    }
}

/// The surfaces where rays hit; as many hits as there are lanes.
#[inline(always)]
pub fn surface_point<R: Real>(
    token: R::Token,
    prepared: &PreparedScene,
    ray: &Ray<R>,
    hits: &[Hit],
) -> SurfacePoint<R> {
    let scene = prepared.scene();
    let found: [Found<'_>; MAX_LANES] = std::array::from_fn(always!(|lane: usize| {
        let hit = &hits[lane.min(R::LANES - 1)];
        Found::of(prepared, hit.instance, hit.primitive)
    }));
    let found = &found[..R::LANES];
    let corners = Corners::from_lanes(token, always!(|lane: usize| prepared.corners(&hits[lane])));
    let places = Places::of(token, found);
    let places = places.as_ref();
    let inward = Ray {
        origin: Places::carried(
            places,
            ray.origin,
            always!(|places: &Places<R>| places.to_mesh.point(ray.origin)),
        ),
        direction: Places::carried(
            places,
            ray.direction,
            always!(|places: &Places<R>| places.to_mesh.vector(ray.direction)),
        ),
    };
    let zero = R::splat(token, 0.0);
    let (hit, at) = corners.intersect(&inward, zero.same(-1.0));
    let (u, v) = (R::select(hit, at.u, zero), R::select(hit, at.v, zero));
    let weights = Weights::new(u, v);
    let between = between(token, found, &weights);
    let face = cross(corners.edge1, corners.edge2);
    let from_behind = dot(face, inward.direction).above(0.0);
    let facet = Facet { token, found, places, corners: &corners, weights, from_behind };
    let geometric = facet.outward(face);
    let normal = shading_normal(scene, &facet, &between, geometric, ray.direction);
    let inner = corners.corner + corners.edge1 * u + corners.edge2 * v;
    let position = Places::carried(places, inner, always!(|places: &Places<R>| places.to_world.point(inner)));
    let color = base_color(token, scene, found, &between);
    let (emission, lights) = emission(token, scene, found, &between, color, from_behind);
    SurfacePoint {
        offset: offset(position, R::from_lanes(token, always!(|lane: usize| hits[lane].t))),
        position,
        geometric,
        normal,
        surface: surface(token, scene, found, color, &between),
        emission,
        lights,
        unlit: R::mask(token, always!(|lane: usize| found[lane].material.unlit)),
    }
}

/// Interpolated and mapped, on the side of the geometric normal and not turned away from the ray.
#[inline(always)]
fn shading_normal<R: Real>(
    scene: &Scene,
    facet: &Facet<'_, R>,
    between: &Between<R>,
    geometric: Vec3<R>,
    direction: Vec3<R>,
) -> Vec3<R> {
    let Facet { token, found, weights, .. } = *facet;
    let mean = always!(|axis: usize| {
        weights.mean(
            token,
            always!(|lane: usize, corner: usize| {
                let Found { mesh, triangle, .. } = &found[lane];
                mesh.attributes().normals[triangle.vertices[corner] as usize][axis]
            }),
        )
    });
    let mut normal = facet.outward(vec3(mean(0), mean(1), mean(2)));
    let texture =
        seen(token, scene, found, between, Content::Data, |material| material.normal_texture.as_ref());
    if let Some(seen) = texture {
        let textured = R::mask(token, always!(|lane: usize| found[lane].material.normal_texture.is_some()));
        normal = Vec3::select(textured, mapped(facet, normal, seen), normal);
    }
    normal = Vec3::select(dot(normal, geometric).below(0.0), -normal, normal);
    Vec3::select(dot(normal, direction).above(-MIN_COSINE), geometric, normal)
}

/// Grows with the coordinates and with the way: both round.
#[inline(always)]
fn offset<R: Real>(position: Vec3<R>, distance: R) -> R {
    let magnitude = always!(|value: R| R::select(value.below(0.0), -value, value));
    let reach = magnitude(position.x).larger(magnitude(position.y)).larger(magnitude(position.z));
    reach * OFFSET_SHARE + distance * OFFSET_PER_DISTANCE
}

/// Lets rays through what is masked out, and through blended surfaces by chance.
pub struct Opacity<'a> {
    /// What they go through.
    pub prepared: &'a PreparedScene,
    /// Where the random numbers of each ray come from.
    pub keys: &'a [u32],
}

impl Filter for Opacity<'_> {
    #[inline(never)]
    fn counts(&self, ray: usize, instance: u32, primitive: u32, u: f32, v: f32) -> bool {
        let found = [Found::of(self.prepared, instance, primitive)];
        let between = between((), &found, &Weights::new(u, v));
        let [_, _, _, opacity] = base_color((), self.prepared.scene(), &found, &between);
        match found[0].material.alpha {
            AlphaMode::Opaque => true,
            AlphaMode::Mask { cutoff } => opacity >= cutoff,
            AlphaMode::Blend => {
                random(hash(self.keys[ray].wrapping_add(hash(instance))), primitive) < opacity
            }
        }
    }
}

/// A light's triangle at a point of it: what it gives off there.
#[inline(always)]
pub fn emission_of(prepared: &PreparedScene, instance: u32, primitive: u32, u: f32, v: f32) -> Vec3 {
    let Found { mesh, triangle, material, .. } = Found::of(prepared, instance, primitive);
    if material.emissive_texture.is_none() {
        return material.emission.into();
    }
    let corners = triangle.vertices.map(|vertex| mesh.uvs(vertex));
    emission_at(prepared.scene(), material, &blended(&corners, 1.0 - u - v, u, v))
}
