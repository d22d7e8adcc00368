//! Late tiles: a second copy elsewhere, the end game, and giving up.

use p2c2r_protocol::id::{NodeId, TaskId};

use super::{
    Command, Frame, Outbox,
    assign::Prospect,
    state::{Attempt, Peer},
};
use crate::{Scheduler, predict::OutcomeResult, time::TimeMs};

/// When nothing else is due, the frame looks again after this, ms.
const IDLE_LOOK_MS: f64 = 500.0;
/// Copies of one tile that are out at once, at most.
const MAX_COPIES: usize = 4;
/// No two looks are closer together than this, ms.
const MIN_LOOK_MS: f64 = 5.0;
/// Of more idle peers, or slow tiles, than this only the most promising are looked at.
const SHORT_LIST: usize = 32;

/// A copy that may be made.
#[derive(Debug)]
struct Copy {
    tile: usize,
    peer: NodeId,
    gain_ms: f64,
    /// Cost that is expected to be rendered for nothing.
    extra_cost: f64,
}

impl Frame {
    /// Offers that were never answered and tiles that are hopelessly late are their peers' failures.
    pub(super) fn expire(&mut self, scheduler: &mut Scheduler, out: &mut Outbox) {
        let (now, limit_ms) = (self.now, self.config.answer_limit_ms);
        let over = |attempt: &Attempt| {
            let unanswered =
                !attempt.accepted && now - attempt.offered_at > limit_ms && attempt.give_up_at.is_some();
            unanswered || attempt.give_up_at.is_some_and(|at| at <= now)
        };
        let expired: Vec<(TaskId, NodeId)> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| over(attempt))
            .map(|(task, attempt)| (*task, attempt.peer))
            .collect();
        for (task, peer) in expired {
            if let Some(state) = self.peers.get_mut(&peer) {
                state.misses += 1;
            }
            self.end_attempt(task, OutcomeResult::GivenUp, scheduler);
            out.push(Command::Cancel { task, peer });
        }
    }

    /// Copies late tiles, and, when nothing waits any more, those that an idle peer would finish much earlier.
    pub(super) fn hedge(&mut self, scheduler: &Scheduler, out: &mut Outbox) {
        self.note_late();
        if !self.orphans.is_empty()
            || self.peers.values().any(|peer| !peer.planned.is_empty() && peer.view.ready)
        {
            return;
        }
        while let Some(Copy { tile, peer, extra_cost, .. }) = self.best_copy(scheduler) {
            self.hedges += 1;
            self.extra_cost += extra_cost;
            self.offer(tile, peer, scheduler, out);
        }
    }

    /// Counts a peer's late tiles, each once.
    fn note_late(&mut self) {
        for attempt in
            self.attempts.values_mut().filter(|attempt| !attempt.late && attempt.late_at <= self.now)
        {
            attempt.late = true;
            if let Some(peer) = self.peers.get_mut(&attempt.peer) {
                peer.misses += 1;
                // What was planned for it waits for nobody in particular now.
                self.orphans.extend(peer.planned.drain(..));
            }
        }
    }

    /// The copy with the largest gain, if any is worth its while.
    fn best_copy(&self, scheduler: &Scheduler) -> Option<Copy> {
        let spare = self.spare_peers(scheduler);
        if spare.is_empty() {
            return None;
        }
        let mut best: Option<Copy> = None;
        for (attempt, left_ms) in self.slow_attempts() {
            let risk = attempt.risk_now(self.now, self.config.silent_share);
            for (id, peer) in &spare {
                if self.tiles[attempt.tile].failed_at.contains(id) || **id == attempt.peer {
                    continue;
                }
                let prospect = self.prospect(attempt.tile, peer, scheduler);
                let gain_ms = gain_ms(left_ms, risk, prospect);
                let worth_it = (attempt.late && peer.held.is_empty())
                    || gain_ms
                        >= self.config.min_gain_ms.max(attempt.execution_ms * self.config.min_gain_share);
                if !worth_it || best.as_ref().is_some_and(|best| gain_ms <= best.gain_ms) {
                    continue;
                }
                let cost = self.tiles[attempt.tile].plan.cost;
                let extra_cost = cost * (1.0 - risk) * share_in_vain(left_ms, prospect);
                // A peer that hangs must not hold up the frame, however small the budget.
                let budget = self.total_cost * self.config.max_extra_share;
                if attempt.late || self.extra_cost + extra_cost <= budget {
                    best = Some(Copy { tile: attempt.tile, peer: **id, gain_ms, extra_cost });
                }
            }
        }
        best
    }

    /// Peers that have nothing else to do and keep their times; of very many, those that are soonest done with the tile
    /// that takes longest.
    fn spare_peers(&self, scheduler: &Scheduler) -> Vec<(&NodeId, &Peer)> {
        let idle = |(_, peer): &(&NodeId, &Peer)| {
            peer.misses < self.config.max_misses && self.has_room_for_more(peer)
        };
        let mut peers: Vec<(&NodeId, &Peer)> = self.peers.iter().filter(idle).collect();
        if peers.len() > SHORT_LIST {
            let Some(longest) =
                self.attempts.values().max_by(|a, b| a.execution_ms.total_cmp(&b.execution_ms))
            else {
                return Vec::new();
            };
            let time_ms = |peer: &Peer| self.time_to_finish_ms(longest.tile, peer, scheduler);
            let mut timed: Vec<(f64, (&NodeId, &Peer))> =
                peers.into_iter().map(|(id, peer)| (time_ms(peer), (id, peer))).collect();
            timed.sort_by(|a, b| a.0.total_cmp(&b.0));
            peers = timed.into_iter().take(SHORT_LIST).map(|(_, entry)| entry).collect();
        }
        peers
    }

    /// Attempts that may be copied and are not as good as done, with the time that they still take, ms; of very many,
    /// those that take longest.
    fn slow_attempts(&self) -> Vec<(&Attempt, f64)> {
        let mut slow: Vec<(&Attempt, f64)> = self
            .attempts
            .values()
            .map(|attempt| {
                let late_ms = if attempt.late { attempt.execution_ms } else { 0.0 };
                (attempt, attempt.left_ms(self.now).max(late_ms))
            })
            .filter(|(attempt, _)| self.may_copy(attempt))
            .collect();
        if slow.len() > SHORT_LIST {
            slow.sort_by(|a, b| b.1.total_cmp(&a.1));
            slow.truncate(SHORT_LIST);
        }
        slow
    }

    /// One copy at a time; and again when all are late.
    fn may_copy(&self, attempt: &Attempt) -> bool {
        let copies = self.tiles[attempt.tile].out.iter().filter_map(|task| self.attempts.get(task));
        let (copies, all_late) =
            copies.fold((0, true), |(copies, all_late), other| (copies + 1, all_late && other.late));
        copies == 1 || (all_late && copies < MAX_COPIES)
    }

    /// When something may become due.
    pub(super) fn next_look(&self) -> Option<TimeMs> {
        let mut next = self.now + IDLE_LOOK_MS;
        let mut consider = |at: TimeMs| {
            if at > self.now && at < next {
                next = at;
            }
        };
        for attempt in self.attempts.values() {
            consider(attempt.late_at);
            if let Some(at) = attempt.give_up_at {
                consider(at);
                if !attempt.accepted {
                    consider(attempt.offered_at + self.config.answer_limit_ms + 1.0);
                }
            }
        }
        for until in self.peers.values().filter_map(|peer| peer.busy_until) {
            consider(until);
        }
        (!self.ended).then(|| if next - self.now < MIN_LOOK_MS { self.now + MIN_LOOK_MS } else { next })
    }
}

/// Time that a copy is expected to save of a tile that takes so long more and fails with this risk, ms. A failure is
/// taken to be seen when the result was expected, and the tile to be rendered anew where the copy would be.
fn gain_ms(left_ms: f64, risk: f64, copy: Prospect) -> f64 {
    let Prospect { total_ms: copy_ms, alone_ms: anew_ms, risk: copy_risk, .. } = copy;
    let without = left_ms + risk * anew_ms;
    let succeeds = copy_risk * left_ms + (1.0 - copy_risk) * left_ms.min(copy_ms);
    let fails = (1.0 - copy_risk) * copy_ms + copy_risk * (left_ms.max(copy_ms) + anew_ms);
    without - (1.0 - risk) * succeeds - risk * fails
}

/// Share of a copy that is rendered by the time at which it is withdrawn because the original is there. While it waits
/// for its turn it costs nothing.
fn share_in_vain(left_ms: f64, copy: Prospect) -> f64 {
    let wait_ms = copy.total_ms - copy.alone_ms;
    ((left_ms - wait_ms) / copy.execution_ms.max(1e-9)).clamp(0.0, 1.0)
}
