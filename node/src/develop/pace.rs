//! How long making a picture of a film takes here: learned from each picture, so that it is known before the next.

use std::path::Path;

use p2c2r_protocol::tile::FrameSize;
use p2c2r_render::{denoise::Denoiser, picture};

use super::{DevelopSettings, feature_samples, needs_scene};
use crate::report::PictureReport;

/// Weight of the newest picture.
const WEIGHT: f64 = 0.3;
/// Before the first: rendering one sample of a pixel's features, ms.
const FEATURE_MS: f64 = 0.3e-3;
/// Denoising a pixel, ms.
const DENOISE_MS: f64 = 0.6e-3;
/// Writing a pixel, ms.
const WRITE_MS: f64 = 0.1e-3;

/// What parts of the work take, ms for each pixel (of the features: for each sample of it).
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_field_names, reason = "numbers that have a unit say it")]
pub struct DevelopPace {
    feature_ms: f64,
    denoise_ms: f64,
    write_ms: f64,
}

impl Default for DevelopPace {
    fn default() -> Self {
        Self { feature_ms: FEATURE_MS, denoise_ms: DENOISE_MS, write_ms: WRITE_MS }
    }
}

/// Times of the parts of a picture, ms.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(clippy::struct_field_names, reason = "numbers that have a unit say it")]
pub struct DevelopTimes {
    /// Rendering albedo, normals and depth.
    pub features_ms: f64,
    /// Denoising.
    pub denoise_ms: f64,
    /// Tone curve, encoding, writing.
    pub write_ms: f64,
}

impl DevelopTimes {
    /// All together, ms.
    pub fn total_ms(&self) -> f64 {
        self.features_ms + self.denoise_ms + self.write_ms
    }
}

impl DevelopPace {
    /// What a picture is expected to take.
    pub fn expected(
        &self,
        size: FrameSize,
        samples: u32,
        settings: &DevelopSettings,
        output: &Path,
    ) -> DevelopTimes {
        let pixels = size.pixels() as f64;
        let only = |asked: bool, ms: f64| if asked { ms } else { 0.0 };
        let feature_samples = f64::from(feature_samples(samples));
        DevelopTimes {
            features_ms: only(needs_scene(settings, output), pixels * feature_samples * self.feature_ms),
            denoise_ms: only(settings.denoiser != Denoiser::Off, pixels * self.denoise_ms),
            // Layers of floats are several times the bytes.
            write_ms: pixels * self.write_ms * if picture::is_layered(output) { 3.0 } else { 1.0 },
        }
    }

    /// Learns from a picture.
    pub fn learn(&mut self, size: FrameSize, samples: u32, output: &Path, report: &PictureReport) {
        let pixels = size.pixels() as f64;
        let layered = if picture::is_layered(output) { 3.0 } else { 1.0 };
        let parts = [
            (&mut self.feature_ms, report.features_ms / f64::from(feature_samples(samples))),
            (&mut self.denoise_ms, report.denoise_ms),
            (&mut self.write_ms, report.write_ms / layered),
        ];
        for (known, took_ms) in parts {
            let each_ms = took_ms / pixels;
            if each_ms > 0.0 && each_ms.is_finite() {
                *known += WEIGHT * (each_ms - *known);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_expected_again_and_what_is_not_done_takes_no_time() {
        let (size, output) = (FrameSize::new(100, 100).unwrap(), Path::new("a.png"));
        let mut pace = DevelopPace::default();
        let seen = PictureReport {
            features_ms: 200.0,
            denoise_ms: 70.0,
            write_ms: 30.0,
            ..PictureReport::default()
        };
        for _ in 0..40 {
            pace.learn(size, 4, output, &seen);
        }
        let denoised = DevelopSettings { denoiser: Denoiser::Atrous, ..DevelopSettings::default() };
        let expected = pace.expected(size, 4, &denoised, output);
        assert!((expected.total_ms() - 300.0).abs() < 0.1, "{expected:?}");
        let plain = pace.expected(size, 4, &DevelopSettings::default(), output);
        assert!((plain.total_ms() - 30.0).abs() < 0.1, "{plain:?}");
        let twice = pace.expected(FrameSize::new(200, 100).unwrap(), 4, &denoised, output);
        assert!((twice.total_ms() - 600.0).abs() < 0.2, "{twice:?}");
    }
}
