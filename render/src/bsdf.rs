//! How surfaces scatter: the metallic-roughness model of glTF 2.0 (appendix B) with its thin transmission and its
//! clear coat. Each layer passes on what it does not reflect, and single reflections are scaled up to what many would
//! give back, so that a white surface returns all light. `kernel/gpu/bsdf.wgsl` is the twin of this file.

use crate::{
    albedo,
    math::{
        TINY, Vec3, dot, luminance, normalize, reciprocal, sin_cos_turn, square_root, tangent_frame, vec3,
    },
    real::Real,
};

const PI: f32 = std::f32::consts::PI;
const INVERSE_PI: f32 = std::f32::consts::FRAC_1_PI;
/// Smallest squared roughness: a mirror that can still be computed with.
pub const MIN_ALPHA: f32 = 0.002;
/// Reflectance of a clear coat seen head-on (`KHR_materials_clearcoat`).
const COAT_F0: f32 = 0.04;

/// A material at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surface<R = f32> {
    /// Of the diffuse layer, of transmitted light, and of metals head-on.
    pub base_color: Vec3<R>,
    /// 0 dielectric to 1 metal.
    pub metallic: R,
    /// Perceptual roughness, 0 to 1.
    pub roughness: R,
    /// Reflectance of the dielectric head-on.
    pub dielectric_f0: R,
    /// Share of the light that goes through instead of being scattered back.
    pub transmission: R,
    /// Strength of the clear coat.
    pub coat: R,
    /// Its perceptual roughness.
    pub coat_roughness: R,
}

/// A material at a point, seen from a direction: what each layer gives back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bsdf<R = f32> {
    /// Squared roughness.
    alpha: R,
    coat_alpha: R,
    /// Cosine between normal and view, above 0.
    cosine_view: R,
    /// Reflectance of the dielectric head-on, and at grazing angles.
    dielectric_f0: R,
    dielectric_f90: R,
    /// Reflectance of the metal head-on.
    metal_f0: Vec3<R>,
    /// Weight of each, with the light of further reflections.
    dielectric_weight: R,
    metal_weight: Vec3<R>,
    /// Weight of the light that goes through.
    transmitted: Vec3<R>,
    /// Reflectance of the diffuse layer.
    diffuse: Vec3<R>,
    /// Weight of the coat.
    coat_weight: R,
    /// What the coat lets through.
    below_coat: R,
    /// Probability that each layer is drawn; the diffuse one has what is left.
    chance_coat: R,
    chance_specular: R,
    chance_transmitted: R,
    /// Nothing but a diffuse layer, in every lane.
    matte: bool,
}

impl<R: Real> Bsdf<R> {
    /// Of surfaces that have nothing but a diffuse layer: what [`seen_from`] comes to, without the way there. The twin
    /// does without it, for its neighbours would take the long way.
    #[inline(always)]
    fn matte(base_color: Vec3<R>, cosine_view: R) -> Self {
        let (zero, one) = (cosine_view.same(0.0), cosine_view.same(1.0));
        Self {
            alpha: one,
            coat_alpha: one,
            cosine_view,
            dielectric_f0: zero,
            dielectric_f90: zero,
            metal_f0: Vec3::all(zero),
            dielectric_weight: zero,
            metal_weight: Vec3::all(zero),
            transmitted: Vec3::all(zero),
            diffuse: base_color * cosine_view.same(INVERSE_PI),
            coat_weight: zero,
            below_coat: one,
            chance_coat: zero,
            chance_specular: zero,
            chance_transmitted: zero,
            matte: true,
        }
    }
}

impl<R: Real> Surface<R> {
    /// Where there is more than a diffuse layer.
    #[inline(always)]
    fn shines(&self) -> R::Mask {
        (self.dielectric_f0 + self.metallic + self.transmission + self.coat).above(0.0)
    }
}

/// Reflectance of a dielectric at grazing angles: all, but nothing where there is no step in the index of refraction.
/// Below the f0 of any real one (0.02) it fades out (Lagarde and de Rousiers 2014).
#[inline(always)]
fn at_grazing<R: Real>(f0: R) -> R {
    (f0 * 50.0).at_most(1.0)
}

/// What is lost by single reflections of a reflectance, made up for.
#[inline(always)]
fn compensation<R: Real>(f0: R, inverse_albedo: R) -> R {
    f0 * (inverse_albedo - 1.0) + 1.0
}

