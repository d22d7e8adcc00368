//! The frame machine alone, with scripted events; with random ones in `random_events`; whole frames in `sequence`.

mod random_events;
mod sequence;

use std::collections::{BTreeMap, BTreeSet};

use p2c2r_protocol::{
    id::WorkKind,
    tile::{FrameSize, TileRect},
};

use super::*;
use crate::{
    SchedulerConfig,
    history::MemoryStore,
    split::{cost_map::CostMap, spatial::SpatialSplitter},
};

fn id(index: u8) -> NodeId {
    NodeId::from_public_key([index; 32])
}

fn view(index: u8) -> PeerView {
    PeerView {
        is_self: index == 0,
        mrays_per_s: 1.0,
        round_trip_ms: 1.0,
        credit: 4,
        ready: true,
        ..PeerView::unknown(id(index))
    }
}

/// A frame with a clock and everything that it said so far.
struct Stage {
    frame: Frame,
    scheduler: Scheduler,
    now: TimeMs,
    /// Offers that are out.
    out: BTreeMap<TaskId, (NodeId, usize)>,
    accepted: Vec<usize>,
    cancelled: BTreeSet<TaskId>,
    distrusted: Vec<NodeId>,
    names: BTreeSet<TaskId>,
    end: Option<FrameEnd>,
}

impl Stage {
    fn new(peers: &[PeerView]) -> Self {
        let size = FrameSize::new(256, 128).unwrap();
        let work = FrameWork {
            kind: WorkKind::RayTracing,
            size,
            samples: 1,
            bytes_per_pixel: 12.0,
            max_tile_pixels: 1 << 22,
            deadline: None,
        };
        // A third tile of each peer waits.
        let config = SchedulerConfig { tiles_per_peer: 3, ..SchedulerConfig::default() };
        let scheduler = Scheduler::new(Box::new(MemoryStore::default()), config);
        let cost = CostMap::uniform(size, 4.0);
        let plan = scheduler.plan(&work, peers, &cost, &SpatialSplitter, TimeMs(0.0));
        let frame = Frame::new(work, plan, peers, TaskId(1), FrameConfig::default());
        Self {
            frame,
            scheduler,
            now: TimeMs(0.0),
            out: BTreeMap::new(),
            accepted: Vec::new(),
            cancelled: BTreeSet::new(),
            distrusted: Vec::new(),
            names: BTreeSet::new(),
            end: None,
        }
    }

    fn started(peers: &[PeerView]) -> Self {
        let mut stage = Self::new(peers);
        stage.event(Event::Start);
        stage
    }

    fn event(&mut self, event: Event) {
        let mut outbox = Outbox::default();
        self.frame.handle(self.now, event, &mut self.scheduler, &mut outbox);
        while let Some(command) = outbox.pop() {
            assert!(self.end.is_none(), "{command:?} after the end");
            match command {
                Command::Offer { task, peer, tile, .. } => {
                    assert!(self.names.insert(task), "{task:?} was used before");
                    self.out.insert(task, (peer, tile));
                    let held = self.out.values().filter(|(at, _)| *at == peer).count();
                    assert!(held <= 3, "more than two tiles and a copy at one peer");
                }
                Command::Cancel { task, .. } => {
                    self.out.remove(&task);
                    self.cancelled.insert(task);
                }
                Command::Accept { tile, .. } => {
                    assert!(!self.accepted.contains(&tile), "tile {tile} accepted twice");
                    self.accepted.push(tile);
                }
                Command::Retract { tile, .. } => {
                    assert!(self.accepted.contains(&tile), "tile {tile} was not there");
                    self.accepted.retain(|accepted| *accepted != tile);
                }
                Command::Distrust { peer, .. } => self.distrusted.push(peer),
                Command::WakeAt(at) => assert!(at > self.now),
                Command::Done(end) => self.end = Some(end),
            }
        }
    }

    fn deliver(&mut self, task: TaskId) {
        self.out.remove(&task);
        self.event(Event::Delivered { task, queue_ms: 0.0, execution_ms: 10.0 });
    }

    fn wait(&mut self, ms: f64) {
        self.now = self.now + ms;
        self.event(Event::Wake);
    }

    fn held_by(&self, peer: u8) -> Vec<TaskId> {
        self.out.iter().filter(|(_, (at, _))| *at == id(peer)).map(|(task, _)| *task).collect()
    }

    /// Everybody that is left does what it should.
    fn finish(&mut self) {
        for _ in 0..1000 {
            if self.end.is_some() {
                return;
            }
            match self.out.keys().next().copied() {
                Some(task) => self.deliver(task),
                None => self.wait(100.0),
            }
        }
        panic!("the frame does not end: {:?}", self.frame);
    }

