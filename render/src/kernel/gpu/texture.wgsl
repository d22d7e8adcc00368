// The twin of texture.rs.

const REPEAT = 0u;
const MIRROR = 1u;
// Words of the sRGB table in front of the pictures.
const TABLE_WORDS = 256u;

struct Neighbours {
    first: u32,
    second: u32,
    fraction: f32,
}

fn wrapped(coordinate: f32, wrap: u32) -> f32 {
    if (wrap == REPEAT) {
        return coordinate - floor(coordinate);
    }
    if (wrap == MIRROR) {
        let half = coordinate * 0.5;
        let turn = (half - floor(half)) * 2.0;
        return select(turn, 2.0 - turn, turn > 1.0);
    }
    return min(max(coordinate, 0.0), 1.0);
}

fn inside(index: i32, last: i32, wrap: u32) -> u32 {
    if (index < 0) {
        return u32(select(0, last, wrap == REPEAT));
    }
    if (index > last) {
        return u32(select(last, 0, wrap == REPEAT));
    }
    return u32(index);
}

fn neighbours(coordinate: f32, wrap: u32, edge: u32) -> Neighbours {
    let position = wrapped(coordinate, wrap) * f32(edge) - 0.5;
    let first = floor(position);
    let last = i32(edge) - 1;
    return Neighbours(inside(i32(first), last, wrap), inside(i32(first) + 1, last, wrap), position - first);
}

fn linear(code: u32) -> f32 {
    return bitcast<f32>(texels[code]);
}

fn texel(material: u32, x: u32, y: u32) -> vec3<f32> {
    let word = texels[TABLE_WORDS + materials[material].texture_first + y * materials[material].texture_width + x];
    return vec3<f32>(linear(word & 255u), linear((word >> 8u) & 255u), linear((word >> 16u) & 255u));
}

fn blend(a: vec3<f32>, b: vec3<f32>, share: f32) -> vec3<f32> {
    return a + (b - a) * share;
}

fn lookup(material: u32, uv: vec2<f32>) -> vec3<f32> {
    let wrap = materials[material].texture_wrap;
    let x = neighbours(uv.x, wrap & 3u, materials[material].texture_width);
    let y = neighbours(uv.y, wrap >> 2u, materials[material].texture_height);
    let above = blend(texel(material, x.first, y.first), texel(material, x.second, y.first), x.fraction);
    let below = blend(texel(material, x.first, y.second), texel(material, x.second, y.second), x.fraction);
    return blend(above, below, y.fraction);
}
