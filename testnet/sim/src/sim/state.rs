//! What a simulation keeps of peers, tasks and frames.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2c2r_protocol::{
    id::{TaskId, WorkKind},
    tile::TileRect,
};
use p2c2r_scheduler::PeerView;

use super::{
    desk::{Forecast, Note, RunId, node_id},
    queue::Session,
};
use crate::world::{Nature, TaskFate};

/// Tasks that a peer holds at most; beyond, it says that it is busy.
pub const CREDIT: u32 = 64;

/// A peer, on its side of the network.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What it is like.
    pub nature: Nature,
    /// Whether it is the coordinator's own device.
    pub own: bool,
    /// Whether it is there.
    pub present: bool,
    /// Since when, ms.
    pub present_since_ms: f64,
    /// Its connection.
    pub session: Session,
    /// The connection that the coordinator last heard of.
    pub heard_session: Session,
    /// Index of its uplink.
    pub link: usize,
    /// Tasks that wait.
    pub queue: VecDeque<TaskId>,
    /// Tasks that run.
    pub running: Vec<TaskId>,
    /// Streams keep their order: nothing arrives there before this, ms.
    pub last_down_ms: f64,
    /// And nothing arrives here before this, ms.
    pub last_up_ms: f64,
    /// Messages so far.
    pub messages: u64,
    /// Valid results in a row.
    pub valid_in_row: u32,
    /// What is wrong with it.
    pub trouble: Trouble,
    /// Whether a fault ever made its results wrong.
    pub forger: bool,
}

/// What faults do to a peer and the way to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trouble {
    /// It does nothing until then, ms.
    pub frozen_until_ms: f64,
    /// Nothing gets to the coordinator until then, ms.
    pub cut_up_until_ms: f64,
    /// Nothing gets to the peer until then, ms.
    pub cut_down_until_ms: f64,
    /// More round trip, ms.
    pub latency_ms: f64,
    /// More loss.
    pub loss: f64,
    /// Factor on the bandwidth.
    pub bandwidth_factor: f64,
    /// Results are late by up to this, ms.
    pub late_ms: f64,
    /// Share of messages that are heard twice.
    pub twice: f64,
    /// Messages overtake each other.
    pub reorders: bool,
    /// Share of results that are wrong.
    pub wrong: f64,
    /// Factor on the times that it tells.
    pub clock_factor: f64,
}

impl Trouble {
    /// None.
    pub const NONE: Self = Self {
        frozen_until_ms: 0.0,
        cut_up_until_ms: 0.0,
        cut_down_until_ms: 0.0,
        latency_ms: 0.0,
        loss: 0.0,
        bandwidth_factor: 1.0,
        late_ms: 0.0,
        twice: 0.0,
        reorders: false,
        wrong: 0.0,
        clock_factor: 1.0,
    };
}

impl Peer {
    /// A peer that is not there yet.
    pub fn new(nature: Nature, link: usize) -> Self {
        Self {
            nature,
            own: false,
            present: false,
            present_since_ms: 0.0,
            session: 1,
            heard_session: 0,
            link,
            queue: VecDeque::new(),
            running: Vec::new(),
            last_down_ms: 0.0,
            last_up_ms: 0.0,
            messages: 0,
            valid_in_row: 0,
            trouble: Trouble::NONE,
            forger: false,
        }
    }

    /// Whether it is there from the beginning: its first event is not that it joins.
    pub fn starts_present(&self) -> bool {
        self.nature.spec.events.first().is_none_or(|event| !event.join)
    }

    /// Tasks that it holds.
    pub fn held(&self) -> usize {
        self.queue.len() + self.running.len()
    }
}

/// A peer of which the coordinator knows nothing.
pub fn unknown_note(index: usize) -> Note {
    Note { view: PeerView::unknown(node_id(index)), up: false, distrusted: false }
}

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// On its way to the peer.
    Travelling,
    /// In the peer's queue.
    Queued,
    /// Being worked on.
    Running,
    /// Its result is being sent.
    Sending,
    /// Its result is on its way.
    Returning,
    /// Nowhere: failed, lost, stopped or delivered.
    Gone,
}

/// A task.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own; none follows from the others")]
#[derive(Debug, Clone)]
pub struct Task {
    /// Its frame.
    pub run: RunId,
    /// At whom.
    pub peer: usize,
    /// In which session.
    pub session: Session,
    /// Index of its tile.
    pub tile: usize,
    /// Its pixels.
    pub rect: TileRect,
    /// Kind of work.
    pub kind: WorkKind,
    /// Time that a peer of speed 1 truly needs, ms.
    pub work_ms: f64,
    /// Bytes of its result.
    pub bytes: f64,
    /// What was expected.
    pub forecast: Option<Forecast>,
    /// Whether its frame is measured.
    pub measured: bool,
    /// Whether the coordinator waits for it.
    pub wanted: bool,
    /// Where it is.
    pub phase: Phase,
    /// When it was offered, ms.
    pub offered_ms: f64,
    /// When it arrived at the peer, ms.
    pub arrived_ms: f64,
    /// When its execution began, ms.
    pub started_ms: f64,
    /// How long the execution took, ms.
    pub execution_ms: f64,
    /// When sending its result began, ms.
    pub sending_ms: f64,
    /// How its execution goes; known once it has begun.
    pub fate: Option<TaskFate>,
    /// Whether its result is forged.
    pub forged: bool,
    /// Whether it was found valid: the coordinator has been told.
    pub delivered: bool,
}

impl Task {
    /// Whether its result may still come.
    pub fn is_alive(&self) -> bool {
        self.phase != Phase::Gone
    }
}

/// A frame under way.
#[derive(Debug, Clone)]
pub struct Run {
    /// Number of the frame, the warm-up included.
    pub frame: u32,
    /// When it was due, ms.
    pub due_ms: f64,
    /// When it began, ms.
    pub started_ms: f64,
    /// Kind of work.
    pub kind: WorkKind,
    /// True over estimated cost.
    pub cost_factor: f64,
    /// The bound, ms.
    pub bound_ms: f64,
    /// The earliest time at which the coordinator wants to be woken, ms.
    pub wake_at_ms: Option<f64>,
    /// Executions begun at each peer.
    pub executions: BTreeMap<usize, u64>,
    /// Tiles offered.
    pub tiles: BTreeSet<usize>,
    /// Tiles in the film: whose attempt.
    pub film: BTreeMap<usize, (TaskId, TileRect)>,
    /// Tiles of which at some time no live copy was left.
    pub exposed: BTreeSet<usize>,
    /// Whether it is measured.
    pub measured: bool,
}
