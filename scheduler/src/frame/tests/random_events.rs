//! Random events: whatever happens, the frame machine keeps its promises.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Act {
    Deliver(prop::sample::Index),
    Duplicate(prop::sample::Index),
    Refuse(prop::sample::Index, u32, bool),
    Spoil(prop::sample::Index),
    Take(prop::sample::Index),
    Tell(prop::sample::Index, f32),
    Lose(u8),
    Join(u8),
    Wait(u16),
}

fn acts() -> impl Strategy<Value = Act> {
    use prop::sample::Index;
    prop_oneof![
        4 => any::<Index>().prop_map(Act::Deliver),
        1 => any::<Index>().prop_map(Act::Duplicate),
        1 => (any::<Index>(), 0_u32..2000, any::<bool>()).prop_map(|(at, ms, fault)| Act::Refuse(at, ms, fault)),
        1 => any::<Index>().prop_map(Act::Spoil),
        2 => any::<Index>().prop_map(Act::Take),
        2 => (any::<Index>(), any::<f32>()).prop_map(|(at, fraction)| Act::Tell(at, fraction)),
        2 => (any::<Index>(), 0.0_f32..=1.0).prop_map(|(at, fraction)| Act::Tell(at, fraction)),
        1 => (1_u8..6).prop_map(Act::Lose),
        1 => (1_u8..6).prop_map(Act::Join),
        2 => (1_u16..3000).prop_map(Act::Wait),
    ]
}

proptest! {
    #[test]
    fn i1_whatever_happens_no_tile_is_accepted_twice_and_the_frame_ends(
        acts in prop::collection::vec(acts(), 0..80),
        peers in 1_u8..5,
    ) {
        let views: Vec<PeerView> = (0..peers).map(view).collect();
        let mut stage = Stage::started(&views);
        let mut past: Vec<TaskId> = Vec::new();
        let pick = |stage: &Stage, at: prop::sample::Index| {
            let out: Vec<TaskId> = stage.out.keys().copied().collect();
            (!out.is_empty()).then(|| out[at.index(out.len())])
        };
        for act in acts {
            if stage.end.is_some() {
                break;
            }
            match act {
                Act::Deliver(at) => if let Some(task) = pick(&stage, at) {
                    past.push(task);
                    stage.deliver(task);
                },
                Act::Duplicate(at) => if !past.is_empty() {
                    let task = past[at.index(past.len())];
                    stage.event(Event::Delivered { task, queue_ms: 0.0, execution_ms: 1.0 });
                },
                Act::Refuse(at, retry_after_ms, fault) => if let Some(task) = pick(&stage, at) {
                    stage.out.remove(&task);
                    stage.event(Event::Rejected { task, retry_after_ms, fault });
                },
                Act::Spoil(at) => if let Some(task) = pick(&stage, at) {
                    let (peer, _) = stage.out[&task];
                    if peer != id(0) {
                        stage.out.retain(|_, (at, _)| *at != peer);
                        stage.event(Event::Invalid { task });
                    }
                },
                Act::Take(at) => if let Some(task) = pick(&stage, at) {
                    stage.event(Event::Accepted { task });
                },
                Act::Tell(at, fraction) => if let Some(task) = pick(&stage, at) {
                    stage.event(Event::Progress { task, fraction });
                },
                Act::Lose(peer) => {
                    stage.out.retain(|_, (at, _)| *at != id(peer));
                    stage.event(Event::PeerLost(id(peer)));
                }
                Act::Join(peer) => stage.event(Event::PeerReady(view(peer))),
                Act::Wait(ms) => stage.wait(f64::from(ms)),
            }
        }
        // Own device is there throughout, unless it said three times that it cannot.
        stage.finish();
        if stage.end == Some(FrameEnd::Complete) {
            stage.assert_complete();
        }
    }

    #[test]
    fn i6_the_same_events_give_the_same_commands(waits in prop::collection::vec(1_u16..2000, 1..20)) {
        let play = || {
            let mut stage = Stage::started(&[view(0), view(1), view(2)]);
            for ms in &waits {
                if let Some(task) = stage.out.keys().next().copied() {
                    stage.deliver(task);
                }
                if stage.end.is_none() {
                    stage.wait(f64::from(*ms));
                }
            }
            format!("{:?}", stage.frame)
        };
        prop_assert_eq!(play(), play());
    }
}
