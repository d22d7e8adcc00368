//! How surfaces scatter: the metallic-roughness model of glTF 2.0 (appendix B) with its thin transmission and its
//! clear coat. Each layer passes on what it does not reflect, and single reflections are scaled up to what many would
//! give back, so that a white surface returns all light. `kernel/gpu/bsdf.wgsl` is the twin of this file.

use crate::{
    albedo,
    math::{
        TINY, Vec3, dot, luminance, normalize, reciprocal, sin_cos_turn, square_root, tangent_frame, vec3,
    },
};

const PI: f32 = std::f32::consts::PI;
const INVERSE_PI: f32 = std::f32::consts::FRAC_1_PI;
/// Smallest squared roughness: a mirror that can still be computed with.
pub const MIN_ALPHA: f32 = 0.002;
/// Reflectance of a clear coat seen head-on (`KHR_materials_clearcoat`).
const COAT_F0: f32 = 0.04;

/// A material at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surface {
    /// Of the diffuse layer, of transmitted light, and of metals head-on.
    pub base_color: Vec3,
    /// 0 dielectric to 1 metal.
    pub metallic: f32,
    /// Perceptual roughness, 0 to 1.
    pub roughness: f32,
    /// Reflectance of the dielectric head-on.
    pub dielectric_f0: f32,
    /// Share of the light that goes through instead of being scattered back.
    pub transmission: f32,
    /// Strength of the clear coat.
    pub coat: f32,
    /// Its perceptual roughness.
    pub coat_roughness: f32,
}

/// A material at a point, seen from a direction: what each layer gives back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bsdf {
    /// Squared roughness.
    alpha: f32,
    coat_alpha: f32,
    /// Cosine between normal and view, above 0.
    cosine_view: f32,
    /// Reflectance of the dielectric head-on, and at grazing angles.
    dielectric_f0: f32,
    dielectric_f90: f32,
    /// Reflectance of the metal head-on.
    metal_f0: Vec3,
    /// Weight of each, with the light of further reflections.
    dielectric_weight: f32,
    metal_weight: Vec3,
    /// Weight of the light that goes through.
    transmitted: Vec3,
    /// Reflectance of the diffuse layer.
    diffuse: Vec3,
    /// Weight of the coat.
    coat_weight: f32,
    /// What the coat lets through.
    below_coat: f32,
    /// Probability that each layer is drawn; the diffuse one has what is left.
    chance_coat: f32,
    chance_specular: f32,
    chance_transmitted: f32,
}

impl Bsdf {
    /// Of a surface that has nothing but a diffuse layer: what [`seen_from`] comes to, without the way there. The twin
    /// does without it, for its neighbours would take the long way.
    #[inline(always)]
    fn matte(base_color: Vec3, cosine_view: f32) -> Self {
        Self {
            alpha: 1.0,
            coat_alpha: 1.0,
            cosine_view,
            dielectric_f0: 0.0,
            dielectric_f90: 0.0,
            metal_f0: Vec3::ZERO,
            dielectric_weight: 0.0,
            metal_weight: Vec3::ZERO,
            transmitted: Vec3::ZERO,
            diffuse: base_color * INVERSE_PI,
            coat_weight: 0.0,
            below_coat: 1.0,
            chance_coat: 0.0,
            chance_specular: 0.0,
            chance_transmitted: 0.0,
        }
    }

    /// Whether light is only scattered diffusely.
    #[inline(always)]
    fn is_matte(&self) -> bool {
        self.chance_specular + self.chance_transmitted + self.coat_weight <= 0.0
    }
}

impl Surface {
    #[inline(always)]
    fn is_matte(&self) -> bool {
        self.dielectric_f0 + self.metallic + self.transmission + self.coat <= 0.0
    }
}

/// Reflectance of a dielectric at grazing angles: all, but nothing where there is no step in the index of refraction.
/// Below the f0 of any real one (0.02) it fades out (Lagarde and de Rousiers 2014).
#[inline(always)]
fn at_grazing(f0: f32) -> f32 {
    (f0 * 50.0).min(1.0)
}

/// What is lost by single reflections of a reflectance, made up for.
#[inline(always)]
fn compensation(f0: f32, inverse_albedo: f32) -> f32 {
    1.0 + f0 * (inverse_albedo - 1.0)
}

