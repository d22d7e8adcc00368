// The twin of light.rs.

const MAX_DENSITY = 1e18;
const NO_LIGHT = 0xffffffffu;

fn choose_light(chance: f32) -> u32 {
    var low = 0u;
    var high = params.light_count - 1u;
    while (low < high) {
        let middle = (low + high) >> 1u;
        if (chance < lights[middle].cumulative) {
            high = middle;
        } else {
            low = middle + 1u;
        }
    }
    return low;
}

fn triangle_point(place: u32, r0: f32, r1: f32) -> vec3<f32> {
    var u = r0 * 0.5;
    var v = r1 - u;
    if (r1 <= r0) {
        v = r1 * 0.5;
        u = r0 - v;
    }
    return triangles[place].corner + triangles[place].edge1 * u + triangles[place].edge2 * v;
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
