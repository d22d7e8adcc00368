//! A scene that moves, made by hand: a box that slides from one side to the other within a second.

use serde_json::json;

/// Half an edge of the box.
const HALF: f32 = 0.4;
/// How far it slides to each side.
const REACH: f32 = 1.0;
/// Corners of a face each, seen from outside counter-clockwise; a corner's bits are its sides along x, y and z.
const FACES: [[u16; 4]; 6] =
    [[0, 4, 6, 2], [1, 3, 7, 5], [0, 1, 5, 4], [2, 6, 7, 3], [0, 2, 3, 1], [4, 5, 7, 6]];

/// The scene as a GLB: the box, a node with its animation, and a camera that stays, if it is to have one.
pub fn sliding_box_glb(has_camera: bool) -> Vec<u8> {
    let side = |corner: u16, bit: u16| if corner >> bit & 1 == 1 { HALF } else { -HALF };
    let positions: Vec<f32> =
        (0..8).flat_map(|corner| [side(corner, 0), side(corner, 1), side(corner, 2)]).collect();
    let indices: Vec<u16> = FACES.iter().flat_map(|[a, b, c, d]| [*a, *b, *c, *a, *c, *d]).collect();
    let times = [0.0_f32, 1.0];
    let places = [-REACH, 0.0, 0.0, REACH, 0.0, 0.0];
    let mut binary = Vec::new();
    let mut views = Vec::new();
    let mut add = |bytes: Vec<u8>| {
        views.push(json!({ "buffer": 0, "byteOffset": binary.len(), "byteLength": bytes.len() }));
        binary.extend(bytes);
    };
    add(floats(&positions));
    add(indices.iter().flat_map(|index| index.to_le_bytes()).collect());
    add(floats(&times));
    add(floats(&places));
    let mut document = json!({
        "asset": { "version": "2.0" },
        "scene": 0,
        "scenes": [{ "nodes": [0, 1] }],
        "nodes": [{ "mesh": 0 }, { "camera": 0, "translation": [0.0, 0.0, 4.0] }],
        "meshes": [{ "primitives": [{ "attributes": { "POSITION": 0 }, "indices": 1 }] }],
        "cameras": [{ "type": "perspective", "perspective": { "yfov": 0.8, "znear": 0.1 } }],
        "animations": [{
            "channels": [{ "sampler": 0, "target": { "node": 0, "path": "translation" } }],
            "samplers": [{ "input": 2, "output": 3, "interpolation": "LINEAR" }],
        }],
        "accessors": [
            { "bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3",
              "min": [-HALF, -HALF, -HALF], "max": [HALF, HALF, HALF] },
            { "bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR" },
            { "bufferView": 2, "componentType": 5126, "count": 2, "type": "SCALAR", "min": [0.0], "max": [1.0] },
            { "bufferView": 3, "componentType": 5126, "count": 2, "type": "VEC3" },
        ],
        "bufferViews": views,
        "buffers": [{ "byteLength": binary.len() }],
    });
    if !has_camera {
        document["scenes"][0]["nodes"] = json!([0]);
    }
    glb(document.to_string().into_bytes(), binary)
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The container of glTF 2.0: a header, a chunk of JSON, a chunk of bytes, each padded to whole words.
fn glb(mut json: Vec<u8>, mut binary: Vec<u8>) -> Vec<u8> {
    json.resize(json.len().next_multiple_of(4), b' ');
    binary.resize(binary.len().next_multiple_of(4), 0);
    let word = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let mut file = b"glTF\x02\x00\x00\x00".to_vec();
    file.extend(word(12 + 8 + json.len() + 8 + binary.len()));
    file.extend(word(json.len()));
    file.extend(b"JSON");
    file.extend(json);
    file.extend(word(binary.len()));
    file.extend(b"BIN\x00");
    file.extend(binary);
    file
}
