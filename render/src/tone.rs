//! From linear radiance to what a screen shows: exposure, a tone curve, then sRGB.
//!
//! Only correctly rounded arithmetic is used, so the same film gives the same PNG on every machine.

mod agx;
mod table;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::table::ToneTable;
use crate::exponent::{exp2, power};

/// Largest correction of the exposure, stops: from one end to the other of what `f32` can hold.
pub const MAX_EXPOSURE_STOPS: f32 = 64.0;

/// How radiance without an upper end becomes display values of 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToneCurve {
    /// `AgX`: saturated lights fade to white as they do on film, hues stay.
    #[default]
    AgX,
    /// ACES: the contrast of cinema, lights keep their saturation longer.
    Aces,
    /// Radiance as it is, cut off at 1: for measuring and for comparing.
    Linear,
}

impl ToneCurve {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AgX, Self::Aces, Self::Linear];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AgX => "agx",
            Self::Aces => "aces",
            Self::Linear => "linear",
        }
    }
}

impl fmt::Display for ToneCurve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no tone curve has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no tone curve; choose agx, aces or linear")]
pub struct ToneCurveError(String);

impl FromStr for ToneCurve {
    type Err = ToneCurveError;

    fn from_str(text: &str) -> Result<Self, ToneCurveError> {
        Self::ALL
            .into_iter()
            .find(|curve| curve.name() == text)
            .ok_or_else(|| ToneCurveError(text.to_owned()))
    }
}

/// Everything between a pixel's radiance and its code in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ToneMapping {
    /// The curve.
    pub curve: ToneCurve,
    /// Radiance is multiplied by 2 to the power of this first. Kept within ±[`MAX_EXPOSURE_STOPS`];
    /// what is no number counts as 0.
    pub exposure_stops: f32,
}

impl ToneMapping {
    /// The nearest sRGB codes of 0 to 255.
    pub fn to_srgb8(self, radiance: [f32; 3]) -> [u8; 3] {
        self.display(radiance).map(|linear| (encode_srgb(linear) * 255.0 + 0.5) as u8)
    }

    /// The nearest sRGB codes of 0 to 65535.
    pub fn to_srgb16(self, radiance: [f32; 3]) -> [u16; 3] {
        self.display(radiance).map(|linear| (encode_srgb(linear) * 65535.0 + 0.5) as u16)
    }

    /// What radiance is multiplied by first.
    fn gain(self) -> f64 {
        let wanted = self.exposure_stops;
        let stops = if wanted.is_nan() { 0.0 } else { wanted.clamp(-MAX_EXPOSURE_STOPS, MAX_EXPOSURE_STOPS) };
        exp2(f64::from(stops))
    }

    /// The light that the screen is to give, 0 to 1 for each channel. What is not above zero gives 0.
    fn display(self, radiance: [f32; 3]) -> [f64; 3] {
        let gain = self.gain();
        // No infinity: it would leave the curves' quotients as NaN.
        let exposed =
            radiance.map(|channel| if channel > 0.0 { f64::from(channel.min(f32::MAX)) * gain } else { 0.0 });
        let shown = match self.curve {
            ToneCurve::AgX => agx::shown(exposed),
            ToneCurve::Aces => aces(exposed),
            ToneCurve::Linear => exposed,
        };
        shown.map(|channel| channel.clamp(0.0, 1.0))
    }
}

/// What each channel (one a row) takes of the two others, in the order red, green, blue; it gives up as much of its own,
/// so grey stays exactly grey. These are the published matrices without their diagonals, whose rows add up to one but
/// for the last digits.
type Exchange = [[f64; 2]; 3];

fn exchange([r, g, b]: [f64; 3], takes: &Exchange) -> [f64; 3] {
    let [[rg, rb], [gr, gb], [br, bg]] = *takes;
    [r + rg * (g - r) + rb * (b - r), g + gr * (r - g) + gb * (b - g), b + br * (r - b) + bg * (g - b)]
}

/// ACES: S. Hill's fit of the reference rendering and sRGB output transforms, with its matrices from and to sRGB
/// primaries (in M. Pettineo's "`BakingLab`", 2016).
fn aces(radiance: [f64; 3]) -> [f64; 3] {
    const INPUT: Exchange = [[0.354_58, 0.048_23], [0.076, 0.015_66], [0.028_4, 0.133_83]];
    const OUTPUT: Exchange = [[-0.531_08, -0.073_67], [-0.102_08, -0.006_05], [-0.003_27, -0.072_76]];
    let fit =
        |x: f64| (x * (x + 0.024_578_6) - 0.000_090_537) / (x * (0.983_729 * x + 0.432_951) + 0.238_081);
    exchange(exchange(radiance, &INPUT).map(fit), &OUTPUT)
}

