//! Which scene at which moment: what is prepared, kept, refused and rendered. The package that it comes from travels and
//! is stored by its hash alone, once for all moments.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{id::SceneHash, tile::SceneTime};

/// A scene at a moment of its animations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SceneMoment {
    /// The scene package.
    pub hash: SceneHash,
    /// The moment; [`SceneTime::START`] of a scene that does not move.
    pub time: SceneTime,
}

impl SceneMoment {
    /// The scene at the start of its animations.
    pub const fn start_of(hash: SceneHash) -> Self {
        Self { hash, time: SceneTime::START }
    }
}

impl fmt::Display for SceneMoment {
    /// For logs: the hash's first digits and the moment.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at {} µs", self.hash.short(), self.time.us())
    }
}
