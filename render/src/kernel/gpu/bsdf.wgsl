// The twin of bsdf.rs.

const PI = 3.1415927;
const INVERSE_PI = 0.31830987;
const MIN_ALPHA = 0.002;
const COAT_F0 = 0.04;

struct Surface {
    base_color: vec3<f32>,
    metallic: f32,
    roughness: f32,
    dielectric_f0: f32,
    transmission: f32,
    coat: f32,
    coat_roughness: f32,
}

struct Bsdf {
    alpha: f32,
    coat_alpha: f32,
    cosine_view: f32,
    dielectric_f0: f32,
    dielectric_f90: f32,
    metal_f0: vec3<f32>,
    dielectric_weight: f32,
    metal_weight: vec3<f32>,
    transmitted: vec3<f32>,
    diffuse: vec3<f32>,
    coat_weight: f32,
    below_coat: f32,
    chance_coat: f32,
    chance_specular: f32,
    chance_transmitted: f32,
}

struct Lobe {
    value: f32,
    density: f32,
}

struct Scattering {
    value: vec3<f32>,
    density: f32,
}

fn at_grazing(f0: f32) -> f32 {
    return min(f0 * 50.0, 1.0);
}

fn compensation(f0: f32, inverse_albedo: f32) -> f32 {
    return 1.0 + f0 * (inverse_albedo - 1.0);
}

fn seen_from(surface: Surface, normal: vec3<f32>, view: vec3<f32>) -> Bsdf {
    let one = vec3<f32>(1.0, 1.0, 1.0);
    let cosine_view = min(max(dot3(normal, view), 1e-3), 1.0);
    let base = albedo(cosine_view, surface.roughness);
    let inverse_albedo = reciprocal(max(base.x + base.y, 1e-3));
    let dielectric = 1.0 - surface.metallic;
    let f0 = surface.dielectric_f0;
    let f90 = at_grazing(f0);
    let dielectric_gain = compensation(f0, inverse_albedo);
    let metal_f0 = surface.base_color;
    let metal_gain = one + metal_f0 * (inverse_albedo - 1.0);
    let dielectric_albedo = min((f0 * base.x + f90 * base.y) * dielectric_gain, 1.0);
    let metal_albedo = (metal_f0 * base.x + one * base.y) * metal_gain;
    let inner = surface.base_color * (dielectric * (1.0 - dielectric_albedo));
    let transmitted = inner * surface.transmission;
    let diffuse = inner * (1.0 - surface.transmission);
    var coat_albedo = 0.0;
    var coat_weight = 0.0;
    if (HAS_LAYERS && surface.coat > 0.0) {
        let above = albedo(cosine_view, surface.coat_roughness);
        let gain = compensation(COAT_F0, reciprocal(max(above.x + above.y, 1e-3)));
        coat_weight = surface.coat * gain;
        coat_albedo = min((COAT_F0 * above.x + above.y) * coat_weight, 1.0);
    }
    let below_coat = 1.0 - coat_albedo;
    let specular = luminance(metal_albedo) * surface.metallic + dielectric_albedo * dielectric;
    let weight_specular = specular * below_coat;
    let weight_transmitted = luminance(transmitted) * below_coat;
    let sum = coat_albedo + weight_specular + weight_transmitted + luminance(diffuse) * below_coat;
    let share = reciprocal(max(sum, 1e-6));
    return Bsdf(
        max(surface.roughness * surface.roughness, MIN_ALPHA),
        max(surface.coat_roughness * surface.coat_roughness, MIN_ALPHA),
        cosine_view,
        f0,
        f90,
        metal_f0,
        dielectric * dielectric_gain,
        metal_gain * surface.metallic,
        transmitted * inverse_albedo,
        diffuse * INVERSE_PI,
        coat_weight,
        below_coat,
        coat_albedo * share,
        weight_specular * share,
        weight_transmitted * share,
    );
}

fn grazing(cosine: f32) -> f32 {
    let m = max(1.0 - cosine, 0.0);
    let m2 = m * m;
    return m2 * m2 * m;
}

fn ggx_normals(alpha: f32, cosine_half: f32) -> f32 {
    let a2 = alpha * alpha;
    let d = cosine_half * cosine_half * (a2 - 1.0) + 1.0;
    return a2 * reciprocal(max(PI * d * d, 1e-12));
}

fn ggx_lobe(alpha: f32, cosine_view: f32, cosine_light: f32, cosine_half: f32) -> Lobe {
    let a2 = alpha * alpha;
    let root_view = square_root(a2 + (1.0 - a2) * cosine_view * cosine_view);
    let root_light = square_root(a2 + (1.0 - a2) * cosine_light * cosine_light);
    let d = ggx_normals(alpha, cosine_half);
    let sum = cosine_light * root_view + cosine_view * root_light;
    return Lobe(
        d * cosine_light * 0.5 * reciprocal(max(sum, 1e-12)),
        d * 0.5 * reciprocal(max(cosine_view + root_view, 1e-12)),
    );
}

