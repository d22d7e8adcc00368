//! Light for a frame loop: each order is an ordinary job of the coordinator, and what it brings becomes a layer of light
//! on a thread of its own. Whoever orders never waits.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use p2c2r_protocol::tile::{Camera, Sampling};
use p2c2r_render::{
    backend::FrameView,
    film::Film,
    prepared::PreparedScene,
    realtime::layer::{LayerError, LightingLayer, LitFrame},
};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
};
use tracing::debug;

use super::LIGHT_DEADLINE_MS;
use crate::{
    coordinator::{Canvas, Coordinator, JobSpec},
    node::{estimated_cost, job_id},
    progress::Progress,
};

/// Orders that wait while another is under way; a loop that finds no place orders again three frames later.
const ORDERS_WAITING: usize = 1;
/// Films that wait to become layers, and layers that wait to be taken.
const LIGHT_WAITING: usize = 2;
/// A job that is not back by then is given up: whatever it waits for, newer light is worth more.
const GIVE_UP_AFTER: Duration = Duration::from_millis(10 * LIGHT_DEADLINE_MS as u64);

/// Light that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct LightOrder {
    /// For that frame.
    pub frame: u32,
    /// From where it is seen.
    pub camera: Camera,
    /// When the frame was due.
    pub due: Instant,
}

/// Light that has come.
#[derive(Debug, Clone)]
pub struct Light {
    /// What was ordered.
    pub order: LightOrder,
    /// The light.
    pub layer: LightingLayer,
    /// Its mean.
    pub mean: [f32; 3],
}

impl Light {
    /// The light of a film, mixed with an earlier layer; and the layer for the next one to be mixed with, which still has
    /// its noise. Uses the calling thread's rayon pool.
    pub fn of(
        scene: &PreparedScene,
        order: LightOrder,
        view: &FrameView,
        film: &Film,
        earlier: Option<&LightingLayer>,
    ) -> Result<(Self, LightingLayer), LayerError> {
        let lit = LitFrame::new(scene, view, film)?;
        let noisy = lit.layer(earlier);
        let layer = lit.denoised(&noisy)?;
        let mean = layer.mean_light().unwrap_or_default();
        Ok((Self { order, layer, mean }, noisy))
    }
}

/// What became of an order that was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LightFetched {
    /// From when its frame was due until its pixels were here, ms.
    pub light_ms: f64,
    /// Of these, finding out which peers are ready, ms.
    pub gather_ms: f64,
    /// Whether all of its pixels came.
    pub is_whole: bool,
}

impl LightFetched {
    /// Whether all of it was here in time.
    pub fn kept_deadline(&self) -> bool {
        self.is_whole && self.light_ms <= f64::from(LIGHT_DEADLINE_MS)
    }
}

/// What became of all orders.
#[derive(Debug, Clone, Default)]
pub struct LightTally {
    /// Those that brought pixels.
    pub fetched: Vec<LightFetched>,
    /// Those that brought none.
    pub failed: u32,
}

/// Pixels on their way to become a layer.
struct Fetched {
    order: LightOrder,
    view: FrameView,
    film: Film,
}

/// The way to order light.
pub struct LightSource {
    /// Takes an order if it has place for one.
    pub orders: mpsc::Sender<LightOrder>,
    /// Light as it comes.
    pub light: mpsc::Receiver<Light>,
    fetching: tokio::task::JoinHandle<LightTally>,
    layering: JoinHandle<Result<(), LayerError>>,
}

/// What is left of a source whose ends were handed to a loop.
pub struct LightSourceEnd {
    fetching: tokio::task::JoinHandle<LightTally>,
    layering: JoinHandle<Result<(), LayerError>>,
}