    fn rects(&self) -> Vec<TileRect> {
        self.accepted.iter().map(|tile| self.frame.tiles[*tile].plan.rect).collect()
    }

    fn assert_complete(&self) {
        assert_eq!(self.end, Some(FrameEnd::Complete));
        let rects = self.rects();
        assert_eq!(rects.iter().map(|rect| rect.pixels()).sum::<u64>(), 256 * 128);
        for (index, a) in rects.iter().enumerate() {
            assert!(rects[index + 1..].iter().all(|b| !a.overlaps(*b)));
        }
    }
}

#[test]
fn everything_goes_well() {
    let mut stage = Stage::started(&[view(0), view(1), view(2)]);
    assert_eq!(stage.out.len(), 6, "two tiles at each of three peers");
    stage.finish();
    stage.assert_complete();
    let summary = stage.frame.summary();
    let attempts = summary.tiles.iter().map(|tile| tile.attempts).sum::<u32>();
    assert_eq!(attempts, 9 + summary.hedges);
    assert_eq!(stage.frame.next_task(), TaskId(1 + u64::from(attempts)));
}

#[test]
fn a_tile_that_failed_is_rendered_by_several_at_once() {
    let mut stage = Stage::started(&[view(0), view(1), view(2), view(3)]);
    let tiles = stage.frame.summary().tiles.len();
    for peer in [0, 1, 2] {
        while let Some(task) = stage.held_by(peer).first().copied() {
            stage.deliver(task);
        }
    }
    let task = stage.held_by(3)[0];
    stage.out.remove(&task);
    // Copies may be out already: it is shared out when none of them is left either.
    let tile = stage.frame.attempts[&task].tile;
    for copy in stage.frame.tiles[tile].out.clone() {
        stage.out.remove(&copy);
        stage.event(Event::Rejected { task: copy, retry_after_ms: 0, fault: true });
    }
    assert!(stage.frame.summary().tiles.len() > tiles, "{:?}", stage.frame.summary());
    stage.finish();
    stage.assert_complete();
}

#[test]
fn f1_tiles_of_a_lost_peer_are_placed_anew_at_once() {
    let mut stage = Stage::started(&[view(0), view(1), view(2)]);
    let held = stage.held_by(1);
    assert_eq!(held.len(), 2);
    for task in &held {
        stage.out.remove(task);
    }
    stage.event(Event::PeerLost(id(1)));
    assert!(stage.held_by(1).is_empty());
    stage.finish();
    stage.assert_complete();
    assert!(stage.frame.summary().tiles.iter().all(|tile| tile.peer != Some(id(1))));
}

#[test]
fn a_busy_peer_is_left_alone_for_as_long_as_it_asks() {
    let mut stage = Stage::started(&[view(0), view(1)]);
    for task in stage.held_by(1) {
        stage.out.remove(&task);
        stage.event(Event::Rejected { task, retry_after_ms: 400, fault: false });
    }
    assert!(stage.held_by(1).is_empty());
    stage.wait(200.0);
    assert!(stage.held_by(1).is_empty(), "too early");
    stage.wait(250.0);
    assert!(!stage.held_by(1).is_empty(), "its time has come");
    stage.finish();
    stage.assert_complete();
}

/// Else it would use up what tiles may be offered and copied, and everybody's time.
#[test]
fn b24_a_peer_that_is_always_busy_is_asked_ever_more_rarely() {
    let mut stage = Stage::started(&[view(0), view(1)]);
    let mut refused = 0;
    for _ in 0..4000 {
        for task in stage.held_by(1) {
            stage.out.remove(&task);
            refused += 1;
            stage.event(Event::Rejected { task, retry_after_ms: 0, fault: false });
        }
        stage.wait(5.0);
    }
    assert!((3..=24).contains(&refused), "{refused} offers in 20 s");
    assert!(stage.frame.extra_cost.abs() < 1e-6 * stage.frame.total_cost, "nothing was rendered in vain");
    stage.finish();
    stage.assert_complete();
}

#[test]
fn f2_a_late_tile_gets_one_copy_and_its_late_result_changes_nothing() {
    let mut stage = Stage::started(&[view(0), view(1)]);
    let stuck = stage.held_by(1);
    for task in &stuck {
        stage.event(Event::Accepted { task: *task });
    }
    while let Some(task) = stage.held_by(0).first().copied() {
        stage.deliver(task);
    }
    stage.wait(600.0);
    let copies = stage.held_by(0);
    assert!(!copies.is_empty(), "late tiles are copied");
    while let Some(task) = stage.held_by(0).first().copied() {
        stage.deliver(task);
        stage.wait(1.0);
    }
    stage.assert_complete();
    assert!(stuck.iter().all(|task| stage.cancelled.contains(task)));
    let accepted = stage.accepted.len();
    stage.event(Event::Delivered { task: stuck[0], queue_ms: 0.0, execution_ms: 1.0 });
    assert_eq!(stage.accepted.len(), accepted);
}

