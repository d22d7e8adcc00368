//! What a document's scene will take in memory, from its counts alone: no vertex is read and no picture decoded.
//!
//! What breaks another limit or is no sound reference counts nothing here: the loader refuses it before it takes
//! memory, and names the place.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    accessor::Source,
    document::{Document, Mesh, Primitive},
    environment,
    geometry::triangle_count,
    placement::{MIN_INSTANCED_TRIANGLES, Placements},
    textures::picture_pixels,
};
use crate::{limit::SceneLimits, scene::memory::MemoryEstimate};

const NORMAL_BYTES: u64 = size_of::<[f32; 3]>() as u64;

/// Bytes of a vertex's optional attributes; 0 for those that are not there.
#[derive(Debug, Clone, Copy, Default)]
struct Attributes {
    uvs: [u64; 2],
    tangent: u64,
    color: u64,
}

impl Attributes {
    fn of(primitive: &Primitive) -> Self {
        let attributes = &primitive.attributes;
        let bytes = |accessor: Option<u32>, bytes: usize| accessor.map_or(0, |_| bytes as u64);
        Self {
            uvs: [attributes.texcoord0, attributes.texcoord1].map(|set| bytes(set, size_of::<[f32; 2]>())),
            tangent: bytes(attributes.tangent, size_of::<[f32; 4]>()),
            color: bytes(attributes.color, size_of::<[f32; 4]>()),
        }
    }

    /// What one primitive of a mesh has, all of its vertices get.
    fn union(self, other: Self) -> Self {
        Self {
            uvs: [0, 1].map(|set| self.uvs[set].max(other.uvs[set])),
            tangent: self.tangent.max(other.tangent),
            color: self.color.max(other.color),
        }
    }

    fn bytes(self) -> u64 {
        NORMAL_BYTES + self.uvs[0] + self.uvs[1] + self.tangent + self.color
    }
}

/// What is known of a mesh before it is read.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    triangles: u64,
    emitters: u64,
    vertices: u64,
    attributes: Attributes,
}

impl Counts {
    fn of_mesh(document: &Document, mesh: &Mesh, limits: &SceneLimits) -> Self {
        let primitives =
            mesh.primitives.iter().map(|primitive| Self::of_primitive(document, primitive, limits));
        primitives.fold(Self::default(), |sum, read| sum.plus(&read, 1))
    }

    fn of_primitive(document: &Document, primitive: &Primitive, limits: &SceneLimits) -> Self {
        let count = |index: Option<u32>| Some(document.accessors.get(index? as usize)?.count);
        let Some(positions) = count(primitive.attributes.position) else { return Self::default() };
        let corners = if primitive.indices.is_some() { count(primitive.indices) } else { Some(positions) };
        let triangles = corners.map_or(0, |corners| triangle_count(primitive.mode, corners));
        if triangles == 0 || triangles > limits.triangles || positions > limits.vertices {
            return Self::default();
        }
        // Without normals every triangle gets corners of its own.
        let vertices = if primitive.attributes.normal.is_some() { positions } else { 3 * triangles };
        let material = primitive.material.and_then(|index| document.materials.get(index as usize));
        let shines = material.is_some_and(|material| material.emissive_factor != [0.0; 3]);
        Self {
            triangles,
            emitters: if shines { triangles } else { 0 },
            vertices,
            attributes: Attributes::of(primitive),
        }
    }

    fn plus(self, other: &Self, copies: u64) -> Self {
        let sum = |own: u64, other: u64| own.saturating_add(other.saturating_mul(copies));
        Self {
            triangles: sum(self.triangles, other.triangles),
            emitters: sum(self.emitters, other.emitters),
            vertices: sum(self.vertices, other.vertices),
            attributes: self.attributes.union(other.attributes),
        }
    }

    fn add_to(&self, estimate: &mut MemoryEstimate) {
        if self.triangles > 0 {
            let bytes = self.attributes.bytes();
            estimate.add_mesh(self.triangles, self.emitters, self.vertices, bytes);
        }
    }
}

/// What the scene will take, where its nodes put its meshes.
pub(super) fn estimate(
    source: Source<'_>,
    placements: &Placements<'_>,
    punctual_lights: usize,
    limits: &SceneLimits,
) -> MemoryEstimate {
    let document = source.document;
    let mut estimate = MemoryEstimate::default();
    // Number of all uses of a mesh in its own shape, and of those that can be instances.
    let mut uses = BTreeMap::<u32, (u64, u64)>::new();
    let mut deformed = BTreeMap::<u32, u64>::new();
    for placed in placements.iter() {
        if placed.is_deformed() {
            *deformed.entry(placed.mesh).or_default() += 1;
            continue;
        }
        let (all, invertible) = uses.entry(placed.mesh).or_default();
        *all += 1;
        *invertible += u64::from(placed.transform.invertible().is_some());
    }
    let mut world = Counts::default();
    // One more than there are meshes to share: the world's.
    let (mut instances, mut lights) = (1, punctual_lights as u64);
    for (index, (all, invertible)) in uses {
        let Some(mesh) = document.meshes.get(index as usize) else { continue };
        let counts = Counts::of_mesh(document, mesh, limits);
        lights = lights.saturating_add(counts.emitters.saturating_mul(all));
        if all < 2 || counts.triangles < MIN_INSTANCED_TRIANGLES as u64 {
            world = world.plus(&counts, all);
        } else {
            counts.add_to(&mut estimate);
            world = world.plus(&counts, all - invertible);
            instances += invertible;
        }
    }
    for (index, copies) in deformed {
        let Some(mesh) = document.meshes.get(index as usize) else { continue };
        let counts = Counts::of_mesh(document, mesh, limits);
        lights = lights.saturating_add(counts.emitters.saturating_mul(copies));
        world = world.plus(&counts, copies);
    }
    world.add_to(&mut estimate);
    estimate.add_instances(instances);
    estimate.add_lights(lights);
    estimate.add_texels(texels(source, limits));
    // A word is as large as a texel.
    estimate.add_texels(environment::word_count(document));
    estimate
}

/// Pixels of the pictures that textures use, by their headers.
fn texels(source: Source<'_>, limits: &SceneLimits) -> u64 {
    let used: BTreeSet<u32> = source.document.textures.iter().filter_map(|texture| texture.source).collect();
    let pixels = used.into_iter().filter_map(|index| picture_pixels(source, index, limits));
    pixels.fold(0, u64::saturating_add)
}