/// A surface seen from a direction. `table` is [`albedo::TABLE`].
#[inline(always)]
pub fn seen_from<R: Real>(
    table: &[[f32; 2]],
    surface: &Surface<R>,
    normal: Vec3<R>,
    view: Vec3<R>,
) -> Bsdf<R> {
    let cosine_view = dot(normal, view).at_least(1e-3).at_most(1.0);
    if !R::any(surface.shines()) {
        return Bsdf::matte(surface.base_color, cosine_view);
    }
    let one = Vec3::all(cosine_view.same(1.0));
    let [scale, bias] = albedo::lookup(table, cosine_view, surface.roughness);
    let inverse_albedo = reciprocal((scale + bias).at_least(1e-3));
    let dielectric = surface.metallic.complement();
    let f0 = surface.dielectric_f0;
    let f90 = at_grazing(f0);
    let dielectric_gain = compensation(f0, inverse_albedo);
    let metal_f0 = surface.base_color;
    let metal_gain = one + metal_f0 * (inverse_albedo - 1.0);
    let dielectric_albedo = ((f0 * scale + f90 * bias) * dielectric_gain).at_most(1.0);
    let metal_albedo = (metal_f0 * scale + one * bias) * metal_gain;
    let inner = surface.base_color * (dielectric * dielectric_albedo.complement());
    let transmitted = inner * surface.transmission;
    let diffuse = inner * surface.transmission.complement();
    let coat = coat_seen_from(table, surface, cosine_view);
    let below_coat = coat.albedo.complement();
    let specular = luminance(metal_albedo) * surface.metallic + dielectric_albedo * dielectric;
    let (weight_specular, weight_transmitted) = (specular * below_coat, luminance(transmitted) * below_coat);
    let sum = coat.albedo + weight_specular + weight_transmitted + luminance(diffuse) * below_coat;
    let share = reciprocal(sum.at_least(1e-6));
    Bsdf {
        alpha: (surface.roughness * surface.roughness).at_least(MIN_ALPHA),
        coat_alpha: (surface.coat_roughness * surface.coat_roughness).at_least(MIN_ALPHA),
        cosine_view,
        dielectric_f0: f0,
        dielectric_f90: f90,
        metal_f0,
        dielectric_weight: dielectric * dielectric_gain,
        metal_weight: metal_gain * surface.metallic,
        transmitted: transmitted * inverse_albedo,
        diffuse: diffuse * cosine_view.same(INVERSE_PI),
        coat_weight: coat.weight,
        below_coat,
        chance_coat: coat.albedo * share,
        chance_specular: weight_specular * share,
        chance_transmitted: weight_transmitted * share,
        matte: false,
    }
}

/// A clear coat seen from a direction.
struct Coat<R> {
    weight: R,
    albedo: R,
}

#[inline(always)]
fn coat_seen_from<R: Real>(table: &[[f32; 2]], surface: &Surface<R>, cosine_view: R) -> Coat<R> {
    let zero = cosine_view.same(0.0);
    let coated = surface.coat.above(0.0);
    if !R::any(coated) {
        return Coat { weight: zero, albedo: zero };
    }
    let [scale, bias] = albedo::lookup(table, cosine_view, surface.coat_roughness);
    let gain = compensation(zero.same(COAT_F0), reciprocal((scale + bias).at_least(1e-3)));
    let weight = surface.coat * gain;
    let albedo = ((scale * COAT_F0 + bias) * weight).at_most(1.0);
    Coat { weight: R::select(coated, weight, zero), albedo: R::select(coated, albedo, zero) }
}

/// Fresnel term (Schlick 1994) without the part that is reflected head-on.
#[inline(always)]
fn grazing<R: Real>(cosine: R) -> R {
    let m = cosine.complement().at_least(0.0);
    let m2 = m * m;
    m2 * m2 * m
}

/// Density of normals (Trowbridge and Reitz 1975).
#[inline(always)]
fn ggx_normals<R: Real>(alpha: R, cosine_half: R) -> R {
    let a2 = alpha * alpha;
    let d = cosine_half * cosine_half * (a2 - 1.0) + 1.0;
    a2 * reciprocal((d * PI * d).at_least(1e-12))
}

/// Smith's masking term for one direction.
#[inline(always)]
pub fn ggx_masking<R: Real>(alpha: R, cosine: R) -> R {
    let a2 = alpha * alpha;
    let root = square_root(a2 + a2.complement() * cosine * cosine);
    cosine * 2.0 * reciprocal((cosine + root).at_least(1e-12))
}

