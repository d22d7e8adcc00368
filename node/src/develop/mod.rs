//! From a finished film to the picture on disk: features for its layers, the denoiser, the tone curve; how long that takes
//! ([`pace`]).

pub mod pace;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Instant,
};

use anyhow::Context;
use p2c2r_render::{
    backend::{FrameView, RenderControl, RenderError},
    denoise::{Denoiser, check_available, denoise},
    film::Film,
    frame::Frame,
    gbuffer,
    picture::{self, PictureOptions},
    prepared::PreparedScene,
};
use serde::{Deserialize, Serialize};

use crate::report::PictureReport;

/// Most samples that a pixel's features are averaged over: enough for edges and textures, few beside the picture's.
const MAX_FEATURE_SAMPLES: u32 = 16;

/// How a picture is made of a film. The film itself is the same whatever is chosen here.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevelopSettings {
    /// Takes the noise out.
    pub denoiser: Denoiser,
    /// How a PNG is written.
    pub picture: PictureOptions,
}

/// Whether pictures could be made so: asked before rendering.
pub fn check(settings: &DevelopSettings) -> anyhow::Result<()> {
    Ok(check_available(settings.denoiser)?)
}

/// Stops the features' rendering when whoever waits for the picture goes away.
#[derive(Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Set when the guard is dropped.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A film and where it comes from.
pub struct Negative {
    /// The pixels.
    pub film: Film,
    /// The scene; of a picture that is made of the film alone it is not needed.
    pub scene: Option<Arc<PreparedScene>>,
    /// From where.
    pub view: FrameView,
}

/// Whether the scene is needed to make such a picture of a film.
pub fn needs_scene(settings: &DevelopSettings, output: &Path) -> bool {
    settings.denoiser != Denoiser::Off || picture::is_layered(output)
}

/// Makes the picture of a film and writes it, whole or not at all. Blocks; stops early only when `stop` is set. A
/// denoiser that fails costs a warning, not the picture.
pub fn develop(
    negative: Negative,
    output: &Path,
    settings: &DevelopSettings,
    stop: &AtomicBool,
    warnings: &mut Vec<String>,
) -> anyhow::Result<PictureReport> {
    let Negative { film, scene, view } = negative;
    let missing = film.missing();
    let mut frame = Frame::from(film);
    let mut report = PictureReport::default();
    let wants_noise_out = settings.denoiser != Denoiser::Off;
    if needs_scene(settings, output) {
        let scene = scene.context("the picture's scene is not there")?;
        let started = Instant::now();
        frame.features = Some(features(&scene, &view, stop).context("the picture's features")?.features);
        report.features_ms = started.elapsed().as_secs_f64() * 1e3;
    }
    if wants_noise_out {
        // Pixels without radiance are no part of any surface: their black would spread over what is beside them.
        let whole = frame.features.clone();
        if let Some(features) = &mut frame.features {
            for rect in &missing {
                features.clear(view.size, *rect);
            }
        }
        let started = Instant::now();
        match denoise(&mut frame, settings.denoiser) {
            Ok(()) => settings.denoiser.name().clone_into(&mut report.denoiser),
            Err(error) => warnings.push(format!("the picture is not denoised: {error}")),
        }
        report.denoise_ms = started.elapsed().as_secs_f64() * 1e3;
        frame.features = whole;
    }
    let started = Instant::now();
    picture::write(output, &frame, &settings.picture)?;
    report.write_ms = started.elapsed().as_secs_f64() * 1e3;
    Ok(report)
}

/// Of a picture of so many samples, those that its features are averaged over.
pub fn feature_samples(samples: u32) -> u32 {
    samples.min(MAX_FEATURE_SAMPLES)
}

