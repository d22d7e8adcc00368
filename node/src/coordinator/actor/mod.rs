//! Owns scheduler, sessions and jobs. The loop only picks the next input; every reaction is a synchronous function:
//! the line of jobs ([`jobs`]), the peers and their sessions ([`peers`]), the tiles that are out ([`tiles`]).

mod deliver;
mod jobs;
mod peers;
mod pipeline;
mod tiles;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{
    StreamExt,
    stream::{BoxStream, SelectAll},
};
use p2c2r_protocol::{
    id::{Epoch, NodeId, TaskId},
    stage::StageStatement,
};
use p2c2r_scheduler::{Fitted, LearnedSpeed, frame::Event, pipeline::Event as PipelineEvent};
use p2c2r_swarm::{ContributorEvent, CoordinatorLink, PeerStatus, SwarmHandle};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    JobError, JobSpec,
    decisions::Decisions,
    job::Job,
    pipeline::StageForgery,
    reply::Reply,
    sessions::{Generation, Session, TrafficNow},
    verify::{Forgery, ProbeSecret, VerifiedTile},
};
use crate::{
    contributor::Contributor,
    progress::{Progress, SceneDelivery},
};

/// How often peers are looked for, signs of life asked for, and progress told.
const TICK: Duration = Duration::from_millis(100);
/// Sessions are closed after this long without a job.
const IDLE_SESSION: Duration = Duration::from_secs(30);

/// What the actor reacts to.
pub enum Input {
    /// A new job.
    Submit {
        /// What to render.
        spec: Box<JobSpec>,
        /// Where progress goes.
        progress: Arc<watch::Sender<Progress>>,
        /// Where the outcome goes.
        reply: Reply,
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
    /// A picture was judged.
    PictureJudged {
        peer: NodeId,
        task: TaskId,
        verdict: Result<(StageStatement, bytes::Bytes), StageForgery>,
    },
    /// Models were fitted anew; nothing when that failed.
    Fitted(Option<Box<Fitted>>),
    /// End everything.
    Stop { done: oneshot::Sender<()> },
}

/// The coordinator's state.
pub struct Actor {
    node: NodeId,
    epoch: Epoch,
    secret: ProbeSecret,
    decisions: Decisions,
    /// Models are being fitted.
    fitting: bool,
    contributor: Contributor,
    swarm: Option<SwarmHandle>,
    inputs: mpsc::WeakSender<Input>,
    jobs_out: watch::Sender<usize>,
    learned_out: watch::Sender<Vec<(NodeId, LearnedSpeed)>>,
    started: Instant,
    sessions: BTreeMap<NodeId, Session>,
    /// What the contributors say, each stream with its end.
    inboxes: SelectAll<BoxStream<'static, Input>>,
    /// Peers to which a session is being opened.
    opening: BTreeSet<NodeId>,
    /// Peers whose session was opened a second time for the job in hand.
    reopened: BTreeSet<NodeId>,
    /// Peers that delivered a forgery to this run of the coordinator.
    distrusted: BTreeSet<NodeId>,
    next_generation: u64,
    next_task: TaskId,
    jobs: VecDeque<Job>,
    /// What the sessions had counted before the last survey: what was fetched for it is part of the job that follows.
    before_survey: BTreeMap<NodeId, TrafficNow>,
    wake: Option<Instant>,
    looked_at: Option<Instant>,
    idle_since: Instant,
    /// Decides whom of very many peers is asked.
    draws: fastrand::Rng,
    stopped: Option<oneshot::Sender<()>>,
}

impl Actor {
    /// An actor without jobs.
    pub fn new(
        node: NodeId,
        decisions: Decisions,
        contributor: Contributor,
        swarm: Option<SwarmHandle>,
        inputs: mpsc::WeakSender<Input>,
        jobs_out: watch::Sender<usize>,
        learned_out: watch::Sender<Vec<(NodeId, LearnedSpeed)>>,
    ) -> Result<Self, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let now = Instant::now();
        Ok(Self {
            node,
            epoch: Epoch(getrandom::u64()?),
            secret: ProbeSecret::new(secret),
            decisions,
            fitting: false,
            contributor,
            swarm,
            inputs,
            jobs_out,
            learned_out,
            started: now,
            sessions: BTreeMap::new(),
            inboxes: SelectAll::new(),
            opening: BTreeSet::new(),
            reopened: BTreeSet::new(),
            distrusted: BTreeSet::new(),
            next_generation: 0,
            next_task: TaskId(1),
            jobs: VecDeque::new(),
            before_survey: BTreeMap::new(),
            wake: None,
            looked_at: None,
            idle_since: now,
            draws: fastrand::Rng::with_seed(getrandom::u64()?),
            stopped: None,
        })
    }

