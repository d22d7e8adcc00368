//! Light from all around: an equirectangular picture of radiances, read from disk by a scene's owner and carried
//! inside the package for the contributors.
//!
//! A package names its map in the default scene: `"extras": {"p2c2r_environment": {"bufferView": n, "width": w,
//! "height": h, "encoding": "RGBE", "strength": s, "rotation": r}}`. The buffer view holds the texels of
//! [`EnvironmentMap::encode`]; `strength` multiplies every radiance, and `rotation` turns the map about the vertical
//! axis, in turns from 0 to below 1.

mod embed;
mod exr;
mod hdr;
mod resample;
mod rgbe;

use std::path::Path;

pub(super) use self::embed::embed_source;
use super::package::read_file;
use crate::{
    limit::{
        MAX_ENVIRONMENT_FILE_BYTES, MAX_ENVIRONMENT_FILE_EDGE_PX, MAX_ENVIRONMENT_FILE_PIXELS,
        MAX_ENVIRONMENT_HEIGHT, MAX_ENVIRONMENT_WIDTH, MAX_RADIANCE,
    },
    scene::error::SceneError,
};

/// How [`EnvironmentMap::encode`] writes a texel, as the package names it.
pub const ENCODING: &str = "RGBE";
/// The key of a scene's `extras` under which the map stands.
pub const EXTRAS_KEY: &str = "p2c2r_environment";

/// A picture of everything around the scene, by longitude (columns) and latitude (rows, straight up first).
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentMap {
    /// Texels in a row, 1 to [`MAX_ENVIRONMENT_WIDTH`].
    pub width: u32,
    /// Rows, 1 to [`MAX_ENVIRONMENT_HEIGHT`].
    pub height: u32,
    /// `width * height` linear radiances, rows from the top, each 0 to [`MAX_RADIANCE`].
    pub radiance: Vec<[f32; 3]>,
}

/// A map, and what of its file was changed.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedEnvironment {
    /// Ready to be carried by a package.
    pub map: EnvironmentMap,
    /// One sentence for each thing that is not as in the file.
    pub warnings: Vec<String>,
}

/// Where a scene's owner has an environment map, and how it is to shine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnvironmentSource<'a> {
    /// A Radiance picture (`.hdr`) or an `OpenEXR` one (`.exr`); anywhere, for the owner named it.
    pub path: &'a Path,
    /// Multiplies every radiance: 0 to [`MAX_RADIANCE`].
    pub strength: f32,
    /// Turns about the vertical axis; whole turns change nothing.
    pub rotation_turns: f32,
}

impl EnvironmentMap {
    /// Reads a Radiance or `OpenEXR` picture, told apart by their first bytes, and averages it down to
    /// [`MAX_ENVIRONMENT_WIDTH`] by [`MAX_ENVIRONMENT_HEIGHT`] where it is larger.
    pub fn read(path: &Path) -> Result<LoadedEnvironment, SceneError> {
        let bytes = read_file(path, MAX_ENVIRONMENT_FILE_BYTES)?;
        Self::from_picture(&bytes)
            .map_err(|problem| SceneError::Environment { path: path.to_owned(), problem })
    }

    /// The map that a picture's bytes hold; one sentence when they hold none.
    pub fn from_picture(bytes: &[u8]) -> Result<LoadedEnvironment, String> {
        let mut picture = if hdr::is_hdr(bytes) {
            hdr::decode(bytes)?
        } else if exr::is_exr(bytes) {
            exr::decode(bytes)?
        } else {
            return Err("it is neither a Radiance (.hdr) nor an OpenEXR (.exr) picture".into());
        };
        let mut warnings = tidy(&mut picture.radiance);
        if u64::from(picture.width) != 2 * u64::from(picture.height) {
            warnings.push(format!(
                "the environment map has {} x {} pixels; one that covers all directions evenly is twice as wide as \
                 high",
                picture.width, picture.height
            ));
        }
        let map = resample::shrink(picture, MAX_ENVIRONMENT_WIDTH, MAX_ENVIRONMENT_HEIGHT);
        Ok(LoadedEnvironment { map, warnings })
    }

