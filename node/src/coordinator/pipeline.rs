//! A sequence whose frames pass through stages at different peers: the machine, what each peer was asked for, what it
//! signed, and what is said of it afterwards. The pixels do not come by here.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use p2c2r_protocol::{
    canon::from_canonical,
    id::{NodeId, PlaneHash, TaskId},
    sign::{Domain, verify},
    stage::{Plane, Stage, StageRequest, StageStatement, plane_hash},
};
use p2c2r_scheduler::{
    PeerView, TaskFeatures,
    pipeline::Pipeline,
    split::{
        hybrid::{Forecast, Strategy},
        pipeline::{StagePeer, assign},
    },
    time::TimeMs,
};
use p2c2r_swarm::TileResult;

use super::{JobSpec, decisions::Decisions};
use crate::{
    develop::pace::DevelopTimes,
    progress::{Phase, Progress},
    report::{PipelineReport, StageReport},
};

/// Largest statement accepted, bytes.
const MAX_STATEMENT_BYTES: usize = 512;

/// What is made of each frame, and what that would take here.
#[derive(Debug, Clone, Copy)]
pub struct PipelineSpec {
    /// The pictures.
    pub picture: p2c2r_protocol::stage::PictureForm,
    /// What the owner would take for one, ms.
    pub develop: DevelopTimes,
}

/// A stage that is out.
#[derive(Debug, Clone)]
pub struct OutStage {
    /// At whom.
    pub peer: NodeId,
    /// Of which frame, counted from 0.
    pub frame: u32,
    /// What was asked for.
    pub request: StageRequest,
    /// What it was expected to take, ms.
    pub predicted_ms: f64,
}

/// A picture that is here, while not all of those that it was made of have been heard of.
pub struct PostedPicture {
    /// Its last stage.
    pub task: TaskId,
    /// What its peer signed.
    pub statement: StageStatement,
    /// The file.
    pub file: bytes::Bytes,
}

/// What is known of a frame that is under way.
#[derive(Default)]
pub struct FrameBook {
    /// When it was begun.
    pub since: Option<Instant>,
    /// Planes that were handed over, as those who made them sign.
    pub planes: BTreeMap<Plane, PlaneHash>,
    /// Its picture, once it is here.
    pub posted: Option<PostedPicture>,
    /// What each stage took.
    pub stages: Vec<StageReport>,
    /// Rays of its film.
    pub rays: u64,
}

/// A sequence under way.
pub struct PipelineRun {
    /// Its life.
    pub machine: Pipeline,
    /// Peers that the machine knows of.
    pub joined: BTreeSet<NodeId>,
    /// When the first stage was offered.
    pub started: Instant,
    /// What finding peers took.
    pub gathered: std::time::Duration,
    /// Stages that are out.
    pub out: BTreeMap<TaskId, OutStage>,
    /// Frames that are under way.
    pub books: BTreeMap<u32, FrameBook>,
    /// Frames that were taken by whoever waits for them.
    pub taken: u32,
    /// Peers that were lost with work in hand.
    pub peers_lost: u32,
    /// Results that were not believed.
    pub invalid: u32,
    /// Whether it is over, and every frame is there.
    pub end: Option<bool>,
    totals: BTreeMap<(Stage, NodeId), Total>,
}

/// What a peer did for a stage so far.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    frames: u32,
    busy_ms: f64,
    predicted_ms: f64,
}

impl PipelineRun {
    /// A sequence that is about to begin.
    pub fn new(
        machine: Pipeline,
        joined: BTreeSet<NodeId>,
        started: Instant,
        gathered: std::time::Duration,
    ) -> Self {
        Self {
            machine,
            joined,
            started,
            gathered,
            out: BTreeMap::new(),
            books: BTreeMap::new(),
            taken: 0,
            peers_lost: 0,
            invalid: 0,
            end: None,
            totals: BTreeMap::new(),
        }
    }

    /// How far it is.
    pub fn progress(&self, peers: u32) -> Progress {
        let (done, total) = (self.machine.frames_done(), self.machine.frames());
        Progress {
            phase: Phase::Rendering,
            tiles_done: done as u32,
            tiles_total: total as u32,
            done_share: done as f64 / total.max(1) as f64,
            peers,
            ..Progress::default()
        }
    }

    /// Notes what a stage took.
    pub fn note(&mut self, stage: &OutStage, execution_ms: f64, rays: u64) {
        let total = self.totals.entry((stage.request.stage, stage.peer)).or_default();
        total.frames += 1;
        total.busy_ms += execution_ms;
        total.predicted_ms += stage.predicted_ms;
        let book = self.books.entry(stage.frame).or_default();
        book.rays += rays;
        book.stages.push(StageReport {
            stage: stage.request.stage.name().to_owned(),
            peer: stage.peer.to_string(),
            frames: 1,
            busy_ms: execution_ms,
            predicted_ms: stage.predicted_ms,
        });
    }

