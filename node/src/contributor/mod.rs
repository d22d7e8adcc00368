//! The contributor: renders tiles for coordinators, its own node's among them.
//!
//! One actor owns sessions and queue ([`actor`]); one thread owns the device ([`render_thread`]). Stages of frames
//! ([`stages`]) await what others hand over ([`hand_overs`]); steps of games' frames have a thread of their own
//! ([`steps`]). The node's own
//! coordinator talks to it over an in-memory link, in the same messages as everybody else.

mod actor;
pub mod admission;
mod downloads;
mod hand_overs;
pub mod hindrance;
mod render_thread;
mod scene;
mod session;
pub mod stages;
pub mod steps;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

use p2c2r_protocol::{
    id::{TaskId, WorkKind},
    moment::SceneMoment,
    sign::SecretKey,
    task::{CoordinatorMessage, Load, RejectReason},
};
use p2c2r_render::{backend::RenderError, prepared::PreparedScene};
use p2c2r_swarm::{ContributorLink, StepPeerLink, SwarmHandle};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::{downloads::DownloadView, hand_overs::HandOverDesk, render_thread::Device};
use self::{
    hindrance::Hindrance,
    render_thread::{RenderFailure, RenderThread, Rendered, RenderedTile, SealedPlane},
    stages::StageTools,
    steps::{StepDesk, StepTools},
};
use crate::{config::DeviceConfig, scene_library::SceneLibrary};

/// Inputs waiting for the actor; senders wait when it is full.
const MAX_INPUTS: usize = 1024;

/// A work session at this contributor. The owner's come first in every order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    is_stranger: bool,
    number: u64,
}

impl SessionId {
    /// The session of that number; numbers are never used twice.
    pub const fn new(is_owner: bool, number: u64) -> Self {
        Self { is_stranger: !is_owner, number }
    }

    /// Whether it is one of the node's own coordinator.
    pub const fn is_owner(self) -> bool {
        !self.is_stranger
    }
}

/// What the actor reacts to.
enum Input {
    /// A coordinator opened a session.
    Attach { link: ContributorLink, owner: bool },
    /// A coordinator said something.
    Message { session: SessionId, message: CoordinatorMessage },
    /// The session's stream ended.
    Detached { session: SessionId },
    /// A scene was made ready, or not.
    ScenePrepared { session: SessionId, scene: SceneMoment, outcome: Result<ReadyScene, RejectReason> },
    /// The render thread is through with a piece of work.
    Rendered { session: SessionId, task: TaskId, outcome: Result<Rendered, RenderFailure> },
    /// All that a last stage awaited is here.
    StageReady { session: SessionId, task: TaskId },
    /// A plane is where it is needed, or not.
    HandedOver { session: SessionId, task: TaskId, sealed: SealedPlane, arrived: bool },
    /// A picture was made, or not.
    Posted { session: SessionId, task: TaskId, outcome: Result<RenderedTile, RejectReason> },
    /// Something is wrong with this contributor, on purpose.
    Hinder { hindrance: Hindrance },
    /// The node stops: hand back what waits, finish what runs, say goodbye.
    Drain { done: oneshot::Sender<()> },
}

/// A scene that can be rendered.
struct ReadyScene {
    prepared: Arc<PreparedScene>,
    fetched_bytes: u64,
    elapsed_ms: f32,
}

/// What a contributor is told at its start.
pub struct ContributorConfig {
    /// What renders.
    pub device: DeviceConfig,
    /// Where compiled GPU kernels are kept; nowhere if not said.
    pub kernel_cache: Option<PathBuf>,
    /// Signs the results.
    pub key: SecretKey,
    /// Largest scene accepted, bytes.
    pub max_scene_bytes: u64,
    /// Kinds of work that are not done for others.
    pub declined: Vec<WorkKind>,
}

