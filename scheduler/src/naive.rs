//! The coordinator that everything here is measured against, as the seed document describes it: the frame is cut into
//! tiles of the same area, one for each peer; each goes to the peer with the least `latency + load · 15`; one that fails,
//! or whose time is over, goes to the next peer. Nothing is learned, and nothing copied before it has failed.
//!
//! It hears the same events as [`crate::frame::Frame`] and gives the same commands.

use std::collections::{BTreeMap, BTreeSet};

use p2c2r_protocol::id::{NodeId, TaskId};

use crate::{
    PeerView, Prediction,
    frame::{Command, Event, FrameEnd, FrameProgress, FrameSummary, Outbox, PeerSummary, TileSummary},
    split::{cost_map::CostMap, equal::equal_areas},
    time::TimeMs,
    work::FrameWork,
};

/// What a task that a peer holds counts as, ms of latency.
const LOAD_MS: f64 = 15.0;
/// A tile's time is over after so many times what the whole frame would take a typical peer.
const TIMEOUT_FRAMES: f64 = 2.0;
/// At least, ms.
const MIN_TIMEOUT_MS: f64 = 200.0;
/// Each time that everybody has failed on it, a tile may take twice as long, up to so many times.
const MAX_ROUNDS: i32 = 12;

/// A frame under way.
#[derive(Debug)]
pub struct NaiveFrame {
    tiles: Vec<Tile>,
    peers: BTreeMap<NodeId, Peer>,
    out: BTreeMap<TaskId, Out>,
    next_task: TaskId,
    timeout_ms: f64,
    started: Option<TimeMs>,
    now: TimeMs,
    ended: bool,
    rejected: u32,
    invalid: u32,
    failures: u32,
}

#[derive(Debug)]
struct Tile {
    rect: p2c2r_protocol::tile::TileRect,
    cost: f64,
    tried: BTreeSet<NodeId>,
    rounds: i32,
    attempts: u32,
    done: Option<(NodeId, f64)>,
}

#[derive(Debug)]
struct Peer {
    view: PeerView,
    is_there: bool,
    held: u32,
    busy_ms: f64,
}

#[derive(Debug, Clone, Copy)]
struct Out {
    tile: usize,
    peer: NodeId,
    since: TimeMs,
    over: TimeMs,
}

impl NaiveFrame {
    /// A frame that has not begun. Its tasks are named from `first_task` on.
    pub fn new(work: &FrameWork, peers: &[PeerView], cost: &CostMap, first_task: TaskId) -> Self {
        let samples = f64::from(work.samples.max(1));
        let tiles = equal_areas(work, peers.len()).into_iter().map(|rect| Tile {
            rect,
            cost: cost.cost(rect) * samples,
            tried: BTreeSet::new(),
            rounds: 0,
            attempts: 0,
            done: None,
        });
        let mut speeds: Vec<f32> =
            peers.iter().map(|view| view.mrays_per_s).filter(|speed| *speed > 0.0).collect();
        speeds.sort_by(f32::total_cmp);
        let typical = speeds.get(speeds.len() / 2).copied().unwrap_or(1.0);
        let frame_ms = cost.total() * samples / (f64::from(typical) * 1e3);
        let peer = |view: &PeerView| Peer { view: *view, is_there: view.ready, held: 0, busy_ms: 0.0 };
        Self {
            tiles: tiles.collect(),
            peers: peers.iter().map(|view| (view.peer, peer(view))).collect(),
            out: BTreeMap::new(),
            next_task: first_task,
            timeout_ms: (frame_ms * TIMEOUT_FRAMES).max(MIN_TIMEOUT_MS),
            started: None,
            now: TimeMs(0.0),
            ended: false,
            rejected: 0,
            invalid: 0,
            failures: 0,
        }
    }

    /// The name of the next task.
    pub fn next_task(&self) -> TaskId {
        self.next_task
    }

