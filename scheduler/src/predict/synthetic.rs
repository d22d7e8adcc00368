//! Streams of outcomes with a known truth, for tests.

use p2c2r_protocol::id::{NodeId, WorkKind};

use super::{Outcome, OutcomeResult, Predictor, TaskFeatures};
use crate::{
    peer::{PeerView, Telemetry},
    time::TimeMs,
};

/// Numbers that look random and are the same on every run (Steele's `SplitMix64`).
pub struct Noise(u64);

impl Noise {
    /// The numbers that belong to a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Evenly between 0 and 1.
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Of a normal distribution with mean 0 and deviation 1.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// A peer with this key.
pub fn view(index: u8) -> PeerView {
    PeerView {
        round_trip_ms: 10.0,
        jitter_ms: 1.0,
        bytes_per_ms: 10_000.0,
        credit: 8,
        ready: true,
        telemetry: Telemetry { utilisation: 0.5, uptime_s: 3600.0, ..Telemetry::default() },
        ..PeerView::unknown(NodeId::from_public_key([index; 32]))
    }
}

/// A task of this cost, offered then.
pub fn task(cost: f64, at_ms: f64) -> TaskFeatures {
    TaskFeatures { cost, pixels: 4096.0, bytes: 50_000.0, in_flight: 0, backlog_ms: 0.0, at: TimeMs(at_ms) }
}

/// It took so long to execute, and the rest is what the view says.
pub fn done(peer: PeerView, kind: WorkKind, features: TaskFeatures, execution_ms: f64) -> Outcome {
    let rest_ms = f64::from(peer.round_trip_ms) + features.bytes / f64::from(peer.bytes_per_ms) + 2.0;
    Outcome {
        peer,
        kind,
        features,
        total_ms: features.backlog_ms + rest_ms + execution_ms,
        result: OutcomeResult::Success { queue_ms: features.backlog_ms, execution_ms },
    }
}

/// It failed after so long.
pub fn failed(peer: PeerView, kind: WorkKind, features: TaskFeatures) -> Outcome {
    Outcome { peer, kind, features, total_ms: 20.0, result: OutcomeResult::Failed }
}

/// Fits whatever is due and installs it, as a caller with a worker thread would.
pub fn refit(model: &mut dyn Predictor) -> usize {
    let mut fits = 0;
    while let Some(job) = model.take_refit() {
        model.install(job.run());
        fits += 1;
    }
    fits
}
