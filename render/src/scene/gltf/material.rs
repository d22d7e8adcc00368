//! Materials: the document's numbers, checked and clamped.

use super::{accessor::Source, document, textures::Textures, trigonometry::sin_cos, warnings::Warnings};
use crate::{
    limit::{MAX_RADIANCE, MAX_TEXTURE_COORDINATE, SceneLimits},
    scene::{
        AlphaMode, Material, TextureUse,
        error::{SceneError, printable},
    },
};

/// Reads materials, with what they need from the rest of the document.
pub(super) struct MaterialReader<'a, 'b> {
    pub(super) source: Source<'a>,
    pub(super) textures: &'b mut Textures,
    pub(super) limits: &'a SceneLimits,
    pub(super) warnings: &'b mut Warnings,
}

impl MaterialReader<'_, '_> {
    /// Reads the document's material `index`.
    pub(super) fn read(
        &mut self,
        index: usize,
        material: &document::Material,
    ) -> Result<Material, SceneError> {
        let place = format!("material {index} \"{}\"", printable(&material.name));
        let place = place.as_str();
        let (surface, extensions) = (&material.pbr_metallic_roughness, &material.extensions);
        let coat = &extensions.clearcoat;
        if coat.normal_texture.is_some() {
            self.warnings.add(format!("{place}: the normal texture of its clear coat is ignored"));
        }
        let [red, green, blue, opacity] = surface.base_color_factor;
        let unit = |what: &str, value: f32| unit(place, what, value);
        let normal_scale = material.normal_texture.as_ref().map_or(1.0, |used| used.scale);
        if !normal_scale.is_finite() {
            return Err(SceneError::at(place, "the scale of its normal texture is not a finite number"));
        }
        Ok(Material {
            base_color: [
                unit("base colour", red)?,
                unit("base colour", green)?,
                unit("base colour", blue)?,
                unit("opacity", opacity)?,
            ],
            base_color_texture: self.texture(surface.base_color_texture.as_ref(), place)?,
            metallic: unit("metallic factor", surface.metallic_factor)?,
            roughness: unit("roughness factor", surface.roughness_factor)?,
            metallic_roughness_texture: self.texture(surface.texture_of_both.as_ref(), place)?,
            normal_texture: self.texture(material.normal_texture.as_ref(), place)?,
            normal_scale,
            emission: emission(material, place)?,
            emissive_texture: self.texture(material.emissive_texture.as_ref(), place)?,
            dielectric_f0: dielectric_f0(extensions.ior.ior, place)?,
            transmission: unit("transmission", extensions.transmission.factor)?,
            transmission_texture: self.texture(extensions.transmission.texture.as_ref(), place)?,
            clearcoat: unit("clear coat", coat.factor)?,
            clearcoat_texture: self.texture(coat.texture.as_ref(), place)?,
            clearcoat_roughness: unit("roughness of the clear coat", coat.roughness)?,
            clearcoat_roughness_texture: self.texture(coat.roughness_texture.as_ref(), place)?,
            alpha: alpha(material, place)?,
            double_sided: material.double_sided,
            unlit: extensions.unlit.is_some(),
        })
    }

    fn texture(
        &mut self,
        used: Option<&document::TextureUse>,
        place: &str,
    ) -> Result<Option<TextureUse>, SceneError> {
        let Some(used) = used else { return Ok(None) };
        let moved = used.extensions.transform.as_ref();
        let uv_set = moved.and_then(|moved| moved.tex_coord).unwrap_or(used.tex_coord);
        if uv_set > 1 {
            return Err(SceneError::at(
                place,
                format!("a texture uses coordinate set {uv_set}, and only sets 0 and 1 are supported"),
            ));
        }
        let transform = moved.map_or(Ok([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), |moved| matrix(moved, place))?;
        let texture = self.textures.index_of(self.source, used.index, place, self.limits, self.warnings)?;
        Ok(texture.map(|texture| TextureUse { texture, uv_set, transform }))
    }
}

fn unit(place: &str, what: &str, value: f32) -> Result<f32, SceneError> {
    if value.is_finite() {
        Ok(value.clamp(0.0, 1.0))
    } else {
        Err(SceneError::at(place, format!("its {what} is not a finite number")))
    }
}

/// Translation · rotation · scale, as `KHR_texture_transform` defines it.
fn matrix(moved: &document::TextureTransform, place: &str) -> Result<[[f32; 3]; 2], SceneError> {
    let (sin, cos) = sin_cos(f64::from(moved.rotation));
    let [across, down] = moved.scale.map(f64::from);
    let [x, y] = moved.offset;
    let matrix =
        [[(cos * across) as f32, (sin * down) as f32, x], [(-sin * across) as f32, (cos * down) as f32, y]];
    if matrix.as_flattened().iter().all(|value| value.abs() <= MAX_TEXTURE_COORDINATE) {
        Ok(matrix)
    } else {
        Err(SceneError::at(place, "the transform of a texture is not finite or too large"))
    }
}

/// Reflectance head-on from the index of refraction; 0 stands for a surface that reflects everything
/// (`KHR_materials_ior`).
fn dielectric_f0(ior: f32, place: &str) -> Result<f32, SceneError> {
    if ior == 0.0 {
        return Ok(1.0);
    }
    if !(1.0..=1e6).contains(&ior) {
        return Err(SceneError::at(place, format!("an index of refraction of {ior} cannot be")));
    }
    let ratio = (ior - 1.0) / (ior + 1.0);
    Ok(ratio * ratio)
}

fn alpha(material: &document::Material, place: &str) -> Result<AlphaMode, SceneError> {
    match material.alpha_mode.as_deref() {
        None | Some("OPAQUE") => Ok(AlphaMode::Opaque),
        Some("MASK") => {
            let cutoff = material.alpha_cutoff.unwrap_or(0.5);
            if cutoff.is_finite() {
                Ok(AlphaMode::Mask { cutoff })
            } else {
                Err(SceneError::at(place, "its alpha cutoff is not a finite number"))
            }
        }
        Some("BLEND") => Ok(AlphaMode::Blend),
        Some(other) => {
            Err(SceneError::at(place, format!("it has the unknown alpha mode {}", printable(other))))
        }
    }
}

/// Emissive factor times strength.
fn emission(material: &document::Material, place: &str) -> Result<[f32; 3], SceneError> {
    let strength = material.extensions.emissive_strength.strength;
    let emission = material.emissive_factor.map(|factor| factor * strength);
    if emission.iter().all(|value| (0.0..=MAX_RADIANCE).contains(value)) {
        Ok(emission)
    } else {
        Err(SceneError::at(place, format!("its emission {emission:?} is not between 0 and {MAX_RADIANCE:e}")))
    }
}
