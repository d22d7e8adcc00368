//! `scene info` tells what is in a scene file, and `render` what it passed over.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_p2c2r-node")).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn cornell(folder: &Path) -> PathBuf {
    let path = folder.join("box.glb");
    assert!(run(&["scene", "cornell", "-o", text(&path)]).status.success());
    path
}

#[test]
fn json_has_its_keys_and_the_table_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let scene = cornell(folder.path());
    let output = run(&["scene", "info", text(&scene), "--json"]);
    assert!(output.status.success() && output.stderr.is_empty());
    let info: Value = serde_json::from_slice(&output.stdout).unwrap();
    let bytes = fs::metadata(&scene).unwrap().len();
    assert_eq!(info["schema"], "p2c2r.scene/1");
    assert_eq!((&info["name"], info["file_bytes"].as_u64()), (&Value::from("box"), Some(bytes)));
    assert_eq!(info["package_bytes"].as_u64(), Some(bytes), "a GLB travels as it is");
    assert_eq!(info["package_blake3"], blake3::hash(&fs::read(&scene).unwrap()).to_hex().to_string());
    assert_eq!(info["lights"]["emissive_triangles"], 2);
    assert_eq!((&info["environment_map"], &info["warnings"]), (&Value::Null, &Value::Array(Vec::new())));
    for list in ["cameras", "animations", "extensions_used", "bounds"] {
        assert!(info[list].is_array(), "{list}");
    }
    for number in [
        "nodes",
        "meshes",
        "instances",
        "unique_triangles",
        "placed_triangles",
        "vertices",
        "materials",
        "textures",
        "texels",
        "skins",
        "memory_bytes",
    ] {
        assert!(info[number].is_u64(), "{number}");
    }
    let table = String::from_utf8(run(&["scene", "info", text(&scene)]).stdout).unwrap();
    for shown in ["package_blake3", "name"] {
        assert!(table.contains(info[shown].as_str().unwrap()), "{table}");
    }
    assert!(table.contains(&format!("{} in memory", info["unique_triangles"])), "{table}");
}

#[test]
fn what_cannot_be_rendered_gives_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged.glb");
    fs::write(&damaged, &fs::read(cornell(folder.path())).unwrap()[..500]).unwrap();
    let large = folder.path().join("large.glb");
    assert!(run(&["scene", "city", "-o", text(&large)]).status.success());
    let missing = folder.path().join("missing.glb");
    for (scene, reason) in [(&damaged, "truncated"), (&large, "2 MiB are allowed"), (&missing, "cannot read")]
    {
        for command in
            [&["scene", "info"][..], &["render", "--local", "-o", text(&folder.path().join("a.png"))]]
        {
            let output = run(&[command, &[text(scene), "--memory-mib", "2"]].concat());
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{told}");
            let errors: Vec<&str> = told.lines().filter(|line| line.starts_with("error: ")).collect();
            assert!(matches!(errors.as_slice(), [one] if one.contains(reason)), "{told}");
        }
    }
}

#[test]
fn render_tells_once_what_packing_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (scene, picture) = (folder.path().join("a.obj"), folder.path().join("a.png"));
    fs::write(&scene, "v 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl paint\nf 1 2 3\n").unwrap();
    let render = ["render", text(&scene), "-o", text(&picture), "--local", "--backend", "cpu", "--spp", "1"];
    let output = run(&[&render[..], &["--size", "16x9"]].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    let about_paint = told.lines().filter(|line| line.starts_with("warning: ") && line.contains("\"paint\""));
    assert_eq!(about_paint.count(), 1, "{told}");
}
