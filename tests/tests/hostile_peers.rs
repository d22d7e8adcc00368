//! Frames beside contributors that do not do what they should: every picture is the one that a single machine makes.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::time::Duration;

use p2c2r_testnet::{Testnet, wait_for};
use p2c2r_tests::{
    frame::{arguments, local_hash, report, scene},
    hostile::{Behaviour, HostilePeer},
};

/// A frame on one honest node with one hostile peer; gives back the report and the offers that the peer was made.
fn frame_beside(behaviour: Behaviour) -> (serde_json::Value, u32) {
    let (report, hostile) = frame_and_peer(behaviour);
    (report, hostile.offers())
}

fn frame_and_peer(behaviour: Behaviour) -> (serde_json::Value, HostilePeer) {
    let mut testnet = Testnet::formed(2).unwrap();
    let ticket = testnet.node(0).ticket().unwrap();
    let hostile = HostilePeer::join(&ticket, behaviour);
    let id = hostile.node.to_string();
    wait_for("the hostile peer being believed", Duration::from_mins(1), || {
        testnet.node(0).contributors().contains(&id)
    })
    .unwrap();
    let scene = scene(&testnet, "spheres");
    let output = testnet.path("swarm.png");
    let swarm =
        testnet.node(0).run(&arguments(&scene, &output, &["--spp", "16", "--wait-peers", "2"])).unwrap();
    let report = report(&swarm);
    assert_eq!(
        report["film_blake3"],
        local_hash(&testnet, &scene, &["--spp", "16"]),
        "beside a peer that {behaviour:?}"
    );
    let by_hostile =
        report["tiles"].as_array().unwrap().iter().filter(|tile| tile["peer"] == id.as_str()).count();
    assert_eq!(by_hostile, 0, "nothing of its is in the picture");
    (report, hostile)
}

#[test]
fn peer_that_refuses() {
    let (report, offers) = frame_beside(Behaviour::Refuses);
    assert!(offers > 0 && report["failures"]["rejected"].as_u64().unwrap() > 0);
}

#[test]
fn peer_that_fails() {
    let (report, offers) = frame_beside(Behaviour::Fails);
    assert!((1..=4).contains(&offers), "it is given up after a few: {offers}, {report}");
}

#[test]
fn peer_that_forgets_its_scene_is_asked_for_it_anew_and_not_for_ever() {
    let (report, hostile) = frame_and_peer(Behaviour::Forgets);
    let (offers, prepares) = (hostile.offers(), hostile.prepares());
    assert!((1..=4).contains(&offers), "it is given up after a few: {offers}, {report}");
    assert!(
        (2..=offers + 1).contains(&prepares),
        "asked {prepares} times for the scene, {offers} for a tile"
    );
}

#[test]
fn b24_peer_that_accepts_and_stalls() {
    let (_, offers) = frame_beside(Behaviour::Stalls);
    assert!(offers > 0);
}

#[test]
fn b24_peer_that_does_not_even_answer() {
    let (_, offers) = frame_beside(Behaviour::Ignores);
    assert!(offers > 0);
}

#[test]
fn b1_peer_that_sends_garbage() {
    let (report, offers) = frame_beside(Behaviour::Garbage);
    assert!(offers > 0);
    assert_eq!(report["failures"]["invalid"], 1, "one is enough: {report}");
}

#[test]
fn b9_peer_that_sends_a_tile_of_the_wrong_size() {
    let (report, offers) = frame_beside(Behaviour::WrongSize);
    assert!(offers > 0);
    assert_eq!(report["failures"]["peers_lost"], 1, "{report}");
}

#[test]
fn b11_peer_that_sends_a_plausible_fake() {
    let (report, offers) = frame_beside(Behaviour::PlausibleFake);
    assert!(offers > 0);
    assert_eq!(report["failures"]["invalid"], 1, "one is enough: {report}");
}