    /// What is said of the sequence so far.
    pub fn report(&self, now: Instant) -> PipelineReport {
        let elapsed_ms = now.saturating_duration_since(self.started).as_secs_f64() * 1e3;
        let frames = self.machine.frames_done() as u32;
        let stages: Vec<StageReport> = self
            .totals
            .iter()
            .map(|((stage, peer), total)| StageReport {
                stage: stage.name().to_owned(),
                peer: peer.to_string(),
                frames: total.frames,
                busy_ms: total.busy_ms,
                predicted_ms: total.predicted_ms,
            })
            .collect();
        let mut by_peer = BTreeMap::<NodeId, f64>::new();
        for ((_, peer), total) in &self.totals {
            *by_peer.entry(*peer).or_default() += total.busy_ms;
        }
        // Whoever was busiest could not have done it sooner.
        let bound_ms = by_peer.values().copied().fold(0.0, f64::max);
        PipelineReport {
            frames,
            elapsed_ms,
            bound_ms,
            throughput_share: if elapsed_ms > 0.0 { bound_ms / elapsed_ms } else { 0.0 },
            restarts: self.machine.restarts(),
            stages,
        }
    }
}

/// How long a peer is expected to take for each stage of a frame.
pub fn stage_peer(
    spec: &JobSpec,
    view: &PeerView,
    own_mrays_per_s: f32,
    decisions: &Decisions,
    now: TimeMs,
) -> StagePeer {
    let pixels = spec.size.pixels() as f64;
    let cost = spec.cost.total() * f64::from(spec.sampling.samples.max(1));
    let bytes = pixels * f64::from(spec.encoding.bytes_per_pixel());
    let features = TaskFeatures { cost, pixels, bytes, in_flight: 0, backlog_ms: 0.0, at: now };
    let lighting = decisions.scheduler.predict(view, p2c2r_protocol::id::WorkKind::RayTracing, &features);
    // Nothing is learned yet of how fast others are at these: as much faster than this node as they say they are.
    let slower = if view.mrays_per_s > 0.0 { f64::from(own_mrays_per_s / view.mrays_per_s) } else { 1.0 };
    let develop = spec.pipeline.map(|pipeline| pipeline.develop);
    let (geometry_ms, post_ms) =
        develop.map_or((0.0, 0.0), |times| (times.features_ms, times.denoise_ms + times.write_ms));
    let round_trip_ms = f64::from(view.round_trip_ms);
    StagePeer {
        peer: view.peer,
        stage_ms: [
            geometry_ms * slower + round_trip_ms,
            lighting.execution_ms + round_trip_ms,
            post_ms * slower + round_trip_ms,
        ],
    }
}

/// What passing the frames through stages is expected to take, if they are to be made into pictures that way.
pub fn forecast(
    spec: &JobSpec,
    views: &[PeerView],
    own_mrays_per_s: Option<f32>,
    frames: u32,
    decisions: &Decisions,
    now: TimeMs,
) -> Option<Forecast> {
    let pipeline = spec.pipeline?;
    let peers: Vec<StagePeer> = views
        .iter()
        .filter(|view| view.ready)
        .map(|view| stage_peer(spec, view, own_mrays_per_s.unwrap_or(view.mrays_per_s), decisions, now))
        .collect();
    if let Some(log) = &decisions.log {
        log.pass_over();
    }
    let makespan_ms = assign(&peers, pipeline.picture.denoise)?.makespan_ms(frames);
    Some(Forecast { strategy: Strategy::Pipeline, makespan_ms, whole_frames: frames })
}

/// Why a stage is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StageForgery {
    /// The signature is not the contributor's, or its statement cannot be read.
    #[error("its statement is not signed, or malformed")]
    Statement,
    /// It answers another request.
    #[error("it answers another request")]
    Request,
    /// The file is not the one that was signed.
    #[error("its picture is not the one that was signed")]
    Picture,
}

/// Whether a peer has signed that it did what it was asked for.
pub fn believed(
    stage: &OutStage,
    statement: &[u8],
    signature: &[u8],
) -> Result<StageStatement, StageForgery> {
    verify(&stage.peer, Domain::Stage, statement, signature).map_err(|_| StageForgery::Statement)?;
    let statement: StageStatement =
        from_canonical(statement, MAX_STATEMENT_BYTES).map_err(|_| StageForgery::Statement)?;
    statement.counters.check().map_err(|_| StageForgery::Statement)?;
    let asked = stage.request.hash().map_err(|_| StageForgery::Request)?;
    if statement.request == asked { Ok(statement) } else { Err(StageForgery::Request) }
}

