//! How surfaces scatter: the metallic-roughness model of glTF 2.0 (appendix B), a Lambert lobe under a GGX lobe with
//! Schlick's Fresnel term. `kernel/gpu/material.wgsl` is the twin of this file.

use crate::math::{
    TINY, Vec3, dot, luminance, normalize, reciprocal, sin_cos_turn, square_root, tangent_frame, vec3,
};

const PI: f32 = std::f32::consts::PI;
const INVERSE_PI: f32 = std::f32::consts::FRAC_1_PI;
/// Reflectance of a dielectric seen head-on.
const DIELECTRIC_F0: f32 = 0.04;
/// Smallest squared roughness: a mirror that can still be computed with.
const MIN_ALPHA: f32 = 0.002;

/// A material at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surface {
    /// Reflectance of the Lambert lobe.
    pub diffuse: Vec3,
    /// Reflectance of the GGX lobe head-on.
    pub f0: Vec3,
    /// Squared roughness.
    pub alpha: f32,
}

/// A material at a point.
#[inline(always)]
pub fn surface(base_color: Vec3, metallic: f32, roughness: f32) -> Surface {
    let dielectric = 1.0 - metallic;
    let f0 = DIELECTRIC_F0 * dielectric;
    Surface {
        diffuse: base_color * dielectric,
        f0: vec3(f0, f0, f0) + base_color * metallic,
        alpha: (roughness * roughness).max(MIN_ALPHA),
    }
}

/// Fresnel term (Schlick 1994).
#[inline(always)]
pub fn fresnel(f0: Vec3, cosine: f32) -> Vec3 {
    let m = (1.0 - cosine).max(0.0);
    let m2 = m * m;
    let m5 = m2 * m2 * m;
    f0 + (Vec3::ONE - f0) * m5
}

/// Probability of drawing the GGX lobe for a direction of view.
#[inline(always)]
pub fn specular_probability(surface: &Surface, cosine_view: f32) -> f32 {
    let specular = luminance(fresnel(surface.f0, cosine_view));
    let diffuse = luminance(surface.diffuse) * (1.0 - specular);
    if diffuse <= TINY {
        return 1.0;
    }
    (specular * reciprocal(specular + diffuse)).clamp(0.1, 0.9)
}

/// Density of normals (Trowbridge and Reitz 1975).
#[inline(always)]
pub fn ggx_normals(alpha: f32, cosine_half: f32) -> f32 {
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

/// A direction's value and density.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scattering {
    /// BSDF times cosine.
    pub value: Vec3,
    /// Density of drawing the direction, per solid angle.
    pub density: f32,
}

/// How much light from `light` goes to `view`, both away from the surface, on the side of the normal.
#[inline(always)]
pub fn evaluate(surface: &Surface, normal: Vec3, view: Vec3, light: Vec3) -> Scattering {
    let cosine_view = dot(normal, view).max(1e-4);
    let cosine_light = dot(normal, light);
    if cosine_light <= 0.0 {
        return Scattering { value: Vec3::ZERO, density: 0.0 };
    }
    let half = normalize(view + light);
    let cosine_half = dot(normal, half).max(0.0);
    let f = fresnel(surface.f0, dot(view, half).max(0.0));
    let d = ggx_normals(surface.alpha, cosine_half);
    let g_view = ggx_masking(surface.alpha, cosine_view);
    let g_light = ggx_masking(surface.alpha, cosine_light);
    let specular = f * (d * g_view * g_light * 0.25 * reciprocal(cosine_view));
    let diffuse = (Vec3::ONE - f) * surface.diffuse * (INVERSE_PI * cosine_light);
    let chance = specular_probability(surface, cosine_view);
    let specular_density = d * g_view * 0.25 * reciprocal(cosine_view);
    let diffuse_density = cosine_light * INVERSE_PI;
    Scattering {
        value: specular + diffuse,
        density: specular_density * chance + diffuse_density * (1.0 - chance),
    }
}

/// Draws a direction away from the surface, from three random numbers; it may point below the surface, where
/// [`evaluate`] is zero.
#[inline(always)]
pub fn sample(surface: &Surface, normal: Vec3, view: Vec3, lobe: f32, r0: f32, r1: f32) -> Vec3 {
    let (tangent, bitangent) = tangent_frame(normal);
    let cosine_view = dot(normal, view).max(1e-4);
    if lobe < specular_probability(surface, cosine_view) {
        let local_view = vec3(dot(tangent, view), dot(bitangent, view), cosine_view);
        let half = visible_normal(surface.alpha, local_view, r0, r1);
        let half = tangent * half.x + bitangent * half.y + normal * half.z;
        return normalize(half * (2.0 * dot(view, half)) - view);
    }
    let radius = square_root(r0);
    let (sin, cos) = sin_cos_turn(r1);
    let z = square_root(1.0 - r0);
    normalize(tangent * (radius * cos) + bitangent * (radius * sin) + normal * z)
}

