//! Offers: whose turn, which tile.

use std::cell::OnceCell;

use p2c2r_protocol::id::NodeId;

use super::{
    Command, Frame, Outbox,
    state::{Attempt, Pace, Peer},
};
use crate::{Scheduler, place::PlannedTile, predict::TaskFeatures, time::TimeMs};

/// A peer that fails more often than this is taken to fail this often.
const MAX_RISK: f64 = 0.9;
/// With fewer outcomes, what is expected of a peer is mostly its own word.
const KNOWN_OUTCOMES: u64 = 20;

/// What is expected of a tile at a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prospect {
    /// Time from now to the result, ms.
    pub total_ms: f64,
    /// The same once the peer is done with what it holds, ms.
    pub alone_ms: f64,
    /// Of it, rendering, ms.
    pub execution_ms: f64,
    /// Probability that there will be none.
    pub risk: f64,
}

impl Frame {
    /// Gives every peer with room its next tile, until no more can be given.
    pub(super) fn assign(&mut self, scheduler: &Scheduler, out: &mut Outbox) {
        self.place_orphans(scheduler, out);
        let peers: Vec<NodeId> =
            self.peers.iter().filter(|(_, state)| self.has_room(state)).map(|(peer, _)| *peer).collect();
        // One tile a round, so that nobody takes what others had room for.
        loop {
            let mut offered = false;
            let mut busiest = OnceCell::new();
            for peer in &peers {
                if self.peers.get(peer).is_some_and(|state| self.has_room(state))
                    && let Some(tile) = self.next_tile_for(*peer, &busiest, scheduler)
                {
                    self.offer(tile, *peer, 0.0, scheduler, out);
                    offered = true;
                    busiest = OnceCell::new();
                }
            }
            if !offered {
                return;
            }
        }
    }

    /// Tiles that failed, or were nobody's, go where they are expected to be done first.
    fn place_orphans(&mut self, scheduler: &Scheduler, out: &mut Outbox) {
        if self.orphans.is_empty() || !self.peers.values().any(|peer| self.has_room_for_more(peer)) {
            return;
        }
        for _ in 0..self.orphans.len() {
            let Some(tile) = self.orphans.pop_front() else { return };
            if !self.is_wanted(tile) {
                self.orphans.push_back(tile);
                continue;
            }
            for (tile, peer) in self.shared_out(tile, scheduler) {
                match peer {
                    Some(peer) => self.offer(tile, peer, 0.0, scheduler, out),
                    None => self.orphans.push_back(tile),
                }
            }
        }
    }

    /// The peer with room that would finish the tile first: not one that failed on it, unless there is no other.
    pub(super) fn best_peer(&self, tile: usize, scheduler: &Scheduler) -> Option<NodeId> {
        let mut best: Option<(bool, f64, NodeId)> = None;
        for (id, peer) in &self.peers {
            if !self.has_room_for_more(peer) {
                continue;
            }
            let failed = self.tiles[tile].failed_at.contains(id);
            let time_ms = self.time_to_finish_ms(tile, peer, scheduler);
            let better = best.is_none_or(|(best_failed, best_ms, _)| {
                (failed, time_ms).partial_cmp(&(best_failed, best_ms)) == Some(std::cmp::Ordering::Less)
            });
            if better {
                best = Some((failed, time_ms, *id));
            }
        }
        best.map(|(_, _, peer)| peer)
    }

    pub(super) fn has_room(&self, peer: &Peer) -> bool {
        self.has_room_for(peer, self.config.max_in_flight_per_peer)
    }

    /// Whether it may be given what others failed on, or a copy: that may wait behind its own tiles.
    pub(super) fn has_room_for_more(&self, peer: &Peer) -> bool {
        // Nothing extra for one that failed already.
        let copies = if peer.faults == 0 { self.config.max_waiting_copies } else { 0 };
        self.has_room_for(peer, self.config.max_in_flight_per_peer + copies)
    }

    fn has_room_for(&self, peer: &Peer, in_flight: u32) -> bool {
        let limit = in_flight.min(peer.view.credit) as usize;
        peer.held.len() < limit && peer.is_usable(self.now)
    }

    /// The peer's own next tile, else one from the peer that has most left to do, if that makes it earlier. Who that is
    /// is remembered in `busiest` for the next peer, until something is offered.
    fn next_tile_for(
        &mut self,
        peer: NodeId,
        busiest: &OnceCell<Option<(NodeId, f64)>>,
        scheduler: &Scheduler,
    ) -> Option<usize> {
        if let Some(first) = self.peers.get(&peer).and_then(|state| state.planned.front().copied()) {
            if !self.is_wanted(first) {
                return None;
            }
            self.peers.get_mut(&peer)?.planned.pop_front();
            return Some(first);
        }
        let (victim, left_ms) = (*busiest.get_or_init(|| self.busiest(scheduler)))?;
        let planned = &self.peers.get(&victim)?.planned;
        let last = planned.iter().rposition(|tile| self.is_wanted(*tile))?;
        let tile = *planned.get(last)?;
        let own = self.peers.get(&peer)?;
        if self.tiles[tile].failed_at.contains(&peer)
            || self.time_to_finish_ms(tile, own, scheduler) >= left_ms
        {
            return None;
        }
        self.peers.get_mut(&victim)?.planned.remove(last)
    }

    /// Whether the tile's frame may be begun.
    fn is_wanted(&self, tile: usize) -> bool {
        self.tiles.get(tile).is_some_and(|tile| tile.plan.frame < self.frames_below)
    }

