//! The Rust kernel: blocks of a tile in parallel on a thread pool of its own.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use fearless_simd::Level;
use p2c2r_protocol::tile::TileRect;
use rayon::prelude::*;

use super::{path::PathTracer, sum::RadianceSum, wave::Wave};
use crate::{
    backend::{Backend, BackendInfo, BackendKind, RenderControl, RenderError, TileJob, TilePixels},
    prepared::PreparedScene,
};

/// Edge of the blocks that threads take, pixels: small enough to share work evenly and to stop soon.
const BLOCK_PX: u32 = 16;
/// Tiles of fewer paths are rendered by the calling thread: waking others would take longer.
const INLINE_PATHS: u64 = 8192;

/// Most threads: more than any machine has cores, fewer than any system refuses.
const MAX_THREADS: usize = 1024;

/// Renders on the CPU.
pub struct CpuBackend {
    pool: rayon::ThreadPool,
    level: Level,
    info: BackendInfo,
}

impl CpuBackend {
    /// With so many threads; one per core if not said, or 0.
    pub fn open(threads: Option<usize>) -> Result<Self, RenderError> {
        Self::open_at(Level::new(), threads)
    }

    /// With the instructions of a level.
    pub fn open_at(level: Level, threads: Option<usize>) -> Result<Self, RenderError> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.filter(|threads| *threads > 0).unwrap_or_else(cores).min(MAX_THREADS);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("render-{index}"))
            .build()
            .map_err(|error| {
                RenderError::Device(format!("cannot start {threads} render threads: {error}"))
            })?;
        let info = BackendInfo {
            kind: BackendKind::Cpu,
            adapter: format!("{} CPU with {threads} threads", std::env::consts::ARCH),
            threads: threads as u32,
            exact: true,
        };
        Ok(Self { pool, level, info })
    }
}

impl Backend for CpuBackend {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn load(&mut self, _scene: &Arc<PreparedScene>) -> Result<(), RenderError> {
        Ok(())
    }

    fn render(
        &mut self,
        scene: &Arc<PreparedScene>,
        job: &TileJob,
        control: &RenderControl<'_>,
    ) -> Result<TilePixels, RenderError> {
        job.check()?;
        let view = &job.view;
        let tracer = PathTracer::new(scene, view.size, view.sampling, &view.camera);
        let blocks = blocks(job.rect);
        let done = AtomicU32::new(0);
        let count = blocks.len() as u32;
        let render = |wave: &mut Wave, block: &TileRect| {
            let pixels =
                (!control.is_cancelled()).then(|| render_block(&tracer, *block, control, wave)).flatten();
            control.tell(done.fetch_add(1, Ordering::Relaxed) + 1, count);
            pixels
        };
        let samples = job.rect.pixels() * u64::from(view.sampling.samples);
        let finished: Vec<Option<BlockPixels>> = if samples < INLINE_PATHS || self.info.threads == 1 {
            let mut wave = Wave::new(self.level);
            blocks.iter().map(|block| render(&mut wave, block)).collect()
        } else {
            self.pool.install(|| blocks.par_iter().map_init(|| Wave::new(self.level), render).collect())
        };
        assemble(job.rect, &blocks, finished, view.sampling.samples)
    }
}

struct BlockPixels {
    sums: Vec<RadianceSum>,
    rays: u64,
}

fn blocks(rect: TileRect) -> Vec<TileRect> {
    let step = BLOCK_PX as usize;
    let rows = (0..rect.height).step_by(step);
    rows.flat_map(|y| {
        (0..rect.width).step_by(step).map(move |x| TileRect {
            x: rect.x + x,
            y: rect.y + y,
            width: BLOCK_PX.min(rect.width - x),
            height: BLOCK_PX.min(rect.height - y),
        })
    })
    .collect()
}

/// `None` when it was cancelled: looked at once a wave, so that even thousands of samples stop soon.
fn render_block(
    tracer: &PathTracer<'_>,
    block: TileRect,
    control: &RenderControl<'_>,
    wave: &mut Wave,
) -> Option<BlockPixels> {
    let pixels: Vec<(u32, u32)> = (block.y..block.y + block.height)
        .flat_map(|y| (block.x..block.x + block.width).map(move |x| (x, y)))
        .collect();
    let (sums, rays) = wave.pixels(tracer, &pixels, || control.is_cancelled())?;
    Some(BlockPixels { sums, rays })
}

fn assemble(
    rect: TileRect,
    blocks: &[TileRect],
    finished: Vec<Option<BlockPixels>>,
    samples_per_pixel: u32,
) -> Result<TilePixels, RenderError> {
    let stride = rect.width as usize;
    let mut sums = vec![RadianceSum::default(); rect.pixels() as usize];
    let mut rays = 0;
    for (block, pixels) in blocks.iter().zip(finished) {
        let pixels = pixels.ok_or(RenderError::Cancelled)?;
        rays += pixels.rays;
        let width = block.width as usize;
        let corner = (block.y - rect.y) as usize * stride + (block.x - rect.x) as usize;
        for (row, line) in pixels.sums.chunks_exact(width).enumerate() {
            sums[corner + row * stride..][..width].copy_from_slice(line);
        }
    }
    Ok(TilePixels { sums, samples_per_pixel, rays, device_ms: None })
}
