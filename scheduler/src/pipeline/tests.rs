//! The pipeline alone, with scripted and with random events.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn id(index: u8) -> NodeId {
    NodeId::from_public_key([index; 32])
}

fn peer(index: u8) -> StagePeer {
    StagePeer { peer: id(index), stage_ms: [10.0, 100.0 + f64::from(index), 30.0] }
}

/// A pipeline with a clock and everything that it said so far.
struct Stand {
    pipeline: Pipeline,
    now: TimeMs,
    /// What is out: at whom, of which frame, which stage.
    out: BTreeMap<TaskId, (NodeId, u32, Stage)>,
    names: BTreeSet<TaskId>,
    lost: BTreeSet<NodeId>,
    done: Vec<u32>,
    end: Option<bool>,
}

impl Stand {
    fn new(frames: u32, peers: u8) -> Self {
        let peers: Vec<StagePeer> = (0..peers).map(peer).collect();
        let mut stand = Self {
            pipeline: Pipeline::new(frames, true, &peers, TaskId(1)),
            now: TimeMs(0.0),
            out: BTreeMap::new(),
            names: BTreeSet::new(),
            lost: BTreeSet::new(),
            done: Vec::new(),
            end: None,
        };
        stand.event(Event::Start);
        stand
    }

    fn event(&mut self, event: Event) {
        let mut commands = Vec::new();
        self.pipeline.handle(self.now, event, &mut commands);
        for command in commands {
            assert!(self.end.is_none(), "{command:?} after the end");
            match command {
                Command::Offer { task, peer, frame, stage, crew, .. } => {
                    assert!(self.names.insert(task), "{task:?} was used before");
                    assert!(!self.lost.contains(&peer), "offered to one that is lost");
                    assert_eq!(crew.at(stage), Some(peer));
                    self.out.insert(task, (peer, frame, stage));
                }
                Command::Cancel { task, .. } => drop(self.out.remove(&task)),
                Command::FrameDone { frame, .. } => {
                    assert!(!self.done.contains(&frame), "frame {frame} is done twice");
                    self.done.push(frame);
                }
                Command::WakeAt(at) => assert!(at.0 > self.now.0),
                Command::Done { complete } => self.end = Some(complete),
            }
        }
    }

    fn lose(&mut self, peer: NodeId) {
        self.lost.insert(peer);
        self.out.retain(|_, (at, _, _)| *at != peer);
        self.event(Event::PeerLost(peer));
    }

    fn finish_one(&mut self) {
        // First stages first: the last one cannot be done before them.
        let next = self.out.iter().min_by_key(|(_, (_, frame, stage))| (*frame, *stage));
        let Some((task, (_, _, stage))) = next.map(|(task, at)| (*task, *at)) else { return };
        if stage == Stage::Post {
            let frame = self.out[&task].1;
            let awaits = self.pipeline.frames[frame as usize].post_awaits;
            if !awaits {
                return self.event(Event::Accepted { task });
            }
        }
        self.out.remove(&task);
        self.now = self.now + 10.0;
        self.event(Event::StageDone { task, execution_ms: 10.0 });
    }

    fn finish(&mut self) {
        for _ in 0..10_000 {
            if self.end.is_some() {
                return;
            }
            self.finish_one();
        }
        panic!("it does not end: {:?}", self.pipeline);
    }
}

#[test]
fn frames_pass_through_three_peers_several_at_once() {
    let mut stand = Stand::new(6, 3);
    assert_eq!(stand.out.len(), FRAMES_IN_FLIGHT, "last stages first");
    assert!(stand.out.values().all(|(_, _, stage)| *stage == Stage::Post));
    let first = *stand.out.keys().next().unwrap();
    stand.event(Event::Accepted { task: first });
    let stages: BTreeSet<Stage> =
        stand.out.values().filter(|(_, frame, _)| *frame == 0).map(|(_, _, stage)| *stage).collect();
    assert_eq!(stages.len(), 3, "then the others");
    let peers: BTreeSet<NodeId> = stand.out.values().map(|(peer, _, _)| *peer).collect();
    assert_eq!(peers.len(), 3);
    stand.finish();
    assert_eq!((stand.end, stand.done.len(), stand.pipeline.restarts()), (Some(true), 6, 0));
}

