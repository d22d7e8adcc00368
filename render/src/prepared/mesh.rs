//! A mesh made ready: tree, indices, attributes. Positions live in the tree alone.

use rayon::prelude::*;

use crate::{
    bvh::{
        Aabb,
        build::{Tree, build},
        pack::Facing,
        reinsert::improved,
        wide::{Appended, WideBvh},
    },
    light::area,
    math::{Vec3, luminance},
    ray::Corners,
    scene::{AlphaMode, Mesh, Scene, Triangle},
    texture::{Content, lookup},
};

/// Boxes are larger than their triangles by this share of the largest coordinate (eight units in the last place), so
/// that rays along a box's faces and hits that were rounded stay inside.
const BOX_MARGIN_SHARE: f32 = 1e-6;
/// The emitter index of a triangle that does not shine.
pub const NO_EMITTER: u32 = u32::MAX;

/// What is needed to shade a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShadedTriangle {
    /// Indices into the mesh's attributes.
    pub vertices: [u32; 3],
    /// Index of the material.
    pub material: u32,
    /// Where the tree keeps its corners.
    pub place: u32,
    /// Number among the mesh's emitters; [`NO_EMITTER`] if it does not shine.
    pub emitter: u32,
}

/// A mesh that can be rendered.
#[derive(Debug)]
pub struct PreparedMesh {
    bounds: Aabb,
    margin: f32,
    root: u32,
    triangles: Vec<ShadedTriangle>,
    /// Primitives that shine.
    emitters: Vec<u32>,
    /// Without positions and triangles.
    attributes: Mesh,
}

impl PreparedMesh {
    /// Builds the tree. The mesh has at least one triangle, and all its indices are in range.
    pub fn build(mut mesh: Mesh, scene: &Scene) -> (Self, WideBvh) {
        let corners: Vec<Corners> =
            mesh.triangles.par_iter().map(|triangle| corners(&mesh, triangle)).collect();
        let sources = std::mem::take(&mut mesh.triangles);
        mesh.positions = Vec::new();
        let (boxes, margin) = boxes(&corners);
        let tree = improved(build(&boxes));
        let material = |primitive: u32| &scene.materials[sources[primitive as usize].material as usize];
        let bvh = WideBvh::new(&tree, &corners, &|primitive| {
            let material = material(primitive);
            Facing { double_sided: material.double_sided, filtered: material.alpha != AlphaMode::Opaque }
        });
        let mut emitters = Vec::new();
        let places = bvh.places(sources.len());
        let triangles = (0_u32..)
            .zip(sources.iter().zip(places))
            .map(|(primitive, (triangle, place))| {
                let shines = material(primitive).shines() && area(&corners[primitive as usize]) > 0.0;
                let emitter = if shines { emitters.len() as u32 } else { NO_EMITTER };
                emitters.extend(shines.then_some(primitive));
                let Triangle { vertices, material } = *triangle;
                ShadedTriangle { vertices, material, place, emitter }
            })
            .collect();
        emitters.shrink_to_fit();
        shrink(&mut mesh);
        (Self { bounds: *tree.bounds(), margin, root: 0, triangles, emitters, attributes: mesh }, bvh)
    }

    /// Remembers where its tree lies.
    #[must_use]
    pub fn moved(mut self, to: Appended) -> Self {
        self.root = to.root;
        for triangle in &mut self.triangles {
            triangle.place += to.places;
        }
        self
    }

    /// The code of its tree's root.
    pub fn root(&self) -> u32 {
        self.root
    }

    /// By how much the boxes of its triangles are larger than they.
    pub fn margin(&self) -> f32 {
        self.margin
    }

    /// What contains it.
    pub fn bounds(&self) -> &Aabb {
        &self.bounds
    }

    /// In the scene's order.
    pub fn triangles(&self) -> &[ShadedTriangle] {
        &self.triangles
    }

    /// Primitives that shine, in the scene's order.
    pub fn emitters(&self) -> &[u32] {
        &self.emitters
    }

    /// Normals, texture coordinates, tangents, colours; neither positions nor triangles.
    pub fn attributes(&self) -> &Mesh {
        &self.attributes
    }

