//! The watch has teeth: coordinators that do what must never be done are caught, each by the right invariant.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::path::Path;

use p2c2r_protocol::id::TaskId;
use p2c2r_scheduler::{split::cost_map::CostMap, time::TimeMs, work::FrameWork};
use p2c2r_sim::{
    fault::{Fault, FaultKind, FaultPlan},
    invariant::{Broken, Invariant},
    scenario::Scenario,
    sim::{
        Setup, Simulation,
        desk::{Coordinator, Desk, Ending, News, Order, RunId},
    },
};

const WORLD: &str = r#"name = "tiny"
[work]
frames = 3
work_ms = 10.0
[[peer]]
name = "a"
latency_ms = 2
speed = 1.0
"#;

/// What a coordinator does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Vice {
    None,
    AcceptsWhatIsNotThere,
    AcceptsTwice,
    SaysCompleteTooEarly,
    DistrustsTheHonest,
    NeverEnds,
    WakesInThePast,
    UsesANameTwice,
    AcceptsAfterCancelling,
}

/// Gives the whole frame to the first peer.
struct Coordinated {
    vice: Vice,
    done: u32,
}

impl Coordinator for Coordinated {
    fn start(&mut self, run: RunId, work: &FrameWork, desk: &mut Desk<'_>) {
        let task = run.first_task();
        let offer = |task| Order::Offer { task, peer: 0, tile: 0, rect: work.size.full(), forecast: None };
        desk.order(offer(task));
        match self.vice {
            Vice::AcceptsWhatIsNotThere => desk.order(Order::Accept(task)),
            Vice::SaysCompleteTooEarly => desk.order(Order::Done(run, Ending::Complete)),
            Vice::DistrustsTheHonest => desk.order(Order::Distrust(0)),
            Vice::WakesInThePast => desk.order(Order::WakeAt(run, TimeMs(-1.0))),
            Vice::UsesANameTwice => desk.order(offer(task)),
            Vice::AcceptsAfterCancelling => {
                desk.order(Order::Cancel(task));
                desk.order(Order::Accept(task));
            }
            _ => {}
        }
    }

    fn hear(&mut self, news: News, desk: &mut Desk<'_>) {
        let News::Delivered(task, ..) = news else { return };
        if self.vice == Vice::NeverEnds || task.0 & 0xf_ffff != 0 {
            return;
        }
        desk.order(Order::Accept(task));
        if self.vice == Vice::AcceptsTwice {
            desk.order(Order::Accept(task));
        }
        self.done += 1;
        desk.order(Order::Done(RunId::of(TaskId(task.0)), Ending::Complete));
    }

    fn verifies(&self) -> bool {
        true
    }

    fn restart(&mut self) {}
}

fn run(vice: Vice, faults: Option<&FaultPlan>) -> Result<u64, Broken> {
    let scenario = Scenario::parse(WORLD).unwrap();
    let cost: CostMap = scenario.cells(Path::new(".")).unwrap().map(1e5).unwrap();
    let setup = Setup { scenario: &scenario, cost: &cost, seed: 1, faults };
    Simulation::new(setup, Box::new(Coordinated { vice, done: 0 })).run().map(|finished| finished.event_hash)
}

#[test]
fn every_vice_is_caught_by_its_invariant() {
    assert!(run(Vice::None, None).is_ok());
    for (vice, invariant) in [
        (Vice::AcceptsWhatIsNotThere, Invariant::I2),
        (Vice::AcceptsTwice, Invariant::I1),
        (Vice::SaysCompleteTooEarly, Invariant::I1),
        (Vice::DistrustsTheHonest, Invariant::I7),
        (Vice::NeverEnds, Invariant::I5),
        (Vice::WakesInThePast, Invariant::I5),
        (Vice::UsesANameTwice, Invariant::I8),
        (Vice::AcceptsAfterCancelling, Invariant::I2),
    ] {
        let broken = run(vice, None).unwrap_err();
        assert_eq!(broken.invariant, invariant, "{vice:?}: {broken}");
        assert!(broken.to_string().starts_with("seed 1, event "), "{broken}");
    }
}

#[test]
fn with_faults_a_result_that_is_accepted_twice_has_two_receipts() {
    let plan = FaultPlan { seed: 1, faults: Vec::new(), end_ms: 0.0 };
    assert!(run(Vice::None, Some(&plan)).is_ok());
    assert!(run(Vice::AcceptsTwice, Some(&plan)).is_err());
}

#[test]
fn a_coordinator_that_cannot_cope_with_a_dead_peer_does_not_end() {
    let killed = Fault { kind: FaultKind::PowerLost, begin_ms: 4.0, end_ms: 9000.0, peers: vec![0] };
    let plan = FaultPlan { seed: 1, faults: vec![killed], end_ms: 9000.0 };
    let broken = run(Vice::None, Some(&plan)).unwrap_err();
    assert_eq!(broken.invariant, Invariant::I5);
}

#[test]
fn plans_of_faults_are_all_different_and_end() {
    let plans: Vec<FaultPlan> = (0..100).map(|seed| FaultPlan::draw(seed, 5)).collect();
    for (index, plan) in plans.iter().enumerate() {
        assert!(!plan.faults.is_empty() && plan.end_ms < 60_000.0);
        assert!(plan.faults.iter().all(|fault| !fault.peers.is_empty() && fault.end_ms <= plan.end_ms));
        assert!(plans[index + 1..].iter().all(|other| other.faults != plan.faults));
    }
    assert_eq!(FaultPlan::draw(7, 5), plans[7]);
}