#[test]
fn what_a_lost_peer_held_is_begun_anew_and_finished_frames_stay() {
    let mut stand = Stand::new(6, 4);
    while stand.done.is_empty() {
        stand.finish_one();
    }
    let post = stand.pipeline.assignment().unwrap().crew.post;
    stand.lose(post);
    assert!(stand.pipeline.restarts() > 0);
    stand.finish();
    assert_eq!(stand.end, Some(true));
    assert_eq!(stand.done.iter().collect::<BTreeSet<_>>().len(), 6);
}

#[test]
fn f10_with_nobody_left_it_ends() {
    let mut stand = Stand::new(3, 2);
    stand.lose(id(0));
    assert_eq!(stand.end, None, "one peer can do all stages");
    stand.lose(id(1));
    assert_eq!(stand.end, Some(false));
}

#[test]
fn a_peer_at_fault_gets_no_more_and_frames_wait_until_they_are_wanted() {
    let mut stand = Stand::new(30, 3);
    let post = stand.pipeline.assignment().unwrap().crew.post;
    for _ in 0..MAX_FAULTS {
        let task = *stand.out.iter().find(|(_, (peer, _, _))| *peer == post).unwrap().0;
        stand.out.remove(&task);
        stand.event(Event::Failed { task, fault: true });
    }
    assert!(!stand.pipeline.assignment().unwrap().crew.has(post));
    let mut waiting = Stand::new(0, 3);
    assert_eq!(waiting.end.take(), Some(true), "no frames");
    let mut few = Stand::new(9, 3);
    few.event(Event::FramesWanted { below: 4 });
    for _ in 0..100 {
        few.finish_one();
    }
    assert_eq!((few.done.len(), few.end), (4, None));
    few.event(Event::FramesWanted { below: 9 });
    few.finish();
    assert_eq!(few.done.len(), 9);
}

#[test]
fn f2_a_stage_that_is_held_for_ever_is_given_up() {
    let mut stand = Stand::new(2, 3);
    let held: Vec<TaskId> = stand.out.keys().copied().collect();
    stand.now = TimeMs(1e9);
    stand.event(Event::Wake);
    assert!(held.iter().all(|task| !stand.out.contains_key(task)));
    stand.finish();
    assert_eq!(stand.end, Some(true));
}

proptest! {
    #[test]
    fn i1_whatever_happens_frames_are_done_once_and_it_ends(
        frames in 1_u32..8,
        steps in prop::collection::vec((0_u8..8, any::<prop::sample::Index>()), 0..80),
    ) {
        let mut stand = Stand::new(frames, 4);
        for (kind, which) in steps {
            if stand.end.is_some() {
                break;
            }
            let tasks: Vec<TaskId> = stand.out.keys().copied().collect();
            let task = if tasks.is_empty() { TaskId(99_999) } else { tasks[which.index(tasks.len())] };
            match kind {
                0 => stand.lose(id(which.index(4) as u8)),
                1 => {
                    let back = id(which.index(4) as u8);
                    stand.lost.remove(&back);
                    stand.event(Event::PeerReady(StagePeer { peer: back, ..peer(1) }));
                }
                2 => {
                    stand.out.remove(&task);
                    stand.event(Event::Failed { task, fault: which.index(2) == 0 });
                }
                3 => stand.event(Event::Accepted { task }),
                4 => {
                    stand.now = stand.now + 30_000.0;
                    stand.event(Event::Wake);
                }
                _ => stand.finish_one(),
            }
        }
        if stand.end.is_none() {
            stand.finish();
        }
        if stand.end == Some(true) {
            prop_assert_eq!(stand.done.len(), frames as usize);
        }
    }
}
