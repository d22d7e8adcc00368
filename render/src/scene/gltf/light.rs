//! Lights of `KHR_lights_punctual`.

use super::{
    document::Light,
    transform::{Transform, unit},
    trigonometry::sin_cos,
    warnings::Warnings,
};
use crate::{
    limit::{MAX_COORDINATE, MAX_RADIANCE},
    scene::{
        PunctualLight,
        error::{SceneError, printable},
    },
};

/// Smallest difference of the cosines of a cone's angles (the extension's own advice).
const MIN_CONE: f64 = 1e-3;

/// Reads a light at the place of its node; `None` (with a warning) when it gives no light.
pub(super) fn read(
    index: u32,
    light: &Light,
    transform: &Transform,
    warnings: &mut Warnings,
) -> Result<Option<PunctualLight>, SceneError> {
    let place = format!("light {index} \"{}\"", printable(&light.name));
    let strength = light.color.map(|channel| channel * light.intensity);
    if !strength.iter().all(|value| (0.0..=MAX_RADIANCE).contains(value)) {
        let problem = format!("its light {strength:?} is not between 0 and {MAX_RADIANCE:e}");
        return Err(SceneError::at(place, problem));
    }
    if strength.iter().all(|value| *value == 0.0) {
        warnings.add(format!("{place} gives no light"));
        return Ok(None);
    }
    let [_, _, z] = transform.axes();
    // Lights shine along their -z.
    let axis = unit(z.map(|value| -value)).map(|axis| axis.map(|value| value as f32));
    let axis =
        axis.ok_or_else(|| SceneError::at(&*place, "its node's transform leaves it without a direction"))?;
    let position = transform.origin();
    if !position.iter().all(|value| value.abs() <= MAX_COORDINATE) {
        return Err(SceneError::at(place, "it is too far from the origin"));
    }
    let range = light.range.unwrap_or(0.0);
    if !(range >= 0.0 && range.is_finite()) {
        return Err(SceneError::at(place, format!("a range of {range} cannot be")));
    }
    let point = |cone| PunctualLight::Point { position, intensity: strength, axis, cone, range };
    match light.kind.as_str() {
        "directional" => {
            let direction = axis.map(|value| -value);
            Ok(Some(PunctualLight::Directional { direction, irradiance: strength }))
        }
        "point" => Ok(Some(point([0.0, 1.0]))),
        "spot" => cone(light, &place).map(|cone| Some(point(cone))),
        other => Err(SceneError::at(place, format!("it has the unknown type \"{}\"", printable(other)))),
    }
}

/// Scale and offset of the fall-off between the two angles, as the extension recommends.
fn cone(light: &Light, place: &str) -> Result<[f32; 2], SceneError> {
    let (inner, outer) = (f64::from(light.spot.inner_cone_angle), f64::from(light.spot.outer_cone_angle));
    if !(0.0 <= inner && inner < outer && outer <= std::f64::consts::FRAC_PI_2 + 1e-6) {
        return Err(SceneError::at(place, format!("a cone from {inner} to {outer} radians cannot be")));
    }
    let (cos_inner, cos_outer) = (sin_cos(inner).1, sin_cos(outer).1);
    let scale = 1.0 / (cos_inner - cos_outer).max(MIN_CONE);
    Ok([scale as f32, (-cos_outer * scale) as f32])
}
