//! Coordinators that give all tiles out at once and try another peer when one fails.
//!
//! This is how the seed document's coordinators are read: the frame is cut once; every tile goes to a peer as soon as the
//! frame begins, whatever waits there already; a failure that is reported, or a time that is over, sends the tile to the
//! next peer in line. Nothing is copied before it has failed.

use std::collections::{BTreeMap, BTreeSet};

use p2c2r_protocol::{
    id::{TaskId, WorkKind},
    tile::TileRect,
};
use p2c2r_scheduler::{PeerView, TaskFeatures, split::cost_map::CostMap, time::TimeMs, work::FrameWork};

use crate::sim::desk::{Coordinator, Desk, Ending, Forecast, News, Note, Order, RunId, index_of};

/// A tile's time is over after this many times what one machine of speed 1 needs for the whole frame.
const TIMEOUT_FRAMES: f64 = 2.0;
/// Or, where the policy predicts, after this many times what it expected.
const TIMEOUT_FACTOR: f64 = 3.0;
/// But not before this share of the other time: a first guess may be far off.
const MIN_TIMEOUT_SHARE: f64 = 0.5;

/// Each time that everybody has failed on a tile, it waits twice as long, up to this many times.
const MAX_ROUNDS: i32 = 12;

/// Of more peers only the nearest are worked with, as many as the scheduler works with.
const MAX_CREW: usize = 256;

/// A peer that may be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// As it is seen.
    pub view: &'a PeerView,
    /// Tasks of ours that it holds.
    pub load: u32,
    /// Expected time until it is done with them, ms.
    pub backlog_ms: f64,
}

/// What is known of a tile when a peer is chosen for it.
#[derive(Debug, Clone, Copy)]
pub struct TileTask {
    /// Kind of work.
    pub kind: WorkKind,
    /// Cost, pixels, bytes, time.
    pub features: TaskFeatures,
}

/// How one of these coordinators decides.
pub trait Chooser {
    /// Cuts a frame for so many peers.
    fn cut(&self, work: &FrameWork, peers: usize, cost: &CostMap) -> Vec<TileRect>;

