//! Rows of several channels, laid out so that one thread can write a row and loops over a row become SIMD.

use rayon::prelude::*;

/// What lies beyond both ends of every row, so that neighbours can be read without asking whether there are any.
pub const PADDING: usize = 32;
/// Pixels that are computed at a time.
pub const LANES: usize = 8;

/// `N` channels of a frame. The channels of a row lie one after the other, each between its paddings.
pub struct Planes<const N: usize> {
    width: usize,
    height: usize,
    /// Values of a padded row of one channel.
    stride: usize,
    values: Vec<f32>,
}

impl<const N: usize> Planes<N> {
    /// Planes of a frame that has pixels, with this value in the padding, and each row filled by `fill(y, channels)`,
    /// in parallel. What is not filled has the padding's value.
    pub fn build(
        (width, height): (usize, usize),
        padding: f32,
        fill: impl Fn(usize, [&mut [f32]; N]) + Sync,
    ) -> Self {
        let stride = PADDING + width.next_multiple_of(LANES) + PADDING;
        let mut planes = Self { width, height, stride, values: vec![padding; stride * height * N] };
        planes.update(fill);
        planes
    }

    /// Changes every row in place, in parallel: `change(y, channels)`.
    pub fn update(&mut self, change: impl Fn(usize, [&mut [f32]; N]) + Sync) {
        let (width, stride) = (self.width, self.stride);
        self.values.par_chunks_mut(stride * N).enumerate().for_each(|(y, row)| {
            let mut channels = row.chunks_exact_mut(stride);
            // invariant: the row has N channels; `default` is never asked.
            change(
                y,
                std::array::from_fn(|_| {
                    channels.next().map(|channel| &mut channel[PADDING..PADDING + width]).unwrap_or_default()
                }),
            );
        });
    }

    /// The channels of a row.
    pub fn row(&self, y: usize) -> [&[f32]; N] {
        self.padded_row(y).map(|channel| &channel[PADDING..PADDING + self.width])
    }

    /// The channels of a row with the padding.
    pub fn padded_row(&self, y: usize) -> [&[f32]; N] {
        let row = &self.values[y * self.stride * N..(y + 1) * self.stride * N];
        std::array::from_fn(|channel| &row[channel * self.stride..(channel + 1) * self.stride])
    }

    /// The row nearest to `y + offset` in the frame: beyond an edge the picture goes on as it ends.
    pub fn nearest_row(&self, y: usize, offset: isize) -> [&[f32]; N] {
        self.row(y.saturating_add_signed(offset).min(self.height - 1))
    }

    /// Pixels of a row.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub const fn height(&self) -> usize {
        self.height
    }

    /// Pixels of a row, and rows.
    pub const fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }
}

/// The row with `border` more values on each side.
pub fn extend(row: &[f32], border: usize, value: f32) -> Vec<f32> {
    let mut extended = vec![value; row.len() + 2 * border];
    extended[border..border + row.len()].copy_from_slice(row);
    extended
}
