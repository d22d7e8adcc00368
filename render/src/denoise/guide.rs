//! What tells the filter which pixels show the same surface.

use super::plane::Planes;
use crate::frame::{Features, Frame};

/// Beyond this a depth is as good as infinite; its square is still finite.
const FARTHEST: f32 = 1e15;
/// What every feature is beyond the frame: so unlike all others that nothing there has influence.
const BEYOND: f32 = 1e17;
/// Least part of the albedo that radiance is divided by: below it, noise would grow faster than texture disappears.
const ALBEDO_FLOOR: f32 = 0.03;

/// Channels of the guide: where each feature begins.
pub const NORMAL: usize = 0;
/// See [`NORMAL`].
pub const ALBEDO: usize = 3;
/// See [`NORMAL`].
pub const DEPTH: usize = 6;
/// How the depth changes from pixel to pixel, to the right and down.
pub const SLOPE: usize = 7;
/// How many channels there are.
pub const CHANNELS: usize = 9;

/// The features as planes. Without features they are all zero, which makes all pixels alike.
pub fn build(frame: &Frame) -> Planes<CHANNELS> {
    let (width, height) = (frame.size.width_px() as usize, frame.size.height_px() as usize);
    let Some(features) = &frame.features else {
        // Alike in the frame, and unlike what is beyond it.
        return Planes::build((width, height), BEYOND, |_, channels| {
            for row in channels {
                row.fill(0.0);
            }
        });
    };
    Planes::build((width, height), BEYOND, |y, mut channels: [&mut [f32]; CHANNELS]| {
        let row = y * width..(y + 1) * width;
        for (start, pixels) in [(NORMAL, &features.normal), (ALBEDO, &features.albedo)] {
            for (place, channel) in channels[start..start + 3].iter_mut().enumerate() {
                for (value, pixel) in channel.iter_mut().zip(&pixels[row.clone()]) {
                    *value = finite(pixel[place]);
                }
            }
        }
        let depth = |x: usize, y: usize| distance(features.depth[y * width + x]);
        let [.., depths, slopes_x, slopes_y] = channels;
        for (x, ((here, slope_x), slope_y)) in depths.iter_mut().zip(slopes_x).zip(slopes_y).enumerate() {
            *here = depth(x, y);
            let (left, right) = (depth(x.saturating_sub(1), y), depth((x + 1).min(width - 1), y));
            let (above, below) = (depth(x, y.saturating_sub(1)), depth(x, (y + 1).min(height - 1)));
            *slope_x = slope(*here - left, right - *here, x == 0 || x + 1 == width);
            *slope_y = slope(*here - above, below - *here, y == 0 || y + 1 == height);
        }
    })
}

/// The gentler of the slopes on both sides: the steeper one may lead over an edge. At the frame's edge, where one side is
/// missing and comes as zero, the other.
fn slope(before: f32, after: f32, at_edge: bool) -> f32 {
    if at_edge {
        return before + after;
    }
    if before * after <= 0.0 {
        return 0.0;
    }
    if before.abs() < after.abs() { before } else { after }
}

fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { 0.0 }
}

fn distance(depth: f32) -> f32 {
    if depth > 0.0 { depth.min(FARTHEST) } else { 0.0 }
}

/// Whether none of the pixel's rays hit anything: then its radiance is the sky's, which has no noise.
pub fn is_miss(features: &Features, index: usize) -> bool {
    features.depth[index] == 0.0 && features.normal[index] == [0.0; 3]
}

/// What the pixel's radiance is divided by before it is filtered and multiplied by after, so that texture is kept.
pub fn texture(features: Option<&Features>, index: usize) -> [f32; 3] {
    match features {
        Some(features) if !is_miss(features, index) => features.albedo[index].map(|albedo| {
            ALBEDO_FLOOR + (1.0 - ALBEDO_FLOOR) * if albedo > 0.0 { albedo.min(1.0) } else { 0.0 }
        }),
        _ => [1.0; 3],
    }
}

/// Whether two pixels look at the same surface, as far as normal, albedo and depth tell.
pub fn is_alike(
    guide: &Planes<CHANNELS>,
    (x, y): (usize, usize),
    (other_x, other_y): (usize, usize),
) -> bool {
    let (here, there) = (guide.row(y), guide.row(other_y));
    let squared = |start: usize| {
        (start..start + 3)
            .map(|channel| here[channel][x] - there[channel][other_x])
            .map(|difference| difference * difference)
            .sum::<f32>()
    };
    let (near, far) = (here[DEPTH][x], there[DEPTH][other_x]);
    squared(NORMAL) < 0.1 && squared(ALBEDO) < 0.05 && (near - far).abs() <= 0.1 * near
}
