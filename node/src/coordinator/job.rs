//! One frame under way: the scheduler's frame machine, the film, and what each tile came from.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use p2c2r_protocol::{
    id::{NodeId, TaskId, WorkKind},
    task::{TaskCounters, TileRequest},
    tile::{PixelEncoding, TileRect},
};
use p2c2r_scheduler::{
    PeerView,
    decision::{self, FrameStart},
    frame::{FrameConfig, FrameEnd},
    naive::NaiveFrame,
    split::hybrid::{self, Animation, Forecast},
    time::TimeMs,
    work::FrameWork,
};
use tokio::sync::watch;
use tracing::error;

use super::{
    Cut, JobError, JobOutcome, JobSpec, Policy,
    decisions::Decisions,
    encoding,
    gather::Gathering,
    machine::Machine,
    pipeline::PipelineRun,
    reply::{Concluded, Reply},
    sequence::{DeliveredFrame, Films},
    sessions::{Session, TrafficNow},
    summary,
    verify::VerifiedTile,
};
use crate::contributor::admission::max_tile_pixels;
use crate::progress::{Phase, Progress, SceneDelivery};

/// Progress by less than this is not worth a thought.
const MIN_PROGRESS: f32 = 0.001;

/// A job in line or at its head.
pub struct Job {
    /// What to render.
    pub spec: Arc<JobSpec>,
    /// Where the outcome goes; closed when nobody waits for it any more.
    pub reply: Reply,
    /// The peers asked to help.
    pub gathering: Gathering,
    /// Counters of each session when the job first used it.
    pub traffic_before: BTreeMap<NodeId, TrafficNow>,
    /// How its tiles' pixels travel.
    pub encoding: PixelEncoding,
    /// Set once tiles are out.
    pub run: Option<Run>,
    /// Set once stages are out.
    pub pipe: Option<PipelineRun>,
    /// Whole frames of a sequence that nobody has taken yet.
    pub undelivered: VecDeque<DeliveredFrame>,
    progress: Arc<watch::Sender<Progress>>,
}

/// Which pixels of which frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Of a sequence, counted from 0; 0 where there is only one frame.
    pub frame: u32,
    /// Its pixels.
    pub rect: TileRect,
}

/// A tile that is out.
#[derive(Debug, Clone, Copy)]
pub struct OutTask {
    /// At whom.
    pub peer: NodeId,
    /// What it renders.
    pub place: Place,
    /// Whether the peer said that it has taken it.
    pub accepted: bool,
    /// The share done that it told of last.
    told: f32,
}

impl OutTask {
    /// An attempt that was just offered.
    pub fn new(peer: NodeId, place: Place) -> Self {
        Self { peer, place, accepted: false, told: 0.0 }
    }

    /// Notes what the peer tells of; whether that is worth a thought. So a task gives at most a thousand of them.
    pub fn has_moved(&mut self, fraction: f32) -> bool {
        let moved = fraction >= self.told + MIN_PROGRESS;
        if moved {
            self.told = fraction.min(1.0);
        }
        moved
    }
}

/// What is kept of an accepted tile for the report.
#[derive(Debug, Clone, Copy, Default)]
pub struct AcceptedTile {
    /// What its renderer says it took.
    pub counters: TaskCounters,
    /// Pixels that were rendered anew and found equal.
    pub probes: u32,
}

/// Tiles are out.
pub struct Run {
    /// Its tasks are named from here on.
    pub first_task: TaskId,
    /// The frame's life.
    pub frame: Machine,
    /// How the pixels travel.
    pub encoding: PixelEncoding,
    /// The accepted pixels.
    pub films: Films,
    /// When the first tile was offered.
    pub started: Instant,
    /// What finding peers took.
    pub gathered: Duration,
    /// Peers that the frame machine knows of.
    pub joined: BTreeSet<NodeId>,
    /// Attempts that are out.
    pub out: BTreeMap<TaskId, OutTask>,
    /// Attempts that were withdrawn, and not yet answered for.
    pub withdrawn: BTreeMap<TaskId, NodeId>,
    /// Places of the attempts, kept until the run ends: a verified tile goes where its attempt was.
    pub places: BTreeMap<TaskId, Place>,
    /// Verified tiles whose fate the frame machine has not decided yet: at most the one in hand.
    pub verified: BTreeMap<TaskId, VerifiedTile>,
    /// Accepted tiles by index.
    pub accepted: BTreeMap<usize, AcceptedTile>,
    /// Rays of the accepted tiles.
    pub rays: u64,
    /// Peers that were lost with work in hand.
    pub peers_lost: u32,
    /// It ended because its time was over.
    pub deadline_reached: bool,
    /// Set when the machine says so.
    pub end: Option<FrameEnd>,
}

