//! What renders: one interface over the CPU and the GPU kernel.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Instant,
};

use p2c2r_protocol::tile::{Camera, FrameSize, GeometryError, Sampling, TileRect};
use tracing::{debug, warn};

use crate::{
    kernel::{
        cpu::CpuBackend,
        gpu::{GpuBackend, GpuOptions},
        path::PathTracer,
        self_test::passes,
        sum::RadianceSum,
        wave::Wave,
    },
    limit::SceneLimits,
    prepared::PreparedScene,
    scene::{
        NamedCamera,
        generate::{SceneKind, generate},
        gltf::parse_package,
    },
};

/// How a whole frame is seen and sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameView {
    /// Its size.
    pub size: FrameSize,
    /// Its samples.
    pub sampling: Sampling,
    /// From where.
    pub camera: Camera,
}

/// A tile to render.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TileJob {
    /// Of this frame.
    pub view: FrameView,
    /// These pixels.
    pub rect: TileRect,
}

impl TileJob {
    /// Whether all of it is within the limits.
    pub fn check(&self) -> Result<(), GeometryError> {
        self.rect.check(self.view.size)?;
        self.view.sampling.check()?;
        self.view.camera.check()
    }
}

/// A rendered tile.
#[derive(Debug, Clone, PartialEq)]
pub struct TilePixels {
    /// Radiance of the samples, added up; rows from the top.
    pub sums: Vec<RadianceSum>,
    /// Samples in each sum.
    pub samples_per_pixel: u32,
    /// Rays traced.
    pub rays: u64,
    /// How long the device was at work by its own clock, ms; nothing if it has none.
    pub device_ms: Option<f32>,
}

impl TilePixels {
    /// Mean radiance over the samples.
    pub fn radiance(&self) -> Vec<[f32; 3]> {
        self.sums.iter().map(|sum| sum.mean(self.samples_per_pixel)).collect()
    }

    /// Paths started.
    pub fn samples(&self) -> u64 {
        self.sums.len() as u64 * u64::from(self.samples_per_pixel)
    }
}

/// How the owner of a job and its renderer hear of each other meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct RenderControl<'a> {
    /// Set to stop; looked at every few milliseconds.
    pub cancelled: &'a AtomicBool,
    /// Done share in thousandths.
    pub progress: &'a AtomicU32,
}

impl RenderControl<'_> {
    /// Whether to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Tells that so many of so many parts are done.
    pub fn tell(&self, done: u32, of: u32) {
        let share = (u64::from(done) * 1000 / u64::from(of.max(1))) as u32;
        self.progress.fetch_max(share, Ordering::Relaxed);
    }
}

/// Why a tile was not rendered, or a device not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// Its owner does not want it any more.
    #[error("the tile was cancelled")]
    Cancelled,
    /// It is no tile.
    #[error(transparent)]
    Job(#[from] GeometryError),
    /// There is no GPU that can be used.
    #[error("no usable GPU was found ({0}); use --backend cpu, or install a Vulkan driver")]
    NoGpu(String),
    /// The scene does not fit.
    #[error(
        "the scene needs {needed_mib} MiB in one buffer, this device allows {allowed_mib} MiB; use --backend cpu"
    )]
    TooLarge {
        /// Needed, MiB.
        needed_mib: u64,
        /// Allowed, MiB.
        allowed_mib: u64,
    },
    /// The kernel for it would need more buffers than the device can bind.
    #[error("the scene needs {needed} buffers at once, this device allows {allowed}; use --backend cpu")]
    TooManyBuffers {
        /// Needed.
        needed: u32,
        /// Allowed.
        allowed: u32,
    },
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(String),
}

/// The two kinds of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendKind {
    /// The Rust kernel.
    Cpu,
    /// The WGSL kernel.
    Gpu,
}

impl fmt::Display for BackendKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        })
    }
}

/// What a backend turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendInfo {
    /// Its kind.
    pub kind: BackendKind,
    /// What renders, as the driver calls it.
    pub adapter: String,
    /// Threads that it uses.
    pub threads: u32,
    /// Whether it passed the self-test: its pixels are the same bits as everybody's.
    pub exact: bool,
}

/// What the owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// A real GPU whose pixels are exact, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// Any GPU, software ones too.
    Gpu,
}

impl FromStr for BackendChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
            _ => Err(format!("`{text}` is no backend; choose auto, gpu or cpu")),
        }
    }
}

/// A device with its kernel. Owned by one thread.
pub trait Backend: Send {
    /// What it is.
    fn info(&self) -> &BackendInfo;

    /// Makes a scene resident.
    fn load(&mut self, scene: &Arc<PreparedScene>) -> Result<(), RenderError>;

    /// Renders a tile of a scene.
    fn render(
        &mut self,
        scene: &Arc<PreparedScene>,
        job: &TileJob,
        control: &RenderControl<'_>,
    ) -> Result<TilePixels, RenderError>;
}

