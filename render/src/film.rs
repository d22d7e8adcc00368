//! The picture under way: takes finished tiles in any order, each pixel exactly once.

use p2c2r_protocol::tile::{FrameSize, TileRect};

/// Why the film refuses a tile, or bytes are no tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilmError {
    /// A tile with no pixels, or one that leaves the frame.
    #[error("tile {rect:?} is empty or leaves the frame of {width_px}x{height_px} pixels")]
    Outside {
        /// The tile.
        rect: TileRect,
        /// Width of the frame.
        width_px: u32,
        /// Height of the frame.
        height_px: u32,
    },
    /// More or fewer pixels than the tile has.
    #[error("tile {rect:?} has {expected} pixels, not {found}")]
    Length {
        /// The tile.
        rect: TileRect,
        /// Pixels that the tile has.
        expected: u64,
        /// Pixels offered.
        found: u64,
    },
    /// A pixel that is there already.
    #[error("tile {rect:?} would write pixel ({x}, {y}) a second time")]
    Overlap {
        /// The tile.
        rect: TileRect,
        /// Column of the first such pixel.
        x: u32,
        /// Its row.
        y: u32,
    },
    /// Encoded pixels of another length than the tile's.
    #[error("the tile's pixels take {expected} bytes, not {found}")]
    EncodedLength {
        /// Bytes that the tile's pixels take.
        expected: u64,
        /// Bytes offered.
        found: u64,
    },
    /// A channel that is no radiance.
    #[error(
        "pixel {pixel} of the tile is no radiance: negative, not finite, or more than its samples can give"
    )]
    Radiance {
        /// Which pixel, counted from the tile's top left.
        pixel: u64,
    },
}

/// A frame's pixels, rows from the top, with a note of which are there: linear radiance, or sums of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Film<P = [f32; 3]> {
    size: FrameSize,
    pixels: Vec<P>,
    covered: Vec<bool>,
    covered_pixels: u64,
}

impl<P: Copy + Default> Film<P> {
    /// An empty film.
    pub fn new(size: FrameSize) -> Self {
        // invariant: a frame size is limited to 2^27 pixels.
        let pixels = size.pixels() as usize;
        Self { size, pixels: vec![P::default(); pixels], covered: vec![false; pixels], covered_pixels: 0 }
    }

    /// The frame's size.
    pub const fn size(&self) -> FrameSize {
        self.size
    }

    /// Takes a tile: its rows from the top, pixels from the left. When it is refused the film is as before.
    pub fn insert(&mut self, rect: TileRect, pixels: &[P]) -> Result<(), FilmError> {
        let (width_px, height_px) = (self.size.width_px(), self.size.height_px());
        rect.check(self.size).map_err(|_| FilmError::Outside { rect, width_px, height_px })?;
        let (expected, found) = (rect.pixels(), pixels.len() as u64);
        if expected != found {
            return Err(FilmError::Length { rect, expected, found });
        }
        for y in rect.y..rect.y + rect.height {
            let row = self.row(rect, y);
            if let Some(at) = self.covered[row].iter().position(|covered| *covered) {
                return Err(FilmError::Overlap { rect, x: rect.x + at as u32, y });
            }
        }
        for (y, source) in (rect.y..).zip(pixels.chunks_exact(rect.width as usize)) {
            let row = self.row(rect, y);
            self.pixels[row.clone()].copy_from_slice(source);
            self.covered[row].fill(true);
        }
        self.covered_pixels += expected;
        Ok(())
    }

    /// Takes the tile's pixels out again; those outside the frame are none.
    pub fn remove(&mut self, rect: TileRect) {
        if rect.check(self.size).is_err() {
            return;
        }
        for y in rect.y..rect.y + rect.height {
            let row = self.row(rect, y);
            self.covered_pixels -=
                self.covered[row.clone()].iter().filter(|covered| **covered).count() as u64;
            self.covered[row.clone()].fill(false);
            self.pixels[row].fill(P::default());
        }
    }

