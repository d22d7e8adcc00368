//! A scene as the kernels see it: meshes and where they stand, materials, textures, lights, cameras.
//!
//! Every number in here is finite: the loaders refuse anything else. All arithmetic that produces it is correctly
//! rounded (`+ - * /` and square roots only), so that every node builds the very same scene from the same bytes.

pub mod affine;
pub mod environment;
mod error;
pub mod generate;
mod glb;
pub mod gltf;
pub mod material;
mod memory;
mod obj;
pub mod package;
mod summary;
mod write_glb;

pub use self::{
    affine::Affine,
    error::SceneError,
    material::{AlphaMode, Filter, Image, Material, Texture, TextureUse, Wrap},
    memory::MemoryEstimate,
    summary::{LightCounts, SceneSummary},
};

/// Three vertices and a material.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Triangle {
    /// Indices into the mesh's vertices; always in range.
    pub vertices: [u32; 3],
    /// Index into [`Scene::materials`]; always in range.
    pub material: u32,
}

/// Triangles in a space of their own. Every list of vertex attributes is as long as `positions`, or empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mesh {
    /// Of the vertices.
    pub positions: Vec<[f32; 3]>,
    /// Unit length; never empty.
    pub normals: Vec<[f32; 3]>,
    /// Texture coordinates of both sets, v downwards as in glTF.
    pub uvs: [Vec<[f32; 2]>; 2],
    /// Unit length, and the sign of the bitangent; all zero where there is none.
    pub tangents: Vec<[f32; 4]>,
    /// Linear factors of the base colour.
    pub colors: Vec<[f32; 4]>,
    /// At least one; their order is the order of the file and breaks ties between equal hits.
    pub triangles: Vec<Triangle>,
}

/// A mesh at a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Index into [`Scene::meshes`]; always in range.
    pub mesh: u32,
    /// From the mesh's space to the world. Can be inverted.
    pub to_world: Affine,
    /// Back again.
    pub to_mesh: Affine,
}

/// A camera of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedCamera {
    /// The camera's or its node's name; `camera N` when the file has none.
    pub name: String,
    /// World space position.
    pub origin: [f32; 3],
    /// Unit vectors of the camera: to the right, up, and into the picture.
    pub axes: [[f32; 3]; 3],
    /// Half the film's height: of a perspective camera at distance 1, which is the tangent of half the vertical field of
    /// view; of a parallel one in world units.
    pub half_height: f32,
    /// Whether it sees along parallel rays (orthographic).
    pub parallel: bool,
}

/// A light without extent (`KHR_lights_punctual`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PunctualLight {
    /// From infinitely far away.
    Directional {
        /// Unit vector from the scene towards the light.
        direction: [f32; 3],
        /// Irradiance on a surface that faces it.
        irradiance: [f32; 3],
    },
    /// From a point, to all sides or within a cone.
    Point {
        /// World space.
        position: [f32; 3],
        /// Radiant intensity along the axis.
        intensity: [f32; 3],
        /// Unit vector along the axis.
        axis: [f32; 3],
        /// With the cosine c of the angle to the axis, light falls off as `clamp(c * scale + offset, 0, 1)` squared;
        /// (0, 1) for a light to all sides.
        cone: [f32; 2],
        /// Beyond this distance it gives no light; 0 for no end.
        range: f32,
    },
}

/// Light from all around.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// The radiances; what is no number or negative counts as black.
    pub map: environment::EnvironmentMap,
    /// Multiplies every radiance, 0 to [`crate::limit::MAX_RADIANCE`].
    pub strength: f32,
    /// Turns the map about the vertical axis, to the right as seen from inside; 0 to below 1.
    pub rotation_turns: f32,
}

/// Everything that a frame is rendered from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scene {
    /// At least one.
    pub meshes: Vec<Mesh>,
    /// At least one.
    pub instances: Vec<Instance>,
    /// At least one.
    pub materials: Vec<Material>,
    /// May be empty.
    pub textures: Vec<Texture>,
    /// The textures' pictures.
    pub images: Vec<Image>,
    /// May be empty.
    pub lights: Vec<PunctualLight>,
    /// At least one: the loader adds one that sees the whole scene when the file has none.
    pub cameras: Vec<NamedCamera>,
    /// Radiance of rays that leave the scene downwards (y = -1) and upwards (y = 1), blended linearly between.
    pub sky: [[f32; 3]; 2],
    /// In place of the sky, if there is one.
    pub environment: Option<Environment>,
}

impl Scene {
    /// Triangles in memory: those of an instanced mesh count once.
    pub fn unique_triangles(&self) -> usize {
        self.meshes.iter().map(|mesh| mesh.triangles.len()).sum()
    }

    /// Triangles as seen: those of an instanced mesh count once for each instance.
    pub fn placed_triangles(&self) -> usize {
        let triangles = |instance: &Instance| self.meshes.get(instance.mesh as usize);
        self.instances.iter().filter_map(triangles).map(|mesh| mesh.triangles.len()).sum()
    }
}
