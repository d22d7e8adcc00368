//! The life of a frame, without a clock, a socket or a channel: events in, commands out.
//!
//! Every tile is accepted once, unless its renderer turns out to be a forger: then it is taken back. A tile that fails is offered again at once; one that is late gets a second
//! copy elsewhere, and the first valid result wins. The frame ends when every tile is accepted, when its deadline is
//! reached, or when nobody is left to render it; then it says which pixels are missing.

mod assign;
mod command;
mod config;
mod event;
mod hedge;
mod retry;
mod state;
mod summary;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2c2r_protocol::id::{NodeId, TaskId};

use self::state::{Attempt, Peer, Tile, TileState};
pub use self::{
    command::{Command, DistrustReason, FrameEnd, Outbox},
    config::FrameConfig,
    event::Event,
    summary::{FrameProgress, FrameSummary, PeerSummary, TileSummary},
};
use crate::{
    Scheduler,
    peer::PeerView,
    place::{FramePlan, PlannedTile},
    predict::{CancelledFate, OutcomeResult},
    time::TimeMs,
    work::FrameWork,
};

/// A peer that is slow is waited for while its tile gets on by this share.
const PATIENCE_STEP: f64 = 0.05;
/// The pause of a peer that is busy again and again doubles so often.
const MAX_DOUBLINGS: u32 = 12;

/// A frame under way.
#[derive(Debug)]
pub struct Frame {
    config: FrameConfig,
    work: FrameWork,
    tiles: Vec<Tile>,
    peers: BTreeMap<NodeId, Peer>,
    attempts: BTreeMap<TaskId, Attempt>,
    /// Tiles that wait for a peer, whoever it is; failed ones in front.
    orphans: VecDeque<usize>,
    next_task: TaskId,
    /// Of a sequence, frames from here on wait.
    frames_below: u32,
    tiles_done: usize,
    total_cost: f64,
    done_cost: f64,
    /// Cost of the copies that were made of late tiles.
    extra_cost: f64,
    started: Option<TimeMs>,
    now: TimeMs,
    ended: bool,
    rejected: u32,
    invalid: u32,
    hedges: u32,
    failures: u32,
    visible_failures: u32,
}

impl Frame {
    /// A frame that is planned and not yet started. Its tasks are named from `first_task` on.
    pub fn new(
        work: FrameWork,
        plan: FramePlan,
        peers: &[PeerView],
        first_task: TaskId,
        config: FrameConfig,
    ) -> Self {
        let mut peers: BTreeMap<NodeId, Peer> =
            peers.iter().map(|view| (view.peer, Peer::new(*view))).collect();
        let mut orphans = VecDeque::new();
        let tiles: Vec<Tile> = plan.tiles.into_iter().map(Tile::new).collect();
        for (index, tile) in tiles.iter().enumerate() {
            match tile.plan.primary.and_then(|primary| peers.get_mut(&primary)) {
                Some(peer) => peer.planned.push_back(index),
                None => orphans.push_back(index),
            }
        }
        Self {
            config,
            work,
            total_cost: tiles.iter().map(|tile| tile.plan.cost).sum(),
            tiles,
            peers,
            attempts: BTreeMap::new(),
            orphans,
            next_task: first_task,
            frames_below: u32::MAX,
            tiles_done: 0,
            done_cost: 0.0,
            extra_cost: 0.0,
            started: None,
            now: TimeMs(0.0),
            ended: false,
            rejected: 0,
            invalid: 0,
            hedges: 0,
            failures: 0,
            visible_failures: 0,
        }
    }

    /// Reacts to an event. Events about tasks that are not out any more change nothing.
    pub fn handle(&mut self, now: TimeMs, event: Event, scheduler: &mut Scheduler, out: &mut Outbox) {
        self.now = now;
        if self.ended {
            return;
        }
        match event {
            Event::Start => self.started = Some(now),
            Event::PeerReady(view) => self.peer_ready(view),
            Event::PeerLost(peer) => self.peer_lost(peer, scheduler),
            Event::Accepted { task } => self.accepted(task),
            Event::Progress { task, fraction } => self.progressed(task, fraction),
            Event::Rejected { task, retry_after_ms, fault } => {
                self.rejected(task, retry_after_ms, fault, scheduler);
            }
            Event::Delivered { task, queue_ms, execution_ms } => {
                self.delivered(task, queue_ms, execution_ms, scheduler, out);
            }
            Event::Invalid { task } => self.invalid(task, scheduler, out),
            Event::FramesWanted { below } => self.frames_below = below,
            Event::Cancelled { .. } | Event::Wake => {}
            Event::Deadline => return self.end_partial(out),
            Event::Abort => return self.end(FrameEnd::Aborted, out),
        }
        self.go_on(scheduler, out);
    }

