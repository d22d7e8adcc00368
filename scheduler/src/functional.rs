//! Functional split: which peer does which subsystem of a game's frame.
//!
//! Every subsystem has one peer, and keeps it while that serves. What is expected of a peer at a kind of work comes from
//! a model of its own for each (peer, kind): whoever is good at physics gets physics. A peer that missed a deadline twice
//! in a row, or is gone, loses the subsystem at once. The owner's own machine is a reserve: it does what nobody else can.

use std::collections::{BTreeMap, BTreeSet};

use p2c2r_protocol::id::{NodeId, WorkKind};

use crate::{
    Outcome, OutcomeResult, PeerView, TaskFeatures,
    history::MemoryStore,
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
    /// Nobody knows whether it can: it is tried before anything depends on it.
    Untried,
    /// Only if there is nobody at all.
    TimedOut,
}

struct Candidate {
    is_reserve: bool,
    kinds: BTreeSet<WorkKind>,
    /// Mean of what its answers took beyond the work itself, ms: a way that has become long is long for all kinds.
    overhead_ms: Option<f64>,
}

/// Who does what.
pub struct FunctionalSplit {
    subsystems: Vec<SubsystemLoad>,
    peers: BTreeMap<NodeId, Candidate>,
    models: EmaPredictor,
    assigned: BTreeMap<WorkKind, NodeId>,
    misses: BTreeMap<WorkKind, u32>,
    /// No such work for a peer until then, and how long that was, ms. Leaving and coming back does not end it.
    timed_out: BTreeMap<(NodeId, WorkKind), (f64, f64)>,
}

impl FunctionalSplit {
    /// Nobody is there yet.
    pub fn new(subsystems: Vec<SubsystemLoad>) -> Self {
        Self {
            subsystems,
            peers: BTreeMap::new(),
            models: EmaPredictor::new(Box::new(MemoryStore::default())),
            assigned: BTreeMap::new(),
            misses: BTreeMap::new(),
            timed_out: BTreeMap::new(),
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
        self.peers.insert(peer, Candidate { is_reserve, kinds, overhead_ms: None });
    }

    /// Whether it is known what a peer is like at every kind of such work that it does.
    pub fn knows(&self, peer: &NodeId) -> bool {
        let mut loads = self.subsystems.iter().map(|load| load.kind);
        let candidate = self.peers.get(peer);
        candidate
            .is_some_and(|known| loads.all(|kind| !known.kinds.contains(&kind) || self.has_tried(peer, kind)))
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

    /// Whoever could do it besides, the best first, then the reserve, and last those that were never tried.
    pub fn others(&self, kind: WorkKind, now: TimeMs) -> Vec<NodeId> {
        let Some(load) = self.subsystems.iter().find(|load| load.kind == kind) else { return Vec::new() };
        let own = self.assigned(kind);
        let mut others: Vec<(Option<Standing>, f64, NodeId)> = self
            .able(kind, Standing::Untried, now)
            .filter(|peer| Some(*peer) != own)
            .map(|peer| (self.standing(&peer, kind, now), self.penalty(load, peer, &self.assigned), peer))
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
        let before = self.timed_out.get(&(peer, kind)).map_or(0.0, |(_, length)| *length);
        let length = (before * 2.0).clamp(TIME_OUT_MS, MAX_TIME_OUT_MS);
        // What is long over is forgotten: nobody fills this by coming under ever new names.
        self.timed_out.retain(|_, (until, _)| *until + MAX_TIME_OUT_MS > now.0);
        self.timed_out.insert((peer, kind), (now.0 + length, length));
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
                Some(from) => match self.standing(&from, *kind, now) {
                    Some(Standing::In | Standing::Reserve) => MoveReason::Better,
                    _ => MoveReason::Missed,
                },
            };
            Some(Move { kind: *kind, from, to: *to, reason })
        };
        choice.iter().filter_map(moved).collect()
    }

    fn has_tried(&self, peer: &NodeId, kind: WorkKind) -> bool {
        self.models.speed(peer, kind).is_some_and(|speed| speed.outcomes > 0)
    }

    /// How a peer that is there and does such work stands.
    fn standing(&self, peer: &NodeId, kind: WorkKind, now: TimeMs) -> Option<Standing> {
        let candidate = self.peers.get(peer).filter(|candidate| candidate.kinds.contains(&kind))?;
        let is_out = self.timed_out.get(&(*peer, kind)).is_some_and(|(until, _)| *until > now.0);
        Some(if is_out {
            Standing::TimedOut
        } else if candidate.is_reserve {
            Standing::Reserve
        } else if self.has_tried(peer, kind) {
            Standing::In
        } else {
            Standing::Untried
        })
    }

    /// Those that may do such work now: whoever stands no worse than that, and if there is nobody, the best there are.
    fn able(&self, kind: WorkKind, least: Standing, now: TimeMs) -> impl Iterator<Item = NodeId> {
        let standing = move |peer: &NodeId| self.standing(peer, kind, now);
        let best = self.peers.keys().filter_map(standing).min().unwrap_or(least);
        let willing =
            self.peers.keys().filter(move |peer| standing(peer).is_some_and(|it| it <= least.max(best)));
        willing.copied()
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
mod tests;
