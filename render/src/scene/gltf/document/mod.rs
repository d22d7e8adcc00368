//! The parts of a glTF 2.0 document that the renderer reads, as they stand in the JSON.
//!
//! Nothing is checked here but types: every index, count and number is judged where it is used, next to the place
//! that an error can name.

mod list;
mod material;
mod motion;

use serde::Deserialize;

use self::list::{at_most, bounded, weights};
pub(super) use self::{
    list::element,
    material::{Image, Material, Sampler, Texture, TextureTransform, TextureUse},
    motion::{Animation, AnimationSampler, Channel, Skin},
};
use super::extras::SceneExtras;
use crate::limit::{MAX_LIGHTS, MAX_MATERIALS, MAX_MORPH_TARGETS};

/// Extensions that a file may require: what they add is understood.
const SUPPORTED_EXTENSIONS: [&str; 8] = [
    "KHR_lights_punctual",
    "KHR_materials_clearcoat",
    "KHR_materials_emissive_strength",
    "KHR_materials_ior",
    "KHR_materials_transmission",
    "KHR_materials_unlit",
    "KHR_mesh_quantization",
    "KHR_texture_transform",
];

/// The root of the JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Document {
    #[serde(deserialize_with = "bounded")]
    pub(super) extensions_used: Vec<String>,
    #[serde(deserialize_with = "bounded")]
    pub(super) extensions_required: Vec<String>,
    pub(super) scene: Option<u32>,
    #[serde(deserialize_with = "bounded")]
    pub(super) scenes: Vec<SceneRoots>,
    #[serde(deserialize_with = "bounded")]
    pub(super) nodes: Vec<Node>,
    #[serde(deserialize_with = "bounded")]
    pub(super) meshes: Vec<Mesh>,
    #[serde(deserialize_with = "bounded")]
    pub(super) accessors: Vec<Accessor>,
    #[serde(deserialize_with = "bounded")]
    pub(super) buffer_views: Vec<BufferView>,
    #[serde(deserialize_with = "bounded")]
    pub(super) buffers: Vec<Buffer>,
    #[serde(deserialize_with = "at_most::<{ MAX_MATERIALS as usize }, _, _>")]
    pub(super) materials: Vec<Material>,
    #[serde(deserialize_with = "bounded")]
    pub(super) textures: Vec<Texture>,
    #[serde(deserialize_with = "bounded")]
    pub(super) images: Vec<Image>,
    #[serde(deserialize_with = "bounded")]
    pub(super) samplers: Vec<Sampler>,
    #[serde(deserialize_with = "bounded")]
    pub(super) cameras: Vec<Camera>,
    #[serde(deserialize_with = "bounded")]
    pub(super) animations: Vec<Animation>,
    #[serde(deserialize_with = "bounded")]
    pub(super) skins: Vec<Skin>,
    pub(super) extensions: DocumentExtensions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DocumentExtensions {
    #[serde(rename = "KHR_lights_punctual")]
    pub(super) punctual: Lights,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Lights {
    #[serde(deserialize_with = "at_most::<{ MAX_LIGHTS as usize }, _, _>")]
    pub(super) lights: Vec<Light>,
}

/// A light of `KHR_lights_punctual`.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Light {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) color: [f32; 3],
    pub(super) intensity: f32,
    pub(super) range: Option<f32>,
    pub(super) spot: Spot,
}

