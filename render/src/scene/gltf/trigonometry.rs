//! Sine, cosine and tangent by Taylor series: multiplications, additions and divisions only, so that every machine
//! reads the same numbers out of the same file.

/// Terms of the series: for arguments up to π the error is below 1e-16 before rounding.
const TERMS: u32 = 16;

/// Sine and cosine of an angle in radians; of angles beyond ±1e6, of 0.
pub(crate) fn sin_cos(angle: f64) -> (f64, f64) {
    if angle.abs() > 1e6 || angle.is_nan() {
        return (0.0, 1.0);
    }
    let turns = (angle / std::f64::consts::TAU).round();
    series(angle - turns * std::f64::consts::TAU)
}

/// tan x for 0 < x < π/2.
pub(super) fn tangent(x: f64) -> f64 {
    let (sine, cosine) = series(x);
    sine / cosine
}

fn series(x: f64) -> (f64, f64) {
    let square = x * x;
    let (mut sine, mut cosine) = (0.0, 0.0);
    let (mut sine_term, mut cosine_term) = (x, 1.0);
    for step in 0..TERMS {
        sine += sine_term;
        cosine += cosine_term;
        let n = f64::from(2 * step + 1);
        cosine_term = -cosine_term * square / (n * (n + 1.0));
        sine_term = -sine_term * square / ((n + 1.0) * (n + 2.0));
    }
    (sine, cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_are_sine_cosine_and_tangent() {
        for step in 1..1550 {
            let x = f64::from(step) * 1e-3;
            assert!((tangent(x) / x.tan() - 1.0).abs() < 1e-12, "{x}");
        }
        for step in -100..100 {
            let x = f64::from(step) * 0.37;
            let (sine, cosine) = sin_cos(x);
            assert!((sine - x.sin()).abs() < 1e-12 && (cosine - x.cos()).abs() < 1e-12, "{x}");
        }
    }
}
