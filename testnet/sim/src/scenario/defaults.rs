//! What a scenario means where it says nothing.

use std::collections::BTreeMap;

use p2c2r_protocol::id::WorkKind;

use super::{CostSpec, Failure, Noise};

pub(super) fn seed() -> u64 {
    1
}

pub(super) fn size_px() -> [u32; 2] {
    [1920, 1080]
}

pub(super) fn frame_bytes() -> u64 {
    400_000
}

pub(super) fn depth() -> u32 {
    1
}

pub(super) fn count() -> u32 {
    1
}

pub(super) fn slots() -> u32 {
    1
}

pub(super) fn bandwidth_mbps() -> f64 {
    1000.0
}

pub(super) fn heartbeat_s() -> f64 {
    1.0
}

pub(super) fn low() -> f64 {
    100.0
}

pub(super) fn high() -> f64 {
    5000.0
}

pub(super) fn kinds() -> BTreeMap<WorkKind, f64> {
    [(WorkKind::RayTracing, 1.0)].into()
}

impl Default for CostSpec {
    fn default() -> Self {
        Self { pattern: "uniform".into(), low: low(), high: high() }
    }
}

impl Default for Noise {
    fn default() -> Self {
        Self { sigma: 0.0, tail_probability: 0.0, tail_factor: 1.0 }
    }
}

impl Default for Failure {
    fn default() -> Self {
        Self { base: 0.0, when_utilisation_over: 1.0, then: None, silent: 0.0 }
    }
}