/// A lobe's value without Fresnel term, times the cosine of the light, and the density of drawing the direction.
#[derive(Debug, Clone, Copy)]
struct Lobe<R> {
    value: R,
    density: R,
}

/// The GGX lobe, masking of both directions correlated (Heitz 2014).
#[inline(always)]
fn ggx_lobe<R: Real>(alpha: R, cosine_view: R, cosine_light: R, cosine_half: R) -> Lobe<R> {
    let a2 = alpha * alpha;
    let root_view = square_root(a2 + a2.complement() * cosine_view * cosine_view);
    let root_light = square_root(a2 + a2.complement() * cosine_light * cosine_light);
    let d = ggx_normals(alpha, cosine_half);
    let sum = cosine_light * root_view + cosine_view * root_light;
    Lobe {
        value: d * cosine_light * 0.5 * reciprocal(sum.at_least(1e-12)),
        density: d * 0.5 * reciprocal((cosine_view + root_view).at_least(1e-12)),
    }
}

/// A direction's value and density.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scattering<R = f32> {
    /// BSDF times cosine.
    pub value: Vec3<R>,
    /// Density of drawing the direction, per solid angle.
    pub density: R,
}

impl<R: Real> Scattering<R> {
    /// The first where the mask says so, elsewhere the second.
    #[inline(always)]
    fn select(mask: R::Mask, yes: Self, no: Self) -> Self {
        Self {
            value: Vec3::select(mask, yes.value, no.value),
            density: R::select(mask, yes.density, no.density),
        }
    }
}

/// How much light from `light` goes to `view`, both away from the surface; light from below is transmitted.
#[inline(always)]
pub fn evaluate<R: Real>(bsdf: &Bsdf<R>, normal: Vec3<R>, view: Vec3<R>, light: Vec3<R>) -> Scattering<R> {
    let cosine_light = dot(normal, light);
    let zero = cosine_light.same(0.0);
    let mut scattering = Scattering { value: Vec3::all(zero), density: zero };
    let above = cosine_light.above(0.0);
    if R::any(above) {
        let found = reflected(bsdf, normal, view, light, cosine_light);
        scattering = Scattering::select(above, found, scattering);
    }
    let below = cosine_light.below(0.0) & bsdf.chance_transmitted.above(0.0);
    if !bsdf.matte && R::any(below) {
        let found = transmitted(bsdf, normal, view, light, cosine_light);
        scattering = Scattering::select(below, found, scattering);
    }
    scattering
}

#[inline(always)]
fn transmitted<R: Real>(
    bsdf: &Bsdf<R>,
    normal: Vec3<R>,
    view: Vec3<R>,
    light: Vec3<R>,
    cosine_light: R,
) -> Scattering<R> {
    let mirrored = light - normal * (cosine_light * 2.0);
    let half = normalize(view + mirrored);
    let lobe = ggx_lobe(bsdf.alpha, bsdf.cosine_view, -cosine_light, dot(normal, half).at_least(0.0));
    Scattering {
        value: bsdf.transmitted * (lobe.value * bsdf.below_coat),
        density: lobe.density * bsdf.chance_transmitted,
    }
}

#[inline(always)]
fn reflected<R: Real>(
    bsdf: &Bsdf<R>,
    normal: Vec3<R>,
    view: Vec3<R>,
    light: Vec3<R>,
    cosine_light: R,
) -> Scattering<R> {
    if bsdf.matte {
        return Scattering { value: bsdf.diffuse * cosine_light, density: cosine_light * INVERSE_PI };
    }
    let one = Vec3::all(cosine_light.same(1.0));
    let half = normalize(view + light);
    let cosine_half = dot(normal, half).at_least(0.0);
    let m5 = grazing(dot(view, half).at_least(0.0));
    let lobe = ggx_lobe(bsdf.alpha, bsdf.cosine_view, cosine_light, cosine_half);
    let dielectric =
        (bsdf.dielectric_f0 + (bsdf.dielectric_f90 - bsdf.dielectric_f0) * m5) * bsdf.dielectric_weight;
    let metal = (bsdf.metal_f0 + (one - bsdf.metal_f0) * m5) * bsdf.metal_weight;
    let specular = (metal + one * dielectric) * lobe.value;
    let mut value = (specular + bsdf.diffuse * cosine_light) * bsdf.below_coat;
    let chance_diffuse = bsdf.chance_coat.complement() - bsdf.chance_specular - bsdf.chance_transmitted;
    let mut density =
        lobe.density * bsdf.chance_specular + cosine_light * INVERSE_PI * chance_diffuse.at_least(0.0);
    let coated = bsdf.coat_weight.above(0.0);
    if R::any(coated) {
        let coat = ggx_lobe(bsdf.coat_alpha, bsdf.cosine_view, cosine_light, cosine_half);
        let fresnel = m5 * (1.0 - COAT_F0) + COAT_F0;
        let more = value + one * (coat.value * fresnel * bsdf.coat_weight);
        value = Vec3::select(coated, more, value);
        density = R::select(coated, density + coat.density * bsdf.chance_coat, density);
    }
    Scattering { value, density }
}

