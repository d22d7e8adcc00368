//! Numbers that look random and are the same everywhere.

/// One of 2^32 numbers for each pair.
pub fn dice(seed: u32, index: u32) -> u32 {
    // The finaliser of MurmurHash3 (Appleby), over a Weyl step for each argument.
    let mut word = seed.wrapping_mul(0x9e37_79b9) ^ index.wrapping_mul(0x85eb_ca6b).wrapping_add(0x27d4_eb2f);
    word ^= word >> 16;
    word = word.wrapping_mul(0x85eb_ca6b);
    word ^= word >> 13;
    word = word.wrapping_mul(0xc2b2_ae35);
    word ^ (word >> 16)
}

/// From -1 to 1.
pub fn signed(seed: u32, index: u32) -> f32 {
    (dice(seed, index) >> 8) as f32 * (2.0 / 16_777_216.0) - 1.0
}
