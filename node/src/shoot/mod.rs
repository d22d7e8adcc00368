//! Renders what a request asks for, picture after picture, and writes each. The scene's file is read once: all frames
//! are of the same bytes. Whole frames go to different peers ([`whole_frames`]), or each is cut into tiles while the scene
//! of the next one is made ready, or the first ones go whole and the last ones are cut ([`strategy`]). What is finished is
//! noted ([`job_log`]).

pub mod experience;
mod job_log;
mod request;
pub mod strategy;
mod whole_frames;

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::Context;
use bytes::Bytes;
use p2c2r_protocol::{moment::SceneMoment, tile::SceneTime};
use p2c2r_render::{
    limit::SceneLimits,
    picture::check_target,
    scene::{
        NamedCamera, SceneError,
        environment::EnvironmentSource,
        gltf::{cameras_over, parse_package},
        package::pack_with_environment,
    },
};
use p2c2r_scheduler::split::hybrid::Strategy;
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};

pub use self::request::{Shot, check_outputs};
use self::{
    job_log::{JobLog, warn_unnoted},
    request::{check, unfinished},
    whole_frames::{TakenContent, WholeFrames, write_whole},
};
use crate::{
    control::{EnvironmentRequest, RenderRequest},
    develop::{Negative, Stop, develop},
    node::Node,
    progress::{Phase, Progress},
    report::{FrameReport, SplitReport},
    scene_library::{Package, ResidentScene},
};

/// What a picture is taken of.
pub struct Subject {
    /// The scene, ready at the picture's moment.
    pub scene: ResidentScene,
    /// In place of the scene's own: one that is made to see the whole scene does not move with it, and those of a scene in
    /// which nothing else moves are where they are at the picture's moment.
    pub cameras: Option<Vec<NamedCamera>>,
    /// The scene at the moment of the picture after this one, if that is another one.
    pub next: Option<SceneMoment>,
}

/// The scene's file, packed.
#[derive(Clone)]
struct Packed {
    package: Package,
    /// What packing passed over.
    warnings: Arc<[String]>,
}

/// The pictures of a request, in order.
pub struct Shoot<'a> {
    node: &'a Node,
    request: &'a RenderRequest,
    progress: Arc<watch::Sender<Progress>>,
    /// Pictures to render, by their place in the request.
    wanted: Vec<u32>,
    /// Of those that are not cut, pictures that are written and told of.
    whole_taken: usize,
    /// Of those that are cut, pictures that are written.
    cut_taken: usize,
    /// Notes what is finished, of an animation in a node that has a store.
    log: Option<JobLog>,
    /// How the animation is split, once that is decided; a single picture is not.
    split: Option<SplitReport>,
    way: Way,
    /// What the models said that it takes, ms, and since when that counts.
    forecast: Option<(f64, Instant)>,
    /// Frames at different peers, while they are under way, and whether they ever were.
    whole_frames: Option<WholeFrames<'a>>,
    whole_begun: bool,
    packed: Option<Packed>,
    /// The camera that sees the whole scene at its first moment, once it was needed.
    framing: Option<NamedCamera>,
    /// What the next picture is of.
    upcoming: Option<Upcoming>,
    /// Why whole frames came to an end, until those that are done were told of.
    failed: Option<anyhow::Error>,
}

/// How the pictures are split.
#[derive(Debug, Clone, Copy)]
struct Way {
    strategy: Strategy,
    /// Pictures, from the first, that are not cut.
    whole_frames: usize,
}

/// What a single picture is, and every one that has to show something before it is done.
const CUT: Way = Way { strategy: Strategy::Spatial, whole_frames: 0 };

enum Upcoming {
    /// The scene does not move.
    Same(ResidentScene),
    /// It is being made ready.
    Loading(JoinHandle<anyhow::Result<ResidentScene>>),
}

