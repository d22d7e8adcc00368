//! Small scenes that together use everything that the loader reads.

use image::ImageFormat;
use p2c2r_render::scene::generate::{SceneKind, generate};
use serde_json::{Value, json};

use super::glb::{Builder, FLOAT};

/// Squares along an edge of [`sheet`]: its two triangles each are enough to be instanced.
const SHEET_EDGE: u16 = 6;

/// Every scene of the corpus, by a name for reports.
pub fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("surfaces", surfaces()),
        ("lights, cameras and transforms", placed()),
        ("packed attributes", packed()),
        ("motion", moving()),
        ("sparse", sparse()),
        ("environment", environment()),
        ("cornell", generate(SceneKind::Cornell, 1, None)),
        ("spheres", generate(SceneKind::Spheres, 1, Some(100))),
    ]
}

/// Positions, normals and texture coordinates of a wavy square, and its triangles.
struct Sheet {
    positions: Vec<[f32; 3]>,
    normals: Vec<[f32; 3]>,
    uvs: Vec<[f32; 2]>,
    indices: Vec<u16>,
}

fn sheet(edge: u16) -> Sheet {
    let mut sheet = Sheet { positions: vec![], normals: vec![], uvs: vec![], indices: vec![] };
    let row = edge + 1;
    for (x, y) in (0..row).flat_map(|y| (0..row).map(move |x| (x, y))) {
        let uv = [x, y].map(|value| f32::from(value) / f32::from(edge));
        sheet.positions.push([uv[0] - 0.5, uv[1] - 0.5, f32::from((x * y) % 3) * 0.1]);
        sheet.normals.push([0.0, 0.0, 1.0]);
        sheet.uvs.push(uv);
        if x < edge && y < edge {
            let at = y * row + x;
            sheet.indices.extend([at, at + 1, at + row + 1, at, at + row + 1, at + row]);
        }
    }
    sheet
}

/// A mesh of the sheet with the material and texture coordinates.
pub fn sheet_mesh(builder: &mut Builder, material: Option<usize>) -> usize {
    let sheet = sheet(SHEET_EDGE);
    let attributes = json!({
        "POSITION": builder.floats(&sheet.positions), "NORMAL": builder.floats(&sheet.normals),
        "TEXCOORD_0": builder.floats(&sheet.uvs), "TEXCOORD_1": builder.floats(&sheet.uvs),
    });
    let mut primitive = json!({ "attributes": attributes, "indices": builder.indices(&sheet.indices) });
    if let Some(material) = material {
        primitive["material"] = json!(material);
    }
    builder.push("meshes", json!({ "name": "sheet", "primitives": [primitive] }))
}

/// Every texture slot, wrapping, filter, extension and alpha mode of materials.
fn surfaces() -> Vec<u8> {
    let mut builder = Builder::new();
    let png = builder.texture(ImageFormat::Png, json!({ "wrapS": 33071, "wrapT": 33648, "magFilter": 9728 }));
    let jpeg =
        builder.texture(ImageFormat::Jpeg, json!({ "wrapS": 10497, "magFilter": 9729, "minFilter": 9987 }));
    let moved = json!({ "index": png, "texCoord": 1, "extensions": { "KHR_texture_transform": {
        "offset": [0.25, 0.5], "rotation": 0.7, "scale": [2.0, 0.5], "texCoord": 0 } } });
    let plain = json!({ "index": jpeg });
    let materials = [
        json!({
            "name": "all", "emissiveFactor": [0.5, 0.4, 0.3], "emissiveTexture": moved, "doubleSided": true,
            "normalTexture": { "index": png, "scale": 0.8 }, "occlusionTexture": { "index": jpeg, "strength": 0.5 },
            "pbrMetallicRoughness": {
                "baseColorFactor": [0.9, 0.8, 0.7, 1.0], "baseColorTexture": moved, "metallicFactor": 0.3,
                "roughnessFactor": 0.4, "metallicRoughnessTexture": plain,
            },
            "extensions": {
                "KHR_materials_emissive_strength": { "emissiveStrength": 5.0 },
                "KHR_materials_ior": { "ior": 1.33 },
                "KHR_materials_clearcoat": {
                    "clearcoatFactor": 0.8, "clearcoatTexture": plain, "clearcoatRoughnessFactor": 0.2,
                    "clearcoatRoughnessTexture": moved, "clearcoatNormalTexture": plain,
                },
            },
        }),
        json!({ "name": "glass", "alphaMode": "BLEND", "extensions": {
            "KHR_materials_transmission": { "transmissionFactor": 0.9, "transmissionTexture": plain } } }),
        json!({ "name": "leaf", "alphaMode": "MASK", "alphaCutoff": 0.4,
            "pbrMetallicRoughness": { "baseColorTexture": plain } }),
        json!({ "name": "sign", "extensions": { "KHR_materials_unlit": {} } }),
    ];
    for (index, material) in materials.into_iter().enumerate() {
        let material = builder.push("materials", material);
        let mesh = sheet_mesh(&mut builder, Some(material));
        builder.node(json!({ "mesh": mesh, "translation": [index, 0.0, 0.0] }));
    }
    builder.document["extensionsUsed"] =
        json!(["KHR_materials_unlit", "KHR_materials_clearcoat", "KHR_materials_sheen"]);
    builder.document["extensionsRequired"] = json!(["KHR_texture_transform"]);
    builder.finish()
}

