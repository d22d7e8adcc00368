//! Scene files that are damaged, hostile or merely unusual: each gives one clear sentence, none a panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_cmp,
    reason = "a panic is a test's report; the numbers are exact"
)]

use p2c2r_render::{
    limit::SceneLimits,
    scene::{
        Scene, SceneError,
        generate::{SceneKind, generate},
        gltf::{LoadedScene, parse_package},
    },
};
use serde_json::{Value, json};

/// Bytes of the binary chunk of [`triangle`]: three positions, three 16-bit indices, padding.
fn triangle_binary() -> Vec<u8> {
    let positions = [[0.0_f32, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
    let mut bytes: Vec<u8> = positions.as_flattened().iter().flat_map(|value| value.to_le_bytes()).collect();
    bytes.extend([0_u16, 1, 2].iter().flat_map(|index| index.to_le_bytes()));
    bytes.extend([0, 0]);
    bytes
}

/// A document with one triangle and nothing else.
fn triangle() -> Value {
    json!({
        "asset": { "version": "2.0" },
        "scenes": [{ "nodes": [0] }],
        "nodes": [{ "mesh": 0 }],
        "meshes": [{ "name": "tri", "primitives": [{ "attributes": { "POSITION": 0 }, "indices": 1 }] }],
        "accessors": [
            { "bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3" },
            { "bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR" },
        ],
        "bufferViews": [
            { "buffer": 0, "byteLength": 36 },
            { "buffer": 0, "byteOffset": 36, "byteLength": 6 },
        ],
        "buffers": [{ "byteLength": 44 }],
    })
}

fn glb(document: &Value, binary: &[u8]) -> Vec<u8> {
    let mut json = document.to_string().into_bytes();
    json.resize(json.len().next_multiple_of(4), b' ');
    let total = (12 + 8 + json.len() + 8 + binary.len()) as u32;
    let mut bytes = b"glTF".to_vec();
    for word in [2, total, json.len() as u32, 0x4E4F_534A] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(json);
    bytes.extend((binary.len() as u32).to_le_bytes());
    bytes.extend(0x004E_4942_u32.to_le_bytes());
    bytes.extend(binary);
    bytes
}

fn load(document: &Value, binary: &[u8]) -> Result<LoadedScene, SceneError> {
    parse_package(&glb(document, binary), &SceneLimits::default())
}

/// What the loader says to a triangle changed by `change`.
fn refusal(change: impl FnOnce(&mut Value, &mut Vec<u8>)) -> String {
    let (mut document, mut binary) = (triangle(), triangle_binary());
    change(&mut document, &mut binary);
    load(&document, &binary).expect_err("must be refused").to_string()
}

#[track_caller]
fn assert_says(sentence: &str, parts: &[&str]) {
    for part in parts {
        assert!(sentence.contains(part), "\"{sentence}\" does not say \"{part}\"");
    }
}

#[test]
fn the_plain_triangle_loads_with_a_camera_and_daylight() {
    let LoadedScene { scene, warnings, .. } = load(&triangle(), &triangle_binary()).unwrap();
    assert_eq!((scene.placed_triangles(), scene.meshes[0].positions.len(), scene.materials.len()), (1, 3, 1));
    assert_eq!(scene.meshes[0].normals[0], [0.0, 0.0, 1.0]);
    assert_eq!(scene.cameras.len(), 1);
    assert!(scene.lights.len() == 1 && scene.sky[1][2] > 0.0);
    assert_eq!(warnings.len(), 1);
}

#[test]
fn daylight_comes_to_what_must_be_lit_and_not_to_what_is_unlit() {
    let lights = |materials: &[Value]| {
        let mut document = triangle();
        document["materials"] = json!(materials);
        let primitive = document["meshes"][0]["primitives"][0].clone();
        let with = |number: usize| {
            let mut primitive = primitive.clone();
            primitive["material"] = json!(number);
            primitive
        };
        document["meshes"][0]["primitives"] = (0..materials.len()).map(with).collect();
        load(&document, &triangle_binary()).unwrap().scene.lights.len()
    };
    let unlit = json!({ "extensions": { "KHR_materials_unlit": {} } });
    let shining = json!({ "emissiveFactor": [1.0, 0.5, 0.0] });
    assert_eq!(lights(std::slice::from_ref(&unlit)), 0);
    assert_eq!(lights(&[unlit.clone(), json!({})]), 1);
    assert_eq!(lights(&[unlit, json!({}), shining]), 0);
}

#[test]
fn b28_indices_counts_and_bounds_are_checked() {
    let index = refusal(|_, binary| binary[40] = 9);
    assert_says(
        &index,
        &["mesh 0 \"tri\"", "primitive 0", "accessor 1", "index 9 is out of range", "3 vertices"],
    );
    let count = refusal(|document, _| document["accessors"][0]["count"] = json!(4));
    assert_says(&count, &["accessor 0", "claims 4 elements", "36 bytes"]);
    let huge = refusal(|document, _| document["accessors"][0]["count"] = json!(u64::MAX));
    assert_says(&huge, &["accessor 0", "leaves its buffer view"]);
    let view = refusal(|document, _| document["bufferViews"][0]["byteOffset"] = json!(u64::MAX));
    assert_says(&view, &["buffer view 0", "leaves its buffer"]);
    let buffer = refusal(|document, _| document["buffers"][0]["byteLength"] = json!(1_u64 << 60));
    assert_says(&buffer, &["buffer 0", "claims"]);
    let stride = refusal(|document, _| document["bufferViews"][0]["byteStride"] = json!(4));
    assert_says(&stride, &["12 bytes at a distance of 4"]);
    let shape = refusal(|document, _| document["accessors"][0]["type"] = json!("MAT4"));
    assert_says(&shape, &["accessor 0", "VEC3"]);
    let component = refusal(|document, _| document["accessors"][1]["componentType"] = json!(1));
    assert_says(&component, &["unknown component type 1"]);
    let float_indices = refusal(|document, _| document["meshes"][0]["primitives"][0]["indices"] = json!(0));
    assert_says(&float_indices, &["accessor 0", "SCALAR"]);
}

#[test]
fn b28_an_accessor_without_bytes_cannot_ask_for_memory() {
    for accessor in [0, 1] {
        let sentence = refusal(|document, _| {
            document["accessors"][accessor].as_object_mut().unwrap().remove("bufferView");
            document["accessors"][accessor]["count"] = json!(1_u64 << 50);
        });
        assert_says(&sentence, &[&format!("accessor {accessor}"), "no buffer view"]);
    }
}

#[test]
fn b28_vertices_must_be_finite() {
    for bad in [f32::NAN, f32::INFINITY] {
        let sentence = refusal(|_, binary| binary[16..20].copy_from_slice(&bad.to_le_bytes()));
        assert_says(&sentence, &["mesh 0 \"tri\"", "vertex 1", "not finite"]);
    }
    let far = refusal(|document, _| document["nodes"][0]["scale"] = json!([1e30, 1.0, 1.0]));
    assert_says(&far, &["vertex 1", "its node"]);
}

#[test]
fn b28_nodes_must_form_a_tree() {
    let circle = refusal(|document, _| {
        document["nodes"] = json!([{ "children": [1] }, { "children": [0], "mesh": 0 }]);
    });
    assert_says(&circle, &["two parents or is its own ancestor"]);
    let shared = refusal(|document, _| {
        document["nodes"] = json!([{ "children": [2, 1] }, { "children": [2] }, { "mesh": 0 }]);
    });
    assert_says(&shared, &["node 2", "two parents"]);
    let deep = refusal(|document, _| {
        document["nodes"] =
            (1..5000).map(|child| json!({ "children": [child] })).chain([json!({ "mesh": 0 })]).collect();
    });
    assert_says(&deep, &["nested deeper"]);
    for (change, what) in [
        (json!([{ "mesh": 7 }]), "mesh 7"),
        (json!([{ "children": [9] }]), "node 9"),
        (json!([{ "camera": 3 }]), "camera 3"),
    ] {
        assert_says(&refusal(|document, _| document["nodes"] = change), &[what]);
    }
}

#[test]
fn b26_instances_are_counted_before_they_are_made() {
    let limits = SceneLimits { triangles: 1000, ..SceneLimits::default() };
    let mut document = triangle();
    document["nodes"] = (0..1001).map(|_| json!({ "mesh": 0 })).collect();
    document["scenes"] = json!([{ "nodes": (0..1001).collect::<Vec<_>>() }]);
    let bytes = glb(&document, &triangle_binary());
    let sentence = parse_package(&bytes, &limits).unwrap_err().to_string();
    assert_says(&sentence, &["triangles: 1001", "1000"]);
    assert_eq!(parse_package(&bytes, &SceneLimits::default()).unwrap().scene.placed_triangles(), 1001);
    let small = SceneLimits { package_bytes: 100, ..SceneLimits::default() };
    assert_says(&parse_package(&bytes, &small).unwrap_err().to_string(), &["bytes", "at most 100"]);
    let few = SceneLimits { nodes: 1000, ..SceneLimits::default() };
    assert_says(&parse_package(&bytes, &few).unwrap_err().to_string(), &["nodes: 1001"]);
}

#[test]
fn a_scene_without_triangles_says_so() {
    for (change, lines) in [
        (json!([]), false),
        (json!([{ "primitives": [] }]), false),
        (json!([{ "primitives": [{ "attributes": { "POSITION": 0 }, "mode": 1 }] }]), true),
    ] {
        let sentence = refusal(|document, _| {
            document["nodes"] = if change == json!([]) { json!([{}]) } else { json!([{ "mesh": 0 }]) };
            document["meshes"] = change;
        });
        assert_says(&sentence, &["no triangles"]);
        assert_eq!(sentence.contains("points and lines"), lines, "{sentence}");
    }
}

#[test]
fn extensions_that_are_required_are_named_and_others_are_passed_over() {
    let required = refusal(|document, _| {
        document["extensionsRequired"] =
            json!(["KHR_draco_mesh_compression", "KHR_mesh_quantization", "KHR_animation_pointer"]);
    });
    assert_says(&required, &["KHR_draco_mesh_compression, KHR_animation_pointer"]);
    assert!(!required.contains("quantization"));
    let mut document = triangle();
    document["extensionsUsed"] = json!(["KHR_materials_sheen"]);
    let warnings = load(&document, &triangle_binary()).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("KHR_materials_sheen")));
}

