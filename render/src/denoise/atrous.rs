//! The edge-avoiding à-trous wavelet filter (H. Dammertz et al., "Edge-Avoiding À-Trous Wavelet Transform for fast Global
//! Illumination Filtering", 2010), steered by the strength of the noise as in C. Schied et al., "Spatiotemporal
//! Variance-Guided Filtering" (2017): here that strength is estimated from the one frame that there is.
//!
//! Only `+ - * /` in a fixed order for each pixel, so the same frame gives the same bits on every machine and with any
//! number of threads.

use rayon::prelude::*;
use wide::f32x8;

use super::{
    guide::{self, ALBEDO, DEPTH, NORMAL, SLOPE},
    noise::{self, CHANNELS, LUMINANCE, VARIANCE},
    plane::{LANES, PADDING, Planes},
};
use crate::{frame::Frame, math::luminance};

/// Radiance beyond this is cut off, so that squares stay finite.
const BRIGHTEST: f32 = 1e12;
/// The wavelet's kernel along one axis: a cubic B-spline.
const KERNEL: [f32; KERNEL_EDGE] = [1.0 / 16.0, 1.0 / 4.0, 3.0 / 8.0, 1.0 / 4.0, 1.0 / 16.0];
const KERNEL_EDGE: usize = 2 * REACH + 1;
/// How far the kernel reaches, in steps.
const REACH: usize = 2;

// The distances at which two pixels lose about two thirds of their influence on each other:
/// between normals, as 1 over the square,
const NORMAL_SHARPNESS: f32 = 32.0;
/// between albedos, as 1 over the square,
const ALBEDO_SHARPNESS: f32 = 16.0;
/// from the plane of the surface, as a part of the depth,
const DEPTH_TOLERANCE: f32 = 0.01;
/// and as a part of what the depth changes on the way, because surfaces are curved.
const SLOPE_TOLERANCE: f32 = 0.5;
/// Differences of luminance that are nothing, as a part of the luminance: keeps the quotient finite without noise.
const LUMINANCE_FLOOR: f32 = 1e-3;

/// How boldly to filter.
struct Strength {
    /// How many times, with pixels 1, 2, 4, … apart.
    iterations: u32,
    /// How many standard deviations of the noise two pixels may differ.
    deviations: f32,
}

const GUIDED: Strength = Strength { iterations: 5, deviations: 3.5 };
const _: () =
    assert!(REACH << (GUIDED.iterations - 1) <= PADDING, "the widest kernel stays within the padding");
/// Without features nothing but the noise tells edges.
const UNGUIDED: Strength = Strength { iterations: 4, deviations: 2.5 };

/// Frees the frame of noise. Its planes have been checked against its size.
pub fn filter(frame: &mut Frame) {
    let strength = if frame.features.is_some() { GUIDED } else { UNGUIDED };
    let guide = guide::build(frame);
    let mut picture = noise::dim_fireflies(&without_texture(frame), &guide);
    noise::estimate_variance(&mut picture);
    let mut filtered = Planes::build(picture.size(), 0.0, |_, _| ());
    for iteration in 0..strength.iterations {
        filtered
            .update(|y, rows| filter_row(&guide, &picture, (y, 1 << iteration), strength.deviations, rows));
        std::mem::swap(&mut picture, &mut filtered);
    }
    restore_texture(frame, &picture);
}

/// The light that falls on the surfaces: radiance without the texture.
fn without_texture(frame: &Frame) -> Planes<CHANNELS> {
    let (width, height) = (frame.size.width_px() as usize, frame.size.height_px() as usize);
    Planes::build((width, height), 0.0, |y, [red, green, blue, _, luminances]| {
        for x in 0..width {
            let index = y * width + x;
            let texture = guide::texture(frame.features.as_ref(), index);
            let [r, g, b] = frame.radiance[index];
            let light = [r / texture[0], g / texture[1], b / texture[2]]
                .map(|channel| if channel > 0.0 { channel.min(BRIGHTEST) } else { 0.0 });
            [red[x], green[x], blue[x]] = light;
            luminances[x] = luminance(light.into());
        }
    })
}