    /// Reacts to an event.
    pub fn handle(&mut self, now: TimeMs, event: Event, out: &mut Outbox) {
        self.now = now;
        if self.ended {
            return;
        }
        match event {
            Event::Start => {
                self.started = Some(now);
                for tile in 0..self.tiles.len() {
                    self.offer(tile, out);
                }
            }
            Event::PeerReady(view) => self.peer_ready(view, out),
            Event::PeerLost(peer) => {
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.is_there = false;
                }
                let held: Vec<TaskId> =
                    self.out.iter().filter(|(_, held)| held.peer == peer).map(|(task, _)| *task).collect();
                for task in held {
                    self.failed(task, out);
                }
            }
            Event::Rejected { task, .. } => {
                self.rejected += u32::from(self.out.contains_key(&task));
                self.failed(task, out);
            }
            Event::Invalid { task } => {
                self.invalid += 1;
                self.failed(task, out);
            }
            Event::Delivered { task, execution_ms, .. } => self.delivered(task, execution_ms, out),
            Event::Wake => self.give_up_late(out),
            Event::Deadline => return self.end(out),
            Event::Abort => {
                self.ended = true;
                return out.push(Command::Done(FrameEnd::Aborted));
            }
            Event::Accepted { .. }
            | Event::Progress { .. }
            | Event::Cancelled { .. }
            | Event::FramesWanted { .. } => {}
        }
        let is_over = self.tiles.iter().all(|tile| tile.done.is_some());
        if is_over || self.peers.values().all(|peer| !peer.is_there) {
            return self.end(out);
        }
        if let Some(at) = self.out.values().map(|held| held.over.0).min_by(f64::total_cmp) {
            out.push(Command::WakeAt(TimeMs(at.max(now.0 + 1.0))));
        }
    }

    fn peer_ready(&mut self, view: PeerView, out: &mut Outbox) {
        let peer =
            self.peers.entry(view.peer).or_insert(Peer { view, is_there: true, held: 0, busy_ms: 0.0 });
        (peer.view, peer.is_there) = (view, true);
        let is_out = |tile: usize| self.out.values().any(|held| held.tile == tile);
        let waiting: Vec<usize> =
            (0..self.tiles.len()).filter(|tile| self.tiles[*tile].done.is_none() && !is_out(*tile)).collect();
        if self.started.is_some() {
            for tile in waiting {
                self.offer(tile, out);
            }
        }
    }

    /// Gives a tile to the next in line.
    fn offer(&mut self, tile: usize, out: &mut Outbox) {
        let Some(state) = self.tiles.get_mut(tile) else { return };
        let open = |peers: &BTreeMap<NodeId, Peer>, tried: &BTreeSet<NodeId>| {
            let score = |peer: &Peer| f64::from(peer.view.round_trip_ms) + LOAD_MS * f64::from(peer.held);
            peers
                .iter()
                .filter(|(id, peer)| peer.is_there && !tried.contains(id))
                .min_by(|a, b| score(a.1).total_cmp(&score(b.1)))
                .map(|(id, _)| *id)
        };
        let chosen = open(&self.peers, &state.tried).or_else(|| {
            // Everybody has failed on it: from the beginning again.
            state.tried.clear();
            state.rounds = (state.rounds + 1).min(MAX_ROUNDS);
            open(&self.peers, &state.tried)
        });
        let Some(peer) = chosen else { return };
        state.tried.insert(peer);
        state.attempts += 1;
        let task = self.next_task;
        self.next_task = TaskId(task.0 + 1);
        let timeout_ms = self.timeout_ms * 2_f64.powi(state.rounds);
        self.out.insert(task, Out { tile, peer, since: self.now, over: self.now + timeout_ms });
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.held += 1;
        }
        // It expects nothing.
        let predicted = Prediction::with_spread(0.0, 0.0, 0.0, 0.0, 0.0);
        out.push(Command::Offer { task, peer, tile, frame: 0, rect: state.rect, predicted });
    }

    fn take(&mut self, task: TaskId) -> Option<Out> {
        let held = self.out.remove(&task)?;
        if let Some(peer) = self.peers.get_mut(&held.peer) {
            peer.held = peer.held.saturating_sub(1);
        }
        Some(held)
    }

    fn failed(&mut self, task: TaskId, out: &mut Outbox) {
        let Some(held) = self.take(task) else { return };
        self.failures += 1;
        self.offer(held.tile, out);
    }

    fn delivered(&mut self, task: TaskId, execution_ms: f64, out: &mut Outbox) {
        let Some(held) = self.take(task) else { return };
        if let Some(peer) = self.peers.get_mut(&held.peer) {
            peer.busy_ms += execution_ms.max(0.0);
        }
        if let Some(tile) = self.tiles.get_mut(held.tile).filter(|tile| tile.done.is_none()) {
            tile.done = Some((held.peer, self.now - held.since));
            out.push(Command::Accept { task, tile: held.tile });
        }
    }

    fn give_up_late(&mut self, out: &mut Outbox) {
        let late: Vec<(TaskId, NodeId)> = self
            .out
            .iter()
            .filter(|(_, held)| held.over <= self.now)
            .map(|(task, held)| (*task, held.peer))
            .collect();
        for (task, peer) in late {
            out.push(Command::Cancel { task, peer });
            self.failed(task, out);
        }
    }

    fn end(&mut self, out: &mut Outbox) {
        self.ended = true;
        for (task, held) in std::mem::take(&mut self.out) {
            out.push(Command::Cancel { task, peer: held.peer });
        }
        let missing: Vec<_> =
            self.tiles.iter().filter(|tile| tile.done.is_none()).map(|tile| tile.rect).collect();
        let end = if missing.is_empty() { FrameEnd::Complete } else { FrameEnd::Partial { missing } };
        out.push(Command::Done(end));
    }

    /// How far it is.
    pub fn progress(&self) -> FrameProgress {
        let total: f64 = self.tiles.iter().map(|tile| tile.cost).sum();
        let done = self.tiles.iter().filter(|tile| tile.done.is_some());
        let share = done.clone().map(|tile| tile.cost).sum::<f64>() / total.max(1e-9);
        FrameProgress {
            tiles_total: self.tiles.len(),
            tiles_done: done.count(),
            in_flight: self.out.len(),
            cost_done_share: share,
            eta_ms: None,
        }
    }

    /// What became of it.
    pub fn summary(&self) -> FrameSummary {
        let total: f64 = self.tiles.iter().map(|tile| tile.cost).sum();
        let of =
            |peer: NodeId| self.tiles.iter().filter(move |tile| tile.done.is_some_and(|(by, _)| by == peer));
        FrameSummary {
            tiles: self
                .tiles
                .iter()
                .enumerate()
                .map(|(index, tile)| TileSummary {
                    index,
                    frame: 0,
                    rect: tile.rect,
                    peer: tile.done.map(|(peer, _)| peer),
                    predicted_ms: 0.0,
                    actual_ms: tile.done.map(|(_, ms)| ms),
                    attempts: tile.attempts,
                })
                .collect(),
            peers: self
                .peers
                .iter()
                .map(|(peer, state)| PeerSummary {
                    peer: *peer,
                    tiles: of(*peer).count() as u32,
                    cost_share: of(*peer).map(|tile| tile.cost).sum::<f64>() / total.max(1e-9),
                    busy_ms: state.busy_ms,
                })
                .collect(),
            rejected: self.rejected,
            invalid: self.invalid,
            hedges: 0,
            failures: self.failures,
            visible_failures: self.failures,
        }
    }
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::{id::WorkKind, tile::FrameSize};

    use super::*;

    fn view(index: u8, round_trip_ms: f32) -> PeerView {
        PeerView {
            mrays_per_s: 1.0,
            round_trip_ms,
            credit: 4,
            ready: true,
            ..PeerView::unknown(NodeId::from_public_key([index; 32]))
        }
    }

    fn frame(peers: &[PeerView]) -> NaiveFrame {
        let size = FrameSize::new(256, 128).unwrap();
        let work = FrameWork {
            kind: WorkKind::RayTracing,
            size,
            samples: 1,
            bytes_per_pixel: 12.0,
            max_tile_pixels: 1 << 22,
            deadline: None,
        };
        NaiveFrame::new(&work, peers, &CostMap::uniform(size, 4.0), TaskId(1))
    }

    fn commands(frame: &mut NaiveFrame, now_ms: f64, event: Event) -> Vec<Command> {
        let mut out = Outbox::default();
        frame.handle(TimeMs(now_ms), event, &mut out);
        std::iter::from_fn(|| out.pop()).collect()
    }

    fn offers(commands: &[Command]) -> Vec<(TaskId, NodeId)> {
        let offer = |command: &Command| match command {
            Command::Offer { task, peer, .. } => Some((*task, *peer)),
            _ => None,
        };
        commands.iter().filter_map(offer).collect()
    }

    #[test]
    fn tiles_go_to_the_nearest_until_its_load_outweighs_the_way() {
        let peers = [view(1, 10.0), view(2, 20.0), view(3, 100.0)];
        let mut frame = frame(&peers);
        let offered = offers(&commands(&mut frame, 0.0, Event::Start));
        assert_eq!(
            offered.iter().map(|(_, peer)| *peer).collect::<Vec<_>>(),
            [peers[0].peer, peers[1].peer, peers[0].peer]
        );
    }

    #[test]
    fn what_fails_or_takes_too_long_goes_to_the_next_and_the_frame_ends() {
        let peers = [view(1, 10.0), view(2, 20.0)];
        let mut frame = frame(&peers);
        let offered = offers(&commands(&mut frame, 0.0, Event::Start));
        let [first, second] = [offered[0], offered[1]];
        let rejected = Event::Rejected { task: first.0, retry_after_ms: 0, fault: true };
        let next = offers(&commands(&mut frame, 1.0, rejected));
        assert!(next.len() == 1 && next[0].1 != first.1);
        let late = commands(&mut frame, 1e6, Event::Wake);
        assert_eq!(offers(&late).len(), 2, "both are over: {late:?}");
        let mut ended = Vec::new();
        for (task, _) in offers(&late) {
            let delivered = Event::Delivered { task, queue_ms: 0.0, execution_ms: 5.0 };
            ended = commands(&mut frame, 1e6 + 1.0, delivered);
        }
        assert_eq!(ended.last(), Some(&Command::Done(FrameEnd::Complete)));
        let summary = frame.summary();
        assert_eq!((summary.failures, summary.rejected, second.0), (3, 1, TaskId(2)));
    }
}
