//! Stages of frames at different peers: events into the pipeline's machine, its commands to the contributors.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use p2c2r_protocol::{
    id::{NodeId, TaskId},
    stage::{Stage, StageRequest, StageStatement},
    task::{ContributorMessage, CoordinatorMessage, RejectReason},
};
use p2c2r_scheduler::{
    PeerView,
    pipeline::{Command, Event, Pipeline},
    split::pipeline::{Crew, StagePeer},
};
use p2c2r_swarm::TileResult;
use tracing::{info, warn};

use super::{
    super::{
        JobError,
        job::Job,
        pipeline::{
            FrameBook, OutStage, PipelineRun, PostedPicture, StageForgery, believed, believed_picture,
            is_of_its_planes, stage_peer,
        },
        sequence::{DeliveredFrame, FrameContent},
        summary,
    },
    Actor, Input,
    tiles::time_ms,
};

impl Actor {
    /// Begins a pipeline over the peers that are ready.
    pub(super) fn start_pipeline(&mut self, views: &[PeerView], now: Instant) {
        let now_ms = time_ms(self.started, now);
        let peers: Vec<StagePeer> =
            views.iter().filter(|view| view.ready).filter_map(|view| self.stage_peer(view, now)).collect();
        let Some(job) = self.jobs.front_mut() else { return };
        let (Some(pipeline), Some(sequence)) = (job.spec.pipeline, job.spec.sequence.as_ref()) else {
            return;
        };
        if let Some(log) = &self.decisions.log {
            log.pass_over();
        }
        let frames = sequence.frames.len() as u32;
        let machine = Pipeline::new(frames, pipeline.picture.denoise, &peers, self.next_task);
        let joined = peers.iter().map(|peer| peer.peer).collect();
        let gathered = now.saturating_duration_since(job.gathering.since());
        job.pipe = Some(PipelineRun::new(machine, joined, now, gathered));
        info!(frames, peers = peers.len(), at_ms = now_ms.0, "a pipeline begins");
        self.want_pictures(now);
        self.pipeline_event(Event::Start, now);
    }

    fn stage_peer(&self, view: &PeerView, now: Instant) -> Option<StagePeer> {
        let job = self.jobs.front()?;
        let own = self.sessions.get(&self.node).and_then(|own| own.welcome);
        let own_mrays_per_s = own.map_or(view.mrays_per_s, |own| own.mrays_per_s);
        Some(stage_peer(&job.spec, view, own_mrays_per_s, &self.decisions, time_ms(self.started, now)))
    }

    /// A peer has the scene in the middle of it.
    pub(super) fn pipeline_peer_ready(&mut self, peer: NodeId, now: Instant) {
        let (Some(job), Some(session)) = (self.jobs.front(), self.sessions.get(&peer)) else { return };
        if job.pipe.as_ref().is_none_or(|pipe| pipe.joined.contains(&peer)) {
            return;
        }
        let view = session.view(peer, &job.spec.scene.moment(), self.fastest_claim());
        let Some(stage_peer) = self.stage_peer(&view, now) else { return };
        if let Some(pipe) = self.pipe() {
            pipe.joined.insert(peer);
        }
        self.pipeline_event(Event::PeerReady(stage_peer), now);
    }

    /// A peer's session is over.
    pub(super) fn pipeline_peer_lost(&mut self, peer: NodeId, now: Instant) {
        let Some(pipe) = self.pipe() else { return };
        pipe.joined.remove(&peer);
        pipe.peers_lost += u32::from(pipe.out.values().any(|out| out.peer == peer));
        pipe.out.retain(|_, out| out.peer != peer);
        self.pipeline_event(Event::PeerLost(peer), now);
    }

    fn pipe(&mut self) -> Option<&mut PipelineRun> {
        self.jobs.front_mut().and_then(|job| job.pipe.as_mut())
    }

