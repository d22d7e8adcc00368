// The twin of material.rs.

const PI = 3.1415927;
const INVERSE_PI = 0.31830987;
const DIELECTRIC_F0 = 0.04;
const MIN_ALPHA = 0.002;

struct Surface {
    diffuse: vec3<f32>,
    f0: vec3<f32>,
    alpha: f32,
}

struct Scattering {
    value: vec3<f32>,
    density: f32,
}

fn make_surface(base_color: vec3<f32>, metallic: f32, roughness: f32) -> Surface {
    let dielectric = 1.0 - metallic;
    let f0 = DIELECTRIC_F0 * dielectric;
    return Surface(base_color * dielectric, vec3<f32>(f0, f0, f0) + base_color * metallic, max(roughness * roughness, MIN_ALPHA));
}

fn fresnel(f0: vec3<f32>, cosine: f32) -> vec3<f32> {
    let m = max(1.0 - cosine, 0.0);
    let m2 = m * m;
    let m5 = m2 * m2 * m;
    return f0 + (vec3<f32>(1.0, 1.0, 1.0) - f0) * m5;
}

fn specular_probability(surface: Surface, cosine_view: f32) -> f32 {
    let specular = luminance(fresnel(surface.f0, cosine_view));
    let diffuse = luminance(surface.diffuse) * (1.0 - specular);
    if (diffuse <= TINY) {
        return 1.0;
    }
    return min(max(specular * reciprocal(specular + diffuse), 0.1), 0.9);
}

fn ggx_normals(alpha: f32, cosine_half: f32) -> f32 {
    let a2 = alpha * alpha;
    let d = cosine_half * cosine_half * (a2 - 1.0) + 1.0;
    return a2 * reciprocal(max(PI * d * d, 1e-12));
}

fn ggx_masking(alpha: f32, cosine: f32) -> f32 {
    let a2 = alpha * alpha;
    let root = square_root(a2 + (1.0 - a2) * cosine * cosine);
    return 2.0 * cosine * reciprocal(max(cosine + root, 1e-12));
}

fn evaluate(surface: Surface, normal: vec3<f32>, view: vec3<f32>, light: vec3<f32>) -> Scattering {
    let cosine_view = max(dot3(normal, view), 1e-4);
    let cosine_light = dot3(normal, light);
    if (cosine_light <= 0.0) {
        return Scattering(vec3<f32>(0.0, 0.0, 0.0), 0.0);
    }
    let half = normalize3(view + light);
    let cosine_half = max(dot3(normal, half), 0.0);
    let f = fresnel(surface.f0, max(dot3(view, half), 0.0));
    let d = ggx_normals(surface.alpha, cosine_half);
    let g_view = ggx_masking(surface.alpha, cosine_view);
    let g_light = ggx_masking(surface.alpha, cosine_light);
    let specular = f * (d * g_view * g_light * 0.25 * reciprocal(cosine_view));
    let diffuse = (vec3<f32>(1.0, 1.0, 1.0) - f) * surface.diffuse * (INVERSE_PI * cosine_light);
    let chance = specular_probability(surface, cosine_view);
    let specular_density = d * g_view * 0.25 * reciprocal(cosine_view);
    let diffuse_density = cosine_light * INVERSE_PI;
    return Scattering(specular + diffuse, specular_density * chance + diffuse_density * (1.0 - chance));
}

fn visible_normal(alpha: f32, view: vec3<f32>, r0: f32, r1: f32) -> vec3<f32> {
    let stretched = normalize3(vec3<f32>(alpha * view.x, alpha * view.y, view.z));
    let across = stretched.x * stretched.x + stretched.y * stretched.y;
    var t1 = vec3<f32>(1.0, 0.0, 0.0);
    if (across > 1e-12) {
        t1 = vec3<f32>(-stretched.y, stretched.x, 0.0) * reciprocal(square_root(across));
    }
    let t2 = cross3(stretched, t1);
    let radius = square_root(r0);
    let turn = sin_cos_turn(r1);
    let p1 = radius * turn.y;
    let s = 0.5 * (1.0 + stretched.z);
    let p2 = (1.0 - s) * square_root(1.0 - p1 * p1) + s * (radius * turn.x);
    let p3 = square_root(1.0 - p1 * p1 - p2 * p2);
    let half = t1 * p1 + t2 * p2 + stretched * p3;
    return normalize3(vec3<f32>(alpha * half.x, alpha * half.y, max(half.z, 1e-6)));
}

fn sample_direction(surface: Surface, normal: vec3<f32>, view: vec3<f32>, lobe: f32, r0: f32, r1: f32) -> vec3<f32> {
    let frame = tangent_frame(normal);
    let cosine_view = max(dot3(normal, view), 1e-4);
    if (lobe < specular_probability(surface, cosine_view)) {
        let local_view = vec3<f32>(dot3(frame.tangent, view), dot3(frame.bitangent, view), cosine_view);
        let local_half = visible_normal(surface.alpha, local_view, r0, r1);
        let half = frame.tangent * local_half.x + frame.bitangent * local_half.y + normal * local_half.z;
        return normalize3(half * (2.0 * dot3(view, half)) - view);
    }
    let radius = square_root(r0);
    let turn = sin_cos_turn(r1);
    let z = square_root(1.0 - r0);
    return normalize3(frame.tangent * (radius * turn.y) + frame.bitangent * (radius * turn.x) + normal * z);
}
