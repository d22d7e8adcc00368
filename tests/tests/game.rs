//! A game whose subsystems other nodes do, with real processes: it goes on whatever happens to them.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{collections::BTreeSet, fs, time::Duration};

use p2c2r_testnet::{NodeOptions, Testnet, wait_for};
use p2c2r_tests::frame::{arguments, local_hash, report, scene};
use serde_json::Value;

/// Something that must happen soon has this long; no test depends on it being sooner.
const SOON: Duration = Duration::from_mins(1);
/// Frames of the game.
const FRAMES: u64 = 180;

#[test]
fn f1_a_game_goes_on_when_a_node_is_killed_and_another_one_delayed() {
    let testnet = Testnet::new().unwrap();
    let frames = FRAMES.to_string();
    let ran = testnet.run(&["demo", "game", "--frames", &frames, "-o", "pictures", "--json"]).unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let outcome: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(outcome["frames"], FRAMES, "no frame was left out: {outcome}");
    let every = [("physics", 1), ("ai", 2), ("rendering", 1), ("ray_tracing", 3), ("audio", 1)];
    let subsystems = outcome["subsystems"].as_array().unwrap();
    for (kind, every) in every {
        let row = subsystems.iter().find(|row| row["kind"] == kind).unwrap();
        assert_eq!(row["due"], FRAMES / every, "{row}");
        assert!(row["met"].as_u64() > Some(0), "{row}");
    }
    let physics = subsystems.iter().find(|row| row["kind"] == "physics").unwrap();
    let bytes = |name: &str| physics[name].as_f64().unwrap();
    assert!(bytes("sent_bytes_per_step") < bytes("snapshot_bytes_per_step"), "deltas: {physics}");

    let accidents = outcome["accidents"].as_array().unwrap();
    assert_eq!(accidents.len(), 2, "{outcome}");
    let (killed, moves) = (&accidents[0]["machine"], outcome["moves"].as_array().unwrap());
    assert!(moves.iter().any(|change| change["from"] == *killed && change["kind"] == "physics"), "{outcome}");
    assert!(subsystems.iter().all(|row| row["done_by"] != *killed), "{outcome}");

    let prediction = &outcome["prediction"];
    let (most, bound) = (&prediction["divergence_mm"]["most"], &prediction["bound_mm"]);
    assert!(most.as_f64() <= bound.as_f64(), "{prediction}");
    assert!(outcome["checked"].as_u64() > Some(0) && outcome["wrong"] == 0, "{outcome}");

    let animation = fs::read(testnet.path("pictures/demo-game.png")).unwrap();
    assert!(animation.windows(4).any(|chunk| chunk == b"acTL"), "an animated PNG");
    let sound = fs::read(testnet.path("pictures/demo-game.wav")).unwrap();
    assert_eq!((&sound[..4], sound.len() as u64), (&b"RIFF"[..], 44 + FRAMES * 3200));
    assert!(sound[44..].iter().any(|byte| *byte != 0), "not only silence");
}

#[test]
fn a_node_that_declines_ray_tracing_gets_no_tiles() {
    let mut testnet = Testnet::formed(1).unwrap();
    let ticket = testnet.node(0).ticket().unwrap();
    let declines = NodeOptions::joining(&ticket);
    let arguments_of_run =
        [&declines.arguments[..], &["--decline".into(), "ray_tracing,physics".into()]].concat();
    testnet.start(&NodeOptions { arguments: arguments_of_run, ..declines }).unwrap();
    testnet.start(&NodeOptions::joining(&ticket)).unwrap();
    wait_for("both others", SOON, || testnet.node(0).contributors().len() == 2).unwrap();
    let peers = testnet.node(0).ask(&["peers", "--json"]).unwrap();
    let peers = peers["peers"].as_array().unwrap().clone();
    let kinds = |peer: &Value| -> BTreeSet<String> {
        peer["kinds"].as_array().unwrap().iter().map(|kind| kind.as_str().unwrap().to_owned()).collect()
    };
    let declining = peers.iter().find(|peer| !kinds(peer).contains("ray_tracing")).unwrap();
    assert_eq!(kinds(declining), ["ai", "audio", "rendering"].map(str::to_owned).into());
    let scene = scene(&testnet, "cornell");
    let output = testnet.path("frame.png");
    let more = ["--spp", "32", "--wait-peers", "1"];
    let report = report(&testnet.node(0).run(&arguments(&scene, &output, &more)).unwrap());
    let by_it = report["tiles"].as_array().unwrap().iter().filter(|tile| tile["peer"] == declining["node"]);
    assert_eq!(by_it.count(), 0, "{report}");
    assert_eq!(report["film_blake3"], local_hash(&testnet, &scene, &["--spp", "32"]));
}
