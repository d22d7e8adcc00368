//! The glTF document as it grows.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{mesh::Mesh, pictures::Pictures};
use crate::{
    limit::SceneLimits,
    scene::{
        error::{SceneError, printable},
        glb,
    },
};

const FLOAT: u32 = 5126;
const UNSIGNED_INT: u32 = 5125;
const TARGET_VERTICES: u32 = 34962;
const TARGET_INDICES: u32 = 34963;

/// Materials and meshes so far, with their bytes.
pub(super) struct Document<'a> {
    limits: &'a SceneLimits,
    binary: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
    materials: Vec<Value>,
    meshes: Vec<Value>,
    extensions: BTreeSet<String>,
}

impl<'a> Document<'a> {
    pub(super) fn new(limits: &'a SceneLimits) -> Self {
        Self {
            limits,
            binary: Vec::new(),
            views: Vec::new(),
            accessors: Vec::new(),
            materials: Vec::new(),
            meshes: Vec::new(),
            extensions: BTreeSet::new(),
        }
    }

    /// Adds a material and the mesh that has it: a primitive for each combination of attributes.
    pub(super) fn add_mesh(
        &mut self,
        name: &str,
        material: Value,
        primitives: &[&Mesh],
    ) -> Result<(), SceneError> {
        let used = material.get("extensions").and_then(Value::as_object);
        self.extensions.extend(used.into_iter().flatten().map(|(name, _)| name.clone()));
        self.materials.push(material);
        let mut written = Vec::new();
        for mesh in primitives {
            written.push(self.primitive(mesh)?);
        }
        self.meshes.push(json!({ "name": printable(name), "primitives": written }));
        Ok(())
    }

    fn primitive(&mut self, mesh: &Mesh) -> Result<Value, SceneError> {
        let count = mesh.positions.len();
        let bound = |start: f32, pick: fn(f32, f32) -> f32| {
            mesh.positions.iter().fold([start; 3], |bound, position| {
                std::array::from_fn(|axis| pick(bound[axis], position[axis]))
            })
        };
        let position = self.floats(mesh.positions.as_flattened(), "VEC3", count)?;
        if let Some(accessor) = self.accessors.get_mut(position) {
            accessor["min"] = json!(bound(f32::INFINITY, f32::min));
            accessor["max"] = json!(bound(f32::NEG_INFINITY, f32::max));
        }
        let mut attributes = json!({ "POSITION": position });
        for (name, values, shape) in [
            ("NORMAL", mesh.normals.as_flattened(), "VEC3"),
            ("TEXCOORD_0", mesh.uvs.as_flattened(), "VEC2"),
            ("COLOR_0", mesh.colors.as_flattened(), "VEC3"),
        ] {
            if !values.is_empty() {
                attributes[name] = json!(self.floats(values, shape, count)?);
            }
        }
        let bytes: Vec<u8> = mesh.indices.iter().flat_map(|index| index.to_le_bytes()).collect();
        let view = self.view(&bytes, Some(TARGET_INDICES))?;
        self.accessors.push(json!({
            "bufferView": view, "componentType": UNSIGNED_INT, "count": mesh.indices.len(), "type": "SCALAR",
        }));
        Ok(json!({
            "attributes": attributes,
            "indices": self.accessors.len() - 1,
            "material": self.materials.len() - 1,
        }))
    }

    fn floats(&mut self, values: &[f32], shape: &str, count: usize) -> Result<usize, SceneError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = self.view(&bytes, Some(TARGET_VERTICES))?;
        self.accessors.push(json!({
            "bufferView": view, "componentType": FLOAT, "count": count, "type": shape,
        }));
        Ok(self.accessors.len() - 1)
    }

    fn view(&mut self, bytes: &[u8], target: Option<u32>) -> Result<usize, SceneError> {
        let start = self.binary.len().next_multiple_of(4);
        SceneError::check_limit("bytes", (start + bytes.len()) as u64, self.limits.package_bytes)?;
        self.binary.resize(start, 0);
        self.binary.extend_from_slice(bytes);
        let mut view = json!({ "buffer": 0, "byteOffset": start, "byteLength": bytes.len() });
        if let Some(target) = target {
            view["target"] = json!(target);
        }
        self.views.push(view);
        Ok(self.views.len() - 1)
    }

    /// The GLB, with the pictures that the materials refer to.
    pub(super) fn into_glb(mut self, pictures: Pictures<'_>) -> Result<Vec<u8>, SceneError> {
        let lists = pictures.into_gltf(|bytes| self.view(bytes, None))?;
        let nodes: Vec<Value> = self
            .meshes
            .iter()
            .enumerate()
            .map(|(index, mesh)| json!({ "name": mesh["name"], "mesh": index }))
            .collect();
        let mut document = json!({
            "asset": { "version": "2.0", "generator": "p2c2r" },
            "scene": 0,
            "scenes": [{ "nodes": (0..nodes.len()).collect::<Vec<_>>() }],
            "nodes": nodes,
            "meshes": self.meshes,
            "materials": self.materials,
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{ "byteLength": self.binary.len() }],
        });
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            document[name] = list.into();
        }
        if !self.extensions.is_empty() {
            document["extensionsUsed"] = json!(self.extensions);
        }
        let json = document.to_string();
        SceneError::check_limit("bytes of JSON", json.len() as u64, self.limits.json_bytes)?;
        let total = (json.len() + self.binary.len()) as u64;
        SceneError::check_limit("bytes", total, self.limits.package_bytes)?;
        let too_large = SceneError::Limit { what: "bytes", value: total, limit: u64::from(u32::MAX) };
        glb::join(json.as_bytes(), &self.binary).ok_or(too_large)
    }
}
