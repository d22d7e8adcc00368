//! The one thread that owns the device. Tiles go in through a short bounded queue, encoded and signed results come
//! out; nothing here ever runs on a tokio worker.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use p2c2r_protocol::{
    canon::to_canonical,
    id::TaskId,
    merkle::encoded_root,
    sign::{Domain, SecretKey},
    stage::{HandOver, Plane, StageRequest, plane_hash},
    task::{RejectReason, ResultStatement, TaskCounters, TileRequest},
    tile::PixelEncoding,
};
use p2c2r_render::{
    backend::{
        self, Backend, BackendInfo, BackendKind, FrameView, RenderControl, RenderError, TileJob, TilePixels,
    },
    compress,
    encode::encode_tile,
    kernel::gpu::GpuOptions,
    prepared::PreparedScene,
};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use super::{
    Input, SessionId,
    stages::{self, StageTools},
};
use crate::{
    config::{DeviceConfig, Throttle},
    processor_time::{Processor, Stopwatch},
};

/// Tiles that wait inside the thread's queue: one, so that the device never idles between two tiles while a
/// cancellation can still catch all the others in the admission queue.
pub const QUEUE_AHEAD: usize = 1;

/// How long a throttled device sleeps before it looks whether its tile was cancelled.
const LINGER_STEP: Duration = Duration::from_millis(5);

/// How far a task is.
#[derive(Debug, Default)]
pub struct TaskProgress {
    /// Thousandths of its rendering.
    done: AtomicU32,
    /// Since when, and so many times as long as this machine takes, a throttled device is at it.
    throttled: OnceLock<(Stopwatch, f32)>,
}

impl TaskProgress {
    /// The share done, in thousandths.
    pub fn share(&self) -> u32 {
        let rendered = self.done.load(Ordering::Relaxed).min(1000);
        let Some((watch, factor)) = self.throttled.get() else { return rendered };
        // A throttled device is done when so many times the time has passed that rendering takes: it lingers, and whatever
        // keeps it waiting meanwhile is part of that.
        let (elapsed, busy) = watch.read();
        let whole_s = busy.as_secs_f32() / rendered.max(1) as f32 * 1000.0 * factor;
        (elapsed.as_secs_f32() / whole_s.max(1e-6) * 1000.0).min(1000.0) as u32
    }
}

/// A tile to render.
pub struct RenderJob {
    /// Whose it is.
    pub session: SessionId,
    /// The attempt's name there.
    pub task: TaskId,
    /// The scene.
    pub scene: Arc<PreparedScene>,
    /// What to do; checked by the protocol layer.
    pub work: Work,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// Set to stop it.
    pub cancelled: Arc<AtomicBool>,
    /// How far it is.
    pub progress: Arc<TaskProgress>,
}

/// What there is to do for the device.
#[derive(Debug, Clone)]
pub enum Work {
    /// A tile.
    Tile {
        /// Which.
        request: TileRequest,
        /// Whether its pixels may travel compressed.
        compress: bool,
    },
    /// The features or the film of a whole frame, for another stage.
    Stage(Box<StageRequest>),
}

/// What came of it.
pub enum Rendered {
    /// A tile, for the coordinator.
    Tile(RenderedTile),
    /// A plane, for the next stage.
    Plane {
        /// For whom.
        request: Box<StageRequest>,
        /// What is handed over.
        brought: HandOver,
        /// It.
        bytes: Bytes,
        /// For the coordinator.
        sealed: SealedPlane,
    },
}

/// A word for a plane that was handed over.
pub struct SealedPlane {
    /// Canonical CBOR of the statement, as signed.
    pub statement: Vec<u8>,
    /// The signature over it.
    pub signature: Vec<u8>,
}

/// A finished tile, or a picture, ready to send.
pub struct RenderedTile {
    /// Canonical CBOR of the statement, as signed.
    pub statement: Vec<u8>,
    /// The signature over it.
    pub signature: Vec<u8>,
    /// The encoded pixels.
    pub payload: Bytes,
}

/// Why a tile was not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenderFailure {
    /// It was cancelled.
    Cancelled,
    /// The reason that the coordinator is told.
    Failed(RejectReason),
}

/// What the device turned out to be.
#[derive(Debug, Clone)]
pub struct Device {
    /// Kind, adapter, exactness.
    pub info: BackendInfo,
    /// Measured speed, million rays per second.
    pub mrays_per_s: f32,
}