/// Fault seed 15 of seed-five: what a peer said last must not be believed for ever.
#[test]
fn f2_a_peer_that_told_of_progress_and_falls_silent_is_late_like_any_other() {
    for fraction in [0.5, 0.96, 1.0, f32::NAN, f32::INFINITY] {
        let mut stage = Stage::started(&[view(0), view(1)]);
        for task in stage.held_by(1) {
            stage.event(Event::Accepted { task });
            stage.wait(5.0);
            stage.event(Event::Progress { task, fraction });
            stage.event(Event::Progress { task, fraction: 0.97 });
        }
        for _ in 0..100 {
            while let Some(task) = stage.held_by(0).first().copied() {
                stage.deliver(task);
            }
            stage.wait(20.0);
        }
        stage.assert_complete();
    }
}

/// It announces more than it is: others finish its tiles first every time, and no result of its own says so.
#[test]
fn b14_a_peer_whose_tiles_others_always_finish_first_is_found_out() {
    let mut stage = Stage::started(&[view(0), view(1)]);
    let features = crate::TaskFeatures {
        cost: 1e4,
        pixels: 1e4,
        bytes: 1e5,
        in_flight: 0,
        backlog_ms: 0.0,
        at: TimeMs(0.0),
    };
    let expected_ms =
        |stage: &Stage| stage.scheduler.predict(&view(1), WorkKind::RayTracing, &features).execution_ms;
    let before_ms = expected_ms(&stage);
    for task in stage.held_by(1) {
        stage.event(Event::Accepted { task });
    }
    stage.wait(600.0);
    while let Some(task) = stage.held_by(0).first().copied() {
        stage.deliver(task);
    }
    stage.assert_complete();
    assert!(expected_ms(&stage) > before_ms * 1.2, "{} {before_ms}", expected_ms(&stage));
}

#[test]
fn b11_a_peer_that_delivers_rubbish_gets_nothing_more() {
    let mut stage = Stage::started(&[view(0), view(1), view(2)]);
    let task = stage.held_by(2)[0];
    for task in stage.held_by(2) {
        stage.out.remove(&task);
    }
    stage.event(Event::Invalid { task });
    assert_eq!(stage.distrusted, [id(2)]);
    stage.event(Event::PeerReady(view(2)));
    assert!(stage.held_by(2).is_empty(), "not even when it comes back");
    stage.finish();
    stage.assert_complete();
}

#[test]
fn b12_what_a_peer_delivered_before_it_was_caught_is_rendered_again() {
    let mut stage = Stage::started(&[view(0), view(1), view(2)]);
    let early = stage.held_by(2)[0];
    let (_, tile) = stage.out[&early];
    stage.deliver(early);
    assert!(stage.accepted.contains(&tile));
    let task = stage.held_by(2)[0];
    for task in stage.held_by(2) {
        stage.out.remove(&task);
    }
    stage.event(Event::Invalid { task });
    assert!(!stage.accepted.contains(&tile), "its pixels are out of the film");
    stage.finish();
    stage.assert_complete();
    assert!(stage.accepted.contains(&tile));
}

#[test]
fn a_slow_peer_that_gets_on_is_not_given_up() {
    let mut stage = Stage::started(&[view(1)]);
    let task = stage.held_by(1)[0];
    stage.event(Event::Accepted { task });
    for step in 1..=20 {
        stage.wait(10_000.0);
        stage.event(Event::Progress { task, fraction: step as f32 * 0.04 });
    }
    assert!(stage.out.contains_key(&task), "two hundred seconds, and it is nearly there");
    stage.wait(6_000_000.0);
    assert!(!stage.out.contains_key(&task), "patience has an end");
}

#[test]
fn b24_a_peer_that_only_claims_to_be_nearly_done_cannot_hold_a_frame_up() {
    let mut stage = Stage::started(&[view(0), view(1), view(2)]);
    for _ in 0..400 {
        for task in stage.held_by(2) {
            stage.event(Event::Accepted { task });
            stage.event(Event::Progress { task, fraction: 1.0 });
        }
        for honest in [0, 1] {
            for task in stage.held_by(honest) {
                stage.deliver(task);
            }
        }
        stage.wait(1000.0);
        if stage.end.is_some() {
            return stage.assert_complete();
        }
    }
    panic!("the frame waits for ever: {:?}", stage.frame);
}