/// Instances, nested and mirrored nodes, all kinds of lights and cameras.
fn placed() -> Vec<u8> {
    let mut builder = Builder::new();
    let glow = builder.push("materials", json!({ "emissiveFactor": [1.0, 0.9, 0.5] }));
    let (mesh, bright) = (sheet_mesh(&mut builder, None), sheet_mesh(&mut builder, Some(glow)));
    for (kind, extra) in [
        ("perspective", json!({ "yfov": 0.8, "znear": 0.1, "zfar": 100.0, "aspectRatio": 1.5 })),
        ("orthographic", json!({ "xmag": 1.0, "ymag": 1.0, "znear": 0.1, "zfar": 10.0 })),
    ] {
        let camera = builder.push("cameras", json!({ "name": kind, "type": kind, kind: extra }));
        builder.node(json!({ "name": "eye", "camera": camera, "translation": [0.0, 0.5, 4.0] }));
    }
    builder.document["extensions"] = json!({ "KHR_lights_punctual": { "lights": [
        { "type": "directional", "intensity": 2.0 },
        { "type": "point", "color": [1.0, 0.5, 0.2], "intensity": 30.0, "range": 20.0 },
        { "type": "spot", "intensity": 40.0, "spot": { "innerConeAngle": 0.2, "outerConeAngle": 0.6 } },
    ] } });
    for light in 0..3 {
        let extensions = json!({ "KHR_lights_punctual": { "light": light } });
        builder.node(json!({ "extensions": extensions, "translation": [1.0, 2.0, 3.0] }));
    }
    let child = builder.push("nodes", json!({ "mesh": mesh, "scale": [-1.0, 2.0, 0.5] }));
    let turned = json!([0.0, 0.6, 0.0, 0.8]);
    builder.node(json!({ "children": [child], "rotation": turned, "translation": [0.5, 0.0, -1.0] }));
    let matrix = json!([2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, -1, 0, 1]);
    builder.node(json!({ "mesh": mesh, "matrix": matrix }));
    builder.node(json!({ "mesh": bright, "translation": [0.0, 2.0, 0.0] }));
    builder.node(json!({ "mesh": bright, "translation": [0.0, 3.0, 0.0] }));
    builder.document["scenes"][0]["extras"] = json!({ "p2c2r_sky": [[0.1, 0.1, 0.1], [0.2, 0.3, 0.4]] });
    builder.finish()
}

/// Whole-number attributes, strides, colours, tangents, strips, fans, and triangles without indices or normals.
fn packed() -> Vec<u8> {
    let mut builder = Builder::new();
    let corners: [[i16; 4]; 4] = [[0, 0, 0, 0], [32767, 0, 0, 0], [0, 32767, 0, 0], [32767, 32767, 9000, 0]];
    let bytes: Vec<u8> = corners.as_flattened().iter().flat_map(|value| value.to_le_bytes()).collect();
    let quantized = builder.accessor(&bytes, 5122, "VEC3", 4);
    builder.document["accessors"][quantized]["normalized"] = json!(true);
    builder.document["bufferViews"][quantized]["byteStride"] = json!(8);
    let normals = builder.accessor(&[0, 0, 127, 0].repeat(4), 5120, "VEC3", 4);
    builder.document["accessors"][normals]["normalized"] = json!(true);
    let normals_view =
        builder.document["accessors"][normals]["bufferView"].as_u64().expect("a view") as usize;
    builder.document["bufferViews"][normals_view]["byteStride"] = json!(4);
    let uvs = builder.accessor(&[0, 0, 255, 0, 0, 255, 255, 255], 5121, "VEC2", 4);
    let rgba = builder.accessor(&[200, 100, 50, 255].repeat(4), 5121, "VEC4", 4);
    builder.document["accessors"][rgba]["normalized"] = json!(true);
    let rgb = builder.floats(&[[0.2, 0.4, 0.6]; 4]);
    let tangents = builder.floats(&[[1.0, 0.0, 0.0, -1.0]; 4]);
    let bytes = builder.accessor(&[0, 1, 2, 3], 5121, "SCALAR", 4);
    let words: Vec<u8> = [0_u32, 1, 2, 2, 1, 3].iter().flat_map(|index| index.to_le_bytes()).collect();
    let words = builder.accessor(&words, 5125, "SCALAR", 6);
    let primitives = json!([
        { "mode": 5, "indices": bytes, "attributes":
            { "POSITION": quantized, "NORMAL": normals, "TEXCOORD_0": uvs, "COLOR_0": rgba, "TANGENT": tangents } },
        { "mode": 6, "attributes": { "POSITION": quantized, "COLOR_0": rgb } },
        { "indices": words, "attributes": { "POSITION": quantized } },
        { "mode": 1, "attributes": { "POSITION": quantized } },
    ]);
    let mesh = builder.push("meshes", json!({ "primitives": primitives }));
    builder.node(json!({ "mesh": mesh }));
    builder.document["extensionsRequired"] = json!(["KHR_mesh_quantization"]);
    builder.finish()
}

