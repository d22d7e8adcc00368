//! Materials and textures as glTF 2.0 and its extensions describe them, checked and clamped.

/// A material. Textures multiply the factors beside them.
#[derive(Debug, Clone, PartialEq)]
pub struct Material {
    /// Linear reflectance and opacity, each 0 to 1.
    pub base_color: [f32; 4],
    /// sRGB colour and opacity.
    pub base_color_texture: Option<TextureUse>,
    /// 0 dielectric to 1 metal.
    pub metallic: f32,
    /// Perceptual roughness, 0 to 1 (alpha = roughness squared).
    pub roughness: f32,
    /// Roughness in green, metallic in blue.
    pub metallic_roughness_texture: Option<TextureUse>,
    /// Normals in tangent space.
    pub normal_texture: Option<TextureUse>,
    /// Factor of their x and y.
    pub normal_scale: f32,
    /// Emitted radiance, linear, each 0 or more (factor times `KHR_materials_emissive_strength`).
    pub emission: [f32; 3],
    /// sRGB colour.
    pub emissive_texture: Option<TextureUse>,
    /// Reflectance of the dielectric seen head-on (`KHR_materials_ior`; 0.04 for an index of 1.5).
    pub dielectric_f0: f32,
    /// Share of the light that goes through instead of being scattered back (`KHR_materials_transmission`: thin).
    pub transmission: f32,
    /// In red.
    pub transmission_texture: Option<TextureUse>,
    /// Strength of a clear coat, 0 to 1 (`KHR_materials_clearcoat`).
    pub clearcoat: f32,
    /// In red.
    pub clearcoat_texture: Option<TextureUse>,
    /// Perceptual roughness of the coat, 0 to 1.
    pub clearcoat_roughness: f32,
    /// In green.
    pub clearcoat_roughness_texture: Option<TextureUse>,
    /// What opacity means.
    pub alpha: AlphaMode,
    /// Seen from behind, too; otherwise rays pass through from there.
    pub double_sided: bool,
    /// Shines in its base colour and scatters nothing (`KHR_materials_unlit`).
    pub unlit: bool,
}

impl Default for Material {
    /// What a primitive without a material looks like: the defaults of the glTF specification.
    fn default() -> Self {
        Self {
            base_color: [1.0; 4],
            base_color_texture: None,
            metallic: 1.0,
            roughness: 1.0,
            metallic_roughness_texture: None,
            normal_texture: None,
            normal_scale: 1.0,
            emission: [0.0; 3],
            emissive_texture: None,
            dielectric_f0: 0.04,
            transmission: 0.0,
            transmission_texture: None,
            clearcoat: 0.0,
            clearcoat_texture: None,
            clearcoat_roughness: 0.0,
            clearcoat_roughness_texture: None,
            alpha: AlphaMode::Opaque,
            double_sided: false,
            unlit: false,
        }
    }
}

impl Material {
    /// Whether it gives light: an emissive factor of zero stays dark whatever the texture says.
    pub fn shines(&self) -> bool {
        !self.unlit && self.emission.iter().any(|channel| *channel > 0.0)
    }
}

/// What opacity means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AlphaMode {
    /// Nothing.
    Opaque,
    /// There where it reaches the cutoff, else not there at all.
    Mask {
        /// The least opacity that is seen.
        cutoff: f32,
    },
    /// The share of rays that are stopped.
    Blend,
}

/// How a material looks a texture up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextureUse {
    /// Index into [`super::Scene::textures`]; always in range.
    pub texture: u32,
    /// Which texture coordinates, 0 or 1.
    pub uv_set: u32,
    /// Rows of the map from the vertices' coordinates to the texture's (`KHR_texture_transform`).
    pub transform: [[f32; 3]; 2],
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

/// How pixels become a surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Filter {
    /// Blended between the four nearest.
    #[default]
    Linear,
    /// The nearest.
    Nearest,
}

/// A picture and how it is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Texture {
    /// Index into [`super::Scene::images`]; always in range.
    pub image: u32,
    /// Horizontal and vertical wrapping.
    pub wrap: [Wrap; 2],
    /// Between pixels.
    pub filter: Filter,
}

/// RGBA, 8 bits a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
    /// `width * height` pixels, rows from the top.
    pub texels: Vec<[u8; 4]>,
}