#[test]
fn material_and_camera_numbers_are_judged() {
    let with_material = |material: Value| {
        refusal(|document, _| {
            document["materials"] = json!([material]);
            document["meshes"][0]["primitives"][0]["material"] = json!(0);
        })
    };
    assert_says(&with_material(json!({ "emissiveFactor": [-1.0, 0.0, 0.0] })), &["material 0", "emission"]);
    assert_says(&with_material(json!({ "emissiveFactor": [1e39, 0.0, 0.0] })), &["material 0", "emission"]);
    assert_says(
        &with_material(json!({ "pbrMetallicRoughness": { "roughnessFactor": 1e39 } })),
        &["material 0", "roughness factor"],
    );
    assert_says(
        &with_material(json!({ "pbrMetallicRoughness": { "baseColorTexture": { "index": 4 } } })),
        &["texture 4"],
    );
    let no_material = refusal(|document, _| document["meshes"][0]["primitives"][0]["material"] = json!(5));
    assert_says(&no_material, &["material 5"]);
    let camera = refusal(|document, _| {
        document["nodes"][0]["camera"] = json!(0);
        document["cameras"] = json!([{ "name": "wide", "perspective": { "yfov": 4.0 } }]);
    });
    assert_says(&camera, &["camera 0 \"wide\"", "field of view"]);
    let flat = refusal(|document, _| {
        document["nodes"][0]["camera"] = json!(0);
        document["cameras"] = json!([{ "name": "plan", "orthographic": { "xmag": 1.0, "ymag": 0.0 } }]);
    });
    assert_says(&flat, &["camera 0 \"plan\"", "half height"]);
    let sky = refusal(|document, _| {
        document["scenes"][0]["extras"] = json!({ "p2c2r_sky": [[0, 0, 0], [0, -1, 0]] });
    });
    assert_says(&sky, &["p2c2r_sky"]);
}