    /// Where the tile's part of row `y` lies in the arrays. The tile has been checked against the frame.
    fn row(&self, rect: TileRect, y: u32) -> std::ops::Range<usize> {
        let start = y as usize * self.size.width_px() as usize + rect.x as usize;
        start..start + rect.width as usize
    }

    /// Pixels that are there.
    pub const fn covered(&self) -> u64 {
        self.covered_pixels
    }

    /// Whether every pixel is there.
    pub const fn is_complete(&self) -> bool {
        self.covered_pixels == self.size.pixels()
    }

    /// All pixels, rows from the top; those that are missing are black.
    pub fn pixels(&self) -> &[P] {
        &self.pixels
    }

    /// All pixels, as [`Self::pixels`].
    pub fn into_pixels(self) -> Vec<P> {
        self.pixels
    }

    /// Which pixels are there, rows from the top.
    pub fn coverage(&self) -> &[bool] {
        &self.covered
    }

    /// A film of the pixels that there are, by index, rows from the top.
    pub fn from_fn(size: FrameSize, pixel: impl Fn(usize) -> Option<P>) -> Self {
        let mut film = Self::new(size);
        for (index, (value, covered)) in film.pixels.iter_mut().zip(&mut film.covered).enumerate() {
            if let Some(found) = pixel(index) {
                (*value, *covered) = (found, true);
                film.covered_pixels += 1;
            }
        }
        film
    }

    /// The missing pixels as rectangles that do not overlap, from the top down.
    pub fn missing(&self) -> Vec<TileRect> {
        let mut done = Vec::new();
        let mut open: Vec<TileRect> = Vec::new();
        for (y, row) in (0_u32..).zip(self.covered.chunks_exact(self.size.width_px() as usize)) {
            let runs = uncovered_runs(row);
            // A rectangle goes on only where the very same run is missing in the next row.
            let (grown, ended): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|rect| runs.contains(&(rect.x, rect.width)));
            done.extend(ended);
            open = runs
                .into_iter()
                .map(|(x, width)| {
                    let above = grown.iter().find(|rect| (rect.x, rect.width) == (x, width));
                    above.map_or(TileRect { x, y, width, height: 1 }, |rect| TileRect {
                        height: rect.height + 1,
                        ..*rect
                    })
                })
                .collect();
        }
        done.extend(open);
        done.sort_unstable_by_key(|rect| (rect.y, rect.x));
        done
    }
}