/// A skin, morph targets, and animations of every path and interpolation.
fn moving() -> Vec<u8> {
    let mut builder = Builder::new();
    let sheet = sheet(2);
    let joints = builder.accessor(&[0, 1, 0, 0].repeat(9), 5121, "VEC4", 9);
    let weights = builder.floats(&[[0.75, 0.25, 0.0, 0.0]; 9]);
    let pushed = builder.floats(&[[0.0, 0.0, 0.2]; 9]);
    let primitive = json!({
        "attributes": {
            "POSITION": builder.floats(&sheet.positions), "NORMAL": builder.floats(&sheet.normals),
            "JOINTS_0": joints, "WEIGHTS_0": weights,
        },
        "indices": builder.indices(&sheet.indices),
        "targets": [{ "POSITION": pushed, "NORMAL": pushed }],
    });
    let mesh = builder.push("meshes", json!({ "primitives": [primitive], "weights": [0.5] }));
    let matrices: Vec<u8> = [0, 1]
        .iter()
        .flat_map(|_| (0..16).map(|cell| if cell % 5 == 0 { 1.0_f32 } else { 0.0 }))
        .flat_map(f32::to_le_bytes)
        .collect();
    let inverse = builder.accessor(&matrices, FLOAT, "MAT4", 2);
    let joint = builder.push("nodes", json!({ "translation": [0.0, 0.5, 0.0] }));
    let root = builder.node(json!({ "children": [joint] }));
    builder.node(json!({ "mesh": mesh, "skin": 0 }));
    builder.document["skins"] =
        json!([{ "joints": [root, joint], "inverseBindMatrices": inverse, "skeleton": root }]);
    let times = builder.floats(&[[0.0], [1.0]]);
    let turns = builder.floats(&[[0.0, 0.0, 0.0, 1.0], [0.0, 0.6, 0.0, 0.8]]);
    let moves = builder.floats(&[[0.0_f32, 0.0, 0.0]; 6]);
    let grows = builder.floats(&[[1.0_f32, 1.0, 1.0], [2.0, 2.0, 2.0]]);
    let morphs = builder.floats(&[[0.0_f32], [1.0]]);
    let channel = |sampler: usize, node: usize, path: &str| -> Value {
        json!({ "sampler": sampler, "target": { "node": node, "path": path } })
    };
    builder.document["animations"] = json!([{
        "name": "wave",
        "samplers": [
            { "input": times, "output": turns },
            { "input": times, "output": moves, "interpolation": "CUBICSPLINE" },
            { "input": times, "output": grows, "interpolation": "STEP" },
            { "input": times, "output": morphs, "interpolation": "LINEAR" },
        ],
        "channels": [channel(0, joint, "rotation"), channel(1, joint, "translation"), channel(2, root, "scale"),
            channel(3, 2, "weights")],
    }]);
    builder.finish()
}

/// Positions of which a few are replaced, and ones that are zero but for a few.
fn sparse() -> Vec<u8> {
    let mut builder = Builder::new();
    let sheet = sheet(2);
    let indices = builder.indices(&sheet.indices);
    let replaced = builder.view(&[1, 0, 4, 0]);
    let values: Vec<u8> =
        [0.1_f32, 0.2, 0.9, 0.3, 0.4, 0.8].iter().flat_map(|value| value.to_le_bytes()).collect();
    let values = builder.view(&values);
    let sparse = json!({ "count": 2, "indices": { "bufferView": replaced, "componentType": 5123 },
        "values": { "bufferView": values } });
    let mut primitives = Vec::new();
    for with_view in [true, false] {
        let position = if with_view {
            builder.floats(&sheet.positions)
        } else {
            builder.push("accessors", json!({ "componentType": FLOAT, "type": "VEC3", "count": 9 }))
        };
        builder.document["accessors"][position]["sparse"] = sparse.clone();
        primitives.push(json!({ "attributes": { "POSITION": position }, "indices": indices }));
    }
    let mesh = builder.push("meshes", json!({ "primitives": primitives }));
    builder.node(json!({ "mesh": mesh }));
    builder.finish()
}

/// Light from all around, as the packer writes it.
fn environment() -> Vec<u8> {
    let mut builder = Builder::new();
    let mesh = sheet_mesh(&mut builder, None);
    builder.node(json!({ "mesh": mesh }));
    let texels = builder.view(&[100, 120, 140, 129].repeat(8));
    builder.document["scenes"][0]["extras"] = json!({ "p2c2r_environment": {
        "bufferView": texels, "width": 4, "height": 2, "encoding": "RGBE", "strength": 1.5, "rotation": 0.25 } });
    builder.finish()
}
