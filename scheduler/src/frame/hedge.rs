//! Late tiles: a second copy elsewhere, the end game, and giving up.

use p2c2r_protocol::id::{NodeId, TaskId};

use super::{Command, Frame, Outbox, state::Attempt};
use crate::{Scheduler, predict::OutcomeResult, time::TimeMs};

/// When nothing else is due, the frame looks again after this, ms.
const IDLE_LOOK_MS: f64 = 500.0;
/// No two looks are closer together than this, ms.
const MIN_LOOK_MS: f64 = 5.0;

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
        while let Some((tile, peer)) = self.best_copy(scheduler) {
            self.hedges += 1;
            self.extra_cost += self.tiles[tile].plan.cost;
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
            }
        }
    }

    /// The copy with the largest gain, if any is worth its while.
    fn best_copy(&self, scheduler: &Scheduler) -> Option<(usize, NodeId)> {
        let mut best: Option<(f64, usize, NodeId)> = None;
        for attempt in self.attempts.values().filter(|attempt| self.may_copy(attempt)) {
            for (id, peer) in &self.peers {
                // A copy goes to a peer that has nothing else to do, and only one that keeps its times.
                let idle = self.in_flight(*id) == 0 && self.has_room(*id);
                let fit =
                    peer.misses < self.config.max_misses && !self.tiles[attempt.tile].failed_at.contains(id);
                if !idle || !fit || *id == attempt.peer {
                    continue;
                }
                let left_ms =
                    attempt.left_ms(self.now).max(if attempt.late { attempt.execution_ms } else { 0.0 });
                let copy_ms = self.time_to_finish_ms(attempt.tile, *id, peer, scheduler);
                let worth_it = attempt.late
                    || (left_ms >= self.config.min_end_game_ms
                        && copy_ms <= left_ms * self.config.end_game_gain);
                let gain = left_ms - copy_ms;
                if worth_it && best.is_none_or(|(best_gain, _, _)| gain > best_gain) {
                    best = Some((gain, attempt.tile, *id));
                }
            }
        }
        best.map(|(_, tile, peer)| (tile, peer))
    }

    /// One copy at a time, within the budget; the first late tile may always be copied.
    fn may_copy(&self, attempt: &Attempt) -> bool {
        let copies = self.attempts.values().filter(|other| other.tile == attempt.tile).count();
        let budget = self.total_cost * self.config.max_extra_share;
        let affordable = self.extra_cost + self.tiles[attempt.tile].plan.cost <= budget;
        // A peer that hangs must not hold up the frame, however small the budget.
        copies == 1 && (affordable || attempt.late)
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
