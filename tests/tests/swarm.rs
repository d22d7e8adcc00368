//! Real node processes on loopback, joined by one ticket: forming, rendering, losing nodes.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{net::TcpListener, time::Duration};

use p2c2r_testnet::{Node, NodeOptions, Testnet, wait_for};
use p2c2r_tests::frame::{arguments, local_hash, report, scene};
use rustix::process::Signal;

/// Something that must happen soon has this long; no test depends on it being sooner.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn swarm_of_eight_forms_and_renders_what_one_machine_renders() {
    let mut testnet = Testnet::formed(8).unwrap();
    let scene = scene(&testnet, "spheres");
    let output = testnet.path("swarm.png");
    let more = ["--spp", "8"];
    let swarm =
        testnet.node(0).run(&arguments(&scene, &output, &["--spp", "8", "--wait-peers", "7"])).unwrap();
    let first = report(&swarm);
    assert_eq!(first["film_blake3"], local_hash(&testnet, &scene, &more));
    assert_eq!(first["end"], "complete");
    let strangers_tiles = |report: &serde_json::Value| {
        let tiles = report["tiles"].as_array().unwrap();
        let own = report["peers"].as_array().unwrap().iter().find(|peer| peer["own_device"] == true).unwrap();
        tiles.iter().filter(|tile| tile["peer"] != own["node"]).count()
    };
    assert!(strangers_tiles(&first) >= 7, "the others render too: {first}");
    let strangers_probed =
        first["tiles"].as_array().unwrap().iter().filter(|tile| tile["probes"].as_u64() == Some(4)).count();
    assert_eq!(strangers_probed, strangers_tiles(&first), "every tile of others is probed");
    let package = first["scene"]["bytes"].as_u64().unwrap();
    assert_eq!(first["bytes"]["scene"].as_u64().unwrap(), package * 7, "seven fetched it");

    let again = testnet.node(0).run(&arguments(&scene, &output, &["--spp", "8", "--seed", "2"])).unwrap();
    let second = report(&again);
    assert_eq!(second["bytes"]["scene"], 0, "a scene that is there is not moved again");
    let per_request = second["bytes"]["per_request"].as_f64().unwrap();
    assert!(per_request > 0.0 && per_request < 1024.0, "{per_request} bytes a request");
    assert_ne!(second["film_blake3"], first["film_blake3"]);
}

