//! What the contributor knows of one work session.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Instant,
};

use p2c2r_protocol::{
    id::{Epoch, NodeId, SceneHash, TaskId},
    task::ContributorMessage,
};
use p2c2r_render::prepared::PreparedScene;
use p2c2r_swarm::ContributorEvent;
use tokio::{sync::mpsc, task::AbortHandle};

/// Scenes that one session may hold ready; an older one is let go.
const MAX_SESSION_SCENES: usize = 2;

/// A task that was accepted and not yet answered.
pub struct Task {
    /// Set to stop it.
    pub cancelled: Arc<AtomicBool>,
    /// Done share in thousandths.
    pub progress: Arc<AtomicU32>,
    /// The share that was last told.
    pub told_progress: u32,
    /// Whether it left the queue for the render thread.
    pub running: bool,
}

impl Task {
    /// A task at its start.
    pub fn new() -> Self {
        Self { cancelled: Arc::default(), progress: Arc::default(), told_progress: 0, running: false }
    }
}

/// One coordinator.
pub struct Session {
    /// Who it is.
    pub peer: NodeId,
    /// Whether it is this node's own.
    pub owner: bool,
    /// Its run, once it said hello.
    pub epoch: Option<Epoch>,
    /// What it has out here.
    pub tasks: BTreeMap<TaskId, Task>,
    /// When it was last heard.
    pub last_heard: Instant,
    outbox: mpsc::Sender<ContributorEvent>,
    /// Payload bytes of the events in the outbox.
    unread: VecDeque<u64>,
    scenes: VecDeque<(SceneHash, Arc<PreparedScene>)>,
    preparing: Vec<(SceneHash, AbortHandle)>,
}

impl Session {
    /// A session that has said nothing yet.
    pub fn new(peer: NodeId, owner: bool, outbox: mpsc::Sender<ContributorEvent>, now: Instant) -> Self {
        Self {
            peer,
            owner,
            epoch: None,
            tasks: BTreeMap::new(),
            last_heard: now,
            outbox,
            unread: VecDeque::new(),
            scenes: VecDeque::new(),
            preparing: Vec::new(),
        }
    }

    /// Sends, unless the coordinator does not read: then `false`, and the session is to be closed. The outbox holds
    /// more than the credit allows tasks, so an honest coordinator never fills it.
    pub fn send(&mut self, event: ContributorEvent) -> bool {
        self.forget_read();
        self.unread.push_back(match &event {
            ContributorEvent::Result(result) => result.payload.len() as u64,
            _ => 0,
        });
        self.outbox.try_send(event).is_ok()
    }

    /// Bytes of results that wait in the outbox.
    pub fn unread_bytes(&mut self) -> u64 {
        self.forget_read();
        self.unread.iter().sum()
    }

    /// The outbox is first in, first out: what is still in it are the last ones.
    fn forget_read(&mut self) {
        let waiting = self.outbox.max_capacity() - self.outbox.capacity();
        self.unread.drain(..self.unread.len().saturating_sub(waiting));
    }

    /// [`Session::send`] for a message without payload.
    pub fn say(&mut self, message: ContributorMessage) -> bool {
        self.send(ContributorEvent::Message(message))
    }

    /// A scene that this session prepared.
    pub fn scene(&self, scene: &SceneHash) -> Option<Arc<PreparedScene>> {
        self.scenes.iter().find(|(hash, _)| hash == scene).map(|(_, prepared)| Arc::clone(prepared))
    }

    /// Keeps a prepared scene for the session.
    pub fn keep_scene(&mut self, scene: SceneHash, prepared: Arc<PreparedScene>) {
        self.preparing.retain(|(hash, _)| *hash != scene);
        self.scenes.retain(|(hash, _)| *hash != scene);
        self.scenes.push_back((scene, prepared));
        if self.scenes.len() > MAX_SESSION_SCENES {
            self.scenes.pop_front();
        }
    }

    /// Whether the scene is on its way already, or too many others are.
    pub fn may_prepare(&self, scene: &SceneHash) -> bool {
        self.preparing.len() < MAX_SESSION_SCENES && !self.preparing.iter().any(|(hash, _)| hash == scene)
    }

    /// Notes a preparation, so that it ends with the session.
    pub fn note_preparing(&mut self, scene: SceneHash, handle: AbortHandle) {
        self.preparing.push((scene, handle));
    }

    /// Forgets a preparation that failed.
    pub fn preparation_failed(&mut self, scene: &SceneHash) {
        self.preparing.retain(|(hash, _)| hash != scene);
    }
}

impl Drop for Session {
    /// Whatever the session still had here stops with it.
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.cancelled.store(true, Ordering::Relaxed);
        }
        for (_, handle) in &self.preparing {
            handle.abort();
        }
    }
}