/// The way in. Dropping it ends the thread after the tile in hand.
pub struct RenderThread {
    jobs: SyncSender<RenderJob>,
}

impl RenderThread {
    /// Opens the device on a thread of its own, measures it, and waits for tiles.
    pub async fn start(
        config: DeviceConfig,
        kernel_cache: Option<PathBuf>,
        tools: StageTools,
        results: mpsc::Sender<Input>,
    ) -> Result<(Self, Device), RenderError> {
        let (jobs, queue) = sync_channel(QUEUE_AHEAD);
        let (opened, device) = oneshot::channel();
        let spawned = thread::Builder::new().name("render".into()).spawn(move || {
            match open(config, kernel_cache) {
                Ok((backend, device)) => {
                    if opened.send(Ok(device)).is_ok() {
                        render_loop(backend, &tools, &queue, &results);
                    }
                }
                // Nobody waits for the answer any more: the node is stopping.
                Err(error) => drop(opened.send(Err(error))),
            }
        });
        let lost = || RenderError::Device("the render thread could not be started".into());
        spawned.map_err(|_| lost())?;
        let device = device.await.map_err(|_| lost())??;
        Ok((Self { jobs }, device))
    }

    /// Hands a tile over; gives it back when the thread's queue is full.
    pub fn offer(&self, job: RenderJob) -> Result<(), Box<RenderJob>> {
        self.jobs.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(job) | TrySendError::Disconnected(job) => Box::new(job),
        })
    }
}

fn open(
    config: DeviceConfig,
    kernel_cache: Option<PathBuf>,
) -> Result<(Box<dyn Backend>, Device), RenderError> {
    let options = GpuOptions { cache: kernel_cache, ..GpuOptions::default() };
    let mut backend = backend::open_with(config.backend, config.threads, options)?;
    let measured = backend::measure(backend.as_mut());
    let mrays_per_s = if config.throttle.hidden { measured } else { measured / config.throttle.factor };
    let device = Device { info: backend.info().clone(), mrays_per_s };
    Ok((backend, device))
}

fn render_loop(
    mut backend: Box<dyn Backend>,
    tools: &StageTools,
    queue: &Receiver<RenderJob>,
    results: &mpsc::Sender<Input>,
) {
    while let Ok(job) = queue.recv() {
        let (session, task) = (job.session, job.task);
        // A panic in a kernel costs its tile, not the node.
        let outcome = catch_unwind(AssertUnwindSafe(|| finish(backend.as_mut(), tools, &job)))
            .unwrap_or_else(|_| {
                error!(?task, "the renderer panicked on a tile; please report this");
                Err(RenderFailure::Failed(RejectReason::Internal))
            });
        if results.blocking_send(Input::Rendered { session, task, outcome }).is_err() {
            return;
        }
    }
}

fn finish(backend: &mut dyn Backend, tools: &StageTools, job: &RenderJob) -> Result<Rendered, RenderFailure> {
    let watch = Stopwatch::start(processor(backend.info()));
    let started = watch.began();
    if tools.throttle.factor > 1.0 {
        // A job is rendered once.
        let _ = job.progress.throttled.set((watch, tools.throttle.factor));
    }
    match &job.work {
        Work::Tile { request, compress } => {
            let view = FrameView { size: request.size, sampling: request.sampling, camera: request.camera };
            let tile = render(backend, job, &TileJob { view, rect: request.rect })?;
            linger(tools.throttle, &watch, job)?;
            let counters = counters(job, started, tile.rays, tile.samples());
            let payload = encode_tile(&tile, request.encoding);
            seal(&tools.key, request, payload, counters, *compress).map(Rendered::Tile).map_err(|reason| {
                error!(%reason, "a result could not be signed");
                RenderFailure::Failed(RejectReason::Internal)
            })
        }
        Work::Stage(request) => stage(backend, tools, job, request, &watch),
    }
}

fn render(backend: &mut dyn Backend, job: &RenderJob, tile: &TileJob) -> Result<TilePixels, RenderFailure> {
    let control = RenderControl { cancelled: &job.cancelled, progress: &job.progress.done };
    let rendered = backend.load(&job.scene).and_then(|()| backend.render(&job.scene, tile, &control));
    rendered.map_err(|error| failure(&error))
}

