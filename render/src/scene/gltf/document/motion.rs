//! Animations and skins, as they stand in the JSON.

use serde::Deserialize;

use super::list::{at_most, bounded};
use crate::limit::MAX_JOINTS;

/// Channels that play together.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Animation {
    pub(in super::super) name: String,
    #[serde(deserialize_with = "bounded")]
    pub(in super::super) channels: Vec<Channel>,
    #[serde(deserialize_with = "bounded")]
    pub(in super::super) samplers: Vec<AnimationSampler>,
}

/// What a sampler drives.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Channel {
    pub(in super::super) sampler: u32,
    pub(in super::super) target: ChannelTarget,
}

#[derive(Debug, Deserialize)]
pub(in super::super) struct ChannelTarget {
    pub(in super::super) node: Option<u32>,
    pub(in super::super) path: String,
}

/// Key frames: accessors of their times and of their values.
#[derive(Debug, Deserialize)]
pub(in super::super) struct AnimationSampler {
    pub(in super::super) input: u32,
    pub(in super::super) output: u32,
    pub(in super::super) interpolation: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct Skin {
    pub(in super::super) name: String,
    pub(in super::super) inverse_bind_matrices: Option<u32>,
    #[serde(deserialize_with = "at_most::<{ MAX_JOINTS as usize }, _, _>")]
    pub(in super::super) joints: Vec<u32>,
}
