//! Scenes on their way: from many sources at once, and through a crash.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use p2c2r_testnet::{Node, NodeOptions, Testnet, wait_for};
use p2c2r_tests::frame::arguments;
use serde_json::Value;

/// Something that must happen soon has this long; no test depends on it being sooner.
const SOON: Duration = Duration::from_mins(2);

/// A scene of some dozens of chunks, and its size in bytes.
fn large_scene(testnet: &Testnet) -> (PathBuf, u64) {
    let path = testnet.path("large.glb");
    let arguments = ["scene", "spheres", "-o", path.to_str().unwrap(), "--triangles", "200000", "--force"];
    let written = testnet.run(&arguments).unwrap();
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    let size_bytes = fs::metadata(&path).unwrap().len();
    assert!(size_bytes > 20 * (256 << 10), "{size_bytes}");
    (path, size_bytes)
}

/// A frame that is not finished before it is ended: as long as it runs, so many others are asked to fetch its scene.
struct Job(Child);

impl Job {
    fn start(testnet: &mut Testnet, scene: &Path, peers: &str) -> Self {
        let output = testnet.path("never.png");
        let more = ["--spp", "1000000", "--split", "spatial", "--wait-peers", peers];
        Self(testnet.node(0).spawn(&arguments(scene, &output, &more)).unwrap())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status(node: &Node) -> Value {
    node.ask(&["status", "--json"]).unwrap_or_default()
}

/// Bytes that are here of the scene that is on its way.
fn bytes_here(node: &Node) -> u64 {
    status(node)["fetching"][0]["bytes_here"].as_u64().unwrap_or(0)
}

fn has_a_scene(node: &Node) -> bool {
    status(node)["scenes"].as_array().is_some_and(|scenes| !scenes.is_empty())
}

fn traffic(node: &Node, of: &str) -> u64 {
    status(node)["scene_traffic"][of].as_u64().unwrap()
}

#[test]
fn f4_a_contributor_killed_in_the_middle_of_a_scene_goes_on_where_it_was() {
    let mut testnet = Testnet::new().unwrap();
    let (scene, size_bytes) = large_scene(&testnet);
    testnet.start(&NodeOptions::default()).unwrap();
    let ticket = testnet.node(0).ticket().unwrap();
    // Slow enough to be met in its middle: half a minute for all of it.
    let slow = format!("{:.3}", size_bytes as f64 * 8.0 / 1e6 / 30.0);
    let mut options = NodeOptions::joining(&ticket);
    options.arguments.extend(["--download-limit-mbit".to_owned(), slow]);
    testnet.start(&options).unwrap();
    testnet.wait_until_formed(2).unwrap();
    let job = Job::start(&mut testnet, &scene, "1");
    let mut here = 0;
    wait_for("a third of the scene", SOON, || {
        here = bytes_here(testnet.node(1));
        here >= size_bytes / 3
    })
    .unwrap();
    assert!(!has_a_scene(testnet.node(1)), "it is still on its way");
    testnet.node(1).kill().unwrap();
    drop(job);
    testnet.restart(1, &NodeOptions::joining(&ticket)).unwrap();
    testnet.wait_until_formed(2).unwrap();
    let _job = Job::start(&mut testnet, &scene, "1");
    wait_for("the whole scene", SOON, || has_a_scene(testnet.node(1))).unwrap();
    let fetched = traffic(testnet.node(1), "received_bytes");
    assert!(fetched > 0 && fetched <= size_bytes - here, "{fetched} of {size_bytes}; {here} were here");
    assert_eq!(traffic(testnet.node(1), "sources_shunned"), 0);
}

#[test]
fn contributors_give_a_scene_to_each_other_and_it_costs_its_owner_little_more_than_one_copy() {
    const CONTRIBUTORS: usize = 4;
    let mut testnet = Testnet::new().unwrap();
    let (scene, size_bytes) = large_scene(&testnet);
    // No line is much faster than another, as it is where one copy each would be too many.
    let mbit = format!("{:.3}", size_bytes as f64 * 8.0 / 1e6 / 10.0);
    let limit = ["--upload-limit-mbit".to_owned(), mbit];
    let mut options = NodeOptions::default();
    options.arguments.extend(limit.clone());
    let ticket = testnet.start(&options).unwrap().ticket().unwrap();
    for _ in 0..CONTRIBUTORS {
        let mut options = NodeOptions::joining(&ticket);
        options.arguments.extend(limit.clone());
        testnet.start(&options).unwrap();
    }
    testnet.wait_until_formed(CONTRIBUTORS + 1).unwrap();
    let _job = Job::start(&mut testnet, &scene, &CONTRIBUTORS.to_string());
    for index in 1..=CONTRIBUTORS {
        wait_for("the whole scene", SOON, || has_a_scene(testnet.node(index))).unwrap();
    }
    let sent = traffic(testnet.node(0), "sent_bytes");
    assert!(sent >= size_bytes && sent as f64 <= 1.6 * size_bytes as f64, "{sent} of {size_bytes}");
}
