// The twin of environment.rs.

const WHOLE = 16777216.0;

struct Sky {
    direction: vec3<f32>,
    density: f32,
}

struct MapPlace {
    u: f32,
    v: f32,
}

fn columns_at(row: u32) -> u32 {
    let width = params.environment_width;
    return params.environment + width * params.environment_height + row * (width + 1u);
}

fn rows_at() -> u32 {
    return columns_at(params.environment_height);
}

fn cosines_at() -> u32 {
    return rows_at() + params.environment_height + 1u;
}

fn densities_at() -> u32 {
    return cosines_at() + params.environment_height + 1u;
}

fn within_turn(turn: f32) -> f32 {
    let share = turn - floor(turn);
    return select(0.0, share, share < 1.0);
}

fn mix_texels(a: vec3<f32>, b: vec3<f32>, share: f32) -> vec3<f32> {
    return a * (1.0 - share) + b * share;
}

fn decode_texel(texel: u32) -> vec3<f32> {
    let exponent = texel >> 24u;
    if (exponent < 96u) {
        return vec3<f32>(0.0, 0.0, 0.0);
    }
    let unit = bitcast<f32>((exponent - 9u) << 23u);
    return vec3<f32>(f32(texel & 255u), f32((texel >> 8u) & 255u), f32((texel >> 16u) & 255u)) * unit;
}

fn environment_texel(column: u32, row: u32) -> vec3<f32> {
    return decode_texel(word_at(params.environment + row * params.environment_width + column));
}

fn map_place(direction: vec3<f32>) -> MapPlace {
    let u = turn_of(direction.x, -direction.z) + 0.5 - params.environment_rotation;
    let horizontal = square_root(direction.x * direction.x + direction.z * direction.z);
    return MapPlace(within_turn(u), min(turn_of(horizontal, direction.y) * 2.0, 1.0));
}

fn environment_radiance(direction: vec3<f32>) -> vec3<f32> {
    let place = map_place(direction);
    let width = params.environment_width;
    let height = params.environment_height;
    let x = place.u * f32(width) - 0.5;
    let y = max(place.v * f32(height) - 0.5, 0.0);
    let left = floor(x);
    let top = floor(y);
    let across = x - left;
    let down = y - top;
    var x0 = width - 1u;
    if (left >= 0.0) {
        x0 = min(u32(left), width - 1u);
    }
    let x1 = select(0u, x0 + 1u, x0 + 1u < width);
    let y0 = min(u32(top), height - 1u);
    let y1 = min(y0 + 1u, height - 1u);
    let upper = mix_texels(environment_texel(x0, y0), environment_texel(x1, y0), across);
    let lower = mix_texels(environment_texel(x0, y1), environment_texel(x1, y1), across);
    return mix_texels(upper, lower, down) * params.environment_strength;
}

fn texel_density(column: u32, row: u32) -> f32 {
    let columns = columns_at(row) + column;
    let rows = rows_at() + row;
    let of_row = f32(word_at(rows + 1u) - word_at(rows));
    let of_column = f32(word_at(columns + 1u) - word_at(columns));
    return of_row * of_column * bitcast<f32>(word_at(densities_at() + row));
}

fn environment_density(direction: vec3<f32>) -> f32 {
    let place = map_place(direction);
    let column = min(u32(place.u * f32(params.environment_width)), params.environment_width - 1u);
    let row = min(u32(place.v * f32(params.environment_height)), params.environment_height - 1u);
    return texel_density(column, row);
}

fn search(first: u32, count: u32, chance: f32) -> u32 {
    let number = u32(chance * WHOLE);
    var low = 0u;
    var high = count;
    while (high - low > 1u) {
        let middle = (low + high) / 2u;
        if (word_at(first + middle) <= number) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

fn sample_environment(numbers: vec4<f32>) -> Sky {
    let row = search(rows_at(), params.environment_height, numbers.x);
    let column = search(columns_at(row), params.environment_width, numbers.y);
    let top = bitcast<f32>(word_at(cosines_at() + row));
    let bottom = bitcast<f32>(word_at(cosines_at() + row + 1u));
    let y = top + (bottom - top) * numbers.w;
    let horizontal = square_root(1.0 - y * y);
    let inverse_width = reciprocal(f32(params.environment_width));
    let u = (f32(column) + numbers.z) * inverse_width + params.environment_rotation - 0.5;
    let turned = sin_cos_turn(within_turn(u));
    let direction = vec3<f32>(turned.x * horizontal, y, -turned.y * horizontal);
    return Sky(direction, texel_density(column, row));
}
