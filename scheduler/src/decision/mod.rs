//! A frame's decisions, written down so that they can be made again.
//!
//! A log holds what went into each decision: the event, the time, and what the models said. From these, [`replay`] makes
//! the same plans and commands anew, without the models, the peers and the network that there were.

pub mod file;
pub mod replay;
pub mod said;

use std::collections::BTreeSet;

use p2c2r_protocol::id::{NodeId, TaskId};
use serde::{Deserialize, Serialize};

use crate::{
    FramePlan, PeerView, Prediction, Scheduler, SchedulerConfig,
    decision::said::Said,
    frame::{Command, Event, Frame, FrameConfig, Outbox},
    split::{Splitter, cost_map::CostMap, grid::GridSplitter, spatial::SpatialSplitter, temporal::PerFrame},
    time::TimeMs,
    work::FrameWork,
};

/// How a frame is cut into tiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Cut {
    /// Tiles of equal predicted time.
    Spatial,
    /// Squares.
    Grid {
        /// Their edge, pixels.
        edge_px: u32,
    },
    /// Not at all: whole frames of a sequence to different peers.
    Temporal {
        /// The cost of each frame, rays.
        costs: Vec<f64>,
        /// What each takes besides.
        #[serde(flatten)]
        each: PerFrame,
    },
}

/// What a frame begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameStart {
    /// Its tasks are named from here on: also the frame's name in the log.
    pub first_task: TaskId,
    /// What there is to do.
    pub work: FrameWork,
    /// Who is there.
    pub peers: Vec<PeerView>,
    /// What each place costs.
    pub cost: CostMap,
    /// How it is cut.
    pub cut: Cut,
    /// When.
    pub now: TimeMs,
    /// How it is carried through.
    pub config: FrameConfig,
}

impl FrameStart {
    /// The frame that goes by this plan, with these peers or all.
    pub fn frame(&self, plan: FramePlan, crew: Option<&[NodeId]>) -> Frame {
        let crew: Option<BTreeSet<&NodeId>> = crew.map(|crew| crew.iter().collect());
        let takes_part = |view: &&PeerView| crew.as_ref().is_none_or(|crew| crew.contains(&view.peer));
        let peers: Vec<PeerView> = self.peers.iter().filter(takes_part).copied().collect();
        Frame::new(self.work, plan, &peers, self.first_task, self.config.clone())
    }

    /// Its plan.
    pub fn plan(&self, scheduler: &Scheduler) -> FramePlan {
        let grid;
        let splitter: &dyn Splitter = match &self.cut {
            Cut::Spatial => &SpatialSplitter,
            Cut::Grid { edge_px } => {
                grid = GridSplitter { edge_px: *edge_px };
                &grid
            }
            Cut::Temporal { costs, each } => {
                return scheduler.plan_sequence(&self.work, &self.peers, costs, *each, self.now);
            }
        };
        scheduler.plan(&self.work, &self.peers, &self.cost, splitter, self.now)
    }
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// A frame was planned.
    Planned {
        /// What it began with.
        start: Box<FrameStart>,
        /// How the scheduler plans.
        scheduler: SchedulerConfig,
        /// What the models said meanwhile, in order.
        said: Vec<Prediction>,
        /// What came of it.
        plan: FramePlan,
        /// Who takes part, if not all.
        crew: Option<Vec<NodeId>>,
    },
    /// A frame was told of an event.
    Decided {
        /// Which frame.
        frame: TaskId,
        /// When.
        now: TimeMs,
        /// Of what.
        event: Event,
        /// What the models said meanwhile, in order.
        said: Vec<Prediction>,
        /// What came of it.
        commands: Vec<Command>,
    },
}

/// Tells of each decision as it is made.
pub struct DecisionLog {
    said: Said,
    sink: Box<dyn FnMut(Entry) + Send>,
}

impl DecisionLog {
    /// `said` is what [`Scheduler::overhear`] gave; entries go to the sink.
    pub fn new(said: Said, sink: Box<dyn FnMut(Entry) + Send>) -> Self {
        Self { said, sink }
    }

    /// What the models said just now was for no decision about a frame.
    pub fn pass_over(&self) {
        drop(self.said.take());
    }

    /// A frame was planned just now.
    pub fn planned(
        &mut self,
        start: FrameStart,
        scheduler: &Scheduler,
        plan: &FramePlan,
        crew: Option<Vec<NodeId>>,
    ) {
        let scheduler = scheduler.config().clone();
        let said = self.said.take();
        (self.sink)(Entry::Planned { start: Box::new(start), scheduler, said, plan: plan.clone(), crew });
    }

    /// A frame has reacted to an event just now.
    pub fn decided(&mut self, frame: TaskId, now: TimeMs, event: Event, outbox: &Outbox) {
        let said = self.said.take();
        let commands = outbox.commands().cloned().collect();
        (self.sink)(Entry::Decided { frame, now, event, said, commands });
    }
}

#[cfg(test)]
mod tests {
    use ciborium::{cbor, from_reader, into_writer};

    use super::*;

    fn read_back(written: &impl Serialize) -> Cut {
        let mut bytes = Vec::new();
        into_writer(written, &mut bytes).unwrap();
        from_reader(bytes.as_slice()).unwrap()
    }

    #[test]
    fn whole_frames_are_read_back_from_a_log_and_from_one_of_before() {
        let each = PerFrame { moment_ms: 2.5, owner_ms: 30.0 };
        let cut = Cut::Temporal { costs: vec![1.0, 2.0], each };
        assert_eq!(read_back(&cut), cut);
        let before = cbor!({ "Temporal" => { "costs" => [1.0], "moment_ms" => 2.5 } }).unwrap();
        let each = PerFrame { moment_ms: 2.5, owner_ms: 0.0 };
        assert_eq!(read_back(&before), Cut::Temporal { costs: vec![1.0], each });
    }
}
