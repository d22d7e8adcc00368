//! Materials and textures, as they stand in the JSON.

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct Material {
    pub(in super::super) name: String,
    pub(in super::super) pbr_metallic_roughness: MetallicRoughness,
    pub(in super::super) emissive_factor: [f32; 3],
    pub(in super::super) emissive_texture: Option<TextureUse>,
    pub(in super::super) normal_texture: Option<TextureUse>,
    pub(in super::super) alpha_mode: Option<String>,
    pub(in super::super) alpha_cutoff: Option<f32>,
    pub(in super::super) double_sided: bool,
    pub(in super::super) extensions: MaterialExtensions,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct MetallicRoughness {
    pub(in super::super) base_color_factor: [f32; 4],
    pub(in super::super) base_color_texture: Option<TextureUse>,
    pub(in super::super) metallic_factor: f32,
    pub(in super::super) roughness_factor: f32,
    #[serde(rename = "metallicRoughnessTexture")]
    pub(in super::super) texture_of_both: Option<TextureUse>,
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
pub(in super::super) struct MaterialExtensions {
    #[serde(rename = "KHR_materials_emissive_strength")]
    pub(in super::super) emissive_strength: EmissiveStrength,
    #[serde(rename = "KHR_materials_ior")]
    pub(in super::super) ior: Ior,
    #[serde(rename = "KHR_materials_transmission")]
    pub(in super::super) transmission: Transmission,
    #[serde(rename = "KHR_materials_clearcoat")]
    pub(in super::super) clearcoat: Clearcoat,
    #[serde(rename = "KHR_materials_unlit")]
    pub(in super::super) unlit: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(in super::super) struct EmissiveStrength {
    #[serde(rename = "emissiveStrength")]
    pub(in super::super) strength: f32,
}

impl Default for EmissiveStrength {
    fn default() -> Self {
        Self { strength: 1.0 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(in super::super) struct Ior {
    pub(in super::super) ior: f32,
}

impl Default for Ior {
    fn default() -> Self {
        Self { ior: 1.5 }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Transmission {
    #[serde(rename = "transmissionFactor")]
    pub(in super::super) factor: f32,
    #[serde(rename = "transmissionTexture")]
    pub(in super::super) texture: Option<TextureUse>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Clearcoat {
    #[serde(rename = "clearcoatFactor")]
    pub(in super::super) factor: f32,
    #[serde(rename = "clearcoatTexture")]
    pub(in super::super) texture: Option<TextureUse>,
    #[serde(rename = "clearcoatRoughnessFactor")]
    pub(in super::super) roughness: f32,
    #[serde(rename = "clearcoatRoughnessTexture")]
    pub(in super::super) roughness_texture: Option<TextureUse>,
    #[serde(rename = "clearcoatNormalTexture")]
    pub(in super::super) normal_texture: Option<serde::de::IgnoredAny>,
}

/// How a material looks a texture up, with the numbers that some uses add.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct TextureUse {
    pub(in super::super) index: u32,
    #[serde(default)]
    pub(in super::super) tex_coord: u32,
    /// Of a normal texture.
    #[serde(default = "one")]
    pub(in super::super) scale: f32,
    #[serde(default)]
    pub(in super::super) extensions: TextureUseExtensions,
}

const fn one() -> f32 {
    1.0
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct TextureUseExtensions {
    #[serde(rename = "KHR_texture_transform")]
    pub(in super::super) transform: Option<TextureTransform>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct TextureTransform {
    pub(in super::super) offset: [f32; 2],
    pub(in super::super) rotation: f32,
    pub(in super::super) scale: [f32; 2],
    pub(in super::super) tex_coord: Option<u32>,
}

impl Default for TextureTransform {
    fn default() -> Self {
        Self { offset: [0.0; 2], rotation: 0.0, scale: [1.0; 2], tex_coord: None }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Texture {
    pub(in super::super) sampler: Option<u32>,
    pub(in super::super) source: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct Image {
    pub(in super::super) uri: Option<String>,
    pub(in super::super) buffer_view: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct Sampler {
    pub(in super::super) wrap_s: Option<u32>,
    pub(in super::super) wrap_t: Option<u32>,
    pub(in super::super) mag_filter: Option<u32>,
}
