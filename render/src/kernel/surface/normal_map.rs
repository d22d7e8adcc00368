//! Normals bent by textures.

use super::found::{Facet, Found, Places};
use crate::{
    math::{Vec3, cross, dot, normalize, vec3},
    real::{Real, always},
};

impl<R: Real> Facet<'_, R> {
    /// Direction of growing u in the mesh's space, and the sign of the bitangent: of the vertices if they have
    /// tangents, else of the triangle.
    #[inline(always)]
    fn tangent(&self) -> (Vec3<R>, R) {
        let (token, found) = (self.token, self.found);
        let one = R::splat(token, 1.0);
        let along = always!(|axis: usize| {
            self.weights.mean(
                token,
                always!(|lane: usize, corner: usize| {
                    let Found { mesh, triangle, .. } = &found[lane];
                    let tangents = &mesh.attributes().tangents;
                    tangents.get(triangle.vertices[corner] as usize).map_or(0.0, |tangent| tangent[axis])
                }),
            )
        });
        let own = vec3(along(0), along(1), along(2));
        let has = dot(own, own).above(1e-12);
        let own_hand = R::select(along(3).below(0.0), -one, one);
        let uv = always!(|corner: usize, axis: usize| {
            R::from_lanes(
                token,
                always!(|lane: usize| {
                    let Found { mesh, triangle, material, .. } = &found[lane];
                    let set =
                        material.normal_texture.as_ref().map_or(0, |texture| texture.uv_set as usize & 1);
                    mesh.uv(set, triangle.vertices[corner])[axis]
                }),
            )
        });
        let from_first = always!(|corner: usize| (uv(corner, 0) - uv(0, 0), uv(corner, 1) - uv(0, 1)));
        let ((du1, dv1), (du2, dv2)) = (from_first(1), from_first(2));
        let mirrored = (du1 * dv2 - du2 * dv1).below(0.0);
        let tangent = self.corners.edge1 * dv2 - self.corners.edge2 * dv1;
        // v runs down the picture, the green channel up: without mirroring the determinant is negative.
        let of_triangle = Vec3::select(mirrored, -tangent, tangent);
        let hand = R::select(mirrored, one, -one);
        (Vec3::select(has, own, of_triangle), R::select(has, own_hand, hand))
    }
}

/// The normals that the colours `seen` of a normal texture make of others.
#[inline(always)]
pub(super) fn mapped<R: Real>(facet: &Facet<'_, R>, normal: Vec3<R>, seen: [R; 4]) -> Vec3<R> {
    let (tangent, mut hand) = facet.tangent();
    let world =
        Places::carried(facet.places, tangent, always!(|places: &Places<R>| places.to_world.vector(tangent)));
    if let Some(places) = facet.places {
        hand = R::select(!places.at_origin & places.mirrors, -hand, hand);
    }
    // Of the side that the texture was made for.
    let front = Vec3::select(facet.from_behind, -normal, normal);
    let across = world - front * dot(front, world);
    let tangent = normalize(across);
    let bitangent = cross(front, tangent) * hand;
    let scale = R::from_lanes(facet.token, always!(|lane: usize| facet.found[lane].material.normal_scale));
    let [red, green, blue, _] = seen;
    let (x, y, z) = ((red * 2.0 - 1.0) * scale, (green * 2.0 - 1.0) * scale, blue * 2.0 - 1.0);
    let bent = normalize(tangent * x + bitangent * y + front * z);
    let bent = Vec3::select(facet.from_behind, -bent, bent);
    Vec3::select(dot(across, across).below(1e-20), normal, bent)
}
