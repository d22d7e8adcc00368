//! The parts of a glTF 2.0 document that the renderer reads, as they stand in the JSON.
//!
//! Nothing is checked here but types: every index, count and number is judged where it is used, next to the place
//! that an error can name.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use super::extras::SceneExtras;
use crate::{
    limit::{MAX_LIGHTS, MAX_MATERIALS},
    scene::error::SceneError,
};

/// Most elements of any list of the document: parsed, they take many times their size in the file.
const MAX_ELEMENTS: usize = 1 << 20;

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
    pub(super) animations: Vec<serde::de::IgnoredAny>,
    #[serde(deserialize_with = "bounded")]
    pub(super) skins: Vec<serde::de::IgnoredAny>,
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
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Primitive {
    pub(super) attributes: Attributes,
    pub(super) indices: Option<u32>,
    pub(super) material: Option<u32>,
    pub(super) mode: Option<u32>,
    pub(super) targets: Vec<serde::de::IgnoredAny>,
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
    pub(super) sparse: Option<serde::de::IgnoredAny>,
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
#[serde(rename_all = "camelCase", default)]
pub(super) struct Material {
    pub(super) name: String,
    pub(super) pbr_metallic_roughness: MetallicRoughness,
    pub(super) emissive_factor: [f32; 3],
    pub(super) emissive_texture: Option<TextureUse>,
    pub(super) normal_texture: Option<TextureUse>,
    pub(super) alpha_mode: Option<String>,
    pub(super) alpha_cutoff: Option<f32>,
    pub(super) double_sided: bool,
    pub(super) extensions: MaterialExtensions,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MetallicRoughness {
    pub(super) base_color_factor: [f32; 4],
    pub(super) base_color_texture: Option<TextureUse>,
    pub(super) metallic_factor: f32,
    pub(super) roughness_factor: f32,
    #[serde(rename = "metallicRoughnessTexture")]
    pub(super) texture_of_both: Option<TextureUse>,
}

impl Default for MetallicRoughness {
    /// The defaults of the glTF specification.
    fn default() -> Self {
        Self {
            base_color_factor: [1.0; 4],
            base_color_texture: None,
            metallic_factor: 1.0,
            roughness_factor: 1.0,
            texture_of_both: None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MaterialExtensions {
    #[serde(rename = "KHR_materials_emissive_strength")]
    pub(super) emissive_strength: EmissiveStrength,
    #[serde(rename = "KHR_materials_ior")]
    pub(super) ior: Ior,
    #[serde(rename = "KHR_materials_transmission")]
    pub(super) transmission: Transmission,
    #[serde(rename = "KHR_materials_clearcoat")]
    pub(super) clearcoat: Clearcoat,
    #[serde(rename = "KHR_materials_unlit")]
    pub(super) unlit: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct EmissiveStrength {
    #[serde(rename = "emissiveStrength")]
    pub(super) strength: f32,
}

impl Default for EmissiveStrength {
    fn default() -> Self {
        Self { strength: 1.0 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Ior {
    pub(super) ior: f32,
}

impl Default for Ior {
    fn default() -> Self {
        Self { ior: 1.5 }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Transmission {
    #[serde(rename = "transmissionFactor")]
    pub(super) factor: f32,
    #[serde(rename = "transmissionTexture")]
    pub(super) texture: Option<TextureUse>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Clearcoat {
    #[serde(rename = "clearcoatFactor")]
    pub(super) factor: f32,
    #[serde(rename = "clearcoatTexture")]
    pub(super) texture: Option<TextureUse>,
    #[serde(rename = "clearcoatRoughnessFactor")]
    pub(super) roughness: f32,
    #[serde(rename = "clearcoatRoughnessTexture")]
    pub(super) roughness_texture: Option<TextureUse>,
    #[serde(rename = "clearcoatNormalTexture")]
    pub(super) normal_texture: Option<serde::de::IgnoredAny>,
}

/// How a material looks a texture up, with the numbers that some uses add.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TextureUse {
    pub(super) index: u32,
    #[serde(default)]
    pub(super) tex_coord: u32,
    /// Of a normal texture.
    #[serde(default = "one")]
    pub(super) scale: f32,
    #[serde(default)]
    pub(super) extensions: TextureUseExtensions,
}

const fn one() -> f32 {
    1.0
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TextureUseExtensions {
    #[serde(rename = "KHR_texture_transform")]
    pub(super) transform: Option<TextureTransform>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TextureTransform {
    pub(super) offset: [f32; 2],
    pub(super) rotation: f32,
    pub(super) scale: [f32; 2],
    pub(super) tex_coord: Option<u32>,
}

impl Default for TextureTransform {
    fn default() -> Self {
        Self { offset: [0.0; 2], rotation: 0.0, scale: [1.0; 2], tex_coord: None }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Texture {
    pub(super) sampler: Option<u32>,
    pub(super) source: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Image {
    pub(super) uri: Option<String>,
    pub(super) buffer_view: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Sampler {
    pub(super) wrap_s: Option<u32>,
    pub(super) wrap_t: Option<u32>,
    pub(super) mag_filter: Option<u32>,
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

/// A list of at most [`MAX_ELEMENTS`].
fn bounded<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    at_most::<MAX_ELEMENTS, T, D>(deserializer)
}

/// A list that is refused as soon as it is too long, before the rest of it is read.
fn at_most<'de, const MAX: usize, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Bounded<const MAX: usize, T>(PhantomData<T>);
    impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for Bounded<MAX, T> {
        type Value = Vec<T>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(out, "a list of at most {MAX} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = list.next_element()? {
                if elements.len() == MAX {
                    return Err(serde::de::Error::invalid_length(MAX + 1, &self));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }
    deserializer.deserialize_seq(Bounded::<MAX, T>(PhantomData))
}

/// Whether what the extension adds is understood.
pub(super) fn is_supported(extension: &str) -> bool {
    SUPPORTED_EXTENSIONS.contains(&extension)
}

/// The element at an index that the file gave, or an error that names both ends of the broken reference.
pub(super) fn element<'a, T>(
    list: &'a [T],
    index: u32,
    what: &str,
    place: impl FnOnce() -> String,
) -> Result<&'a T, SceneError> {
    list.get(index as usize).ok_or_else(|| {
        SceneError::at(place(), format!("refers to {what} {index}, and the file has {} of them", list.len()))
    })
}
