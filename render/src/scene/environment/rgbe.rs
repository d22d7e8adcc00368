//! A radiance in four bytes: three mantissas of eight bits and an exponent that they share.

use crate::limit::MAX_RADIANCE;

/// Smallest exponent that means anything but black: its values, from 2^-40, are far below what any picture shows, and
/// stay far above those that some devices flush to zero.
pub(super) const MIN_EXPONENT: u8 = 96;

/// 2 to the power of `exponent - 136`, for `exponent` of 10 or more.
fn unit(exponent: u8) -> f32 {
    // The bits of a binary32 power of two: its exponent, biased by 127.
    f32::from_bits((u32::from(exponent) - 9) << 23)
}

/// The nearest representable texel. What is no number or negative counts as 0, what is over [`MAX_RADIANCE`] as that.
pub(super) fn encode(radiance: [f32; 3]) -> [u8; 4] {
    let radiance = radiance.map(|value| if value > 0.0 { value.min(MAX_RADIANCE) } else { 0.0 });
    let brightest = radiance.iter().fold(0.0_f32, |most, value| most.max(*value));
    // 2^(e-127) <= brightest < 2^(e-126), so that a mantissa of it lies in 128 to 256 for the exponent e + 2.
    let mut exponent = (brightest.to_bits() >> 23) as u8 + 2;
    if exponent < MIN_EXPONENT {
        return [0; 4];
    }
    // Exact: a division by a power of two, in a type with room to spare.
    let mantissa = |value: f32, exponent: u8| (f64::from(value) / f64::from(unit(exponent)) + 0.5).floor();
    if mantissa(brightest, exponent) > 255.0 {
        exponent += 1;
    }
    let [red, green, blue] = radiance.map(|value| mantissa(value, exponent) as u8);
    [red, green, blue, exponent]
}

/// What four bytes mean: exact, and finite for any bytes.
pub(super) fn decode([red, green, blue, exponent]: [u8; 4]) -> [f32; 3] {
    decode_from([red, green, blue, exponent], MIN_EXPONENT)
}

/// [`decode`] for pictures of others, whose exponents go on to the smallest normal numbers.
pub(super) fn decode_foreign(texel: [u8; 4]) -> [f32; 3] {
    decode_from(texel, 10)
}

fn decode_from([red, green, blue, exponent]: [u8; 4], least: u8) -> [f32; 3] {
    if exponent < least {
        return [0.0; 3];
    }
    [red, green, blue].map(|mantissa| f32::from(mantissa) * unit(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(decode([128, 64, 0, 129]), [1.0, 0.5, 0.0]);
        assert_eq!(encode([1.0, 0.5, 0.0]), [128, 64, 0, 129]);
        assert_eq!(encode([0.0; 3]), [0; 4]);
        assert_eq!(encode([f32::NAN, -1.0, 1.0]), [0, 0, 128, 129]);
        // 255.6 rounds to 256, which needs the next exponent.
        assert_eq!(encode([255.6 / 128.0, 0.0, 0.0]), [128, 0, 0, 130]);
        assert_eq!(encode([1e-20; 3]), [0; 4]);
        assert_eq!(decode([255, 255, 255, MIN_EXPONENT - 1]), [0.0; 3]);
        assert!(decode(encode([f32::INFINITY, 0.0, 0.0]))[0] <= MAX_RADIANCE);
        assert!(decode([255; 4]).iter().all(|value| value.is_finite()));
    }

    #[test]
    fn every_texel_of_the_format_survives() {
        for exponent in MIN_EXPONENT..=147 {
            for brightest in 128..=255 {
                let texel = [brightest, 255 - brightest, brightest / 3, exponent];
                assert_eq!(encode(decode(texel)), texel);
            }
        }
    }

    #[test]
    fn rounding_is_to_the_nearest() {
        for step in 1..5000_u32 {
            let value = step as f32 * 0.003_711;
            let [back, ..] = decode(encode([value, 0.0, 0.0]));
            assert!((back - value).abs() <= value / 256.0, "{value} became {back}");
        }
    }
}
