//! Three channels in 32 bits, by the arithmetic of OpenGL's `EXT_texture_shared_exponent`: nine bits of each channel, five of
//! an exponent that they share. Integers and powers of two only, so every machine gets the same bits.

/// Bits of a channel.
const MANTISSA_BITS: i32 = 9;
/// What is added to the exponent, which has five bits then.
const BIAS: i32 = 15;
/// The brightest that there is: (2^9 - 1) / 2^9 * 2^16.
pub const MAX_RADIANCE: f32 = 65_408.0;

/// 2^`exponent`, for exponents of normal numbers.
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits((exponent + 127).cast_unsigned() << 23)
}

/// The exponent of a number that is not negative: floor(log2), for 0 and subnormals -127.
fn floor_log2(value: f32) -> i32 {
    (value.to_bits() >> 23).cast_signed() - 127
}

/// The nearest that can be said of a radiance; what is brighter than [`MAX_RADIANCE`] is as bright as that.
pub fn pack(radiance: [f32; 3]) -> u32 {
    // No number is no light.
    let clamped = radiance.map(|channel| if channel > 0.0 { channel.min(MAX_RADIANCE) } else { 0.0 });
    let largest = clamped.into_iter().fold(0.0, f32::max);
    let exponent = floor_log2(largest).max(-BIAS - 1) + 1 + BIAS;
    // Rounding up may need one bit more.
    let exponent = exponent + i32::from(mantissa(largest, exponent) == 1 << MANTISSA_BITS);
    let [red, green, blue] = clamped.map(|channel| mantissa(channel, exponent));
    red | green << 9 | blue << 18 | exponent.cast_unsigned() << 27
}

fn mantissa(channel: f32, exponent: i32) -> u32 {
    // A multiplication with a power of two is exact.
    (channel * power_of_two(BIAS + MANTISSA_BITS - exponent) + 0.5) as u32
}

/// The radiance that is said; every word says one.
pub fn unpack(word: u32) -> [f32; 3] {
    let scale = power_of_two((word >> 27).cast_signed() - BIAS - MANTISSA_BITS);
    [word, word >> 9, word >> 18].map(|channel| (channel & 0x1ff) as f32 * scale)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_be_said_exactly_is() {
        for radiance in [[0.0; 3], [1.0, 0.5, 0.25], [65_408.0, 128.0, 0.0], [3.0, 2.0, 1.0]] {
            assert_eq!(unpack(pack(radiance)), radiance);
        }
        assert_eq!(pack([1.0, 0.0, 0.0]), 16 << 27 | 256, "a change of this is a change of the protocol");
    }

    #[test]
    fn what_is_no_radiance_or_too_bright_gives_a_word_all_the_same() {
        assert_eq!(unpack(pack([f32::NAN, -1.0, f32::NEG_INFINITY])), [0.0; 3]);
        assert_eq!(unpack(pack([f32::INFINITY, 1e9, 1.0])), [MAX_RADIANCE, MAX_RADIANCE, 0.0]);
        // Rounds up to where a bit more is needed.
        assert_eq!(unpack(pack([1.0 - f32::EPSILON / 2.0, 0.0, 0.0])), [1.0, 0.0, 0.0]);
        assert_eq!(pack([MAX_RADIANCE; 3]) >> 27, 31);
    }

    proptest! {
        #[test]
        fn the_largest_channel_is_right_to_a_512th(channels in prop::array::uniform3(1e-4_f32..65_000.0)) {
            let (largest, said) = (channels.into_iter().fold(0.0, f32::max), unpack(pack(channels)));
            for (channel, said) in channels.into_iter().zip(said) {
                prop_assert!((channel - said).abs() <= largest / 512.0, "{channel}: {said}");
            }
        }

        #[test]
        fn what_was_said_is_said_the_same_again(word: u32) {
            let radiance = unpack(word);
            prop_assert!(radiance.iter().all(|channel| channel.is_finite() && *channel >= 0.0));
            prop_assert_eq!(unpack(pack(radiance)), radiance);
        }
    }
}
