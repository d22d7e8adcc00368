//! The thread that does steps: whose turn it is, and what becomes of them.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use p2c2r_protocol::{
    step::{LevelSpec, StepReply, StepRequest},
    task::RejectReason,
};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::{Held, MAX_WAITING, StepTools, refuse, session::Session};
use crate::contributor::hindrance::{Fate, Hindrance, Misfortune};

/// How often the thread looks whether it is still needed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the thread is told.
pub enum Job {
    /// An owner's level, for as long as its stream is open.
    Open { session: u64, level: LevelSpec, alive: Weak<()> },
    /// A step.
    Step(StepJob),
}

/// A step that waits.
pub struct StepJob {
    /// Whose.
    pub session: u64,
    /// What.
    pub request: StepRequest,
    /// Its snapshot, as a delta.
    pub payload: Bytes,
    /// When it came.
    pub arrived: Instant,
    /// Where the answer goes.
    pub replies: mpsc::Sender<(StepReply, Bytes)>,
    /// Its place among its owner's.
    #[expect(dead_code, reason = "its place is free again when it is dropped")]
    pub held: Held,
}

impl StepJob {
    /// When its time is over.
    pub fn due(&self) -> Instant {
        self.arrived + Duration::from_micros(u64::from(self.request.budget_us))
    }

    /// Tells its owner that it is not done.
    pub fn refuse(&self, reason: RejectReason) {
        refuse(&self.replies, self.request.id, reason);
    }
}

/// The thread.
pub struct Worker {
    tools: StepTools,
    hindrance: Arc<Mutex<Hindrance>>,
    misfortune: Misfortune,
    sessions: BTreeMap<u64, Session>,
    waiting: Vec<StepJob>,
    served: u64,
}

impl Worker {
    /// With nothing to do yet.
    pub fn new(tools: StepTools, hindrance: Arc<Mutex<Hindrance>>) -> Self {
        Self {
            tools,
            hindrance,
            misfortune: Misfortune::default(),
            sessions: BTreeMap::new(),
            waiting: Vec::new(),
            served: 0,
        }
    }

    /// Works until nobody can ask for anything any more.
    pub fn run(&mut self, queue: &Receiver<Job>) {
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
            self.sessions.retain(|_, session| session.is_alive());
            self.waiting.retain(|job| self.sessions.contains_key(&job.session));
            if let Some(job) = self.next() {
                self.carry_out(&job);
            }
        }
    }

    fn note(&mut self, job: Job) {
        match job {
            Job::Open { session, level, alive } => {
                self.sessions.insert(session, Session::open(level, alive, self.served));
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
