//! Triangles of a mesh, read once in the mesh's own space.

use super::{
    accessor::{Elements, Source},
    document::{Primitive, element},
    morph::{self, MorphWork},
    skin::{self, Joints},
    transform::{cross, unit},
    warnings::Warnings,
};
use crate::{
    limit::{MAX_TEXTURE_COORDINATE, SceneLimits},
    scene::error::{SceneError, printable},
};

/// Normal of triangles that have no area, and so no direction of their own.
pub(super) const FALLBACK_NORMAL: [f32; 3] = [0.0, 1.0, 0.0];

const MODE_TRIANGLES: u32 = 4;
const MODE_TRIANGLE_STRIP: u32 = 5;
const MODE_TRIANGLE_FAN: u32 = 6;

/// A primitive in its mesh's space: everything in range and finite. The lists are as long as `positions`, or empty.
#[derive(Debug, Default)]
pub(super) struct LocalPrimitive {
    pub(super) positions: Vec<[f32; 3]>,
    pub(super) normals: Vec<[f32; 3]>,
    pub(super) uvs: [Vec<[f32; 2]>; 2],
    pub(super) tangents: Vec<[f32; 4]>,
    pub(super) colors: Vec<[f32; 4]>,
    pub(super) triangles: Vec<[u32; 3]>,
    /// Smallest and largest coordinates.
    bounds: [[f32; 3]; 2],
    /// Index into the document's materials; `None` stands for glTF's default material.
    pub(super) material: Option<u32>,
    /// Its joints have moved it already: it stands in the world.
    pub(super) in_world: bool,
    /// For errors.
    pub(super) place: String,
}

/// How a node deforms its mesh.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Deformation<'a> {
    /// Of the morph targets, in place of the mesh's own.
    pub(super) weights: Option<&'a [f32]>,
    /// That the vertices follow.
    pub(super) joints: Option<&'a Joints>,
}

/// How much of the scene's limits is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget<'a> {
    pub(super) limits: &'a SceneLimits,
    pub(super) vertices_used: u64,
    pub(super) triangles_used: u64,
}

