//! The GPU kernel: device, kernels and scenes stay resident; a tile is a few short runs, of which two are always on
//! their way, so that the device never waits.

mod arithmetic;
mod cache;
mod device;
mod features;
mod parts;
mod slices;
mod timer;
mod upload;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use tracing::debug;

pub use self::device::GpuOptions;
use self::{
    arithmetic::Arithmetic,
    device::{Film, Gpu, KernelSource, Layout},
    features::Features,
    parts::Parts,
    slices::{RunSize, Slices, WORKGROUP_PX},
    timer::Timer,
    upload::{FILM, PIXEL_BYTES, Params, ResidentScene, film_bytes, params},
};
use crate::{
    backend::{Backend, BackendInfo, BackendKind, RenderControl, RenderError, TileJob, TilePixels},
    kernel::sum::RadianceSum,
    limit::{MAX_RESIDENT_SCENE_BYTES, MAX_RESIDENT_SCENES},
    prepared::PreparedScene,
};

/// The arithmetic.
const MATH: &str = include_str!("gpu/math.wgsl");
/// The kernel's source, piece by piece: each file says which Rust files it is the twin of.
const SOURCES: [&str; 13] = [
    include_str!("gpu/scene.wgsl"),
    MATH,
    include_str!("gpu/sample.wgsl"),
    include_str!("gpu/bvh.wgsl"),
    include_str!("gpu/instance.wgsl"),
    include_str!("gpu/texture.wgsl"),
    include_str!("gpu/albedo.wgsl"),
    include_str!("gpu/bsdf.wgsl"),
    include_str!("gpu/light.wgsl"),
    include_str!("gpu/environment.wgsl"),
    include_str!("gpu/surface.wgsl"),
    include_str!("gpu/sum.wgsl"),
    include_str!("gpu/path.wgsl"),
];
/// Runs that are on their way to the device or on it.
const RUNS_IN_FLIGHT: usize = 2;

/// Renders on a GPU.
pub struct GpuBackend {
    gpu: Gpu,
    info: BackendInfo,
    /// The kernel's text, but for the constants that depend on the scene.
    text: String,
    kernels: HashMap<(Features, Parts), Arc<Kernel>>,
    /// The one used last stands last.
    scenes: Vec<ResidentScene>,
    film: Option<Film>,
    run_size: RunSize,
}

/// A compiled kernel.
struct Kernel {
    pipeline: wgpu::ComputePipeline,
    layout: Layout,
}

impl GpuBackend {
    /// Opens the fastest GPU and asks it how exactly it divides.
    pub fn open(options: &GpuOptions) -> Result<Self, RenderError> {
        Self::with_kernel(options, MATH, &SOURCES.concat())
    }

    /// `math` is a part of the source.
    fn with_kernel(options: &GpuOptions, math: &str, source: &str) -> Result<Self, RenderError> {
        let gpu = Gpu::open(options)?;
        let arithmetic =
            if options.corrects_all { Arithmetic::CORRECTED } else { Arithmetic::probe(&gpu, math)? };
        debug!(adapter = gpu.adapter, ?arithmetic, "GPU opened");
        let info =
            BackendInfo { kind: BackendKind::Gpu, adapter: gpu.adapter.clone(), threads: 1, exact: false };
        Ok(Self {
            gpu,
            info,
            text: arithmetic.constants() + source,
            kernels: HashMap::new(),
            scenes: Vec::new(),
            film: None,
            run_size: RunSize::default(),
        })
    }

    /// Notes what the self-test said.
    pub fn set_exact(&mut self, exact: bool) {
        self.info.exact = exact;
    }

    /// The kernel for a scene, which becomes resident.
    fn kernel(&mut self, scene: &PreparedScene) -> Result<Arc<Kernel>, RenderError> {
        let resident = resident(&mut self.scenes, &self.gpu, scene)?;
        let key = (resident.features, resident.parts);
        if let Some(known) = self.kernels.get(&key) {
            return Ok(Arc::clone(known));
        }
        let layout = self.gpu.layout(&resident.bindings(), FILM)?;
        let text = key.0.constants() + &key.1.declarations() + &self.text;
        let workgroup = (WORKGROUP_PX, WORKGROUP_PX, 1);
        let source = KernelSource { name: "path tracer", text: &text, workgroup };
        let pipeline = self.gpu.compile(&source, &layout)?;
        let kernel = Arc::new(Kernel { pipeline, layout });
        self.kernels.insert(key, Arc::clone(&kernel));
        Ok(kernel)
    }

