//! Fireflies and the strength of noise: what must be known of a picture before it can be filtered.

use super::{
    guide,
    plane::{Planes, extend},
};

/// Half the edge of the neighbourhoods, pixels: they are 7x7.
const REACH: usize = 3;
const EDGE: usize = 2 * REACH + 1;
/// Of the eight direct neighbours, how many must show the same surface before a pixel is held against them.
const LEAST_ALIKE: usize = 3;

/// Channels of the picture under way: three of colour, the variance of the noise, the luminance.
pub const VARIANCE: usize = 3;
/// See [`VARIANCE`].
pub const LUMINANCE: usize = 4;
/// How many channels there are.
pub const CHANNELS: usize = 5;

/// Dims each pixel that outshines the 7x7 around it to the second brightest of its 48 neighbours. A pixel whose surface
/// few of its direct neighbours show is left alone: a far lamp is no firefly.
pub fn dim_fireflies(picture: &Planes<CHANNELS>, guide: &Planes<{ guide::CHANNELS }>) -> Planes<CHANNELS> {
    Planes::build(picture.size(), 0.0, |y, mut channels| {
        for (to, from) in channels.iter_mut().zip(picture.row(y)) {
            to.copy_from_slice(from);
        }
        for (x, limit) in third_brightest(picture, y).into_iter().enumerate() {
            let luminance = channels[LUMINANCE][x];
            if luminance > limit && has_company(guide, x, y) {
                let factor = limit / luminance;
                for color in &mut channels[..VARIANCE] {
                    color[x] *= factor;
                }
                channels[LUMINANCE][x] = limit;
            }
        }
    })
}

/// For each pixel of a row, the third highest luminance in the part of the 7x7 around it that is in the frame, itself
/// included. For the brightest two that is the second brightest of the others.
fn third_brightest(picture: &Planes<CHANNELS>, y: usize) -> Vec<f32> {
    let rows = y.saturating_sub(REACH)..(y + REACH + 1).min(picture.height());
    let mut columns = [(); 3].map(|()| vec![0.0_f32; picture.width()]);
    for row in rows {
        rank(&mut columns, picture.row(row)[LUMINANCE]);
    }
    let padded = columns.map(|column| extend(&column, REACH, 0.0));
    let mut brightest = [(); 3].map(|()| vec![0.0_f32; picture.width()]);
    for shift in 0..EDGE {
        for column in &padded {
            rank(&mut brightest, &column[shift..]);
        }
    }
    let [_, _, third] = brightest;
    third
}

/// Takes each value into its column's three highest, which are in falling order.
fn rank(highest: &mut [Vec<f32>; 3], values: &[f32]) {
    let [first, second, third] = highest;
    for (((a, b), c), value) in first.iter_mut().zip(second).zip(third).zip(values) {
        let (high, rest) = in_order(*a, *value);
        let (middle, rest) = in_order(*b, rest);
        (*a, *b, *c) = (high, middle, higher(*c, rest));
    }
}

fn has_company(guide: &Planes<{ guide::CHANNELS }>, x: usize, y: usize) -> bool {
    let (columns, rows) =
        (x.saturating_sub(1)..(x + 2).min(guide.width()), y.saturating_sub(1)..(y + 2).min(guide.height()));
    let alike = rows
        .flat_map(|row| columns.clone().map(move |column| (column, row)))
        .filter(|other| *other != (x, y) && guide::is_alike(guide, (x, y), *other));
    alike.count() >= LEAST_ALIKE
}

/// Notes in each pixel how strong the noise is around it: the mean square, over the 7x7, of what the luminance differs
/// from its median in the 3x3. A median follows edges, so an edge without noise is none; a plain variance would take
/// every edge for noise and smear it.
pub fn estimate_variance(picture: &mut Planes<CHANNELS>) {
    let width = picture.width();
    let squares = Planes::<1>::build(picture.size(), 0.0, |y, [squares]| {
        let rows = [-1, 0, 1].map(|offset| extend_ends(picture.nearest_row(y, offset)[LUMINANCE], 1));
        for (x, square) in squares.iter_mut().enumerate() {
            let median = median([0, 1, 2].map(|row| [0, 1, 2].map(|column| rows[row][x + column])));
            let difference = rows[1][x + 1] - median;
            *square = difference * difference;
        }
    });
    picture.update(|y, channels| {
        let mut columns = vec![0.0_f32; width];
        for offset in -REACH.cast_signed()..=REACH.cast_signed() {
            let [row] = squares.nearest_row(y, offset);
            for (sum, square) in columns.iter_mut().zip(row) {
                *sum += square;
            }
        }
        let columns = extend_ends(&columns, REACH);
        let variances = &mut *channels[VARIANCE];
        variances.fill(0.0);
        for shift in 0..EDGE {
            for (variance, column) in variances.iter_mut().zip(&columns[shift..]) {
                *variance += column * (1.0 / (EDGE * EDGE) as f32);
            }
        }
    });
}

fn extend_ends(row: &[f32], border: usize) -> Vec<f32> {
    let mut extended = extend(row, border, row.first().copied().unwrap_or_default());
    let last = row.last().copied().unwrap_or_default();
    extended[border + row.len()..].fill(last);
    extended
}

/// The median of nine: of the highest of the columns' lowest, the middle of the middles, the lowest of the highest.
#[inline(always)]
fn median([a, b, c]: [[f32; 3]; 3]) -> f32 {
    let [x, y, z] = [0, 1, 2].map(|column| sort(a[column], b[column], c[column]));
    let (low, middle, high) =
        (higher(higher(x[0], y[0]), z[0]), sort(x[1], y[1], z[1])[1], lower(lower(x[2], y[2]), z[2]));
    sort(low, middle, high)[1]
}

#[inline(always)]
fn sort(a: f32, b: f32, c: f32) -> [f32; 3] {
    let (b, a) = in_order(a, b);
    let (c, b) = in_order(b, c);
    let (b, a) = in_order(a, b);
    [a, b, c]
}

/// The higher, then the lower.
#[inline(always)]
fn in_order(a: f32, b: f32) -> (f32, f32) {
    (higher(a, b), lower(a, b))
}

// Written out: the library's `max` and `min` mind NaN, which is not here, and then take several instructions.
#[inline(always)]
fn higher(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn lower(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_nine_is_the_fifth() {
        let mut state = 1_u32;
        for _ in 0..2000 {
            let mut values = [0.0_f32; 9];
            for value in &mut values {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *value = (state >> 28) as f32;
            }
            let [a, b, c, d, e, f, g, h, i] = values;
            let found = median([[a, b, c], [d, e, f], [g, h, i]]);
            values.sort_by(f32::total_cmp);
            assert_eq!(found, values[4]);
        }
    }
}