impl LightSource {
    /// Light of jobs like this one, from other cameras and with other seeds.
    pub fn start(coordinator: Coordinator, like: JobSpec) -> anyhow::Result<Self> {
        let (orders, orders_in) = mpsc::channel(ORDERS_WAITING);
        let (films, films_in) = mpsc::channel(LIGHT_WAITING);
        let (light_out, light) = mpsc::channel(LIGHT_WAITING);
        let scene = Arc::clone(&like.scene.prepared);
        // Filtering uses the pool of the thread that asks for it: one thread, beside the loop's.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().context("no thread for light")?;
        let layering = std::thread::Builder::new()
            .name("light".into())
            .spawn(move || make_layers(&scene, &pool, films_in, &light_out))
            .context("no thread for light")?;
        let fetching = tokio::spawn(fetch(coordinator, like, orders_in, films));
        Ok(Self { orders, light, fetching, layering })
    }

    /// Separates what the loop needs from what is waited for at the end.
    pub fn split(self) -> (mpsc::Sender<LightOrder>, mpsc::Receiver<Light>, LightSourceEnd) {
        let Self { orders, light, fetching, layering } = self;
        (orders, light, LightSourceEnd { fetching, layering })
    }
}

impl LightSourceEnd {
    /// Waits for the last order; the loop has let go of its ends.
    pub async fn tally(self) -> anyhow::Result<LightTally> {
        let tally = self.fetching.await.context("fetching light failed")?;
        let layered = spawn_blocking(move || self.layering.join()).await.context("layers of light failed")?;
        layered.map_err(|_| anyhow::anyhow!("making layers of light failed"))??;
        Ok(tally)
    }
}

/// Orders become jobs, one after the other.
async fn fetch(
    coordinator: Coordinator,
    like: JobSpec,
    mut orders: mpsc::Receiver<LightOrder>,
    films: mpsc::Sender<Fetched>,
) -> LightTally {
    let mut tally = LightTally::default();
    while let Some(order) = orders.recv().await {
        match fetch_one(&coordinator, &like, order).await {
            Ok((fetched, what)) => {
                tally.fetched.push(what);
                if films.send(fetched).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                debug!(frame = order.frame, %error, "no light");
                tally.failed += 1;
            }
        }
    }
    tally
}

async fn fetch_one(
    coordinator: &Coordinator,
    like: &JobSpec,
    order: LightOrder,
) -> anyhow::Result<(Fetched, LightFetched)> {
    let sampling = Sampling { seed: order.frame, ..like.sampling };
    let view = FrameView { size: like.size, sampling, camera: order.camera };
    let scene = like.scene.clone();
    let cost = spawn_blocking(move || estimated_cost(&scene, &view)).await??;
    let left_ms = u64::from(LIGHT_DEADLINE_MS).saturating_sub(order.due.elapsed().as_millis() as u64);
    let spec = JobSpec {
        job: job_id()?,
        sampling,
        camera: order.camera,
        cost,
        deadline_ms: Some(left_ms.max(1)),
        ..like.clone()
    };
    let (progress, _) = watch::channel(Progress::default());
    let rendering = coordinator.render(spec, Arc::new(progress));
    let outcome = tokio::time::timeout(GIVE_UP_AFTER, rendering).await.context("no peer was ready")??;
    let light_ms = order.due.elapsed().as_secs_f64() * 1e3;
    let Some(Canvas::Radiance(film)) = outcome.canvas else {
        anyhow::bail!("light came back in another form than that which was asked for");
    };
    anyhow::ensure!(film.covered() > 0, "no pixel came in time");
    let what = LightFetched { light_ms, gather_ms: outcome.report.gather_ms, is_whole: film.is_complete() };
    Ok((Fetched { order, view, film }, what))
}

/// Films become layers, each mixed with those before it.
fn make_layers(
    scene: &PreparedScene,
    pool: &rayon::ThreadPool,
    mut films: mpsc::Receiver<Fetched>,
    light: &mpsc::Sender<Light>,
) -> Result<(), LayerError> {
    let mut earlier: Option<LightingLayer> = None;
    while let Some(Fetched { order, view, film }) = films.blocking_recv() {
        let (newest, noisy) = pool.install(|| Light::of(scene, order, &view, &film, earlier.as_ref()))?;
        earlier = Some(noisy);
        if light.blocking_send(newest).is_err() {
            break;
        }
    }
    Ok(())
}
