//! Steps of games' frames: done on a thread of their own, so that no tile is in their way, and refused at once when they
//! would be late.

use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use p2c2r_game::{
    executor::{Executor, snapshot_len},
    level::Level,
    snapshot::Snapshot,
};
use p2c2r_protocol::{
    id::WorkKind,
    sign::SecretKey,
    step::{LevelSpec, STEP_SNAPSHOTS, StepMessage, StepReply, StepRequest, StepStatement, output_hash},
    task::RejectReason,
};
use p2c2r_swarm::StepPeerLink;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::hindrance::{Fate, Hindrance, Misfortune};
use crate::processor_time::{Processor, Stopwatch};

/// Steps of one owner that wait for the thread: all that may be under way. More are refused, whatever others have.
const MAX_HELD: usize = WorkKind::ALL.len() * STEP_SNAPSHOTS / 2;
/// Steps that wait for the thread, of all owners.
const MAX_WAITING: usize = MAX_HELD * p2c2r_swarm::limit::MAX_STEP_STREAMS;
/// An owner says within this what its level is.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// A number of a snapshot takes no more bytes than that.
const MAX_NUMBER_BYTES: usize = 5;
/// Runs of a snapshot take no more bytes than that beside its numbers.
const MAX_RUN_BYTES: usize = 16;
/// Weight of the newest of the times that a kind of step took.
const TIME_WEIGHT: f64 = 0.2;
/// A throttled step is not stretched beyond that.
const MAX_LINGER: Duration = Duration::from_secs(2);
/// How often the thread looks whether it is still needed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is done to steps.
#[derive(Clone)]
pub struct StepTools {
    /// Signs.
    pub key: SecretKey,
    /// Kinds of work that are not done here.
    pub declined: Vec<WorkKind>,
    /// Every step takes so many times as long.
    pub throttle: f32,
}

/// Takes streams of steps.
#[derive(Clone)]
pub struct StepDesk {
    jobs: SyncSender<Job>,
    declined: Arc<[WorkKind]>,
    hindrance: Arc<Mutex<Hindrance>>,
    sessions: Arc<AtomicU64>,
}

/// What the thread is told.
enum Job {
    Open { session: u64, level: LevelSpec, alive: Weak<()> },
    Step(StepJob),
}

struct StepJob {
    session: u64,
    request: StepRequest,
    payload: Bytes,
    arrived: Instant,
    replies: mpsc::Sender<(StepReply, Bytes)>,
    _held: Held,
}

/// One of the steps that an owner has here.
struct Held(Arc<AtomicUsize>);

