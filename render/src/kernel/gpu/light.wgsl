// The twin of light.rs.

const MAX_DENSITY = 1e18;
const NO_LIGHT = 0xffffffffu;
const TRIANGLE = 0u;
const DIRECTIONAL = 2u;

struct Arrival {
    direction: vec3<f32>,
    distance: f32,
    irradiance: vec3<f32>,
}

fn choose_light(chance: f32) -> u32 {
    let scaled = chance * f32(params.light_count);
    let entry = min(u32(scaled), params.light_count - 1u);
    if (scaled - f32(entry) <= lights[entry].threshold) {
        return entry;
    }
    return lights[entry].other;
}

// Weights of the second and the third corner.
fn triangle_point(r0: f32, r1: f32) -> vec2<f32> {
    if (r1 > r0) {
        let u = r0 * 0.5;
        return vec2<f32>(u, r1 - u);
    }
    let v = r1 * 0.5;
    return vec2<f32>(r0 - v, v);
}

fn solid_angle_density(area_density: f32, distance_squared: f32, cosine: f32) -> f32 {
    return min(area_density * distance_squared * reciprocal(max(cosine, 1e-6)), MAX_DENSITY);
}

fn mis_weight(own: f32, other: f32) -> f32 {
    let scale = reciprocal(max(max(own, other), 1e-20));
    let a = own * scale;
    let b = other * scale;
    return a * a * reciprocal(max(a * a + b * b, 1e-20));
}

fn limited(radiance: vec3<f32>, limit: f32) -> vec3<f32> {
    let most = max(max(radiance.x, radiance.y), radiance.z);
    if (limit <= 0.0 || most <= limit) {
        return radiance;
    }
    return min(radiance * (limit * reciprocal(min(most, 1e30))), vec3<f32>(limit, limit, limit));
}

fn arrival(light: u32, point: vec3<f32>) -> Arrival {
    if (lights[light].kind == DIRECTIONAL) {
        return Arrival(lights[light].c, FAR, lights[light].b);
    }
    let path = lights[light].a - point;
    let squared = max(dot3(path, path), 1e-12);
    let distance = square_root(squared);
    let direction = path * reciprocal(distance);
    let cone = lights[light].cone;
    let along = min(max(-dot3(direction, lights[light].c) * cone.x + cone.y, 0.0), 1.0);
    var falloff = along * along * reciprocal(squared);
    let range = lights[light].range;
    if (range > 0.0) {
        let share = squared * reciprocal(max(range * range, 1e-12));
        falloff = falloff * max(1.0 - share * share, 0.0);
    }
    return Arrival(direction, distance, lights[light].b * falloff);
}
