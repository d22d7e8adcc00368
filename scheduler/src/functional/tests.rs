//! Whom subsystems go to.

use super::*;

const NOW: TimeMs = TimeMs(0.0);
const LOADS: [SubsystemLoad; 3] = [
    SubsystemLoad { kind: WorkKind::Physics, deadline_ms: 16.0, period_ms: 16.7 },
    SubsystemLoad { kind: WorkKind::Ai, deadline_ms: 32.0, period_ms: 33.3 },
    SubsystemLoad { kind: WorkKind::RayTracing, deadline_ms: 100.0, period_ms: 50.0 },
];

fn peer(index: u8) -> NodeId {
    NodeId::from_public_key([index; 32])
}

fn split(peers: u8) -> FunctionalSplit {
    let mut split = FunctionalSplit::new(LOADS.to_vec());
    for index in 0..peers {
        split.join(peer(index), WorkKind::ALL);
    }
    split
}

fn tried(split: &mut FunctionalSplit, index: u8, kind: WorkKind, total_ms: f64) {
    for _ in 0..5 {
        let times = StepTimes { total_ms, queue_ms: 0.0, execution_ms: total_ms * 0.8 };
        split.observe(peer(index), kind, times, true);
    }
}

#[test]
fn whoever_is_good_at_physics_gets_physics() {
    let mut split = split(3);
    for index in 0..3 {
        tried(&mut split, index, WorkKind::Physics, if index == 1 { 2.0 } else { 9.0 });
        tried(&mut split, index, WorkKind::Ai, if index == 2 { 2.0 } else { 9.0 });
        tried(&mut split, index, WorkKind::RayTracing, 20.0);
    }
    let moves = split.plan(NOW);
    assert_eq!(moves.len(), 3);
    assert!(moves.iter().all(|change| change.reason == MoveReason::First));
    assert_eq!(split.assigned(WorkKind::Physics), Some(peer(1)));
    assert_eq!(split.assigned(WorkKind::Ai), Some(peer(2)));
    assert_eq!(split.assigned(WorkKind::RayTracing), Some(peer(0)), "the one that has nothing else to do");
    assert!(split.plan(NOW).is_empty(), "what serves stays");
}

#[test]
fn a_way_that_has_become_long_is_long_for_all_kinds() {
    let mut split = split(2);
    for kind in WorkKind::ALL {
        tried(&mut split, 0, kind, 3.0);
        tried(&mut split, 1, kind, 3.5);
    }
    for _ in 0..20 {
        let times = StepTimes { total_ms: 85.0, queue_ms: 0.0, execution_ms: 2.0 };
        split.observe(peer(0), WorkKind::Physics, times, false);
    }
    split.plan(NOW);
    assert_eq!(split.assigned(WorkKind::Ai), Some(peer(1)), "its answers to anything would be late");
}

#[test]
fn short_deadlines_do_not_stand_behind_long_steps() {
    let mut split = split(2);
    for index in 0..2 {
        tried(&mut split, index, WorkKind::Physics, 6.0);
        tried(&mut split, index, WorkKind::Ai, 2.0);
        tried(&mut split, index, WorkKind::RayTracing, 14.0 + f64::from(index));
    }
    split.plan(NOW);
    assert_ne!(split.assigned(WorkKind::Physics), split.assigned(WorkKind::RayTracing));
}

#[test]
fn two_misses_in_a_row_move_a_subsystem_and_one_does_not() {
    let mut split = split(2);
    for index in 0..2 {
        tried(&mut split, index, WorkKind::Physics, 3.0 + f64::from(index));
    }
    split.plan(NOW);
    assert_eq!(split.assigned(WorkKind::Physics), Some(peer(0)));
    assert!(!split.miss(peer(0), WorkKind::Physics, NOW));
    let times = StepTimes { total_ms: 3.0, queue_ms: 0.0, execution_ms: 2.0 };
    split.observe(peer(0), WorkKind::Physics, times, true);
    assert!(!split.miss(peer(0), WorkKind::Physics, NOW));
    assert!(split.miss(peer(0), WorkKind::Physics, NOW));
    let moves = split.replace(NOW);
    assert_eq!(moves.len(), 1, "nothing else moves: {moves:?}");
    let change = moves.iter().find(|change| change.kind == WorkKind::Physics).unwrap();
    assert_eq!((change.to, change.reason), (peer(1), MoveReason::Missed));
    let times: Vec<bool> =
        [500.0, 1500.0].iter().map(|at| split.is_able(&peer(0), WorkKind::Physics, TimeMs(*at))).collect();
    assert_eq!(times, [false, true], "it comes into question again later");
}

#[test]
fn who_leaves_or_declines_gets_nothing_and_the_last_one_gets_all() {
    let mut split = split(3);
    split.plan(NOW);
    split.leave(&peer(0));
    split.decline(&peer(1), WorkKind::Physics);
    split.plan(NOW);
    assert_eq!(split.assigned(WorkKind::Physics), Some(peer(2)));
    split.leave(&peer(2));
    split.plan(NOW);
    assert_eq!(split.assigned(WorkKind::Physics), None);
    assert_eq!(split.assigned(WorkKind::Ai), Some(peer(1)));
    assert_eq!(split.others(WorkKind::Ai, NOW), []);
}

#[test]
fn the_reserve_does_what_nobody_else_can() {
    let mut split = split(2);
    split.join_reserve(peer(9), WorkKind::ALL);
    for kind in WorkKind::ALL {
        tried(&mut split, 0, kind, 9.0);
        tried(&mut split, 1, kind, 9.0);
        tried(&mut split, 9, kind, 1.0);
    }
    split.plan(NOW);
    assert!(LOADS.iter().all(|load| split.assigned(load.kind) != Some(peer(9))), "however good it is");
    assert_eq!(split.others(WorkKind::Physics, NOW).last(), Some(&peer(9)), "a copy may go to it");
    split.leave(&peer(0));
    split.decline(&peer(1), WorkKind::Physics);
    split.replace(NOW);
    assert_eq!(split.assigned(WorkKind::Physics), Some(peer(9)));
    assert_eq!(split.assigned(WorkKind::Ai), Some(peer(1)));
    split.join(peer(2), WorkKind::ALL);
    assert!(split.plan(NOW).is_empty(), "a stranger is tried before a deadline depends on it");
    tried(&mut split, 2, WorkKind::Physics, 9.0);
    let moves = split.plan(NOW);
    let change = moves.iter().find(|change| change.kind == WorkKind::Physics).unwrap();
    assert_eq!((change.to, change.reason), (peer(2), MoveReason::Better));
    while !split.miss(peer(2), WorkKind::Physics, NOW) {}
    split.replace(NOW);
    assert_eq!(split.assigned(WorkKind::Physics), Some(peer(9)), "before one that misses deadlines");
    split.leave(&peer(2));
    split.join(peer(2), WorkKind::ALL);
    assert!(!split.is_able(&peer(2), WorkKind::Physics, NOW), "leaving and coming back mends nothing");
}