fn restore_texture(frame: &mut Frame, picture: &Planes<CHANNELS>) {
    let (features, width) = (frame.features.as_ref(), picture.width());
    frame.radiance.par_chunks_mut(width).enumerate().for_each(|(y, pixels)| {
        let [red, green, blue, ..] = picture.row(y);
        for (x, pixel) in pixels.iter_mut().enumerate() {
            let index = y * width + x;
            // The sky has no noise, and nothing to hold its details by.
            if !features.is_some_and(|features| guide::is_miss(features, index)) {
                let [r, g, b] = guide::texture(features, index);
                *pixel = [red[x] * r, green[x] * g, blue[x] * b];
            }
        }
    });
}

/// A row of the guide and of the picture.
struct Row<'a> {
    guide: [&'a [f32]; guide::CHANNELS],
    picture: [&'a [f32]; CHANNELS],
}

impl<'a> Row<'a> {
    fn of(guide: &'a Planes<{ guide::CHANNELS }>, picture: &'a Planes<CHANNELS>, y: usize) -> Self {
        Self { guide: guide.padded_row(y), picture: picture.padded_row(y) }
    }

    /// Eight neighbouring pixels.
    #[inline(always)]
    fn pixels(&self, at: usize) -> Pixels {
        let (guide, picture) = (&self.guide, &self.picture);
        Pixels {
            normal: [load(guide[NORMAL], at), load(guide[NORMAL + 1], at), load(guide[NORMAL + 2], at)],
            albedo: [load(guide[ALBEDO], at), load(guide[ALBEDO + 1], at), load(guide[ALBEDO + 2], at)],
            depth: load(guide[DEPTH], at),
            color: [load(picture[0], at), load(picture[1], at), load(picture[2], at)],
            variance: load(picture[VARIANCE], at),
            luminance: load(picture[LUMINANCE], at),
        }
    }
}

#[inline(always)]
fn load(row: &[f32], at: usize) -> f32x8 {
    // invariant: the padding is as wide as the kernel reaches; zeros are never loaded.
    row.get(at..).and_then(<[f32]>::first_chunk).map_or(f32x8::ZERO, |lanes| f32x8::new(*lanes))
}

struct Pixels {
    normal: [f32x8; 3],
    albedo: [f32x8; 3],
    depth: f32x8,
    color: [f32x8; 3],
    variance: f32x8,
    luminance: f32x8,
}

/// Filters row `y` with the kernel's places `step` pixels apart.
fn filter_row(
    guide: &Planes<{ guide::CHANNELS }>,
    picture: &Planes<CHANNELS>,
    (y, step): (usize, usize),
    deviations: f32,
    mut out: [&mut [f32]; CHANNELS],
) {
    // The kernel's rows, where they are in the frame.
    let rows: [Option<Row<'_>>; KERNEL_EDGE] = std::array::from_fn(|place| {
        let below = (y + place * step).checked_sub(REACH * step).filter(|row| *row < picture.height());
        below.map(|row| Row::of(guide, picture, row))
    });
    let middle = Row::of(guide, picture, y);
    for x in (0..picture.width()).step_by(LANES) {
        let filtered = filter_pixels(&rows, &middle, PADDING + x, step, deviations);
        for (row, lanes) in out.iter_mut().zip(filtered) {
            for (value, lane) in row[x..].iter_mut().zip(lanes.to_array()) {
                *value = lane;
            }
        }
    }
}

