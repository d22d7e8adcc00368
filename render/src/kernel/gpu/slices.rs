//! A tile in runs of the kernel that are short enough to be stopped soon, and never long enough to trip a driver's
//! watchdog.

/// Edge of a workgroup, as in path.wgsl.
pub const WORKGROUP_PX: u32 = 8;
/// A run is meant to take this long, ms.
const RUN_MS: f64 = 20.0;
/// Paths of the first run, when nothing is known of the device's speed.
const FIRST_PATHS: f64 = 4096.0;
/// Fewest and most paths of a run.
const MIN_PATHS: f64 = 256.0;
const MAX_PATHS: f64 = 16_777_216.0;

/// How many paths a run may have, learned from the runs before.
#[derive(Debug, Clone, Copy)]
pub struct RunSize {
    paths: f64,
}

impl Default for RunSize {
    fn default() -> Self {
        Self { paths: FIRST_PATHS }
    }
}

impl RunSize {
    /// Moves at most by a factor of two at a time: one odd measurement does no harm.
    pub fn learn(&mut self, paths: f64, elapsed_ms: f64) {
        let fitting = paths * RUN_MS / elapsed_ms.max(0.05);
        self.paths = fitting.clamp(self.paths * 0.5, self.paths * 2.0).clamp(MIN_PATHS, MAX_PATHS);
    }

    /// Rows that a run of a single sample takes; whole workgroups.
    fn rows(self, width: u32, left: u32) -> u32 {
        let rows = (self.paths / f64::from(width)).clamp(1.0, f64::from(left)) as u32;
        (rows.div_ceil(WORKGROUP_PX) * WORKGROUP_PX).min(left)
    }

    /// Samples that a run takes.
    fn samples(self, pixels: u32, left: u32) -> u32 {
        (self.paths / f64::from(pixels)).clamp(1.0, f64::from(left)) as u32
    }
}

/// A part of a tile: (first, count) of its rows and of its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Rows.
    pub rows: (u32, u32),
    /// Samples.
    pub samples: (u32, u32),
}

/// What is left of a tile to be handed out.
#[derive(Debug, Clone, Copy)]
pub struct Slices {
    width: u32,
    height: u32,
    samples: u32,
    /// Rows in hand, and how many of their samples are handed out.
    rows: (u32, u32),
    sample: u32,
}

impl Slices {
    /// Of a whole tile.
    pub fn new(width: u32, height: u32, samples: u32) -> Self {
        Self { width, height, samples, rows: (0, 0), sample: 0 }
    }

    /// The next one: all samples of some rows, then the next rows.
    pub fn next(&mut self, size: RunSize) -> Option<Slice> {
        if self.rows.1 == 0 || self.sample >= self.samples {
            let first = self.rows.0 + self.rows.1;
            if first >= self.height || self.samples == 0 {
                return None;
            }
            self.rows = (first, size.rows(self.width, self.height - first));
            self.sample = 0;
        }
        let count = size.samples(self.width * self.rows.1, self.samples - self.sample);
        let slice = Slice { rows: self.rows, samples: (self.sample, count) };
        self.sample += count;
        Some(slice)
    }

    /// Paths of a slice.
    pub fn paths(&self, slice: Slice) -> f64 {
        f64::from(self.width) * f64::from(slice.rows.1) * f64::from(slice.samples.1)
    }

    /// Share of the tile up to the end of a slice, thousandths.
    pub fn share_done(&self, slice: Slice) -> u32 {
        let total = u64::from(self.height) * u64::from(self.samples);
        let of_rows = u64::from(slice.rows.1) * u64::from(slice.samples.0 + slice.samples.1);
        let done = u64::from(slice.rows.0) * u64::from(self.samples) + of_rows;
        (done * 1000 / total.max(1)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_whole_workgroups_and_no_more_than_is_left() {
        let (small, large) = (RunSize { paths: 1.0 }, RunSize { paths: 1e9 });
        assert_eq!((small.rows(640, 100), large.rows(640, 100)), (8, 100));
        assert_eq!((small.samples(640 * 8, 4), large.samples(64, 4)), (1, 4));
    }

    #[test]
    fn slices_cover_every_sample_of_every_row_once_and_in_order() {
        for paths in [1.0, 700.0, 5000.0, 1e9] {
            let mut slices = Slices::new(50, 33, 7);
            let mut next_sample = [0; 33];
            let mut share = 0;
            while let Some(slice) = slices.next(RunSize { paths }) {
                for row in slice.rows.0..slice.rows.0 + slice.rows.1 {
                    assert_eq!(next_sample[row as usize], slice.samples.0);
                    next_sample[row as usize] += slice.samples.1;
                }
                assert!(slices.share_done(slice) >= share);
                share = slices.share_done(slice);
            }
            assert_eq!((next_sample, share), ([7; 33], 1000));
        }
    }

    #[test]
    fn run_size_follows_the_device_in_steps() {
        let mut size = RunSize::default();
        size.learn(4096.0, 1e6);
        assert_eq!(size.paths, 2048.0);
        for _ in 0..40 {
            size.learn(size.paths, 0.1);
        }
        assert_eq!(size.paths, MAX_PATHS);
    }
}
