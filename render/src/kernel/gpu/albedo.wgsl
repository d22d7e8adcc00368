// The twin of albedo.rs: the table itself is made there.

const ALBEDO_EDGE = 32u;
// Words in front of it: the sRGB table.
const ALBEDO_FIRST = 256u;

fn albedo_entry(index: u32) -> vec2<f32> {
    let at = ALBEDO_FIRST + index * 2u;
    return vec2<f32>(bitcast<f32>(word_at(at)), bitcast<f32>(word_at(at + 1u)));
}

// Scale, then bias.
fn albedo(cosine_view: f32, roughness: f32) -> vec2<f32> {
    let x = square_root(min(cosine_view, 1.0)) * 31.0;
    let y = roughness * 31.0;
    let column = min(u32(x), ALBEDO_EDGE - 2u);
    let row = min(u32(y), ALBEDO_EDGE - 2u);
    let along = x - f32(column);
    let down = y - f32(row);
    let at = row * ALBEDO_EDGE + column;
    let above0 = albedo_entry(at);
    let above1 = albedo_entry(at + 1u);
    let below0 = albedo_entry(at + ALBEDO_EDGE);
    let below1 = albedo_entry(at + ALBEDO_EDGE + 1u);
    let upper = above0 + (above1 - above0) * along;
    let lower = below0 + (below1 - below0) * along;
    return upper + (lower - upper) * down;
}
