//! `demo learning`: five machines like the seed document's, tasks of which some fail, and a coordinator that learns from
//! each; beside one that does not.

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use p2c2r_protocol::tile::FrameSize;
use serde::Serialize;

use super::{
    fleet::{Fleet, Machine},
    shooting::{night_city, shoot},
    tally::{Figures, Phase, Tally},
};
use crate::{cli::DemoArgs, contributor::hindrance::Hindrance, coordinator::Policy};

/// The seed document's five machines: speeds 1.36, 1.0, 0.71, 1.21 and 0.86, slowed so that all have room on two cores.
const MACHINES: [Machine; 5] = [
    machine("GPU_Beast", 2.9, 20, 0.03),
    machine("Balanced_1", 4.0, 30, 0.07),
    machine("Budget_PC", 5.6, 50, 0.15),
    machine("Unstable", 3.3, 25, 0.35),
    machine("Slow_Reliable", 4.7, 80, 0.015),
];
/// Tasks that each coordinator does, at least.
const TASKS: u32 = 130;
/// The phases of the seed document, in tasks.
const PHASES: [(&str, usize, usize); 3] =
    [("first 20 tasks", 0, 20), ("tasks 51 to 100", 50, 100), ("after 100 tasks", 100, usize::MAX)];

const fn machine(name: &'static str, throttle: f32, delay_ms: u32, fail_share: f32) -> Machine {
    Machine { name, throttle, hindrance: Hindrance { delay_ms, fail_share, silent_share: 0.3 } }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome {
    schema: &'static str,
    naive: Figures,
    learned: Figures,
    phases: Vec<PhaseOutcome>,
    peers: Vec<PeerOutcome>,
}

#[derive(Serialize)]
struct PhaseOutcome {
    name: &'static str,
    naive: Option<Phase>,
    learned: Option<Phase>,
}

#[derive(Serialize)]
struct PeerOutcome {
    name: &'static str,
    /// As it was set up: relative speed and share of tasks that fail.
    true_speed: f64,
    true_risk: f64,
    /// As it was learned.
    learned_speed: f64,
    learned_risk: f64,
    outcomes: u64,
}

/// Runs the demo.
pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let tasks = args.frames.map_or(TASKS, |frames| frames * MACHINES.len() as u32) as usize;
    eprintln!("starting five nodes, slowed, delayed and failing like the seed document's five machines");
    let fleet = Fleet::start(&MACHINES).await?;
    let spec = night_city(&fleet, FrameSize::new(320, 180)?, 4, 30_000).await?;
    eprintln!("{tasks} ray-tracing tasks by each coordinator, frame by frame in turn");
    let mut tallies = [Tally::of(MACHINES.len()), Tally::of(MACHINES.len())];
    let mut seed = 0;
    while tallies.iter().any(|tally| tally.tasks.len() < tasks) {
        seed += 1;
        for (policy, tally) in [Policy::Naive, Policy::Learned].into_iter().zip(&mut tallies) {
            if tally.tasks.len() < tasks {
                tally.add(shoot(&fleet, &spec, policy, seed).await?.report);
            }
        }
        let [naive, learned] = &tallies;
        let last = |tally: &Tally| tally.frames_ms.last().copied().unwrap_or(0.0);
        eprintln!(
            "frame {seed:2}: naive {:5.0} ms ({:3} tasks), p2c2r {:5.0} ms ({:3} tasks)",
            last(naive),
            naive.tasks.len(),
            last(learned),
            learned.tasks.len()
        );
    }
    let outcome = outcome(&fleet, &tallies);
    let last: Vec<String> = tallies[1]
        .tasks
        .iter()
        .rev()
        .take(6)
        .map(|task| format!("{:.0}/{:.0}", task.predicted_ms, task.actual_ms))
        .collect();
    fleet.stop().await;
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        print(&outcome, &last);
    }
    Ok(())
}

