//! The coordinator: owns the frames of this node's owner and carries them through the swarm.
//!
//! One actor ([`actor`]) carries events into the IO-less frame machine of the scheduler and its commands out to the
//! work sessions ([`sessions`]). One job at a time; the others wait in line.

mod actor;
mod candidates;
mod canvas;
mod decisions;
mod encoding;
mod gather;
mod job;
mod line;
mod machine;
mod pipeline;
mod reply;
mod sequence;
mod sessions;
mod summary;
mod verify;

use std::sync::Arc;

use p2c2r_protocol::{
    id::{JobId, NodeId},
    moment::SceneMoment,
    tile::{Camera, FrameSize, PixelEncoding, Sampling},
};
use p2c2r_scheduler::{
    LearnedSpeed,
    split::{
        cost_map::CostMap,
        hybrid::{Animation, Forecast},
    },
};
use p2c2r_swarm::SwarmHandle;
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    actor::{Actor, Input},
    reply::Reply,
};
pub use self::{
    canvas::Canvas,
    decisions::Decisions,
    pipeline::PipelineSpec,
    sequence::{DeliveredFrame, FrameContent, SequenceFrame, SequenceSpec},
};
use crate::{
    contributor::Contributor, progress::Progress, report::FrameReport, scene_library::ResidentScene,
};

/// Inputs waiting for the actor; senders wait when it is full.
const MAX_INPUTS: usize = 4096;

/// A frame to render, or a range of its samples, or the frames of a sequence.
#[derive(Clone)]
pub struct JobSpec {
    /// The job's name.
    pub job: JobId,
    /// The scene, ready, at the frame's moment.
    pub scene: ResidentScene,
    /// The scene at the moment of the frame that follows: peers make it ready while they render this one.
    pub next_scene: Option<SceneMoment>,
    /// The scene's file name, for the report.
    pub scene_name: String,
    /// The frame's size.
    pub size: FrameSize,
    /// How it is sampled.
    pub sampling: Sampling,
    /// From where.
    pub camera: Camera,
    /// Stop this long after the first offer with what is there, ms.
    pub deadline_ms: Option<u64>,
    /// Start when this many other nodes are ready.
    pub wait_peers: Option<usize>,
    /// Where the work lies in the frame.
    pub cost: CostMap,
    /// How it is cut.
    pub cut: Cut,
    /// Who decides.
    pub policy: Policy,
    /// Whether this node's own device takes no part.
    pub peers_only: bool,
    /// How its tiles' pixels travel.
    pub encoding: PixelEncoding,
    /// Whole frames of a sequence in place of the one frame, whose scene and cost stand for theirs.
    pub sequence: Option<SequenceSpec>,
    /// The frames of the sequence pass through stages at different peers.
    pub pipeline: Option<PipelineSpec>,
}

impl JobSpec {
    /// Whether this node's own device renders tiles of the frame.
    pub fn uses_own_device(&self) -> bool {
        self.cut == Cut::Planned && !self.peers_only
    }
}

/// Who decides which peer renders what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The scheduler, by what it has learned.
    #[default]
    Learned,
    /// A coordinator that knows nothing but round trips: to measure the other against.
    Naive,
}

/// How a frame is cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// As the scheduler thinks best, over all devices.
    Planned,
    /// Squares of this edge on other nodes only, many in flight: measures what dispatching costs.
    Grid {
        /// Edge of a tile, pixels.
        edge_px: u32,
        /// Tiles that one peer may hold at once.
        in_flight: u32,
    },
}

/// A finished job.
pub struct JobOutcome {
    /// The pixels; nothing of a sequence, whose frames were delivered one by one.
    pub canvas: Option<Canvas>,
    /// Who rendered them.
    pub report: FrameReport,
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The line of jobs is full.
    #[error("this node has too many jobs waiting; try again when some are done")]
    TooManyJobs,
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
    /// Not enough peers came.
    #[error(
        "only {ready} of {wanted} peers were ready after {waited_s} s; lower --wait-peers or check `p2c2r-node peers`"
    )]
    TooFewPeers {
        /// How many were asked for.
        wanted: usize,
        /// How many came.
        ready: usize,
        /// How long was waited, s.
        waited_s: u64,
    },
    /// Nothing at all can render.
    #[error("no device and no peer is left to render the frame")]
    NobodyLeft,
}

/// The way to talk to the coordinator.
#[derive(Clone)]
pub struct Coordinator {
    inputs: mpsc::Sender<Input>,
    jobs: watch::Receiver<usize>,
    learned: watch::Receiver<Vec<(NodeId, LearnedSpeed)>>,
}

impl Coordinator {
    /// Starts the actor. Without a swarm it renders on this node's device alone.
    pub fn start(
        node: NodeId,
        decisions: Decisions,
        contributor: Contributor,
        swarm: Option<SwarmHandle>,
    ) -> Result<Self, getrandom::Error> {
        let (inputs, queue) = mpsc::channel(MAX_INPUTS);
        let (jobs_out, jobs) = watch::channel(0);
        let (learned_out, learned) = watch::channel(Vec::new());
        let actor =
            Actor::new(node, decisions, contributor, swarm, inputs.downgrade(), jobs_out, learned_out)?;
        tokio::spawn(actor.run(queue));
        Ok(Self { inputs, jobs, learned })
    }

    /// Renders a frame. Dropping the future cancels the job.
    pub async fn render(
        &self,
        spec: JobSpec,
        progress: Arc<watch::Sender<Progress>>,
    ) -> Result<JobOutcome, JobError> {
        let (reply, outcome) = oneshot::channel();
        let submit = Input::Submit { spec: Box::new(spec), progress, reply: Reply::Outcome(reply) };
        self.inputs.send(submit).await.map_err(|_| JobError::Stopping)?;
        outcome.await.unwrap_or(Err(JobError::Stopping))
    }

    /// What each way to split an animation of such frames is expected to take with the peers that there are: they get the
    /// scene, and nothing is rendered.
    pub async fn survey(&self, spec: JobSpec, animation: Animation) -> Result<Vec<Forecast>, JobError> {
        let (reply, forecasts) = oneshot::channel();
        let (progress, _) = watch::channel(Progress::default());
        let reply = Reply::Forecasts(animation, reply);
        let submit = Input::Submit { spec: Box::new(spec), progress: Arc::new(progress), reply };
        self.inputs.send(submit).await.map_err(|_| JobError::Stopping)?;
        forecasts.await.unwrap_or(Err(JobError::Stopping))
    }

    /// Jobs waiting or running.
    pub fn jobs(&self) -> usize {
        *self.jobs.borrow()
    }

    /// Outcomes that each peer's speed was learned from.
    pub fn outcomes(&self, peer: &NodeId) -> u64 {
        self.learned.borrow().iter().find(|(node, _)| node == peer).map_or(0, |(_, speed)| speed.outcomes)
    }

    /// What is known of the peers' speed at ray tracing.
    pub fn learned(&self) -> Vec<(NodeId, LearnedSpeed)> {
        self.learned.borrow().clone()
    }

    /// Ends all jobs and says goodbye to the contributors.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.inputs.send(Input::Stop { done }).await.is_ok() {
            let _ = stopped.await;
        }
    }
}
