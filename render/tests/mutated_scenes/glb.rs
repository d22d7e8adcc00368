//! Puts small GLBs together and takes them apart again.

use std::io::Cursor;

use serde_json::{Value, json};

pub const FLOAT: u32 = 5126;
const CHUNK_JSON: u32 = 0x4E4F_534A;
const CHUNK_BIN: u32 = 0x004E_4942;

/// A document and its binary chunk as they grow.
pub struct Builder {
    pub document: Value,
    pub binary: Vec<u8>,
}

impl Builder {
    /// A document whose lists are empty.
    pub fn new() -> Self {
        let document = json!({
            "asset": { "version": "2.0" }, "scene": 0, "scenes": [{ "nodes": [] }], "nodes": [], "meshes": [],
            "materials": [], "accessors": [], "bufferViews": [], "images": [], "textures": [], "samplers": [],
            "cameras": [], "buffers": [{ "byteLength": 0 }],
        });
        Self { document, binary: Vec::new() }
    }

    /// Appends to a list of the document; its index.
    pub fn push(&mut self, list: &str, element: Value) -> usize {
        let list = self.document[list].as_array_mut().expect("the document has the list");
        list.push(element);
        list.len() - 1
    }

    /// A node of the scene.
    pub fn node(&mut self, node: Value) -> usize {
        let index = self.push("nodes", node);
        self.document["scenes"][0]["nodes"].as_array_mut().expect("a list").push(json!(index));
        index
    }

    pub fn view(&mut self, bytes: &[u8]) -> usize {
        let start = self.binary.len().next_multiple_of(4);
        self.binary.resize(start, 0);
        self.binary.extend_from_slice(bytes);
        self.push("bufferViews", json!({ "buffer": 0, "byteOffset": start, "byteLength": bytes.len() }))
    }

    pub fn accessor(&mut self, bytes: &[u8], component: u32, shape: &str, count: usize) -> usize {
        let view = self.view(bytes);
        self.push(
            "accessors",
            json!({ "bufferView": view, "componentType": component, "type": shape, "count": count }),
        )
    }

    pub fn floats<const N: usize>(&mut self, values: &[[f32; N]]) -> usize {
        let bytes: Vec<u8> = values.as_flattened().iter().flat_map(|value| value.to_le_bytes()).collect();
        let shape = if N == 1 { "SCALAR".into() } else { format!("VEC{N}") };
        self.accessor(&bytes, FLOAT, &shape, values.len())
    }

    pub fn indices(&mut self, values: &[u16]) -> usize {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.accessor(&bytes, 5123, "SCALAR", values.len())
    }

    /// A texture with a picture and a sampler of its own.
    pub fn texture(&mut self, format: image::ImageFormat, sampler: Value) -> usize {
        let mut bytes = Vec::new();
        let picture = image::RgbImage::from_fn(5, 3, |x, y| image::Rgb([(x * 50) as u8, (y * 80) as u8, 90]));
        picture.write_to(&mut Cursor::new(&mut bytes), format).expect("memory takes it");
        let view = self.view(&bytes);
        let source = self.push("images", json!({ "bufferView": view, "mimeType": format.to_mime_type() }));
        let sampler = self.push("samplers", sampler);
        self.push("textures", json!({ "source": source, "sampler": sampler }))
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.binary.resize(self.binary.len().next_multiple_of(4), 0);
        self.document["buffers"][0]["byteLength"] = json!(self.binary.len());
        join(self.document.to_string().as_bytes(), &self.binary)
    }
}

/// A GLB of the two chunks.
pub fn join(json: &[u8], binary: &[u8]) -> Vec<u8> {
    let mut json = json.to_vec();
    json.resize(json.len().next_multiple_of(4), b' ');
    let total = (12 + 8 + json.len() + 8 + binary.len()) as u32;
    let mut bytes = b"glTF".to_vec();
    for word in [2, total, json.len() as u32, CHUNK_JSON] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(json);
    bytes.extend((binary.len() as u32).to_le_bytes());
    bytes.extend(CHUNK_BIN.to_le_bytes());
    bytes.extend(binary);
    bytes
}

/// The chunks of a GLB that [`join`] or the generators wrote.
pub fn split(glb: &[u8]) -> (Value, Vec<u8>) {
    let length = |at: usize| u32::from_le_bytes(glb[at..at + 4].try_into().expect("four bytes")) as usize;
    let json_end = 20 + length(12);
    let document = serde_json::from_slice(&glb[20..json_end]).expect("it is JSON");
    let binary = if glb.len() > json_end { glb[json_end + 8..].to_vec() } else { Vec::new() };
    (document, binary)
}