/// Draws a direction away from the surface, from three random numbers; zero when the light is lost in the surface.
#[inline(always)]
pub fn sample<R: Real>(bsdf: &Bsdf<R>, normal: Vec3<R>, view: Vec3<R>, layer: R, r0: R, r1: R) -> Vec3<R> {
    let frame = tangent_frame(normal);
    let mirrors = layer.lt(bsdf.chance_coat + bsdf.chance_specular + bsdf.chance_transmitted);
    let mut direction = Vec3::all(layer.same(0.0));
    if bsdf.matte || !R::all(mirrors) {
        direction = diffuse_direction(frame, normal, r0, r1);
    }
    if !bsdf.matte && R::any(mirrors) {
        let found = mirrored_direction(bsdf, frame, normal, view, layer, r0, r1);
        direction = Vec3::select(mirrors, found, direction);
    }
    direction
}

/// In proportion to the cosine.
#[inline(always)]
fn diffuse_direction<R: Real>(
    (tangent, bitangent): (Vec3<R>, Vec3<R>),
    normal: Vec3<R>,
    r0: R,
    r1: R,
) -> Vec3<R> {
    let radius = square_root(r0);
    let (sin, cos) = sin_cos_turn(r1);
    let z = square_root(r0.complement());
    normalize(tangent * (radius * cos) + bitangent * (radius * sin) + normal * z)
}

/// By reflection at a visible normal, of the coat or of what is below; transmitted light goes on to the other side.
#[inline(always)]
fn mirrored_direction<R: Real>(
    bsdf: &Bsdf<R>,
    (tangent, bitangent): (Vec3<R>, Vec3<R>),
    normal: Vec3<R>,
    view: Vec3<R>,
    layer: R,
    r0: R,
    r1: R,
) -> Vec3<R> {
    let from_coat = layer.lt(bsdf.chance_coat);
    let reflects = layer.lt(bsdf.chance_coat + bsdf.chance_specular);
    let local_view = vec3(dot(tangent, view), dot(bitangent, view), bsdf.cosine_view);
    let alpha = R::select(from_coat, bsdf.coat_alpha, bsdf.alpha);
    let half = visible_normal(alpha, normalize(local_view), r0, r1);
    let half = tangent * half.x + bitangent * half.y + normal * half.z;
    let mut direction = normalize(half * (dot(view, half) * 2.0) - view);
    let height = dot(normal, direction);
    if !R::all(reflects) {
        let through = normalize(direction - normal * (height * 2.0));
        direction = Vec3::select(reflects, direction, through);
    }
    // Masked by the surface itself. On the other side the direction would pass for one of another layer's.
    let zero = Vec3::all(height.same(0.0));
    Vec3::select(height.above(0.0), direction, zero)
}

/// A normal that the view can see, in proportion to how much of it (Dupuy and Benyoub 2023).
#[inline(always)]
pub fn visible_normal<R: Real>(alpha: R, view: Vec3<R>, r0: R, r1: R) -> Vec3<R> {
    let stretched = normalize(vec3(alpha * view.x, alpha * view.y, view.z));
    let z = r0.complement() * (stretched.z + 1.0) - stretched.z;
    let radius = square_root((z * z).complement());
    let (sin, cos) = sin_cos_turn(r1);
    let half = vec3(radius * cos, radius * sin, z) + stretched;
    normalize(vec3(alpha * half.x, alpha * half.y, half.z.at_least(TINY)))
}

#[cfg(test)]
mod tests;