    /// The peer that has most left to do, and how long that takes it, ms.
    fn busiest(&self, scheduler: &Scheduler) -> Option<(NodeId, f64)> {
        self.peers
            .iter()
            .filter(|(_, state)| !state.planned.is_empty())
            .map(|(id, state)| (*id, self.backlog_ms(state, scheduler)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Time until the peer is done with all that is planned for it, ms. One that cannot start yet has for ever.
    fn backlog_ms(&self, peer: &Peer, scheduler: &Scheduler) -> f64 {
        if !peer.is_usable(self.now) {
            return f64::INFINITY;
        }
        let planned: f64 = peer.planned.iter().map(|tile| self.execution_ms(*tile, peer, scheduler)).sum();
        self.held_ms(peer) + planned
    }

    /// Time until the peer is done with what it holds, ms.
    fn held_ms(&self, peer: &Peer) -> f64 {
        peer.held
            .iter()
            .filter_map(|task| self.attempts.get(task))
            .map(|attempt| attempt.left_ms(self.now))
            .fold(0.0, f64::max)
    }

    fn execution_ms(&self, tile: usize, peer: &Peer, scheduler: &Scheduler) -> f64 {
        self.tiles[tile].plan.cost * self.pace(peer, scheduler).ms_per_cost
    }

    /// What is known of a tile, offered now to a peer that holds so many and will be done with them then.
    fn features(&self, tile: usize, in_flight: u32, backlog_ms: f64) -> TaskFeatures {
        let plan = &self.tiles[tile].plan;
        let pixels = plan.rect.pixels() as f64;
        let bytes = pixels * f64::from(self.work.bytes_per_pixel);
        TaskFeatures { cost: plan.cost, pixels, bytes, in_flight, backlog_ms, at: self.now }
    }

    /// Expected time from now to the result, risk included, ms.
    pub(super) fn time_to_finish_ms(&self, tile: usize, peer: &Peer, scheduler: &Scheduler) -> f64 {
        let Prospect { total_ms, risk, .. } = self.prospect(tile, peer, scheduler);
        total_ms / (1.0 - risk)
    }

    /// What would come of a tile at a peer, by its pace in this frame: exact predictions are for what is offered, these
    /// are for choosing among very many.
    pub(super) fn prospect(&self, tile: usize, peer: &Peer, scheduler: &Scheduler) -> Prospect {
        let pace = self.pace(peer, scheduler);
        let execution_ms = self.tiles[tile].plan.cost * pace.ms_per_cost;
        let alone_ms = pace.overhead_ms + execution_ms;
        let wait_ms = pace.wait_ms.max(self.held_ms(peer) - pace.overhead_ms);
        Prospect { total_ms: wait_ms + alone_ms, alone_ms, execution_ms, risk: pace.risk }
    }

    fn pace(&self, peer: &Peer, scheduler: &Scheduler) -> Pace {
        *peer.pace.get_or_init(|| {
            let tiles = self.tiles.len().max(1) as f64;
            let pixels = self.work.size.pixels() as f64 / tiles;
            let features = TaskFeatures {
                cost: (self.total_cost / tiles).max(1.0),
                pixels,
                bytes: pixels * f64::from(self.work.bytes_per_pixel),
                in_flight: 0,
                backlog_ms: 0.0,
                at: self.now,
            };
            let predicted = scheduler.predict(&peer.view, self.work.kind, &features);
            Pace {
                ms_per_cost: predicted.execution_ms / features.cost,
                overhead_ms: predicted.overhead_ms,
                wait_ms: predicted.wait_ms,
                risk: predicted.failure_risk.clamp(0.0, MAX_RISK),
            }
        })
    }

    /// Offers a tile to a peer; of a copy, so much of the cost may be rendered for nothing.
    pub(super) fn offer(
        &mut self,
        tile: usize,
        peer: NodeId,
        extra_cost: f64,
        scheduler: &Scheduler,
        out: &mut Outbox,
    ) {
        let Some(state) = self.peers.get(&peer) else { return };
        let before_ms = self.held_ms(state);
        let features = self.features(tile, state.held.len() as u32, before_ms);
        let predicted = scheduler.predict(&state.view, self.work.kind, &features);
        let expected_ms = predicted.total_ms();
        let late_factor =
            (predicted.p95_total_factor * self.config.late_factor).min(self.config.max_late_factor);
        let late_ms = (expected_ms * late_factor).max(self.config.min_late_ms);
        let task = self.next_task;
        self.next_task.0 += 1;
        let give_up_at: Option<TimeMs> =
            (!state.view.is_self).then(|| self.now + late_ms * self.config.give_up_factor);
        self.attempts.insert(
            task,
            Attempt {
                tile,
                peer,
                view: state.view,
                features,
                offered_at: self.now,
                begun_at: state.held.is_empty().then_some(self.now),
                due_at: self.now + expected_ms,
                expected_at: self.now + expected_ms,
                late_at: self.now + late_ms,
                give_up_at,
                execution_ms: predicted.execution_ms,
                risk: predicted.failure_risk.clamp(0.0, MAX_RISK),
                spread: predicted.spread,
                on_its_word: predicted.outcomes < KNOWN_OUTCOMES,
                extra_cost,
                accepted: false,
                fraction: 0.0,
                patient_at: 0.0,
                late: false,
            },
        );
        if let Some(state) = self.peers.get_mut(&peer) {
            state.held.push(task);
        }
        self.tiles[tile].out.push(task);
        self.tiles[tile].attempts += 1;
        let PlannedTile { frame, rect, .. } = self.tiles[tile].plan;
        out.push(Command::Offer { task, peer, tile, frame, rect, predicted });
    }
}
