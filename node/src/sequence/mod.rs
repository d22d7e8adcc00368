//! The frames of an animation: which ones ([`range`]), at which moments ([`rate`]), and the names of their files.

mod range;
mod rate;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use p2c2r_protocol::tile::{GeometryError, SceneTime};
use serde::{Deserialize, Serialize};

pub use self::{range::FrameRange, rate::FrameRate};

/// Digits of a frame's number in a file name, at least: names of up to ten thousand frames sort by their numbers.
const NAME_DIGITS: usize = 4;

/// Frames of an animation, each at its number divided by the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameSequence {
    /// Which.
    pub frames: FrameRange,
    /// How fast they follow each other.
    pub rate: FrameRate,
}

impl FrameSequence {
    /// Whether all frames lie within the moments that a scene has.
    pub fn check(&self) -> Result<(), GeometryError> {
        // Later frames are at later moments.
        self.rate.time_of(self.frames.last()).map(drop)
    }

    /// The moment of a frame.
    pub fn time_of(&self, frame: u32) -> Result<SceneTime, GeometryError> {
        self.rate.time_of(frame)
    }
}

/// A frame's own file: its number goes before the ending, `walk.png` becomes `walk.0007.png`.
pub fn numbered(path: &Path, frame: u32) -> PathBuf {
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    name.push(format!(".{frame:0NAME_DIGITS$}"));
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use p2c2r_protocol::limit::MAX_SCENE_TIME_US;

    use super::*;

    #[test]
    fn a_frames_number_stands_before_the_ending() {
        let name = |path: &str, frame| numbered(Path::new(path), frame).display().to_string();
        assert_eq!(name("out/walk.png", 7), "out/walk.0007.png");
        assert_eq!(name("walk.v2.exr", 0), "walk.v2.0000.exr");
        assert_eq!(name("walk.png", 123_456), "walk.123456.png");
        assert_eq!(name("/a.b/report", 12), "/a.b/report.0012");
    }

    #[test]
    fn a_sequence_ends_within_the_scenes_moments() {
        let sequence = |frames: &str, rate: &str| FrameSequence {
            frames: frames.parse().unwrap(),
            rate: rate.parse().unwrap(),
        };
        assert_eq!(sequence("86400", "1").check(), Ok(()));
        assert_eq!(sequence("86400", "1").time_of(86_400).unwrap().us(), MAX_SCENE_TIME_US);
        assert!(matches!(sequence("86400..=86401", "1").check(), Err(GeometryError::SceneTime(_))));
        assert!(sequence("9999999", "0.001").check().is_err());
    }
}