    /// The texels as a package carries them: four bytes each, rows from the top. Three mantissas and a shared
    /// exponent, `red green blue exponent`, mean `mantissa * 2^(exponent - 136)`; an exponent below 96 means black.
    /// Radiances are rounded to the nearest such value: what came from a `.hdr` file of at most the package's size is
    /// kept exactly, down to that darkest exponent.
    pub fn encode(&self) -> Vec<u8> {
        self.radiance.iter().flat_map(|texel| rgbe::encode(*texel)).collect()
    }

    /// The map that [`Self::encode`] wrote. Every bit of it follows from the bytes by exact arithmetic. The bytes may
    /// come from anybody.
    pub fn decode(encoded: &[u8], width: u32, height: u32) -> Result<Self, SceneError> {
        const PLACE: &str = "the environment map";
        let is_size =
            (1..=MAX_ENVIRONMENT_WIDTH).contains(&width) && (1..=MAX_ENVIRONMENT_HEIGHT).contains(&height);
        if !is_size {
            let allowed = format!("1 x 1 to {MAX_ENVIRONMENT_WIDTH} x {MAX_ENVIRONMENT_HEIGHT} are allowed");
            return Err(SceneError::at(PLACE, format!("it has {width} x {height} texels; {allowed}")));
        }
        let (texels, rest) = encoded.as_chunks::<4>();
        if !rest.is_empty() || texels.len() as u64 != u64::from(width) * u64::from(height) {
            let problem = format!("{width} x {height} texels do not fit its {} bytes", encoded.len());
            return Err(SceneError::at(PLACE, problem));
        }
        let radiance: Vec<[f32; 3]> = texels.iter().map(|texel| rgbe::decode(*texel)).collect();
        match radiance.iter().position(|texel| texel.iter().any(|value| *value > MAX_RADIANCE)) {
            None => Ok(Self { width, height, radiance }),
            Some(index) => {
                Err(SceneError::at(PLACE, format!("texel {index} is brighter than {MAX_RADIANCE:e}")))
            }
        }
    }
}

/// Refuses a picture by the size that its header states, before memory for it is taken.
fn check_size(width: u64, height: u64) -> Result<(u32, u32), String> {
    let edge = |pixels: u64| {
        u32::try_from(pixels).ok().filter(|pixels| (1..=MAX_ENVIRONMENT_FILE_EDGE_PX).contains(pixels))
    };
    match (edge(width), edge(height)) {
        (Some(wide), Some(high)) if width * height <= MAX_ENVIRONMENT_FILE_PIXELS => Ok((wide, high)),
        _ => Err(format!(
            "it has {width} x {height} pixels; at most {MAX_ENVIRONMENT_FILE_EDGE_PX} on an edge and \
             {MAX_ENVIRONMENT_FILE_PIXELS} in all are allowed"
        )),
    }
}

/// Brings every value into 0 to [`MAX_RADIANCE`]; says what had to be changed.
fn tidy(radiance: &mut [[f32; 3]]) -> Vec<String> {
    let (mut undefined, mut negative, mut bright) = (0_u64, 0_u64, 0_u64);
    for value in radiance.as_flattened_mut() {
        if value.is_nan() {
            undefined += 1;
            *value = 0.0;
        } else if *value < 0.0 {
            negative += 1;
            *value = 0.0;
        } else if *value > MAX_RADIANCE {
            bright += 1;
            *value = MAX_RADIANCE;
        }
    }
    [
        (undefined, "are no numbers and become 0".to_owned()),
        (negative, "are negative and become 0".to_owned()),
        (bright, format!("are brighter than {MAX_RADIANCE:e} and become that")),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} values of the environment map {what}"))
    .collect()
}
