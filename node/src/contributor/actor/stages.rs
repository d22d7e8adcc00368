//! Stages of frames: taken on, handed over, made pictures of.

use std::{sync::Arc, time::Instant};

use p2c2r_protocol::{
    id::TaskId,
    stage::{HandOver, Stage, StageRequest},
    task::{ContributorMessage, RejectReason},
};
use p2c2r_swarm::{HandOverStore, SwarmHandle};
use tracing::warn;

use super::{
    super::{
        Input, SessionId,
        admission::{CREDIT, fits},
        hand_overs::HandOverDesk,
        render_thread::{RenderJob, Rendered, RenderedTile, SealedPlane, Work},
        session::Task,
        stages::{StageTools, post},
    },
    Actor,
};

/// Stages that one coordinator may have waiting or under way here.
const MAX_STAGES: usize = 8;

/// What stages need.
pub struct Stages {
    /// What they are done with.
    pub tools: StageTools,
    /// What the last ones await.
    pub desk: Arc<HandOverDesk>,
    /// Over which the first ones hand over.
    pub swarm: Option<SwarmHandle>,
}

impl Actor {
    pub(super) fn offer_stage(
        &mut self,
        id: SessionId,
        task: TaskId,
        request: Box<StageRequest>,
        now: Instant,
    ) {
        match self.admit_stage(id, task, request, now) {
            Ok(()) => {
                let load = self.current_load();
                self.say(id, ContributorMessage::Accepted { task, load });
            }
            Err(reason) => self.reject(id, task, reason),
        }
    }

    fn admit_stage(
        &mut self,
        id: SessionId,
        task: TaskId,
        request: Box<StageRequest>,
        now: Instant,
    ) -> Result<(), RejectReason> {
        if self.draining.is_some() {
            return Err(RejectReason::NotContributing);
        }
        request.check().map_err(|_| RejectReason::Invalid)?;
        fits(request.size.pixels(), &request.sampling, p2c2r_protocol::tile::PixelEncoding::RgbF32)?;
        let own = self.stages.tools.key.node_id();
        let is_ours = match request.stage {
            Stage::Geometry => request.geometry == Some(own),
            Stage::Lighting => request.lighting == own,
            Stage::Post => request.post == own,
        };
        let session = self.sessions.get_mut(&id).ok_or(RejectReason::Invalid)?;
        if !is_ours || session.tasks.contains_key(&task) {
            return Err(RejectReason::Invalid);
        }
        if !self.traces && !session.owner {
            return Err(RejectReason::UnsupportedKind);
        }
        let stages = session.tasks.values().filter(|task| task.is_stage).count();
        if stages >= MAX_STAGES || session.tasks.len() >= CREDIT as usize {
            return Err(RejectReason::Busy);
        }
        if request.stage == Stage::Post {
            self.stages.desk.announce(id, task, &request)?;
            session.tasks.insert(task, Task::of_post());
            return Ok(());
        }
        let scene = session.scene(&request.scene).ok_or(RejectReason::SceneUnknown)?;
        if !session.may_render(&request.scene) {
            return Err(RejectReason::Busy);
        }
        let mut entry = Task::new(request.scene);
        entry.is_stage = true;
        self.queue.push(RenderJob {
            session: id,
            task,
            scene,
            work: Work::Stage(request),
            accepted_at: now,
            cancelled: Arc::clone(&entry.cancelled),
            progress: Arc::clone(&entry.progress),
        })?;
        session.tasks.insert(task, entry);
        Ok(())
    }

    /// Sends what was rendered to where it goes: a tile to its coordinator, a plane to the next stage.
    pub(super) fn deliver(&mut self, id: SessionId, task: TaskId, rendered: Rendered) {
        match rendered {
            Rendered::Tile(tile) => self.send_result(id, task, tile),
            Rendered::Plane { request, brought, bytes, sealed } => {
                let to = request.post;
                if to == self.stages.tools.key.node_id() {
                    let arrived = self.stages.desk.take(&to, &brought, bytes);
                    return self.handed_over(id, task, sealed, arrived);
                }
                let (swarm, inputs) = (self.stages.swarm.clone(), self.inputs.clone());
                tokio::spawn(async move {
                    let arrived = hand_over(swarm, to, brought, bytes).await;
                    if let Some(inputs) = inputs.upgrade() {
                        let done = Input::HandedOver { session: id, task, sealed, arrived };
                        let _ = inputs.send(done).await;
                    }
                });
            }
        }
    }

    pub(super) fn handed_over(&mut self, id: SessionId, task: TaskId, sealed: SealedPlane, arrived: bool) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        // A task that was cancelled meanwhile has been answered already.
        if session.tasks.remove(&task).is_none() {
            return;
        }
        if !arrived {
            return self.reject(id, task, RejectReason::Internal);
        }
        let (SealedPlane { statement, signature }, load) = (sealed, self.current_load());
        self.say(id, ContributorMessage::HandedOver { task, statement, signature, load });
    }

    /// Everything that a last stage awaited is here.
    pub(super) fn stage_ready(&mut self, id: SessionId, task: TaskId) {
        let Some((request, planes)) = self.stages.desk.collect(id, task) else { return };
        let Some(entry) = self.sessions.get_mut(&id).and_then(|session| session.tasks.get_mut(&task)) else {
            return;
        };
        entry.running = true;
        let (tools, inputs) = (self.stages.tools.clone(), self.inputs.clone());
        let ready = Instant::now();
        tokio::task::spawn_blocking(move || {
            let outcome = post(&tools, &request, planes, ready.elapsed().as_secs_f32() * 1e3);
            if let Some(inputs) = inputs.upgrade() {
                let _ = inputs.blocking_send(Input::Posted { session: id, task, outcome });
            }
        });
    }

    /// Those whose word was lost.
    pub(super) fn look_for_ready_stages(&mut self) {
        for (session, task) in self.stages.desk.whole() {
            self.stage_ready(session, task);
        }
    }

    pub(super) fn posted(
        &mut self,
        id: SessionId,
        task: TaskId,
        outcome: Result<RenderedTile, RejectReason>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.tasks.remove(&task).is_none() {
            return;
        }
        match outcome {
            Ok(picture) => self.send_result(id, task, picture),
            Err(reason) => self.reject(id, task, reason),
        }
    }
}

async fn hand_over(
    swarm: Option<SwarmHandle>,
    to: p2c2r_protocol::id::NodeId,
    brought: HandOver,
    bytes: bytes::Bytes,
) -> bool {
    let Some(swarm) = swarm else { return false };
    match swarm.hand_over(to, brought, bytes).await {
        Ok(()) => true,
        Err(error) => {
            warn!(to = %to.short(), %error, "a stage's work could not be handed over");
            false
        }
    }
}
