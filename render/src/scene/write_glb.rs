//! Writes a generated scene as a self-contained GLB.

use serde_json::{Value, json};

use super::glb;

/// A camera drives this share of the way to what it looks at.
const DRIVE_SHARE: f32 = 0.4;
/// What glTF takes for granted of a dielectric.
const DEFAULT_INDEX_OF_REFRACTION: f32 = 1.5;

/// One mesh with one material.
#[derive(Debug, Clone, Default)]
pub(super) struct Mesh {
    pub(super) positions: Vec<[f32; 3]>,
    pub(super) normals: Vec<[f32; 3]>,
    pub(super) uvs: Vec<[f32; 2]>,
    pub(super) indices: Vec<u32>,
}

/// A material in the terms of glTF.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surface {
    pub(super) name: &'static str,
    pub(super) base_color: [f32; 3],
    /// Index into [`Description::pictures_png`].
    pub(super) picture: Option<u32>,
    pub(super) metallic: f32,
    pub(super) roughness: f32,
    /// Of the dielectric; at 1 nothing is reflected off it.
    pub(super) index_of_refraction: f32,
    /// Colour of the light, each 0 to 1.
    pub(super) glow: [f32; 3],
    /// Radiance of a glow of 1.
    pub(super) strength: f32,
}

impl Surface {
    /// A surface that gives no light.
    pub(super) const fn matter(
        name: &'static str,
        base_color: [f32; 3],
        metallic: f32,
        roughness: f32,
    ) -> Self {
        let index_of_refraction = DEFAULT_INDEX_OF_REFRACTION;
        let glow = [0.0; 3];
        Self {
            name,
            base_color,
            picture: None,
            metallic,
            roughness,
            index_of_refraction,
            glow,
            strength: 1.0,
        }
    }

    /// A dark surface that glows.
    pub(super) const fn light(name: &'static str, glow: [f32; 3], strength: f32) -> Self {
        Self { glow, strength, ..Self::matter(name, [0.02; 3], 0.0, 0.6) }
    }

    /// Whether the file has to name the index of refraction.
    fn refracts_otherwise(&self) -> bool {
        (self.index_of_refraction - DEFAULT_INDEX_OF_REFRACTION).abs() > 0.0
    }
}

/// A perspective camera.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) name: &'static str,
    pub(super) eye: [f32; 3],
    pub(super) target: [f32; 3],
    pub(super) yfov_degrees: f32,
}

impl View {
    /// Where a drive of its camera ends, from where it begins: on the level, towards what it looks at.
    fn drive(&self) -> [f32; 3] {
        let [x, _, z] = [0, 1, 2].map(|axis| (self.target[axis] - self.eye[axis]) * DRIVE_SHARE);
        [x, 0.0, z]
    }
}

/// Everything that goes into the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Description {
    pub(super) surfaces: Vec<Surface>,
    /// Each with the index of its surface. Meshes without triangles are left out.
    pub(super) meshes: Vec<(u32, Mesh)>,
    pub(super) pictures_png: Vec<Vec<u8>>,
    pub(super) views: Vec<View>,
    /// How long the first camera drives, seconds; it stands if not said.
    pub(super) drive_s: Option<f32>,
    /// Radiance from below and from above.
    pub(super) sky: [[f32; 3]; 2],
}

impl Description {
    /// The GLB.
    pub(super) fn to_glb(&self) -> Vec<u8> {
        let mut chunk = Chunk::default();
        let (mut meshes, mut nodes) = (Vec::new(), Vec::new());
        for (surface, mesh) in self.meshes.iter().filter(|(_, mesh)| !mesh.indices.is_empty()) {
            let name = self.surfaces.get(*surface as usize).map_or("", |surface| surface.name);
            nodes.push(json!({ "name": name, "mesh": meshes.len() }));
            meshes.push(json!({ "name": name, "primitives": [chunk.primitive(*surface, mesh)] }));
        }
        for (index, view) in self.views.iter().enumerate() {
            nodes.push(json!({ "name": view.name, "camera": index, "matrix": look_at(view) }));
        }
        let mut roots: Vec<usize> = (0..nodes.len()).collect();
        let drive = self.drive_s.zip(self.views.first()).map(|(seconds, view)| {
            // A node that is placed by a matrix cannot be driven: its parent is.
            let camera = nodes.len() - self.views.len();
            // In the camera's place, so that the first camera stays the first.
            let dolly = nodes.len();
            roots.iter_mut().filter(|node| **node == camera).for_each(|node| *node = dolly);
            nodes.push(json!({ "name": "dolly", "children": [camera] }));
            chunk.animation(dolly, seconds, view.drive())
        });
        let images: Vec<Value> = self
            .pictures_png
            .iter()
            .map(|png| json!({ "bufferView": chunk.view(png, None), "mimeType": "image/png" }))
            .collect();
        let textures: Vec<Value> = (0..images.len()).map(|index| json!({ "source": index })).collect();
        let mut document = json!({
            "asset": { "version": "2.0", "generator": "p2c2r" },
            "scene": 0,
            "scenes": [{
                "nodes": roots,
                "extras": { "p2c2r_sky": self.sky },
            }],
            "nodes": nodes,
            "meshes": meshes,
            "materials": self.surfaces.iter().map(material).collect::<Vec<_>>(),
            "cameras": self.views.iter().map(camera).collect::<Vec<_>>(),
            "accessors": chunk.accessors,
            "bufferViews": chunk.views,
            "buffers": [{ "byteLength": chunk.bytes.len() }],
            "extensionsUsed": ["KHR_materials_emissive_strength"],
        });
        if self.surfaces.iter().any(Surface::refracts_otherwise) {
            document["extensionsUsed"] = json!(["KHR_materials_emissive_strength", "KHR_materials_ior"]);
        }
        if !images.is_empty() {
            document["images"] = images.into();
            document["textures"] = textures.into();
        }
        if let Some(drive) = drive {
            document["animations"] = json!([drive]);
        }
        // invariant: the generators' limit on triangles keeps the file well under 4 GiB.
        glb::join(document.to_string().as_bytes(), &chunk.bytes).unwrap_or_default()
    }
}