    /// Gives an event to the machine and carries its commands out.
    pub(super) fn pipeline_event(&mut self, event: Event, now: Instant) {
        let mut events = VecDeque::from([event]);
        let now_ms = time_ms(self.started, now);
        while let Some(event) = events.pop_front() {
            let Some(pipe) = self.pipe().filter(|pipe| pipe.end.is_none()) else { break };
            let mut commands = Vec::new();
            pipe.machine.handle(now_ms, event, &mut commands);
            let next_task = pipe.machine.next_task();
            self.next_task = next_task;
            for command in commands {
                self.carry_out_stage(command, &mut events, now);
            }
        }
        self.deliver_pictures(now);
        self.end_pipeline(now);
    }

    fn carry_out_stage(&mut self, command: Command, events: &mut VecDeque<Event>, now: Instant) {
        match command {
            Command::Offer { task, peer, frame, attempt, stage, crew } => {
                let Some((out, size_bytes)) = self.out_stage(peer, frame, attempt, stage, crew) else {
                    return;
                };
                let request = Box::new(out.request.clone());
                if let Some(pipe) = self.pipe() {
                    let book = pipe.books.entry(frame).or_default();
                    if stage == Stage::Post {
                        // An attempt begins with its last stage.
                        *book = FrameBook { since: book.since.or(Some(now)), ..FrameBook::default() };
                    }
                    pipe.out.insert(task, out);
                }
                let offered = self.sessions.get_mut(&peer).is_some_and(|session| match stage {
                    Stage::Post => session.send(CoordinatorMessage::OfferStage { task, request }),
                    _ => session.offer_stage_at_moment(task, request, size_bytes),
                });
                if !offered {
                    self.sessions.remove(&peer);
                    if let Some(pipe) = self.pipe() {
                        pipe.joined.remove(&peer);
                        pipe.peers_lost += 1;
                        pipe.out.retain(|_, out| out.peer != peer);
                    }
                    events.push_back(Event::PeerLost(peer));
                }
            }
            Command::Cancel { task, peer } => {
                if let Some(pipe) = self.pipe() {
                    pipe.out.remove(&task);
                }
                if let Some(session) = self.sessions.get_mut(&peer)
                    && !session.take_back(task)
                {
                    session.send(CoordinatorMessage::Cancel { task });
                }
            }
            Command::FrameDone { frame, .. } => self.picture_done(frame, now),
            Command::WakeAt(at) => self.wake_at(at),
            Command::Done { complete } => {
                if let Some(pipe) = self.pipe() {
                    pipe.end = Some(complete);
                }
            }
        }
    }

    fn out_stage(
        &self,
        peer: NodeId,
        frame: u32,
        attempt: u32,
        stage: Stage,
        crew: Crew,
    ) -> Option<(OutStage, u64)> {
        let job = self.jobs.front()?;
        let spec = &job.spec;
        let (number, scene, camera) = spec.shot(frame);
        let request = StageRequest {
            job: spec.job,
            frame: number,
            attempt,
            stage,
            scene,
            size: spec.size,
            sampling: spec.sampling,
            camera,
            picture: spec.pipeline?.picture,
            geometry: crew.geometry,
            lighting: crew.lighting,
            post: crew.post,
        };
        let predicted_ms = job.pipe.as_ref()?.machine.expected_ms(peer, stage);
        Some((OutStage { peer, frame, request, predicted_ms }, spec.scene.package.size_bytes()))
    }