impl<'a> Shoot<'a> {
    /// Checks whatever can be checked before anything is rendered: all moments, all files.
    pub async fn begin(
        node: &'a Node,
        request: &'a RenderRequest,
        progress: Arc<watch::Sender<Progress>>,
    ) -> anyhow::Result<Self> {
        let asked = request.clone();
        spawn_blocking(move || check(&asked)).await??;
        let mut shoot = Self {
            node,
            request,
            progress,
            wanted: (0..request.pictures()).collect(),
            whole_taken: 0,
            cut_taken: 0,
            log: None,
            split: None,
            way: CUT,
            forecast: None,
            whole_frames: None,
            whole_begun: false,
            packed: None,
            framing: None,
            upcoming: None,
            failed: None,
        };
        if let (Some(store), Some(_)) = (node.store(), &request.frames) {
            let scene = shoot.packed().await?.package.hash;
            let (log, is_known) = JobLog::open(store, request, scene)?;
            if request.resume && is_known {
                shoot.wanted = unfinished(&log, request)?;
            } else {
                // Only pictures of a job that was begun may be written anew.
                check_outputs(&RenderRequest { resume: false, ..request.clone() })?;
                log.begin()?;
            }
            shoot.log = Some(log);
        }
        Ok(shoot)
    }

    /// Frames that are there from before.
    pub fn kept(&self) -> u32 {
        self.request.pictures() - self.wanted.len() as u32
    }

    /// The picture at a place among those that are rendered.
    fn wanted_shot(&self, place: usize) -> anyhow::Result<Option<Shot>> {
        let Some(index) = self.wanted.get(place) else { return Ok(None) };
        let shot = self.request.shot(*index)?;
        Ok(shot.map(|shot| Shot { is_first: place == 0, ..shot }))
    }

    /// Renders and writes the next picture, whole or not at all; nothing when all are done. Dropping the future cancels
    /// it.
    pub async fn next(&mut self) -> anyhow::Result<Option<FrameReport>> {
        self.decide().await?;
        let report = match self.next_whole_frame().await? {
            Some(report) => Some(report),
            None => self.next_cut_frame().await?,
        };
        if self.whole_taken + self.cut_taken == self.wanted.len()
            && let Some((forecast_ms, since)) = self.forecast.take()
        {
            self.node.note_split(self.way.strategy, forecast_ms, since.elapsed().as_secs_f64() * 1e3);
        }
        Ok(report)
    }

    /// The picture that is cut next, by its place among those that are rendered.
    fn next_cut(&self) -> usize {
        self.way.whole_frames + self.cut_taken
    }

    /// As [`Shoot::next`], of frames that are cut.
    async fn next_cut_frame(&mut self) -> anyhow::Result<Option<FrameReport>> {
        let Some(shot) = self.wanted_shot(self.next_cut())? else { return Ok(None) };
        let taking = self.take(&shot).await;
        let report = match shot.frame {
            Some(frame) => taking.with_context(|| format!("frame {frame}"))?,
            None => taking?,
        };
        self.cut_taken += 1;
        Ok(Some(report))
    }

    /// Decides how the frames are split, before the first.
    async fn decide(&mut self) -> anyhow::Result<()> {
        if self.split.is_some() {
            return Ok(());
        }
        let in_passes = self.request.preview.is_some() || self.request.deadline_ms.is_some();
        let first = self.wanted_shot(0)?.filter(|_| self.request.frames.is_some() && !in_passes);
        let Some(first) = first else { return Ok(()) };
        self.progress.send_replace(Progress { phase: Phase::Loading, ..Progress::default() });
        let subject = self.subject(first.time).await?;
        let frames = self.wanted.len() as u32;
        let strategy::Decided { strategy, whole_frames, forecast_ms, report } =
            strategy::decide(self.node, self.request, &subject, frames, &first.output).await?;
        self.forecast = forecast_ms.map(|forecast_ms| (forecast_ms, Instant::now()));
        self.split = Some(report);
        self.way = Way { strategy, whole_frames };
        Ok(())
    }

    /// The scene at a moment, seen from where all frames are seen.
    async fn subject(&mut self, time: SceneTime) -> anyhow::Result<Subject> {
        let scene = self.load(time).await?.await??;
        let cameras = self.cameras(&scene, time).await?;
        Ok(Subject { scene, cameras, next: None })
    }