#[test]
fn a_peer_at_fault_is_given_up_after_three_refusals() {
    let mut stage = Stage::started(&[view(0), view(1)]);
    let mut refusals = 0;
    while let Some(task) = stage.held_by(1).first().copied() {
        stage.out.remove(&task);
        stage.event(Event::Rejected { task, retry_after_ms: 0, fault: true });
        refusals += 1;
        assert!(refusals <= 4, "the third refusal ends it; a fourth tile was out already");
    }
    stage.finish();
    stage.assert_complete();
}

#[test]
fn b7_b8_results_nobody_asked_for_change_nothing() {
    let mut stage = Stage::started(&[view(0), view(1)]);
    stage.event(Event::Delivered { task: TaskId(999), queue_ms: 0.0, execution_ms: 1.0 });
    stage.event(Event::Invalid { task: TaskId(998) });
    stage.event(Event::Rejected { task: TaskId(997), retry_after_ms: 1, fault: true });
    assert!(stage.accepted.is_empty() && stage.distrusted.is_empty());
    let task = stage.held_by(1)[0];
    stage.deliver(task);
    stage.event(Event::Delivered { task, queue_ms: 0.0, execution_ms: 1.0 });
    assert_eq!(stage.accepted.len(), 1);
}

#[test]
fn a_newcomer_gets_work_in_mid_frame() {
    let mut stage = Stage::started(&[view(0)]);
    assert_eq!(stage.out.len(), 2, "one tile of three waits");
    stage.event(Event::PeerReady(view(7)));
    assert_eq!(stage.held_by(7).len(), 1);
    stage.finish();
    stage.assert_complete();
}

/// All tiles are out: what is left for it is to be first with those that others have not begun.
#[test]
fn f5_a_peer_that_was_cut_off_is_used_again_in_the_same_frame() {
    let mut stage = Stage::started(&[view(0), view(1), view(2)]);
    for task in stage.held_by(2) {
        stage.event(Event::Accepted { task });
    }
    stage.wait(600.0);
    stage.event(Event::PeerLost(id(2)));
    stage.out.retain(|_, (peer, _)| *peer != id(2));
    let waits = |frame: &Frame| {
        !frame.orphans.is_empty() || frame.peers.values().any(|peer| !peer.planned.is_empty())
    };
    while waits(&stage.frame) {
        let task = stage.held_by(0)[0];
        stage.deliver(task);
        stage.wait(10.0);
    }
    assert!(stage.end.is_none() && stage.held_by(2).is_empty(), "the others have everything");
    stage.event(Event::PeerReady(view(2)));
    assert!(!stage.held_by(2).is_empty(), "{:?}", stage.frame);
    stage.finish();
    stage.assert_complete();
}

#[test]
fn a_peer_that_is_not_ready_yet_is_planned_for_and_waited_for_only_until_others_are_free() {
    let late = PeerView { ready: false, ..view(1) };
    let mut stage = Stage::started(&[view(0), late]);
    assert!(stage.held_by(1).is_empty());
    stage.finish();
    stage.assert_complete();
}

#[test]
fn f10_nobody_left_says_which_pixels_are_missing() {
    let mut stage = Stage::started(&[view(1), view(2)]);
    let task = stage.held_by(1)[0];
    stage.deliver(task);
    stage.out.clear();
    stage.event(Event::PeerLost(id(1)));
    stage.event(Event::PeerLost(id(2)));
    let Some(FrameEnd::Partial { missing }) = &stage.end else { panic!("{:?}", stage.end) };
    let covered: u64 = missing.iter().chain(&stage.rects()).map(|rect| rect.pixels()).sum();
    assert_eq!(covered, 256 * 128);
}

#[test]
fn deadline_and_abort_withdraw_everything() {
    for (event, aborted) in [(Event::Deadline, false), (Event::Abort, true)] {
        let mut stage = Stage::started(&[view(0), view(1)]);
        let out: Vec<TaskId> = stage.out.keys().copied().collect();
        stage.event(event);
        assert!(out.iter().all(|task| stage.cancelled.contains(task)));
        assert_eq!(stage.end == Some(FrameEnd::Aborted), aborted);
        stage.event(Event::Wake);
    }
}

#[test]
fn an_offer_that_is_never_answered_is_placed_elsewhere() {
    let mut stage = Stage::started(&[view(0), view(1)]);
    let silent = stage.held_by(1);
    stage.wait(FrameConfig::default().answer_limit_ms + 2.0);
    assert!(silent.iter().all(|task| stage.cancelled.contains(task)));
    stage.finish();
    stage.assert_complete();
}
