//! Whole frames of an animation at different peers, or their stages: all of them are one job of the coordinator, which
//! hands each over as soon as it is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use anyhow::Context;
use bytes::Bytes;
use p2c2r_protocol::tile::SceneTime;
use p2c2r_render::{backend::FrameView, limit::SceneLimits, scene::gltf::cameras_over};
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
};

use super::{
    Shot, Subject,
    strategy::{develop_times, per_frame},
};
use crate::{
    control::RenderRequest,
    coordinator::{
        Canvas, DeliveredFrame, FrameContent, JobError, JobOutcome, JobSpec, PipelineSpec, SequenceFrame,
        SequenceSpec,
    },
    develop::{DevelopSettings, Negative, needs_scene},
    node::{self, Node},
    progress::Progress,
    report::FrameReport,
};

/// Whole frames that wait to be made pictures of.
const MAX_WAITING: usize = 2;

type Job<'a> = Pin<Box<dyn Future<Output = Result<JobOutcome, JobError>> + Send + Sync + 'a>>;

/// The frames that are under way.
pub struct WholeFrames<'a> {
    job: Job<'a>,
    spec: JobSpec,
    shots: Vec<Shot>,
    develop: DevelopSettings,
    frames: mpsc::Receiver<DeliveredFrame>,
    /// Frames that were handed over before.
    seen: BTreeSet<u32>,
    /// Reports of frames before which others have to be told of.
    held: BTreeMap<usize, FrameReport>,
    is_over: bool,
}

/// A frame that can be made a picture of.
pub struct TakenFrame {
    /// Its place among the pictures that are rendered.
    pub place: usize,
    /// Which picture.
    pub shot: Shot,
    /// What came of it.
    pub content: TakenContent,
    /// Who rendered it.
    pub report: FrameReport,
    /// It was there before, and one who had a hand in it was found to forge.
    pub is_again: bool,
}

/// What is made a picture of, or is one.
pub enum TakenContent {
    /// A film.
    Negative(Negative),
    /// The picture's file.
    Picture(Bytes),
}

impl<'a> WholeFrames<'a> {
    /// Submits the frames.
    pub async fn begin(
        node: &'a Node,
        request: &RenderRequest,
        subject: &Subject,
        shots: Vec<Shot>,
        pipeline: Option<PipelineSpec>,
        progress: Arc<watch::Sender<Progress>>,
    ) -> anyhow::Result<Self> {
        let mut spec = node.job(request, subject).await?;
        let cameras = cameras(request, subject, &shots).await?;
        let cost = spec.cost.total() * f64::from(spec.sampling.samples);
        let frame = |(shot, camera): (&Shot, _)| SequenceFrame {
            number: shot.frame.unwrap_or_default(),
            time: shot.time,
            camera,
            cost,
        };
        let output = shots.first().map_or(request.output.as_path(), |shot| shot.output.as_path());
        let each = per_frame(node, subject, develop_times(node, request, output).total_ms());
        spec.pipeline = pipeline;
        let (deliver, frames) = mpsc::channel(MAX_WAITING);
        spec.sequence = Some(SequenceSpec {
            frames: shots.iter().zip(cameras).map(frame).collect(),
            each,
            library: Arc::clone(&node.library),
            deliver,
        });
        let job = Box::pin(node.coordinator.render(spec.clone(), progress));
        // The end of the job is seen by the end of its frames: no sender may stay here.
        let spec = JobSpec { sequence: spec.sequence.take().map(SequenceSpec::without_delivery), ..spec };
        Ok(Self {
            job,
            spec,
            shots,
            develop: request.develop,
            frames,
            seen: BTreeSet::new(),
            held: BTreeMap::new(),
            is_over: false,
        })
    }

    /// The next frame that is whole; nothing when there are no more.
    pub async fn next(&mut self) -> anyhow::Result<Option<TakenFrame>> {
        loop {
            tokio::select! {
                biased;
                frame = self.frames.recv() => match frame {
                    Some(frame) => return self.taken(frame).await.map(Some),
                    None if self.is_over => return Ok(None),
                    None => {
                        let outcome = (&mut self.job).await;
                        self.is_over = true;
                        outcome?;
                    }
                },
                outcome = &mut self.job, if !self.is_over => {
                    self.is_over = true;
                    outcome?;
                }
            }
        }
    }

    /// Keeps a report until its turn comes.
    pub fn hold(&mut self, place: usize, report: FrameReport) {
        self.held.insert(place, report);
    }

    /// Takes the report of a frame that came again for the one that is kept; one that was told of stays as it was told.
    pub fn replace_held(&mut self, place: usize, report: FrameReport) {
        if let Some(held) = self.held.get_mut(&place) {
            *held = report;
        }
    }

    /// The report of the picture at a place, if it is there.
    pub fn in_turn(&mut self, place: usize) -> Option<FrameReport> {
        self.held.remove(&place)
    }

    /// The first of those that are kept, in turn or not.
    pub fn first_held(&mut self) -> Option<FrameReport> {
        self.held.pop_first().map(|(_, report)| report)
    }

    async fn taken(&mut self, frame: DeliveredFrame) -> anyhow::Result<TakenFrame> {
        let DeliveredFrame { index, content, report } = frame;
        let shot = self.shots.get(index as usize).context("a frame came that nobody asked for")?.clone();
        let (place, is_again) = (index as usize, !self.seen.insert(index));
        let film = match content {
            FrameContent::Picture(file) => {
                return Ok(TakenFrame {
                    place,
                    shot,
                    content: TakenContent::Picture(file),
                    report,
                    is_again,
                });
            }
            FrameContent::Film(Canvas::Radiance(film)) => film,
            FrameContent::Film(Canvas::Sums(_)) => {
                anyhow::bail!("a frame came back in another form than that which was asked for")
            }
        };
        let (_, _, camera) = self.spec.shot(index);
        let view = FrameView { size: self.spec.size, sampling: self.spec.sampling, camera };
        let scene = if needs_scene(&self.develop, &shot.output) {
            let spec = self.spec.clone();
            Some(spawn_blocking(move || spec.scene_of(index)).await??)
        } else {
            None
        };
        let content = TakenContent::Negative(Negative { film, scene, view });
        Ok(TakenFrame { place, shot, content, report, is_again })
    }
}

/// Writes a file beside, and renames it: at no time is there half a picture.
pub fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".partial");
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The error that is reported is the first one.
        let _ = fs::remove_file(&beside);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// The camera of each frame: those of the scene move with its nodes, one that was made to see everything does not.
async fn cameras(
    request: &RenderRequest,
    subject: &Subject,
    shots: &[Shot],
) -> anyhow::Result<Vec<p2c2r_protocol::tile::Camera>> {
    let scene = &subject.scene;
    let moves = scene.cameras_move || (scene.moves && !scene.is_framed);
    if !moves {
        let own = scene.prepared.scene().cameras.as_slice();
        let camera = node::camera(subject.cameras.as_deref().unwrap_or(own), request)?;
        return Ok(vec![camera; shots.len()]);
    }
    let blob = Arc::clone(&subject.scene.package.blob);
    let times: Vec<SceneTime> = shots.iter().map(|shot| shot.time).collect();
    let found = spawn_blocking(move || cameras_over(&blob.bytes, &SceneLimits::default(), times)).await??;
    found.iter().map(|cameras| node::camera(cameras, request)).collect()
}