    /// As [`Shoot::next`], of frames at different peers: each picture is written when it is done, and told of in its turn.
    async fn next_whole_frame(&mut self) -> anyhow::Result<Option<FrameReport>> {
        let mut frames = match self.whole_frames.take() {
            Some(frames) => frames,
            None if self.way.whole_frames == 0 || self.whole_begun => return Ok(None),
            None => {
                self.whole_begun = true;
                self.begin_whole_frames().await?
            }
        };
        let report = loop {
            if let Some(report) = frames.in_turn(self.whole_taken) {
                break Some(report);
            }
            if self.failed.is_some() {
                break frames.first_held();
            }
            match self.write_next_of(&mut frames).await {
                Ok(Some((place, report))) => frames.hold(place, report),
                Ok(None) => break frames.first_held(),
                // Frames that are done are told of before it.
                Err(error) => self.failed = Some(error),
            }
        };
        if report.is_none()
            && let Some(error) = self.failed.take()
        {
            return Err(error);
        }
        self.whole_taken += usize::from(report.is_some());
        // Whoever has them all goes on to those that are cut.
        self.whole_frames = report.is_some().then_some(frames);
        Ok(report)
    }

    async fn write_next_of(
        &self,
        frames: &mut WholeFrames<'a>,
    ) -> anyhow::Result<Option<(usize, FrameReport)>> {
        loop {
            let Some(frame) = frames.next().await? else { return Ok(None) };
            // What is there of a frame that comes again is ours, and is not believed any more.
            let force = frame.is_again;
            let report = match frame.content {
                TakenContent::Negative(negative) => {
                    self.write(&frame.shot, negative, frame.report, force).await?
                }
                TakenContent::Picture(file) => {
                    self.write_file(&frame.shot, file, frame.report, force).await?
                }
            };
            if !frame.is_again {
                return Ok(Some((frame.place, report)));
            }
            frames.replace_held(frame.place, report);
        }
    }

