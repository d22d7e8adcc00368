//! Owns scheduler, sessions and jobs. The loop only picks the next input; every reaction is a synchronous function.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use p2c2r_protocol::{
    heartbeat::{ExactnessClass, Heartbeat},
    id::{Epoch, NodeId, TaskId, WorkKind},
    task::{ContributorMessage, CoordinatorMessage},
};
use p2c2r_scheduler::{
    PeerView, Scheduler,
    frame::{Command, Event, Outbox},
    time::TimeMs,
};
use p2c2r_swarm::{ContributorEvent, CoordinatorLink, PeerStatus, SwarmHandle, TileResult, local_pair};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use super::{
    JobError, JobOutcome, JobSpec,
    gather::{Candidate, Decision, Gathering},
    job::{Job, OutTask},
    sessions::{Generation, Session},
    verify::{Forgery, Judgement, ProbeSecret, VerifiedTile},
};
use crate::{contributor::Contributor, progress::Progress};

/// How often peers are looked for, signs of life asked for, and progress told.
const TICK: Duration = Duration::from_millis(100);
/// How often the swarm is asked for new peers while a job is under way.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Sessions are closed after this long without a job.
const IDLE_SESSION: Duration = Duration::from_secs(30);
/// Jobs in line.
const MAX_JOBS: usize = 64;
/// Contributors that one coordinator works with at once.
const MAX_CONTRIBUTORS: usize = 64;

/// What the actor reacts to.
pub enum Input {
    /// A new job.
    Submit {
        /// What to render.
        spec: Box<JobSpec>,
        /// Where progress goes.
        progress: Arc<watch::Sender<Progress>>,
        /// Where the outcome goes.
        reply: oneshot::Sender<Result<JobOutcome, JobError>>,
    },
    /// The peers that the swarm knows.
    Peers(Vec<PeerStatus>),
    /// A session was opened, or not.
    Opened { peer: NodeId, link: Option<CoordinatorLink> },
    /// A contributor said something.
    Said { peer: NodeId, generation: Generation, event: ContributorEvent },
    /// Its stream ended.
    Closed { peer: NodeId, generation: Generation },
    /// A result was judged.
    Judged { peer: NodeId, task: TaskId, verdict: Result<VerifiedTile, Forgery> },
    /// End everything.
    Stop { done: oneshot::Sender<()> },
}

/// The coordinator's state.
pub struct Actor {
    node: NodeId,
    epoch: Epoch,
    secret: ProbeSecret,
    scheduler: Scheduler,
    contributor: Contributor,
    swarm: Option<SwarmHandle>,
    inputs: mpsc::WeakSender<Input>,
    jobs_out: watch::Sender<usize>,
    learned_out: watch::Sender<Vec<(NodeId, u64)>>,
    started: Instant,
    sessions: BTreeMap<NodeId, Session>,
    /// Peers to which a session is being opened.
    opening: BTreeSet<NodeId>,
    /// Peers whose session was opened a second time for the job in hand.
    reopened: BTreeSet<NodeId>,
    /// Peers that delivered a forgery to this run of the coordinator.
    distrusted: BTreeSet<NodeId>,
    next_generation: u64,
    next_task: TaskId,
    jobs: VecDeque<Job>,
    wake: Option<Instant>,
    looked_at: Option<Instant>,
    idle_since: Instant,
    stopped: Option<oneshot::Sender<()>>,
}