/// A surface seen from a direction. `table` is [`albedo::TABLE`].
#[inline(always)]
pub fn seen_from(table: &[[f32; 2]], surface: &Surface, normal: Vec3, view: Vec3) -> Bsdf {
    let cosine_view = dot(normal, view).clamp(1e-3, 1.0);
    if surface.is_matte() {
        return Bsdf::matte(surface.base_color, cosine_view);
    }
    let [scale, bias] = albedo::lookup(table, cosine_view, surface.roughness);
    let inverse_albedo = reciprocal((scale + bias).max(1e-3));
    let dielectric = 1.0 - surface.metallic;
    let f0 = surface.dielectric_f0;
    let f90 = at_grazing(f0);
    let dielectric_gain = compensation(f0, inverse_albedo);
    let metal_f0 = surface.base_color;
    let metal_gain = Vec3::ONE + metal_f0 * (inverse_albedo - 1.0);
    let dielectric_albedo = ((f0 * scale + f90 * bias) * dielectric_gain).min(1.0);
    let metal_albedo = (metal_f0 * scale + Vec3::ONE * bias) * metal_gain;
    let inner = surface.base_color * (dielectric * (1.0 - dielectric_albedo));
    let transmitted = inner * surface.transmission;
    let diffuse = inner * (1.0 - surface.transmission);
    let mut coat_albedo = 0.0;
    let mut coat_weight = 0.0;
    if surface.coat > 0.0 {
        let [scale, bias] = albedo::lookup(table, cosine_view, surface.coat_roughness);
        let gain = compensation(COAT_F0, reciprocal((scale + bias).max(1e-3)));
        coat_weight = surface.coat * gain;
        coat_albedo = ((COAT_F0 * scale + bias) * coat_weight).min(1.0);
    }
    let below_coat = 1.0 - coat_albedo;
    let specular = luminance(metal_albedo) * surface.metallic + dielectric_albedo * dielectric;
    let (weight_specular, weight_transmitted) = (specular * below_coat, luminance(transmitted) * below_coat);
    let sum = coat_albedo + weight_specular + weight_transmitted + luminance(diffuse) * below_coat;
    let share = reciprocal(sum.max(1e-6));
    Bsdf {
        alpha: (surface.roughness * surface.roughness).max(MIN_ALPHA),
        coat_alpha: (surface.coat_roughness * surface.coat_roughness).max(MIN_ALPHA),
        cosine_view,
        dielectric_f0: f0,
        dielectric_f90: f90,
        metal_f0,
        dielectric_weight: dielectric * dielectric_gain,
        metal_weight: metal_gain * surface.metallic,
        transmitted: transmitted * inverse_albedo,
        diffuse: diffuse * INVERSE_PI,
        coat_weight,
        below_coat,
        chance_coat: coat_albedo * share,
        chance_specular: weight_specular * share,
        chance_transmitted: weight_transmitted * share,
    }
}

/// Fresnel term (Schlick 1994) without the part that is reflected head-on.
#[inline(always)]
fn grazing(cosine: f32) -> f32 {
    let m = (1.0 - cosine).max(0.0);
    let m2 = m * m;
    m2 * m2 * m
}

/// Density of normals (Trowbridge and Reitz 1975).
#[inline(always)]
fn ggx_normals(alpha: f32, cosine_half: f32) -> f32 {
    let a2 = alpha * alpha;
    let d = cosine_half * cosine_half * (a2 - 1.0) + 1.0;
    a2 * reciprocal((PI * d * d).max(1e-12))
}

/// Smith's masking term for one direction.
#[inline(always)]
pub fn ggx_masking(alpha: f32, cosine: f32) -> f32 {
    let a2 = alpha * alpha;
    let root = square_root(a2 + (1.0 - a2) * cosine * cosine);
    2.0 * cosine * reciprocal((cosine + root).max(1e-12))
}

/// A lobe's value without Fresnel term, times the cosine of the light, and the density of drawing the direction.
#[derive(Debug, Clone, Copy)]
struct Lobe {
    value: f32,
    density: f32,
}

/// The GGX lobe, masking of both directions correlated (Heitz 2014).
#[inline(always)]
fn ggx_lobe(alpha: f32, cosine_view: f32, cosine_light: f32, cosine_half: f32) -> Lobe {
    let a2 = alpha * alpha;
    let root_view = square_root(a2 + (1.0 - a2) * cosine_view * cosine_view);
    let root_light = square_root(a2 + (1.0 - a2) * cosine_light * cosine_light);
    let d = ggx_normals(alpha, cosine_half);
    let sum = cosine_light * root_view + cosine_view * root_light;
    Lobe {
        value: d * cosine_light * 0.5 * reciprocal(sum.max(1e-12)),
        density: d * 0.5 * reciprocal((cosine_view + root_view).max(1e-12)),
    }
}

/// A direction's value and density.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scattering {
    /// BSDF times cosine.
    pub value: Vec3,
    /// Density of drawing the direction, per solid angle.
    pub density: f32,
}

