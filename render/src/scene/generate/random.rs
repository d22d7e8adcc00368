//! Random numbers of the generators: the same seed gives the same scene everywhere.

/// `SplitMix64` (G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// At least 0, below 1.
    pub(super) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// Between the two.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with the given probability.
    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// One of a list that is not empty.
    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[(self.next() % list.len() as u64) as usize]
    }
}

const fn mix(state: u64) -> u64 {
    let a = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    b ^ (b >> 31)
}

/// Smooth noise in the plane, 0 to 1: random values on a grid of unit cells, blended by smoothstep.
pub(super) fn value_noise(seed: u64, x: f32, z: f32) -> f32 {
    let (cell_x, cell_z) = (x.floor(), z.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (smooth(x - cell_x), smooth(z - cell_z));
    let corner = |dx: i64, dz: i64| {
        let (column, row) = (cell_x as i64 + dx, cell_z as i64 + dz);
        let key = (column as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (row as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        (mix(seed ^ key) >> 40) as f32 / (1_u32 << 24) as f32
    };
    let near = corner(0, 0) * (1.0 - u) + corner(1, 0) * u;
    let far = corner(0, 1) * (1.0 - u) + corner(1, 1) * u;
    near * (1.0 - v) + far * v
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_reference_implementation() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn noise_is_continuous_and_within_its_range() {
        for step in -500..500 {
            let x = step as f32 * 0.01;
            let here = value_noise(7, x, 0.3);
            assert!((0.0..=1.0).contains(&here));
            assert!((here - value_noise(7, x + 0.001, 0.3)).abs() < 0.01);
        }
    }
}
