// The twin of kernel/sum.rs: 64-bit integers as pairs (low, high).

const MAX_SAMPLE_BITS = 0x497fffffu;
const INFINITY_BITS = 0x7f800000u;

struct RadianceSum {
    red: vec2<u32>,
    green: vec2<u32>,
    blue: vec2<u32>,
}

fn fixed(radiance: f32) -> vec2<u32> {
    let bits = bitcast<u32>(radiance);
    if (bits > INFINITY_BITS) {
        return vec2<u32>(0u, 0u);
    }
    let limited = bitcast<f32>(min(bits, MAX_SAMPLE_BITS));
    let whole = u32(limited);
    let fraction = u32((limited - f32(whole)) * 16777216.0);
    return vec2<u32>((whole << 24u) | fraction, whole >> 8u);
}

fn add_fixed(sum: vec2<u32>, more: vec2<u32>) -> vec2<u32> {
    let low = sum.x + more.x;
    return vec2<u32>(low, sum.y + more.y + select(0u, 1u, low < sum.x));
}

fn add_sample(sum: RadianceSum, radiance: vec3<f32>) -> RadianceSum {
    return RadianceSum(
        add_fixed(sum.red, fixed(radiance.x)),
        add_fixed(sum.green, fixed(radiance.y)),
        add_fixed(sum.blue, fixed(radiance.z)),
    );
}
