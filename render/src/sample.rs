//! Counter-based random numbers: a hash of (seed, pixel, sample, dimension), so that any number can be had without
//! those before it, on any device. `kernel/gpu/sample.wgsl` is the twin of this file.

/// First factor of [`hash`].
pub const HASH_FACTOR: u32 = 747_796_405;
/// Its addend.
pub const HASH_STEP: u32 = 2_891_336_453;
/// Its second factor.
pub const HASH_MIX: u32 = 277_803_737;
/// Between the words of a path's dimensions.
pub const DIMENSION_STEP: u32 = 0x9e37_79b9;
/// Between neighbouring random numbers: 2^-24.
pub const RANDOM_STEP: f32 = 1.0 / 16_777_216.0;

/// PCG-RXS-M-XS as a hash (O'Neill 2014; Jarzynski and Olano 2020).
#[inline(always)]
pub fn hash(word: u32) -> u32 {
    let state = word.wrapping_mul(HASH_FACTOR).wrapping_add(HASH_STEP);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(HASH_MIX);
    (word >> 22) ^ word
}

/// What all random numbers of one path come from.
#[inline(always)]
pub fn path_key(seed: u32, pixel: u32, sample: u32) -> u32 {
    hash(pixel.wrapping_add(hash(sample.wrapping_add(hash(seed)))))
}

/// The number of one dimension of a path: 0 or more, less than 1, 24 bits.
#[inline(always)]
pub fn random(key: u32, dimension: u32) -> f32 {
    let word = hash(key.wrapping_add(dimension.wrapping_mul(DIMENSION_STEP)));
    (word >> 8) as f32 * RANDOM_STEP
}

/// Dimension of the film position's first coordinate; the second follows.
pub const FILM: u32 = 0;
/// Dimension of the lens position's first coordinate; the second follows.
pub const LENS: u32 = 2;
/// Dimensions of the camera.
pub const CAMERA_DIMENSIONS: u32 = 4;
/// Dimensions of one bounce.
pub const BOUNCE_DIMENSIONS: u32 = 10;
/// Within a bounce: which light.
pub const LIGHT_CHOICE: u32 = 0;
/// Within a bounce: where on it; the second coordinate follows.
pub const LIGHT_POINT: u32 = 1;
/// Within a bounce: which lobe.
pub const LOBE_CHOICE: u32 = 3;
/// Within a bounce: which direction; the second coordinate follows.
pub const DIRECTION: u32 = 4;
/// Within a bounce: whether the path goes on.
pub const ROULETTE: u32 = 6;
/// Within a bounce: whether its ray passes through blended surfaces.
pub const SEE_THROUGH: u32 = 7;
/// Within a bounce: where in the texel of an environment map; the second coordinate follows.
pub const TEXEL_POINT: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_even_and_dimensions_differ() {
        let mean = |dimension: u32| {
            (0..4096).map(|pixel| f64::from(random(path_key(1, pixel, 0), dimension))).sum::<f64>() / 4096.0
        };
        for dimension in 0..32 {
            assert!((mean(dimension) - 0.5).abs() < 0.02, "{dimension}");
        }
        let key = path_key(1, 2, 3);
        assert_ne!(random(key, 0).to_bits(), random(key, 1).to_bits());
        assert_ne!(path_key(1, 2, 3), path_key(2, 2, 3));
    }
}
