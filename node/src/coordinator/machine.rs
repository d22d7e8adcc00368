//! What carries a frame through: the scheduler's machine, or the naive one that it is measured against.

use p2c2r_protocol::id::TaskId;
use p2c2r_scheduler::{
    Scheduler,
    frame::{Event, Frame, FrameProgress, FrameSummary, Outbox},
    naive::NaiveFrame,
    time::TimeMs,
};

/// A frame's machine.
pub enum Machine {
    /// As the scheduler thinks best.
    Learned(Box<Frame>),
    /// As the seed document's coordinator does.
    Naive(NaiveFrame),
}

impl Machine {
    /// Reacts to an event.
    pub fn handle(&mut self, now: TimeMs, event: Event, scheduler: &mut Scheduler, out: &mut Outbox) {
        match self {
            Self::Learned(frame) => frame.handle(now, event, scheduler, out),
            Self::Naive(frame) => frame.handle(now, event, out),
        }
    }

    /// The name of the next task.
    pub fn next_task(&self) -> TaskId {
        match self {
            Self::Learned(frame) => frame.next_task(),
            Self::Naive(frame) => frame.next_task(),
        }
    }

    /// How far the frame is.
    pub fn progress(&self) -> FrameProgress {
        match self {
            Self::Learned(frame) => frame.progress(),
            Self::Naive(frame) => frame.progress(),
        }
    }

    /// What became so far of one frame of a sequence, or of all.
    pub fn summary_of(&self, frame: Option<u32>) -> FrameSummary {
        match self {
            Self::Learned(machine) => machine.summary_of(frame),
            Self::Naive(machine) => machine.summary(),
        }
    }
}