/// Opens what the owner wants, or says why it cannot be had.
pub fn open(choice: BackendChoice, threads: Option<usize>) -> Result<Box<dyn Backend>, RenderError> {
    open_with(choice, threads, GpuOptions::default())
}

/// As [`open`], with a say in how a GPU is opened. Whether software devices will do follows from the choice.
pub fn open_with(
    choice: BackendChoice,
    threads: Option<usize>,
    mut options: GpuOptions,
) -> Result<Box<dyn Backend>, RenderError> {
    options.hardware_only = choice != BackendChoice::Gpu;
    match choice {
        BackendChoice::Cpu => Ok(Box::new(CpuBackend::open(threads)?)),
        BackendChoice::Gpu => {
            let gpu = tested(GpuBackend::open(&options)?);
            if !gpu.info().exact {
                let adapter = &gpu.info().adapter;
                warn!(
                    adapter,
                    "this GPU's pixels are not exact: pictures differ in a few last bits from others'"
                );
            }
            Ok(Box::new(gpu))
        }
        BackendChoice::Auto => match GpuBackend::open(&options) {
            Ok(gpu) => {
                let gpu = tested(gpu);
                if gpu.info().exact {
                    return Ok(Box::new(gpu));
                }
                warn!(adapter = gpu.info().adapter, "this GPU's pixels are not exact: rendering on the CPU");
                Ok(Box::new(CpuBackend::open(threads)?))
            }
            Err(reason) => {
                debug!(%reason, "rendering on the CPU");
                Ok(Box::new(CpuBackend::open(threads)?))
            }
        },
    }
}

/// With the verdict of the self-test.
fn tested(mut gpu: GpuBackend) -> GpuBackend {
    let exact = passes(&mut gpu);
    gpu.set_exact(exact);
    gpu
}

/// Triangles of the scene that speed is measured on: as many as make it slow in the way that real scenes are.
const MEASURED_TRIANGLES: u32 = 20_000;
/// Edge of the tile, pixels.
const MEASURED_EDGE_PX: u32 = 64;

/// Speed on a small city, million rays per second. Takes about a fifth of a second.
pub fn measure(backend: &mut dyn Backend) -> f32 {
    let Some((scene, job)) = measured_tile() else { return 0.0 };
    let (cancelled, progress) = (AtomicBool::new(false), AtomicU32::new(0));
    let control = RenderControl { cancelled: &cancelled, progress: &progress };
    let (started, mut rays) = (Instant::now(), 0);
    // The first tile warms caches and drivers up; the others count.
    let mut counted_from = started;
    for round in 0..50 {
        match backend.render(&scene, &job, &control) {
            Ok(tile) if round > 0 => rays += tile.rays,
            Ok(_) => counted_from = Instant::now(),
            Err(_) => return 0.0,
        }
        if started.elapsed().as_millis() > 100 && round > 0 {
            break;
        }
    }
    (rays as f64 / counted_from.elapsed().as_secs_f64().max(1e-9) / 1e6) as f32
}

/// The tile that speed is measured on.
fn measured_tile() -> Option<(Arc<PreparedScene>, TileJob)> {
    let package = generate(SceneKind::City, 1, Some(MEASURED_TRIANGLES));
    let scene = parse_package(&package, &SceneLimits::default()).ok()?.scene;
    let size = FrameSize::new(MEASURED_EDGE_PX, MEASURED_EDGE_PX).ok()?;
    let sampling = Sampling { first_sample: 0, samples: 1, max_depth: 5, seed: 1, clamp: 0.0 };
    let view = FrameView { size, sampling, camera: camera(scene.cameras.first()?, size) };
    Some((Arc::new(PreparedScene::build(scene)), TileJob { view, rect: size.full() }))
}

/// A scene's camera for a frame of a given shape; a pinhole.
pub fn camera(named: &NamedCamera, size: FrameSize) -> Camera {
    let aspect = size.width_px() as f32 / size.height_px() as f32;
    let [right, up, forward] = named.axes;
    let half_height = named.half_height;
    let half_width = half_height * aspect;
    Camera {
        origin: named.origin,
        forward,
        right: right.map(|component| component * half_width),
        up: up.map(|component| component * half_height),
        lens_radius: 0.0,
        focus_distance: 0.0,
        parallel: named.parallel,
    }
}

/// Renders single pixels on the calling thread: what others delivered can be checked with it.
pub fn render_pixels(scene: &PreparedScene, view: &FrameView, pixels: &[(u32, u32)]) -> Vec<[f32; 3]> {
    let sums = render_pixel_sums(scene, view, pixels);
    sums.into_iter().map(|sum| sum.mean(view.sampling.samples)).collect()
}

/// As [`render_pixels`], before the sums of the samples are divided by their number.
pub fn render_pixel_sums(scene: &PreparedScene, view: &FrameView, pixels: &[(u32, u32)]) -> Vec<RadianceSum> {
    let tracer = PathTracer::new(scene, view.size, view.sampling, &view.camera);
    Wave::default().pixels(&tracer, pixels, || false).map(|(sums, _)| sums).unwrap_or_default()
}