/// The sRGB code (IEC 61966-2-1), 0 to 1, of a linear value of 0 to 1.
fn encode_srgb(linear: f64) -> f64 {
    if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * power(linear, 1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(curve: ToneCurve, exposure_stops: f32) -> ToneMapping {
        ToneMapping { curve, exposure_stops }
    }

    /// The sRGB code of 0 to 65535, by the library's functions.
    fn srgb16(linear: f64) -> f64 {
        65535.0 * if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
    }

    #[test]
    fn names_survive_and_others_are_refused_with_the_choice() {
        for curve in ToneCurve::ALL {
            assert_eq!(curve.to_string().parse(), Ok(curve));
        }
        assert_eq!(ToneCurve::default(), ToneCurve::AgX);
        let refused = "filmic".parse::<ToneCurve>().unwrap_err().to_string();
        assert_eq!(refused, "`filmic` is no tone curve; choose agx, aces or linear");
    }

    #[test]
    fn linear_codes_are_those_of_the_standard() {
        let linear = mapping(ToneCurve::Linear, 0.0);
        // The published code of linear middle grey.
        assert_eq!(linear.to_srgb8([0.18; 3]), [118; 3]);
        for code in 0..=255_u8 {
            let value = f64::from(code) / 255.0;
            let decoded = if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
            assert_eq!(linear.to_srgb8([decoded as f32; 3]), [code; 3]);
            assert_eq!(linear.to_srgb16([decoded as f32; 3]), [u16::from(code) * 257; 3]);
        }
    }

    #[test]
    fn curves_rise_stay_grey_and_begin_in_black() {
        for curve in ToneCurve::ALL {
            let tone = mapping(curve, 0.0);
            assert_eq!(tone.to_srgb16([0.0; 3]), [0; 3], "{curve}");
            assert_eq!(tone.to_srgb8([f32::NAN, -1.0, f32::NEG_INFINITY]), [0; 3], "{curve}");
            assert_eq!(tone.to_srgb8([f32::INFINITY; 3]), [255; 3], "{curve}");
            let mut last = 0;
            for step in -4000..2000 {
                let grey = (f64::from(step) / 200.0).exp2() as f32;
                let [red, green, blue] = tone.to_srgb16([grey; 3]);
                assert!(red == green && green == blue, "{curve} tints {grey}");
                assert!(red >= last, "{curve} falls at {grey}");
                last = red;
            }
            assert!(last > 65_000, "{curve} does not reach white");
        }
    }

    #[test]
    fn known_values() {
        // Middle grey: the published polynomial at (log2(0.18) + 12.47393) / 16.5 = 0.606061.
        let x = (0.18_f64.log2() + 12.473_93) / (4.026_069 + 12.473_93);
        let code = 15.5 * x.powi(6) - 40.14 * x.powi(5) + 31.96 * x.powi(4) - 6.868 * x.powi(3)
            + 0.4298 * x * x
            + 0.1191 * x
            - 0.002_32;
        let [agx, ..] = mapping(ToneCurve::AgX, 0.0).to_srgb16([0.18; 3]);
        assert!((f64::from(agx) - srgb16(code.powf(2.2))).abs() <= 1.0);
        // Radiance 1 through Hill's fit: 1.024488063 / 1.654761.
        let [aces, ..] = mapping(ToneCurve::Aces, 0.0).to_srgb16([1.0; 3]);
        assert!((f64::from(aces) - srgb16(1.024_488_063 / 1.654_761)).abs() <= 1.0);
    }

    #[test]
    fn saturated_light_fades_under_agx() {
        let tone = mapping(ToneCurve::AgX, 0.0);
        let [red, green, blue] = tone.to_srgb8([16.0, 0.0, 0.0]);
        assert!(red > 200 && green > 60 && blue > 60, "{red} {green} {blue}");
        assert_eq!(mapping(ToneCurve::Linear, 0.0).to_srgb8([16.0, 0.0, 0.0]), [255, 0, 0]);
    }

    #[test]
    fn a_stop_is_a_factor_of_two() {
        for curve in ToneCurve::ALL {
            for stops in -6..=6_i16 {
                let factor = 2.0_f32.powi(i32::from(stops));
                let (exposed, plain) = (mapping(curve, f32::from(stops)), mapping(curve, 0.0));
                let color = [0.3, 0.07, 1.9];
                assert_eq!(exposed.to_srgb16(color), plain.to_srgb16(color.map(|channel| channel * factor)));
            }
            let half = mapping(curve, 0.5).to_srgb16([0.1; 3]);
            let by_hand = mapping(curve, 0.0).to_srgb16([0.1 * 2.0_f32.sqrt(); 3]);
            assert!(half[0].abs_diff(by_hand[0]) <= 1);
            assert_eq!(mapping(curve, f32::NAN).to_srgb8([0.2; 3]), mapping(curve, 0.0).to_srgb8([0.2; 3]));
        }
    }
}
