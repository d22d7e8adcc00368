//! The numbers that a frame's life turns on.

use serde::{Deserialize, Serialize};

/// How a frame is carried through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameConfig {
    /// Tiles that a peer holds at once: one that it renders and one that waits, so that its device never idles for a
    /// round trip. More only where tiles are much shorter than the round trip.
    pub max_in_flight_per_peer: u32,
    /// A tile is late when it takes this many times the time that 95 % stay under.
    pub late_factor: f64,
    /// It is late after so many times its expected time in any case, however uncertain that is.
    pub max_late_factor: f64,
    /// No tile is late before this, ms: below, a copy costs more than the wait.
    pub min_late_ms: f64,
    /// An offer that is not answered within this is taken for lost, ms. Far above any round trip on earth.
    pub answer_limit_ms: f64,
    /// Copies of others' tiles that may wait at a peer beyond that.
    pub max_waiting_copies: u32,
    /// Share of failures that nobody tells of.
    pub silent_share: f64,
    /// A late tile is given up, and its peer's failure, after this many times the time that makes it late.
    pub give_up_factor: f64,
    /// A peer that has taken a tile and is there is not given up before this, ms: it may be busy with others' tiles,
    /// and a copy elsewhere keeps the frame going meanwhile.
    pub min_patience_ms: f64,
    /// Cost that copies are expected to render for nothing, as a share of the frame's, at most.
    pub max_extra_share: f64,
    /// A peer that was late this often in a row gets no copies of others' tiles.
    pub max_misses: u32,
    /// A peer that refused this often because something is wrong there gets nothing more.
    pub max_faults: u32,
    /// A tile is copied only if that is expected to save at least this, ms,
    pub min_gain_ms: f64,
    /// and this share of the time that rendering it takes.
    pub min_gain_share: f64,
    /// What a millisecond that a copy is expected to work for nothing is worth, in milliseconds of waiting.
    pub extra_price: f64,
    /// Shortest pause for a peer that is busy, ms.
    pub min_backoff_ms: f64,
    /// Longest pause for a peer that is busy, ms.
    pub max_backoff_ms: f64,
    /// Frames of a sequence are taken away as soon as they are whole: what is found wrong in one then takes all of it.
    #[serde(default)]
    pub whole_frames_leave: bool,
}

impl FrameConfig {
    /// For whole frames of a sequence: a peer has one in hand and the scene of the next one being made ready, no more.
    pub fn of_sequence() -> Self {
        Self { max_waiting_copies: 0, whole_frames_leave: true, ..Self::default() }
    }

    /// For a frame beside others that are in flight already: what copies do for nothing is time that the others wait.
    pub fn beside(others: usize) -> Self {
        let alone = Self::default();
        if others == 0 { alone } else { Self { extra_price: 1.0, max_extra_share: 0.1, ..alone } }
    }
}

impl Default for FrameConfig {
    fn default() -> Self {
        Self {
            max_in_flight_per_peer: 2,
            max_waiting_copies: 1,
            silent_share: 0.3,
            late_factor: 1.0,
            max_late_factor: 8.0,
            min_late_ms: 20.0,
            answer_limit_ms: 3000.0,
            give_up_factor: 4.0,
            min_patience_ms: 20_000.0,
            max_extra_share: 1.0,
            max_misses: 2,
            max_faults: 3,
            min_gain_ms: 0.5,
            min_gain_share: 0.02,
            extra_price: 0.1,
            min_backoff_ms: 20.0,
            max_backoff_ms: 60_000.0,
            whole_frames_leave: false,
        }
    }
}
