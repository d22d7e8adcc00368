//! What the last stage of a frame awaits from others: announced by its coordinator, brought by the peers that it names,
//! whole before anything is made of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use p2c2r_protocol::{
    id::{JobId, NodeId, PlaneHash, TaskId},
    stage::{HandOver, Plane, StageRequest},
    task::RejectReason,
};
use p2c2r_swarm::HandOverStore;
use tokio::sync::mpsc;

use super::{Input, SessionId};

/// Bytes that may be awaited or lie here at once, over all coordinators.
const MAX_AWAITED_BYTES: u64 = 512 << 20;

/// The frames that wait for their planes.
pub struct HandOverDesk {
    inputs: mpsc::WeakSender<Input>,
    frames: Mutex<BTreeMap<FrameKey, AwaitedFrame>>,
}

/// One attempt at a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct FrameKey {
    job: JobId,
    frame: u32,
    attempt: u32,
}

struct AwaitedFrame {
    session: SessionId,
    task: TaskId,
    request: StageRequest,
    here: BTreeMap<Plane, ArrivedPlane>,
}

/// A plane that is here.
#[derive(Debug, Clone)]
pub struct ArrivedPlane {
    /// Its name.
    pub hash: PlaneHash,
    /// It.
    pub bytes: Bytes,
}

impl AwaitedFrame {
    fn bytes(&self) -> u64 {
        self.request.awaited().map(|(plane, _)| plane.bytes(self.request.size)).sum()
    }

    /// Whether this is what is awaited of that node, and not here yet.
    fn awaits(&self, from: &NodeId, brought: &HandOver) -> bool {
        self.request.awaited().any(|awaited| awaited == (brought.plane, *from))
            && !self.here.contains_key(&brought.plane)
            && u64::from(brought.bytes) == brought.plane.bytes(self.request.size)
    }

    fn is_whole(&self) -> bool {
        self.request.awaited().all(|(plane, _)| self.here.contains_key(&plane))
    }
}

impl HandOverDesk {
    /// Nothing is awaited. When all that a task awaits is here, the contributor hears of it.
    pub(super) fn new(inputs: mpsc::WeakSender<Input>) -> Self {
        Self { inputs, frames: Mutex::default() }
    }

    /// From now on the planes of a frame are awaited.
    pub fn announce(
        &self,
        session: SessionId,
        task: TaskId,
        request: &StageRequest,
    ) -> Result<(), RejectReason> {
        let awaited = AwaitedFrame { session, task, request: request.clone(), here: BTreeMap::new() };
        let mut frames = self.frames();
        let held: u64 = frames.values().map(AwaitedFrame::bytes).sum();
        if held + awaited.bytes() > MAX_AWAITED_BYTES {
            return Err(RejectReason::Busy);
        }
        let key = FrameKey { job: request.job, frame: request.frame, attempt: request.attempt };
        if frames.contains_key(&key) {
            return Err(RejectReason::Invalid);
        }
        frames.insert(key, awaited);
        Ok(())
    }

    /// Takes what a task awaited, if all of it is here.
    pub fn collect(
        &self,
        session: SessionId,
        task: TaskId,
    ) -> Option<(StageRequest, BTreeMap<Plane, ArrivedPlane>)> {
        let mut frames = self.frames();
        let is_it = |frame: &AwaitedFrame| frame.session == session && frame.task == task && frame.is_whole();
        let key = *frames.iter().find(|(_, frame)| is_it(frame))?.0;
        frames.remove(&key).map(|frame| (frame.request, frame.here))
    }

    /// Tasks for which everything is here, in case the word of it was lost.
    pub fn whole(&self) -> Vec<(SessionId, TaskId)> {
        let frames = self.frames();
        let whole = frames.values().filter(|frame| frame.is_whole());
        whole.map(|frame| (frame.session, frame.task)).collect()
    }

    /// A task is not to be done any more.
    pub fn withdraw(&self, session: SessionId, task: TaskId) {
        self.frames().retain(|_, frame| frame.session != session || frame.task != task);
    }

    /// A session is over.
    pub fn withdraw_all(&self, session: SessionId) {
        self.frames().retain(|_, frame| frame.session != session);
    }

    fn frames(&self) -> MutexGuard<'_, BTreeMap<FrameKey, AwaitedFrame>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(brought: &HandOver) -> FrameKey {
    FrameKey { job: brought.job, frame: brought.frame, attempt: brought.attempt }
}

impl HandOverStore for HandOverDesk {
    fn awaits(&self, from: &NodeId, brought: &HandOver) -> bool {
        self.frames().get(&key_of(brought)).is_some_and(|frame| frame.awaits(from, brought))
    }

    fn take(&self, from: &NodeId, brought: &HandOver, bytes: Bytes) -> bool {
        let mut frames = self.frames();
        let awaited = frames.get_mut(&key_of(brought)).filter(|frame| frame.awaits(from, brought));
        let Some(frame) = awaited else { return false };
        frame.here.insert(brought.plane, ArrivedPlane { hash: brought.hash, bytes });
        if frame.is_whole()
            && let Some(inputs) = self.inputs.upgrade()
        {
            // A full queue loses the word; the contributor looks for itself now and then.
            let _ = inputs.try_send(Input::StageReady { session: frame.session, task: frame.task });
        }
        true
    }
}
