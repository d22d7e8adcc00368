//! Tells the swarm what this node is and how busy it is.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use p2c2r_protocol::{
    heartbeat::{ExactnessClass, Heartbeat, interval, seal},
    id::WorkKind,
    limit::MAX_HEARTBEAT_SCENES,
    sign::SecretKey,
    text::presentable,
};
use p2c2r_render::backend::BackendKind;
use p2c2r_swarm::SwarmHandle;
use tracing::warn;

use crate::{
    contributor::{Contributor, Device},
    scene_library::SceneLibrary,
};

/// Heartbeats are moved by up to this share of their interval, so that nodes started together drift apart.
const JITTER: f64 = 0.2;

/// What is said of this node, and with which key.
pub struct HeartbeatSource {
    /// Signs.
    pub key: SecretKey,
    /// What renders here.
    pub device: Device,
    /// Whether work from others is taken.
    pub contributing: bool,
    /// Kinds of work that are not done for others.
    pub declined: Vec<WorkKind>,
    /// Load.
    pub contributor: Contributor,
    /// Resident scenes.
    pub library: Arc<SceneLibrary>,
}

/// Says so for ever, at the interval that suits the swarm's size.
pub async fn beat(source: HeartbeatSource, swarm: SwarmHandle) {
    let started_unix_ms = unix_ms();
    let mut sequence = 0;
    loop {
        sequence += 1;
        match seal(&source.heartbeat(sequence, started_unix_ms), &source.key) {
            Ok(sealed) => swarm.publish_heartbeat(sealed).await,
            Err(error) => warn!(%error, "the heartbeat could not be made"),
        }
        swarm.provide(source.library.resident_hashes()).await;
        let swarm_size = swarm.peers().await.len() + 1;
        tokio::time::sleep(jittered(interval(swarm_size))).await;
    }
}

fn jittered(interval: Duration) -> Duration {
    // Without randomness from the system the beat is regular, which does no harm.
    let draw = getrandom::u32().map_or(0.5, |word| f64::from(word) / f64::from(u32::MAX));
    interval.mul_f64(1.0 + JITTER * (draw * 2.0 - 1.0))
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}

impl HeartbeatSource {
    fn heartbeat(&self, sequence: u64, started_unix_ms: u64) -> Heartbeat {
        let load = self.contributor.load();
        let info = &self.device.info;
        let mut scenes = self.library.resident_hashes();
        scenes.truncate(MAX_HEARTBEAT_SCENES);
        Heartbeat {
            sequence,
            unix_ms: unix_ms(),
            started_unix_ms,
            software: concat!("p2c2r-node/", env!("CARGO_PKG_VERSION")).to_owned(),
            backend: match info.kind {
                BackendKind::Cpu => "cpu".to_owned(),
                BackendKind::Gpu => "gpu".to_owned(),
            },
            adapter: presentable(&info.adapter),
            exactness: if info.exact { ExactnessClass::Exact } else { ExactnessClass::Tolerant },
            mrays_per_s: self.device.mrays_per_s,
            threads: info.threads,
            kinds: WorkKind::ALL.into_iter().filter(|kind| !self.declined.contains(kind)).collect(),
            contributing: self.contributing,
            load,
            price: 0,
            scenes,
        }
    }
}
