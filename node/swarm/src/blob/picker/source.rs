//! One source of a download: what it has, how fast it answers, what it still owes.

use std::{collections::VecDeque, time::Duration};

use p2c2r_protocol::chunk_set::ChunkSet;

use super::Wanted;
use crate::limit::{FIRST_CHUNK_WINDOW, MAX_CHUNK_WINDOW};

/// So much of a source's answers is in flight: more than a round trip, or the line would run dry.
const WINDOW: Duration = Duration::from_millis(500);
/// Weight of the newest chunk in the running mean of the time that one takes.
const PACE_WEIGHT: f64 = 0.2;
/// A source that nothing is known of has stalled after this long without an answer.
const FIRST_STALL: Duration = Duration::from_secs(10);
/// Chunks that a source may refuse one after the other although it said that it has them.
const MAX_REFUSALS: u32 = 8;
/// One that is known has stalled after this long and so many times its usual pace.
const STALL: (Duration, u32) = (Duration::from_secs(5), 4);
/// A chunk is not taken to come sooner than this.
const SHORTEST_PACE: Duration = Duration::from_micros(20);

#[derive(Debug)]
pub(super) struct Source {
    /// Whether it gives each chunk once before it gives any twice.
    pub(super) is_owner: bool,
    /// What it has, by its own word.
    pub(super) has: ChunkSet,
    /// What it was asked for and when, in the order in which it answers.
    pub(super) in_flight: VecDeque<(Wanted, Duration)>,
    /// Whether it has not answered for so long that others were asked in its place.
    pub(super) stalled: bool,
    /// Since when it has had nothing to give that it gave nobody, and when it said so last.
    pub(super) declined: Option<(Duration, Duration)>,
    /// Since when it is there.
    since: Duration,
    /// Answers without a chunk since the last one with one.
    refusals: u32,
    /// Mean time that a chunk takes while some are in flight.
    pace: Option<Duration>,
    last_answer: Duration,
}

impl Source {
    pub(super) fn new(is_owner: bool, has: ChunkSet, now: Duration) -> Self {
        Self {
            is_owner,
            has,
            in_flight: VecDeque::new(),
            stalled: false,
            declined: None,
            since: now,
            refusals: 0,
            pace: None,
            last_answer: now,
        }
    }

    /// The chunks that it was asked for by number.
    pub(super) fn asked(&self) -> impl Iterator<Item = u32> + '_ {
        self.in_flight.iter().filter_map(|(wanted, _)| match wanted {
            Wanted::Chunk(index) => Some(*index),
            Wanted::Any => None,
        })
    }

    /// How many it was asked for without a number.
    pub(super) fn unnamed(&self) -> usize {
        self.in_flight.iter().filter(|(wanted, _)| *wanted == Wanted::Any).count()
    }

    /// The oldest request is answered: with a chunk, or without.
    pub(super) fn answered(&mut self, with_chunk: bool, now: Duration) {
        let Some((wanted, asked_at)) = self.in_flight.pop_front() else { return };
        if with_chunk {
            if wanted == Wanted::Any {
                self.declined = None;
            }
            let took = now.saturating_sub(self.last_answer.max(asked_at)).max(SHORTEST_PACE);
            self.pace = Some(match self.pace {
                None => took,
                Some(pace) => pace.mul_f64(1.0 - PACE_WEIGHT) + took.mul_f64(PACE_WEIGHT),
            });
            self.refusals = 0;
        } else if wanted != Wanted::Any {
            self.refusals += 1;
        }
        self.last_answer = now;
        self.stalled = false;
    }

    /// Whether it says that it has what it does not give.
    pub(super) fn is_empty_talk(&self) -> bool {
        self.refusals >= MAX_REFUSALS
    }

    /// Whether it was just met, so that not to have brought anything says nothing.
    pub(super) fn is_new(&self, now: Duration) -> bool {
        self.pace.is_none() && now.saturating_sub(self.since) < FIRST_STALL
    }

    /// Whether it may be asked for more.
    pub(super) fn has_room(&self) -> bool {
        let window = self.pace.map_or(FIRST_CHUNK_WINDOW, |pace| {
            let chunks = WINDOW.as_secs_f64() / pace.as_secs_f64();
            (chunks.ceil() as usize + 1).min(MAX_CHUNK_WINDOW)
        });
        !self.stalled && self.in_flight.len() < window
    }

    /// Mean time that it takes for a chunk, once that is known.
    pub(super) fn pace(&self) -> Option<Duration> {
        self.pace
    }

    /// How fast it answers; 0 while that is unknown.
    pub(super) fn chunks_per_s(&self) -> f64 {
        self.pace.map_or(0.0, |pace| 1.0 / pace.as_secs_f64())
    }

    /// How long it has owed an answer.
    pub(super) fn silent_for(&self, now: Duration) -> Duration {
        self.in_flight
            .front()
            .map_or(Duration::ZERO, |(_, asked_at)| now.saturating_sub(self.last_answer.max(*asked_at)))
    }

    /// Whether it has just been silent for too long.
    pub(super) fn is_stalling(&self, now: Duration) -> bool {
        let limit = self.pace.map_or(FIRST_STALL, |pace| STALL.0 + pace * STALL.1);
        !self.stalled && self.silent_for(now) > limit
    }

    /// How long until it answers what stands behind so many requests, if that can be said.
    pub(super) fn expected_wait(&self, behind: usize, now: Duration) -> Option<Duration> {
        if self.stalled {
            return None;
        }
        let silent = self.silent_for(now);
        let first = self.pace?.saturating_sub(silent);
        Some(first + self.pace? * behind as u32)
    }

    /// How long a chunk that it was asked for is likely to take yet: as long as it has been silent, if nothing else is
    /// known or its pace is not what it was.
    pub(super) fn wait_for(&self, index: u32, now: Duration) -> Option<Duration> {
        let behind = self.in_flight.iter().position(|(wanted, _)| *wanted == Wanted::Chunk(index))?;
        let silent = self.silent_for(now);
        Some(self.expected_wait(behind, now).unwrap_or(silent).max(silent))
    }
}
