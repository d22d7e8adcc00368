//! Whole frames of a sequence to different peers.
//!
//! In order, so that the first frames are there first: each goes to the peer that would be done with it first, behind
//! what that peer has already (list scheduling by earliest completion time: Graham 1966, for unequal machines).

use serde::{Deserialize, Serialize};

/// What each whole frame takes beside rendering.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PerFrame {
    /// Making the scene ready at its moment, at whoever renders it, ms; 0 for a scene that does not move.
    pub moment_ms: f64,
    /// What the owner's machine does for every frame, whoever renders it, with the processors that its own device renders
    /// with (making the scene ready, to check what came, and the picture), ms; 0 if that device has no use for them.
    #[serde(default)]
    pub owner_ms: f64,
}

impl PerFrame {
    /// What a peer is for these frames.
    pub fn lane(&self, speed: f64, start_ms: f64, is_owner: bool) -> Lane {
        if is_owner && self.owner_ms > 0.0 {
            return Lane { speed, start_ms, each_ms: 0.0, every_ms: self.owner_ms };
        }
        Lane { speed, start_ms, each_ms: self.moment_ms, every_ms: 0.0 }
    }
}

/// A peer that frames are dealt to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lane {
    /// Cost that it renders in a ms.
    pub speed: f64,
    /// Before its first frame can be begun and its result be here, ms.
    pub start_ms: f64,
    /// For each frame besides, ms.
    pub each_ms: f64,
    /// For every frame, whoever renders it, ms.
    pub every_ms: f64,
}

/// Who renders which frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dealt {
    /// Index of each frame's lane; empty without any that has a speed.
    pub lanes: Vec<usize>,
    /// When the last frame is expected, ms.
    pub makespan_ms: f64,
}

/// Deals frames of these costs out.
pub fn deal(costs: &[f64], lanes: &[Lane]) -> Dealt {
    let usable = |lane: &Lane| lane.speed > 0.0 && lane.speed.is_finite() && lane.start_ms.is_finite();
    // Each lane's index, and when it is free.
    let mut free: Vec<(usize, f64, &Lane)> = lanes
        .iter()
        .enumerate()
        .filter(|(_, lane)| usable(lane))
        .map(|(index, lane)| (index, lane.start_ms, lane))
        .collect();
    let mut dealt = Dealt::default();
    for cost in costs {
        let done_ms = |(_, free_ms, lane): &(usize, f64, &Lane)| free_ms + lane.each_ms + cost / lane.speed;
        let Some(first) = free.iter_mut().min_by(|a, b| done_ms(a).total_cmp(&done_ms(b))) else {
            return dealt;
        };
        first.1 = done_ms(first);
        dealt.lanes.push(first.0);
        for (_, free_ms, lane) in &mut free {
            *free_ms += lane.every_ms;
        }
    }
    let busy = free.iter().filter(|(index, ..)| dealt.lanes.contains(index));
    dealt.makespan_ms = busy.map(|(_, free_ms, _)| *free_ms).fold(0.0, f64::max);
    dealt
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lane(speed: f64, start_ms: f64) -> Lane {
        Lane { speed, start_ms, each_ms: 0.0, every_ms: 0.0 }
    }

    #[test]
    fn a_peer_twice_as_fast_gets_twice_as_many() {
        let dealt = deal(&[10.0; 12], &[lane(1.0, 0.0), lane(2.0, 0.0)]);
        assert_eq!(dealt.lanes.iter().filter(|lane| **lane == 1).count(), 8);
        assert!((dealt.makespan_ms - 40.0).abs() < 1e-9);
    }

    #[test]
    fn an_owner_that_is_busy_with_all_frames_renders_fewer() {
        let own_frames = |owner_ms| {
            let each = PerFrame { moment_ms: 1.0, owner_ms };
            let lanes = [each.lane(1.0, 0.0, true), each.lane(1.0, 0.0, false)];
            let dealt = deal(&[10.0; 12], &lanes);
            assert_eq!(dealt.lanes[0], 0, "it begins at once");
            dealt.lanes.iter().filter(|lane| **lane == 0).count()
        };
        assert_eq!([own_frames(0.0), own_frames(5.0)], [6, 4]);
    }

    #[test]
    fn nobody_waits_for_a_slow_peer_at_the_end() {
        let dealt = deal(&[10.0; 3], &[lane(1.0, 0.0), lane(0.2, 0.0)]);
        assert_eq!(dealt.lanes, [0, 0, 0]);
    }

    #[test]
    fn without_peers_or_frames_nothing_is_dealt() {
        assert_eq!(deal(&[1.0], &[]), Dealt::default());
        assert_eq!(deal(&[1.0], &[lane(0.0, 0.0), lane(f64::NAN, 0.0)]), Dealt::default());
        assert_eq!(deal(&[], &[lane(1.0, 0.0)]), Dealt::default());
    }

    proptest! {
        #[test]
        fn list_scheduling_ends_by_the_bound_and_one_frame_at_its_slowest(
            costs in prop::collection::vec(1.0_f64..100.0, 1..60),
            speeds in prop::collection::vec(0.5_f64..4.0, 1..6),
        ) {
            let lanes: Vec<Lane> = speeds.iter().map(|speed| lane(*speed, 0.0)).collect();
            let dealt = deal(&costs, &lanes);
            prop_assert_eq!(dealt.lanes.len(), costs.len());
            let bound_ms = costs.iter().sum::<f64>() / speeds.iter().sum::<f64>();
            let slowest_ms = costs.iter().copied().fold(0.0, f64::max) / speeds.iter().copied().fold(f64::MAX, f64::min);
            prop_assert!(dealt.makespan_ms >= bound_ms * 0.999);
            prop_assert!(dealt.makespan_ms <= bound_ms + slowest_ms + 1e-6);
        }
    }
}
