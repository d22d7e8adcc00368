//! A small frame, rendered on a swarm and alone.

use std::path::{Path, PathBuf};

use p2c2r_testnet::{Output, Testnet};
use serde_json::Value;

/// What every test frame has in common: small, but of enough work that something can happen in its middle.
pub const FRAME: [&str; 4] = ["--size", "160x96", "--max-depth", "4"];

/// Writes a small built-in scene into the swarm's folder.
pub fn scene(testnet: &Testnet, kind: &str) -> PathBuf {
    let path = testnet.path(&format!("{kind}.glb"));
    let path_text = path.to_str().expect("temporary paths are text");
    let written = testnet.run(&["scene", kind, "-o", path_text, "--triangles", "3000", "--force"]).unwrap();
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    path
}

/// The arguments of `render` for a test frame.
pub fn arguments<'a>(scene: &'a Path, output: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let text = |path: &'a Path| path.to_str().expect("temporary paths are text");
    let mut arguments = vec!["render", text(scene), "-o", text(output), "--json", "--force"];
    arguments.extend(FRAME);
    arguments.extend(more);
    arguments
}

/// The report that a successful `render --json` printed.
pub fn report(output: &Output) -> Value {
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    serde_json::from_str(&output.stdout).expect("the report is JSON")
}

/// The hash of the same frame, rendered alone.
pub fn local_hash(testnet: &Testnet, scene: &Path, more: &[&str]) -> Value {
    let more: Vec<&str> = more.iter().copied().chain(["--local", "--threads", "2"]).collect();
    let alone = testnet.path("alone.png");
    report(&testnet.run(&arguments(scene, &alone, &more)).unwrap())["film_blake3"].clone()
}
