//! Skins: vertices that follow several joints (glTF 2.0, section 3.7.3).

use std::collections::BTreeMap;

use super::{
    accessor::Source,
    document::{Primitive, Skin, element},
    geometry::{FALLBACK_NORMAL, LocalPrimitive, within},
    transform::Transform,
};
use crate::{
    limit::MAX_JOINTS,
    scene::error::{SceneError, printable},
};

/// The joints of one skin as they stand: from the mesh's bind pose to the world.
pub(super) type Joints = Vec<Transform>;

/// The skins that are shown, posed.
#[derive(Debug, Default)]
pub(super) struct Skins {
    posed: BTreeMap<u32, Joints>,
    joints: u64,
}

impl Skins {
    /// Poses a skin, once: its joints depend on nothing else, for the transform of the node that shows it is ignored.
    /// `worlds` are the places of the nodes, where the scene has them.
    pub(super) fn pose(
        &mut self,
        source: Source<'_>,
        index: u32,
        worlds: &[Option<Transform>],
    ) -> Result<(), SceneError> {
        if self.posed.contains_key(&index) {
            return Ok(());
        }
        let skin = element(&source.document.skins, index, "skin", || "a node".into())?;
        let place = format!("skin {index} \"{}\"", printable(&skin.name));
        self.joints += skin.joints.len() as u64;
        SceneError::check_limit("joints", self.joints, MAX_JOINTS)?;
        let inverse = inverse_bind_matrices(source, skin, &place)?;
        let mut joints = Vec::with_capacity(skin.joints.len());
        for (number, node) in skin.joints.iter().enumerate() {
            let world = worlds.get(*node as usize).copied().flatten().ok_or_else(|| {
                SceneError::at(
                    &*place,
                    format!("its joint {number} is node {node}, which is not in the scene"),
                )
            })?;
            joints.push(inverse.get(number).map_or(world, |matrix| world.after(matrix)));
        }
        self.posed.insert(index, joints);
        Ok(())
    }

    /// The joints of a skin that was posed.
    pub(super) fn joints(&self, index: u32) -> Option<&Joints> {
        self.posed.get(&index)
    }
}

/// From the mesh to each joint in the bind pose; empty if the skin has none, which stands for no difference.
fn inverse_bind_matrices(source: Source<'_>, skin: &Skin, place: &str) -> Result<Vec<Transform>, SceneError> {
    let Some(accessor) = skin.inverse_bind_matrices else { return Ok(Vec::new()) };
    let elements = source.elements(accessor, "MAT4", place)?;
    let here = || format!("{place}, accessor {accessor}");
    if elements.count < skin.joints.len() {
        let problem = format!("has {} matrices for {} joints", elements.count, skin.joints.len());
        return Err(SceneError::at(here(), problem));
    }
    let read = |number| {
        let columns = elements.vector::<16>(number);
        if within(&columns, f32::MAX) {
            Ok(Transform::from_columns(&columns))
        } else {
            Err(SceneError::at(here(), format!("matrix {number} is not finite")))
        }
    };
    (0..skin.joints.len()).map(read).collect()
}

/// A joint's number and its share of a vertex.
type Influence = (u32, f64);

/// What each vertex of a primitive follows; nothing if the primitive has no joints.
fn influences(
    source: Source<'_>,
    primitive: &Primitive,
    vertices: usize,
    place: &str,
) -> Result<Vec<[Influence; 8]>, SceneError> {
    let attributes = &primitive.attributes;
    let mut influences = Vec::new();
    let sets = [(attributes.joints0, attributes.weights0), (attributes.joints1, attributes.weights1)];
    for (set, (joints, weights)) in sets.into_iter().enumerate() {
        let (Some(joints), Some(weights)) = (joints, weights) else { continue };
        let here = |accessor: u32| format!("{place}, accessor {accessor}");
        let read = |accessor: u32| {
            let elements = source.elements(accessor, "VEC4", place)?;
            if elements.count == vertices {
                return Ok(elements);
            }
            let problem = format!("has {} elements for {vertices} vertices", elements.count);
            Err(SceneError::at(here(accessor), problem))
        };
        let joints = read(joints)?
            .whole_vectors::<4>()
            .ok_or_else(|| SceneError::at(here(joints), "joints must be unsigned whole numbers"))?;
        let shares = read(weights)?.vectors::<4>();
        influences.resize(vertices, [(0, 0.0); 8]);
        for ((vertex, joints), shares) in influences.iter_mut().zip(joints).zip(shares) {
            if !within(&shares, f32::MAX) {
                return Err(SceneError::at(here(weights), "a weight is not finite"));
            }
            for (number, (joint, share)) in joints.into_iter().zip(shares).enumerate() {
                vertex[4 * set + number] = (joint, f64::from(share));
            }
        }
    }
    Ok(influences)
}

/// Moves a primitive from its bind pose into the world; `false` if its vertices follow no joints.
pub(super) fn apply(
    source: Source<'_>,
    primitive: &Primitive,
    joints: &Joints,
    read: &mut LocalPrimitive,
    place: &str,
) -> Result<bool, SceneError> {
    let influences = influences(source, primitive, read.positions.len(), place)?;
    if influences.is_empty() {
        return Ok(false);
    }
    let mut mirrored = vec![false; influences.len()];
    for (vertex, influences) in influences.iter().enumerate() {
        let blended = blend(influences, joints).ok_or_else(|| {
            SceneError::at(
                place,
                format!("vertex {vertex} follows a joint beyond the skin's {}", joints.len()),
            )
        })?;
        mirrored[vertex] = move_vertex(read, vertex, &blended);
    }
    for triangle in &mut read.triangles {
        let [a, b, c] = *triangle;
        if mirrored.get(a as usize).is_some_and(|mirrored| *mirrored) {
            *triangle = [a, c, b];
        }
    }
    Ok(true)
}

/// Whether the transform mirrors.
fn move_vertex(read: &mut LocalPrimitive, vertex: usize, transform: &Transform) -> bool {
    let normals = transform.normals();
    if let Some(position) = read.positions.get_mut(vertex) {
        *position = transform.point(*position);
    }
    if let Some(normal) = read.normals.get_mut(vertex) {
        *normal = normals.normal(*normal).unwrap_or(FALLBACK_NORMAL);
    }
    if let Some([x, y, z, side]) = read.tangents.get_mut(vertex) {
        [*x, *y, *z] = transform.direction([*x, *y, *z]).unwrap_or_default();
        if normals.mirrors {
            *side = -*side;
        }
    }
    normals.mirrors
}

/// The joints' transforms by their shares, which are made to add up to one; `None` if a joint does not exist.
fn blend(influences: &[Influence; 8], joints: &Joints) -> Option<Transform> {
    let total: f64 = influences.iter().map(|(_, share)| share).sum();
    if total <= 0.0 {
        // A vertex without weights follows its first joint.
        return joints.get(influences[0].0 as usize).copied();
    }
    let mut parts = [(0.0, &Transform::IDENTITY); 8];
    for (part, (joint, share)) in parts.iter_mut().zip(influences) {
        if *share != 0.0 {
            *part = (share / total, joints.get(*joint as usize)?);
        }
    }
    Some(Transform::blend(parts.into_iter().filter(|(share, _)| *share != 0.0)))
}
