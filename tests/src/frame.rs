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

/// Writes a small built-in scene that takes so many bytes on its way: what nothing in it refers to travels too.
pub fn heavy_scene(testnet: &Testnet, size_bytes: usize) -> PathBuf {
    const GLB_HEADERS: usize = 12 + 8 + 8;
    let light = std::fs::read(scene(testnet, "spheres")).unwrap();
    let word = |at: usize| u32::from_le_bytes(light[at..at + 4].try_into().unwrap()) as usize;
    let (json_start, json_bytes) = (20, word(12));
    let mut document: Value = serde_json::from_slice(&light[json_start..json_start + json_bytes]).unwrap();
    let mut binary = light[json_start + json_bytes + 8..].to_vec();
    // Chunks that are not like each other, and no zeros, which a file with holes would have by itself.
    let filling = (0..).map(|at: u32| at.wrapping_mul(2_654_435_761).to_le_bytes()[3] | 1);
    binary.extend(filling.take(size_bytes.saturating_sub(light.len())));
    binary.resize(binary.len().next_multiple_of(4), 1);
    document["buffers"][0]["byteLength"] = binary.len().into();
    let mut json = serde_json::to_vec(&document).unwrap();
    json.resize(json.len().next_multiple_of(4), b' ');
    let mut glb = Vec::with_capacity(GLB_HEADERS + json.len() + binary.len());
    let total = GLB_HEADERS + json.len() + binary.len();
    for number in [0x4654_6c67, 2, total as u32, json.len() as u32, 0x4e4f_534a] {
        glb.extend_from_slice(&number.to_le_bytes());
    }
    glb.extend_from_slice(&json);
    for number in [binary.len() as u32, 0x004e_4942] {
        glb.extend_from_slice(&number.to_le_bytes());
    }
    glb.extend_from_slice(&binary);
    let path = testnet.path("heavy.glb");
    std::fs::write(&path, glb).unwrap();
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
