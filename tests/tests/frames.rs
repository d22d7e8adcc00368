//! `render --frames`: the frames of an animation on a swarm, through a short-lived node, and alone.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{fs, path::Path, time::Duration};

use p2c2r_testnet::{Output, Testnet, wait_for};
use p2c2r_tests::{
    frame::{arguments, local_hash, scene},
    moving::sliding_box_glb,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Something that must happen soon has this long; no test depends on it being sooner.
const SOON: Duration = Duration::from_mins(1);

/// The reports that `render --frames --json` printed, a line for each frame.
fn reports(output: &Output) -> Vec<Value> {
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn films(reports: &[Value]) -> Vec<&Value> {
    reports.iter().map(|report| &report["film_blake3"]).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn frames_of_a_swarm_are_those_of_one_machine_and_the_scene_travels_once() {
    let mut testnet = Testnet::formed(3).unwrap();
    let scene = testnet.path("sliding.glb");
    fs::write(&scene, sliding_box_glb(true)).unwrap();
    let output = testnet.path("swarm.png");
    let frames = ["--spp", "8", "--frames", "1..=3", "--fps", "2"];
    let report_file = testnet.path("swarm.json");
    let more =
        [&frames[..], &["--split", "spatial", "--wait-peers", "2", "--report", text(&report_file)]].concat();
    let swarm = testnet.node(0).run(&arguments(&scene, &output, &more)).unwrap();
    let together = reports(&swarm);
    assert_eq!(
        together.iter().map(|report| report["frame"].as_u64().unwrap()).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let fetched: Vec<u64> =
        together.iter().map(|report| report["bytes"]["scene"].as_u64().unwrap()).collect();
    let package_bytes = together[0]["scene"]["bytes"].as_u64().unwrap();
    assert_eq!(fetched, [2 * package_bytes, 0, 0], "each of the two others fetched it once");
    for place in 1..=3 {
        let line = format!("frame {place} of 3 (number {place})");
        assert_eq!(swarm.stderr.matches(&line).count(), 1, "{}", swarm.stderr);
        let picture = fs::read(testnet.path(&format!("swarm.000{place}.png"))).unwrap();
        assert_eq!(&picture[1..4], b"PNG");
        let kept = fs::read(testnet.path(&format!("swarm.000{place}.json"))).unwrap();
        let kept: Value = serde_json::from_slice(&kept).unwrap();
        assert_eq!(kept["film_blake3"], together[place - 1]["film_blake3"]);
    }
    assert!(!output.exists() && !report_file.exists(), "every name has a number");

    let alone = testnet.path("alone.png");
    let more = [&frames[..], &["--local", "--threads", "2"]].concat();
    let alone = reports(&testnet.run(&arguments(&scene, &alone, &more)).unwrap());
    assert_eq!(films(&together), films(&alone));
    let moments: Vec<u64> = alone.iter().map(|report| report["scene"]["time_us"].as_u64().unwrap()).collect();
    assert_eq!(moments, [500_000, 1_000_000, 1_500_000]);
    assert_ne!(films(&alone)[0], films(&alone)[1], "the box has moved");
    assert_eq!(films(&alone)[1], films(&alone)[2], "its animation has ended");
}

#[test]
fn a_scene_without_camera_moves_through_the_picture_and_a_frame_is_the_same_beside_others() {
    let testnet = Testnet::new().unwrap();
    let scene = testnet.path("sliding.glb");
    fs::write(&scene, sliding_box_glb(false)).unwrap();
    let render = |name: &str, frames: &str| {
        let output = testnet.path(name);
        let more = ["--spp", "2", "--fps", "4", "--local", "--threads", "2", "--frames", frames];
        reports(&testnet.run(&arguments(&scene, &output, &more)).unwrap())
    };
    let three = render("three.png", "0..=2");
    assert_ne!(films(&three)[0], films(&three)[1]);
    assert_eq!(films(&render("last.png", "2")), [films(&three)[2]]);
    // The camera keeps what the first moment shows in view; a second later, two widths to the right, the box is not.
    let empty = render("gone.png", "4");
    let rays = |report: &Value| report["rays"].as_u64().unwrap();
    assert!(rays(&empty[0]) < rays(&three[0]), "{} {}", rays(&empty[0]), rays(&three[0]));
}

#[test]
fn frames_of_a_scene_that_does_not_move_are_all_the_same() {
    let testnet = Testnet::new().unwrap();
    let scene = scene(&testnet, "cornell");
    let output = testnet.path("still.png");
    // Through a short-lived node, which is started once.
    let network = ["--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "--threads", "2"];
    let log = testnet.path("decisions");
    let more = [&["--spp", "4", "--frames", "7..=9", "--decision-log", text(&log)], &network[..]].concat();
    let rendered = testnet.run(&arguments(&scene, &output, &more)).unwrap();
    let frames = reports(&rendered);
    assert_eq!(rendered.stderr.matches("rendering locally").count(), 1, "{}", rendered.stderr);
    let again = testnet.run(&["sim", "--replay", text(&log)]).unwrap();
    assert!(again.stdout.contains("all made again, to the bit"), "{} {}", again.stdout, again.stderr);
    let still = local_hash(&testnet, &scene, &["--spp", "4"]);
    assert_eq!(films(&frames), [&still; 3]);
    assert_eq!(rendered.stderr.matches("all frames are the same").count(), 1, "{}", rendered.stderr);
    assert_eq!(
        frames.iter().map(|frame| frame["scene"]["time_us"].as_u64()).collect::<Vec<_>>(),
        [Some(0); 3]
    );
}

#[test]
fn frames_that_ran_out_of_time_are_told_by_the_exit_code() {
    let testnet = Testnet::new().unwrap();
    let scene = scene(&testnet, "cornell");
    let output = testnet.path("hurried.png");
    let more = ["--spp", "100000", "--frames", "0..=1", "--deadline-ms", "1", "--local", "--threads", "2"];
    let rendered = testnet.run(&arguments(&scene, &output, &more)).unwrap();
    assert_eq!(rendered.code, Some(3), "{}", rendered.stderr);
    assert_eq!(rendered.stdout.lines().count(), 2);
    assert!(rendered.stderr.contains("frame 1 is partial"), "{}", rendered.stderr);
    assert!(testnet.path("hurried.0000.png").exists() && testnet.path("hurried.0001.png").exists());
}

#[test]
fn an_interruption_leaves_the_frames_that_are_done() {
    let mut testnet = Testnet::formed(1).unwrap();
    let scene = scene(&testnet, "cornell");
    let output = testnet.path("cut.png");
    let arguments = arguments(&scene, &output, &["--spp", "4", "--frames", "0..=99999"]);
    let mut job = testnet.node(0).spawn(&arguments).unwrap();
    let second = testnet.path("cut.0001.png");
    wait_for("the second frame", SOON, || second.exists()).unwrap();
    let process = Pid::from_raw(i32::try_from(job.id()).unwrap()).unwrap();
    kill_process(process, Signal::INT).unwrap();
    assert_eq!(job.wait().unwrap().code(), Some(130));
    wait_for("the node idle again", SOON, || {
        testnet.node(0).ask(&["status", "--json"]).is_some_and(|status| status["jobs"] == 0)
    })
    .unwrap();
    let names = || -> Vec<String> {
        let entries = fs::read_dir(testnet.path("")).unwrap().filter_map(Result::ok);
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("cut.")).collect()
    };
    wait_for("half a picture being taken away", SOON, || {
        names().iter().all(|name| !name.ends_with(".partial"))
    })
    .unwrap();
    let names = names();
    assert!(names.len() >= 2 && names.len() < 50_000, "{}", names.len());
    for name in names {
        let picture = fs::read(testnet.path(&name)).unwrap();
        assert!(picture.ends_with(b"IEND\xae\x42\x60\x82"), "{name} is whole");
    }
}