    async fn begin_whole_frames(&mut self) -> anyhow::Result<WholeFrames<'a>> {
        self.progress.send_replace(Progress { phase: Phase::Loading, ..Progress::default() });
        let mut shots = Vec::with_capacity(self.way.whole_frames);
        for place in 0..self.way.whole_frames {
            shots.extend(self.wanted_shot(place)?);
        }
        let first = shots.first().context("no frames are left")?;
        let subject = self.subject(first.time).await?;
        let pipeline = (self.way.strategy == Strategy::Pipeline)
            .then(|| strategy::pipeline(self.node, self.request, &shots));
        let progress = Arc::clone(&self.progress);
        WholeFrames::begin(self.node, self.request, &subject, shots, pipeline, progress).await
    }

    async fn take(&mut self, shot: &Shot) -> anyhow::Result<FrameReport> {
        self.progress.send_replace(Progress { phase: Phase::Loading, ..Progress::default() });
        let scene = match self.upcoming.take() {
            Some(Upcoming::Same(scene)) => scene,
            Some(Upcoming::Loading(loading)) => loading.await??,
            None => self.load(shot.time).await?.await??,
        };
        let next = self.prepare_next(&scene).await?;
        let stands_still = !scene.moves && !scene.cameras_move && self.request.pictures() > 1;
        let cameras = self.cameras(&scene, shot.time).await?;
        let subject = Subject { scene, cameras, next };
        let progress = Arc::clone(&self.progress);
        let (negative, mut report) = self.node.render(self.request, shot, subject, progress).await?;
        report.frame = shot.frame;
        if stands_still {
            report.warnings.push("the scene has no animations: all frames are the same".to_owned());
        }
        self.write(shot, negative, report, false).await
    }

    /// Sees to it that the picture after this one finds its scene ready; gives the scene if it is another one.
    async fn prepare_next(&mut self, scene: &ResidentScene) -> anyhow::Result<Option<SceneMoment>> {
        let Some(shot) = self.wanted_shot(self.next_cut() + 1)? else { return Ok(None) };
        if !scene.moves {
            self.upcoming = Some(Upcoming::Same(scene.clone()));
            return Ok(None);
        }
        self.upcoming = Some(Upcoming::Loading(self.load(shot.time).await?));
        Ok(Some(SceneMoment { time: shot.time, ..scene.moment() }))
    }

    /// Cameras that stand in for the scene's own.
    async fn cameras(
        &mut self,
        scene: &ResidentScene,
        time: SceneTime,
    ) -> anyhow::Result<Option<Vec<NamedCamera>>> {
        if scene.cameras_move && !scene.moves {
            let blob = Arc::clone(&scene.package.blob);
            let found = spawn_blocking(move || cameras_over(&blob.bytes, &SceneLimits::default(), [time]));
            return Ok(found.await??.pop());
        }
        Ok(self.framing(scene).await?.map(|framing| vec![framing]))
    }

    /// A camera that is made to see the whole scene stays where the first moment puts it: a frame is the same whichever
    /// others are rendered with it, and things move through the picture rather than the picture with them.
    async fn framing(&mut self, scene: &ResidentScene) -> anyhow::Result<Option<NamedCamera>> {
        if !scene.is_framed || scene.time == SceneTime::START {
            return Ok(None);
        }
        if self.framing.is_none() {
            let blob = Arc::clone(&scene.package.blob);
            let first = move || -> Result<Option<NamedCamera>, SceneError> {
                let loaded = parse_package(&blob.bytes, &SceneLimits::default())?;
                Ok(loaded.scene.cameras.into_iter().next())
            };
            self.framing = spawn_blocking(first).await?.context("the scene at its first moment")?;
        }
        Ok(self.framing.clone())
    }

    /// Begins to make the scene ready at a moment.
    async fn load(&mut self, time: SceneTime) -> anyhow::Result<JoinHandle<anyhow::Result<ResidentScene>>> {
        let packed = self.packed().await?;
        let (library, path) = (Arc::clone(&self.node.library), self.request.scene.clone());
        Ok(spawn_blocking(move || {
            let prepared = library.prepare(&packed.package, time);
            let mut scene = prepared.with_context(|| format!("scene {}", path.display()))?;
            if !packed.warnings.is_empty() {
                scene.warnings = packed.warnings.iter().chain(&*scene.warnings).cloned().collect();
            }
            Ok(scene)
        }))
    }

    async fn packed(&mut self) -> anyhow::Result<Packed> {
        if let Some(packed) = &self.packed {
            return Ok(packed.clone());
        }
        let (path, environment) = (self.request.scene.clone(), self.request.environment.clone());
        let packed = spawn_blocking(move || pack(&path, environment.as_ref())).await??;
        Ok(self.packed.insert(packed).clone())
    }

    /// Writes a picture that a peer made.
    async fn write_file(
        &self,
        shot: &Shot,
        file: Bytes,
        mut report: FrameReport,
        force: bool,
    ) -> anyhow::Result<FrameReport> {
        report.split = self.split.clone();
        self.progress.send_modify(|progress| progress.phase = Phase::Writing);
        let force = force || self.request.force || self.request.resume;
        let (output, note) = (shot.output.clone(), self.log.clone().zip(shot.frame));
        spawn_blocking(move || -> anyhow::Result<FrameReport> {
            check_target(&output, force)?;
            write_whole(&output, &file)?;
            if let Some((log, frame)) = note {
                log.finish(frame, &output).unwrap_or_else(|error| warn_unnoted(frame, &error));
            }
            Ok(report)
        })
        .await?
    }

    async fn write(
        &self,
        shot: &Shot,
        negative: Negative,
        mut report: FrameReport,
        force: bool,
    ) -> anyhow::Result<FrameReport> {
        report.split = self.split.clone();
        self.progress.send_modify(|progress| progress.phase = Phase::Writing);
        // A preview may stand where the picture goes.
        let force = force || self.request.force || self.request.resume;
        let force = force || shot.preview.as_ref() == Some(&shot.output);
        let (output, settings) = (shot.output.clone(), self.request.develop);
        let note = self.log.clone().zip(shot.frame);
        let stop = Stop::default();
        let stopped = stop.flag();
        spawn_blocking(move || -> anyhow::Result<FrameReport> {
            check_target(&output, force)?;
            let picture = develop(negative, &output, &settings, &stopped, &mut report.warnings)?;
            report.picture = Some(picture);
            if let Some((log, frame)) = note.filter(|_| report.missing.is_empty()) {
                log.finish(frame, &output).unwrap_or_else(|error| warn_unnoted(frame, &error));
            }
            Ok(report)
        })
        .await?
        .inspect(|report| {
            if let Some(picture) = &report.picture {
                self.node.note_picture(self.request, &shot.output, picture);
            }
        })
    }
}

fn pack(path: &Path, environment: Option<&EnvironmentRequest>) -> anyhow::Result<Packed> {
    let environment = environment.map(|asked| EnvironmentSource {
        path: &asked.path,
        strength: asked.strength,
        rotation_turns: asked.rotation_turns,
    });
    let packed = pack_with_environment(path, environment.as_ref(), &SceneLimits::default())?;
    Ok(Packed { package: Package::of(packed.bytes.into()), warnings: packed.warnings.into() })
}

#[cfg(test)]
mod tests;