impl Held {
    /// Unless there are too many.
    fn take(count: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |held: usize| (held < MAX_HELD).then_some(held + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(Arc::clone(count)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl StepJob {
    fn due(&self) -> Instant {
        self.arrived + Duration::from_micros(u64::from(self.request.budget_us))
    }

    fn refuse(&self, reason: RejectReason) {
        // Whoever does not read its answers needs none.
        let _ = self.replies.try_send((StepReply::Refused { id: self.request.id, reason }, Bytes::new()));
    }
}

impl StepDesk {
    /// Starts the thread; it ends with the last clone of the desk.
    pub fn start(tools: StepTools) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(MAX_WAITING);
        let hindrance = Arc::new(Mutex::new(Hindrance::default()));
        let declined = tools.declined.clone().into();
        let mut worker = Worker {
            tools,
            hindrance: Arc::clone(&hindrance),
            misfortune: Misfortune::default(),
            sessions: BTreeMap::new(),
            waiting: Vec::new(),
            served: 0,
        };
        thread::Builder::new().name("steps".into()).spawn(move || worker.run(&queue))?;
        Ok(Self { jobs, declined, hindrance, sessions: Arc::default() })
    }

    /// From now on something is wrong here, on purpose.
    pub fn hinder(&self, hindrance: Hindrance) {
        *self.hindrance.lock().unwrap_or_else(PoisonError::into_inner) = hindrance;
    }

    /// For an owner that nothing is declined to.
    pub fn declining_nothing(self) -> Self {
        Self { declined: [].into(), ..self }
    }

    /// Serves a stream until it ends.
    pub async fn serve(self, mut link: StepPeerLink) {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let replies = self.replies(link.outbox.clone());
        let opened = tokio::time::timeout(OPEN_LIMIT, link.inbox.recv()).await;
        let Ok(Some((StepMessage::Open(level), _))) = opened else { return };
        // The thread drops what belongs to the session when this is gone.
        let (alive, held) = (Arc::new(()), Arc::<AtomicUsize>::default());
        if self.jobs.try_send(Job::Open { session, level, alive: Arc::downgrade(&alive) }).is_err()
            || replies.send((StepReply::Opened, Bytes::new())).await.is_err()
        {
            return;
        }
        while let Some((message, payload)) = link.inbox.recv().await {
            match message {
                StepMessage::Step(request) => {
                    let refuse = |reason| {
                        // Whoever does not read its answers needs none.
                        let _ =
                            replies.try_send((StepReply::Refused { id: request.id, reason }, Bytes::new()));
                    };
                    let most = snapshot_len(&level, request.kind)
                        .map(|length| length * MAX_NUMBER_BYTES + MAX_RUN_BYTES);
                    if most.is_none_or(|most| payload.len() > most * 2) {
                        refuse(RejectReason::Invalid);
                        continue;
                    }
                    let Some(held) = Held::take(&held) else {
                        refuse(RejectReason::Busy);
                        continue;
                    };
                    let job = StepJob {
                        session,
                        request,
                        payload,
                        arrived: Instant::now(),
                        replies: replies.clone(),
                        _held: held,
                    };
                    if self.declined.contains(&request.kind) {
                        job.refuse(RejectReason::UnsupportedKind);
                        continue;
                    }
                    match self.jobs.try_send(Job::Step(job)) {
                        Err(TrySendError::Full(Job::Step(job))) => job.refuse(RejectReason::Busy),
                        Err(TrySendError::Disconnected(_)) => break,
                        _ => {}
                    }
                }
                _ => break,
            }
        }
        debug!(owner = %link.owner.short(), "a stream of steps ended");
    }

    /// Answers pass through here, each held back for as long as the hindrance of its moment says.
    fn replies(&self, to: mpsc::Sender<(StepReply, Bytes)>) -> mpsc::Sender<(StepReply, Bytes)> {
        let (sender, mut answers) = mpsc::channel::<(StepReply, Bytes)>(to.max_capacity());
        let hindrance = Arc::clone(&self.hindrance);
        tokio::spawn(async move {
            let mut waiting: VecDeque<(Instant, (StepReply, Bytes))> = VecDeque::new();
            loop {
                let due = waiting.front().map(|(due, _)| tokio::time::Instant::from_std(*due));
                tokio::select! {
                    answer = answers.recv(), if waiting.len() < to.max_capacity() => {
                        let Some(answer) = answer else { return };
                        let delay_ms = hindrance.lock().unwrap_or_else(PoisonError::into_inner).delay_ms;
                        if delay_ms == 0 && waiting.is_empty() {
                            if to.send(answer).await.is_err() {
                                return;
                            }
                        } else {
                            waiting.push_back((Instant::now() + Duration::from_millis(u64::from(delay_ms)), answer));
                        }
                    }
                    () = async {
                        match due {
                            Some(due) => tokio::time::sleep_until(due).await,
                            None => std::future::pending().await,
                        }
                    } => {
                        if let Some((_, answer)) = waiting.pop_front()
                            && to.send(answer).await.is_err()
                        {
                            return;
                        }
                    }
                }
            }
        });
        sender
    }
}

/// An owner's level here, and what it has sent.
struct Session {
    executor: Executor,
    level: LevelSpec,
    /// Whether its stream is open.
    alive: Weak<()>,
    snapshots: BTreeMap<WorkKind, VecDeque<(u64, Arc<Snapshot>)>>,
    /// Mean time of a frame of each kind, ms.
    time_ms: BTreeMap<WorkKind, f64>,
    /// When it was served last, by number.
    served: u64,
}

/// The thread.
struct Worker {
    tools: StepTools,
    hindrance: Arc<Mutex<Hindrance>>,
    misfortune: Misfortune,
    sessions: BTreeMap<u64, Session>,
    waiting: Vec<StepJob>,
    served: u64,
}

impl Worker {
    fn run(&mut self, queue: &Receiver<Job>) {
        // Steps are too short to be shared out: what the renderer does in parallel is done here, on this very thread.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
        if let Err(error) = pool {
            debug!(%error, "steps share the renderer's threads");
        }
        loop {
            if self.waiting.is_empty() {
                match queue.recv_timeout(LOOK_INTERVAL) {
                    Ok(job) => self.note(job),
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            while self.waiting.len() < MAX_WAITING
                && let Ok(job) = queue.try_recv()
            {
                self.note(job);
            }
            self.sessions.retain(|_, session| session.alive.strong_count() > 0);
            self.waiting.retain(|job| self.sessions.contains_key(&job.session));
            if let Some(job) = self.next() {
                self.carry_out(&job);
            }
        }
    }

    fn note(&mut self, job: Job) {
        match job {
            Job::Open { session, level, alive } => {
                let executor = Executor::new(Arc::new(Level::new(level)));
                let (snapshots, time_ms) = (BTreeMap::new(), BTreeMap::new());
                self.sessions.insert(
                    session,
                    Session { executor, level, alive, snapshots, time_ms, served: self.served },
                );
            }
            Job::Step(job) => self.waiting.push(job),
        }
    }

    /// Of the owner that has waited longest, the step that is due first.
    fn next(&mut self) -> Option<StepJob> {
        let order = |job: &StepJob| {
            let served = self.sessions.get(&job.session).map_or(0, |session| session.served);
            (served, job.due())
        };
        let first = (0..self.waiting.len()).min_by_key(|index| self.waiting.get(*index).map(order))?;
        Some(self.waiting.swap_remove(first))
    }

    fn carry_out(&mut self, job: &StepJob) {
        let hindrance = *self.hindrance.lock().unwrap_or_else(PoisonError::into_inner);
        self.served += 1;
        let Some(session) = self.sessions.get_mut(&job.session) else {
            return job.refuse(RejectReason::Invalid);
        };
        session.served = self.served;
        // A panic in here is a bug of ours, or somebody's cunning: it costs that owner its level, and nobody else.
        let done = catch_unwind(AssertUnwindSafe(|| session.step(job, &self.tools))).unwrap_or_else(|_| {
            warn!(kind = job.request.kind.name(), "a step panicked; its owner's level is dropped");
            self.sessions.remove(&job.session);
            Err(RejectReason::Internal)
        });
        match done {
            Ok((reply, output)) => match self.misfortune.next(&hindrance) {
                Fate::Sent => {
                    // A full queue means that the owner does not read: the step is lost, as it would be anyway.
                    let _ = job.replies.try_send((reply, output));
                }
                Fate::Failed => job.refuse(RejectReason::Internal),
                Fate::Silent => {}
            },
            Err(reason) => job.refuse(reason),
        }
    }
}

impl Session {
    fn step(&mut self, job: &StepJob, tools: &StepTools) -> Result<(StepReply, Bytes), RejectReason> {
        let StepRequest { id, kind, tick, ticks, base, snapshot: named, .. } = job.request;
        self.executor.make_ready(kind);
        let watch = Stopwatch::start(Processor::Thread);
        let began = watch.began();
        if began > job.due() {
            return Err(RejectReason::Busy);
        }
        if let Some(frame_ms) = self.time_ms.get_mut(&kind) {
            let expected = Duration::from_secs_f64(*frame_ms * f64::from(ticks) / 1e3);
            if began + expected > job.due() {
                // Whoever refuses learns nothing: a time that was an exception must not stand for ever.
                *frame_ms *= 1.0 - TIME_WEIGHT;
                return Err(RejectReason::Busy);
            }
        }
        let known = self.snapshots.entry(kind).or_default();
        let base = match base {
            None => None,
            Some(base) => {
                let found = known.iter().find(|(id, _)| *id == base);
                Some(Arc::clone(&found.ok_or(RejectReason::SceneUnknown)?.1))
            }
        };
        let length = snapshot_len(&self.level, kind).ok_or(RejectReason::UnsupportedKind)?;
        let snapshot =
            Snapshot::from_delta(&job.payload, base.as_deref(), length).map_err(|_| RejectReason::Invalid)?;
        if snapshot.hash() != named {
            return Err(RejectReason::SceneUnknown);
        }
        let snapshot = Arc::new(snapshot);
        known.push_back((id, Arc::clone(&snapshot)));
        while known.len() > STEP_SNAPSHOTS {
            known.pop_front();
        }
        let output = self.executor.run(kind, tick, ticks, &snapshot).map_err(|error| {
            warn!(kind = kind.name(), %error, "a step failed");
            RejectReason::Internal
        })?;
        linger(&watch, tools.throttle);
        let execution = began.elapsed();
        let frame_ms = execution.as_secs_f64() * 1e3 / f64::from(ticks.max(1));
        let mean_ms = self.time_ms.entry(kind).or_insert(frame_ms);
        *mean_ms += (frame_ms - *mean_ms) * TIME_WEIGHT;
        let us = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let statement = StepStatement {
            kind,
            tick,
            ticks,
            snapshot: named,
            output: output_hash(&output),
            queue_us: us(began.saturating_duration_since(job.arrived)),
            execution_us: us(execution),
        };
        let (statement, signature) = statement.seal(&tools.key).map_err(|_| RejectReason::Internal)?;
        Ok((StepReply::Done { id, statement, signature: signature.0.to_vec() }, output.into()))
    }
}

/// A throttled node is not done before its factor times the time that it was busy.
fn linger(watch: &Stopwatch, throttle: f32) {
    if throttle > 1.0 {
        thread::sleep(watch.done_at(throttle).saturating_duration_since(Instant::now()).min(MAX_LINGER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVEL: LevelSpec = LevelSpec { seed: 1, bodies: 8, agents: 8, sounds: 1 };

    struct Owner {
        outbox: mpsc::Sender<(StepMessage, Bytes)>,
        inbox: mpsc::Receiver<(StepReply, Bytes)>,
    }

    fn key() -> SecretKey {
        SecretKey::from_seed([9; 32])
    }

    fn desk(declined: Vec<WorkKind>) -> StepDesk {
        StepDesk::start(StepTools { key: key(), declined, throttle: 1.0 }).unwrap()
    }

    async fn owner(desk: &StepDesk) -> Owner {
        let (outbox, peer_inbox) = mpsc::channel(64);
        let (peer_outbox, inbox) = mpsc::channel(64);
        let link = StepPeerLink { owner: key().node_id(), outbox: peer_outbox, inbox: peer_inbox };
        tokio::spawn(desk.clone().serve(link));
        let mut owner = Owner { outbox, inbox };
        owner.outbox.send((StepMessage::Open(LEVEL), Bytes::new())).await.unwrap();
        assert_eq!(owner.inbox.recv().await.unwrap().0, StepReply::Opened);
        owner
    }

    fn physics(id: u64, base: Option<(u64, &Snapshot)>, budget_us: u32) -> (StepRequest, Bytes, Snapshot) {
        let bodies = Level::new(LEVEL).bodies();
        let snapshot = Snapshot(p2c2r_game::layout::PhysicsLayout::write(&bodies, &[]));
        let payload = snapshot.delta(base.map(|(_, base)| base));
        let request = StepRequest {
            id,
            kind: WorkKind::Physics,
            tick: 0,
            ticks: 2,
            base: base.map(|(id, _)| id),
            snapshot: snapshot.hash(),
            budget_us,
        };
        (request, payload.into(), snapshot)
    }

    async fn answer(owner: &mut Owner, request: StepRequest, payload: Bytes) -> (StepReply, Bytes) {
        owner.outbox.send((StepMessage::Step(request), payload)).await.unwrap();
        owner.inbox.recv().await.unwrap()
    }

    #[tokio::test]
    async fn answers_are_signed_and_what_was_sent_once_is_known() {
        let desk = desk(Vec::new());
        let mut owner = owner(&desk).await;
        let (request, payload, snapshot) = physics(1, None, 5_000_000);
        let (reply, output) = answer(&mut owner, request, payload).await;
        let StepReply::Done { id: 1, statement, signature } = reply else { panic!("{reply:?}") };
        let statement = StepStatement::open(&key().node_id(), &statement, &signature).unwrap();
        assert!(statement.is_about(&request, &output));
        let mut here = Executor::new(Arc::new(Level::new(LEVEL)));
        assert_eq!(here.run(WorkKind::Physics, 0, 2, &snapshot).unwrap(), output);
        let (request, payload, _) = physics(2, Some((1, &snapshot)), 5_000_000);
        assert!(payload.len() <= 4);
        assert!(matches!(answer(&mut owner, request, payload).await.0, StepReply::Done { id: 2, .. }));
    }

    #[tokio::test]
    async fn b5_late_unknown_torn_and_unwanted_steps_are_refused() {
        let desk = desk(vec![WorkKind::Audio]);
        let mut owner = owner(&desk).await;
        let (request, payload, snapshot) = physics(1, None, 5_000_000);
        answer(&mut owner, request, payload.clone()).await;
        let refused = |id, reason| StepReply::Refused { id, reason };
        let late = StepRequest { id: 2, budget_us: 1, ..request };
        assert_eq!(answer(&mut owner, late, payload.clone()).await.0, refused(2, RejectReason::Busy));
        let (unknown, delta, _) = physics(5, Some((4, &snapshot)), 5_000_000);
        assert_eq!(answer(&mut owner, unknown, delta).await.0, refused(5, RejectReason::SceneUnknown));
        let torn = payload.slice(0..payload.len() / 2);
        let torn = answer(&mut owner, StepRequest { id: 6, ..request }, torn).await.0;
        assert_eq!(torn, refused(6, RejectReason::Invalid));
        let other = StepRequest { id: 7, snapshot: output_hash(b"another"), ..request };
        assert_eq!(
            answer(&mut owner, other, payload.clone()).await.0,
            refused(7, RejectReason::SceneUnknown)
        );
        let declined = StepRequest { id: 8, kind: WorkKind::Audio, ..request };
        assert_eq!(
            answer(&mut owner, declined, payload.clone()).await.0,
            refused(8, RejectReason::UnsupportedKind)
        );
        let desk = self::desk(vec![WorkKind::Physics]).declining_nothing();
        let mut own = self::owner(&desk).await;
        assert!(matches!(answer(&mut own, request, payload).await.0, StepReply::Done { .. }));
    }

    #[tokio::test]
    async fn a_hindered_desk_answers_late() {
        let desk = desk(Vec::new());
        let mut owner = owner(&desk).await;
        desk.hinder(Hindrance { delay_ms: 60, ..Hindrance::default() });
        let (request, payload, _) = physics(1, None, 5_000_000);
        let asked = Instant::now();
        assert!(matches!(answer(&mut owner, request, payload).await.0, StepReply::Done { .. }));
        assert!(asked.elapsed() >= Duration::from_millis(60));
    }
}