/// Start and length of each run of pixels that are not there.
fn uncovered_runs(row: &[bool]) -> Vec<(u32, u32)> {
    let mut x = 0_u32;
    let mut runs = Vec::new();
    for run in row.chunk_by(|a, b| a == b) {
        let width = run.len() as u32;
        if run.first() == Some(&false) {
            runs.push((x, width));
        }
        x += width;
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rect(x: u32, y: u32, width: u32, height: u32) -> TileRect {
        TileRect { x, y, width, height }
    }

    fn pixels(rect: TileRect) -> Vec<[f32; 3]> {
        (0..rect.height)
            .flat_map(|y| (0..rect.width).map(move |x| [(rect.x + x) as f32, (rect.y + y) as f32, 1.0]))
            .collect()
    }

    #[test]
    fn a_tile_taken_out_can_be_put_in_again() {
        let size = FrameSize::new(8, 4).unwrap();
        let mut film = Film::new(size);
        let rect = TileRect { x: 2, y: 1, width: 3, height: 2 };
        film.insert(rect, &[[1.0; 3]; 6]).unwrap();
        film.remove(rect);
        assert_eq!((film.covered(), film.pixels()[10]), (0, [0.0; 3]));
        film.insert(rect, &[[2.0; 3]; 6]).unwrap();
        film.remove(TileRect { x: 7, y: 0, width: 9, height: 1 });
        assert_eq!(film.covered(), 6);
    }

    #[test]
    fn refused_tiles_leave_the_film_as_it_was() {
        let mut film = Film::new(FrameSize::new(8, 4).unwrap());
        let first = rect(2, 1, 3, 2);
        film.insert(first, &pixels(first)).unwrap();
        let before = film.clone();
        let overlapping = rect(0, 0, 8, 4);
        assert!(matches!(
            film.insert(overlapping, &pixels(overlapping)),
            Err(FilmError::Overlap { x: 2, y: 1, .. })
        ));
        assert!(matches!(film.insert(rect(0, 0, 2, 1), &[[0.0; 3]; 3]), Err(FilmError::Length { .. })));
        for outside in [rect(7, 0, 2, 1), rect(0, 0, 0, 1), rect(u32::MAX, 0, 2, 1), rect(0, 4, 1, 1)] {
            assert!(matches!(film.insert(outside, &[[0.0; 3]; 2]), Err(FilmError::Outside { .. })));
        }
        assert_eq!(film, before);
        assert_eq!(film.covered(), 6);
    }

    #[test]
    fn missing_rectangles_are_the_complement() {
        let mut film = Film::new(FrameSize::new(6, 4).unwrap());
        assert_eq!(film.missing(), [rect(0, 0, 6, 4)]);
        let hole = rect(2, 1, 2, 2);
        film.insert(hole, &pixels(hole)).unwrap();
        assert_eq!(film.missing(), [rect(0, 0, 6, 1), rect(0, 1, 2, 2), rect(4, 1, 2, 2), rect(0, 3, 6, 1)]);
    }

    /// Splits a frame by a list of cuts, as a BSP does.
    fn partition(frame: TileRect, cuts: &[(bool, u32)]) -> Vec<TileRect> {
        let mut tiles = vec![frame];
        for (number, (vertical, at)) in cuts.iter().enumerate() {
            let tile = tiles.swap_remove(number * 7 % tiles.len());
            let edge = if *vertical { tile.width } else { tile.height };
            if edge < 2 {
                tiles.push(tile);
                continue;
            }
            let first = 1 + at % (edge - 1);
            if *vertical {
                tiles.push(TileRect { width: first, ..tile });
                tiles.push(TileRect { x: tile.x + first, width: tile.width - first, ..tile });
            } else {
                tiles.push(TileRect { height: first, ..tile });
                tiles.push(TileRect { y: tile.y + first, height: tile.height - first, ..tile });
            }
        }
        tiles
    }

    proptest! {
        #[test]
        fn any_partition_in_any_order_completes_the_film(
            (width, height) in (1_u32..40, 1_u32..40),
            cuts in prop::collection::vec((any::<bool>(), any::<u32>()), 0..24),
            order in any::<u64>(),
        ) {
            let size = FrameSize::new(width, height).unwrap();
            let mut tiles = partition(size.full(), &cuts);
            tiles.sort_by_key(|tile| (u64::from(tile.x) * 31 + u64::from(tile.y) * 17).wrapping_mul(order | 1));
            let mut film = Film::new(size);
            for (number, tile) in tiles.iter().enumerate() {
                let missing: u64 = film.missing().iter().map(|rect| rect.pixels()).sum();
                prop_assert_eq!(missing + film.covered(), size.pixels());
                prop_assert_eq!(film.is_complete(), false);
                film.insert(*tile, &pixels(*tile)).unwrap();
                let before = film.clone();
                let again = tiles[number / 2];
                let is_overlap = matches!(film.insert(again, &pixels(again)), Err(FilmError::Overlap { .. }));
                prop_assert!(is_overlap);
                prop_assert_eq!(&film, &before);
            }
            prop_assert!(film.is_complete() && film.missing().is_empty());
            prop_assert_eq!(film.pixels(), &pixels(size.full())[..]);
        }
    }
}