    /// Runs the kernel over all slices of a tile. Some may still be on the device at the end.
    fn run_all(
        &mut self,
        kernel: (&wgpu::ComputePipeline, &wgpu::BindGroup),
        params_buffer: &wgpu::Buffer,
        whole: Params,
        timer: Option<&Timer>,
        control: &RenderControl<'_>,
    ) -> Result<(), RenderError> {
        let mut slices = Slices::new(whole.tile_width, whole.tile_height, whole.samples);
        let mut in_flight = VecDeque::with_capacity(RUNS_IN_FLIGHT);
        let mut last_end = Instant::now();
        loop {
            if control.is_cancelled() {
                return Err(RenderError::Cancelled);
            }
            let slice = slices.next(self.run_size);
            if let Some(slice) = slice {
                let part = whole.part(slice.rows, slice.samples);
                let groups = (whole.tile_width.div_ceil(WORKGROUP_PX), slice.rows.1.div_ceil(WORKGROUP_PX));
                let params = (params_buffer, bytemuck::bytes_of(&part));
                in_flight.push_back((self.gpu.submit(kernel, params, groups, timer), slice, Instant::now()));
            }
            if slice.is_some() && in_flight.len() < RUNS_IN_FLIGHT {
                continue;
            }
            let Some((submission, done, submitted)) = in_flight.pop_front() else { return Ok(()) };
            self.gpu.wait(Some(submission))?;
            let elapsed = submitted.max(last_end).elapsed();
            last_end = Instant::now();
            self.run_size.learn(slices.paths(done), elapsed.as_secs_f64() * 1e3);
            control.tell(slices.share_done(done), 1000);
        }
    }
}

/// The scene, uploaded if it is new. Those that were not used for the longest time make room.
fn resident<'a>(
    scenes: &'a mut Vec<ResidentScene>,
    gpu: &Gpu,
    scene: &PreparedScene,
) -> Result<&'a ResidentScene, RenderError> {
    if let Some(at) = scenes.iter().position(|resident| resident.id == scene.id()) {
        let used = scenes.remove(at);
        scenes.push(used);
    } else {
        scenes.push(ResidentScene::upload(gpu, scene)?);
    }
    let bytes = |scenes: &[ResidentScene]| scenes.iter().map(|scene| scene.bytes).sum::<u64>();
    while scenes.len() > 1 && (scenes.len() > MAX_RESIDENT_SCENES || bytes(scenes) > MAX_RESIDENT_SCENE_BYTES)
    {
        scenes.remove(0);
    }
    // invariant: one was pushed above, and one always stays.
    scenes.last().ok_or_else(|| RenderError::Device("the scene is not on the device".into()))
}

impl Backend for GpuBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn load(&mut self, scene: &Arc<PreparedScene>) -> Result<(), RenderError> {
        self.kernel(scene).map(drop)
    }

    fn render(
        &mut self,
        scene: &Arc<PreparedScene>,
        job: &TileJob,
        control: &RenderControl<'_>,
    ) -> Result<TilePixels, RenderError> {
        job.check()?;
        let kernel = self.kernel(scene)?;
        let bytes = film_bytes(job.rect);
        // Out of here while it is in use: after an error it may still be mapped, and the next tile gets another.
        let film = match self.film.take().filter(|film| film.bytes >= bytes) {
            Some(large_enough) => large_enough,
            None => self.gpu.film(bytes)?,
        };
        let params_buffer = self.gpu.params(size_of::<Params>() as u64)?;
        let buffers = resident(&mut self.scenes, &self.gpu, scene)?.buffers(&params_buffer, &film.written);
        let bindings = kernel.layout.bind(&self.gpu, &buffers);
        let timer = self.gpu.timer();
        let running = (&kernel.pipeline, &bindings);
        self.run_all(running, &params_buffer, params(scene, job), timer.as_ref(), control)?;
        let samples = job.view.sampling.samples;
        let (pixels, device_ms) =
            self.gpu.read(&film, bytes, timer.as_ref(), |words| pixels(words, samples))?;
        self.film = Some(film);
        Ok(TilePixels { device_ms, ..pixels })
    }
}

