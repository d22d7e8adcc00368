//! `AgX` by T. Sobotka (2022), with the matrices for sRGB primaries, the range of exposures and the polynomial of sixth
//! order for the default contrast from B. Wrensch, "Minimal `AgX` Implementation" (2023).

use super::{Exchange, exchange};
use crate::exponent::{log2, power};

const INSET: Exchange = [
    [0.078_433_599_999_999_2, 0.079_223_745_147_764_3],
    [0.042_328_242_261_012_3, 0.079_166_127_460_543_4],
    [0.042_375_654_905_705_1, 0.078_433_6],
];
const OUTSET: Exchange = [
    [-0.098_020_881_140_136_8, -0.099_029_744_079_720_5],
    [-0.052_896_851_757_456_2, -0.098_961_176_844_843_3],
    [-0.052_971_635_514_443_8, -0.098_043_450_117_124_1],
];
/// Exposures that the curve shows, in stops about radiance 1.
const DARKEST: f64 = -12.473_93;
const BRIGHTEST: f64 = 4.026_069;
/// The curve ends in codes for a display of this exponent.
pub(super) const DISPLAY_EXPONENT: f64 = 2.2;

/// The light that the screen is to give.
pub(super) fn shown(radiance: [f64; 3]) -> [f64; 3] {
    codes(radiance, contrast).map(|code| power(code, DISPLAY_EXPONENT))
}

/// The display's codes, about 0 to 1, with the contrast computed by the caller.
pub(super) fn codes(radiance: [f64; 3], contrast: impl Fn(f64) -> f64) -> [f64; 3] {
    exchange(exchange(radiance, &INSET).map(contrast), &OUTSET)
}

/// The code of a radiance, about 0 to 1.
pub(super) fn contrast(radiance: f64) -> f64 {
    // 2^-20 is below the darkest exposure, and has a logarithm.
    let stops = log2(radiance.max(1.0 / 1_048_576.0)).clamp(DARKEST, BRIGHTEST);
    let x = (stops - DARKEST) / (BRIGHTEST - DARKEST);
    (((((15.5 * x - 40.14) * x + 31.96) * x - 6.868) * x + 0.4298) * x + 0.1191) * x - 0.002_32
}
