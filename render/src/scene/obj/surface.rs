//! From Wavefront's materials to the metallic-roughness ones of glTF.
//!
//! | MTL | glTF |
//! | --- | --- |
//! | `Kd`, `map_Kd` | base colour, grey 0.8 without both; a black `Kd` under a picture counts as white |
//! | `Ke`, `map_Ke` | emissive factor, the part above 1 as `KHR_materials_emissive_strength` |
//! | `Pr`, `map_Pr`, `Pm`, `map_Pm` | roughness and metallic factor and picture |
//! | `Ns` with a `Ks` that is not black | roughness = (2 / (Ns + 2))^(1/4): a Phong lobe of exponent Ns |
//! | neither | roughness 1 |
//! | `d`, else 1 - `Tr`, below 1 | opacity of the base colour, alpha mode `BLEND` |
//! | `Ni` above 1 | `KHR_materials_ior`; 1 is what programs write that know none |
//! | `illum` 6 or 7 with `d` below 1 or a `Tf` that is not black | `KHR_materials_transmission`, opaque otherwise |
//! | `norm`, `map_Bump` where its picture holds normals | normal texture |

use serde_json::{Value, json};

use super::{
    mtl::{Map, Mtl},
    notes::Notes,
    pictures::Pictures,
};
use crate::{
    limit::MAX_RADIANCE,
    scene::error::{SceneError, printable},
};

/// Diffuse colour of a material that gives none.
const GREY: [f32; 3] = [0.8; 3];
/// Largest index of refraction that any material has.
const MAX_IOR: f32 = 10.0;

/// The glTF material.
pub(super) fn to_gltf(
    mtl: &Mtl,
    pictures: &mut Pictures<'_>,
    notes: &mut Notes,
) -> Result<Value, SceneError> {
    let name = printable(&mtl.name);
    let mut say = |what: &str| notes.add(format!("material \"{name}\": {what}"));
    for keyword in &mtl.ignored {
        say(&format!("{keyword} is ignored"));
    }
    let (opacity, transmission) = transparency(mtl, &mut say);
    let [red, green, blue] = base_color(mtl, transmission.is_some(), &mut say);
    let mut surface = json!({
        "baseColorFactor": [red, green, blue, opacity],
        "metallicFactor": unit(mtl.metallic.unwrap_or(if mtl.metallic_map.is_some() { 1.0 } else { 0.0 })),
        "roughnessFactor": roughness(mtl),
    });
    put_texture(&mut surface, "baseColorTexture", mtl.diffuse_map.as_ref(), pictures, notes)?;
    if let Some(index) =
        pictures.metallic_roughness(mtl.metallic_map.as_ref(), mtl.roughness_map.as_ref(), notes)?
    {
        surface["metallicRoughnessTexture"] = json!({ "index": index });
    }
    let mut material = json!({ "name": name, "doubleSided": true, "pbrMetallicRoughness": surface });
    let mut extensions = json!({});
    if opacity < 1.0 {
        material["alphaMode"] = json!("BLEND");
    }
    if let Some(factor) = transmission {
        extensions["KHR_materials_transmission"] = json!({ "transmissionFactor": factor });
    }
    if let Some(ior) = mtl.ior.filter(|ior| *ior > 1.0) {
        extensions["KHR_materials_ior"] = json!({ "ior": ior.min(MAX_IOR) });
    }
    put_emission(&mut material, &mut extensions, mtl, pictures, notes)?;
    put_normals(&mut material, mtl, pictures, notes)?;
    if extensions.as_object().is_some_and(|extensions| !extensions.is_empty()) {
        material["extensions"] = extensions;
    }
    Ok(material)
}

fn unit(value: f32) -> f32 {
    value.clamp(0.0, 1.0)
}

fn is_black(color: [f32; 3]) -> bool {
    color.iter().all(|value| *value <= 0.0)
}

fn base_color(mtl: &Mtl, is_clear: bool, say: &mut impl FnMut(&str)) -> [f32; 3] {
    let mut color = match (mtl.diffuse, &mtl.diffuse_map) {
        (Some(color), Some(_)) if is_black(color) => {
            say("its black Kd would hide its picture and counts as white");
            [1.0; 3]
        }
        (None, Some(_)) => [1.0; 3],
        (color, _) => color.unwrap_or(GREY),
    };
    // Light that passes takes on the base colour in glTF, and the filter colour here.
    if let Some(filter) = mtl.filter.filter(|filter| is_clear && !is_black(*filter)) {
        color = filter;
    } else if is_clear && is_black(color) {
        color = [1.0; 3];
    }
    if color.iter().any(|value| !(0.0..=1.0).contains(value)) {
        say("its colour is brought into 0 to 1");
    }
    color.map(unit)
}