#[test]
fn f1_contributor_killed_in_mid_frame_costs_nothing_but_its_tiles() {
    let mut testnet = Testnet::formed(3).unwrap();
    let scene = scene(&testnet, "spheres");
    let output = testnet.path("swarm.png");
    let more = ["--spp", "400"];
    let mut coordinator = testnet.node(0).spawn(&arguments(
        &scene,
        &output,
        &["--spp", "400", "--wait-peers", "2", "--report", "r.json"],
    ));
    let child = coordinator.as_mut().unwrap();
    wait_for("a contributor at work", SOON, || testnet.node(1).tiles_running() > 0).unwrap();
    testnet.node(1).kill().unwrap();
    assert!(child.wait().unwrap().success());
    let written = std::fs::read(testnet.path("r.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(report["film_blake3"], local_hash(&testnet, &scene, &more));
    assert_eq!(report["failures"]["peers_lost"], 1, "{report}");
}

#[test]
fn f12_swarm_outlives_the_node_that_gave_the_ticket() {
    let mut testnet = Testnet::formed(4).unwrap();
    testnet.node(0).kill().unwrap();
    let scene = scene(&testnet, "cornell");
    let output = testnet.path("swarm.png");
    let swarm =
        testnet.node(1).run(&arguments(&scene, &output, &["--spp", "4", "--wait-peers", "2"])).unwrap();
    assert_eq!(report(&swarm)["film_blake3"], local_hash(&testnet, &scene, &["--spp", "4"]));
}

#[test]
fn f12_a_swarm_comes_back_without_a_ticket_after_all_were_killed() {
    let mut testnet = Testnet::formed(4).unwrap();
    let is_noted = |node: &Node| {
        let status = node.ask(&["status", "--json"]).unwrap_or_default();
        status["peers_remembered"].as_u64() >= Some(3)
    };
    for index in 0..4 {
        wait_for("everybody being remembered", SOON, || is_noted(testnet.node(index))).unwrap();
    }
    let ports: Vec<u16> = (0..4).map(|index| tcp_port(testnet.node(index))).collect();
    for index in 0..4 {
        testnet.node(index).kill().unwrap();
    }
    // Others have taken the ports of two of them meanwhile.
    let _taken: Vec<TcpListener> =
        ports[..2].iter().map(|port| TcpListener::bind(("127.0.0.1", *port)).unwrap()).collect();
    for index in 0..4 {
        testnet.restart(index, &NodeOptions::default()).unwrap();
    }
    testnet.wait_until_formed(4).unwrap();
    let now: Vec<u16> = (0..4).map(|index| tcp_port(testnet.node(index))).collect();
    assert_eq!(now[2..], ports[2..], "tickets of before lead to them still");
    assert!(now[0] != ports[0] && now[1] != ports[1]);
}

fn tcp_port(node: &Node) -> u16 {
    let status = node.ask(&["status", "--json"]).unwrap();
    let addresses = status["listening"].as_array().unwrap();
    let mut tcp = addresses.iter().filter_map(|address| address.as_str()?.split("/tcp/").nth(1));
    tcp.find_map(|rest| rest.split('/').next()?.parse().ok()).unwrap()
}

#[test]
fn f3_contributors_drop_the_work_of_a_coordinator_that_is_gone() {
    for signal in [Signal::KILL, Signal::TERM] {
        let mut testnet = Testnet::formed(2).unwrap();
        let scene = scene(&testnet, "spheres");
        let output = testnet.path("swarm.png");
        let mut job = testnet
            .node(0)
            .spawn(&arguments(&scene, &output, &["--spp", "100000", "--wait-peers", "1"]))
            .unwrap();
        wait_for("the contributor at work", SOON, || testnet.node(1).tiles_running() > 0).unwrap();
        testnet.node(0).signal(signal).unwrap();
        wait_for("the contributor idle again", SOON, || testnet.node(1).tiles_running() == 0).unwrap();
        let ended = job.wait().unwrap();
        assert_eq!(ended.code(), Some(1), "the submitter hears of it");
        assert!(!output.exists() && !testnet.path("swarm.png.partial").exists());
    }
}

#[test]
fn f2_frozen_contributor_does_not_hold_the_frame_up() {
    let mut testnet = Testnet::formed(3).unwrap();
    let scene = scene(&testnet, "spheres");
    let output = testnet.path("swarm.png");
    let mut job = testnet
        .node(0)
        .spawn(&arguments(&scene, &output, &["--spp", "200", "--wait-peers", "2", "--report", "r.json"]))
        .unwrap();
    wait_for("a contributor at work", SOON, || testnet.node(1).tiles_running() > 0).unwrap();
    testnet.node(1).signal(Signal::STOP).unwrap();
    assert!(job.wait().unwrap().success());
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(testnet.path("r.json")).unwrap()).unwrap();
    assert_eq!(report["film_blake3"], local_hash(&testnet, &scene, &["--spp", "200"]));
}

#[test]
fn f29_node_that_is_asked_to_stop_hands_its_tiles_back_and_leaves_in_peace() {
    let mut testnet = Testnet::formed(3).unwrap();
    let scene = scene(&testnet, "spheres");
    let output = testnet.path("swarm.png");
    let mut job =
        testnet.node(0).spawn(&arguments(&scene, &output, &["--spp", "200", "--wait-peers", "2"])).unwrap();
    wait_for("a contributor at work", SOON, || testnet.node(1).tiles_running() > 0).unwrap();
    assert_eq!(testnet.node(1).stop().unwrap(), Some(0));
    assert!(job.wait().unwrap().success());
    assert!(!testnet.node(1).data_dir().join("control.sock").exists());
}

#[test]
fn frame_with_a_deadline_says_which_samples_are_missing() {
    let mut testnet = Testnet::formed(2).unwrap();
    let scene = scene(&testnet, "spheres");
    let output = testnet.path("swarm.png");
    let more = ["--spp", "100000", "--wait-peers", "1", "--deadline-ms", "300"];
    let partial = testnet.node(0).run(&arguments(&scene, &output, &more)).unwrap();
    assert_eq!(partial.code, Some(3), "{partial:?}");
    let report: serde_json::Value = serde_json::from_str(&partial.stdout).unwrap();
    assert_eq!(report["end"], "partial");
    let least = report["least_samples_per_pixel"].as_u64().unwrap();
    assert!(least < 100_000, "{report}");
    // Pixels are missing only if there was no time for a single sample of each.
    assert_eq!(least == 0, !report["missing"].as_array().unwrap().is_empty(), "{report}");
    assert!(output.exists(), "what there is of the picture is written");
}

#[test]
fn i1_frame_in_passes_is_the_frame_in_one_piece() {
    let mut testnet = Testnet::formed(3).unwrap();
    let scene = scene(&testnet, "city");
    let output = testnet.path("swarm.png");
    let preview = testnet.path("preview.exr");
    let shown = preview.to_str().unwrap();
    let more =
        ["--spp", "11", "--wait-peers", "2", "--progressive", "--preview-file", shown, "--denoise", "atrous"];
    let progressive = report(&testnet.node(0).run(&arguments(&scene, &output, &more)).unwrap());
    assert_eq!(progressive["film_blake3"], local_hash(&testnet, &scene, &["--spp", "11"]));
    assert_eq!(progressive["end"], "complete");
    assert_eq!(progressive["least_samples_per_pixel"], 11);
    assert_eq!(progressive["picture"]["denoiser"], "atrous");
    let tiles = progressive["tiles"].as_array().unwrap();
    let starts: std::collections::BTreeSet<u64> =
        tiles.iter().map(|tile| tile["first_sample"].as_u64().unwrap()).collect();
    assert_eq!(starts.into_iter().collect::<Vec<_>>(), [0, 2, 4, 8]);
    let probed = tiles.iter().filter(|tile| tile["probes"].as_u64() > Some(0)).count();
    assert!(probed > 0, "others render sums, and are probed: {progressive}");
    assert!(output.exists() && preview.exists());
}

/// So many frames without a tile of the GPU node say that it renders nothing.
const MAX_FRAMES_UNTIL_SHARED: u32 = 30;

#[test]
fn cpu_and_gpu_nodes_make_one_picture() {
    let mut testnet = Testnet::formed(1).unwrap();
    let options =
        NodeOptions { backend: "gpu".into(), ..NodeOptions::joining(&testnet.node(0).ticket().unwrap()) };
    if let Err(error) = testnet.start(&options) {
        assert!(
            !std::env::var("P2C2R_REQUIRE_GPU").is_ok_and(|wanted| wanted == "1"),
            "P2C2R_REQUIRE_GPU is set: {error}"
        );
        eprintln!("SKIPPED: no GPU, not even a software one: {error}");
        return;
    }
    testnet.wait_until_formed(2).unwrap();
    let scene = scene(&testnet, "spheres");
    let output = testnet.path("swarm.png");
    let alone = local_hash(&testnet, &scene, &["--spp", "32"]);
    // The GPU node compiles its kernels at the first tile; until it is done, others may be faster with all of them.
    let shared = (0..MAX_FRAMES_UNTIL_SHARED).any(|_| {
        let mixed = testnet.node(0).run(&arguments(&scene, &output, &["--spp", "32", "--wait-peers", "1"]));
        let report = report(&mixed.unwrap());
        assert_eq!(report["film_blake3"], alone);
        report["tiles"].as_array().unwrap().iter().any(|tile| tile["probes"] == 4)
    });
    assert!(shared, "the GPU node never rendered a part");
}
