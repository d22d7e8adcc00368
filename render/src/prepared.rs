//! A scene made ready for the kernels: triangles as they are intersected and shaded, BVH, light table.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use rayon::prelude::*;

use crate::{
    bvh::{
        Aabb,
        build::{Tree, build},
        pair::PairBvh,
        wide::WideBvh,
    },
    light::{LightTable, NO_LIGHT},
    math::{Vec3, square_root},
    ray::Corners,
    scene::Scene,
};

/// Rays start this share of the scene's size off the surface, so that they do not hit it again.
const OFFSET_SHARE: f32 = 1e-5;

/// Boxes are larger than their triangles by this share of the largest coordinate (eight units in the last place), so
/// that rays along a box's faces and hits that were rounded stay inside.
const BOX_MARGIN_SHARE: f32 = 1e-6;

/// What is needed to shade a hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shading {
    /// Normals at the corners.
    pub normals: [Vec3; 3],
    /// Texture coordinates at the corners.
    pub uvs: [[f32; 2]; 3],
    /// Index of the material.
    pub material: u32,
    /// Index in the light table; [`NO_LIGHT`] if it does not shine.
    pub light: u32,
}

/// A scene that can be rendered.
#[derive(Debug)]
pub struct PreparedScene {
    id: u64,
    scene: Scene,
    corners: Vec<Corners>,
    shading: Vec<Shading>,
    lights: LightTable,
    bvh: WideBvh,
    pair: OnceLock<PairBvh>,
    offset: f32,
}

impl PreparedScene {
    /// Builds everything. The scene has at least one triangle, and all its indices are in range: the loaders see to it.
    pub fn build(scene: Scene) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let corners = corners(&scene);
        let tree = build(&boxes(&scene));
        let lights = LightTable::build(&scene, &corners);
        let bvh = WideBvh::new(&tree, &corners);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            shading: shading(&scene, &lights),
            offset: extent(tree.bounds()) * OFFSET_SHARE,
            bvh,
            corners,
            lights,
            scene,
            pair: OnceLock::new(),
        }
    }

    /// Tells prepared scenes apart within the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What it was built from.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Triangles.
    pub fn triangle_count(&self) -> usize {
        self.corners.len()
    }

    /// Memory that it takes, bytes.
    pub fn memory_bytes(&self) -> usize {
        let scene = &self.scene;
        let texels: usize = scene.textures.iter().map(|texture| texture.texels.len() * 4).sum();
        size_of_val(&*scene.vertices)
            + size_of_val(&*scene.triangles)
            + size_of_val(&*self.corners)
            + size_of_val(&*self.shading)
            + self.bvh.memory_bytes()
            + self.pair.get().map_or(0, PairBvh::memory_bytes)
            + size_of_val(self.lights.lights())
            + texels
    }

    /// Triangles as they are intersected, in the scene's order.
    pub fn corners(&self) -> &[Corners] {
        &self.corners
    }

    /// Triangles as they are shaded, in the scene's order.
    pub fn shading(&self) -> &[Shading] {
        &self.shading
    }

    /// What shines.
    pub fn lights(&self) -> &LightTable {
        &self.lights
    }

    /// The CPU kernel's tree.
    pub fn bvh(&self) -> &WideBvh {
        &self.bvh
    }

    /// The GPU kernel's tree, laid out when it is first wanted.
    pub fn pair_bvh(&self) -> &PairBvh {
        self.pair.get_or_init(|| PairBvh::new(&self.tree()))
    }

    /// How far off a surface rays start, world units.
    pub fn offset(&self) -> f32 {
        self.offset
    }

    /// The tree is built anew where it is needed again: keeping it would cost every node the memory of two layouts.
    fn tree(&self) -> Tree {
        build(&boxes(&self.scene))
    }
}

fn positions(scene: &Scene, vertices: [u32; 3]) -> [[f32; 3]; 3] {
    vertices.map(|index| scene.vertices[index as usize].position)
}

fn bounds(scene: &Scene, vertices: [u32; 3]) -> Aabb {
    positions(scene, vertices).into_iter().fold(Aabb::EMPTY, Aabb::with_point)
}

/// Boxes of the triangles, in the scene's order.
fn boxes(scene: &Scene) -> Vec<Aabb> {
    let exact: Vec<Aabb> =
        scene.triangles.par_iter().map(|triangle| bounds(scene, triangle.vertices)).collect();
    let whole = exact.iter().fold(Aabb::EMPTY, Aabb::union);
    let largest =
        whole.low.iter().chain(&whole.high).fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let margin = largest * BOX_MARGIN_SHARE;
    exact.into_iter().map(|item| item.grown(margin)).collect()
}

fn corners(scene: &Scene) -> Vec<Corners> {
    scene
        .triangles
        .par_iter()
        .map(|triangle| {
            let [a, b, c] = positions(scene, triangle.vertices).map(Vec3::from);
            Corners { corner: a, edge1: b - a, edge2: c - a }
        })
        .collect()
}

fn shading(scene: &Scene, lights: &LightTable) -> Vec<Shading> {
    let mut light_of = vec![NO_LIGHT; scene.triangles.len()];
    for (index, light) in lights.lights().iter().enumerate() {
        light_of[light.primitive as usize] = index as u32;
    }
    scene
        .triangles
        .par_iter()
        .zip(light_of)
        .map(|(triangle, light)| {
            let corners = triangle.vertices.map(|index| &scene.vertices[index as usize]);
            Shading {
                normals: corners.map(|vertex| vertex.normal.into()),
                uvs: corners.map(|vertex| vertex.uv),
                material: triangle.material,
                light,
            }
        })
        .collect()
}

/// The length of a box's diagonal.
fn extent(bounds: &Aabb) -> f32 {
    let [x, y, z]: [f32; 3] = std::array::from_fn(|axis| bounds.high[axis] - bounds.low[axis]);
    square_root(x * x + y * y + z * z).max(1e-6)
}