impl Budget<'_> {
    /// Whether so many more would be too many.
    pub(super) fn check(&self, vertices: u64, triangles: u64) -> Result<(), SceneError> {
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

/// Reads meshes of a document.
pub(super) struct MeshReader<'a, 'w> {
    pub(super) source: Source<'a>,
    pub(super) warnings: &'w mut Warnings,
    /// What all of them took.
    pub(super) morph_work: MorphWork,
}

impl MeshReader<'_, '_> {
    /// Reads all primitives of a mesh that consist of triangles.
    pub(super) fn read(
        &mut self,
        index: u32,
        deformation: Deformation<'_>,
        budget: Budget<'_>,
    ) -> Result<Vec<LocalPrimitive>, SceneError> {
        let mesh = element(&self.source.document.meshes, index, "mesh", || "a node".into())?;
        let weights = deformation.weights.or(mesh.weights.as_deref());
        let deformation = Deformation { weights, ..deformation };
        let mut primitives = Vec::new();
        let mut budget = budget;
        for (number, primitive) in mesh.primitives.iter().enumerate() {
            let place = format!("mesh {index} \"{}\", primitive {number}", printable(&mesh.name));
            if let Some(read) = self.read_primitive(primitive, place, deformation, budget)? {
                budget.vertices_used += read.positions.len() as u64;
                budget.triangles_used += read.triangles.len() as u64;
                primitives.push(read);
            }
        }
        Ok(primitives)
    }

    fn read_primitive(
        &mut self,
        primitive: &Primitive,
        place: String,
        deformation: Deformation<'_>,
        budget: Budget<'_>,
    ) -> Result<Option<LocalPrimitive>, SceneError> {
        let mode = primitive.mode.unwrap_or(MODE_TRIANGLES);
        if !(MODE_TRIANGLES..=MODE_TRIANGLE_FAN).contains(&mode) {
            self.warnings.add(format!("{place}: points and lines are not rendered"));
            return Ok(None);
        }
        let Some(positions) = primitive.attributes.position else {
            self.warnings.add(format!("{place}: it has no positions and is not rendered"));
            return Ok(None);
        };
        let source = self.source;
        let positions = source.elements(positions, "VEC3", &place)?;
        budget.check(positions.count as u64, 0)?;
        let corners = read_corners(source, primitive, mode, &place, positions.count, budget)?;
        let triangles = assemble(&corners, mode);
        budget.check(positions.count as u64, triangles.len() as u64)?;
        if triangles.is_empty() {
            return Ok(None);
        }
        let mut read = read_vertices(source, primitive, positions, &place)?;
        read.triangles = triangles;
        self.deform(primitive, &mut read, deformation, &place)?;
        if read.normals.is_empty() {
            budget.check(3 * read.triangles.len() as u64, read.triangles.len() as u64)?;
            read.shade_flat();
        }
        read.measure();
        read.material = primitive.material;
        read.place = place;
        Ok(Some(read))
    }

    /// Morph targets first, then joints, as the standard has it.
    fn deform(
        &mut self,
        primitive: &Primitive,
        read: &mut LocalPrimitive,
        deformation: Deformation<'_>,
        place: &str,
    ) -> Result<(), SceneError> {
        if primitive.targets.iter().any(morph::leaves_out) {
            self.warnings
                .add(format!("{place}: morph targets of texture coordinates and colours are ignored"));
        }
        if let Some(weights) = deformation.weights {
            morph::apply(self.source, primitive, weights, read, place, &mut self.morph_work)?;
        }
        let Some(joints) = deformation.joints else { return Ok(()) };
        if primitive.attributes.joints2.is_some() {
            self.warnings.add(format!("{place}: joints beyond the first eight of a vertex are ignored"));
        }
        read.in_world = skin::apply(self.source, primitive, joints, read, place)?;
        if !read.in_world {
            self.warnings.add(format!("{place}: a skin is ignored, for the vertices name no joints"));
        }
        Ok(())
    }
}

/// Triangles of so many corners; none of points and lines.
pub(super) fn triangle_count(mode: Option<u32>, corners: u64) -> u64 {
    match mode.unwrap_or(MODE_TRIANGLES) {
        MODE_TRIANGLES => corners / 3,
        MODE_TRIANGLE_STRIP | MODE_TRIANGLE_FAN => corners.saturating_sub(2),
        _ => 0,
    }
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
    budget.check(0, triangle_count(Some(mode), elements.count as u64))?;
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
) -> Result<LocalPrimitive, SceneError> {
    let attributes = &primitive.attributes;
    let reader = VertexReader { source, place, count: positions.count };
    let positions = positions.vectors::<3>();
    reader.check(&positions, "a position", f32::MAX)?;
    let set = |accessor| reader.read(accessor, "VEC2", "a texture coordinate", MAX_TEXTURE_COORDINATE);
    // Without normals, tangents are to be ignored (glTF 2.0, section 3.7.2.1).
    let tangent = attributes.tangent.filter(|_| attributes.normal.is_some());
    Ok(LocalPrimitive {
        positions,
        normals: reader.read(attributes.normal, "VEC3", "a normal", f32::MAX)?,
        uvs: [set(attributes.texcoord0)?, set(attributes.texcoord1)?],
        tangents: reader.read(tangent, "VEC4", "a tangent", f32::MAX)?,
        colors: reader.colors(attributes.color)?,
        ..LocalPrimitive::default()
    })
}

/// Reads the attributes of one primitive's vertices.
struct VertexReader<'a> {
    source: Source<'a>,
    place: &'a str,
    /// Vertices.
    count: usize,
}

impl<'a> VertexReader<'a> {
    /// Nothing if there is no such attribute.
    fn read<const N: usize>(
        &self,
        accessor: Option<u32>,
        shape: &str,
        what: &str,
        limit: f32,
    ) -> Result<Vec<[f32; N]>, SceneError> {
        let Some(accessor) = accessor else { return Ok(Vec::new()) };
        let vectors = self.elements(accessor, shape)?.vectors::<N>();
        self.check(&vectors, what, limit)?;
        Ok(vectors)
    }

