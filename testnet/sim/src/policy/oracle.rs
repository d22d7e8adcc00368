//! Predictions that are the truth: what a scheduler could reach that had nothing left to learn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2c2r_protocol::id::{NodeId, WorkKind};
use p2c2r_scheduler::{LearnedSpeed, Outcome, PeerView, Prediction, TaskFeatures, predict::Predictor};

use crate::{
    scenario::{EstimateError, Start},
    sim::{RAYS_PER_MS, Setup, desk::index_of},
    world::Nature,
};

/// The 95 % quantile of a normal distribution, in standard deviations.
const P95_DEVIATIONS: f64 = 1.645;

/// The peers as they truly are.
#[derive(Clone)]
pub struct Truth {
    natures: Arc<Mutex<Vec<Nature>>>,
    start: Start,
    error: EstimateError,
}

impl Truth {
    /// A copy of the world's.
    pub fn new(setup: &Setup<'_>) -> Self {
        let scenario = setup.scenario;
        let peers = scenario.each_peer().enumerate();
        let mut natures: Vec<Nature> =
            peers.map(|(index, (_, spec))| Nature::new(setup.seed, index, spec.clone())).collect();
        if let Some(local) = scenario.work.local {
            natures.push(Nature::own_device(setup.seed, natures.len(), local.speed));
        }
        let natures = Arc::new(Mutex::new(natures));
        Self { natures, start: scenario.start, error: scenario.work.estimate_error }
    }

    fn natures(&self) -> MutexGuard<'_, Vec<Nature>> {
        self.natures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event changed a peer's speed.
    pub fn set_speed_factor(&self, peer: usize, factor: f64) {
        if let Some(nature) = self.natures().get_mut(peer) {
            nature.speed_factor = factor;
        }
    }
}

/// Predicts what is true.
pub struct OraclePredictor {
    truth: Truth,
}

impl OraclePredictor {
    /// Knows this.
    pub fn new(truth: Truth) -> Self {
        Self { truth }
    }
}

impl Predictor for OraclePredictor {
    fn predict(&self, peer: &PeerView, kind: WorkKind, features: &TaskFeatures) -> Prediction {
        let mut natures = self.truth.natures();
        let Some(nature) = natures.get_mut(index_of(peer.peer)) else {
            return Prediction::with_spread(1e9, 0.0, 0.0, 0.0, 1.0);
        };
        let at_ms = features.at.0;
        nature.forget_before(at_ms);
        let noise = nature.spec.noise;
        // The typical time: that of the mean logarithm.
        let typical = (noise.tail_probability * noise.tail_factor.ln()).exp();
        let slowdown = nature.slowdown(features.in_flight as usize + 1);
        let work_ms = features.cost / RAYS_PER_MS * typical * slowdown;
        let EstimateError { frame, tile } = self.truth.error;
        let spread = (noise.sigma.powi(2) + frame.powi(2) + tile.powi(2)).sqrt();
        let execution_ms = work_ms / nature.speed_now(kind, at_ms);
        let overhead_ms =
            nature.round_trip_ms(self.truth.start, at_ms) + features.bytes / nature.bytes_per_ms();
        // The task waits for those before it, and these for nobody's way.
        let wait_ms = (features.backlog_ms - overhead_ms).max(0.0);
        // Of the total the execution is uncertain, and the way.
        let uncertain_ms = (spread * execution_ms).hypot(nature.spec.jitter_ms);
        let of_total = uncertain_ms / (execution_ms + overhead_ms + wait_ms).max(1e-9);
        let risk = nature.failure_probability(at_ms);
        Prediction {
            p95_factor: (P95_DEVIATIONS * spread).exp(),
            ..Prediction::with_spread(execution_ms, overhead_ms, wait_ms, of_total, risk)
        }
    }

    fn observe(&mut self, _: &Outcome) {}

    fn speed(&self, peer: &NodeId, kind: WorkKind) -> Option<LearnedSpeed> {
        let natures = self.truth.natures();
        let nature = natures.get(index_of(*peer))?;
        Some(LearnedSpeed {
            cost_per_ms: nature.mean_speed(kind) * RAYS_PER_MS,
            outcomes: u64::MAX,
            failure_risk: nature.mean_failure_probability(),
        })
    }
}
