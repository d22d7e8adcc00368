//! Light from all around, ready to be looked up and to be chosen as a light: a distribution over the texels of an
//! equirectangular map (Pharr, Jakob and Humphreys, "Physically Based Rendering", section 12.5).
//! `kernel/gpu/environment.wgsl` is the twin of the functions that the kernels call, and reads the very same words.
//!
//! Straight up is y. The middle of the map lies towards -z, where glTF's cameras look, and its right half towards +x.

use crate::{
    limit::{MAX_ENVIRONMENT_HEIGHT, MAX_ENVIRONMENT_WIDTH},
    math::{Vec3, luminance, reciprocal, sin_cos_turn, square_root, turn_of, vec3},
    scene::{Environment, gltf::trigonometry},
};

/// The whole of a distribution: as fine as random numbers are, so that a share is exactly how often it is drawn.
const WHOLE: u32 = 1 << 24;
/// Maps that are weaker count as black: their light would be lost in rounding.
const MIN_STRENGTH: f32 = 1e-12;

/// A map with a distribution over its texels.
///
/// All of it lies in one list of words, as the GPU gets it: the texels as RGBE; for each row the sums of its texels'
/// shares before each column, and the whole; the same over rows; the cosines of the rows' upper edges, and of the
/// lowest edge; for each row the density of a share.
#[derive(Debug)]
pub struct EnvironmentLight {
    words: Vec<u32>,
    width: u32,
    height: u32,
    strength: f32,
    rotation: f32,
    power: f64,
}

/// A direction towards the environment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sky {
    /// Unit length.
    pub direction: Vec3,
    /// Per solid angle.
    pub density: f32,
}

impl EnvironmentLight {
    /// From a scene's map: each texel counts by its luminance, as bilinear look-up spreads it, times its solid angle.
    /// A map whose size does not fit its texels or the limits counts as black.
    pub fn build(environment: &Environment) -> Self {
        let map = &environment.map;
        let fits = (1..=MAX_ENVIRONMENT_WIDTH).contains(&map.width)
            && (1..=MAX_ENVIRONMENT_HEIGHT).contains(&map.height)
            && map.radiance.len() as u64 == u64::from(map.width) * u64::from(map.height)
            && environment.strength >= MIN_STRENGTH;
        let (width, height) = if fits { (map.width, map.height) } else { (1, 1) };
        let mut words: Vec<u32> = if fits {
            map.encode().as_chunks::<4>().0.iter().map(|texel| u32::from_le_bytes(*texel)).collect()
        } else {
            vec![0]
        };
        let cosines: Vec<f32> = (0..=height).map(|row| edge_cosine(row, height)).collect();
        let weights = texel_weights(&words, width as usize, &cosines);
        let mut rows = Vec::with_capacity(weights.len() / width as usize);
        for row in weights.chunks_exact(width as usize) {
            rows.push(row.iter().sum());
            words.extend(cumulative(row));
        }
        words.extend(cumulative(&rows));
        words.extend(cosines.iter().map(|cosine| cosine.to_bits()));
        words.extend(cosines.windows(2).map(|edges| share_density(edges[0], edges[1], width).to_bits()));
        let texel_turn = std::f64::consts::TAU / f64::from(width);
        Self {
            words,
            width,
            height,
            strength: environment.strength,
            rotation: environment.rotation_turns,
            power: rows.iter().sum::<f64>() * texel_turn * f64::from(environment.strength),
        }
    }

    /// Everything that the kernels read, as described at the type.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Words that a map of so many columns and rows takes; 0 for one over the limits.
    pub fn word_count(width: u32, height: u32) -> u64 {
        if width > MAX_ENVIRONMENT_WIDTH || height > MAX_ENVIRONMENT_HEIGHT {
            return 0;
        }
        let (width, height) = (u64::from(width), u64::from(height));
        // Texels and sums of columns; sums of rows, cosines and densities.
        height * (2 * width + 1) + 3 * height + 2
    }

    /// Columns and rows of the map.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// What every texel's radiance is multiplied by.
    pub fn strength(&self) -> f32 {
        self.strength
    }