impl Run {
    /// Whether the peer has the task.
    pub fn owns(&self, peer: NodeId, task: TaskId) -> bool {
        self.out.get(&task).is_some_and(|out| out.peer == peer)
    }
}

impl Job {
    /// Whether the peer has the task, be it a tile or a stage.
    pub fn owns(&self, peer: NodeId, task: TaskId) -> bool {
        let stage = || self.pipe.as_ref().and_then(|pipe| pipe.out.get(&task));
        self.run.as_ref().is_some_and(|run| run.owns(peer, task))
            || stage().is_some_and(|out| out.peer == peer)
    }

    /// A job that has not begun.
    pub fn new(
        spec: JobSpec,
        progress: Arc<watch::Sender<Progress>>,
        reply: Reply,
        gathering: Gathering,
    ) -> Self {
        let spec = Arc::new(spec);
        Self {
            encoding: spec.encoding,
            spec,
            reply,
            gathering,
            traffic_before: BTreeMap::new(),
            run: None,
            pipe: None,
            undelivered: VecDeque::new(),
            progress,
        }
    }

    /// Whether the peer's session may get tiles of this job.
    pub fn takes_part(&self, peer: NodeId, session: &Session) -> bool {
        if session.own { self.spec.uses_own_device() } else { self.gathering.asked(peer) }
    }

    /// What there is to do.
    fn work(&self, now_ms: TimeMs) -> FrameWork {
        let spec = &self.spec;
        FrameWork {
            kind: WorkKind::RayTracing,
            size: spec.size,
            samples: spec.sampling.samples,
            bytes_per_pixel: self.encoding.bytes_per_pixel() as f32,
            max_tile_pixels: max_tile_pixels(self.encoding, spec.sampling),
            deadline: spec.deadline_ms.map(|deadline_ms| now_ms + deadline_ms as f64),
        }
    }

    /// What each way to split such an animation is expected to take with these peers.
    pub fn forecasts(
        &self,
        animation: &Animation,
        decisions: &Decisions,
        peers: &[PeerView],
        now_ms: TimeMs,
    ) -> Vec<Forecast> {
        let work = self.work(now_ms);
        let cost = &self.spec.cost;
        let forecasts = hybrid::forecasts(&decisions.scheduler, &work, peers, cost, animation, now_ms);
        if let Some(log) = &decisions.log {
            log.pass_over();
        }
        forecasts
    }

    /// Plans the frame for the peers as they are.
    pub fn start(
        &mut self,
        decisions: &mut Decisions,
        peers: Vec<PeerView>,
        first_task: TaskId,
        epoch: Instant,
        now: Instant,
    ) {
        let spec = &self.spec;
        self.encoding = encoding::choose(spec.encoding, spec.deadline_ms, spec.size.pixels(), &peers);
        let now_ms = TimeMs(now.saturating_duration_since(epoch).as_secs_f64() * 1e3);
        let work = self.work(now_ms);
        let (cut, config) = match (spec.cut, &spec.sequence) {
            (Cut::Planned, Some(sequence)) => (
                decision::Cut::Temporal { costs: sequence.costs(), each: sequence.each },
                FrameConfig::of_sequence(),
            ),
            (Cut::Planned, None) => (decision::Cut::Spatial, FrameConfig::default()),
            (Cut::Grid { edge_px, in_flight }, _) => (
                decision::Cut::Grid { edge_px },
                FrameConfig { max_in_flight_per_peer: in_flight, ..FrameConfig::default() },
            ),
        };
        let joined = peers.iter().filter(|view| view.ready).map(|view| view.peer).collect();
        let start = FrameStart { first_task, work, peers, cost: spec.cost.clone(), cut, now: now_ms, config };
        let frame = match spec.policy {
            Policy::Naive => {
                Machine::Naive(NaiveFrame::new(&start.work, &start.peers, &start.cost, first_task))
            }
            Policy::Learned => {
                let plan = start.plan(&decisions.scheduler);
                let frame = start.frame(plan.clone(), None);
                if let Some(log) = &mut decisions.log {
                    log.planned(start, &decisions.scheduler, &plan, None);
                }
                Machine::Learned(Box::new(frame))
            }
        };
        self.run = Some(Run {
            first_task,
            joined,
            frame,
            encoding: self.encoding,
            films: Films::new(spec, now),
            started: now,
            gathered: now.saturating_duration_since(self.gathering.since()),
            out: BTreeMap::new(),
            withdrawn: BTreeMap::new(),
            places: BTreeMap::new(),
            verified: BTreeMap::new(),
            accepted: BTreeMap::new(),
            rays: 0,
            peers_lost: 0,
            deadline_reached: false,
            end: None,
        });
    }