    /// What a contributor says about a stage.
    pub(super) fn stage_message(&mut self, peer: NodeId, message: ContributorMessage, now: Instant) {
        let (ContributorMessage::Accepted { task, .. }
        | ContributorMessage::Rejected { task, .. }
        | ContributorMessage::HandedOver { task, .. }) = message
        else {
            return;
        };
        let Some(pipe) = self.pipe() else { return };
        let Some(out) = pipe.out.get(&task).filter(|out| out.peer == peer) else { return };
        match message {
            ContributorMessage::Rejected { reason, .. } => {
                pipe.out.remove(&task);
                let fault = !matches!(reason, RejectReason::Busy | RejectReason::NotContributing);
                warn!(peer = %peer.short(), ?reason, "a peer turned a stage down");
                self.pipeline_event(Event::Failed { task, fault }, now);
            }
            ContributorMessage::HandedOver { statement, signature, .. } => {
                match (believed(out, &statement, &signature), out.request.plane()) {
                    (Ok(statement), Some(plane)) => {
                        let frame = out.frame;
                        pipe.books.entry(frame).or_default().planes.insert(plane, statement.output);
                        self.stage_finished(task, &statement, now);
                        self.check_picture(frame, now);
                    }
                    (Err(forgery), _) => self.stage_refused(peer, task, forgery, now),
                    (Ok(_), None) => {}
                }
            }
            _ => self.pipeline_event(Event::Accepted { task }, now),
        }
    }

    /// The scene of a stage that was to be offered is refused there.
    pub(super) fn stage_scene_refused(&mut self, task: TaskId, is_busy: bool, now: Instant) {
        let was_out = self.pipe().is_some_and(|pipe| pipe.out.remove(&task).is_some());
        if was_out {
            self.pipeline_event(Event::Failed { task, fault: !is_busy }, now);
        }
    }

    /// A picture came; whether it is the one that was signed is found out elsewhere.
    pub(super) fn picture(&mut self, peer: NodeId, result: TileResult) {
        let inputs = self.inputs.upgrade();
        let Some(pipe) = self.pipe() else { return };
        let out =
            pipe.out.get(&result.task).filter(|out| out.peer == peer && out.request.stage == Stage::Post);
        let (Some(out), Some(inputs)) = (out.cloned(), inputs) else { return };
        let task = result.task;
        tokio::task::spawn_blocking(move || {
            let verdict = believed_picture(&out, &result);
            let _ = inputs.blocking_send(Input::PictureJudged { peer, task, verdict });
        });
    }

    pub(super) fn picture_judged(
        &mut self,
        peer: NodeId,
        task: TaskId,
        verdict: Result<(StageStatement, bytes::Bytes), StageForgery>,
        now: Instant,
    ) {
        let Some(pipe) = self.pipe() else { return };
        let Some(frame) = pipe.out.get(&task).filter(|out| out.peer == peer).map(|out| out.frame) else {
            return;
        };
        match verdict {
            Ok((statement, file)) => {
                pipe.books.entry(frame).or_default().posted = Some(PostedPicture { task, statement, file });
                self.check_picture(frame, now);
            }
            Err(forgery) => self.stage_refused(peer, task, forgery, now),
        }
    }

    /// Whether a frame's picture is here, and made of what was handed over for it.
    fn check_picture(&mut self, frame: u32, now: Instant) {
        let Some(pipe) = self.pipe() else { return };
        let Some(book) = pipe.books.get(&frame) else { return };
        let Some((task, statement)) =
            book.posted.as_ref().map(|posted| (posted.task, posted.statement.clone()))
        else {
            return;
        };
        let Some(out) = pipe.out.get(&task) else { return };
        match is_of_its_planes(&out.request, book) {
            None => {}
            Some(true) => self.stage_finished(task, &statement, now),
            Some(false) => {
                warn!(peer = %out.peer.short(), "a picture was made of something else than what was handed over");
                pipe.out.remove(&task);
                pipe.invalid += 1;
                self.pipeline_event(Event::Failed { task, fault: true }, now);
            }
        }
    }

    fn stage_finished(&mut self, task: TaskId, statement: &StageStatement, now: Instant) {
        let Some(pipe) = self.pipe() else { return };
        let Some(out) = pipe.out.remove(&task) else { return };
        let execution_ms = f64::from(statement.counters.execution_ms);
        pipe.note(&out, execution_ms, statement.counters.rays);
        self.pipeline_event(Event::StageDone { task, execution_ms }, now);
    }

