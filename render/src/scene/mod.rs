//! A scene as the kernels see it: flattened triangles in world space, materials, textures, cameras.
//!
//! Every number in here is finite: the loaders refuse anything else. All arithmetic that produces it is correctly
//! rounded (`+ - * /` and square roots only), so that every node builds the very same scene from the same bytes.

mod error;
pub mod generate;
mod glb;
pub mod gltf;
pub mod package;
mod write_glb;

pub use self::error::SceneError;

/// A triangle's corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vertex {
    /// World space.
    pub position: [f32; 3],
    /// Unit length, world space.
    pub normal: [f32; 3],
    /// Texture coordinates of set 0, v downwards as in glTF.
    pub uv: [f32; 2],
}

/// Three vertices and a material.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Triangle {
    /// Indices into [`Scene::vertices`]; always in range.
    pub vertices: [u32; 3],
    /// Index into [`Scene::materials`]; always in range.
    pub material: u32,
}

/// Metallic-roughness material of glTF 2.0, double-sided.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Material {
    /// Linear reflectance, each 0 to 1; multiplied by the texture.
    pub base_color: [f32; 3],
    /// Index into [`Scene::textures`]; always in range.
    pub base_color_texture: Option<u32>,
    /// 0 dielectric to 1 metal.
    pub metallic: f32,
    /// Perceptual roughness, 0 to 1 (alpha = roughness squared).
    pub roughness: f32,
    /// Emitted radiance, linear, each 0 or more (factor times `KHR_materials_emissive_strength`).
    pub emission: [f32; 3],
}

/// How a texture coordinate outside 0 to 1 is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Wrap {
    /// The picture repeats.
    #[default]
    Repeat,
    /// It repeats, every other time mirrored.
    Mirror,
    /// Its border pixels go on for ever.
    Clamp,
}

/// A base colour picture: sRGB-encoded RGBA, 8 bits a channel, filtered bilinearly by hand in linear light.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texture {
    /// Pixels in a row, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
    /// `width * height` pixels, rows from the top.
    pub texels: Vec<[u8; 4]>,
    /// Horizontal and vertical wrapping.
    pub wrap: [Wrap; 2],
}

/// A perspective camera of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedCamera {
    /// The camera's or its node's name; `camera N` when the file has none.
    pub name: String,
    /// World space position.
    pub origin: [f32; 3],
    /// Unit vectors of the camera: to the right, up, and into the picture.
    pub axes: [[f32; 3]; 3],
    /// Tangent of half the vertical field of view.
    pub tan_half_fov_y: f32,
}

/// Light from infinitely far away in one direction, used when a file has no light of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sun {
    /// Unit vector from the scene towards the light.
    pub direction: [f32; 3],
    /// Irradiance on a surface that faces it.
    pub irradiance: [f32; 3],
}

/// Everything that a frame is rendered from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scene {
    /// Corners; shared between triangles.
    pub vertices: Vec<Vertex>,
    /// At least one; their order is the order of the file and breaks ties between equal hits.
    pub triangles: Vec<Triangle>,
    /// At least one.
    pub materials: Vec<Material>,
    /// May be empty.
    pub textures: Vec<Texture>,
    /// At least one: the loader adds one that sees the whole scene when the file has none.
    pub cameras: Vec<NamedCamera>,
    /// Radiance of rays that leave the scene downwards (y = -1) and upwards (y = 1), blended linearly between.
    pub sky: [[f32; 3]; 2],
    /// Only when the file has no light.
    pub sun: Option<Sun>,
}
