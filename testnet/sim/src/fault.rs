//! A random mix of faults: first a safety phase in which they happen, then a liveness phase in which everything must
//! come to an end.

use crate::random::{Dice, Purpose};

/// Faults happen within this time, ms.
const SAFETY_MS: f64 = 20_000.0;
/// Most faults of a plan.
const MAX_FAULTS: usize = 12;

/// What goes wrong. The numbers in brackets are those of the design's table of faults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FaultKind {
    /// A worker is killed and started again; its connections close (F1).
    Killed,
    /// A machine loses its power and comes back: nobody is told (F1).
    PowerLost,
    /// A worker stops as it stands and goes on later (F2).
    Frozen,
    /// The coordinator is killed and started again at once (F3, F4).
    CoordinatorRestart,
    /// Nothing gets through to some peers nor back (F5).
    Partition,
    /// Nothing gets back from some peers (F6).
    CutUp,
    /// Nothing gets through to some peers (F6).
    CutDown,
    /// Packets are lost, messages are heard twice and overtake each other (F7).
    Lossy {
        /// Share of packets lost.
        loss: f64,
        /// Share of messages heard twice.
        twice: f64,
    },
    /// The round trip grows, ms (F8).
    LatencyStep(f64),
    /// The bandwidth shrinks to this share (F9).
    BandwidthCollapse(f64),
    /// Half of the peers leave within a second (F10).
    HalfLeave,
    /// The peer's clock runs at another speed: times that it tells are off by this factor (F16).
    OddClock(f64),
    /// Results come up to so much late, ms (F2).
    LateResults(f64),
    /// Some results are wrong (F17, F27).
    WrongResults(f64),
}

/// A fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// From when, ms.
    pub begin_ms: f64,
    /// Until when, ms.
    pub end_ms: f64,
    /// Whom it befalls.
    pub peers: Vec<usize>,
}

/// The faults of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultPlan {
    /// The seed that it was drawn with.
    pub seed: u64,
    /// The faults.
    pub faults: Vec<Fault>,
    /// When the last one has ended, ms.
    pub end_ms: f64,
}

impl FaultPlan {
    /// Draws a plan for so many peers.
    pub fn draw(seed: u64, peers: usize) -> Self {
        let mut dice = Dice::new(seed, Purpose::Fault, &[]);
        let count = 1 + dice.below(MAX_FAULTS);
        let faults: Vec<Fault> = (0..count).map(|_| fault(&mut dice, peers)).collect();
        let end_ms = faults.iter().map(|fault| fault.end_ms).fold(0.0, f64::max);
        Self { seed, faults, end_ms }
    }
}

fn fault(dice: &mut Dice, peers: usize) -> Fault {
    let kind = match dice.below(14) {
        0 => FaultKind::Killed,
        1 => FaultKind::PowerLost,
        2 => FaultKind::Frozen,
        3 => FaultKind::CoordinatorRestart,
        4 => FaultKind::Partition,
        5 => FaultKind::CutUp,
        6 => FaultKind::CutDown,
        7 => FaultKind::Lossy { loss: dice.between(0.0, 0.3), twice: dice.between(0.0, 0.5) },
        8 => FaultKind::LatencyStep(dice.between(5.0, 400.0)),
        9 => FaultKind::BandwidthCollapse(dice.between(0.001, 0.2)),
        10 => FaultKind::HalfLeave,
        11 => FaultKind::OddClock(dice.between(-3.0, 3.0).exp()),
        12 => FaultKind::LateResults(dice.between(10.0, 5000.0)),
        _ => FaultKind::WrongResults(dice.between(0.05, 1.0)),
    };
    let begin_ms = dice.between(0.0, SAFETY_MS * 0.8);
    let end_ms = begin_ms + dice.between(50.0, SAFETY_MS * 0.5);
    let share = match kind {
        FaultKind::HalfLeave | FaultKind::Partition => 0.5,
        FaultKind::WrongResults(_) => 0.25,
        _ => dice.uniform(),
    };
    let mut chosen: Vec<usize> = (0..peers).filter(|_| dice.happens(share)).collect();
    if chosen.is_empty() && peers > 0 {
        chosen.push(dice.below(peers));
    }
    Fault { kind, begin_ms, end_ms, peers: chosen }
}
