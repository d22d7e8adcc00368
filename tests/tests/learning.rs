//! What the coordinator learns of real processes.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use p2c2r_testnet::{NodeOptions, Testnet};
use p2c2r_tests::frame::{arguments, report, scene};
use serde_json::Value;

/// Two of the four nodes take so many times as long as the others.
const THROTTLE: &str = "8";
/// Frames within which shares must have moved.
const FRAMES: u32 = 5;

/// A swarm of four, two of which are slow, and the share of the picture that the slow ones were given in each frame.
fn shares_of_the_slow(throttle: &[&str]) -> Vec<f64> {
    let mut testnet = Testnet::formed(2).unwrap();
    let ticket = testnet.node(0).ticket().unwrap();
    for _ in 0..2 {
        let mut options = NodeOptions::joining(&ticket);
        options.arguments.extend(throttle.iter().map(ToString::to_string));
        testnet.start(&options).unwrap();
    }
    testnet.wait_until_formed(4).unwrap();
    let fast: Vec<Value> =
        (0..2).map(|index| testnet.node(index).ask(&["status", "--json"]).unwrap()["node"].clone()).collect();
    let scene = scene(&testnet, "spheres");
    let output = testnet.path("swarm.png");
    let shares = (1..=FRAMES + 1).map(|frame| {
        let seed = frame.to_string();
        let more = ["--spp", "32", "--seed", &seed, "--wait-peers", "3"];
        let frame = report(&testnet.node(0).run(&arguments(&scene, &output, &more)).unwrap());
        let peers = frame["peers"].as_array().unwrap().iter();
        peers.filter(|peer| !fast.contains(&peer["node"])).map(|peer| peer["share"].as_f64().unwrap()).sum()
    });
    shares.collect()
}

/// Equal shares would give them half, their true speed gives them a ninth.
#[test]
fn b14_slow_peers_get_little_whether_they_say_that_they_are_slow_or_not() {
    for throttle in [&["--throttle", THROTTLE][..], &["--throttle", THROTTLE, "--throttle-hidden"]] {
        let shares = shares_of_the_slow(throttle);
        assert!(shares[FRAMES as usize] < 0.3, "{throttle:?}: {shares:?}");
    }
}
