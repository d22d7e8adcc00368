//! What must be so at all times, checked after every event.

use std::{collections::BTreeSet, fmt};

use p2c2r_protocol::{
    id::TaskId,
    tile::{FrameSize, TileRect},
};

use crate::sim::EventName;

/// Most events that may be waiting, per peer and frame.
const MAX_EVENTS_PER_PEER: usize = 4096;
/// Most tasks that may be known, per peer and frame in flight.
const MAX_TASKS_PER_PEER: usize = 256;

/// An invariant, by its number in the design's list of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// Every pixel of a delivered frame comes from exactly one accepted tile.
    I1,
    /// No tile gets into a frame that was not found valid.
    I2,
    /// A receipt counts once.
    I3,
    /// Queues stay under their limits.
    I4,
    /// Every frame ends.
    I5,
    /// The same seed gives the same events.
    I6,
    /// No honest peer is distrusted.
    I7,
    /// A late result of a withdrawn task changes nothing.
    I8,
}

/// An invariant does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Broken {
    /// The seed of the run.
    pub seed: u64,
    /// Number of the event, from 1.
    pub event: u64,
    /// Which invariant.
    pub invariant: Invariant,
    /// How it is broken.
    pub how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, event, invariant, how } = self;
        write!(out, "seed {seed}, event {event}: invariant {invariant:?} is broken: {how}")
    }
}

/// Watches a run.
#[derive(Debug)]
pub struct Watch {
    seed: u64,
    /// Whether faults are injected: then more is kept in mind.
    thorough: bool,
    events: u64,
    hash: u64,
    receipts: BTreeSet<TaskId>,
    broken: Option<Broken>,
}

impl Watch {
    /// Nothing happened yet.
    pub fn new(seed: u64, thorough: bool) -> Self {
        Self { seed, thorough, events: 0, hash: 0, receipts: BTreeSet::new(), broken: None }
    }

    /// An event.
    pub fn event(&mut self, now_ms: f64, what: &impl EventName) {
        self.events += 1;
        for word in [now_ms.to_bits(), what.word()] {
            self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// A hash of all events.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Notes that something is not as it must be; the first one counts.
    pub fn broken(&mut self, invariant: Invariant, how: String) {
        let (seed, event) = (self.seed, self.events);
        self.broken.get_or_insert(Broken { seed, event, invariant, how });
    }

    /// What is broken, if anything.
    pub fn take(&mut self) -> Result<(), Broken> {
        self.broken.take().map_or(Ok(()), Err)
    }

    /// I5.
    pub fn liveness(&mut self, holds: bool, how: &str) -> Result<(), Broken> {
        if !holds {
            self.broken(Invariant::I5, how.to_owned());
        }
        self.take()
    }

    /// I4: what is waiting, known, and under way.
    pub fn limits(&mut self, events: usize, tasks: usize, peers: usize, frames: usize) -> Result<(), Broken> {
        let room = (peers + 1) * (frames + 1);
        if events > room * MAX_EVENTS_PER_PEER {
            self.broken(Invariant::I4, format!("{events} events wait"));
        }
        if tasks > room * MAX_TASKS_PER_PEER {
            self.broken(Invariant::I4, format!("{tasks} tasks are known"));
        }
        self.take()
    }

    /// I3: a tile was accepted.
    pub fn receipt(&mut self, task: TaskId) {
        if self.thorough && !self.receipts.insert(task) {
            self.broken(Invariant::I3, format!("{task:?} is accepted twice"));
        }
    }

    /// A tile was taken back: its receipt is void, and never valid again.
    pub fn retracted(&mut self, task: TaskId) {
        if self.thorough && !self.receipts.contains(&task) {
            self.broken(Invariant::I3, format!("{task:?} is taken back and was not accepted"));
        }
    }

    /// I1: a frame is said to be complete.
    pub fn film(&mut self, rects: &[TileRect], size: FrameSize) {
        let pixels: u64 = rects.iter().map(|rect| rect.pixels()).sum();
        if pixels != size.pixels() {
            self.broken(Invariant::I1, format!("a complete frame has {pixels} pixels of {}", size.pixels()));
        }
        if !self.thorough {
            return;
        }
        for (index, a) in rects.iter().enumerate() {
            let rest = rects.get(index + 1..).unwrap_or_default();
            if let Some(b) = rest.iter().find(|b| a.overlaps(**b)) {
                self.broken(Invariant::I1, format!("{a:?} and {b:?} overlap"));
            }
        }
    }
}