#[test]
fn pictures_are_limited_before_they_are_decoded() {
    let mut png = Vec::new();
    image::RgbImage::new(64, 2)
        .write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png)
        .unwrap();
    let with_picture = |picture: &[u8], limits: SceneLimits| {
        let (mut document, mut binary) = (triangle(), triangle_binary());
        binary.extend_from_slice(picture);
        binary.resize(binary.len().next_multiple_of(4), 0);
        document["buffers"][0]["byteLength"] = json!(binary.len());
        let views = document["bufferViews"].as_array_mut().unwrap();
        views.push(json!({ "buffer": 0, "byteOffset": 44, "byteLength": picture.len() }));
        document["images"] = json!([{ "bufferView": 2 }]);
        document["textures"] = json!([{ "source": 0 }]);
        document["materials"] = json!([{ "pbrMetallicRoughness": { "baseColorTexture": { "index": 0 } } }]);
        parse_package(&glb(&document, &binary), &limits).map(|loaded| loaded.scene.images)
    };
    let whole = with_picture(&png, SceneLimits::default()).unwrap();
    assert_eq!((whole[0].width, whole[0].height, whole[0].texels.len()), (64, 2, 128));
    let edge = SceneLimits { texture_edge_px: 63, ..SceneLimits::default() };
    assert_says(&with_picture(&png, edge).unwrap_err().to_string(), &["texture", "64", "63"]);
    let pixels = SceneLimits { texture_pixels: 127, ..SceneLimits::default() };
    assert_says(&with_picture(&png, pixels).unwrap_err().to_string(), &["texture pixels: 128"]);
    let cut = with_picture(&png[..png.len() / 2], SceneLimits::default()).unwrap_err().to_string();
    assert_says(&cut, &["image 0", "damaged"]);
    let mut jpeg = Vec::new();
    image::RgbImage::new(64, 2)
        .write_to(&mut std::io::Cursor::new(&mut jpeg), image::ImageFormat::Jpeg)
        .unwrap();
    // The decoder's own message ends with a line break somewhere among these.
    for length in (20..jpeg.len() - 2).step_by(7) {
        if let Err(error) = with_picture(&jpeg[..length], SceneLimits::default()) {
            let told = error.to_string();
            assert!(told.contains("image 0") && !told.contains(char::is_control), "{told:?}");
        }
    }
    let other = with_picture(b"GIF89a..........", SceneLimits::default()).unwrap_err().to_string();
    assert_says(&other, &["image 0", "neither PNG nor JPEG"]);
    // A header that claims 2^31 x 2^31 pixels.
    let mut bomb = png.clone();
    bomb[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    assert!(with_picture(&bomb, SceneLimits::default()).is_err());
}