/// Filters the eight pixels from `at` on.
#[inline(always)]
fn filter_pixels(
    rows: &[Option<Row<'_>>; KERNEL_EDGE],
    middle: &Row<'_>,
    at: usize,
    step: usize,
    deviations: f32,
) -> [f32x8; CHANNELS] {
    let centre = Centre::new(middle, at, deviations);
    let own = f32x8::splat(KERNEL[REACH] * KERNEL[REACH]);
    let mut sums =
        Sums { weight: own, color: [f32x8::ZERO; 3], variance: own * own * centre.pixels.variance };
    for (down, row) in rows.iter().enumerate() {
        let Some(row) = row else { continue };
        for (right, across) in KERNEL.iter().enumerate() {
            if (right, down) != (REACH, REACH) {
                let offset = [right, down].map(|place| (place as f32 - REACH as f32) * step as f32);
                let other = row.pixels(at + right * step - REACH * step);
                let weight = f32x8::splat(across * KERNEL[down]) * centre.likeness(&other, offset);
                sums.add(&centre.pixels, &other, weight);
            }
        }
    }
    sums.finish(&centre.pixels)
}

/// The pixels in the kernel's middle, with what they are compared by.
struct Centre {
    pixels: Pixels,
    /// How the depth changes to the right and down.
    slope: [f32x8; 2],
    /// By what the square of a difference of luminance is multiplied.
    sharpness: f32x8,
}

impl Centre {
    #[inline(always)]
    fn new(row: &Row<'_>, at: usize, deviations: f32) -> Self {
        let pixels = row.pixels(at);
        let floor = pixels.luminance * LUMINANCE_FLOOR;
        let spread = pixels.variance * (deviations * deviations) + floor * floor + 1e-20;
        let slope = [load(row.guide[SLOPE], at), load(row.guide[SLOPE + 1], at)];
        Self { sharpness: f32x8::ONE / spread, pixels, slope }
    }

    /// How much the pixels `offset` away are like these: 0 to 1.
    #[inline(always)]
    fn likeness(&self, other: &Pixels, [right, down]: [f32; 2]) -> f32x8 {
        let (rise_x, rise_y) = (self.slope[0] * right, self.slope[1] * down);
        let off_plane = other.depth - self.pixels.depth - (rise_x + rise_y);
        let tolerance = self.pixels.depth * DEPTH_TOLERANCE
            + (rise_x.abs() + rise_y.abs()) * SLOPE_TOLERANCE
            + f32::MIN_POSITIVE;
        let depths = off_plane / tolerance;
        let brightness = other.luminance - self.pixels.luminance;
        falloff(
            squared(&self.pixels.normal, &other.normal) * NORMAL_SHARPNESS
                + squared(&self.pixels.albedo, &other.albedo) * ALBEDO_SHARPNESS
                + depths * depths
                + brightness * brightness * self.sharpness,
        )
    }
}

#[inline(always)]
fn squared(a: &[f32x8; 3], b: &[f32x8; 3]) -> f32x8 {
    let (x, y, z) = (b[0] - a[0], b[1] - a[1], b[2] - a[2]);
    x * x + y * y + z * z
}

/// 1 at 0, falling like exp(-x), and 0 from 4 on; what is no number gives 0.
#[inline(always)]
fn falloff(x: f32x8) -> f32x8 {
    let rest = f32x8::ONE - x * 0.25;
    let rest = rest.simd_gt(f32x8::ZERO) & rest;
    let square = rest * rest;
    square * square
}

/// Sums over the kernel's places.
struct Sums {
    /// Of the weights.
    weight: f32x8,
    /// Of the weighted differences from the middle's colour: a picture without any stays as it is to the last bit.
    color: [f32x8; 3],
    /// Of the variances, by the weights' squares.
    variance: f32x8,
}

impl Sums {
    #[inline(always)]
    fn add(&mut self, centre: &Pixels, other: &Pixels, weight: f32x8) {
        self.weight += weight;
        self.color[0] += weight * (other.color[0] - centre.color[0]);
        self.color[1] += weight * (other.color[1] - centre.color[1]);
        self.color[2] += weight * (other.color[2] - centre.color[2]);
        self.variance += weight * weight * other.variance;
    }

    /// The new pixels' channels.
    #[inline(always)]
    fn finish(self, centre: &Pixels) -> [f32x8; CHANNELS] {
        let share = f32x8::ONE / self.weight;
        let red = centre.color[0] + self.color[0] * share;
        let green = centre.color[1] + self.color[1] * share;
        let blue = centre.color[2] + self.color[2] * share;
        // As `math::luminance`.
        let luminance = red * 0.2126 + green * 0.7152 + blue * 0.0722;
        [red, green, blue, self.variance * share * share, luminance]
    }
}
