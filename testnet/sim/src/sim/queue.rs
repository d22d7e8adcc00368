//! What will happen when, in virtual time.

use std::{cmp::Ordering, collections::BinaryHeap};

use p2c2r_protocol::id::TaskId;
use p2c2r_scheduler::peer::Telemetry;

use super::desk::RunId;

/// A session of a peer with the coordinator; each connection is a new one.
pub type Session = u32;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// The next frame is due.
    FrameDue,
    /// Frames that wait may begin.
    Begin,
    /// A frame's time is over.
    Deadline(RunId),
    /// A coordinator wanted to be woken.
    Wake(RunId),
    /// An offer reaches its peer.
    OfferArrives(TaskId),
    /// A withdrawal reaches its peer.
    CancelArrives(TaskId, usize, Session),
    /// A task ends at its peer, well or not.
    Finishes(TaskId),
    /// A peer tells how far a task is.
    Tells(TaskId),
    /// Something may have been sent whole over a link of a generation.
    LinkStep(usize, u64),
    /// The coordinator hears something from a peer's session.
    Hears(usize, Session, Said),
    /// A peer speaks its heartbeat.
    Beat(usize, Session),
    /// A fault begins.
    FaultBegins(usize),
    /// A fault ends.
    FaultEnds(usize),
    /// A peer was silent for too long, if it still is.
    Silence(usize, Session),
}

/// Something with a number that tells it from others.
pub trait EventName {
    /// The number.
    fn word(&self) -> u64;
}

impl EventName for What {
    fn word(&self) -> u64 {
        let (kind, name) = match *self {
            Self::FrameDue => (0, 0),
            Self::Begin => (1, 0),
            Self::Deadline(run) => (2, run.0),
            Self::Wake(run) => (3, run.0),
            Self::OfferArrives(task) => (4, task.0),
            Self::CancelArrives(task, ..) => (5, task.0),
            Self::Finishes(task) => (6, task.0),
            Self::Tells(task) => (7, task.0),
            Self::LinkStep(link, _) => (8, link as u64),
            Self::Hears(peer, _, said) => (9 + said.number(), peer as u64),
            Self::Beat(peer, _) => (20, peer as u64),
            Self::FaultBegins(index) => (21, index as u64),
            Self::FaultEnds(index) => (22, index as u64),
            Self::Silence(peer, _) => (23, peer as u64),
        };
        (kind << 56) ^ name
    }
}

impl Said {
    const fn number(self) -> u64 {
        match self {
            Self::Joined => 0,
            Self::Left => 1,
            Self::Accepted(_) => 2,
            Self::Progress(..) => 3,
            Self::Failed(_) => 4,
            Self::Busy(_) => 5,
            Self::Result(_) => 6,
            Self::Cancelled(..) => 7,
            Self::Beat(..) => 8,
        }
    }
}

/// What a peer says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Said {
    /// A session is there.
    Joined,
    /// A session is over.
    Left,
    /// A task is in the queue.
    Accepted(TaskId),
    /// A task is under way: share done.
    Progress(TaskId, f32),
    /// A task failed.
    Failed(TaskId),
    /// No room.
    Busy(TaskId),
    /// A task's result.
    Result(TaskId),
    /// A withdrawn task: whether it was finished.
    Cancelled(TaskId, bool),
    /// The heartbeat, with a round trip that was measured (ms).
    Beat(Telemetry, f32, f32),
}

/// Something at its time.
#[derive(Debug, Clone, Copy)]
struct Entry {
    at_ms: f64,
    turn: u64,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest; of the same time, the one that was put in first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at_ms.total_cmp(&self.at_ms).then(other.turn.cmp(&self.turn))
    }
}

/// What will happen, earliest first.
#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Entry>,
    turns: u64,
}

impl Queue {
    /// Adds something.
    pub fn push(&mut self, at_ms: f64, what: What) {
        self.turns += 1;
        self.heap.push(Entry { at_ms, turn: self.turns, what });
    }

    /// Takes the next one out.
    pub fn pop(&mut self) -> Option<(f64, What)> {
        self.heap.pop().map(|entry| (entry.at_ms, entry.what))
    }

    /// How much there is.
    pub fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forward_and_ties_keep_their_order() {
        let mut queue = Queue::default();
        for (at_ms, run) in [(5.0, 1), (1.0, 2), (5.0, 3), (0.5, 4)] {
            queue.push(at_ms, What::Wake(RunId(run)));
        }
        let order: Vec<What> = std::iter::from_fn(|| queue.pop().map(|(_, what)| what)).collect();
        assert_eq!(order, [4, 2, 1, 3].map(|run| What::Wake(RunId(run))));
    }
}