/// How much light from `light` goes to `view`, both away from the surface; light from below is transmitted.
#[inline(always)]
pub fn evaluate(bsdf: &Bsdf, normal: Vec3, view: Vec3, light: Vec3) -> Scattering {
    let cosine_light = dot(normal, light);
    if cosine_light > 0.0 {
        return reflected(bsdf, normal, view, light, cosine_light);
    }
    if cosine_light < 0.0 && bsdf.chance_transmitted > 0.0 {
        let mirrored = light - normal * (2.0 * cosine_light);
        let half = normalize(view + mirrored);
        let lobe = ggx_lobe(bsdf.alpha, bsdf.cosine_view, -cosine_light, dot(normal, half).max(0.0));
        return Scattering {
            value: bsdf.transmitted * (lobe.value * bsdf.below_coat),
            density: lobe.density * bsdf.chance_transmitted,
        };
    }
    Scattering { value: Vec3::ZERO, density: 0.0 }
}

#[inline(always)]
fn reflected(bsdf: &Bsdf, normal: Vec3, view: Vec3, light: Vec3, cosine_light: f32) -> Scattering {
    if bsdf.is_matte() {
        return Scattering { value: bsdf.diffuse * cosine_light, density: cosine_light * INVERSE_PI };
    }
    let half = normalize(view + light);
    let cosine_half = dot(normal, half).max(0.0);
    let m5 = grazing(dot(view, half).max(0.0));
    let lobe = ggx_lobe(bsdf.alpha, bsdf.cosine_view, cosine_light, cosine_half);
    let dielectric =
        (bsdf.dielectric_f0 + (bsdf.dielectric_f90 - bsdf.dielectric_f0) * m5) * bsdf.dielectric_weight;
    let metal = (bsdf.metal_f0 + (Vec3::ONE - bsdf.metal_f0) * m5) * bsdf.metal_weight;
    let specular = (metal + Vec3::ONE * dielectric) * lobe.value;
    let mut value = (specular + bsdf.diffuse * cosine_light) * bsdf.below_coat;
    let chance_diffuse = 1.0 - bsdf.chance_coat - bsdf.chance_specular - bsdf.chance_transmitted;
    let mut density =
        lobe.density * bsdf.chance_specular + cosine_light * INVERSE_PI * chance_diffuse.max(0.0);
    if bsdf.coat_weight > 0.0 {
        let coat = ggx_lobe(bsdf.coat_alpha, bsdf.cosine_view, cosine_light, cosine_half);
        let fresnel = COAT_F0 + (1.0 - COAT_F0) * m5;
        value = value + Vec3::ONE * (coat.value * fresnel * bsdf.coat_weight);
        density += coat.density * bsdf.chance_coat;
    }
    Scattering { value, density }
}

/// Draws a direction away from the surface, from three random numbers; zero when the light is lost in the surface.
#[inline(always)]
pub fn sample(bsdf: &Bsdf, normal: Vec3, view: Vec3, layer: f32, r0: f32, r1: f32) -> Vec3 {
    let (tangent, bitangent) = tangent_frame(normal);
    let from_coat = layer < bsdf.chance_coat;
    let up_to_specular = bsdf.chance_coat + bsdf.chance_specular;
    if layer < up_to_specular + bsdf.chance_transmitted {
        let local_view = vec3(dot(tangent, view), dot(bitangent, view), bsdf.cosine_view);
        let alpha = if from_coat { bsdf.coat_alpha } else { bsdf.alpha };
        let half = visible_normal(alpha, normalize(local_view), r0, r1);
        let half = tangent * half.x + bitangent * half.y + normal * half.z;
        let mirrored = normalize(half * (2.0 * dot(view, half)) - view);
        let height = dot(normal, mirrored);
        // Masked by the surface itself. On the other side the direction would pass for one of another layer's.
        if height <= 0.0 {
            return Vec3::ZERO;
        }
        if layer < up_to_specular {
            return mirrored;
        }
        return normalize(mirrored - normal * (2.0 * height));
    }
    let radius = square_root(r0);
    let (sin, cos) = sin_cos_turn(r1);
    let z = square_root(1.0 - r0);
    normalize(tangent * (radius * cos) + bitangent * (radius * sin) + normal * z)
}