/// The material's opacity, and the share of light that passes through it.
fn transparency(mtl: &Mtl, say: &mut impl FnMut(&str)) -> (f32, Option<f32>) {
    let opacity = unit(mtl.dissolve.or(mtl.transparency.map(|share| 1.0 - share)).unwrap_or(1.0));
    let filter = mtl.filter.map(|filter| filter.iter().fold(0.0_f32, |most, value| most.max(*value)));
    match (mtl.illumination, filter) {
        (Some(6 | 7), _) if opacity < 1.0 => (1.0, Some(1.0 - opacity)),
        (Some(6 | 7), Some(filter)) if filter > 0.0 => (1.0, Some(unit(filter))),
        (Some(model @ 6..=7), _) => {
            say(&format!("illum {model} without d or Tf does not say how clear it is; it is opaque"));
            (opacity, None)
        }
        // A white filter is what programs write that know none.
        (Some(5), Some(filter)) if filter > 0.0 && mtl.filter != Some([1.0; 3]) => {
            say("Tf without refraction (illum 6 or 7) is ignored");
            (opacity, None)
        }
        _ => (opacity, None),
    }
}

fn roughness(mtl: &Mtl) -> f32 {
    if let Some(roughness) = mtl.roughness {
        return unit(roughness);
    }
    match (mtl.shininess, mtl.specular) {
        _ if mtl.roughness_map.is_some() => 1.0,
        (Some(shininess), Some(specular)) if !is_black(specular) => {
            (2.0 / (shininess.max(0.0) + 2.0)).sqrt().sqrt()
        }
        _ => 1.0,
    }
}

fn put_emission(
    material: &mut Value,
    extensions: &mut Value,
    mtl: &Mtl,
    pictures: &mut Pictures<'_>,
    notes: &mut Notes,
) -> Result<(), SceneError> {
    let has_picture = put_texture(material, "emissiveTexture", mtl.emission_map.as_ref(), pictures, notes)?;
    let emission = match mtl.emission {
        Some(emission) if !is_black(emission) => emission,
        _ if has_picture => [1.0; 3],
        _ => return Ok(()),
    };
    if mtl.emission_map.is_some() && !has_picture {
        // Without the pattern of the picture all of the surface would glow.
        notes.add(format!("material \"{}\": it does not glow without its picture", printable(&mtl.name)));
        return Ok(());
    }
    let kept = emission.map(|value| value.clamp(0.0, MAX_RADIANCE));
    if kept != emission {
        notes.add(format!(
            "material \"{}\": its Ke is brought into 0 to {MAX_RADIANCE:e}",
            printable(&mtl.name)
        ));
    }
    let strength = kept.iter().fold(1.0_f32, |most, value| most.max(*value));
    material["emissiveFactor"] = json!(kept.map(|value| value / strength));
    if strength > 1.0 {
        extensions["KHR_materials_emissive_strength"] = json!({ "emissiveStrength": strength });
    }
    Ok(())
}

fn put_normals(
    material: &mut Value,
    mtl: &Mtl,
    pictures: &mut Pictures<'_>,
    notes: &mut Notes,
) -> Result<(), SceneError> {
    let map = match (&mtl.normal_map, &mtl.bump_map) {
        (Some(normals), _) => normals,
        (None, Some(bumps)) if pictures.holds_normals(bumps)? => bumps,
        (None, Some(_)) => {
            notes.add(format!(
                "material \"{}\": its bump map holds heights, not normals, and is ignored",
                printable(&mtl.name)
            ));
            return Ok(());
        }
        (None, None) => return Ok(()),
    };
    if put_texture(material, "normalTexture", Some(map), pictures, notes)? && map.strength != 1.0 {
        material["normalTexture"]["scale"] = json!(map.strength);
    }
    Ok(())
}

/// Adds a reference to a picture; says whether there is one.
fn put_texture(
    object: &mut Value,
    key: &str,
    map: Option<&Map>,
    pictures: &mut Pictures<'_>,
    notes: &mut Notes,
) -> Result<bool, SceneError> {
    let index = match map {
        Some(map) => pictures.texture(map, notes)?,
        None => None,
    };
    if let Some(index) = index {
        object[key] = json!({ "index": index });
    }
    Ok(index.is_some())
}