    /// What follows from every event: the end, or new offers and the next time to look.
    fn go_on(&mut self, scheduler: &mut Scheduler, out: &mut Outbox) {
        if self.started.is_none() {
            return;
        }
        if self.tiles_done == self.tiles.len() {
            return self.end(FrameEnd::Complete, out);
        }
        if self.peers.values().all(|peer| peer.lost || peer.excluded) {
            return self.end_partial(out);
        }
        self.expire(scheduler, out);
        self.assign(scheduler, out);
        self.hedge(scheduler, out);
        if let Some(at) = self.next_look() {
            out.push(Command::WakeAt(at));
        }
    }

    fn end_partial(&mut self, out: &mut Outbox) {
        let missing: Vec<_> =
            self.tiles.iter().filter(|tile| !tile.is_done()).map(|tile| tile.plan.rect).collect();
        let end = if missing.is_empty() { FrameEnd::Complete } else { FrameEnd::Partial { missing } };
        self.end(end, out);
    }

    fn end(&mut self, end: FrameEnd, out: &mut Outbox) {
        self.ended = true;
        for (task, attempt) in std::mem::take(&mut self.attempts) {
            out.push(Command::Cancel { task, peer: attempt.peer });
        }
        out.push(Command::Done(end));
    }

    /// Whether it has ended.
    pub fn is_done(&self) -> bool {
        self.ended
    }

    /// The name of the next task; names are never used twice, so the next frame goes on from here.
    pub fn next_task(&self) -> TaskId {
        self.next_task
    }

    // ---- peers

    fn peer_ready(&mut self, view: PeerView) {
        match self.peers.get_mut(&view.peer) {
            Some(peer) if peer.excluded => {}
            Some(peer) => {
                if std::mem::take(&mut peer.lost) && !std::mem::replace(&mut peer.forgiven, true) {
                    // What it owed went with it. It is late once more at most before others' tiles go elsewhere.
                    peer.misses = peer.misses.min(self.config.max_misses.saturating_sub(1));
                    peer.busy_until = None;
                }
                peer.view = PeerView { ready: true, ..view };
                peer.pace.take();
            }
            None => {
                self.peers.insert(view.peer, Peer::new(PeerView { ready: true, ..view }));
            }
        }
    }