    /// Triangles as they are intersected, in the scene's order.
    pub fn corners(&self, trees: &WideBvh) -> Vec<Corners> {
        self.triangles.iter().map(|triangle| trees.corners(triangle.place)).collect()
    }

    /// The tree, built anew.
    pub fn tree(&self, trees: &WideBvh) -> Tree {
        improved(build(&boxes(&self.corners(trees)).0))
    }

    /// Memory that it takes, its tree aside, bytes.
    pub fn memory_bytes(&self) -> usize {
        let attributes = &self.attributes;
        size_of_val(&*self.triangles)
            + size_of_val(&*self.emitters)
            + size_of_val(&*attributes.normals)
            + attributes.uvs.iter().map(|set| size_of_val(&**set)).sum::<usize>()
            + size_of_val(&*attributes.tangents)
            + size_of_val(&*attributes.colors)
    }

    /// Texture coordinates of a set at a corner; zero where there are none.
    #[inline(always)]
    pub fn uv(&self, set: usize, vertex: u32) -> [f32; 2] {
        let set = &self.attributes.uvs[set];
        if set.is_empty() { [0.0; 2] } else { set[vertex as usize] }
    }

    /// Texture coordinates of both sets at a corner; zero where there are none.
    #[inline(always)]
    pub fn uvs(&self, vertex: u32) -> [[f32; 2]; 2] {
        [self.uv(0, vertex), self.uv(1, vertex)]
    }

    /// Emission of a triangle, the mean of a few of its points where a texture makes it uneven.
    pub fn mean_emission(&self, scene: &Scene, triangle: &ShadedTriangle) -> Vec3 {
        /// Weights of the second and third corner: the middle and three points around it.
        const POINTS: [(f32, f32); 4] = [(0.333, 0.333), (0.167, 0.167), (0.667, 0.167), (0.167, 0.667)];
        let material = &scene.materials[triangle.material as usize];
        let factor = Vec3::from(material.emission);
        let Some(texture) = &material.emissive_texture else { return factor };
        let corners = triangle.vertices.map(|vertex| self.uvs(vertex));
        let mut sum = Vec3::ZERO;
        for (u, v) in POINTS {
            let [red, green, blue, _] =
                lookup(scene, texture, Content::Color, &blended(&corners, 1.0 - u - v, u, v));
            sum = sum + Vec3::from([red, green, blue]);
        }
        let mean = sum * 0.25;
        // A texture that is dark at these points may be bright between them.
        factor * if luminance(mean) > 0.01 { mean } else { Vec3::ONE * 0.01 }
    }
}

/// Gives back what the attributes' lists reserved while they grew.
fn shrink(mesh: &mut Mesh) {
    mesh.normals.shrink_to_fit();
    mesh.uvs.iter_mut().for_each(Vec::shrink_to_fit);
    mesh.tangents.shrink_to_fit();
    mesh.colors.shrink_to_fit();
}

/// Texture coordinates between three corners.
#[inline(always)]
pub fn blended(corners: &[[[f32; 2]; 2]; 3], w: f32, u: f32, v: f32) -> [[f32; 2]; 2] {
    let [a, b, c] = corners;
    std::array::from_fn(|set| {
        std::array::from_fn(|axis| a[set][axis] * w + b[set][axis] * u + c[set][axis] * v)
    })
}

fn corners(mesh: &Mesh, triangle: &Triangle) -> Corners {
    let [a, b, c] = triangle.vertices.map(|vertex| Vec3::from(mesh.positions[vertex as usize]));
    Corners { corner: a, edge1: b - a, edge2: c - a }
}

/// Boxes of the triangles, in the scene's order, and by how much they are larger than these.
fn boxes(corners: &[Corners]) -> (Vec<Aabb>, f32) {
    let exact: Vec<Aabb> = corners.par_iter().map(Corners::bounds).collect();
    let margin = exact.iter().fold(Aabb::EMPTY, Aabb::union).reach() * BOX_MARGIN_SHARE;
    (exact.into_iter().map(|item| item.grown(margin)).collect(), margin)
}