    /// Chooses one of the candidates: its index.
    fn choose(&mut self, tile: &TileTask, candidates: &[Candidate<'_>]) -> Option<usize>;

    /// What it expects of a choice, if it expects anything.
    fn forecast(&self, _tile: &TileTask, _candidate: &Candidate<'_>) -> Option<Forecast> {
        None
    }

    /// How a task ended: its time from offer to result and that of its execution, ms; or that it failed.
    fn observe(&mut self, _peer: &PeerView, _tile: &TileTask, _ended: Option<(f64, f64, f64)>) {}

    /// After so many tries a tile is left out.
    fn max_tries(&self) -> usize {
        usize::MAX
    }
}

/// A tile of a frame.
#[derive(Debug)]
struct Tile {
    rect: TileRect,
    tried: BTreeSet<usize>,
    tries: usize,
    /// Times that everybody has failed on it.
    rounds: i32,
    done: bool,
    /// Nobody could do it.
    given_up: bool,
}

/// A task that is out.
#[derive(Debug, Clone, Copy)]
struct Out {
    tile: usize,
    peer: usize,
    task: TileTask,
    offered_ms: f64,
    over_ms: f64,
}

/// A frame under way.
struct Running {
    work: FrameWork,
    tiles: Vec<Tile>,
    out: BTreeMap<TaskId, Out>,
    next_task: TaskId,
    /// Peers that take part, if not all.
    crew: Option<BTreeSet<usize>>,
}

/// A coordinator that decides by a chooser.
struct Simple<C> {
    chooser: C,
    frame_timeout_ms: f64,
    running: BTreeMap<RunId, Running>,
    /// Tasks that each peer holds, and when it is expected to be done with them (ms).
    load: Vec<(u32, f64)>,
}

/// A coordinator for frames of this size.
pub fn coordinator(chooser: impl Chooser + 'static, work_ms: f64) -> Box<dyn Coordinator> {
    let frame_timeout_ms = work_ms * TIMEOUT_FRAMES;
    Box::new(Simple { chooser, frame_timeout_ms, running: BTreeMap::new(), load: Vec::new() })
}

impl<C: Chooser> Simple<C> {
    /// Gives a tile to the next in line.
    fn offer(&mut self, id: RunId, index: usize, desk: &mut Desk<'_>) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let Some(tile) = running.tiles.get_mut(index) else { return };
        if tile.tries >= self.chooser.max_tries() {
            tile.given_up = true;
            return;
        }
        self.load.resize(desk.notes.len().max(self.load.len()), (0, 0.0));
        let (now_ms, notes) = (desk.now.0, desk.notes);
        let candidates = |tried: &BTreeSet<usize>| -> Vec<Candidate<'_>> {
            let load = &self.load;
            let candidate = |note: &'_ Note| {
                let (load, free_ms) = load.get(index_of(note.view.peer)).copied().unwrap_or_default();
                (load, (free_ms - now_ms).max(0.0))
            };
            let open =
                |note: &&Note| note.up && !note.distrusted && !tried.contains(&index_of(note.view.peer));
            let with = |note| {
                let (load, backlog_ms) = candidate(note);
                Candidate { view: &note.view, load, backlog_ms }
            };
            match &running.crew {
                Some(crew) => {
                    crew.iter().filter_map(|peer| notes.get(*peer)).filter(open).map(with).collect()
                }
                None => notes.iter().filter(open).map(with).collect(),
            }
        };
        let mut line = candidates(&tile.tried);
        if line.is_empty() {
            // Everybody has failed on it: from the beginning again.
            tile.tried.clear();
            tile.rounds = (tile.rounds + 1).min(MAX_ROUNDS);
            line = candidates(&tile.tried);
        }
        let pixels = tile.rect.pixels() as f64;
        let features = TaskFeatures {
            cost: desk.cost.cost(tile.rect),
            pixels,
            bytes: pixels * f64::from(running.work.bytes_per_pixel),
            in_flight: 0,
            backlog_ms: 0.0,
            at: desk.now,
        };
        let task = TileTask { kind: running.work.kind, features };
        let chosen = self.chooser.choose(&task, &line).and_then(|chosen| line.get(chosen));
        let Some(candidate) = chosen else {
            tile.given_up = true;
            return;
        };
        let task = TileTask {
            features: TaskFeatures {
                in_flight: candidate.load,
                backlog_ms: candidate.backlog_ms,
                ..features
            },
            ..task
        };
        let forecast = self.chooser.forecast(&task, candidate);
        let peer = index_of(candidate.view.peer);
        let timeout_ms = forecast.map_or_else(
            || self.frame_timeout_ms + f64::from(candidate.view.round_trip_ms),
            |forecast| (forecast.total_ms * TIMEOUT_FACTOR).max(self.frame_timeout_ms * MIN_TIMEOUT_SHARE),
        );
        let timeout_ms = timeout_ms * 2_f64.powi(tile.rounds);
        let expected_ms = now_ms + forecast.map_or(0.0, |forecast| forecast.total_ms);
        tile.tries += 1;
        tile.tried.insert(peer);
        let (name, rect) = (running.next_task, tile.rect);
        running.next_task.0 += 1;
        let over_ms = now_ms + timeout_ms;
        running.out.insert(name, Out { tile: index, peer, task, offered_ms: now_ms, over_ms });
        if let Some((load, free_ms)) = self.load.get_mut(peer) {
            *load += 1;
            *free_ms = free_ms.max(expected_ms);
        }
        desk.order(Order::Offer { task: name, peer, tile: index, rect, forecast });
        desk.order(Order::WakeAt(id, TimeMs(over_ms)));
    }

    /// Takes a task off the list.
    fn take(&mut self, id: RunId, task: TaskId) -> Option<Out> {
        let out = self.running.get_mut(&id)?.out.remove(&task)?;
        if let Some((load, free_ms)) = self.load.get_mut(out.peer) {
            *load = load.saturating_sub(1);
            if *load == 0 {
                *free_ms = 0.0;
            }
        }
        Some(out)
    }

    fn failed(&mut self, id: RunId, task: TaskId, learn: bool, desk: &mut Desk<'_>) {
        let Some(out) = self.take(id, task) else { return };
        if let Some(note) = desk.notes.get(out.peer).filter(|_| learn) {
            self.chooser.observe(&note.view, &out.task, None);
        }
        self.offer(id, out.tile, desk);
        self.look(id, desk);
    }