    /// The request for a tile.
    pub fn request(&self, place: Place) -> TileRequest {
        let spec = &self.spec;
        let (frame, scene, camera) = spec.shot(place.frame);
        TileRequest {
            job: spec.job,
            frame,
            kind: WorkKind::RayTracing,
            scene,
            size: spec.size,
            rect: place.rect,
            sampling: spec.sampling,
            camera,
            encoding: self.encoding,
        }
    }

    /// Puts a verified tile into the film.
    pub fn accept(&mut self, task: TaskId, tile: usize) {
        let Some(run) = self.run.as_mut() else { return };
        let (Some(verified), Some(place)) = (run.verified.remove(&task), run.places.get(&task)) else {
            error!(?task, "the frame machine accepted a tile that was not delivered");
            return;
        };
        if let Err(refused) = run.films.insert(*place, &verified.pixels) {
            error!(?task, %refused, "the film refused a tile");
            return;
        }
        run.rays = run.rays.saturating_add(verified.counters.rays);
        run.accepted.insert(tile, AcceptedTile { counters: verified.counters, probes: verified.probes });
    }

    /// Takes the pixels of a tile out of the film again.
    pub fn retract(&mut self, tile: usize, place: Place) {
        let Some(run) = self.run.as_mut() else { return };
        run.films.remove(place);
        if let Some(accepted) = run.accepted.remove(&tile) {
            run.rays = run.rays.saturating_sub(accepted.counters.rays);
        }
    }

    /// The end of a pipeline, for whoever waits.
    pub fn into_pictures(self, outcome: Result<(), JobError>, now: Instant) -> Concluded {
        let Self { spec, reply, undelivered, pipe, .. } = self;
        let report = pipe.map(|pipe| summary::sequence_report(&spec, &pipe, now));
        let outcome = outcome.and_then(|()| {
            report.map(|report| JobOutcome { canvas: None, report }).ok_or(JobError::NobodyLeft)
        });
        Concluded { spec, undelivered, reply, outcome }
    }

    /// Whether anything of it is out.
    pub fn is_under_way(&self) -> bool {
        self.run.is_some() || self.pipe.is_some()
    }

    /// Tells how far it is.
    pub fn tell_progress(&self, now: Instant, peers: u32, delivery: SceneDelivery) {
        let progress = match (&self.run, &self.pipe) {
            (None, Some(pipe)) => pipe.progress(peers),
            (None, None) => Progress { phase: Phase::Gathering, peers, ..Progress::default() },
            (Some(run), _) => run.progress(now, peers),
        };
        self.progress.send_replace(Progress { delivery, ..progress });
    }

    /// The film and its report, for whoever waits, and frames that could not be delivered yet.
    pub fn into_outcome(self, own: NodeId, sessions: &BTreeMap<NodeId, Session>, now: Instant) -> Concluded {
        let Self { spec, reply, traffic_before, run, undelivered, .. } = self;
        let outcome = match run {
            None => Err(JobError::NobodyLeft),
            Some(run) if matches!(run.end, Some(FrameEnd::Aborted)) => Err(JobError::Stopping),
            Some(run) if run.accepted.is_empty() && !run.deadline_reached => Err(JobError::NobodyLeft),
            // Those of its frames that are whole were delivered.
            Some(run) if spec.sequence.is_some() && !matches!(run.end, Some(FrameEnd::Complete)) => {
                Err(JobError::NobodyLeft)
            }
            Some(mut run) => {
                let about = summary::About { spec: &spec, own, sessions, traffic_before: &traffic_before };
                let canvas = run.films.take_only();
                Ok(JobOutcome { report: summary::report(&about, &run, canvas.as_ref(), None, now), canvas })
            }
        };
        Concluded { spec, undelivered, reply, outcome }
    }
}

impl Run {
    fn progress(&self, now: Instant, peers: u32) -> Progress {
        let so_far = self.frame.progress();
        let elapsed_s = now.saturating_duration_since(self.started).as_secs_f64();
        Progress {
            phase: Phase::Rendering,
            tiles_done: so_far.tiles_done as u32,
            tiles_total: so_far.tiles_total as u32,
            done_share: so_far.cost_done_share,
            peers,
            mrays_per_s: if elapsed_s > 0.0 { self.rays as f64 / elapsed_s / 1e6 } else { 0.0 },
            eta_ms: so_far.eta_ms,
            delivery: SceneDelivery::default(),
        }
    }
}
