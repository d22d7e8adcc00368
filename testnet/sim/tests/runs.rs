//! Whole runs: the same again, in small worlds whose outcome is known, and with faults.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use p2c2r_scheduler::{
    decision::{
        Entry,
        file::{self, LogError},
        replay::{ReplayError, replay},
    },
    frame::Command,
};
use p2c2r_sim::{
    experiment::{Experiment, PolicyResult},
    fault::FaultPlan,
    fault_run,
    metrics::Summary,
    plot::{PlotFormat, picture},
    policy::{Policy, machine::Machine},
    report::{json, table},
    scenario::Scenario,
    sim::{Setup, Simulation},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn short(name: &str, frames: u32) -> Scenario {
    let mut scenario = Scenario::read(&folder().join(name).with_extension("toml")).unwrap();
    (scenario.work.frames, scenario.work.warm_up) = (frames, 20);
    scenario
}

fn run(scenario: Scenario, policies: &[Policy], threads: usize) -> (Experiment, Vec<PolicyResult>) {
    let threads = NonZeroUsize::new(threads).unwrap();
    let experiment = Experiment { scenario, policies: policies.to_vec(), seeds: 2, threads };
    let results = experiment.run(&folder()).unwrap();
    (experiment, results)
}

fn alone(text: &str, policy: Policy) -> Summary {
    let (_, results) = run(Scenario::parse(text).unwrap(), &[policy], 1);
    results[0].runs[0].summary.clone()
}

/// One peer of known speed and nothing that disturbs it.
const QUIET: &str = r#"name = "quiet"
[work]
frames = 20
work_ms = 100.0
frame_bytes = 125000
[[peer]]
name = "a"
latency_ms = 40
speed = 2.0
bandwidth_mbps = 100
"#;

#[test]
fn the_same_scenario_and_seed_give_the_same_bytes() {
    let text = |threads| {
        let (experiment, results) = run(short("drift-churn", 80), &Policy::ALL, threads);
        let plot = picture(&experiment.scenario.name, &results, PlotFormat::Svg).unwrap();
        (format!("{:#}", json(&experiment, &results, false)), plot)
    };
    let (first, second) = (text(1), text(2));
    assert_eq!(first, second);
    assert!(first.0.contains("\"schema\": \"p2c2r.sim/1\""));
}

#[test]
fn an_undisturbed_peer_takes_as_long_as_its_numbers_say() {
    let summary = alone(QUIET, Policy::RoundRobin);
    // 20 ms there, 50 ms of work, 10 ms for the bytes, 20 ms back.
    assert!((summary.mean_ms - 100.0).abs() < 1e-3, "{}", summary.mean_ms);
    assert!((summary.bound_ms - 90.0).abs() < 1e-3, "{}", summary.bound_ms);
    assert!((summary.utilisation - 0.5).abs() < 1e-3, "{}", summary.utilisation);
    assert!((summary.useful_utilisation - 0.5).abs() < 1e-3);
    assert!((summary.frames_per_s - 10.0).abs() < 1e-3);
    assert_eq!((summary.attempts, summary.copies, summary.frames_failed), (20, 0, 0));
}

#[test]
fn peers_of_one_uplink_share_it() {
    let peer = |name: &str, uplink: &str| {
        format!("[[peer]]\nname = \"{name}\"\nlatency_ms = 0\nspeed = 10000.0\nbandwidth_mbps = 10\n{uplink}")
    };
    let work = "name = \"shared\"\n[work]\nframes = 5\nwork_ms = 100.0\nframe_bytes = 125000\n";
    let mean = |uplink: &str| {
        alone(&format!("{work}{}{}", peer("a", uplink), peer("b", uplink)), Policy::RoundRobin).mean_ms
    };
    let (apart, together) = (mean(""), mean("uplink = \"u\"\n"));
    assert!((apart - 50.0).abs() < 0.1 && (together - 100.0).abs() < 0.1, "{apart} {together}");
}

#[test]
fn a_peer_that_always_fails_is_seen_to() {
    let text = QUIET.replace("speed = 2.0", "speed = 2.0\nfailure = { base = 1.0 }")
        + "[[peer]]\nname = \"b\"\nlatency_ms = 40\nspeed = 2.0\n";
    for policy in [Policy::RoundRobin, Policy::Learned] {
        let summary = alone(&text, policy);
        assert_eq!((summary.frames_failed, summary.frames_partial), (0, 0), "{policy}");
        assert!(summary.failed_share > 0.05 && summary.visible_failure_share > 0.05, "{policy}");
    }
}

#[test]
fn a_deadline_is_kept_or_missed() {
    let with = |deadline_ms: u32| {
        let text = QUIET.replace("frames = 20", &format!("frames = 20\ndeadline_ms = {deadline_ms}"));
        alone(&text, Policy::RoundRobin)
    };
    assert_eq!(with(120).deadline_misses, 0);
    let late = with(80);
    assert_eq!((late.deadline_misses, late.frames_partial), (20, 20));
    assert!((late.mean_ms - 80.0).abs() < 1e-3);
}

#[test]
fn forgers_are_found_out_and_honest_peers_are_not() {
    let (_, results) = run(short("liars", 200), &[Policy::Learned], 2);
    for run in &results[0].runs {
        assert!(run.summary.forgeries_caught >= 1);
        assert!((1..=2).contains(&run.summary.distrusted), "{}", run.summary.distrusted);
    }
}

#[test]
fn tables_name_every_policy() {
    let (experiment, results) = run(short("lan-five", 20), &Policy::ALL, 2);
    let text = table(&experiment, &results);
    for name in Policy::ALL.map(Policy::name).into_iter().chain(["bound"]) {
        assert!(text.contains(name), "{name}: {text}");
    }
}

/// F1, F2, F4 to F10, F16 in random mixes.
#[test]
fn f00_fifty_seeds_of_faults_break_no_invariant() {
    for (index, name) in ["seed-five", "drift-churn", "liars", "flaky-half", "specialists"].iter().enumerate()
    {
        let scenario = Scenario::read(&folder().join(name).with_extension("toml")).unwrap();
        for seed in (0..10).map(|seed| seed * 5 + index as u64) {
            let run = fault_run::run(&scenario, &folder(), seed).unwrap();
            assert!(run.frames >= 20, "{run:?}");
        }
    }
}

/// Seeds that once broke an invariant: a silent peer that had told of progress was believed for ever; a peer that an
/// outage had made look hundreds of times as slow as it is held a tile, and those that had failed on it got no copy.
#[test]
fn f00_seeds_that_once_broke_an_invariant_hold() {
    for (name, seed) in [("seed-five", 15), ("seed-five", 199)] {
        let scenario = Scenario::read(&folder().join(name).with_extension("toml")).unwrap();
        let run = fault_run::run(&scenario, &folder(), seed).unwrap();
        assert!(run.frames >= 20, "{run:?}");
    }
}

/// With a restart of the coordinator, and with frames that overlap.
#[test]
fn every_decision_of_a_run_can_be_made_again_from_its_log() {
    for name in ["seed-five", "overload"] {
        let scenario = short(name, 40);
        let cost = scenario.cells(&folder()).unwrap().map(1e6).unwrap();
        let entries = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&entries);
        let machine =
            Machine::learned(scenario.start).logged(Arc::new(move |entry| log.lock().unwrap().push(entry)));
        let plan = FaultPlan::draw(4, scenario.each_peer().count());
        let setup = Setup { scenario: &scenario, cost: &cost, seed: 4, faults: Some(&plan) };
        Simulation::new(setup, Box::new(machine)).run().unwrap();

        let mut written = Vec::new();
        for entry in entries.lock().unwrap().iter() {
            file::write(entry, &mut written).unwrap();
        }
        let replayed = replay(file::read(written.as_slice())).unwrap();
        assert!(replayed.frames >= 20 && replayed.commands > 1000, "{replayed:?}");

        let mut entries = std::mem::take(&mut *entries.lock().unwrap());
        let offered = entries.iter_mut().find_map(|entry| match entry {
            Entry::Decided { commands, .. } => commands.iter_mut().find_map(|command| match command {
                Command::Offer { tile, .. } => Some(tile),
                _ => None,
            }),
            Entry::Planned { .. } => None,
        });
        *offered.unwrap() += 1;
        let other = replay(entries.into_iter().map(Ok)).unwrap_err();
        assert!(matches!(other, ReplayError::Otherwise { entry: 2, .. }), "{other}");
        let cut = replay(file::read(&written[..written.len() - 3])).unwrap_err();
        assert!(matches!(cut, ReplayError::Log(LogError::CutOff(_))), "{cut}");
    }
}
