//! What the coordinator learns of real processes.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{
    collections::BTreeSet,
    fs::File,
    io::BufReader,
    path::Path,
    sync::{Mutex, PoisonError},
};

use p2c2r_protocol::id::NodeId;
use p2c2r_scheduler::decision::{Entry, file};
use p2c2r_testnet::{NodeOptions, Testnet};
use p2c2r_tests::frame::{arguments, report, scene};

/// Two of the four nodes take so many times as long as the others: a ninth of the frame is theirs.
const THROTTLE: &str = "8";
/// Frames within which shares must have moved.
const FRAMES: u32 = 5;

/// Benchmarks at the start are not to be disturbed by the other test's tiles.
static TURN: Mutex<()> = Mutex::new(());

/// A swarm of four, two of which are slow, and the share of the cost that was planned for these in each frame.
fn planned_for_the_slow(throttle: &[&str]) -> Vec<f64> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut testnet = Testnet::new().unwrap();
    let log = testnet.path("decisions");
    let mut options = NodeOptions::default();
    options.arguments.extend(["--decision-log".to_owned(), log.to_str().unwrap().to_owned()]);
    testnet.start(&options).unwrap();
    let ticket = testnet.node(0).ticket().unwrap();
    testnet.start(&NodeOptions::joining(&ticket)).unwrap();
    for _ in 0..2 {
        let mut options = NodeOptions::joining(&ticket);
        options.arguments.extend(throttle.iter().map(ToString::to_string));
        testnet.start(&options).unwrap();
    }
    testnet.wait_until_formed(4).unwrap();
    let slow: BTreeSet<NodeId> = (2..4)
        .map(|index| {
            let status = testnet.node(index).ask(&["status", "--json"]).unwrap();
            status["node"].as_str().unwrap().parse().unwrap()
        })
        .collect();
    let scene = scene(&testnet, "spheres");
    let output = testnet.path("swarm.png");
    for frame in 1..=FRAMES + 1 {
        let seed = frame.to_string();
        let more = ["--spp", "32", "--seed", &seed, "--wait-peers", "3"];
        report(&testnet.node(0).run(&arguments(&scene, &output, &more)).unwrap());
    }
    plans(&log, &slow)
}

fn plans(log: &Path, slow: &BTreeSet<NodeId>) -> Vec<f64> {
    file::read(BufReader::new(File::open(log).unwrap()))
        .filter_map(|entry| match entry.unwrap() {
            Entry::Planned { plan, .. } => {
                let cost = |theirs: bool| -> f64 {
                    let tiles = plan.tiles.iter();
                    tiles
                        .filter(|tile| !theirs || tile.primary.is_some_and(|peer| slow.contains(&peer)))
                        .map(|tile| tile.cost)
                        .sum()
                };
                Some(cost(true) / cost(false))
            }
            Entry::Decided { .. } => None,
        })
        .collect()
}

#[test]
fn slow_peers_that_say_so_get_little_from_the_first_frame_on() {
    let planned = planned_for_the_slow(&["--throttle", THROTTLE]);
    assert!(planned.iter().all(|share| *share < 0.3), "{planned:?}");
}

#[test]
fn b14_slow_peers_that_hide_it_are_found_out() {
    let planned = planned_for_the_slow(&["--throttle", THROTTLE, "--throttle-hidden"]);
    assert!(planned[0] > 0.35, "they were believed: {planned:?}");
    assert!(planned[FRAMES as usize] < 0.25, "{planned:?}");
}
