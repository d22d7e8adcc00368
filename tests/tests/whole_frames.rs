//! `render --frames --split temporal`, and `nested`: whole frames at different peers, the last ones cut, and what is left to
//! do after a crash.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use p2c2r_testnet::{Output, Testnet, wait_for};
use p2c2r_tests::{frame::arguments, moving::sliding_box_glb};
use serde_json::Value;

/// Something that must happen soon has this long; no test depends on it being sooner.
const SOON: Duration = Duration::from_mins(1);
/// Frames of the animation.
const FRAMES: u64 = 12;

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

fn reports(output: &Output) -> Vec<Value> {
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The pictures of an animation that are there, with the time of their last change.
fn pictures(testnet: &Testnet, name: &str) -> BTreeMap<u64, (PathBuf, SystemTime)> {
    (0..FRAMES)
        .filter_map(|frame| {
            let path = testnet.path(&format!("{name}.{frame:04}.png"));
            let changed = fs::metadata(&path).ok()?.modified().ok()?;
            Some((frame, (path, changed)))
        })
        .collect()
}

/// The animation, in the words of the command line.
fn sequence(samples: &str) -> [&str; 6] {
    ["--frames", "0..=11", "--fps", "12", "--spp", samples]
}

fn assert_same_as_alone(testnet: &Testnet, scene: &std::path::Path, samples: &str) {
    let output = testnet.path("alone.png");
    let more = [&sequence(samples)[..], &["--local", "--threads", "2"]].concat();
    let alone = testnet.run(&arguments(scene, &output, &more)).unwrap();
    assert_eq!(alone.code, Some(0), "{}", alone.stderr);
    let (together, alone) = (pictures(testnet, "swarm"), pictures(testnet, "alone"));
    assert_eq!((together.len() as u64, alone.len() as u64), (FRAMES, FRAMES));
    for frame in 0..FRAMES {
        let bytes = |pictures: &BTreeMap<u64, (PathBuf, SystemTime)>| fs::read(&pictures[&frame].0).unwrap();
        assert_eq!(bytes(&together), bytes(&alone), "frame {frame}");
    }
}

/// Renders the animation with three nodes: the scene, and what is told of the frames, all of them in order.
fn rendered(testnet: &mut Testnet, split: &str) -> (PathBuf, Vec<Value>) {
    let scene = testnet.path("sliding.glb");
    fs::write(&scene, sliding_box_glb(true)).unwrap();
    let output = testnet.path("swarm.png");
    let more = [&sequence("32")[..], &["--split", split, "--wait-peers", "2"]].concat();
    let swarm = testnet.node(0).run(&arguments(&scene, &output, &more)).unwrap();
    assert_eq!(swarm.code, Some(0), "{}", swarm.stderr);
    let reports = reports(&swarm);
    let numbers: Vec<u64> = reports.iter().map(|report| report["frame"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..FRAMES).collect::<Vec<u64>>());
    (scene, reports)
}

#[test]
fn whole_frames_of_several_peers_are_those_of_one_machine() {
    let mut testnet = Testnet::formed(3).unwrap();
    let (scene, reports) = rendered(&mut testnet, "temporal");
    let peers: BTreeSet<&str> = reports
        .iter()
        .flat_map(|report| report["tiles"].as_array().unwrap())
        .map(|tile| tile["peer"].as_str().unwrap())
        .collect();
    assert!(peers.len() >= 2, "one peer rendered all of it");
    let whole = reports.iter().filter(|report| report["tiles"].as_array().unwrap().len() == 1).count();
    assert!(whole >= reports.len() / 2, "frames are not cut: {whole}");
    let scene_bytes: u64 = reports.iter().map(|report| report["bytes"]["scene"].as_u64().unwrap()).sum();
    let package_bytes = reports[0]["scene"]["bytes"].as_u64().unwrap();
    assert_eq!(scene_bytes, 2 * package_bytes, "each of the two others fetched it once");
    assert_same_as_alone(&testnet, &scene, "32");
}

#[test]
fn whole_frames_and_then_cut_ones_are_those_of_one_machine() {
    let mut testnet = Testnet::formed(3).unwrap();
    let (scene, reports) = rendered(&mut testnet, "nested");
    let split = &reports[0]["split"];
    let whole = split["whole_frames"].as_u64().unwrap();
    assert!(split["strategy"] == "nested" && (1..FRAMES).contains(&whole), "{split}");
    let forecasts = split["forecasts"].as_array().unwrap();
    assert!(forecasts.iter().any(|forecast| forecast["strategy"] == "nested"), "{split}");
    let peers = |report: &Value| {
        let tiles = report["tiles"].as_array().unwrap();
        tiles.iter().map(|tile| tile["peer"].as_str().unwrap().to_owned()).collect::<BTreeSet<String>>()
    };
    let (whole, cut) = reports.split_at(whole as usize);
    let among_several =
        |reports: &[Value]| reports.iter().flat_map(peers).collect::<BTreeSet<String>>().len();
    assert!(among_several(whole) >= 2, "one peer rendered all that were not cut");
    assert!(cut.iter().all(|report| peers(report).len() >= 2), "each of the last ones is cut among several");
    assert_same_as_alone(&testnet, &scene, "32");
}

#[test]
fn f18_after_kill_9_resume_renders_what_is_missing_and_nothing_twice() {
    let mut testnet = Testnet::formed(3).unwrap();
    let scene = testnet.path("sliding.glb");
    fs::write(&scene, sliding_box_glb(true)).unwrap();
    let output = testnet.path("swarm.png");
    let (ticket, data) = (testnet.node(0).ticket().unwrap(), testnet.path("owner"));
    let own = ["--no-mdns", "--backend", "cpu", "--threads", "1", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let swarm = ["--split", "temporal", "--wait-peers", "3", "--join", &ticket, "--data-dir", text(&data)];
    let begin = [&sequence("200")[..], &own, &swarm].concat();
    let without_force: Vec<&str> =
        arguments(&scene, &output, &begin).into_iter().filter(|argument| *argument != "--force").collect();
    let mut owner = testnet.spawn(&without_force).unwrap();
    wait_for("some frames", SOON, || pictures(&testnet, "swarm").len() >= 3).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    let before = pictures(&testnet, "swarm");
    assert!(before.len() < FRAMES as usize, "it was over before it was killed");

    let again = [&without_force[..], &["--resume"]].concat();
    let resumed = testnet.run(&again).unwrap();
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    let rendered: BTreeSet<u64> =
        reports(&resumed).iter().map(|report| report["frame"].as_u64().unwrap()).collect();
    let after = pictures(&testnet, "swarm");
    // The picture that was being written may have been there without a note of it.
    let kept = FRAMES as usize - rendered.len();
    assert!(kept + 1 >= before.len(), "{kept} of {} were kept", before.len());
    assert!(
        resumed.stderr.contains(&format!("{kept} of 12 frames are there from before")),
        "{}",
        resumed.stderr
    );
    for (frame, (_, changed)) in &before {
        assert!(rendered.contains(frame) || after[frame].1 == *changed, "frame {frame} was rendered twice");
    }
    assert_same_as_alone(&testnet, &scene, "200");

    let nothing_left = testnet.run(&again).unwrap();
    assert_eq!((nothing_left.code, nothing_left.stdout.as_str()), (Some(0), ""), "{}", nothing_left.stderr);
}

#[test]
fn what_cannot_be_split_so_is_said_before_anything_is_rendered() {
    let testnet = Testnet::new().unwrap();
    let scene = testnet.path("sliding.glb");
    fs::write(&scene, sliding_box_glb(true)).unwrap();
    let output = testnet.path("swarm.png");
    for (more, word) in [
        (&["--split", "temporal", "--local"][..], "say which --frames"),
        (&["--split", "nested", "--local"], "say which --frames"),
        (&["--split", "temporal", "--local", "--frames", "0..=1", "--deadline-ms", "5"], "--deadline-ms out"),
        (&["--resume"], "--frames"),
        (&["--resume", "--local", "--frames", "0..=1"], "--local"),
        (&["--split", "sideways"], "temporal"),
    ] {
        let refused = testnet.run(&arguments(&scene, &output, more)).unwrap();
        assert!(
            matches!(refused.code, Some(1 | 2)) && refused.stderr.contains(word),
            "{more:?}: {}",
            refused.stderr
        );
    }
}
