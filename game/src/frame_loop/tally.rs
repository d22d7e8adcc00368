//! What became of the steps.

use std::collections::BTreeMap;

use p2c2r_protocol::id::WorkKind;
use p2c2r_scheduler::functional::Move;

/// Times that are kept of each subsystem: ten minutes of frames.
const KEPT_TIMES: usize = 36_000;

/// Of one subsystem.
#[derive(Debug, Clone, Default)]
pub struct SubsystemTally {
    /// Frames in which it was due.
    pub due: u64,
    /// Of these, answered within the deadline.
    pub met: u64,
    /// Not answered within it, or by nobody.
    pub missed: u64,
    /// Answers that came after their deadline.
    pub late: u64,
    /// Refusals.
    pub refused: u64,
    /// Steps at peers that were lost.
    pub lost: u64,
    /// Steps that were given to a second peer.
    pub copies: u64,
    /// Bytes that went out, and what they would have been without deltas.
    pub sent_bytes: u64,
    /// Numbers of the snapshots, four bytes each.
    pub snapshot_bytes: u64,
    /// Bytes that came back.
    pub received_bytes: u64,
    /// From when it was due until it was answered, ms.
    pub answer_ms: Vec<f32>,
    /// Of that, work at the peer, ms.
    pub execution_ms: Vec<f32>,
}

impl SubsystemTally {
    pub(super) fn answered(&mut self, answer_ms: f32, execution_ms: f32) {
        if self.answer_ms.len() < KEPT_TIMES {
            self.answer_ms.push(answer_ms);
            self.execution_ms.push(execution_ms);
        }
    }
}

/// Of all.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// By kind of work.
    pub subsystems: BTreeMap<WorkKind, SubsystemTally>,
    /// Who got what when, by frame.
    pub moves: Vec<(u32, Move)>,
    /// Frames whose bodies were predicted.
    pub predicted_frames: u64,
    /// Answers that were not what the statement or a second computation says.
    pub wrong: u64,
    /// Answers that were computed a second time.
    pub checked: u64,
    /// Bodies that jumped to where they belong.
    pub jumps: u64,
    /// Largest correction, metres.
    pub largest_error_m: f32,
}

impl Tally {
    pub(super) fn of(&mut self, kind: WorkKind) -> &mut SubsystemTally {
        self.subsystems.entry(kind).or_default()
    }
}