    /// How far the map is turned about the vertical axis, to the right, in turns.
    pub fn rotation(&self) -> f32 {
        self.rotation
    }

    /// Luminance, integrated over all directions.
    pub fn power(&self) -> f64 {
        self.power
    }

    /// Memory that it takes, bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// Where a direction lies on the map: the share of its width and of its height.
    #[inline(always)]
    pub fn place(&self, direction: Vec3) -> (f32, f32) {
        let u = turn_of(direction.x, -direction.z) + 0.5 - self.rotation;
        let horizontal = square_root(direction.x * direction.x + direction.z * direction.z);
        (within_turn(u), (turn_of(horizontal, direction.y) * 2.0).min(1.0))
    }

    /// Radiance from a direction, bilinear between the texels.
    #[inline(always)]
    pub fn radiance(&self, direction: Vec3) -> Vec3 {
        let (u, v) = self.place(direction);
        let x = u * self.width as f32 - 0.5;
        let y = (v * self.height as f32 - 0.5).max(0.0);
        let (left, top) = (x.floor(), y.floor());
        let (across, down) = (x - left, y - top);
        // Half a texel left of the first column begins the last.
        let x0 = if left < 0.0 { self.width - 1 } else { (left as u32).min(self.width - 1) };
        let x1 = if x0 + 1 < self.width { x0 + 1 } else { 0 };
        let y0 = (top as u32).min(self.height - 1);
        let y1 = (y0 + 1).min(self.height - 1);
        let upper = mix_texels(self.texel(x0, y0), self.texel(x1, y0), across);
        let lower = mix_texels(self.texel(x0, y1), self.texel(x1, y1), across);
        mix_texels(upper, lower, down) * self.strength
    }

    /// How likely [`Self::sample`] draws a direction, per solid angle.
    #[inline(always)]
    pub fn density(&self, direction: Vec3) -> f32 {
        let (u, v) = self.place(direction);
        let column = ((u * self.width as f32) as u32).min(self.width - 1);
        let row = ((v * self.height as f32) as u32).min(self.height - 1);
        self.texel_density(column, row)
    }

    /// A direction from four random numbers: which row, which column, and where in the texel.
    #[inline(always)]
    pub fn sample(&self, numbers: [f32; 4]) -> Sky {
        let row = self.search(self.rows_at(), self.height, numbers[0]);
        let column = self.search(self.columns_at(row), self.width, numbers[1]);
        let top = f32::from_bits(self.words[self.cosines_at() + row as usize]);
        let bottom = f32::from_bits(self.words[self.cosines_at() + row as usize + 1]);
        let y = top + (bottom - top) * numbers[3];
        let horizontal = square_root(1.0 - y * y);
        let u = (column as f32 + numbers[2]) * reciprocal(self.width as f32) + self.rotation - 0.5;
        let (sine, cosine) = sin_cos_turn(within_turn(u));
        Sky {
            direction: vec3(sine * horizontal, y, -cosine * horizontal),
            density: self.texel_density(column, row),
        }
    }

    #[inline(always)]
    fn texel_density(&self, column: u32, row: u32) -> f32 {
        let columns = self.columns_at(row) + column as usize;
        let rows = self.rows_at() + row as usize;
        let of_row = (self.words[rows + 1] - self.words[rows]) as f32;
        let of_column = (self.words[columns + 1] - self.words[columns]) as f32;
        of_row * of_column * f32::from_bits(self.words[self.densities_at() + row as usize])
    }