/// Likewise of a picture. Takes as long as hashing it.
pub fn believed_picture(
    stage: &OutStage,
    result: &TileResult,
) -> Result<(StageStatement, bytes::Bytes), StageForgery> {
    let statement = believed(stage, &result.statement, &result.signature)?;
    let picture = result.payload.join();
    if plane_hash(&picture) == statement.output {
        Ok((statement, picture))
    } else {
        Err(StageForgery::Picture)
    }
}

/// Whether the picture was made of the very planes that were handed over for it; nothing while one is not heard of.
pub fn is_of_its_planes(request: &StageRequest, book: &FrameBook) -> Option<bool> {
    let posted = book.posted.as_ref()?;
    let mut inputs = posted.statement.inputs.iter();
    for (plane, _) in request.awaited() {
        let signed = book.planes.get(&plane)?;
        if inputs.next() != Some(signed) {
            return Some(false);
        }
    }
    Some(inputs.next().is_none())
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::{
        canon::to_canonical,
        id::{JobId, SceneHash},
        moment::SceneMoment,
        sign::SecretKey,
        stage::{Curve, PictureForm},
        task::TaskCounters,
        tile::{Camera, FrameSize, Sampling},
    };

    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn stage() -> OutStage {
        let request = StageRequest {
            job: JobId([3; 16]),
            frame: 7,
            attempt: 0,
            stage: Stage::Post,
            scene: SceneMoment::start_of(SceneHash([9; 32])),
            size: FrameSize::new(64, 36).unwrap(),
            sampling: Sampling { first_sample: 0, samples: 4, max_depth: 4, seed: 1, clamp: 0.0 },
            camera: Camera {
                origin: [0.0, 1.0, 5.0],
                forward: [0.0, 0.0, -1.0],
                right: [0.8, 0.0, 0.0],
                up: [0.0, 0.45, 0.0],
                lens_radius: 0.0,
                focus_distance: 0.0,
                parallel: false,
            },
            picture: PictureForm { denoise: true, curve: Curve::Agx, exposure_stops: 0.0, is_deep: false },
            geometry: Some(key(1).node_id()),
            lighting: key(2).node_id(),
            post: key(3).node_id(),
        };
        OutStage { peer: key(3).node_id(), frame: 0, request, predicted_ms: 1.0 }
    }

    fn statement(stage: &OutStage, inputs: Vec<PlaneHash>) -> StageStatement {
        StageStatement {
            request: stage.request.hash().unwrap(),
            output: plane_hash(b"file"),
            inputs,
            counters: TaskCounters::default(),
        }
    }

    fn sealed(signer: u8, statement: &StageStatement) -> (Vec<u8>, Vec<u8>) {
        let bytes = to_canonical(statement).unwrap();
        let signature = key(signer).sign(Domain::Stage, &bytes).0.to_vec();
        (bytes, signature)
    }

    #[test]
    fn b11_only_the_peers_own_word_about_its_own_request_is_believed() {
        let stage = stage();
        let honest = statement(&stage, Vec::new());
        let (bytes, signature) = sealed(3, &honest);
        assert_eq!(believed(&stage, &bytes, &signature), Ok(honest.clone()));
        let (_, of_another) = sealed(4, &honest);
        assert_eq!(believed(&stage, &bytes, &of_another), Err(StageForgery::Statement));
        let other =
            OutStage { request: StageRequest { attempt: 1, ..stage.request.clone() }, ..stage.clone() };
        assert_eq!(believed(&other, &bytes, &signature), Err(StageForgery::Request));
        let file = |payload: &'static [u8]| TileResult {
            task: TaskId(1),
            statement: bytes.clone(),
            signature: signature.clone(),
            payload: payload.to_vec().into(),
            load: p2c2r_protocol::task::Load::default(),
        };
        assert!(believed_picture(&stage, &file(b"file")).is_ok());
        assert_eq!(believed_picture(&stage, &file(b"another")), Err(StageForgery::Picture));
    }

    #[test]
    fn b11_a_picture_of_other_planes_than_those_that_were_handed_over_is_found_out() {
        let stage = stage();
        let [features, film] = [b"features".as_slice(), b"film"].map(plane_hash);
        let book = |inputs: Vec<PlaneHash>, planes: &[(Plane, PlaneHash)]| FrameBook {
            planes: planes.iter().copied().collect(),
            posted: Some(PostedPicture {
                task: TaskId(1),
                statement: statement(&stage, inputs),
                file: bytes::Bytes::from_static(b"file"),
            }),
            ..FrameBook::default()
        };
        let both = [(Plane::Features, features), (Plane::Film, film)];
        assert_eq!(is_of_its_planes(&stage.request, &book(vec![features, film], &both)), Some(true));
        assert_eq!(is_of_its_planes(&stage.request, &book(vec![features, film], &both[..1])), None);
        for wrong in [vec![film, features], vec![features], vec![features, film, film], Vec::new()] {
            assert_eq!(is_of_its_planes(&stage.request, &book(wrong, &both)), Some(false));
        }
    }
}
