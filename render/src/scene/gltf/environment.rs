//! The environment map that a package carries.

use serde::Deserialize;

use super::{accessor::Source, document::Document};
use crate::{
    environment::EnvironmentLight,
    limit::MAX_RADIANCE,
    scene::{
        Environment,
        environment::{ENCODING, EXTRAS_KEY, EnvironmentMap},
        error::SceneError,
    },
};

/// What the default scene's extras say of the map.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Description {
    buffer_view: u32,
    width: u32,
    height: u32,
    encoding: String,
    strength: f32,
    rotation: f32,
}

/// What the default scene's extras say of its map.
fn described(document: &Document) -> Option<&Description> {
    document.scenes.get(document.scene.unwrap_or(0) as usize)?.extras.environment.as_ref()
}

/// Words of memory that the default scene's map takes once it is prepared; 0 for a map that is going to be refused.
pub(super) fn word_count(document: &Document) -> u64 {
    described(document).map_or(0, |described| EnvironmentLight::word_count(described.width, described.height))
}

/// The map of the default scene, if it has one. The bytes may come from anybody.
pub(super) fn read(source: Source<'_>) -> Result<Option<Environment>, SceneError> {
    let Some(described) = described(source.document) else { return Ok(None) };
    let place = || format!("extras.{EXTRAS_KEY}");
    if described.encoding != ENCODING {
        return Err(SceneError::at(place(), format!("only the encoding {ENCODING} is known")));
    }
    if !(0.0..=MAX_RADIANCE).contains(&described.strength) {
        return Err(SceneError::at(place(), format!("its strength is not between 0 and {MAX_RADIANCE:e}")));
    }
    if !(0.0..1.0).contains(&described.rotation) {
        return Err(SceneError::at(place(), "its rotation is not between 0 and below 1"));
    }
    let texels = source.view(described.buffer_view, &place())?;
    let map = EnvironmentMap::decode(texels, described.width, described.height)?;
    Ok(Some(Environment { map, strength: described.strength, rotation_turns: described.rotation }))
}