fn outcome(fleet: &Fleet, tallies: &[Tally; 2]) -> Outcome {
    let [naive, learned] = tallies;
    let phases = PHASES.map(|(name, from, to)| PhaseOutcome {
        name,
        naive: naive.phase(from, to),
        learned: learned.phase(from, to),
    });
    let speeds = fleet.node.coordinator.learned();
    let known = |index: usize| {
        let id = fleet.members.get(index).map(|member| member.id);
        speeds.iter().find(|(node, _)| Some(*node) == id).map(|(_, speed)| *speed)
    };
    // Relative to the machine in the middle, as the document puts it.
    let middle = known(1).map_or(1.0, |speed| speed.cost_per_ms).max(1e-9);
    let peers = MACHINES.iter().enumerate().map(|(index, machine)| PeerOutcome {
        name: machine.name,
        true_speed: f64::from(MACHINES[1].throttle / machine.throttle),
        true_risk: f64::from(machine.hindrance.fail_share),
        learned_speed: known(index).map_or(0.0, |speed| speed.cost_per_ms / middle),
        learned_risk: known(index).map_or(0.0, |speed| speed.failure_risk),
        outcomes: known(index).map_or(0, |speed| speed.outcomes),
    });
    Outcome {
        schema: "p2c2r.demo.learning/1",
        naive: naive.figures(),
        learned: learned.figures(),
        phases: phases.into(),
        peers: peers.collect(),
    }
}

fn print(outcome: &Outcome, last: &[String]) {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header([
        "",
        "naive: ms a task",
        "p2c2r: ms a task",
        "prediction off by",
        "naive: failures felt",
        "p2c2r: failures felt",
        "attempts that failed",
    ]);
    for phase in &outcome.phases {
        let of =
            |phase: &Option<Phase>, show: &dyn Fn(&Phase) -> String| phase.as_ref().map_or("-".into(), show);
        table.add_row([
            phase.name.to_owned(),
            of(&phase.naive, &|phase| format!("{:.0}", phase.mean_ms)),
            of(&phase.learned, &|phase| format!("{:.0}", phase.mean_ms)),
            of(&phase.learned, &|phase| phase.prediction_error.map_or("-".into(), percent)),
            of(&phase.naive, &|phase| percent(phase.visible_share)),
            of(&phase.learned, &|phase| percent(phase.visible_share)),
            of(&phase.learned, &|phase| percent(phase.failed_share)),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!(
        "\nWhat a task takes from its offer to its result, as more of them are known (the seed document says 80, 55, 48 ms and\n15, 5, 3 % failures; its tasks and machines are smaller):\n{table}"
    );
    let mut peers = Table::new();
    peers.load_style(UTF8_BORDERS_ONLY);
    peers.set_header(["machine", "speed: true", "learned", "fails: true", "learned", "from tasks"]);
    for peer in &outcome.peers {
        peers.add_row([
            peer.name.to_owned(),
            format!("{:.2}", peer.true_speed),
            format!("{:.2}", peer.learned_speed),
            percent(peer.true_risk),
            percent(peer.learned_risk),
            peer.outcomes.to_string(),
        ]);
    }
    for column in peers.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("\nWhat was learned of the machines (speeds relative to Balanced_1):\n{peers}");
    println!("\nPredicted/actual of the last tasks, ms: {}", last.join(", "));
    let (naive, learned) = (&outcome.naive, &outcome.learned);
    let less = |naive: f64, learned: f64| {
        if naive > 0.0 { format!("{:+.0} %", (learned / naive - 1.0) * 100.0) } else { "-".to_owned() }
    };
    println!(
        "Whole frames: naive {:.0} ms, p2c2r {:.0} ms ({}; the seed document says -40 %); failures felt {} -> {} ({}; it says -80 %)",
        naive.latency_ms,
        learned.latency_ms,
        less(naive.latency_ms, learned.latency_ms),
        percent(naive.visible_failure_share),
        percent(learned.visible_failure_share),
        less(naive.visible_failure_share, learned.visible_failure_share),
    );
}
