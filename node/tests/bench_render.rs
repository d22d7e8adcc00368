//! `bench render` prints the same figures as a table and as JSON.
#![allow(clippy::unwrap_used, reason = "a panic here is a test's report")]

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    let small = ["bench", "render", "--size", "32x18", "--spp", "1", "--repeats", "1", "--backend", "cpu"];
    Command::new(env!("CARGO_BIN_EXE_p2c2r-node")).args(small).args(arguments).output().unwrap()
}

#[test]
fn json_has_every_figure_of_every_bundled_scene() {
    let output = bench(&["--json"]);
    assert!(output.status.success(), "{output:?}");
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    let scenes = figures["scenes"].as_array().unwrap();
    let names: Vec<&str> = scenes.iter().map(|scene| scene["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cornell", "spheres", "city", "knot"]);
    for scene in scenes {
        for figure in
            ["rays_per_s", "samples_per_s", "build_ms", "load_ms", "first_pixels_ms", "bytes_per_triangle"]
        {
            assert!(scene[figure].as_f64().unwrap() > 0.0, "{figure}: {scene}");
        }
        // Corners, nodes, attributes: no triangle fits into less, and none may need much more.
        assert!((48.0..400.0).contains(&scene["bytes_per_triangle"].as_f64().unwrap()), "{scene}");
        let triangles = scene["triangles"].as_u64().unwrap();
        assert!((180_000..220_000).contains(&triangles), "{scene}");
    }
}

#[test]
fn the_table_names_the_scene_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.glb");
    let path = path.to_str().unwrap();
    let scene = ["scene", "cornell", "-o", path];
    assert!(Command::new(env!("CARGO_BIN_EXE_p2c2r-node")).args(scene).output().unwrap().status.success());
    let output = bench(&["--scene", path]);
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    for word in ["small", "Mrays/s", "Msamples/s", "build", "bytes/tri"] {
        assert!(table.contains(word), "no {word} in\n{table}");
    }
    let missing = bench(&["--scene", "nowhere.glb"]);
    assert!(!missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("nowhere.glb"));
}
