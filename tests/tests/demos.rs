//! The demos in a short form: they end well, say what they should, and leave nothing behind.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{
    fs,
    sync::{Mutex, PoisonError},
};

use p2c2r_testnet::Testnet;
use serde_json::Value;

/// Whose turn it is.
static TURN: Mutex<()> = Mutex::new(());

/// What a demo printed as JSON.
fn demo(testnet: &Testnet, arguments: &[&str]) -> Value {
    // Each has machines of its own, which are to be as fast as they say: one after the other.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = folders();
    let ran = testnet.run(&[&["demo"], arguments, &["--json"]].concat()).unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let left: Vec<String> = folders().into_iter().filter(|folder| !before.contains(folder)).collect();
    // Other tests' demos may be under way.
    assert!(left.iter().all(|folder| !is_abandoned(folder)), "{left:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Where demos keep the files of their nodes.
fn folders() -> Vec<String> {
    let entries = fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("p2c2r-fleet-")).collect()
}

/// Whether the process that a folder is of is gone.
fn is_abandoned(folder: &str) -> bool {
    let process = folder.trim_start_matches("p2c2r-fleet-");
    !std::path::Path::new("/proc").join(process).exists()
}

#[test]
fn swarm_measures_both_coordinators_and_writes_a_picture() {
    let testnet = Testnet::new().unwrap();
    let outcome = demo(&testnet, &["swarm", "--frames", "1", "-o", "pictures"]);
    assert_eq!((&outcome["naive"]["frames"], &outcome["learned"]["frames"]), (&1.into(), &1.into()));
    for claim in outcome["claims"].as_array().unwrap() {
        assert!(claim["claimed"].is_string() && claim["measured"].is_string(), "{claim}");
    }
    assert!(
        outcome["simulated_learned"]["latency_ms"].as_f64()
            < outcome["simulated_naive"]["latency_ms"].as_f64()
    );
    let picture = fs::read(testnet.path("pictures/demo-swarm.png")).unwrap();
    assert_eq!(&picture[1..4], b"PNG");
}

#[test]
fn learning_tells_what_is_known_of_five_machines() {
    let testnet = Testnet::new().unwrap();
    let outcome = demo(&testnet, &["learning", "--frames", "2"]);
    let peers = outcome["peers"].as_array().unwrap();
    assert_eq!(peers.len(), 5);
    assert!(peers.iter().map(|peer| peer["outcomes"].as_u64().unwrap()).sum::<u64>() >= 10, "{outcome}");
    assert!(outcome["phases"][0]["learned"]["mean_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn splitting_draws_each_way() {
    let testnet = Testnet::new().unwrap();
    let outcome = demo(&testnet, &["splitting", "--frames", "3", "-o", "pictures"]);
    let ways: Vec<&str> =
        outcome.as_array().unwrap().iter().map(|way| way["split"].as_str().unwrap()).collect();
    assert_eq!(ways, ["spatial", "temporal", "nested", "pipeline"]);
    for way in outcome.as_array().unwrap() {
        assert!(way["predicted_ms"].as_f64() > Some(0.0) && way["measured_ms"].as_f64() > Some(0.0), "{way}");
        let picture = fs::read(testnet.path(way["picture"].as_str().unwrap())).unwrap();
        assert_eq!(&picture[1..4], b"PNG");
    }
}

#[test]
fn a_games_loop_goes_on_whatever_comes_of_its_light() {
    let testnet = Testnet::new().unwrap();
    let outcome = demo(&testnet, &["swarm", "--overlay", "--frames", "60", "-o", "pictures"]);
    let figures = &outcome["figures"];
    let number = |name: &str| figures[name].as_u64().unwrap();
    assert_eq!(number("frames") + number("left_out"), 60, "{outcome}");
    let edges = |name: &str| serde_json::from_value::<[u32; 2]>(outcome[name].clone()).unwrap();
    let [width, height] = edges("size_px");
    assert!((96..=256).contains(&width) && width * 9 == height * 16, "{outcome}");
    assert_eq!(edges("light_size_px"), [width / 2, height / 2]);
    let light = |name: &str| figures["light"][name].as_u64().unwrap();
    assert!(
        (1..=20).contains(&light("due")),
        "light for every third frame, if one of the three is shown: {outcome}"
    );
    assert!(light("skipped") + light("fetched") + light("failed") <= light("due"), "{outcome}");
    let animation = fs::read(testnet.path("pictures/demo-overlay.png")).unwrap();
    assert!(animation.windows(4).any(|chunk| chunk == b"acTL"), "an animated PNG");
}
