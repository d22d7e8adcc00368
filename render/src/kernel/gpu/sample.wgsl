// The twin of sample.rs.

const FILM = 0u;
const LENS = 2u;
const CAMERA_DIMENSIONS = 4u;
const BOUNCE_DIMENSIONS = 10u;
const LIGHT_CHOICE = 0u;
const LIGHT_POINT = 1u;
const LOBE_CHOICE = 3u;
const DIRECTION = 4u;
const ROULETTE = 6u;
const SEE_THROUGH = 7u;
const TEXEL_POINT = 8u;

fn hash(word: u32) -> u32 {
    let state = word * 747796405u + 2891336453u;
    let mixed = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (mixed >> 22u) ^ mixed;
}

fn path_key(seed: u32, pixel: u32, sample_index: u32) -> u32 {
    return hash(pixel + hash(sample_index + hash(seed)));
}

fn random(key: u32, dimension: u32) -> f32 {
    let word = hash(key + dimension * 0x9e3779b9u);
    return f32(word >> 8u) * (1.0 / 16777216.0);
}
