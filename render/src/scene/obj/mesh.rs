//! What `tobj` read, gathered by material and attributes.

use std::collections::HashMap;

use super::{checked::Run, notes::Notes};
use crate::{limit::SceneLimits, scene::error::SceneError};

/// Stands in for a normal without a direction.
const FALLBACK_NORMAL: [f32; 3] = [0.0, 1.0, 0.0];

/// The triangles of one material whose corners have the same attributes.
#[derive(Debug, Default)]
pub(super) struct Mesh {
    pub(super) material: u32,
    pub(super) positions: Vec<[f32; 3]>,
    /// As many as positions, or none; as are the next two.
    pub(super) normals: Vec<[f32; 3]>,
    /// v downwards, as in glTF.
    pub(super) uvs: Vec<[f32; 2]>,
    /// Linear.
    pub(super) colors: Vec<[f32; 3]>,
    pub(super) indices: Vec<u32>,
}

/// Joins the models of the same material and attributes, in the order of their first faces.
pub(super) fn collect(
    models: Vec<tobj::Model>,
    runs: &[Run],
    limits: &SceneLimits,
    notes: &mut Notes,
) -> Result<Vec<Mesh>, SceneError> {
    let mut meshes: Vec<Mesh> = Vec::new();
    let mut numbers: HashMap<Run, usize> = HashMap::new();
    let mut vertices = 0;
    for model in models.into_iter().filter(|model| !model.mesh.indices.is_empty()) {
        let run = model.name.parse::<usize>().ok().and_then(|number| runs.get(number));
        // invariant: `Checked` names every group that has faces after its run.
        let run = run.ok_or_else(|| SceneError::at("the OBJ file", "a group has lost its name"))?;
        let number = *numbers.entry(*run).or_insert(meshes.len());
        if number == meshes.len() {
            meshes.push(Mesh { material: run.material, ..Mesh::default() });
        }
        vertices += model.mesh.positions.len() as u64 / 3;
        SceneError::check_limit("vertices", vertices, limits.vertices)?;
        if let Some(mesh) = meshes.get_mut(number) {
            mesh.append(&model.mesh, *run, notes)?;
        }
    }
    Ok(meshes)
}

impl Mesh {
    fn append(&mut self, read: &tobj::Mesh, run: Run, notes: &mut Notes) -> Result<(), SceneError> {
        let count = read.positions.len() / 3;
        let is_whole = read.normals.len() == if run.has_normals { 3 * count } else { 0 }
            && read.texcoords.len() == if run.has_uvs { 2 * count } else { 0 }
            && [0, 3 * count].contains(&read.vertex_color.len());
        // invariant: all corners of a run have the same attributes.
        if !is_whole {
            return Err(SceneError::at("the OBJ file", "corners of one group have different attributes"));
        }
        let base = self.positions.len() as u32;
        self.positions.extend_from_slice(read.positions.as_chunks::<3>().0);
        self.uvs.extend(read.texcoords.as_chunks::<2>().0.iter().map(|[u, v]| [*u, 1.0 - v]));
        for normal in read.normals.as_chunks::<3>().0 {
            self.normals.push(unit(*normal).unwrap_or_else(|| {
                notes.add("normals of length zero point upwards");
                FALLBACK_NORMAL
            }));
        }
        self.colors.extend(read.vertex_color.as_chunks::<3>().0.iter().map(|color| color.map(linear)));
        self.indices.extend(read.indices.iter().map(|index| base + index));
        Ok(())
    }
}

/// The vector at length 1; `None` when it has no direction.
fn unit(vector: [f32; 3]) -> Option<[f32; 3]> {
    let vector = vector.map(f64::from);
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    (length > 0.0).then(|| vector.map(|value| (value / length) as f32))
}

/// Vertex colours of OBJ files are sRGB, those of glTF linear. `powf` runs on the owner's machine only.
fn linear(encoded: f32) -> f32 {
    let encoded = f64::from(encoded.clamp(0.0, 1.0));
    let linear = if encoded <= 0.04045 { encoded / 12.92 } else { ((encoded + 0.055) / 1.055).powf(2.4) };
    linear as f32
}