fn features(
    scene: &PreparedScene,
    view: &FrameView,
    cancelled: &AtomicBool,
) -> Result<gbuffer::GBuffer, RenderError> {
    let samples = feature_samples(view.sampling.samples);
    let control = RenderControl { cancelled, progress: &AtomicU32::new(0) };
    gbuffer::render(scene, view, None, samples, &control)
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::tile::{FrameSize, Sampling, TileRect};
    use p2c2r_render::{
        backend::{camera, render_pixels},
        limit::SceneLimits,
        scene::{
            generate::{SceneKind, generate},
            gltf::parse_package,
        },
    };

    use super::*;

    fn negative(holes: bool) -> Negative {
        let package = generate(SceneKind::Cornell, 1, None);
        let scene = parse_package(&package, &SceneLimits::default()).unwrap().scene;
        let scene = Arc::new(PreparedScene::build(scene));
        let size = FrameSize::new(48, 48).unwrap();
        let sampling = Sampling { first_sample: 0, samples: 2, max_depth: 4, seed: 1, clamp: 0.0 };
        let view = FrameView { size, sampling, camera: camera(&scene.scene().cameras[0], size) };
        let mut film = Film::new(size);
        let width = if holes { 32 } else { 48 };
        let rect = TileRect { x: 0, y: 0, width, height: 48 };
        let pixels: Vec<(u32, u32)> = (0..48).flat_map(|y| (0..width).map(move |x| (x, y))).collect();
        film.insert(rect, &render_pixels(&scene, &view, &pixels)).unwrap();
        Negative { film, scene: Some(scene), view }
    }

    fn developed(holes: bool, denoiser: Denoiser, name: &str) -> (PictureReport, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join(name);
        let settings = DevelopSettings { denoiser, ..DevelopSettings::default() };
        let (stop, mut warnings) = (AtomicBool::new(false), Vec::new());
        let report = develop(negative(holes), &output, &settings, &stop, &mut warnings).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        (report, std::fs::read(output).unwrap())
    }

    #[test]
    fn the_denoiser_changes_the_picture_and_the_report_says_so() {
        let (raw, plain) = developed(false, Denoiser::Off, "raw.png");
        let (report, smooth) = developed(false, Denoiser::Atrous, "smooth.png");
        assert_eq!((raw.denoiser.as_str(), report.denoiser.as_str()), ("off", "atrous"));
        // Noise does not compress.
        assert!(smooth.len() * 10 < plain.len() * 9, "{} bytes, {} raw", smooth.len(), plain.len());
        assert!(raw.features_ms <= 0.0 && report.features_ms > 0.0);
    }

    #[test]
    fn an_exr_has_the_features_as_layers() {
        let (_, bytes) = developed(false, Denoiser::Off, "layers.exr");
        for layer in ["albedo.R", "normal.X", "depth.Z"] {
            assert!(bytes.windows(layer.len()).any(|window| window == layer.as_bytes()), "{layer}");
        }
    }

    #[test]
    fn missing_pixels_stay_black_beside_denoised_ones() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("partial.exr");
        let settings = DevelopSettings { denoiser: Denoiser::Atrous, ..DevelopSettings::default() };
        let stop = AtomicBool::new(false);
        develop(negative(true), &output, &settings, &stop, &mut Vec::new()).unwrap();
        let image = exr::prelude::read_first_rgba_layer_from_file(
            &output,
            |size, _| vec![vec![[0.0_f32; 3]; size.width()]; size.height()],
            |rows, at, (red, green, blue, _): (f32, f32, f32, f32)| rows[at.y()][at.x()] = [red, green, blue],
        )
        .unwrap();
        let rows = &image.layer_data.channel_data.pixels;
        assert!(rows.iter().all(|row| row[32..].iter().all(|pixel| pixel.iter().sum::<f32>() <= 0.0)));
        assert!(rows[24][31].iter().sum::<f32>() > 0.01, "{:?}", rows[24][31]);
    }

    #[test]
    fn whoever_goes_away_stops_it() {
        let stop = Stop::default();
        let flag = stop.flag();
        drop(stop);
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("never.exr");
        let refused = develop(negative(false), &output, &DevelopSettings::default(), &flag, &mut Vec::new());
        assert!(refused.is_err() && !output.exists());
    }
}