/// What the kernel's `main` leaves for each pixel: three sums, then the rays, each in two words, the low one first.
fn pixels(film: &[u8], samples_per_pixel: u32) -> TilePixels {
    let wide = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    let (pixels, mut rays) = (film.as_chunks::<PIXEL_BYTES>().0, 0);
    let sum = |pixel: &[u8; PIXEL_BYTES]| {
        let words: [u32; 8] = bytemuck::pod_read_unaligned(pixel);
        let [red, red_high, green, green_high, blue, blue_high, traced, _] = words;
        rays += u64::from(traced);
        RadianceSum([wide(red, red_high), wide(green, green_high), wide(blue, blue_high)])
    };
    TilePixels { sums: pixels.iter().map(sum).collect(), samples_per_pixel, rays, device_ms: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::self_test::passes;

    fn device_missing(error: &RenderError) {
        assert!(matches!(error, RenderError::NoGpu(_)), "{error}");
        assert!(
            !std::env::var("P2C2R_REQUIRE_GPU").is_ok_and(|wanted| wanted == "1"),
            "P2C2R_REQUIRE_GPU is set, and there is no GPU: {error}"
        );
        eprintln!("SKIPPED: no GPU, not even a software one: {error}");
    }

    /// A device whose divisions and square roots are wrong by up to 3 units in the last place.
    fn imprecise(source: &str) -> String {
        let wrong = |source: &str, exact: &str| {
            assert_eq!(source.matches(exact).count(), 1, "{exact} was rewritten: change this test too");
            let off = format!("return bitcast<f32>(bitcast<u32>({exact}) + bitcast<u32>(a) % 7u - 3u);");
            source.replace(&format!("return {exact};"), &off)
        };
        wrong(&wrong(source, "1.0 / a"), "sqrt(a)")
    }

    #[test]
    fn imprecise_division_and_square_root_are_noticed_and_corrected() {
        let (math, source) = (imprecise(MATH), imprecise(&SOURCES.concat()));
        let mut gpu = match GpuBackend::with_kernel(&GpuOptions::default(), &math, &source) {
            Ok(gpu) => gpu,
            Err(error) => return device_missing(&error),
        };
        assert!(gpu.text.starts_with(&Arithmetic::CORRECTED.constants()));
        assert!(passes(&mut gpu));
    }

    #[test]
    fn one_operation_alone_is_corrected() {
        let roots_only = MATH.replace("return 1.0 / a;", "return 1.0 / (a + 1e-7 * a);");
        match Gpu::open(&GpuOptions::default()).and_then(|gpu| Arithmetic::probe(&gpu, &roots_only)) {
            Ok(found) => assert_eq!((found.exact_reciprocal, found.exact_root), (false, true)),
            Err(error) => device_missing(&error),
        }
    }

    #[test]
    fn damaged_stored_kernels_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let options = GpuOptions { cache: Some(folder.path().join("gpu")), ..GpuOptions::default() };
        let probe = || Gpu::open(&options).and_then(|gpu| Arithmetic::probe(&gpu, MATH));
        let first = match probe() {
            Ok(first) => first,
            Err(error) => return device_missing(&error),
        };
        let files = || std::fs::read_dir(folder.path().join("gpu")).into_iter().flatten();
        for damage in 0..3 {
            for file in files() {
                let path = file.unwrap().path();
                let mut bytes = std::fs::read(&path).unwrap();
                match damage {
                    0 => bytes.truncate(bytes.len() / 2),
                    1 => *bytes.last_mut().unwrap() ^= 1,
                    _ => bytes.clear(),
                }
                std::fs::write(&path, bytes).unwrap();
            }
            assert_eq!(probe().unwrap(), first);
        }
        assert!(files().all(|file| file.unwrap().path().extension().is_none()), "nothing half-written stays");
    }
}
