//! Metallic-roughness materials: the document's numbers, checked and clamped.

use super::{accessor::Source, document, texture::Textures, warnings::Warnings};
use crate::{
    limit::{MAX_RADIANCE, SceneLimits},
    scene::{
        Material,
        error::{SceneError, printable},
    },
};

/// What a primitive without a material looks like: the defaults of the glTF specification.
pub(super) const DEFAULT: Material = Material {
    base_color: [1.0; 3],
    base_color_texture: None,
    metallic: 1.0,
    roughness: 1.0,
    emission: [0.0; 3],
};

/// Reads the document's material `index`.
pub(super) fn read(
    source: Source<'_>,
    index: usize,
    material: &document::Material,
    textures: &mut Textures,
    limits: &SceneLimits,
    warnings: &mut Warnings,
) -> Result<Material, SceneError> {
    let place = format!("material {index} \"{}\"", printable(&material.name));
    warn_ignored(material, &place, warnings);
    let surface = &material.pbr_metallic_roughness;
    let number = |what: &str, value: f32| {
        if value.is_finite() {
            Ok(value.clamp(0.0, 1.0))
        } else {
            Err(SceneError::at(&*place, format!("its {what} is not a finite number")))
        }
    };
    let [red, green, blue, _alpha] = surface.base_color_factor;
    let base_color =
        [number("base colour", red)?, number("base colour", green)?, number("base colour", blue)?];
    let metallic = number("metallic factor", surface.metallic_factor)?;
    let roughness = number("roughness factor", surface.roughness_factor)?;
    let base_color_texture = match &surface.base_color_texture {
        None => None,
        Some(used) => {
            if used.tex_coord != 0 {
                warnings.add(format!(
                    "{place}: its texture uses coordinate set {}; set 0 is used",
                    used.tex_coord
                ));
            }
            textures.index_of(source, used.index, &place, limits, warnings)?
        }
    };
    Ok(Material {
        base_color,
        base_color_texture,
        metallic,
        roughness,
        emission: emission(material, &place)?,
    })
}

/// Emissive factor times strength. A surface with an emissive texture is left dark: without the texture's pattern
/// all of it would glow.
fn emission(material: &document::Material, place: &str) -> Result<[f32; 3], SceneError> {
    if material.emissive_texture.is_some() {
        return Ok([0.0; 3]);
    }
    let strength = material.extensions.emissive_strength.as_ref().map_or(1.0, |extension| extension.strength);
    let emission = material.emissive_factor.map(|factor| factor * strength);
    if emission.iter().all(|value| (0.0..=MAX_RADIANCE).contains(value)) {
        Ok(emission)
    } else {
        Err(SceneError::at(place, format!("its emission {emission:?} is not between 0 and {MAX_RADIANCE:e}")))
    }
}

fn warn_ignored(material: &document::Material, place: &str, warnings: &mut Warnings) {
    let surface = &material.pbr_metallic_roughness;
    let ignored = [
        (material.emissive_texture.is_some(), "its emissive texture is not supported, so it does not glow"),
        (material.normal_texture.is_some(), "its normal texture is ignored"),
        (material.occlusion_texture.is_some(), "its occlusion texture is ignored"),
        (surface.texture_of_both.is_some(), "its metallic-roughness texture is ignored"),
        (material.alpha_mode.as_deref().is_some_and(|mode| mode != "OPAQUE"), "it is rendered opaque"),
    ];
    for (_, what) in ignored.into_iter().filter(|(present, _)| *present) {
        warnings.add(format!("{place}: {what}"));
    }
}
