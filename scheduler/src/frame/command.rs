//! What is to be done for a frame.

use std::{collections::VecDeque, fmt};

use p2c2r_protocol::{
    id::{NodeId, TaskId},
    tile::TileRect,
};
use serde::{Deserialize, Serialize};

use crate::{predict::Prediction, time::TimeMs};

/// A command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Offer a tile to a peer.
    Offer {
        /// The attempt's name; never used before.
        task: TaskId,
        /// To whom.
        peer: NodeId,
        /// Index of the tile in the plan.
        tile: usize,
        /// Of which frame, counted from 0; 0 where there is only one.
        #[serde(default)]
        frame: u32,
        /// Its pixels.
        rect: TileRect,
        /// What is expected of it.
        predicted: Prediction,
    },
    /// Withdraw a task; its late result is of no interest.
    Cancel {
        /// Which.
        task: TaskId,
        /// Where it is.
        peer: NodeId,
    },
    /// Put the delivered pixels into the film. Comes once per tile, and again only after [`Command::Retract`].
    Accept {
        /// The attempt that delivered them.
        task: TaskId,
        /// Index of the tile in the plan.
        tile: usize,
    },
    /// Take the pixels of a tile out of the film again: its renderer is not believed any more.
    Retract {
        /// Index of the tile in the plan.
        tile: usize,
        /// Of which frame.
        #[serde(default)]
        frame: u32,
        /// Its pixels.
        rect: TileRect,
    },
    /// Have nothing more to do with a peer.
    Distrust {
        /// Who.
        peer: NodeId,
        /// Why.
        reason: DistrustReason,
    },
    /// Come back with [`crate::frame::Event::Wake`] at this time, if nothing happens before. The earliest one counts.
    WakeAt(TimeMs),
    /// The frame is over. The last command.
    Done(FrameEnd),
}

/// Why a peer is not trusted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DistrustReason {
    /// It delivered something that is not the tile.
    InvalidResult,
}

impl fmt::Display for DistrustReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidResult => out.write_str("it delivered an invalid result"),
        }
    }
}

/// How a frame ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FrameEnd {
    /// Every pixel is there.
    Complete,
    /// Some are not.
    Partial {
        /// Which.
        missing: Vec<TileRect>,
    },
    /// It was given up.
    Aborted,
}

/// Commands in the order in which they are to be carried out.
#[derive(Debug, Default)]
pub struct Outbox(VecDeque<Command>);

impl Outbox {
    /// Adds a command.
    pub fn push(&mut self, command: Command) {
        self.0.push_back(command);
    }

    /// All that are in it.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        self.0.iter()
    }

    /// The next command.
    pub fn pop(&mut self) -> Option<Command> {
        self.0.pop_front()
    }
}
