//! Late tiles: a second copy elsewhere, the end game, and giving up.

use p2c2r_protocol::id::{NodeId, TaskId};

use super::{
    Command, Frame, Outbox,
    assign::Prospect,
    state::{Attempt, Peer, Tile},
};
use crate::{Scheduler, predict::OutcomeResult, time::TimeMs};

/// When nothing else is due, the frame looks again after this, ms.
const IDLE_LOOK_MS: f64 = 500.0;
/// Copies of one tile that are out at once, at most.
const MAX_COPIES: usize = 4;
/// A tile may be copied to a peer that failed on it unless it was offered so often already.
const MAX_SECOND_CHANCES: u32 = 12;
/// Such a copy fails at least with this probability.
const SECOND_CHANCE_RISK: f64 = 0.5;
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

/// A copy that is out.
#[derive(Debug, Clone, Copy)]
struct Chance {
    /// Expected time to its result, ms.
    left_ms: f64,
    /// Probability that there will be none.
    risk: f64,
}

/// A tile that is out, with its copies, the one first that is expected first.
#[derive(Debug)]
struct SlowTile {
    tile: usize,
    chances: Vec<Chance>,
    peers: Vec<NodeId>,
    all_late: bool,
}

impl SlowTile {
    fn new<'a>(
        tile: usize,
        attempts: impl Iterator<Item = &'a Attempt>,
        now: TimeMs,
        silent_share: f64,
    ) -> Self {
        let mut slow = Self { tile, chances: Vec::new(), peers: Vec::new(), all_late: true };
        for attempt in attempts {
            slow.chances
                .push(Chance { left_ms: left_ms(attempt, now), risk: attempt.risk_now(now, silent_share) });
            slow.peers.push(attempt.peer);
            slow.all_late &= attempt.late;
        }
        slow.chances.sort_by(|a, b| a.left_ms.total_cmp(&b.left_ms));
        slow
    }

    fn first_ms(&self) -> f64 {
        self.chances.first().map_or(0.0, |chance| chance.left_ms)
    }

    /// Time that a copy is expected to save, ms.
    fn gain_ms(&self, copy: Prospect) -> f64 {
        let place = self.chances.partition_point(|chance| chance.left_ms <= copy.total_ms);
        let (before, after) = self.chances.split_at(place);
        let copy_chance = Chance { left_ms: copy.total_ms, risk: copy.risk };
        let with = before.iter().chain([&copy_chance]).chain(after);
        expected_ms(self.chances.iter(), copy.alone_ms) - expected_ms(with, copy.alone_ms)
    }
}

/// Expected time to an attempt's result, ms; of a late one, at least that of rendering it.
fn left_ms(attempt: &Attempt, now: TimeMs) -> f64 {
    attempt.left_ms(now).max(if attempt.late { attempt.execution_ms } else { 0.0 })
}

