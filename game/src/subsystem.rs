//! The subsystems of a frame: how often each is due, and how soon.

use p2c2r_protocol::id::WorkKind;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subsystem {
    /// Its kind of work.
    pub kind: WorkKind,
    /// Its result is of use this long after it was due, ms.
    pub deadline_ms: u32,
    /// It is due every so many frames.
    pub every_frames: u32,
}

impl Subsystem {
    /// All of them. Deadlines are those of the design; what has more than one frame's time is due less often.
    pub const ALL: [Self; 5] = [
        Self { kind: WorkKind::Physics, deadline_ms: 16, every_frames: 1 },
        Self { kind: WorkKind::Ai, deadline_ms: 32, every_frames: 2 },
        Self { kind: WorkKind::Rendering, deadline_ms: 16, every_frames: 1 },
        Self { kind: WorkKind::RayTracing, deadline_ms: 100, every_frames: 3 },
        Self { kind: WorkKind::Audio, deadline_ms: 24, every_frames: 1 },
    ];

    /// That of a kind of work.
    pub fn of(kind: WorkKind) -> Option<Self> {
        Self::ALL.into_iter().find(|subsystem| subsystem.kind == kind)
    }

    /// Deadline, microseconds.
    pub const fn deadline_us(&self) -> u64 {
        self.deadline_ms as u64 * 1000
    }
}
