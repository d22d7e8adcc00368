//! The sum of a pixel's samples, in fixed point: integers add up to the same whatever their order, so a pixel's
//! samples may be taken in any ranges, anywhere, and merged in any order (docs/decisions/003-fixed-point-sums.md).
//! `kernel/gpu/sum.wgsl` is the twin of this file.

use bytemuck::{Pod, Zeroable};

use crate::math::Vec3;

/// Bits behind the point: a sample's radiance is counted in steps of 2^-24.
pub const FRACTION_BITS: u32 = 24;
/// Bits of the largest radiance of a sample, the last `f32` before 2^20: 2^20 samples of it still fit into 64 bits.
const MAX_SAMPLE_BITS: u32 = 0x497f_ffff;
/// Bits of infinity: above are those of what is no number, and of negative numbers.
const INFINITY_BITS: u32 = 0x7f80_0000;

/// The radiance of some samples, added up: red, green, blue in steps of 2^-24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct RadianceSum(pub [u64; 3]);

impl RadianceSum {
    /// Largest channel of the sum of so many samples.
    pub fn most(samples: u32) -> u64 {
        fixed(f32::from_bits(MAX_SAMPLE_BITS)).saturating_mul(u64::from(samples))
    }

    /// With one more sample. Its radiance is cut off to steps of 2^-24 and below 2^20; what is negative or no number
    /// counts as black.
    #[inline(always)]
    pub fn add(&mut self, radiance: Vec3) {
        let [red, green, blue] = &mut self.0;
        *red += fixed(radiance.x);
        *green += fixed(radiance.y);
        *blue += fixed(radiance.z);
    }

    /// The sum of both.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        let mut sum = self.0;
        for (channel, more) in sum.iter_mut().zip(other.0) {
            *channel = channel.saturating_add(more);
        }
        Self(sum)
    }

    /// The mean over so many samples; black if there are none.
    pub fn mean(self, samples: u32) -> [f32; 3] {
        let steps = (1_u64 << FRACTION_BITS) as f64 * f64::from(samples.max(1));
        self.0.map(|channel| (channel as f64 / steps) as f32)
    }
}

/// In steps of 2^-24.
#[inline(always)]
fn fixed(radiance: f32) -> u64 {
    let bits = radiance.to_bits();
    if bits > INFINITY_BITS {
        return 0;
    }
    let limited = f32::from_bits(bits.min(MAX_SAMPLE_BITS));
    // Both conversions cut off what is behind the point; the difference and the product are exact.
    let whole = limited as u32;
    let fraction = ((limited - whole as f32) * 16_777_216.0) as u32;
    u64::from(whole) << FRACTION_BITS | u64::from(fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::math::vec3;

    fn sum(samples: &[f32]) -> RadianceSum {
        let mut sum = RadianceSum::default();
        for sample in samples {
            sum.add(vec3(*sample, sample * 0.5, 0.0));
        }
        sum
    }

    #[test]
    fn values_with_a_meaning_in_fixed_point_are_exact_and_others_are_cut_off() {
        let step = 1.0 / 16_777_216.0;
        assert_eq!(fixed(1.5), 3 << 23);
        assert_eq!((fixed(step), fixed(step * 0.999), fixed(1e-40)), (1, 0, 0));
        assert_eq!(fixed(1_048_575.0), 1_048_575 << 24);
        for nothing in [0.0, -0.0, -1.0, f32::NAN, -f32::NAN, f32::NEG_INFINITY] {
            assert_eq!(fixed(nothing), 0, "{nothing}");
        }
        for much in [1_048_576.0, 1e30, f32::MAX, f32::INFINITY] {
            assert_eq!(fixed(much), RadianceSum::most(1), "{much}");
        }
        assert_eq!(sum(&[0.25, 0.5]).mean(2), [0.375, 0.1875, 0.0]);
        assert_eq!(RadianceSum::default().mean(0), [0.0; 3]);
    }

    #[test]
    fn as_many_of_the_brightest_samples_as_there_may_be_fit() {
        let samples = p2c2r_protocol::limit::MAX_SAMPLES_PER_PIXEL;
        assert_eq!(RadianceSum::most(samples) / RadianceSum::most(1), u64::from(samples));
        let brightest = RadianceSum([RadianceSum::most(samples); 3]);
        assert_eq!(brightest.mean(samples), [f32::from_bits(MAX_SAMPLE_BITS); 3]);
    }

    proptest! {
        #[test]
        fn fixed_point_is_the_radiance_but_for_less_than_a_step(radiance in 0.0_f32..1_048_000.0) {
            let exact = f64::from(radiance) * 16_777_216.0;
            prop_assert_eq!(fixed(radiance), exact as u64);
        }

        #[test]
        fn parts_in_any_order_make_the_whole(
            samples in prop::collection::vec(prop_oneof![0.0_f32..2.0, 0.0_f32..1e7, Just(f32::NAN)], 1..64),
            cut in any::<prop::sample::Index>(),
        ) {
            let (a, b) = samples.split_at(cut.index(samples.len()));
            let whole = sum(&samples);
            prop_assert_eq!(sum(a).merged(sum(b)), whole);
            prop_assert_eq!(sum(b).merged(sum(a)), whole);
            let backwards: Vec<f32> = samples.iter().rev().copied().collect();
            prop_assert_eq!(sum(&backwards), whole);
        }
    }
}
