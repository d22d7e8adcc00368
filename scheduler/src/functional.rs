//! Functional split: which peer does which subsystem of a game's frame.
//!
//! Every subsystem has one peer, and keeps it while that serves. What is expected of a peer at a kind of work comes from
//! a model of its own for each (peer, kind): whoever is good at physics gets physics. A peer that missed a deadline twice
//! in a row, or is gone, loses the subsystem at once. The owner's own machine is a reserve: it does what nobody else can.

use std::collections::{BTreeMap, BTreeSet};

use p2c2r_protocol::id::{NodeId, WorkKind};

use crate::{
    Outcome, OutcomeResult, PeerView, TaskFeatures,
    history::Store,
    predict::{Predictor, ema::EmaPredictor},
    time::TimeMs,
};

/// Misses in a row after which a subsystem moves.
pub const MAX_MISSES: u32 = 2;
/// A peer is worth moving to only if so much less of the deadline is used there: a move costs a whole snapshot.
const WORTH_MOVING: f64 = 0.7;
/// A peer from which a subsystem was taken gets none for so long, ms; twice as long each time it happens again.
const TIME_OUT_MS: f64 = 1000.0;
/// The longest such time, ms.
const MAX_TIME_OUT_MS: f64 = 30_000.0;
/// Weight of the newest of what answers took beyond the work itself.
const OVERHEAD_WEIGHT: f64 = 0.1;
/// The penalty grows with this power of what is used of the deadline: half of it is far better than all of it.
const POWER: i32 = 3;
/// Rounds of improving one choice after the other: it settles within two or three.
const ROUNDS: usize = 8;

/// A subsystem, as the split sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SubsystemLoad {
    /// Its kind of work.
    pub kind: WorkKind,
    /// It must answer within, ms.
    pub deadline_ms: f64,
    /// It is asked every so many ms.
    pub period_ms: f64,
}

/// What a step took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepTimes {
    /// From when it was asked for until it was answered, ms.
    pub total_ms: f64,
    /// Of that, waiting at the peer, as it says, ms.
    pub queue_ms: f64,
    /// Of that, work, as it says, ms.
    pub execution_ms: f64,
}

/// Why a subsystem went to another peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveReason {
    /// It had none.
    First,
    /// Its peer is gone.
    Lost,
    /// Its peer missed deadlines.
    Missed,
    /// Another one is much better.
    Better,
}

/// A subsystem gets another peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub kind: WorkKind,
    /// From.
    pub from: Option<NodeId>,
    /// To.
    pub to: NodeId,
    /// Why.
    pub reason: MoveReason,
}

/// How gladly a peer is given a kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    In,
    /// Only if nobody else is in.
    Reserve,
    /// Only if there is nobody at all.
    TimedOut,
}

struct Candidate {
    is_reserve: bool,
    kinds: BTreeSet<WorkKind>,
    /// Mean of what its answers took beyond the work itself, ms: a way that has become long is long for all kinds.
    overhead_ms: Option<f64>,
    /// No work for it until then, and how long that was.
    timed_out: BTreeMap<WorkKind, (f64, f64)>,
}

impl Candidate {
    fn standing(&self, kind: WorkKind, now: TimeMs) -> Option<Standing> {
        let is_out = self.timed_out.get(&kind).is_some_and(|(until, _)| *until > now.0);
        self.kinds.contains(&kind).then_some(match (is_out, self.is_reserve) {
            (true, _) => Standing::TimedOut,
            (false, true) => Standing::Reserve,
            (false, false) => Standing::In,
        })
    }
}

/// Who does what.
pub struct FunctionalSplit {
    subsystems: Vec<SubsystemLoad>,
    peers: BTreeMap<NodeId, Candidate>,
    models: EmaPredictor,
    assigned: BTreeMap<WorkKind, NodeId>,
    misses: BTreeMap<WorkKind, u32>,
}

impl FunctionalSplit {
    /// Nobody is there yet; the store has what was learned before.
    pub fn new(subsystems: Vec<SubsystemLoad>, store: Box<dyn Store>) -> Self {
        Self {
            subsystems,
            peers: BTreeMap::new(),
            models: EmaPredictor::new(store),
            assigned: BTreeMap::new(),
            misses: BTreeMap::new(),
        }
    }

    /// A peer that does these kinds of work.
    pub fn join(&mut self, peer: NodeId, kinds: impl IntoIterator<Item = WorkKind>) {
        self.admit(peer, kinds, false);
    }