    /// Colours of three or four channels.
    fn colors(&self, accessor: Option<u32>) -> Result<Vec<[f32; 4]>, SceneError> {
        let Some(accessor) = accessor else { return Ok(Vec::new()) };
        let shape = self.source.document.accessors.get(accessor as usize).map(|found| found.shape.as_str());
        let mut colors: Vec<[f32; 4]> = if shape == Some("VEC3") {
            let opaque = |[red, green, blue]: [f32; 3]| [red, green, blue, 1.0];
            self.elements(accessor, "VEC3")?.vectors::<3>().into_iter().map(opaque).collect()
        } else {
            self.elements(accessor, "VEC4")?.vectors::<4>()
        };
        self.check(&colors, "a colour", f32::MAX)?;
        for channel in colors.as_flattened_mut() {
            *channel = channel.clamp(0.0, 1.0);
        }
        Ok(colors)
    }

    fn elements(&self, accessor: u32, shape: &str) -> Result<Elements<'a>, SceneError> {
        let elements = self.source.elements(accessor, shape, self.place)?;
        if elements.count == self.count {
            return Ok(elements);
        }
        let problem = format!("has {} elements for {} vertices", elements.count, self.count);
        Err(SceneError::at(format!("{}, accessor {accessor}", self.place), problem))
    }

    fn check<const N: usize>(&self, vectors: &[[f32; N]], what: &str, limit: f32) -> Result<(), SceneError> {
        match vectors.iter().position(|vector| !within(vector, limit)) {
            None => Ok(()),
            Some(number) => Err(SceneError::at(
                self.place,
                format!("vertex {number} has {what} that is not finite or too large"),
            )),
        }
    }
}

/// Whether all are finite and within ± the limit.
pub(super) fn within(values: &[f32], limit: f32) -> bool {
    values.iter().all(|value| value.abs() <= limit)
}

impl LocalPrimitive {
    /// Smallest and largest coordinates.
    pub(super) fn bounds(&self) -> [[f32; 3]; 2] {
        self.bounds
    }

    fn measure(&mut self) {
        let [mut low, mut high] = [[f32::INFINITY; 3], [f32::NEG_INFINITY; 3]];
        for position in &self.positions {
            for axis in 0..3 {
                low[axis] = low[axis].min(position[axis]);
                high[axis] = high[axis].max(position[axis]);
            }
        }
        self.bounds = [low, high];
    }

    /// Gives each triangle corners of its own, with the triangle's normal: what glTF asks for when a file has none.
    fn shade_flat(&mut self) {
        let corners: Vec<usize> = self.triangles.as_flattened().iter().map(|index| *index as usize).collect();
        self.positions = gathered(&self.positions, &corners);
        self.uvs = std::mem::take(&mut self.uvs).map(|set| gathered(&set, &corners));
        self.colors = gathered(&self.colors, &corners);
        self.tangents.clear();
        let faces = self.positions.as_chunks::<3>().0;
        self.normals = faces.iter().flat_map(|corners| [face_normal(*corners); 3]).collect();
        self.triangles = (0..self.triangles.len() as u32)
            .map(|number| [3 * number, 3 * number + 1, 3 * number + 2])
            .collect();
    }
}

/// The elements at the indices, which have been checked; nothing of an attribute that is not there.
fn gathered<T: Copy>(list: &[T], indices: &[usize]) -> Vec<T> {
    indices.iter().filter_map(|index| list.get(*index).copied()).collect()
}

/// The unit normal of a triangle that is wound counter-clockwise.
fn face_normal(corners: [[f32; 3]; 3]) -> [f32; 3] {
    let [a, b, c] = corners.map(|corner| corner.map(f64::from));
    let from_a = |p: [f64; 3]| [p[0] - a[0], p[1] - a[1], p[2] - a[2]];
    unit(cross(from_a(b), from_a(c))).map_or(FALLBACK_NORMAL, |unit| unit.map(|value| value as f32))
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
