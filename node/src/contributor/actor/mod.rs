//! Owns sessions and queue. The loop only picks the next input; every reaction is a synchronous function; those to stages
//! of frames are in [`stages`].

mod stages;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use p2c2r_protocol::{
    id::TaskId,
    limit::{MAX_SCENE_BYTES, MAX_TEXT_BYTES},
    moment::SceneMoment,
    task::{CancelledState, ContributorMessage, CoordinatorMessage, Load, RejectReason, TileRequest},
};
use p2c2r_swarm::{ContributorEvent, ContributorLink, TileResult};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

pub use self::stages::Stages;
use super::{
    Input, ReadyScene, SessionId,
    admission::{AdmissionQueue, CREDIT, admissible},
    hindrance::{Fate, Hindrance, Misfortune},
    render_thread::{QUEUE_AHEAD, RenderFailure, RenderJob, RenderThread, Rendered, RenderedTile, Work},
    scene::SceneSource,
    session::{Session, Task},
};

/// How often progress is told and leases are looked at.
const TICK: Duration = Duration::from_millis(200);
/// A coordinator that has work here and says nothing for this long is taken for dead; it pings every second while the session is
/// open.
const LEASE: Duration = Duration::from_secs(6);
/// One that has none gets a little longer.
const IDLE_LEASE: Duration = Duration::from_secs(10);
/// Results of one session that wait to be read, bytes: more, and its coordinator does not read them.
const MAX_UNREAD_BYTES: u64 = 256 << 20;
/// Results of all sessions that wait to be read, bytes: above it nothing more is taken on from others.
const MAX_ALL_UNREAD_BYTES: u64 = 512 << 20;
/// What runs when the node stops gets this long.
const DRAIN_GRACE: Duration = Duration::from_secs(8);
/// How long a coordinator that finds the queue full is asked to wait, ms.
const BUSY_RETRY_MS: u32 = 200;
/// How long one that comes while the node stops is asked to wait, ms.
const STOPPING_RETRY_MS: u32 = 60_000;
/// Most sessions with other nodes' coordinators.
const MAX_SESSIONS: usize = 64;

/// The contributor's state.
pub struct Actor {
    inputs: mpsc::WeakSender<Input>,
    thread: RenderThread,
    scenes: SceneSource,
    stages: Stages,
    mrays_per_s: f32,
    load: watch::Sender<Load>,
    sessions: BTreeMap<SessionId, Session>,
    /// What the coordinators say, each stream with its end.
    inboxes: SelectAll<BoxStream<'static, Input>>,
    next_session: u64,
    queue: AdmissionQueue,
    /// Tiles inside the render thread.
    running: usize,
    hindrance: Hindrance,
    misfortune: Misfortune,
    /// Whether tiles and stages are taken from others.
    traces: bool,
    draining: Option<(oneshot::Sender<()>, Instant)>,
}

impl Actor {
    /// An actor without sessions.
    pub fn new(
        inputs: mpsc::WeakSender<Input>,
        thread: RenderThread,
        scenes: SceneSource,
        stages: Stages,
        mrays_per_s: f32,
        load: watch::Sender<Load>,
        traces: bool,
    ) -> Self {
        Self {
            inputs,
            thread,
            scenes,
            stages,
            mrays_per_s,
            load,
            sessions: BTreeMap::new(),
            inboxes: SelectAll::new(),
            next_session: 0,
            queue: AdmissionQueue::default(),
            running: 0,
            hindrance: Hindrance::default(),
            misfortune: Misfortune::default(),
            traces,
            draining: None,
        }
    }