    fn delivered(&mut self, task: TaskId, queue_ms: f64, execution_ms: f64, desk: &mut Desk<'_>) {
        let id = RunId::of(task);
        let Some(out) = self.take(id, task) else { return };
        if let Some(note) = desk.notes.get(out.peer) {
            let total_ms = desk.now.0 - out.offered_ms;
            self.chooser.observe(&note.view, &out.task, Some((total_ms, queue_ms, execution_ms)));
        }
        let tile = self.running.get_mut(&id).and_then(|running| running.tiles.get_mut(out.tile));
        if let Some(tile) = tile.filter(|tile| !tile.done) {
            tile.done = true;
            desk.order(Order::Accept(task));
        }
        self.look(id, desk);
    }

    /// Whether the frame is over.
    fn look(&mut self, id: RunId, desk: &mut Desk<'_>) {
        let Some(running) = self.running.get(&id) else { return };
        if running.tiles.iter().all(|tile| tile.done || tile.given_up) {
            self.end(id, desk);
        }
    }

    fn end(&mut self, id: RunId, desk: &mut Desk<'_>) {
        let Some(running) = self.running.get(&id) else { return };
        let out: Vec<TaskId> = running.out.keys().copied().collect();
        let complete = running.tiles.iter().all(|tile| tile.done);
        for task in out {
            self.take(id, task);
            desk.order(Order::Cancel(task));
        }
        self.running.remove(&id);
        desk.order(Order::Done(id, if complete { Ending::Complete } else { Ending::Partial }));
    }

    fn wake(&mut self, id: RunId, desk: &mut Desk<'_>) {
        let Some(running) = self.running.get(&id) else { return };
        let now_ms = desk.now.0;
        let over: Vec<TaskId> =
            running.out.iter().filter(|(_, out)| out.over_ms <= now_ms).map(|(task, _)| *task).collect();
        for task in over {
            desk.order(Order::Cancel(task));
            self.failed(id, task, true, desk);
        }
        let Some(running) = self.running.get(&id) else { return };
        if let Some(next_ms) = running.out.values().map(|out| out.over_ms).min_by(f64::total_cmp) {
            desk.order(Order::WakeAt(id, TimeMs(next_ms)));
        }
    }
}

impl<C: Chooser> Coordinator for Simple<C> {
    fn start(&mut self, run: RunId, work: &FrameWork, desk: &mut Desk<'_>) {
        let mut peers: Vec<(f32, usize)> =
            desk.views().map(|view| (view.round_trip_ms, index_of(view.peer))).collect();
        let crew = (peers.len() > MAX_CREW).then(|| {
            peers.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            peers.truncate(MAX_CREW);
            peers.iter().map(|(_, peer)| *peer).collect::<BTreeSet<usize>>()
        });
        let cut = self.chooser.cut(work, peers.len(), desk.cost);
        let tiles: Vec<Tile> = cut
            .into_iter()
            .map(|rect| Tile {
                rect,
                tried: BTreeSet::new(),
                tries: 0,
                rounds: 0,
                done: false,
                given_up: false,
            })
            .collect();
        let count = tiles.len();
        let running = Running { work: *work, tiles, out: BTreeMap::new(), next_task: run.first_task(), crew };
        self.running.insert(run, running);
        for index in 0..count {
            self.offer(run, index, desk);
        }
        self.look(run, desk);
    }

    fn hear(&mut self, news: News, desk: &mut Desk<'_>) {
        match news {
            News::Failed(task) | News::Invalid(task) => self.failed(RunId::of(task), task, true, desk),
            News::Busy(task, _) => self.failed(RunId::of(task), task, false, desk),
            News::Delivered(task, queue_ms, execution_ms) => {
                self.delivered(task, queue_ms, execution_ms, desk);
            }
            News::PeerLost(peer) => {
                let lost: Vec<(RunId, TaskId)> = self
                    .running
                    .iter()
                    .flat_map(|(run, running)| running.out.iter().map(|(task, out)| (*run, *task, out.peer)))
                    .filter(|(_, _, at)| *at == peer)
                    .map(|(run, task, _)| (run, task))
                    .collect();
                for (run, task) in lost {
                    self.failed(run, task, true, desk);
                }
            }
            News::Wake(run) => self.wake(run, desk),
            News::Deadline(run) => self.end(run, desk),
            News::PeerReady(_) | News::Accepted(_) | News::Progress(..) | News::Cancelled(..) => {}
        }
    }

    fn verifies(&self) -> bool {
        false
    }

    fn restart(&mut self) {
        self.running.clear();
        self.load.clear();
    }
}
