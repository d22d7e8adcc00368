//! The tone curves by table: what pictures that last a sixtieth of a second are mapped with.

use super::{ToneCurve, ToneMapping, aces, agx};
use crate::exponent::power;

/// Entries for each doubling of a radiance that the curve of `AgX` is looked up for: as many as the leading bits of a
/// mantissa tell apart.
const STEPS_PER_STOP: u32 = 1 << STEP_BITS;
const STEP_BITS: u32 = 8;
/// Radiance of the first entry, as a power of two, and how many doublings there are from there on: beyond both ends
/// the curve is level.
const FIRST_STOP: i32 = -20;
const STOPS: u32 = 25;
/// Entries for the codes of a screen.
const CODES: usize = 4096;

/// A [`ToneMapping`] made ready for many pixels: its codes are those of [`ToneMapping::to_srgb8`], or their
/// neighbours, in a tenth of the time.
#[derive(Debug, Clone)]
pub struct ToneTable {
    tone: ToneMapping,
    gain: f32,
    /// The contrast of `AgX` for radiances, [`STEPS_PER_STOP`] to a stop.
    contrast: Vec<f32>,
    /// The 8-bit code for each step of what the curve comes to.
    codes: Vec<u8>,
}

impl ToneTable {
    /// Takes well under a millisecond.
    pub fn new(tone: ToneMapping) -> Self {
        let middle = |entry: u32| f32::from_bits(first_bits() + (entry << SHIFT) + (1 << (SHIFT - 1)));
        let contrast = match tone.curve {
            ToneCurve::AgX => (0..STOPS * STEPS_PER_STOP)
                .map(|entry| agx::contrast(f64::from(middle(entry))) as f32)
                .collect(),
            ToneCurve::Aces | ToneCurve::Linear => Vec::new(),
        };
        // What the curve comes to is as far from linear as a screen's codes are, so that its steps are about even.
        let exponent = if tone.curve == ToneCurve::AgX { agx::DISPLAY_EXPONENT } else { 2.0 };
        let code = |step: usize| {
            let linear = power(step as f64 / (CODES - 1) as f64, exponent).clamp(0.0, 1.0);
            (super::encode_srgb(linear) * 255.0 + 0.5) as u8
        };
        Self { tone, gain: tone.gain() as f32, contrast, codes: (0..CODES).map(code).collect() }
    }

    /// What it was made of.
    pub fn tone(&self) -> ToneMapping {
        self.tone
    }

    /// The sRGB codes of 0 to 255.
    pub fn to_srgb8(&self, radiance: [f32; 3]) -> [u8; 3] {
        // No infinity, as in the mapping itself; what is no number counts as nothing.
        let exposed = radiance
            .map(|channel| if channel > 0.0 { f64::from((channel * self.gain).min(f32::MAX)) } else { 0.0 });
        let shown = match self.tone.curve {
            ToneCurve::AgX => agx::codes(exposed, |channel| self.contrast_of(channel as f32)),
            ToneCurve::Aces => aces(exposed).map(|linear| linear.max(0.0).sqrt()),
            ToneCurve::Linear => exposed.map(f64::sqrt),
        };
        shown.map(|value| {
            // Casts from below zero come to zero.
            let step = (value * (CODES - 1) as f64 + 0.5) as usize;
            self.codes.get(step.min(CODES - 1)).copied().unwrap_or_default()
        })
    }

    fn contrast_of(&self, radiance: f32) -> f64 {
        let entry = (radiance.max(0.0).to_bits().saturating_sub(first_bits()) >> SHIFT) as usize;
        let value = self.contrast.get(entry.min(self.contrast.len().saturating_sub(1)));
        f64::from(value.copied().unwrap_or_default())
    }
}

/// Bits of a number that an entry does not tell apart.
const SHIFT: u32 = f32::MANTISSA_DIGITS - 1 - STEP_BITS;

/// The bits of the first entry's radiance: those of larger numbers are larger.
const fn first_bits() -> u32 {
    (127 + FIRST_STOP).cast_unsigned() << (f32::MANTISSA_DIGITS - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_begins_at_a_power_of_two() {
        assert_eq!(f32::from_bits(first_bits()), 2.0_f32.powi(FIRST_STOP));
    }

    #[test]
    fn greys_stay_grey_and_rise() {
        for curve in ToneCurve::ALL {
            let table = ToneTable::new(ToneMapping { curve, exposure_stops: 0.0 });
            let mut last = 0;
            for step in -4000..2000 {
                let [red, green, blue] = table.to_srgb8([(f64::from(step) / 200.0).exp2() as f32; 3]);
                assert!(red == green && green == blue && red >= last, "{curve}");
                last = red;
            }
            assert_eq!((last, table.to_srgb8([f32::NAN, -1.0, 0.0])), (255, [0; 3]), "{curve}");
            assert_eq!(table.to_srgb8([f32::INFINITY; 3]), [255; 3], "{curve}");
        }
    }

    proptest! {
        #[test]
        fn codes_are_those_of_the_curve_or_their_neighbours(
            stops in prop::array::uniform3(-14.0_f32..7.0),
            exposure_stops in -3.0_f32..3.0,
        ) {
            let radiance = stops.map(f32::exp2);
            for curve in ToneCurve::ALL {
                let tone = ToneMapping { curve, exposure_stops };
                let (exact, found) = (tone.to_srgb8(radiance), ToneTable::new(tone).to_srgb8(radiance));
                for (exact, found) in exact.into_iter().zip(found) {
                    prop_assert!(exact.abs_diff(found) <= 1, "{curve} {radiance:?}: {exact} {found}");
                }
            }
        }
    }
}
