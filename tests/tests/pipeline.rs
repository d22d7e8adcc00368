//! `render --frames --split pipeline`: geometry, lighting and the picture at different peers, stage handing to stage.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use p2c2r_testnet::{Output, Testnet, wait_for};
use p2c2r_tests::{frame::arguments, moving::sliding_box_glb};
use serde_json::Value;

/// Something that must happen soon has this long; no test depends on it being sooner.
const SOON: Duration = Duration::from_mins(1);
/// Frames of the animation.
const FRAMES: u64 = 8;

fn reports(output: &Output) -> Vec<Value> {
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sequence(samples: &str) -> [&str; 7] {
    ["--frames", "0..=7", "--fps", "8", "--spp", samples, "--denoise"]
}

fn assert_same_as_alone(testnet: &Testnet, scene: &Path, sequence: &[&str]) {
    let output = testnet.path("alone.png");
    let more = [sequence, &["--local", "--threads", "2"]].concat();
    let alone = testnet.run(&arguments(scene, &output, &more)).unwrap();
    assert_eq!(alone.code, Some(0), "{}", alone.stderr);
    for frame in 0..FRAMES {
        let bytes = |name: &str| fs::read(testnet.path(&format!("{name}.{frame:04}.png"))).unwrap();
        assert!(bytes("swarm") == bytes("alone"), "frame {frame} is another picture");
    }
}

#[test]
fn pictures_of_three_stages_at_three_peers_are_those_of_one_machine() {
    let mut testnet = Testnet::formed(3).unwrap();
    let scene = testnet.path("sliding.glb");
    fs::write(&scene, sliding_box_glb(true)).unwrap();
    let output = testnet.path("swarm.png");
    let sequence = sequence("16");
    let more = [&sequence[..], &["--split", "pipeline", "--wait-peers", "2"]].concat();
    let reports = reports(&testnet.node(0).run(&arguments(&scene, &output, &more)).unwrap());
    let numbers: Vec<u64> = reports.iter().map(|report| report["frame"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..FRAMES).collect::<Vec<u64>>());
    let last = &reports[FRAMES as usize - 1]["pipeline"];
    let stages: BTreeSet<&str> =
        last["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, BTreeSet::from(["geometry", "lighting", "post"]), "{last}");
    let peers: BTreeSet<&str> =
        last["stages"].as_array().unwrap().iter().map(|stage| stage["peer"].as_str().unwrap()).collect();
    assert!(peers.len() >= 2, "one peer did it all: {last}");
    // The film never came by the coordinator, but its name did.
    let alone = testnet.path("films.png");
    let local = [&sequence[..], &["--local", "--threads", "2"]].concat();
    let films: Vec<Value> = self::reports(&testnet.run(&arguments(&scene, &alone, &local)).unwrap());
    for (pipeline, alone) in reports.iter().zip(&films) {
        assert_eq!(pipeline["film_blake3"], alone["film_blake3"]);
    }
    assert_same_as_alone(&testnet, &scene, &sequence);
}

#[test]
fn f1_a_stage_that_loses_its_peer_is_done_by_others() {
    let mut testnet = Testnet::formed(4).unwrap();
    let scene = testnet.path("sliding.glb");
    fs::write(&scene, sliding_box_glb(true)).unwrap();
    let output = testnet.path("swarm.png");
    let sequence = sequence("200");
    let more = [&sequence[..], &["--split", "pipeline", "--wait-peers", "3"]].concat();
    let mut job = testnet.node(0).spawn(&arguments(&scene, &output, &more)).unwrap();
    let first = testnet.path("swarm.0000.png");
    wait_for("the first frame", SOON, || first.exists()).unwrap();
    // Whoever is at work now does the lighting.
    let mut at_work = None;
    wait_for("a contributor at work", SOON, || {
        at_work = (1..4).find(|index| testnet.node(*index).tiles_running() > 0);
        at_work.is_some() || testnet.path("swarm.0007.png").exists()
    })
    .unwrap();
    if let Some(index) = at_work {
        testnet.node(index).kill().unwrap();
    }
    assert!(job.wait().unwrap().success());
    assert_same_as_alone(&testnet, &scene, &sequence);
}

#[test]
fn pictures_that_others_cannot_make_are_refused_before_anything_is_rendered() {
    let testnet = Testnet::new().unwrap();
    let scene = testnet.path("sliding.glb");
    fs::write(&scene, sliding_box_glb(true)).unwrap();
    for (name, more, word) in [
        ("a.exr", &["--frames", "0..=1"][..], ".png"),
        ("a.png", &["--frames", "0..=1", "--denoise", "oidn"], "oidn"),
        ("a.png", &[], "--frames"),
    ] {
        let output = testnet.path(name);
        let more = [more, &["--split", "pipeline", "--local"]].concat();
        let refused = testnet.run(&arguments(&scene, &output, &more)).unwrap();
        assert!(refused.code == Some(1) && refused.stderr.contains(word), "{name}: {}", refused.stderr);
    }
}
