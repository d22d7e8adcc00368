//! The materials that rays hit, with their textures looked up.

use super::found::{Between, Found};
use crate::{
    bsdf::Surface,
    light::NO_LIGHT,
    math::{Vec3, vec3},
    prepared::NO_EMITTER,
    real::{MAX_LANES, Real, always},
    scene::{Material, Scene, TextureUse},
    texture::{Content, lookup},
};

/// What each lane sees of a texture of its material, 1 where it has none; `None` if no lane has one.
#[inline(always)]
pub(super) fn seen<'a, R: Real>(
    token: R::Token,
    scene: &Scene,
    found: &[Found<'a>],
    between: &Between<R>,
    content: Content,
    texture: impl Fn(&'a Material) -> Option<&'a TextureUse>,
) -> Option<[R; 4]> {
    if found.iter().all(|found| texture(found.material).is_none()) {
        return None;
    }
    let mut lanes = [[1.0; 4]; MAX_LANES];
    for (lane, found) in found.iter().enumerate() {
        if let Some(texture) = texture(found.material) {
            let uvs = between.uvs.map(|set| set.map(|coordinate| coordinate.lane(lane)));
            lanes[lane] = lookup(scene, texture, content, &uvs);
        }
    }
    let channel =
        always!(|channel: usize| { R::from_lanes(token, always!(|lane: usize| lanes[lane][channel]),) });
    Some([channel(0), channel(1), channel(2), channel(3)])
}

#[inline(always)]
pub(super) fn times<R: Real>(a: [R; 4], b: [R; 4]) -> [R; 4] {
    [a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]]
}

/// Linear colour and opacity.
#[inline(always)]
pub(super) fn base_color<R: Real>(
    token: R::Token,
    scene: &Scene,
    found: &[Found<'_>],
    between: &Between<R>,
) -> [R; 4] {
    let factor = always!(|channel: usize| {
        R::from_lanes(token, always!(|lane: usize| found[lane].material.base_color[channel]))
    });
    let color = times([factor(0), factor(1), factor(2), factor(3)], between.color);
    match seen(token, scene, found, between, Content::Color, |material| material.base_color_texture.as_ref())
    {
        None => color,
        Some(seen) => times(color, seen),
    }
}

#[inline(always)]
pub(super) fn surface<R: Real>(
    token: R::Token,
    scene: &Scene,
    found: &[Found<'_>],
    color: [R; 4],
    between: &Between<R>,
) -> Surface<R> {
    let of = always!(|value: fn(&Material) -> f32| {
        R::from_lanes(token, always!(|lane: usize| value(found[lane].material)))
    });
    let mut surface = Surface {
        base_color: vec3(color[0], color[1], color[2]),
        metallic: of(|material| material.metallic),
        roughness: of(|material| material.roughness),
        dielectric_f0: of(|material| material.dielectric_f0),
        transmission: of(|material| material.transmission),
        coat: of(|material| material.clearcoat),
        coat_roughness: of(|material| material.clearcoat_roughness),
    };
    let data = always!(|texture: for<'a> fn(&'a Material) -> Option<&'a TextureUse>| {
        seen(token, scene, found, between, Content::Data, texture)
    });
    if let Some(seen) = data(|material| material.metallic_roughness_texture.as_ref()) {
        surface.roughness = surface.roughness * seen[1];
        surface.metallic = surface.metallic * seen[2];
    }
    if let Some(seen) =
        data(|material| material.transmission_texture.as_ref().filter(|_| material.transmission > 0.0))
    {
        surface.transmission = surface.transmission * seen[0];
    }
    if let Some(seen) =
        data(|material| material.clearcoat_texture.as_ref().filter(|_| material.clearcoat > 0.0))
    {
        surface.coat = surface.coat * seen[0];
    }
    if let Some(seen) =
        data(|material| material.clearcoat_roughness_texture.as_ref().filter(|_| material.clearcoat > 0.0))
    {
        surface.coat_roughness = surface.coat_roughness * seen[1];
    }
    surface
}

/// Emitted radiance at texture coordinates.
#[inline(always)]
pub fn emission_at(scene: &Scene, material: &Material, uvs: &[[f32; 2]; 2]) -> Vec3 {
    let factor = Vec3::from(material.emission);
    match &material.emissive_texture {
        None => factor,
        Some(texture) => {
            let [red, green, blue, _] = lookup(scene, texture, Content::Color, uvs);
            factor * vec3(red, green, blue)
        }
    }
}

/// What surfaces give off, and which lights they are parts of.
#[inline(always)]
pub(super) fn emission<R: Real>(
    token: R::Token,
    scene: &Scene,
    found: &[Found<'_>],
    between: &Between<R>,
    color: [R; 4],
    from_behind: R::Mask,
) -> (Vec3<R>, [u32; MAX_LANES]) {
    let mut lights = [NO_LIGHT; MAX_LANES];
    let mut emission = Vec3::all(R::splat(token, 0.0));
    if found.iter().all(|found| found.triangle.emitter == NO_EMITTER && !found.material.unlit) {
        return (emission, lights);
    }
    let mut glow = [Vec3::ZERO; MAX_LANES];
    for (lane, Found { instance, triangle, material, .. }) in found.iter().enumerate() {
        let shines =
            triangle.emitter != NO_EMITTER && (material.double_sided || !R::holds(from_behind, lane));
        if shines {
            lights[lane] = instance.first_light + triangle.emitter;
            let uvs = between.uvs.map(|set| set.map(|coordinate| coordinate.lane(lane)));
            glow[lane] = emission_at(scene, material, &uvs);
        }
    }
    emission = Vec3::from_lanes(token, always!(|lane: usize| glow[lane]));
    let unlit = R::mask(token, always!(|lane: usize| found[lane].material.unlit));
    (Vec3::select(unlit, vec3(color[0], color[1], color[2]), emission), lights)
}
