//! Between a coordinator and the world: what it hears, what it knows of its peers, what it orders.

use p2c2r_protocol::{
    id::{NodeId, TaskId},
    tile::TileRect,
};
use p2c2r_scheduler::{PeerView, split::cost_map::CostMap, time::TimeMs, work::FrameWork};

/// Bits of a task's name below those of its run.
const RUN_SHIFT: u32 = 20;

/// One try at a frame. A coordinator that is restarted tries its frames anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(pub u64);

impl RunId {
    /// The first of the names that its tasks may bear.
    pub const fn first_task(self) -> TaskId {
        TaskId(self.0 << RUN_SHIFT)
    }

    /// The run that a task belongs to.
    pub const fn of(task: TaskId) -> Self {
        Self(task.0 >> RUN_SHIFT)
    }
}

/// The name of a peer in a simulation.
pub fn node_id(index: usize) -> NodeId {
    let mut key = [0; 32];
    if let Some(head) = key.first_chunk_mut::<8>() {
        *head = (index as u64).to_be_bytes();
    }
    NodeId::from_public_key(key)
}

/// The peer of a name.
pub fn index_of(node: NodeId) -> usize {
    node.public_key().first_chunk::<8>().map_or(usize::MAX, |head| u64::from_be_bytes(*head) as usize)
}

/// What a coordinator hears.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum News {
    /// A peer can be given work.
    PeerReady(usize),
    /// A peer is gone, with all that it held.
    PeerLost(usize),
    /// A peer has put the task in its queue.
    Accepted(TaskId),
    /// A peer is at it: share done.
    Progress(TaskId, f32),
    /// A peer says that it failed.
    Failed(TaskId),
    /// A peer is too busy: not before so many ms.
    Busy(TaskId, u32),
    /// The result is there, and valid as far as was checked: time in the queue and of execution, ms.
    Delivered(TaskId, f64, f64),
    /// The result is there and is forged.
    Invalid(TaskId),
    /// A withdrawn task is answered for: whether it had been finished.
    Cancelled(TaskId, bool),
    /// A time asked for has come.
    Wake(RunId),
    /// A frame's time is over.
    Deadline(RunId),
}

/// What is expected of a task when it is offered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// From offer to result, ms.
    pub total_ms: f64,
    /// Bounds between which the time from offer to result lies with 95 %, ms; none if the policy has no idea.
    pub interval_ms: Option<(f64, f64)>,
    /// Probability that it fails.
    pub failure_risk: f64,
}

/// What a coordinator orders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Offer a tile to a peer.
    Offer {
        /// The attempt's name.
        task: TaskId,
        /// To whom.
        peer: usize,
        /// Index of the tile in its frame.
        tile: usize,
        /// Its pixels.
        rect: TileRect,
        /// What is expected, if the policy expects anything.
        forecast: Option<Forecast>,
    },
    /// Withdraw a task.
    Cancel(TaskId),
    /// Wake the coordinator for a run at a time, if nothing happens before. The earliest counts.
    WakeAt(RunId, TimeMs),
    /// Put a delivered tile into the film.
    Accept(TaskId),
    /// Take a tile out of the film again.
    Retract(RunId, usize),
    /// Have nothing more to do with a peer.
    Distrust(usize),
    /// The frame is over.
    Done(RunId, Ending),
}

/// How a frame ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every pixel is there.
    Complete,
    /// Some are missing.
    Partial,
    /// It was given up.
    Aborted,
}

/// What a coordinator knows of a peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Note {
    /// As the scheduler sees it.
    pub view: PeerView,
    /// Whether there is a session with it.
    pub up: bool,
    /// Whether it forged a result.
    pub distrusted: bool,
}

/// The coordinator's desk: the time, its notes, its orders.
pub struct Desk<'a> {
    /// The time.
    pub now: TimeMs,
    /// What is known of each peer.
    pub notes: &'a [Note],
    /// Where the work lies in every frame, rays.
    pub cost: &'a CostMap,
    /// What was ordered so far.
    pub orders: &'a mut Vec<Order>,
}

impl Desk<'_> {
    /// Orders something.
    pub fn order(&mut self, order: Order) {
        self.orders.push(order);
    }

    /// The peers that can be given work.
    pub fn views(&self) -> impl Iterator<Item = &PeerView> {
        self.notes.iter().filter(|note| note.up && !note.distrusted).map(|note| &note.view)
    }
}

/// A coordinator: a policy at work.
pub trait Coordinator {
    /// Starts a frame.
    fn start(&mut self, run: RunId, work: &FrameWork, desk: &mut Desk<'_>);

    /// Reacts to news.
    fn hear(&mut self, news: News, desk: &mut Desk<'_>);

    /// Whether it probes results.
    fn verifies(&self) -> bool;

    /// The process was killed and started again: everything is gone but what it stores.
    fn restart(&mut self);

    /// An event changed a peer's true speed, by this factor on what the scenario says. Only an oracle hears it.
    fn truth(&mut self, _peer: usize, _speed_factor: f64) {}

    /// Time spent planning so far, wall clock, ms, and frames planned.
    fn planning_ms(&self) -> (f64, u64) {
        (0.0, 0)
    }
}
