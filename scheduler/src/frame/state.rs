//! What a frame knows of its tiles, peers and attempts.

use std::{
    cell::OnceCell,
    collections::{BTreeSet, VecDeque},
};

use p2c2r_protocol::id::{NodeId, TaskId};

use crate::{
    peer::PeerView,
    place::PlannedTile,
    predict::{Outcome, OutcomeResult, TaskFeatures},
    time::TimeMs,
    work::FrameWork,
};

/// Times spread at least so much around what is expected, as logs.
const MIN_SPREAD: f64 = 0.05;
/// Less progress than this says nothing about the time that is left.
const MIN_FRACTION: f64 = 0.05;

/// A tile.
#[derive(Debug)]
pub struct Tile {
    /// As planned.
    pub plan: PlannedTile,
    /// Where it stands.
    pub state: TileState,
    /// Copies offered.
    pub attempts: u32,
    /// Peers that failed on it.
    pub failed_at: BTreeSet<NodeId>,
    /// Its copies that are out, oldest first.
    pub out: Vec<TaskId>,
}

/// Where a tile stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TileState {
    /// Not in the film.
    Open,
    /// In the film.
    Done {
        /// Whose pixels.
        peer: NodeId,
        /// From offer to result, ms.
        elapsed_ms: f64,
    },
}

impl Tile {
    /// A tile at its start.
    pub fn new(plan: PlannedTile) -> Self {
        Self { plan, state: TileState::Open, attempts: 0, failed_at: BTreeSet::new(), out: Vec::new() }
    }

    /// Whether it is in the film.
    pub fn is_done(&self) -> bool {
        matches!(self.state, TileState::Done { .. })
    }
}

/// A peer.
#[derive(Debug)]
pub struct Peer {
    /// As last seen.
    pub view: PeerView,
    /// Tiles planned for it that are not out yet.
    pub planned: VecDeque<usize>,
    /// Tasks that it holds, oldest first.
    pub held: Vec<TaskId>,
    /// Gone.
    pub lost: bool,
    /// Not to be used any more in this frame.
    pub excluded: bool,
    /// Left alone until then.
    pub busy_until: Option<TimeMs>,
    /// Times in a row that it was busy.
    pub refusals: u32,
    /// Late in a row.
    pub misses: u32,
    /// Whether it was lost and is back: once it is taken for its line's fault.
    pub forgiven: bool,
    /// Refusals for something that is wrong there.
    pub faults: u32,
    /// Time that it rendered accepted and losing tiles, ms.
    pub busy_ms: f64,
    /// How fast it is with this frame's tiles, once that was asked for.
    pub pace: OnceCell<Pace>,
}

/// What is expected of a peer in a frame.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Rendering time by estimated cost, ms per ray.
    pub ms_per_cost: f64,
    /// For everything else, ms.
    pub overhead_ms: f64,
    /// Until it is done with others' tiles, ms.
    pub wait_ms: f64,
    /// Probability that a tile fails.
    pub risk: f64,
}

impl Peer {
    /// A peer at the frame's start.
    pub fn new(view: PeerView) -> Self {
        Self {
            view,
            planned: VecDeque::new(),
            held: Vec::new(),
            lost: false,
            excluded: false,
            busy_until: None,
            refusals: 0,
            misses: 0,
            forgiven: false,
            faults: 0,
            busy_ms: 0.0,
            pace: OnceCell::new(),
        }
    }

    /// Whether it can be offered a tile now.
    pub fn is_usable(&self, now: TimeMs) -> bool {
        self.view.ready && !self.lost && !self.excluded && self.busy_until.is_none_or(|until| until <= now)
    }
}

/// A tile that is out.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Which tile.
    pub tile: usize,
    /// Where.
    pub peer: NodeId,
    /// The peer as it was seen then.
    pub view: PeerView,
    /// What was known of the task then.
    pub features: TaskFeatures,
    /// Since when.
    pub offered_at: TimeMs,
    /// When the peer could begin with it: it was done with what it had before.
    pub begun_at: Option<TimeMs>,
    /// When its result was expected.
    pub due_at: TimeMs,
    /// When it is expected now.
    pub expected_at: TimeMs,
    /// From when on it is late.
    pub late_at: TimeMs,
    /// From when on it is given up; never for the own device.
    pub give_up_at: Option<TimeMs>,
    /// Expected rendering time, ms.
    pub execution_ms: f64,
    /// Probability that it fails, as it was expected.
    pub risk: f64,
    /// Standard deviation of the log of its time, as it was expected.
    pub spread: f64,
    /// Whether hardly anything but the peer's word was known of its speed.
    pub on_its_word: bool,
    /// Cost that may be rendered for nothing, because it is a copy.
    pub extra_cost: f64,
    /// Whether the peer has taken it.
    pub accepted: bool,
    /// Share done, as the peer says.
    pub fraction: f64,
    /// The share at which its time was last extended.
    pub patient_at: f64,
    /// Whether it was found to be late.
    pub late: bool,
}

impl Attempt {
    /// Expected time to its result, ms. What is overdue is expected to stay so for as long again.
    pub fn left_ms(&self, now: TimeMs) -> f64 {
        (self.expected_at - now).abs()
    }

