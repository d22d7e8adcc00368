//! Where a frame stands.

use p2c2r_protocol::{
    id::{NodeId, TaskId},
    stage::Stage,
};

use crate::{split::pipeline::Crew, time::TimeMs};

/// Where a stage of a frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StageState {
    /// Not offered.
    #[default]
    Waiting,
    /// At its peer.
    Out(TaskId),
    /// What it made is where it is needed.
    Done,
}

/// A frame.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameState {
    /// How often it was begun before.
    pub attempt: u32,
    /// Who does it; nobody until it is begun.
    pub crew: Option<Crew>,
    /// In the order of [`Stage::ALL`].
    pub stages: [StageState; 3],
    /// The last stage awaits what the others bring.
    pub post_awaits: bool,
    /// A peer was busy: until then nothing of it is offered.
    pub paused_until: TimeMs,
    /// Its picture is there.
    pub is_done: bool,
}

impl FrameState {
    /// Whether a stage can be offered now.
    pub fn waits_for(&self, stage: Stage, now: TimeMs) -> bool {
        self.stages[stage as usize] == StageState::Waiting && self.paused_until <= now
    }

    /// Whether it cannot be done without the peer: it has a stage that is not done.
    pub fn needs(&self, peer: NodeId) -> bool {
        let Some(crew) = self.crew else { return false };
        Stage::ALL
            .into_iter()
            .any(|stage| crew.at(stage) == Some(peer) && self.stages[stage as usize] != StageState::Done)
    }
}