fn reflected(bsdf: Bsdf, normal: vec3<f32>, view: vec3<f32>, light: vec3<f32>, cosine_light: f32) -> Scattering {
    let one = vec3<f32>(1.0, 1.0, 1.0);
    let half = normalize3(view + light);
    let cosine_half = max(dot3(normal, half), 0.0);
    let m5 = grazing(max(dot3(view, half), 0.0));
    let lobe = ggx_lobe(bsdf.alpha, bsdf.cosine_view, cosine_light, cosine_half);
    let dielectric = (bsdf.dielectric_f0 + (bsdf.dielectric_f90 - bsdf.dielectric_f0) * m5) * bsdf.dielectric_weight;
    let metal = (bsdf.metal_f0 + (one - bsdf.metal_f0) * m5) * bsdf.metal_weight;
    let specular = (metal + one * dielectric) * lobe.value;
    var value = (specular + bsdf.diffuse * cosine_light) * bsdf.below_coat;
    let chance_diffuse = 1.0 - bsdf.chance_coat - bsdf.chance_specular - bsdf.chance_transmitted;
    var density = lobe.density * bsdf.chance_specular + cosine_light * INVERSE_PI * max(chance_diffuse, 0.0);
    if (HAS_LAYERS && bsdf.coat_weight > 0.0) {
        let coat = ggx_lobe(bsdf.coat_alpha, bsdf.cosine_view, cosine_light, cosine_half);
        let fresnel = COAT_F0 + (1.0 - COAT_F0) * m5;
        value = value + one * (coat.value * fresnel * bsdf.coat_weight);
        density = density + coat.density * bsdf.chance_coat;
    }
    return Scattering(value, density);
}

fn evaluate(bsdf: Bsdf, normal: vec3<f32>, view: vec3<f32>, light: vec3<f32>) -> Scattering {
    let cosine_light = dot3(normal, light);
    if (cosine_light > 0.0) {
        return reflected(bsdf, normal, view, light, cosine_light);
    }
    if (HAS_LAYERS && cosine_light < 0.0 && bsdf.chance_transmitted > 0.0) {
        let mirrored = light - normal * (2.0 * cosine_light);
        let half = normalize3(view + mirrored);
        let lobe = ggx_lobe(bsdf.alpha, bsdf.cosine_view, -cosine_light, max(dot3(normal, half), 0.0));
        return Scattering(
            bsdf.transmitted * (lobe.value * bsdf.below_coat),
            lobe.density * bsdf.chance_transmitted,
        );
    }
    return Scattering(vec3<f32>(0.0, 0.0, 0.0), 0.0);
}

fn visible_normal(alpha: f32, view: vec3<f32>, r0: f32, r1: f32) -> vec3<f32> {
    let stretched = normalize3(vec3<f32>(alpha * view.x, alpha * view.y, view.z));
    let z = (1.0 - r0) * (1.0 + stretched.z) - stretched.z;
    let radius = square_root(1.0 - z * z);
    let turn = sin_cos_turn(r1);
    let half = vec3<f32>(radius * turn.y, radius * turn.x, z) + stretched;
    return normalize3(vec3<f32>(alpha * half.x, alpha * half.y, max(half.z, TINY)));
}

fn sample_direction(bsdf: Bsdf, normal: vec3<f32>, view: vec3<f32>, layer: f32, r0: f32, r1: f32) -> vec3<f32> {
    let frame = tangent_frame(normal);
    let from_coat = layer < bsdf.chance_coat;
    let up_to_specular = bsdf.chance_coat + bsdf.chance_specular;
    if (layer < up_to_specular + bsdf.chance_transmitted) {
        let local_view = vec3<f32>(dot3(frame.tangent, view), dot3(frame.bitangent, view), bsdf.cosine_view);
        let alpha = select(bsdf.alpha, bsdf.coat_alpha, from_coat);
        let local_half = visible_normal(alpha, normalize3(local_view), r0, r1);
        let half = frame.tangent * local_half.x + frame.bitangent * local_half.y + normal * local_half.z;
        let mirrored = normalize3(half * (2.0 * dot3(view, half)) - view);
        let height = dot3(normal, mirrored);
        if (height <= 0.0) {
            return vec3<f32>(0.0, 0.0, 0.0);
        }
        if (layer < up_to_specular) {
            return mirrored;
        }
        return normalize3(mirrored - normal * (2.0 * height));
    }
    let radius = square_root(r0);
    let turn = sin_cos_turn(r1);
    let z = square_root(1.0 - r0);
    return normalize3(frame.tangent * (radius * turn.y) + frame.bitangent * (radius * turn.x) + normal * z);
}
