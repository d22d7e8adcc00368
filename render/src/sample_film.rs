//! A frame that gets better: ranges of its samples, each a film of sums, merged in any order to the bits of the whole.

use std::ops::Range;

use p2c2r_protocol::{limit::MAX_SAMPLES_PER_PIXEL, tile::FrameSize};

use crate::{film::Film, kernel::sum::RadianceSum};

/// Why a range of samples is not taken. The film is as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleFilmError {
    /// Samples that are there already.
    #[error("samples {new:?} overlap with samples {old:?}, which are in the film")]
    Overlap {
        /// The range that was offered.
        new: Range<u32>,
        /// The range that is there.
        old: Range<u32>,
    },
    /// No samples, or some beyond the last that a frame may have.
    #[error("samples {0:?} are empty or beyond the last of {MAX_SAMPLES_PER_PIXEL}")]
    Range(Range<u32>),
    /// A film of another size.
    #[error("the samples are of another frame size")]
    Size,
}

/// The sums of all samples so far, and how many each pixel has.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleFilm {
    size: FrameSize,
    sums: Vec<RadianceSum>,
    samples: Vec<u32>,
    ranges: Vec<Range<u32>>,
}

impl SampleFilm {
    /// Without any samples.
    pub fn new(size: FrameSize) -> Self {
        // invariant: a frame size is limited to 2^27 pixels.
        let pixels = size.pixels() as usize;
        Self {
            size,
            sums: vec![RadianceSum::default(); pixels],
            samples: vec![0; pixels],
            ranges: Vec::new(),
        }
    }

    /// Adds a range of samples, as far as its film has pixels. Each sample is taken only once.
    pub fn merge(&mut self, range: Range<u32>, film: &Film<RadianceSum>) -> Result<(), SampleFilmError> {
        if film.size() != self.size {
            return Err(SampleFilmError::Size);
        }
        if range.is_empty() || range.end > MAX_SAMPLES_PER_PIXEL {
            return Err(SampleFilmError::Range(range));
        }
        if let Some(old) = self.ranges.iter().find(|old| old.start < range.end && range.start < old.end) {
            return Err(SampleFilmError::Overlap { new: range, old: old.clone() });
        }
        let samples = range.end - range.start;
        let ours = self.sums.iter_mut().zip(&mut self.samples);
        for ((sum, count), (more, covered)) in ours.zip(film.pixels().iter().zip(film.coverage())) {
            if *covered {
                *sum = sum.merged(*more);
                *count += samples;
            }
        }
        self.ranges.push(range);
        Ok(())
    }

    /// Samples of each pixel, rows from the top.
    pub fn samples(&self) -> &[u32] {
        &self.samples
    }

    /// The picture so far: each pixel is the mean of the samples that it has.
    pub fn mean(&self) -> Film {
        let pixel = |index: usize| {
            let samples = self.samples[index];
            (samples > 0).then(|| self.sums[index].mean(samples))
        };
        Film::from_fn(self.size, pixel)
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::tile::TileRect;

    use super::*;
    use crate::math::vec3;

    /// A film of some samples: sample `i` of every pixel is `i + 1` bright.
    fn film(size: FrameSize, range: Range<u32>, rect: TileRect) -> Film<RadianceSum> {
        let mut sum = RadianceSum::default();
        range.for_each(|index| sum.add(vec3((index + 1) as f32, 0.5, 0.1)));
        let mut film = Film::new(size);
        film.insert(rect, &vec![sum; rect.pixels() as usize]).unwrap();
        film
    }

    #[test]
    fn ranges_in_any_order_give_the_bits_of_the_whole() {
        let size = FrameSize::new(3, 2).unwrap();
        let mut whole = SampleFilm::new(size);
        whole.merge(0..10, &film(size, 0..10, size.full())).unwrap();
        assert_eq!(whole.mean().pixels()[0][0], 5.5);
        for order in [[0..2, 2..5, 5..10], [5..10, 0..2, 2..5], [2..5, 5..10, 0..2]] {
            let mut merged = SampleFilm::new(size);
            for range in order {
                merged.merge(range.clone(), &film(size, range, size.full())).unwrap();
            }
            assert_eq!(merged.mean(), whole.mean());
        }
    }

    #[test]
    fn pixels_of_a_range_that_was_cut_short_keep_the_samples_that_they_have() {
        let size = FrameSize::new(3, 2).unwrap();
        let left = TileRect { x: 0, y: 0, width: 1, height: 2 };
        let mut merged = SampleFilm::new(size);
        merged.merge(4..6, &film(size, 4..6, left)).unwrap();
        assert_eq!(merged.mean().covered(), 2);
        merged.merge(0..4, &film(size, 0..4, size.full())).unwrap();
        let mean = merged.mean();
        assert!(mean.is_complete());
        assert_eq!((merged.samples()[0], merged.samples()[1]), (6, 4));
        assert_eq!((mean.pixels()[3][0], mean.pixels()[4][0]), (3.5, 2.5));
    }

    #[test]
    fn samples_are_taken_only_once_and_only_if_they_fit() {
        let size = FrameSize::new(3, 2).unwrap();
        let mut merged = SampleFilm::new(size);
        merged.merge(2..5, &film(size, 2..5, size.full())).unwrap();
        let before = merged.clone();
        for again in [2..5, 0..3, 4..9, 3..4] {
            let refused = merged.merge(again.clone(), &film(size, again.clone(), size.full()));
            assert_eq!(refused, Err(SampleFilmError::Overlap { new: again, old: 2..5 }));
        }
        let beyond = MAX_SAMPLES_PER_PIXEL..MAX_SAMPLES_PER_PIXEL + 1;
        for bad in [7..7, beyond] {
            let refused = merged.merge(bad.clone(), &film(size, 0..1, size.full()));
            assert_eq!(refused, Err(SampleFilmError::Range(bad)));
        }
        let other = FrameSize::new(2, 3).unwrap();
        assert_eq!(merged.merge(0..1, &film(other, 0..1, other.full())), Err(SampleFilmError::Size));
        assert_eq!(merged, before);
    }
}
