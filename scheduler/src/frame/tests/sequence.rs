//! Whole frames of a sequence, with scripted events.

use super::*;
use crate::split::temporal::PerFrame;

/// A sequence of frames that are whole tiles, at peers of which one is this node.
fn sequence(peers: &[PeerView], frames: usize) -> Stage {
    let mut stage = Stage::new(peers);
    let work = stage.frame.work;
    let plan = stage.scheduler.plan_sequence(
        &work,
        peers,
        &vec![4.0 * 256.0 * 128.0; frames],
        PerFrame::default(),
        TimeMs(0.0),
    );
    stage.frame = Frame::new(work, plan, peers, TaskId(1), FrameConfig::of_sequence());
    stage
}

#[test]
fn frames_of_a_sequence_are_offered_in_order_and_none_before_it_is_wanted() {
    let mut stage = sequence(&[view(0), view(1)], 12);
    stage.event(Event::FramesWanted { below: 3 });
    stage.event(Event::Start);
    let frame_of = |stage: &Stage, tile: usize| stage.frame.tiles[tile].plan.frame;
    let out: BTreeSet<u32> = stage.out.values().map(|(_, tile)| frame_of(&stage, *tile)).collect();
    assert_eq!(out, BTreeSet::from([0, 1, 2]));
    while let Some(task) = stage.out.keys().next().copied() {
        stage.deliver(task);
    }
    assert_eq!((stage.accepted.len(), &stage.end), (3, &None), "the others wait");
    stage.event(Event::FramesWanted { below: 12 });
    stage.finish();
    assert_eq!(stage.end, Some(FrameEnd::Complete));
    let accepted: Vec<u32> = stage.accepted.iter().map(|tile| frame_of(&stage, *tile)).collect();
    assert_eq!(accepted.iter().copied().collect::<BTreeSet<u32>>(), (0..12).collect());
    // Two peers with two in hand each: nobody is further ahead than that.
    assert!(
        accepted.iter().enumerate().all(|(place, frame)| place.abs_diff(*frame as usize) <= 4),
        "{accepted:?}"
    );
    let summary = stage.frame.summary_of(Some(7));
    assert_eq!((summary.tiles.len(), summary.tiles[0].frame), (1, 7));
    assert!((summary.peers.iter().map(|peer| peer.cost_share).sum::<f64>() - 1.0).abs() < 1e-9);
}

#[test]
fn a_lost_peers_frames_go_to_the_others() {
    let mut stage = sequence(&[view(0), view(1), view(2)], 9);
    stage.event(Event::Start);
    stage.out.retain(|_, (peer, _)| *peer != id(1));
    stage.event(Event::PeerLost(id(1)));
    stage.finish();
    assert_eq!(stage.end, Some(FrameEnd::Complete));
    let frames = stage.accepted.iter().map(|tile| stage.frame.tiles[*tile].plan.clone());
    let mut pixels = BTreeMap::<u32, u64>::new();
    frames.for_each(|plan| *pixels.entry(plan.frame).or_default() += plan.rect.pixels());
    assert!(pixels.len() == 9 && pixels.values().all(|pixels| *pixels == 256 * 128), "{pixels:?}");
}

#[test]
fn a_whole_frame_with_a_forgers_part_is_rendered_again_with_all_its_parts() {
    let mut stage = sequence(&[view(0), view(1)], 4);
    stage.event(Event::Start);
    // The first frame has a part of each peer, as it has after a failure.
    let firsts = [stage.held_by(0)[0], stage.held_by(1)[0]];
    let tiles = firsts.map(|task| stage.out[&task].1);
    for (tile, x) in tiles.into_iter().zip([0, 128]) {
        let plan = &mut stage.frame.tiles[tile].plan;
        (plan.frame, plan.rect) = (0, TileRect { x, width: 128, ..plan.rect });
    }
    for task in firsts {
        stage.deliver(task);
    }
    assert_eq!(stage.accepted.len(), 2);
    let forged = stage.held_by(1)[0];
    stage.out.remove(&forged);
    stage.event(Event::Invalid { task: forged });
    assert_eq!((stage.accepted.len(), &stage.distrusted), (0, &vec![id(1)]));
    stage.finish();
    assert_eq!((stage.accepted.len(), &stage.end), (4, &Some(FrameEnd::Complete)));
}