/// A normal that the view can see, in proportion to how much of it (Dupuy and Benyoub 2023).
#[inline(always)]
pub fn visible_normal(alpha: f32, view: Vec3, r0: f32, r1: f32) -> Vec3 {
    let stretched = normalize(vec3(alpha * view.x, alpha * view.y, view.z));
    let z = (1.0 - r0) * (1.0 + stretched.z) - stretched.z;
    let radius = square_root(1.0 - z * z);
    let (sin, cos) = sin_cos_turn(r1);
    let half = vec3(radius * cos, radius * sin, z) + stretched;
    normalize(vec3(alpha * half.x, alpha * half.y, half.z.max(TINY)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{path_key, random};

    const NORMAL: Vec3 = vec3(0.0, 0.0, 1.0);

    fn white() -> Surface {
        Surface {
            base_color: Vec3::ONE,
            metallic: 0.0,
            roughness: 0.5,
            dielectric_f0: 0.04,
            transmission: 0.0,
            coat: 0.0,
            coat_roughness: 0.0,
        }
    }

    /// Points that fill the unit cube evenly, so that the mean over them has hardly any noise: multiples of the first
    /// powers of 1 / 1.2207, where 1.2207^4 = 1.2207 + 1 (Roberts 2018).
    fn evenly(index: u32) -> [f32; 3] {
        const LESS_THAN_ONE: f32 = 1.0 - f32::EPSILON;
        [0.819_172_513_396_164_4, 0.671_043_606_703_789_2, 0.549_700_477_901_970_3]
            .map(|step: f64| ((0.5 + f64::from(index) * step).fract() as f32).min(LESS_THAN_ONE))
    }

    /// What comes back of light of radiance 1 from everywhere.
    fn furnace(surface: &Surface, view: Vec3) -> f64 {
        let bsdf = seen_from(&albedo::TABLE, surface, NORMAL, view);
        let samples = 200_000;
        let mut sum = 0.0_f64;
        for index in 0..samples {
            let [r0, r1, r2] = evenly(index);
            let light = sample(&bsdf, NORMAL, view, r0, r1, r2);
            let scattering = evaluate(&bsdf, NORMAL, view, light);
            if scattering.density > 0.0 {
                sum += f64::from(scattering.value.y / scattering.density);
            }
        }
        sum / f64::from(samples)
    }

    fn views() -> [Vec3; 4] {
        [(0.0, 1.0), (0.6, 0.8), (0.9, 0.435_89), (0.98, 0.198_997)].map(|(x, z)| vec3(x, 0.0, z))
    }

    #[test]
    fn white_surfaces_of_every_kind_return_all_light() {
        for roughness in [0.0, 0.1, 0.3, 0.6, 1.0] {
            let kinds = [
                ("dielectric", Surface { roughness, ..white() }),
                ("metal", Surface { roughness, metallic: 1.0, ..white() }),
                ("half metal", Surface { roughness, metallic: 0.5, ..white() }),
                ("glass", Surface { roughness, transmission: 1.0, ..white() }),
                ("half glass", Surface { roughness, transmission: 0.5, ..white() }),
                ("coated metal", Surface { roughness, metallic: 1.0, coat: 1.0, ..white() }),
                ("coated", Surface { roughness: 0.9, coat: 0.7, coat_roughness: roughness, ..white() }),
                ("dense", Surface { roughness, dielectric_f0: 0.3, ..white() }),
            ];
            for (kind, surface) in kinds {
                for view in views() {
                    let back = furnace(&surface, view);
                    assert!((back - 1.0).abs() < 0.005, "{kind}, {roughness} at {}: {back}", view.z);
                }
            }
        }
    }

    #[test]
    fn densities_integrate_to_one_less_what_points_below_the_surface() {
        for (roughness, least) in [(0.3, 0.98), (0.6, 0.93), (1.0, 0.7)] {
            let surface = Surface {
                base_color: vec3(0.8, 0.5, 0.2),
                metallic: 0.3,
                roughness,
                transmission: 0.4,
                coat: 0.5,
                coat_roughness: 0.4,
                ..white()
            };
            let view = normalize(vec3(0.5, 0.2, 0.8));
            let bsdf = seen_from(&albedo::TABLE, &surface, NORMAL, view);
            let samples = 400_000;
            let mut sum = 0.0_f64;
            for index in 0..samples {
                let key = path_key(9, index, 1);
                let z = random(key, 0) * 2.0 - 1.0;
                let (sin, cos) = sin_cos_turn(random(key, 1));
                let radius = square_root(1.0 - z * z);
                let density = evaluate(&bsdf, NORMAL, view, vec3(radius * cos, radius * sin, z)).density;
                sum += f64::from(density) * 2.0 * std::f64::consts::TAU;
            }
            let integral = sum / f64::from(samples);
            assert!((least..1.01).contains(&integral), "roughness {roughness}: {integral}");
        }
    }

    #[test]
    fn black_surfaces_stay_finite() {
        let black = Surface { base_color: Vec3::ZERO, dielectric_f0: 0.0, ..white() };
        let bsdf = seen_from(&albedo::TABLE, &black, NORMAL, NORMAL);
        for (layer, r0) in [(0.0, 0.0), (0.5, 0.5), (0.999_999, 0.999_999)] {
            let light = sample(&bsdf, NORMAL, NORMAL, layer, r0, 0.3);
            let scattering = evaluate(&bsdf, NORMAL, NORMAL, light);
            assert!(light.x.is_finite() && scattering.value.x.is_finite() && scattering.density.is_finite());
        }
    }
}
