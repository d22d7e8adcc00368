//! The GPU kernel: device, pipeline and scenes stay resident; a tile is a few short dispatches.

mod device;
mod features;
mod upload;

use std::{sync::Arc, time::Instant};

use p2c2r_protocol::tile::TileRect;

use self::{
    device::{BINDINGS, Gpu},
    upload::{Params, ResidentScene, film_bytes, params},
};
use crate::{
    backend::{Backend, BackendInfo, BackendKind, RenderControl, RenderError, TileJob, TilePixels},
    math::{Vec3, flush_tiny, reciprocal},
    prepared::PreparedScene,
};

/// The kernel's source, piece by piece: the twins of the Rust files of the same names.
const SOURCES: [&str; 12] = [
    include_str!("gpu/scene.wgsl"),
    include_str!("gpu/math.wgsl"),
    include_str!("gpu/sample.wgsl"),
    include_str!("gpu/bvh.wgsl"),
    include_str!("gpu/instance.wgsl"),
    include_str!("gpu/texture.wgsl"),
    include_str!("gpu/albedo.wgsl"),
    include_str!("gpu/bsdf.wgsl"),
    include_str!("gpu/light.wgsl"),
    include_str!("gpu/environment.wgsl"),
    include_str!("gpu/surface.wgsl"),
    include_str!("gpu/path.wgsl"),
];
/// Edge of a workgroup, as in path.wgsl.
const WORKGROUP_PX: u32 = 8;
/// A dispatch is meant to take this long: short enough to be stopped soon and to never trip a driver's watchdog.
const DISPATCH_MS: f64 = 20.0;
/// Paths of the first dispatch, when nothing is known of the device's speed.
const FIRST_PATHS: f64 = 4096.0;
/// Most paths of one dispatch.
const MAX_PATHS: f64 = 16_777_216.0;
/// Scenes kept on the device.
const MAX_SCENES: usize = 2;

/// Renders on a GPU.
pub struct GpuBackend {
    gpu: Gpu,
    info: BackendInfo,
    scenes: Vec<ResidentScene>,
    /// Paths that a dispatch of [`DISPATCH_MS`] takes, as measured.
    paths_per_dispatch: f64,
}

impl GpuBackend {
    /// Opens the fastest GPU; only real ones if `hardware_only`.
    pub fn open(hardware_only: bool) -> Result<Self, RenderError> {
        Ok(Self::with(Gpu::open(hardware_only, SOURCES.concat())?))
    }

    fn with(gpu: Gpu) -> Self {
        let info =
            BackendInfo { kind: BackendKind::Gpu, adapter: gpu.adapter.clone(), threads: 1, exact: false };
        Self { gpu, info, scenes: Vec::new(), paths_per_dispatch: FIRST_PATHS }
    }

    /// Notes what the self-test said.
    pub fn set_exact(&mut self, exact: bool) {
        self.info.exact = exact;
    }

    /// The scene's place among the resident ones; uploaded if it is new.
    fn resident(&mut self, scene: &Arc<PreparedScene>) -> Result<usize, RenderError> {
        if let Some(at) = self.scenes.iter().position(|resident| resident.id == scene.id()) {
            return Ok(at);
        }
        if self.scenes.len() >= MAX_SCENES {
            self.scenes.remove(0);
        }
        self.scenes.push(ResidentScene::upload(&self.gpu, scene)?);
        Ok(self.scenes.len() - 1)
    }

    /// Runs all dispatches of a tile.
    fn dispatch_all(
        &mut self,
        pipeline: &wgpu::ComputePipeline,
        bindings: &wgpu::BindGroup,
        uniform: &wgpu::Buffer,
        whole: Params,
        control: &RenderControl<'_>,
    ) -> Result<(), RenderError> {
        let (width, height, samples) = (whole.tile_width, whole.tile_height, whole.samples);
        let total = u64::from(height) * u64::from(samples);
        let (mut row, mut done) = (0, 0_u64);
        while row < height {
            let rows = rows_at_once(self.paths_per_dispatch, width, height - row);
            let mut sample = 0;
            while sample < samples {
                if control.is_cancelled() {
                    return Err(RenderError::Cancelled);
                }
                let count = samples_at_once(self.paths_per_dispatch, width * rows, samples - sample);
                let part = whole.part((row, rows), (sample, count));
                let started = Instant::now();
                let groups = (width.div_ceil(WORKGROUP_PX), rows.div_ceil(WORKGROUP_PX));
                self.gpu.dispatch(pipeline, bindings, uniform, bytemuck::bytes_of(&part), groups)?;
                self.learn_speed(
                    f64::from(width * rows) * f64::from(count),
                    started.elapsed().as_secs_f64() * 1e3,
                );
                sample += count;
                done += u64::from(rows) * u64::from(count);
                control.tell((done * 1000 / total.max(1)) as u32, 1000);
            }
            row += rows;
        }
        Ok(())
    }

