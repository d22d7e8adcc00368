//! How much memory a scene will take once it is prepared, known before any of it is loaded.

use crate::{
    bvh::{pair::PairBvh, walk::Placement, wide::WideBvh},
    light::Light,
    prepared::{PreparedInstance, ShadedTriangle},
    scene::error::SceneError,
};

const MIB: u64 = 1 << 20;
/// Bytes of an emitter's entry in its mesh's list.
const EMITTER_BYTES: u64 = size_of::<u32>() as u64;

/// Upper bounds of the parts of a prepared scene, bytes. No scene takes more, whatever its triangles look like; ordinary
/// ones take about half of it, and most of the rest for a moment while they are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryEstimate {
    /// Trees of both kernels, triangles and vertex attributes.
    pub geometry: u64,
    /// Instances and the trees over them.
    pub instances: u64,
    /// The table of lights.
    pub lights: u64,
    /// Decoded pictures.
    pub textures: u64,
}

impl MemoryEstimate {
    /// Everything together, bytes.
    pub fn total_bytes(&self) -> u64 {
        [self.geometry, self.instances, self.lights, self.textures].into_iter().fold(0, u64::saturating_add)
    }

    /// Refuses a scene that takes more than the limit.
    pub(crate) fn check(&self, limit_bytes: u64) -> Result<(), SceneError> {
        if self.total_bytes() <= limit_bytes {
            return Ok(());
        }
        let parts = [
            (self.geometry, "geometry"),
            (self.instances, "instances"),
            (self.lights, "lights"),
            (self.textures, "textures"),
        ];
        let (_, largest) = parts.into_iter().max_by_key(|(bytes, _)| *bytes).unwrap_or_default();
        Err(SceneError::Memory {
            needed_mib: self.total_bytes().div_ceil(MIB),
            allowed_mib: limit_bytes / MIB,
            largest,
        })
    }

    /// Adds a mesh that is kept once: its triangles, those of them that may shine, and its vertices with so many bytes
    /// of attributes each.
    pub(crate) fn add_mesh(&mut self, triangles: u64, emitters: u64, vertices: u64, vertex_bytes: u64) {
        let trees = WideBvh::most_bytes(triangles).saturating_add(PairBvh::most_bytes(triangles));
        for bytes in [
            trees,
            triangles.saturating_mul(size_of::<ShadedTriangle>() as u64),
            emitters.saturating_mul(EMITTER_BYTES),
            vertices.saturating_mul(vertex_bytes),
        ] {
            self.geometry = self.geometry.saturating_add(bytes);
        }
    }

    /// Adds all instances of the scene.
    pub(crate) fn add_instances(&mut self, instances: u64) {
        let trees = WideBvh::most_bytes_over_items(instances).saturating_add(PairBvh::most_bytes(instances));
        let places =
            instances.saturating_mul((size_of::<PreparedInstance>() + size_of::<Placement>()) as u64);
        self.instances = self.instances.saturating_add(trees).saturating_add(places);
    }

    /// Adds entries of the table of lights.
    pub(crate) fn add_lights(&mut self, lights: u64) {
        self.lights = self.lights.saturating_add(lights.saturating_mul(size_of::<Light>() as u64));
    }

    /// Adds a picture's pixels.
    pub(crate) fn add_texels(&mut self, texels: u64) {
        self.textures = self.textures.saturating_add(texels.saturating_mul(size_of::<[u8; 4]>() as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_that_does_not_fit_is_told_what_it_needs_and_what_is_allowed() {
        let mut estimate = MemoryEstimate::default();
        estimate.add_texels(1 << 20);
        assert_eq!(estimate.total_bytes(), 4 * MIB);
        assert!(estimate.check(4 * MIB).is_ok());
        let refusal = estimate.check(4 * MIB - 1).unwrap_err().to_string();
        assert!(
            refusal.contains("4 MiB") && refusal.contains("3 MiB") && refusal.contains("textures"),
            "{refusal}"
        );
    }

    #[test]
    fn counts_beyond_all_measure_do_not_wrap_around() {
        let mut estimate = MemoryEstimate::default();
        estimate.add_mesh(u64::MAX, u64::MAX, u64::MAX, 60);
        estimate.add_lights(u64::MAX);
        assert_eq!(estimate.total_bytes(), u64::MAX);
    }
}
