//! From linear radiance to what a screen shows: a filmic curve, then sRGB.
//!
//! Only correctly rounded arithmetic is used, so the same film gives the same PNG on every machine.

use std::sync::LazyLock;

/// The display value of each channel, 0 to 255: exposure 1, the curve, then the nearest sRGB code.
pub fn to_srgb8(radiance: [f32; 3]) -> [u8; 3] {
    radiance.map(|channel| encode_srgb(filmic(channel)))
}

/// Rational fit to the ACES film curve (K. Narkowicz, "ACES Filmic Tone Mapping Curve", 2016), applied to each
/// channel: linear contrast in the middle, soft shoulder towards 1. What is not above zero gives 0.
fn filmic(radiance: f32) -> f32 {
    // Beyond this the curve is flat to the last code; it also keeps infinity out of the quotient.
    const CEILING: f32 = 1e4;
    let x = if radiance > 0.0 { radiance.min(CEILING) } else { 0.0 };
    let shown = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14);
    shown.clamp(0.0, 1.0)
}

/// The sRGB code (IEC 61966-2-1) nearest to a linear value of 0 to 1.
fn encode_srgb(linear: f32) -> u8 {
    /// Entry i is the linear value half-way between codes i and i + 1.
    static THRESHOLDS: LazyLock<[f32; 255]> =
        LazyLock::new(|| std::array::from_fn(|code| decode_srgb((code as f64 + 0.5) / 255.0) as f32));
    THRESHOLDS.partition_point(|threshold| *threshold <= linear) as u8
}

/// Linear value of an sRGB code value of 0 to 1.
fn decode_srgb(code: f64) -> f64 {
    if code <= 0.04045 {
        return code / 12.92;
    }
    let base = (code + 0.055) / 1.055;
    // x^2.4 = x² · (x²)^(1/5).
    base * base * fifth_root(base * base)
}

/// Newton's iteration for y⁵ = x, 0 < x ≤ 1, from above: it falls steadily and converges quadratically.
fn fifth_root(x: f64) -> f64 {
    let mut y = 1.0;
    for _ in 0..32 {
        let fourth = y * y * y * y;
        y = (4.0 * y + x / fourth) / 5.0;
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_those_of_the_standard() {
        for step in 1..=1000 {
            let code = f64::from(step) / 1000.0;
            let expected = if code <= 0.04045 { code / 12.92 } else { ((code + 0.055) / 1.055).powf(2.4) };
            assert!((decode_srgb(code) - expected).abs() < 1e-14, "{code}");
        }
        assert_eq!((encode_srgb(0.0), encode_srgb(1.0)), (0, 255));
        // The published code of linear middle grey.
        assert_eq!(encode_srgb(0.18), 118);
    }

    #[test]
    fn every_code_survives_decoding() {
        for code in 0..=255_u8 {
            assert_eq!(encode_srgb(decode_srgb(f64::from(code) / 255.0) as f32), code);
        }
    }

    #[test]
    fn the_curve_rises_and_ends_in_white() {
        let mut last = 0.0;
        for step in 0..20_000 {
            let shown = filmic(step as f32 * 1e-3);
            assert!(shown >= last, "{step}");
            last = shown;
        }
        assert_eq!(to_srgb8([f32::INFINITY, f32::NAN, -1.0]), [255, 0, 0]);
    }
}