fn failure(error: &RenderError) -> RenderFailure {
    if matches!(error, RenderError::Cancelled) {
        return RenderFailure::Cancelled;
    }
    warn!(%error, "a tile could not be rendered");
    RenderFailure::Failed(RejectReason::Internal)
}

/// The features or the film of a frame.
fn stage(
    backend: &mut dyn Backend,
    tools: &StageTools,
    job: &RenderJob,
    request: &StageRequest,
    watch: &Stopwatch,
) -> Result<Rendered, RenderFailure> {
    let plane = request.plane().ok_or(RenderFailure::Failed(RejectReason::Invalid))?;
    let (bytes, rays, samples) = match plane {
        Plane::Features => {
            let control = RenderControl { cancelled: &job.cancelled, progress: &job.progress.done };
            (stages::geometry(tools, &job.scene, request, &control).map_err(|error| failure(&error))?, 0, 0)
        }
        Plane::Film => {
            let view = FrameView { size: request.size, sampling: request.sampling, camera: request.camera };
            let tile = render(backend, job, &TileJob { view, rect: request.size.full() })?;
            (encode_tile(&tile, PixelEncoding::RgbF32), tile.rays, tile.samples())
        }
    };
    linger(tools.throttle, watch, job)?;
    let (hash, counters) = (plane_hash(&bytes), counters(job, watch.began(), rays, samples));
    let (statement, signature) =
        stages::seal(&tools.key, request, hash, Vec::new(), counters).map_err(RenderFailure::Failed)?;
    let StageRequest { job: name, frame, attempt, .. } = *request;
    let brought = HandOver { job: name, frame, attempt, plane, bytes: bytes.len() as u32, hash };
    let sealed = SealedPlane { statement, signature };
    Ok(Rendered::Plane { request: Box::new(request.clone()), brought, bytes: bytes.into(), sealed })
}

fn counters(job: &RenderJob, started: Instant, rays: u64, samples: u64) -> TaskCounters {
    TaskCounters {
        queue_ms: (started - job.accepted_at).as_secs_f32() * 1e3,
        execution_ms: started.elapsed().as_secs_f32() * 1e3,
        rays,
        samples,
    }
}

/// Whose time is counted of what is rendered: on a graphics device, processors have little to do with it.
fn processor(backend: &BackendInfo) -> Processor {
    if backend.kind == BackendKind::Cpu { Processor::Process } else { Processor::Wall }
}

/// A throttled device is not done before its factor times the time that it was busy: what other programs take from it is
/// not multiplied.
fn linger(throttle: Throttle, watch: &Stopwatch, job: &RenderJob) -> Result<(), RenderFailure> {
    if throttle.factor <= 1.0 {
        return Ok(());
    }
    let until = watch.done_at(throttle.factor);
    loop {
        if job.cancelled.load(Ordering::Relaxed) {
            return Err(RenderFailure::Cancelled);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(LINGER_STEP));
    }
}

/// Names the pixels by their root and signs for them.
fn seal(
    key: &SecretKey,
    request: &TileRequest,
    payload: Vec<u8>,
    counters: TaskCounters,
    may_compress: bool,
) -> Result<RenderedTile, Box<dyn std::error::Error>> {
    let root = encoded_root(&payload, request.rect, request.encoding)?;
    let statement = to_canonical(&ResultStatement { request: request.hash()?, root, counters })?;
    let signature = key.sign(Domain::Result, &statement);
    // What is signed are the pixels, not how they travel.
    let compressed = may_compress.then(|| compress::compress(&payload, request.encoding)).flatten();
    let payload = compressed.unwrap_or(payload);
    Ok(RenderedTile { signature: signature.0.to_vec(), statement, payload: payload.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttled_device_has_not_done_a_task_when_it_is_rendered() {
        let progress = TaskProgress::default();
        progress.done.store(700, Ordering::Relaxed);
        assert_eq!(progress.share(), 700);
        progress.throttled.set((Stopwatch::start(Processor::Wall), 4.0)).unwrap();
        thread::sleep(Duration::from_millis(5));
        assert!((174..=175).contains(&progress.share()), "{}", progress.share());
        progress.done.store(1000, Ordering::Relaxed);
        assert!((249..=250).contains(&progress.share()), "{}", progress.share());
        let lingering = TaskProgress::default();
        lingering.done.store(1000, Ordering::Relaxed);
        lingering.throttled.set((Stopwatch::start(Processor::Thread), 2.0)).unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(lingering.share(), 1000, "it has not been busy for half of that");
    }
}
