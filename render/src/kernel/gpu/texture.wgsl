// The twin of texture.rs.

const REPEAT = 0u;
const MIRROR = 1u;
// Words in front of the pictures: the sRGB table and the table of albedos.
const TABLE_WORDS = 2304u;
const CODE_SHARE = 0.003921569;

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

fn nearest(coordinate: f32, wrap: u32, edge: u32) -> u32 {
    let position = wrapped(coordinate, wrap) * f32(edge);
    return inside(i32(floor(position)), i32(edge) - 1, wrap);
}

fn channel_of(code: u32, is_color: bool) -> f32 {
    if (is_color) {
        return bitcast<f32>(word_at(code));
    }
    return f32(code) * CODE_SHARE;
}

fn texel(texture: u32, is_color: bool, x: u32, y: u32) -> vec4<f32> {
    let word = word_at(TABLE_WORDS + textures[texture].first + y * textures[texture].width + x);
    return vec4<f32>(
        channel_of(word & 255u, is_color),
        channel_of((word >> 8u) & 255u, is_color),
        channel_of((word >> 16u) & 255u, is_color),
        f32(word >> 24u) * CODE_SHARE,
    );
}

fn blend(a: vec4<f32>, b: vec4<f32>, share: f32) -> vec4<f32> {
    return a + (b - a) * share;
}

fn lookup(texture: u32, is_color: bool, uvs: vec4<f32>) -> vec4<f32> {
    let flags = textures[texture].flags;
    let coordinates = select(uvs.xy, uvs.zw, (flags & 32u) != 0u);
    let row0 = textures[texture].row0;
    let row1 = textures[texture].row1;
    let u = row0.x * coordinates.x + row0.y * coordinates.y + row0.z;
    let v = row1.x * coordinates.x + row1.y * coordinates.y + row1.z;
    let width = textures[texture].width;
    let height = textures[texture].height;
    if ((flags & 16u) != 0u) {
        return texel(texture, is_color, nearest(u, flags & 3u, width), nearest(v, (flags >> 2u) & 3u, height));
    }
    let x = neighbours(u, flags & 3u, width);
    let y = neighbours(v, (flags >> 2u) & 3u, height);
    let above = blend(texel(texture, is_color, x.first, y.first), texel(texture, is_color, x.second, y.first), x.fraction);
    let below = blend(texel(texture, is_color, x.first, y.second), texel(texture, is_color, x.second, y.second), x.fraction);
    return blend(above, below, y.fraction);
}
