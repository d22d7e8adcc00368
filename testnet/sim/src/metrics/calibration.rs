//! Whether what was predicted is what came: times, intervals, probabilities.

use super::{
    FateRecord, TimeRecord,
    stats::{mean, median, quantiles},
};

/// Tasks of a window in which coverage is looked at.
const WINDOW: usize = 50;
/// Bins of predicted probability.
const BINS: usize = 10;

/// Median of the absolute error as a share of the time that it took.
pub fn median_absolute_share(times: &[TimeRecord]) -> Option<f64> {
    let errors: Vec<f64> = times
        .iter()
        .filter(|time| time.total_ms > 0.0)
        .map(|time| (time.predicted_total_ms - time.total_ms).abs() / time.total_ms)
        .collect();
    (!errors.is_empty()).then(|| median(&errors))
}

/// Share of tasks whose time lay in its interval, of all and in the worst twentieth of the windows of 50 tasks.
pub fn coverage(times: &[TimeRecord]) -> Option<(f64, f64)> {
    let inside: Vec<f64> = times
        .iter()
        .filter_map(|time| time.interval_ms.map(|(low, high)| (low..=high).contains(&time.total_ms)))
        .map(|inside| f64::from(u8::from(inside)))
        .collect();
    if inside.is_empty() {
        return None;
    }
    let windows: Vec<f64> = inside.chunks_exact(WINDOW).map(mean).collect();
    let [worst] = if windows.is_empty() { [mean(&inside)] } else { quantiles(&windows, [0.05]) };
    Some((mean(&inside), worst))
}

/// Mean squared error of a probability: of the predicted ones and of the true ones.
pub fn brier(fates: &[FateRecord]) -> Option<(f64, f64)> {
    let score = |probability: fn(&FateRecord) -> f64| {
        let errors: Vec<f64> =
            fates.iter().map(|fate| (probability(fate) - f64::from(u8::from(fate.failed))).powi(2)).collect();
        mean(&errors)
    };
    (!fates.is_empty()).then(|| (score(|fate| fate.risk), score(|fate| fate.probability)))
}

/// Expected calibration error: over ten bins of equal width, how far the predicted mean is from the share that failed.
pub fn calibration_error(fates: &[FateRecord]) -> Option<f64> {
    let mut bins = [(0.0, 0.0); BINS];
    for fate in fates {
        let bin = ((fate.risk.clamp(0.0, 1.0) * BINS as f64) as usize).min(BINS - 1);
        if let Some((predicted, failed)) = bins.get_mut(bin) {
            *predicted += fate.risk;
            *failed += f64::from(u8::from(fate.failed));
        }
    }
    let off: f64 = bins.iter().map(|(predicted, failed): &(f64, f64)| (predicted - failed).abs()).sum();
    (!fates.is_empty()).then(|| off / fates.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(total_ms: f64, inside: bool) -> TimeRecord {
        let interval_ms = Some(if inside { (0.0, 1e9) } else { (0.0, 0.5) });
        TimeRecord { total_ms, predicted_total_ms: 100.0, interval_ms }
    }

    #[test]
    fn errors_of_times() {
        let times = [50.0, 100.0, 200.0].map(|total_ms| time(total_ms, true));
        assert_eq!(median_absolute_share(&times), Some(0.5));
        assert_eq!(median_absolute_share(&[]), None);
    }

    #[test]
    fn coverage_shows_its_worst_windows() {
        let mut times = vec![time(1.0, true); 950];
        times.extend(vec![time(1.0, false); 50]);
        let (all, worst) = coverage(&times).unwrap();
        assert!((all - 0.95).abs() < 1e-12);
        assert!(worst < 1.0, "one window of twenty has none inside");
        assert_eq!(coverage(&times[..100]), Some((1.0, 1.0)));
    }

    #[test]
    fn probabilities_that_are_right_are_calibrated() {
        let fates: Vec<FateRecord> = (0..1000)
            .map(|index| FateRecord { risk: 0.25, probability: 0.25, failed: index % 4 == 0 })
            .collect();
        let (predicted, truth) = brier(&fates).unwrap();
        assert!((predicted - 0.1875).abs() < 1e-12 && (truth - predicted).abs() < 1e-12);
        assert!(calibration_error(&fates).unwrap() < 1e-12);
        let off: Vec<FateRecord> = fates.iter().map(|fate| FateRecord { risk: 0.75, ..*fate }).collect();
        assert!((calibration_error(&off).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(brier(&[]), None);
    }
}
