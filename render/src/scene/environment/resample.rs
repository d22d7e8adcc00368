//! Averages a picture down: every source pixel counts by the part of it that a texel covers.

use super::EnvironmentMap;

/// The source pixels under one texel, along one axis.
struct Span {
    first: usize,
    /// Sum to 1.
    weights: Vec<f64>,
}

/// The map with at most `max_width` by `max_height` texels. It covers all directions at any size, so each axis shrinks
/// on its own.
pub(super) fn shrink(map: EnvironmentMap, max_width: u32, max_height: u32) -> EnvironmentMap {
    let (width, height) = (map.width.min(max_width), map.height.min(max_height));
    if (width, height) == (map.width, map.height) {
        return map;
    }
    let columns = spans(map.width, width);
    let mut radiance = Vec::with_capacity(width as usize * height as usize);
    for row in spans(map.height, height) {
        let mut sums = vec![[0.0_f64; 3]; width as usize];
        let rows = map.radiance.chunks_exact(map.width as usize).skip(row.first);
        for (source, row_weight) in rows.zip(&row.weights) {
            for (sum, column) in sums.iter_mut().zip(&columns) {
                for (texel, weight) in source.iter().skip(column.first).zip(&column.weights) {
                    for (channel, value) in sum.iter_mut().zip(texel) {
                        *channel += row_weight * weight * f64::from(*value);
                    }
                }
            }
        }
        radiance.extend(sums.iter().map(|sum| sum.map(|value| value as f32)));
    }
    EnvironmentMap { width, height, radiance }
}

/// For each of `to` texels the pixels, of `from`, that it covers.
fn spans(from: u32, to: u32) -> Vec<Span> {
    let (from, to) = (u64::from(from), u64::from(to));
    // In units of 1/to of a pixel, texel i covers i*from to (i+1)*from, and pixel s covers s*to to (s+1)*to.
    (0..to)
        .map(|texel| {
            let (start, end) = (texel * from, (texel + 1) * from);
            let (first, last) = (start / to, (end - 1) / to);
            let covered = |pixel: u64| end.min((pixel + 1) * to) - start.max(pixel * to);
            let weights = (first..=last).map(|pixel| covered(pixel) as f64 / from as f64).collect();
            Span { first: first as usize, weights }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(width: u32, height: u32) -> EnvironmentMap {
        let radiance = (0..width * height).map(|index| [index as f32, 1.0, 0.0]).collect();
        EnvironmentMap { width, height, radiance }
    }

    #[test]
    fn four_pixels_become_their_mean() {
        let shrunk = shrink(map(4, 2), 2, 1);
        assert_eq!(shrunk.radiance, [[2.5, 1.0, 0.0], [4.5, 1.0, 0.0]]);
        assert_eq!(shrink(map(4, 2), 4, 2), map(4, 2));
    }

    #[test]
    fn a_pixel_between_two_texels_is_shared() {
        let shrunk = shrink(map(3, 1), 2, 1);
        let [left, right] = [shrunk.radiance[0][0], shrunk.radiance[1][0]];
        assert!((left - 1.0 / 3.0).abs() < 1e-6 && (right - 5.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn no_light_is_lost_or_made() {
        let shrunk = shrink(map(17, 11), 5, 4);
        let mean = |map: &EnvironmentMap| {
            map.radiance.iter().map(|texel| f64::from(texel[0])).sum::<f64>() / map.radiance.len() as f64
        };
        assert!((mean(&shrunk) - mean(&map(17, 11))).abs() < 1e-4);
        assert!(shrunk.radiance.iter().all(|texel| (texel[1] - 1.0).abs() < 1e-6));
    }
}
