//! The scenarios that ship, and files that are none.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::path::{Path, PathBuf};

use p2c2r_sim::scenario::{Scenario, ScenarioError};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn shipped() -> Vec<(String, Scenario)> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), Scenario::read(path).unwrap())).collect()
}

#[test]
fn every_shipped_scenario_is_one_and_bears_its_files_name() {
    let shipped = shipped();
    assert!(shipped.len() >= 12);
    for (name, scenario) in &shipped {
        assert_eq!(name, &scenario.name);
        scenario.cells(&folder()).unwrap();
    }
    let planet = &shipped.iter().find(|(name, _)| name == "planet").unwrap().1;
    assert_eq!(planet.each_peer().count(), 10_000);
    // One group of twenty leaves every twelve frames of 100 ms: ten percent within a minute.
    let leaving: u32 = planet
        .peers
        .iter()
        .filter(|peer| peer.events.iter().any(|event| event.leave && event.at_frame < 500))
        .map(|peer| peer.count)
        .sum();
    let minutes = f64::from(planet.work.frames) * planet.work.frame_interval_ms / 60_000.0;
    assert!((f64::from(leaving) / 10_000.0 / minutes - 0.1).abs() < 0.01, "{leaving} in {minutes} minutes");
}

const GOOD: &str = r#"name = "x"
[work]
frames = 10
work_ms = 100.0
[[peer]]
name = "a"
latency_ms = 1
speed = 1.0
"#;

#[test]
fn unknown_keys_are_named_with_their_lines() {
    Scenario::parse(GOOD).unwrap();
    for (good, bad, line, key) in [
        ("frames = 10", "frames = 10\nframe_rate = 3", 4, "frame_rate"),
        ("speed = 1.0", "speed = 1.0\nnoise = { sigma = 0.1, tails = 2 }", 9, "tails"),
        ("name = \"x\"", "name = \"x\"\ncolour = 1", 2, "colour"),
        ("work_ms = 100.0", "work_ms = 100.0\nkinds = { mining = 1.0 }", 5, "mining"),
        ("speed = 1.0", "speed = 1.0\ncheats = { kind = \"bribes\", rate = 0.1 }", 9, "bribes"),
    ] {
        match Scenario::parse(&GOOD.replace(good, bad)) {
            Err(ScenarioError::Form { line: found, message }) => {
                assert!(message.contains(key), "{message}");
                assert_eq!(found, line, "{key}");
            }
            other => panic!("{key}: {other:?}"),
        }
    }
}

#[test]
fn what_lacks_or_is_no_toml_is_refused_with_a_line() {
    for bad in ["", "name", "name = 3", &GOOD.replace("frames = 10\n", ""), &GOOD.replace("10", "\"ten\"")] {
        assert!(matches!(Scenario::parse(bad), Err(ScenarioError::Form { line: 1.., .. })), "{bad}");
    }
}

#[test]
fn values_out_of_range_are_refused_in_a_sentence_that_names_them() {
    let with_peer = |key: &str| GOOD.replace("speed = 1.0", &format!("speed = 1.0\n{key}"));
    let with_work = |key: &str| GOOD.replace("frames = 10", &format!("frames = 10\n{key}"));
    for (text, named) in [
        (GOOD.replace("frames = 10", "frames = 0"), "work.frames"),
        (GOOD.replace("work_ms = 100.0", "work_ms = nan"), "work.work_ms"),
        (GOOD.replace("work_ms = 100.0", "work_ms = -1.0"), "work.work_ms"),
        (GOOD.replace("latency_ms = 1", "latency_ms = inf"), "peer `a`: latency_ms"),
        (GOOD.replace("speed = 1.0", "speed = 0.0"), "peer `a`: speed"),
        (with_peer("count = 0"), "count"),
        (with_peer("loss = 0.9"), "loss"),
        (with_peer("jitter_ms = -3"), "jitter_ms"),
        (with_peer("slots = 0"), "slots"),
        (with_peer("failure = { base = 1.5 }"), "failure.base"),
        (with_peer("affinity = { ai = 0.0 }"), "affinity.ai"),
        (with_peer("slowdown = { from_in_flight = 0, per_task = 0.1 }"), "slowdown.from_in_flight"),
        (with_peer("events = [{ at_frame = 3 }]"), "exactly one"),
        (with_peer("events = [{ at_frame = 3, leave = true, join = true }]"), "exactly one"),
        (with_peer("events = [{ at_frame = 3, leave = true }, { at_frame = 2, join = true }]"), "order"),
        (with_work("depth = 0"), "work.depth"),
        (with_work("size_px = [0, 5]"), "work.size_px"),
        (with_work("cost = { pattern = \"city\", low = 5, high = 1 }"), "work.cost"),
        (with_work("kinds = { ai = 0.0 }"), "work.kinds"),
        (with_work("heartbeat_s = 0.0"), "work.heartbeat_s"),
        (GOOD.replace("name = \"a\"", "name = \"\""), "peer.name"),
        (format!("{GOOD}[[peer]]\nname = \"a\"\nlatency_ms = 1\nspeed = 1.0\n"), "two peers"),
        ("name = \"x\"\n[work]\nframes = 1\nwork_ms = 1.0\n".to_owned(), "nobody works"),
    ] {
        match Scenario::parse(&text) {
            Err(ScenarioError::Value(sentence)) => assert!(sentence.contains(named), "{sentence}"),
            other => panic!("{named}: {other:?}"),
        }
    }
}

#[test]
fn cost_maps_that_are_none_are_refused() {
    let with = |pattern: &str| {
        let text = GOOD.replace("frames = 10", &format!("frames = 10\ncost = {{ pattern = \"{pattern}\" }}"));
        Scenario::parse(&text).unwrap().cells(&folder())
    };
    for good in ["city", "uniform", "hotspot"] {
        with(good).unwrap();
    }
    assert!(with("forest").unwrap_err().to_string().contains("`forest` is unknown"));
    assert!(with("missing.png").unwrap_err().to_string().contains("missing.png"));
}
