//! Scenes on their way: from many sources at once, through a crash, past a liar, while others render already.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{fs, path::Path, process::Child, time::Duration, time::Instant};

use p2c2r_protocol::limit::SCENE_CHUNK_BYTES;
use p2c2r_testnet::{Node, NodeOptions, Testnet, wait_for};
use p2c2r_tests::{
    frame::{arguments, heavy_scene},
    hostile::HostilePeer,
};
use serde_json::Value;

/// Something that must happen soon has this long; no test depends on it being sooner.
const SOON: Duration = Duration::from_mins(5);
/// Size of the scenes of most tests, bytes: 64 chunks.
const SCENE_BYTES: usize = 16 << 20;

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

/// `run` with a limit of bandwidth at which a scene of so many bytes takes so many seconds.
fn limited(options: NodeOptions, limit: &str, size_bytes: u64, seconds: f64) -> NodeOptions {
    let mut options = options;
    options.arguments.push(limit.to_owned());
    options.arguments.push(format!("{:.3}", size_bytes as f64 * 8.0 / 1e6 / seconds));
    options
}

/// A swarm of an owner with a heavy scene, and its ticket.
fn owner_of(size_bytes: usize, options: &NodeOptions) -> (Testnet, std::path::PathBuf, u64, String) {
    let mut testnet = Testnet::new().unwrap();
    let scene = heavy_scene(&testnet, size_bytes);
    let ticket = testnet.start(options).unwrap().ticket().unwrap();
    let size_bytes = fs::metadata(&scene).unwrap().len();
    (testnet, scene, size_bytes, ticket)
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

/// Kills a contributor in the middle of a scene, starts it again, and gives back what was there, what it fetched then,
/// and the scene's size.
fn fetched_after_a_crash(size_bytes: usize) -> (u64, u64, u64) {
    let (mut testnet, scene, size_bytes, ticket) = owner_of(size_bytes, &NodeOptions::default());
    // Slow enough to be met in its middle.
    let joining = NodeOptions::joining(&ticket);
    testnet.start(&limited(joining.clone(), "--download-limit-mbit", size_bytes, 30.0)).unwrap();
    testnet.wait_until_formed(2).unwrap();
    let job = Job::start(&mut testnet, &scene, "1");
    let mut here = 0;
    wait_for("half of the scene", SOON, || {
        here = bytes_here(testnet.node(1));
        here >= size_bytes / 2
    })
    .unwrap();
    assert!(!has_a_scene(testnet.node(1)), "it is still on its way");
    testnet.node(1).kill().unwrap();
    drop(job);
    testnet.restart(1, &joining).unwrap();
    testnet.wait_until_formed(2).unwrap();
    let _job = Job::start(&mut testnet, &scene, "1");
    wait_for("the whole scene", SOON, || has_a_scene(testnet.node(1))).unwrap();
    assert_eq!(traffic(testnet.node(1), "sources_shunned"), 0);
    (here, traffic(testnet.node(1), "received_bytes"), size_bytes)
}

#[test]
fn f1_a_contributor_killed_in_the_middle_of_a_scene_goes_on_where_it_was() {
    let (here, fetched, size_bytes) = fetched_after_a_crash(SCENE_BYTES);
    // What was there when it was last asked is not fetched again, but for the last chunk: it shows that the size is right.
    assert!(
        fetched > 0 && fetched <= size_bytes - here + u64::from(SCENE_CHUNK_BYTES),
        "{fetched} of {size_bytes}; {here} were here"
    );
}

/// Lets so many contributors fetch a scene side by side; gives back the owner's and everybody's bytes, and the time.
fn given_to_each_other(
    contributors: usize,
    size_bytes: usize,
    options: &NodeOptions,
) -> (u64, u64, Duration) {
    let (mut testnet, scene, size_bytes, ticket) = owner_of(size_bytes, options);
    for _ in 0..contributors {
        let mut joining = NodeOptions::joining(&ticket);
        joining.arguments.extend(options.arguments.iter().cloned());
        testnet.start(&joining).unwrap();
    }
    testnet.wait_until_formed(contributors + 1).unwrap();
    let since = Instant::now();
    let _job = Job::start(&mut testnet, &scene, &contributors.to_string());
    for index in 1..=contributors {
        wait_for("the whole scene", SOON, || has_a_scene(testnet.node(index))).unwrap();
    }
    let took = since.elapsed();
    let sent = traffic(testnet.node(0), "sent_bytes");
    for index in 1..=contributors {
        let node = testnet.node(index);
        eprintln!("contributor {index}: {}", status(node)["scene_traffic"]);
        assert_eq!(traffic(node, "received_bytes") - traffic(node, "repeated_bytes"), size_bytes);
    }
    (sent, size_bytes, took)
}

#[test]
fn contributors_give_a_scene_to_each_other_and_it_costs_its_owner_little_more_than_one_copy() {
    // The same line for all, as it is where one copy for each would be too many.
    let line = limited(NodeOptions::default(), "--upload-limit-mbit", SCENE_BYTES as u64, 8.0);
    let (sent, size_bytes, _) = given_to_each_other(8, SCENE_BYTES, &line);
    assert!(sent >= size_bytes && sent as f64 <= 1.6 * size_bytes as f64, "{sent} of {size_bytes}");
}

#[test]
fn b30_a_scene_arrives_past_a_peer_that_serves_wrong_chunks_of_it() {
    let (mut testnet, scene, size_bytes, ticket) = owner_of(SCENE_BYTES, &NodeOptions::default());
    let joining = NodeOptions::joining(&ticket);
    // So slow that the liar is heard of before all is there.
    testnet.start(&limited(joining, "--download-limit-mbit", size_bytes, 10.0)).unwrap();
    let hostile = HostilePeer::with_wrong_chunks(&ticket, &scene);
    let id = hostile.node.to_string();
    for index in 0..2 {
        wait_for("the liar being heard", SOON, || testnet.node(index).contributors().contains(&id)).unwrap();
    }
    testnet.wait_until_formed(2).unwrap();
    let _job = Job::start(&mut testnet, &scene, "1");
    wait_for("the whole scene", SOON, || has_a_scene(testnet.node(1))).unwrap();
    assert_eq!(traffic(testnet.node(1), "sources_shunned"), 1, "it was asked, and found out");
    assert_eq!(traffic(testnet.node(1), "received_bytes"), size_bytes, "nothing of its counts");
    let package = fs::read(&scene).unwrap();
    let kept = fs::read_dir(testnet.node(1).data_dir().join("scenes")).unwrap();
    let kept: Vec<_> = kept.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(fs::read(&kept[0]).unwrap() == package, "it is the scene, byte for byte");
}

#[test]
fn tiles_are_rendered_by_who_has_the_scene_while_others_fetch_it() {
    let (mut testnet, scene, size_bytes, ticket) = owner_of(SCENE_BYTES, &NodeOptions::default());
    testnet.start(&NodeOptions::joining(&ticket)).unwrap();
    let slow = limited(NodeOptions::joining(&ticket), "--download-limit-mbit", size_bytes, 120.0);
    testnet.start(&slow).unwrap();
    testnet.wait_until_formed(3).unwrap();
    let _job = Job::start(&mut testnet, &scene, "1");
    wait_for("tiles at the one that has the scene", SOON, || testnet.node(1).tiles_running() > 0).unwrap();
    let waiting = status(testnet.node(2));
    assert_eq!(waiting["scenes"].as_array().unwrap().len(), 0);
    assert_eq!(waiting["fetching"][0]["size_bytes"].as_u64(), Some(size_bytes), "{waiting}");
}

/// The figures of docs/performance.md. Only said, so that a slow machine is not wrong.
#[test]
#[ignore = "takes minutes; run with --release, --ignored and --nocapture"]
fn figures_of_a_scene_of_200_mb() {
    const BYTES: usize = 200_000_000;
    for (line, options) in [
        ("as fast as this machine", NodeOptions::default()),
        ("100 Mbit/s up", limited(NodeOptions::default(), "--upload-limit-mbit", 100_000_000, 8.0)),
    ] {
        let (sent, size_bytes, took) = given_to_each_other(8, BYTES, &options);
        eprintln!(
            "{line}: eight had it after {took:.1?}, the owner sent {:.3} copies",
            sent as f64 / size_bytes as f64
        );
    }
    let (here, fetched, size_bytes) = fetched_after_a_crash(BYTES);
    let again = (here + fetched).saturating_sub(size_bytes);
    eprintln!("killed with {here} of {size_bytes} bytes: {fetched} were fetched then, at most {again} again");
}
