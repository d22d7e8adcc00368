//! Scenes in several files become one GLB, and nothing outside their folder is ever read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    reason = "a panic is a test's report; the numbers are exact"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use p2c2r_render::{
    limit::SceneLimits,
    scene::{
        Scene, SceneError,
        generate::{SceneKind, generate},
        gltf::parse_package,
        package::{ScenePackage, pack},
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with a scene of three files: the generated spheres, taken apart.
struct Apart {
    folder: TempDir,
    document: Value,
}

impl Apart {
    fn new() -> Self {
        let glb = generate(SceneKind::Spheres, 4, Some(600));
        let json_length = u32::from_le_bytes(glb[12..16].try_into().unwrap()) as usize;
        let mut document: Value = serde_json::from_slice(&glb[20..20 + json_length]).unwrap();
        let binary = &glb[28 + json_length..];
        let folder = tempfile::tempdir().unwrap();
        let picture_view = document["images"][0]["bufferView"].as_u64().unwrap() as usize;
        let view = &document["bufferViews"][picture_view];
        let number = |key: &str| view[key].as_u64().unwrap() as usize;
        let picture = &binary[number("byteOffset")..][..number("byteLength")];
        fs::create_dir(folder.path().join("my textures")).unwrap();
        fs::write(folder.path().join("my textures/checker.png"), picture).unwrap();
        fs::write(folder.path().join("scene.bin"), binary).unwrap();
        document["images"] = json!([{ "uri": "my%20textures/checker.png" }]);
        document["buffers"][0]["uri"] = json!("scene.bin");
        Self { folder, document }
    }

    fn pack(&self) -> Result<ScenePackage, SceneError> {
        let path = self.folder.path().join("scene.gltf");
        fs::write(&path, self.document.to_string()).unwrap();
        pack(&path, &SceneLimits::default())
    }

    fn refusal_of_buffer(&mut self, uri: &str) -> String {
        self.document["buffers"][0]["uri"] = json!(uri);
        self.pack().unwrap_err().to_string()
    }
}

fn parse(bytes: &[u8]) -> Scene {
    parse_package(bytes, &SceneLimits::default()).unwrap().scene
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_glb_is_taken_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = generate(SceneKind::Cornell, 1, None);
    let package = pack(&write(&folder, "box.glb", &bytes), &SceneLimits::default()).unwrap();
    assert_eq!(package, ScenePackage { bytes, name: "box".into(), warnings: Vec::new() });
}

#[test]
fn a_scene_in_pieces_loads_as_the_scene_in_one() {
    let apart = Apart::new();
    let package = apart.pack().unwrap();
    assert_eq!(package.name, "scene");
    assert_eq!(parse(&package.bytes), parse(&generate(SceneKind::Spheres, 4, Some(600))));
    assert_eq!(package, apart.pack().unwrap(), "the same files give the same bytes");
    assert!(!String::from_utf8_lossy(&package.bytes).contains("uri"));
}

#[test]
fn data_uris_and_a_second_buffer_are_taken_in() {
    let mut apart = Apart::new();
    let binary = fs::read(apart.folder.path().join("scene.bin")).unwrap();
    // The first view moves to a buffer of its own, given as data.
    let length = apart.document["bufferViews"][0]["byteLength"].as_u64().unwrap() as usize;
    let data = data_encoding::BASE64.encode(&binary[..length]);
    let second =
        json!({ "byteLength": length, "uri": format!("data:application/octet-stream;base64,{data}") });
    apart.document["buffers"].as_array_mut().unwrap().push(second);
    apart.document["bufferViews"][0] = json!({ "buffer": 1, "byteLength": length });
    assert_eq!(parse(&apart.pack().unwrap().bytes), parse(&generate(SceneKind::Spheres, 4, Some(600))));
}

#[test]
fn b29_uris_that_leave_the_folder_are_refused() {
    let mut apart = Apart::new();
    let hostile = [
        "../secret.bin",
        "%2e%2e/secret.bin",
        "/etc/passwd",
        "http://example.org/a.bin",
        "file:///etc/passwd",
        "a/../../secret.bin",
        "..\\secret.bin",
        "",
    ];
    for uri in hostile {
        let sentence = apart.refusal_of_buffer(uri);
        assert!(sentence.contains(&format!("URI \"{uri}\"")), "{sentence}");
    }
}

#[cfg(unix)]
#[test]
fn b29_symbolic_links_out_of_the_folder_are_refused() {
    let mut apart = Apart::new();
    let outside = tempfile::tempdir().unwrap();
    let secret = write(&outside, "secret.bin", &[0; 64]);
    std::os::unix::fs::symlink(&secret, apart.folder.path().join("link.bin")).unwrap();
    let sentence = apart.refusal_of_buffer("link.bin");
    assert!(sentence.contains("leads out of the scene's folder"), "{sentence}");
    std::os::unix::fs::symlink("scene.bin", apart.folder.path().join("inside.bin")).unwrap();
    apart.document["buffers"][0]["uri"] = json!("inside.bin");
    apart.pack().unwrap();
}

#[test]
fn missing_oversized_and_wrong_files_are_named() {
    let mut apart = Apart::new();
    assert!(apart.refusal_of_buffer("gone.bin").contains("URI \"gone.bin\": the file cannot be found"));
    assert!(apart.refusal_of_buffer("my%20textures").contains("not a regular file"));
    apart.document["buffers"][0]["uri"] = json!("scene.bin");
    let length = apart.document["buffers"][0]["byteLength"].clone();
    apart.document["buffers"][0]["byteLength"] = json!(1 << 30);
    assert!(apart.pack().unwrap_err().to_string().contains("buffer 0: it claims 1073741824 bytes"));
    apart.document["buffers"][0]["byteLength"] = length;
    apart.document["images"][0]["uri"] = json!("scene.bin");
    assert!(apart.pack().unwrap_err().to_string().contains("neither PNG nor JPEG"));
}

#[test]
fn files_that_are_no_scene_are_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |path: &Path| pack(path, &SceneLimits::default()).unwrap_err().to_string();
    assert!(refusal(&folder.path().join("gone.glb")).contains("cannot read"));
    assert!(refusal(folder.path()).contains("not a regular file"));
    assert!(refusal(&write(&folder, "a.glb", b"not a scene")).contains("neither GLB nor JSON"));
    assert!(refusal(&write(&folder, "b.gltf", b"[1, 2]")).contains("no \"asset\""));
    assert!(refusal(&write(&folder, "c.glb", b"")).contains("not a glTF"));
    let whole = generate(SceneKind::Cornell, 1, None);
    assert!(refusal(&write(&folder, "d.glb", &whole[..whole.len() - 1])).contains("truncated"));
    let limits = SceneLimits { package_bytes: 10, ..SceneLimits::default() };
    let large = pack(&write(&folder, "e.glb", &whole), &limits).unwrap_err().to_string();
    assert!(large.contains("at most 10"), "{large}");
}
