//! Small files that ask for much: what is short to write down and long to hold.

use serde_json::{Value, json};

use super::{
    corpus::sheet_mesh,
    glb::{Builder, join},
};

/// Bytes that the lists and words of a file are blown up to.
const LARGE: usize = 4 << 20;

/// Every file with a name for reports.
pub fn amplified() -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        ("a light of every triangle of every instance".into(), many_lights()),
        ("one mesh, often, flat".into(), flat_instances()),
        ("primitives that share their bytes".into(), shared_bytes()),
        ("a picture of many pixels and few bytes".into(), large_picture()),
        ("a name".into(), changed(|document| document["nodes"][0]["name"] = json!("n".repeat(LARGE)))),
        ("extras".into(), blown_up("/scenes/0/extras", "[],")),
        ("children".into(), blown_up("/nodes/0/children", "1,")),
    ];
    let lists = [
        "nodes",
        "scenes",
        "meshes",
        "materials",
        "accessors",
        "bufferViews",
        "buffers",
        "textures",
        "images",
    ];
    let more = ["samplers", "cameras", "animations", "skins", "extensionsUsed", "unknown"];
    for list in lists.into_iter().chain(more) {
        files.push((format!("elements of {list}"), blown_up(&format!("/{list}"), "{},")));
    }
    files.push(("primitives".into(), blown_up("/meshes/0/primitives", "{},")));
    files.push(("targets".into(), blown_up("/meshes/0/primitives/0/targets", "{},")));
    files.push(("lights".into(), blown_up("/extensions/KHR_lights_punctual/lights", "{},")));
    files
}

fn plain() -> Builder {
    let mut builder = Builder::new();
    let glow = builder.push("materials", json!({ "emissiveFactor": [1.0, 0.9, 0.5] }));
    let mesh = sheet_mesh(&mut builder, Some(glow));
    builder.node(json!({ "mesh": mesh }));
    builder.document["extensions"] = json!({ "KHR_lights_punctual": { "lights": [] } });
    builder
}

fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut builder = plain();
    change(&mut builder.document);
    builder.finish()
}

/// The plain scene with a list that has nothing but the same element in it.
fn blown_up(pointer: &str, element: &str) -> Vec<u8> {
    let mut builder = plain();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
    builder.document["buffers"][0]["byteLength"] = json!(builder.binary.len());
    builder.document.pointer_mut(parent).expect("it is there")[key] = json!("HERE");
    let list = format!("[{}]", element.repeat(LARGE / element.len()).trim_end_matches(','));
    join(builder.document.to_string().replace("\"HERE\"", &list).as_bytes(), &builder.binary)
}

fn many_lights() -> Vec<u8> {
    let mut builder = plain();
    for index in 0..50_000 {
        builder.node(json!({ "mesh": 0, "translation": [index, 0, 0] }));
    }
    builder.finish()
}

fn flat_instances() -> Vec<u8> {
    let mut builder = plain();
    for _ in 0..50_000 {
        builder.node(json!({ "mesh": 0, "scale": [1, 0, 1] }));
    }
    builder.finish()
}

fn shared_bytes() -> Vec<u8> {
    changed(|document| {
        let primitive = document["meshes"][0]["primitives"][0].clone();
        document["meshes"][0]["primitives"] = json!(vec![primitive; 30_000]);
    })
}

fn large_picture() -> Vec<u8> {
    let mut builder = plain();
    let mut png = Vec::new();
    image::GrayImage::new(16_384, 8192)
        .write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png)
        .expect("memory takes it");
    let view = builder.view(&png);
    builder.push("images", json!({ "bufferView": view }));
    builder.push("textures", json!({ "source": 0 }));
    builder.document["materials"][0]["normalTexture"] = json!({ "index": 0 });
    builder.finish()
}