    /// Runs until every handle is gone or the node has drained it.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Input>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                input = queue.recv() => match input {
                    Some(input) => self.apply(input, Instant::now()),
                    None => return,
                },
                Some(input) = self.inboxes.next() => self.apply(input, Instant::now()),
                // An idle node sleeps: a swarm has very many of them.
                _ = tick.tick(), if self.is_ticking() => self.tick(Instant::now()),
            }
            self.dispatch();
            self.load.send_if_modified(|told| std::mem::replace(told, self.current_load()) != *told);
            if self.drained() {
                return self.finish_drain();
            }
        }
    }

    fn apply(&mut self, input: Input, now: Instant) {
        match input {
            Input::Attach { link, owner } => self.attach(link, owner, now),
            Input::Message { session, message } => self.message(session, message, now),
            Input::Detached { session } => self.close(session, "the stream ended"),
            Input::ScenePrepared { session, scene, outcome } => self.scene_prepared(session, scene, outcome),
            Input::Rendered { session, task, outcome } => self.rendered(session, task, outcome),
            Input::StageReady { session, task } => self.stage_ready(session, task),
            Input::HandedOver { session, task, sealed, arrived } => {
                self.handed_over(session, task, sealed, arrived);
            }
            Input::Posted { session, task, outcome } => self.posted(session, task, outcome),
            Input::Hinder { hindrance } => self.hinder(hindrance),
            Input::Drain { done } => self.drain(done, now),
        }
    }

    fn hinder(&mut self, hindrance: Hindrance) {
        self.hindrance = hindrance;
        for session in self.sessions.values_mut().filter(|session| !session.owner) {
            session.delay(Duration::from_millis(u64::from(hindrance.delay_ms)));
        }
    }

    fn attach(&mut self, link: ContributorLink, owner: bool, now: Instant) {
        if self.draining.is_some() || (!owner && self.sessions.len() > MAX_SESSIONS) {
            debug!(peer = %link.peer.short(), "a work session was turned away");
            return;
        }
        let session = SessionId::new(owner, self.next_session);
        self.next_session += 1;
        let ContributorLink { peer, outbox, mut inbox, .. } = link;
        let said = stream::poll_fn(move |context| inbox.poll_recv(context))
            .map(move |message| Input::Message { session, message })
            .chain(stream::iter([Input::Detached { session }]));
        self.inboxes.push(said.boxed());
        let mut opened = Session::new(peer, owner, outbox, now);
        if !owner {
            opened.delay(Duration::from_millis(u64::from(self.hindrance.delay_ms)));
        }
        self.sessions.insert(session, opened);
    }

    fn message(&mut self, id: SessionId, message: CoordinatorMessage, now: Instant) {
        let load = self.current_load();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.last_heard = now;
        let greeted = session.epoch.is_some();
        match message {
            CoordinatorMessage::Hello { epoch, software } if !greeted && software.len() <= MAX_TEXT_BYTES => {
                session.epoch = Some(epoch);
                let software = concat!("p2c2r-node/", env!("CARGO_PKG_VERSION")).to_owned();
                let welcome = ContributorMessage::Welcome {
                    credit: CREDIT,
                    mrays_per_s: self.mrays_per_s,
                    load,
                    software,
                };
                self.say(id, welcome);
            }
            CoordinatorMessage::Prepare { scene, size_bytes } if greeted => {
                self.prepare(id, scene, size_bytes);
            }
            CoordinatorMessage::Offer { task, request, compress } if greeted => {
                self.offer(id, task, request, compress, now);
            }
            CoordinatorMessage::OfferStage { task, request } if greeted => {
                self.offer_stage(id, task, request, now);
            }
            CoordinatorMessage::Cancel { task } if greeted => self.cancel(id, task),
            CoordinatorMessage::Ping { nonce } => self.say(id, ContributorMessage::Pong { nonce, load }),
            CoordinatorMessage::Goodbye => self.close(id, "the coordinator said goodbye"),
            _ => self.close(id, "a message came in the wrong place"),
        }
    }

    fn prepare(&mut self, id: SessionId, scene: SceneMoment, size_bytes: u64) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if self.draining.is_some() {
            return self
                .say(id, ContributorMessage::Refused { scene, reason: RejectReason::NotContributing });
        }
        let refusal = match size_bytes {
            0 => Some(RejectReason::Invalid),
            _ if size_bytes > MAX_SCENE_BYTES => Some(RejectReason::TooLarge),
            _ if !self.traces && !session.owner => Some(RejectReason::UnsupportedKind),
            _ => (!session.may_prepare(&scene)).then_some(RejectReason::Busy),
        };
        if let Some(reason) = refusal {
            return self.say(id, ContributorMessage::Refused { scene, reason });
        }
        let (scenes, peer, inputs) = (self.scenes.clone(), session.peer, self.inputs.clone());
        let preparing = tokio::spawn(async move {
            let outcome = scenes.prepare(peer, scene, size_bytes).await;
            if let Some(inputs) = inputs.upgrade() {
                let _ = inputs.send(Input::ScenePrepared { session: id, scene, outcome }).await;
            }
        });
        session.note_preparing(scene, preparing.abort_handle());
    }

    fn scene_prepared(
        &mut self,
        id: SessionId,
        scene: SceneMoment,
        outcome: Result<ReadyScene, RejectReason>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let answer = match outcome {
            Ok(ready) => {
                session.keep_scene(scene, ready.prepared);
                ContributorMessage::Ready {
                    scene,
                    fetched_bytes: ready.fetched_bytes,
                    elapsed_ms: ready.elapsed_ms,
                }
            }
            Err(reason) => {
                session.preparation_failed(&scene);
                ContributorMessage::Refused { scene, reason }
            }
        };
        self.say(id, answer);
    }

    fn offer(&mut self, id: SessionId, task: TaskId, request: TileRequest, compress: bool, now: Instant) {
        match self.admit(id, task, request, compress, now) {
            Ok(()) => {
                let load = self.current_load();
                self.say(id, ContributorMessage::Accepted { task, load });
            }
            Err(reason) => self.reject(id, task, reason),
        }
    }

    fn admit(
        &mut self,
        id: SessionId,
        task: TaskId,
        request: TileRequest,
        compress: bool,
        now: Instant,
    ) -> Result<(), RejectReason> {
        if self.draining.is_some() {
            return Err(RejectReason::NotContributing);
        }
        request.check().map_err(|_| RejectReason::Invalid)?;
        admissible(&request)?;
        let all_unread: u64 = self.sessions.values_mut().map(Session::unread_bytes).sum();
        let session = self.sessions.get_mut(&id).ok_or(RejectReason::Invalid)?;
        if session.tasks.contains_key(&task) {
            return Err(RejectReason::Invalid);
        }
        if !self.traces && !session.owner {
            return Err(RejectReason::UnsupportedKind);
        }
        if session.tasks.len() >= CREDIT as usize || (!session.owner && all_unread > MAX_ALL_UNREAD_BYTES) {
            return Err(RejectReason::Busy);
        }
        let scene = session.scene(&request.scene).ok_or(RejectReason::SceneUnknown)?;
        if !session.may_render(&request.scene) {
            return Err(RejectReason::Busy);
        }
        let entry = Task::new(request.scene);
        let job = RenderJob {
            session: id,
            task,
            scene,
            work: Work::Tile { request, compress },
            accepted_at: now,
            cancelled: Arc::clone(&entry.cancelled),
            progress: Arc::clone(&entry.progress),
        };
        self.queue.push(job)?;
        session.tasks.insert(task, entry);
        Ok(())
    }

    fn reject(&mut self, id: SessionId, task: TaskId, reason: RejectReason) {
        let retry_after_ms = match reason {
            RejectReason::Busy => BUSY_RETRY_MS,
            RejectReason::NotContributing => STOPPING_RETRY_MS,
            _ => 0,
        };
        let load = self.current_load();
        self.say(id, ContributorMessage::Rejected { task, reason, retry_after_ms, load });
    }

    fn cancel(&mut self, id: SessionId, task: TaskId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let state = match session.tasks.remove(&task) {
            Some(entry) => {
                entry.cancelled.store(true, Ordering::Relaxed);
                if entry.running { CancelledState::Running } else { CancelledState::Queued }
            }
            // Its result left before the cancellation came, or there never was such a task.
            None => CancelledState::Finished,
        };
        self.queue.remove(id, task);
        self.stages.desk.withdraw(id, task);
        self.say(id, ContributorMessage::Cancelled { task, state });
    }

    fn rendered(&mut self, id: SessionId, task: TaskId, outcome: Result<Rendered, RenderFailure>) {
        self.running = self.running.saturating_sub(1);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        // A task that was cancelled meanwhile has been answered already. One that is handed over is not done yet.
        let is_known = match &outcome {
            Ok(Rendered::Plane { .. }) => session.tasks.contains_key(&task),
            _ => session.tasks.remove(&task).is_some(),
        };
        match outcome {
            _ if !is_known => {}
            Ok(rendered) => self.deliver(id, task, rendered),
            Err(RenderFailure::Cancelled) => {}
            Err(RenderFailure::Failed(reason)) => self.reject(id, task, reason),
        }
    }

    fn send_result(&mut self, id: SessionId, task: TaskId, rendered: RenderedTile) {
        match self.misfortune.next(&self.hindrance) {
            Fate::Sent => {}
            Fate::Failed => return self.reject(id, task, RejectReason::Internal),
            Fate::Silent => return,
        }
        let load = self.current_load();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let RenderedTile { statement, signature, payload } = rendered;
        let result = TileResult { task, statement, signature, payload: payload.into(), load };
        let sent = session.send(ContributorEvent::Result(result));
        if !sent || (!session.owner && session.unread_bytes() > MAX_UNREAD_BYTES) {
            self.close(id, "the coordinator does not read its results");
        }
    }

    /// Keeps the render thread's short queue full.
    fn dispatch(&mut self) {
        while self.running <= QUEUE_AHEAD {
            let Some(job) = self.queue.pop() else { return };
            let (session, task) = (job.session, job.task);
            if let Err(job) = self.thread.offer(job) {
                return self.queue.push_front(*job);
            }
            self.running += 1;
            if let Some(entry) =
                self.sessions.get_mut(&session).and_then(|session| session.tasks.get_mut(&task))
            {
                entry.running = true;
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        let expired: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| !session.owner)
            .filter(|(_, session)| {
                let limit = if session.tasks.is_empty() { IDLE_LEASE } else { LEASE };
                now.saturating_duration_since(session.last_heard) > limit
            })
            .map(|(id, _)| *id)
            .collect();
        for id in expired {
            self.suspect_line_to(id);
            self.close(id, "the coordinator fell silent");
        }
        for session in self.sessions.values_mut() {
            session.tell_progress();
        }
        if self.sessions.values().any(Session::is_preparing) {
            let downloads = self.scenes.downloads();
            for session in self.sessions.values_mut() {
                session.tell_downloads(&downloads);
            }
        }
        self.look_for_ready_stages();
    }

    /// A coordinator that falls silent is gone, or its line is. What is left of the connection would still be taken for one when it
    /// comes back, and nothing said on it would arrive.
    fn suspect_line_to(&self, id: SessionId) {
        if let (Some(session), Some(swarm)) = (self.sessions.get(&id), self.stages.swarm.clone()) {
            let (coordinator, since) = (session.peer, session.last_heard);
            tokio::spawn(async move { swarm.suspect(coordinator, since).await });
        }
    }

    /// Ends a session: its tiles stop at once.
    fn close(&mut self, id: SessionId, reason: &str) {
        let Some(session) = self.sessions.remove(&id) else { return };
        let queued = self.queue.remove_session(id).len();
        self.stages.desk.withdraw_all(id);
        let tasks = session.tasks.len();
        if tasks > 0 {
            info!(coordinator = %session.peer.short(), reason, tasks, queued, "dropped a coordinator's work");
        } else {
            debug!(coordinator = %session.peer.short(), reason, "a work session ended");
        }
    }

    fn say(&mut self, id: SessionId, message: ContributorMessage) {
        if self.sessions.get_mut(&id).is_some_and(|session| !session.say(message)) {
            self.close(id, "the coordinator does not read its messages");
        }
    }

    fn current_load(&self) -> Load {
        Load { queued: self.queue.len() as u32, running: self.running as u32 }
    }

    fn drain(&mut self, done: oneshot::Sender<()>, now: Instant) {
        self.draining = Some((done, now + DRAIN_GRACE));
        let handed_back = self.queue.remove_all();
        for job in handed_back {
            if let Some(session) = self.sessions.get_mut(&job.session) {
                session.tasks.remove(&job.task);
            }
            self.reject(job.session, job.task, RejectReason::NotContributing);
        }
    }

    fn is_ticking(&self) -> bool {
        !self.sessions.is_empty() || self.draining.is_some()
    }

    fn drained(&self) -> bool {
        self.draining.as_ref().is_some_and(|(_, until)| self.running == 0 || Instant::now() >= *until)
    }

    fn finish_drain(mut self) {
        if self.running > 0 {
            warn!(
                tiles = self.running,
                "stopped before the last tiles were done; their coordinators place them anew"
            );
        }
        for session in self.sessions.values_mut() {
            let _ = session.say(ContributorMessage::Goodbye);
        }
        self.sessions.clear();
        if let Some((done, _)) = self.draining.take() {
            let _ = done.send(());
        }
    }
}