impl Actor {
    /// An actor without jobs.
    pub fn new(
        node: NodeId,
        scheduler: Scheduler,
        contributor: Contributor,
        swarm: Option<SwarmHandle>,
        inputs: mpsc::WeakSender<Input>,
        jobs_out: watch::Sender<usize>,
        learned_out: watch::Sender<Vec<(NodeId, u64)>>,
    ) -> Result<Self, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let now = Instant::now();
        Ok(Self {
            node,
            epoch: Epoch(getrandom::u64()?),
            secret: ProbeSecret::new(secret),
            scheduler,
            contributor,
            swarm,
            inputs,
            jobs_out,
            learned_out,
            started: now,
            sessions: BTreeMap::new(),
            opening: BTreeSet::new(),
            reopened: BTreeSet::new(),
            distrusted: BTreeSet::new(),
            next_generation: 0,
            next_task: TaskId(1),
            jobs: VecDeque::new(),
            wake: None,
            looked_at: None,
            idle_since: now,
            stopped: None,
        })
    }

    /// Runs until every handle is gone or it is stopped.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Input>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake = self.wake.map(tokio::time::Instant::from_std);
            tokio::select! {
                input = queue.recv() => match input {
                    Some(input) => self.apply(input, Instant::now()),
                    None => return,
                },
                () = sleep_until(wake) => {
                    self.wake = None;
                    self.frame_event(Event::Wake, Instant::now());
                }
                _ = tick.tick() => self.tick(Instant::now()),
            }
            self.jobs_out
                .send_if_modified(|told| std::mem::replace(told, self.jobs.len()) != self.jobs.len());
            if let Some(done) = self.stopped.take() {
                let _ = done.send(());
                return;
            }
        }
    }

    fn apply(&mut self, input: Input, now: Instant) {
        match input {
            Input::Submit { spec, progress, reply } => self.submit(*spec, progress, reply, now),
            Input::Peers(peers) => self.peers_known(&peers, now),
            Input::Opened { peer, link } => self.opened(peer, link, now),
            Input::Said { peer, generation, event } => {
                if self.sessions.get(&peer).is_some_and(|session| session.generation == generation) {
                    self.said(peer, event, now);
                }
            }
            Input::Closed { peer, generation } => {
                if self.sessions.get(&peer).is_some_and(|session| session.generation == generation) {
                    self.close(peer, "the stream ended", now);
                }
            }
            Input::Judged { peer, task, verdict } => self.judged(peer, task, verdict, now),
            Input::Stop { done } => self.stop(done, now),
        }
    }

    // ---- jobs

    fn submit(
        &mut self,
        spec: JobSpec,
        progress: Arc<watch::Sender<Progress>>,
        reply: oneshot::Sender<Result<JobOutcome, JobError>>,
        now: Instant,
    ) {
        if self.jobs.len() >= MAX_JOBS {
            let _ = reply.send(Err(JobError::TooManyJobs));
            return;
        }
        let gathering = Gathering::new(now, spec.wait_peers, self.swarm.is_some());
        self.jobs.push_back(Job::new(spec, progress, reply, gathering));
        if self.jobs.len() == 1 {
            self.begin(now);
        }
    }

    /// Starts gathering for the job at the head of the line.
    fn begin(&mut self, now: Instant) {
        self.idle_since = now;
        self.reopened.clear();
        let Some(job) = self.jobs.front_mut() else { return };
        job.gathering = Gathering::new(now, job.spec.wait_peers, self.swarm.is_some());
        if job.spec.uses_own_device() {
            self.open_own(now);
        }
        self.looked_at = None;
        self.look_for_peers(now);
        self.ask_for_scene(self.node);
        self.try_start(now);
    }

    /// The node's own device is a contributor like the others, over an in-memory link.
    fn open_own(&mut self, now: Instant) {
        if self.sessions.contains_key(&self.node) {
            return;
        }
        let (link, device) = local_pair(self.node);
        let contributor = self.contributor.clone();
        tokio::spawn(async move { contributor.attach(device, true).await });
        self.add_session(self.node, link, true, now);
    }

    fn try_start(&mut self, now: Instant) {
        let Some(job) = self.jobs.front() else { return };
        if job.run.is_some() {
            return;
        }
        let scene = job.spec.scene.hash;
        let own_ready = !job.spec.uses_own_device()
            || self.sessions.get(&self.node).is_some_and(|own| own.is_settled(&scene));
        match job.gathering.decide(now, own_ready) {
            Decision::Wait => {}
            Decision::Start => self.start_run(now),
            Decision::GiveUp { wanted, ready, waited_s } => {
                self.finish(Err(JobError::TooFewPeers { wanted, ready, waited_s }), now);
            }
        }
    }

    fn start_run(&mut self, now: Instant) {
        let Some(job) = self.jobs.front_mut() else { return };
        let views: Vec<PeerView> = self
            .sessions
            .iter()
            .filter(|(peer, session)| job.takes_part(**peer, session))
            .map(|(peer, session)| session.view(*peer, &job.spec.scene.hash))
            .collect();
        if !views.iter().any(|view| view.ready) {
            return self.finish(Err(JobError::NobodyLeft), now);
        }
        job.start(&self.scheduler, &views, self.next_task, self.started, now);
        self.frame_event(Event::Start, now);
    }

    /// Gives an event to the frame machine and carries its commands out, with the events that these cause in turn.
    fn frame_event(&mut self, event: Event, now: Instant) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) else { return };
            let mut outbox = Outbox::default();
            run.frame.handle(time_ms(self.started, now), event, &mut self.scheduler, &mut outbox);
            self.next_task = run.frame.next_task();
            while let Some(command) = outbox.pop() {
                self.carry_out(command, &mut events);
            }
        }
        self.end_run(now);
    }

    fn carry_out(&mut self, command: Command, events: &mut VecDeque<Event>) {
        let Some(job) = self.jobs.front_mut() else { return };
        match command {
            Command::Offer { task, peer, rect, .. } => {
                let request = job.request(rect);
                let Some(run) = job.run.as_mut() else { return };
                run.out.insert(task, OutTask { peer, rect });
                run.rects.insert(task, rect);
                let offer = CoordinatorMessage::Offer { task, request };
                if self.sessions.get(&peer).is_none_or(|session| !session.send(offer)) {
                    debug!(peer = %peer.short(), "a peer takes no more messages");
                    self.sessions.remove(&peer);
                    events.push_back(Event::PeerLost(peer));
                }
            }
            Command::Cancel { task, peer } => {
                if let Some(run) = job.run.as_mut() {
                    run.out.remove(&task);
                }
                if let Some(session) = self.sessions.get(&peer) {
                    session.send(CoordinatorMessage::Cancel { task });
                }
            }
            Command::Accept { task, tile } => job.accept(task, tile),
            Command::Distrust { peer, reason } => {
                warn!(peer = %peer.short(), %reason, "a peer is not believed any more");
                self.distrusted.insert(peer);
                self.sessions.remove(&peer);
            }
            Command::WakeAt(at) => {
                let at = self.started + Duration::from_secs_f64((at.0 / 1000.0).max(0.0));
                self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
            }
            Command::Done(end) => {
                if let Some(run) = job.run.as_mut() {
                    run.end = Some(end);
                }
            }
        }
    }

    /// If the frame has ended: the report, and the next job.
    fn end_run(&mut self, now: Instant) {
        if self.jobs.front().and_then(|job| job.run.as_ref()).is_none_or(|run| run.end.is_none()) {
            return;
        }
        let Some(job) = self.jobs.pop_front() else { return };
        self.wake = None;
        self.idle_since = now;
        self.tell_learned();
        let (reply, outcome) = job.into_outcome(self.node, &self.sessions, now);
        let _ = reply.send(outcome);
        self.begin(now);
    }

    fn finish(&mut self, outcome: Result<JobOutcome, JobError>, now: Instant) {
        if let Some(job) = self.jobs.pop_front() {
            let _ = job.reply.send(outcome);
        }
        self.wake = None;
        self.begin(now);
    }

    fn tell_learned(&self) {
        let learned = self.sessions.keys().filter_map(|peer| {
            self.scheduler.speed(peer, WorkKind::RayTracing).map(|speed| (*peer, speed.outcomes))
        });
        self.learned_out.send_replace(learned.collect());
    }

    // ---- peers

    fn look_for_peers(&mut self, now: Instant) {
        let due = self.looked_at.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_INTERVAL);
        let (Some(swarm), Some(inputs), true) = (self.swarm.clone(), self.inputs.upgrade(), due) else {
            return;
        };
        self.looked_at = Some(now);
        tokio::spawn(async move {
            let peers = swarm.peers().await;
            let _ = inputs.send(Input::Peers(peers)).await;
        });
    }

    fn peers_known(&mut self, peers: &[PeerStatus], now: Instant) {
        let Some(job) = self.jobs.front_mut() else { return };
        job.gathering.note_looked();
        let able = peers.iter().filter(|status| status.heartbeat.as_ref().is_some_and(can_help));
        let helpers: Vec<NodeId> = able
            .map(|status| status.node)
            .filter(|peer| *peer != self.node && !self.distrusted.contains(peer))
            .take(MAX_CONTRIBUTORS)
            .collect();
        for peer in helpers {
            if self.jobs.front_mut().is_some_and(|job| job.gathering.ask(peer)) {
                self.ask_to_help(peer);
            }
        }
        self.try_start(now);
    }

    /// Opens a session, or uses the one from the last job.
    fn ask_to_help(&mut self, peer: NodeId) {
        if self.sessions.contains_key(&peer) {
            return self.ask_for_scene(peer);
        }
        let (Some(swarm), Some(inputs)) = (self.swarm.clone(), self.inputs.upgrade()) else { return };
        if self.opening.insert(peer) {
            tokio::spawn(async move {
                let link = swarm.open_session(peer).await;
                if let Err(error) = &link {
                    debug!(peer = %peer.short(), %error, "no work session");
                }
                let _ = inputs.send(Input::Opened { peer, link: link.ok() }).await;
            });
        }
    }

    fn opened(&mut self, peer: NodeId, link: Option<CoordinatorLink>, now: Instant) {
        self.opening.remove(&peer);
        match link {
            Some(link) => self.add_session(peer, link, false, now),
            None => self.settle(peer, Candidate::Failed, now),
        }
    }

    fn add_session(&mut self, peer: NodeId, link: CoordinatorLink, own: bool, now: Instant) {
        let Some(inputs) = self.inputs.upgrade() else { return };
        self.next_generation += 1;
        let generation = Generation(self.next_generation);
        let CoordinatorLink { outbox, mut inbox, traffic, .. } = link;
        tokio::spawn(async move {
            while let Some(event) = inbox.recv().await {
                if inputs.send(Input::Said { peer, generation, event }).await.is_err() {
                    return;
                }
            }
            let _ = inputs.send(Input::Closed { peer, generation }).await;
        });
        self.sessions.insert(peer, Session::open(generation, own, outbox, traffic, self.epoch, now));
    }

    /// Asks a greeted contributor for the scene of the job at the head of the line.
    fn ask_for_scene(&mut self, peer: NodeId) {
        let (Some(job), Some(session)) = (self.jobs.front_mut(), self.sessions.get_mut(&peer)) else {
            return;
        };
        job.traffic_before.entry(peer).or_insert_with(|| session.traffic_now());
        session.prepare(job.spec.scene.hash, job.spec.scene.blob.bytes.len() as u64);
    }

    fn settle(&mut self, peer: NodeId, outcome: Candidate, now: Instant) {
        if let Some(job) = self.jobs.front_mut() {
            job.gathering.settle(peer, outcome);
        }
        self.try_start(now);
    }

    fn said(&mut self, peer: NodeId, event: ContributorEvent, now: Instant) {
        match event {
            ContributorEvent::Message(message) => self.message(peer, message, now),
            ContributorEvent::Result(result) => self.result(peer, result, now),
            ContributorEvent::Violation(reason) => {
                warn!(peer = %peer.short(), reason, "a peer broke the protocol");
                self.distrusted.insert(peer);
                self.close(peer, "it broke the protocol", now);
            }
        }
    }

    fn message(&mut self, peer: NodeId, message: ContributorMessage, now: Instant) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let (greeted, goodbye) = (session.welcome.is_some(), matches!(message, ContributorMessage::Goodbye));
        let about_task = session.note(message, now);
        if goodbye {
            return self.close(peer, "it said goodbye", now);
        }
        if let Some(message) = about_task {
            return self.task_message(peer, &message, now);
        }
        if !greeted && self.sessions.get(&peer).is_some_and(|session| session.welcome.is_some()) {
            return self.ask_for_scene(peer);
        }
        self.scene_news(peer, now);
    }

    /// A contributor may have become ready: for the start, or in the middle of the frame.
    fn scene_news(&mut self, peer: NodeId, now: Instant) {
        let (Some(job), Some(session)) = (self.jobs.front(), self.sessions.get(&peer)) else { return };
        let scene = job.spec.scene.hash;
        if !session.is_settled(&scene) {
            return;
        }
        let ready = session.is_ready(&scene);
        let joins = ready
            && job.takes_part(peer, session)
            && job.run.as_ref().is_some_and(|run| !run.joined.contains(&peer));
        if joins {
            let view = session.view(peer, &scene);
            if let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) {
                run.joined.insert(peer);
            }
            info!(peer = %peer.short(), "a peer joined in mid-frame");
            self.frame_event(Event::PeerReady(view), now);
        }
        self.settle(peer, if ready { Candidate::Ready } else { Candidate::Failed }, now);
    }

    fn task_message(&mut self, peer: NodeId, message: &ContributorMessage, now: Instant) {
        let event = match message {
            ContributorMessage::Accepted { task, .. } => Event::Accepted { task: *task },
            ContributorMessage::Progress { task, fraction } => {
                Event::Progress { task: *task, fraction: *fraction }
            }
            ContributorMessage::Cancelled { task, state } => Event::Cancelled {
                task: *task,
                finished: *state == p2c2r_protocol::task::CancelledState::Finished,
            },
            ContributorMessage::Rejected { task, reason, retry_after_ms, .. } => {
                debug!(peer = %peer.short(), ?task, ?reason, "a peer turned a tile down");
                Event::Rejected { task: *task, retry_after_ms: *retry_after_ms, fault: is_fault(*reason) }
            }
            _ => return,
        };
        let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) else { return };
        let (task, ends) = match event {
            Event::Accepted { task } | Event::Progress { task, .. } => (task, false),
            Event::Rejected { task, .. } => (task, true),
            // The answer to our own withdrawal: the task is not out any more.
            _ => return self.frame_event(event, now),
        };
        // Nobody may speak for another peer's task.
        if run.out.get(&task).is_none_or(|out| out.peer != peer) {
            return;
        }
        if ends {
            run.out.remove(&task);
        }
        self.frame_event(event, now);
    }

    fn result(&mut self, peer: NodeId, result: TileResult, now: Instant) {
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.heard(result.load, now);
        }
        let (Some(job), Some(inputs)) = (self.jobs.front(), self.inputs.upgrade()) else { return };
        let task = result.task;
        let Some(out) = job.run.as_ref().and_then(|run| run.out.get(&task)).filter(|out| out.peer == peer)
        else {
            debug!(peer = %peer.short(), ?task, "a late result is ignored");
            return;
        };
        let (request, spec) = (job.request(out.rect), Arc::clone(&job.spec));
        let secret = (peer != self.node).then(|| self.secret.clone());
        tokio::task::spawn_blocking(move || {
            let scene = &spec.scene.prepared;
            let judgement = Judgement { peer, request: &request, scene, secret: secret.as_ref() };
            // A panic while judging is as good as a tile that cannot be read.
            let verdict = catch_unwind(AssertUnwindSafe(|| judgement.verify(&result)))
                .unwrap_or_else(|_| Err(Forgery::Pixels("judging it failed".into())));
            let _ = inputs.blocking_send(Input::Judged { peer, task, verdict });
        });
    }

    fn judged(&mut self, peer: NodeId, task: TaskId, verdict: Result<VerifiedTile, Forgery>, now: Instant) {
        let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) else { return };
        if run.out.get(&task).is_none_or(|out| out.peer != peer) {
            return;
        }
        run.out.remove(&task);
        match verdict {
            Ok(tile) => {
                let queue_ms = f64::from(tile.counters.queue_ms);
                let execution_ms = f64::from(tile.counters.execution_ms);
                run.verified.insert(task, tile);
                self.frame_event(Event::Delivered { task, queue_ms, execution_ms }, now);
                // A loser of a hedge is not asked for by the machine: its pixels go.
                if let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) {
                    run.verified.remove(&task);
                }
            }
            Err(forgery) => {
                warn!(peer = %peer.short(), ?task, %forgery, "a tile is refused");
                self.frame_event(Event::Invalid { task }, now);
            }
        }
    }

    fn close(&mut self, peer: NodeId, reason: &str, now: Instant) {
        let Some(session) = self.sessions.remove(&peer) else { return };
        debug!(peer = %peer.short(), reason, "a work session ended");
        // A stream that is lost before anybody picks it up closes without a word: once is no refusal.
        if session.welcome.is_none() && !self.distrusted.contains(&peer) && self.reopened.insert(peer) {
            return self.ask_to_help(peer);
        }
        if let Some(run) = self.jobs.front_mut().and_then(|job| job.run.as_mut()) {
            run.joined.remove(&peer);
            if run.out.values().any(|out| out.peer == peer) {
                info!(peer = %peer.short(), reason, "lost a peer with tiles in hand; they are placed anew");
                run.peers_lost += 1;
            }
            run.out.retain(|_, out| out.peer != peer);
            self.frame_event(Event::PeerLost(peer), now);
        }
        self.settle(peer, Candidate::Failed, now);
    }

    // ---- time

    fn tick(&mut self, now: Instant) {
        self.drop_abandoned_jobs(now);
        self.close_silent_sessions(now);
        if self.jobs.is_empty() {
            if now.saturating_duration_since(self.idle_since) > IDLE_SESSION {
                self.goodbye();
            }
            return;
        }
        self.look_for_peers(now);
        self.try_start(now);
        self.check_deadline(now);
        let ready = |job: &Job| {
            self.sessions
                .iter()
                .filter(|(peer, session)| {
                    job.takes_part(**peer, session) && session.is_ready(&job.spec.scene.hash)
                })
                .count()
        };
        if let Some(job) = self.jobs.front() {
            job.tell_progress(now, ready(job) as u32);
        }
    }

    /// Whoever asked for a job and went away does not want it any more.
    fn drop_abandoned_jobs(&mut self, now: Instant) {
        let abandoned = self.jobs.front().is_some_and(|job| job.reply.is_closed());
        if abandoned {
            info!("a job was cancelled");
            if self.jobs.front().is_some_and(|job| job.run.is_some()) {
                self.frame_event(Event::Abort, now);
            } else {
                self.finish(Err(JobError::Stopping), now);
            }
        }
        let mut index = 0;
        self.jobs.retain(|job| {
            index += 1;
            index == 1 || !job.reply.is_closed()
        });
    }

    fn close_silent_sessions(&mut self, now: Instant) {
        let silent: Vec<NodeId> = self
            .sessions
            .iter_mut()
            .filter(|(_, session)| !session.own)
            .filter_map(|(peer, session)| (!session.keep_alive(now)).then_some(*peer))
            .collect();
        for peer in silent {
            self.close(peer, "it fell silent", now);
        }
    }

    fn check_deadline(&mut self, now: Instant) {
        let reached = self.jobs.front().is_some_and(|job| {
            let (Some(deadline_ms), Some(run)) = (job.spec.deadline_ms, job.run.as_ref()) else {
                return false;
            };
            now.saturating_duration_since(run.started) >= Duration::from_millis(deadline_ms)
        });
        if reached {
            self.frame_event(Event::Deadline, now);
        }
    }

    /// Ends all sessions in peace.
    fn goodbye(&mut self) {
        for (_, session) in std::mem::take(&mut self.sessions) {
            session.send(CoordinatorMessage::Goodbye);
        }
    }

    fn stop(&mut self, done: oneshot::Sender<()>, now: Instant) {
        if self.jobs.front().is_some_and(|job| job.run.is_some()) {
            self.frame_event(Event::Abort, now);
        }
        for job in self.jobs.drain(..) {
            let _ = job.reply.send(Err(JobError::Stopping));
        }
        self.goodbye();
        self.stopped = Some(done);
    }
}

/// Whether a heartbeat's sender would take tiles of ours. Only the exact class: its pixels are the same bits as ours.
fn can_help(heartbeat: &Heartbeat) -> bool {
    heartbeat.contributing
        && heartbeat.exactness == ExactnessClass::Exact
        && heartbeat.kinds.contains(&WorkKind::RayTracing)
}

/// Whether a refusal says that something is wrong with the peer or the request, not that the peer is busy.
fn is_fault(reason: p2c2r_protocol::task::RejectReason) -> bool {
    use p2c2r_protocol::task::RejectReason as Reason;
    !matches!(reason, Reason::Busy | Reason::NotContributing)
}

fn time_ms(start: Instant, now: Instant) -> TimeMs {
    TimeMs(now.saturating_duration_since(start).as_secs_f64() * 1e3)
}

/// Never ends without a time.
async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
