//! Logarithm, exponential and powers of correctly rounded arithmetic only: the library's differ between machines.

use std::f64::consts::{LN_2, LOG2_E, SQRT_2};

/// Bits of a binary64 number's fraction.
const FRACTION_BITS: u32 = 52;
const FRACTION_MASK: u64 = (1 << FRACTION_BITS) - 1;
const EXPONENT_BIAS: i64 = 1023;

/// The logarithm to base 2 of a positive normal number; relative error of the argument below 1e-15.
pub fn log2(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> FRACTION_BITS) & 0x7ff).cast_signed() - EXPONENT_BIAS;
    let mut mantissa = f64::from_bits((bits & FRACTION_MASK) | ((EXPONENT_BIAS as u64) << FRACTION_BITS));
    if mantissa > SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), whose argument is at most 0.172: ten terms of the series are exact to 1e-16.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = (0..10_u32).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    exponent as f64 + 2.0 * s * series * LOG2_E
}

/// 2 to the power of x, for x of -1000 to 1000; exact for whole x.
pub fn exp2(x: f64) -> f64 {
    /// 1 / k, from k = 1.
    const INVERSES: [f64; 13] = {
        let mut inverses = [0.0; 13];
        let mut k = 0;
        while k < inverses.len() {
            inverses[k] = 1.0 / (k + 1) as f64;
            k += 1;
        }
        inverses
    };
    let whole = (x + 0.5).floor();
    let t = (x - whole) * LN_2;
    // Taylor's series in nested form; |t| is at most 0.35.
    let fraction = INVERSES.iter().rev().fold(1.0, |sum, inverse| 1.0 + t * sum * inverse);
    fraction * f64::from_bits(((whole as i64 + EXPONENT_BIAS) as u64) << FRACTION_BITS)
}

/// A positive normal number to a power (the result between 2^-1000 and 2^1000); 0 for what is not above zero.
pub fn power(base: f64, exponent: f64) -> f64 {
    if base < f64::MIN_POSITIVE { 0.0 } else { exp2(exponent * log2(base)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_library() {
        for step in 1..20_000 {
            let x = f64::from(step) * 7.3e-4;
            assert!((log2(x) - x.log2()).abs() < 1e-14, "{x}");
            assert!((exp2(x - 7.0) / (x - 7.0).exp2() - 1.0).abs() < 1e-14, "{x}");
            assert!((power(x, 2.2) / x.powf(2.2) - 1.0).abs() < 1e-13, "{x}");
        }
        for x in [1e-300, 1e-38, 3e38, 1e300] {
            assert!((log2(x) / x.log2() - 1.0).abs() < 1e-15, "{x}");
        }
    }

    #[test]
    fn whole_powers_are_exact() {
        for whole in -900_i32..=900 {
            assert_eq!(exp2(f64::from(whole)), 2.0_f64.powi(whole));
            assert_eq!(log2(2.0_f64.powi(whole)), f64::from(whole));
        }
        assert_eq!((power(0.0, 2.2), power(-1.0, 2.2), power(1.0, 2.4)), (0.0, 0.0, 1.0));
    }
}
