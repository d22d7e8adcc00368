// The twin of math.rs.

fn reciprocal(a: f32) -> f32 {
    return 1.0 / a;
}

fn square_root(a: f32) -> f32 {
    return sqrt(max(a, 0.0));
}

fn dot3(a: vec3<f32>, b: vec3<f32>) -> f32 {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

fn cross3(a: vec3<f32>, b: vec3<f32>) -> vec3<f32> {
    return vec3<f32>(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}

fn normalize3(a: vec3<f32>) -> vec3<f32> {
    let squared = dot3(a, a);
    if (squared < 1e-30) {
        return vec3<f32>(0.0, 1.0, 0.0);
    }
    return a * reciprocal(square_root(squared));
}

fn luminance(color: vec3<f32>) -> f32 {
    return color.x * 0.2126 + color.y * 0.7152 + color.z * 0.0722;
}

fn safe_reciprocal(a: f32) -> f32 {
    let magnitude = select(a, -a, a < 0.0);
    if (magnitude < 1e-12) {
        return select(1e12, -1e12, a < 0.0);
    }
    return reciprocal(a);
}

fn safe_reciprocal3(a: vec3<f32>) -> vec3<f32> {
    return vec3<f32>(safe_reciprocal(a.x), safe_reciprocal(a.y), safe_reciprocal(a.z));
}

// Sine, then cosine.
fn sin_cos_turn(turn: f32) -> vec2<f32> {
    let scaled = turn * 4.0;
    let quarter = floor(scaled);
    let f = scaled - quarter - 0.5;
    let g = f * f;
    let s = f * (1.5707963 + g * (-0.6459641 + g * (0.07969262 + g * (-0.004681754 + g * 0.00016044118))));
    let c = 1.0 + g * (-1.2337005 + g * (0.2536695 + g * (-0.020863481 + g * (0.0009192602 - g * 0.000025202))));
    let a = 0.70710677 * (c + s);
    let b = 0.70710677 * (c - s);
    let k = u32(quarter);
    if (k == 0u) {
        return vec2<f32>(a, b);
    }
    if (k == 1u) {
        return vec2<f32>(b, -a);
    }
    if (k == 2u) {
        return vec2<f32>(-a, -b);
    }
    return vec2<f32>(-b, a);
}

struct Frame {
    tangent: vec3<f32>,
    bitangent: vec3<f32>,
}

fn tangent_frame(n: vec3<f32>) -> Frame {
    let sign = select(-1.0, 1.0, n.z >= 0.0);
    let a = -reciprocal(sign + n.z);
    let b = n.x * n.y * a;
    let sx = sign * n.x;
    return Frame(vec3<f32>(1.0 + sx * n.x * a, sign * b, -sx), vec3<f32>(b, sign + n.y * n.y * a, -n.y));
}