    /// Probability that it fails or has failed already, now that nothing has come of it yet: failures that are told of
    /// would have been, by and by; those that are not look like a result that is late.
    pub fn risk_now(&self, now: TimeMs, silent_share: f64) -> f64 {
        let expected_ms = (self.expected_at - self.offered_at).max(1e-3);
        let elapsed = ((now - self.offered_at) / expected_ms).max(0.0);
        let told = self.risk * (1.0 - silent_share) * (1.0 - elapsed.min(1.0));
        let silent = self.risk * silent_share;
        // The logistic curve that is closest to the normal distribution.
        let deviations = elapsed.max(1e-9).ln() / self.spread.max(MIN_SPREAD);
        let under_way = (1.0 - self.risk) / (1.0 + (1.702 * deviations).exp());
        ((told + silent) / (told + silent + under_way).max(1e-12)).clamp(0.0, 1.0)
    }

    /// The peer can begin with it, unless it has already.
    pub fn begin(&mut self, now: TimeMs) {
        self.begun_at.get_or_insert(now);
    }

    /// The peer tells how much of it is done: it is expected to go on like this. A peer that falls silent then is overdue
    /// like any other.
    pub fn progress(&mut self, now: TimeMs, fraction: f64) {
        if fraction.is_finite() {
            self.fraction = fraction.clamp(self.fraction, 1.0);
        }
        if self.fraction > MIN_FRACTION {
            // One that is at work before the result of what it had before is here has begun about as long ago as that takes.
            let latest_ms = now - self.offered_at;
            let at_work_ms = (self.fraction * self.execution_ms).min(latest_ms);
            let begun_at = *self.begun_at.get_or_insert(now + -at_work_ms);
            self.expected_at = now + (now - begun_at) * (1.0 - self.fraction) / self.fraction;
        }
    }

    /// Whether the peer has told of progress.
    pub fn is_at_work(&self) -> bool {
        self.fraction > MIN_FRACTION
    }

    /// Whether its time says how fast the peer is although others were faster: it takes longer than it should and is known
    /// to be at work, or hardly anything but its word is known of it, or it is late. (What has only fallen silent may have been
    /// lost.)
    pub fn is_slow(&self, now: TimeMs) -> bool {
        let counts_from = if self.is_at_work() || self.on_its_word { self.due_at } else { self.late_at };
        self.accepted && now > counts_from
    }

    /// Is not given up before that.
    pub fn wait_until(&mut self, until: TimeMs) {
        if let Some(at) = self.give_up_at.as_mut().filter(|at| **at < until) {
            *at = until;
        }
    }

    /// What came of it.
    pub fn outcome(&self, work: &FrameWork, now: TimeMs, result: OutcomeResult) -> Outcome {
        Outcome {
            peer: self.view,
            kind: work.kind,
            features: self.features,
            total_ms: now - self.offered_at,
            result,
        }
    }

    /// It was delivered.
    pub fn success(&self, work: &FrameWork, now: TimeMs, queue_ms: f64, execution_ms: f64) -> Outcome {
        self.outcome(work, now, OutcomeResult::Success { queue_ms, execution_ms })
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::id::NodeId;

    use super::*;

    fn attempt() -> Attempt {
        let features = TaskFeatures {
            cost: 1e4,
            pixels: 1e4,
            bytes: 1e5,
            in_flight: 0,
            backlog_ms: 0.0,
            at: TimeMs(0.0),
        };
        Attempt {
            tile: 0,
            peer: NodeId::from_public_key([1; 32]),
            view: PeerView::unknown(NodeId::from_public_key([1; 32])),
            features,
            offered_at: TimeMs(0.0),
            begun_at: Some(TimeMs(0.0)),
            due_at: TimeMs(100.0),
            expected_at: TimeMs(100.0),
            late_at: TimeMs(300.0),
            give_up_at: None,
            execution_ms: 100.0,
            risk: 0.0,
            spread: 0.1,
            on_its_word: false,
            extra_cost: 0.0,
            accepted: true,
            fraction: 0.0,
            patient_at: 0.0,
            late: false,
        }
    }

    #[test]
    fn time_in_line_says_nothing_of_the_pace() {
        let mut waited = Attempt { begun_at: None, ..attempt() };
        waited.begin(TimeMs(1000.0));
        waited.begin(TimeMs(2000.0));
        waited.progress(TimeMs(1020.0), 0.2);
        assert!((waited.left_ms(TimeMs(1020.0)) - 80.0).abs() < 1e-6, "{}", waited.left_ms(TimeMs(1020.0)));
        // It speaks before what it had before is here.
        let mut early = Attempt { begun_at: None, ..attempt() };
        early.progress(TimeMs(1020.0), 0.2);
        early.begin(TimeMs(1040.0));
        early.progress(TimeMs(1050.0), 0.5);
        assert!((early.left_ms(TimeMs(1050.0)) - 50.0).abs() < 1e-6, "{}", early.left_ms(TimeMs(1050.0)));
        // Nobody begins before he is asked.
        let mut hasty = Attempt { begun_at: None, offered_at: TimeMs(1000.0), ..attempt() };
        hasty.progress(TimeMs(1010.0), 0.5);
        assert!((hasty.left_ms(TimeMs(1010.0)) - 10.0).abs() < 1e-6);
    }

    #[test]
    fn f2_what_is_only_silent_a_little_longer_than_expected_does_not_count_as_slow() {
        let mut attempt = attempt();
        assert!(!attempt.is_slow(TimeMs(200.0)), "it may have been lost without a word");
        assert!(attempt.is_slow(TimeMs(301.0)));
        attempt.on_its_word = true;
        assert!(attempt.is_slow(TimeMs(101.0)), "silence does not keep a newcomer's announcement alive");
        attempt.on_its_word = false;
        attempt.progress(TimeMs(200.0), 0.4);
        assert!(attempt.is_slow(TimeMs(201.0)), "it is at work, and should have been done");
        assert!((attempt.left_ms(TimeMs(200.0)) - 300.0).abs() < 1e-6);
    }
}
