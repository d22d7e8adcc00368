//! Animations, skins, morph targets and sparse accessors: the scene at a moment, against values worked out by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the report")]

#[path = "mutated_scenes/glb.rs"]
#[allow(dead_code, reason = "shared with another test")]
mod glb;

use p2c2r_protocol::tile::SceneTime;
use p2c2r_render::{
    limit::SceneLimits,
    scene::{
        Scene,
        gltf::{LoadedScene, parse_package, parse_package_at},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

use self::glb::Builder;

const CORNERS: [[f32; 3]; 3] = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
/// About z by 90 degrees: (0, 0, sin 45°, cos 45°).
const QUARTER_TURN: [f32; 4] = [0.0, 0.0, std::f32::consts::FRAC_1_SQRT_2, std::f32::consts::FRAC_1_SQRT_2];
const NO_TURN: [f32; 4] = [0.0, 0.0, 0.0, 1.0];

fn at(package: &[u8], seconds: f64) -> LoadedScene {
    try_at(package, seconds).unwrap()
}

fn try_at(package: &[u8], seconds: f64) -> Result<LoadedScene, p2c2r_render::scene::SceneError> {
    let time = SceneTime::from_us((seconds * 1e6) as u64).unwrap();
    parse_package_at(package, &SceneLimits::default(), time)
}

/// The corners of the scene's only mesh.
fn corners(scene: &Scene) -> &[[f32; 3]] {
    assert_eq!((scene.meshes.len(), scene.instances.len()), (1, 1));
    &scene.meshes[0].positions
}

fn assert_close(found: &[[f32; 3]], expected: &[[f32; 3]]) {
    let apart = found.as_flattened().iter().zip(expected.as_flattened()).map(|(a, b)| (a - b).abs());
    assert!(
        found.len() == expected.len() && apart.fold(0.0, f32::max) < 1e-5,
        "{found:?} is not {expected:?}"
    );
}

/// A triangle with the attributes and targets.
fn triangle(builder: &mut Builder, more: &[(&str, usize)], targets: &[Value]) -> usize {
    let mut attributes = json!({ "POSITION": builder.floats(&CORNERS) });
    for (name, accessor) in more {
        attributes[*name] = json!(accessor);
    }
    builder.push("meshes", json!({ "primitives": [{ "attributes": attributes, "targets": targets }] }))
}

fn animate(builder: &mut Builder, name: &str, channels: &[(usize, &str, &str, usize, usize)]) {
    let samplers: Vec<Value> = channels
        .iter()
        .map(|(_, _, interpolation, input, output)| {
            json!({ "input": input, "output": output, "interpolation": interpolation })
        })
        .collect();
    let channels: Vec<Value> = (0..)
        .zip(channels)
        .map(|(number, (node, path, ..)): (usize, _)| {
            json!({ "sampler": number, "target": { "node": node, "path": path } })
        })
        .collect();
    if builder.document.get("animations").is_none() {
        builder.document["animations"] = json!([]);
    }
    builder.push("animations", json!({ "name": name, "samplers": samplers, "channels": channels }));
}

/// A triangle on a node that one channel drives, with key frames at 1 s and 3 s.
fn driven<const N: usize>(path: &str, interpolation: &str, values: &[[f32; N]]) -> Vec<u8> {
    let mut builder = Builder::new();
    let mesh = triangle(&mut builder, &[], &[]);
    let node = builder.node(json!({ "mesh": mesh }));
    let (times, values) = (builder.floats(&[[1.0], [3.0]]), builder.floats(values));
    animate(&mut builder, "drive", &[(node, path, interpolation, times, values)]);
    builder.finish()
}

fn moved(by: [f32; 3]) -> [[f32; 3]; 3] {
    CORNERS.map(|corner| [corner[0] + by[0], corner[1] + by[1], corner[2] + by[2]])
}

#[test]
fn translations_are_linear_and_stay_at_their_ends() {
    let package = driven("translation", "LINEAR", &[[0.0, 0.0, 0.0], [4.0, 8.0, -2.0]]);
    for (seconds, by) in [
        (0.0, [0.0, 0.0, 0.0]),
        (1.5, [1.0, 2.0, -0.5]),
        (2.0, [2.0, 4.0, -1.0]),
        (3.0, [4.0, 8.0, -2.0]),
        (100.0, [4.0, 8.0, -2.0]),
    ] {
        assert_close(corners(&at(&package, seconds).scene), &moved(by));
    }
    let loaded = at(&package, 0.0);
    assert!(loaded.moves && loaded.warnings.iter().all(|warning| !warning.contains("animation")));
    assert_eq!((loaded.animations[0].name.as_str(), loaded.animations[0].end_s), ("drive", 3.0));
    assert_eq!(parse_package(&package, &SceneLimits::default()).unwrap(), loaded);
}

#[test]
fn steps_keep_the_value_of_the_key_frame_before() {
    let package = driven("scale", "STEP", &[[1.0, 1.0, 1.0], [2.0, 3.0, 4.0]]);
    assert_close(corners(&at(&package, 2.999).scene), &CORNERS);
    assert_close(corners(&at(&package, 3.0).scene), &[[0.0; 3], [2.0, 0.0, 0.0], [0.0, 3.0, 0.0]]);
}

#[test]
fn splines_scale_their_tangents_by_the_interval() {
    // Before, value and after of both key frames; halfway between 0 and 4 with slopes 1 and 3 per second over 2 s:
    // (0 + 4)/2 + 2 (1 - 3)/8.
    let part = |x: f32| [x, 0.0, 0.0];
    let values = [part(9.0), part(0.0), part(1.0), part(3.0), part(4.0), part(9.0)];
    let package = driven("translation", "CUBICSPLINE", &values);
    assert_close(corners(&at(&package, 2.0).scene), &moved(part(1.5)));
    assert_close(corners(&at(&package, 0.0).scene), &moved(part(0.0)));
    assert_close(corners(&at(&package, 9.0).scene), &moved(part(4.0)));
}

#[test]
fn rotations_go_along_the_shorter_arc_at_constant_speed() {
    for to in [QUARTER_TURN, QUARTER_TURN.map(|value| -value)] {
        let package = driven("rotation", "LINEAR", &[NO_TURN, to]);
        // A third of the way is 30 degrees.
        let scene = at(&package, 1.0 + 2.0 / 3.0).scene;
        let (sine, cosine) = (0.5, 0.866_025_4);
        assert_close(corners(&scene), &[[0.0; 3], [cosine, sine, 0.0], [-sine, cosine, 0.0]]);
    }
}

#[test]
fn cameras_and_children_move_along() {
    let mut builder = Builder::new();
    let mesh = triangle(&mut builder, &[], &[]);
    let camera = builder.push("cameras", json!({ "perspective": { "yfov": 0.8, "znear": 0.1 } }));
    let child = builder.push("nodes", json!({ "mesh": mesh, "translation": [0.0, 5.0, 0.0] }));
    let eye = builder.push("nodes", json!({ "camera": camera }));
    let parent = builder.node(json!({ "children": [child, eye], "translation": [1.0, 1.0, 1.0] }));
    let (times, values) = (builder.floats(&[[0.0], [1.0]]), builder.floats(&[[0.0_f32; 3], [2.0, 0.0, 0.0]]));
    animate(&mut builder, "", &[(parent, "translation", "LINEAR", times, values)]);
    let loaded = at(&builder.finish(), 0.5);
    assert_close(corners(&loaded.scene), &moved([1.0, 5.0, 0.0]));
    assert_close(&[loaded.scene.cameras[0].origin], &[[1.0, 0.0, 0.0]]);
    assert_eq!(loaded.animations[0].name, "animation 0");
}

#[test]
fn the_first_of_two_animations_drives_a_property() {
    let mut builder = Builder::new();
    let mesh = triangle(&mut builder, &[], &[]);
    let node = builder.node(json!({ "mesh": mesh }));
    let times = builder.floats(&[[0.0]]);
    let (first, second) = (builder.floats(&[[1.0_f32, 0.0, 0.0]]), builder.floats(&[[0.0_f32, 7.0, 0.0]]));
    let doubled = builder.floats(&[[2.0_f32; 3]]);
    animate(&mut builder, "walk", &[(node, "translation", "STEP", times, first)]);
    animate(
        &mut builder,
        "run",
        &[(node, "translation", "STEP", times, second), (node, "scale", "STEP", times, doubled)],
    );
    let loaded = at(&builder.finish(), 0.0);
    assert_close(corners(&loaded.scene), &[[1.0, 0.0, 0.0], [3.0, 0.0, 0.0], [1.0, 2.0, 0.0]]);
    assert!(loaded.warnings.iter().any(|warning| warning.contains("run") && warning.contains("already")));
}

/// A triangle of which each corner follows the joints by these shares. The second joint stands at x = 1 in the bind
/// pose and turns by 90 degrees within a second.
fn skinned(shares: [[f32; 4]; 3]) -> Vec<u8> {
    let mut builder = Builder::new();
    let joints = builder.accessor(&[0, 1, 0, 0].repeat(3), 5121, "VEC4", 3);
    let weights = builder.floats(&shares);
    let normals = builder.floats(&[[0.0_f32, 0.0, 1.0]; 3]);
    let mesh =
        triangle(&mut builder, &[("JOINTS_0", joints), ("WEIGHTS_0", weights), ("NORMAL", normals)], &[]);
    let identity = |moved_x: f32| {
        let mut cells = [0.0_f32; 16];
        for diagonal in [0, 5, 10, 15] {
            cells[diagonal] = 1.0;
        }
        cells[12] = moved_x;
        cells
    };
    let cells = [identity(0.0), identity(-1.0)];
    let bytes: Vec<u8> = cells.as_flattened().iter().flat_map(|cell| cell.to_le_bytes()).collect();
    let inverse = builder.accessor(&bytes, glb::FLOAT, "MAT4", 2);
    let second = builder.push("nodes", json!({ "translation": [1.0, 0.0, 0.0] }));
    let first = builder.node(json!({ "children": [second] }));
    // The node's own transform is ignored.
    builder.node(json!({ "mesh": mesh, "skin": 0, "translation": [50.0, 0.0, 0.0] }));
    builder.document["skins"] = json!([{ "joints": [first, second], "inverseBindMatrices": inverse }]);
    let (times, turns) = (builder.floats(&[[0.0], [1.0]]), builder.floats(&[NO_TURN, QUARTER_TURN]));
    animate(&mut builder, "bend", &[(second, "rotation", "LINEAR", times, turns)]);
    builder.finish()
}

#[test]
fn skinned_vertices_follow_their_joints_by_weight() {
    // All of the first joint, all of the second, and half of each with weights that add up to four.
    let package = skinned([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [2.0, 2.0, 0.0, 0.0]]);
    assert_close(corners(&at(&package, 0.0).scene), &CORNERS);
    // The second joint turns about (1, 0, 0): (0, 1, 0) goes to (0, -1, 0), of which half.
    let scene = at(&package, 1.0).scene;
    assert_close(corners(&scene), &[[0.0; 3], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]);
    assert_close(&scene.meshes[0].normals, &[[0.0, 0.0, 1.0]; 3]);
}

#[test]
fn two_nodes_that_show_a_skinned_mesh_show_it_twice() {
    let (mut document, binary) = glb::split(&skinned([[1.0, 0.0, 0.0, 0.0]; 3]));
    let again = document["nodes"][2].clone();
    document["nodes"].as_array_mut().unwrap().push(again);
    document["scenes"][0]["nodes"].as_array_mut().unwrap().push(json!(3));
    let loaded = at(&glb::join(document.to_string().as_bytes(), &binary), 0.3);
    assert_eq!((loaded.scene.placed_triangles(), loaded.scene.instances.len()), (2, 1));
}

#[test]
fn skins_that_cannot_be_are_told() {
    let says = |change: fn(&mut Value)| {
        let (mut document, binary) = glb::split(&skinned([[0.5, 0.5, 0.0, 0.0]; 3]));
        change(&mut document);
        try_at(&glb::join(document.to_string().as_bytes(), &binary), 0.0).unwrap_err().to_string()
    };
    for (told, expected) in [
        (says(|document| document["skins"][0]["joints"] = json!([9, 0])), "node 9"),
        (says(|document| document["skins"][0]["joints"] = json!([0])), "follows a joint beyond"),
        (says(|document| document["skins"][0]["joints"] = json!([0, 1, 1])), "2 matrices for 3 joints"),
        (says(|document| document["nodes"][2]["skin"] = json!(4)), "skin 4"),
        (says(|document| document["animations"][0]["samplers"][0]["interpolation"] = json!("NEAR")), "NEAR"),
        (says(|document| document["animations"][0]["samplers"][0]["input"] = json!(0)), "accessor 0"),
        (says(|document| document["animations"][0]["channels"][0]["target"]["node"] = json!(8)), "node 8"),
    ] {
        assert!(told.contains(expected), "{expected} is not in: {told}");
    }
}

/// A triangle with two morph targets, of weights that the mesh and perhaps the node set.
fn morphing(mesh_weights: [f32; 2], node_weights: Option<[f32; 2]>, animated: bool) -> Vec<u8> {
    let mut builder = Builder::new();
    let up = builder.floats(&[[0.0_f32, 0.0, 2.0]; 3]);
    let tilt = builder.floats(&[[0.0_f32, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]);
    let targets = [json!({ "POSITION": up }), json!({ "POSITION": tilt })];
    let mesh = triangle(&mut builder, &[], &targets);
    builder.document["meshes"][mesh]["weights"] = json!(mesh_weights);
    let mut node = json!({ "mesh": mesh, "translation": [10.0, 0.0, 0.0] });
    if let Some(weights) = node_weights {
        node["weights"] = json!(weights);
    }
    let node = builder.node(node);
    if animated {
        let times = builder.floats(&[[0.0], [1.0]]);
        let weights = builder.floats(&[[0.0_f32], [0.0], [1.0], [0.5]]);
        animate(&mut builder, "morph", &[(node, "weights", "LINEAR", times, weights)]);
    }
    builder.finish()
}

fn lifted(by: f32, tilt: f32) -> [[f32; 3]; 3] {
    [[10.0, 0.0, by], [11.0, 0.0, by + tilt], [10.0, 1.0, by]]
}

#[test]
fn morph_weights_come_from_the_animation_else_the_node_else_the_mesh() {
    let shape = |mesh, node, animated, seconds| at(&morphing(mesh, node, animated), seconds).scene;
    assert_close(corners(&shape([0.0, 0.0], None, false, 0.0)), &lifted(0.0, 0.0));
    assert_close(corners(&shape([0.5, 1.0], None, false, 0.0)), &lifted(1.0, 1.0));
    assert_close(corners(&shape([0.5, 1.0], Some([1.0, 0.0]), false, 0.0)), &lifted(2.0, 0.0));
    assert_close(corners(&shape([0.5, 1.0], Some([1.0, 0.0]), true, 0.5)), &lifted(1.0, 0.25));
    // Flat normals are those of the shape as it is: (-1, 0, 1) / √2.
    let tilted = shape([0.0, 1.0], None, false, 0.0);
    let slope = std::f32::consts::FRAC_1_SQRT_2;
    assert_close(&tilted.meshes[0].normals, &[[-slope, 0.0, slope]; 3]);
}

#[test]
fn sparse_elements_stand_in_place_of_others() {
    for with_view in [true, false] {
        let mut builder = Builder::new();
        let replaced = builder.view(&[1, 0, 2, 0]);
        let values: Vec<u8> =
            [5.0_f32, 6.0, 7.0, 0.0, 9.0, 0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let values = builder.view(&values);
        let positions = if with_view {
            builder.floats(&moved([1.0, 0.0, 0.0]))
        } else {
            builder.push("accessors", json!({ "componentType": glb::FLOAT, "type": "VEC3", "count": 3 }))
        };
        builder.document["accessors"][positions]["sparse"] = json!({ "count": 2,
            "indices": { "bufferView": replaced, "componentType": 5123 }, "values": { "bufferView": values } });
        let primitive = json!({ "attributes": { "POSITION": positions } });
        let mesh = builder.push("meshes", json!({ "primitives": [primitive] }));
        builder.node(json!({ "mesh": mesh }));
        let first = [f32::from(u8::from(with_view)), 0.0, 0.0];
        let package = builder.finish();
        assert_close(corners(&at(&package, 0.0).scene), &[first, [5.0, 6.0, 7.0], [0.0, 9.0, 0.0]]);
        let (mut document, mut binary) = glb::split(&package);
        let start = document["bufferViews"][replaced]["byteOffset"].as_u64().unwrap() as usize;
        for (indices, refused) in [([1_u8, 0, 1, 0], true), ([1, 0, 3, 0], true), ([0, 0, 2, 0], false)] {
            binary[start..start + 4].copy_from_slice(&indices);
            let outcome = try_at(&glb::join(document.to_string().as_bytes(), &binary), 0.0);
            assert_eq!(outcome.is_err(), refused, "{indices:?}");
        }
        document["accessors"][positions]["sparse"]["count"] = json!(1_u64 << 40);
        let told = try_at(&glb::join(document.to_string().as_bytes(), &binary), 0.0).unwrap_err().to_string();
        assert!(told.contains("leaves its buffer view"), "{told}");
    }
}

#[test]
fn key_frames_that_do_not_follow_each_other_are_told() {
    for (times, expected) in [
        ([[1.0_f32], [1.0]], "does not follow"),
        ([[1.0], [0.5]], "does not follow"),
        ([[0.0], [f32::NAN]], "does not follow"),
    ] {
        let mut builder = Builder::new();
        let mesh = triangle(&mut builder, &[], &[]);
        let node = builder.node(json!({ "mesh": mesh }));
        let (times, values) = (builder.floats(&times), builder.floats(&[[0.0_f32; 3]; 2]));
        animate(&mut builder, "", &[(node, "translation", "LINEAR", times, values)]);
        let told = try_at(&builder.finish(), 0.0).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
    }
    let few = driven("translation", "CUBICSPLINE", &[[0.0_f32; 3]; 2]);
    let told = try_at(&few, 0.0).unwrap_err().to_string();
    assert!(told.contains("2 values") && told.contains("take 6"), "{told}");
    let infinite = driven("translation", "LINEAR", &[[0.0_f32; 3], [f32::INFINITY, 0.0, 0.0]]);
    assert!(try_at(&infinite, 2.0).unwrap_err().to_string().contains("not finite"));
}

#[test]
fn paths_that_are_not_known_and_nodes_with_a_matrix_are_warned_of() {
    let warnings = |change: fn(&mut Value)| {
        let (mut document, binary) = glb::split(&driven("translation", "LINEAR", &[[0.0_f32; 3]; 2]));
        change(&mut document);
        at(&glb::join(document.to_string().as_bytes(), &binary), 0.0).warnings.join("; ")
    };
    let pointer = warnings(|document| {
        document["animations"][0]["channels"][0]["target"]["path"] = json!("pointer");
    });
    assert!(pointer.contains("pointer"), "{pointer}");
    let matrix = warnings(|document| {
        document["nodes"][0]["matrix"] = json!([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
    });
    assert!(matrix.contains("matrix"), "{matrix}");
    let weights = warnings(|document| {
        document["animations"][0]["channels"][0]["target"]["path"] = json!("weights");
    });
    assert!(weights.contains("no morph targets"), "{weights}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_moment_gives_a_finite_scene(
        us in 0..4_000_000_u64,
        values in prop::collection::vec(prop::array::uniform4(-1e3..1e3_f32), 6),
        path in prop::sample::select(vec!["translation", "scale", "rotation"]),
        interpolation in prop::sample::select(vec!["LINEAR", "STEP", "CUBICSPLINE"]),
    ) {
        let keys = if interpolation == "CUBICSPLINE" { 6 } else { 2 };
        let package = if path == "rotation" {
            driven(path, interpolation, &values[..keys])
        } else {
            let shorter: Vec<[f32; 3]> = values[..keys].iter().map(|[x, y, z, _]| [*x, *y, *z]).collect();
            driven(path, interpolation, &shorter)
        };
        let time = SceneTime::from_us(us).unwrap();
        let scene = parse_package_at(&package, &SceneLimits::default(), time).unwrap().scene;
        let mesh = &scene.meshes[0];
        prop_assert!(mesh.positions.as_flattened().iter().chain(mesh.normals.as_flattened()).all(|v| v.is_finite()));
    }
}
