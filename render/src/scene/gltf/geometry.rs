//! Triangles of a mesh: read once in the mesh's own space, placed once for each node that shows it.

use super::{
    accessor::{Elements, Source},
    document::{Mesh, Primitive},
    transform::{Transform, cross, unit},
    warnings::Warnings,
};
use crate::{
    limit::{MAX_COORDINATE, MAX_TEXTURE_COORDINATE, SceneLimits},
    scene::{
        Scene, Triangle, Vertex,
        error::{SceneError, printable},
    },
};

/// Normal of triangles that have no area, and so no direction of their own.
const FALLBACK_NORMAL: [f32; 3] = [0.0, 1.0, 0.0];

const MODE_TRIANGLES: u32 = 4;
const MODE_TRIANGLE_STRIP: u32 = 5;
const MODE_TRIANGLE_FAN: u32 = 6;

/// A primitive in its mesh's space: everything in range and finite.
#[derive(Debug)]
pub(super) struct LocalPrimitive {
    vertices: Vec<Vertex>,
    triangles: Vec<[u32; 3]>,
    /// Index into the document's materials; `None` stands for glTF's default material.
    pub(super) material: Option<u32>,
    place: String,
}

/// How much of the scene's limits is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget<'a> {
    pub(super) limits: &'a SceneLimits,
    pub(super) vertices_used: u64,
    pub(super) triangles_used: u64,
}

impl Budget<'_> {
    fn check(&self, vertices: u64, triangles: u64) -> Result<(), SceneError> {
        SceneError::check_limit(
            "vertices",
            self.vertices_used.saturating_add(vertices),
            self.limits.vertices,
        )?;
        SceneError::check_limit(
            "triangles",
            self.triangles_used.saturating_add(triangles),
            self.limits.triangles,
        )
    }
}

/// Reads all primitives of a mesh that consist of triangles.
pub(super) fn read_mesh(
    source: Source<'_>,
    index: u32,
    mesh: &Mesh,
    budget: Budget<'_>,
    warnings: &mut Warnings,
) -> Result<Vec<LocalPrimitive>, SceneError> {
    let mut primitives = Vec::new();
    let mut budget = budget;
    for (number, primitive) in mesh.primitives.iter().enumerate() {
        let place = format!("mesh {index} \"{}\", primitive {number}", printable(&mesh.name));
        if let Some(read) = read_primitive(source, primitive, place, budget, warnings)? {
            budget.vertices_used += read.vertices.len() as u64;
            budget.triangles_used += read.triangles.len() as u64;
            primitives.push(read);
        }
    }
    Ok(primitives)
}

fn read_primitive(
    source: Source<'_>,
    primitive: &Primitive,
    place: String,
    budget: Budget<'_>,
    warnings: &mut Warnings,
) -> Result<Option<LocalPrimitive>, SceneError> {
    let mode = primitive.mode.unwrap_or(MODE_TRIANGLES);
    if !(MODE_TRIANGLES..=MODE_TRIANGLE_FAN).contains(&mode) {
        warnings.add(format!("{place}: points and lines are not rendered"));
        return Ok(None);
    }
    let Some(positions) = primitive.attributes.position else {
        warnings.add(format!("{place}: it has no positions and is not rendered"));
        return Ok(None);
    };
    if primitive.attributes.color.is_some() {
        warnings.add(format!("{place}: vertex colours are ignored"));
    }
    if !primitive.targets.is_empty() {
        warnings.add(format!("{place}: morph targets are ignored"));
    }
    let positions = source.elements(positions, "VEC3", &place)?;
    budget.check(positions.count as u64, 0)?;
    let corners = read_corners(source, primitive, mode, &place, positions.count, budget)?;
    let triangles = assemble(&corners, mode);
    budget.check(positions.count as u64, triangles.len() as u64)?;
    if triangles.is_empty() {
        return Ok(None);
    }
    let vertices = read_vertices(source, primitive, positions, &place)?;
    let (vertices, triangles) = if primitive.attributes.normal.is_some() {
        (vertices, triangles)
    } else {
        budget.check(3 * triangles.len() as u64, triangles.len() as u64)?;
        flat_shaded(&vertices, &triangles)
    };
    Ok(Some(LocalPrimitive { vertices, triangles, material: primitive.material, place }))
}