/// A normal that the view can see, in proportion to how much of it (Heitz 2018).
#[inline(always)]
fn visible_normal(alpha: f32, view: Vec3, r0: f32, r1: f32) -> Vec3 {
    let stretched = normalize(vec3(alpha * view.x, alpha * view.y, view.z));
    let across = stretched.x * stretched.x + stretched.y * stretched.y;
    let t1 = if across > 1e-12 {
        vec3(-stretched.y, stretched.x, 0.0) * reciprocal(square_root(across))
    } else {
        vec3(1.0, 0.0, 0.0)
    };
    let t2 = crate::math::cross(stretched, t1);
    let radius = square_root(r0);
    let (sin, cos) = sin_cos_turn(r1);
    let p1 = radius * cos;
    let s = 0.5 * (1.0 + stretched.z);
    let p2 = (1.0 - s) * square_root(1.0 - p1 * p1) + s * (radius * sin);
    let p3 = square_root(1.0 - p1 * p1 - p2 * p2);
    let half = t1 * p1 + t2 * p2 + stretched * p3;
    normalize(vec3(alpha * half.x, alpha * half.y, half.z.max(1e-6)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{path_key, random};

    /// Light of radiance 1 from everywhere must come back as at most 1, and as nearly 1 where no energy is lost.
    fn furnace(surface: &Surface, view: Vec3) -> f32 {
        let normal = vec3(0.0, 0.0, 1.0);
        let samples = 40_000;
        let mut sum = 0.0_f64;
        for index in 0..samples {
            let key = path_key(3, index, 0);
            let light = sample(surface, normal, view, random(key, 0), random(key, 1), random(key, 2));
            let scattering = evaluate(surface, normal, view, light);
            if scattering.density > 0.0 {
                sum += f64::from(scattering.value.y / scattering.density);
            }
        }
        (sum / f64::from(samples)) as f32
    }

    #[test]
    fn white_surfaces_neither_lose_nor_make_light() {
        for (x, z) in [(0.0, 1.0), (0.6, 0.8), (0.95, 0.312_25)] {
            let view = vec3(x, 0.0, z);
            let mirror = furnace(&surface(Vec3::ONE, 1.0, 0.1), view);
            assert!((mirror - 1.0).abs() < 0.01, "white metal mirror at {x}: {mirror}");
            let rough = furnace(&surface(Vec3::ONE, 1.0, 1.0), view);
            assert!((0.3..=1.01).contains(&rough), "single scattering loses some at {x}: {rough}");
            let diffuse = furnace(&surface(Vec3::ONE, 0.0, 1.0), view);
            assert!((0.85..=1.02).contains(&diffuse), "white dielectric at {x}: {diffuse}");
        }
    }

    #[test]
    fn rough_metal_seen_head_on_reflects_what_the_integral_says() {
        // With alpha = 1 and Smith's separable masking the integral over the hemisphere is 1 - ln 2.
        let rough = furnace(&surface(Vec3::ONE, 1.0, 1.0), vec3(0.0, 0.0, 1.0));
        assert!((f64::from(rough) - (1.0 - std::f64::consts::LN_2)).abs() < 0.005, "{rough}");
    }

    #[test]
    fn densities_integrate_to_one_less_what_points_below_the_surface() {
        let normal = vec3(0.0, 0.0, 1.0);
        for (roughness, least) in [(0.3, 0.98), (0.6, 0.93), (1.0, 0.8)] {
            let surface = surface(vec3(0.8, 0.5, 0.2), 0.3, roughness);
            let view = normalize(vec3(0.5, 0.2, 0.8));
            let samples = 200_000;
            let mut sum = 0.0_f64;
            for index in 0..samples {
                let key = path_key(9, index, 1);
                let z = random(key, 0);
                let (sin, cos) = sin_cos_turn(random(key, 1));
                let radius = square_root(1.0 - z * z);
                let density = evaluate(&surface, normal, view, vec3(radius * cos, radius * sin, z)).density;
                sum += f64::from(density) * std::f64::consts::TAU;
            }
            let integral = sum / f64::from(samples);
            assert!((least..1.01).contains(&integral), "roughness {roughness}: {integral}");
        }
    }
}