    /// The owner's own machine, which does what nobody else can: it has the game to show besides.
    pub fn join_reserve(&mut self, peer: NodeId, kinds: impl IntoIterator<Item = WorkKind>) {
        self.admit(peer, kinds, true);
    }

    fn admit(&mut self, peer: NodeId, kinds: impl IntoIterator<Item = WorkKind>, is_reserve: bool) {
        let kinds = kinds.into_iter().collect();
        let candidate = Candidate { is_reserve, kinds, overhead_ms: None, timed_out: BTreeMap::new() };
        self.peers.insert(peer, candidate);
    }

    /// Whether it is known what a peer is like at every kind of such work that it does.
    pub fn knows(&self, peer: &NodeId) -> bool {
        let has_tried = |kind| self.models.speed(peer, kind).is_some_and(|speed| speed.outcomes > 0);
        let mut loads = self.subsystems.iter().map(|load| load.kind);
        let candidate = self.peers.get(peer);
        candidate.is_some_and(|known| loads.all(|kind| !known.kinds.contains(&kind) || has_tried(kind)))
    }

    /// A peer is gone.
    pub fn leave(&mut self, peer: &NodeId) {
        self.peers.remove(peer);
    }

    /// A peer does not do that kind of work.
    pub fn decline(&mut self, peer: &NodeId, kind: WorkKind) {
        if let Some(candidate) = self.peers.get_mut(peer) {
            candidate.kinds.remove(&kind);
        }
    }

    /// Whoever does the subsystem.
    pub fn assigned(&self, kind: WorkKind) -> Option<NodeId> {
        self.assigned.get(&kind).copied()
    }

    /// Whoever could do it besides, the best first, the reserve last.
    pub fn others(&self, kind: WorkKind, now: TimeMs) -> Vec<NodeId> {
        let Some(load) = self.subsystems.iter().find(|load| load.kind == kind) else { return Vec::new() };
        let own = self.assigned(kind);
        let standing = |peer: NodeId| self.peers.get(&peer).and_then(|known| known.standing(kind, now));
        let mut others: Vec<(Option<Standing>, f64, NodeId)> = self
            .able(kind, Standing::Reserve, now)
            .filter(|peer| Some(*peer) != own)
            .map(|peer| (standing(peer), self.penalty(load, peer, &self.assigned), peer))
            .collect();
        others.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        others.into_iter().map(|(_, _, peer)| peer).collect()
    }

    /// A step was answered. An answer within the deadline ends a row of misses.
    pub fn observe(&mut self, peer: NodeId, kind: WorkKind, times: StepTimes, in_time: bool) {
        let StepTimes { total_ms, queue_ms, execution_ms } = times;
        if in_time && self.assigned(kind) == Some(peer) {
            self.misses.remove(&kind);
        }
        if let Some(candidate) = self.peers.get_mut(&peer) {
            let overhead_ms = (total_ms - queue_ms - execution_ms).max(0.0);
            let mean_ms = candidate.overhead_ms.get_or_insert(overhead_ms);
            *mean_ms += (overhead_ms - *mean_ms) * OVERHEAD_WEIGHT;
        }
        let result = OutcomeResult::Success { queue_ms, execution_ms: execution_ms.clamp(1e-3, 1e6) };
        self.models.observe(&Outcome {
            peer: PeerView::unknown(peer),
            kind,
            features: features(0.0),
            total_ms: total_ms.clamp(1e-3, 1e6),
            result,
        });
    }

    /// A step was not answered within its deadline. Whether that was once too often, and the subsystem must move.
    pub fn miss(&mut self, peer: NodeId, kind: WorkKind, now: TimeMs) -> bool {
        self.models.observe(&Outcome {
            peer: PeerView::unknown(peer),
            kind,
            features: features(0.0),
            total_ms: 0.0,
            result: OutcomeResult::Failed,
        });
        if self.assigned(kind) != Some(peer) {
            return false;
        }
        let misses = self.misses.entry(kind).or_default();
        *misses += 1;
        if *misses < MAX_MISSES {
            return false;
        }
        if let Some(candidate) = self.peers.get_mut(&peer) {
            let before = candidate.timed_out.get(&kind).map_or(0.0, |(_, length)| *length);
            let length = (before * 2.0).clamp(TIME_OUT_MS, MAX_TIME_OUT_MS);
            candidate.timed_out.insert(kind, (now.0 + length, length));
        }
        true
    }