    /// The last entry that does not exceed a random number: the next one does, so its share is not zero.
    #[inline(always)]
    fn search(&self, first: usize, count: u32, random: f32) -> u32 {
        let number = (random * WHOLE as f32) as u32;
        let (mut low, mut high) = (0, count);
        while high - low > 1 {
            let middle = u32::midpoint(low, high);
            if self.words[first + middle as usize] <= number {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    #[inline(always)]
    fn texel(&self, column: u32, row: u32) -> Vec3 {
        decode_texel(self.words[(row * self.width + column) as usize])
    }

    #[inline(always)]
    fn columns_at(&self, row: u32) -> usize {
        (self.width * self.height + row * (self.width + 1)) as usize
    }

    #[inline(always)]
    fn rows_at(&self) -> usize {
        self.columns_at(self.height)
    }

    #[inline(always)]
    fn cosines_at(&self) -> usize {
        self.rows_at() + self.height as usize + 1
    }

    #[inline(always)]
    fn densities_at(&self) -> usize {
        self.cosines_at() + self.height as usize + 1
    }
}

/// The share of a whole turn, less than 1.
#[inline(always)]
fn within_turn(turn: f32) -> f32 {
    let share = turn - turn.floor();
    if share < 1.0 { share } else { 0.0 }
}

#[inline(always)]
fn mix_texels(a: Vec3, b: Vec3, share: f32) -> Vec3 {
    a * (1.0 - share) + b * share
}

/// Three mantissas and an exponent that they share; exact.
#[inline(always)]
fn decode_texel(texel: u32) -> Vec3 {
    let exponent = texel >> 24;
    if exponent < 96 {
        return Vec3::ZERO;
    }
    let unit = f32::from_bits((exponent - 9) << 23);
    vec3((texel & 255) as f32, (texel >> 8 & 255) as f32, (texel >> 16 & 255) as f32) * unit
}

/// Cosine of the angle from straight up to a row's upper edge.
fn edge_cosine(row: u32, height: u32) -> f32 {
    let angle = std::f64::consts::PI * f64::from(row) / f64::from(height);
    trigonometry::sin_cos(angle).1.clamp(-1.0, 1.0) as f32
}

/// Density per solid angle of one part in [`WHOLE`] of the rows, times one part of the columns, in a texel between
/// these cosines.
fn share_density(top: f32, bottom: f32, width: u32) -> f32 {
    let angle = (f64::from(top) - f64::from(bottom)) * std::f64::consts::TAU / f64::from(width);
    let part = 1.0 / (f64::from(WHOLE) * f64::from(WHOLE));
    // Rows at the poles of the finest map are 1e-6 high: never less.
    (part / angle.max(1e-12)) as f32
}

/// What each texel sends, by bilinear look-up on its mean: it keeps 3/4 on each axis, and its neighbours bring 1/8
/// each. Times the height of its row.
fn texel_weights(texels: &[u32], width: usize, cosines: &[f32]) -> Vec<f64> {
    let brightness: Vec<f64> =
        texels.iter().map(|texel| f64::from(luminance(decode_texel(*texel)))).collect();
    let across: Vec<f64> = brightness
        .chunks_exact(width)
        .flat_map(|row| {
            (0..width).map(|x| {
                let (left, right) = (row[(x + width - 1) % width], row[(x + 1) % width]);
                left * 0.125 + row[x] * 0.75 + right * 0.125
            })
        })
        .collect();
    let height = cosines.len() - 1;
    (0..width * height)
        .map(|at| {
            let (row, x) = (at / width, at % width);
            let (above, below) = (row.saturating_sub(1), (row + 1).min(height - 1));
            let mean =
                across[above * width + x] * 0.125 + across[at] * 0.75 + across[below * width + x] * 0.125;
            mean * (f64::from(cosines[row]) - f64::from(cosines[row + 1]))
        })
        .collect()
}

/// Sums before each entry in parts of [`WHOLE`], and the whole. Summed in order and in double precision: the same
/// everywhere. Entries without any weight share evenly.
fn cumulative(weights: &[f64]) -> impl Iterator<Item = u32> {
    let total: f64 = weights.iter().sum();
    let count = weights.len() as f64;
    let mut sum = 0.0;
    let sums: Vec<u32> = (0..=weights.len())
        .map(|entry| {
            let share = if total > 0.0 { sum / total } else { entry as f64 / count };
            sum += weights.get(entry).copied().unwrap_or_default();
            ((share * f64::from(WHOLE) + 0.5).floor() as u32).min(WHOLE)
        })
        .collect();
    sums.into_iter()
}

#[cfg(test)]
mod tests;