/// The vertex index of each corner, in drawing order, all in range.
fn read_corners(
    source: Source<'_>,
    primitive: &Primitive,
    mode: u32,
    place: &str,
    vertex_count: usize,
    budget: Budget<'_>,
) -> Result<Vec<u32>, SceneError> {
    let vertex_count = u32::try_from(vertex_count).unwrap_or(u32::MAX);
    let Some(accessor) = primitive.indices else { return Ok((0..vertex_count).collect()) };
    let elements = source.elements(accessor, "SCALAR", place)?;
    let count = elements.count as u64;
    let triangles = if mode == MODE_TRIANGLES { count / 3 } else { count.saturating_sub(2) };
    budget.check(0, triangles)?;
    let here = || format!("{place}, accessor {accessor}");
    let indices = elements.indices().ok_or_else(|| {
        SceneError::at(here(), "indices must be unsigned whole numbers of 8, 16 or 32 bits")
    })?;
    match indices.iter().find(|index| **index >= vertex_count) {
        None => Ok(indices),
        Some(index) => Err(SceneError::at(
            here(),
            format!("index {index} is out of range, the primitive has {vertex_count} vertices"),
        )),
    }
}

/// Triangles from corners (glTF 2.0, section 3.7.2.1). Corners left over at the end are dropped.
fn assemble(corners: &[u32], mode: u32) -> Vec<[u32; 3]> {
    let windows = corners.windows(3);
    match mode {
        MODE_TRIANGLE_STRIP => windows
            .enumerate()
            .map(|(number, w)| if number % 2 == 0 { [w[0], w[1], w[2]] } else { [w[1], w[0], w[2]] })
            .collect(),
        MODE_TRIANGLE_FAN => match corners.split_first() {
            Some((first, rest)) => rest.windows(2).map(|w| [w[0], w[1], *first]).collect(),
            None => Vec::new(),
        },
        _ => corners.as_chunks::<3>().0.to_vec(),
    }
}

fn read_vertices(
    source: Source<'_>,
    primitive: &Primitive,
    positions: Elements<'_>,
    place: &str,
) -> Result<Vec<Vertex>, SceneError> {
    let mut vertices: Vec<Vertex> = positions
        .vectors::<3>()
        .into_iter()
        .map(|position| Vertex { position, normal: FALLBACK_NORMAL, uv: [0.0; 2] })
        .collect();
    let bad_vertex = |number: usize, what: &str| {
        SceneError::at(place, format!("vertex {number} has {what} that is not finite or too large"))
    };
    for (number, vertex) in vertices.iter().enumerate() {
        if !within(&vertex.position, f32::MAX) {
            return Err(bad_vertex(number, "a position"));
        }
    }
    if let Some(accessor) = primitive.attributes.normal {
        let normals = same_count(source.elements(accessor, "VEC3", place)?, &vertices, accessor, place)?;
        for (number, (vertex, normal)) in vertices.iter_mut().zip(normals.vectors::<3>()).enumerate() {
            if !within(&normal, f32::MAX) {
                return Err(bad_vertex(number, "a normal"));
            }
            vertex.normal = normal;
        }
    }
    if let Some(accessor) = primitive.attributes.texcoord {
        let uvs = same_count(source.elements(accessor, "VEC2", place)?, &vertices, accessor, place)?;
        for (number, (vertex, uv)) in vertices.iter_mut().zip(uvs.vectors::<2>()).enumerate() {
            if !within(&uv, MAX_TEXTURE_COORDINATE) {
                return Err(bad_vertex(number, "a texture coordinate"));
            }
            vertex.uv = uv;
        }
    }
    Ok(vertices)
}