    fn stage_refused(&mut self, peer: NodeId, task: TaskId, forgery: StageForgery, now: Instant) {
        warn!(peer = %peer.short(), %forgery, "a stage is refused, and its peer not believed any more");
        self.distrusted.insert(peer);
        if let Some(pipe) = self.pipe() {
            pipe.out.remove(&task);
            pipe.invalid += 1;
        }
        self.close(peer, "it delivered something else than it was asked for", now);
    }

    fn picture_done(&mut self, frame: u32, now: Instant) {
        let (node, sessions) = (self.node, &self.sessions);
        let Some(job) = self.jobs.front_mut() else { return };
        let Some(book) = job.pipe.as_mut().and_then(|pipe| pipe.books.remove(&frame)) else { return };
        let Some(posted) = &book.posted else { return };
        let Some(pipe) = &job.pipe else { return };
        let about =
            summary::About { spec: &job.spec, own: node, sessions, traffic_before: &job.traffic_before };
        let report = summary::pipeline_report(&about, pipe, frame, &book, now);
        let content = FrameContent::Picture(posted.file.clone());
        job.undelivered.push_back(DeliveredFrame { index: frame, content, report });
    }

    pub(super) fn deliver_pictures(&mut self, now: Instant) {
        let Some(job) = self.jobs.front_mut().filter(|job| job.pipe.is_some()) else { return };
        let taken = job.hand_over_frames();
        if taken > 0 {
            if let Some(pipe) = job.pipe.as_mut() {
                pipe.taken += taken;
            }
            self.want_pictures(now);
        }
    }

    fn want_pictures(&mut self, now: Instant) {
        let Some(pipe) = self.pipe() else { return };
        let below = pipe.taken + super::super::sequence::FRAMES_AHEAD as u32 * 2;
        self.pipeline_event(Event::FramesWanted { below }, now);
    }

    fn end_pipeline(&mut self, now: Instant) {
        let Some(complete) = self.jobs.front().and_then(|job| job.pipe.as_ref()).and_then(|pipe| pipe.end)
        else {
            return;
        };
        let Some(job) = self.jobs.pop_front() else { return };
        self.wake = None;
        self.idle_since = now;
        let outcome = if complete { Ok(()) } else { Err(JobError::NobodyLeft) };
        tokio::spawn(job.into_pictures(outcome, now).tell());
        self.begin(now);
    }

    /// What is done with a job that has no more use for its pipeline.
    pub(super) fn abort_pipeline(&mut self, now: Instant) {
        let Some(pipe) = self.pipe() else { return };
        let out: Vec<(TaskId, NodeId)> = pipe.out.iter().map(|(task, out)| (*task, out.peer)).collect();
        for (task, peer) in out {
            if let Some(session) = self.sessions.get_mut(&peer)
                && !session.take_back(task)
            {
                session.send(CoordinatorMessage::Cancel { task });
            }
        }
        self.give_up(JobError::Stopping, now);
    }
}

impl Job {
    /// Hands whole frames to whoever waits for them, as many as are taken now: how many.
    pub(super) fn hand_over_frames(&mut self) -> u32 {
        let spec = Arc::clone(&self.spec);
        let Some(sequence) = &spec.sequence else { return 0 };
        let mut taken = 0;
        while let Some(frame) = self.undelivered.pop_front() {
            match sequence.deliver.try_send(frame) {
                Ok(()) => taken += 1,
                Err(tokio::sync::mpsc::error::TrySendError::Full(frame)) => {
                    self.undelivered.push_front(frame);
                    break;
                }
                // Whoever waited is gone: the job is found abandoned.
                Err(tokio::sync::mpsc::error::TrySendError::Closed(_)) => self.undelivered.clear(),
            }
        }
        taken
    }
}