    /// Moves at most by a factor of two at a time: one odd measurement does no harm.
    fn learn_speed(&mut self, paths: f64, elapsed_ms: f64) {
        let fitting = paths * DISPATCH_MS / elapsed_ms.max(0.05);
        let next = fitting.clamp(self.paths_per_dispatch * 0.5, self.paths_per_dispatch * 2.0);
        self.paths_per_dispatch = next.clamp(256.0, MAX_PATHS);
    }
}

/// Rows that one dispatch of a single sample takes; whole workgroups.
fn rows_at_once(paths: f64, width: u32, left: u32) -> u32 {
    let rows = (paths / f64::from(width)).clamp(1.0, f64::from(left)) as u32;
    (rows.div_ceil(WORKGROUP_PX) * WORKGROUP_PX).min(left)
}

/// Samples that one dispatch takes.
fn samples_at_once(paths: f64, pixels: u32, left: u32) -> u32 {
    (paths / f64::from(pixels)).clamp(1.0, f64::from(left)) as u32
}

impl Backend for GpuBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn load(&mut self, scene: &Arc<PreparedScene>) -> Result<(), RenderError> {
        let at = self.resident(scene)?;
        self.gpu.pipeline(self.scenes[at].features).map(drop)
    }

    fn render(
        &mut self,
        scene: &Arc<PreparedScene>,
        job: &TileJob,
        control: &RenderControl<'_>,
    ) -> Result<TilePixels, RenderError> {
        job.check()?;
        let at = self.resident(scene)?;
        let bytes = film_bytes(job.rect);
        self.gpu.fits(bytes)?;
        let film = self.gpu.film(bytes);
        let uniform = self.gpu.uniform(size_of::<Params>() as u64);
        let pipeline = self.gpu.pipeline(self.scenes[at].features)?;
        let buffers = self.scenes[at].buffers();
        let bindings = self.gpu.bind(&uniform, buffers, &film);
        self.dispatch_all(&pipeline, &bindings, &uniform, params(scene, job), control)?;
        let words = self.gpu.read(&film, bytes)?;
        Ok(pixels(&words, job.rect, job.view.sampling.samples))
    }
}

/// The mean over the samples, with the very operations of the Rust kernel.
fn pixels(words: &[[u32; 4]], rect: TileRect, samples: u32) -> TilePixels {
    let inverse = reciprocal(samples as f32);
    let radiance = words
        .iter()
        .map(|[red, green, blue, _]| {
            flush_tiny(Vec3::from([*red, *green, *blue].map(f32::from_bits)) * inverse).to_array()
        })
        .collect();
    TilePixels {
        radiance,
        rays: words.iter().map(|word| u64::from(word[3])).sum(),
        samples: rect.pixels() * u64::from(samples),
    }
}

const _: () = assert!(BINDINGS == 12, "as many as scene.wgsl declares");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::self_test::passes;

    /// The kernel on a device whose divisions and square roots are wrong by up to 3 units in the last place.
    fn imprecise_source() -> String {
        let error = |unit: &str| format!("(f32(i32(bits % 7u) - 3) * {unit})");
        let wrong = |source: String, exact: &str, unit: &str| {
            assert_eq!(source.matches(exact).count(), 1, "{exact} was rewritten: change this test too");
            source.replace(exact, &format!("{exact} + {}", error(unit)))
        };
        let source = wrong(SOURCES.concat(), "1.0 / bitcast<f32>(fraction | 0x3f800000u)", "5.9604645e-8");
        wrong(source, "sqrt(bitcast<f32>(fraction | ((127u + odd) << 23u)))", "1.1920929e-7")
    }

    #[test]
    fn imprecise_division_and_square_root_are_corrected() {
        let gpu = match Gpu::open(false, imprecise_source()) {
            Ok(gpu) => gpu,
            Err(error) => {
                assert!(matches!(error, RenderError::NoGpu(_)), "{error}");
                assert!(
                    !std::env::var("P2C2R_REQUIRE_GPU").is_ok_and(|wanted| wanted == "1"),
                    "P2C2R_REQUIRE_GPU is set, and there is no GPU: {error}"
                );
                eprintln!("SKIPPED: no GPU, not even a software one: {error}");
                return;
            }
        };
        assert!(passes(&mut GpuBackend::with(gpu)));
    }

    #[test]
    fn dispatches_cover_whole_workgroups_and_no_more_than_is_left() {
        assert_eq!(rows_at_once(1.0, 640, 100), 8);
        assert_eq!(rows_at_once(1e9, 640, 100), 100);
        assert_eq!(samples_at_once(1.0, 640 * 8, 4), 1);
        assert_eq!(samples_at_once(1e9, 64, 4), 4);
    }
}