    /// Runs until every handle is gone or it is stopped.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Input>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake = [self.wake, self.deadline()].into_iter().flatten().min();
            let wake = wake.map(tokio::time::Instant::from_std);
            tokio::select! {
                input = queue.recv() => match input {
                    Some(input) => self.apply(input, Instant::now()),
                    None => return,
                },
                Some(input) = self.inboxes.next() => self.apply(input, Instant::now()),
                () = sleep_until(wake) => {
                    let now = Instant::now();
                    self.wake = self.wake.filter(|at| *at > now);
                    self.woken(now);
                }
                // An idle node sleeps: a swarm has very many of them.
                _ = tick.tick(), if !self.is_idle() => self.tick(Instant::now()),
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
            Input::PictureJudged { peer, task, verdict } => self.picture_judged(peer, task, verdict, now),
            Input::Fitted(fitted) => {
                self.fitting = false;
                if let Some(fitted) = fitted {
                    self.decisions.scheduler.install(*fitted);
                }
            }
            Input::Stop { done } => self.stop(done, now),
        }
    }

    /// Has models that are due fitted anew, one at a time, on a thread where it takes nothing from frames.
    fn fit(&mut self) {
        if self.fitting {
            return;
        }
        let (Some(inputs), Some(refit)) = (self.inputs.upgrade(), self.decisions.scheduler.take_refit())
        else {
            return;
        };
        self.fitting = true;
        tokio::task::spawn_blocking(move || {
            // The library that fits panics on what it does not like: then the old model stays.
            let fitted = catch_unwind(AssertUnwindSafe(|| refit.run())).ok().map(Box::new);
            let _ = inputs.blocking_send(Input::Fitted(fitted));
        });
    }

    fn tick(&mut self, now: Instant) {
        self.drop_abandoned_jobs(now);
        self.close_silent_sessions(now);
        self.fit();
        if self.jobs.is_empty() {
            if now.saturating_duration_since(self.idle_since) > IDLE_SESSION {
                self.goodbye();
            }
            return;
        }
        self.look_for_peers(now);
        self.try_start(now);
        self.check_deadline(now);
        self.deliver(now);
        self.deliver_pictures(now);
        let ready = |job: &Job| {
            self.sessions
                .iter()
                .filter(|(peer, session)| match (&job.run, &job.pipe) {
                    (Some(run), _) => run.joined.contains(peer),
                    (None, Some(pipe)) => pipe.joined.contains(peer),
                    (None, None) => {
                        job.takes_part(**peer, session) && session.is_ready(&job.spec.scene.moment())
                    }
                })
                .count()
        };
        if let Some(job) = self.jobs.front() {
            job.tell_progress(now, ready(job) as u32, self.delivery(job));
        }
    }

    /// How far a job's scene is on its way to the others.
    fn delivery(&self, job: &Job) -> SceneDelivery {
        let (scene, size_bytes) = (job.spec.scene.moment(), job.spec.scene.package.size_bytes());
        let others = self.sessions.iter().filter(|(_, session)| !session.own);
        let shares: Vec<f64> =
            others.filter_map(|(_, session)| session.scene_share(&scene, size_bytes)).collect();
        let there = self.sessions.values().filter(|session| !session.own && session.is_ready(&scene)).count();
        let on_the_way = shares.len() - there;
        let share = (shares.iter().sum::<f64>() - there as f64) / on_the_way.max(1) as f64;
        SceneDelivery { there: there as u32, on_the_way: on_the_way as u32, share }
    }

    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.sessions.is_empty()
    }

    fn woken(&mut self, now: Instant) {
        self.check_deadline(now);
        if self.jobs.front().is_some_and(|job| job.pipe.is_some()) {
            return self.pipeline_event(PipelineEvent::Wake, now);
        }
        self.frame_event(Event::Wake, now);
    }

    fn stop(&mut self, done: oneshot::Sender<()>, now: Instant) {
        if self.jobs.front().is_some_and(|job| job.pipe.is_some()) {
            self.abort_pipeline(now);
        } else if self.jobs.front().is_some_and(|job| job.run.is_some()) {
            self.frame_event(Event::Abort, now);
        }
        for job in self.jobs.drain(..) {
            job.reply.refuse(JobError::Stopping);
        }
        self.goodbye();
        self.stopped = Some(done);
    }
}

/// Never ends without a time.
async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