    /// Decides who does what that nobody does any more, and says what has changed.
    pub fn replace(&mut self, now: TimeMs) -> Vec<Move> {
        let stays = |(kind, peer): &(&WorkKind, &NodeId)| self.is_able(peer, **kind, now);
        let choice = self.assigned.iter().filter(stays).map(|(kind, peer)| (*kind, *peer)).collect();
        self.decide(choice, now)
    }

    /// Decides anew who does what, and says what has changed.
    pub fn plan(&mut self, now: TimeMs) -> Vec<Move> {
        self.decide(BTreeMap::new(), now)
    }

    /// Decides what is not chosen yet.
    fn decide(&mut self, mut choice: BTreeMap<WorkKind, NodeId>, now: TimeMs) -> Vec<Move> {
        let mut order = self.subsystems.clone();
        order.retain(|load| !choice.contains_key(&load.kind));
        order.sort_by(|a, b| a.deadline_ms.total_cmp(&b.deadline_ms));
        for load in &order {
            if let Some(peer) = self.best(load, &choice, now) {
                choice.insert(load.kind, peer);
            }
        }
        for _ in 0..ROUNDS {
            let before = choice.clone();
            for load in &order {
                if let Some(peer) = self.best(load, &choice, now) {
                    choice.insert(load.kind, peer);
                }
            }
            if choice == before {
                break;
            }
        }
        let moves = self.moves(&choice, now);
        for change in &moves {
            self.assigned.insert(change.kind, change.to);
            self.misses.remove(&change.kind);
        }
        let peers = &self.peers;
        self.assigned
            .retain(|kind, peer| peers.get(peer).is_some_and(|candidate| candidate.kinds.contains(kind)));
        moves
    }

    fn moves(&self, choice: &BTreeMap<WorkKind, NodeId>, now: TimeMs) -> Vec<Move> {
        let moved = |(kind, to): (&WorkKind, &NodeId)| {
            let from = self.assigned(*kind);
            let reason = match from {
                Some(from) if from == *to => return None,
                None => MoveReason::First,
                Some(from) if !self.peers.contains_key(&from) => MoveReason::Lost,
                Some(from) if self.peers.get(&from).is_some_and(|known| known.is_reserve) => {
                    MoveReason::Better
                }
                Some(from) if !self.is_able(&from, *kind, now) => MoveReason::Missed,
                Some(_) => MoveReason::Better,
            };
            Some(Move { kind: *kind, from, to: *to, reason })
        };
        choice.iter().filter_map(moved).collect()
    }

    /// Those that may do such work now: whoever stands no worse than that, and if there is nobody, the best there are.
    fn able(&self, kind: WorkKind, least: Standing, now: TimeMs) -> impl Iterator<Item = NodeId> {
        let standing = move |candidate: &Candidate| candidate.standing(kind, now);
        let best = self.peers.values().filter_map(standing).min().unwrap_or(least);
        let willing = self.peers.iter().filter(move |(_, candidate)| {
            standing(candidate).is_some_and(|standing| standing <= least.max(best))
        });
        willing.map(|(peer, _)| *peer)
    }

    fn is_able(&self, peer: &NodeId, kind: WorkKind, now: TimeMs) -> bool {
        self.able(kind, Standing::In, now).any(|able| able == *peer)
    }

    fn best(&self, load: &SubsystemLoad, choice: &BTreeMap<WorkKind, NodeId>, now: TimeMs) -> Option<NodeId> {
        let own = self.assigned(load.kind);
        let weighed = |peer: NodeId| {
            let loyal = if own == Some(peer) { WORTH_MOVING.powi(POWER) } else { 1.0 };
            (self.penalty(load, peer, choice) * loyal, peer)
        };
        let all = self.able(load.kind, Standing::In, now).map(weighed);
        all.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))).map(|(_, peer)| peer)
    }

    /// How badly a peer would serve a subsystem beside what it has by that choice.
    fn penalty(&self, load: &SubsystemLoad, peer: NodeId, choice: &BTreeMap<WorkKind, NodeId>) -> f64 {
        let others = self
            .subsystems
            .iter()
            .filter(|other| other.kind != load.kind && choice.get(&other.kind) == Some(&peer));
        let mut busy_share = 0.0;
        let (mut wait_ms, mut longest_ms) = (0.0, 0.0);
        for other in others {
            let execution_ms = self.expected(peer, other.kind).execution_ms;
            let share = (execution_ms / other.period_ms).min(1.0);
            // Steps are not interrupted: at worst it finds the longest of the others just begun (Jeffay, Stanat and Martel
            // 1991), and besides its share of them all before it.
            longest_ms = f64::max(longest_ms, execution_ms);
            wait_ms += share * execution_ms;
            busy_share += share;
        }
        let expected = self.expected(peer, load.kind);
        busy_share += expected.execution_ms / load.period_ms;
        let own_ms = self.peers.get(&peer).and_then(|candidate| candidate.overhead_ms).unwrap_or(0.0);
        let overhead_ms = expected.overhead_ms.max(own_ms);
        let total_ms =
            (overhead_ms + expected.execution_ms) * expected.p95_total_factor + wait_ms + longest_ms;
        let used = total_ms / load.deadline_ms + busy_share.powi(2) * 0.2;
        used.powi(POWER) / (1.0 - expected.failure_risk).max(0.05)
    }

    fn expected(&self, peer: NodeId, kind: WorkKind) -> crate::Prediction {
        // Of a newcomer nothing is known: it is taken for a middling one until it was tried.
        self.models.predict(
            &PeerView { mrays_per_s: UNKNOWN_STEPS_PER_US, ..PeerView::unknown(peer) },
            kind,
            &features(0.0),
        )
    }
}

