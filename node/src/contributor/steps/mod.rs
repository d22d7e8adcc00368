//! Steps of games' frames: done on a thread of their own ([`worker`]), so that no tile is in their way, and refused at once
//! when they would be late. Each owner has its own level and snapshots here ([`session`]).

mod session;
mod worker;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use p2c2r_game::executor::snapshot_len;
use p2c2r_protocol::{
    id::WorkKind,
    sign::SecretKey,
    step::{LevelSpec, STEP_SNAPSHOTS, StepMessage, StepReply, StepRequest},
    task::RejectReason,
};
use p2c2r_swarm::StepPeerLink;
use tokio::sync::mpsc;
use tracing::debug;

use self::worker::{Job, StepJob, Worker};
use super::hindrance::{Hindrance, delayed};

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

/// One of the steps that an owner has here.
pub struct Held(Arc<AtomicUsize>);

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

impl StepDesk {
    /// Starts the thread; it ends with the last clone of the desk.
    pub fn start(tools: StepTools) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(MAX_WAITING);
        let hindrance = Arc::new(Mutex::new(Hindrance::default()));
        let declined = tools.declined.clone().into();
        let mut worker = Worker::new(tools, Arc::clone(&hindrance));
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
        while let Some((StepMessage::Step(request), payload)) = link.inbox.recv().await {
            let taken = self.check(&level, &request, payload.len());
            let held = match taken.and_then(|()| Held::take(&held).ok_or(RejectReason::Busy)) {
                Ok(held) => held,
                Err(reason) => {
                    refuse(&replies, request.id, reason);
                    continue;
                }
            };
            let (arrived, replies) = (Instant::now(), replies.clone());
            match self.jobs.try_send(Job::Step(StepJob { session, request, payload, arrived, replies, held }))
            {
                Ok(()) => {}
                Err(TrySendError::Full(Job::Step(job))) => job.refuse(RejectReason::Busy),
                Err(_) => break,
            }
        }
        debug!(owner = %link.owner.short(), "a stream of steps ended");
    }

    /// Whether it is a step that is done here.
    fn check(&self, level: &LevelSpec, request: &StepRequest, bytes: usize) -> Result<(), RejectReason> {
        let numbers = snapshot_len(level, request.kind).ok_or(RejectReason::Invalid)?;
        if bytes > (numbers * MAX_NUMBER_BYTES + MAX_RUN_BYTES) * 2 {
            return Err(RejectReason::Invalid);
        }
        if self.declined.contains(&request.kind) {
            return Err(RejectReason::UnsupportedKind);
        }
        Ok(())
    }

    /// Answers pass through here, each held back for as long as the hindrance of its moment says.
    fn replies(&self, to: mpsc::Sender<(StepReply, Bytes)>) -> mpsc::Sender<(StepReply, Bytes)> {
        let hindrance = Arc::clone(&self.hindrance);
        delayed(to, move || {
            let delay_ms = hindrance.lock().unwrap_or_else(PoisonError::into_inner).delay_ms;
            Duration::from_millis(u64::from(delay_ms))
        })
    }
}

fn refuse(replies: &mpsc::Sender<(StepReply, Bytes)>, id: u64, reason: RejectReason) {
    // Whoever does not read its answers needs none.
    let _ = replies.try_send((StepReply::Refused { id, reason }, Bytes::new()));
}

#[cfg(test)]
mod tests {
    use p2c2r_game::{executor::Executor, level::Level, snapshot::Snapshot};
    use p2c2r_protocol::step::{StepStatement, output_hash};

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