/// The way to talk to the contributor.
#[derive(Clone)]
pub struct Contributor {
    inputs: mpsc::Sender<Input>,
    load: watch::Receiver<Load>,
    steps: StepDesk,
    scenes: scene::SceneSource,
}

/// A contributor that is about to start: what it awaits can be brought as soon as the swarm is there.
pub struct NewContributor {
    inputs: mpsc::Sender<Input>,
    queue: mpsc::Receiver<Input>,
    desk: Arc<HandOverDesk>,
}

impl Default for NewContributor {
    fn default() -> Self {
        let (inputs, queue) = mpsc::channel(MAX_INPUTS);
        let desk = Arc::new(HandOverDesk::new(inputs.downgrade()));
        Self { inputs, queue, desk }
    }
}

impl NewContributor {
    /// Where other nodes hand over what stages here await.
    pub fn desk(&self) -> Arc<HandOverDesk> {
        Arc::clone(&self.desk)
    }
}

impl Contributor {
    /// Opens the device and starts the actor.
    pub async fn start(
        config: ContributorConfig,
        new: NewContributor,
        library: Arc<SceneLibrary>,
        swarm: Option<SwarmHandle>,
    ) -> Result<(Self, Device), RenderError> {
        let NewContributor { inputs, queue, desk } = new;
        let threads = config.device.threads.unwrap_or(0);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = Arc::new(pool.map_err(|error| RenderError::Device(error.to_string()))?);
        let tools = StageTools { key: config.key, pool, throttle: config.device.throttle };
        let steps = StepTools {
            key: tools.key.clone(),
            declined: config.declined.clone(),
            throttle: config.device.throttle.factor,
        };
        let steps = StepDesk::start(steps).map_err(|error| RenderError::Device(error.to_string()))?;
        let (thread, device) =
            RenderThread::start(config.device, config.kernel_cache, tools.clone(), inputs.clone()).await?;
        let (load_out, load) = watch::channel(Load::default());
        let scenes = scene::SceneSource::new(library, swarm.clone(), config.max_scene_bytes);
        let stages = actor::Stages { tools, desk, swarm };
        let traces = !config.declined.contains(&WorkKind::RayTracing);
        let actor = actor::Actor::new(
            inputs.downgrade(),
            thread,
            scenes.clone(),
            stages,
            device.mrays_per_s,
            load_out,
            traces,
        );
        tokio::spawn(actor.run(queue));
        Ok((Self { inputs, load, steps, scenes }, device))
    }

    /// Serves a coordinator. `owner` marks the node's own, whose work comes first.
    pub async fn attach(&self, link: ContributorLink, owner: bool) {
        // The actor only ends with the node; then there is nobody to serve.
        let _ = self.inputs.send(Input::Attach { link, owner }).await;
    }

    /// Does the steps of somebody's game until its stream ends.
    pub fn serve_steps(&self, link: StepPeerLink) {
        tokio::spawn(self.steps.clone().serve(link));
    }

    /// Does the steps of this node's own game: what it does not do for others it does for itself.
    pub fn serve_own_steps(&self, link: StepPeerLink) {
        tokio::spawn(self.steps.clone().declining_nothing().serve(link));
    }

    /// The load now.
    pub fn load(&self) -> Load {
        *self.load.borrow()
    }

    /// The scenes on their way here.
    pub fn downloads(&self) -> Vec<DownloadView> {
        self.scenes.downloads()
    }

    /// From now on something is wrong here, on purpose; nothing with the default.
    pub async fn hinder(&self, hindrance: Hindrance) {
        self.steps.hinder(hindrance);
        // The actor only ends with the node.
        let _ = self.inputs.send(Input::Hinder { hindrance }).await;
    }

    /// Hands back what waits and waits for what runs.
    pub async fn drain(&self) {
        let (done, finished) = oneshot::channel();
        if self.inputs.send(Input::Drain { done }).await.is_ok() {
            let _ = finished.await;
        }
    }
}