/// Steps a newcomer is expected to do, in the unit of the models (a thousand a ms): one takes 4 ms.
const UNKNOWN_STEPS_PER_US: f32 = 0.000_25;

/// Steps are alike: each costs 1.
fn features(backlog_ms: f64) -> TaskFeatures {
    TaskFeatures { cost: 1.0, pixels: 0.0, bytes: 0.0, in_flight: 0, backlog_ms, at: TimeMs(0.0) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::history::MemoryStore;

    const NOW: TimeMs = TimeMs(0.0);
    const LOADS: [SubsystemLoad; 3] = [
        SubsystemLoad { kind: WorkKind::Physics, deadline_ms: 16.0, period_ms: 16.7 },
        SubsystemLoad { kind: WorkKind::Ai, deadline_ms: 32.0, period_ms: 33.3 },
        SubsystemLoad { kind: WorkKind::RayTracing, deadline_ms: 100.0, period_ms: 50.0 },
    ];

    fn peer(index: u8) -> NodeId {
        NodeId::from_public_key([index; 32])
    }

    fn split(peers: u8) -> FunctionalSplit {
        let mut split = FunctionalSplit::new(LOADS.to_vec(), Box::new(MemoryStore::default()));
        for index in 0..peers {
            split.join(peer(index), WorkKind::ALL);
        }
        split
    }

    fn tried(split: &mut FunctionalSplit, index: u8, kind: WorkKind, total_ms: f64) {
        for _ in 0..5 {
            let times = StepTimes { total_ms, queue_ms: 0.0, execution_ms: total_ms * 0.8 };
            split.observe(peer(index), kind, times, true);
        }
    }

    #[test]
    fn whoever_is_good_at_physics_gets_physics() {
        let mut split = split(3);
        for index in 0..3 {
            tried(&mut split, index, WorkKind::Physics, if index == 1 { 2.0 } else { 9.0 });
            tried(&mut split, index, WorkKind::Ai, if index == 2 { 2.0 } else { 9.0 });
            tried(&mut split, index, WorkKind::RayTracing, 20.0);
        }
        let moves = split.plan(NOW);
        assert_eq!(moves.len(), 3);
        assert!(moves.iter().all(|change| change.reason == MoveReason::First));
        assert_eq!(split.assigned(WorkKind::Physics), Some(peer(1)));
        assert_eq!(split.assigned(WorkKind::Ai), Some(peer(2)));
        assert_eq!(
            split.assigned(WorkKind::RayTracing),
            Some(peer(0)),
            "the one that has nothing else to do"
        );
        assert!(split.plan(NOW).is_empty(), "what serves stays");
    }

    #[test]
    fn a_way_that_has_become_long_is_long_for_all_kinds() {
        let mut split = split(2);
        for kind in WorkKind::ALL {
            tried(&mut split, 0, kind, 3.0);
            tried(&mut split, 1, kind, 3.5);
        }
        for _ in 0..20 {
            let times = StepTimes { total_ms: 85.0, queue_ms: 0.0, execution_ms: 2.0 };
            split.observe(peer(0), WorkKind::Physics, times, false);
        }
        split.plan(NOW);
        assert_eq!(split.assigned(WorkKind::Ai), Some(peer(1)), "its answers to anything would be late");
    }

    #[test]
    fn short_deadlines_do_not_stand_behind_long_steps() {
        let mut split = split(2);
        for index in 0..2 {
            tried(&mut split, index, WorkKind::Physics, 6.0);
            tried(&mut split, index, WorkKind::Ai, 2.0);
            tried(&mut split, index, WorkKind::RayTracing, 14.0 + f64::from(index));
        }
        split.plan(NOW);
        assert_ne!(split.assigned(WorkKind::Physics), split.assigned(WorkKind::RayTracing));
    }

    #[test]
    fn two_misses_in_a_row_move_a_subsystem_and_one_does_not() {
        let mut split = split(2);
        for index in 0..2 {
            tried(&mut split, index, WorkKind::Physics, 3.0 + f64::from(index));
        }
        split.plan(NOW);
        assert_eq!(split.assigned(WorkKind::Physics), Some(peer(0)));
        assert!(!split.miss(peer(0), WorkKind::Physics, NOW));
        let times = StepTimes { total_ms: 3.0, queue_ms: 0.0, execution_ms: 2.0 };
        split.observe(peer(0), WorkKind::Physics, times, true);
        assert!(!split.miss(peer(0), WorkKind::Physics, NOW));
        assert!(split.miss(peer(0), WorkKind::Physics, NOW));
        let moves = split.replace(NOW);
        assert_eq!(moves.len(), 1, "nothing else moves: {moves:?}");
        let change = moves.iter().find(|change| change.kind == WorkKind::Physics).unwrap();
        assert_eq!((change.to, change.reason), (peer(1), MoveReason::Missed));
        let times: Vec<bool> = [500.0, 1500.0]
            .iter()
            .map(|at| split.is_able(&peer(0), WorkKind::Physics, TimeMs(*at)))
            .collect();
        assert_eq!(times, [false, true], "it comes into question again later");
    }

    #[test]
    fn who_leaves_or_declines_gets_nothing_and_the_last_one_gets_all() {
        let mut split = split(3);
        split.plan(NOW);
        split.leave(&peer(0));
        split.decline(&peer(1), WorkKind::Physics);
        split.plan(NOW);
        assert_eq!(split.assigned(WorkKind::Physics), Some(peer(2)));
        split.leave(&peer(2));
        split.plan(NOW);
        assert_eq!(split.assigned(WorkKind::Physics), None);
        assert_eq!(split.assigned(WorkKind::Ai), Some(peer(1)));
        assert_eq!(split.others(WorkKind::Ai, NOW), []);
    }

    #[test]
    fn the_reserve_does_what_nobody_else_can() {
        let mut split = split(2);
        split.join_reserve(peer(9), WorkKind::ALL);
        for kind in WorkKind::ALL {
            tried(&mut split, 0, kind, 9.0);
            tried(&mut split, 1, kind, 9.0);
            tried(&mut split, 9, kind, 1.0);
        }
        split.plan(NOW);
        assert!(LOADS.iter().all(|load| split.assigned(load.kind) != Some(peer(9))), "however good it is");
        assert_eq!(split.others(WorkKind::Physics, NOW).last(), Some(&peer(9)), "a copy may go to it");
        split.leave(&peer(0));
        split.decline(&peer(1), WorkKind::Physics);
        split.replace(NOW);
        assert_eq!(split.assigned(WorkKind::Physics), Some(peer(9)));
        assert_eq!(split.assigned(WorkKind::Ai), Some(peer(1)));
        split.join(peer(2), WorkKind::ALL);
        let moves = split.plan(NOW);
        let change = moves.iter().find(|change| change.kind == WorkKind::Physics).unwrap();
        assert_eq!((change.to, change.reason), (peer(2), MoveReason::Better));
        while !split.miss(peer(2), WorkKind::Physics, NOW) {}
        split.replace(NOW);
        assert_eq!(split.assigned(WorkKind::Physics), Some(peer(9)), "before one that misses deadlines");
    }

    #[test]
    fn what_was_learned_in_one_game_is_known_in_the_next() {
        let store = Arc::new(MemoryStore::default());
        let begin = || {
            let mut split = FunctionalSplit::new(LOADS.to_vec(), Box::new(Arc::clone(&store)));
            (0..2).for_each(|index| split.join(peer(index), WorkKind::ALL));
            split
        };
        let mut first = begin();
        assert!(!first.knows(&peer(1)));
        for load in LOADS {
            tried(&mut first, 0, load.kind, 9.0);
            tried(&mut first, 1, load.kind, 2.0);
        }
        let mut next = begin();
        assert!(next.knows(&peer(1)));
        next.plan(NOW);
        assert_eq!(next.assigned(WorkKind::Physics), Some(peer(1)));
    }
}
