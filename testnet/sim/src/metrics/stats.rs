//! Means and quantiles.

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// The sample's standard deviation; 0 of fewer than two.
pub fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let sum: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (sum / (values.len() - 1) as f64).sqrt()
}

/// Quantiles of values, by linear interpolation between their order statistics; 0 of nothing.
pub fn quantiles<const N: usize>(values: &[f64], at: [f64; N]) -> [f64; N] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    at.map(|at| {
        let place = at.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
        let (low, share) = (place.floor() as usize, place.fract());
        let value = |index: usize| sorted.get(index).or(sorted.last()).copied().unwrap_or(0.0);
        value(low) + share * (value(low + 1) - value(low))
    })
}

/// The median; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    let [median] = quantiles(values, [0.5]);
    median
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn of_nothing_there_is_nothing() {
        assert_eq!((mean(&[]), deviation(&[1.0]), quantiles(&[], [0.5, 0.99])), (0.0, 0.0, [0.0, 0.0]));
    }

    #[test]
    fn of_few_values() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert!((mean(&values) - 2.5).abs() < 1e-12);
        assert!((deviation(&values) - (5.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(quantiles(&values, [0.0, 0.5, 1.0]), [1.0, 2.5, 4.0]);
        assert!((median(&[7.0]) - 7.0).abs() < 1e-12);
    }
}
