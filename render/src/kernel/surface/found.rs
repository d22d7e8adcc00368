//! The triangles that rays hit, and what lies between their corners.

use crate::{
    math::{Vec3, normalize},
    prepared::{PreparedInstance, PreparedMesh, PreparedScene, ShadedTriangle},
    ray::Corners,
    real::{Real, always},
    scene::{Affine, Material},
};

/// A triangle that was hit, and what it is a part of.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub instance: &'a PreparedInstance,
    pub mesh: &'a PreparedMesh,
    pub triangle: &'a ShadedTriangle,
    pub material: &'a Material,
}

impl<'a> Found<'a> {
    #[inline(always)]
    pub fn of(prepared: &'a PreparedScene, instance: u32, primitive: u32) -> Self {
        let instance = &prepared.instances()[instance as usize];
        let mesh = &prepared.meshes()[instance.mesh as usize];
        let triangle = &mesh.triangles()[primitive as usize];
        let material = &prepared.scene().materials[triangle.material as usize];
        Self { instance, mesh, triangle, material }
    }
}

/// The weights of a triangle's corners.
#[derive(Clone, Copy)]
pub(super) struct Weights<R>(pub R, pub R, pub R);

impl<R: Real> Weights<R> {
    /// From those of the second and third corner.
    #[inline(always)]
    pub fn new(u: R, v: R) -> Self {
        Self(u.complement() - v, u, v)
    }

    /// The mean of something that each corner of each lane's triangle has.
    #[inline(always)]
    pub fn mean(&self, token: R::Token, at: impl Fn(usize, usize) -> f32) -> R {
        let corner =
            always!(|corner: usize| { R::from_lanes(token, always!(|lane: usize| at(lane, corner)),) });
        corner(0) * self.0 + corner(1) * self.1 + corner(2) * self.2
    }
}

/// Texture coordinates and colour between a triangle's corners.
pub(super) struct Between<R> {
    pub uvs: [[R; 2]; 2],
    pub color: [R; 4],
}

#[inline(always)]
pub(super) fn between<R: Real>(token: R::Token, found: &[Found<'_>], weights: &Weights<R>) -> Between<R> {
    let uv = always!(|set: usize| {
        if found.iter().all(|found| found.mesh.attributes().uvs[set].is_empty()) {
            return [R::splat(token, 0.0); 2];
        }
        let axis = always!(|axis: usize| {
            weights.mean(
                token,
                always!(|lane: usize, corner: usize| {
                    let found = &found[lane];
                    found.mesh.uv(set, found.triangle.vertices[corner])[axis]
                }),
            )
        });
        [axis(0), axis(1)]
    });
    let colored = found.iter().any(|found| !found.mesh.attributes().colors.is_empty());
    let white = R::splat(token, 1.0);
    if !colored {
        return Between { uvs: [uv(0), uv(1)], color: [white; 4] };
    }
    let has = R::mask(token, always!(|lane: usize| !found[lane].mesh.attributes().colors.is_empty()));
    let color = always!(|channel: usize| {
        let mean = weights.mean(
            token,
            always!(|lane: usize, corner: usize| {
                let Found { mesh, triangle, .. } = &found[lane];
                mesh.attributes()
                    .colors
                    .get(triangle.vertices[corner] as usize)
                    .map_or(1.0, |color| color[channel])
            }),
        );
        R::select(has, mean, white)
    });
    Between { uvs: [uv(0), uv(1)], color: [color(0), color(1), color(2), color(3)] }
}

/// Where the lanes' instances stand; nothing to do where all stand at the origin.
pub(super) struct Places<R: Real> {
    pub at_origin: R::Mask,
    pub to_mesh: Affine<R>,
    pub to_world: Affine<R>,
    pub mirrors: R::Mask,
}

impl<R: Real> Places<R> {
    #[inline(always)]
    pub fn of(token: R::Token, found: &[Found<'_>]) -> Option<Self> {
        if found.iter().all(|found| found.instance.at_origin) {
            return None;
        }
        Some(Self {
            at_origin: R::mask(token, always!(|lane: usize| found[lane].instance.at_origin)),
            to_mesh: Affine::from_lanes(token, always!(|lane: usize| &found[lane].instance.to_mesh)),
            to_world: Affine::from_lanes(token, always!(|lane: usize| &found[lane].instance.to_world)),
            mirrors: R::mask(token, always!(|lane: usize| found[lane].instance.mirrors)),
        })
    }

    /// What the lanes at the origin keep, and the others have carried over.
    #[inline(always)]
    pub fn carried(places: Option<&Self>, kept: Vec3<R>, over: impl Fn(&Self) -> Vec3<R>) -> Vec3<R> {
        match places {
            None => kept,
            Some(places) => Vec3::select(places.at_origin, kept, over(places)),
        }
    }
}

/// The triangles that rays hit, and where.
pub(super) struct Facet<'a, R: Real> {
    pub token: R::Token,
    pub found: &'a [Found<'a>],
    pub places: Option<&'a Places<R>>,
    /// In the meshes' spaces.
    pub corners: &'a Corners<R>,
    pub weights: Weights<R>,
    /// Where the ray came from the back.
    pub from_behind: R::Mask,
}

impl<R: Real> Facet<'_, R> {
    /// A normal of the meshes' spaces as a unit vector of the world, on the side that the ray came from.
    #[inline(always)]
    pub fn outward(&self, normal: Vec3<R>) -> Vec3<R> {
        let unit = normalize(Places::carried(
            self.places,
            normal,
            always!(|places: &Places<R>| places.to_mesh.transposed_vector(normal)),
        ));
        Vec3::select(self.from_behind, -unit, unit)
    }
}