/// Expected time to the first result, ms. If none comes, the tile is rendered anew after the last was expected.
fn expected_ms<'a>(chances: impl Iterator<Item = &'a Chance>, anew_ms: f64) -> f64 {
    let (mut sum, mut none_so_far, mut last_ms) = (0.0, 1.0, 0.0);
    for chance in chances {
        sum += none_so_far * (1.0 - chance.risk) * chance.left_ms;
        none_so_far *= chance.risk;
        last_ms = chance.left_ms;
    }
    sum + none_so_far * (last_ms + anew_ms)
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
            let at_work = self.attempts.get(&task).is_some_and(Attempt::is_at_work);
            let result = if at_work { OutcomeResult::GivenUp } else { OutcomeResult::Lost };
            self.end_attempt(task, result, scheduler);
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
            self.offer(tile, peer, extra_cost, scheduler, out);
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
        let slow = self.slow_tiles();
        let mut best: Option<Copy> = None;
        for slow in &slow {
            let tile = &self.tiles[slow.tile];
            for (id, peer) in &spare {
                let failed_there = tile.failed_at.contains(id);
                if slow.peers.contains(id) || (failed_there && tile.attempts >= MAX_SECOND_CHANCES) {
                    continue;
                }
                let mut prospect = self.prospect(slow.tile, peer, scheduler);
                if failed_there {
                    prospect.risk = prospect.risk.max(SECOND_CHANCE_RISK);
                }
                let risk = slow.chances.iter().map(|chance| chance.risk).product::<f64>();
                let in_vain = (1.0 - risk) * share_in_vain(slow.first_ms(), prospect);
                let gain_ms =
                    slow.gain_ms(prospect) - self.config.extra_price * in_vain * prospect.execution_ms;
                let least_ms =
                    self.config.min_gain_ms.max(prospect.execution_ms * self.config.min_gain_share);
                let worth_it = (slow.all_late && peer.held.is_empty()) || gain_ms >= least_ms;
                // A peer that hangs must not hold up the frame, however small the budget.
                let affordable = slow.all_late
                    || self.extra_cost + in_vain * tile.plan.cost
                        <= self.total_cost * self.config.max_extra_share;
                if worth_it && affordable && best.as_ref().is_none_or(|best| gain_ms > best.gain_ms) {
                    let extra_cost = in_vain * tile.plan.cost;
                    best = Some(Copy { tile: slow.tile, peer: **id, gain_ms, extra_cost });
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
            let timed = peers.into_iter().map(|(id, peer)| (time_ms(peer), id)).collect();
            peers = least(timed).into_iter().filter_map(|id| self.peers.get_key_value(id)).collect();
        }
        peers
    }

    /// Tiles that may be copied; of very many, those that take longest.
    fn slow_tiles(&self) -> Vec<SlowTile> {
        let first_ms = |tile: &Tile| {
            let left_ms = self.attempts_at(tile).map(|attempt| left_ms(attempt, self.now));
            left_ms.min_by(f64::total_cmp).unwrap_or(0.0)
        };
        let timed = self
            .tiles
            .iter()
            .enumerate()
            .filter(|(_, tile)| (1..MAX_COPIES).contains(&tile.out.len()))
            .map(|(index, tile)| (-first_ms(tile), index))
            .collect();
        let slow = least(timed).into_iter();
        slow.filter_map(|index| {
            let attempts = self.attempts_at(self.tiles.get(index)?);
            Some(SlowTile::new(index, attempts, self.now, self.config.silent_share))
        })
        .collect()
    }

    fn attempts_at<'a>(&'a self, tile: &'a Tile) -> impl Iterator<Item = &'a Attempt> {
        tile.out.iter().filter_map(|task| self.attempts.get(task))
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

/// A short list of the entries with the least numbers, least first.
fn least<T: Ord>(mut numbered: Vec<(f64, T)>) -> Vec<T> {
    let order = |a: &(f64, T), b: &(f64, T)| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1));
    if numbered.len() > SHORT_LIST {
        numbered.select_nth_unstable_by(SHORT_LIST, order);
        numbered.truncate(SHORT_LIST);
    }
    numbered.sort_unstable_by(order);
    numbered.into_iter().map(|(_, entry)| entry).collect()
}

/// Share of a copy that is rendered by the time at which it is withdrawn because the original is there. While it waits
/// for its turn it costs nothing.
fn share_in_vain(left_ms: f64, copy: Prospect) -> f64 {
    let wait_ms = copy.total_ms - copy.alone_ms;
    ((left_ms - wait_ms) / copy.execution_ms.max(1e-9)).clamp(0.0, 1.0)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    fn copy(total_ms: f64, alone_ms: f64, execution_ms: f64, risk: f64) -> Prospect {
        Prospect { total_ms, alone_ms, execution_ms, risk }
    }

    fn tile(chances: &[(f64, f64)]) -> SlowTile {
        let chances = chances.iter().map(|(left_ms, risk)| Chance { left_ms: *left_ms, risk: *risk });
        SlowTile { tile: 0, chances: chances.collect(), peers: Vec::new(), all_late: false }
    }

    #[test]
    fn a_copy_of_what_is_sure_to_be_there_first_saves_nothing() {
        assert_eq!(tile(&[(50.0, 0.0)]).gain_ms(copy(60.0, 40.0, 20.0, 0.0)), 0.0);
        assert_eq!(tile(&[(50.0, 0.5), (55.0, 0.0)]).gain_ms(copy(60.0, 40.0, 20.0, 0.0)), 0.0);
    }

    #[test]
    fn a_copy_of_what_fails_half_the_time_saves_half_of_the_second_attempt() {
        // Without: 50, or 50 + 40 after a failure. With: 50, or 60.
        assert_eq!(tile(&[(50.0, 0.5)]).gain_ms(copy(60.0, 40.0, 20.0, 0.0)), 15.0);
        // A copy that always fails is no help.
        assert!(tile(&[(50.0, 0.5)]).gain_ms(copy(60.0, 40.0, 20.0, 1.0)) <= 0.0);
        // What a faster peer saves of a sure but slow tile.
        assert_eq!(tile(&[(100.0, 0.0)]).gain_ms(copy(60.0, 40.0, 20.0, 0.0)), 40.0);
    }

    #[test]
    fn a_copy_that_waits_for_its_turn_costs_nothing_meanwhile() {
        assert_eq!(share_in_vain(50.0, copy(100.0, 40.0, 20.0, 0.0)), 0.0);
        assert_eq!(share_in_vain(50.0, copy(80.0, 40.0, 20.0, 0.0)), 0.5);
        assert_eq!(share_in_vain(50.0, copy(40.0, 40.0, 20.0, 0.0)), 1.0);
    }
}