#[test]
fn files_that_are_no_gltf_say_so() {
    for bytes in [&b""[..], b"glTF", b"PNG....................", &[0; 64]] {
        assert_says(
            &parse_package(bytes, &SceneLimits::default()).unwrap_err().to_string(),
            &["not a glTF 2.0 scene"],
        );
    }
    let old = refusal(|document, _| document["asset"]["version"] = json!("1.0"));
    assert_says(&old, &["1.0", "2.x"]);
    // Nested deeper than the JSON reader's limit.
    let mut nested = String::from(r#"{"asset":{"version":"2.0"},"extras":"#);
    nested.push_str(&"[".repeat(100_000));
    let mut bytes = b"glTF".to_vec();
    for word in [2, (20 + nested.len()) as u32, nested.len() as u32, 0x4E4F_534A] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(nested.as_bytes());
    assert!(parse_package(&bytes, &SceneLimits::default()).is_err());
}

#[test]
fn b31_a_scene_cut_off_anywhere_is_refused() {
    let bytes = generate(SceneKind::Cornell, 1, None);
    for length in 0..bytes.len() {
        assert!(parse_package(&bytes[..length], &SceneLimits::default()).is_err(), "{length} bytes");
    }
}

/// Changes a few bytes at random places, thousands of times. Whatever loads must keep the promises of a scene.
#[test]
fn b31_mutated_scenes_never_panic() {
    let limits = SceneLimits {
        triangles: 100_000,
        vertices: 100_000,
        texture_pixels: 1 << 20,
        ..SceneLimits::default()
    };
    let mut state = 0x1234_5678_9ABC_DEF0_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut loaded = 0;
    for original in [
        generate(SceneKind::Cornell, 1, None),
        generate(SceneKind::Spheres, 1, Some(100)),
        glb(&triangle(), &triangle_binary()),
    ] {
        for _ in 0..2000 {
            let mut bytes = original.clone();
            for _ in 0..=random(6) {
                let at = random(bytes.len());
                bytes[at] = match random(4) {
                    0 => random(256) as u8,
                    1 => bytes[at] ^ (1 << random(8)),
                    // Digits keep the JSON whole, so that its numbers are what goes wrong.
                    _ if bytes[at].is_ascii_digit() => b'0' + random(10) as u8,
                    _ => 0xff,
                };
            }
            if let Ok(LoadedScene { scene, .. }) = parse_package(&bytes, &limits) {
                assert!(!scene.cameras.is_empty());
                check_sound(&scene);
                loaded += usize::from(scene.placed_triangles() > 0);
            }
        }
    }
    assert!(loaded > 100, "only {loaded} mutants loaded: the test has lost its teeth");
}

/// Every index in range, every number finite, every normal of unit length.
fn check_sound(scene: &Scene) {
    for instance in &scene.instances {
        assert!((instance.mesh as usize) < scene.meshes.len());
        let numbers = instance.to_world.0.as_flattened().iter().chain(instance.to_mesh.0.as_flattened());
        assert!(numbers.into_iter().all(|value| value.is_finite()));
    }
    for mesh in &scene.meshes {
        let vertices = mesh.positions.len();
        assert!(!mesh.triangles.is_empty() && mesh.normals.len() == vertices);
        for triangle in &mesh.triangles {
            assert!((triangle.material as usize) < scene.materials.len());
            assert!(triangle.vertices.iter().all(|index| (*index as usize) < vertices));
        }
        for set in &mesh.uvs {
            assert!(set.is_empty() || set.len() == vertices);
            assert!(set.as_flattened().iter().all(|value| value.is_finite()));
        }
        assert!(mesh.positions.as_flattened().iter().all(|value| value.is_finite()));
        for normal in &mesh.normals {
            let length: f32 = normal.iter().map(|value| value * value).sum();
            assert!((length - 1.0).abs() < 1e-3);
        }
    }
    for material in &scene.materials {
        let uses = [&material.base_color_texture, &material.normal_texture, &material.emissive_texture];
        assert!(uses.into_iter().flatten().all(|used| (used.texture as usize) < scene.textures.len()));
    }
    assert!(scene.textures.iter().all(|texture| (texture.image as usize) < scene.images.len()));
}
