// The twin of math.rs.

const TINY = 1e-30;
// Divisions and square roots may be off by 3 units in the last place (Vulkan, "Precision and Operation of SPIR-V
// Instructions": 2.5). Where probe.wgsl found that they are, the device's result is only a first estimate, exact
// arithmetic on integers says how many units it is off, and one more unit makes good what that may be off itself. No
// loop: one of single steps took most of an NVIDIA GPU's time.

fn device_reciprocal(a: f32) -> f32 {
    return 1.0 / a;
}

fn device_root(a: f32) -> f32 {
    return sqrt(a);
}

fn reciprocal(a: f32) -> f32 {
    if (EXACT_RECIPROCAL) {
        return device_reciprocal(a);
    }
    return corrected_reciprocal(a);
}

// Of negative and of subnormal numbers, which some devices take for zero, 0.
fn square_root(a: f32) -> f32 {
    if (a < 1.1754944e-38) {
        return 0.0;
    }
    if (EXACT_ROOT) {
        return device_root(a);
    }
    return corrected_root(a);
}

// With a = m 2^e, the result's digits are the integer q nearest to 2^47 / m. The rest 2^47 - m q is small when q is
// nearly right, so that 32 bits hold it although they cannot hold its parts.
fn corrected_reciprocal(a: f32) -> f32 {
    let bits = bitcast<u32>(a);
    let exponent = (bits >> 23u) & 255u;
    let fraction = bits & 0x7fffffu;
    if (exponent == 0u || exponent > 252u) {
        return device_reciprocal(a);
    }
    let sign = bits & 0x80000000u;
    if (fraction == 0u) {
        return bitcast<f32>(sign | ((254u - exponent) << 23u));
    }
    let m = i32(fraction | 0x800000u);
    let estimate = device_reciprocal(bitcast<f32>(fraction | 0x3f800000u));
    var q = i32(estimate * 16777216.0);
    var rest = -(m * q);
    let units = i32(floor(f32(rest) * (estimate * 1.1920929e-7) + 0.5));
    q = q + units;
    rest = rest - units * m;
    q = q + select(0, 1, 2 * rest > m) - select(0, 1, 2 * rest < -m);
    return bitcast<f32>(sign | ((253u - exponent) << 23u) | (u32(q) & 0x7fffffu));
}

// As above: q is the integer nearest to the root of x, which is a's digits made 47 or 48 long; the rest is x - q q.
fn corrected_root(a: f32) -> f32 {
    let bits = bitcast<u32>(a);
    let exponent = bits >> 23u;
    let fraction = bits & 0x7fffffu;
    let odd = (exponent + 1u) & 1u;
    let estimate = device_root(bitcast<f32>(fraction | ((127u + odd) << 23u)));
    var q = i32(estimate * 8388608.0);
    var rest = bitcast<i32>((fraction | 0x800000u) << (23u + odd)) - q * q;
    let units = i32(floor(f32(rest) * device_reciprocal(f32(2 * q)) + 0.5));
    rest = rest - units * (2 * q + units);
    q = q + units;
    q = q + select(0, 1, rest > q) - select(0, 1, rest <= -q);
    return bitcast<f32>((((exponent + 127u) >> 1u) << 23u) | (u32(q) & 0x7fffffu));
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
    let s = f * (1.5707964 + g * (-0.6459641 + g * (0.07969262 + g * (-0.004681754 + g * 0.00016044118))));
    let c = 1.0 + g * (-1.2337005 + g * (0.2536695 + g * (-0.02086348 + g * (0.0009192602 - g * 0.000025202))));
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

fn turn_of(y: f32, x: f32) -> f32 {
    let wide = select(x, -x, x < 0.0);
    let high = select(y, -y, y < 0.0);
    let z = min(wide, high) * reciprocal(max(max(wide, high), 1e-20));
    let g = z * z;
    let eighth = z * (0.15915492 + g * (-0.05304923 + g * (0.031778406 + g * (-0.02228693 + g * (0.015706787
        + g * (-0.009363046 + g * (0.0037847871 - g * 0.00072571344)))))));
    let quarter = select(eighth, 0.25 - eighth, high > wide);
    let half_turn = select(quarter, 0.5 - quarter, x < 0.0);
    let turn = select(half_turn, 1.0 - half_turn, y < 0.0);
    return select(0.0, turn, turn < 1.0);
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