    fn peer_lost(&mut self, peer: NodeId, scheduler: &mut Scheduler) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.lost = true;
        state.view.ready = false;
        let planned: Vec<usize> = state.planned.drain(..).collect();
        self.orphans.extend(planned);
        for task in self.held_by(peer) {
            self.fail(task, scheduler);
        }
    }

    fn exclude(&mut self, peer: NodeId) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.excluded = true;
            let planned: Vec<usize> = state.planned.drain(..).collect();
            self.orphans.extend(planned);
        }
    }

    fn held_by(&self, peer: NodeId) -> Vec<TaskId> {
        self.peers.get(&peer).map_or_else(Vec::new, |state| state.held.clone())
    }

    /// Takes a task off all lists.
    fn take(&mut self, task: TaskId) -> Option<Attempt> {
        let attempt = self.attempts.remove(&task)?;
        if let Some(peer) = self.peers.get_mut(&attempt.peer) {
            peer.held.retain(|held| *held != task);
            if let Some(next) = peer.held.first().and_then(|next| self.attempts.get_mut(next)) {
                next.begin(self.now);
            }
        }
        self.tiles[attempt.tile].out.retain(|out| *out != task);
        Some(attempt)
    }

    // ---- tasks

    fn accepted(&mut self, task: TaskId) {
        let patience = self.config.min_patience_ms;
        if let Some(attempt) = self.attempts.get_mut(&task) {
            attempt.accepted = true;
            attempt.wait_until(attempt.offered_at + patience);
        }
    }

    fn progressed(&mut self, task: TaskId, fraction: f32) {
        if let Some(attempt) = self.attempts.get_mut(&task) {
            attempt.accepted = true;
            attempt.progress(self.now, f64::from(fraction));
            // Patience is bought with progress, a step at a time: a peer that only says so runs out of it.
            let step = if attempt.patient_at > 0.0 { PATIENCE_STEP } else { f64::MIN_POSITIVE };
            if attempt.fraction >= attempt.patient_at + step {
                attempt.patient_at = attempt.fraction;
                let left_ms = attempt.left_ms(self.now) * self.config.give_up_factor;
                attempt.wait_until(self.now + left_ms.max(self.config.min_patience_ms));
            }
        }
    }

    fn rejected(&mut self, task: TaskId, retry_after_ms: u32, fault: bool, scheduler: &mut Scheduler) {
        let Some(attempt) = self.attempts.get(&task) else { return };
        let peer = attempt.peer;
        self.rejected += 1;
        if fault {
            self.fail(task, scheduler);
            let faults = self.peers.get_mut(&peer).map_or(0, |state| {
                state.faults += 1;
                state.faults
            });
            if faults >= self.config.max_faults {
                self.exclude(peer);
            }
            return;
        }
        // Being busy is no failure: nothing is learned, the tile is as if it had not been offered, and the peer is left
        // alone, each time for longer.
        let (tile, extra_cost) = (attempt.tile, attempt.extra_cost);
        self.tiles[tile].attempts = self.tiles[tile].attempts.saturating_sub(1);
        self.extra_cost -= extra_cost;
        if let Some(state) = self.peers.get_mut(&peer) {
            let pause_ms = self.config.min_backoff_ms * f64::from(1_u32 << state.refusals.min(MAX_DOUBLINGS));
            let pause_ms = pause_ms.max(f64::from(retry_after_ms)).min(self.config.max_backoff_ms);
            state.refusals += 1;
            state.busy_until = Some(self.now + pause_ms);
        }
        self.withdraw(task);
    }

    fn delivered(
        &mut self,
        task: TaskId,
        queue_ms: f64,
        execution_ms: f64,
        scheduler: &mut Scheduler,
        out: &mut Outbox,
    ) {
        let Some(attempt) = self.take(task) else { return };
        scheduler.observe(&attempt.success(&self.work, self.now, queue_ms, execution_ms));
        if let Some(peer) = self.peers.get_mut(&attempt.peer) {
            peer.refusals = 0;
            peer.misses = 0;
            peer.busy_ms += execution_ms.max(0.0);
        }
        let tile = &mut self.tiles[attempt.tile];
        if tile.is_done() {
            return;
        }
        tile.state = TileState::Done { peer: attempt.peer, elapsed_ms: self.now - attempt.offered_at };
        self.tiles_done += 1;
        self.done_cost += tile.plan.cost;
        out.push(Command::Accept { task, tile: attempt.tile });
        for loser in std::mem::take(&mut tile.out) {
            if let Some(lost) = self.take(loser) {
                if lost.is_slow(self.now) {
                    // It takes longer still: a peer whose tiles others always finish first is learned from, too.
                    let unfinished = OutcomeResult::Cancelled { fate: CancelledFate::Unfinished };
                    scheduler.observe(&lost.outcome(&self.work, self.now, unfinished));
                }
                out.push(Command::Cancel { task: loser, peer: lost.peer });
            }
        }
        self.orphans.retain(|tile| *tile != attempt.tile);
    }

    fn invalid(&mut self, task: TaskId, scheduler: &mut Scheduler, out: &mut Outbox) {
        let Some(attempt) = self.attempts.get(&task) else { return };
        let peer = attempt.peer;
        self.invalid += 1;
        self.exclude(peer);
        for task in self.held_by(peer) {
            self.fail(task, scheduler);
        }
        self.retract(peer, out);
        out.push(Command::Distrust { peer, reason: DistrustReason::InvalidResult });
    }

    /// Whoever forges one tile may have forged those before it: all of the peer's tiles are rendered again.
    fn retract(&mut self, peer: NodeId, out: &mut Outbox) {
        let gone = if self.config.whole_frames_leave { self.whole_frames_of(peer) } else { BTreeSet::new() };
        for (index, tile) in self.tiles.iter_mut().enumerate() {
            let TileState::Done { peer: by, .. } = tile.state else { continue };
            if by != peer && !gone.contains(&tile.plan.frame) {
                continue;
            }
            tile.state = TileState::Open;
            if by == peer {
                tile.failed_at.insert(peer);
            }
            self.tiles_done -= 1;
            self.done_cost -= tile.plan.cost;
            self.orphans.push_back(index);
            let PlannedTile { frame, rect, .. } = tile.plan;
            out.push(Command::Retract { tile: index, frame, rect });
        }
    }

    /// Frames that are whole, with tiles of the peer.
    fn whole_frames_of(&self, peer: NodeId) -> BTreeSet<u32> {
        let is_by = |tile: &&Tile| matches!(tile.state, TileState::Done { peer: by, .. } if by == peer);
        let open: BTreeSet<u32> =
            self.tiles.iter().filter(|tile| !tile.is_done()).map(|tile| tile.plan.frame).collect();
        let theirs = self.tiles.iter().filter(is_by).map(|tile| tile.plan.frame);
        theirs.filter(|frame| !open.contains(frame)).collect()
    }

    /// The attempt is over without a result, and that is the peer's failure.
    fn fail(&mut self, task: TaskId, scheduler: &mut Scheduler) {
        self.end_attempt(task, OutcomeResult::Failed, scheduler);
    }

    fn end_attempt(&mut self, task: TaskId, result: OutcomeResult, scheduler: &mut Scheduler) {
        let Some(attempt) = self.attempts.get(&task) else { return };
        let (tile, peer) = (attempt.tile, attempt.peer);
        scheduler.observe(&attempt.outcome(&self.work, self.now, result));
        self.tiles[tile].failed_at.insert(peer);
        self.failures += 1;
        let is_open = !self.tiles[tile].is_done();
        self.withdraw(task);
        self.visible_failures += u32::from(is_open && self.tiles[tile].out.is_empty());
    }

    /// The attempt is over; its tile waits again unless another copy is out.
    fn withdraw(&mut self, task: TaskId) {
        let Some(attempt) = self.take(task) else { return };
        let tile = &self.tiles[attempt.tile];
        if !tile.is_done() && tile.out.is_empty() {
            self.orphans.push_front(attempt.tile);
        }
    }
}

#[cfg(test)]
mod tests;
