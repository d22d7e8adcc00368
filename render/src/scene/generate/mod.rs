//! Procedural scenes, written as GLB: something to render without looking for a file first.

mod city;
mod cornell;
mod knot;
mod random;
mod solids;
mod spheres;

use std::{fmt, str::FromStr};

use super::write_glb::Description;
use crate::limit::{MAX_GENERATED_TRIANGLES, MIN_GENERATED_TRIANGLES};

/// Which scene to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SceneKind {
    /// The Cornell box: diffuse light in a closed room.
    Cornell,
    /// Spheres of plastic and metal on a checkered floor.
    Spheres,
    /// A street at night: neon, wet ground, an empty sky. Its cost is strongly uneven.
    City,
    /// A bumpy knot in the Cornell box, purely diffuse: for comparisons with other renderers.
    Knot,
}

impl SceneKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Cornell, Self::Spheres, Self::City, Self::Knot];

    const fn name(self) -> &'static str {
        match self {
            Self::Cornell => "cornell",
            Self::Spheres => "spheres",
            Self::City => "city",
            Self::Knot => "knot",
        }
    }
}

impl fmt::Display for SceneKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Why a text names no scene.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scene of that name; choose cornell, spheres, city or knot")]
pub struct SceneKindError;

impl FromStr for SceneKind {
    type Err = SceneKindError;

    fn from_str(text: &str) -> Result<Self, SceneKindError> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(SceneKindError)
    }
}

/// Generates a scene as the bytes of a GLB, with about `triangles` triangles (what suits the scene when `None`; kept
/// within [`MIN_GENERATED_TRIANGLES`] and [`MAX_GENERATED_TRIANGLES`]; a scene has a least number of its own).
pub fn generate(kind: SceneKind, seed: u64, triangles: Option<u32>) -> Vec<u8> {
    describe(kind, seed, triangles).to_glb()
}

/// As [`generate`], with a first camera that drives forward for so many seconds.
pub fn generate_with_drive(kind: SceneKind, seed: u64, triangles: Option<u32>, drive_s: f32) -> Vec<u8> {
    Description { drive_s: Some(drive_s), ..describe(kind, seed, triangles) }.to_glb()
}

fn describe(kind: SceneKind, seed: u64, triangles: Option<u32>) -> Description {
    let asked = |default: u32| {
        triangles.map_or(default, |count| count.clamp(MIN_GENERATED_TRIANGLES, MAX_GENERATED_TRIANGLES))
    };
    match kind {
        SceneKind::Cornell => cornell::describe(asked(cornell::DEFAULT_TRIANGLES)),
        SceneKind::Spheres => spheres::describe(seed, asked(spheres::DEFAULT_TRIANGLES)),
        SceneKind::City => city::describe(seed, asked(city::DEFAULT_TRIANGLES)),
        SceneKind::Knot => knot::describe(asked(knot::DEFAULT_TRIANGLES)),
    }
}

/// An 8-bit RGB picture as PNG. `pixels` holds three bytes for each of `width * height` pixels.
fn encode_png(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(pixels)?;
        writer.finish()
    });
    // invariant: writing to memory does not fail, and every caller passes as many bytes as the size asks for.
    debug_assert!(written.is_ok());
    bytes
}