impl Default for Light {
    /// The defaults of the extension.
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: String::new(),
            color: [1.0; 3],
            intensity: 1.0,
            range: None,
            spot: Spot::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spot {
    pub(super) inner_cone_angle: f32,
    pub(super) outer_cone_angle: f32,
}

impl Default for Spot {
    fn default() -> Self {
        Self { inner_cone_angle: 0.0, outer_cone_angle: std::f32::consts::FRAC_PI_4 }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SceneRoots {
    pub(super) nodes: Vec<u32>,
    pub(super) extras: SceneExtras,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) children: Vec<u32>,
    pub(super) mesh: Option<u32>,
    pub(super) skin: Option<u32>,
    /// Of the mesh's morph targets, in place of the mesh's own.
    #[serde(deserialize_with = "weights")]
    pub(super) weights: Option<Vec<f32>>,
    pub(super) camera: Option<u32>,
    pub(super) matrix: Option<[f32; 16]>,
    pub(super) translation: Option<[f32; 3]>,
    pub(super) rotation: Option<[f32; 4]>,
    pub(super) scale: Option<[f32; 3]>,
    pub(super) extensions: NodeExtensions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeExtensions {
    #[serde(rename = "KHR_lights_punctual")]
    pub(super) punctual: Option<LightUse>,
}

#[derive(Debug, Deserialize)]
pub(super) struct LightUse {
    pub(super) light: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Mesh {
    pub(super) name: String,
    pub(super) primitives: Vec<Primitive>,
    /// Of the morph targets.
    #[serde(deserialize_with = "weights")]
    pub(super) weights: Option<Vec<f32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Primitive {
    pub(super) attributes: Attributes,
    pub(super) indices: Option<u32>,
    pub(super) material: Option<u32>,
    pub(super) mode: Option<u32>,
    #[serde(deserialize_with = "at_most::<MAX_MORPH_TARGETS, _, _>")]
    pub(super) targets: Vec<MorphTarget>,
}

/// Accessors of a morph target's differences.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", default)]
pub(super) struct MorphTarget {
    pub(super) position: Option<u32>,
    pub(super) normal: Option<u32>,
    pub(super) tangent: Option<u32>,
    /// Not read, as the two after it: here to be told of.
    #[serde(rename = "TEXCOORD_0")]
    pub(super) texcoord0: Option<u32>,
    #[serde(rename = "TEXCOORD_1")]
    pub(super) texcoord1: Option<u32>,
    #[serde(rename = "COLOR_0")]
    pub(super) color: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", default)]
pub(super) struct Attributes {
    pub(super) position: Option<u32>,
    pub(super) normal: Option<u32>,
    #[serde(rename = "TEXCOORD_0")]
    pub(super) texcoord0: Option<u32>,
    #[serde(rename = "TEXCOORD_1")]
    pub(super) texcoord1: Option<u32>,
    pub(super) tangent: Option<u32>,
    #[serde(rename = "COLOR_0")]
    pub(super) color: Option<u32>,
    #[serde(rename = "JOINTS_0")]
    pub(super) joints0: Option<u32>,
    #[serde(rename = "JOINTS_1")]
    pub(super) joints1: Option<u32>,
    /// Not read: here to be told of.
    #[serde(rename = "JOINTS_2")]
    pub(super) joints2: Option<u32>,
    #[serde(rename = "WEIGHTS_0")]
    pub(super) weights0: Option<u32>,
    #[serde(rename = "WEIGHTS_1")]
    pub(super) weights1: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accessor {
    pub(super) buffer_view: Option<u32>,
    #[serde(default)]
    pub(super) byte_offset: u64,
    pub(super) component_type: u32,
    #[serde(default)]
    pub(super) normalized: bool,
    pub(super) count: u64,
    #[serde(rename = "type")]
    pub(super) shape: String,
    pub(super) sparse: Option<Sparse>,
}

/// Elements of an accessor that differ from those of its buffer view.
#[derive(Debug, Deserialize)]
pub(super) struct Sparse {
    pub(super) count: u64,
    pub(super) indices: SparseIndices,
    pub(super) values: SparseValues,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SparseIndices {
    pub(super) buffer_view: u32,
    #[serde(default)]
    pub(super) byte_offset: u64,
    pub(super) component_type: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SparseValues {
    pub(super) buffer_view: u32,
    #[serde(default)]
    pub(super) byte_offset: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BufferView {
    pub(super) buffer: u32,
    #[serde(default)]
    pub(super) byte_offset: u64,
    pub(super) byte_length: u64,
    pub(super) byte_stride: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Buffer {
    pub(super) byte_length: u64,
    pub(super) uri: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Camera {
    pub(super) name: String,
    pub(super) perspective: Option<Perspective>,
    pub(super) orthographic: Option<Orthographic>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Perspective {
    pub(super) yfov: f32,
}

#[derive(Debug, Deserialize)]
pub(super) struct Orthographic {
    pub(super) ymag: f32,
}

/// Whether what the extension adds is understood.
pub(super) fn is_supported(extension: &str) -> bool {
    SUPPORTED_EXTENSIONS.contains(&extension)
}