fn same_count<'a>(
    elements: Elements<'a>,
    vertices: &[Vertex],
    accessor: u32,
    place: &str,
) -> Result<Elements<'a>, SceneError> {
    if elements.count == vertices.len() {
        return Ok(elements);
    }
    let problem = format!("has {} elements for {} vertices", elements.count, vertices.len());
    Err(SceneError::at(format!("{place}, accessor {accessor}"), problem))
}

fn within(values: &[f32], limit: f32) -> bool {
    values.iter().all(|value| value.abs() <= limit)
}

/// Gives each triangle corners of its own, with the triangle's normal: what glTF asks for when a file has none.
fn flat_shaded(vertices: &[Vertex], triangles: &[[u32; 3]]) -> (Vec<Vertex>, Vec<[u32; 3]>) {
    let mut corners = Vec::with_capacity(3 * triangles.len());
    for triangle in triangles {
        // invariant: `read_corners` has checked every index.
        let three = triangle.map(|index| vertices[index as usize]);
        let normal = face_normal(three.map(|vertex| vertex.position));
        corners.extend(three.map(|vertex| Vertex { normal, ..vertex }));
    }
    let numbered =
        (0..triangles.len() as u32).map(|number| [3 * number, 3 * number + 1, 3 * number + 2]).collect();
    (corners, numbered)
}

/// The unit normal of a triangle that is wound counter-clockwise.
fn face_normal(corners: [[f32; 3]; 3]) -> [f32; 3] {
    let [a, b, c] = corners.map(|corner| corner.map(f64::from));
    let from_a = |p: [f64; 3]| [p[0] - a[0], p[1] - a[1], p[2] - a[2]];
    unit(cross(from_a(b), from_a(c))).map_or(FALLBACK_NORMAL, |unit| unit.map(|value| value as f32))
}

impl LocalPrimitive {
    /// Adds the primitive to the scene, seen through its node's transform.
    pub(super) fn place(
        &self,
        transform: &Transform,
        material: u32,
        budget: Budget<'_>,
        scene: &mut Scene,
    ) -> Result<(), SceneError> {
        budget.check(self.vertices.len() as u64, self.triangles.len() as u64)?;
        let normals = transform.normals();
        let base = scene.vertices.len() as u32;
        scene.vertices.reserve(self.vertices.len());
        for (number, vertex) in self.vertices.iter().enumerate() {
            let position = transform.point(vertex.position);
            if !within(&position, MAX_COORDINATE) {
                return Err(SceneError::at(
                    &*self.place,
                    format!(
                        "vertex {number} is moved farther than {MAX_COORDINATE:e} from the origin by its node"
                    ),
                ));
            }
            let normal = normals.normal(vertex.normal);
            scene.vertices.push(Vertex {
                position,
                normal: normal.unwrap_or(FALLBACK_NORMAL),
                uv: vertex.uv,
            });
        }
        scene.triangles.extend(self.triangles.iter().map(|&[a, b, c]| {
            let wound = if normals.mirrors { [a, c, b] } else { [a, b, c] };
            Triangle { vertices: wound.map(|index| base + index), material }
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these numbers are exact")]

    use super::*;

    #[test]
    fn strips_and_fans_keep_the_winding_of_the_specification() {
        assert_eq!(assemble(&[0, 1, 2, 3], MODE_TRIANGLE_STRIP), [[0, 1, 2], [2, 1, 3]]);
        assert_eq!(assemble(&[9, 1, 2, 3], MODE_TRIANGLE_FAN), [[1, 2, 9], [2, 3, 9]]);
        assert_eq!(assemble(&[0, 1, 2, 3, 4], MODE_TRIANGLES), [[0, 1, 2]]);
        for mode in MODE_TRIANGLES..=MODE_TRIANGLE_FAN {
            assert!(assemble(&[], mode).is_empty() && assemble(&[1, 2], mode).is_empty());
        }
    }

    #[test]
    fn a_flat_normal_points_to_where_the_winding_is_counter_clockwise() {
        assert_eq!(face_normal([[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), [0.0, 0.0, 1.0]);
        assert_eq!(face_normal([[1.0; 3]; 3]), FALLBACK_NORMAL);
    }
}
