//! Least squares with a pull towards a prior, by the normal equations.

/// The coefficients that fit the rows best, pulled towards `prior`: the minimum of
/// Σ (target − row · β)² + Σ pull · (β − prior)². The prior itself when there is nothing to fit or a number is wild.
pub fn ridge<const N: usize>(
    rows: impl IntoIterator<Item = ([f64; N], f64)>,
    pull: [f64; N],
    prior: [f64; N],
) -> [f64; N] {
    let (mut matrix, mut right) = ([[0.0; N]; N], [0.0; N]);
    for (row, target) in rows {
        let rest = target - dot(&row, &prior);
        if !rest.is_finite() || row.iter().any(|value| !value.is_finite()) {
            continue;
        }
        for (i, value) in row.iter().enumerate() {
            right[i] += value * rest;
            for (sum, other) in matrix[i].iter_mut().zip(&row) {
                *sum += value * other;
            }
        }
    }
    for (i, pull) in pull.iter().enumerate() {
        matrix[i][i] += pull.max(1e-9);
    }
    let step = solve(&matrix, &right).unwrap_or([0.0; N]);
    let mut solution = prior;
    for (value, step) in solution.iter_mut().zip(step) {
        *value += step;
    }
    if solution.iter().all(|value| value.is_finite()) { solution } else { prior }
}

/// Σ a · b.
pub fn dot<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Solves a symmetric positive definite system by Cholesky's factors; `None` if it is none.
pub fn solve<const N: usize>(matrix: &[[f64; N]; N], right: &[f64; N]) -> Option<[f64; N]> {
    let mut lower = [[0.0; N]; N];
    for i in 0..N {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
            let rest = matrix[i][j] - known;
            if i == j {
                if rest <= 0.0 || !rest.is_finite() {
                    return None;
                }
                lower[i][i] = rest.sqrt();
            } else {
                lower[i][j] = rest / lower[j][j];
            }
        }
    }
    let mut solution = *right;
    for i in 0..N {
        let known: f64 = (0..i).map(|k| lower[i][k] * solution[k]).sum();
        solution[i] = (solution[i] - known) / lower[i][i];
    }
    for i in (0..N).rev() {
        let known: f64 = (i + 1..N).map(|k| lower[k][i] * solution[k]).sum();
        solution[i] = (solution[i] - known) / lower[i][i];
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn coefficients_are_found_again(
            truth in prop::array::uniform3(-2.0_f64..2.0),
            rows in prop::collection::vec(prop::array::uniform2(-1.0_f64..1.0), 20..60),
        ) {
            let rows: Vec<[f64; 3]> = rows.iter().map(|row| [1.0, row[0], row[1]]).collect();
            let data = rows.iter().map(|row| (*row, dot(row, &truth)));
            let found = ridge(data, [1e-9; 3], [0.0; 3]);
            for row in &rows {
                prop_assert!((dot(row, &found) - dot(row, &truth)).abs() < 1e-3);
            }
        }

        #[test]
        fn the_residual_is_at_right_angles_to_the_rows(
            rows in prop::collection::vec((prop::array::uniform3(-1.0_f64..1.0), -1.0_f64..1.0), 1..60),
            pull in 0.01_f64..10.0,
        ) {
            let found = ridge(rows.iter().copied(), [pull; 3], [0.0; 3]);
            for i in 0..3 {
                let gradient: f64 = rows.iter().map(|(row, target)| row[i] * (target - dot(row, &found))).sum();
                prop_assert!((gradient - pull * found[i]).abs() < 1e-8);
            }
        }

        #[test]
        fn whatever_comes_in_what_goes_out_is_finite(
            rows in prop::collection::vec((prop::array::uniform2(any::<f64>()), any::<f64>()), 0..20),
        ) {
            prop_assert!(ridge(rows, [1.0; 2], [0.5; 2]).iter().all(|value| value.is_finite()));
        }
    }

    #[test]
    fn nothing_to_fit_leaves_the_prior() {
        assert_eq!(ridge([], [1.0; 2], [3.0, 4.0]).map(f64::to_bits), [3.0, 4.0].map(f64::to_bits));
    }
}
