//! A peer's level at one kind of work.

use std::collections::VecDeque;

use p2c2r_protocol::id::WorkKind;
use serde::{Deserialize, Serialize};

use super::{drift::PageHinkley, interval::REMEMBERED, level::Level};

/// Outcomes that a level counts for when it has just moved.
const OUTCOMES_OF_A_MOVE: f64 = 2.0;

/// What is known of a peer's time at one kind of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KindTime {
    /// Which kind.
    pub kind: WorkKind,
    /// Times that were learned from.
    pub outcomes: u64,
    /// μ: log of execution time over cost, without load.
    pub structure: Level,
    /// μ + b: the same without what the trees say.
    pub trees: Level,
    /// Whether the level moves.
    pub drift: PageHinkley,
    #[serde(skip)]
    moments: VecDeque<Moment>,
}

/// The levels as they were from a moment on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moment {
    at_unix_ms: f64,
    structure: f64,
    trees: f64,
}

impl KindTime {
    /// Of a kind that is known as far as this level.
    pub fn new(kind: WorkKind, level: Level) -> Self {
        Self {
            kind,
            outcomes: 0,
            structure: level,
            trees: level,
            drift: PageHinkley::default(),
            moments: VecDeque::new(),
        }
    }

    /// Starts the levels again where the mean has moved to.
    pub fn restart(&mut self, moved_to: Option<f64>) -> bool {
        let Some(level) = moved_to else { return false };
        let by = level - self.structure.value();
        self.structure.restart(level, OUTCOMES_OF_A_MOVE);
        self.trees.restart(self.trees.value() + by, OUTCOMES_OF_A_MOVE);
        true
    }

    /// The levels that a prediction of that moment was made with.
    pub fn levels_at(&self, at_unix_ms: f64) -> (f64, f64) {
        let then = self.moments.iter().rev().find(|moment| moment.at_unix_ms <= at_unix_ms);
        match then.or_else(|| self.moments.front()) {
            Some(moment) => (moment.structure, moment.trees),
            None => (self.structure.value(), self.trees.value()),
        }
    }

    /// Remembers the levels as they are from this moment on.
    pub fn remember(&mut self, at_unix_ms: f64) {
        if self.moments.len() >= REMEMBERED {
            self.moments.pop_front();
        }
        let (structure, trees) = (self.structure.value(), self.trees.value());
        self.moments.push_back(Moment { at_unix_ms, structure, trees });
    }

    /// Starts the level with the trees again.
    pub fn restart_trees(&mut self, level: Level) {
        self.trees = level;
        for moment in &mut self.moments {
            moment.trees = level.value();
        }
    }

    /// Memory that is taken beside the struct itself, bytes.
    pub fn bytes(&self) -> usize {
        self.moments.capacity() * size_of::<Moment>()
    }
}