fn material(surface: &Surface) -> Value {
    let [red, green, blue] = surface.base_color;
    let mut json = json!({
        "name": surface.name,
        "doubleSided": true,
        "pbrMetallicRoughness": {
            "baseColorFactor": [red, green, blue, 1.0],
            "metallicFactor": surface.metallic,
            "roughnessFactor": surface.roughness,
        },
    });
    if let Some(picture) = surface.picture {
        json["pbrMetallicRoughness"]["baseColorTexture"] = json!({ "index": picture });
    }
    if surface.glow.iter().any(|channel| *channel > 0.0) {
        json["emissiveFactor"] = json!(surface.glow);
        json["extensions"] =
            json!({ "KHR_materials_emissive_strength": { "emissiveStrength": surface.strength } });
    }
    if surface.refracts_otherwise() {
        json["extensions"]["KHR_materials_ior"] = json!({ "ior": surface.index_of_refraction });
    }
    json
}

fn camera(view: &View) -> Value {
    json!({
        "name": view.name,
        "type": "perspective",
        "perspective": { "yfov": view.yfov_degrees.to_radians(), "znear": 0.01 },
    })
}

/// Column-major matrix of a camera at `eye` that looks at `target` along its own -z.
fn look_at(view: &View) -> [f32; 16] {
    let back = normalised([0, 1, 2].map(|axis| view.eye[axis] - view.target[axis]));
    let right = normalised([back[2], 0.0, -back[0]]);
    let up = [
        back[1] * right[2] - back[2] * right[1],
        back[2] * right[0] - back[0] * right[2],
        back[0] * right[1] - back[1] * right[0],
    ];
    let [x, y, z] = view.eye;
    [
        right[0], right[1], right[2], 0.0, up[0], up[1], up[2], 0.0, back[0], back[1], back[2], 0.0, x, y, z,
        1.0,
    ]
}

fn normalised(vector: [f32; 3]) -> [f32; 3] {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.map(|value| value / length)
}

/// The binary chunk as it grows, with the views and accessors into it.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
}

impl Chunk {
    const TARGET_VERTICES: u32 = 34962;
    const TARGET_INDICES: u32 = 34963;

    fn primitive(&mut self, surface: u32, mesh: &Mesh) -> Value {
        let count = mesh.positions.len();
        let axis = |axis: usize| mesh.positions.iter().map(move |position| position[axis]);
        let low: Vec<f32> = (0..3).map(|index| axis(index).fold(f32::INFINITY, f32::min)).collect();
        let high: Vec<f32> = (0..3).map(|index| axis(index).fold(f32::NEG_INFINITY, f32::max)).collect();
        let position = self.floats(mesh.positions.as_flattened(), "VEC3", count);
        self.accessors[position]["min"] = json!(low);
        self.accessors[position]["max"] = json!(high);
        let normal = self.floats(mesh.normals.as_flattened(), "VEC3", count);
        let mut attributes = json!({ "POSITION": position, "NORMAL": normal });
        if !mesh.uvs.is_empty() {
            attributes["TEXCOORD_0"] = json!(self.floats(mesh.uvs.as_flattened(), "VEC2", count));
        }
        let bytes: Vec<u8> = mesh.indices.iter().flat_map(|index| index.to_le_bytes()).collect();
        let view = self.view(&bytes, Some(Self::TARGET_INDICES));
        let indices = self.accessors.len();
        self.accessors.push(json!({
            "bufferView": view, "componentType": 5125, "count": mesh.indices.len(), "type": "SCALAR",
        }));
        json!({ "attributes": attributes, "indices": indices, "material": surface })
    }

    /// A node that moves evenly by so much.
    fn animation(&mut self, node: usize, seconds: f32, by: [f32; 3]) -> Value {
        let input = self.floats(&[0.0, seconds], "SCALAR", 2);
        self.accessors[input]["min"] = json!([0.0]);
        self.accessors[input]["max"] = json!([seconds]);
        let [x, y, z] = by;
        let output = self.floats(&[0.0, 0.0, 0.0, x, y, z], "VEC3", 2);
        json!({
            "name": "drive",
            "channels": [{ "sampler": 0, "target": { "node": node, "path": "translation" } }],
            "samplers": [{ "input": input, "output": output, "interpolation": "LINEAR" }],
        })
    }

    fn floats(&mut self, values: &[f32], shape: &str, count: usize) -> usize {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = self.view(&bytes, Some(Self::TARGET_VERTICES));
        self.accessors.push(json!({
            "bufferView": view, "componentType": 5126, "count": count, "type": shape,
        }));
        self.accessors.len() - 1
    }

    fn view(&mut self, bytes: &[u8], target: Option<u32>) -> usize {
        let start = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(start, 0);
        self.bytes.extend_from_slice(bytes);
        let mut view = json!({ "buffer": 0, "byteOffset": start, "byteLength": bytes.len() });
        if let Some(target) = target {
            view["target"] = json!(target);
        }
        self.views.push(view);
        self.views.len() - 1
    }
}
